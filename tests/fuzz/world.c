/* world.c: see world.h. */
#include "tests/fuzz/world.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/manifest.h"

/* ---- the roster ---- */

static void must (int rc, const struct err *e)
{
    if (rc == -1) {
        fprintf (stderr, "world: %s\n", e->msg);
        abort ();
    }
}

static void enter (struct world *w, struct msg *m)
{
    struct err e = ERR_INIT;
    BUF (body);
    BUF (raw);
    m->u.roster_entry.seq = roster_seq (w->roster) + 1;
    m->u.roster_entry.prev = roster_last (w->roster);
    m->u.roster_entry.time = (uint64_t) WORLD_TIME + (m->u.roster_entry.kind == ENTRY_REVOKE ? 1000000 : -1000000) + roster_seq (w->roster);
    m->u.roster_entry.by = bytes_str ("root");
    msg_encode (m, &body);
    envelope_sign (TYPE_ROSTER, buf_bytes (&body), &w->root, &raw);
    must (roster_add (w->roster, buf_bytes (&raw), &e), &e);
}

static void enrol (struct world *w, const char *name, const char *owner, unsigned roles, bool trusted, const struct sign_key *key)
{
    struct msg m = MSG_INIT (roster_entry, 0);
    struct bytes all = bytes_str ("*");
    m.u.roster_entry.kind = ENTRY_ENROL;
    m.u.roster_entry.name = bytes_str (name);
    m.u.roster_entry.owner = bytes_str (owner);
    m.u.roster_entry.roles = roles;
    m.u.roster_entry.trust = trusted;
    m.u.roster_entry.projects = (struct bytes_list){ &all, 1 };
    memcpy (m.u.roster_entry.sign_key.b, key->pub, 32);
    m.u.roster_entry.transport_key = digest_of (key->pub, 32);
    m.u.roster_entry.seal_key = digest_of (m.u.roster_entry.transport_key.b, 32);
    enter (w, &m);
}

static void make_key (struct world *w, struct sign_key *k, unsigned n)
{
    uint8_t seed[32] = { 7 };
    seed[1] = (uint8_t) n;
    k->sec = w->sec[n];
    crypto_sign_seed_keypair (k->pub, k->sec, seed);
}

void world_revoke (struct world *w, const char *name, int64_t since)
{
    struct msg m = MSG_INIT (roster_entry, 0);
    m.u.roster_entry.kind = ENTRY_REVOKE;
    m.u.roster_entry.name = bytes_str (name);
    m.u.roster_entry.since = (uint64_t) since;
    m.u.roster_entry.reason = bytes_str ("lost");
    enter (w, &m);
}

static void lease (const struct world *w, struct result *r)
{
    struct msg m = MSG_INIT (lease_body, 0);
    struct envelope v = { 0 };
    struct bytes inputs[1] = { bytes_of (r->inputs[0].b, 32) };
    BUF (body);
    struct msg_lease_body *b = &m.u.lease_body;
    b->broker = bytes_str ("broker");
    b->worker = bytes_str (r->worker);
    b->owner = bytes_str (r->owner);
    b->submission = r->submission;
    b->step = bytes_str (r->step);
    b->project = bytes_str (r->project);
    b->ref = bytes_str (r->ref);
    b->image = r->image;
    b->inputs = (struct bytes_list){ inputs, r->input_count };
    b->issued = (uint64_t) WORLD_TIME;
    b->expires = (uint64_t) WORLD_TIME + 60000000;
    msg_encode (&m, &body);
    envelope_sign (TYPE_LEASE, buf_bytes (&body), &w->broker, &r->lease);
    if (envelope_open (buf_bytes (&r->lease), TYPE_LEASE, &v, NULL) == 0)
        r->lease_id = envelope_id (&v);
    envelope_release (&v);
}

static void receipt (const struct world *w, struct result *r)
{
    struct msg m = MSG_INIT (receipt_body, 0);
    BUF (body);
    m.u.receipt_body.store = bytes_str ("store");
    m.u.receipt_body.lease = r->lease_id;
    m.u.receipt_body.artifact = r->artifact;
    m.u.receipt_body.bytes = 5;
    m.u.receipt_body.time = (uint64_t) WORLD_TIME;
    msg_encode (&m, &body);
    envelope_sign (TYPE_RECEIPT, buf_bytes (&body), &w->store, &r->receipt);
}

