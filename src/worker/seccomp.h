/* seccomp.h: the system calls that a step may not make, as a BPF program for bwrap --seccomp; and the few that those processes of the worker may
 * make which read what a hostile guest says (seccomp_only).
 *
 * Denied are calls that reach into the kernel's administration, other namespaces, keys, tracing of the kernel, raw devices'
 * terminals (TIOCSTI) and rare socket families; everything that compilers and tests need stays. Foreign ABIs are killed.
 */
#ifndef ASSAY_WORKER_SECCOMP_H
#define ASSAY_WORKER_SECCOMP_H

#include <sys/types.h>

#include "base/bytes.h"

/* struct sock_filter[]; made at the first call, and it stays until the process ends. */
int seccomp_program (struct bytes *program, struct err *e);
int seccomp_filter_fd (struct err *e); /* a memfd with the program, at its beginning; -1 */
/* Processes of the worker that read what a hostile guest says give up what they do not need, in this order; -1: they must not go on.
 * No one in particular (uid 0: as it is), no capability to come, no new privileges; it dies with its parent. */
int seccomp_drop (uid_t uid, pid_t parent);
/* From now on: bytes over what is open, and for a relay TCP, for a VM's keeper reading files and the end of its VM. Nothing else. */
enum seccomp_role { SECCOMP_RELAY, SECCOMP_KEEPER };
int seccomp_only (enum seccomp_role role);

#endif
