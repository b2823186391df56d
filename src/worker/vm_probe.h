/* vm_probe.h: what can run a VM here: KVM where it is shown to work, else emulation if the owner allows it, else nothing.
 *
 * That /dev/kvm opens proves nothing: there are machines where every guest hangs under it. So one virtual CPU must compute (kvm.h); and,
 * once for each image, qemu and boot of the machine, our own null job must run in a VM of it in time (vm_null.h). What came of it is in
 * STATE/kvm and STATE/images/HEX.kvm (vm_standing.h). An image whose guest does not come up says nothing of other images.
 *
 *     vm_kvm_forget (state)                         // the worker starts, or its owner wants it tried again
 *     vm_accel_pick (conf, state, image_dir, &try, why)   // for a step; try: the null job first
 *     vm_kvm_note (image_dir, works, why)           // what came of it
 * An environment variable ASSAY_KVM stands for the virtual CPU's test, which then is not made: empty where it worked, else what went wrong.
 */
#ifndef ASSAY_WORKER_VM_PROBE_H
#define ASSAY_WORKER_VM_PROBE_H

#include "worker/vm.h"
#include "worker/vm_standing.h"

/* For a step in this image. VM_NONE: nothing, and why says what is wrong with KVM. *try: no null job has run in this image yet. */
enum vm_accel vm_accel_pick (const struct conf *conf, const char *state, const char *image_dir, bool *try, char why[VM_WHY]);
/* For any step, as far as it is known: KVM, unless the images that are here all fail under it. why: what is wrong with KVM, else empty. */
enum vm_accel vm_accel_any (const struct conf *conf, const char *state, char why[VM_WHY]);
int vm_accel_none (const char *why, struct err *e); /* the error's text; -1 */

void vm_kvm_machine (const char *state, struct standing *s); /* the one virtual CPU, tested where nothing is known */
void vm_kvm_test (const char *state, struct standing *s);    /* tested, whatever is known */
void vm_kvm_image (const char *image_dir, struct standing *s);
void vm_kvm_note (const char *image_dir, bool works, const char *why);
void vm_kvm_forget (const char *state); /* of the virtual CPU alone */

/* What is to be tried now, apart from any step. VM_DUE_FIRST, VM_DUE_AGAIN: in *image_dir (malloc'd), one that boots; none has worked yet, or that one failed before. */
enum vm_due { VM_DUE_NOTHING, VM_DUE_CPU, VM_DUE_FIRST, VM_DUE_AGAIN };
enum vm_due vm_kvm_due (const char *state, char **image_dir);
char *vm_image_here (const char *state); /* one that boots, such as failed before all others; malloc'd, or NULL */

#endif
