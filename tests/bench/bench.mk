# `make bench`: figures beside their limits, in one run
EXTRA_PROGRAMS += tests/bench/bench_broker tests/bench/bench_store
tests_bench_bench_broker_SOURCES = tests/bench/bench_broker.c
tests_bench_bench_broker_LDADD = $(AUTH_LIBS)
tests_bench_bench_store_SOURCES = tests/bench/bench_store.c
tests_bench_bench_store_LDADD = $(STORE_LIBS)
EXTRA_DIST += tests/bench/run
bench: all tests/bench/bench_broker$(EXEEXT) tests/bench/bench_store$(EXEEXT)
	ASSAY_BUILD=$(abs_builddir) sh $(srcdir)/tests/bench/run
.PHONY: bench
CLEANFILES += tests/bench/bench_broker$(EXEEXT) tests/bench/bench_store$(EXEEXT)
