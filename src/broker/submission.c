/* submission.c: jobs come in, are looked at, stopped and run again. */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "broker/server.h"

#define SKEW_US (INT64_C (300) * 1000000)
#define LIFE_MAX_US (INT64_C (31) * 86400 * 1000000)
#define STATUS_MAX 200u
#define STATUS_BYTES (2u << 20)

/* ---- contexts ---- */

void context_release (struct context *c)
{
    sub_row_release (&c->sub);
}

int context_find (struct server *s, const struct digest *id, struct bytes step, struct context *c, struct err *e)
{
    memset (c, 0, sizeof *c);
    int found = state_sub_find (s->state, id, &c->sub, e);
    if (found == 1)
        found = state_step_find (s->state, id, step, &c->step, e);
    else if (found == 0)
        found = err_code (e, EC_NOT_FOUND, "no such submission");
    if (found == 0)
        found = err_code (e, EC_NOT_FOUND, "the submission has no step of that name");
    if (found == 1)
        return 0;
    context_release (c);
    memset (c, 0, sizeof *c);
    return -1;
}

int context_of_step (struct server *s, int64_t step, struct context *c, struct err *e)
{
    memset (c, 0, sizeof *c);
    return state_step_get (s->state, step, &c->step, e) == -1 ? -1 : state_sub_get (s->state, c->step.sub, &c->sub, e);
}

int step_apply (struct server *s, struct context *c, enum job_event event, unsigned more, const char *reason, struct err *e)
{
    struct step_row *st = &c->step;
    unsigned cap = (unsigned) s->conf.error_cap;
    int open = st->job.state != JOB_DECIDED;
    int actions = job_apply (&st->job, event, more, cap, e);
    if (actions == -1)
        return -1;
    if (actions & JOB_EXHAUSTED) {
        char why[256];
        (void) snprintf (why, sizeof why, "%u attempts ended with an error, the last: %.180s", st->job.errors, reason);
        if (event_add (s, &(struct event_fields){ .kind = "exhausted", .project = c->sub.project, .id = c->sub.id, .step = st->name, .state = st->state,
                                                  .reason = why }, NULL, e) == -1)
            return -1;
        int rest = job_apply (&st->job, JOB_EXHAUST, 0, cap, e);
        if (rest == -1)
            return -1;
        actions |= rest;
        reason = "the step is given up";
    }
    if ((actions & JOB_REVOKE) && leases_revoke (s, st, reason, e) == -1)
        return -1;
    if ((actions & JOB_FORGET) && votes_forget (s, st->key, e) == -1)
        return -1;
    s->dirty = s->dirty || job_wants (&st->job) > 0;
    open = (st->job.state != JOB_DECIDED) - open;
    if (open && state_share_add (s->state, c->sub.submitter, st->priority, open, 0, e) == -1)
        return -1;
    return state_step_put (s->state, st, e);
}

/* Turns for n steps of a submitter, of which `more` were not open before; *first is that of the first. */
static int turns_take (struct server *s, const char *submitter, unsigned priority, size_t n, size_t more, int64_t *first, struct err *e)
{
    struct share served, mine;
    if (state_share (s->state, "", priority, &served, e) == -1 || state_share (s->state, submitter, priority, &mine, e) == -1)
        return -1;
    if (more && mine.open + (int64_t) more > s->conf.max_each)
        return err_code (e, EC_BUSY, "%s has %lld open steps, and may have %lld (wait until some are decided, or cancel some)", submitter, (long long) mine.open,
                         (long long) s->conf.max_each);
    *first = schedule_turn (served.turn, mine.turn, mine.open_here > 0);
    if (*first > TURN_MAX - (int64_t) n)
        *first = TURN_MAX - (int64_t) n; /* after a million a second for twelve days; then all are alike */
    return state_share_add (s->state, submitter, priority, 0, *first + (int64_t) n - 1, e);
}

/* ---- submit ---- */

struct opened {                /* a submission that passed its checks */
    struct envelope env;
    struct msg body;
    struct digest id;
    const struct principal *signer;
    bool decoded;
};

static void opened_release (struct opened *o)
{
    if (o->decoded)
        msg_release (&o->body);
    envelope_release (&o->env);
}

