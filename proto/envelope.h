/* envelope.h: sign and open what outlives a connection. DSSE pre-authentication encoding, Ed25519 (RFC 8032).
 *
 * Two carriers of the same signature: the compact one is msgpack [type, body, keyid, signature]; the JSON one is the DSSE
 * envelope that other tools read. The body is signed and checked as the very bytes that came, never re-encoded.
 * keyid is the signer's public key (32 bytes); it is a hint, and callers name the key that must have signed.
 *
 *     envelope_sign (TYPE_LEASE, body, key, &out);
 *     struct envelope v;  if (envelope_open (raw, TYPE_LEASE, &v, &e) == 0 && envelope_check (&v, pub, &e) == 0) use v.body
 *
 * Pure but for the signing itself. Errors: EC_MALFORMED, EC_BAD_SIGNATURE.
 */
#ifndef ASSAY_PROTO_ENVELOPE_H
#define ASSAY_PROTO_ENVELOPE_H

#include "proto/msg.h"

struct sign_key {       /* Ed25519 */
    uint8_t pub[32];
    uint8_t *sec;       /* 64 bytes in locked memory */
};

struct envelope {       /* borrows from the raw bytes, or from `own` for JSON */
    struct bytes type, body;
    uint8_t keyid[32];
    uint8_t sig[64];
    struct buf own;
};

void envelope_sign (const char *type, struct bytes body, const struct sign_key *key, struct buf *out);
int envelope_open (struct bytes raw, const char *type, struct envelope *v, struct err *e);   /* parse; type must match */
int envelope_check (const struct envelope *v, const uint8_t pub[32], struct err *e);         /* the signature, under this key */
void envelope_release (struct envelope *v);
/* SHA-256 over the PAE (type and body): the id of what was signed, the same for both carriers and any signer. */
struct digest envelope_id (const struct envelope *v);

void envelope_sign_json (const char *type, struct bytes body, const struct sign_key *key, struct buf *out);
int envelope_open_json (struct bytes raw, const char *type, struct envelope *v, struct err *e);

/* Ed25519 over bytes that no envelope can be (they never begin with "DSSEv1"): for formats of others, that have an own way to separate domains. */
void signature_make (const struct sign_key *key, struct bytes text, uint8_t sig[64]);
bool signature_good (const uint8_t pub[32], struct bytes text, const uint8_t sig[64]);

/* crypto_box_seal to a sealing key (X25519). seal_sec: 32 bytes. */
void seal_to (const uint8_t seal_pub[32], struct bytes plain, struct buf *out);
int seal_open (const uint8_t seal_pub[32], const uint8_t *seal_sec, struct bytes sealed, struct buf *out, struct err *e);

#endif
