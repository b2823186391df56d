/* The roster: what the root signed, in the order it signed it, and nothing else; a failed entry changes nothing. */
#include "auth/realm.h"
#include "auth/roster.h"

#include <criterion/criterion.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T0 INT64_C (1790000000000000)
#define SECOND INT64_C (1000000)

/* ---- a root that signs whatever a test wants ---- */

struct world {
    struct sign_key root;
    uint8_t sec[64];
    struct roster *r;
    int64_t now;
    uint64_t rnd;
};

static uint32_t lcg (struct world *w, uint32_t n)
{
    w->rnd = w->rnd * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t) ((w->rnd >> 33) % n);
}

static void world_init (struct world *w, uint64_t seed)
{
    cr_assert (sodium_init () != -1);
    memset (w, 0, sizeof *w);
    w->root.sec = w->sec;
    crypto_sign_keypair (w->root.pub, w->sec);
    w->r = roster_new (w->root.pub);
    w->now = T0;
    w->rnd = seed;
}

static void world_release (struct world *w)
{
    roster_destroy (&w->r);
}

/* Keys that follow from the number, so that a test can ask for the same ones again. */
static struct digest key_of (char kind, unsigned n)
{
    char text[32];
    int len = snprintf (text, sizeof text, "%c%u", kind, n);
    return digest_of (text, (size_t) len);
}

static struct msg enrol_entry (const char *name, const char *owner, unsigned n)
{
    struct msg m = MSG_INIT (roster_entry, 0);
    struct msg_roster_entry *b = &m.u.roster_entry;
    b->kind = ENTRY_ENROL;
    b->by = bytes_str ("root");
    b->name = bytes_str (name);
    b->owner = bytes_str (owner);
    b->roles = ROLE_WORKER;
    b->sign_key = key_of ('s', n);
    b->transport_key = key_of ('t', n);
    b->seal_key = key_of ('x', n);
    return m;
}

static struct msg revoke_entry (const char *name, int64_t since)
{
    struct msg m = MSG_INIT (roster_entry, 0);
    m.u.roster_entry.kind = ENTRY_REVOKE;
    m.u.roster_entry.by = bytes_str ("root");
    m.u.roster_entry.name = bytes_str (name);
    m.u.roster_entry.since = (uint64_t) since;
    m.u.roster_entry.reason = bytes_str ("lost");
    return m;
}

static struct msg policy_entry (const char *project, unsigned agree, unsigned trusted)
{
    struct msg m = MSG_INIT (roster_entry, 0);
    m.u.roster_entry.kind = ENTRY_POLICY;
    m.u.roster_entry.by = bytes_str ("root");
    m.u.roster_entry.project = bytes_str (project);
    m.u.roster_entry.agree = agree;
    m.u.roster_entry.trusted = trusted;
    return m;
}

/* As the IDP does: the next number, behind the last entry, now. */
static void entry_next (struct world *w, struct msg *m)
{
    m->u.roster_entry.seq = roster_seq (w->r) + 1;
    m->u.roster_entry.prev = roster_last (w->r);
    m->u.roster_entry.time = (uint64_t) w->now;
}

static void entry_sign (const struct sign_key *key, const char *type, const struct msg *m, struct buf *raw)
{
    BUF (body);
    msg_encode (m, &body);
    envelope_sign (type, buf_bytes (&body), key, raw);
}

static int entry_add (struct world *w, struct msg *m, struct err *e)
{
    BUF (raw);
    entry_next (w, m);
    entry_sign (&w->root, TYPE_ROSTER, m, &raw);
    return roster_add (w->r, buf_bytes (&raw), e);
}

static void enrol (struct world *w, const char *name, const char *owner, unsigned n)
{
    struct err e = ERR_INIT;
    struct msg m = enrol_entry (name, owner, n);
    cr_assert_eq (entry_add (w, &m, &e), 0, "%s", e.msg);
}

static void head_sign (const struct world *w, const struct sign_key *key, uint64_t seq, struct digest last, int64_t time, struct buf *raw)
{
    struct msg m = MSG_INIT (roster_head, 0);
    (void) w;
    m.u.roster_head.seq = seq;
    m.u.roster_head.last = last;
    m.u.roster_head.time = (uint64_t) time;
    entry_sign (key, TYPE_HEAD, &m, raw);
}

static int head_set (struct world *w, uint64_t seq, struct digest last, int64_t time, struct err *e)
{
    BUF (raw);
    head_sign (w, &w->root, seq, last, time, &raw);
    return roster_set_head (w->r, buf_bytes (&raw), e);
}

static void head_now (struct world *w)
{
    struct err e = ERR_INIT;
    cr_assert_eq (head_set (w, roster_seq (w->r), roster_last (w->r), w->now, &e), 0, "%s", e.msg);
}