static int check_step (const struct msg_submission_body *b, size_t n, struct bytes (*names)[64], struct err *e)
{
    struct msg m;
    if (msg_decode_as (b->steps.v[n], MSG_step, &m, e) == -1)
        return err_wrap (e, "step %zu", n + 1);
    const struct msg_step *st = &m.u.step;
    char name[64];
    int rc = 0;
    if (!bytes_copy (st->name, name, sizeof name) || !name_valid (name))
        rc = err_code (e, EC_MALFORMED, "step %zu has no proper name", n + 1);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (bytes_eq ((*names)[i], st->name))
            rc = err_code (e, EC_MALFORMED, "two steps are named %s", name);
    /* A step needs only steps before it: so there are no cycles, and order is as in the recipe. */
    for (size_t i = 0; rc == 0 && i < st->needs.n; i++) {
        bool known = false;
        for (size_t j = 0; j < n && !known; j++)
            known = bytes_eq ((*names)[j], st->needs.v[i]);
        if (!known)
            rc = err_code (e, EC_MALFORMED, "step %s needs a step that is not before it", name);
    }
    struct policy p = policy_of_step (st);
    if (rc == 0 && policy_check (&p, e) == -1)
        rc = err_wrap (e, "step %s", name);
    if (rc == 0 && digest_zero (&st->image))
        rc = err_code (e, EC_MALFORMED, "step %s names no image", name);
    struct digest images[STEP_IMAGES];
    if (rc == 0 && step_images (st, images) != st->images.n + 1)
        rc = err_code (e, EC_MALFORMED, "step %s names an image twice, or one that is no digest", name);
    /* names borrow from the envelope, not from the message */
    if (rc == 0)
        (*names)[n] = st->name;
    msg_release (&m);
    return rc;
}

const struct principal *submission_signer (struct server *s, struct bytes raw)
{
    struct envelope v = { 0 };
    const struct principal *p = NULL;
    if (envelope_open (raw, TYPE_SUBMISSION, &v, NULL) == 0 && (p = roster_by_sign (realm_roster (s->rl), v.keyid)) && envelope_check (&v, p->sign_key, NULL) == -1)
        p = NULL;
    envelope_release (&v);
    return p;
}

static int check_submission (struct ask *a, struct opened *o, struct err *e)
{
    memset (o, 0, sizeof *o);
    if (envelope_open (a->m->u.submit.envelope, TYPE_SUBMISSION, &o->env, e) == -1)
        return err_wrap (e, "submission");
    const struct principal *p = roster_by_sign (realm_roster (a->s->rl), o->env.keyid);
    if (!p)
        return err_code (e, EC_UNKNOWN_KEY, "submission: its signer is not in the roster");
    if (!principal_good (p))
        return err_code (e, EC_REVOKED, "submission: its signer %s is revoked", p->name);
    if (!(p->roles & ROLE_SUBMITTER))
        return err_code (e, EC_NOT_ALLOWED, "submission: its signer %s is no submitter", p->name);
    if ((a->signer != p && envelope_check (&o->env, p->sign_key, e) == -1) || msg_decode_as (o->env.body, MSG_submission_body, &o->body, e) == -1)
        return err_wrap (e, "submission");
    o->decoded = true;
    o->signer = p;
    o->id = envelope_id (&o->env);
    const struct msg_submission_body *b = &o->body.u.submission_body;
    char project[128];
    if (!bytes_eqs (b->submitter, p->name))
        return err_code (e, EC_BAD_SIGNATURE, "submission: signed by %s, and names another submitter", p->name);
    if (!bytes_copy (b->project, project, sizeof project) || !project_valid (project))
        return err_code (e, EC_MALFORMED, "submission: its project is no name");
    if (!principal_project (p, b->project))
        return err_code (e, EC_NOT_ALLOWED, "submission: %s may not submit to project %s", p->name, project);
    if (b->issued > (uint64_t) (a->now + SKEW_US))
        return err_code (e, EC_EXPIRED, "submission: issued in the future (are the clocks right?)");
    if (b->expires <= (uint64_t) a->now)
        return err_code (e, EC_EXPIRED, "submission: it expired (push again)");
    if (b->expires > b->issued + (uint64_t) LIFE_MAX_US)
        return err_code (e, EC_MALFORMED, "submission: it may wait at most 31 days");
    if (b->commit.len != 40 && b->commit.len != 64)
        return err_code (e, EC_MALFORMED, "submission: not a full commit id");
    for (size_t i = 0; i < b->commit.len; i++)
        if (!strchr ("0123456789abcdef", b->commit.p[i]))
            return err_code (e, EC_MALFORMED, "submission: not a commit id");
    if (b->steps.n == 0)
        return err_code (e, EC_MALFORMED, "submission: it has no steps");
    struct bytes names[64];
    for (size_t i = 0; i < b->steps.n; i++)
        if (check_step (b, i, &names, e) == -1)
            return err_wrap (e, "submission");
    return 0;
}

