# the repository's checks of itself, and the examples of proto/PROTOCOL.md
check_PROGRAMS += tests/examples
tests_examples_SOURCES = tests/examples.c
tests_examples_LDADD = libstore.a $(PROTO_LIBS)
EXTRA_DIST += tests/check-repo.sh tests/gen-protocol.sh proto/PROTOCOL.md tests/run tests/threats/README
TESTS += tests/check-repo.sh

# a folder in EXTRA_DIST would bring what was built in it along
dist-hook:
	for d in tests/e2e tests/threats; do $(MKDIR_P) $(distdir)/$$d && cp -p $(srcdir)/$$d/*.sh $(distdir)/$$d/ || exit 1; done
	cp -Rp $(srcdir)/tests/e2e/projects $(distdir)/tests/e2e/
	cp -p $(srcdir)/tests/e2e/worker.py $(srcdir)/tests/e2e/logcheck.go $(distdir)/tests/e2e/

# proto/PROTOCOL.md made anew from the sources, after a change of messages.def, errors or constants
update-protocol: tests/examples$(EXEEXT)
	sh $(srcdir)/tests/gen-protocol.sh $(srcdir) update $(srcdir)/proto/PROTOCOL.md ./tests/examples$(EXEEXT) >PROTOCOL.md.tmp
	cp PROTOCOL.md.tmp $(srcdir)/proto/PROTOCOL.md && rm -f PROTOCOL.md.tmp
.PHONY: update-protocol
