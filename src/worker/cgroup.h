/* cgroup.h: one control group a step: limits, and a handle on everything that the step started.
 *
 * cgroup_setup finds what this machine has: v2 with delegated controllers (memory, pids; our own group must be ours to write),
 * else v1 hierarchies (memory, pids, cpu, freezer) at our own path. A worker's groups are called assay-KEY, KEY from its state
 * folder, so that a new start finds and clears what a killed worker left (cgroup_sweep).
 *
 *     cgroup_setup (state_dir, &e)           // once a process; -1: no usable cgroups, with the reason
 *     cgroup_make ("NAME.box", &limits, &e)
 *     cgroup_enter ("NAME.box")              // in the forked child, before it gives up privileges or has threads
 *     cgroup_kill ("NAME.box")               // every process in it, until none is left; then removes the group
 *     cgroup_freeze ("NAME.box", true)       // it gets no CPU any more, until thawed or killed; memory stays taken
 * Without setup the calls do nothing and succeed (freezing fails).
 */
#ifndef ASSAY_WORKER_CGROUP_H
#define ASSAY_WORKER_CGROUP_H

#include "base/bytes.h"
#include "worker/guest/thrash.h"

struct cgroup_limits { /* 0: no limit */
    int64_t memory;    /* bytes */
    int64_t processes;
    int64_t cpus;
    int64_t nice;          /* 0..19: the group's weight against others is what this niceness is among processes */
    bool idle;             /* only CPU time that nobody else wants */
};

int cgroup_setup (const char *state_dir, struct err *e);
const char *cgroup_kind (void);     /* "v2", "v1", "none" */
/* Niceness and idleness hold inside a group only: all groups of this worker together get this against the rest of the machine. Where the
 * kernel cannot, nothing happens. */
void cgroup_weight (int64_t nice, bool idle);
int cgroup_make (const char *name, const struct cgroup_limits *l, struct err *e);
int cgroup_enter (const char *name);               /* async-signal-safe enough for a forked child; -1 with errno */
bool cgroup_oom (const char *name);                /* the kernel killed something in it for memory */
/* It is out of memory, though the kernel kills nothing (guest/thrash.h); to be asked a few times a second. t: the caller's, zero at first. */
bool cgroup_thrashes (const char *name, struct thrash *t);
void cgroup_kill (const char *name);
int cgroup_freeze (const char *name, bool frozen);  /* -1: no such group (yet), or it cannot */
bool cgroup_frozen (const char *name);              /* it is, or is about to be */
void cgroup_sweep (void);                          /* kill and remove every group of this worker */
void cgroup_leave (void);                          /* and the folders that held them; the end of setup */

#endif
