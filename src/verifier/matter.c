#include "verifier/matter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "verifier/intake.h"

void matter_release (struct matter *m)
{
    if (m->have_step)
        msg_release (&m->step_msg);
    if (m->have_body)
        msg_release (&m->body);
    envelope_release (&m->env);
    buf_release (&m->raw);
}

struct policy matter_policy (const struct judge *j, struct bytes project, const struct msg_step *step)
{
    struct policy p = roster_policy (j->roster, project);
    return policy_in_force (&p, step);
}

int matter_open (const struct judge *j, struct matter *m, struct err *e)
{
    int found = ledger_sub_get (j->ledger, &m->step.sub, &m->raw, e);
    if (found != 1)
        return found == -1 ? -1 : err_code (e, EC_INTERNAL, "a step without its submission");
    if (envelope_open (buf_bytes (&m->raw), TYPE_SUBMISSION, &m->env, e) == -1 || msg_decode_as (m->env.body, MSG_submission_body, &m->body, e) == -1)
        return -1;
    m->have_body = true;
    m->sub = &m->body.u.submission_body;
    if (m->step.no >= m->sub->steps.n)
        return err_code (e, EC_INTERNAL, "a step that is not in its submission");
    if (msg_decode_as (m->sub->steps.v[m->step.no], MSG_step, &m->step_msg, e) == -1)
        return -1;
    m->have_step = true;
    m->recipe = &m->step_msg.u.step;
    m->policy = matter_policy (j, m->sub->project, m->recipe);
    return 0;
}

int matter_find (const struct judge *j, const struct digest *sub, struct bytes step, struct matter *m, struct err *e)
{
    memset (m, 0, sizeof *m);
    int found = ledger_step_find (j->ledger, sub, step, &m->step, e);
    return found == 1 ? (matter_open (j, m, e) == -1 ? -1 : 1) : found;
}

int matter_read (const struct judge *j, const struct matter *m, struct reading *r, struct err *e)
{
    struct digest list[64];
    size_t n = m->recipe->needs.n;
    memset (r, 0, sizeof *r);
    r->known = r->open = r->trusted = true;
    for (size_t i = 0; i < n && i < 64; i++) {
        struct ledger_step need;
        int found = ledger_step_find (j->ledger, &m->step.sub, m->recipe->needs.v[i], &need, e);
        if (found == -1)
            return -1;
        bool trusted = found == 1 && need.final && need.state == STATE_TRUSTED, leads = found == 1 && !digest_zero (&need.lead);
        list[i] = found == 1 ? need.lead : (struct digest){ { 0 } };
        if (!trusted && !*r->why)
            (void) snprintf (r->why, sizeof r->why, "its input %.63s is %s", found == 1 ? need.name : "?", found == 1 && need.said ? step_state_name ((enum step_state) need.state) : "pending");
        r->trusted = r->trusted && trusted;
        r->vain = r->vain || (found == 1 && need.final && !trusted);
        r->known = r->known && leads;
        r->open = r->open && leads && (trusted || m->recipe->start_provisional);
    }
    if (r->known)
        r->digest = inputs_digest (list, n < 64 ? n : 64);
    return 0;
}

/* ---- deciding ---- */

/* Its word of then still counts. What is not in the roster under that name never signed anything that was taken in. */
static bool stands (const struct roster *r, const char *name, int64_t time)
{
    const struct principal *p = *name ? roster_find (r, name) : NULL;
    return !*name || (p && principal_good_at (p, time));
}

static int count_vote (void *arg, const struct ledger_vote *v, struct bytes result)
{
    struct counted *c = arg;
    (void) result;
    if (!*v->worker || !stands (c->roster, v->worker, v->time) || !stands (c->roster, v->broker, v->time) || !stands (c->roster, v->store, v->time))
        return 0; /* revoked since */
    if (!c->reading->known || !digest_eq (&v->inputs, &c->reading->digest)) {
        c->elsewhere++;
        return 0;
    }
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 8;
        c->v = xrealloc (c->v, c->cap * sizeof *c->v);
    }
    c->v[c->n++] = *v;
    return 0;
}

struct looked_at {
    const struct matter *m;
    struct counted *c;
};

static int look_and_count (void *arg, const struct ledger_vote *v, struct bytes result)
{
    struct looked_at *x = arg;
    int stop = x->m->look (x->m->look_arg, v, result);
    return stop ? stop : count_vote (x->c, v, result);
}

static int read_votes (const struct judge *j, const struct matter *m, struct counted *c, struct err *e)
{
    if (m->look)
        return ledger_votes (j->ledger, m->step.key, m->step.round, look_and_count, &(struct looked_at){ m, c }, e);
    return ledger_tally (j->ledger, m->step.key, m->step.round, count_vote, c, e);
}

