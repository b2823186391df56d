/* tracker.c: verdicts checked, and which steps still wait for theirs. Contract: stream.h. */
#include <stdlib.h>
#include <string.h>

#include "cli/stream.h"

struct tracked {
    struct digest id;
    char step[64], state[32]; /* state "" while open */
};
struct tracker {
    struct realm *rl;
    struct tracked *v;
    size_t n, cap, open;
};

int verdict_open (struct realm *rl, struct bytes raw, struct verdict *v, struct err *e)
{
    struct envelope env = { 0 };
    memset (v, 0, sizeof *v);
    if (envelope_open_json (raw, TYPE_INTOTO, &env, e) == -1)
        return err_wrap (e, "verdict");
    int rc = verdict_parse (env.body, v, e);
    if (rc == 0) {
        const struct principal *p = roster_find (realm_roster (rl), v->verifier);
        if (!p || !(p->roles & ROLE_VERIFIER))
            rc = err_code (e, EC_UNKNOWN_KEY, "signed by \"%s\", which is no verifier in the roster", v->verifier);
        else if (!principal_good_at (p, v->time))
            rc = err_code (e, EC_REVOKED, "signed by %s, which is revoked", p->name);
        else
            rc = envelope_check (&env, p->sign_key, e);
        if (rc == -1) {
            verdict_release (v);
            memset (v, 0, sizeof *v);
        }
    }
    envelope_release (&env);
    return rc == -1 ? err_wrap (e, "verdict") : 0;
}

int verdict_stands (struct realm *rl, const struct verdict *v, struct err *e)
{
    for (size_t i = 0; i < v->count; i++) {
        const struct principal *p = roster_find (realm_roster (rl), v->counts[i].worker);
        if (v->counts[i].counted && (!p || !principal_good_at (p, v->counts[i].time)))
            return err_set (e, ERR_UNTRUSTED, "it counts a vote of %s, whose key was revoked with effect from before that: it is being decided again", v->counts[i].worker);
    }
    return 0;
}

bool state_is_open (struct bytes state)
{
    return state.len == 0 || bytes_eqs (state, "pending") || bytes_eqs (state, "provisional") || bytes_eqs (state, "disputed") ||
           bytes_eqs (state, "running") || bytes_eqs (state, "queued") || bytes_eqs (state, "waiting") || bytes_eqs (state, "leased");
}

struct tracker *tracker_new (struct realm *rl)
{
    struct tracker *t = xcalloc (1, sizeof *t);
    t->rl = rl;
    return t;
}

void tracker_destroy (struct tracker **t)
{
    if (*t)
        free ((*t)->v);
    free (*t);
    *t = NULL;
}

static struct tracked *find (const struct tracker *t, const struct digest *id, struct bytes step)
{
    for (size_t i = t->n; i-- > 0;) /* news is mostly of what came last */
        if (digest_eq (&t->v[i].id, id) && bytes_eqs (step, t->v[i].step))
            return &t->v[i];
    return NULL;
}

void tracker_expect (struct tracker *t, const struct digest *id, struct bytes step)
{
    if (find (t, id, step))
        return;
    if (t->n == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 64;
        t->v = xrealloc (t->v, t->cap * sizeof *t->v);
    }
    struct tracked *one = &t->v[t->n];
    memset (one, 0, sizeof *one);
    one->id = *id;
    if (!bytes_copy (step, one->step, sizeof one->step))
        return;
    t->n++;
    t->open++;
}

static void see_submission (struct tracker *t, const struct msg_event *ev)
{
    struct envelope v;
    struct msg body;
    if (envelope_open (ev->payload, TYPE_SUBMISSION, &v, NULL) == -1)
        return;
    struct digest id = envelope_id (&v);
    if (digest_eq (&id, &ev->id) && msg_decode_as (v.body, MSG_submission_body, &body, NULL) == 0) {
        for (size_t i = 0; i < body.u.submission_body.steps.n; i++) {
            struct msg step;
            if (msg_decode_as (body.u.submission_body.steps.v[i], MSG_step, &step, NULL) == 0) {
                tracker_expect (t, &id, step.u.step.name);
                msg_release (&step);
            }
        }
        msg_release (&body);
    }
    envelope_release (&v);
}

static void see_verdict (struct tracker *t, const struct msg_event *ev)
{
    struct verdict v;
    struct tracked *one = find (t, &ev->id, ev->step);
    if (!one || verdict_open (t->rl, ev->payload, &v, NULL) == -1)
        return;
    if (digest_eq (&v.submission, &ev->id) && bytes_eqs (ev->step, v.step)) {
        if (v.final && !*one->state)
            t->open--;
        if (!v.final && *one->state)
            t->open++;
        snprintf (one->state, sizeof one->state, "%s", v.final ? v.state : "");
    }
    verdict_release (&v);
}

void tracker_see (struct tracker *t, const struct msg_event *ev)
{
    if (bytes_eqs (ev->kind, "submitted"))
        see_submission (t, ev);
    else if (bytes_eqs (ev->kind, "verdict"))
        see_verdict (t, ev);
    else if (bytes_eqs (ev->kind, "retried")) {
        struct tracked *one = find (t, &ev->id, ev->step);
        if (one && *one->state) {
            *one->state = '\0';
            t->open++;
        }
    }
}

size_t tracker_open (const struct tracker *t)
{
    return t->open;
}

const char *tracker_state (const struct tracker *t, const struct digest *id, struct bytes step)
{
    const struct tracked *one = find (t, id, step);
    return one && *one->state ? one->state : NULL;
}