void world_result (const struct world *w, const char *step, int who, const struct digest *input, const char *content, struct result *r)
{
    memset (r, 0, sizeof *r);
    r->submission = digest_of ("submission", 10);
    r->recipe = digest_of ("recipe", 6);
    r->image = digest_of ("image", 5);
    (void) snprintf (r->step, sizeof r->step, "%s", step);
    (void) snprintf (r->project, sizeof r->project, "%s", w->project);
    (void) snprintf (r->worker, sizeof r->worker, "w%d", who);
    (void) snprintf (r->owner, sizeof r->owner, "o%d", who);
    memset (r->commit, 'a', 40);
    r->url = xstrdup ("https://git.example/b.git");
    r->ref = xstrdup ("refs/heads/main");
    r->isolation = ISOLATION_BWRAP;
    r->network = NETWORK_NONE;
    r->host = xstrdup ("kernel=6.1 cpu=x driver=bwrap-0.8.0");
    r->note = xstrdup ("");
    r->exit_status = *content ? 0 : 1;
    r->artifact = *content ? digest_of (content, strlen (content)) : manifest_empty ();
    if (input)
        r->inputs[r->input_count++] = *input;
    r->started = r->finished = WORLD_TIME;
    lease (w, r);
    if (*content)
        receipt (w, r);
}

void world_verdict (const char *step, const struct result *r, const struct digest *lines, size_t n, struct verdict *v)
{
    memset (v, 0, sizeof *v);
    v->submission = r[0].submission;
    v->artifact = r[0].artifact;
    v->exit_status = r[0].exit_status;
    v->outcome = outcome_digest (r[0].exit_status, &r[0].artifact);
    (void) snprintf (v->step, sizeof v->step, "%s", step);
    (void) snprintf (v->project, sizeof v->project, "%s", r[0].project);
    (void) snprintf (v->state, sizeof v->state, "trusted");
    (void) snprintf (v->verifier, sizeof v->verifier, "verifier");
    memcpy (v->commit, r[0].commit, sizeof v->commit);
    v->url = xstrdup (r[0].url);
    v->ref = xstrdup (r[0].ref);
    v->reason = xstrdup ("because");
    v->policy.agree = 2;
    v->policy.trusted = POLICY_TRUSTED_REQUIRED;
    v->policy.dissent = POLICY_DISSENT_BLOCK;
    v->policy.isolation = ISOLATION_BWRAP;
    v->policy.max_replicas = 5;
    v->policy.lineages = 1;
    v->policy.network = NETWORK_NONE;
    v->roster_seq = 6;
    v->index = 1;
    v->time = WORLD_TIME;
    v->final = true;
    v->counts = xcalloc (n, sizeof *v->counts);
    v->count = v->support = v->votes = (unsigned) n;
    for (size_t i = 0; i < n; i++) {
        struct verdict_count *k = &v->counts[i];
        memcpy (k->worker, r[i].worker, sizeof k->worker);
        memcpy (k->owner, r[i].owner, sizeof k->owner);
        k->result = lines[i];
        k->outcome = outcome_digest (r[i].exit_status, &r[i].artifact);
        k->time = WORLD_TIME;
        k->counted = digest_eq (&k->outcome, &v->outcome);
        k->trusted = !strcmp (r[i].worker, "w0");
    }
}

void world_sign (const struct sign_key *key, struct bytes json, struct buf *line)
{
    envelope_sign_json (TYPE_INTOTO, json, key, line);
    buf_adds (line, "\n");
}

static void group (const struct world *w, const char *step, uint64_t index, const struct digest *input, const char *content, int from, int to, bool sign, struct buf *out)
{
    struct result r[WORLD_WORKERS];
    struct digest ids[WORLD_WORKERS];
    struct verdict v;
    BUF (lines);
    BUF (json);
    size_t n = 0;
    for (int i = from; i < to; i++) {
        BUF (body);
        BUF (line);
        world_result (w, step, i, input, content, &r[n]);
        result_json (&r[n], &body);
        world_sign (&w->worker[i], buf_bytes (&body), &line);
        ids[n++] = digest_of (line.p, line.len - 1);
        if (!sign)
            buf_adds (&body, "\n");
        buf_add (&lines, sign ? line.p : body.p, sign ? line.len : body.len);
    }
    world_verdict (step, r, ids, n, &v);
    v.index = index;
    verdict_json (&v, &json);
    if (sign)
        world_sign (&w->verifier, buf_bytes (&json), out);
    else
        buf_addf (out, "%s\n", buf_str (&json));
    buf_add (out, lines.p, lines.len);
    verdict_release (&v);
    for (size_t i = 0; i < n; i++)
        result_release (&r[i]);
}

static void bundle (const struct world *w, bool sign, struct buf *out)
{
    struct digest built = digest_of ("built", 5);
    group (w, "test", 2, &built, "passed", 0, 2, sign, out);
    group (w, "build", 1, NULL, "built", 0, 3, sign, out);
}

void world_bundle (const struct world *w, struct buf *out)
{
    bundle (w, true, out);
}

void world_bodies (const struct world *w, struct buf *out)
{
    bundle (w, false, out);
}

/* ---- the log ---- */

static int tile (void *arg, unsigned level, uint64_t n, const struct digest **hashes, size_t *count, struct err *e)
{
    if (level || n)
        return err_code (e, EC_NOT_FOUND, "no tile");
    *hashes = arg;
    *count = WORLD_LOG;
    return 0;
}

