/* vm_snapshot.h: a guest that waits for go, kept on disk, so that a step's VM need not boot.
 *
 * A snapshot is a folder of the worker's own: `memory` (what of the guest's memory is not zero), `state` (qemu's devices), and `meta` with
 * the SHA-256 of both. It was taken of a VM that never saw a step. No VM ever has these files: the memory is copied into one of the step's
 * own, and hashed on the way, before the guest may run; a snapshot that does not match is thrown away.
 */
#ifndef ASSAY_WORKER_VM_SNAPSHOT_H
#define ASSAY_WORKER_VM_SNAPSHOT_H

#include "worker/vm.h"

struct snapshot {
    int memory, state, meta; /* open files; -1 */
};

/* Folder of the snapshot for this image and plan; malloc'd. */
char *snapshot_path (const char *state, const char *image, const struct vm_plan *p, int64_t output);
/* false: there is none. */
bool snapshot_open (struct snapshot *s, const char *path);
bool snapshot_large (const char *path, int64_t max); /* taken once, and found to be larger than that */
/* Copies the memory into ram (a file of size bytes, empty) and the devices' state to `devices`. -1: damaged, or cannot be read. */
int snapshot_fill (const struct snapshot *s, int ram, int64_t size, struct buf *devices, struct err *e);
/* The VM (with a monitor, its plan's incoming open on the devices' state) takes it in and goes on. */
int snapshot_begin (struct vm *vm, struct err *e);
void snapshot_close (struct snapshot *s);
void snapshot_discard (const char *path);
/* Of a VM with a monitor that waits for go, whose memory is the file ram. Older ones give way until all fit into max bytes; one that does not fit
 * alone is an error, and not kept. The VM is of no
 * more use afterwards. ERR_FAILED with EC_BUSY: another step takes one just now. */
int snapshot_take (const char *path, struct vm *vm, int ram, int64_t max, struct err *e);

#endif
