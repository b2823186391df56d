# Manual pages, from scdoc where it is there, and documents.
MANUALS = doc/assay.1.scd doc/assay.yml.5.scd doc/assay-idp.8.scd doc/assay-broker.8.scd doc/assay-store.8.scd doc/assay-worker.8.scd \
	doc/assay-verifier.8.scd doc/assay-bundle.5.scd
EXTRA_DIST += $(MANUALS) doc/THREATS.md
dist_doc_DATA = README doc/THREATS.md proto/PROTOCOL.md

if HAVE_SCDOC
man_MANS = doc/assay.1 doc/assay.yml.5 doc/assay-idp.8 doc/assay-broker.8 doc/assay-store.8 doc/assay-worker.8 doc/assay-verifier.8 doc/assay-bundle.5
CLEANFILES += $(man_MANS)
endif

SUFFIXES = .scd
.scd:
	$(AM_V_GEN)$(MKDIR_P) doc && SOURCE_DATE_EPOCH=$${SOURCE_DATE_EPOCH:-1672531200} $(SCDOC) <$< >$@.tmp && mv $@.tmp $@
