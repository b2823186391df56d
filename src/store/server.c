/* server.c: see server.h. */
#include "store/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "store/gc.h"

#define YOUNG_US (INT64_C (3600) * 1000000) /* retention touches nothing younger: steps that need it may still be on their way */
#define TURN 64                             /* messages taken in before the other sockets are looked at */

int
reply (struct server *s, const uint8_t *route, size_t route_len, const struct msg *m)
{
    struct err e = ERR_INIT;
    BUF (frame);

    msg_encode (m, &frame);
    if (net_send_take (s->router, bytes_of (route, route_len), &frame, &e) == -1)
        log_debug ("answer not sent type=%s reason=%s", msg_name (m->type), e.msg);
    return 0; /* a peer that is gone asks again */
}

int
ask_reply (const struct ask *a, struct msg *m)
{
    struct err e = ERR_INIT;
    BUF (frame);

    msg_encode (m, &frame);
    if (net_answer (a->s->router, bytes_of (a->in->route, a->in->route_len), a->in->peer, &frame, &e) == -1)
        log_debug ("answer not sent type=%s reason=%s", msg_name (m->type), e.msg);
    return 0; /* a peer that is gone asks again */
}

void
refuse (struct server *s, const uint8_t *route, size_t route_len, uint64_t request, const struct err *bad)
{
    struct msg m = MSG_INIT (error, request);

    m.u.error.code = bytes_str (err_name (bad->code ? bad->code : EC_INTERNAL));
    m.u.error.text = bytes_str (bad->msg);
    m.u.error.delay_ms = bad->code == EC_BUSY ? 200 : 0;
    reply (s, route, route_len, &m);
}

static int
on_hello (struct ask *a, struct err *e)
{
    struct msg m = MSG_INIT (welcome, a->m->request);
    const struct msg_hello *h = &a->m->u.hello;

    if (h->min_version > PROTO_VERSION || h->max_version < PROTO_VERSION)
        return err_code (e, EC_VERSION, "this store speaks version %d", PROTO_VERSION);
    m.u.welcome.version = PROTO_VERSION;
    m.u.welcome.name = bytes_str (realm_name (a->s->rl));
    m.u.welcome.software = bytes_str ("assay-store");
    m.u.welcome.roster_seq = roster_seq (realm_roster (a->s->rl));
    return ask_reply (a, &m);
}

static int
on_ping (struct ask *a, struct err *e)
{
    struct msg m = MSG_INIT (pong, a->m->request);

    (void) e;
    m.u.pong.time = a->m->u.ping.time;
    return ask_reply (a, &m);
}

static const struct {
    enum msg_type type;
    int (*handler) (struct ask *a, struct err *e);
} handlers[] = {
    { MSG_hello, on_hello },         { MSG_ping, on_ping },         { MSG_put_open, on_put_open }, { MSG_put_chunk, on_put_chunk },
    { MSG_put_done, on_put_done },   { MSG_get_open, on_get_open }, { MSG_get_next, on_get_next }, { MSG_store_list, on_store_list },
    { MSG_name_set, on_name_set },
};

static int
handle (struct ask *a, struct err *e)
{
    for (size_t i = 0; i < sizeof handlers / sizeof *handlers; i++)
        if (handlers[i].type == a->m->type) {
            if (!(msg_senders (a->m->type) & a->sender->roles))
                return err_code (e, EC_NOT_ALLOWED, "%s may not send %s", a->sender->name, msg_name (a->m->type));
            return handlers[i].handler (a, e);
        }
    return err_code (e, EC_UNEXPECTED, "a store does not take %s", msg_name (a->m->type));
}

static void
on_message (struct server *s, struct net_in *in)
{
    const struct principal *p = in->has_peer ? roster_by_transport (realm_roster (s->rl), in->peer) : NULL;
    struct msg m = { 0 };
    struct ask a = { .s = s, .in = in, .m = &m, .sender = p };
    struct err e = ERR_INIT;
    char peer[17];
    int r;

    hex_encode (in->peer, 8, peer);
    if (p == NULL)
        r = err_code (&e, EC_UNKNOWN_KEY, "this key is not in the roster");
    else if (!principal_good (p))
        r = err_code (&e, EC_REVOKED, "%s is revoked", p->name);
    else if ((r = msg_decode (in->data, &m, &e)) == 0) {
        r = handle (&a, &e);
        if (r == -1)
            refuse (s, in->route, in->route_len, m.request, &e);
        msg_release (&m);
        if (r == -1 && e.code != EC_BUSY)
            log_peer (p->name, &e);
        if (r == -1 && e.code == EC_NOT_ALLOWED && (p->roles & ROLE_WORKER))
            feed_report (s, &a.submission, bytes_str (a.step), p->name, e.msg);
        return;
    }
    refuse (s, in->route, in->route_len, 0, &e);
    log_peer (p != NULL ? p->name : peer, &e);
}

static void
router_ready (struct server *s)
{
    struct net_in in;
    struct err e = ERR_INIT;
    int r;

    for (int i = 0; i < TURN && s->queued < QUEUED_MAX && (r = net_recv (s->router, &in, &e)) != 0; i++) {
        if (r == 1) {
            on_message (s, &in);
            net_in_release (&in);
        } else if (in.route_len > 0) {
            refuse (s, in.route, in.route_len, 0, &e);
            char peer[17];
            hex_encode (in.peer, 8, peer);
            log_peer (peer, &e);
        }
    }
}

static void
add_root (void *arg, const struct digest *artifact)
{
    gc_root (arg, artifact);
}

struct unsent {
    struct server *s;
    bool failed;
};

static void
unsent (void *arg, const struct digest *blob)
{
    struct unsent *u = arg;
    struct err e = ERR_INIT;

    if (!u->failed && index_unsent (u->s->index, blob, &e) == -1) {
        u->failed = true;
        log_error ("%s", e.msg);
    }
}

