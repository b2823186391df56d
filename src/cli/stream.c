/* stream.c: following events. Contract: stream.h. Showing them is in event.c, counting verdicts in tracker.c. */
#include "cli/stream.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define BATCH 256
#define CHECK_MS 3000

struct stream {
    struct cli *c;
    struct realm *rl;
    struct client *broker;
    zsock_t *sub;
    char project[128];
    uint64_t next;             /* the first number not yet given out */
    bool refill;               /* something may be missing before the live events */
    int64_t checked;           /* when the broker last answered, monotonic ms */
    int64_t lost;              /* since when it does not; 0 */
    struct net_in batch_in;    /* the answer at hand to replay, and how far it is given out */
    struct msg batch;
    bool batch_held;
    size_t batch_at;
    struct net_in live_in;
    struct msg event;          /* the one given out last */
    bool event_held, live_held;
};

static void drop_event (struct stream *s)
{
    if (s->event_held)
        msg_release (&s->event);
    if (s->live_held)
        net_in_release (&s->live_in);
    s->event_held = s->live_held = false;
}

static void drop_batch (struct stream *s)
{
    if (s->batch_held) {
        msg_release (&s->batch);
        net_in_release (&s->batch_in);
    }
    s->batch_held = false;
}

static void subscribe (zsock_t *sub, const char *topic)
{
    zmq_setsockopt (zsock_resolve (sub), ZMQ_SUBSCRIBE, topic, strlen (topic));
}

/* A subscriber asks for what it may see: a wildcard of the roster becomes the prefix that it means. */
static void subscribe_all (struct stream *s)
{
    const struct principal *self = realm_self (s->rl);
    bool all = !self || (self->roles & ROLE_ADMIN);
    for (size_t i = 0; self && i < self->project_count; i++)
        all = all || strcmp (self->projects[i], "*") == 0;
    if (all) {
        subscribe (s->sub, "");
        return;
    }
    for (size_t i = 0; i < self->project_count; i++) {
        BUF (topic);
        size_t len = strlen (self->projects[i]);
        if (self->projects[i][len - 1] == '*')
            buf_add (&topic, self->projects[i], len - 1);
        else
            buf_addf (&topic, "%s\n", self->projects[i]);
        subscribe (s->sub, buf_str (&topic));
    }
}

static int connect_both (struct stream *s, struct err *e)
{
    if (!s->broker && cli_client (s->c, s->rl, ROLE_BROKER, &s->broker, e) == -1)
        return -1;
    if (s->sub)
        return 0; /* it reconnects by itself */
    const struct principal *broker = roster_role (realm_roster (s->rl), ROLE_BROKER, 0);
    if (!broker || !*broker->events)
        return err_set (e, ERR_UNREACHABLE, "the roster names no events endpoint of a broker (enrol the broker with one)");
    s->sub = net_sub (broker->events, broker->transport_key, &realm_keys (s->rl)->transport, 10000, e);
    if (!s->sub)
        return err_wrap (e, "events at %s", broker->events);
    if (*s->project) {
        BUF (topic);
        buf_addf (&topic, "%s\n", s->project);
        subscribe (s->sub, buf_str (&topic));
    } else
        subscribe_all (s);
    return 0;
}

static int ask_replay (struct stream *s, uint64_t from, uint64_t limit, struct err *e)
{
    drop_batch (s);
    if (connect_both (s, e) == -1)
        return -1;
    s->batch = (struct msg) MSG_INIT (replay, 0);
    s->batch.u.replay.from = from;
    s->batch.u.replay.limit = limit;
    s->batch.u.replay.project = bytes_str (s->project);
    if (client_ask (s->broker, &s->batch, MSG_events, &s->batch_in, e) == -1) {
        if (e->kind == ERR_UNREACHABLE) {
            err_wrap (e, "broker at %s", cli_endpoint (s->rl, ROLE_BROKER));
            client_close (&s->broker);
        }
        return -1;
    }
    s->batch_held = true;
    s->batch_at = 0;
    s->checked = time_mono_ms ();
    s->lost = 0;
    return 0;
}

