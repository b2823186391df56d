#include "verifier/judge.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "proto/blind.h"
#include "verifier/intake.h"
#include "verifier/matter.h"

#define BATCH 256u /* steps looked at again in one turn */

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
    v->policy.lineages = m->policy.lineages;
    v->policy.network = m->policy.network;
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
            k->time = c->v[i].time;
            k->counted = agreed && digest_eq (&c->v[i].outcome, &d->outcome);
        }
    }
}

static void sign_verdict (const struct judge *j, const struct verdict *v, struct buf *envelope, struct digest *id)
{
    BUF (json);
    verdict_json (v, &json);
    envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), &j->keys->sign, envelope);
    if (id)
        *id = envelope_id (&(struct envelope){ .type = bytes_str (TYPE_INTOTO), .body = buf_bytes (&json) });
}

static int tell_broker (const struct judge *j, const struct msg *m, struct err *e)
{
    BUF (frame);
    msg_encode (m, &frame);
    return ledger_send (j->ledger, buf_bytes (&frame), e);
}

static bool needed_by (const struct msg_step *st, struct bytes name)
{
    for (size_t i = 0; i < st->needs.n; i++)
        if (bytes_eq (st->needs.v[i], name))
            return true;
    return false;
}

/* Is there a step that may start on this one's artifact before it is trusted? */
static bool wanted_early (const struct matter *m)
{
    bool wanted = false;
    for (size_t i = m->step.no + 1; i < m->sub->steps.n && !wanted; i++) {
        struct msg st;
        if (msg_decode_as (m->sub->steps.v[i], MSG_step, &st, NULL) == 0) {
            wanted = st.u.step.start_provisional && needed_by (&st.u.step, bytes_str (m->step.name));
            msg_release (&st);
        }
    }
    return wanted;
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
    if (d->state == STATE_TRUSTED && wanted_early (m)) /* it may have been told blinded, or may be, if this trust falls */
        out.u.verdict.opening = blind_salt (&s->sub, bytes_str (s->name), &v.artifact, j->keys->seal_sec);
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

/* The broker gets a provisional artifact's blinded name for the leases of those steps, in a box for the store of now: none without a store. A verdict ends
 * it, but for one that trusts, with which the name goes on, by its opening. */
static int tell_usable (const struct judge *j, struct matter *m, const struct decision *d, struct err *e)
{
    struct ledger_step *s = &m->step;
    const struct principal *store = roster_role (j->roster, ROLE_STORE, 0);
    bool there = !d->final && d->state == STATE_PROVISIONAL && store;
    struct digest now = { { 0 } };
    if (there) {
        uint8_t both[64];
        memcpy (both, s->lead.b, 32);
        memcpy (both + 32, store->seal_key, 32);
        now = digest_of (both, sizeof both);
    }
    if (digest_eq (&now, &s->usable) || !wanted_early (m))
        return 0;
    s->usable = now;
    if (d->final || d->state == STATE_TRUSTED)
        return 0;
    struct msg out = MSG_INIT (usable, 0);
    struct blind b;
    if (there) {
        blind_make (&s->sub, bytes_str (s->name), &s->lead, j->keys->seal_sec, store->seal_key, &b);
        out.u.usable.name = b.name;
        out.u.usable.box = bytes_of (b.box, sizeof b.box);
    }
    out.u.usable.id = s->sub;
    out.u.usable.step = bytes_str (s->name);
    out.u.usable.index = ledger_next_index (j->ledger);
    return tell_broker (j, &out, e);
}

/* *moved: what others build on has changed. */
static int decide (const struct judge *j, struct matter *m, int64_t time, bool *moved, struct err *e)
{
    struct ledger_step *s = &m->step, old = m->step;
    struct reading reading;
    struct counted c;
    struct decision d;
    int rc = matter_decide (j, m, &reading, &c, &d, e);
    if (rc == 0 && !matter_closed (s, &reading))
        s->closed = CLOSED_NOT;
    if (rc == 0 && reading.known && !digest_eq (&reading.digest, &s->inputs)) {
        if (!digest_zero (&s->inputs)) { /* the broker starts it anew */
            s->sought = m->policy.agree;
            s->seen = 0;
        }
        s->inputs = reading.digest;
    }
    bool changed = rc == 0 && (!s->said ? d.final || d.state != STATE_PENDING
                                        : s->state != (int) d.state || s->final != d.final || !digest_eq (&s->outcome, &d.outcome) || s->support != d.support
                                              || s->against != d.against || s->votes != d.votes);
    if (rc == 0)
        s->lead = matter_leading (&c, &d);
    if (changed)
        rc = say (j, m, &c, &d, time, e);
    if (rc == 0)
        rc = tell_usable (j, m, &d, e);
    if (rc == 0)
        rc = seek (j, m, &d, e);
    if (rc == 0 && memcmp (&old, s, sizeof old))
        rc = ledger_step_put (j->ledger, s, e);
    *moved = old.said != s->said || old.state != s->state || old.final != s->final || !digest_eq (&old.lead, &s->lead);
    counted_release (&c);
    return rc;
}

/* The step with this number of the submission of m. 1, 0, -1 */
static int matter_sibling (const struct judge *j, const struct matter *m, size_t no, struct matter *out, struct err *e)
{
    struct msg st;
    memset (out, 0, sizeof *out);
    if (msg_decode_as (m->sub->steps.v[no], MSG_step, &st, NULL) == -1)
        return 0;
    int found = ledger_step_find (j->ledger, &m->step.sub, st.u.step.name, &out->step, e);
    msg_release (&st);
    return found == 1 ? (matter_open (j, out, e) == -1 ? -1 : 1) : found;
}

/* Decide, and then what depends on it: a step needs only steps before it, so that one pass in their order is enough. */
static int settle (const struct judge *j, struct matter *m, int64_t time, struct err *e)
{
    bool touched[64] = { false }, moved = false;
    int rc = decide (j, m, time, &moved, e);
    if (rc == -1 || !moved || m->step.no >= 64)
        return rc;
    touched[m->step.no] = true;
    for (size_t i = m->step.no + 1; rc == 0 && i < m->sub->steps.n && i < 64; i++) {
        struct matter next;
        int found = matter_sibling (j, m, i, &next, e);
        rc = found == -1 ? -1 : 0;
        bool hit = false;
        for (size_t k = m->step.no; found == 1 && k < i && !hit; k++) {
            struct msg st;
            if (touched[k] && msg_decode_as (m->sub->steps.v[k], MSG_step, &st, NULL) == 0) {
                hit = needed_by (next.recipe, st.u.step.name);
                msg_release (&st);
            }
        }
        if (hit)
            rc = decide (j, &next, time, &touched[i], e);
        matter_release (&next);
    }
    return rc;
}

/* What a worker tried, and gained nothing by: told to all who watch. */
static int report (const struct judge *j, const struct msg_event *ev, const struct err *why, struct err *e)
{
    BUF (text);
    struct msg m = MSG_INIT (report, 0);
    text_clean (bytes_str (why->msg), false, &text);
    m.u.report.id = ev->id;
    m.u.report.step = ev->step;
    m.u.report.worker = ev->worker;
    m.u.report.reason = bytes_of (text.p, text.len > 255 ? 255 : text.len);
    while (m.u.report.reason.len && !utf8_valid (m.u.report.reason))
        m.u.report.reason.len--;
    return tell_broker (j, &m, e);
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
        struct policy p = matter_policy (j, b->project, &step.u.step);
        m.step.sub = ev->id;
        m.step.no = (unsigned) i;
        m.step.sought = p.agree;
        m.step.needs = (unsigned) step.u.step.needs.n;
        bool named = bytes_copy (step.u.step.name, m.step.name, sizeof m.step.name);
        msg_release (&step);
        int one = !named ? 0 : ledger_step_add (j->ledger, &m.step, e) == -1 || matter_open (j, &m, e) == -1 || settle (j, &m, (int64_t) ev->time, e) == -1 ? -1 : 0;
        matter_release (&m);
        if (one == -1)
            rc = -1;
    }
    msg_release (&body);
    envelope_release (&v);
    return rc == -1 ? -1 : 0;
}

