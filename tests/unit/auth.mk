if HAVE_CRITERION
check_PROGRAMS += tests/unit/test_roster tests/unit/test_policy tests/unit/test_key tests/unit/test_idp
TESTS += tests/unit/test_roster tests/unit/test_policy tests/unit/test_key tests/unit/test_idp
tests_unit_test_roster_SOURCES = tests/unit/test_roster.c
tests_unit_test_roster_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_roster_LDADD = $(AUTH_LIBS) $(CRITERION_LIBS)
tests_unit_test_policy_SOURCES = tests/unit/test_policy.c
tests_unit_test_policy_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_policy_LDADD = $(AUTH_LIBS) $(CRITERION_LIBS)
tests_unit_test_key_SOURCES = tests/unit/test_key.c
tests_unit_test_key_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_key_LDADD = $(AUTH_LIBS) $(CRITERION_LIBS)
tests_unit_test_idp_SOURCES = tests/unit/test_idp.c
tests_unit_test_idp_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_idp_LDADD = $(AUTH_LIBS) $(CRITERION_LIBS)
endif
