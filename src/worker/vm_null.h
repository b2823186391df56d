/* vm_null.h: our own null job in a VM: does a guest of this image come up, run a command, and say how that ended, in time?
 *
 * In the step's own control group and folder, under its limits, of the same disks and memory as the step's VM; cold, without a snapshot. Nothing
 * of it is left. The plan has what the step's VM will have, but for its disks for input and output and its memory.
 */
#ifndef ASSAY_WORKER_VM_NULL_H
#define ASSAY_WORKER_VM_NULL_H

#include "worker/vm.h"

#define VM_NULL_MS 20000          /* under KVM, where it takes about one second */
#define VM_NULL_EMULATED_MS 120000

/* 0: it did. -1: it did not, and *blame says whether that speaks against what runs the VM: not where there was no memory, the guest itself
 * says what it lacks, or no VM could be started at all. */
int vm_null (const struct sandbox *box, const struct vm_plan *plan, bool *blame, struct err *e);

#endif
