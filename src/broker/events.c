/* events.c: the event log, who may see it, and what the verifier says. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "broker/server.h"

#define REPLAY_BYTES (2u << 20) /* of events in one answer; a single larger one still goes, alone */
#define REPLAY_MAX 512u

int event_add (struct server *s, const struct event_fields *f, uint64_t *seq, struct err *e)
{
    struct msg m = MSG_INIT (event, 0);
    struct msg_event *ev = &m.u.event;
    BUF (body);
    ev->seq = state_seq (s->state) + 1;
    ev->time = (uint64_t) time_now_us ();
    ev->kind = bytes_str (f->kind);
    ev->project = bytes_str (f->project);
    ev->id = f->id;
    ev->step = bytes_str (f->step);
    ev->state = bytes_str (f->state);
    ev->worker = bytes_str (f->worker);
    ev->owner = bytes_str (f->owner);
    ev->digest = f->digest;
    ev->reason = bytes_str (f->reason);
    ev->payload = f->payload;
    msg_encode (&m, &body);
    if (state_event_add (s->state, f->project, buf_bytes (&body), e) == -1)
        return -1;
    if (seq)
        *seq = ev->seq;
    if (s->out_count == s->out_cap)
        s->outs = xrealloc (s->outs, (s->out_cap = s->out_cap ? s->out_cap * 2 : 64) * sizeof *s->outs);
    struct out *o = &s->outs[s->out_count++];
    memset (o, 0, sizeof *o);
    o->publish = true;
    (void) snprintf (o->topic, sizeof o->topic, "%s\n", f->project);
    o->frame = body;
    s->out_bytes += body.len;
    body = (struct buf){ 0 };
    return 0;
}

/* ---- replay ---- */

struct replayed {
    const struct principal *who;
    struct bytes project;
    struct bytes list[REPLAY_MAX];
    struct buf own[REPLAY_MAX];
    size_t n, bytes, limit, passed, pass_max;
    uint64_t next;
};

static int replay_one (void *arg, uint64_t seq, const char *project, struct bytes body)
{
    struct replayed *r = arg;
    if (r->n == r->limit || (r->n && r->bytes + body.len > REPLAY_BYTES))
        return 1;
    if ((r->project.len && !bytes_eqs (r->project, project)) || !may_see (r->who, project)) {
        r->next = seq + 1;
        return ++r->passed >= r->pass_max;
    }
    r->next = seq + 1;
    buf_add (&r->own[r->n], body.p, body.len);
    r->list[r->n] = buf_bytes (&r->own[r->n]);
    r->bytes += body.len;
    r->n++;
    return 0;
}

int on_replay (struct ask *a, struct err *e)
{
    const struct msg_replay *q = &a->m->u.replay;
    size_t *looked = looked_by (a->s, a->peer);
    if (*looked >= LOOK_MAX)
        return err_code (e, EC_BUSY, "%s asks for too much at once", a->sender->name);
    struct replayed *r = xcalloc (1, sizeof *r);
    struct msg m = MSG_INIT (events, a->m->request);
    r->who = a->sender;
    r->project = q->project;
    r->limit = q->limit == 0 || q->limit > REPLAY_MAX ? REPLAY_MAX : (size_t) q->limit;
    r->next = q->from ? q->from : 1;
    r->pass_max = LOOK_MAX - *looked;
    int rc = state_events (a->s->state, r->next, replay_one, r, e);
    *looked += r->passed + r->n;
    if (rc == 0) {
        m.u.events.events = (struct bytes_list){ r->list, r->n };
        m.u.events.last = state_seq (a->s->state);
        m.u.events.next = r->next;
        ask_reply (a, &m);
    }
    for (size_t i = 0; i < r->n; i++)
        buf_release (&r->own[i]);
    free (r);
    return rc;
}

/* ---- subscriptions ---- */

#define TOPICS_MAX (2u << 20) /* bytes of all subscribers' topics: tens of thousands of names */

/* A topic is PROJECT "\n"; "" is everything, "a/" all below a/. A prefix that also matches what the subscriber may not see is refused. */
static bool may_subscribe (const struct principal *p, const char *topic, size_t len)
{
    if (p->roles & ROLE_ADMIN)
        return true;
    for (size_t i = 0; i < p->project_count; i++) {
        const char *own = p->projects[i];
        size_t n = strlen (own);
        if (!strcmp (own, "*"))
            return true;
        if (n > 2 && !strcmp (own + n - 2, "/*") && len >= n - 1 && memcmp (topic, own, n - 1) == 0)
            return true;
        if (len == n + 1 && topic[n] == '\n' && memcmp (topic, own, n) == 0)
            return true;
    }
    return false;
}

/* libzmq keeps each topic of each connection, also those that were refused, some fifty bytes a letter, and tells of them when it goes. What is beyond
 * can only be let go by letting all go: they come back, and what they missed is in the log. */
