# assay-worker; libworker.a holds all but main, for its tests
noinst_LIBRARIES += libworker.a
libworker_a_SOURCES = src/worker/conf.c src/worker/conf.h src/worker/limits.c src/worker/limits.h src/worker/machine.c src/worker/machine.h src/worker/cgroup.c src/worker/cgroup.h \
	src/worker/seccomp.c src/worker/seccomp.h src/worker/sandbox.c src/worker/sandbox.h src/worker/sandbox_impl.h src/worker/sandbox_bwrap.c \
	src/worker/sandbox_none.c src/worker/collect.c src/worker/collect.h src/worker/order.c src/worker/order.h src/worker/checkout.c \
	src/worker/checkout.h src/worker/image.c src/worker/image.h src/worker/sandbox_qemu.c src/worker/vm.c src/worker/vm.h src/worker/vm_disk.c src/worker/vm_disk.h src/worker/vm_snapshot.c src/worker/vm_snapshot.h \
	src/worker/vm_talk.c src/worker/vm_talk.h src/worker/args.c src/worker/args.h src/worker/image_meta.c src/worker/image_meta.h src/worker/guest/wire.h \
	src/worker/vm_probe.c src/worker/vm_probe.h src/worker/vm_standing.c src/worker/vm_standing.h src/worker/vm_null.c src/worker/vm_null.h src/worker/trial.c src/worker/trial.h src/worker/guest/pack.c src/worker/guest/pack.h src/worker/report.c src/worker/report.h src/worker/runner.c src/worker/runner.h \
	src/worker/agent.c src/worker/agent.h src/worker/kvm.c src/worker/kvm.h src/worker/control.c src/worker/control.h src/worker/mode.c src/worker/mode.h src/worker/terms.c src/worker/terms.h src/worker/launch.c src/worker/launch.h src/worker/probe.c src/worker/probe.h src/worker/relay.c src/worker/relay_plan.c src/worker/relay.h src/worker/relay_vm.c src/worker/relay_vm.h \
	src/worker/guest/mux.c src/worker/guest/mux.h src/worker/guest/ferry.c src/worker/guest/ferry.h src/worker/guest/inside.c src/worker/guest/inside.h \
	src/worker/guest/thrash.c src/worker/guest/thrash.h src/worker/guest/text.c src/worker/guest/text.h \
	src/worker/worker_main.c
WORKER_LIBS = libworker.a $(STORE_LIBS) $(SOURCE_LIBS) $(AUTH_LIBS) $(SECCOMP_LIBS)

bin_PROGRAMS += assay-worker
assay_worker_SOURCES = src/worker/main.c
assay_worker_LDADD = $(WORKER_LIBS)

# The init of a step's VM: static, and without sanitizers, as it runs alone in its machine.
pkglibexec_PROGRAMS += assay-guest
assay_guest_SOURCES = src/worker/guest/init.c src/worker/guest/job.c src/worker/guest/step.c src/worker/guest/guest.h src/worker/guest/wire.h \
	src/worker/guest/pack.c src/worker/guest/pack.h src/worker/guest/relay.c src/worker/guest/mux.c src/worker/guest/mux.h src/worker/guest/ferry.c \
	src/worker/guest/ferry.h src/worker/guest/inside.c src/worker/guest/inside.h src/worker/guest/thrash.c src/worker/guest/thrash.h \
	src/worker/guest/text.c src/worker/guest/text.h
assay_guest_CPPFLAGS = -D_GNU_SOURCE -I$(top_srcdir)/src
assay_guest_CFLAGS = -std=gnu11 $(WARN_CFLAGS) -O2 -fstack-protector-strong -fno-pie -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
assay_guest_LDFLAGS = -static -Wl,--build-id=none -s
