/* The identity provider: tokens that work once, for one name, until they expire; who may ask for what; what a crash or damage leaves. */
#include "auth/idp.h"

#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/realm.h"
#include "base/file.h"

#define ENDPOINT "tcp://127.0.0.1:7000"
#define SECOND INT64_C (1000000)

struct place {
    char dir[64], idp[80], chain[96];
    struct rootinfo root;
    struct idp *i;
    struct keys admin, viewer, maintainer, submitter;
    int64_t now;
    uint64_t request;
};

static void person (struct place *p, const char *name, unsigned roles, struct keys *k)
{
    static const char *const projects[] = { "own/one", "team/*", NULL };
    struct err e = ERR_INIT;
    cr_assert_eq (keys_make (k, &e), 0, "%s", e.msg);
    cr_assert_eq (idp_enrol_local (p->i, &(struct enrolment){ .name = name, .owner = "people", .roles = roles, .projects = projects }, k, &e), 0, "%s", e.msg);
}

static void reopen (struct place *p)
{
    struct err e = ERR_INIT;
    idp_close (&p->i);
    cr_assert_eq (idp_open (&p->i, p->idp, NULL, &e), 0, "%s", e.msg);
}

static void place_init (struct place *p)
{
    struct err e = ERR_INIT;
    cr_assert (sodium_init () != -1);
    memset (p, 0, sizeof *p);
    (void) snprintf (p->dir, sizeof p->dir, "/tmp/assay-idp.XXXXXX");
    cr_assert_not_null (mkdtemp (p->dir));
    (void) snprintf (p->idp, sizeof p->idp, "%s/idp", p->dir);
    (void) snprintf (p->chain, sizeof p->chain, "%s/chain", p->idp);
    cr_assert_eq (idp_bootstrap (p->idp, ENDPOINT, NULL, &p->root, &e), 0, "%s", e.msg);
    cr_assert_eq (idp_open (&p->i, p->idp, NULL, &e), 0, "%s", e.msg);
    person (p, "admin", ROLE_ADMIN, &p->admin);
    person (p, "viewer", ROLE_VIEWER, &p->viewer);
    person (p, "maintainer", ROLE_MAINTAINER, &p->maintainer);
    person (p, "submitter", ROLE_SUBMITTER, &p->submitter);
    p->now = time_now_us ();
}

static void place_release (struct place *p)
{
    struct err e = ERR_INIT;
    idp_close (&p->i);
    keys_release (&p->admin);
    keys_release (&p->viewer);
    keys_release (&p->maintainer);
    keys_release (&p->submitter);
    cr_assert_eq (file_remove_tree (p->dir, &e), 0, "%s", e.msg);
}

/* ---- one request ---- */

struct answer {
    struct buf raw;
    struct msg m;
    struct err e;
    uint64_t news;
};
static void answer_release (struct answer *a)
{
    msg_release (&a->m);
    buf_release (&a->raw);
}
#define ANSWER(name) struct answer name CLEANUP (answer_release) = { .news = 0 }

static void send_raw (struct place *p, const uint8_t peer[32], struct bytes frame, struct answer *a)
{
    struct err e = ERR_INIT;
    a->news = idp_handle (p->i, peer, frame, p->now, &a->raw, &a->e);
    cr_assert_eq (msg_decode (buf_bytes (&a->raw), &a->m, &e), 0, "the answer itself: %s", e.msg);
    cr_assert (msg_senders (a->m.type) & ROLE_SERVICE);
}

static void request (struct place *p, const uint8_t peer[32], struct msg *m, struct answer *a)
{
    BUF (frame);
    m->request = ++p->request;
    msg_encode (m, &frame);
    send_raw (p, peer, buf_bytes (&frame), a);
    bool door = a->e.code == EC_REVOKED || a->e.code == EC_UNKNOWN_KEY; /* refused before the question is read */
    cr_assert_eq (a->m.request, door ? 0 : m->request);
}

/* The code of the answer's error; "" for any other answer. */
static const char *sent (struct place *p, const uint8_t peer[32], struct msg *m)
{
    static char code[33];
    ANSWER (a);
    request (p, peer, m, &a);
    code[0] = '\0';
    if (a.m.type == MSG_error)
        cr_assert (bytes_copy (a.m.u.error.code, code, sizeof code) && a.m.u.error.text.len > 0 && !strcmp (code, err_name (a.e.code)));
    else
        cr_assert_eq (a.e.kind, ERR_NONE);
    return code;
}

static struct msg token_for (const struct place *p, const char *name, const uint8_t key[32])
{
    struct msg m = MSG_INIT (token_make, 0);
    memcpy (m.u.token_make.transport_key.b, key, 32);
    m.u.token_make.name = bytes_str (name);
    m.u.token_make.owner = bytes_str ("somebody");
    m.u.token_make.roles = ROLE_WORKER;
    m.u.token_make.trusted = 1;
    m.u.token_make.expires = (uint64_t) (p->now + 3600 * SECOND);
    return m;
}