static int store_steps (struct server *s, const struct sub_row *sub, const struct msg_submission_body *b, struct err *e)
{
    int64_t turn;
    if (turns_take (s, sub->submitter, sub->priority, b->steps.n, b->steps.n, &turn, e) == -1
        || state_share_add (s->state, sub->submitter, sub->priority, (int64_t) b->steps.n, 0, e) == -1)
        return -1;
    for (size_t i = 0; i < b->steps.n; i++) {
        struct msg m;
        if (msg_decode_as (b->steps.v[i], MSG_step, &m, e) == -1)
            return -1;
        struct policy p = roster_policy (realm_roster (s->rl), b->project);
        p = policy_in_force (&p, &m.u.step);
        struct step_row st = { .sub = sub->key, .no = (unsigned) i, .job = { .state = JOB_OPEN, .places = p.agree }, .waiting = m.u.step.needs.n > 0, .needs = (unsigned) m.u.step.needs.n,
                               .want_trusted = p.trusted == POLICY_TRUSTED_REQUIRED, .priority = sub->priority, .turn = turn + (int64_t) i, .expires = sub->expires, .state = "pending",
                               .agree = p.agree, .trusted_required = p.trusted == POLICY_TRUSTED_REQUIRED };
        (void) bytes_copy (m.u.step.name, st.name, sizeof st.name);
        int rc = state_step_add (s->state, &st, e);
        msg_release (&m);
        if (rc == -1)
            return -1;
    }
    return 0;
}

int on_submit (struct ask *a, struct err *e)
{
    struct server *s = a->s;
    struct opened o;
    struct sub_row sub = { 0 };
    uint64_t seq = 0;
    int found = -1, rc = -1;
    if (check_submission (a, &o, e) == -1)
        goto out;
    const struct msg_submission_body *b = &o.body.u.submission_body;
    found = state_sub_find (s->state, &o.id, &sub, e);
    if (found == -1)
        goto out;
    if (found == 0) {
        if (!s->room || state_open_steps (s->state) >= s->conf.max_queue) {
            err_code (e, EC_BUSY, "the queue is full (%lld steps wait; the submission can come again later)", (long long) state_open_steps (s->state));
            goto out;
        }
        sub.id = o.id;
        (void) bytes_copy (b->project, sub.project, sizeof sub.project);
        (void) bytes_copy (b->commit, sub.commit, sizeof sub.commit);
        (void) bytes_copy (b->ref, sub.ref, sizeof sub.ref);
        (void) bytes_copy (b->submitter, sub.submitter, sizeof sub.submitter);
        buf_add (&sub.envelope, a->m->u.submit.envelope.p, a->m->u.submit.envelope.len);
        sub.time = a->now;
        sub.expires = (int64_t) b->expires;
        uint64_t most = (o.signer->roles & ROLE_ADMIN) ? PRIORITIES - 1 : (uint64_t) s->conf.max_priority;
        sub.priority = (unsigned) (b->priority > most ? most : b->priority);
        char reason[256];
        (void) snprintf (reason, sizeof reason, "%.12s %.200s", sub.commit, sub.ref);
        if (state_sub_add (s->state, &sub, e) == -1 || store_steps (s, &sub, b, e) == -1
            || event_add (s, &(struct event_fields){ .kind = "submitted", .project = sub.project, .id = sub.id, .state = "pending", .reason = reason,
                                                     .payload = a->m->u.submit.envelope }, &seq, e) == -1)
            goto out;
        s->dirty = true;
    }
    struct msg m = MSG_INIT (submitted, a->m->request);
    m.u.submitted.id = o.id;
    m.u.submitted.again = found == 1;
    m.u.submitted.seq = seq;
    ask_reply (a, &m);
    rc = 0;
out:
    opened_release (&o);
    sub_row_release (&sub);
    return rc;
}

