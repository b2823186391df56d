# `assay`: one file a command; a command's engineer adds a line here.
EXTRA_PROGRAMS += assay
assay_SOURCES = src/cli/main.c src/cli/cli.h src/cli/commands.def src/cli/common.c src/cli/table.c
assay_SOURCES += src/cli/submit.c src/cli/submit.h src/cli/spool.c src/cli/spool.h src/cli/stream.c src/cli/stream.h src/cli/tracker.c src/cli/event.c
assay_SOURCES += src/cli/cmd_push.c
assay_SOURCES += src/cli/cmd_flush.c
assay_SOURCES += src/cli/cmd_hook.c src/cli/hook.h src/cli/hook_install.c src/cli/hook_run.c
assay_SOURCES += src/cli/cmd_watch.c
assay_SOURCES += src/cli/cmd_status.c
assay_SOURCES += src/cli/cmd_log.c
assay_SOURCES += src/cli/cmd_get.c
assay_SOURCES += src/cli/cmd_cancel.c
assay_SOURCES += src/cli/cmd_retry.c
assay_SOURCES += src/cli/cmd_init.c
assay_SOURCES += src/cli/cmd_up.c src/cli/fleet.c src/cli/fleet.h
assay_SOURCES += src/cli/cmd_image.c src/cli/rootfs.c src/cli/rootfs.h
assay_LDADD = $(SOURCE_LIBS) $(STORE_LIBS)
