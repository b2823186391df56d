noinst_LIBRARIES += libstore.a
libstore_a_SOURCES = src/store/manifest.c src/store/manifest.h src/store/link.c src/store/link.h src/store/scan.c src/store/client.c src/store/client.h \
	src/store/cas.c src/store/cas.h src/store/cas_impl.h src/store/cas_fs.c src/store/cas_mem.c

bin_PROGRAMS += assay-store
assay_store_SOURCES = src/store/main.c src/store/server.c src/store/server.h src/store/upload.c src/store/writer.c src/store/read.c src/store/feed.c \
	src/store/access.c src/store/access.h src/store/index.c src/store/index.h src/store/gc.c src/store/gc.h
assay_store_LDADD = $(STORE_LIBS) $(SQLITE_LIBS)
