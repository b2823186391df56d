/* The broker's state, on both backends: rows, turns and savepoints, the queue's order, gapless events. */
#include "broker/state.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static const char *const backends[] = { "sqlite", "mem" };
#define EACH_BACKEND(p) for (size_t b_ = 0; b_ < 2; b_++) for (struct place p; place_init (&p, backends[b_]); place_release (&p))

struct place {
    char dir[64];
    const char *backend;
    struct state *s;
    uint64_t rnd;
};

static uint32_t lcg (uint64_t *s, uint32_t n)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t) ((*s >> 33) % n);
}

static void place_open (struct place *p)
{
    struct err e = ERR_INIT;
    cr_assert_eq (state_open (&p->s, p->backend, p->dir, &e), 0, "%s: %s", p->backend, e.msg);
}

/* Runs the body of EACH_BACKEND once. */
static bool place_init (struct place *p, const char *backend)
{
    static const char *current;
    if (current == backend) {
        current = NULL;
        return false;
    }
    current = backend;
    memset (p, 0, sizeof *p);
    p->backend = backend;
    p->rnd = 1;
    (void) snprintf (p->dir, sizeof p->dir, "/tmp/assay-state.XXXXXX");
    cr_assert_not_null (mkdtemp (p->dir));
    place_open (p);
    return true;
}
static void place_release (struct place *p)
{
    struct err e = ERR_INIT;
    state_close (&p->s);
    cr_assert_null (p->s);
    cr_assert_eq (file_remove_tree (p->dir, &e), 0, "%s", e.msg);
}

/* The same process again, if there is a disk. false: `mem`, whose state is gone. */
static bool place_again (struct place *p)
{
    if (strcmp (p->backend, "sqlite"))
        return false;
    state_close (&p->s);
    place_open (p);
    return true;
}

static void commit (struct place *p)
{
    struct err e = ERR_INIT;
    cr_assert_eq (state_commit (p->s, &e), 0, "%s", e.msg);
}

static struct digest id_of (char kind, unsigned n)
{
    char text[32];
    int len = snprintf (text, sizeof text, "%c%u", kind, n);
    return digest_of (text, (size_t) len);
}

static struct sub_row new_sub (unsigned n)
{
    struct sub_row r = { .id = id_of ('s', n), .time = 1000 + n, .expires = 2000 + n, .priority = n % 10 };
    buf_addf (&r.envelope, "envelope %u", n);
    buf_add (&r.envelope, "\0\xff", 2);
    (void) snprintf (r.project, sizeof r.project, "team/p%u", n);
    (void) snprintf (r.commit, sizeof r.commit, "%040u", n);
    (void) snprintf (r.ref, sizeof r.ref, "refs/heads/b\xc3\xa4%u", n);
    (void) snprintf (r.submitter, sizeof r.submitter, "submitter%u", n);
    return r;
}
static int64_t add_sub (struct place *p, unsigned n)
{
    struct err e = ERR_INIT;
    struct sub_row r = new_sub (n);
    cr_assert_eq (state_sub_add (p->s, &r, &e), 0, "%s", e.msg);
    sub_row_release (&r);
    return r.key;
}
static bool sub_same (const struct sub_row *a, const struct sub_row *b)
{
    return digest_eq (&a->id, &b->id) && bytes_eq (buf_bytes (&a->envelope), buf_bytes (&b->envelope)) && !strcmp (a->project, b->project) && !strcmp (a->commit, b->commit)
           && !strcmp (a->ref, b->ref) && !strcmp (a->submitter, b->submitter) && a->time == b->time && a->expires == b->expires && a->priority == b->priority;
}

static struct step_row new_step (int64_t sub, unsigned no)
{
    struct step_row r = { .sub = sub, .no = no, .job = { .state = JOB_OPEN, .places = 1 }, .priority = 5, .expires = 5000, .state = "pending" };
    (void) snprintf (r.name, sizeof r.name, "step%u", no);
    return r;
}
static struct step_row add_step (struct place *p, int64_t sub, unsigned no)
{
    struct err e = ERR_INIT;
    struct step_row r = new_step (sub, no);
    cr_assert_eq (state_step_add (p->s, &r, &e), 0, "%s", e.msg);
    return r;
}
static bool step_same (const struct step_row *a, const struct step_row *b)
{
    return a->key == b->key && a->sub == b->sub && a->no == b->no && !strcmp (a->name, b->name) && a->job.state == b->job.state && a->job.places == b->job.places
           && a->job.votes == b->job.votes && a->job.open == b->job.open && a->job.errors == b->job.errors && a->waiting == b->waiting
           && a->want_trusted == b->want_trusted && a->priority == b->priority && a->turn == b->turn && a->expires == b->expires && !strcmp (a->state, b->state)
           && digest_eq (&a->digest, &b->digest) && a->agree == b->agree && a->support == b->support && a->dissent == b->dissent && a->votes == b->votes
           && a->trusted_required == b->trusted_required && !strcmp (a->reason, b->reason) && a->verdict_index == b->verdict_index;
}