/* ---- steps that need others ---- */

struct listed {
    struct step_row rows[64];
    size_t n;
};

static int list_step (void *arg, const struct step_row *row)
{
    struct listed *l = arg;
    if (l->n < 64)
        l->rows[l->n++] = *row;
    return 0;
}

static const struct step_row *listed_find (const struct listed *l, struct bytes name)
{
    for (size_t i = 0; i < l->n; i++)
        if (bytes_eqs (name, l->rows[i].name))
            return &l->rows[i];
    return NULL;
}

/* What a step may read now: 1 all of it is there, 0 not yet, -1 never (*blame is the step that it waits for in vain). */
static int inputs_of (const struct listed *l, const struct msg_step *st, struct digest list[64], const struct step_row **blame)
{
    int ready = 1;
    for (size_t i = 0; i < st->needs.n && i < 64; i++) {
        const struct step_row *need = listed_find (l, st->needs.v[i]);
        bool trusted = need && !strcmp (need->state, "trusted"); /* also while it is challenged */
        if (need && need->job.state == JOB_DECIDED && !trusted) {
            *blame = need;
            return -1;
        }
        if (need && st->start_provisional && !digest_zero (&need->usable.name))
            list[i] = need->usable.name; /* also when a verdict has confirmed it: what runs on it goes on */
        else if (trusted)
            list[i] = need->digest;
        else
            ready = 0;
    }
    return ready;
}

static int give_up (struct server *s, struct context *c, const struct step_row *blame, struct err *e)
{
    char why[256];
    (void) snprintf (why, sizeof why, "it needs %s, which is %s", blame->name, blame->state);
    if (event_add (s, &(struct event_fields){ .kind = "exhausted", .project = c->sub.project, .id = c->sub.id, .step = c->step.name, .state = c->step.state, .reason = why }, NULL, e)
        == -1)
        return -1;
    return step_apply (s, c, JOB_EXHAUST, 0, why, e);
}

/* A step starts when it may read all that it needs; is given up when one of them ended otherwise; and starts anew when what it read
 * turns out not to be what it needs. */
static int needs_step (struct server *s, const struct sub_row *sub, const struct listed *l, const struct step_row *row, const struct msg_step *st, struct err *e)
{
    struct context c = { .sub = *sub, .step = *row };
    struct digest list[64];
    const struct step_row *blame = NULL;
    int ready = inputs_of (l, st, list, &blame);
    if (ready == -1)
        return give_up (s, &c, blame, e);
    if (ready == 0) {
        c.step.waiting = true;
        return row->waiting ? 0 : state_step_put (s->state, &c.step, e);
    }
    struct digest now = digest_of (list, st->needs.n * sizeof *list);
    bool same = digest_eq (&now, &row->inputs), first = digest_zero (&row->inputs);
    if (same && !row->waiting)
        return 0;
    c.step.waiting = false;
    c.step.inputs = now;
    s->dirty = true;
    if (same || first)
        return state_step_put (s->state, &c.step, e);
    if (event_add (s, &(struct event_fields){ .kind = "fallen", .project = sub->project, .id = sub->id, .step = row->name, .state = row->state,
                                              .reason = "an input turned out other than what it ran on: it runs again on the right one" }, NULL, e) == -1)
        return -1;
    return step_apply (s, &c, JOB_MOVE, row->agree ? row->agree : 1, "its input is another now", e);
}

