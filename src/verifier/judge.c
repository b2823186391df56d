#include "verifier/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "verifier/intake.h"
#include "verifier/rule.h"

/* ---- a step with all that a decision needs ---- */

struct matter {
    struct ledger_step step;
    struct buf raw;                 /* the submission's envelope */
    struct envelope env;
    struct msg body, step_msg;
    bool have_body, have_step;
    const struct msg_submission_body *sub;
    const struct msg_step *recipe;
    struct policy policy;
};

static void matter_release (struct matter *m)
{
    if (m->have_step)
        msg_release (&m->step_msg);
    if (m->have_body)
        msg_release (&m->body);
    envelope_release (&m->env);
    buf_release (&m->raw);
}

static struct policy in_force (const struct judge *j, struct bytes project, const struct msg_step *step)
{
    struct policy p = roster_policy (j->roster, project), own = policy_of_step (step);
    policy_merge (&p, &own);
    policy_fill (&p);
    return p;
}

/* m->step is there: open the rest. */
static int matter_open (const struct judge *j, struct matter *m, struct err *e)
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
    m->policy = in_force (j, m->sub->project, m->recipe);
    return 0;
}

/* 1 found and opened, 0 not known, -1 */
static int matter_find (const struct judge *j, const struct digest *sub, struct bytes step, struct matter *m, struct err *e)
{
    memset (m, 0, sizeof *m);
    int found = ledger_step_find (j->ledger, sub, step, &m->step, e);
    return found == 1 ? (matter_open (j, m, e) == -1 ? -1 : 1) : found;
}

/* ---- deciding ---- */

struct counted {
    struct ledger_vote *v;
    struct vote *votes;
    size_t n, cap;
    const struct roster *roster;
};

static int count_vote (void *arg, const struct ledger_vote *v, struct bytes result)
{
    struct counted *c = arg;
    const struct principal *p = roster_find (c->roster, v->worker);
    (void) result;
    if (!p || !principal_good_at (p, v->time))
        return 0; /* revoked since: its word of then counts no more */
    if (c->n == c->cap) {
        c->cap = c->cap ? c->cap * 2 : 8;
        c->v = xrealloc (c->v, c->cap * sizeof *c->v);
    }
    c->v[c->n++] = *v;
    return 0;
}

static void counted_release (struct counted *c)
{
    free (c->v);
    free (c->votes);
}

static int gather (const struct judge *j, const struct matter *m, struct counted *c, struct decision *d, struct err *e)
{
    size_t trusted = 0;
    memset (c, 0, sizeof *c);
    c->roster = j->roster;
    if (ledger_votes (j->ledger, m->step.key, m->step.round, count_vote, c, e) == -1)
        return -1;
    c->votes = xcalloc (c->n, sizeof *c->votes);
    for (size_t i = 0; i < c->n; i++)
        c->votes[i] = (struct vote){ .worker = c->v[i].worker, .owner = c->v[i].owner, .trusted = roster_find (j->roster, c->v[i].worker)->trusted,
                                     .outcome = c->v[i].outcome, .success = c->v[i].exit_status == 0 };
    struct rule_input in = { .policy = m->policy, .votes = c->votes, .vote_count = c->n, .inputs_trusted = true };
    in.owners = roster_owners (j->roster, m->sub->project, &m->recipe->labels, &trusted);
    in.trusted_owners = trusted;
    rule_decide (&in, d);
    if (m->step.closed != CLOSED_NOT && !d->final) {
        static const enum step_state states[] = { STATE_PENDING, STATE_CANCELLED, STATE_EXPIRED, STATE_UNSATISFIABLE };
        d->state = states[m->step.closed];
        d->final = true;
        d->want = 0;
        (void) snprintf (d->reason, sizeof d->reason, "%.255s", m->step.closed_reason);
    }
    return 0;
}

/* ---- saying ---- */

