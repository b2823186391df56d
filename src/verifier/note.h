/* note.h: checkpoints of the verdict log as signed notes. Pure but for the signing. C2SP signed-note and tlog-checkpoint.
 *
 *     ORIGIN LF SIZE LF base64 (root) LF  LF  (em dash) SP NAME SP base64 (4 bytes of key hash, 64 of Ed25519) LF ...
 * The key hash is the first 4 bytes of SHA-256 (name, LF, 0x01, public key). The first signature is the verifier's, under the origin as its name;
 * further ones are of witnesses that found the log consistent, under "ORIGIN/NAME OF THE PRINCIPAL". What is signed is the text with its last LF.
 *
 * The origin is "assay/verdicts/" and 16 hex digits of SHA-256 (root key) "/" and the verifier's name: logs of two realms are never mixed up, and no
 * note is ever the pre-authentication encoding of an envelope.
 */
#ifndef ASSAY_VERIFIER_NOTE_H
#define ASSAY_VERIFIER_NOTE_H

#include "proto/envelope.h"

#define NOTE_MAX 16384u
#define NOTE_SIGNATURES 32u
#define NOTE_NAME 192

struct note_signature {
    char name[NOTE_NAME];
    uint8_t hash[4], sig[64];
};
struct note {
    char origin[NOTE_NAME];
    uint64_t size;
    struct digest root;
    struct buf text;                                   /* what is signed */
    struct note_signature v[NOTE_SIGNATURES];
    size_t n;
};
void note_release (struct note *n);
void note_origin (const uint8_t root_key[32], const char *verifier, char out[NOTE_NAME]);
void note_witness (const char *origin, const char *principal, char out[NOTE_NAME]); /* the name that a witness signs under */
void note_text (const char *origin, uint64_t size, const struct digest *root, struct buf *out);
void note_sign (const char *name, struct bytes text, const struct sign_key *key, struct buf *out); /* adds one signature line to out */
void note_line (const struct note_signature *s, struct buf *out);                                    /* the line that it was parsed from */
/* Strict: bounds, decimal without leading zeros, at least one signature, none twice, nothing behind the last. EC_MALFORMED, EC_OVERSIZED. */
int note_parse (struct bytes raw, struct note *n, struct err *e);
bool note_names (const struct note_signature *s, const uint8_t pub[32]);             /* is its key hash that of this key? */
/* Is there a signature of that name under that key? EC_BAD_SIGNATURE with the name if not. */
int note_check (const struct note *n, const char *name, const uint8_t pub[32], struct err *e);

/* Parts of the format, for those beside it: the next line without its LF (false at the end, or where there is no LF); a decimal number below 10^18. */
bool note_next_line (struct bytes *rest, struct bytes *out);
bool note_number (struct bytes text, uint64_t *out);

#endif
