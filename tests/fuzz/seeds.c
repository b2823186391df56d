/* seeds.c: writes the inputs that the harnesses begin with, made by our own encoders, so that they never fall behind the protocol.
 *
 *     fuzz_seeds DIR        DIR/msg, DIR/envelope, DIR/roster, DIR/statement, DIR/checkpoint, DIR/logline, DIR/bundle, DIR/link
 */
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/realm.h"
#include "auth/roster.h"
#include "base/file.h"
#include "cli/logline.h"
#include "proto/statement.h"
#include "store/link.h"
#include "tests/fuzz/world.h"

static const char *top;

static void put (const char *kind, const char *name, const struct buf *b)
{
    struct err e = ERR_INIT;
    char *dir CLEANUP (free_ptr) = xasprintf ("%s/%s", top, kind), *path CLEANUP (free_ptr) = xasprintf ("%s/%s", dir, name);
    if (file_mkdirs (dir, 0755, &e) == -1 || file_write (path, buf_bytes (b), 0644, &e) == -1) {
        fprintf (stderr, "fuzz_seeds: %s\n", e.msg);
        exit (1);
    }
}

static struct digest some (unsigned n)
{
    return digest_of (&n, sizeof n);
}

/* ---- every message, with nothing in it and with something in every field ---- */

static struct bytes words[3];

static void fill (struct msg *m)
{
    unsigned n = 0;
    words[0] = bytes_str ("one");
    words[1] = bytes_str ("zw\xc3\xb6lf");
    words[2] = bytes_str ("");
    switch (m->type) {
#define MSG(num, name, senders, help) case MSG_##name:
#define U64(msg, f) m->u.msg.f = (uint64_t) 1 << (7 * n++ % 64);
#define DIG(msg, f) m->u.msg.f = some (n++);
#define STR(msg, f, max) m->u.msg.f = words[n++ % 2];
#define BIN(msg, f, max) m->u.msg.f = bytes_str ("\x94\x01\x04");
#define STRS(msg, f, count, max) m->u.msg.f = (struct bytes_list){ words, 2 };
#define BINS(msg, f, count, max) m->u.msg.f = (struct bytes_list){ words, 3 };
#define END(msg) break;
#include "proto/messages.def"
#undef MSG
#undef U64
#undef DIG
#undef STR
#undef BIN
#undef STRS
#undef BINS
#undef END
    default:
        break;
    }
    (void) n;
}

static void messages (void)
{
    enum msg_type types[128];
    size_t n = msg_types (types, 128);
    for (size_t i = 0; i < n; i++) {
        struct msg m = { .type = types[i], .request = 7 };
        BUF (empty);
        BUF (full);
        char name[64];
        msg_encode (&m, &empty);
        (void) snprintf (name, sizeof name, "%s-empty", msg_name (types[i]));
        put ("msg", name, &empty);
        m.request = UINT64_MAX;
        fill (&m);
        msg_encode (&m, &full);
        (void) snprintf (name, sizeof name, "%s-full", msg_name (types[i]));
        put ("msg", name, &full);
    }
}

static void envelopes (const struct sign_key *root)
{
    static const char *const types[] = { TYPE_ROSTER, TYPE_HEAD, TYPE_SUBMISSION, TYPE_LEASE, TYPE_RECEIPT, TYPE_ENROL, TYPE_INTOTO };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        BUF (compact);
        BUF (json);
        char name[64];
        envelope_sign (types[i], bytes_str (i % 2 ? "a body" : ""), root, &compact);
        envelope_sign_json (types[i], bytes_str (i % 2 ? "{\"a\":1}" : ""), root, &json);
        (void) snprintf (name, sizeof name, "compact-%zu", i);
        put ("envelope", name, &compact);
        (void) snprintf (name, sizeof name, "json-%zu", i);
        put ("envelope", name, &json);
    }
    BUF (box);
    seal_to (root->pub, bytes_str ("sealed"), &box);
    put ("envelope", "box", &box);
}

/* ---- a roster: as a file, and as bodies behind their lengths ---- */

static struct msg entry (unsigned kind, const char *name)
{
    struct msg m = MSG_INIT (roster_entry, 0);
    struct msg_roster_entry *b = &m.u.roster_entry;
    b->kind = kind;
    b->by = bytes_str ("root");
    b->name = bytes_str (name);
    b->owner = bytes_str ("owner");
    b->reason = bytes_str ("lost");
    b->roles = ROLE_WORKER;
    b->sign_key = digest_of (name, strlen (name));
    b->transport_key = digest_of (b->sign_key.b, 32);
    b->seal_key = digest_of (b->transport_key.b, 32);
    return m;
}