/* An enrol message; the proof is in `proof`. `with` signs, `token` is the key that the proof names. */
static struct msg enrol_with (const struct keys *k, const struct sign_key *with, const uint8_t token[32], struct buf *proof)
{
    struct msg body = MSG_INIT (enrol_proof, 0), m = MSG_INIT (enrol, 0);
    BUF (raw);
    memcpy (body.u.enrol_proof.token.b, token, 32);
    memcpy (body.u.enrol_proof.sign_key.b, k->sign.pub, 32);
    memcpy (body.u.enrol_proof.transport_key.b, k->transport.pub, 32);
    memcpy (body.u.enrol_proof.seal_key.b, k->seal_pub, 32);
    msg_encode (&body, &raw);
    buf_release (proof);
    envelope_sign (TYPE_ENROL, buf_bytes (&raw), with, proof);
    m.u.enrol.sign_key = body.u.enrol_proof.sign_key;
    m.u.enrol.transport_key = body.u.enrol_proof.transport_key;
    m.u.enrol.seal_key = body.u.enrol_proof.seal_key;
    m.u.enrol.proof = buf_bytes (proof);
    return m;
}

static bool admitted (const struct place *p, const uint8_t key[32])
{
    size_t n = 0;
    bool found = false;
    uint8_t (*keys)[32] = idp_admitted (p->i, &n);
    for (size_t j = 0; j < n; j++)
        found |= memcmp (keys[j], key, 32) == 0;
    free (keys);
    return found;
}

/* ---- the folder ---- */

Test (idp, a_folder_is_made_once_and_held_by_one)
{
    struct place p;
    struct idp *second = NULL;
    struct rootinfo again;
    struct err e = ERR_INIT;
    struct stat st;
    place_init (&p);
    cr_assert_eq (idp_bootstrap (p.idp, ENDPOINT, NULL, &again, &e), -1, "a second root key in the same folder");
    cr_assert_eq (idp_open (&second, p.idp, NULL, &e), -1);
    cr_assert (strstr (e.msg, "held by process"), "%s", e.msg);
    cr_assert_null (second);
    cr_assert (stat (p.idp, &st) == 0 && (st.st_mode & 077) == 0);
    const struct principal *first = roster_at (idp_roster (p.i), 0);
    cr_assert (!strcmp (first->name, "idp") && first->roles == ROLE_IDP && !strcmp (first->endpoint, ENDPOINT) && !memcmp (first->transport_key, p.root.idp_key, 32));
    cr_assert_eq (idp_open (&second, "/nonexistent/idp", NULL, &e), -1);
    place_release (&p);
}

Test (idp, copies_of_the_roster_are_whole_and_fresh)
{
    struct place p;
    struct err e = ERR_INIT;
    struct realm *rl = NULL;
    char dir[96];
    place_init (&p);
    (void) snprintf (dir, sizeof dir, "%s/viewer", p.dir);
    cr_assert_eq (realm_create (dir, "viewer", p.root.root, p.root.endpoint, p.root.idp_key, &p.viewer, &e), 0, "%s", e.msg);
    cr_assert_eq (idp_copy_roster (p.i, dir, &e), 0, "%s", e.msg);
    cr_assert_eq (realm_open (&rl, dir, &e), 0, "%s", e.msg);
    cr_assert (roster_complete (realm_roster (rl)) && roster_fresh (realm_roster (rl), time_now_us (), 5 * SECOND, &e) == 0);
    cr_assert (realm_self (rl) && !strcmp (realm_self (rl)->name, "viewer"));
    realm_close (&rl);
    place_release (&p);
}

/* ---- tokens ---- */

Test (idp, a_token_enrols_once)
{
    struct place p;
    struct token t;
    struct keys k, other;
    struct err e = ERR_INIT;
    BUF (proof);
    place_init (&p);
    cr_assert (token_make (&t, &p.root, &e) == 0 && keys_make (&k, &e) == 0 && keys_make (&other, &e) == 0);
    cr_assert_not (admitted (&p, t.key.pub));
    struct msg m = token_for (&p, "w1", t.key.pub);
    uint64_t changes = idp_changes (p.i);
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "");
    cr_assert (admitted (&p, t.key.pub) && idp_changes (p.i) > changes && idp_welcome_still (p.i, t.key.pub, p.now));
    reopen (&p); /* what was answered is durable */
    cr_assert (admitted (&p, t.key.pub));

    uint64_t seq;
    {
        ANSWER (a);
        struct msg q = enrol_with (&k, &k.sign, t.key.pub, &proof);
        request (&p, t.key.pub, &q, &a);
        cr_assert (a.m.type == MSG_enrolled && bytes_eqs (a.m.u.enrolled.name, "w1"), "%s", a.e.msg);
        seq = a.m.u.enrolled.seq;
    }
    const struct principal *w = roster_find (idp_roster (p.i), "w1");
    cr_assert (w && w->roles == ROLE_WORKER && w->trusted && !strcmp (w->owner, "somebody") && !memcmp (w->sign_key, k.sign.pub, 32)
               && !memcmp (w->transport_key, k.transport.pub, 32) && !memcmp (w->seal_key, k.seal_pub, 32) && w->enrolled_seq == seq);
    for (int round = 0; round < 2; round++) {
        ANSWER (again); /* the answer was lost: the same keys once more */
        struct msg q = enrol_with (&k, &k.sign, t.key.pub, &proof);
        request (&p, t.key.pub, &q, &again);
        cr_assert (again.m.type == MSG_enrolled && again.m.u.enrolled.seq == seq && roster_seq (idp_roster (p.i)) == seq, "%s", again.e.msg);
        struct msg thief = enrol_with (&other, &other.sign, t.key.pub, &proof);
        cr_assert_str_eq (sent (&p, t.key.pub, &thief), "replayed");
        reopen (&p);
    }
    cr_assert_eq (roster_seq (idp_roster (p.i)), seq);
    struct msg same = token_for (&p, "w1", other.transport.pub);
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &same), "conflict");
    token_release (&t);
    keys_release (&k);
    keys_release (&other);
    place_release (&p);
}