static void topics_count (struct server *s, const struct net_in *in, const char *who)
{
    size_t cost = in->data.len + 32;
    if (in->data.p[0] == 0) {
        s->topics -= cost < s->topics ? cost : s->topics;
        return;
    }
    s->topics += cost;
    if (s->topics > TOPICS_MAX && !s->rebind) {
        log_warn ("too many topics: all subscribers have to come anew last=%s", who);
        s->rebind = true;
    }
}

void subscriptions (struct server *s)
{
    struct net_in in;
    struct err e = ERR_INIT;
    int got;
    for (int i = 0; i < 1000 && s->xpub && (got = net_recv (s->xpub, &in, &e)) != 0; i++) {
        const struct principal *p = in.has_peer ? roster_by_transport (realm_roster (s->rl), in.peer) : NULL;
        char hex[17];
        hex_encode (in.peer, 8, hex);
        if (got == -1) {
            log_peer (p ? p->name : hex, &e);
            continue;
        }
        if (in.data.len >= 1 && in.data.p[0] <= 1) {
            topics_count (s, &in, p ? p->name : hex);
            const char *topic = (const char *) in.data.p + 1;
            size_t len = in.data.len - 1;
            void *socket = zsock_resolve (s->xpub);
            if (in.data.p[0] == 0)
                zmq_setsockopt (socket, ZMQ_UNSUBSCRIBE, topic, len);
            else if (p && principal_good (p) && len <= 128 && may_subscribe (p, topic, len))
                zmq_setsockopt (socket, ZMQ_SUBSCRIBE, topic, len);
            else {
                err_code (&e, p && principal_good (p) ? EC_NOT_ALLOWED : EC_REVOKED, "a subscription to what it may not see");
                log_peer (p ? p->name : hex, &e);
            }
        } else {
            err_code (&e, EC_UNEXPECTED, "the events' socket takes subscriptions only");
            log_peer (p ? p->name : hex, &e);
        }
        net_in_release (&in);
    }
}

/* A subscription outlives its subscriber's revocation: so the socket is made anew, and all come back through the door. */
int events_rebind (struct server *s, struct err *e)
{
    if (s->xpub) {
        zmq_unbind (zsock_resolve (s->xpub), net_endpoint (s->xpub));
        zsock_destroy (&s->xpub);
    }
    s->topics = 0;
    s->xpub = net_xpub (s->conf.events, &realm_keys (s->rl)->transport, (int) s->conf.event_hwm, e);
    return s->xpub ? 0 : -1;
}

/* ---- the verifier ---- */

static int check_verdict (struct ask *a, const struct msg_verdict *q, struct verdict *v, struct err *e)
{
    struct envelope env = { 0 };
    int rc = envelope_open_json (q->envelope, TYPE_INTOTO, &env, e);
    if (rc == 0)
        rc = envelope_check (&env, a->sender->sign_key, e);
    if (rc == 0)
        rc = verdict_parse (env.body, v, e);
    if (rc == 0 && (strcmp (v->verifier, a->sender->name) || !digest_eq (&v->submission, &q->id) || !bytes_eqs (q->step, v->step)))
        rc = err_code (e, EC_CONFLICT, "the verdict is another verifier's, or of another step");
    envelope_release (&env);
    return rc;
}

int on_verdict (struct ask *a, struct err *e)
{
    const struct msg_verdict *q = &a->m->u.verdict;
    struct verdict v = { 0 };
    struct context c = { 0 };
    if (check_verdict (a, q, &v, e) == -1) {
        verdict_release (&v);
        return -1;
    }
    int rc = context_find (a->s, &q->id, q->step, &c, e);
    if (rc == 0 && (strcmp (v.project, c.sub.project) || strcmp (v.commit, c.sub.commit) || !principal_project (a->sender, bytes_str (c.sub.project))))
        rc = err_code (e, EC_NOT_ALLOWED, "%s has no word on project %s", a->sender->name, c.sub.project);
    /* The same once more: its acknowledgement was lost on the way. */
    bool again = rc == 0 && v.index <= c.step.verdict_index;
    if (rc == 0 && !again) {
        struct step_row *st = &c.step;
        st->verdict_index = v.index;
        bool trusted = !strcmp (v.state, "trusted");
        bool goes_on = trusted && !digest_zero (&q->opening);
        if (v.final || trusted || !blind_box (st->usable.box).len)
            memset (&st->usable, 0, sizeof st->usable);
        if (goes_on) /* without a box: from now on its digest is read */
            st->usable.name = blind_name (&q->id, &q->opening, &v.artifact);
        (void) snprintf (st->state, sizeof st->state, "%s", v.state);
        st->digest = v.artifact;
        st->agree = v.policy.agree;
        st->support = v.support;
        st->dissent = v.against;
        st->votes = v.votes;
        st->trusted_required = v.policy.trusted == POLICY_TRUSTED_REQUIRED;
        (void) snprintf (st->reason, sizeof st->reason, "%s", v.reason ? v.reason : "");
        rc = event_add (a->s, &(struct event_fields){ .kind = "verdict", .project = c.sub.project, .id = c.sub.id, .step = st->name, .state = v.state,
                                                      .digest = v.artifact, .reason = st->reason, .payload = q->envelope }, NULL, e);
        if (rc == 0)
            rc = step_apply (a->s, &c, v.final ? JOB_VERDICT_FINAL : JOB_VERDICT_OPEN, 0, "decided", e);
        if (rc == 0)
            rc = needs_check (a->s, &c.sub, e);
    }
    if (rc == 0) {
        struct msg ok = MSG_INIT (ok, a->m->request);
        if (!again)
            log_info ("verdict id=%02x%02x%02x%02x step=%s state=%s", q->id.b[0], q->id.b[1], q->id.b[2], q->id.b[3], v.step, v.state);
        ask_reply (a, &ok);
    }
    context_release (&c);
    verdict_release (&v);
    return rc;
}