static struct tlog_source source (const struct world *w)
{
    return (struct tlog_source){ tile, (void *) w->leaf };
}

static void fill_log (struct world *w)
{
    struct digest built = digest_of ("built", 5);
    for (uint64_t i = 0; i < WORLD_LOG; i++) {
        BUF (lines);
        if (i == 0)
            group (w, "build", 1, NULL, "built", 0, 3, true, &lines);
        else if (i == 1)
            group (w, "test", 2, &built, "passed", 0, 2, true, &lines);
        else
            buf_addf (&lines, "entry %u\n", (unsigned) i);
        w->leaf[i] = tlog_leaf (bytes_of (lines.p, (size_t) ((uint8_t *) memchr (lines.p, '\n', lines.len) - lines.p)));
    }
}

struct digest world_log_root (const struct world *w, uint64_t size)
{
    struct tlog_source src = source (w);
    struct err e = ERR_INIT;
    struct digest root;
    must (tlog_root (&src, size, &root, &e), &e);
    return root;
}

void world_log_path (const struct world *w, uint64_t index, uint64_t size, struct tlog_path *path)
{
    struct tlog_source src = source (w);
    struct err e = ERR_INIT;
    must (tlog_prove (&src, index, size, path, &e), &e);
}

void world_log_growth (const struct world *w, uint64_t old, uint64_t size, struct tlog_path *path)
{
    struct tlog_source src = source (w);
    struct err e = ERR_INIT;
    must (tlog_prove_growth (&src, old, size, path, &e), &e);
}

void world_cosign (const struct world *w, const char *who, const struct sign_key *key, struct buf *note)
{
    const char *end = strstr (buf_str (note), "\n\n");
    char origin[NOTE_NAME], name[NOTE_NAME];
    BUF (text);
    buf_add (&text, note->p, end ? (size_t) (end - (const char *) note->p) + 1 : note->len);
    note_origin (w->root.pub, "verifier", origin);
    note_witness (origin, who, name);
    note_sign (name, buf_bytes (&text), key, note);
}

void world_note (const struct world *w, struct bytes text, unsigned witnesses, struct buf *out)
{
    char origin[NOTE_NAME], who[8];
    note_origin (w->root.pub, "verifier", origin);
    buf_add (out, text.p, text.len);
    buf_adds (out, "\n");
    note_sign (origin, text, &w->verifier, out);
    for (unsigned i = 0; i < witnesses && i < WORLD_WORKERS; i++) {
        (void) snprintf (who, sizeof who, "w%u", i);
        world_cosign (w, who, &w->worker[i], out);
    }
}

void world_checkpoint (const struct world *w, uint64_t size, unsigned witnesses, struct buf *out)
{
    struct digest root = world_log_root (w, size);
    char origin[NOTE_NAME];
    BUF (text);
    note_origin (w->root.pub, "verifier", origin);
    note_text (origin, size, &root, &text);
    world_note (w, buf_bytes (&text), witnesses, out);
}

void world_inclusion (const struct world *w, uint64_t index, uint64_t size, unsigned witnesses, struct inclusion *in)
{
    memset (in, 0, sizeof *in);
    in->index = index;
    world_log_path (w, index, size, &in->path);
    world_checkpoint (w, size, witnesses, &in->note);
}

/* ---- all of it ---- */

struct world *world_new (void)
{
    struct world *w = xcalloc (1, sizeof *w);
    w->project = "a/b";
    make_key (w, &w->root, 0);
    make_key (w, &w->broker, 1);
    make_key (w, &w->store, 2);
    make_key (w, &w->verifier, 3);
    w->roster = roster_new (w->root.pub);
    enrol (w, "broker", "operator", ROLE_BROKER, false, &w->broker);
    enrol (w, "store", "operator", ROLE_STORE, false, &w->store);
    enrol (w, "verifier", "operator", ROLE_VERIFIER, false, &w->verifier);
    for (int i = 0; i < WORLD_WORKERS; i++) {
        char name[16], owner[16];
        (void) snprintf (name, sizeof name, "w%d", i);
        (void) snprintf (owner, sizeof owner, "o%d", i);
        make_key (w, &w->worker[i], 4 + (unsigned) i);
        enrol (w, name, owner, ROLE_WORKER, i == 0, &w->worker[i]);
    }
    make_key (w, &w->second, 4 + WORLD_WORKERS);
    make_key (w, &w->colleague, 5 + WORLD_WORKERS);
    enrol (w, "second", "o0", ROLE_VIEWER, false, &w->second);
    enrol (w, "colleague", "operator", ROLE_VIEWER, false, &w->colleague);
    fill_log (w);
    return w;
}

void world_destroy (struct world **wp)
{
    if (!*wp)
        return;
    roster_destroy (&(*wp)->roster);
    free (*wp);
    *wp = NULL;
}
