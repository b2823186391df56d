/* pool.h: the same work on many items, on all cores: signatures, which cost more than all the rest of a message.
 *
 *     pool_run (p, n, work, arg)    calls work (arg, i) for each i below n, in any order, on any thread; returns when all are done
 *     pool_start (p, n, work, arg); ...something else, such as waiting for the disk...; pool_finish (p);
 *
 * The caller's thread works along, in pool_run and from pool_finish on. One round at a time. `work` may read what nobody writes meanwhile, and write what belongs to its item.
 */
#ifndef ASSAY_BROKER_POOL_H
#define ASSAY_BROKER_POOL_H

#include <stddef.h>

#include "base/err.h"

struct pool;
struct pool *pool_new (unsigned threads);        /* besides the caller's; 0: as many as there are other cores, at most 15. Fewer when they cannot be had */
void pool_destroy (struct pool **p);
void pool_start (struct pool *p, size_t n, void (*work) (void *arg, size_t i), void *arg);
void pool_finish (struct pool *p);
void pool_run (struct pool *p, size_t n, void (*work) (void *arg, size_t i), void *arg);

#endif
