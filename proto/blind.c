/* blind.c: contract in blind.h. */
#include "proto/blind.h"

#include <sodium.h>
#include <string.h>

struct digest blind_name (const struct digest *submission, const struct digest *opening, const struct digest *artifact)
{
    static const char tag[] = "assay-blind-1\n";
    struct digest_ctx *c = digest_begin ();
    struct digest name;
    digest_add (c, tag, sizeof tag - 1);
    digest_add (c, submission->b, sizeof submission->b);
    digest_add (c, opening->b, sizeof opening->b);
    digest_add (c, artifact->b, sizeof artifact->b);
    digest_end (&c, &name);
    return name;
}

/* BLAKE2b keyed with the secret: to everyone else it is chance. The step's name comes last, as it alone has no fixed length. */
struct digest blind_salt (const struct digest *submission, struct bytes step, const struct digest *artifact, const uint8_t *secret)
{
    static const char tag[] = "assay-blind-salt-1\n";
    crypto_generichash_state s;
    struct digest salt;
    crypto_generichash_init (&s, secret, 32, sizeof salt.b);
    crypto_generichash_update (&s, (const uint8_t *) tag, sizeof tag - 1);
    crypto_generichash_update (&s, submission->b, sizeof submission->b);
    crypto_generichash_update (&s, artifact->b, sizeof artifact->b);
    crypto_generichash_update (&s, step.p, step.len);
    crypto_generichash_final (&s, salt.b, sizeof salt.b);
    sodium_memzero (&s, sizeof s);
    return salt;
}

void blind_make (const struct digest *submission, struct bytes step, const struct digest *artifact, const uint8_t *secret, const uint8_t store[32], struct blind *out)
{
    struct digest pair[2] = { blind_salt (submission, step, artifact, secret), *artifact };
    BUF (box);
    _Static_assert (sizeof out->box == crypto_box_SEALBYTES + sizeof pair, "salt and digest, sealed");
    out->name = blind_name (submission, &pair[0], artifact);
    seal_to (store, bytes_of (pair, sizeof pair), &box);
    memcpy (out->box, box.p, sizeof out->box);
}

int blind_open (const struct digest *name, const struct digest *submission, struct bytes box, const uint8_t seal_pub[32], const uint8_t *seal_sec,
                struct digest *artifact, struct digest *opening, struct err *e)
{
    struct digest pair[2];
    BUF (plain);
    if (box.len != BLIND_BOX)
        return err_code (e, EC_MALFORMED, "the box of a blinded input has %zu bytes, not %u", box.len, BLIND_BOX);
    if (seal_open (seal_pub, seal_sec, box, &plain, e) == -1)
        return err_wrap (e, "the box of a blinded input");
    memcpy (pair, plain.p, sizeof pair);
    if (digest_zero (&pair[0]) || !blind_names (name, submission, &pair[0], &pair[1]))
        return err_code (e, EC_MALFORMED, "the box of a blinded input holds another artifact, or one of another submission");
    *opening = pair[0];
    *artifact = pair[1];
    return 0;
}

bool blind_names (const struct digest *name, const struct digest *submission, const struct digest *opening, const struct digest *artifact)
{
    if (digest_zero (opening))
        return digest_eq (name, artifact);
    struct digest blinded = blind_name (submission, opening, artifact);
    return digest_eq (name, &blinded);
}

bool blind_names_input (const struct msg_lease_body *lease, size_t i, const struct digest *opening, const struct digest *artifact)
{
    struct digest name;
    if (i >= lease->inputs.n || lease->inputs.v[i].len != sizeof name.b)
        return false;
    memcpy (name.b, lease->inputs.v[i].p, sizeof name.b);
    return blind_names (&name, &lease->submission, opening, artifact);
}

struct bytes blind_box (const uint8_t field[BLIND_BOX])
{
    return sodium_is_zero (field, BLIND_BOX) ? bytes_of (NULL, 0) : bytes_of (field, BLIND_BOX);
}
