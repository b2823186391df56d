# assay-broker; libbroker.a holds all but main, for its tests, and libschedule.a the draw, for whoever checks one
noinst_LIBRARIES += libbroker.a libschedule.a
libschedule_a_SOURCES = src/broker/draw.c src/broker/draw.h src/broker/schedule.c src/broker/schedule.h
libbroker_a_SOURCES = src/broker/draw.c src/broker/draw.h src/broker/schedule.c src/broker/schedule.h src/broker/terms.c src/broker/terms.h src/broker/job.c src/broker/job.h src/broker/state.c src/broker/state.h \
	src/broker/state_impl.h src/broker/state_rows.c src/broker/state_rows.h src/broker/state_queue.c src/broker/state_schema.c src/broker/state_schema.h src/broker/state_sqlite.c src/broker/server.c src/broker/server.h src/broker/submission.c src/broker/fleet.c src/broker/grant.c \
	src/broker/events.c src/broker/logs.c src/broker/pool.c src/broker/pool.h
BROKER_LIBS = libbroker.a $(AUTH_LIBS) $(SQLITE_LIBS)

bin_PROGRAMS += assay-broker
assay_broker_SOURCES = src/broker/main.c
assay_broker_LDADD = $(BROKER_LIBS)
