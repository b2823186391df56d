/* held.c: see held.h. */
#include "tests/bench/held.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "proto/statement.h"
#include "tests/bench/bench.h"
#include "verifier/intake.h"
#include "verifier/rule.h"

#define e bench_err
#define die bench_die
#define PROJECT "p"
#define COMMIT "0123456789012345678901234567890123456789"
#define HOUR_US INT64_C (3600000000)

const char *const held_step_names[HELD_STEPS] = { "build", "test" };

/* ---- all cores ---- */

struct work {
    atomic_size_t next;
    size_t n;
    void (*one) (void *arg, size_t i);
    void *arg;
    pthread_t ids[64];
    unsigned started;
};

static void *work_on (void *arg)
{
    struct work *w = arg;
    for (size_t i; (i = atomic_fetch_add (&w->next, 1)) < w->n;)
        w->one (w->arg, i);
    return NULL;
}

static void work_start (struct work *w, size_t n, void (*one) (void *arg, size_t i), void *arg)
{
    long cores = sysconf (_SC_NPROCESSORS_ONLN);
    *w = (struct work){ .n = n, .one = one, .arg = arg };
    while (w->started < 64 && (long) w->started < cores && pthread_create (&w->ids[w->started], NULL, work_on, w) == 0)
        w->started++;
}

static void work_end (struct work *w)
{
    work_on (w);
    while (w->started)
        pthread_join (w->ids[--w->started], NULL);
}

void all_cores (size_t n, void (*one) (void *arg, size_t i), void *arg)
{
    struct work w;
    work_start (&w, n, one, arg);
    while (w.started)
        pthread_join (w.ids[--w.started], NULL);
}

/* ---- one submission ---- */

static struct digest sign_it (const char *type, const struct msg *m, const struct realm *by, struct buf *out)
{
    struct envelope v;
    struct err why = ERR_INIT;
    BUF (body);
    out->len = 0;
    msg_encode (m, &body);
    envelope_sign (type, buf_bytes (&body), &realm_keys (by)->sign, out);
    if (envelope_open (buf_bytes (out), type, &v, &why) == -1)
        abort ();
    struct digest id = envelope_id (&v);
    envelope_release (&v);
    return id;
}

static void step_message (unsigned step, struct bytes *need, struct msg *m)
{
    *m = (struct msg) MSG_INIT (step, 0);
    *need = bytes_str (held_step_names[0]);
    m->u.step.name = bytes_str (held_step_names[step]);
    m->u.step.run = bytes_str ("make");
    m->u.step.image = digest_of ("image", 5);
    m->u.step.agree = 2;
    m->u.step.needs = (struct bytes_list){ need, step };
}

static void make_submission (const struct held *h, struct held_sub *s, size_t number)
{
    struct msg m = MSG_INIT (submission_body, 0), st;
    struct msg_submission_body *b = &m.u.submission_body;
    struct bytes need, list[HELD_STEPS];
    BUF (build);
    BUF (test);
    step_message (0, &need, &st);
    msg_encode (&st, &build);
    step_message (1, &need, &st);
    msg_encode (&st, &test);
    list[0] = buf_bytes (&build);
    list[1] = buf_bytes (&test);
    b->submitter = bytes_str (realm_name (h->admin));
    b->project = bytes_str (PROJECT);
    b->url = bytes_str ("https://git.example/p.git");
    b->commit = bytes_str (COMMIT);
    b->ref = bytes_str ("refs/heads/main");
    b->recipe = digest_of ("recipe", 6);
    b->steps = (struct bytes_list){ list, HELD_STEPS };
    b->issued = (uint64_t) h->now;
    b->expires = (uint64_t) (h->now + 24 * HOUR_US);
    b->nonce = digest_of (&number, sizeof number);
    s->id = sign_it (TYPE_SUBMISSION, &m, h->admin, &s->submission);
}

static void make_lease (const struct held *h, const struct held_sub *s, unsigned step, struct held_vote *v)
{
    struct msg m = MSG_INIT (lease_body, 0);
    struct msg_lease_body *b = &m.u.lease_body;
    struct bytes input = bytes_of (s->step[0].artifact.b, 32);
    struct realm *worker = h->worker[v->who];
    b->broker = bytes_str (realm_name (h->broker));
    b->worker = bytes_str (realm_name (worker));
    b->owner = bytes_str (realm_self (worker)->owner);
    b->submission = s->id;
    b->step = bytes_str (held_step_names[step]);
    b->project = bytes_str (PROJECT);
    b->ref = bytes_str ("refs/heads/main");
    b->image = digest_of ("image", 5);
    b->inputs = (struct bytes_list){ &input, step };
    b->issued = (uint64_t) h->now;
    b->expires = (uint64_t) (h->now + HOUR_US);
    v->lease_id = sign_it (TYPE_LEASE, &m, h->broker, &v->lease);
}

