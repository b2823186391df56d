/* fleet.c: the workers, and the leases that they have. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "broker/schedule.h"
#include "broker/server.h"

#define WINDOW 64u          /* steps looked at from one place of the queue */
#define GIVEN_MAX 1024u     /* leases given in one turn */
#define GIVEN_BYTES (32u << 20) /* of leases and submissions that go out with them, in one turn */
#define ERROR_PAUSE_MS 10000
#define STRIKES_FREE 3u     /* this many declined or unanswered leases in a row, and a worker gets none for a while */
#define STRIKE_PAUSE_MS INT64_C (10000)
#define STRIKE_PAUSE_MAX_MS INT64_C (600000)

/* ---- who is there ---- */

struct worker *worker_find (struct server *s, const char *name)
{
    for (size_t i = 0; i < s->worker_count; i++)
        if (!strcmp (s->workers[i].name, name))
            return &s->workers[i];
    return NULL;
}

static bool same_route (const struct route *a, const struct route *b)
{
    return a->len == b->len && memcmp (a->id, b->id, a->len) == 0;
}

bool worker_on (struct server *s, const char *name, const struct route *r)
{
    const struct worker *w = worker_find (s, name);
    return w && same_route (&w->route, r);
}

void worker_heard (struct server *s, const struct principal *p, const struct route *r)
{
    struct worker *w = worker_find (s, p->name);
    if (w && same_route (&w->route, r))
        w->heard = time_mono_ms ();
}

void worker_hello (struct ask *a)
{
    struct server *s = a->s;
    struct worker *w = worker_find (s, a->sender->name);
    if (!w) {
        s->workers = xrealloc (s->workers, (s->worker_count + 1) * sizeof *s->workers);
        w = &s->workers[s->worker_count++];
        memset (w, 0, sizeof *w);
        memcpy (w->name, a->sender->name, sizeof w->name);
        memcpy (w->owner, a->sender->owner, sizeof w->owner);
        log_info ("worker came worker=%s owner=%s", w->name, w->owner);
    }
    w->route = a->route;
    w->credit = 0;
    w->held = false;
    w->heard = time_mono_ms ();
}

static void worker_drop (struct server *s, struct worker *w)
{
    free (w->projects);
    *w = s->workers[--s->worker_count];
}

void workers_release (struct server *s)
{
    while (s->worker_count)
        worker_drop (s, &s->workers[0]);
    free (s->workers);
    s->workers = NULL;
}

static int known (struct ask *a, struct worker **w, struct err *e)
{
    *w = worker_find (a->s, a->sender->name);
    if (*w && same_route (&(*w)->route, &a->route))
        return 0;
    return err_code (e, EC_UNEXPECTED, "say hello first: this connection of %s is not known", a->sender->name);
}

int on_ready (struct ask *a, struct err *e)
{
    const struct msg_ready *q = &a->m->u.ready;
    struct worker *w;
    if (known (a, &w, e) == -1)
        return -1;
    if (q->isolation == 0 || q->isolation > 7)
        return err_code (e, EC_MALFORMED, "isolation %llu is no mask of drivers", (unsigned long long) q->isolation);
    w->credit = q->credit > 1024 ? 1024 : q->credit;
    w->isolation = (unsigned) q->isolation;
    w->cpus = q->cpus;
    w->memory = q->memory;
    w->disk = q->disk;
    free (w->projects);
    w->projects = xcalloc (q->projects.n + 1, sizeof *w->projects);
    w->project_count = 0;
    for (size_t i = 0; i < q->projects.n; i++)
        if (bytes_copy (q->projects.v[i], w->projects[w->project_count], sizeof *w->projects))
            w->project_count++;
    a->s->dirty = a->s->dirty || w->credit > 0;
    return 0;
}

/* ---- the end of leases ---- */

static void avoid (struct server *s, int64_t step, const char *worker, int64_t ms)
{
    struct avoid *v = &s->avoid[s->avoid_next++ % AVOIDS];
    v->step = step;
    v->until = time_mono_ms () + ms;
    (void) snprintf (v->worker, sizeof v->worker, "%s", worker);
}

/* It did not do what it took: the third time in a row costs it its turns for a while, and each further time twice as long. Nothing else
 * is made of it: what it does after that counts as anybody's does. */
