# `make bench`: figures beside their limits, in one run. Built with the tests, so that they stay as the sources are.
BENCHES = tests/bench/bench_broker tests/bench/bench_store tests/bench/bench_log tests/bench/bench_step tests/bench/bench_peers tests/bench/bench_verifier \
	tests/bench/bench_revoke tests/bench/bench_vm
check_PROGRAMS += $(BENCHES)
tests_bench_bench_broker_SOURCES = tests/bench/bench_broker.c src/broker/pool.c tests/bench/bench.c tests/bench/bench.h
tests_bench_bench_broker_LDADD = $(AUTH_LIBS)
tests_bench_bench_store_SOURCES = tests/bench/bench_store.c tests/bench/bench.c tests/bench/bench.h
tests_bench_bench_store_LDADD = $(STORE_LIBS)
tests_bench_bench_log_SOURCES = tests/bench/bench_log.c tests/bench/bench.c tests/bench/bench.h
tests_bench_bench_log_LDADD = $(VERIFIER_LIBS)
tests_bench_bench_step_SOURCES = tests/bench/bench_step.c tests/bench/bench.c tests/bench/bench.h
tests_bench_bench_step_LDADD = $(AUTH_LIBS)
tests_bench_bench_peers_SOURCES = tests/bench/bench_peers.c tests/bench/bench.c tests/bench/bench.h
tests_bench_bench_peers_LDADD = $(AUTH_LIBS)
tests_bench_bench_verifier_SOURCES = tests/bench/bench_verifier.c tests/bench/held.c tests/bench/held.h tests/bench/bench.c tests/bench/bench.h
tests_bench_bench_verifier_LDADD = $(VERIFIER_LIBS)
tests_bench_bench_revoke_SOURCES = tests/bench/bench_revoke.c tests/bench/held.c tests/bench/held.h src/cli/stream.c src/cli/stream.h src/cli/common.c src/cli/table.c src/cli/cli.h \
	tests/bench/bench.c tests/bench/bench.h
tests_bench_bench_revoke_LDADD = libverifier.a librule.a libbroker.a $(STORE_LIBS) $(SQLITE_LIBS)
tests_bench_bench_vm_SOURCES = tests/bench/bench_vm.c tests/bench/bench.c tests/bench/bench.h
tests_bench_bench_vm_LDADD = $(WORKER_LIBS)
EXTRA_DIST += tests/bench/run
bench: all $(BENCHES)
	ASSAY_BUILD=$(abs_builddir) sh $(srcdir)/tests/bench/run
.PHONY: bench