/* A world of n principals p0.. of owners o0..o(n/2), some revoked, some policies; with a head. */
static void world_fill (struct world *w, unsigned n)
{
    struct err e = ERR_INIT;
    for (unsigned i = 0; i < n; i++) {
        char name[64], owner[64];
        (void) snprintf (name, sizeof name, "p%u", i);
        (void) snprintf (owner, sizeof owner, "o%u", i / 2);
        enrol (w, name, owner, i);
        w->now += SECOND;
        if (i % 5 == 4) {
            struct msg m = revoke_entry (name, w->now);
            cr_assert_eq (entry_add (w, &m, &e), 0, "%s", e.msg);
        }
        if (i % 7 == 6) {
            struct msg m = policy_entry (i % 2 ? "a/b" : "", 1 + i % 3, 0);
            cr_assert_eq (entry_add (w, &m, &e), 0, "%s", e.msg);
        }
    }
    head_now (w);
}

/* What must not move when something is refused. */
struct picture {
    uint64_t seq;
    struct digest last, all;
    size_t count;
    int64_t head_time;
    bool complete;
};
static struct picture picture (const struct roster *r)
{
    BUF (all);
    struct picture p = { 0 };
    p.seq = roster_seq (r);
    p.last = roster_last (r);
    p.count = roster_count (r);
    p.head_time = roster_head_time (r);
    p.complete = roster_complete (r);
    realm_roster_bytes (r, &all);
    for (size_t i = 0; i < roster_count (r); i++) {
        const struct principal *q = roster_at (r, i);
        buf_addf (&all, "%s %s %u %d %llu %lld %zu %zu", q->name, q->owner, q->roles, q->trusted, (unsigned long long) q->revoked_seq,
                  (long long) q->revoked_since, q->project_count, q->label_count);
    }
    p.all = digest_of (all.p, all.len);
    return p;
}
static void same_picture (const struct roster *r, const struct picture *was, const char *what)
{
    struct picture p = picture (r);
    cr_assert (p.seq == was->seq && p.count == was->count && p.head_time == was->head_time && p.complete == was->complete && digest_eq (&p.last, &was->last)
                   && digest_eq (&p.all, &was->all),
               "%s changed the roster", what);
}

/* ---- a chain as it should be ---- */

Test (roster, an_empty_one_knows_nobody)
{
    struct world w;
    struct err e = ERR_INIT;
    world_init (&w, 1);
    struct digest k = key_of ('t', 1);
    cr_assert (roster_seq (w.r) == 0 && roster_count (w.r) == 0 && !roster_complete (w.r) && !roster_find (w.r, "p") && !roster_by_transport (w.r, k.b)
               && !roster_by_sign (w.r, k.b) && !roster_at (w.r, 0) && !roster_role (w.r, ROLE_ANY, 0) && roster_entry_raw (w.r, 0).len == 0
               && roster_entry_raw (w.r, 1).len == 0);
    cr_assert_eq (roster_fresh (w.r, w.now, SECOND, &e), -1);
    cr_assert (strstr (e.msg, "truncated"), "%s", e.msg);
    struct roster *none = NULL;
    roster_destroy (&none);
    world_release (&w);
}

/* Hundreds of random entries beside a plain model: every lookup answers what the model knows. */
Test (roster, lookups_agree_with_a_model)
{
    enum { MOST = 600 };
    static struct { bool there, revoked; unsigned roles; } model[MOST];
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct world w;
        struct err e = ERR_INIT;
        unsigned n = 0;
        world_init (&w, seed);
        memset (model, 0, sizeof model);
        for (unsigned step = 0; step < MOST; step++) {
            char name[64], owner[64];
            w.now += lcg (&w, 5) * SECOND; /* equal times are fine */
            if (n == 0 || lcg (&w, 4)) {
                (void) snprintf (name, sizeof name, "p%u", n);
                (void) snprintf (owner, sizeof owner, "o%u", lcg (&w, 20));
                struct msg m = enrol_entry (name, owner, n);
                m.u.roster_entry.roles = model[n].roles = 1u << lcg (&w, 10);
                cr_assert_eq (entry_add (&w, &m, &e), 0, "%s", e.msg);
                model[n++].there = true;
            } else {
                unsigned i = lcg (&w, n);
                (void) snprintf (name, sizeof name, "p%u", i);
                struct msg m = revoke_entry (name, w.now);
                int rc = entry_add (&w, &m, &e);
                cr_assert_eq (rc, model[i].revoked ? -1 : 0, "%s: %s", name, e.msg);
                model[i].revoked = true;
            }
        }
        cr_assert_eq (roster_count (w.r), n);
        for (unsigned i = 0; i < MOST; i++) {
            char name[64];
            struct digest t = key_of ('t', i), s = key_of ('s', i), x = key_of ('x', i);
            (void) snprintf (name, sizeof name, "p%u", i);
            const struct principal *p = roster_find (w.r, name);
            cr_assert_eq (p != NULL, model[i].there, "%s", name);
            cr_assert (roster_by_transport (w.r, t.b) == p && roster_by_sign (w.r, s.b) == p && roster_findb (w.r, bytes_str (name)) == p);
            cr_assert (!roster_by_transport (w.r, s.b) && !roster_by_sign (w.r, x.b), "a key counts only for what it is");
            if (p)
                cr_assert (principal_good (p) == !model[i].revoked && p->roles == model[i].roles && roster_at (w.r, i) == p);
        }
        for (unsigned bit = 0; bit < 10; bit++) {
            size_t nth = 0;
            for (unsigned i = 0; i < n; i++)
                if (model[i].roles == 1u << bit && !model[i].revoked)
                    cr_assert_eq (roster_role (w.r, 1u << bit, nth++), roster_at (w.r, i));
            cr_assert_null (roster_role (w.r, 1u << bit, nth));
        }
        world_release (&w);
    }
}