static void fill_verdict (const struct judge *j, const struct matter *m, const struct counted *c, const struct decision *d, int64_t time, bool reveal, struct verdict *v)
{
    bool agreed = d->state == STATE_TRUSTED || d->state == STATE_FAILED;
    memset (v, 0, sizeof *v);
    v->submission = m->step.sub;
    (void) snprintf (v->step, sizeof v->step, "%s", m->step.name);
    (void) bytes_copy (m->sub->project, v->project, sizeof v->project);
    (void) bytes_copy (m->sub->commit, v->commit, sizeof v->commit);
    (void) snprintf (v->state, sizeof v->state, "%s", step_state_name (d->state));
    (void) snprintf (v->verifier, sizeof v->verifier, "%s", j->name);
    v->url = bytes_dup (m->sub->url);
    v->ref = bytes_dup (m->sub->ref);
    v->policy.agree = m->policy.agree;
    v->policy.trusted = m->policy.trusted;
    v->policy.dissent = m->policy.dissent;
    v->policy.isolation = m->policy.isolation;
    v->policy.max_replicas = m->policy.max_replicas;
    v->support = d->support;
    v->against = d->against;
    v->votes = d->votes;
    v->reason = xstrdup (d->reason);
    v->roster_seq = roster_seq (j->roster);
    v->index = ledger_next_index (j->ledger);
    v->previous = m->step.verdict;
    v->time = time;
    v->final = d->final;
    /* No digest is shown before the votes are in: there would be something to copy. */
    if (agreed || reveal) {
        v->outcome = d->outcome;
        for (size_t i = 0; i < c->n; i++)
            if (digest_eq (&c->v[i].outcome, &d->outcome)) {
                v->artifact = c->v[i].artifact;
                v->exit_status = c->v[i].exit_status;
            }
    }
    if (d->final) {
        v->counts = xcalloc (c->n, sizeof *v->counts);
        for (size_t i = 0; i < c->n; i++) {
            struct verdict_count *k = &v->counts[v->count++];
            (void) snprintf (k->worker, sizeof k->worker, "%s", c->v[i].worker);
            (void) snprintf (k->owner, sizeof k->owner, "%s", c->v[i].owner);
            k->result = c->v[i].result;
            k->outcome = c->v[i].outcome;
            k->trusted = c->votes[i].trusted;
            k->counted = agreed && digest_eq (&c->v[i].outcome, &d->outcome);
        }
    }
}

static void sign_verdict (const struct judge *j, const struct verdict *v, struct buf *envelope, struct digest *id)
{
    BUF (json);
    struct envelope own = { 0 };
    verdict_json (v, &json);
    envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), &j->keys->sign, envelope);
    if (id && envelope_open_json (buf_bytes (envelope), TYPE_INTOTO, &own, NULL) == 0)
        *id = envelope_id (&own);
    envelope_release (&own);
}

static int tell_broker (const struct judge *j, const struct msg *m, struct err *e)
{
    BUF (frame);
    msg_encode (m, &frame);
    return ledger_send (j->ledger, buf_bytes (&frame), e);
}

static int say (const struct judge *j, struct matter *m, const struct counted *c, const struct decision *d, int64_t time, struct err *e)
{
    struct ledger_step *s = &m->step;
    struct verdict v;
    BUF (envelope);
    fill_verdict (j, m, c, d, time, false, &v);
    sign_verdict (j, &v, &envelope, &s->verdict);
    int rc = ledger_verdict_add (j->ledger, v.index, s->key, buf_bytes (&envelope), e);
    s->said = true;
    s->final = d->final;
    s->state = (int) d->state;
    s->outcome = d->outcome;
    s->artifact = v.artifact;
    s->support = d->support;
    s->against = d->against;
    s->votes = d->votes;
    struct msg out = MSG_INIT (verdict, 0);
    out.u.verdict.id = s->sub;
    out.u.verdict.step = bytes_str (s->name);
    out.u.verdict.envelope = buf_bytes (&envelope);
    if (rc == 0)
        rc = tell_broker (j, &out, e);
    char hex[DIGEST_HEX];
    log_info ("verdict id=%.12s step=%s state=%s support=%u against=%u reason=%s", digest_hex (&s->sub, hex), s->name, v.state, v.support, v.against, d->reason);
    verdict_release (&v);
    return rc;
}

static int seek (const struct judge *j, struct matter *m, const struct decision *d, struct err *e)
{
    struct ledger_step *s = &m->step;
    unsigned outstanding = s->sought > s->seen ? s->sought - s->seen : 0;
    if (s->closed != CLOSED_NOT || d->want <= outstanding)
        return 0;
    struct msg out = MSG_INIT (replicate, 0);
    out.u.replicate.id = s->sub;
    out.u.replicate.step = bytes_str (s->name);
    out.u.replicate.more = d->want;
    out.u.replicate.trusted = d->want_trusted;
    out.u.replicate.total_max = m->policy.max_replicas;
    out.u.replicate.reason = bytes_str (d->reason);
    s->sought = s->seen + d->want;
    return tell_broker (j, &out, e);
}