static int strike (struct server *s, const struct context *c, const struct lease_row *l, struct err *e)
{
    struct strikes *k = NULL;
    int64_t now = time_mono_ms ();
    for (size_t i = 0; i < STRIKES && !k; i++)
        if (!strcmp (s->strikes[i].worker, l->worker))
            k = &s->strikes[i];
    if (!k) {
        k = &s->strikes[s->strikes_next++ % STRIKES];
        memset (k, 0, sizeof *k);
        (void) snprintf (k->worker, sizeof k->worker, "%s", l->worker);
    }
    if (++k->n < STRIKES_FREE)
        return 0;
    unsigned doubled = k->n - STRIKES_FREE;
    int64_t pause = doubled > 6 ? STRIKE_PAUSE_MAX_MS : STRIKE_PAUSE_MS << doubled;
    pause = pause > STRIKE_PAUSE_MAX_MS ? STRIKE_PAUSE_MAX_MS : pause;
    k->until = now + pause;
    char why[128];
    (void) snprintf (why, sizeof why, "%u leases in a row declined or never answered: none for %lld s", k->n, (long long) (pause / 1000));
    return event_add (s, &(struct event_fields){ .kind = "sidelined", .project = c->sub.project, .id = c->sub.id, .step = c->step.name, .state = c->step.state,
                                                 .worker = l->worker, .owner = l->owner, .reason = why }, NULL, e);
}

static void strikes_forget (struct server *s, const char *worker)
{
    for (size_t i = 0; i < STRIKES; i++)
        if (!strcmp (s->strikes[i].worker, worker))
            memset (&s->strikes[i], 0, sizeof s->strikes[i]);
}

static bool sidelined (const struct server *s, const char *worker, int64_t mono)
{
    for (size_t i = 0; i < STRIKES && i < s->strikes_next; i++)
        if (s->strikes[i].until > mono && !strcmp (s->strikes[i].worker, worker))
            return true;
    return false;
}

static void tell_revoked (struct server *s, const struct lease_row *l, const char *reason)
{
    struct worker *w = worker_find (s, l->worker);
    struct msg m = MSG_INIT (revoked_lease, 0);
    m.u.revoked_lease.lease = l->id;
    m.u.revoked_lease.reason = bytes_of (reason, strnlen (reason, 255));
    if (w)
        send_later (s, &w->route, &m);
}

/* The lease is over without a vote. kind: of the event; blame: the worker took it and did not do it. */
static int lease_end (struct server *s, struct lease_row *l, enum job_event event, const char *kind, const char *reason, bool blame, struct err *e)
{
    struct context c = { 0 };
    if (context_of_step (s, l->step, &c, e) == -1) {
        context_release (&c);
        return -1;
    }
    l->state = LEASE_OVER;
    int rc = state_lease_put (s->state, l, e);
    if (rc == 0)
        rc = event_add (s, &(struct event_fields){ .kind = kind, .project = c.sub.project, .id = c.sub.id, .step = c.step.name, .state = c.step.state,
                                                   .worker = l->worker, .owner = l->owner, .reason = reason }, NULL, e);
    if (rc == 0 && blame)
        rc = strike (s, &c, l, e);
    if (rc == 0)
        rc = step_apply (s, &c, event, 0, reason, e);
    context_release (&c);
    return rc;
}

struct each_lease {
    struct server *s;
    const char *reason;
    struct err *e;
    int rc;
};

static int revoke_one (void *arg, const struct lease_row *row)
{
    struct each_lease *x = arg;
    struct lease_row l = *row;
    if (l.state != LEASE_OPEN)
        return 0;
    l.state = LEASE_OVER;
    tell_revoked (x->s, &l, x->reason);
    x->rc = state_lease_put (x->s->state, &l, x->e);
    return x->rc;
}

int leases_revoke (struct server *s, const struct step_row *step, const char *reason, struct err *e)
{
    struct each_lease x = { s, reason, e, 0 };
    return state_leases_of (s->state, step->key, revoke_one, &x, e) == -1 ? -1 : x.rc;
}

static int forget_one (void *arg, const struct lease_row *row)
{
    struct each_lease *x = arg;
    struct lease_row l = *row;
    if (l.state != LEASE_VOTED)
        return 0;
    l.state = LEASE_OVER;
    x->rc = state_lease_put (x->s->state, &l, x->e);
    return x->rc;
}

int votes_forget (struct server *s, int64_t step, struct err *e)
{
    struct each_lease x = { s, "", e, 0 };
    return state_leases_of (s->state, step, forget_one, &x, e) == -1 ? -1 : x.rc;
}

