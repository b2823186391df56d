/* held.h: a verifier's ledger full of verdicts, for what is measured over one. Every signature in it is real: made on all cores, and written while the
 * next are made; not through the verifier, which would take several times as long and is measured elsewhere (bench_log).
 *
 *     held_open (&h, dir);                       // a realm of `assay init --workers 4`, of which nothing runs
 *     held_fill (&h, ledger, n, also, arg);      // n submissions
 *     held_close (&h);
 *
 * Each submission has two steps under agree 2: "build", which worker-1 and worker-2 ran, and "test", which needs it, and which worker-2 and worker-3
 * ran; both are trusted. So that is two verdicts and four results each, and whoever revokes worker-1 takes a vote of "build" away, with which "test" falls.
 */
#ifndef ASSAY_BENCH_HELD_H
#define ASSAY_BENCH_HELD_H

#include "auth/realm.h"
#include "verifier/ledger.h"

#define HELD_STEPS 2u
#define HELD_VOTES 2u /* of each step */
#define HELD_SHARE 512u

struct held_vote {
    struct digest lease_id, result_id;
    struct buf lease, receipt, envelope;
    unsigned who;
};
struct held_step {
    struct digest artifact, outcome, verdict_id;
    uint64_t index;          /* in the log, from 1 */
    struct held_vote vote[HELD_VOTES];
    struct buf verdict;
};
struct held_sub {
    struct digest id;
    struct buf submission;
    struct held_step step[HELD_STEPS];
};
struct held {
    struct realm *admin, *broker, *store, *verifier, *worker[3];
    struct policy policy;    /* of each step, in force */
    int64_t now;             /* when all of it happened */
    struct held_sub *made;   /* the last ones: two shares, one of them written while the other is made */
    size_t last, last_count; /* the share that was written last, and how many it has */
};
void held_open (struct held *h, const char *dir);
void held_close (struct held *h);
void held_fill (struct held *h, struct ledger *l, size_t n, void (*also) (void *arg, const struct held *h, const struct held_sub *s), void *arg);
extern const char *const held_step_names[HELD_STEPS];

/* The same work on each of n items, on all cores. */
void all_cores (size_t n, void (*one) (void *arg, size_t i), void *arg);

#endif
