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
#define BROKER_FRAME ((1u << 20) + (256u << 10)) /* nothing that is sent to it is larger than a submission */
#define TURN_BYTES (32u << 20) /* of answers in one transaction */
#define TICK_MS 500

bool may_see (const struct principal *p, const char *project)
{
    return (p->roles & ROLE_ADMIN) || principal_project (p, bytes_str (project));
}

/* Many questions fit into one turn, and each may go through much of what is stored: what one asks must not hold up all. */
size_t *looked_by (struct server *s, const uint8_t peer[32])
{
    size_t i = 0;
    while (i < s->looker_count && memcmp (s->lookers[i].peer, peer, 32))
        i++;
    if (i == LOOKERS)
        i--; /* the last place is for all the rest */
    else if (i == s->looker_count) {
        memcpy (s->lookers[i].peer, peer, 32);
        s->lookers[s->looker_count++].rows = 0;
    }
    return &s->lookers[i].rows;
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

void lease_later (struct server *s, const struct route *to, const struct buf *body, const struct buf *submission, const uint8_t boxes[][BLIND_BOX], size_t n)
{
    struct msg none = MSG_INIT (pong, 0);
    send_later (s, to, &none); /* its place in the order; the frame comes when it is signed */
    struct out *o = &s->outs[s->out_count - 1];
    s->out_bytes += submission->len;
    buf_add (&o->lease, body->p, body->len);
    buf_add (&o->submission, submission->p, submission->len);
    buf_add (&o->boxes, boxes, n * BLIND_BOX);
}

static void sign_one (struct server *s, size_t i)
{
    struct out *o = &s->outs[i];
    struct msg m = MSG_INIT (lease, 0);
    struct bytes boxes[64];
    BUF (raw);
    envelope_sign (TYPE_LEASE, buf_bytes (&o->lease), &realm_keys (s->rl)->sign, &raw);
    m.u.lease.lease = buf_bytes (&raw);
    m.u.lease.submission = buf_bytes (&o->submission);
    m.u.lease.boxes = (struct bytes_list){ boxes, o->boxes.len / BLIND_BOX };
    for (size_t k = 0; k < m.u.lease.boxes.n; k++)
        boxes[k] = blind_box (o->boxes.p + k * BLIND_BOX);
    buf_release (&o->frame);
    msg_encode (&m, &o->frame);
}

void ask_reply (const struct ask *a, const struct msg *m)
{
    send_later (a->s, &a->route, m);
    a->s->outs[a->s->out_count - 1].peer = a->peer;
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
        buf_release (&s->outs[i].frame);
        buf_release (&s->outs[i].lease);
        buf_release (&s->outs[i].submission);
        buf_release (&s->outs[i].boxes);
    }
    s->out_count = from;
    if (from == 0)
        s->out_bytes = 0;
}

static void send_one (struct server *s, struct out *o)
{
    struct err e = ERR_INIT;
    if (o->publish) {
        if (s->xpub && net_send_take (s->xpub, bytes_str (o->topic), &o->frame, &e) == -1)
            log_debug ("an event is not published reason=%s", e.msg);
        return;
    }
    struct bytes to = bytes_of (o->route.id, o->route.len);
    if ((o->peer ? net_answer (s->router, to, o->peer, &o->frame, &e) : net_send_take (s->router, to, &o->frame, &e)) == 0)
        return;
    log_debug ("an answer is not sent reason=%s", e.msg);
    /* A worker that cannot be reached is gone: its leases go elsewhere with the next tick. */
    for (size_t i = 0; i < s->worker_count; i++)
        if (s->workers[i].route.len == o->route.len && memcmp (s->workers[i].route.id, o->route.id, o->route.len) == 0)
            s->workers[i].heard = INT64_MIN / 2;
}

/* Somebody waits for answers and leases: events go out behind them. */
static void flush (struct server *s)
{
    for (int events = 0; events < 2; events++)
        for (size_t i = 0; i < s->out_count; i++)
            if (s->outs[i].publish == (events == 1))
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
    { MSG_verdict, on_verdict, true },    { MSG_replicate, on_replicate, true },  { MSG_usable, on_usable, true },
    { MSG_report, on_report, true },      { MSG_terms, on_terms, false },       { MSG_challenge, on_challenge, true },
};

