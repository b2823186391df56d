if HAVE_CRITERION
check_PROGRAMS += tests/unit/test_compare
TESTS += tests/unit/test_compare
tests_unit_test_compare_SOURCES = tests/unit/test_compare.c src/cli/compare.c src/cli/compare.h
tests_unit_test_compare_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_compare_LDADD = libstore.a $(AUTH_LIBS) $(CRITERION_LIBS)
check_PROGRAMS += tests/unit/test_proof
TESTS += tests/unit/test_proof
tests_unit_test_proof_SOURCES = tests/unit/test_proof.c tests/fuzz/world.c tests/fuzz/world.h src/cli/proof.c src/cli/proof.h
tests_unit_test_proof_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_proof_LDADD = librule.a $(STORE_LIBS) $(CRITERION_LIBS)
check_PROGRAMS += tests/unit/test_logline
TESTS += tests/unit/test_logline
tests_unit_test_logline_SOURCES = tests/unit/test_logline.c tests/fuzz/world.c tests/fuzz/world.h src/cli/logline.c src/cli/logline.h src/cli/proof.c src/cli/proof.h
tests_unit_test_logline_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_logline_LDADD = librule.a $(STORE_LIBS) $(CRITERION_LIBS)
endif
