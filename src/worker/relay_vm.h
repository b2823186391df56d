/* relay_vm.h: the relay's process of a step in a VM. It is given the host's end of the VM's relay port (guest/wire.h) once the guest has
 * started, takes each byte from there as hostile, and dials nothing but the endpoints of the plan: one that is not in it is shut and
 * counted; what is against the rules of guest/mux.h ends it all.
 */
#ifndef ASSAY_WORKER_RELAY_VM_H
#define ASSAY_WORKER_RELAY_VM_H

#include "worker/relay.h"

/* A connection to a target, begun: a non-blocking socket that is still connecting. -1: not to be had, or too many by now; counted. */
int relay_dial (const struct relay_target *t, struct relay_counts *counts);

/* All that the process does, until stop hangs up; as this user (0: as it is), with nothing open but these descriptors. */
void relay_vm_work (const struct relay_plan *plan, int given, uid_t uid, int stop, struct relay_counts *counts);
/* The port, to the process whose other end of `given` is `to`. -1 with errno. */
int relay_vm_give (int to, int port);

#endif
