/* fleet.c: the workers, and the leases that they have. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "broker/server.h"

#define ERROR_PAUSE_MS 10000

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
    w->project_count = 0; /* what it gives is not known until it says so */
    terms_release (&w->terms);
    w->held = false;
    w->heard = time_mono_ms ();
}

static void worker_drop (struct server *s, struct worker *w)
{
    free (w->projects);
    terms_release (&w->terms);
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
    if (q->network > NETWORK_NONE)
        return err_code (e, EC_MALFORMED, "network %llu is unknown", (unsigned long long) q->network);
    w->credit = q->credit > 1024 ? 1024 : q->credit;
    w->isolation = (unsigned) q->isolation;
    w->network = q->network == NETWORK_REALM ? NETWORK_REALM : NETWORK_NONE;
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

int on_terms (struct ask *a, struct err *e)
{
    struct worker *w;
    if (known (a, &w, e) == -1 || terms_parse (&w->terms, &a->m->u.terms, e) == -1)
        return -1;
    a->s->dirty = true;
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

/* A lease that ended without an outcome: is it held against the worker? ONCE: what it held at the same time counts as one, as when its owner takes
 * the machine back, or it starts again. */
enum blame { BLAME_NONE, BLAME_ONCE, BLAME_EACH };

/* It did not do what it took: again and again, and that costs it its turns for a while. */
static int strike (struct server *s, const struct context *c, const struct lease_row *l, enum blame blame, struct err *e)
{
    struct strikes *k = NULL;
    int64_t now = time_mono_ms ();
    for (size_t i = 0; i < STRIKES && i < s->strikes_next && !k; i++)
        if (!strcmp (s->strikes[i].worker, l->worker))
            k = &s->strikes[i];
    if (!k) {
        k = &s->strikes[s->strikes_next++ % STRIKES];
        memset (k, 0, sizeof *k);
        (void) snprintf (k->worker, sizeof k->worker, "%s", l->worker);
    }
    if (blame == BLAME_ONCE && l->issued <= k->struck)
        return 0;
    k->struck = time_now_us ();
    int64_t pause = schedule_pause (++k->n, s->conf.sideline);
    if (!pause)
        return 0;
    k->until = now + pause;
    char why[128];
    (void) snprintf (why, sizeof why, "%u leases in a row declined, handed back or never answered: none for %lld s", k->n, (long long) (pause / 1000));
    return event_add (s, &(struct event_fields){ .kind = "sidelined", .project = c->sub.project, .id = c->sub.id, .step = c->step.name, .state = c->step.state,
                                                 .worker = l->worker, .owner = l->owner, .reason = why }, NULL, e);
}

static void strikes_forget (struct server *s, const char *worker)
{
    for (size_t i = 0; i < STRIKES && i < s->strikes_next; i++)
        if (!strcmp (s->strikes[i].worker, worker))
            memset (&s->strikes[i], 0, sizeof s->strikes[i]);
}

bool worker_sidelined (const struct server *s, const char *worker, int64_t mono)
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

/* The lease is over without a vote. kind: of the event. */
static int lease_end (struct server *s, struct lease_row *l, enum job_event event, const char *kind, const char *reason, enum blame blame, struct err *e)
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
    if (rc == 0 && blame != BLAME_NONE)
        rc = strike (s, &c, l, blame, e);
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
    if (lease_end (a->s, &l, JOB_GONE, "declined", why, BLAME_EACH, e) == -1)
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
    if (lease_end (a->s, &l, JOB_GONE, "handed-back", why, BLAME_ONCE, e) == -1)
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
    h->rc = lease_end (h->a->s, &l, JOB_GONE, "handed-back", "the worker started again and holds it no more", BLAME_ONCE, h->e);
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
        rc = lease_end (a->s, &l, JOB_ERROR, "error", why, BLAME_NONE, e);
    }
    context_release (&c);
    if (rc == 0)
        acknowledge (a);
    return rc;
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
        x->rc = lease_end (s, &l, JOB_GONE, "handed-back", "the worker is revoked", BLAME_NONE, x->e);
    } else if (x->now > l.expires) {
        tell_revoked (s, &l, "the lease's time is over");
        avoid (s, l.step, l.worker, ERROR_PAUSE_MS);
        x->rc = lease_end (s, &l, JOB_ERROR, "error", "no result within the lease's time", BLAME_EACH, x->e);
    } else if (silent > s->conf.silence)
        x->rc = lease_end (s, &l, JOB_GONE, "handed-back", "the worker fell silent", BLAME_ONCE, x->e);
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
