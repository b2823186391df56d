/* server.c: see server.h. */
#include "broker/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

#define TURN 512               /* messages in one transaction */
#define TURN_BYTES (32u << 20) /* of answers in one transaction */
#define TICK_MS 500

bool may_see (const struct principal *p, const char *project)
{
    return (p->roles & ROLE_ADMIN) || principal_project (p, bytes_str (project));
}

/* ---- what goes out ---- */

void send_later (struct server *s, const struct route *to, const struct msg *m)
{
    if (s->out_count == s->out_cap)
        s->outs = xrealloc (s->outs, (s->out_cap = s->out_cap ? s->out_cap * 2 : 64) * sizeof *s->outs);
    struct out *o = &s->outs[s->out_count++];
    memset (o, 0, sizeof *o);
    o->route = *to;
    o->request = m->request;
    msg_encode (m, &o->frame);
    s->out_bytes += o->frame.len;
}

void ask_reply (const struct ask *a, const struct msg *m)
{
    send_later (a->s, &a->route, m);
}

static void refuse (struct server *s, const struct route *to, uint64_t request, const struct err *bad)
{
    struct msg m = MSG_INIT (error, request);
    m.u.error.code = bytes_str (err_name (bad->code ? bad->code : EC_INTERNAL));
    m.u.error.text = bytes_str (bad->msg);
    m.u.error.delay_ms = bad->code == EC_BUSY ? 500 : 0;
    send_later (s, to, &m);
}

static void outs_cut (struct server *s, size_t from)
{
    for (size_t i = from; i < s->out_count; i++) {
        s->out_bytes -= s->outs[i].frame.len;
        buf_release (&s->outs[i].frame);
    }
    s->out_count = from;
}

static void send_one (struct server *s, const struct out *o)
{
    struct err e = ERR_INIT;
    if (o->publish) {
        if (s->xpub && net_send (s->xpub, bytes_str (o->topic), buf_bytes (&o->frame), &e) == -1)
            log_debug ("an event is not published reason=%s", e.msg);
        return;
    }
    if (net_send (s->router, bytes_of (o->route.id, o->route.len), buf_bytes (&o->frame), &e) == 0)
        return;
    log_debug ("an answer is not sent reason=%s", e.msg);
    /* A worker that cannot be reached is gone: its leases go elsewhere with the next tick. */
    for (size_t i = 0; i < s->worker_count; i++)
        if (s->workers[i].route.len == o->route.len && memcmp (s->workers[i].route.id, o->route.id, o->route.len) == 0)
            s->workers[i].heard = INT64_MIN / 2;
}

static void flush (struct server *s)
{
    for (size_t i = 0; i < s->out_count; i++)
        send_one (s, &s->outs[i]);
    outs_cut (s, 0);
}

/* Nothing of the turn is on the disk: say so to all who wait, and have the workers start over. */
static void turn_failed (struct server *s, const struct err *why)
{
    log_error ("a turn is lost: %s", why->msg);
    for (size_t i = 0, n = s->out_count; i < n; i++)
        if (!s->outs[i].publish && s->outs[i].request) {
            struct msg m = MSG_INIT (error, s->outs[i].request);
            BUF (frame);
            m.u.error.code = bytes_str (err_name (EC_INTERNAL));
            m.u.error.text = bytes_str ("the broker cannot write its state (its disk may be full); nothing was changed");
            msg_encode (&m, &frame);
            struct err e = ERR_INIT;
            (void) net_send (s->router, bytes_of (s->outs[i].route.id, s->outs[i].route.len), buf_bytes (&frame), &e);
        }
    outs_cut (s, 0);
    workers_release (s);
}

/* ---- what comes in ---- */

static int on_hello (struct ask *a, struct err *e)
{
    const struct msg_hello *h = &a->m->u.hello;
    struct msg m = MSG_INIT (welcome, a->m->request);
    if (h->min_version > PROTO_VERSION || h->max_version < PROTO_VERSION)
        return err_code (e, EC_VERSION, "this broker speaks version %d", PROTO_VERSION);
    if (a->sender->roles & ROLE_WORKER)
        worker_hello (a);
    m.u.welcome.version = PROTO_VERSION;
    m.u.welcome.name = bytes_str (realm_name (a->s->rl));
    m.u.welcome.software = bytes_str ("assay-broker");
    m.u.welcome.roster_seq = roster_seq (realm_roster (a->s->rl));
    ask_reply (a, &m);
    return 0;
}

static int on_ping (struct ask *a, struct err *e)
{
    struct msg m = MSG_INIT (pong, a->m->request);
    if ((a->sender->roles & ROLE_WORKER) && !worker_on (a->s, a->sender->name, &a->route))
        return err_code (e, EC_UNEXPECTED, "say hello first: this connection of %s is not known", a->sender->name);
    m.u.pong.time = a->m->u.ping.time;
    ask_reply (a, &m);
    return 0;
}

