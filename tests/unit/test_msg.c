/* The codec: every message round-trips; no truncation, flip or bomb gets through or hurts. */
#include "proto/blind.h"

#include <criterion/criterion.h>
#include <sodium.h>
#include <string.h>

static size_t all (enum msg_type *t)
{
    size_t n = msg_types (t, 128);
    cr_assert (n > 40 && n <= 128);
    return n;
}

/* An all-zero message of each type has only empty and minimal fields; the codec must take its own words back. */
Test (msg, every_type_round_trips_and_truncations_are_refused)
{
    enum msg_type t[128];
    size_t n = all (t);
    for (size_t i = 0; i < n; i++) {
        struct msg m = { .type = t[i], .request = 7 }, back;
        struct err e = ERR_INIT;
        BUF (b);
        BUF (again);
        msg_encode (&m, &b);
        cr_assert_eq (msg_decode (buf_bytes (&b), &back, &e), 0, "%s: %s", msg_name (t[i]), e.msg);
        cr_assert (back.type == t[i] && back.request == 7);
        msg_encode (&back, &again);
        cr_assert (bytes_eq (buf_bytes (&b), buf_bytes (&again)));
        msg_release (&back);
        for (size_t cut = 0; cut < b.len; cut++)
            cr_assert_eq (msg_decode (bytes_of (b.p, cut), &back, &e), -1, "%s cut at %zu", msg_name (t[i]), cut);
        buf_add (&b, "\0", 1);
        cr_assert_eq (msg_decode (buf_bytes (&b), &back, &e), -1);
        cr_assert_eq (e.code, EC_MALFORMED);
    }
}

static void sample (struct msg *m, struct bytes list[2])
{
    list[0] = bytes_str ("one");
    list[1] = bytes_str ("zwei");
    *m = (struct msg) MSG_INIT (step, 0);
    m->u.step.name = bytes_str ("build");
    m->u.step.run = bytes_str ("make\n");
    m->u.step.artifacts = (struct bytes_list){ list, 2 };
    m->u.step.memory = UINT64_MAX;
    m->u.step.agree = 300;
    m->u.step.cpus = 70000;
}

Test (msg, values_survive)
{
    struct msg m, back;
    struct bytes list[2];
    struct err e = ERR_INIT;
    BUF (b);
    sample (&m, list);
    msg_encode (&m, &b);
    cr_assert_eq (msg_decode_as (buf_bytes (&b), MSG_step, &back, &e), 0, "%s", e.msg);
    cr_assert (bytes_eqs (back.u.step.run, "make\n") && back.u.step.artifacts.n == 2 && bytes_eqs (back.u.step.artifacts.v[1], "zwei"));
    cr_assert (back.u.step.memory == UINT64_MAX && back.u.step.agree == 300 && back.u.step.cpus == 70000);
    msg_release (&back);
    cr_assert_eq (msg_decode_as (buf_bytes (&b), MSG_ok, &back, &e), -1);
    cr_assert_eq (e.code, EC_UNEXPECTED);
}

Test (msg, every_bit_flip_is_survived)
{
    struct msg m, back;
    struct bytes list[2];
    struct err e = ERR_INIT;
    BUF (b);
    sample (&m, list);
    msg_encode (&m, &b);
    for (size_t bit = 0; bit < b.len * 8; bit++) {
        b.p[bit / 8] ^= (uint8_t) (1 << bit % 8);
        if (msg_decode (buf_bytes (&b), &back, &e) == 0)
            msg_release (&back);
        b.p[bit / 8] ^= (uint8_t) (1 << bit % 8);
    }
}

Test (msg, hostile_frames_get_their_names)
{
    static const struct { const char *raw; size_t len; enum err_code code; } t[] = {
        { "", 0, EC_MALFORMED }, { "\xc0", 1, EC_MALFORMED }, { "\x93\x02\x04\x01", 4, EC_VERSION }, { "\x93\x01\xcd\xff\xff\x01", 6, EC_UNKNOWN_TYPE },
        { "\x94\x01\x04\x01\x00", 5, EC_MALFORMED },                                 /* ok has no fields */
        { "\xdd\xff\xff\xff\xff\x01\x04\x01", 8, EC_MALFORMED },                     /* a count that is not there */
        { "\x94\x01\x05\x01\xff", 5, EC_MALFORMED },                                 /* negative number */
        { "\x94\x01\x05\x01\x91\x91\x91", 7, EC_MALFORMED },                         /* nested */
        { "\x94\x01\x28\x01\xc4\x1f", 6, EC_MALFORMED },                             /* 31 bytes that are not there */
        { "\x94\x01\x20\x01\xc6\xff\xff\xff\xff", 9, EC_MALFORMED },
        { "\x94\x01\x5a\x01\xa2\xc0\x80", 7, EC_MALFORMED },                         /* overlong UTF-8 */
        { "\x94\x01\x5a\x01\xa1\x00", 6, EC_MALFORMED },                             /* NUL */
        { "\x94\x01\x41\x01\x90", 5, EC_MALFORMED },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct msg m;
        struct err e = ERR_INIT;
        cr_assert_eq (msg_decode (bytes_of (t[i].raw, t[i].len), &m, &e), -1, "row %zu", i);
        cr_assert_eq (e.code, t[i].code, "row %zu: %s (%s)", i, err_name (e.code), e.msg);
    }
}

