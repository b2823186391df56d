#include "proto/envelope.h"

#include <jansson.h>
#include <msgpack.h>
#include <sodium.h>
#include <string.h>

static char *decimal (char *end, size_t v)
{
    do
        *--end = (char) ('0' + v % 10);
    while (v /= 10);
    return end;
}

/* Made for each signature that is checked, and each id: one allocation, no format. */
static void pae (struct buf *out, struct bytes type, struct bytes body)
{
    char n[24], *end = n + sizeof n - 1, *at;
    *end = ' ';
    buf_room (out, 7 + 2 * sizeof n + type.len + body.len);
    buf_adds (out, "DSSEv1 ");
    at = decimal (end, type.len);
    buf_add (out, at, (size_t) (end + 1 - at));
    buf_add (out, type.p, type.len);
    buf_adds (out, " ");
    at = decimal (end, body.len);
    buf_add (out, at, (size_t) (end + 1 - at));
    buf_add (out, body.p, body.len);
}

static void sign (struct bytes type, struct bytes body, const struct sign_key *key, uint8_t sig[64])
{
    BUF (m);
    pae (&m, type, body);
    crypto_sign_detached (sig, NULL, m.p, m.len, key->sec);
}

static int pack_write (void *data, const char *p, size_t len)
{
    buf_add (data, p, len);
    return 0;
}

static void pack_bin (msgpack_packer *pk, const void *p, size_t len)
{
    msgpack_pack_bin (pk, len);
    msgpack_pack_bin_body (pk, p ? p : "", len);
}

void envelope_sign (const char *type, struct bytes body, const struct sign_key *key, struct buf *out)
{
    uint8_t sig[64];
    msgpack_packer pk;
    sign (bytes_str (type), body, key, sig);
    msgpack_packer_init (&pk, out, pack_write);
    msgpack_pack_array (&pk, 4);
    msgpack_pack_str (&pk, strlen (type));
    msgpack_pack_str_body (&pk, type, strlen (type));
    pack_bin (&pk, body.p, body.len);
    pack_bin (&pk, key->pub, 32);
    pack_bin (&pk, sig, 64);
}

/* str or bin at *at; advances. Lengths are checked against what remains. */
static bool take (struct bytes *at, bool str, struct bytes *out)
{
    if (at->len < 1)
        return false;
    uint8_t t = at->p[0];
    unsigned base = str ? 0xd9 : 0xc4;
    size_t head = 1, n = 0;
    if (str && (t & 0xe0) == 0xa0)
        n = t & 31;
    else if (t >= base && t <= base + 2) {
        size_t width = (size_t) 1 << (t - base);
        if (at->len < 1 + width)
            return false;
        for (size_t i = 0; i < width; i++)
            n = n << 8 | at->p[1 + i];
        head += width;
    } else
        return false;
    if (n > at->len - head)
        return false;
    *out = bytes_of (at->p + head, n);
    *at = bytes_of (at->p + head + n, at->len - head - n);
    return true;
}

int envelope_open (struct bytes raw, const char *type, struct envelope *v, struct err *e)
{
    struct bytes at = raw, keyid, sig;
    memset (v, 0, sizeof *v);
    if (at.len < 1 || at.p[0] != 0x94)
        return err_code (e, EC_MALFORMED, "not an envelope (an array of type, body, key id, signature)");
    at = bytes_of (at.p + 1, at.len - 1);
    if (!take (&at, true, &v->type) || !take (&at, false, &v->body) || !take (&at, false, &keyid) || !take (&at, false, &sig) || at.len || keyid.len != 32
        || sig.len != 64)
        return err_code (e, EC_MALFORMED, "a malformed envelope (%zu bytes)", raw.len);
    if (!bytes_eqs (v->type, type))
        return err_code (e, EC_UNEXPECTED, "an envelope of another type than %s", type);
    memcpy (v->keyid, keyid.p, 32);
    memcpy (v->sig, sig.p, 64);
    return 0;
}

int envelope_check (const struct envelope *v, const uint8_t pub[32], struct err *e)
{
    BUF (m);
    pae (&m, v->type, v->body);
    if (crypto_sign_verify_detached (v->sig, m.p, m.len, pub) != 0)
        return err_code (e, EC_BAD_SIGNATURE, "the signature does not verify");
    return 0;
}

void envelope_release (struct envelope *v)
{
    buf_release (&v->own);
}

struct digest envelope_id (const struct envelope *v)
{
    BUF (m);
    pae (&m, v->type, v->body);
    return digest_of (m.p, m.len);
}

/* ---- DSSE as JSON ---- */

void envelope_sign_json (const char *type, struct bytes body, const struct sign_key *key, struct buf *out)
{
    uint8_t sig[64];
    char hex[65];
    sign (bytes_str (type), body, key, sig);
    hex_encode (key->pub, 32, hex);
    buf_adds (out, "{\"payload\":\"");
    base64_add (out, body);
    buf_addf (out, "\",\"payloadType\":\"%s\",\"signatures\":[{\"keyid\":\"%s\",\"sig\":\"", type, hex);
    base64_add (out, bytes_of (sig, 64));
    buf_adds (out, "\"}]}");
}

static bool text_of (json_t *o, const char *name, struct bytes *out)
{
    json_t *s = json_object_get (o, name);
    if (!json_is_string (s))
        return false;
    *out = bytes_of (json_string_value (s), json_string_length (s));
    return true;
}

