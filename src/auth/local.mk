noinst_LIBRARIES += libauth.a
libauth_a_SOURCES = src/auth/policy.c src/auth/policy.h src/auth/key.c src/auth/key.h src/auth/roster.c src/auth/roster.h \
	src/auth/realm.c src/auth/realm.h src/auth/client.c src/auth/client.h src/auth/idp.c src/auth/idp.h src/auth/daemon.c src/auth/daemon.h

bin_PROGRAMS += assay-idp
assay_idp_SOURCES = src/auth/idp_main.c
assay_idp_LDADD = $(AUTH_LIBS)