int needs_check (struct server *s, const struct sub_row *sub, struct err *e)
{
    struct listed *l = xcalloc (1, sizeof *l);
    struct envelope env = { 0 };
    struct msg body, m;
    bool waits = false;
    int rc = state_steps (s->state, sub->key, list_step, l, e);
    for (size_t i = 0; i < l->n; i++)
        waits = waits || (l->rows[i].needs && l->rows[i].job.state == JOB_OPEN);
    if (rc == 0 && waits && (rc = envelope_open (buf_bytes (&sub->envelope), TYPE_SUBMISSION, &env, e)) == 0
        && (rc = msg_decode_as (env.body, MSG_submission_body, &body, e)) == 0) {
        for (size_t i = 0; rc == 0 && i < l->n; i++) {
            const struct step_row *row = &l->rows[i];
            if (!row->needs || row->job.state != JOB_OPEN || row->no >= body.u.submission_body.steps.n)
                continue;
            if ((rc = msg_decode_as (body.u.submission_body.steps.v[row->no], MSG_step, &m, e)) == 0) {
                rc = needs_step (s, sub, l, row, &m.u.step, e);
                msg_release (&m);
            }
        }
        msg_release (&body);
    }
    envelope_release (&env);
    free (l);
    return rc;
}

/* ---- cancel, retry, expiry ---- */

/* Its newest verdict is the last word, whatever the step does besides. */
static bool settled (const struct step_row *st)
{
    return !strcmp (st->state, "trusted") || !strcmp (st->state, "failed");
}

static int may_change (const struct ask *a, const struct sub_row *sub, struct err *e)
{
    if ((a->sender->roles & ROLE_ADMIN) || (principal_project (a->sender, bytes_str (sub->project)) && !strcmp (sub->submitter, a->sender->name)))
        return 0;
    return err_code (e, EC_NOT_ALLOWED, "%s did not submit this (its submitter or an admin may)", a->sender->name);
}

int on_cancel (struct ask *a, struct err *e)
{
    const struct msg_cancel *q = &a->m->u.cancel;
    struct sub_row sub = { 0 };
    struct listed *l = xcalloc (1, sizeof *l);
    size_t changed = 0, matched = 0;
    int found = state_sub_find (a->s->state, &q->id, &sub, e), rc = found == 1 ? may_change (a, &sub, e) : found;
    if (found == 0)
        rc = err_code (e, EC_NOT_FOUND, "no such submission");
    if (rc == 0)
        rc = state_steps (a->s->state, sub.key, list_step, l, e);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        struct context c = { .sub = sub, .step = l->rows[i] };
        if (q->step.len && !bytes_eqs (q->step, c.step.name))
            continue;
        matched++;
        if (c.step.job.state != JOB_OPEN)
            continue;
        changed++;
        rc = event_add (a->s, &(struct event_fields){ .kind = "cancelled", .project = sub.project, .id = sub.id, .step = c.step.name, .state = "cancelled",
                                                      .reason = a->sender->name }, NULL, e);
        if (rc == 0)
            rc = step_apply (a->s, &c, JOB_CANCEL, 0, "cancelled", e);
    }
    if (rc == 0 && !changed)
        rc = matched ? err_code (e, EC_CONFLICT, "nothing of it is still open") : err_code (e, EC_NOT_FOUND, "the submission has no step of that name");
    if (rc == 0) {
        struct msg ok = MSG_INIT (ok, a->m->request);
        ask_reply (a, &ok);
    }
    sub_row_release (&sub);
    free (l);
    return rc;
}

int on_retry (struct ask *a, struct err *e)
{
    const struct msg_retry *q = &a->m->u.retry;
    struct context c = { 0 };
    if (context_find (a->s, &q->id, q->step, &c, e) == -1)
        return -1;
    int rc = may_change (a, &c.sub, e);
    if (rc == 0 && c.sub.expires <= a->now)
        rc = err_code (e, EC_EXPIRED, "the submission expired (push again)");
    if (rc == 0)
        rc = turns_take (a->s, c.sub.submitter, c.step.priority, 1, c.step.job.state == JOB_DECIDED, &c.step.turn, e);
    if (rc == 0)
        rc = event_add (a->s, &(struct event_fields){ .kind = "retried", .project = c.sub.project, .id = c.sub.id, .step = c.step.name, .state = "pending",
                                                      .reason = a->sender->name }, NULL, e);
    if (rc == 0) {
        strcpy (c.step.state, "pending");
        memset (&c.step.digest, 0, sizeof c.step.digest);
        c.step.support = c.step.dissent = c.step.votes = 0;
        c.step.reason[0] = '\0';
        memset (&c.step.usable, 0, sizeof c.step.usable);
        memset (&c.step.inputs, 0, sizeof c.step.inputs);
        c.step.waiting = c.step.needs > 0;
        c.step.since = a->now;
        rc = step_apply (a->s, &c, JOB_RETRY, c.step.agree ? c.step.agree : 1, "retried", e);
    }
    if (rc == 0)
        rc = needs_check (a->s, &c.sub, e);
    if (rc == 0) {
        struct msg ok = MSG_INIT (ok, a->m->request);
        ask_reply (a, &ok);
    }
    context_release (&c);
    return rc;
}

