/* kvm.h: does KVM really work here? Opening /dev/kvm proves nothing: there are hosts on which every guest hangs or dies under it.
 *
 * A child makes one virtual CPU in long mode, which counts 4 million down, does a `lock cmpxchg16b` and an `out`; the right value at
 * the right port within the deadline, and the memory as it should be, is the proof. Takes a few milliseconds where it works. A child
 * that is stuck is killed; nothing of it is left.
 *
 *     kvm_probe (KVM_PROBE_MS, &e)   // 0: it works; -1: *e says what happened and what to do
 */
#ifndef ASSAY_WORKER_KVM_H
#define ASSAY_WORKER_KVM_H

#include "base/err.h"

#define KVM_PROBE_MS 300

int kvm_probe (int deadline_ms, struct err *e);

#endif
