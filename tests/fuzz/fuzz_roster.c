/* Any bytes as a roster's file; and as bodies of entries that the root signs: whatever the root says, the roster's rules hold. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "auth/realm.h"
#include "auth/roster.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void check_principal (const struct roster *r, const struct principal *p)
{
    if (!name_valid (p->name) || !name_valid (p->owner) || p->roles == 0 || (p->roles & ~(unsigned) ROLE_ANY) || roster_find (r, p->name) != p
        || roster_by_transport (r, p->transport_key) != p || roster_by_sign (r, p->sign_key) != p || principal_good (p) != (p->revoked_since == INT64_MAX))
        abort ();
    for (size_t i = 0; i < p->project_count; i++)
        if (!memchr (p->projects[i], 0, sizeof p->projects[i]))
            abort ();
    (void) principal_project (p, bytes_str ("a/b"));
    (void) principal_good_at (p, 1);
}

static void check (const struct roster *r, const uint8_t root[32])
{
    struct err e = ERR_INIT;
    BUF (all);
    BUF (again);
    size_t trusted;
    for (size_t i = 0; i < roster_count (r); i++)
        check_principal (r, roster_at (r, i));
    struct policy p = roster_policy (r, bytes_str ("a/b"));
    policy_fill (&p);
    if (policy_check (&p, &e) == -1 || roster_owners (r, bytes_str ("a/b"), NULL, &trusted) < trusted)
        abort ();
    if (!roster_head_raw (r).len)
        return;
    realm_roster_bytes (r, &all);
    struct roster *copy = roster_new (root);
    if (realm_roster_parse (buf_bytes (&all), copy, &e) == -1 || roster_count (copy) != roster_count (r))
        abort ();
    realm_roster_bytes (copy, &again);
    if (!bytes_eq (buf_bytes (&all), buf_bytes (&again)))
        abort ();
    roster_destroy (&copy);
}

static void sign (const struct sign_key *root, const char *type, const struct msg *m, struct buf *raw)
{
    BUF (body);
    msg_encode (m, &body);
    envelope_sign (type, buf_bytes (&body), root, raw);
}

/* The input is bodies behind their lengths (2 bytes). Number, chain and time are put right, so that the rest of the body is what counts. */
static void signed_entries (struct bytes in, const struct sign_key *root)
{
    struct roster *r = roster_new (root->pub);
    uint64_t time = 1;
    while (in.len >= 2) {
        size_t len = (size_t) in.p[0] << 8 | in.p[1];
        struct bytes body = bytes_of (in.p + 2, len < in.len - 2 ? len : in.len - 2);
        in = bytes_of (body.p + body.len, in.len - 2 - body.len);
        struct msg m;
        struct err e = ERR_INIT;
        BUF (raw);
        if (msg_decode_as (body, MSG_roster_entry, &m, &e) == -1) {
            envelope_sign (TYPE_ROSTER, body, root, &raw); /* not even an entry */
            if (roster_add (r, buf_bytes (&raw), &e) == 0)
                abort ();
            continue;
        }
        uint64_t seq = roster_seq (r);
        struct digest last = roster_last (r);
        size_t count = roster_count (r);
        m.u.roster_entry.seq = seq + 1;
        m.u.roster_entry.prev = last;
        if (m.u.roster_entry.time < time || m.u.roster_entry.time > INT64_MAX)
            m.u.roster_entry.time = time;
        sign (root, TYPE_ROSTER, &m, &raw);
        if (roster_add (r, buf_bytes (&raw), &e) == 0) {
            time = m.u.roster_entry.time;
            if (roster_seq (r) != seq + 1)
                abort ();
        } else {
            struct digest still = roster_last (r);
            if (roster_seq (r) != seq || roster_count (r) != count || !digest_eq (&still, &last) || !e.msg[0])
                abort ();
        }
        msg_release (&m);
    }
    struct msg head = MSG_INIT (roster_head, 0);
    struct err e = ERR_INIT;
    BUF (raw);
    head.u.roster_head.seq = roster_seq (r);
    head.u.roster_head.last = roster_last (r);
    head.u.roster_head.time = time;
    sign (root, TYPE_HEAD, &head, &raw);
    if (roster_set_head (r, buf_bytes (&raw), &e) == -1 || !roster_complete (r))
        abort ();
    check (r, root->pub);
    roster_destroy (&r);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    static uint8_t sec[64];
    static struct sign_key root = { .sec = sec };
    static const uint8_t seed[32] = { 42 };
    if (sec[0] == 0 && sec[32] == 0)
        crypto_sign_seed_keypair (root.pub, sec, seed);
    struct roster *r = roster_new (root.pub);
    struct err e = ERR_INIT;
    if (realm_roster_parse (bytes_of (data, size), r, &e) == -1 && !e.msg[0])
        abort ();
    check (r, root.pub);
    roster_destroy (&r);
    signed_entries (bytes_of (data, size), &root);
    return 0;
}