static bool piece (struct bytes *at, const char *text)
{
    size_t n = strlen (text);
    if (at->len < n || memcmp (at->p, text, n) != 0)
        return false;
    *at = bytes_of (at->p + n, at->len - n);
    return true;
}

static bool word (struct bytes *at, struct bytes *out)
{
    const uint8_t *end = memchr (at->p, '"', at->len);
    if (!end)
        return false;
    *out = bytes_of (at->p, (size_t) (end - at->p));
    *at = bytes_of (end, at->len - out->len);
    return true;
}

/* The very form that envelope_sign_json writes, as all of ours are: without a JSON parser, which costs more than the signature. What is in
 * another form is left to one. */
static bool open_own_form (struct bytes raw, const char *type, struct envelope *v)
{
    struct bytes at = raw, payload, ptype, keyid, sig;
    BUF (s);
    char hex[65];
    if (!piece (&at, "{\"payload\":\"") || !word (&at, &payload) || !piece (&at, "\",\"payloadType\":\"") || !word (&at, &ptype)
        || !piece (&at, "\",\"signatures\":[{\"keyid\":\"") || !word (&at, &keyid) || !piece (&at, "\",\"sig\":\"") || !word (&at, &sig) || !piece (&at, "\"}]}")
        || at.len || !bytes_eqs (ptype, type) || keyid.len != 64 || !bytes_copy (keyid, hex, sizeof hex) || !hex_decode (hex, v->keyid, 32)
        || !base64_decode (sig, &s) || s.len != 64 || !base64_decode (payload, &v->own)) {
        envelope_release (v);
        memset (v, 0, sizeof *v);
        return false;
    }
    memcpy (v->sig, s.p, 64);
    v->body = buf_bytes (&v->own);
    v->type = bytes_str (type);
    return true;
}

int envelope_open_json (struct bytes raw, const char *type, struct envelope *v, struct err *e)
{
    json_error_t je;
    memset (v, 0, sizeof *v);
    if (raw.len > (1u << 20))
        return err_code (e, EC_OVERSIZED, "a DSSE envelope of %zu bytes", raw.len);
    if (open_own_form (raw, type, v))
        return 0;
    json_t *o = json_loadb ((const char *) raw.p, raw.len, JSON_REJECT_DUPLICATES, &je);
    struct bytes payload, ptype, keyid, sig;
    BUF (s);
    int rc = -1;
    json_t *sigs = json_object_get (o, "signatures");
    if (!o)
        err_code (e, EC_MALFORMED, "a DSSE envelope that is not JSON: line %d: %s", je.line, je.text);
    else if (!text_of (o, "payload", &payload) || !text_of (o, "payloadType", &ptype) || !json_is_array (sigs) || json_array_size (sigs) != 1
             || json_object_size (o) != 3 || !text_of (json_array_get (sigs, 0), "sig", &sig) || !text_of (json_array_get (sigs, 0), "keyid", &keyid))
        err_code (e, EC_MALFORMED, "not a DSSE envelope (payload, payloadType, one signature)");
    else if (!bytes_eqs (ptype, type))
        err_code (e, EC_UNEXPECTED, "a DSSE envelope of another type than %s", type);
    else if (!base64_decode (payload, &v->own) || !base64_decode (sig, &s) || s.len != 64 || keyid.len != 64)
        err_code (e, EC_MALFORMED, "a DSSE envelope with bad base64 or a signature that is not 64 bytes");
    else {
        char hex[65];
        memcpy (v->sig, s.p, 64);
        if (!bytes_copy (keyid, hex, sizeof hex) || !hex_decode (hex, v->keyid, 32))
            err_code (e, EC_MALFORMED, "a DSSE envelope whose keyid is not 64 hex digits");
        else
            rc = 0;
    }
    json_decref (o);
    if (rc == -1)
        envelope_release (v);
    else {
        v->body = buf_bytes (&v->own);
        v->type = bytes_str (type);
    }
    return rc;
}

/* ---- sealing ---- */

void seal_to (const uint8_t seal_pub[32], struct bytes plain, struct buf *out)
{
    uint8_t *at = buf_grow (out, plain.len + crypto_box_SEALBYTES);
    if (crypto_box_seal (at, plain.p ? plain.p : (const uint8_t *) "", plain.len, seal_pub) != 0)
        memset (at, 0, plain.len + crypto_box_SEALBYTES); /* an unusable key: nobody can open it */
}

int seal_open (const uint8_t seal_pub[32], const uint8_t *seal_sec, struct bytes sealed, struct buf *out, struct err *e)
{
    if (sealed.len < crypto_box_SEALBYTES)
        return err_code (e, EC_MALFORMED, "a sealed box of %zu bytes", sealed.len);
    size_t n = sealed.len - crypto_box_SEALBYTES;
    uint8_t *at = buf_grow (out, n);
    if (crypto_box_seal_open (at, sealed.p, sealed.len, seal_pub, seal_sec) != 0) {
        out->len -= n;
        return err_code (e, EC_BAD_SIGNATURE, "a sealed box that does not open (sealed to another key, or altered)");
    }
    return 0;
}

void signature_make (const struct sign_key *key, struct bytes text, uint8_t sig[64])
{
    crypto_sign_detached (sig, NULL, text.p, text.len, key->sec);
}

bool signature_good (const uint8_t pub[32], struct bytes text, const uint8_t sig[64])
{
    return crypto_sign_verify_detached (sig, text.p, text.len, pub) == 0;
}