/* Half of the keys of one, half of another; another's signature; another's token: nothing of it enrols anyone. */
Test (idp, the_proof_binds_keys_and_token)
{
    struct place p;
    struct token t, u;
    struct keys k, other;
    struct err e = ERR_INIT;
    BUF (proof);
    place_init (&p);
    cr_assert (token_make (&t, &p.root, &e) == 0 && token_make (&u, &p.root, &e) == 0 && keys_make (&k, &e) == 0 && keys_make (&other, &e) == 0);
    struct msg m = token_for (&p, "w1", t.key.pub), m2 = token_for (&p, "w2", u.key.pub);
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "");
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m2), "");
    uint64_t seq = roster_seq (idp_roster (p.i));
    for (int which = 0; which < 6; which++) {
        struct msg q = enrol_with (&k, which == 0 ? &other.sign : &k.sign, which == 1 ? u.key.pub : t.key.pub, &proof);
        if (which == 2)
            memcpy (q.u.enrol.sign_key.b, other.sign.pub, 32);
        if (which == 3)
            memcpy (q.u.enrol.transport_key.b, other.transport.pub, 32);
        if (which == 4)
            memcpy (q.u.enrol.seal_key.b, other.seal_pub, 32);
        if (which == 5)
            q.u.enrol.proof.len = 0;
        const char *code = sent (&p, t.key.pub, &q);
        cr_assert_str_eq (code, which == 5 ? "malformed" : "bad-signature", "case %d", which);
    }
    struct msg q = enrol_with (&k, &k.sign, t.key.pub, &proof);
    for (size_t i = 0; i < proof.len; i++) { /* any byte of the proof but those of the key id, which is a hint */
        proof.p[i] ^= 1;
        size_t hint = proof.len - 66 - 32;
        if (i < hint || i >= hint + 32)
            cr_assert_str_neq (sent (&p, t.key.pub, &q), "", "byte %zu", i);
        proof.p[i] ^= 1;
    }
    cr_assert_eq (roster_seq (idp_roster (p.i)), seq);
    struct msg taken = enrol_with (&p.admin, &p.admin.sign, t.key.pub, &proof); /* keys that are somebody's already */
    cr_assert_str_eq (sent (&p, t.key.pub, &taken), "conflict");
    cr_assert_eq (roster_seq (idp_roster (p.i)), seq);
    struct msg fine = enrol_with (&k, &k.sign, t.key.pub, &proof);
    cr_assert_str_eq (sent (&p, t.key.pub, &fine), "", "and the token still works");
    token_release (&t);
    token_release (&u);
    keys_release (&k);
    keys_release (&other);
    place_release (&p);
}

Test (idp, another_writing_of_a_key_is_no_other_key)
{
    struct place p;
    struct token t;
    struct keys k;
    struct err e = ERR_INIT;
    BUF (proof);
    place_init (&p);
    cr_assert (token_make (&t, &p.root, &e) == 0 && keys_make (&k, &e) == 0);
    struct msg m = token_for (&p, "w1", t.key.pub);
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "");
    k.transport.pub[31] ^= 0x80;
    m = enrol_with (&k, &k.sign, t.key.pub, &proof);
    cr_assert_str_eq (sent (&p, t.key.pub, &m), "malformed");
    token_release (&t);
    keys_release (&k);
    place_release (&p);
}