static int count_reader (void *arg, const char *owner)
{
    struct counted *c = arg;
    if (!strcmp (owner, EVERYONE)) {
        c->shown = true;
        return 0;
    }
    for (size_t i = 0; i < c->n; i++)
        if (!strcmp (c->v[i].owner, owner))
            return 0; /* it had voted */
    c->readers = xrealloc (c->readers, (c->reader_count + 1) * sizeof *c->readers);
    (void) snprintf (c->readers[c->reader_count++], sizeof *c->readers, "%s", owner);
    return c->reader_count == 1024;
}

void counted_release (struct counted *c)
{
    free (c->v);
    free (c->votes);
    free (c->readers);
}

/* The owners that could still vote: those with a worker that fits, without those that have read the artifact. */
static void count_owners (const struct judge *j, const struct matter *m, const struct counted *c, struct rule_input *in)
{
    const char **but = xcalloc (c->reader_count, sizeof *but);
    size_t trusted = 0;
    for (size_t i = 0; i < c->reader_count; i++)
        but[i] = c->readers[i];
    in->owners = c->shown ? 0 : roster_owners_but (j->roster, m->sub->project, &m->recipe->labels, but, c->reader_count, &trusted);
    in->trusted_owners = trusted;
    free (but);
}

/* Votes on inputs that are not (any more) what the step would get now. */
static void without_inputs (const struct reading *r, const struct counted *c, struct decision *d)
{
    d->want = 0;
    if (!r->known && !d->final)
        (void) snprintf (d->reason, sizeof d->reason, "%s%s", r->why, c->elsewhere ? ": the results on it do not count" : "");
}

bool matter_closed (const struct ledger_step *s, const struct reading *r)
{
    return s->closed != CLOSED_NOT && (s->closed != CLOSED_NEEDS || r->vain);
}

int matter_decide (const struct judge *j, const struct matter *m, struct reading *r, struct counted *c, struct decision *d, struct err *e)
{
    memset (c, 0, sizeof *c);
    if (matter_read (j, m, r, e) == -1)
        return -1;
    c->roster = j->roster;
    c->reading = r;
    if (read_votes (j, m, c, e) == -1 || ledger_readers (j->ledger, m->step.key, m->step.round, count_reader, c, e) == -1)
        return -1;
    c->votes = xcalloc (c->n, sizeof *c->votes);
    for (size_t i = 0; i < c->n; i++)
        c->votes[i] = (struct vote){ .worker = c->v[i].worker, .owner = c->v[i].owner, .trusted = roster_find (j->roster, c->v[i].worker)->trusted,
                                     .outcome = c->v[i].outcome, .image = c->v[i].image, .success = c->v[i].exit_status == 0 };
    struct rule_input in = { .policy = m->policy, .votes = c->votes, .vote_count = c->n, .inputs_trusted = r->trusted };
    struct digest images[STEP_IMAGES];
    in.images = step_images (m->recipe, images);
    count_owners (j, m, c, &in);
    rule_decide (&in, d);
    if (d->state == STATE_UNSATISFIABLE && c->reader_count) {
        size_t len = strlen (d->reason);
        (void) snprintf (d->reason + len, sizeof d->reason - len, " (%zu more have read the artifact: no vote on it)", c->reader_count);
    }
    if (c->shown && d->final && d->state != STATE_TRUSTED && d->state != STATE_FAILED) {
        size_t len = strlen (d->reason);
        (void) snprintf (d->reason + len, sizeof d->reason - len, "; its results were shown, so that no further vote counts (`assay retry` runs it anew)");
    }
    if (!r->open)
        without_inputs (r, c, d);
    else if (c->elsewhere && d->state == STATE_PENDING)
        (void) snprintf (d->reason, sizeof d->reason, "an input is not what it ran on any more: it runs again on the right one");
    if (matter_closed (&m->step, r) && !d->final) {
        static const enum step_state states[] = { STATE_PENDING, STATE_CANCELLED, STATE_EXPIRED, STATE_UNSATISFIABLE, STATE_UNSATISFIABLE };
        d->state = states[m->step.closed];
        d->final = true;
        d->want = 0;
        (void) snprintf (d->reason, sizeof d->reason, "%.255s", m->step.closed_reason);
    }
    return 0;
}

struct digest matter_leading (const struct counted *c, const struct decision *d)
{
    struct digest none = { { 0 } };
    if (d->state == STATE_PROVISIONAL || d->state == STATE_TRUSTED)
        for (size_t i = 0; i < c->n; i++)
            if (c->v[i].exit_status == 0 && digest_eq (&c->v[i].outcome, &d->outcome))
                return c->v[i].artifact;
    return none;
}
