# the hostile peer of the scenarios, under the name that they call it by
noinst_SCRIPTS += tests/threats/hostile
CLEANFILES += tests/threats/hostile
tests/threats/hostile: assay-liar
	$(AM_V_GEN)$(MKDIR_P) tests/threats && ln -sf ../../assay-liar $@
# a verifier with genuine keys that answers wrongly
noinst_PROGRAMS += tests/threats/log_forger
tests_threats_log_forger_SOURCES = tests/threats/log_forger.c
tests_threats_log_forger_LDADD = $(VERIFIER_LIBS)
