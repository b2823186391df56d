/* launch.h: start the process of a step (runner.h) with its orders and settings in its folder STATE/steps/HEX. */
#ifndef ASSAY_WORKER_LAUNCH_H
#define ASSAY_WORKER_LAUNCH_H

#include <sys/types.h>

#include "worker/conf.h"

struct launch_opts {
    const char *dir, *state, *hex;
    const struct conf *conf;         /* the owner's settings for this step */
    struct bytes lease, submission;  /* envelopes */
};
/* The process, and our end of the socket on which it says what it has to say (non-blocking; the caller's). On -1 the folder may be there. */
int launch (const struct launch_opts *o, pid_t *pid, int *fd, struct err *e);

#endif
