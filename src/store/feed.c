/* feed.c: what the broker's event log tells the store: how long to keep, and what is trusted.
 *
 * The SUB socket only wakes; what counts is read by `replay` from the last sequence number on, so that nothing is missed.
 * The broker is not believed: submissions and verdicts count by their signatures. */
#include "store/server.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "proto/statement.h"

#define ASK_EVERY_MS 500
#define ANSWER_MS 3000
#define BATCH 128
#define REPORT_EVERY_MS 60000
#define LAST_LEASE_US (INT64_C (9) * 86400 * 1000000) /* the longest lease and its grace: one that was given just before the submission expired */

void
events_close (struct server *s)
{
    zsock_destroy (&s->broker);
    zsock_destroy (&s->events);
    s->broker_name[0] = '\0';
    s->asked_request = 0;
}

static void
on_submission (struct server *s, const struct msg_event *ev)
{
    struct envelope v = { 0 };
    struct msg b, step;
    struct err e = ERR_INIT;
    const struct principal *p;
    uint64_t keep = 0;

    if (envelope_open (ev->payload, TYPE_SUBMISSION, &v, &e) == -1)
        return;
    p = roster_by_sign (realm_roster (s->rl), v.keyid);
    if (p != NULL && (p->roles & ROLE_SUBMITTER) && envelope_check (&v, p->sign_key, &e) == 0
        && msg_decode_as (v.body, MSG_submission_body, &b, &e) == 0) {
        struct digest id = envelope_id (&v);
        for (size_t i = 0; i < b.u.submission_body.steps.n; i++)
            if (msg_decode_as (b.u.submission_body.steps.v[i], MSG_step, &step, &e) == 0) {
                keep = step.u.step.keep > keep ? step.u.step.keep : keep;
                msg_release (&step);
            }
        uint64_t expires = b.u.submission_body.expires;
        if (keep > 0 && index_keep (s->index, &id, keep, (int64_t) (expires > INT64_MAX / 2 ? INT64_MAX / 2 : expires) + LAST_LEASE_US, &e) == -1)
            log_error ("%s", e.msg);
        msg_release (&b);
    }
    envelope_release (&v);
}

static int
keep_verdict (struct server *s, const struct verdict *d, struct err *e)
{
    BUF (votes);

    for (size_t i = 0; i < d->count; i++)
        if (d->counts[i].counted)
            buf_addf (&votes, "%s %lld\n", d->counts[i].worker, (long long) d->counts[i].time);
    struct index_said v = { .submission = d->submission, .artifact = d->artifact, .step = d->step, .project = d->project,
                            .trusted = strcmp (d->state, "trusted") == 0, .index = d->index, .votes = buf_str (&votes), .time = d->time };
    return index_verdict (s->index, &v, e);
}

static void
on_verdict (struct server *s, const struct msg_event *ev)
{
    struct envelope v = { 0 };
    struct verdict d = { 0 };
    struct err e = ERR_INIT;
    const struct principal *p;

    if (envelope_open_json (ev->payload, TYPE_INTOTO, &v, &e) == -1)
        goto bad;
    p = roster_by_sign (realm_roster (s->rl), v.keyid);
    if (p == NULL || !(p->roles & ROLE_VERIFIER)) {
        err_code (&e, EC_UNKNOWN_KEY, "signed by none of our verifiers");
        goto bad;
    }
    if (envelope_check (&v, p->sign_key, &e) == -1 || verdict_parse (v.body, &d, &e) == -1)
        goto bad;
    if (!principal_good_at (p, d.time) || !principal_project (p, bytes_str (d.project)))
        err_code (&e, EC_NOT_ALLOWED, "verifier %s has no word on project %s", p->name, d.project);
    else if (keep_verdict (s, &d, &e) == 0) {
        verdict_release (&d);
        envelope_release (&v);
        return;
    }
bad:
    log_warn ("verdict not taken seq=%llu reason=%s", (unsigned long long) ev->seq, e.msg);
    verdict_release (&d);
    envelope_release (&v);
}

static void
on_events (struct server *s, const struct msg_events *list)
{
    struct err e = ERR_INIT;
    uint64_t seq = s->seq;
    struct msg ev;

    if (index_begin (s->index, &e) == -1) {
        log_error ("%s", e.msg);
        return;
    }
    for (size_t i = 0; i < list->events.n; i++) {
        if (msg_decode_as (list->events.v[i], MSG_event, &ev, &e) == -1) {
            log_warn ("event not readable reason=%s", e.msg);
            continue;
        }
        if (ev.u.event.seq > seq) {
            if (bytes_eqs (ev.u.event.kind, "submitted"))
                on_submission (s, &ev.u.event);
            else if (bytes_eqs (ev.u.event.kind, "verdict"))
                on_verdict (s, &ev.u.event);
            seq = ev.u.event.seq;
        }
        msg_release (&ev);
    }
    if (list->next > seq + 1)
        seq = list->next - 1;
    if (index_set_seq (s->index, seq, &e) == -1 || index_end (s->index, &e) == -1) {
        log_error ("%s", e.msg);
        return;
    }
    s->seq = seq;
    s->more = s->more || seq < list->last; /* an event may have come after this answer was made */
}