static void rosters (const struct sign_key *root)
{
    struct bytes projects[2] = { bytes_str ("a/b"), bytes_str ("c/*") }, labels[1] = { bytes_str ("arch=amd64") };
    struct msg list[] = { entry (ENTRY_ENROL, "idp"), entry (ENTRY_ENROL, "w1"), entry (ENTRY_POLICY, ""), entry (ENTRY_REVOKE, "w1"), entry (ENTRY_ENROL, "w2") };
    struct roster *r = roster_new (root->pub);
    struct err e = ERR_INIT;
    BUF (bodies);
    list[1].u.roster_entry.projects = (struct bytes_list){ projects, 2 };
    list[1].u.roster_entry.labels = (struct bytes_list){ labels, 1 };
    list[1].u.roster_entry.endpoint = bytes_str ("tcp://127.0.0.1:7000");
    list[2].u.roster_entry.project = bytes_str ("a/b");
    list[2].u.roster_entry.agree = 2;
    list[2].u.roster_entry.trusted = POLICY_TRUSTED_REQUIRED;
    for (size_t i = 0; i < sizeof list / sizeof *list; i++) {
        struct msg_roster_entry *b = &list[i].u.roster_entry;
        BUF (body);
        BUF (raw);
        b->seq = i + 1;
        b->prev = roster_last (r);
        b->time = 1000 + i;
        msg_encode (&list[i], &body);
        envelope_sign (TYPE_ROSTER, buf_bytes (&body), root, &raw);
        uint8_t len[2] = { (uint8_t) (body.len >> 8), (uint8_t) body.len };
        buf_add (&bodies, len, 2);
        buf_add (&bodies, body.p, body.len);
        if (roster_add (r, buf_bytes (&raw), &e) == -1) {
            fprintf (stderr, "fuzz_seeds: %s\n", e.msg);
            exit (1);
        }
    }
    struct msg head = MSG_INIT (roster_head, 0);
    BUF (body);
    BUF (raw);
    BUF (file);
    head.u.roster_head.seq = roster_seq (r);
    head.u.roster_head.last = roster_last (r);
    head.u.roster_head.time = 2000;
    msg_encode (&head, &body);
    envelope_sign (TYPE_HEAD, buf_bytes (&body), root, &raw);
    if (roster_set_head (r, buf_bytes (&raw), &e) == -1)
        exit (1);
    realm_roster_bytes (r, &file);
    put ("roster", "file", &file);
    put ("roster", "bodies", &bodies);
    roster_destroy (&r);
}

static void statements (void)
{
    BUF (result);
    BUF (verdict);
    struct result r = { .submission = some (1), .recipe = some (2), .image = some (3), .lease_id = some (4), .step = "build", .project = "a/b", .worker = "w1",
                        .owner = "o1", .isolation = ISOLATION_BWRAP, .network = NETWORK_NONE, .artifact = some (5), .inputs = { some (6), some (7) }, .input_count = 2,
                        .started = 1790000000000000, .finished = 1790000001000000 };
    memset (r.commit, 'a', 40);
    r.url = xstrdup ("https://example.org/a.git");
    r.ref = xstrdup ("refs/heads/main");
    r.host = xstrdup ("kernel=6.1.0 cpu=x");
    r.note = xstrdup ("");
    buf_adds (&r.lease, "lease");
    buf_adds (&r.receipt, "receipt");
    result_json (&r, &result);
    put ("statement", "result", &result);
    result_release (&r);
    struct verdict v = { .submission = some (1), .artifact = some (5), .outcome = some (8), .step = "build", .project = "a/b", .state = "trusted", .verifier = "v",
                         .policy = { 2, 2, 2, 2, 5 }, .support = 2, .votes = 2, .roster_seq = 9, .index = 3, .time = 1790000001000000, .final = true };
    memset (v.commit, 'a', 40);
    v.url = xstrdup ("https://example.org/a.git");
    v.ref = xstrdup ("refs/heads/main");
    v.reason = xstrdup ("2 of 2 agree");
    v.counts = xcalloc (2, sizeof *v.counts);
    v.count = 2;
    for (unsigned i = 0; i < 2; i++) {
        (void) snprintf (v.counts[i].worker, sizeof v.counts[i].worker, "w%u", i);
        (void) snprintf (v.counts[i].owner, sizeof v.counts[i].owner, "o%u", i);
        v.counts[i].result = some (10 + i);
        v.counts[i].outcome = some (8);
        v.counts[i].counted = true;
    }
    verdict_json (&v, &verdict);
    put ("statement", "verdict", &verdict);
    verdict_release (&v);
}

/* ---- checkpoints of the world's log, and inclusion proofs with them ---- */