Test (idp, tokens_expire)
{
    struct place p;
    struct token t;
    struct keys k;
    struct err e = ERR_INIT;
    BUF (proof);
    place_init (&p);
    cr_assert (token_make (&t, &p.root, &e) == 0 && keys_make (&k, &e) == 0);
    static const struct { int64_t life; const char *code; } lives[] = {
        { 0, "expired" }, { -1, "expired" }, { INT64_C (30) * 86400 * SECOND + 1, "expired" }, { INT64_MAX / 2, "expired" }, { 10 * SECOND, "" },
    };
    for (size_t i = 0; i < sizeof lives / sizeof *lives; i++) {
        struct msg m = token_for (&p, "w1", t.key.pub);
        m.u.token_make.expires = (uint64_t) (p.now + lives[i].life);
        cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), lives[i].code, "row %zu", i);
    }
    struct msg huge = token_for (&p, "w2", k.transport.pub);
    huge.u.token_make.expires = UINT64_MAX;
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &huge), "expired");
    int64_t start = p.now;
    struct msg q = enrol_with (&k, &k.sign, t.key.pub, &proof);
    p.now = start + 10 * SECOND; /* the very moment counts as over */
    cr_assert_not (idp_welcome_still (p.i, t.key.pub, p.now));
    cr_assert_str_eq (sent (&p, t.key.pub, &q), "unknown-key");
    uint64_t changes = idp_changes (p.i);
    cr_assert (admitted (&p, t.key.pub));
    cr_assert_eq (idp_tick (p.i, p.now, &e), 0, "%s", e.msg);
    cr_assert (!admitted (&p, t.key.pub) && idp_changes (p.i) > changes, "the door is shut after the next tick");
    p.now = start;
    cr_assert_str_eq (sent (&p, t.key.pub, &q), "unknown-key", "and does not open if the clock goes back");
    reopen (&p);
    cr_assert_str_eq (sent (&p, t.key.pub, &q), "unknown-key");
    cr_assert_null (roster_find (idp_roster (p.i), "w1"));
    token_release (&t);
    keys_release (&k);
    place_release (&p);
}

Test (idp, tokens_go_with_the_admin_that_made_them)
{
    struct place p;
    struct keys key, other, k;
    struct err e = ERR_INIT;
    BUF (proof);
    place_init (&p);
    person (&p, "second", ROLE_ADMIN, &other);
    cr_assert_eq (keys_make (&key, &e) | keys_make (&k, &e), 0, "%s", e.msg);
    struct msg make = token_for (&p, "late", key.transport.pub), enrol = enrol_with (&k, &k.sign, key.transport.pub, &proof), revoke = MSG_INIT (revoke, 0);
    cr_assert_str_eq (sent (&p, other.transport.pub, &make), "");
    cr_assert (admitted (&p, key.transport.pub));
    revoke.u.revoke.name = bytes_str ("second");
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &revoke), "");
    cr_assert (!admitted (&p, key.transport.pub));
    cr_assert_str_eq (sent (&p, key.transport.pub, &enrol), err_name (EC_UNKNOWN_KEY));
    cr_assert_null (roster_find (idp_roster (p.i), "late"));
    keys_release (&key), keys_release (&other), keys_release (&k);
    place_release (&p);
}

Test (idp, tokens_that_nobody_may_make)
{
    struct place p;
    struct token t, u;
    struct err e = ERR_INIT;
    place_init (&p);
    cr_assert (token_make (&t, &p.root, &e) == 0 && token_make (&u, &p.root, &e) == 0);
    uint64_t changes = idp_changes (p.i);
    for (int i = 0; i < 3; i++) {
        struct msg m = token_for (&p, "w1", t.key.pub);
        const struct keys *who[] = { &p.viewer, &p.maintainer, &p.submitter };
        cr_assert_str_eq (sent (&p, who[i]->transport.pub, &m), "not-allowed");
    }
    static const struct { const char *name, *owner; uint64_t roles, trusted; const char *code; } bad[] = {
        { "", "o", ROLE_WORKER, 0, "malformed" },     { "A", "o", ROLE_WORKER, 0, "malformed" },          { "../w", "o", ROLE_WORKER, 0, "malformed" },
        { "w1", "", ROLE_WORKER, 0, "malformed" },    { "w1", "O", ROLE_WORKER, 0, "malformed" },         { "w1", "o", 0, 0, "malformed" },
        { "w1", "o", ROLE_IDP, 0, "malformed" },      { "w1", "o", ROLE_IDP | ROLE_WORKER, 0, "malformed" }, { "w1", "o", ROLE_TOKEN, 0, "malformed" },
        { "w1", "o", ROLE_SERVICE, 0, "malformed" },  { "w1", "o", UINT64_MAX, 0, "malformed" },          { "w1", "o", ROLE_WORKER, 2, "malformed" },
        { "admin", "o", ROLE_WORKER, 0, "conflict" }, { "idp", "o", ROLE_WORKER, 0, "conflict" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct msg m = token_for (&p, bad[i].name, t.key.pub);
        m.u.token_make.owner = bytes_str (bad[i].owner);
        m.u.token_make.roles = bad[i].roles;
        m.u.token_make.trusted = bad[i].trusted;
        cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), bad[i].code, "row %zu", i);
    }
    struct msg principal = token_for (&p, "w1", p.viewer.transport.pub);
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &principal), "conflict", "the key of one who is enrolled");
    cr_assert_eq (idp_changes (p.i), changes, "nothing of that left a trace");

    struct msg m = token_for (&p, "w1", t.key.pub), again = token_for (&p, "w2", t.key.pub), newer = token_for (&p, "w1", u.key.pub);
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "");
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &again), "replayed");
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &newer), "", "a new token for a name that was not used yet");
    cr_assert (admitted (&p, u.key.pub) && !admitted (&p, t.key.pub), "replaces the old one");
    token_release (&t);
    token_release (&u);
    place_release (&p);
}