int stream_open (struct cli *c, struct realm *rl, uint64_t since, const char *project, struct stream **sp, struct err *e)
{
    struct stream *s = xcalloc (1, sizeof *s);
    s->c = c;
    s->rl = rl;
    snprintf (s->project, sizeof s->project, "%s", project ? project : "");
    s->refill = true;
    s->next = since == 0 ? 1 : since;
    *sp = s;
    if (connect_both (s, e) == -1)
        goto fail;
    if (since == STREAM_NEW) {
        if (ask_replay (s, STREAM_NEW >> 1, 1, e) == -1)
            goto fail;
        s->next = s->batch.u.events.last + 1;
        drop_batch (s);
    } else if (ask_replay (s, s->next, BATCH, e) == -1)
        goto fail;
    return 0;
fail:
    stream_close (sp);
    return -1;
}

void stream_close (struct stream **sp)
{
    struct stream *s = *sp;
    if (!s)
        return;
    drop_event (s);
    drop_batch (s);
    zsock_destroy (&s->sub);
    client_close (&s->broker);
    free (s);
    *sp = NULL;
}

struct client *stream_client (struct stream *s)
{
    return s->broker;
}

/* The next of the replayed events: 1; 0 when the batch is used up. */
static int from_batch (struct stream *s, struct err *e)
{
    struct msg_events *b = &s->batch.u.events;
    while (s->batch_at < b->events.n) {
        if (msg_decode_as (b->events.v[s->batch_at++], MSG_event, &s->event, e) == -1)
            return err_wrap (e, "an event of the broker's log");
        s->event_held = true;
        if (s->event.u.event.seq >= s->next) {
            s->next = s->event.u.event.seq + 1;
            return 1;
        }
        drop_event (s);
    }
    bool moved = b->events.n > 0 || b->next > s->next;
    if (b->next > s->next)
        s->next = b->next;
    /* A batch that moved nothing on must not be asked for again at once. */
    s->refill = s->next <= b->last && moved;
    drop_batch (s);
    return 0;
}

/* A live event: 1 to give out; 0 nothing, seen already, or a gap before it (then refill is set). */
static int from_live (struct stream *s)
{
    struct err e = ERR_INIT;
    int n = net_recv (s->sub, &s->live_in, &e);
    if (n <= 0) {
        s->refill = s->refill || n == -1;
        return 0;
    }
    s->live_held = true;
    if (msg_decode_as (s->live_in.data, MSG_event, &s->event, &e) == -1) {
        drop_event (s);
        s->refill = true; /* whatever that was: the log has the truth */
        return 0;
    }
    s->event_held = true;
    uint64_t seq = s->event.u.event.seq;
    if (seq == s->next) {
        s->next++;
        return 1;
    }
    s->refill = s->refill || seq > s->next;
    drop_event (s);
    return 0;
}

int stream_next (struct stream *s, int timeout_ms, const struct msg_event **ev, struct err *e)
{
    int64_t deadline = time_mono_ms () + timeout_ms;
    drop_event (s);
    for (;;) {
        int n = 0;
        if (s->batch_held)
            n = from_batch (s, e);
        else if (s->refill) {
            int64_t now = time_mono_ms ();
            s->refill = false;
            if (ask_replay (s, s->next, BATCH, e) == 0)
                continue;
            if (e->kind != ERR_UNREACHABLE)
                return -1;
            s->refill = true;
            if (!s->lost)
                s->lost = now;
            if (time_mono_ms () - s->lost > STREAM_PATIENCE_MS)
                return -1;
            poll (NULL, 0, 200);
            if (timeout_ms >= 0 && time_mono_ms () >= deadline)
                return 0;
            continue;
        } else
            n = from_live (s);
        if (n == -1)
            return -1;
        if (n == 1) {
            *ev = &s->event.u.event;
            return 1;
        }
        if (s->batch_held || s->refill)
            continue;
        int64_t now = time_mono_ms (), check = s->checked + CHECK_MS;
        if (now >= check) {
            s->refill = true;
            continue;
        }
        if (timeout_ms >= 0 && now >= deadline)
            return 0;
        int64_t until = timeout_ms >= 0 && deadline < check ? deadline : check;
        net_wait (s->sub, (int) (until - now));
    }
}