static void checkpoints (const struct world *w)
{
    static const struct {
        uint64_t index, size;
        unsigned witnesses;
    } rows[] = { { 0, 1, 0 }, { 1, 2, 1 }, { 2, 37, 2 }, { 7, 37, 3 }, { 11, WORLD_LOG, 3 } };
    BUF (none);
    world_checkpoint (w, 0, 0, &none);
    put ("checkpoint", "note-of-nothing", &none);
    BUF (many);
    world_checkpoint (w, 37, WORLD_WORKERS, &many);
    world_cosign (w, "second", &w->second, &many);
    world_cosign (w, "colleague", &w->colleague, &many);
    put ("checkpoint", "note-of-one-owner-twice", &many);
    for (unsigned i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct inclusion in;
        char name[32];
        BUF (text);
        world_inclusion (w, rows[i].index, rows[i].size, rows[i].witnesses, &in);
        inclusion_text (&in, &text);
        (void) snprintf (name, sizeof name, "note-%u", i);
        put ("checkpoint", name, &in.note);
        (void) snprintf (name, sizeof name, "proof-%u", i);
        put ("checkpoint", name, &text);
        inclusion_release (&in);
    }
}

/* The log's lines of the world's bundle, as they are in it and as plain proofs for fuzz_logline.c to sign anew. */
static void loglines (const struct world *w)
{
    static const uint64_t sizes[] = { 2, 37, WORLD_LOG };
    for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char name[32];
        BUF (lines);
        BUF (plain);
        for (unsigned entry = 2; entry-- > 0;) {
            struct inclusion in;
            world_inclusion (w, entry, sizes[i], i, &in);
            logline_text (&in, &lines);
            inclusion_text (&in, &plain);
            if (entry)
                buf_adds (&plain, "--\n");
            inclusion_release (&in);
        }
        (void) snprintf (name, sizeof name, "lines-%u", i);
        put ("logline", name, &lines);
        (void) snprintf (name, sizeof name, "plain-%u", i);
        put ("logline", name, &plain);
    }
}

/* ---- bundles of the world that fuzz_bundle.c knows, links of a result of it, and manifests with symlinks ---- */

static void bundles (const struct world *w)
{
    struct result r;
    struct manifest m;
    struct err e = ERR_INIT;
    static const char *const targets[] = { "dir", "../one", "b", "../dir" };
    static const char *const links[] = { "a", "dir/b", "dir/c", "dir/d" };
    struct digest d = some (1);
    BUF (bundle);
    BUF (bodies);
    BUF (text);
    BUF (file);
    BUF (raw);
    world_bundle (w, &bundle);
    put ("bundle", "signed", &bundle);
    world_bodies (w, &bodies);
    put ("bundle", "bodies", &bodies);
    world_result (w, "build", 0, NULL, "built", &r);
    manifest_init (&m);
    if (manifest_add (&m, "one", 'f', 3, &d, NULL, &e) == -1 || manifest_add (&m, "dir", 'd', 0, NULL, NULL, &e) == -1)
        exit (1);
    for (size_t i = 0; i < 3; i++)
        if (manifest_add (&m, links[i], 'l', strlen (targets[i]), NULL, targets[i], &e) == -1)
            exit (1);
    if (manifest_finish (&m, &raw, &e) == -1 || link_text (&r, &m, &text, &e) == -1) {
        fprintf (stderr, "fuzz_seeds: %s\n", e.msg);
        exit (1);
    }
    put ("link", "manifest", &raw);
    signature_make (&w->worker[0], buf_bytes (&text), r.link);
    link_file (buf_bytes (&text), w->worker[0].pub, r.link, &file);
    put ("link", "link", &file);
    raw.len = 0;
    if (manifest_add (&m, links[3], 'l', strlen (targets[3]), NULL, targets[3], &e) == -1 || manifest_finish (&m, &raw, &e) == -1)
        exit (1);
    put ("link", "manifest-into-itself", &raw);
    manifest_release (&m);
    result_release (&r);
}

int main (int argc, char **argv)
{
    static const uint8_t seed[32] = { 42 }; /* as in fuzz_roster.c: the roster in a file is one that its harness accepts */
    uint8_t sec[64];
    struct sign_key root = { .sec = sec };
    if (argc != 2 || sodium_init () == -1) {
        fprintf (stderr, "usage: fuzz_seeds DIR\n");
        return 2;
    }
    top = argv[1];
    crypto_sign_seed_keypair (root.pub, sec, seed);
    messages ();
    envelopes (&root);
    rosters (&root);
    statements ();
    struct world *w = world_new ();
    checkpoints (w);
    loglines (w);
    bundles (w);
    world_destroy (&w);
    return 0;
}