Test (msg, a_list_beyond_its_bound_is_refused_before_it_allocates)
{
    struct msg m;
    struct err e = ERR_INIT;
    BUF (b);
    buf_add (&b, "\x94\x01\x37\x00\xdd\x00\x00\x10\x00", 9); /* holding: 4096 leases, 256 at most */
    memset (buf_grow (&b, 8192), 0xc4, 8192);
    cr_assert_eq (msg_decode (buf_bytes (&b), &m, &e), -1);
    cr_assert_eq (e.code, EC_OVERSIZED);
}

Test (msg, random_frames_never_hurt)
{
    uint8_t raw[96];
    struct msg m;
    for (unsigned i = 0; i < 200000; i++) {
        randombytes_buf (raw, sizeof raw);
        raw[0] = (uint8_t) (0x90 | (raw[0] & 15));
        raw[1] = 1;
        if (msg_decode (bytes_of (raw, 4 + raw[95] % 90), &m, NULL) == 0)
            msg_release (&m);
    }
}

Test (msg, roles_and_senders)
{
    BUF (b);
    role_names (ROLE_ADMIN | ROLE_WORKER, &b);
    cr_assert_str_eq (buf_str (&b), "worker,admin");
    cr_assert_eq (role_parse ("worker"), ROLE_WORKER);
    cr_assert_eq (role_parse ("root"), 0);
    cr_assert_eq (msg_senders (MSG_submit), ROLE_SUBMITTER);
    cr_assert_eq (msg_senders (MSG_step), ROLE_NONE);
    cr_assert_eq (msg_senders (MSG_none), ROLE_NONE);
}

Test (envelope, signatures_bind_type_body_and_key)
{
    struct sign_key k, other;
    uint8_t sec[64], sec2[64];
    struct envelope v, w;
    struct err e = ERR_INIT;
    BUF (raw);
    BUF (json);
    cr_assert (sodium_init () != -1);
    k.sec = sec, other.sec = sec2;
    crypto_sign_keypair (k.pub, sec);
    crypto_sign_keypair (other.pub, sec2);
    envelope_sign (TYPE_LEASE, bytes_str ("body"), &k, &raw);
    cr_assert_eq (envelope_open (buf_bytes (&raw), TYPE_RECEIPT, &v, &e), -1);
    cr_assert_eq (envelope_open (buf_bytes (&raw), TYPE_LEASE, &v, &e), 0, "%s", e.msg);
    cr_assert_eq (envelope_check (&v, k.pub, &e), 0);
    cr_assert_eq (envelope_check (&v, other.pub, &e), -1);
    cr_assert_eq (e.code, EC_BAD_SIGNATURE);
    envelope_sign_json (TYPE_LEASE, bytes_str ("body"), &other, &json);
    cr_assert_eq (envelope_open_json (buf_bytes (&json), TYPE_LEASE, &w, &e), 0, "%s", e.msg);
    cr_assert_eq (envelope_check (&w, other.pub, &e), 0);
    struct digest a = envelope_id (&v), b = envelope_id (&w);
    cr_assert (digest_eq (&a, &b), "the id is of what was signed, whoever signs and however it is carried");
    envelope_release (&w);
    for (size_t i = 0; i < raw.len; i++) {
        raw.p[i] ^= 1;
        cr_assert (envelope_open (buf_bytes (&raw), TYPE_LEASE, &v, &e) == -1 || envelope_check (&v, k.pub, &e) == -1 || memcmp (v.keyid, k.pub, 32), "byte %zu", i);
        raw.p[i] ^= 1;
    }
    for (size_t i = 0; i < json.len; i++) {
        if (envelope_open_json (bytes_of (json.p, i), TYPE_LEASE, &w, &e) == 0)
            cr_assert_fail ("cut at %zu was taken", i);
    }
}

