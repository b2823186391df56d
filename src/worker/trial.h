/* trial.h: KVM tried apart from any step: before a worker that has an image offers VMs under it, and again some time after it failed.
 *
 *     struct trial t = { 0 };
 *     trial_turn (&t, dir, conf, state, leave) // each turn of the loop: starts a process where something is due and the owner would let a step start,
 *                                              // and ends it where not any more; true: what this machine can offer may have changed
 *     trial_offer (&t, conf, state)            // sandbox_offer(), without VMs that wait for the first trial
 *     trial_end (&t)                           // killed, with all that it started
 *
 * trial_run is what such a process does, and `assay-worker probe`.
 */
#ifndef ASSAY_WORKER_TRIAL_H
#define ASSAY_WORKER_TRIAL_H

#include <sys/types.h>

#include "worker/vm_probe.h"

struct trial { /* zero at first */
    pid_t pid;           /* 0: none */
    bool first;          /* no VM has been shown to work so far */
    int64_t looked, not_before;  /* monotonic ms: when it was looked for what is due; nothing starts before */
    enum vm_accel accel; /* as it was told last */
    char why[VM_WHY];
};

struct trial_leave {
    bool go_on, start; /* the owner lets steps run now; and there is room for one, which is what it takes */
};
bool trial_turn (struct trial *t, const char *dir, const struct conf *conf, const char *state, struct trial_leave leave);
unsigned trial_offer (const struct trial *t, const struct conf *conf, const char *state);
void trial_end (struct trial *t);

/* The null job in this image, in the group `name`.box and in the folder `place`, which it makes and removes. *ms: how long it took; *accel: under what. */
struct trial_opts {
    const struct conf *conf;
    const char *state, *image_dir, *place, *name;
};
int trial_run (const struct trial_opts *o, enum vm_accel *accel, int64_t *ms, struct err *e);
int trial_main (const struct conf *conf, const char *state); /* the process: its exit status */

#endif