static void add_event (struct place *p, const char *text)
{
    struct err e = ERR_INIT;
    uint64_t before = state_seq (p->s);
    cr_assert_eq (state_event_add (p->s, "team/p", bytes_str (text), &e), 0, "%s", e.msg);
    cr_assert_eq (state_seq (p->s), before + 1);
}

/* ---- rows ---- */

Test (state, submissions)
{
    EACH_BACKEND (p) {
        struct err e = ERR_INIT;
        struct sub_row got;
        int64_t keys[50];
        for (unsigned i = 0; i < 50; i++) {
            keys[i] = add_sub (&p, i);
            cr_assert (i == 0 || keys[i] > keys[i - 1], "keys grow");
        }
        commit (&p);
        (void) place_again (&p);
        for (unsigned i = 0; i < 50; i++) {
            struct digest id = id_of ('s', i), other = id_of ('?', i);
            struct sub_row want = new_sub (i);
            cr_assert_eq (state_sub_find (p.s, &id, &got, &e), 1, "%s", e.msg);
            cr_assert (sub_same (&got, &want) && got.key == keys[i]);
            sub_row_release (&got);
            cr_assert_eq (state_sub_get (p.s, keys[i], &got, &e), 0, "%s", e.msg);
            cr_assert (sub_same (&got, &want));
            sub_row_release (&got);
            cr_assert_eq (state_sub_find (p.s, &other, &got, &e), 0);
            sub_row_release (&want);
        }
        cr_assert_eq (state_sub_get (p.s, 1000, &got, &e), -1);
        cr_assert_eq (e.code, EC_NOT_FOUND);
        struct sub_row twice = new_sub (3); /* one id, one row; and the turn goes on */
        state_mark (p.s);
        cr_assert_eq (state_sub_add (p.s, &twice, &e), -1);
        cr_assert_eq (e.code, EC_INTERNAL);
        state_undo (p.s);
        (void) add_sub (&p, 60);
        commit (&p);
        sub_row_release (&twice);
    }
}

Test (state, a_large_envelope_and_hostile_text)
{
    EACH_BACKEND (p) {
        struct err e = ERR_INIT;
        struct sub_row r = new_sub (1), got;
        buf_release (&r.envelope);
        uint8_t *big = buf_grow (&r.envelope, 1 << 20);
        for (size_t i = 0; i < 1 << 20; i++)
            big[i] = (uint8_t) (i * 7 + (i >> 8));
        (void) snprintf (r.ref, sizeof r.ref, "'); DROP TABLE step; --");
        cr_assert_eq (state_sub_add (p.s, &r, &e), 0, "%s", e.msg);
        struct step_row st = new_step (r.key, 0);
        memset (st.reason, 'x', sizeof st.reason - 1);
        memset (st.name, 'n', sizeof st.name - 1);
        cr_assert_eq (state_step_add (p.s, &st, &e), 0, "%s", e.msg);
        commit (&p);
        cr_assert_eq (state_sub_find (p.s, &r.id, &got, &e), 1, "%s", e.msg);
        cr_assert (sub_same (&r, &got));
        struct step_row back;
        cr_assert_eq (state_step_get (p.s, st.key, &back, &e), 0, "%s", e.msg);
        cr_assert (step_same (&st, &back));
        sub_row_release (&got);
        sub_row_release (&r);
    }
}

struct seen {
    unsigned n, stop;
    int64_t keys[512];
    struct digest ids[512];
};
static int see_sub (void *arg, const struct sub_row *r)
{
    struct seen *x = arg;
    x->keys[x->n] = r->key;
    x->ids[x->n++] = r->id;
    return x->n == x->stop;
}