Test (idp, a_token_opens_only_the_door)
{
    struct place p;
    struct token t;
    struct err e = ERR_INIT;
    enum msg_type types[128];
    size_t n = msg_types (types, 128);
    place_init (&p);
    cr_assert_eq (token_make (&t, &p.root, &e), 0);
    struct msg m = token_for (&p, "w1", t.key.pub);
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "");
    uint64_t seq = roster_seq (idp_roster (p.i));
    for (size_t i = 0; i < n; i++) {
        struct msg q = { .type = types[i] };
        const char *code = sent (&p, t.key.pub, &q);
        if (types[i] == MSG_roster_get)
            cr_assert_str_eq (code, "");
        else if (types[i] == MSG_hello)
            cr_assert_str_eq (code, "version", "an empty hello speaks no version");
        else
            cr_assert_str_neq (code, "", "%s", msg_name (types[i]));
    }
    cr_assert_eq (roster_seq (idp_roster (p.i)), seq);
    token_release (&t);
    place_release (&p);
}

/* ---- roles, revocation, policies ---- */

Test (idp, who_may_send_what)
{
    struct place p;
    enum msg_type types[128];
    size_t n = msg_types (types, 128);
    place_init (&p);
    const struct keys *who[] = { &p.admin, &p.viewer, &p.maintainer, &p.submitter };
    static const unsigned roles[] = { ROLE_ADMIN, ROLE_VIEWER, ROLE_MAINTAINER, ROLE_SUBMITTER };
    uint64_t seq = roster_seq (idp_roster (p.i));
    for (size_t w = 0; w < 4; w++)
        for (size_t i = 0; i < n; i++) {
            struct msg q = { .type = types[i] };
            if (types[i] == MSG_policy_set) /* an empty one is a valid policy, of the floor */
                q.u.policy_set.agree = 65;
            const char *code = sent (&p, who[w]->transport.pub, &q);
            bool here = types[i] == MSG_hello || types[i] == MSG_ping || types[i] == MSG_roster_get || types[i] == MSG_token_make || types[i] == MSG_revoke
                        || types[i] == MSG_policy_set || types[i] == MSG_enrol;
            if (!here)
                cr_assert_str_eq (code, "unexpected", "%s", msg_name (types[i]));
            else if (!(msg_senders (types[i]) & roles[w]))
                cr_assert_str_eq (code, "not-allowed", "%s by %zu", msg_name (types[i]), w);
            else
                cr_assert (!strcmp (code, "") || strcmp (code, "unexpected"), "%s by %zu: %s", msg_name (types[i]), w, code);
        }
    cr_assert_eq (roster_seq (idp_roster (p.i)), seq);
    uint8_t stranger[32];
    randombytes_buf (stranger, 32);
    struct msg hello = MSG_INIT (hello, 0);
    cr_assert_str_eq (sent (&p, stranger, &hello), "unknown-key");
    place_release (&p);
}

Test (idp, revocation)
{
    struct place p;
    place_init (&p);
    struct msg m = MSG_INIT (revoke, 0), hello = MSG_INIT (hello, 0), get = MSG_INIT (roster_get, 0);
    hello.u.hello.min_version = hello.u.hello.max_version = PROTO_VERSION;
    m.u.revoke.name = bytes_str ("viewer");
    m.u.revoke.reason = bytes_str ("lost laptop");
    cr_assert_str_eq (sent (&p, p.viewer.transport.pub, &m), "not-allowed");
    cr_assert_str_eq (sent (&p, p.viewer.transport.pub, &hello), "");
    m.u.revoke.name = bytes_str ("nobody");
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "not-found");
    m.u.revoke.name = bytes_str ("idp");
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "not-allowed");
    m.u.revoke.name = bytes_str ("viewer");
    m.u.revoke.since = (uint64_t) (p.now + SECOND);
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "malformed");
    m.u.revoke.since = 0;
    uint64_t changes = idp_changes (p.i);
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "");
    for (int round = 0; round < 2; round++) { /* at once, and after a restart */
        cr_assert (!admitted (&p, p.viewer.transport.pub) && !idp_welcome_still (p.i, p.viewer.transport.pub, p.now));
        cr_assert_str_eq (sent (&p, p.viewer.transport.pub, &hello), "revoked");
        cr_assert_str_eq (sent (&p, p.viewer.transport.pub, &get), "revoked", "not even the roster");
        cr_assert_str_eq (roster_find (idp_roster (p.i), "viewer")->reason, "lost laptop");
        if (round == 0) {
            cr_assert (idp_changes (p.i) > changes);
            reopen (&p);
        }
    }
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "conflict", "twice");
    m.u.revoke.name = bytes_str ("admin"); /* an admin may go by its own word, and is gone then */
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "");
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "revoked");
    place_release (&p);
}