int on_replicate (struct ask *a, struct err *e)
{
    const struct msg_replicate *q = &a->m->u.replicate;
    struct context c = { 0 };
    char reason[256];
    if (!bytes_copy (q->reason, reason, sizeof reason))
        reason[0] = '\0';
    if (context_find (a->s, &q->id, q->step, &c, e) == -1)
        return -1;
    int rc = 0;
    unsigned more = q->more > 64 ? 64 : (unsigned) q->more, before = c.step.job.places;
    if (!principal_project (a->sender, bytes_str (c.sub.project)))
        rc = err_code (e, EC_NOT_ALLOWED, "%s has no word on project %s", a->sender->name, c.sub.project);
    bool trusted = q->trusted != 0, news = trusted && !c.step.want_trusted;
    if (rc == 0) {
        c.step.want_trusted = c.step.want_trusted || trusted;
        rc = step_apply (a->s, &c, JOB_REPLICATE, more, "", e);
    }
    /* The same wish again changes nothing, and is no event. */
    if (rc == 0 && (c.step.job.places > before || news))
        rc = event_add (a->s, &(struct event_fields){ .kind = "replicate", .project = c.sub.project, .id = c.sub.id, .step = c.step.name, .state = c.step.state,
                                                      .reason = reason }, NULL, e);
    if (rc == 0) {
        struct msg ok = MSG_INIT (ok, a->m->request);
        ask_reply (a, &ok);
        a->s->dirty = true;
    }
    context_release (&c);
    return rc;
}

int on_usable (struct ask *a, struct err *e)
{
    const struct msg_usable *q = &a->m->u.usable;
    struct context c = { 0 };
    if (context_find (a->s, &q->id, q->step, &c, e) == -1)
        return -1;
    int rc = 0;
    bool none = digest_zero (&q->name);
    if (!principal_project (a->sender, bytes_str (c.sub.project)))
        rc = err_code (e, EC_NOT_ALLOWED, "%s has no word on project %s", a->sender->name, c.sub.project);
    else if (q->box.len != (none ? 0 : BLIND_BOX))
        rc = err_code (e, EC_MALFORMED, "a box of %zu bytes for a blinded name", q->box.len);
    if (rc == 0 && q->index >= c.step.verdict_index && c.step.job.state != JOB_DECIDED) {
        memset (&c.step.usable, 0, sizeof c.step.usable);
        c.step.usable.name = q->name;
        if (!none)
            memcpy (c.step.usable.box, q->box.p, sizeof c.step.usable.box);
        rc = state_step_put (a->s->state, &c.step, e);
        if (rc == 0)
            rc = needs_check (a->s, &c.sub, e);
    }
    if (rc == 0) {
        struct msg ok = MSG_INIT (ok, a->m->request);
        ask_reply (a, &ok);
    }
    context_release (&c);
    return rc;
}

int on_report (struct ask *a, struct err *e)
{
    const struct msg_report *q = &a->m->u.report;
    struct sub_row sub = { 0 };
    char worker[64], step[64], reason[256];
    int found = digest_zero (&q->id) ? 1 : state_sub_find (a->s->state, &q->id, &sub, e), rc = found == 1 ? 0 : -1; /* none: it is of no submission */
    const struct principal *p = roster_findb (realm_roster (a->s->rl), q->worker);
    if (found == 0)
        err_code (e, EC_NOT_FOUND, "no such submission");
    if (rc == 0 && *sub.project && !principal_project (a->sender, bytes_str (sub.project)))
        rc = err_code (e, EC_NOT_ALLOWED, "%s has no word on project %s", a->sender->name, sub.project);
    if (rc == 0 && (!p || !bytes_copy (q->worker, worker, sizeof worker) || !bytes_copy (q->step, step, sizeof step) || !bytes_copy (q->reason, reason, sizeof reason)))
        rc = err_code (e, EC_NOT_FOUND, "no principal of that name");
    if (rc == 0)
        rc = event_add (a->s, &(struct event_fields){ .kind = "refused", .project = sub.project, .id = q->id, .step = step, .worker = worker, .owner = p->owner, .reason = reason },
                        NULL, e);
    if (rc == 0) {
        struct msg ok = MSG_INIT (ok, a->m->request);
        ask_reply (a, &ok);
    }
    sub_row_release (&sub);
    return rc;
}