/* A part of the turn that leaves nothing behind when it fails. */
static int guarded (struct server *s, int (*part) (void *arg, struct err *e), void *arg, struct err *e)
{
    size_t outs = s->out_count;
    state_mark (s->state);
    if (part (arg, e) == 0) {
        state_keep (s->state);
        return 0;
    }
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
            if (a->m->request && net_owes (a->peer))
                return err_code (e, EC_BUSY, "%s does not read what it asked for", a->sender->name);
            return handlers[i].writes ? guarded (a->s, call, &(struct handled){ a, handlers[i].handler }, e) : handlers[i].handler (a, e);
        }
    return err_code (e, EC_UNEXPECTED, "a broker does not take %s", msg_name (a->m->type));
}

/* One message of this turn, taken in and looked at before the transaction begins. */
struct inbox {
    struct net_in in;
    int got;                        /* 1, or -1 for what breaks the framing */
    bool decoded;
    struct err e;
    struct msg m;
    const struct principal *sender, *signer;
};

/* Decode, and check a submission's signature: on any thread. The roster stays as it is meanwhile. */
static void look_at (struct server *s, struct inbox *b)
{
    if (b->got != 1 || !b->sender || !principal_good (b->sender))
        return;
    b->decoded = msg_decode (b->in.data, &b->m, &b->e) == 0;
    if (b->decoded && b->m.type == MSG_submit && (b->sender->roles & ROLE_SUBMITTER))
        b->signer = submission_signer (s, b->m.u.submit.envelope);
}

static void on_message (struct server *s, struct inbox *b)
{
    const struct principal *p = b->sender;
    struct ask a = { .s = s, .peer = b->in.peer, .m = &b->m, .sender = p, .now = time_now_us (), .signer = b->signer };
    struct err *e = &b->e;
    char hex[17];
    int rc = b->got;
    hex_encode (b->in.peer, 8, hex);
    if (b->in.route_len > sizeof a.route.id)
        return;
    memcpy (a.route.id, b->in.route, b->in.route_len);
    a.route.len = b->in.route_len;
    if (rc == 1) {
        if (!p)
            rc = err_code (e, EC_UNKNOWN_KEY, "this key is not in the roster");
        else if (!principal_good (p))
            rc = err_code (e, EC_REVOKED, "%s is revoked", p->name);
        else {
            worker_heard (s, p, &a.route);
            rc = b->decoded ? 0 : -1;
        }
    }
    if (rc == 0)
        rc = dispatch (&a, e);
    if (rc == -1) {
        refuse (s, &a.route, b->decoded ? b->m.request : 0, e);
        /* A connection that is not known after our restart is nobody's fault. */
        if (e->code != EC_BUSY && !(b->decoded && e->code == EC_UNEXPECTED && (b->m.type == MSG_ping || b->m.type == MSG_ready || b->m.type == MSG_terms)))
            log_peer (p ? p->name : hex, e);
    }
}

/* Up to TURN messages, into `coming`. */
static void receive (struct server *s)
{
    size_t n = s->coming_count, bytes = 0;
    for (size_t i = 0; i < n; i++)
        bytes += s->coming[i].in.data.len;
    while (n < TURN && bytes < TURN_BYTES) {
        struct inbox *b = &s->coming[n];
        b->decoded = false;
        b->sender = b->signer = NULL;
        b->e = (struct err) ERR_INIT;
        b->got = net_recv (s->router, &b->in, &b->e);
        if (b->got == 0)
            break;
        if (b->in.has_peer)
            b->sender = roster_by_transport (realm_roster (s->rl), b->in.peer);
        bytes += b->in.data.len;
        n++;
    }
    s->coming_count = n;
}

/* What other threads do meanwhile: leases that go out are signed, and messages that came are looked at. */
struct aside {
    struct server *s;
    size_t *leases, lease_count;
};

static void aside_one (void *arg, size_t i)
{
    struct aside *x = arg;
    if (i < x->lease_count)
        sign_one (x->s, x->leases[i]);
    else
        look_at (x->s, &x->s->coming[i - x->lease_count]);
}

static void aside_start (struct server *s, struct aside *x)
{
    *x = (struct aside){ s, xcalloc (s->out_count, sizeof *x->leases), 0 };
    for (size_t i = 0; i < s->out_count; i++)
        if (s->outs[i].lease.len)
            x->leases[x->lease_count++] = i;
    if (!s->stop)
        receive (s);
    pool_start (s->pool, x->lease_count + s->coming_count, aside_one, x);
}