static void
connect_broker (struct server *s)
{
    const struct principal *p = roster_role (realm_roster (s->rl), ROLE_BROKER, 0);
    struct err e = ERR_INIT;

    if (p == NULL || p->endpoint[0] == '\0')
        return;
    s->broker = net_dealer (p->endpoint, p->transport_key, &realm_keys (s->rl)->transport, 64, &e);
    if (s->broker == NULL) {
        log_warn ("broker %s: %s", p->name, e.msg);
        return;
    }
    strcpy (s->broker_name, p->name);
    if (p->events[0] != '\0' && (s->events = net_sub (p->events, p->transport_key, &realm_keys (s->rl)->transport, 1000, &e)) != NULL)
        zsock_set_subscribe (s->events, "");
    BUF (frame);
    struct msg hello = MSG_INIT (hello, 1);

    hello.u.hello.min_version = hello.u.hello.max_version = PROTO_VERSION;
    hello.u.hello.software = bytes_str ("assay-store");
    msg_encode (&hello, &frame);
    net_send (s->broker, bytes_of (NULL, 0), buf_bytes (&frame), &e);
}

void
events_tick (struct server *s, int64_t mono)
{
    if (s->broker != NULL) {
        const struct principal *p = roster_find (realm_roster (s->rl), s->broker_name);
        if (p == NULL || !principal_good (p))
            events_close (s);
    }
    if (s->broker == NULL)
        connect_broker (s);
    if (s->broker == NULL)
        return;
    if (s->asked_request != 0 && mono - s->asked_at < ANSWER_MS)
        return;
    if (s->asked_request == 0 && !s->more && mono - s->asked_at < ASK_EVERY_MS)
        return;
    static uint64_t request = 1;
    struct msg m = MSG_INIT (replay, ++request);
    struct err e = ERR_INIT;
    BUF (frame);

    m.u.replay.from = s->seq + 1;
    m.u.replay.limit = BATCH;
    msg_encode (&m, &frame);
    s->asked_at = mono;
    s->asked_request = net_send (s->broker, bytes_of (NULL, 0), buf_bytes (&frame), &e) == 0 ? request : 0;
    s->more = false;
}

void
events_ready (struct server *s)
{
    struct net_in in;
    struct err e = ERR_INIT;
    int r;

    while (s->events != NULL && (r = net_recv (s->events, &in, &e)) != 0)
        if (r == 1) {
            net_in_release (&in);
            s->more = true;
        }
    while (s->broker != NULL && (r = net_recv (s->broker, &in, &e)) != 0) {
        struct msg m;
        if (r == -1)
            continue;
        if (msg_decode (in.data, &m, &e) == 0) {
            if (s->asked_request != 0 && m.request == s->asked_request) {
                s->asked_request = 0;
                if (m.type == MSG_events)
                    on_events (s, &m.u.events);
            }
            msg_release (&m);
        }
        net_in_release (&in);
    }
    events_tick (s, time_mono_ms ());
}

/* Whatever else it does in between, so that nothing harmless sent first keeps a report back. */
static bool
report_due (struct server *s, const char *worker, int64_t mono)
{
    size_t n = sizeof s->reported / sizeof *s->reported, slot = 0;

    for (size_t i = 0; i < n; i++) {
        if (strcmp (s->reported[i].worker, worker) == 0) {
            if (mono - s->reported[i].at < REPORT_EVERY_MS)
                return false;
            slot = i;
            break;
        }
        if (s->reported[i].at < s->reported[slot].at)
            slot = i;
    }
    snprintf (s->reported[slot].worker, sizeof s->reported[slot].worker, "%s", worker);
    s->reported[slot].at = mono;
    return true;
}

void
feed_report (struct server *s, const struct digest *submission, struct bytes step, const char *worker, const char *reason)
{
    struct msg m = MSG_INIT (report, 1);
    struct err e = ERR_INIT;
    BUF (frame);

    if (!report_due (s, worker, time_mono_ms ()))
        return;
    m.u.report.id = *submission;
    m.u.report.step = step;
    m.u.report.worker = bytes_str (worker);
    m.u.report.reason = bytes_of (reason, strnlen (reason, 255));
    msg_encode (&m, &frame);
    if (s->broker == NULL || net_send (s->broker, bytes_of (NULL, 0), buf_bytes (&frame), &e) == -1)
        log_debug ("report not sent worker=%s", worker);
}
