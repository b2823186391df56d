#include "verifier/note.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DASH "\xe2\x80\x94 "

void note_release (struct note *n)
{
    buf_release (&n->text);
    memset (n, 0, sizeof *n);
}

void note_origin (const uint8_t root_key[32], const char *verifier, char out[NOTE_NAME])
{
    struct digest d = digest_of (root_key, 32);
    char hex[17];
    hex_encode (d.b, 8, hex);
    (void) snprintf (out, NOTE_NAME, "assay/verdicts/%s/%s", hex, verifier);
}

void note_witness (const char *origin, const char *principal, char out[NOTE_NAME])
{
    (void) snprintf (out, NOTE_NAME, "%s/%s", origin, principal);
}

void note_text (const char *origin, uint64_t size, const struct digest *root, struct buf *out)
{
    buf_addf (out, "%s\n%llu\n", origin, (unsigned long long) size);
    base64_add (out, bytes_of (root->b, 32));
    buf_adds (out, "\n");
}

static void key_hash (const char *name, const uint8_t pub[32], uint8_t out[4])
{
    BUF (b);
    buf_addf (&b, "%s\n", name);
    buf_add (&b, "\x01", 1);
    buf_add (&b, pub, 32);
    struct digest d = digest_of (b.p, b.len);
    memcpy (out, d.b, 4);
}

void note_line (const struct note_signature *s, struct buf *out)
{
    uint8_t raw[68];
    memcpy (raw, s->hash, 4);
    memcpy (raw + 4, s->sig, 64);
    buf_addf (out, DASH "%s ", s->name);
    base64_add (out, bytes_of (raw, sizeof raw));
    buf_adds (out, "\n");
}

void note_sign (const char *name, struct bytes text, const struct sign_key *key, struct buf *out)
{
    struct note_signature s;
    (void) snprintf (s.name, sizeof s.name, "%s", name);
    key_hash (name, key->pub, s.hash);
    signature_make (key, text, s.sig);
    note_line (&s, out);
}

bool note_next_line (struct bytes *rest, struct bytes *out)
{
    const uint8_t *end = rest->len ? memchr (rest->p, '\n', rest->len) : NULL;
    if (!end)
        return false;
    *out = bytes_of (rest->p, (size_t) (end - rest->p));
    *rest = bytes_of (end + 1, rest->len - out->len - 1);
    return true;
}

bool note_number (struct bytes text, uint64_t *out)
{
    *out = 0;
    if (text.len == 0 || text.len > 18 || (text.p[0] == '0' && text.len > 1))
        return false;
    for (size_t i = 0; i < text.len; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
        *out = *out * 10 + (uint64_t) (text.p[i] - '0');
    }
    return true;
}

/* Names hold no space and no plus, as the specification has it. */
static bool name_in (struct bytes text, char out[NOTE_NAME])
{
    if (text.len == 0 || !utf8_valid (text) || !bytes_copy (text, out, NOTE_NAME))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (text.p[i] <= ' ' || text.p[i] == '+' || text.p[i] == 0x7f)
            return false;
    return true;
}

static bool signature (struct bytes text, struct note_signature *s)
{
    BUF (raw);
    size_t dash = strlen (DASH);
    if (text.len <= dash || memcmp (text.p, DASH, dash) != 0)
        return false;
    text = bytes_of (text.p + dash, text.len - dash);
    const uint8_t *space = memchr (text.p, ' ', text.len);
    if (!space || !name_in (bytes_of (text.p, (size_t) (space - text.p)), s->name))
        return false;
    if (!base64_decode (bytes_of (space + 1, text.len - (size_t) (space - text.p) - 1), &raw) || raw.len != 68)
        return false;
    memcpy (s->hash, raw.p, 4);
    memcpy (s->sig, raw.p + 4, 64);
    return true;
}

int note_parse (struct bytes raw, struct note *n, struct err *e)
{
    struct bytes rest = raw, origin, size, root, empty, one;
    BUF (hash);
    memset (n, 0, sizeof *n);
    if (raw.len > NOTE_MAX)
        return err_code (e, EC_OVERSIZED, "checkpoint: %zu bytes (at most %u)", raw.len, NOTE_MAX);
    if (!note_next_line (&rest, &origin) || !name_in (origin, n->origin))
        return err_code (e, EC_MALFORMED, "checkpoint: its first line is no origin");
    if (!note_next_line (&rest, &size) || !note_number (size, &n->size))
        return err_code (e, EC_MALFORMED, "checkpoint: its second line is no size");
    if (!note_next_line (&rest, &root) || !base64_decode (root, &hash) || hash.len != 32)
        return err_code (e, EC_MALFORMED, "checkpoint: its third line is no hash");
    memcpy (n->root.b, hash.p, 32);
    if (!note_next_line (&rest, &empty) || empty.len)
        return err_code (e, EC_MALFORMED, "checkpoint: no empty line before the signatures");
    size_t text = (size_t) (empty.p - raw.p);
    while (rest.len) {
        if (n->n == NOTE_SIGNATURES)
            return err_code (e, EC_OVERSIZED, "checkpoint: more than %u signatures", NOTE_SIGNATURES);
        if (!note_next_line (&rest, &one) || !signature (one, &n->v[n->n]))
            return err_code (e, EC_MALFORMED, "checkpoint: signature %zu is none", n->n + 1);
        for (size_t i = 0; i < n->n; i++)
            if (!strcmp (n->v[i].name, n->v[n->n].name) && memcmp (n->v[i].hash, n->v[n->n].hash, 4) == 0)
                return err_code (e, EC_MALFORMED, "checkpoint: signature %zu is by the same key as signature %zu", n->n + 1, i + 1);
        n->n++;
    }
    if (n->n == 0)
        return err_code (e, EC_MALFORMED, "checkpoint: not signed");
    buf_add (&n->text, raw.p, text);
    return 0;
}

bool note_names (const struct note_signature *s, const uint8_t pub[32])
{
    uint8_t hash[4];
    key_hash (s->name, pub, hash);
    return memcmp (s->hash, hash, 4) == 0;
}

int note_check (const struct note *n, const char *name, const uint8_t pub[32], struct err *e)
{
    for (size_t i = 0; i < n->n; i++)
        if (!strcmp (n->v[i].name, name) && note_names (&n->v[i], pub))
            return signature_good (pub, buf_bytes (&n->text), n->v[i].sig) ? 0 : err_code (e, EC_BAD_SIGNATURE, "checkpoint: the signature of %s does not hold", name);
    return err_code (e, EC_BAD_SIGNATURE, "checkpoint: not signed by %s", name);
}
