/* runner.h: the process of one step: everything that blocks. The agent starts its own program again with `--step HEX`, so
 * that a step begins with a clean process; orders are read from STATE/steps/HEX/{lease,submission}, and the owner's settings for
 * the step, as they were when it began, from RUNNER_CONF beside them.
 *
 * What it says goes over one socket as records: a kind byte, u32be length, data (runner_read): log bytes, what the relay did, and at the end
 * either a sealed outcome or the reason of an error or refusal.
 */
#ifndef ASSAY_WORKER_RUNNER_H
#define ASSAY_WORKER_RUNNER_H

#include "worker/conf.h"
#include "worker/order.h"

#define RUNNER_CONF "worker.ini"
#define RUNNER_LOG 'L'
#define RUNNER_OUTCOME 'O' /* the sealed result */
#define RUNNER_ERROR 'E'   /* text */
#define RUNNER_REFUSED 'R' /* text: no error, this machine cannot give the isolation after all; the lease is another worker's */
#define RUNNER_RELAY 'N'   /* two uint64_t: connections of the build that were let through, and that were not */
#define RUNNER_RECORD_MAX (300u << 10)

struct runner_hooks {
    /* Called with the collected tree before it is hashed; NULL in assay-worker. Another program of the tests shows with it what a
     * worker that lies is worth. */
    void (*collected) (const char *tree);
};

/* Never returns to the agent's code: the exit status of the process. fd: where records go. */
int runner_main (const char *dir, const struct conf *conf, const char *hex, int fd, const struct runner_hooks *hooks);
/* Take one record off the front of in: 1 got it (*used bytes), 0 more is needed, -1 nonsense. Pure. */
int runner_read (struct bytes in, char *kind, struct bytes *data, size_t *used);
void runner_relay (struct bytes data, uint64_t sum[2]); /* adds what a RUNNER_RELAY says */

#endif
