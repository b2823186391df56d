/* link.h: a result in the words of classic in-toto, so that `in-toto-verify` can count the owners that agree without assay.
 *
 * A worker signs, beside its result, the link that follows from the result and the manifest of its artifact, and puts only that signature
 * into the result: whoever has both writes the link again, byte for byte, and it agrees with the outcome by construction.
 *     worker:  link_text (&r, &manifest, &text, &e); signature_make (key, text, r.link); r.linked = true;
 *     client:  link_text (...); signature_good (worker's key, text, r.link); link_file (text, key, r.link, &out)
 * The text is the "signed" part in OLPC canonical JSON: keys sorted, no white space, only `\` and `"` escaped. It can be no envelope, which
 * begins with "DSSEv1". Two workers with the same inputs and the same outcome sign the same text.
 *
 * Products are the artifact's files with their SHA-256, symlinks followed, as in-toto records them; an artifact whose symlinks lead into
 * themselves, or to more than 131072 paths, has no link: it is a build that makes it, and whoever writes the link must come to an end. Materials are the commit, the recipe and the artifacts read; the image is in the environment, as owners may agree across
 * images. Pure; jansson. Errors: EC_MALFORMED, EC_OVERSIZED with what is wrong.
 */
#ifndef ASSAY_STORE_LINK_H
#define ASSAY_STORE_LINK_H

#include "proto/statement.h"
#include "store/manifest.h"

#define LINK_MAX (32u << 20)

void link_keyid (const uint8_t key[32], char out[DIGEST_HEX]);           /* as securesystemslib names an Ed25519 key */
int link_text (const struct result *r, const struct manifest *m, struct buf *text, struct err *e);
void link_file (struct bytes text, const uint8_t key[32], const uint8_t sig[64], struct buf *out);

struct link {               /* a file of others, read: its signature is not checked yet */
    char name[64];          /* the step's */
    char keyid[DIGEST_HEX];
    uint8_t sig[64];
    struct buf text;        /* what the signature must be over */
};
int link_open (struct bytes file, struct link *l, struct err *e);
void link_release (struct link *l);

struct link_layout {
    const char *step;
    unsigned threshold;
    const uint8_t (*keys)[32];
    size_t key_count;
    const struct manifest *artifact; /* each file is asked for */
    int64_t expires;                 /* microseconds */
};
/* A layout that asks for so many equal links, and for the artifact in the folder where it is verified. Not signed: that is for whoever trusts it. */
void link_layout (const struct link_layout *o, struct buf *out);

#endif
