/* checkpoint.h: when is a checkpoint to be believed? The note (note.h) against the roster, witnesses, and against another checkpoint. Pure.
 *
 *     checkpoint_open (roster, root_key, raw, &note, &verifier, &e)   // well-formed, of a log of this realm, signed first by its verifier
 *     checkpoint_witnesses (roster, &note, verifier, &w, &e)          // who else signed it, of how many owners
 *     checkpoint_extends (&old, &new, &path, &e)                      // new's log begins with all of old's
 *
 * A witness is a good principal that is not the verifier and does not belong to the verifier's owner; of one owner's, one counts. Signatures under
 * names or keys that the roster does not have count for nothing; one that does not hold under the key that it names damns the checkpoint.
 *
 * An inclusion proof with its checkpoint travels as a C2SP tlog-proof: a line "c2sp.org/tlog-proof@v1", "index N", the hashes from the leaf upwards
 * in base64, one a line, an empty line, and the note.
 *
 * Errors are of kind ERR_DAMAGED, but for EC_REVOKED and EC_UNKNOWN_KEY.
 */
#ifndef ASSAY_VERIFIER_CHECKPOINT_H
#define ASSAY_VERIFIER_CHECKPOINT_H

#include "auth/roster.h"
#include "verifier/note.h"
#include "verifier/tlog.h"

#define WITNESSES_MAX (NOTE_SIGNATURES - 1)
#define INCLUSION_MAX (NOTE_MAX + 8192u)

struct witnesses {
    const struct principal *v[WITNESSES_MAX];   /* one of each owner */
    size_t n;
};

/* May its signature count as a witness's of that verifier's log? */
bool witness_good (const struct principal *p, const struct principal *verifier);
/* *verifier is borrowed from the roster; it may be revoked by now, which is for the caller to judge. On failure *n is released. */
int checkpoint_open (const struct roster *r, const uint8_t root_key[32], struct bytes raw, struct note *n, const struct principal **verifier, struct err *e);
int checkpoint_witnesses (const struct roster *r, const struct note *n, const struct principal *verifier, struct witnesses *w, struct err *e);
int checkpoint_extends (const struct note *old, const struct note *now, const struct tlog_path *path, struct err *e);

struct inclusion {
    uint64_t index;                             /* of the entry, from 0 */
    struct tlog_path path;
    struct buf note;
};
void inclusion_release (struct inclusion *in);
void inclusion_text (const struct inclusion *in, struct buf *out);
int inclusion_parse (struct bytes text, struct inclusion *in, struct err *e);
/* Is the entry in the log of that checkpoint? */
int inclusion_check (const struct inclusion *in, const struct note *n, struct bytes entry, struct err *e);

#endif
