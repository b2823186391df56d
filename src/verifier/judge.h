/* judge.h: from events to verdicts. The rule is rule.h's; here its inputs are gathered and its decisions become signed verdicts.
 *
 *     ledger_begin; for each event in order: judge_apply; ledger_commit
 * judge_apply fails only where the ledger does: what is wrong with an event, a submission or a result is refused, logged and,
 * where a step would lack a vote for it, sought again (replicate). Verdicts carry the event's time, so that the same events give
 * the same verdicts. What is to be told to the broker is left in the ledger's outbox.
 *
 * A step that needs others is decided on what their artifacts are now: votes of results that read anything else do not count. When an
 * input changes, so does what was built or tested on it, at once and in order. Who has read an artifact has no vote on it.
 */
#ifndef ASSAY_VERIFIER_JUDGE_H
#define ASSAY_VERIFIER_JUDGE_H

#include "auth/realm.h"
#include "verifier/ledger.h"

struct judge {
    struct ledger *ledger;
    const struct roster *roster;
    const struct keys *keys;
    const char *name;              /* our principal's */
    bool (*news) (void *arg);      /* waits a moment for a newer roster: a signer is unknown. May be NULL */
    void *arg;
};

int judge_apply (struct judge *j, const struct msg_event *ev, struct err *e);
/* The roster changed: look again at steps that are open. *after goes on from call to call; 0 when all were seen. */
int judge_review (struct judge *j, int64_t *after, int64_t now, struct err *e);
/* A principal was revoked: decide again what its votes (or, of a broker or store, leases and receipts) went into, a batch a call, and all
 * that depends on it. Where it stands is in the ledger. 1: call again, 0: nothing is left. */
int judge_revoked (struct judge *j, int64_t now, struct err *e);
/* The step takes no further votes in this round, as its results are about to be shown: only owners that have voted are counted on. Decided again
 * at once: what would have waited for more votes is final now. 0, also where there is no such step. */
int judge_close (struct judge *j, const struct digest *sub, struct bytes step, int64_t now, struct err *e);
/* A verdict that is not final, with the artifact that leads: for those who may use what is not trusted yet. Nothing is stored. 1, 0. */
int judge_reveal (struct judge *j, const struct digest *sub, struct bytes step, int64_t now, struct buf *out, struct err *e);

#endif
