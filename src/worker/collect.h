/* collect.h: gather a step's artifacts into one tree. The sources are hostile; nothing is followed, nothing is copied.
 *
 * Each listed path (globs * ? [..] within one component) is looked for in /out first, then in /src. What is found is hard-linked
 * into `tree` (same file system), so nobody may be able to write to the sources any more. Regular files, folders and symlinks that
 * stay inside the tree pass; setuid, setgid and sticky bits are dropped and noted. Anything else fails the step, and is named.
 */
#ifndef ASSAY_WORKER_COLLECT_H
#define ASSAY_WORKER_COLLECT_H

#include "proto/msg.h"

struct collect_opts {
    const char *out, *src, *tree;   /* tree: created by the caller, empty */
    const struct bytes_list *paths;
    uint64_t max_files, max_bytes;
};

/* 0: all is there; -1: the step fails, *e says which and why. Text for the log and the result goes to notes. */
int collect (const struct collect_opts *o, struct buf *notes, struct err *e);

#endif