/* The sender's own lease. */
static int own_lease (struct ask *a, const struct digest *id, struct lease_row *l, struct err *e)
{
    int found = state_lease_get (a->s->state, id, l, e);
    if (found == 0)
        return err_code (e, EC_NOT_FOUND, "no such lease");
    if (found == 1 && strcmp (l->worker, a->sender->name))
        return err_code (e, EC_NOT_ALLOWED, "the lease is another worker's");
    return found == 1 ? 0 : -1;
}

static void text_of (struct bytes in, char *out, size_t size)
{
    BUF (clean);
    text_clean (in, false, &clean);
    (void) snprintf (out, size, "%s", buf_str (&clean));
}

static void acknowledge (const struct ask *a)
{
    struct msg ok = MSG_INIT (ok, a->m->request);
    if (a->m->request)
        ask_reply (a, &ok);
}

int on_decline (struct ask *a, struct err *e)
{
    struct worker *w;
    struct lease_row l;
    char why[256];
    if (known (a, &w, e) == -1 || own_lease (a, &a->m->u.decline.lease, &l, e) == -1)
        return -1;
    if (l.state != LEASE_OPEN)
        return 0; /* it crossed our revocation */
    text_of (a->m->u.decline.reason, why, sizeof why);
    avoid (a->s, l.step, l.worker, a->s->conf.decline_pause);
    if (lease_end (a->s, &l, JOB_GONE, "declined", why, true, e) == -1)
        return -1;
    acknowledge (a);
    return 0;
}

int on_handback (struct ask *a, struct err *e)
{
    struct lease_row l;
    char why[256];
    if (own_lease (a, &a->m->u.handback.lease, &l, e) == -1)
        return -1;
    if (l.state != LEASE_OPEN)
        return 0;
    struct worker *w = worker_find (a->s, l.worker);
    if (w)
        w->credit = 0; /* its owner takes it back: until it says ready again */
    text_of (a->m->u.handback.reason, why, sizeof why);
    if (lease_end (a->s, &l, JOB_GONE, "handed-back", why, false, e) == -1)
        return -1;
    acknowledge (a);
    return 0;
}

struct holding {
    struct ask *a;
    const struct bytes_list *held;
    struct err *e;
    int rc;
};

static int not_held (void *arg, const struct lease_row *row)
{
    struct holding *h = arg;
    struct lease_row l = *row;
    if (strcmp (l.worker, h->a->sender->name))
        return 0;
    for (size_t i = 0; i < h->held->n; i++)
        if (h->held->v[i].len == 32 && memcmp (h->held->v[i].p, l.id.b, 32) == 0)
            return 0;
    h->rc = lease_end (h->a->s, &l, JOB_GONE, "handed-back", "the worker started again and holds it no more", false, h->e);
    return h->rc;
}

int on_holding (struct ask *a, struct err *e)
{
    struct worker *w;
    struct holding h = { a, &a->m->u.holding.leases, e, 0 };
    if (known (a, &w, e) == -1 || state_leases_open (a->s->state, not_held, &h, e) == -1 || h.rc == -1)
        return -1;
    /* And what it holds that is over by now is to stop. */
    for (size_t i = 0; i < h.held->n; i++) {
        struct lease_row l;
        struct digest id;
        if (h.held->v[i].len != 32)
            continue;
        memcpy (id.b, h.held->v[i].p, 32);
        int found = state_lease_get (a->s->state, &id, &l, e);
        if (found == -1)
            return -1;
        if (found == 0 || l.state == LEASE_OVER || strcmp (l.worker, a->sender->name)) {
            struct lease_row gone = { .id = id };
            (void) snprintf (gone.worker, sizeof gone.worker, "%s", a->sender->name);
            tell_revoked (a->s, &gone, "the lease is over");
        }
    }
    w->held = true;
    return 0;
}

static struct digest result_digest (const struct msg_result *q)
{
    struct digest_ctx *c = digest_begin ();
    struct digest d;
    uint8_t kind = (uint8_t) q->kind;
    digest_add (c, q->lease.b, 32);
    digest_add (c, &kind, 1);
    digest_add (c, q->sealed.p, q->sealed.len);
    digest_add (c, q->text.p, q->text.len);
    digest_end (&c, &d);
    return d;
}

