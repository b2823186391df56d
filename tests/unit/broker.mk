if HAVE_CRITERION
check_PROGRAMS += tests/unit/test_schedule tests/unit/test_terms tests/unit/test_draw tests/unit/test_job tests/unit/test_state tests/unit/test_state_versions tests/unit/test_crash
TESTS += tests/unit/test_schedule tests/unit/test_terms tests/unit/test_draw tests/unit/test_job tests/unit/test_state tests/unit/test_state_versions tests/unit/test_crash
tests_unit_test_terms_SOURCES = tests/unit/test_terms.c
tests_unit_test_terms_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_terms_LDADD = libbroker.a libauth.a $(PROTO_LIBS) $(CRITERION_LIBS)
tests_unit_test_schedule_SOURCES = tests/unit/test_schedule.c
tests_unit_test_schedule_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_schedule_LDADD = libbroker.a libauth.a $(PROTO_LIBS) $(CRITERION_LIBS)
tests_unit_test_draw_SOURCES = tests/unit/test_draw.c
tests_unit_test_draw_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_draw_LDADD = libschedule.a libauth.a $(PROTO_LIBS) $(CRITERION_LIBS)
tests_unit_test_job_SOURCES = tests/unit/test_job.c
tests_unit_test_job_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_job_LDADD = $(BROKER_LIBS) $(CRITERION_LIBS)
tests_unit_test_crash_SOURCES = tests/unit/test_crash.c
tests_unit_test_crash_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_crash_LDADD = $(BROKER_LIBS) $(CRITERION_LIBS)
tests_unit_test_state_versions_SOURCES = tests/unit/test_state_versions.c
tests_unit_test_state_versions_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_state_versions_LDADD = $(BROKER_LIBS) $(CRITERION_LIBS)
tests_unit_test_state_SOURCES = tests/unit/test_state.c
tests_unit_test_state_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_state_LDADD = $(BROKER_LIBS) $(CRITERION_LIBS)
endif
