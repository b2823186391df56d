/* intake.h: is this result a vote? Every check that makes one valid, in one place. Pure: roster, submission and event are handed in.
 *
 * The result is opened (unsealed), and still the worker's word. What it says must agree with what was signed by others: the
 * submission by its submitter, the lease by the broker, the receipt by the store; and its signer must have been a good worker at
 * the event's time. Each refusal says which of these does not hold (EC_*).
 */
#ifndef ASSAY_VERIFIER_INTAKE_H
#define ASSAY_VERIFIER_INTAKE_H

#include "auth/roster.h"
#include "proto/statement.h"

#define INTAKE_SKEW_US (INT64_C (60) * 1000000) /* clocks of broker, worker and store */

struct intake {
    const struct roster *roster;
    const struct msg_event *event;               /* artifact-completed */
    const struct msg_submission_body *submission;
    const struct msg_step *step;
    struct policy policy;                        /* in force */
    struct digest lease;                         /* as the event's payload names it */
};

/* envelope: the worker's DSSE JSON. On success *r is the result (result_release) and *id the SHA-256 of the envelope. What it read is as
 * its lease says; whether that is what its inputs turn out to be is not decided here. */
struct taken {
    struct digest id;
    struct digest inputs;                        /* inputs_digest () */
    char broker[64], store[64];                  /* who signed its lease, and its receipt if there is one */
};
int intake_check (const struct intake *in, struct bytes envelope, struct result *r, struct taken *out, struct err *e);

/* A vote that was taken in: do its bytes and signatures still hold, under this roster? envelope: as it is stored. The statement itself was
 * read when it came in; these are its bytes, by their SHA-256. */
struct ledger_vote;
int intake_again (const struct roster *r, const struct ledger_vote *v, struct bytes envelope, struct err *e);

/* SHA-256 of the digests in order, so that what two results read can be compared; zero for none. */
struct digest inputs_digest (const struct digest *inputs, size_t n);

/* A submission as its submitter signed it: signature, role and project under the roster at that time. id must be the event's.
 * On success the caller releases both (msg_release (body), envelope_release (v)); body borrows from raw. */
int intake_submission (const struct roster *r, struct bytes raw, const struct digest *id, int64_t time, struct envelope *v, struct msg *body, struct err *e);

#endif