static int take_outcome (struct ask *a, struct lease_row *l, struct context *c, struct err *e)
{
    const struct msg_result *q = &a->m->u.result;
    struct msg m = MSG_INIT (sealed_payload, 0);
    BUF (payload);
    m.u.sealed_payload.lease = q->lease;
    m.u.sealed_payload.kind = q->kind;
    m.u.sealed_payload.sealed = q->sealed;
    msg_encode (&m, &payload);
    l->state = LEASE_VOTED;
    strikes_forget (a->s, l->worker);
    if (state_lease_put (a->s->state, l, e) == -1
        || event_add (a->s, &(struct event_fields){ .kind = "artifact-completed", .project = c->sub.project, .id = c->sub.id, .step = c->step.name,
                                                    .state = c->step.state, .worker = l->worker, .owner = l->owner, .payload = buf_bytes (&payload) }, NULL, e)
               == -1)
        return -1;
    return step_apply (a->s, c, JOB_OUTCOME, 0, "", e);
}

int on_result (struct ask *a, struct err *e)
{
    const struct msg_result *q = &a->m->u.result;
    struct lease_row l;
    struct context c = { 0 };
    if (own_lease (a, &q->lease, &l, e) == -1)
        return -1;
    struct digest mine = result_digest (q);
    if (l.state != LEASE_OPEN) {
        if (!digest_eq (&mine, &l.result))
            return err_code (e, EC_CONFLICT, "the lease is over");
        acknowledge (a);
        return 0;
    }
    if (a->now > l.expires)
        return err_code (e, EC_EXPIRED, "the lease's time is over");
    if ((q->kind != RESULT_OUTCOME && q->kind != RESULT_ERROR) || (q->kind == RESULT_OUTCOME) != (q->sealed.len > 0))
        return err_code (e, EC_MALFORMED, "a result is a sealed outcome, or an error with its reason");
    if (context_of_step (a->s, l.step, &c, e) == -1) {
        context_release (&c);
        return -1;
    }
    int rc;
    l.result = mine;
    if (q->kind == RESULT_OUTCOME)
        rc = take_outcome (a, &l, &c, e);
    else {
        char why[512];
        text_of (q->text, why, sizeof why);
        avoid (a->s, l.step, l.worker, ERROR_PAUSE_MS);
        rc = lease_end (a->s, &l, JOB_ERROR, "error", why, false, e);
    }
    context_release (&c);
    if (rc == 0)
        acknowledge (a);
    return rc;
}

/* ---- giving leases ---- */

static bool project_matches (const char *pattern, const char *project)
{
    size_t n = strlen (pattern);
    if (!strcmp (pattern, "*") || !strcmp (pattern, project))
        return true;
    return n > 2 && !strcmp (pattern + n - 2, "/*") && strncmp (project, pattern, n - 1) == 0;
}

static bool takes (const struct worker *w, const char *project)
{
    for (size_t i = 0; i < w->project_count; i++)
        if (project_matches (w->projects[i], project))
            return true;
    return false;
}

struct owners {
    char (*v)[64];
    size_t n;
};

static bool owners_has (const struct owners *o, const char *owner)
{
    for (size_t i = 0; i < o->n; i++)
        if (!strcmp (o->v[i], owner))
            return true;
    return false;
}

static void owners_add (struct owners *o, const char *owner)
{
    if (owners_has (o, owner))
        return;
    o->v = xrealloc (o->v, (o->n + 1) * sizeof *o->v);
    (void) snprintf (o->v[o->n++], sizeof *o->v, "%s", owner);
}

struct plan { /* a step that is to be leased, opened */
    struct context c;
    struct envelope env;
    struct msg body, step;
    struct msg *all;           /* every step of the submission, where they need each other */
    size_t all_count;
    bool have_body, have_step;
    struct digest inputs[64];
    struct bytes input_list[64];
    bool early;                /* an input is not trusted yet */
    struct owners used;        /* that have a lease of it or a vote on it, or have read its artifact */
    bool trusted;              /* a trusted worker is among its leases */
    struct {
        struct owners open, voted;
        const struct msg_step *step;
    } need[64];                /* what it reads, and what went into that; step NULL where it does not */
};

static void plan_release (struct plan *p)
{
    for (size_t i = 0; i < 64; i++) {
        free (p->need[i].open.v);
        free (p->need[i].voted.v);
    }
    for (size_t i = 0; i < p->all_count; i++)
        msg_release (&p->all[i]);
    free (p->all);
    free (p->used.v);
    if (p->have_step)
        msg_release (&p->step);
    if (p->have_body)
        msg_release (&p->body);
    envelope_release (&p->env);
    context_release (&p->c);
}