static int open_result (struct judge *j, const struct msg_event *ev, struct matter *m, struct buf *plain, struct result *r, struct taken *taken, struct err *why)
{
    struct msg payload;
    if (msg_decode_as (ev->payload, MSG_sealed_payload, &payload, why) == -1)
        return -1;
    struct intake in = { .roster = j->roster, .event = ev, .submission = m->sub, .step = m->recipe, .policy = m->policy, .lease = payload.u.sealed_payload.lease };
    int rc = seal_open (j->keys->seal_pub, j->keys->seal_sec, payload.u.sealed_payload.sealed, plain, why);
    msg_release (&payload);
    if (rc == 0)
        rc = intake_check (&in, buf_bytes (plain), r, taken, why);
    if (rc == -1 && why->code == EC_UNKNOWN_KEY && plain->len && j->news && j->news (j->arg))
        rc = intake_check (&in, buf_bytes (plain), r, taken, why);
    return rc;
}

struct sought_reader {
    const char *owner;
    bool found;
};

static int is_reader (void *arg, const char *owner)
{
    struct sought_reader *s = arg;
    s->found = s->found || !strcmp (s->owner, owner) || !strcmp (owner, EVERYONE);
    return s->found;
}

static int take_vote (struct judge *j, const struct msg_event *ev, struct matter *m, struct err *why, struct err *e)
{
    struct result r = { .url = NULL };
    struct taken t;
    BUF (plain);
    if (open_result (j, ev, m, &plain, &r, &t, why) == -1)
        return 0;
    struct ledger_vote v = { .lease = r.lease_id, .artifact = r.artifact, .result = t.id, .inputs = t.inputs, .image = r.image, .exit_status = r.exit_status, .time = (int64_t) ev->time };
    struct sought_reader reader = { r.owner, false };
    v.outcome = outcome_digest (r.exit_status, &r.artifact);
    memcpy (v.worker, r.worker, sizeof v.worker);
    memcpy (v.owner, r.owner, sizeof v.owner);
    memcpy (v.broker, t.broker, sizeof v.broker);
    memcpy (v.store, t.store, sizeof v.store);
    int rc = ledger_readers (j->ledger, m->step.key, m->step.round, is_reader, &reader, e);
    if (rc == 0 && reader.found)
        err_code (why, EC_NOT_ALLOWED, "owner %s has read the artifact of this step, or its results were shown: it has no vote on it", r.owner);
    else if (rc == 0) {
        int added = ledger_vote_add (j->ledger, m->step.key, m->step.round, &v, buf_bytes (&plain), e);
        if (added == 0)
            err_code (why, EC_REPLAYED, "that lease has voted already");
        rc = added == -1 ? -1 : 0;
    }
    result_release (&r);
    return rc;
}

