noinst_LIBRARIES += librule.a
librule_a_SOURCES = src/verifier/rule.c src/verifier/rule.h
