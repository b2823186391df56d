noinst_LIBRARIES += libbroker.a
libbroker_a_SOURCES = src/broker/schedule.c src/broker/schedule.h