static int plan_open (struct server *s, const struct step_row *row, struct plan *p, struct err *e)
{
    p->c.step = *row;
    if (state_sub_get (s->state, row->sub, &p->c.sub, e) == -1 || envelope_open (buf_bytes (&p->c.sub.envelope), TYPE_SUBMISSION, &p->env, e) == -1
        || msg_decode_as (p->env.body, MSG_submission_body, &p->body, e) == -1)
        return -1;
    p->have_body = true;
    if (row->no >= p->body.u.submission_body.steps.n)
        return err_code (e, EC_INTERNAL, "step %s is not in its submission", row->name);
    if (msg_decode_as (p->body.u.submission_body.steps.v[row->no], MSG_step, &p->step, e) == -1)
        return -1;
    p->have_step = true;
    const struct bytes_list *needs = &p->step.u.step.needs;
    for (size_t i = 0; i < needs->n; i++) {
        struct step_row need;
        int found = state_step_find (s->state, &p->c.sub.id, needs->v[i], &need, e);
        if (found != 1)
            return found == -1 ? -1 : err_code (e, EC_INTERNAL, "step %s needs one that is not there", row->name);
        bool trusted = need.job.state == JOB_DECIDED && !strcmp (need.state, "trusted");
        p->early = p->early || !trusted;
        p->inputs[i] = trusted ? need.digest : need.usable;
        if (digest_zero (&p->inputs[i]))
            return err_code (e, EC_INTERNAL, "step %s is to read what is not there", row->name);
        p->input_list[i] = bytes_of (p->inputs[i].b, 32);
    }
    return 0;
}

/* ---- who has voted, and who has read ---- */

struct looking {
    struct server *s;
    struct plan *p;
    struct owners *any, *open, *voted;
    int64_t since;
    bool *trusted;
};

static int look_lease (void *arg, const struct lease_row *l)
{
    struct looking *x = arg;
    if (x->any && l->issued >= x->since)
        owners_add (x->any, l->owner);
    /* Its votes of then do not count any more: the owner may come again, with another worker. */
    const struct principal *who = roster_find (realm_roster (x->s->rl), l->worker);
    if (l->state == LEASE_OVER || !who || !principal_good_at (who, l->issued))
        return 0;
    if (x->open && l->state == LEASE_OPEN)
        owners_add (x->open, l->owner);
    if (x->voted && l->state == LEASE_VOTED)
        owners_add (x->voted, l->owner);
    if (x->trusted)
        *x->trusted = *x->trusted || l->trusted;
    return 0;
}

static bool step_needs (const struct msg_step *st, struct bytes name)
{
    for (size_t i = 0; i < st->needs.n; i++)
        if (bytes_eq (st->needs.v[i], name))
            return true;
    return false;
}

/* All that a step reads, also through others: marks[i] for steps before `no`. Steps need only steps before them. */
static void reads_of (const struct plan *p, size_t no, bool marks[64])
{
    marks[no] = true;
    for (size_t i = no + 1; i-- > 0;)
        for (size_t k = 0; marks[i] && k < i; k++)
            marks[k] = marks[k] || step_needs (&p->all[i].u.step, p->all[k].u.step.name);
    marks[no] = false;
}

struct kin { /* steps of the submission */
    struct step_row rows[64];
    size_t n;
};

static int kin_step (void *arg, const struct step_row *row)
{
    struct kin *k = arg;
    if (k->n < 64)
        k->rows[k->n++] = *row;
    return 0;
}

static int plan_kin (struct server *s, struct plan *p, struct err *e)
{
    const struct bytes_list *steps = &p->body.u.submission_body.steps;
    struct kin *k CLEANUP (free_ptr) = xcalloc (1, sizeof *k);
    p->all = xcalloc (steps->n, sizeof *p->all);
    for (; p->all_count < steps->n; p->all_count++)
        if (msg_decode_as (steps->v[p->all_count], MSG_step, &p->all[p->all_count], e) == -1)
            return -1;
    if (state_steps (s->state, p->c.sub.key, kin_step, k, e) == -1)
        return -1;
    bool mine[64] = { false };
    reads_of (p, p->c.step.no, mine);
    for (size_t i = 0; i < k->n && k->rows[i].no < p->all_count; i++) {
        size_t no = k->rows[i].no;
        struct looking x = { .s = s, .p = p };
        bool theirs[64] = { false };
        reads_of (p, no, theirs);
        if (theirs[p->c.step.no]) { /* whoever had a lease of it has read ours */
            x.any = &p->used;
            x.since = p->c.step.since;
        } else if (mine[no]) {
            p->need[no].step = &p->all[no].u.step;
            x.open = &p->need[no].open;
            x.voted = &p->need[no].voted;
        } else
            continue;
        if (state_leases_of (s->state, k->rows[i].key, look_lease, &x, e) == -1)
            return -1;
    }
    return 0;
}