Test (idp, policies)
{
    struct place p;
    place_init (&p);
    static const struct { int by; const char *project; const char *code; } t[] = {
        { 0, "", "" },                  { 0, "any/thing", "" },         { 1, "own/one", "" },           { 1, "team/x", "" },
        { 1, "", "not-allowed" },       { 1, "own/two", "not-allowed" }, { 1, "team", "not-allowed" },  { 2, "own/one", "not-allowed" },
        { 3, "own/one", "not-allowed" }, { 0, "no such", "malformed" },
    };
    const struct keys *who[] = { &p.admin, &p.maintainer, &p.viewer, &p.submitter };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct msg m = MSG_INIT (policy_set, 0);
        uint64_t seq = roster_seq (idp_roster (p.i));
        m.u.policy_set.project = bytes_str (t[i].project);
        m.u.policy_set.agree = 2 + i;
        cr_assert_str_eq (sent (&p, who[t[i].by]->transport.pub, &m), t[i].code, "row %zu", i);
        cr_assert_eq (roster_seq (idp_roster (p.i)), seq + !*t[i].code);
        const struct policy *own = roster_policy_own (idp_roster (p.i), t[i].project);
        if (!*t[i].code)
            cr_assert (own && own->agree == 2 + i);
    }
    struct msg m = MSG_INIT (policy_set, 0);
    m.u.policy_set.isolation = 3;
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "malformed");
    m.u.policy_set.isolation = (UINT64_C (1) << 32) + 2;
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "malformed");
    reopen (&p);
    cr_assert_eq (roster_policy_own (idp_roster (p.i), "")->agree, 2);
    place_release (&p);
}

/* Each is an entry that everybody keeps for good: who has a say in one project must not fill the roster until it cannot be read any more. */
Test (idp, a_maintainer_sets_so_many_policies_and_no_more)
{
    struct place p;
    place_init (&p);
    struct msg m = MSG_INIT (policy_set, 0);
    m.u.policy_set.project = bytes_str ("own/one");
    for (int i = 0; i < 60; i++)
        cr_assert_str_eq (sent (&p, p.maintainer.transport.pub, &m), "", "policy %d", i);
    cr_assert_str_eq (sent (&p, p.maintainer.transport.pub, &m), "quota");
    reopen (&p);
    cr_assert_str_eq (sent (&p, p.maintainer.transport.pub, &m), "quota", "a restart forgets it");
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "", "an admin is not bound by it");
    p.now += 3601 * SECOND;
    cr_assert_str_eq (sent (&p, p.maintainer.transport.pub, &m), "");
    place_release (&p);
}

/* ---- the roster in parts, garbage ---- */

Test (idp, the_roster_comes_in_parts)
{
    struct place p;
    struct err e = ERR_INIT;
    place_init (&p);
    for (unsigned i = 0; i < 600; i++) {
        struct policy policy = { .agree = 1 + i % 60 };
        cr_assert_eq (idp_policy_local (p.i, "a/b", &policy, &e), 0, "%s", e.msg);
    }
    struct roster *r = roster_new (p.root.root);
    uint64_t last = roster_seq (idp_roster (p.i));
    unsigned rounds = 0;
    while (!roster_complete (r)) {
        ANSWER (a);
        struct msg m = MSG_INIT (roster_get, 0);
        m.u.roster_get.from = roster_seq (r) + 1;
        request (&p, p.viewer.transport.pub, &m, &a);
        cr_assert (a.m.type == MSG_roster_part && a.m.u.roster_part.entries.n > 0 && a.raw.len < 4u << 20 && ++rounds < 10);
        for (size_t i = 0; i < a.m.u.roster_part.entries.n; i++)
            cr_assert_eq (roster_add (r, a.m.u.roster_part.entries.v[i], &e), 0, "%s", e.msg);
        cr_assert_eq (roster_set_head (r, a.m.u.roster_part.head, &e), 0, "%s", e.msg);
        cr_assert_eq (a.news, roster_seq (r) + 1);
    }
    cr_assert (roster_seq (r) == last && rounds == 3);
    static const uint64_t odd[] = { 0, 1u << 20, UINT64_MAX, UINT64_MAX - 255, UINT64_C (1) << 63 };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        ANSWER (a);
        struct msg m = MSG_INIT (roster_get, 0);
        m.u.roster_get.from = odd[i];
        request (&p, p.viewer.transport.pub, &m, &a);
        cr_assert (a.m.type == MSG_roster_part && a.news <= last + 1, "from %llu", (unsigned long long) odd[i]);
    }
    roster_destroy (&r);
    place_release (&p);
}

