# assay-liar under the names that scenarios call it by: the hostile peer, and the worker that changes bits of what it built
noinst_SCRIPTS += tests/threats/hostile assay-worker-liar
CLEANFILES += tests/threats/hostile assay-worker-liar
tests/threats/hostile: assay-liar
	$(AM_V_GEN)$(MKDIR_P) tests/threats && ln -sf ../../assay-liar $@
assay-worker-liar: assay-liar
	$(AM_V_GEN)ln -sf assay-liar $@
# a verifier with genuine keys that answers wrongly
noinst_PROGRAMS += tests/threats/log_forger
tests_threats_log_forger_SOURCES = tests/threats/log_forger.c
tests_threats_log_forger_LDADD = $(VERIFIER_LIBS)
noinst_PROGRAMS += tests/threats/hostile_guest
tests_threats_hostile_guest_SOURCES = tests/threats/hostile_guest.c src/worker/guest/job.c src/worker/guest/step.c src/worker/guest/pack.c \
	src/worker/guest/relay.c src/worker/guest/mux.c src/worker/guest/ferry.c src/worker/guest/inside.c src/worker/guest/thrash.c src/worker/guest/text.c
tests_threats_hostile_guest_CPPFLAGS = $(assay_guest_CPPFLAGS)
tests_threats_hostile_guest_CFLAGS = $(assay_guest_CFLAGS) -Wno-unused-function -Wno-unused-result
tests_threats_hostile_guest_LDFLAGS = $(assay_guest_LDFLAGS)
