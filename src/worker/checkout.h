/* checkout.h: the signed commit, into the sandbox's source folder, and only if its recipe is the signed one. Blocks. */
#ifndef ASSAY_WORKER_CHECKOUT_H
#define ASSAY_WORKER_CHECKOUT_H

#include "worker/order.h"
#include "worker/relay.h"

struct checkout_opts {
    const char *state, *src;     /* the worker's state folder (mirrors/ in it, one a repository, locked while fetched); where the files go */
    struct relay_target *server; /* of the submission's URL (checkout_server): looked up here if it was not before, and fetched from nowhere else */
    bool loopback;               /* it may be on this machine's loopback */
    int timeout_ms;
    uint64_t max_files, max_bytes;
};

/* The server that the submission's URL names; one without a host for a file URL. -1: it names none that can be fetched from. */
int checkout_server (const struct order *o, struct relay_target *t, struct err *e);
int checkout (const struct order *o, const struct checkout_opts *c, struct err *e);

#endif
