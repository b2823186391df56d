# the repository's checks of itself, and the examples of proto/PROTOCOL.md
check_PROGRAMS += tests/examples
tests_examples_SOURCES = tests/examples.c
tests_examples_LDADD = libstore.a $(PROTO_LIBS)
EXTRA_DIST += tests/check-repo.sh tests/gen-protocol.sh proto/PROTOCOL.md
TESTS += tests/check-repo.sh
