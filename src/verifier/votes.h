/* votes.h: what of the votes on a step is shown to people, and when, so that there is nothing to copy.
 *
 * The signed results are shown where the verdict itself shows the outcome (trusted, failed), and else once no vote can be added any more:
 * judge_close (judge.h) sees to that before the first is shown. While a step is disputed there are votes on their way: then only an outline
 * is shown, of who said the same as whom and on what host. It has no digest and no exit status: nothing that could be repeated.
 *
 * Every list holds at most 256 and 3 MiB; vote_list_release. Errors are the ledger's.
 */
#ifndef ASSAY_VERIFIER_VOTES_H
#define ASSAY_VERIFIER_VOTES_H

#include "auth/roster.h"
#include "verifier/ledger.h"

struct vote_list {
    struct buf own[256];
    struct bytes list[256];
    size_t n, bytes;
};
struct vote_list *vote_list_new (void);
void vote_list_add (struct vote_list *l, struct bytes what);
void vote_list_release (struct vote_list **l);

/* The results that the verdict in this envelope names, in its order. */
int votes_results (struct ledger *l, const struct ledger_step *step, struct bytes verdict, struct vote_list *out, struct err *e);
/* Bodies vote_outline, of the votes that count now. */
int votes_outline (struct ledger *l, const struct roster *r, const struct ledger_step *step, struct vote_list *out, struct err *e);

#endif