/* A challenge came to nothing: what was said is said again, so that the broker seeks no more. */
static int repeat (struct judge *j, struct matter *m, int64_t time, struct err *e)
{
    struct reading reading;
    struct counted c;
    struct decision d;
    int rc = matter_decide (j, m, &reading, &c, &d, e);
    m->step.sought = m->step.seen;
    if (rc == 0)
        rc = say (j, m, &c, &d, time, e);
    counted_release (&c);
    return rc;
}

static int apply_completed (struct judge *j, const struct msg_event *ev, struct err *e)
{
    struct matter m;
    struct err why = ERR_INIT;
    int found = matter_find (j, &ev->id, ev->step, &m, e);
    int rc = found == -1 ? -1 : 0;
    if (found != 1) {
        matter_release (&m);
        return rc; /* of a submission that was refused */
    }
    bool challenged = m.step.final && m.step.sought > m.step.seen;
    m.step.seen++;
    rc = take_vote (j, ev, &m, &why, e);
    if (rc == 0 && why.kind != ERR_NONE) {
        char name[64] = "?";
        (void) bytes_copy (ev->worker, name, sizeof name);
        log_peer (name, &why);
        rc = report (j, ev, &why, e);
        if (rc == 0 && challenged)
            rc = repeat (j, &m, (int64_t) ev->time, e);
    }
    if (rc == 0)
        rc = ledger_step_put (j->ledger, &m.step, e);
    if (rc == 0)
        rc = settle (j, &m, (int64_t) ev->time, e);
    matter_release (&m);
    return rc;
}

