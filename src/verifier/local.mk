# assay-verifier; librule.a is shared with the command line, libverifier.a holds all but main, for its tests
noinst_LIBRARIES += librule.a libverifier.a
librule_a_SOURCES = src/verifier/rule.c src/verifier/rule.h src/verifier/tlog.c src/verifier/tlog.h src/verifier/note.c src/verifier/note.h src/verifier/checkpoint.c src/verifier/checkpoint.h
libverifier_a_SOURCES = src/verifier/ledger.c src/verifier/ledger.h src/verifier/ledger_schema.c src/verifier/ledger_schema.h src/verifier/intake.c src/verifier/intake.h src/verifier/judge.c src/verifier/judge.h \
	src/verifier/matter.c src/verifier/matter.h src/verifier/recount.c src/verifier/recount.h \
	src/verifier/logbook.c src/verifier/logbook.h src/verifier/votes.c src/verifier/votes.h src/verifier/server.c src/verifier/server.h
VERIFIER_LIBS = libverifier.a librule.a $(STORE_LIBS) $(SQLITE_LIBS)

bin_PROGRAMS += assay-verifier
assay_verifier_SOURCES = src/verifier/main.c
assay_verifier_LDADD = $(VERIFIER_LIBS)
