# a hostile peer, for the scenarios of tests/threats
noinst_PROGRAMS += tests/threats/hostile
tests_threats_hostile_SOURCES = tests/threats/hostile.c
tests_threats_hostile_LDADD = $(SOURCE_LIBS) $(STORE_LIBS)