Test (state, lists_of_submissions)
{
    EACH_BACKEND (p) {
        struct err e = ERR_INIT;
        for (unsigned i = 0; i < 300; i++)
            (void) add_sub (&p, i);
        commit (&p);
        static struct seen x;
        int64_t before = INT64_MAX;
        unsigned all = 0, pages = 0;
        for (;;) { /* newest first, page by page */
            memset (&x, 0, sizeof x);
            cr_assert_eq (state_subs (p.s, "", before, 77, see_sub, &x, &e), 0, "%s", e.msg);
            if (x.n == 0)
                break;
            for (unsigned i = 0; i < x.n; i++)
                cr_assert (x.keys[i] < before && (i == 0 || x.keys[i] < x.keys[i - 1]));
            before = x.keys[x.n - 1];
            all += x.n;
            pages++;
        }
        cr_assert (all == 300 && pages == 4);
        memset (&x, 0, sizeof x);
        x.stop = 5;
        cr_assert_eq (state_subs (p.s, "", INT64_MAX, 100, see_sub, &x, &e), 0);
        cr_assert_eq (x.n, 5, "the caller stops it");
        for (unsigned i = 0; i < 300; i++) {
            struct digest id = id_of ('s', i);
            char hex[DIGEST_HEX];
            digest_hex (&id, hex);
            for (size_t len = 64; len >= 8; len -= 7) { /* odd and even lengths */
                hex[len] = '\0';
                memset (&x, 0, sizeof x);
                cr_assert_eq (state_subs (p.s, hex, INT64_MAX, 10, see_sub, &x, &e), 0, "%s", e.msg);
                cr_assert (x.n == 1 && digest_eq (&x.ids[0], &id), "%s", hex);
            }
            hex[0] = hex[0] == '0' ? '1' : '0';
            memset (&x, 0, sizeof x);
            cr_assert_eq (state_subs (p.s, hex, INT64_MAX, 10, see_sub, &x, &e), 0);
            cr_assert_eq (x.n, 0);
        }
        cr_assert_eq (state_subs (p.s, "xyz", INT64_MAX, 10, see_sub, &x, &e), -1);
        cr_assert_eq (e.code, EC_MALFORMED);
        memset (&x, 0, sizeof x);
        unsigned want = 0;
        for (unsigned i = 0; i < 300; i++)
            want += id_of ('s', i).b[0] >> 4 == 0xf;
        cr_assert_eq (state_subs (p.s, "f", INT64_MAX, 500, see_sub, &x, &e), 0);
        cr_assert_eq (x.n, want);
    }
}

Test (state, steps_hold_every_field)
{
    EACH_BACKEND (p) {
        struct err e = ERR_INIT;
        int64_t sub = add_sub (&p, 1);
        struct step_row rows[40], got;
        for (unsigned i = 0; i < 40; i++) {
            rows[i] = add_step (&p, sub, i);
            struct step_row *r = &rows[i];
            r->job = (struct job){ (enum job_state) lcg (&p.rnd, JOB_STATES), lcg (&p.rnd, 257), lcg (&p.rnd, 9), lcg (&p.rnd, 9), lcg (&p.rnd, 9) };
            r->waiting = lcg (&p.rnd, 2);
            r->want_trusted = lcg (&p.rnd, 2);
            r->priority = lcg (&p.rnd, 10);
            r->turn = i == 7 ? TURN_MAX : lcg (&p.rnd, 1u << 30);
            r->expires = lcg (&p.rnd, 1000000);
            (void) snprintf (r->state, sizeof r->state, "state%u", i);
            if (i % 3)
                r->digest = id_of ('d', i);
            r->agree = lcg (&p.rnd, 65);
            r->support = lcg (&p.rnd, 65);
            r->dissent = lcg (&p.rnd, 65);
            r->votes = lcg (&p.rnd, 65);
            r->trusted_required = lcg (&p.rnd, 2);
            (void) snprintf (r->reason, sizeof r->reason, "because %u", i);
            r->verdict_index = (uint64_t) lcg (&p.rnd, 1u << 30) << 20;
            cr_assert_eq (state_step_put (p.s, r, &e), 0, "%s", e.msg);
        }
        commit (&p);
        (void) place_again (&p);
        for (unsigned i = 0; i < 40; i++) {
            struct digest id = id_of ('s', 1), other = id_of ('s', 2);
            cr_assert_eq (state_step_get (p.s, rows[i].key, &got, &e), 0, "%s", e.msg);
            cr_assert (step_same (&rows[i], &got), "step %u", i);
            cr_assert_eq (state_step_find (p.s, &id, bytes_str (rows[i].name), &got, &e), 1, "%s", e.msg);
            cr_assert (step_same (&rows[i], &got));
            cr_assert_eq (state_step_find (p.s, &other, bytes_str (rows[i].name), &got, &e), 0);
        }
        struct digest id = id_of ('s', 1);
        cr_assert_eq (state_step_find (p.s, &id, bytes_str ("step"), &got, &e), 0);
        cr_assert_eq (state_step_find (p.s, &id, bytes_of (NULL, 0), &got, &e), 0);
        cr_assert_eq (state_step_get (p.s, 9999, &got, &e), -1);
        cr_assert_eq (e.code, EC_NOT_FOUND);
        rows[0].key = 9999;
        cr_assert_eq (state_step_put (p.s, &rows[0], &e), -1);
        state_rollback (p.s);
    }
}