Test (envelope, sealing)
{
    uint8_t pub[32], sec[32];
    struct err e = ERR_INIT;
    BUF (box);
    BUF (out);
    cr_assert (sodium_init () != -1);
    crypto_box_keypair (pub, sec);
    seal_to (pub, bytes_str ("result"), &box);
    cr_assert_eq (seal_open (pub, sec, buf_bytes (&box), &out, &e), 0);
    cr_assert_str_eq (buf_str (&out), "result");
    for (size_t i = 0; i < box.len; i++) {
        BUF (no);
        box.p[i] ^= 1;
        cr_assert_eq (seal_open (pub, sec, buf_bytes (&box), &no, &e), -1);
        box.p[i] ^= 1;
    }
}

/* The store learns which artifact it is, and the worker can check that; the broker, which has name and box, cannot. */
Test (blind, a_blinded_name_stands_for_one_artifact)
{
    uint8_t pub[32], sec[32], other_pub[32], other_sec[32], secret[32], second[32];
    struct digest sub = digest_of ("submission", 10), elsewhere = digest_of ("another", 7), good = digest_of ("a", 1), bad = digest_of ("b", 1), none = { { 0 } }, got, opening;
    struct blind a, again, b, c;
    struct err e = ERR_INIT;
    cr_assert (sodium_init () != -1);
    crypto_box_keypair (pub, sec);
    crypto_box_keypair (other_pub, other_sec);
    randombytes_buf (secret, sizeof secret);
    randombytes_buf (second, sizeof second);
    blind_make (&sub, bytes_str ("build"), &good, secret, pub, &a);
    blind_make (&sub, bytes_str ("build"), &good, secret, pub, &again);
    cr_assert (digest_eq (&a.name, &again.name) && memcmp (a.box, again.box, sizeof a.box), "one name, whenever it is made");
    cr_assert_eq (blind_open (&a.name, &sub, bytes_of (a.box, sizeof a.box), pub, sec, &got, &opening, &e), 0, "%s", e.msg);
    cr_assert (digest_eq (&got, &good) && blind_names (&a.name, &sub, &opening, &good));
    struct digest salt = blind_salt (&sub, bytes_str ("build"), &good, secret);
    cr_assert (digest_eq (&salt, &opening));
    cr_assert (!blind_names (&a.name, &sub, &opening, &bad) && !blind_names (&a.name, &elsewhere, &opening, &good) && !blind_names (&a.name, &sub, &none, &good));
    cr_assert (blind_names (&good, &sub, &none, &good) && !blind_names (&good, &sub, &none, &bad), "a digest stands for itself");
    /* another step, another verifier: another name */
    blind_make (&sub, bytes_str ("other"), &good, secret, pub, &b);
    blind_make (&sub, bytes_str ("build"), &good, second, pub, &c);
    cr_assert (!digest_eq (&a.name, &b.name) && !digest_eq (&a.name, &c.name));
    /* what is not the store's, not this name's, or not of this submission does not open */
    cr_assert_eq (blind_open (&a.name, &sub, bytes_of (a.box, sizeof a.box), other_pub, other_sec, &got, &opening, &e), -1);
    cr_assert_eq (blind_open (&a.name, &sub, bytes_of (b.box, sizeof b.box), pub, sec, &got, &opening, &e), -1);
    cr_assert_eq (blind_open (&a.name, &elsewhere, bytes_of (a.box, sizeof a.box), pub, sec, &got, &opening, &e), -1);
    cr_assert_eq (e.code, EC_MALFORMED, "%s", e.msg);
    for (size_t n = 0; n < sizeof a.box; n++)
        cr_assert_eq (blind_open (&a.name, &sub, bytes_of (a.box, n), pub, sec, &got, &opening, &e), -1);
    for (size_t i = 0; i < sizeof a.box; i++) {
        a.box[i] ^= 1;
        cr_assert_eq (blind_open (&a.name, &sub, bytes_of (a.box, sizeof a.box), pub, sec, &got, &opening, &e), -1, "byte %zu", i);
        a.box[i] ^= 1;
    }
    /* a box that says: no salt, and this digest, so that the name would be the digest itself */
    struct digest pair[2] = { none, good };
    BUF (box);
    seal_to (pub, bytes_of (pair, sizeof pair), &box);
    cr_assert_eq (blind_open (&good, &sub, buf_bytes (&box), pub, sec, &got, &opening, &e), -1);
    /* in a lease */
    struct bytes inputs[2] = { bytes_of (good.b, 32), bytes_of (a.name.b, 32) };
    struct msg_lease_body l = { .submission = sub, .inputs = { inputs, 2 } };
    cr_assert (blind_names_input (&l, 0, &none, &good) && blind_names_input (&l, 1, &salt, &good) && !blind_names_input (&l, 0, &salt, &good)
               && !blind_names_input (&l, 1, &none, &good) && !blind_names_input (&l, 1, &salt, &bad) && !blind_names_input (&l, 2, &salt, &good));
    inputs[0].len = 31;
    cr_assert (!blind_names_input (&l, 0, &none, &good));
}