/* A lease of a step that needs others reads their artifacts, and what went into those. */
static int reads (struct judge *j, const struct matter *m, struct bytes owner, struct err *e)
{
    bool read[64] = { false };
    int rc = 0;
    if (m->step.no >= 64)
        return 0;
    read[m->step.no] = true;
    for (size_t i = m->step.no + 1; rc == 0 && i-- > 0;) {
        struct msg st;
        if (!read[i] || msg_decode_as (m->sub->steps.v[i], MSG_step, &st, NULL) == -1)
            continue;
        for (size_t k = 0; rc == 0 && k < i; k++) {
            struct matter need;
            struct msg before;
            if (read[k] || msg_decode_as (m->sub->steps.v[k], MSG_step, &before, NULL) == -1)
                continue;
            if (needed_by (&st.u.step, before.u.step.name)) {
                read[k] = true;
                int found = ledger_step_find (j->ledger, &m->step.sub, before.u.step.name, &need.step, e);
                rc = found == -1 ? -1 : found == 1 ? ledger_reader_add (j->ledger, need.step.key, need.step.round, owner, e) : 0;
            }
            msg_release (&before);
        }
        msg_release (&st);
    }
    return rc;
}

static int apply_leased (struct judge *j, const struct msg_event *ev, struct err *e)
{
    struct ledger_step s;
    struct matter m;
    int found = ledger_step_find (j->ledger, &ev->id, ev->step, &s, e);
    if (found != 1 || s.needs == 0)
        return found == -1 ? -1 : 0;
    found = matter_find (j, &ev->id, ev->step, &m, e);
    int rc = found == 1 ? reads (j, &m, ev->owner, e) : found;
    matter_release (&m);
    return rc == -1 ? -1 : 0;
}

static int apply_closed (struct judge *j, const struct msg_event *ev, enum closed how, struct err *e)
{
    struct matter m;
    int found = matter_find (j, &ev->id, ev->step, &m, e), rc = found == -1 ? -1 : 0;
    if (found == 1 && m.step.final && m.step.sought > m.step.seen && how == CLOSED_EXHAUSTED && (m.step.state == STATE_TRUSTED || m.step.state == STATE_FAILED)) {
        rc = repeat (j, &m, (int64_t) ev->time, e);
        if (rc == 0)
            rc = ledger_step_put (j->ledger, &m.step, e);
    } else if (found == 1 && !m.step.final && m.step.closed == CLOSED_NOT) {
        BUF (reason);
        text_clean (ev->reason, false, &reason);
        struct reading reading = { .vain = false };
        if (how == CLOSED_EXHAUSTED && m.step.needs)
            rc = matter_read (j, &m, &reading, e);
        m.step.closed = reading.vain ? CLOSED_NEEDS : how;
        (void) snprintf (m.step.closed_reason, sizeof m.step.closed_reason, "%s%s", how == CLOSED_CANCELLED ? "cancelled by " : "", buf_str (&reason));
        if (rc == 0)
            rc = settle (j, &m, (int64_t) ev->time, e);
    }
    matter_release (&m);
    return rc;
}

static int apply_retried (struct judge *j, const struct msg_event *ev, struct err *e)
{
    struct matter m;
    int found = matter_find (j, &ev->id, ev->step, &m, e), rc = found == -1 ? -1 : 0;
    if (found == 1) {
        struct ledger_step *s = &m.step; /* what was said of it stays said, so that a verdict follows that takes it back: the last one may be on its way still */
        s->round++;
        s->closed = CLOSED_NOT;
        s->sought = m.policy.agree;
        s->seen = 0;
        memset (&s->inputs, 0, sizeof s->inputs);
        rc = ledger_step_put (j->ledger, s, e) == -1 ? -1 : settle (j, &m, (int64_t) ev->time, e);
    }
    matter_release (&m);
    return rc;
}

/* One more owner was asked for. */
static int apply_challenged (struct judge *j, const struct msg_event *ev, struct err *e)
{
    struct ledger_step s;
    int found = ledger_step_find (j->ledger, &ev->id, ev->step, &s, e);
    if (found == 1 && s.final) {
        s.sought = s.seen + 1;
        return ledger_step_put (j->ledger, &s, e);
    }
    return found == -1 ? -1 : 0;
}