Test (roster, the_same_entries_make_the_same_roster)
{
    struct world w;
    struct err e = ERR_INIT;
    BUF (all);
    BUF (again);
    world_init (&w, 2);
    world_fill (&w, 40);
    realm_roster_bytes (w.r, &all);
    struct roster *copy = roster_new (w.root.pub);
    cr_assert_eq (realm_roster_parse (buf_bytes (&all), copy, &e), 0, "%s", e.msg);
    realm_roster_bytes (copy, &again);
    cr_assert (bytes_eq (buf_bytes (&all), buf_bytes (&again)) && roster_complete (copy));
    struct picture p = picture (w.r);
    same_picture (copy, &p, "reading it again");
    roster_destroy (&copy);
    world_release (&w);
}

/* ---- refusals, each with its reason ---- */

Test (roster, order_chain_and_time_are_checked)
{
    struct world w;
    world_init (&w, 3);
    world_fill (&w, 10);
    struct picture was = picture (w.r);
    static const struct { int seq; bool fork; int64_t time; const char *word; enum err_code code; } t[] = {
        { -1, false, 0, "out of order", EC_DAMAGED }, { 1, false, 0, "out of order", EC_DAMAGED },     { 1000, false, 0, "out of order", EC_DAMAGED },
        { 0, true, 0, "forked", EC_DAMAGED },         { 0, false, -SECOND, "before", EC_MALFORMED },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct msg m = enrol_entry ("new", "o", 5000);
        struct err e = ERR_INIT;
        BUF (raw);
        entry_next (&w, &m);
        m.u.roster_entry.time = (uint64_t) (w.now - SECOND); /* of the last entry: world_fill goes on a second after each */
        m.u.roster_entry.seq += (uint64_t) (int64_t) t[i].seq;
        m.u.roster_entry.prev.b[7] ^= t[i].fork;
        m.u.roster_entry.time += (uint64_t) (t[i].time * 100);
        entry_sign (&w.root, TYPE_ROSTER, &m, &raw);
        cr_assert_eq (roster_add (w.r, buf_bytes (&raw), &e), -1, "row %zu", i);
        cr_assert (strstr (e.msg, t[i].word) && e.code == t[i].code, "row %zu: %s", i, e.msg);
        same_picture (w.r, &was, t[i].word);
    }
    for (uint64_t seq = 1; seq <= roster_seq (w.r); seq++) { /* each known one, once more */
        struct err e = ERR_INIT;
        cr_assert_eq (roster_add (w.r, roster_entry_raw (w.r, seq), &e), -1);
        cr_assert (strstr (e.msg, "out of order"), "%s", e.msg);
    }
    same_picture (w.r, &was, "an old entry");
    struct msg m = enrol_entry ("late", "o", 6000);
    struct err e = ERR_INIT;
    BUF (raw);
    entry_next (&w, &m);
    m.u.roster_entry.time = UINT64_MAX;
    entry_sign (&w.root, TYPE_ROSTER, &m, &raw);
    cr_assert_eq (roster_add (w.r, buf_bytes (&raw), &e), -1);
    same_picture (w.r, &was, "a time beyond all");
    world_release (&w);
}

Test (roster, only_the_root_speaks_and_only_with_the_right_type)
{
    struct world w;
    struct sign_key other;
    uint8_t sec[64];
    world_init (&w, 4);
    world_fill (&w, 6);
    other.sec = sec;
    crypto_sign_keypair (other.pub, sec);
    struct picture was = picture (w.r);
    struct msg m = enrol_entry ("new", "o", 5000);
    entry_next (&w, &m);
    static const char *const types[] = { TYPE_HEAD, TYPE_SUBMISSION, TYPE_LEASE, TYPE_RECEIPT, TYPE_ENROL, TYPE_INTOTO };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        BUF (raw);
        struct err e = ERR_INIT;
        entry_sign (&w.root, types[i], &m, &raw);
        cr_assert_eq (roster_add (w.r, buf_bytes (&raw), &e), -1, "%s", types[i]);
    }
    BUF (forged);
    BUF (named);
    struct err e = ERR_INIT;
    entry_sign (&other, TYPE_ROSTER, &m, &forged);
    cr_assert_eq (roster_add (w.r, buf_bytes (&forged), &e), -1);
    cr_assert (strstr (e.msg, "forged") && e.code == EC_BAD_SIGNATURE && e.kind == ERR_DAMAGED, "%s", e.msg);
    struct sign_key claims = other; /* the stranger's signature under the root's name */
    memcpy (claims.pub, w.root.pub, 32);
    entry_sign (&claims, TYPE_ROSTER, &m, &named);
    cr_assert_eq (roster_add (w.r, buf_bytes (&named), &e), -1);
    cr_assert (strstr (e.msg, "forged"), "%s", e.msg);
    BUF (head);
    head_sign (&w, &other, roster_seq (w.r), roster_last (w.r), w.now + SECOND, &head);
    cr_assert_eq (roster_set_head (w.r, buf_bytes (&head), &e), -1);
    cr_assert (strstr (e.msg, "forged"), "%s", e.msg);
    cr_assert_eq (roster_set_head (w.r, roster_entry_raw (w.r, 1), &e), -1);
    cr_assert_eq (roster_add (w.r, roster_head_raw (w.r), &e), -1);
    cr_assert_eq (roster_add (w.r, bytes_of ("", 0), &e), -1);
    same_picture (w.r, &was, "another's word");
    world_release (&w);
}