static int see_step (void *arg, const struct step_row *r)
{
    struct seen *x = arg;
    x->keys[x->n++] = r->no;
    return x->n == x->stop;
}

Test (state, steps_of_a_submission_come_in_its_order)
{
    EACH_BACKEND (p) {
        struct err e = ERR_INIT;
        static struct seen x;
        int64_t a = add_sub (&p, 1), b = add_sub (&p, 2);
        for (unsigned i = 0; i < 64; i++) { /* written crosswise */
            (void) add_step (&p, a, (i * 37) % 64);
            if (i < 3)
                (void) add_step (&p, b, 2 - i);
        }
        commit (&p);
        memset (&x, 0, sizeof x);
        cr_assert_eq (state_steps (p.s, a, see_step, &x, &e), 0, "%s", e.msg);
        cr_assert_eq (x.n, 64);
        for (unsigned i = 0; i < 64; i++)
            cr_assert_eq (x.keys[i], i);
        memset (&x, 0, sizeof x);
        cr_assert_eq (state_steps (p.s, b, see_step, &x, &e), 0);
        cr_assert_eq (x.n, 3);
        memset (&x, 0, sizeof x);
        x.stop = 7;
        cr_assert_eq (state_steps (p.s, a, see_step, &x, &e), 0);
        cr_assert_eq (x.n, 7);
        memset (&x, 0, sizeof x);
        cr_assert_eq (state_steps (p.s, 777, see_step, &x, &e), 0);
        cr_assert_eq (x.n, 0);
        struct step_row twice = new_step (a, 5);
        cr_assert_eq (state_step_add (p.s, &twice, &e), -1, "one place, one step");
        state_rollback (p.s);
    }
}

/* ---- the queue, against a model ---- */

struct model {
    struct step_row rows[200];
    unsigned n;
};

static bool queued (const struct step_row *r)
{
    return !r->waiting && job_wants (&r->job) > 0;
}

static int model_cmp (const void *a, const void *b)
{
    const struct step_row *x = *(const struct step_row *const *) a, *y = *(const struct step_row *const *) b;
    return x->priority != y->priority ? (x->priority > y->priority ? -1 : 1) : x->turn != y->turn ? (x->turn < y->turn ? -1 : 1) : x->key < y->key ? -1 : 1;
}

static void queue_is (struct place *p, const struct model *m)
{
    const struct step_row *want[200];
    struct step_row got[40];
    struct err e = ERR_INIT;
    size_t n = 0, at = 0, k;
    int64_t open = 0;
    for (unsigned i = 0; i < m->n; i++) {
        if (queued (&m->rows[i]))
            want[n++] = &m->rows[i];
        open += m->rows[i].job.state != JOB_DECIDED;
    }
    qsort (want, n, sizeof *want, model_cmp);
    unsigned window = 1 + lcg (&p->rnd, 40);
    for (struct cursor c = { INT64_MIN, 0 };; c = (struct cursor){ step_rank (&got[k - 1]), got[k - 1].key }) {
        cr_assert_eq (state_queue (p->s, c, window, got, &k, &e), 0, "%s", e.msg);
        for (size_t i = 0; i < k; i++, at++)
            cr_assert (at < n && step_same (&got[i], want[at]), "place %zu of %zu", at, n);
        if (k < window)
            break;
    }
    cr_assert_eq (at, n);
    cr_assert_eq (state_open_steps (p->s), open);
    int64_t now = lcg (&p->rnd, 1000);
    size_t late = 0;
    for (unsigned i = 0; i < m->n; i++)
        late += m->rows[i].job.state == JOB_OPEN && m->rows[i].expires <= now;
    cr_assert_eq (state_expired (p->s, now, 40, got, &k, &e), 0, "%s", e.msg);
    cr_assert_eq (k, late < 40 ? late : 40);
    for (size_t i = 0; i < k; i++)
        cr_assert (got[i].job.state == JOB_OPEN && got[i].expires <= now && (i == 0 || got[i].expires >= got[i - 1].expires));
}