Test (idp, garbage_is_answered_and_changes_nothing)
{
    struct place p;
    struct keys k;
    struct err e = ERR_INIT;
    BUF (frame);
    place_init (&p);
    cr_assert_eq (keys_make (&k, &e), 0);
    uint64_t seq = roster_seq (idp_roster (p.i)), changes = idp_changes (p.i);
    uint8_t raw[200];
    for (unsigned i = 0; i < 20000; i++) {
        ANSWER (a);
        randombytes_buf (raw, sizeof raw);
        if (i % 2) {
            raw[0] = (uint8_t) (0x90 | (raw[0] & 15));
            raw[1] = 1;
            raw[2] &= 31;
        }
        send_raw (&p, p.viewer.transport.pub, bytes_of (raw, raw[199] % 190), &a);
    }
    struct msg m = token_for (&p, "w1", k.transport.pub);
    msg_encode (&m, &frame);
    for (size_t cut = 0; cut < frame.len; cut++) {
        ANSWER (a);
        send_raw (&p, p.admin.transport.pub, bytes_of (frame.p, cut), &a);
        cr_assert (a.m.type == MSG_error && bytes_eqs (a.m.u.error.code, "malformed"), "cut at %zu", cut);
    }
    cr_assert (roster_seq (idp_roster (p.i)) == seq && idp_changes (p.i) == changes);
    keys_release (&k);
    place_release (&p);
}

/* ---- what a crash leaves, and damage ---- */

/* SIGKILL while an entry is appended: what was answered stays, the unfinished end goes, and the next entry fits. */
Test (idp, an_unfinished_end_of_the_chain_is_cut_off)
{
    struct place p;
    struct err e = ERR_INIT;
    BUF (before);
    BUF (after);
    place_init (&p);
    cr_assert_eq (file_read (p.chain, 1 << 20, &before, &e), 0);
    uint64_t seq = roster_seq (idp_roster (p.i));
    struct policy policy = { .agree = 2 };
    cr_assert_eq (idp_policy_local (p.i, "a/b", &policy, &e), 0);
    cr_assert_eq (file_read (p.chain, 1 << 20, &after, &e), 0);
    for (size_t len = before.len; len <= after.len; len += len + 40 < after.len ? 13 : 1) {
        idp_close (&p.i);
        cr_assert_eq (file_write (p.chain, bytes_of (after.p, len), 0600, &e), 0);
        cr_assert_eq (idp_open (&p.i, p.idp, NULL, &e), 0, "%zu of %zu: %s", len, after.len, e.msg);
        cr_assert_eq (roster_seq (idp_roster (p.i)), seq + (len == after.len));
        policy.agree = 3;
        cr_assert_eq (idp_policy_local (p.i, "a/c", &policy, &e), 0, "%s", e.msg);
        reopen (&p);
        cr_assert_eq (roster_policy_own (idp_roster (p.i), "a/c")->agree, 3);
    }
    place_release (&p);
}

/* Damage is no unfinished end: it is refused with the file's name, and nothing is cut off; a length in an early entry, above all. */
Test (idp, a_damaged_chain_is_refused_and_left_as_it_is)
{
    struct place p;
    struct err e = ERR_INIT;
    BUF (good);
    place_init (&p);
    idp_close (&p.i);
    cr_assert_eq (file_read (p.chain, 1 << 20, &good, &e), 0);
    size_t at = 0, hint = good.len - 66 - 32; /* the newest entry's key id, which is not signed and which nothing follows yet */
    while (at < good.len)
        at += 4 + ((size_t) good.p[at] << 24 | (size_t) good.p[at + 1] << 16 | (size_t) good.p[at + 2] << 8 | good.p[at + 3]);
    cr_assert_eq (at, good.len);
    for (size_t i = 0, start = 0; i < good.len; i++) {
        size_t len = (size_t) good.p[start] << 24 | (size_t) good.p[start + 1] << 16 | (size_t) good.p[start + 2] << 8 | good.p[start + 3];
        if (i >= hint && i < hint + 32)
            continue;
        if (i >= start + 4 + len)
            start += 4 + len;
        else if (i >= start + 4 && i % 11)
            continue; /* all bytes of lengths, some of entries */
        for (unsigned bit = 0; bit < 8; bit += 1 + (i >= start + 4) * 3) {
            BUF (now);
            good.p[i] ^= (uint8_t) (1u << bit);
            cr_assert_eq (file_write (p.chain, buf_bytes (&good), 0600, &e), 0);
            e = (struct err) ERR_INIT;
            cr_assert_eq (idp_open (&p.i, p.idp, NULL, &e), -1, "byte %zu bit %u (entry at %zu)", i, bit, start);
            cr_assert (strstr (e.msg, "chain"), "%s", e.msg);
            cr_assert_eq (file_read (p.chain, 1 << 20, &now, &e), 0);
            cr_assert (bytes_eq (buf_bytes (&now), buf_bytes (&good)), "byte %zu: the file was changed", i);
            good.p[i] ^= (uint8_t) (1u << bit);
        }
    }
    cr_assert_eq (file_write (p.chain, buf_bytes (&good), 0600, &e), 0);
    cr_assert_eq (idp_open (&p.i, p.idp, NULL, &e), 0, "%s", e.msg);
    place_release (&p);
}