/* The root's own entries may be wrong too (an IDP with a fault): the roster's rules hold for them as well. */
Test (roster, entries_that_break_the_rules_are_refused)
{
    static const char *const bad_names[] = { "", "A", "-x", ".x", "a b", "a/b", "\xc3\xa4", "a\n", "0123456789012345678901234567890123456789012345678901234567890123" };
    static const char *const bad_projects[] = { "", "/", "a//b", "../a", "a/..", "/*", "a/", "A/b", "**", "a*", "*/a", "a/*/b", "a /b" };
    struct world w;
    world_init (&w, 5);
    world_fill (&w, 6);
    struct picture was = picture (w.r);
    for (size_t i = 0; i < sizeof bad_names / sizeof *bad_names; i++)
        for (int owner = 0; owner < 2; owner++) {
            struct msg m = enrol_entry (owner ? "new" : bad_names[i], owner ? bad_names[i] : "o", 5000);
            struct err e = ERR_INIT;
            if (strlen (bad_names[i]) > 63)
                continue; /* the encoder itself keeps it out */
            cr_assert_eq (entry_add (&w, &m, &e), -1, "\"%s\" as %s", bad_names[i], owner ? "owner" : "name");
            cr_assert_eq (e.code, EC_MALFORMED, "%s", e.msg);
        }
    for (size_t i = 0; i < sizeof bad_projects / sizeof *bad_projects; i++) {
        struct bytes list[2] = { bytes_str ("fine/one"), bytes_str (bad_projects[i]) };
        struct msg m = enrol_entry ("new", "o", 5000);
        struct err e = ERR_INIT;
        m.u.roster_entry.projects = (struct bytes_list){ list, 2 };
        cr_assert_eq (entry_add (&w, &m, &e), -1, "project \"%s\"", bad_projects[i]);
        cr_assert (strstr (e.msg, "project 2"), "%s", e.msg);
        if (*bad_projects[i] && strcmp (bad_projects[i], "a/*")) {
            struct msg p = policy_entry (bad_projects[i], 1, 0);
            cr_assert_eq (entry_add (&w, &p, &e), -1, "policy of \"%s\"", bad_projects[i]);
        }
    }
    static const uint64_t bad_roles[] = { 0, ROLE_TOKEN, ROLE_SERVICE, ROLE_WORKER | ROLE_TOKEN, UINT64_C (1) << 40 | ROLE_WORKER, UINT64_MAX };
    for (size_t i = 0; i < sizeof bad_roles / sizeof *bad_roles; i++) {
        struct msg m = enrol_entry ("new", "o", 5000);
        struct err e = ERR_INIT;
        m.u.roster_entry.roles = bad_roles[i];
        cr_assert_eq (entry_add (&w, &m, &e), -1, "roles %llx", (unsigned long long) bad_roles[i]);
    }
    static const struct { uint64_t agree, trusted, dissent, isolation, max, lineages, network; } bad_policy[] = {
        { 65, 0, 0, 0, 0 }, { UINT64_MAX, 0, 0, 0, 0 }, { UINT64_C (1) << 32, 0, 0, 0, 0 }, { 0, 3, 0, 0, 0 }, { 0, UINT64_C (1) << 32, 0, 0, 0 },
        { 0, 0, 3, 0, 0 },  { 0, 0, 0, 3, 0 },          { 0, 0, 0, 8, 0 },                  { 0, 0, 0, 0, 129 }, { 0, 0, 0, 0, UINT64_MAX },
        { .lineages = 9 },  { .lineages = UINT64_C (1) << 32 }, { .network = 3 }, { .network = UINT64_C (1) << 32 },
    };
    for (size_t i = 0; i < sizeof bad_policy / sizeof *bad_policy; i++) {
        struct msg m = policy_entry ("a/b", 0, 0);
        struct err e = ERR_INIT;
        m.u.roster_entry.agree = bad_policy[i].agree;
        m.u.roster_entry.trusted = bad_policy[i].trusted;
        m.u.roster_entry.dissent = bad_policy[i].dissent;
        m.u.roster_entry.isolation = bad_policy[i].isolation;
        m.u.roster_entry.max_replicas = bad_policy[i].max;
        m.u.roster_entry.lineages = bad_policy[i].lineages;
        m.u.roster_entry.network = bad_policy[i].network;
        cr_assert_eq (entry_add (&w, &m, &e), -1, "policy %zu", i);
    }
    for (uint64_t kind = 0; kind < 300; kind += kind == 0 ? 4 : 1) {
        struct msg m = enrol_entry ("new", "o", 5000);
        struct err e = ERR_INIT;
        m.u.roster_entry.kind = kind;
        cr_assert_eq (entry_add (&w, &m, &e), -1, "kind %llu", (unsigned long long) kind);
    }
    same_picture (w.r, &was, "a broken rule");
    world_release (&w);
}