static void aside_finish (struct server *s, struct aside *x)
{
    pool_finish (s->pool);
    free (x->leases);
}

static void look_at_one (void *arg, size_t i)
{
    struct server *s = arg;
    look_at (s, &s->fresh[i]);
}

/* Those from `first` on. */
static void look_at_rest (struct server *s, size_t first)
{
    s->fresh = s->coming + first;
    pool_run (s->pool, s->coming_count - first, look_at_one, s);
}

/* The next turn's messages: what came before the last one went to the disk, and what came since: the more share a sync, the better. */
static size_t gather (struct server *s)
{
    size_t before = s->coming_count;
    receive (s);
    look_at_rest (s, before);
    size_t n = s->coming_count;
    struct inbox *b = s->inbox;
    s->inbox = s->coming;
    s->coming = b;
    s->coming_count = 0;
    return n;
}

static void take_in (struct server *s, size_t n)
{
    s->looker_count = 0;
    for (size_t i = 0; i < n; i++) {
        struct inbox *b = &s->inbox[i];
        state_trim (s->state);
        /* What would answer more than is good for one turn is told to come again. */
        if (s->out_bytes < TURN_BYTES)
            on_message (s, b);
        else if (b->decoded && b->in.route_len <= sizeof ((struct route *) NULL)->id) {
            struct route to = { .len = b->in.route_len };
            memcpy (to.id, b->in.route, b->in.route_len);
            err_code (&b->e, EC_BUSY, "too much at once");
            refuse (s, &to, b->m.request, &b->e);
        }
        if (b->decoded)
            msg_release (&b->m);
        if (b->got == 1)
            net_in_release (&b->in);
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

static void inbox_drop (struct inbox *b, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (b[i].decoded)
            msg_release (&b[i].m);
        if (b[i].got == 1)
            net_in_release (&b[i].in);
    }
}

static void turn (struct server *s)
{
    struct err e = ERR_INIT;
    bool tick = time_mono_ms () >= s->tick_at;
    size_t n = gather (s);
    take_in (s, n);
    if (tick) {
        s->tick_at = time_mono_ms () + TICK_MS;
        look_at_disk (s);
        s->dirty = true; /* pauses end with time */
        if (guarded (s, part_check, s, &e) == -1)
            log_error ("%s", e.msg);
    }
    if (s->dirty && !s->stop && guarded (s, part_give, s, &e) == -1)
        log_error ("%s", e.msg);
    struct aside x;
    aside_start (s, &x);
    bool kept = state_commit (s->state, &e) == 0;
    aside_finish (s, &x);
    if (kept)
        flush (s);
    else
        turn_failed (s, &e);
}

static void news_of_roster (struct server *s)
{
    uint64_t before = roster_seq (realm_roster (s->rl));
    struct err e = ERR_INIT;
    if (!realm_poll (s->rl))
        return;
    s->dirty = true;
    /* Who sent what waits, and whose signature it bears, is asked of the new roster. */
    for (size_t i = 0; i < s->coming_count; i++) {
        struct inbox *b = &s->coming[i];
        if (b->decoded)
            msg_release (&b->m);
        b->decoded = false;
        b->signer = NULL;
        b->sender = b->in.has_peer ? roster_by_transport (realm_roster (s->rl), b->in.peer) : NULL;
        if (b->got == 1)
            b->e = (struct err) ERR_INIT;
    }
    look_at_rest (s, 0);
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
        if (zmq_poll (items, s->xpub ? 4 : 3, s->dirty || more || s->coming_count || left < 0 ? 0 : (long) left) == -1 && zmq_errno () != EINTR)
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
    turn (s); /* and what arrived meanwhile */
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
    if (!(s->router = net_router (s->conf.listen, &realm_keys (s->rl)->transport, (struct net_room){ 10000, 128, BROKER_FRAME }, e)) || events_rebind (s, e) == -1)
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
    s->inbox = xcalloc (TURN, sizeof *s->inbox);
    s->coming = xcalloc (TURN, sizeof *s->coming);
    s->pool = pool_new (0);
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
    inbox_drop (s->coming, s->coming_count);
    zsock_destroy (&s->router);
    zsock_destroy (&s->xpub);
    state_close (&s->state);
    workers_release (s);
    realm_close (&s->rl);
    free (s->outs);
    free (s->inbox);
    free (s->coming);
    pool_destroy (&s->pool);
    free (s->followers);
    free (s->logs);
    free (s);
    *sp = NULL;
}