/* One more owner for what is decided, so that people can look for liars where nobody has. What was decided holds until its vote says otherwise. */
int on_challenge (struct ask *a, struct err *e)
{
    const struct msg_challenge *q = &a->m->u.challenge;
    struct context c = { 0 };
    if (context_find (a->s, &q->id, q->step, &c, e) == -1) {
        context_release (&c);
        return -1;
    }
    int rc = may_change (a, &c.sub, e);
    if (rc == 0 && c.sub.expires <= a->now)
        rc = err_code (e, EC_EXPIRED, "the submission expired (push again)");
    if (rc == 0 && (c.step.job.state != JOB_DECIDED || !settled (&c.step)))
        rc = err_code (e, EC_CONFLICT, "step %s is %s (only what is trusted or failed can be challenged)", c.step.name, c.step.job.state == JOB_DECIDED ? c.step.state : "still open");
    if (rc == 0)
        rc = challenge_fits (a->s, &c, e);
    if (rc == 0)
        rc = turns_take (a->s, c.sub.submitter, c.step.priority, 1, 1, &c.step.turn, e);
    if (rc == 0)
        rc = event_add (a->s, &(struct event_fields){ .kind = "challenged", .project = c.sub.project, .id = c.sub.id, .step = c.step.name, .state = c.step.state,
                                                      .reason = a->sender->name }, NULL, e);
    if (rc == 0)
        rc = step_apply (a->s, &c, JOB_REPLICATE, 1, "", e);
    if (rc == 0) {
        struct msg ok = MSG_INIT (ok, a->m->request);
        ask_reply (a, &ok);
        a->s->dirty = true;
    }
    context_release (&c);
    return rc;
}

int steps_expire (struct server *s, struct err *e)
{
    struct step_row rows[64];
    size_t n;
    if (state_expired (s->state, time_now_us (), 64, rows, &n, e) == -1)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct context c = { .step = rows[i] };
        int rc = state_sub_get (s->state, rows[i].sub, &c.sub, e);
        if (rc == 0 && settled (&rows[i])) { /* a challenge that nobody answered */
            rc = step_apply (s, &c, JOB_VERDICT_FINAL, 0, "expired", e);
            context_release (&c);
            if (rc == -1)
                return -1;
            continue;
        }
        if (rc == 0)
            rc = event_add (s, &(struct event_fields){ .kind = "expired", .project = c.sub.project, .id = c.sub.id, .step = c.step.name, .state = "expired",
                                                       .reason = "its time was over before it was decided" }, NULL, e);
        if (rc == 0)
            rc = step_apply (s, &c, JOB_EXPIRE, 0, "expired", e);
        context_release (&c);
        if (rc == -1)
            return -1;
    }
    return 0;
}

/* ---- status ---- */

struct listing {
    struct server *s;
    const struct principal *who;
    struct bytes list[STATUS_MAX];
    struct buf own[STATUS_MAX];
    size_t n, limit, bytes, looked;
    int64_t last;
    bool full;
};

/* Of all steps' states the one that a person wants to hear of first. */
static const char *overall (const struct listed *l)
{
    static const char *const order[] = { "failed", "disputed", "unreproducible", "unsatisfiable", "expired", "cancelled" };
    bool open = false, running = false;
    for (size_t i = 0; i < l->n; i++) {
        open = open || l->rows[i].job.state != JOB_DECIDED;
        running = running || l->rows[i].job.open || l->rows[i].job.votes;
    }
    if (open)
        return running ? "running" : "queued";
    for (size_t j = 0; j < sizeof order / sizeof *order; j++)
        for (size_t i = 0; i < l->n; i++)
            if (!strcmp (l->rows[i].state, order[j]))
                return order[j];
    return "trusted";
}