Test (roster, names_and_keys_belong_to_one)
{
    struct world w;
    world_init (&w, 6);
    world_fill (&w, 10); /* p4 and p9 are revoked: theirs stay taken */
    struct picture was = picture (w.r);
    for (unsigned of = 0; of < 10; of++)
        for (int which = 0; which < 4; which++) {
            char name[64];
            struct msg m = enrol_entry ("new", "o", 5000);
            struct msg_roster_entry *b = &m.u.roster_entry;
            struct err e = ERR_INIT;
            (void) snprintf (name, sizeof name, "p%u", of);
            if (which == 0)
                b->name = bytes_str (name);
            else if (which == 1)
                b->sign_key = key_of ('s', of);
            else if (which == 2)
                b->transport_key = key_of ('t', of);
            else
                b->seal_key = key_of ('x', of);
            cr_assert_eq (entry_add (&w, &m, &e), -1, "%u's %d", of, which);
            cr_assert (e.code == EC_CONFLICT && (which == 0 || strstr (e.msg, name)), "%s", e.msg);
        }
    for (unsigned of = 0; of < 10; of++) /* one secret, another use: still one */
        for (int which = 0; which < 2; which++) {
            struct msg m = enrol_entry ("new", "o", 5000);
            struct err e = ERR_INIT;
            if (which)
                m.u.roster_entry.seal_key = key_of ('t', of);
            else
                m.u.roster_entry.transport_key = key_of ('x', of);
            cr_assert (entry_add (&w, &m, &e) == -1 && e.code == EC_CONFLICT, "%u's %d", of, which);
        }
    for (int which = 0; which < 3; which++) {
        struct msg m = enrol_entry ("new", "o", 5000);
        struct err e = ERR_INIT;
        struct digest *k[3] = { &m.u.roster_entry.sign_key, &m.u.roster_entry.transport_key, &m.u.roster_entry.seal_key };
        *k[which] = (struct digest){ { 0 } };
        cr_assert_eq (entry_add (&w, &m, &e), -1);
        cr_assert (strstr (e.msg, "missing"), "%s", e.msg);
    }
    same_picture (w.r, &was, "a taken name or key");
    enrol (&w, "new", "o", 5000); /* and the refusals left nothing behind that is in its way */
    world_release (&w);
}

/* ---- heads ---- */

Test (roster, heads)
{
    struct world w;
    struct err e = ERR_INIT;
    world_init (&w, 7);
    world_fill (&w, 10);
    uint64_t seq = roster_seq (w.r);
    struct digest last = roster_last (w.r), other = key_of ('?', 1), before = digest_of (roster_entry_raw (w.r, seq - 1).p, roster_entry_raw (w.r, seq - 1).len);
    const struct { uint64_t seq; struct digest last; int64_t time; const char *word; enum err_code code; } t[] = {
        { seq, last, w.now - 1, "stale", EC_REPLAYED },        { seq - 1, before, w.now, "truncated", EC_DAMAGED },
        { seq - 1, other, w.now, "forked", EC_DAMAGED },       { seq, other, w.now, "forked", EC_DAMAGED },
        { 0, { { 0 } }, w.now, "truncated", EC_DAMAGED },      { 0, last, w.now, "forked", EC_DAMAGED },
        { seq, last, INT64_MIN, "none", EC_MALFORMED },        { 1, last, w.now, "forked", EC_DAMAGED },
    };
    struct picture was = picture (w.r);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        cr_assert_eq (head_set (&w, t[i].seq, t[i].last, t[i].time, &e), -1, "row %zu", i);
        cr_assert (strstr (e.msg, t[i].word) && e.code == t[i].code, "row %zu: %s", i, e.msg);
        same_picture (w.r, &was, t[i].word);
    }
    cr_assert_eq (head_set (&w, seq, last, w.now, &e), 0, "the same head again: %s", e.msg);
    /* A head that is ahead of the entries is held; the roster is whole only when the entry that it names is here. */
    struct msg m = enrol_entry ("next", "o", 5000), rival = enrol_entry ("rival", "o", 5001);
    BUF (raw);
    BUF (wrong);
    entry_next (&w, &m);
    entry_sign (&w.root, TYPE_ROSTER, &m, &raw);
    entry_next (&w, &rival);
    entry_sign (&w.root, TYPE_ROSTER, &rival, &wrong);
    cr_assert_eq (head_set (&w, seq + 1, digest_of (raw.p, raw.len), w.now + SECOND, &e), 0, "%s", e.msg);
    cr_assert_not (roster_complete (w.r));
    cr_assert_eq (roster_fresh (w.r, w.now, 60 * SECOND, &e), -1);
    cr_assert (strstr (e.msg, "truncated"), "%s", e.msg);
    BUF (copy);
    realm_roster_bytes (w.r, &copy);
    struct roster *misled = roster_new (w.root.pub); /* given the rival entry instead: never whole */
    cr_assert_eq (realm_roster_parse (buf_bytes (&copy), misled, &e), 0, "%s", e.msg);
    cr_assert_eq (roster_add (misled, buf_bytes (&wrong), &e), 0, "%s", e.msg);
    cr_assert_not (roster_complete (misled));
    cr_assert_eq (roster_fresh (misled, w.now + SECOND, 60 * SECOND, &e), -1);
    roster_destroy (&misled);
    cr_assert_eq (roster_add (w.r, buf_bytes (&raw), &e), 0, "%s", e.msg);
    cr_assert (roster_complete (w.r));
    world_release (&w);
}

