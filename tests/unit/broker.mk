if HAVE_CRITERION
check_PROGRAMS += tests/unit/test_schedule
TESTS += tests/unit/test_schedule
tests_unit_test_schedule_SOURCES = tests/unit/test_schedule.c
tests_unit_test_schedule_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_schedule_LDADD = libbroker.a libauth.a $(PROTO_LIBS) $(CRITERION_LIBS)
endif
include tests/unit/auth.mk
