# programs and files of tests
include tests/unit/store.mk
include tests/unit/core.mk
include tests/unit/deploy.mk
include tests/unit/source.mk
include tests/unit/auth.mk
include tests/unit/broker.mk
include tests/unit/verifier.mk
include tests/unit/worker.mk
include tests/unit/docs.mk
include tests/unit/attest.mk
include tests/e2e/e2e.mk
include tests/threats/threats.mk
AM_TESTS_ENVIRONMENT = LSAN_OPTIONS=suppressions=$(srcdir)/tests/lsan.supp:print_suppressions=0; export LSAN_OPTIONS;
EXTRA_DIST += tests/lsan.supp
include tests/bench/bench.mk
include tests/fuzz/fuzz.mk