static void make_result (const struct held *h, const struct held_sub *s, unsigned step, struct held_vote *v)
{
    struct msg c = MSG_INIT (receipt_body, 0);
    struct result r = { .submission = s->id, .recipe = digest_of ("recipe", 6), .image = digest_of ("image", 5), .lease_id = v->lease_id, .project = PROJECT, .commit = COMMIT,
                        .isolation = ISOLATION_BWRAP, .network = NETWORK_NONE, .artifact = s->step[step].artifact, .input_count = step, .started = h->now, .finished = h->now };
    BUF (json);
    c.u.receipt_body.store = bytes_str (realm_name (h->store));
    c.u.receipt_body.lease = v->lease_id;
    c.u.receipt_body.artifact = r.artifact;
    c.u.receipt_body.bytes = 5;
    c.u.receipt_body.time = (uint64_t) h->now;
    (void) sign_it (TYPE_RECEIPT, &c, h->store, &v->receipt);
    (void) snprintf (r.step, sizeof r.step, "%s", held_step_names[step]);
    (void) snprintf (r.worker, sizeof r.worker, "%s", realm_name (h->worker[v->who]));
    (void) snprintf (r.owner, sizeof r.owner, "%s", realm_self (h->worker[v->who])->owner);
    r.inputs[0] = s->step[0].artifact;
    r.url = xstrdup ("https://git.example/p.git");
    r.ref = xstrdup ("refs/heads/main");
    r.host = xstrdup ("kernel=6.1.0 cpu=some driver=bwrap-0.8.0");
    r.note = xstrdup ("");
    buf_add (&r.lease, v->lease.p, v->lease.len);
    buf_add (&r.receipt, v->receipt.p, v->receipt.len);
    result_json (&r, &json);
    result_release (&r);
    v->envelope.len = 0;
    envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), &realm_keys (h->worker[v->who])->sign, &v->envelope);
    v->result_id = digest_of (v->envelope.p, v->envelope.len);
}

static void make_verdict (const struct held *h, const struct held_sub *s, unsigned step, struct held_step *k)
{
    struct verdict_count counts[HELD_VOTES];
    struct verdict v = { .submission = s->id, .artifact = k->artifact, .outcome = k->outcome, .project = PROJECT, .state = "trusted", .commit = COMMIT,
                         .url = (char *) "https://git.example/p.git", .ref = (char *) "refs/heads/main", .reason = (char *) "2 owners agree (2 needed)",
                         .policy = { h->policy.agree, h->policy.trusted, h->policy.dissent, h->policy.isolation, h->policy.max_replicas, h->policy.lineages, h->policy.network },
                         .support = 2, .votes = 2, .roster_seq = roster_seq (realm_roster (h->admin)), .index = k->index, .time = h->now, .final = true, .counts = counts,
                         .count = HELD_VOTES };
    BUF (json);
    (void) snprintf (v.step, sizeof v.step, "%s", held_step_names[step]);
    (void) snprintf (v.verifier, sizeof v.verifier, "%s", realm_name (h->verifier));
    memset (counts, 0, sizeof counts);
    bool first = digest_cmp (&k->vote[0].lease_id, &k->vote[1].lease_id) < 0; /* in order of lease */
    for (unsigned i = 0; i < HELD_VOTES; i++) {
        const struct held_vote *vote = &k->vote[first ? i : 1 - i];
        (void) snprintf (counts[i].worker, sizeof counts[i].worker, "%s", realm_name (h->worker[vote->who]));
        (void) snprintf (counts[i].owner, sizeof counts[i].owner, "%s", realm_self (h->worker[vote->who])->owner);
        counts[i].result = vote->result_id;
        counts[i].outcome = k->outcome;
        counts[i].time = h->now;
        counts[i].counted = true;
        counts[i].trusted = realm_self (h->worker[vote->who])->trusted;
    }
    verdict_json (&v, &json);
    k->verdict.len = 0;
    envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), &realm_keys (h->verifier)->sign, &k->verdict);
    k->verdict_id = envelope_id (&(struct envelope){ .type = bytes_str (TYPE_INTOTO), .body = buf_bytes (&json) });
}

struct making {
    struct held *h;
    size_t base;
    struct held_sub *into;
};

static void make_one (void *arg, size_t i)
{
    const struct making *m = arg;
    struct held_sub *s = &m->into[i];
    size_t number = m->base + i;
    make_submission (m->h, s, number);
    for (unsigned step = 0; step < HELD_STEPS; step++) {
        struct held_step *k = &s->step[step];
        size_t content = number * HELD_STEPS + step;
        k->artifact = digest_of (&content, sizeof content);
        k->outcome = outcome_digest (0, &k->artifact);
        k->index = content + 1;
        for (unsigned v = 0; v < HELD_VOTES; v++) {
            k->vote[v].who = step + v;
            make_lease (m->h, s, step, &k->vote[v]);
            make_result (m->h, s, step, &k->vote[v]);
        }
        make_verdict (m->h, s, step, k);
    }
}

/* ---- into the ledger ---- */

