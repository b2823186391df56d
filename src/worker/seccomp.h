/* seccomp.h: the system calls that a step may not make, as a BPF program for bwrap --seccomp.
 *
 * Denied are calls that reach into the kernel's administration, other namespaces, keys, tracing of the kernel, raw devices'
 * terminals (TIOCSTI) and rare socket families; everything that compilers and tests need stays. Foreign ABIs are killed.
 */
#ifndef ASSAY_WORKER_SECCOMP_H
#define ASSAY_WORKER_SECCOMP_H

#include "base/bytes.h"

/* struct sock_filter[]; made at the first call, and it stays until the process ends. */
int seccomp_program (struct bytes *program, struct err *e);
int seccomp_filter_fd (struct err *e); /* a memfd with the program, at its beginning; -1 */
/* For a relay that speaks with a guest: from now on this process may move bytes over what it has open, and dial over TCP. -1: it cannot be confined so. */
int seccomp_relay (void);

#endif