static int decide (const struct judge *j, struct matter *m, int64_t time, struct err *e)
{
    struct ledger_step *s = &m->step;
    struct counted c;
    struct decision d;
    int rc = gather (j, m, &c, &d, e);
    bool changed = !s->said ? d.final || d.state != STATE_PENDING
                            : s->state != (int) d.state || s->final != d.final || !digest_eq (&s->outcome, &d.outcome) || s->support != d.support
                                  || s->against != d.against || s->votes != d.votes;
    if (rc == 0 && changed)
        rc = say (j, m, &c, &d, time, e);
    if (rc == 0)
        rc = seek (j, m, &d, e);
    if (rc == 0)
        rc = ledger_step_put (j->ledger, s, e);
    counted_release (&c);
    return rc;
}

/* ---- events ---- */

static int apply_submitted (struct judge *j, const struct msg_event *ev, struct err *e)
{
    struct envelope v;
    struct msg body;
    struct err why = ERR_INIT;
    int rc = intake_submission (j->roster, ev->payload, &ev->id, (int64_t) ev->time, &v, &body, &why);
    if (rc == -1 && why.code == EC_UNKNOWN_KEY && j->news && j->news (j->arg))
        rc = intake_submission (j->roster, ev->payload, &ev->id, (int64_t) ev->time, &v, &body, &why);
    if (rc == -1) {
        log_peer ("broker", &why);
        return 0;
    }
    const struct msg_submission_body *b = &body.u.submission_body;
    rc = ledger_sub_add (j->ledger, &ev->id, ev->payload, e);
    for (size_t i = 0; rc == 1 && i < b->steps.n; i++) {
        struct matter m = { .have_body = false };
        struct msg step;
        if (msg_decode_as (b->steps.v[i], MSG_step, &step, &why) == -1) {
            log_peer ("broker", &why);
            continue;
        }
        struct policy p = in_force (j, b->project, &step.u.step);
        m.step.sub = ev->id;
        m.step.no = (unsigned) i;
        m.step.sought = p.agree;
        bool named = bytes_copy (step.u.step.name, m.step.name, sizeof m.step.name);
        msg_release (&step);
        int one = !named ? 0 : ledger_step_add (j->ledger, &m.step, e) == -1 || matter_open (j, &m, e) == -1 || decide (j, &m, (int64_t) ev->time, e) == -1 ? -1 : 0;
        matter_release (&m);
        if (one == -1)
            rc = -1;
    }
    msg_release (&body);
    envelope_release (&v);
    return rc == -1 ? -1 : 0;
}

static int open_result (struct judge *j, const struct msg_event *ev, struct matter *m, struct digest *lease, struct buf *plain, struct result *r, struct digest *id,
                        struct err *why, struct err *e)
{
    struct msg payload;
    struct digest inputs[64];
    memset (inputs, 0, sizeof inputs);
    if (msg_decode_as (ev->payload, MSG_sealed_payload, &payload, why) == -1)
        return -1;
    *lease = payload.u.sealed_payload.lease;
    int rc = seal_open (j->keys->seal_pub, j->keys->seal_sec, payload.u.sealed_payload.sealed, plain, why);
    msg_release (&payload);
    if (rc == -1)
        return -1;
    for (size_t i = 0; i < m->recipe->needs.n && i < 64; i++) {
        struct ledger_step need;
        int found = ledger_step_find (j->ledger, &m->step.sub, m->recipe->needs.v[i], &need, e);
        if (found == -1)
            return -1;
        if (found == 1 && need.said && need.final && need.state == STATE_TRUSTED)
            inputs[i] = need.artifact;
    }
    struct intake in = { .roster = j->roster, .event = ev, .submission = m->sub, .step = m->recipe, .policy = m->policy, .lease = *lease, .inputs = inputs };
    rc = intake_check (&in, buf_bytes (plain), r, id, why);
    if (rc == -1 && why->code == EC_UNKNOWN_KEY && j->news && j->news (j->arg))
        rc = intake_check (&in, buf_bytes (plain), r, id, why);
    return rc;
}

