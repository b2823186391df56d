/* logbook.h: what a verifier says about its log of verdicts: checkpoints, proofs, and the signatures of witnesses that it keeps.
 *
 *     struct logbook b = { ledger, roster, root_key, name, key };
 *     logbook_checkpoint (&b, witnesses, &note, &e)     // the newest, or the newest that so many witnesses signed: EC_NOT_FOUND if none
 *     logbook_prove (&b, kind, at, size, &path, &e)     // PROOF_INCLUSION, PROOF_GROWTH
 *     logbook_cosign (&b, note, who, &e)                // checked: a checkpoint of this log, signed by who; stored (in a turn of its own)
 * A checkpoint of a size is the same bytes whenever it is asked for, but for the witnesses. Of the witnesses of one owner, one is shown, so that nobody
 * crowds the others out; which of them count is checkpoint.h's rule. Between two turns of the ledger only: what is shown is on the disk.
 */
#ifndef ASSAY_VERIFIER_LOGBOOK_H
#define ASSAY_VERIFIER_LOGBOOK_H

#include "auth/roster.h"
#include "verifier/ledger.h"

#define PROOF_INCLUSION 1u
#define PROOF_GROWTH 2u

struct logbook {
    struct ledger *ledger;
    const struct roster *roster;
    const uint8_t *root_key;
    const char *name;               /* our principal's */
    const struct sign_key *key;
};

uint64_t logbook_size (const struct logbook *b);
int logbook_checkpoint (const struct logbook *b, uint64_t witnesses, struct buf *note, struct err *e);
int logbook_at (const struct logbook *b, uint64_t size, struct buf *note, struct err *e); /* the checkpoint of that size */
int logbook_prove (const struct logbook *b, uint64_t kind, uint64_t at, uint64_t size, struct tlog_path *path, struct err *e);
int logbook_cosign (const struct logbook *b, struct bytes note, const struct principal *who, struct err *e);

#endif
