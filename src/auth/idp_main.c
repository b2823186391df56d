/* assay-idp: who is who. Options, root key, socket, loop. What it answers is idp.c's. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/daemon.h"
#include "auth/idp.h"
#include "auth/realm.h"
#include "base/file.h"
#include "base/log.h"

#define HEAD_EVERY_MS 30000
#define WATCHERS_MAX 65536u
#define WATCH_US (INT64_C (60) * 1000000)
#define TURN 256

struct conf {
    char *listen, *level;
};
static const struct config_row rows[] = {
    { "idp", "listen", CONFIG_STRING, "", 0, 255, offsetof (struct conf, listen), "endpoint to bind; empty: the one that realm.ini tells clients" },
    { "idp", "log", CONFIG_STRING, "info", 0, 16, offsetof (struct conf, level), "error, warn, info or debug" },
    CONFIG_END
};

struct watcher { /* who is told of new entries */
    uint8_t route[256], peer[32];
    size_t route_len;
    uint64_t next;
    int64_t until;
};

struct server {
    struct idp *idp;
    zsock_t *router;
    struct watcher *watchers;
    size_t count;
    int signals;
    uint64_t admitted; /* idp_changes() when the door was last told */
};

static void watch (struct server *s, const struct net_in *in, uint64_t next, int64_t now)
{
    struct watcher *w = NULL;
    for (size_t i = 0; i < s->count && !w; i++)
        if (s->watchers[i].route_len == in->route_len && memcmp (s->watchers[i].route, in->route, in->route_len) == 0)
            w = &s->watchers[i];
    if (!w) {
        if (s->count == WATCHERS_MAX)
            return; /* it asks again by itself */
        if ((s->count & (s->count + 1)) == 0 || s->count == 0)
            s->watchers = xrealloc (s->watchers, (2 * s->count + 2) * sizeof *s->watchers);
        w = &s->watchers[s->count++];
        memcpy (w->route, in->route, in->route_len);
        w->route_len = in->route_len;
    }
    memcpy (w->peer, in->peer, 32);
    w->next = next;
    w->until = now + WATCH_US;
}

static void tell (struct server *s, int64_t now)
{
    for (size_t i = 0; i < s->count; i++) {
        struct watcher *w = &s->watchers[i];
        bool keep = now < w->until && idp_welcome_still (s->idp, w->peer, now);
        if (keep && w->next <= roster_seq (idp_roster (s->idp))) {
            struct err e = ERR_INIT;
            BUF (part);
            idp_part (s->idp, w->next, 0, &part);
            keep = net_answer (s->router, bytes_of (w->route, w->route_len), w->peer, &part, &e) == 0;
            w->next = roster_seq (idp_roster (s->idp)) + 1;
        }
        if (!keep)
            s->watchers[i--] = s->watchers[--s->count];
    }
}

static void admit (struct server *s)
{
    size_t n;
    if (s->admitted == idp_changes (s->idp) + 1)
        return;
    s->admitted = idp_changes (s->idp) + 1;
    uint8_t (*keys)[32] = idp_admitted (s->idp, &n);
    net_admit ((const uint8_t (*)[32]) keys, n);
    free (keys);
}

static void complain (const struct server *s, const struct net_in *in, const struct err *e)
{
    const struct principal *p = in->has_peer ? roster_by_transport (idp_roster (s->idp), in->peer) : NULL;
    char hex[17];
    hex_encode (in->peer, 8, hex);
    log_peer (p ? p->name : hex, e);
}

static void turn (struct server *s)
{
    struct net_in in;
    struct err e = ERR_INIT;
    int got;
    for (int n = 0; n < TURN && (got = net_recv (s->router, &in, &e)) != 0; n++) {
        int64_t now = time_now_us ();
        BUF (answer);
        if (got == -1) {
            struct msg m = MSG_INIT (error, 0);
            m.u.error.code = bytes_str (err_name (e.code));
            m.u.error.text = bytes_str (e.msg);
            msg_encode (&m, &answer);
        } else {
            uint64_t next = idp_handle (s->idp, in.peer, in.data, now, &answer, &e);
            admit (s); /* before the answer: who was just enrolled or given a token comes at once */
            if (next)
                watch (s, &in, next, now);
        }
        if (e.kind != ERR_NONE)
            complain (s, &in, &e);
        struct err lost = ERR_INIT;
        if (in.route_len && net_answer (s->router, bytes_of (in.route, in.route_len), in.peer, &answer, &lost) == -1)
            log_debug ("answer not sent reason=%s", lost.msg);
        if (got == 1)
            net_in_release (&in);
        tell (s, now);
    }
}

static void close_server (void **sp)
{
    struct server *s = *sp;
    if (!s)
        return;
    zsock_destroy (&s->router);
    idp_close (&s->idp);
    free (s->watchers);
    free (s);
    *sp = NULL;
}

static int open_server (void **out, void *conf, const char *dir, int signals, struct err *e)
{
    struct server *s = xcalloc (1, sizeof *s);
    *out = s;
    s->signals = signals;
    if (idp_open (&s->idp, dir, rootkey_ask, e) == 0) {
        const char *own = ((struct conf *) conf)->listen, *listen = *own ? own : idp_endpoint (s->idp);
        admit (s);
        if ((s->router = net_router (listen, &idp_keys (s->idp)->transport, (struct net_room){ 10000, 128, NET_SMALL_MAX }, e))) {
            log_info ("serving endpoint=%s entries=%llu", listen, (unsigned long long) roster_seq (idp_roster (s->idp)));
            return 0;
        }
    }
    close_server (out);
    return -1;
}

static int run_server (void *arg, struct err *e)
{
    struct server *s = arg;
    int64_t head_at = time_mono_ms () + HEAD_EVERY_MS;
    for (bool stop = false; !stop;) {
        zmq_pollitem_t items[2] = { { zsock_resolve (s->router), 0, ZMQ_POLLIN, 0 }, { NULL, s->signals, ZMQ_POLLIN, 0 } };
        int64_t left = head_at - time_mono_ms ();
        if (zmq_poll (items, 2, left > 0 ? (long) left : 0) == -1 && zmq_errno () != EINTR)
            return err_set (e, ERR_FAILED, "poll: %s", zmq_strerror (zmq_errno ()));
        stop = items[1].revents != 0;
        turn (s);
        if (time_mono_ms () >= head_at) {
            struct err own = ERR_INIT;
            if (idp_tick (s->idp, time_now_us (), &own) == -1)
                log_error ("%s", own.msg);
            admit (s);
            head_at = time_mono_ms () + HEAD_EVERY_MS;
        }
    }
    return 0;
}

int main (int argc, char **argv)
{
    static struct conf conf;
    static const struct daemon d = { "assay-idp", "Says who is who: serves the roster of the realm whose root key it has.", "idp.ini", rows, &conf, &conf.level,
                                     open_server, run_server, close_server };
    return daemon_main (&d, argc, argv);
}