static int plan_owners (struct server *s, struct plan *p, struct err *e)
{
    struct looking x = { .s = s, .p = p, .open = &p->used, .voted = &p->used, .trusted = &p->trusted };
    if (state_leases_of (s->state, p->c.step.key, look_lease, &x, e) == -1)
        return -1;
    return p->body.u.submission_body.steps.n > 1 ? plan_kin (s, p, e) : 0;
}

/* May the owner read what the step reads? Not while its own vote on it is open; and, while it is not trusted, only if it has voted already or
 * never could: so that reading costs no step a voter. *voted: it has voted on all of it. */
static bool may_read (const struct server *s, const struct plan *p, const char *owner, bool *voted)
{
    *voted = true;
    for (size_t i = 0; i < p->all_count && i < 64; i++) {
        if (!p->need[i].step)
            continue;
        bool this = owners_has (&p->need[i].voted, owner);
        if (owners_has (&p->need[i].open, owner))
            return false;
        *voted = *voted && this;
        if (p->early && !this && roster_owner_fits (realm_roster (s->rl), owner, p->body.u.submission_body.project, &p->need[i].step->labels))
            return false;
    }
    return true;
}

static int give (struct server *s, struct plan *p, struct worker *w, bool trusted, int64_t now, struct err *e)
{
    const struct msg_step *st = &p->step.u.step;
    struct msg m = MSG_INIT (lease_body, 0);
    struct msg_lease_body *b = &m.u.lease_body;
    BUF (body);
    int64_t time = st->time_ms && st->time_ms < (uint64_t) s->conf.lease_time ? (int64_t) st->time_ms : s->conf.lease_time;
    b->broker = bytes_str (realm_name (s->rl));
    b->worker = bytes_str (w->name);
    b->owner = bytes_str (w->owner);
    b->submission = p->c.sub.id;
    b->step = st->name;
    b->project = p->body.u.submission_body.project;
    b->ref = p->body.u.submission_body.ref;
    b->image = st->image;
    b->inputs = (struct bytes_list){ p->input_list, st->needs.n };
    b->max_bytes = (uint64_t) s->conf.max_upload;
    b->issued = (uint64_t) now;
    b->expires = (uint64_t) (now + (time + s->conf.lease_grace) * 1000);
    randombytes_buf (b->nonce.b, 32);
    msg_encode (&m, &body);
    /* Its id is of what is signed, not of the signature: that is made when the turn ends, on all cores. */
    struct envelope env = { .type = bytes_str (TYPE_LEASE), .body = buf_bytes (&body) };
    struct lease_row l = { .id = envelope_id (&env), .step = p->c.step.key, .trusted = trusted, .issued = now, .expires = (int64_t) b->expires,
                           .state = LEASE_OPEN };
    (void) snprintf (l.worker, sizeof l.worker, "%s", w->name);
    (void) snprintf (l.owner, sizeof l.owner, "%s", w->owner);
    if (state_lease_add (s->state, &l, e) == -1
        || event_add (s, &(struct event_fields){ .kind = "leased", .project = p->c.sub.project, .id = p->c.sub.id, .step = p->c.step.name,
                                                 .state = p->c.step.state, .worker = l.worker, .owner = l.owner }, NULL, e) == -1
        || step_apply (s, &p->c, JOB_LEASE, 0, "", e) == -1)
        return -1;
    lease_later (s, &w->route, &body, &p->c.sub.envelope);
    w->credit--;
    logs_lease (s, l.step, &l);
    return 0;
}

