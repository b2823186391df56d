/* checkout.h: the signed commit, into the sandbox's source folder, and only if its recipe is the signed one. Blocks. */
#ifndef ASSAY_WORKER_CHECKOUT_H
#define ASSAY_WORKER_CHECKOUT_H

#include "worker/order.h"

/* state: the worker's state folder (mirrors/ in it, one a repository, locked while fetched). */
int checkout (const struct order *o, const char *state, const char *src, int timeout_ms, uint64_t max_files, uint64_t max_bytes, struct err *e);

#endif
