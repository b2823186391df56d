noinst_LIBRARIES += libbase.a
libbase_a_SOURCES = src/base/err.c src/base/err.h src/base/bytes.c src/base/bytes.h src/base/cpu.c src/base/cpu.h src/base/file.c src/base/file.h \
	src/base/log.c src/base/log.h src/base/config.c src/base/config.h src/base/net.c src/base/net.h src/base/schema.c src/base/schema.h
