/* assay-idp: who is who. Options, root key, socket, loop. What it answers is idp.c's. */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "auth/idp.h"
#include "auth/realm.h"
#include "base/config.h"
#include "base/file.h"
#include "base/log.h"

#define HEAD_EVERY_MS 30000
#define WATCHERS_MAX 65536u
#define WATCH_US (INT64_C (60) * 1000000)
#define TURN 256

struct conf {
    char *listen;
};
static const struct config_row rows[] = {
    { "idp", "listen", CONFIG_STRING, "", 0, 255, offsetof (struct conf, listen), "endpoint to bind; empty: the one that realm.ini tells clients" },
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
            keep = net_send (s->router, bytes_of (w->route, w->route_len), buf_bytes (&part), &e) == 0;
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
        if (in.route_len && net_send (s->router, bytes_of (in.route, in.route_len), buf_bytes (&answer), &lost) == -1)
            log_debug ("answer not sent reason=%s", lost.msg);
        if (got == 1)
            net_in_release (&in);
        tell (s, now);
    }
}

static int serve (const char *dir, const struct conf *conf, int signals)
{
    struct server s = { 0 };
    struct err e = ERR_INIT;
    int status = 0;
    const char *listen = "";
    if (net_start (&e) == -1 || idp_open (&s.idp, dir, rootkey_ask, &e) == -1)
        goto failed;
    admit (&s);
    listen = *conf->listen ? conf->listen : idp_endpoint (s.idp);
    if (!(s.router = net_router (listen, &idp_keys (s.idp)->transport, 10000, &e)))
        goto failed;
    log_info ("serving endpoint=%s entries=%llu", listen, (unsigned long long) roster_seq (idp_roster (s.idp)));
    printf ("ready\n");
    fflush (stdout);
    sd_notify (0, "READY=1");
    int64_t head_at = time_mono_ms () + HEAD_EVERY_MS;
    for (bool stop = false; !stop;) {
        zmq_pollitem_t items[2] = { { zsock_resolve (s.router), 0, ZMQ_POLLIN, 0 }, { NULL, signals, ZMQ_POLLIN, 0 } };
        int64_t left = head_at - time_mono_ms ();
        (void) zmq_poll (items, 2, left > 0 ? (long) left : 0);
        stop = items[1].revents != 0;
        turn (&s);
        if (time_mono_ms () >= head_at) {
            if (idp_tick (s.idp, time_now_us (), &e) == -1)
                log_error ("%s", e.msg);
            admit (&s);
            head_at = time_mono_ms () + HEAD_EVERY_MS;
        }
    }
    sd_notify (0, "STOPPING=1");
    log_info ("stopped");
    goto out;
failed:
    fprintf (stderr, "assay-idp: %s\n", e.msg);
    status = e.kind ? (int) e.kind : 1;
out:
    zsock_destroy (&s.router);
    idp_close (&s.idp);
    free (s.watchers);
    net_stop ();
    return status;
}

static int usage (FILE *to)
{
    fprintf (to, "usage: assay-idp [--dir DIR] [--check-config] [--help-config] [--version]\n"
                 "Serves the roster of the realm whose root key is in DIR (else $ASSAY_DIR, else ~/.config/assay).\n");
    return to == stdout ? 0 : ERR_USAGE;
}

int main (int argc, char **argv)
{
    static const struct option options[] = {
        { "dir", required_argument, NULL, 'd' }, { "check-config", no_argument, NULL, 'c' }, { "help-config", no_argument, NULL, 'C' },
        { "help", no_argument, NULL, 'h' },      { "version", no_argument, NULL, 'V' },      { NULL, 0, NULL, 0 },
    };
    const char *option = NULL;
    bool check = false;
    struct err e = ERR_INIT;
    struct conf conf;
    log_open ("assay-idp", LOG_LEVEL_INFO);
    for (int o; (o = getopt_long (argc, argv, "h", options, NULL)) != -1;)
        switch (o) {
        case 'd':
            option = optarg;
            break;
        case 'c':
            check = true;
            break;
        case 'C':
            config_help (rows);
            return 0;
        case 'V':
            printf ("assay-idp %s\n", PACKAGE_VERSION);
            return 0;
        default:
            return usage (o == 'h' ? stdout : stderr);
        }
    if (optind != argc)
        return usage (stderr);
    const char *dir = realm_default_dir (option);
    char *ini = xasprintf ("%s/idp.ini", dir);
    int status, signals = net_signals (&e);
    config_defaults (rows, &conf);
    if (signals == -1 || config_load (rows, &conf, ini, false, &e) == -1) {
        fprintf (stderr, "assay-idp: %s\n", e.msg);
        status = (int) e.kind;
    } else
        status = check ? 0 : serve (dir, &conf, signals);
    config_release (rows, &conf);
    fd_close (&signals);
    free (ini);
    free ((char *) (uintptr_t) dir);
    return status;
}
