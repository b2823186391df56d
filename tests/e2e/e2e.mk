# programs that scenarios of tests/e2e use
noinst_PROGRAMS += tests/e2e/logtool
tests_e2e_logtool_SOURCES = tests/e2e/logtool.c
tests_e2e_logtool_LDADD = $(VERIFIER_LIBS)