Test (roster, freshness)
{
    struct world w;
    struct err e = ERR_INIT;
    world_init (&w, 8);
    enrol (&w, "a", "o", 1);
    head_now (&w);
    const int64_t age = 300 * SECOND;
    static const struct { int64_t off; int rc; const char *word; } t[] = {
        { 0, 0, "" },           { 300 * SECOND, 0, "" },  { 300 * SECOND + 1, -1, "stale" }, { -300 * SECOND, 0, "" },
        { -300 * SECOND - 1, -1, "future" }, { 86400 * SECOND, -1, "stale" },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        cr_assert_eq (roster_fresh (w.r, w.now + t[i].off, age, &e), t[i].rc, "row %zu", i);
        if (t[i].rc)
            cr_assert (strstr (e.msg, t[i].word) && e.code == EC_EXPIRED, "row %zu: %s", i, e.msg);
    }
    enrol (&w, "b", "o", 2); /* the head is behind now */
    cr_assert_eq (roster_fresh (w.r, w.now, age, &e), -1);
    cr_assert (strstr (e.msg, "truncated") && e.code == EC_DAMAGED, "%s", e.msg);
    world_release (&w);
}

/* ---- the whole file, damaged everywhere ---- */

Test (roster, a_cut_copy_is_never_whole)
{
    struct world w;
    BUF (all);
    world_init (&w, 9);
    world_fill (&w, 4);
    realm_roster_bytes (w.r, &all);
    for (size_t cut = 0; cut < all.len; cut++) {
        struct roster *r = roster_new (w.root.pub);
        struct err e = ERR_INIT;
        int rc = realm_roster_parse (bytes_of (all.p, cut), r, &e);
        cr_assert (rc == -1 || cut == 0, "cut at %zu of %zu was taken", cut, all.len);
        cr_assert (rc == 0 || e.msg[0], "cut at %zu: no reason", cut);
        cr_assert_not (roster_complete (r));
        roster_destroy (&r);
    }
    world_release (&w);
}

/* A changed byte is refused where it stands, or (in the key id, which is a hint and not signed) makes all that follows a fork. */
Test (roster, a_copy_with_any_byte_changed_is_refused)
{
    struct world w;
    BUF (all);
    world_init (&w, 10);
    world_fill (&w, 3);
    realm_roster_bytes (w.r, &all);
    /* The newest head has nothing behind it: its own key id ends before the signature, 2 + 64 bytes. */
    size_t hint = all.len - 66 - 32;
    cr_assert_eq (memcmp (all.p + hint, w.root.pub, 32), 0);
    for (size_t i = 0; i < all.len; i++) {
        static const uint8_t masks[] = { 0x01, 0x80, 0xff };
        for (size_t k = 0; k < sizeof masks; k++) {
            struct roster *r = roster_new (w.root.pub);
            struct err e = ERR_INIT;
            all.p[i] ^= masks[k];
            int rc = realm_roster_parse (buf_bytes (&all), r, &e);
            cr_assert (rc == -1 || (i >= hint && i < hint + 32), "byte %zu of %zu with %02x was taken", i, all.len, masks[k]);
            if (rc == 0)
                cr_assert (roster_count (r) == roster_count (w.r) && roster_head_time (r) == roster_head_time (w.r), "a hint may change nothing that counts");
            all.p[i] ^= masks[k];
            roster_destroy (&r);
        }
    }
    world_release (&w);
}

Test (roster, records_swapped_dropped_or_repeated_are_refused)
{
    struct world w;
    world_init (&w, 11);
    world_fill (&w, 12);
    uint64_t n = roster_seq (w.r);
    for (unsigned round = 0; round < 300; round++) {
        struct roster *r = roster_new (w.root.pub);
        struct err e = ERR_INIT;
        uint64_t a = 1 + lcg (&w, (uint32_t) n), b = 1 + lcg (&w, (uint32_t) n);
        unsigned how = lcg (&w, 3);
        int rc = 0;
        if (how == 0 && a == b)
            how = 1;
        for (uint64_t i = 1; i <= n && rc == 0; i++) {
            uint64_t take = how == 0 && i == a ? b : how == 0 && i == b ? a : i;
            if (how == 1 && i == a)
                continue;
            rc = roster_add (r, roster_entry_raw (w.r, take), &e);
            if (how == 2 && i == a && rc == 0)
                rc = roster_add (r, roster_entry_raw (w.r, take), &e);
        }
        if (rc == 0)
            (void) roster_set_head (r, roster_head_raw (w.r), &e);
        cr_assert (rc == -1 || !roster_complete (r), "how %u a %llu b %llu", how, (unsigned long long) a, (unsigned long long) b);
        cr_assert_neq (roster_fresh (r, w.now, 60 * SECOND, &e), 0);
        roster_destroy (&r);
    }
    world_release (&w);
}

