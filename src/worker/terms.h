/* terms.h: what the owner allows, by project, in the broker's words. Pure. */
#ifndef ASSAY_WORKER_TERMS_H
#define ASSAY_WORKER_TERMS_H

#include "worker/limits.h"

/* The message `terms`. running: own steps by section of conf, with those of no section last (project_count + 1 numbers). Returns whether steps
 * of any project may start, as far as hours, idleness and numbers go. */
bool terms_encode (const struct conf *c, const struct limits_seen *s, const unsigned *running, struct buf *out);

#endif
