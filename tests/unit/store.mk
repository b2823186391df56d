if HAVE_CRITERION
check_PROGRAMS += tests/unit/test_manifest tests/unit/test_cas tests/unit/test_store_index tests/unit/test_link tests/unit/test_writer
TESTS += tests/unit/test_manifest tests/unit/test_cas tests/unit/test_store_index tests/unit/test_link tests/unit/test_writer
tests_unit_test_manifest_SOURCES = tests/unit/test_manifest.c
tests_unit_test_manifest_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_manifest_LDADD = libstore.a $(BASE_LIBS) $(CRITERION_LIBS)
tests_unit_test_cas_SOURCES = tests/unit/test_cas.c
tests_unit_test_cas_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_cas_LDADD = libstore.a $(BASE_LIBS) $(CRITERION_LIBS)
tests_unit_test_store_index_SOURCES = tests/unit/test_store_index.c src/store/index.c src/store/gc.c
tests_unit_test_store_index_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_store_index_LDADD = libstore.a $(BASE_LIBS) $(SQLITE_LIBS) $(CRITERION_LIBS)
tests_unit_test_writer_SOURCES = tests/unit/test_writer.c src/store/writer.c
tests_unit_test_writer_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_writer_LDADD = libstore.a $(BASE_LIBS) $(CRITERION_LIBS)
tests_unit_test_link_SOURCES = tests/unit/test_link.c
tests_unit_test_link_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_link_LDADD = libstore.a $(PROTO_LIBS) $(CRITERION_LIBS)
endif