static void change (struct place *p, struct model *m, int64_t sub)
{
    struct err e = ERR_INIT;
    if (m->n == 0 || (m->n < 200 && lcg (&p->rnd, 3) == 0)) {
        struct step_row r = new_step (sub, m->n);
        r.priority = lcg (&p->rnd, 10);
        r.turn = lcg (&p->rnd, 20);
        r.expires = lcg (&p->rnd, 1000);
        r.waiting = lcg (&p->rnd, 4) == 0;
        cr_assert_eq (state_step_add (p->s, &r, &e), 0, "%s", e.msg);
        m->rows[m->n++] = r;
        return;
    }
    struct step_row *r = &m->rows[lcg (&p->rnd, m->n)];
    (void) job_apply (&r->job, (enum job_event) lcg (&p->rnd, JOB_EVENTS), 1 + lcg (&p->rnd, 3), 3, &e);
    if (lcg (&p->rnd, 5) == 0)
        r->waiting = !r->waiting;
    if (lcg (&p->rnd, 5) == 0)
        r->turn += lcg (&p->rnd, 20);
    cr_assert_eq (state_step_put (p->s, r, &e), 0, "%s", e.msg);
}

/* Turns of random changes; savepoints and whole turns are undone at random, and the model with them. */
Test (state, the_queue_against_a_model)
{
    EACH_BACKEND (p) {
        static struct model m, at_begin, at_mark;
        memset (&m, 0, sizeof m);
        int64_t sub = add_sub (&p, 1);
        commit (&p);
        for (unsigned turn = 0; turn < 150; turn++) {
            at_begin = m;
            for (unsigned i = lcg (&p.rnd, 12); i > 0; i--) {
                bool undo = lcg (&p.rnd, 4) == 0;
                at_mark = m;
                state_mark (p.s);
                uint64_t seq = state_seq (p.s);
                for (unsigned k = lcg (&p.rnd, 4); k > 0; k--)
                    change (&p, &m, sub);
                add_event (&p, "x");
                if (undo) {
                    state_undo (p.s);
                    m = at_mark;
                    cr_assert_eq (state_seq (p.s), seq, "an undone event leaves no gap");
                } else
                    state_keep (p.s);
            }
            queue_is (&p, &m);
            if (lcg (&p.rnd, 4) == 0) {
                state_rollback (p.s);
                m = at_begin;
            } else
                commit (&p);
            if (turn % 20 == 19)
                (void) place_again (&p);
            queue_is (&p, &m);
        }
    }
}

/* ---- leases ---- */

static struct lease_row new_lease (int64_t step, unsigned n)
{
    struct lease_row l = { .id = id_of ('l', n), .step = step, .trusted = n % 2, .issued = 1000 + n, .expires = 9000 + n, .state = LEASE_OPEN };
    (void) snprintf (l.worker, sizeof l.worker, "worker%u", n);
    (void) snprintf (l.owner, sizeof l.owner, "owner%u", n / 2);
    return l;
}
static int see_lease (void *arg, const struct lease_row *l)
{
    struct seen *x = arg;
    x->ids[x->n] = l->id;
    x->keys[x->n++] = l->issued;
    return x->n == x->stop;
}

struct ender {
    struct state *s;
    unsigned n;
};
static int end_lease (void *arg, const struct lease_row *row)
{
    struct ender *x = arg;
    struct lease_row l = *row;
    struct err e = ERR_INIT;
    l.state = LEASE_OVER;
    cr_assert_eq (state_lease_put (x->s, &l, &e), 0, "%s", e.msg);
    x->n++;
    return 0;
}

