# what a VM runs as its first process: tests/e2e/51-cgroup2.sh
check_PROGRAMS += tests/unit/cgroup_init
tests_unit_cgroup_init_SOURCES = tests/unit/cgroup_init.c
tests_unit_cgroup_init_LDADD = libworker.a libbase.a $(SODIUM_LIBS) $(CRYPTO_LIBS)
if HAVE_CRITERION
check_PROGRAMS += tests/unit/test_collect
TESTS += tests/unit/test_collect
tests_unit_test_collect_SOURCES = tests/unit/test_collect.c
tests_unit_test_collect_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_collect_LDADD = $(WORKER_LIBS) $(CRITERION_LIBS)
check_PROGRAMS += tests/unit/test_limits
TESTS += tests/unit/test_limits
tests_unit_test_limits_SOURCES = tests/unit/test_limits.c
tests_unit_test_limits_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_limits_LDADD = $(WORKER_LIBS) $(CRITERION_LIBS)
check_PROGRAMS += tests/unit/test_conf
TESTS += tests/unit/test_conf
tests_unit_test_conf_SOURCES = tests/unit/test_conf.c
tests_unit_test_conf_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_conf_LDADD = $(WORKER_LIBS) $(CRITERION_LIBS)
check_PROGRAMS += tests/unit/test_relay
TESTS += tests/unit/test_relay
tests_unit_test_relay_SOURCES = tests/unit/test_relay.c
tests_unit_test_relay_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_relay_LDADD = $(WORKER_LIBS) $(CRITERION_LIBS)
check_PROGRAMS += tests/unit/test_pack tests/unit/test_vm
TESTS += tests/unit/test_pack tests/unit/test_vm
tests_unit_test_pack_SOURCES = tests/unit/test_pack.c
tests_unit_test_pack_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_pack_LDADD = $(WORKER_LIBS) $(CRITERION_LIBS)
tests_unit_test_vm_SOURCES = tests/unit/test_vm.c src/worker/guest/job.c
tests_unit_test_vm_CFLAGS = $(AM_CFLAGS) $(CRITERION_CFLAGS)
tests_unit_test_vm_LDADD = $(WORKER_LIBS) $(CRITERION_LIBS)
endif