/* An entry that was written, refused by the roster's rules, and left there by a crash before it was cut off: nobody heard of it. */
Test (idp, a_refused_entry_at_the_end_of_the_chain_is_cut_off)
{
    struct place p;
    struct sign_key root;
    struct err e = ERR_INIT;
    char path[128];
    BUF (body);
    BUF (raw);
    BUF (chain);
    place_init (&p);
    uint64_t seq = roster_seq (idp_roster (p.i));
    struct msg m = MSG_INIT (roster_entry, 0);
    m.u.roster_entry.seq = seq + 1;
    m.u.roster_entry.prev = roster_last (idp_roster (p.i));
    m.u.roster_entry.time = (uint64_t) p.now;
    m.u.roster_entry.kind = ENTRY_REVOKE;
    m.u.roster_entry.name = bytes_str ("nobody");
    idp_close (&p.i);
    (void) snprintf (path, sizeof path, "%s/root.key", p.idp);
    cr_assert (rootkey_load (&root, path, NULL, &e) == 0 && file_read (p.chain, 1 << 20, &chain, &e) == 0, "%s", e.msg);
    msg_encode (&m, &body);
    envelope_sign (TYPE_ROSTER, buf_bytes (&body), &root, &raw);
    uint8_t len[4] = { 0, 0, (uint8_t) (raw.len >> 8), (uint8_t) raw.len };
    buf_add (&chain, len, 4);
    buf_add (&chain, raw.p, raw.len);
    cr_assert_eq (file_write (p.chain, buf_bytes (&chain), 0600, &e), 0);
    cr_assert_eq (idp_open (&p.i, p.idp, NULL, &e), 0, "%s", e.msg);
    cr_assert_eq (roster_seq (idp_roster (p.i)), seq);
    struct policy policy = { .agree = 3 };
    cr_assert_eq (idp_policy_local (p.i, "a/c", &policy, &e), 0, "%s", e.msg);
    reopen (&p);
    cr_assert_eq (roster_seq (idp_roster (p.i)), seq + 1);
    rootkey_release (&root);
    place_release (&p);
}

Test (idp, a_damaged_list_of_tokens_is_refused)
{
    struct place p;
    struct token t;
    struct err e = ERR_INIT;
    char path[128];
    BUF (good);
    place_init (&p);
    cr_assert_eq (token_make (&t, &p.root, &e), 0);
    struct msg m = token_for (&p, "w1", t.key.pub);
    cr_assert_str_eq (sent (&p, p.admin.transport.pub, &m), "");
    idp_close (&p.i);
    (void) snprintf (path, sizeof path, "%s/tokens", p.idp);
    cr_assert_eq (file_read (path, 1 << 20, &good, &e), 0);
    for (size_t cut = 1; cut < good.len; cut++) {
        cr_assert_eq (file_write (path, bytes_of (good.p, cut), 0600, &e), 0);
        cr_assert_eq (idp_open (&p.i, p.idp, NULL, &e), -1, "cut at %zu", cut);
        cr_assert (strstr (e.msg, "tokens"), "%s", e.msg);
    }
    for (size_t i = 0; i < good.len; i++) { /* survived, whatever comes of it */
        good.p[i] ^= 0x80;
        cr_assert_eq (file_write (path, buf_bytes (&good), 0600, &e), 0);
        if (idp_open (&p.i, p.idp, NULL, &e) == 0)
            idp_close (&p.i);
        good.p[i] ^= 0x80;
    }
    cr_assert_eq (file_write (path, buf_bytes (&good), 0600, &e), 0);
    cr_assert_eq (idp_open (&p.i, p.idp, NULL, &e), 0, "%s", e.msg);
    cr_assert (admitted (&p, t.key.pub));
    token_release (&t);
    place_release (&p);
}

static int asked;
static int ask (char *pass, size_t size)
{
    asked++;
    (void) snprintf (pass, size, "%s", asked > 1 ? "right" : "wrong");
    return 0;
}

Test (idp, a_root_key_under_a_passphrase)
{
    char dir[64] = "/tmp/assay-idp.XXXXXX", idp[96];
    struct rootinfo root;
    struct idp *i = NULL;
    struct err e = ERR_INIT;
    cr_assert (sodium_init () != -1 && mkdtemp (dir));
    (void) snprintf (idp, sizeof idp, "%s/idp", dir);
    cr_assert_eq (idp_bootstrap (idp, ENDPOINT, "right", &root, &e), 0, "%s", e.msg);
    cr_assert_eq (idp_open (&i, idp, NULL, &e), -1);
    cr_assert_eq (e.kind, ERR_DENIED, "%s", e.msg);
    asked = 0;
    cr_assert_eq (idp_open (&i, idp, ask, &e), -1);
    cr_assert_eq (e.kind, ERR_DENIED, "%s", e.msg);
    cr_assert_eq (idp_open (&i, idp, ask, &e), 0, "%s", e.msg);
    cr_assert_eq (roster_count (idp_roster (i)), 1);
    idp_close (&i);
    cr_assert_eq (file_remove_tree (dir, &e), 0, "%s", e.msg);
}
