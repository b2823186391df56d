noinst_LIBRARIES += libauth.a
libauth_a_SOURCES = src/auth/policy.c src/auth/policy.h
EXTRA_DIST += src/auth/key.h src/auth/roster.h src/auth/realm.h
