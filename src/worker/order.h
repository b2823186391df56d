/* order.h: a lease and its submission, checked against the worker's own roster. Pure but for the time given in.
 *
 * The broker is not trusted: the submitter's signature, role and project, both times, the broker's signature, that the lease is
 * for us and of this very submission, image and step are all checked here. Borrows from the two raw envelopes.
 */
#ifndef ASSAY_WORKER_ORDER_H
#define ASSAY_WORKER_ORDER_H

#include "auth/roster.h"
#include "proto/blind.h"

struct order {
    struct envelope lease_env, submission_env;
    struct msg lease_msg, submission_msg, step_msg;
    const struct msg_lease_body *lease;
    const struct msg_submission_body *submission;
    const struct msg_step *step;
    struct digest lease_id, submission_id;
    unsigned network;                   /* NETWORK_*: what step, policies and broker let it have; the owner may still give less */
};

int order_check (struct order *o, const struct roster *r, const char *self, struct bytes lease, struct bytes submission, int64_t now_us, struct err *e);
/* The weakest isolation that the policies in force allow: the realm's, the project's, the recipe's. One ISOLATION_*. */
unsigned order_isolation (const struct order *o, const struct roster *r);
/* The boxes of blinded inputs (blind.h), as the broker sent them beside the lease: none, or one for each input, empty where that is a digest. out: one
 * behind the other, BLIND_BOX bytes each, zeros where there is none. */
int order_boxes (const struct order *o, const struct bytes_list *boxes, struct buf *out, struct err *e);
void order_release (struct order *o);

#endif
