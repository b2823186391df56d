/* vm.h: one qemu process: a microVM that a step runs in, confined on its own side as far as it goes.
 *
 * qemu runs as the step's user inside bubblewrap (every namespace, no capability, a root of /usr alone), with its own seccomp filter,
 * no new privileges, in the step's control group, and dies with the process that started it. Disks, memory, kernel, ports and console
 * are descriptors that it is given; it opens nothing by name but its own program files.
 *
 *     vm_start (&vm, &plan, &e)   // the descriptors of plan stay the caller's
 *     ... vm.ctl, vm.log, vm.relay, vm.console: non-blocking stream sockets; vm.pidfd polls readable when qemu is gone
 *     vm_stop (&vm)               // killed and reaped, descriptors closed; NULL-safe in each part
 */
#ifndef ASSAY_WORKER_VM_H
#define ASSAY_WORKER_VM_H

#include <sys/types.h>

#include "base/bytes.h"
#include "worker/args.h"
#include "worker/sandbox_impl.h"

#define VM_KERNEL_MEMORY (INT64_C (160) << 20) /* what the guest's kernel and init need on top of the step's */
#define VM_TB_MIB 256                          /* qemu's translation cache, when it emulates */
#define VM_OVERHEAD (VM_KERNEL_MEMORY + ((int64_t) (VM_TB_MIB + 192) << 20))

/* Descriptors as qemu has them; from here up, so that none of bwrap's own is hit. */
enum { VM_FD_INCOMING = 10, VM_FD_KERNEL, VM_FD_INITRAMFS, VM_FD_IMAGE, VM_FD_INPUT, VM_FD_OUTPUT, VM_FD_OUTPUT_READ, VM_FD_RAM, VM_FD_CTL, VM_FD_LOG, VM_FD_RELAY, VM_FD_CONSOLE, VM_FD_QMP, VM_FD_END };
#define VM_FD_FIRST VM_FD_INCOMING

enum vm_accel { VM_NONE, VM_KVM, VM_TCG };

struct vm_plan {
    const struct sandbox *box; /* limits, user, control group */
    enum vm_accel accel;
    const char *cpu;
    int64_t memory;            /* bytes of the guest's RAM */
    int64_t khz;               /* of the host's time stamp counter */
    int kernel, initramfs, image, input, output, output_read, ram;
    int incoming;              /* a migration stream to begin with once the monitor says so; -1: boot */
    bool monitor;              /* with a monitor, for snapshots */
};

struct vm {
    pid_t pid;
    int pidfd, ctl, log, relay, console, qmp;
};
#define VM_INIT { -1, -1, -1, -1, -1, -1, -1 }

/* RAM of the guest by the owner's limits, not the step's, so that one snapshot fits all steps; the guest and the control group hold
 * the step to its own. A kernel needs some 1/64 of what it manages. */
int64_t vm_memory (const struct conf *c);
void vm_args (struct args *a, const struct vm_plan *p); /* qemu and its options, with the descriptors as above */
int vm_start (struct vm *vm, const struct vm_plan *p, struct err *e);
void vm_stop (struct vm *vm);
const char *vm_accel_name (enum vm_accel a); /* "kvm", "tcg" */
const char *vm_version (void);               /* "qemu-7.2.22", "qemu-absent"; asked once for all steps of a worker, and again when the program's file is another */
const char *vm_qemu_id (void);               /* which file that program is: one word; another when it was replaced or written to */
int64_t vm_tsc_khz (void);                   /* asked once for all steps of a worker */

#endif
