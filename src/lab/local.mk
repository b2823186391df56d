# `assay lab`: liblab.a has the farm and the rows, for the command; assay-liar is every peer that misbehaves, also for tests/threats
noinst_LIBRARIES += liblab.a
liblab_a_SOURCES = src/lab/lab.c src/lab/lab.h src/lab/farm.c src/lab/farm.h src/lab/proc.c src/lab/proc.h src/lab/rootfs.c src/lab/rootfs.h \
	src/lab/rows_votes.c src/lab/rows_owners.c src/lab/rows_people.c src/lab/rows_services.c

pkglibexec_PROGRAMS += assay-liar
assay_liar_SOURCES = src/lab/liar.c src/lab/liar.h src/lab/liar_worker.c src/lab/liar_result.c src/lab/liar_copy.c src/lab/liar_wait.c \
	src/lab/liar_service.c
assay_liar_LDADD = $(WORKER_LIBS)