Test (state, leases)
{
    EACH_BACKEND (p) {
        struct err e = ERR_INIT;
        struct lease_row got;
        static struct seen x;
        int64_t sub = add_sub (&p, 1), a = add_step (&p, sub, 0).key, b = add_step (&p, sub, 1).key;
        for (unsigned i = 40; i-- > 0;) { /* written backwards */
            struct lease_row l = new_lease (i % 4 ? a : b, i);
            cr_assert_eq (state_lease_add (p.s, &l, &e), 0, "%s", e.msg);
        }
        for (unsigned i = 0; i < 40; i += 5) {
            struct lease_row l = new_lease (0, i);
            l.state = i % 10 ? LEASE_OVER : LEASE_VOTED;
            l.result = id_of ('r', i);
            cr_assert_eq (state_lease_put (p.s, &l, &e), 0, "%s", e.msg);
        }
        commit (&p);
        (void) place_again (&p);
        for (unsigned i = 0; i < 40; i++) {
            struct lease_row want = new_lease (i % 4 ? a : b, i);
            cr_assert_eq (state_lease_get (p.s, &want.id, &got, &e), 1, "%s", e.msg);
            cr_assert (got.step == want.step && !strcmp (got.worker, want.worker) && !strcmp (got.owner, want.owner) && got.trusted == want.trusted
                       && got.issued == want.issued && got.expires == want.expires);
            cr_assert_eq (got.state, i % 5 ? LEASE_OPEN : i % 10 ? LEASE_OVER : LEASE_VOTED);
            struct digest r = id_of ('r', i);
            cr_assert (i % 5 ? digest_zero (&got.result) : digest_eq (&got.result, &r));
        }
        struct digest none = id_of ('?', 1);
        cr_assert_eq (state_lease_get (p.s, &none, &got, &e), 0);
        memset (&x, 0, sizeof x);
        cr_assert_eq (state_leases_of (p.s, a, see_lease, &x, &e), 0, "%s", e.msg);
        cr_assert_eq (x.n, 30);
        for (unsigned i = 1; i < x.n; i++)
            cr_assert (x.keys[i] > x.keys[i - 1], "in order of issue");
        memset (&x, 0, sizeof x);
        x.stop = 3;
        cr_assert_eq (state_leases_of (p.s, a, see_lease, &x, &e), 0);
        cr_assert_eq (x.n, 3);
        memset (&x, 0, sizeof x);
        cr_assert_eq (state_leases_open (p.s, see_lease, &x, &e), 0);
        cr_assert_eq (x.n, 32);
        struct ender end = { p.s, 0 }; /* what walks over them may end them */
        cr_assert_eq (state_leases_open (p.s, end_lease, &end, &e), 0);
        commit (&p);
        cr_assert_eq (end.n, 32);
        memset (&x, 0, sizeof x);
        cr_assert_eq (state_leases_open (p.s, see_lease, &x, &e), 0);
        cr_assert_eq (x.n, 0);
        struct lease_row twice = new_lease (a, 1);
        cr_assert_eq (state_lease_add (p.s, &twice, &e), -1, "an id is given once");
        state_rollback (p.s);
    }
}

/* ---- events ---- */

struct events_seen {
    uint64_t next;
    unsigned n, stop;
};
static int see_event (void *arg, uint64_t seq, const char *project, struct bytes body)
{
    struct events_seen *x = arg;
    char text[32];
    int len = snprintf (text, sizeof text, "event %llu", (unsigned long long) seq);
    cr_assert_eq (seq, x->next++);
    cr_assert (!strcmp (project, "team/p") && bytes_eq (body, bytes_of (text, (size_t) len)));
    return ++x->n == x->stop;
}

Test (state, events_have_no_gaps)
{
    EACH_BACKEND (p) {
        struct err e = ERR_INIT;
        uint64_t n = 0;
        cr_assert_eq (state_seq (p.s), 0);
        for (unsigned turn = 0; turn < 60; turn++) {
            bool undo = lcg (&p.rnd, 3) == 0;
            uint64_t before = n;
            for (unsigned i = lcg (&p.rnd, 8); i > 0; i--) {
                char text[32];
                (void) snprintf (text, sizeof text, "event %llu", (unsigned long long) ++n);
                add_event (&p, text);
            }
            if (undo) {
                state_rollback (p.s);
                n = before;
            } else
                commit (&p);
            cr_assert_eq (state_seq (p.s), n);
            if (turn % 10 == 9)
                (void) place_again (&p);
        }
        cr_assert (n > 50);
        static const uint64_t froms[] = { 0, 1, 2, 17 };
        for (size_t i = 0; i < sizeof froms / sizeof *froms; i++) {
            struct events_seen x = { .next = froms[i] ? froms[i] : 1 };
            cr_assert_eq (state_events (p.s, froms[i], see_event, &x, &e), 0, "%s", e.msg);
            cr_assert_eq (x.next, n + 1);
            struct events_seen some = { .next = froms[i] ? froms[i] : 1, .stop = 5 };
            cr_assert_eq (state_events (p.s, froms[i], see_event, &some, &e), 0);
            cr_assert_eq (some.n, 5);
        }
        static const uint64_t beyond[] = { INT64_MAX, UINT64_MAX, (uint64_t) INT64_MAX + 1 };
        for (size_t i = 0; i < 3; i++) {
            struct events_seen x = { .next = 0 };
            cr_assert_eq (state_events (p.s, beyond[i], see_event, &x, &e), 0);
            cr_assert_eq (x.n, 0);
        }
    }
}

