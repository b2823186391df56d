/* vm_probe.h: what can run a VM here: KVM where it is shown to work, else emulation if the owner allows it, else nothing.
 *
 * That /dev/kvm opens proves nothing: there are machines where every guest hangs under it. So one virtual CPU must compute (kvm.h).
 * Then our own guest must come up under it in time (the caller watches that): where it does not, vm_kvm_failed() remembers it until the
 * next boot of the machine.
 */
#ifndef ASSAY_WORKER_VM_PROBE_H
#define ASSAY_WORKER_VM_PROBE_H

#include "worker/vm.h"

/* state: the worker's state folder, or NULL where nothing was tried yet. VM_NONE with the reason. */
enum vm_accel vm_accel_pick (const struct conf *conf, const char *state, struct err *e);
#define VM_WHY 256
bool vm_kvm_works (char why[VM_WHY]);     /* the one virtual CPU; asked once for all steps of a worker */
void vm_kvm_failed (const char *state);

#endif