static int list_sub (void *arg, const struct sub_row *sub)
{
    struct listing *out = arg;
    struct listed *l;
    out->last = sub->key;
    out->looked++;
    if (!may_see (out->who, sub->project))
        return 0;
    l = xcalloc (1, sizeof *l);
    struct buf steps[64];
    struct bytes list[64];
    memset (steps, 0, sizeof steps);
    if (state_steps (out->s->state, sub->key, list_step, l, NULL) == -1) {
        free (l);
        return 1;
    }
    out->looked += l->n;
    for (size_t i = 0; i < l->n; i++) {
        const struct step_row *r = &l->rows[i];
        struct msg m = MSG_INIT (step_status, 0);
        m.u.step_status.name = bytes_str (r->name);
        m.u.step_status.state = bytes_str (r->state);
        m.u.step_status.digest = r->digest;
        m.u.step_status.agree = r->agree;
        m.u.step_status.support = r->support;
        m.u.step_status.dissent = r->dissent;
        m.u.step_status.trusted_required = r->trusted_required;
        m.u.step_status.votes = r->votes;
        m.u.step_status.reason = bytes_str (r->reason);
        msg_encode (&m, &steps[i]);
        list[i] = buf_bytes (&steps[i]);
    }
    struct msg m = MSG_INIT (job_status, 0);
    struct msg_job_status *j = &m.u.job_status;
    j->id = sub->id;
    j->project = bytes_str (sub->project);
    j->commit = bytes_str (sub->commit);
    j->ref = bytes_str (sub->ref);
    j->state = bytes_str (overall (l));
    j->submitter = bytes_str (sub->submitter);
    j->time = (uint64_t) sub->time;
    j->steps = (struct bytes_list){ list, l->n };
    msg_encode (&m, &out->own[out->n]);
    out->list[out->n] = buf_bytes (&out->own[out->n]);
    out->bytes += out->own[out->n++].len;
    for (size_t i = 0; i < l->n; i++)
        buf_release (&steps[i]);
    free (l);
    out->full = out->n == out->limit || out->bytes > STATUS_BYTES;
    return out->full;
}

int on_status_get (struct ask *a, struct err *e)
{
    const struct msg_status_get *q = &a->m->u.status_get;
    char prefix[65];
    struct msg m = MSG_INIT (status, a->m->request);
    if (!bytes_copy (q->prefix, prefix, sizeof prefix) || strspn (prefix, "0123456789abcdef") != strlen (prefix) || (*prefix && strlen (prefix) < 8))
        return err_code (e, EC_MALFORMED, "an id is 8 to 64 hexadecimal digits");
    size_t *looked = looked_by (a->s, a->peer);
    if (*looked >= LOOK_MAX)
        return err_code (e, EC_BUSY, "%s asks for too much at once", a->sender->name);
    struct listing *l = xcalloc (1, sizeof *l);
    l->s = a->s;
    l->who = a->sender;
    l->limit = q->limit == 0 || q->limit > STATUS_MAX ? STATUS_MAX : (size_t) q->limit;
    /* Those that the asker may not see count for nothing: go on behind them, within bounds. */
    int rc = 0;
    int64_t before = INT64_MAX;
    for (int i = 0; rc == 0 && i < 20 && !l->full; i++) {
        l->last = 0;
        rc = state_subs (a->s->state, prefix, before, 200, list_sub, l, e);
        if (*prefix || l->last == 0)
            break;
        before = l->last;
    }
    *looked += l->looked;
    if (rc == 0) {
        m.u.status.jobs = (struct bytes_list){ l->list, l->n };
        ask_reply (a, &m);
    }
    for (size_t i = 0; i < l->n; i++)
        buf_release (&l->own[i]);
    free (l);
    return rc;
}

int on_submission_get (struct ask *a, struct err *e)
{
    struct sub_row sub = { 0 };
    int found = state_sub_find (a->s->state, &a->m->u.submission_get.id, &sub, e);
    if (found == 1 && may_see (a->sender, sub.project)) {
        struct msg m = MSG_INIT (submission, a->m->request);
        m.u.submission.envelope = buf_bytes (&sub.envelope);
        ask_reply (a, &m);
        sub_row_release (&sub);
        return 0;
    }
    sub_row_release (&sub);
    return found == -1 ? -1 : err_code (e, EC_NOT_FOUND, "no such submission");
}
