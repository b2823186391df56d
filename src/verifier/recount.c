#include "verifier/recount.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "verifier/intake.h"
#include "verifier/matter.h"

#define SHARE 64u     /* steps that a thread takes at once */
#define PILE (192u << 10) /* bytes that a thread reads before it checks them */
#define THREADS_MAX 64u

struct hall {
    pthread_mutex_t lock;
    struct ledger *ledger;      /* hands out the steps; each thread reads what belongs to them through its own */
    int64_t after;
    const char *path;
    const struct roster *roster;
    void (*tell) (void *arg, const char *line);
    void *arg;
    struct recount sum;
    struct err e;
    bool failed;
};

static void tell (struct hall *h, const struct ledger_step *s, const char *worker, const char *what)
{
    char hex[DIGEST_HEX], line[512];
    (void) snprintf (line, sizeof line, "%.12s/%s%s%s: %s", digest_hex (&s->sub, hex), s->name, *worker ? " of " : "", worker, what);
    pthread_mutex_lock (&h->lock);
    if (h->tell)
        h->tell (h->arg, line);
    pthread_mutex_unlock (&h->lock);
}

/* What was read and is yet to be checked. Reading and checking take turns of many results: each would else drive the other's code and tables out
 * of the processor's caches, at every single one. */
struct pile {
    struct kept {
        const struct ledger_step *step;
        struct ledger_vote vote; /* no worker: the step's submission */
        size_t at, len;          /* in bytes */
    } *v;
    size_t n, cap;
    struct buf bytes;
    struct digest last; /* the submission that was looked at: its steps lie together, and it is checked with the first */
};

struct looking {
    struct hall *hall;
    const struct ledger_step *step;
    struct pile *pile;
    struct recount *sum;
};

static void check_submission (struct hall *h, const struct kept *k, struct bytes raw, struct recount *sum)
{
    struct err why = ERR_INIT;
    struct envelope v = { 0 };
    const struct principal *p = NULL;
    if (envelope_open (raw, TYPE_SUBMISSION, &v, &why) == 0)
        p = roster_by_sign (h->roster, v.keyid);
    if (!p || envelope_check (&v, p->sign_key, &why) == -1) {
        sum->bad++;
        tell (h, k->step, "", "its submission is not signed by a principal of this roster");
    }
    envelope_release (&v);
}

static void check_pile (struct hall *h, struct pile *pile, struct recount *sum)
{
    for (size_t i = 0; i < pile->n; i++) {
        const struct kept *k = &pile->v[i];
        struct bytes raw = bytes_of (pile->bytes.p + k->at, k->len);
        struct err why = ERR_INIT;
        if (!*k->vote.worker)
            check_submission (h, k, raw, sum);
        else if (intake_again (h->roster, &k->vote, raw, &why) == -1 && why.code != EC_REVOKED) { /* of a revoked key: it does not count, and is sound */
            sum->bad++;
            tell (h, k->step, k->vote.worker, why.msg);
        }
    }
    pile->n = pile->bytes.len = 0;
}

static void keep (struct looking *x, const struct ledger_vote *v, struct bytes raw)
{
    struct pile *p = x->pile;
    if (p->n == p->cap) {
        p->cap = p->cap ? p->cap * 2 : 64;
        p->v = xrealloc (p->v, p->cap * sizeof *p->v);
    }
    struct kept *k = &p->v[p->n++];
    k->step = x->step;
    if (v)
        k->vote = *v;
    else
        memset (&k->vote, 0, sizeof k->vote);
    k->at = p->bytes.len;
    k->len = raw.len;
    buf_add (&p->bytes, raw.p, raw.len);
    if (p->bytes.len > PILE)
        check_pile (x->hall, p, x->sum);
}

static int look_at (void *arg, const struct ledger_vote *v, struct bytes result)
{
    struct looking *x = arg;
    x->sum->results++;
    if (*v->worker)
        keep (x, v, result);
    else {
        x->sum->bad++;
        tell (x->hall, x->step, "", "a vote of nobody");
    }
    return 0;
}

