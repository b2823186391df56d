/* report.h: a step's result: in-toto JSON, signed by this worker, sealed to the verifier. With a success goes the worker's signature over the
 * classic in-toto link of the same outcome (store/link.h). */
#ifndef ASSAY_WORKER_REPORT_H
#define ASSAY_WORKER_REPORT_H

#include "auth/realm.h"
#include "worker/order.h"

struct report {
    unsigned isolation, exit_status, network; /* network: NETWORK_*, what the build really had */
    struct digest artifact;
    const struct digest *inputs, *openings; /* what it read, in the order of the lease's inputs; openings as in blind.h */
    struct bytes lease, receipt; /* envelopes */
    struct bytes manifest;       /* of the artifact; empty where the step failed */
    int64_t started, finished;   /* microseconds */
    const char *host, *note, *accelerator; /* accelerator: "", "kvm", "tcg" */
};
int report_seal (struct realm *rl, const struct order *o, const struct report *p, struct buf *sealed, struct err *e);

#endif