Test (roster, random_bytes_never_hurt)
{
    struct world w;
    uint8_t raw[400];
    world_init (&w, 12);
    world_fill (&w, 3);
    struct picture was = picture (w.r);
    for (unsigned i = 0; i < 3000; i++) {
        struct err e = ERR_INIT;
        randombytes_buf (raw, sizeof raw);
        raw[0] = 0x94;
        size_t len = lcg (&w, sizeof raw);
        cr_assert_eq (roster_add (w.r, bytes_of (raw, len), &e), -1);
        cr_assert_eq (roster_set_head (w.r, bytes_of (raw, len), &e), -1);
        BUF (signed_noise); /* the root signs nonsense: refused all the same */
        envelope_sign (TYPE_ROSTER, bytes_of (raw, len), &w.root, &signed_noise);
        cr_assert_eq (roster_add (w.r, buf_bytes (&signed_noise), &e), -1);
    }
    same_picture (w.r, &was, "noise");
    world_release (&w);
}

/* ---- revocation ---- */

Test (roster, a_revoked_word_counts_only_before)
{
    struct world w;
    struct err e = ERR_INIT;
    world_init (&w, 13);
    enrol (&w, "w", "o", 1);
    const struct principal *p = roster_find (w.r, "w");
    cr_assert (principal_good (p) && principal_good_at (p, T0) && principal_good_at (p, T0 + 1000000 * SECOND));
    cr_assert (principal_good_at (p, T0 - 60 * SECOND), "clocks may differ by a minute");
    cr_assert_not (principal_good_at (p, T0 - 61 * SECOND), "before it was enrolled nobody knew it");
    w.now += 100 * SECOND;
    struct msg future = revoke_entry ("w", w.now + 1), nobody = revoke_entry ("x", 0), first = revoke_entry ("w", T0 + 50 * SECOND);
    cr_assert_eq (entry_add (&w, &future, &e), -1);
    cr_assert_eq (entry_add (&w, &nobody, &e), -1);
    cr_assert_eq (e.code, EC_NOT_FOUND);
    cr_assert (principal_good (roster_find (w.r, "w")));
    cr_assert_eq (entry_add (&w, &first, &e), 0, "%s", e.msg);
    p = roster_find (w.r, "w");
    struct digest t = key_of ('t', 1);
    cr_assert (!principal_good (p) && principal_good_at (p, T0 + 50 * SECOND - 1) && !principal_good_at (p, T0 + 50 * SECOND) && !strcmp (p->reason, "lost"));
    cr_assert_eq (roster_by_transport (w.r, t.b), p, "it is still known, as revoked");
    cr_assert_null (roster_role (w.r, ROLE_WORKER, 0));
    w.now += SECOND;
    for (int64_t later = 50; later <= 100; later += 10) { /* a revocation can only reach further back */
        struct msg m = revoke_entry ("w", T0 + later * SECOND);
        cr_assert_eq (entry_add (&w, &m, &e), -1);
        cr_assert_eq (e.code, EC_CONFLICT, "%s", e.msg);
    }
    struct msg earlier = revoke_entry ("w", T0 + 10 * SECOND);
    cr_assert_eq (entry_add (&w, &earlier, &e), 0, "%s", e.msg);
    cr_assert_not (principal_good_at (roster_find (w.r, "w"), T0 + 10 * SECOND));
    enrol (&w, "n", "o", 2);
    struct msg at_once = revoke_entry ("n", 0); /* 0: from the entry's own time on */
    cr_assert_eq (entry_add (&w, &at_once, &e), 0, "%s", e.msg);
    cr_assert_eq (roster_find (w.r, "n")->revoked_since, w.now);
    world_release (&w);
}

/* ---- projects, labels, owners, policies ---- */