static void write_step (const struct held *h, struct ledger *l, const struct held_sub *s, unsigned step, int64_t *key)
{
    const struct held_step *k = &s->step[step];
    struct ledger_step row = { .sub = s->id, .no = step, .sought = 2, .seen = 2, .said = true, .final = true, .state = STATE_TRUSTED, .outcome = k->outcome, .artifact = k->artifact,
                               .verdict = k->verdict_id, .support = 2, .votes = 2, .needs = step, .lead = k->artifact, .inputs = inputs_digest (&s->step[0].artifact, step) };
    (void) snprintf (row.name, sizeof row.name, "%s", held_step_names[step]);
    if (ledger_step_add (l, &row, &e) == -1 || ledger_verdict_add (l, k->index, row.key, buf_bytes (&k->verdict), &e) == -1)
        die ("step");
    for (unsigned i = 0; i < HELD_VOTES; i++) {
        const struct held_vote *v = &k->vote[i];
        struct ledger_vote vote = { .lease = v->lease_id, .outcome = k->outcome, .artifact = k->artifact, .result = v->result_id, .inputs = row.inputs, .image = digest_of ("image", 5),
                                    .time = h->now };
        const char *owner = realm_self (h->worker[v->who])->owner;
        (void) snprintf (vote.worker, sizeof vote.worker, "%s", realm_name (h->worker[v->who]));
        (void) snprintf (vote.owner, sizeof vote.owner, "%s", owner);
        (void) snprintf (vote.broker, sizeof vote.broker, "%s", realm_name (h->broker));
        (void) snprintf (vote.store, sizeof vote.store, "%s", realm_name (h->store));
        if (ledger_vote_add (l, row.key, 0, &vote, buf_bytes (&v->envelope), &e) != 1)
            die ("vote");
        if (step && ledger_reader_add (l, *key, 0, bytes_str (owner), &e) == -1)
            die ("reader");
    }
    *key = row.key;
}

static void write_share (const struct held *h, struct ledger *l, const struct held_sub *s, size_t n, void (*also) (void *arg, const struct held *h, const struct held_sub *s), void *arg)
{
    if (ledger_begin (l, &e) == -1)
        die ("begin");
    for (size_t i = 0; i < n; i++) {
        int64_t key = 0;
        if (ledger_sub_add (l, &s[i].id, buf_bytes (&s[i].submission), &e) != 1)
            die ("submission");
        for (unsigned step = 0; step < HELD_STEPS; step++)
            write_step (h, l, &s[i], step, &key);
        if (also)
            also (arg, h, &s[i]);
    }
    if (ledger_commit (l, &e) == -1)
        die ("commit");
}

void held_fill (struct held *h, struct ledger *l, size_t n, void (*also) (void *arg, const struct held *h, const struct held_sub *s), void *arg)
{
    size_t count = n < HELD_SHARE ? n : HELD_SHARE, side = 0;
    struct making m = { h, 0, h->made };
    all_cores (count, make_one, &m);
    for (size_t base = 0; base < n; base += HELD_SHARE, side = 1 - side) {
        struct held_sub *now = h->made + side * HELD_SHARE;
        size_t left = n - base - count, next = left < HELD_SHARE ? left : HELD_SHARE;
        struct work w;
        m = (struct making){ h, base + count, h->made + (1 - side) * HELD_SHARE };
        work_start (&w, next, make_one, &m);
        write_share (h, l, now, count, also, arg);
        work_end (&w);
        h->last = side;
        h->last_count = count;
        count = next;
    }
}

/* ---- the realm ---- */

static struct realm *member (const char *dir, const char *name)
{
    struct realm *rl;
    char *path CLEANUP (free_ptr) = xasprintf ("%s/%s", dir, name);
    if (realm_open (&rl, path, &e) == -1)
        die (name);
    return rl;
}

void held_open (struct held *h, const char *dir)
{
    struct msg st;
    struct bytes need;
    memset (h, 0, sizeof *h);
    h->admin = member (dir, "");
    h->broker = member (dir, "broker");
    h->store = member (dir, "store");
    h->verifier = member (dir, "verifier");
    for (unsigned i = 0; i < 3; i++) {
        char name[16];
        (void) snprintf (name, sizeof name, "worker-%u", i + 1);
        h->worker[i] = member (dir, name);
    }
    h->now = time_now_us ();
    h->made = xcalloc (2 * HELD_SHARE, sizeof *h->made);
    step_message (0, &need, &st);
    struct policy p = roster_policy (realm_roster (h->admin), bytes_str (PROJECT));
    h->policy = policy_in_force (&p, &st.u.step);
}

void held_close (struct held *h)
{
    for (size_t i = 0; i < 2 * HELD_SHARE; i++) {
        buf_release (&h->made[i].submission);
        for (unsigned step = 0; step < HELD_STEPS; step++) {
            struct held_step *k = &h->made[i].step[step];
            buf_release (&k->verdict);
            for (unsigned v = 0; v < HELD_VOTES; v++) {
                buf_release (&k->vote[v].lease);
                buf_release (&k->vote[v].receipt);
                buf_release (&k->vote[v].envelope);
            }
        }
    }
    free (h->made);
    realm_close (&h->admin);
    realm_close (&h->broker);
    realm_close (&h->store);
    realm_close (&h->verifier);
    for (unsigned i = 0; i < 3; i++)
        realm_close (&h->worker[i]);
}
