if HAVE_CRITERION
check_PROGRAMS += tests/unit/test_fleet tests/unit/test_rootfs
TESTS += tests/unit/test_fleet tests/unit/test_rootfs
tests_unit_test_fleet_SOURCES = tests/unit/test_fleet.c src/cli/fleet.c src/cli/fleet.h
tests_unit_test_fleet_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_fleet_LDADD = $(BASE_LIBS) $(CRITERION_LIBS)
tests_unit_test_rootfs_SOURCES = tests/unit/test_rootfs.c src/cli/rootfs.c src/cli/rootfs.h src/cli/kernel.c src/cli/kernel.h src/cli/tool.c src/cli/tool.h
tests_unit_test_rootfs_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_rootfs_LDADD = libstore.a $(BASE_LIBS) $(JANSSON_LIBS) $(CRITERION_LIBS)
endif