static int apply_completed (struct judge *j, const struct msg_event *ev, struct err *e)
{
    struct matter m;
    struct result r = { .url = NULL };
    struct digest lease, id;
    struct err why = ERR_INIT;
    BUF (plain);
    int found = matter_find (j, &ev->id, ev->step, &m, e);
    int rc = found == -1 ? -1 : 0;
    if (found != 1) {
        matter_release (&m);
        return rc; /* of a submission that was refused */
    }
    m.step.seen++;
    if (open_result (j, ev, &m, &lease, &plain, &r, &id, &why, e) == 0) {
        struct ledger_vote v = { .lease = lease, .artifact = r.artifact, .result = id, .exit_status = r.exit_status, .time = (int64_t) ev->time };
        v.outcome = outcome_digest (r.exit_status, &r.artifact);
        memcpy (v.worker, r.worker, sizeof v.worker);
        memcpy (v.owner, r.owner, sizeof v.owner);
        int added = ledger_vote_add (j->ledger, m.step.key, m.step.round, &v, buf_bytes (&plain), e);
        if (added == 0)
            err_code (&why, EC_REPLAYED, "that lease has voted already");
        rc = added == -1 ? -1 : 0;
        result_release (&r);
    } else if (e->kind != ERR_NONE)
        rc = -1;
    if (why.kind != ERR_NONE) {
        char name[64] = "?";
        (void) bytes_copy (ev->worker, name, sizeof name);
        log_peer (name, &why);
    }
    if (rc == 0)
        rc = decide (j, &m, (int64_t) ev->time, e);
    matter_release (&m);
    return rc;
}

static int apply_closed (struct judge *j, const struct msg_event *ev, enum closed how, struct err *e)
{
    struct matter m;
    int found = matter_find (j, &ev->id, ev->step, &m, e), rc = found == -1 ? -1 : 0;
    if (found == 1 && !m.step.final && m.step.closed == CLOSED_NOT) {
        BUF (reason);
        text_clean (ev->reason, false, &reason);
        m.step.closed = how;
        (void) snprintf (m.step.closed_reason, sizeof m.step.closed_reason, "%s%s", how == CLOSED_CANCELLED ? "cancelled by " : "", buf_str (&reason));
        rc = decide (j, &m, (int64_t) ev->time, e);
    }
    matter_release (&m);
    return rc;
}

static int apply_retried (struct judge *j, const struct msg_event *ev, struct err *e)
{
    struct matter m;
    int found = matter_find (j, &ev->id, ev->step, &m, e), rc = found == -1 ? -1 : 0;
    if (found == 1) {
        struct ledger_step *s = &m.step;
        s->round++;
        s->closed = CLOSED_NOT;
        s->said = s->final = false;
        s->state = STATE_PENDING;
        s->sought = m.policy.agree;
        s->seen = s->support = s->against = s->votes = 0;
        memset (&s->outcome, 0, sizeof s->outcome);
        memset (&s->artifact, 0, sizeof s->artifact);
        rc = decide (j, &m, (int64_t) ev->time, e);
    }
    matter_release (&m);
    return rc;
}

int judge_apply (struct judge *j, const struct msg_event *ev, struct err *e)
{
    *e = (struct err) ERR_INIT;
    if (bytes_eqs (ev->kind, "submitted"))
        return apply_submitted (j, ev, e);
    if (bytes_eqs (ev->kind, "artifact-completed"))
        return apply_completed (j, ev, e);
    if (bytes_eqs (ev->kind, "cancelled"))
        return apply_closed (j, ev, CLOSED_CANCELLED, e);
    if (bytes_eqs (ev->kind, "expired"))
        return apply_closed (j, ev, CLOSED_EXPIRED, e);
    if (bytes_eqs (ev->kind, "exhausted"))
        return apply_closed (j, ev, CLOSED_EXHAUSTED, e);
    if (bytes_eqs (ev->kind, "retried"))
        return apply_retried (j, ev, e);
    return 0;
}

int judge_review (struct judge *j, int64_t *after, int64_t now, struct err *e)
{
    struct ledger_step rows[64];
    size_t n = 0;
    if (ledger_steps_open (j->ledger, *after, 64, rows, &n, e) == -1)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct matter m = { .step = rows[i] };
        int rc = matter_open (j, &m, e) == -1 ? -1 : decide (j, &m, now, e);
        matter_release (&m);
        if (rc == -1)
            return -1;
    }
    *after = n == 64 ? rows[n - 1].key : 0;
    return 0;
}

int judge_reveal (struct judge *j, const struct digest *sub, struct bytes step, int64_t now, struct buf *out, struct err *e)
{
    struct matter m;
    int found = matter_find (j, sub, step, &m, e);
    if (found == 1 && m.step.said && m.step.state == STATE_PROVISIONAL) {
        struct counted c;
        struct decision d;
        struct verdict v;
        found = gather (j, &m, &c, &d, e);
        if (found == 0) {
            fill_verdict (j, &m, &c, &d, now, true, &v);
            sign_verdict (j, &v, out, NULL);
            verdict_release (&v);
            found = 1;
        }
        counted_release (&c);
    } else if (found == 1)
        found = 0;
    matter_release (&m);
    return found;
}