static const struct {
    enum msg_type type;
    int (*handler) (struct ask *a, struct err *e);
    bool writes;
} handlers[] = {
    { MSG_hello, on_hello, false },       { MSG_ping, on_ping, false },           { MSG_submit, on_submit, true },
    { MSG_cancel, on_cancel, true },      { MSG_retry, on_retry, true },          { MSG_status_get, on_status_get, false },
    { MSG_log_get, on_log_get, false },   { MSG_submission_get, on_submission_get, false }, { MSG_ready, on_ready, false },
    { MSG_decline, on_decline, true },    { MSG_log, on_log, false },             { MSG_result, on_result, true },
    { MSG_handback, on_handback, true },  { MSG_holding, on_holding, true },      { MSG_replay, on_replay, false },
    { MSG_verdict, on_verdict, true },    { MSG_replicate, on_replicate, true },
};

/* A part of the turn that leaves nothing behind when it fails. */
static int guarded (struct server *s, int (*part) (void *arg, struct err *e), void *arg, struct err *e)
{
    size_t outs = s->out_count;
    if (state_mark (s->state, e) == -1)
        return -1;
    if (part (arg, e) == 0)
        return state_keep (s->state, e);
    state_undo (s->state);
    outs_cut (s, outs);
    return -1;
}

struct handled {
    struct ask *a;
    int (*handler) (struct ask *a, struct err *e);
};

static int call (void *arg, struct err *e)
{
    struct handled *h = arg;
    return h->handler (h->a, e);
}

static int dispatch (struct ask *a, struct err *e)
{
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++)
        if (handlers[i].type == a->m->type) {
            if (!(msg_senders (a->m->type) & a->sender->roles))
                return err_code (e, EC_NOT_ALLOWED, "%s may not send %s", a->sender->name, msg_name (a->m->type));
            return handlers[i].writes ? guarded (a->s, call, &(struct handled){ a, handlers[i].handler }, e) : handlers[i].handler (a, e);
        }
    return err_code (e, EC_UNEXPECTED, "a broker does not take %s", msg_name (a->m->type));
}

static void on_message (struct server *s, struct net_in *in, int got, struct err *e)
{
    const struct principal *p = in->has_peer ? roster_by_transport (realm_roster (s->rl), in->peer) : NULL;
    struct msg m = { 0 };
    struct ask a = { .s = s, .peer = in->peer, .m = &m, .sender = p, .now = time_now_us () };
    char hex[17];
    bool decoded = false;
    hex_encode (in->peer, 8, hex);
    if (in->route_len > sizeof a.route.id)
        return;
    memcpy (a.route.id, in->route, in->route_len);
    a.route.len = in->route_len;
    int rc = got;
    if (rc == 1) {
        if (!p)
            rc = err_code (e, EC_UNKNOWN_KEY, "this key is not in the roster");
        else if (!principal_good (p))
            rc = err_code (e, EC_REVOKED, "%s is revoked", p->name);
        else {
            worker_heard (s, p, &a.route);
            rc = msg_decode (in->data, &m, e);
            decoded = rc == 0;
        }
    }
    if (rc == 0)
        rc = dispatch (&a, e);
    if (rc == -1) {
        refuse (s, &a.route, decoded ? m.request : 0, e);
        /* A connection that is not known after our restart is nobody's fault. */
        if (e->code != EC_BUSY && !(decoded && e->code == EC_UNEXPECTED && (m.type == MSG_ping || m.type == MSG_ready)))
            log_peer (p ? p->name : hex, e);
    }
    if (decoded)
        msg_release (&m);
}

static void take_in (struct server *s)
{
    for (int i = 0; i < TURN && s->out_bytes < TURN_BYTES; i++) {
        struct net_in in;
        struct err e = ERR_INIT;
        int got = net_recv (s->router, &in, &e);
        if (got == 0)
            return;
        on_message (s, &in, got, &e);
        if (got == 1)
            net_in_release (&in);
        if (state_broken (s->state))
            return;
    }
}

/* ---- the turn ---- */

static int part_check (void *arg, struct err *e)
{
    return leases_check (arg, e) == -1 ? -1 : steps_expire (arg, e);
}

static int part_give (void *arg, struct err *e)
{
    return leases_give (arg, e);
}

static void look_at_disk (struct server *s)
{
    struct statvfs v;
    bool room = statvfs (s->logs, &v) == -1 || (int64_t) (v.f_bavail * v.f_frsize) > s->conf.free_floor;
    if (room != s->room)
        log_warn (room ? "there is room on the disk again" : "the disk is nearly full: no submissions are taken");
    s->room = room;
}

