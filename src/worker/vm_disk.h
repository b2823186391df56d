/* vm_disk.h: what a VM's step reads and writes, as raw disks in files without a name (guest/wire.h has their layout).
 *
 * Descriptors are the caller's; what the files hold goes with the last of them.
 */
#ifndef ASSAY_WORKER_VM_DISK_H
#define ASSAY_WORKER_VM_DISK_H

#include "worker/vm.h"

#define VM_INPUT_SIZE (INT64_C (1) << 40)      /* of the sparse input disk: the same for all, so that a snapshot fits each step */
#define VM_OUTPUT_SLACK (INT64_C (64) << 20)   /* of the output disk, beyond what the step may write */
#define VM_ENTRIES_MAX 200000u                 /* of the pack that comes back, unless the owner's limit of files is lower */

/* The job, box's sources and its inputs; open for reading only. */
int vm_disk_input (const struct sandbox *box, int *fd, struct err *e);
int vm_disk_empty (const struct sandbox *box, int *fd, struct err *e); /* one of the same size with nothing on it, for a VM that sees no step */
uint64_t vm_entries_max (const struct conf *c);
int64_t vm_output_size (const struct conf *c); /* of the output disk, by the owner's limits */
/* An empty one of so many bytes, open for both, and once more for reading only. */
int vm_disk_output (const struct sandbox *box, int64_t size, int *fd, int *read_fd, struct err *e);

/* The guest's RAM: a file without a name, of so many bytes; *fd is closed first. */
int vm_disk_ram (int64_t size, int *fd, struct err *e);

#endif