Test (roster, projects_and_labels_of_a_principal)
{
    struct world w;
    struct err e = ERR_INIT;
    struct bytes projects[3] = { bytes_str ("a/b"), bytes_str ("c/*"), bytes_str ("d/e/*") }, labels[2] = { bytes_str ("arch=amd64"), bytes_str ("fast") };
    world_init (&w, 14);
    struct msg m = enrol_entry ("w", "o", 1);
    m.u.roster_entry.projects = (struct bytes_list){ projects, 3 };
    m.u.roster_entry.labels = (struct bytes_list){ labels, 2 };
    cr_assert_eq (entry_add (&w, &m, &e), 0, "%s", e.msg);
    struct bytes all = bytes_str ("*");
    struct msg any = enrol_entry ("any", "o", 2);
    any.u.roster_entry.projects = (struct bytes_list){ &all, 1 };
    cr_assert_eq (entry_add (&w, &any, &e), 0, "%s", e.msg);
    enrol (&w, "none", "o", 3);
    static const struct { const char *project; bool may; } t[] = {
        { "a/b", true },  { "a", false },      { "a/b/c", false },  { "a/bc", false }, { "c/x", true },   { "c/x/y", true }, { "c", false },
        { "cc/x", false }, { "c/", false },    { "d/e/f", true },   { "d/e", false },  { "d/f", false },  { "", false },     { "*", false },
        { "c/*", true },  { "A/b", false },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct bytes p = bytes_str (t[i].project);
        if (strcmp (t[i].project, "c/")) /* no project's name: whoever takes names from outside checks them first */
            cr_assert_eq (principal_project (roster_find (w.r, "w"), p), t[i].may, "\"%s\"", t[i].project);
        cr_assert (principal_project (roster_find (w.r, "any"), p));
        cr_assert_not (principal_project (roster_find (w.r, "none"), p));
    }
    static const struct { const char *v[3]; size_t n; bool has; } l[] = {
        { { NULL }, 0, true },          { { "fast" }, 1, true },        { { "arch=amd64", "fast" }, 2, true }, { { "fast", "arch=amd64", "fast" }, 3, true },
        { { "arch" }, 1, false },       { { "fast", "gpu" }, 2, false }, { { "arch=amd64 " }, 1, false },     { { "" }, 1, false },
    };
    for (size_t i = 0; i < sizeof l / sizeof *l; i++) {
        struct bytes v[3];
        for (size_t k = 0; k < l[i].n; k++)
            v[k] = bytes_str (l[i].v[k]);
        cr_assert_eq (principal_labels (roster_find (w.r, "w"), &(struct bytes_list){ v, l[i].n }), l[i].has, "row %zu", i);
        cr_assert_eq (principal_labels (roster_find (w.r, "none"), &(struct bytes_list){ v, l[i].n }), l[i].n == 0, "row %zu", i);
    }
    world_release (&w);
}

/* Owners are counted once each, however many workers they bring; revoked ones, other roles and other projects do not count. */
Test (roster, owners_against_a_model)
{
    enum { OWNERS = 12 };
    struct bytes here = bytes_str ("a/b"), elsewhere = bytes_str ("x/y");
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct world w;
        struct err e = ERR_INIT;
        bool has[OWNERS] = { false }, trusted[OWNERS] = { false };
        world_init (&w, seed);
        for (unsigned i = 0; i < 60; i++) {
            char name[64], owner[64];
            unsigned o = lcg (&w, OWNERS), role = lcg (&w, 3), project = lcg (&w, 3), revoked = lcg (&w, 4), trust = lcg (&w, 4);
            (void) snprintf (name, sizeof name, "p%u", i);
            (void) snprintf (owner, sizeof owner, "o%u", o);
            struct msg m = enrol_entry (name, owner, i);
            m.u.roster_entry.roles = role ? ROLE_WORKER : ROLE_SUBMITTER;
            m.u.roster_entry.projects = (struct bytes_list){ project ? &here : &elsewhere, 1 };
            m.u.roster_entry.trust = trust == 0;
            cr_assert_eq (entry_add (&w, &m, &e), 0, "%s", e.msg);
            struct msg gone = revoke_entry (name, w.now);
            if (revoked == 0)
                cr_assert_eq (entry_add (&w, &gone, &e), 0, "%s", e.msg);
            if (role && project && revoked) {
                has[o] = true;
                trusted[o] |= trust == 0;
            }
        }
        size_t n = 0, t = 0, got_trusted = 99;
        for (unsigned o = 0; o < OWNERS; o++) {
            n += has[o];
            t += trusted[o];
        }
        cr_assert_eq (roster_owners (w.r, here, NULL, &got_trusted), n, "seed %llu", (unsigned long long) seed);
        cr_assert_eq (got_trusted, t);
        cr_assert_eq (roster_owners (w.r, here, &(struct bytes_list){ &here, 1 }, NULL), 0, "nobody has that label");
        world_release (&w);
    }
}

Test (roster, policies_of_the_roster)
{
    struct world w;
    struct err e = ERR_INIT;
    world_init (&w, 15);
    struct policy none = roster_policy (w.r, bytes_str ("a/b"));
    cr_assert (none.agree == 0 && none.trusted == 0 && !roster_policy_own (w.r, ""));
    struct msg floor = policy_entry ("", 2, POLICY_TRUSTED_REQUIRED), own = policy_entry ("a/b", 3, POLICY_TRUSTED_OPTIONAL), other = policy_entry ("a/c", 9, 0);
    cr_assert_eq (entry_add (&w, &floor, &e), 0, "%s", e.msg);
    cr_assert_eq (entry_add (&w, &own, &e), 0, "%s", e.msg);
    cr_assert_eq (entry_add (&w, &other, &e), 0, "%s", e.msg);
    struct policy p = roster_policy (w.r, bytes_str ("a/b")), q = roster_policy (w.r, bytes_str ("z"));
    cr_assert (p.agree == 3 && p.trusted == POLICY_TRUSTED_REQUIRED && q.agree == 2 && q.trusted == POLICY_TRUSTED_REQUIRED);
    cr_assert_eq (roster_policy_own (w.r, "a/b")->agree, 3);
    struct msg lower = policy_entry ("a/b", 1, 0); /* the newest of a project counts; never below the floor */
    cr_assert_eq (entry_add (&w, &lower, &e), 0, "%s", e.msg);
    p = roster_policy (w.r, bytes_str ("a/b"));
    cr_assert_eq (p.agree, 2);
    world_release (&w);
}
