if HAVE_CRITERION
check_PROGRAMS += tests/unit/test_compare
TESTS += tests/unit/test_compare
tests_unit_test_compare_SOURCES = tests/unit/test_compare.c src/cli/compare.c src/cli/compare.h
tests_unit_test_compare_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_compare_LDADD = libstore.a $(AUTH_LIBS) $(CRITERION_LIBS)
endif
