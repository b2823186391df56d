# A harness a decoder. With --enable-fuzz (clang) they are libFuzzer's; else driver.c runs a corpus and mutations of it.
fuzz_harnesses = tests/fuzz/fuzz_msg tests/fuzz/fuzz_envelope tests/fuzz/fuzz_roster tests/fuzz/fuzz_statement tests/fuzz/fuzz_manifest tests/fuzz/fuzz_recipe \
	tests/fuzz/fuzz_checkpoint tests/fuzz/fuzz_logline tests/fuzz/fuzz_bundle tests/fuzz/fuzz_link tests/fuzz/fuzz_pack tests/fuzz/fuzz_mux
check_PROGRAMS += $(fuzz_harnesses) tests/fuzz/fuzz_seeds
if FUZZ
FUZZ_DRIVER =
FUZZ_FLAGS = -fsanitize=fuzzer
AM_CFLAGS += -fsanitize=fuzzer-no-link
else
FUZZ_DRIVER = tests/fuzz/driver.c
FUZZ_FLAGS =
endif
tests_fuzz_fuzz_msg_SOURCES = tests/fuzz/fuzz_msg.c $(FUZZ_DRIVER)
tests_fuzz_fuzz_msg_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_FLAGS)
tests_fuzz_fuzz_msg_LDADD = $(PROTO_LIBS)
tests_fuzz_fuzz_envelope_SOURCES = tests/fuzz/fuzz_envelope.c $(FUZZ_DRIVER)
tests_fuzz_fuzz_envelope_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_FLAGS)
tests_fuzz_fuzz_envelope_LDADD = $(PROTO_LIBS)
tests_fuzz_fuzz_roster_SOURCES = tests/fuzz/fuzz_roster.c $(FUZZ_DRIVER)
tests_fuzz_fuzz_roster_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_FLAGS)
tests_fuzz_fuzz_roster_LDADD = $(AUTH_LIBS)
tests_fuzz_fuzz_statement_SOURCES = tests/fuzz/fuzz_statement.c $(FUZZ_DRIVER)
tests_fuzz_fuzz_statement_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_FLAGS)
tests_fuzz_fuzz_statement_LDADD = $(PROTO_LIBS)
tests_fuzz_fuzz_manifest_SOURCES = tests/fuzz/fuzz_manifest.c $(FUZZ_DRIVER)
tests_fuzz_fuzz_manifest_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_FLAGS)
tests_fuzz_fuzz_manifest_LDADD = $(STORE_LIBS)
tests_fuzz_fuzz_recipe_SOURCES = tests/fuzz/fuzz_recipe.c $(FUZZ_DRIVER)
tests_fuzz_fuzz_recipe_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_FLAGS)
tests_fuzz_fuzz_recipe_LDADD = $(SOURCE_LIBS)
tests_fuzz_fuzz_checkpoint_SOURCES = tests/fuzz/fuzz_checkpoint.c tests/fuzz/world.c tests/fuzz/world.h $(FUZZ_DRIVER)
tests_fuzz_fuzz_checkpoint_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_FLAGS)
tests_fuzz_fuzz_checkpoint_LDADD = librule.a $(STORE_LIBS)
tests_fuzz_fuzz_logline_SOURCES = tests/fuzz/fuzz_logline.c tests/fuzz/world.c tests/fuzz/world.h src/cli/logline.c src/cli/logline.h src/cli/proof.c src/cli/proof.h $(FUZZ_DRIVER)
tests_fuzz_fuzz_logline_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_FLAGS)
tests_fuzz_fuzz_logline_LDADD = librule.a $(STORE_LIBS)
tests_fuzz_fuzz_bundle_SOURCES = tests/fuzz/fuzz_bundle.c tests/fuzz/world.c tests/fuzz/world.h src/cli/proof.c src/cli/proof.h $(FUZZ_DRIVER)
tests_fuzz_fuzz_bundle_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_FLAGS)
tests_fuzz_fuzz_bundle_LDADD = librule.a $(STORE_LIBS)
tests_fuzz_fuzz_link_SOURCES = tests/fuzz/fuzz_link.c $(FUZZ_DRIVER)
tests_fuzz_fuzz_link_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_FLAGS)
tests_fuzz_fuzz_link_LDADD = $(STORE_LIBS)
tests_fuzz_fuzz_pack_SOURCES = tests/fuzz/fuzz_pack.c $(FUZZ_DRIVER)
tests_fuzz_fuzz_pack_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_FLAGS)
tests_fuzz_fuzz_pack_LDADD = $(WORKER_LIBS)
tests_fuzz_fuzz_mux_SOURCES = tests/fuzz/fuzz_mux.c $(FUZZ_DRIVER)
tests_fuzz_fuzz_mux_LDFLAGS = $(AM_LDFLAGS) $(FUZZ_FLAGS)
tests_fuzz_fuzz_mux_LDADD = libworker.a
tests_fuzz_fuzz_seeds_SOURCES = tests/fuzz/seeds.c tests/fuzz/world.c tests/fuzz/world.h src/cli/logline.c src/cli/logline.h src/cli/proof.c src/cli/proof.h
tests_fuzz_fuzz_seeds_LDADD = librule.a $(STORE_LIBS)

TESTS += tests/fuzz/run.sh
dist_check_SCRIPTS += tests/fuzz/run.sh
EXTRA_DIST += tests/fuzz/driver.c tests/fuzz/corpus