/* That nobody has sent it any more, before it goes; then it goes. */
static int
sweep (struct server *s, struct gc *g, struct err *e)
{
    struct unsent u = { s, false };

    if (index_begin (s->index, e) == -1)
        return -1;
    gc_doomed (g, unsent, &u);
    if (index_end (s->index, e) == -1 || u.failed)
        return u.failed ? err_set (e, ERR_FAILED, "nothing is removed this time") : -1;
    return gc_remove (g, e);
}

static void
collect (struct server *s)
{
    struct err e = ERR_INIT;
    size_t dropped = 0, removed = 0;
    uint64_t bytes = 0;
    struct gc *g;

    if (index_expire (s->index, (uint64_t) s->conf.keep, time_now_us (), YOUNG_US, &dropped, &e) == -1) {
        log_error ("%s", e.msg);
        return;
    }
    g = gc_new (s->cas);
    index_artifacts (s->index, add_root, g);
    for (struct upload *u = s->uploads; u != NULL; u = u->next) {
        gc_blob (g, &u->artifact);
        for (size_t i = 0; i < u->m.n; i++)
            if (u->m.v[i].type == 'f' || u->m.v[i].type == 'x')
                gc_blob (g, &u->m.v[i].digest);
    }
    if (gc_find (g, &removed, &bytes, &e) == -1 || (removed > 0 && sweep (s, g, &e) == -1)) {
        log_error ("sweep: %s", e.msg);
        removed = 0;
    }
    if (dropped + removed > 0)
        log_info ("swept artifacts=%zu blobs=%zu bytes=%llu", dropped, removed, (unsigned long long) bytes);
    gc_destroy (&g);
}

static void
tick (struct server *s, int64_t mono)
{
    if (mono - s->tick_at >= 1000) {
        s->tick_at = mono;
        uploads_tick (s, mono);
        reads_tick (s, mono);
    }
    if (mono - s->gc_at >= s->conf.gc_every) {
        s->gc_at = mono;
        collect (s);
    }
    events_tick (s, mono);
}

int
server_open (struct server **out, const struct store_conf *conf, int signals, struct err *e)
{
    struct server *s = xcalloc (1, sizeof *s);
    CLEANUP (free_ptr) char *state = xasprintf ("%s/state", conf->dir);
    CLEANUP (free_ptr) char *lock = xasprintf ("%s/state/lock", conf->dir);
    CLEANUP (free_ptr) char *index = xasprintf ("%s/state/index.db", conf->dir);

    s->conf = *conf;
    s->signals = signals;
    s->wake = -1;
    pthread_mutex_init (&s->lock, NULL);
    pthread_cond_init (&s->cond, NULL);
    pthread_cond_init (&s->sync_cond, NULL);
    *out = s;
    if (realm_open (&s->rl, conf->dir, e) == -1 || file_mkdirs (state, 0700, e) == -1 || file_lock (lock, e) == -1
        || cas_open (&s->cas, "fs", state, e) == -1 || index_open (&s->index, index, e) == -1 || writer_start (s, e) == -1)
        goto fail;
    s->seq = index_seq (s->index);
    realm_admit (s->rl, ROLE_ANY);
    if (realm_sync_start (s->rl, e) == -1)
        goto fail;
    s->router = net_router (conf->listen, &realm_keys (s->rl)->transport, (struct net_room){ 256, 64, NET_FRAME_MAX }, e);
    if (s->router == NULL)
        goto fail;
    s->gc_at = s->opened_at = time_mono_ms ();
    return 0;
fail:
    server_close (out);
    return -1;
}

int
server_run (struct server *s, struct err *e)
{
    for (;;) {
        short more = s->queued < QUEUED_MAX ? ZMQ_POLLIN : 0; /* full of what is not written yet: the senders wait in their sockets */
        zmq_pollitem_t items[] = {
            { .fd = s->signals, .events = ZMQ_POLLIN },
            { .fd = s->wake, .events = ZMQ_POLLIN },
            { .fd = realm_sync_fd (s->rl), .events = ZMQ_POLLIN },
            { .socket = zsock_resolve (s->router), .events = more },
            { .socket = s->broker ? zsock_resolve (s->broker) : zsock_resolve (s->router), .events = s->broker ? ZMQ_POLLIN : more },
            { .socket = s->events ? zsock_resolve (s->events) : zsock_resolve (s->router), .events = s->events ? ZMQ_POLLIN : more },
        };
        if (zmq_poll (items, sizeof items / sizeof *items, 200) == -1 && errno != EINTR)
            return err_errno (e, "poll");
        if (items[0].revents) {
            struct signalfd_siginfo si;
            if (read (s->signals, &si, sizeof si) == sizeof si && si.ssi_signo != SIGHUP)
                return 0;
        }
        if (items[1].revents)
            uploads_synced (s);
        if (items[2].revents)
            realm_poll (s->rl);
        if (items[3].revents)
            router_ready (s);
        if (items[4].revents || items[5].revents)
            events_ready (s);
        tick (s, time_mono_ms ());
    }
}

void
server_close (struct server **sp)
{
    struct server *s = *sp;

    if (s == NULL)
        return;
    uploads_stop (s);
    events_close (s);
    zsock_destroy (&s->router);
    for (size_t i = 0; i < READS_MAX; i++)
        read_release (&s->reads[i]);
    index_close (&s->index);
    cas_close (&s->cas);
    realm_close (&s->rl);
    pthread_cond_destroy (&s->cond);
    pthread_cond_destroy (&s->sync_cond);
    pthread_mutex_destroy (&s->lock);
    free (s);
    *sp = NULL;
}