static void turn (struct server *s)
{
    struct err e = ERR_INIT;
    bool tick = time_mono_ms () >= s->tick_at;
    if (state_begin (s->state, &e) == -1) {
        turn_failed (s, &e);
        zclock_sleep (100);
        return;
    }
    take_in (s);
    if (tick && !state_broken (s->state)) {
        s->tick_at = time_mono_ms () + TICK_MS;
        look_at_disk (s);
        s->dirty = true; /* pauses end with time */
        if (guarded (s, part_check, s, &e) == -1)
            log_error ("%s", e.msg);
    }
    if (s->dirty && !s->stop && !state_broken (s->state) && guarded (s, part_give, s, &e) == -1)
        log_error ("%s", e.msg);
    if (state_broken (s->state)) {
        if (e.kind == ERR_NONE)
            err_code (&e, EC_INTERNAL, "the database gave up");
        state_rollback (s->state);
        turn_failed (s, &e);
    } else if (state_commit (s->state, &e) == -1)
        turn_failed (s, &e);
    else
        flush (s);
}

static void news_of_roster (struct server *s)
{
    uint64_t before = roster_seq (realm_roster (s->rl));
    struct err e = ERR_INIT;
    if (!realm_poll (s->rl))
        return;
    s->dirty = true;
    for (size_t i = 0; i < roster_count (realm_roster (s->rl)); i++)
        if (roster_at (realm_roster (s->rl), i)->revoked_seq > before)
            s->rebind = true;
    s->tick_at = 0; /* revoked workers lose their leases at once */
    if (s->rebind && events_rebind (s, &e) == -1)
        log_warn ("events: %s (trying again)", e.msg);
    else
        s->rebind = false;
}

int server_run (struct server *s, struct err *e)
{
    bool more = false;
    while (!s->stop) {
        zmq_pollitem_t items[4] = { { zsock_resolve (s->router), 0, ZMQ_POLLIN, 0 }, { NULL, s->signals, ZMQ_POLLIN, 0 },
                                    { NULL, realm_sync_fd (s->rl), ZMQ_POLLIN, 0 }, { s->xpub ? zsock_resolve (s->xpub) : NULL, 0, ZMQ_POLLIN, 0 } };
        int64_t left = s->tick_at - time_mono_ms ();
        if (zmq_poll (items, s->xpub ? 4 : 3, s->dirty || more || left < 0 ? 0 : (long) left) == -1 && zmq_errno () != EINTR)
            return err_set (e, ERR_FAILED, "poll: %s", zmq_strerror (zmq_errno ()));
        if (items[1].revents) {
            struct signalfd_siginfo si;
            if (read (s->signals, &si, sizeof si) == sizeof si && si.ssi_signo != SIGHUP)
                s->stop = true; /* one more turn, without new leases, for what has arrived */
        }
        news_of_roster (s);
        if (s->rebind)
            s->rebind = events_rebind (s, e) == -1;
        subscriptions (s);
        turn (s);
        more = logs_pump (s);
    }
    return 0;
}

/* ---- life ---- */

static int open_all (struct server *s, const char *dir, struct err *e)
{
    char *state CLEANUP (free_ptr) = xasprintf ("%s/state", dir), *lock CLEANUP (free_ptr) = xasprintf ("%s/state/lock", dir);
    s->logs = xasprintf ("%s/state/logs", dir);
    if (realm_open (&s->rl, dir, e) == -1)
        return -1;
    const struct principal *self = realm_self (s->rl);
    if (!self || !(self->roles & ROLE_BROKER))
        return err_set (e, ERR_DENIED, "%s: %s is no broker in the roster (`assay token --role broker` makes one)", dir, realm_name (s->rl));
    if (!*s->conf.listen || !*s->conf.events)
        return err_set (e, ERR_USAGE, "%s/broker.ini: [broker] listen and events are needed", dir);
    if (file_mkdirs (s->logs, 0700, e) == -1 || file_lock (lock, e) == -1 || state_open (&s->state, s->conf.state, state, e) == -1)
        return -1;
    realm_admit (s->rl, ROLE_ANY);
    if (!(s->router = net_router (s->conf.listen, &realm_keys (s->rl)->transport, 10000, e)) || events_rebind (s, e) == -1)
        return -1;
    return realm_sync_start (s->rl, e);
}

int server_open (struct server **out, const struct broker_conf *conf, const char *dir, int signals, struct err *e)
{
    struct server *s = xcalloc (1, sizeof *s);
    s->conf = *conf;
    s->signals = signals;
    s->started = time_mono_ms ();
    s->room = s->dirty = true;
    s->cursor = (struct cursor){ INT64_MIN, 0 };
    if (open_all (s, dir, e) == -1) {
        server_close (&s);
        return -1;
    }
    log_info ("serving endpoint=%s events=%s open-steps=%lld last-event=%llu", conf->listen, conf->events, (long long) state_open_steps (s->state),
              (unsigned long long) state_seq (s->state));
    *out = s;
    return 0;
}

void server_close (struct server **sp)
{
    struct server *s = *sp;
    if (!s)
        return;
    outs_cut (s, 0);
    zsock_destroy (&s->router);
    zsock_destroy (&s->xpub);
    state_close (&s->state);
    workers_release (s);
    realm_close (&s->rl);
    free (s->outs);
    free (s->followers);
    free (s->logs);
    free (s);
    *sp = NULL;
}
