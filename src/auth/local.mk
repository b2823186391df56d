noinst_LIBRARIES += libauth.a
libauth_a_SOURCES = 
