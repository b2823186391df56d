/* blind.h: an artifact named so that only those who read it know which it is.
 *
 * A step with `start: provisional` begins on an artifact that has no verdict yet, and nobody but verifier, store and the worker that reads it is to
 * learn its digest. So the verifier tells the broker a commitment to the digest (Brassard, Chaum, Crépeau 1988: hiding by the salt, binding by SHA-256),
 *     name = SHA-256 ("assay-blind-1\n", submission, salt, digest)
 * and a box that the store alone opens: crypto_box_seal to its sealing key over salt and digest. The lease carries the name where it would carry a
 * digest. The store opens the box, serves the artifact, and tells the worker the salt, the opening; the worker checks that what it got is what was named,
 * and its result, sealed to the verifier, says digest and opening, so that anyone who reads the result can check it against the lease.
 * The same step, artifact and verifier give the same name: what ran on it goes on when a verdict confirms the artifact, of which the verdict tells the
 * broker the opening. From then on leases name it by its digest.
 *
 *     blind_make (submission, step, artifact, keys->seal_sec, store->seal_key, &b)                        // verifier
 *     blind_open (&b.name, submission, box, keys->seal_pub, keys->seal_sec, &artifact, &opening, &e)      // store
 *     blind_names (&name, submission, &opening, &artifact)                                                // worker, verifier
 * Pure but for the box's one-time key. Errors: EC_MALFORMED, and seal_open's.
 */
#ifndef ASSAY_PROTO_BLIND_H
#define ASSAY_PROTO_BLIND_H

#include "proto/envelope.h"

#define BLIND_BOX 112u /* bytes: crypto_box_SEALBYTES, salt, digest */

struct blind {
    struct digest name;
    uint8_t box[BLIND_BOX];
};

/* `secret`: 32 bytes that only the caller has; the salt comes of it. */
void blind_make (const struct digest *submission, struct bytes step, const struct digest *artifact, const uint8_t *secret, const uint8_t store[32], struct blind *out);
struct digest blind_salt (const struct digest *submission, struct bytes step, const struct digest *artifact, const uint8_t *secret);
int blind_open (const struct digest *name, const struct digest *submission, struct bytes box, const uint8_t seal_pub[32], const uint8_t *seal_sec,
                struct digest *artifact, struct digest *opening, struct err *e);
struct digest blind_name (const struct digest *submission, const struct digest *opening, const struct digest *artifact);
/* Does `name` stand for the artifact: as its digest (opening zero), or blinded? */
bool blind_names (const struct digest *name, const struct digest *submission, const struct digest *opening, const struct digest *artifact);
/* The same of a lease's input. */
bool blind_names_input (const struct msg_lease_body *lease, size_t i, const struct digest *opening, const struct digest *artifact);
/* What a field of fixed size holds: a box, or nothing where it is zero. */
struct bytes blind_box (const uint8_t field[BLIND_BOX]);

#endif