int judge_apply (struct judge *j, const struct msg_event *ev, struct err *e)
{
    *e = (struct err) ERR_INIT;
    if (bytes_eqs (ev->kind, "submitted"))
        return apply_submitted (j, ev, e);
    if (bytes_eqs (ev->kind, "artifact-completed"))
        return apply_completed (j, ev, e);
    if (bytes_eqs (ev->kind, "leased"))
        return apply_leased (j, ev, e);
    if (bytes_eqs (ev->kind, "cancelled"))
        return apply_closed (j, ev, CLOSED_CANCELLED, e);
    if (bytes_eqs (ev->kind, "expired"))
        return apply_closed (j, ev, CLOSED_EXPIRED, e);
    if (bytes_eqs (ev->kind, "exhausted"))
        return apply_closed (j, ev, CLOSED_EXHAUSTED, e);
    if (bytes_eqs (ev->kind, "retried"))
        return apply_retried (j, ev, e);
    if (bytes_eqs (ev->kind, "challenged"))
        return apply_challenged (j, ev, e);
    return 0;
}

static int decide_row (struct judge *j, const struct ledger_step *row, int64_t now, struct err *e)
{
    struct matter m = { .step = *row };
    /* an earlier row of the batch may have moved it */
    int found = ledger_step_get (j->ledger, row->key, &m.step, e), rc = found == -1 ? -1 : 0;
    if (found == 1)
        rc = matter_open (j, &m, e) == -1 ? -1 : settle (j, &m, now, e);
    matter_release (&m);
    return rc;
}

int judge_review (struct judge *j, int64_t *after, int64_t now, struct err *e)
{
    struct ledger_step *rows CLEANUP (free_ptr) = xcalloc (BATCH, sizeof *rows);
    size_t n = 0;
    if (ledger_steps_open (j->ledger, *after, BATCH, rows, &n, e) == -1)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (decide_row (j, &rows[i], now, e) == -1)
            return -1;
    *after = n == BATCH ? rows[n - 1].key : 0;
    return 0;
}

int judge_revoked (struct judge *j, int64_t now, struct err *e)
{
    const struct principal *p = roster_revoked_after (j->roster, ledger_roster (j->ledger));
    if (!p)
        return 0;
    struct ledger_step *rows CLEANUP (free_ptr) = xcalloc (BATCH, sizeof *rows);
    size_t n = 0;
    int64_t at = ledger_roster_at (j->ledger);
    int rc = 0;
    if (p->roles & (ROLE_BROKER | ROLE_STORE)) /* every vote may rest on its word */
        rc = ledger_steps_all (j->ledger, at, BATCH, rows, &n, e);
    else if (p->roles & ROLE_WORKER)
        rc = ledger_steps_voted (j->ledger, p->name, p->revoked_since, at, BATCH, rows, &n, e);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = decide_row (j, &rows[i], now, e);
    if (rc == 0)
        rc = n == BATCH ? ledger_roster_put (j->ledger, ledger_roster (j->ledger), rows[n - 1].key, e) : ledger_roster_put (j->ledger, p->revoked_seq, 0, e);
    if (rc == 0 && n < BATCH)
        log_info ("revocation worked through name=%s", p->name);
    return rc == -1 ? -1 : 1;
}

int judge_close (struct judge *j, const struct digest *sub, struct bytes step, int64_t now, struct err *e)
{
    struct matter m;
    int found = matter_find (j, sub, step, &m, e), rc = found == -1 ? -1 : 0;
    if (found == 1 && (rc = ledger_reader_add (j->ledger, m.step.key, m.step.round, bytes_str (EVERYONE), e)) == 0)
        rc = settle (j, &m, now, e);
    matter_release (&m);
    return rc;
}

int judge_reveal (struct judge *j, const struct digest *sub, struct bytes step, int64_t now, struct buf *out, struct err *e)
{
    struct matter m;
    int found = matter_find (j, sub, step, &m, e);
    if (found == 1 && m.step.said && m.step.state == STATE_PROVISIONAL) {
        struct reading reading;
        struct counted c;
        struct decision d;
        struct verdict v;
        found = matter_decide (j, &m, &reading, &c, &d, e);
        if (found == 0) {
            fill_verdict (j, &m, &c, &d, now, true, &v);
            v.index = 0; /* it is in no log, and must not look as if it were */
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