/* Before schema 6 events lay one in a row: they stay where they are, and pages go on behind them. */
Test (state, events_of_an_older_schema_come_first)
{
    struct place p;
    struct err e = ERR_INIT;
    char path[96];
    sqlite3 *sql = NULL;
    (void) place_init (&p, backends[0]);
    (void) snprintf (path, sizeof path, "%s/state.db", p.dir);
    (void) add_step (&p, add_sub (&p, 1), 0);
    commit (&p);
    state_close (&p.s);
    cr_assert (sqlite3_open (path, &sql) == SQLITE_OK
               && sqlite3_exec (sql, "DROP TABLE event_page; UPDATE counter SET value = 5 WHERE name = 'schema';"
                                     "INSERT INTO event VALUES (1, 'team/p', x'6576656e742031'), (2, 'team/p', x'6576656e742032'), (3, 'team/p', x'6576656e742033')",
                                NULL, NULL, NULL) == SQLITE_OK, "%s", sqlite3_errmsg (sql));
    sqlite3_close (sql);
    place_open (&p);
    cr_assert_eq (state_seq (p.s), 3);
    cr_assert_eq (state_open_steps (p.s), 1);
    for (unsigned n = 4; n < 40; n++) {
        char text[32];
        (void) snprintf (text, sizeof text, "event %u", n);
        add_event (&p, text);
        if (n % 5 == 0)
            commit (&p);
        for (unsigned from = 1; from <= n; from++) {
            struct events_seen x = { .next = from };
            cr_assert_eq (state_events (p.s, from, see_event, &x, &e), 0, "%s", e.msg);
            cr_assert_eq (x.next, n + 1, "from %u of %u", from, n);
        }
    }
    commit (&p);
    state_close (&p.s); /* a page that was damaged is said to be */
    cr_assert (sqlite3_open (path, &sql) == SQLITE_OK && sqlite3_exec (sql, "UPDATE event_page SET entries = substr (entries, 1, 20) WHERE last = 10", NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close (sql);
    place_open (&p);
    struct events_seen x = { .next = 1 };
    cr_assert_eq (state_events (p.s, 1, see_event, &x, &e), -1);
    cr_assert (strstr (e.msg, "damaged"), "%s", e.msg);
    place_release (&p);
}

/* What is in memory is let go, and read again: more than is kept, in every order. */
Test (state, rows_come_back_from_the_disk)
{
    enum { N = 400 };
    struct place p;
    struct err e = ERR_INIT;
    static struct step_row want[N];
    (void) place_init (&p, backends[0]);
    for (unsigned i = 0; i < N; i++) {
        struct sub_row r = new_sub (i);
        (void) buf_grow (&r.envelope, 100000);
        memset (r.envelope.p, (int) i, r.envelope.len);
        cr_assert_eq (state_sub_add (p.s, &r, &e), 0, "%s", e.msg);
        want[i] = add_step (&p, r.key, 0);
        struct lease_row l = new_lease (want[i].key, i);
        cr_assert_eq (state_lease_add (p.s, &l, &e), 0, "%s", e.msg);
        sub_row_release (&r);
        if (i % 7 == 0)
            commit (&p);
    }
    commit (&p);
    for (unsigned k = 0; k < 3000; k++) {
        unsigned i = lcg (&p.rnd, N);
        struct digest sub = id_of ('s', i), id = id_of ('l', i);
        struct lease_row l;
        struct step_row got;
        struct sub_row r;
        static struct seen x;
        cr_assert_eq (state_lease_get (p.s, &id, &l, &e), 1);
        cr_assert_eq (l.step, want[i].key);
        cr_assert_eq (state_step_find (p.s, &sub, bytes_str ("step0"), &got, &e), 1);
        cr_assert (step_same (&got, &want[i]), "step of submission %u", i);
        cr_assert_eq (state_sub_get (p.s, got.sub, &r, &e), 0);
        cr_assert (r.envelope.len > 100000 && r.envelope.p[99999] == (uint8_t) i);
        sub_row_release (&r);
        memset (&x, 0, sizeof x);
        cr_assert (state_leases_of (p.s, got.key, see_lease, &x, &e) == 0 && x.n == 1 && digest_eq (&x.ids[0], &id));
        state_trim (p.s);
        state_mark (p.s);
        got.votes++;
        l.state = got.votes % 2 ? LEASE_OVER : LEASE_OPEN;
        cr_assert (state_step_put (p.s, &got, &e) == 0 && state_lease_put (p.s, &l, &e) == 0);
        if (k % 3)
            state_undo (p.s);
        else {
            state_keep (p.s);
            want[i] = got;
        }
        if (k % 500 == 0)
            commit (&p); /* in between, more is read than stays: what has changed stays */
        state_trim (p.s);
    }
    place_release (&p);
}

/* ---- files ---- */

Test (state, what_is_no_state_is_refused)
{
    struct place p;
    struct err e = ERR_INIT;
    struct state *s = NULL;
    struct stat st;
    char path[96], wal[96];
    cr_assert_eq (state_open (&s, "redis", "/tmp", &e), -1);
    cr_assert (strstr (e.msg, "sqlite or mem"), "%s", e.msg);
    (void) place_init (&p, backends[0]);
    (void) snprintf (path, sizeof path, "%s/state.db", p.dir);
    (void) snprintf (wal, sizeof wal, "%s/state.db-wal", p.dir);
    (void) add_sub (&p, 1);
    commit (&p);
    cr_assert (stat (path, &st) == 0 && (st.st_mode & 0777) == 0600);
    cr_assert (stat (wal, &st) == 0 && (st.st_mode & 0777) == 0600, "its journal is nobody else's to read either");
    state_close (&p.s);
    sqlite3 *sql = NULL;
    cr_assert (sqlite3_open (path, &sql) == SQLITE_OK && sqlite3_exec (sql, "UPDATE counter SET value = 99 WHERE name = 'schema'", NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close (sql);
    cr_assert_eq (state_open (&s, "sqlite", p.dir, &e), -1);
    cr_assert (strstr (e.msg, "99") && strstr (e.msg, path), "%s", e.msg);
    cr_assert_eq (file_write (path, bytes_str ("this is no database, but it is long enough to be looked at as if it were one"), 0600, &e), 0);
    cr_assert_eq (state_open (&s, "sqlite", p.dir, &e), -1);
    cr_assert (strstr (e.msg, "state"), "%s", e.msg);
    cr_assert_eq (state_open (&s, "sqlite", "/nonexistent", &e), -1);
    cr_assert (strstr (e.msg, "/nonexistent"), "%s", e.msg);
    cr_assert (unlink (path) == 0 && symlink ("/nonexistent", path) == 0);
    cr_assert_eq (state_open (&s, "sqlite", p.dir, &e), -1, "a link in its place");
    cr_assert_null (s);
    cr_assert_eq (file_remove_tree (p.dir, &e), 0);
}

/* ---- shares ---- */

Test (state, shares_are_kept_and_undone_with_the_steps)
{
    EACH_BACKEND (p) {
        struct err e = ERR_INIT;
        struct share x;
        cr_assert_eq (state_share (p.s, "alice", 0, &x, &e), 0, "%s", e.msg);
        cr_assert (x.open == 0 && x.open_here == 0 && x.turn == 0);
        cr_assert_eq (state_share_add (p.s, "alice", 0, 3, 7, &e), 0, "%s", e.msg);
        cr_assert_eq (state_share_add (p.s, "alice", 9, 2, 50, &e), 0);
        cr_assert_eq (state_share_add (p.s, "bob", 0, 1, 1, &e), 0);
        commit (&p);
        state_mark (p.s);
        cr_assert_eq (state_share_add (p.s, "alice", 0, 100, 100, &e), 0);
        state_undo (p.s);
        state_mark (p.s);
        cr_assert_eq (state_share_add (p.s, "alice", 0, -1, 2, &e), 0);
        state_keep (p.s);
        commit (&p);
        cr_assert_eq (state_share_add (p.s, "bob", 0, 100, 100, &e), 0);
        state_rollback (p.s);
        (void) place_again (&p);
        cr_assert_eq (state_share (p.s, "alice", 0, &x, &e), 0);
        cr_assert (x.open == 4 && x.open_here == 2 && x.turn == 7, "%lld %lld %lld", (long long) x.open, (long long) x.open_here, (long long) x.turn);
        cr_assert_eq (state_share (p.s, "alice", 9, &x, &e), 0);
        cr_assert (x.open == 4 && x.open_here == 2 && x.turn == 50);
        cr_assert_eq (state_share (p.s, "bob", 0, &x, &e), 0);
        cr_assert (x.open == 1 && x.turn == 1);
    }
}
