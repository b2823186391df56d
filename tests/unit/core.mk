if HAVE_CRITERION
check_PROGRAMS += tests/unit/test_base tests/unit/test_msg tests/unit/test_rule tests/unit/test_net tests/unit/test_statement
TESTS += tests/unit/test_base tests/unit/test_msg tests/unit/test_rule tests/unit/test_net tests/unit/test_statement
tests_unit_test_base_SOURCES = tests/unit/test_base.c
tests_unit_test_base_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_base_LDADD = $(BASE_LIBS) $(CRITERION_LIBS)
tests_unit_test_msg_SOURCES = tests/unit/test_msg.c
tests_unit_test_msg_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_msg_LDADD = $(PROTO_LIBS) $(CRITERION_LIBS)
tests_unit_test_rule_SOURCES = tests/unit/test_rule.c
tests_unit_test_rule_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_rule_LDADD = librule.a libauth.a $(PROTO_LIBS) $(CRITERION_LIBS)
tests_unit_test_net_SOURCES = tests/unit/test_net.c
tests_unit_test_net_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_net_LDADD = $(BASE_LIBS) $(CRITERION_LIBS)
tests_unit_test_statement_SOURCES = tests/unit/test_statement.c
tests_unit_test_statement_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_statement_LDADD = $(PROTO_LIBS) $(CRITERION_LIBS)
endif