static int draw_event (struct server *s, const struct plan *p, const struct demand *d, const struct chance *chance, const struct candidate *c, size_t n, const size_t *picked, size_t count,
                       struct err *e)
{
    struct msg m = MSG_INIT (draw, 0);
    struct msg_draw *b = &m.u.draw;
    struct bytes *fit CLEANUP (free_ptr) = xcalloc (512, sizeof *fit), names[128];
    char (*text)[140] = xcalloc (512, sizeof *text);
    BUF (payload);
    memcpy (b->seed.b, chance->seed, 32);
    b->places = d->places;
    b->needs_trusted = d->needs_trusted;
    b->fit.v = fit;
    for (size_t i = 0; i < n && b->fit.n < 512; i++)
        if (schedule_fits (&c[i], d)) {
            (void) snprintf (text[b->fit.n], sizeof *text, "%s %s %s%s", c[i].name, c[i].owner, c[i].trusted ? "trusted" : "maybe", c[i].prefer ? " first" : "");
            fit[b->fit.n] = bytes_str (text[b->fit.n]);
            b->fit.n++;
        }
    b->picked.v = names;
    for (size_t i = 0; i < count && i < 128; i++)
        names[b->picked.n++] = bytes_str (c[picked[i]].name);
    msg_encode (&m, &payload);
    char why[96];
    (void) snprintf (why, sizeof why, "%zu of %zu workers that fit, for %zu places", count, b->fit.n, d->places);
    int rc = event_add (s, &(struct event_fields){ .kind = "drawn", .project = p->c.sub.project, .id = p->c.sub.id, .step = p->c.step.name, .state = p->c.step.state, .reason = why,
                                                   .payload = buf_bytes (&payload) }, NULL, e);
    free (text);
    return rc;
}

static void candidates (const struct server *s, const struct plan *p, struct candidate *c)
{
    const struct msg_step *st = &p->step.u.step;
    int64_t mono = time_mono_ms ();
    for (size_t i = 0; i < s->worker_count; i++) {
        const struct worker *w = &s->workers[i];
        const struct principal *who = roster_find (realm_roster (s->rl), w->name);
        bool good = who && principal_good (who) && (who->roles & ROLE_WORKER), voted = false, reads = !st->needs.n || may_read (s, p, w->owner, &voted);
        c[i] = (struct candidate){ .name = w->name, .owner = w->owner, .trusted = good && who->trusted, .isolation = w->isolation,
                                   .credit = w->held && !sidelined (s, w->name, mono) ? w->credit : 0, .cpus = w->cpus, .memory = w->memory, .disk = w->disk, .prefer = voted,
                                   .suits = good && reads && principal_project (who, bytes_str (p->c.sub.project)) && principal_labels (who, &st->labels)
                                            && takes (w, p->c.sub.project) };
    }
}

/* Returns how many leases were given, or -1. */
static int give_step (struct server *s, const struct step_row *row, int64_t now, struct err *e)
{
    struct plan *p = xcalloc (1, sizeof *p);
    int given = -1;
    size_t n = s->worker_count, count, *picked = xcalloc (n, sizeof *picked);
    struct candidate *c = xcalloc (n, sizeof *c);
    const char **avoided = xcalloc (AVOIDS, sizeof *avoided), **used = NULL;
    struct chance chance = { .drawn = 0 };
    if (plan_open (s, row, p, e) == -1 || plan_owners (s, p, e) == -1)
        goto out;
    const struct msg_step *st = &p->step.u.step;
    struct policy pol = roster_policy (realm_roster (s->rl), bytes_str (p->c.sub.project)), own = policy_of_step (st);
    policy_merge (&pol, &own);
    policy_fill (&pol);
    if (p->early && pol.isolation < ISOLATION_BWRAP)
        pol.isolation = ISOLATION_BWRAP; /* nobody vouches for what it runs */
    used = xcalloc (p->used.n, sizeof *used);
    for (size_t i = 0; i < p->used.n; i++)
        used[i] = p->used.v[i];
    struct demand d = { .places = job_wants (&row->job), .needs_trusted = (row->want_trusted || pol.trusted == POLICY_TRUSTED_REQUIRED) && !p->trusted,
                        .isolation = pol.isolation, .cpus = st->cpus, .memory = st->memory, .disk = st->disk, .used = used, .used_count = p->used.n, .avoid = avoided };
    int64_t mono = time_mono_ms ();
    for (size_t i = 0; i < AVOIDS; i++)
        if (s->avoid[i].step == row->key && s->avoid[i].until > mono)
            avoided[d.avoid_count++] = s->avoid[i].worker;
    candidates (s, p, c);
    randombytes_buf (chance.seed, sizeof chance.seed);
    count = schedule_pick (c, n, &d, schedule_chance, &chance, picked);
    if (count && draw_event (s, p, &d, &chance, c, n, picked, count, e) == -1)
        goto out;
    given = 0;
    for (size_t i = 0; i < count && given != -1; i++)
        given = give (s, p, &s->workers[picked[i]], c[picked[i]].trusted, now, e) == -1 ? -1 : given + 1;
out:
    plan_release (p);
    free (p);
    free (used);
    free (avoided);
    free (c);
    free (picked);
    return given;
}

