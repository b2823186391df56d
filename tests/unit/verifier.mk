if HAVE_CRITERION
check_PROGRAMS += tests/unit/test_judge
TESTS += tests/unit/test_judge
tests_unit_test_judge_SOURCES = tests/unit/test_judge.c
tests_unit_test_judge_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_judge_LDADD = $(VERIFIER_LIBS) $(CRITERION_LIBS)
endif
if HAVE_CRITERION
check_PROGRAMS += tests/unit/test_tlog
TESTS += tests/unit/test_tlog
tests_unit_test_tlog_SOURCES = tests/unit/test_tlog.c
tests_unit_test_tlog_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_tlog_LDADD = $(VERIFIER_LIBS) $(CRITERION_LIBS)
endif
if HAVE_CRITERION
check_PROGRAMS += tests/unit/test_logbook
TESTS += tests/unit/test_logbook
tests_unit_test_logbook_SOURCES = tests/unit/test_logbook.c
tests_unit_test_logbook_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_logbook_LDADD = $(VERIFIER_LIBS) $(CRITERION_LIBS)
endif
