/* recount.h: what was decided, decided again from the results that are stored, on all cores.
 *
 * Of each vote every byte that was signed is checked again under the roster of now: the result's envelope is the one that was taken in (its
 * SHA-256), and worker, broker and store signed it, its lease and its receipt. Then the rule (rule.h) is applied, and compared with what
 * was said. Nothing is written. For whoever restored a disk, or does not trust one; the verifier must not run meanwhile.
 */
#ifndef ASSAY_VERIFIER_RECOUNT_H
#define ASSAY_VERIFIER_RECOUNT_H

#include "auth/realm.h"

struct recount {
    uint64_t steps, results; /* looked at */
    uint64_t bad, differ;    /* results that do not hold; steps that come out otherwise */
};
/* path: the ledger's file. threads 0: as many as there are cores. tell (may be NULL) is called for each that is bad or differs, by one thread
 * at a time. -1 where the ledger cannot be read. */
int recount (const char *path, const struct roster *r, unsigned threads, void (*tell) (void *arg, const char *line), void *arg, struct recount *out, struct err *e);

#endif