static bool any_credit (const struct server *s)
{
    for (size_t i = 0; i < s->worker_count; i++)
        if (s->workers[i].held && s->workers[i].credit)
            return true;
    return false;
}

/* Look at a window of the queue; *after is moved behind it. Returns the leases given, or -1. */
static int look (struct server *s, struct cursor *after, size_t *seen, struct err *e)
{
    struct step_row *rows = xcalloc (WINDOW, sizeof *rows);
    int given = 0;
    int64_t now = time_now_us ();
    int rc = state_queue (s->state, *after, WINDOW, rows, seen, e);
    for (size_t i = 0; rc == 0 && i < *seen && any_credit (s) && s->out_bytes < GIVEN_BYTES; i++) {
        int got = give_step (s, &rows[i], now, e);
        if (got == -1)
            rc = -1;
        else
            given += got;
    }
    if (rc == 0 && *seen)
        *after = (struct cursor){ -(int64_t) rows[*seen - 1].priority, rows[*seen - 1].key };
    free (rows);
    return rc == 0 ? given : -1;
}

/* The best steps first; and, turn by turn, the rest of the queue, so that steps nobody can take now do not hide those behind them. */
int leases_give (struct server *s, struct err *e)
{
    static const struct cursor top = { INT64_MIN, 0 };
    size_t seen = 0;
    int given, all = 0;
    s->dirty = false;
    do {
        struct cursor at = top;
        if (!any_credit (s))
            return 0;
        if ((given = look (s, &at, &seen, e)) == -1)
            return -1;
        all += given;
    } while (given > 0 && seen == WINDOW && all < (int) GIVEN_MAX && s->out_bytes < GIVEN_BYTES);
    if (given > 0 && (all >= (int) GIVEN_MAX || s->out_bytes >= GIVEN_BYTES)) {
        s->dirty = true;
        return 0;
    }
    if (seen < WINDOW || !any_credit (s)) {
        s->cursor = top;
        return 0;
    }
    if (look (s, &s->cursor, &seen, e) == -1)
        return -1;
    if (seen == WINDOW)
        s->dirty = true; /* there is more behind it */
    else
        s->cursor = top;
    return 0;
}

/* ---- deadlines and silence ---- */

struct checking {
    struct server *s;
    int64_t now, mono;
    struct err *e;
    int rc;
};

static int check_one (void *arg, const struct lease_row *row)
{
    struct checking *x = arg;
    struct server *s = x->s;
    struct lease_row l = *row;
    const struct principal *p = roster_find (realm_roster (s->rl), l.worker);
    const struct worker *w = worker_find (s, l.worker);
    int64_t silent = w ? x->mono - w->heard : x->mono - s->started;
    if (!p || !principal_good (p)) {
        tell_revoked (s, &l, "the worker is revoked");
        x->rc = lease_end (s, &l, JOB_GONE, "handed-back", "the worker is revoked", false, x->e);
    } else if (x->now > l.expires) {
        tell_revoked (s, &l, "the lease's time is over");
        avoid (s, l.step, l.worker, ERROR_PAUSE_MS);
        x->rc = lease_end (s, &l, JOB_ERROR, "error", "no result within the lease's time", true, x->e);
    } else if (silent > s->conf.silence)
        x->rc = lease_end (s, &l, JOB_GONE, "handed-back", "the worker fell silent", false, x->e);
    return x->rc;
}

int leases_check (struct server *s, struct err *e)
{
    struct checking x = { s, time_now_us (), time_mono_ms (), e, 0 };
    if (state_leases_open (s->state, check_one, &x, e) == -1 || x.rc == -1)
        return -1;
    for (size_t i = 0; i < s->worker_count; i++) {
        const struct principal *p = roster_find (realm_roster (s->rl), s->workers[i].name);
        bool gone = x.mono - s->workers[i].heard > s->conf.silence;
        if (gone || !p || !principal_good (p)) {
            log_info ("worker left worker=%s reason=%s", s->workers[i].name, gone ? "silent" : "revoked");
            worker_drop (s, &s->workers[i--]);
        }
    }
    return 0;
}
