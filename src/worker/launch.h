/* launch.h: start the process of a step (runner.h) with its orders and settings in its folder STATE/steps/HEX.
 *
 * A program with this many libraries takes longer to start than a small step runs. So launch_spare starts one ahead: it has done nothing but load
 * them, knows of no step, and waits on its socket for the one that it is for. A step has a process of its own in either case. It ends with us.
 */
#ifndef ASSAY_WORKER_LAUNCH_H
#define ASSAY_WORKER_LAUNCH_H

#include <sys/types.h>

#include "worker/conf.h"

struct launch_opts {
    const char *dir, *state, *hex;
    const struct conf *conf;         /* the owner's settings for this step */
    struct bytes lease, submission;  /* envelopes */
    struct bytes boxes;              /* of the lease's inputs, as order_boxes gives them */
};
/* The process, and our end of the socket on which it says what it has to say (non-blocking; the caller's). On -1 the folder may be there. */
int launch (const struct launch_opts *o, pid_t *pid, int *fd, struct err *e);
void launch_spare (const char *dir); /* unless there is one; when it cannot be had, the next step starts its own */
void launch_end (void);              /* the spare is not needed any more */
/* In the spare: load what a step needs, and wait. false: the worker has gone. */
bool launch_wait (int fd, char hex[DIGEST_HEX]);
#define LAUNCH_SPARE "-"             /* for the step's id on its command line */

#endif