static int look_at_step (struct hall *h, const struct judge *j, const struct ledger_step *s, struct pile *pile, struct recount *sum, struct err *e)
{
    struct looking x = { h, s, pile, sum };
    struct matter m = { .step = *s, .look = look_at, .look_arg = &x };
    struct reading reading;
    struct counted c = { .n = 0 };
    struct decision d;
    sum->steps++;
    int rc = matter_open (j, &m, e);
    if (rc == 0) {
        if (!digest_eq (&s->sub, &pile->last))
            keep (&x, NULL, buf_bytes (&m.raw));
        pile->last = s->sub;
        rc = matter_decide (j, &m, &reading, &c, &d, e);
    }
    if (rc == 0 && s->said && (s->state != (int) d.state || s->final != d.final || !digest_eq (&s->outcome, &d.outcome) || s->support != d.support || s->against != d.against)) {
        char what[400];
        sum->differ++;
        (void) snprintf (what, sizeof what, "it was \"%s\" (%u for it, %u otherwise), and is \"%s\" now: %s", step_state_name ((enum step_state) s->state), s->support,
                         s->against, step_state_name (d.state), d.reason);
        tell (h, s, "", what);
    }
    counted_release (&c);
    matter_release (&m);
    return rc;
}

static void add_up (struct hall *h, const struct recount *own, struct err *e, bool failed)
{
    pthread_mutex_lock (&h->lock);
    h->sum.steps += own->steps;
    h->sum.results += own->results;
    h->sum.bad += own->bad;
    h->sum.differ += own->differ;
    if (failed && !h->failed) {
        h->failed = true;
        h->e = *e;
    }
    pthread_mutex_unlock (&h->lock);
}

static void *count_on (void *arg)
{
    struct hall *h = arg;
    struct ledger *l = NULL;
    struct ledger_step *rows = xcalloc (SHARE, sizeof *rows);
    struct recount own = { 0 };
    struct pile pile = { .n = 0 };
    struct err e = ERR_INIT;
    size_t n = 1;
    pthread_mutex_lock (&h->lock); /* opening writes a little, and closing locks the file for a moment: who opens meanwhile is refused */
    int rc = ledger_open (&l, h->path, &e);
    pthread_mutex_unlock (&h->lock);
    if (rc == 0)
        ledger_to_read (l);
    struct judge j = { .ledger = l, .roster = h->roster, .name = "" };
    while (rc == 0 && n && !h->failed) {
        pthread_mutex_lock (&h->lock);
        rc = ledger_steps_all (h->ledger, h->after, SHARE, rows, &n, &e);
        if (rc == 0 && n)
            h->after = rows[n - 1].key;
        pthread_mutex_unlock (&h->lock);
        for (size_t i = 0; rc == 0 && i < n; i++)
            rc = look_at_step (h, &j, &rows[i], &pile, &own, &e);
        check_pile (h, &pile, &own); /* it points into rows */
    }
    free (pile.v);
    buf_release (&pile.bytes);
    pthread_mutex_lock (&h->lock);
    ledger_close (&l);
    pthread_mutex_unlock (&h->lock);
    free (rows);
    add_up (h, &own, &e, rc == -1);
    return NULL;
}

int recount (const char *path, const struct roster *r, unsigned threads, void (*tell_all) (void *arg, const char *line), void *arg, struct recount *out, struct err *e)
{
    struct hall h = { .path = path, .roster = r, .tell = tell_all, .arg = arg, .e = ERR_INIT };
    pthread_t ids[THREADS_MAX];
    unsigned started = 0;
    long cores = sysconf (_SC_NPROCESSORS_ONLN);
    if (threads == 0)
        threads = cores > 0 ? (unsigned) cores : 1;
    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    memset (out, 0, sizeof *out);
    if (ledger_open (&h.ledger, path, e) == -1)
        return -1;
    ledger_to_read (h.ledger);
    pthread_mutex_init (&h.lock, NULL);
    while (started + 1 < threads && pthread_create (&ids[started], NULL, count_on, &h) == 0)
        started++;
    (void) count_on (&h);
    for (unsigned i = 0; i < started; i++)
        pthread_join (ids[i], NULL);
    pthread_mutex_destroy (&h.lock);
    ledger_close (&h.ledger);
    *out = h.sum;
    if (h.failed)
        *e = h.e;
    return h.failed ? -1 : 0;
}
