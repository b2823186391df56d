#include "base/net.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define ZAP_ENDPOINT "inproc://zeromq.zap.01"
#define ZAP_DOMAIN "assay"
#ifndef ZMQ_ZAP_ENFORCE_DOMAIN
#define ZMQ_ZAP_ENFORCE_DOMAIN 93
#endif
#define TAKE_MIN 16384  /* bytes; a smaller frame is copied sooner than handed over */
#define CURVE_MORE 64   /* bytes that encryption adds to a frame, at most: they count */
#define HANDSHAKE_MAX 1024 /* so do the frames of the handshake */
#define NET_PARTS_MAX 8 /* parts of one message that are even looked at */

static pthread_rwlock_t admitted_lock = PTHREAD_RWLOCK_INITIALIZER;
static uint8_t (*admitted)[32]; /* sorted */
static size_t admitted_count;
static zactor_t *zap;

static int key_cmp (const void *a, const void *b)
{
    return memcmp (a, b, 32);
}

void net_admit (const uint8_t (*keys)[32], size_t count)
{
    uint8_t (*copy)[32] = xmalloc (count * 32);
    if (count)
        memcpy (copy, keys, count * 32);
    qsort (copy, count, 32, key_cmp);
    pthread_rwlock_wrlock (&admitted_lock);
    uint8_t (*old)[32] = admitted;
    admitted = copy;
    admitted_count = count;
    pthread_rwlock_unlock (&admitted_lock);
    free (old);
}

static bool is_admitted (const uint8_t key[32])
{
    pthread_rwlock_rdlock (&admitted_lock);
    bool yes = admitted_count && bsearch (key, admitted, admitted_count, 32, key_cmp);
    pthread_rwlock_unlock (&admitted_lock);
    return yes;
}

/* ---- ZAP (RFC 27): version, request id, domain, address, identity, mechanism, credentials ---- */

static void zap_answer (zsock_t *s)
{
    zmsg_t *m = zmsg_recv (s);
    if (!m)
        return;
    zframe_t *f[7] = { NULL };
    size_t n = 0;
    for (zframe_t *at = zmsg_first (m); at && n < 7; at = zmsg_next (m))
        f[n++] = at;
    bool ok = n == 7 && zframe_streq (f[0], "1.0") && zframe_streq (f[2], ZAP_DOMAIN) && zframe_streq (f[5], "CURVE") && zframe_size (f[6]) == 32
              && is_admitted (zframe_data (f[6]));
    char user[65] = "";
    if (ok)
        hex_encode (zframe_data (f[6]), 32, user);
    zmsg_t *r = zmsg_new ();
    zmsg_addstr (r, "1.0");
    if (n > 1)
        zmsg_addmem (r, zframe_data (f[1]), zframe_size (f[1]));
    else
        zmsg_addstr (r, "");
    zmsg_addstr (r, ok ? "200" : "400");
    zmsg_addstr (r, ok ? "OK" : "not in the roster");
    zmsg_addstr (r, user);
    zmsg_addmem (r, "", 0);
    zmsg_destroy (&m);
    zmsg_send (&r, s);
}

static void zap_actor (zsock_t *pipe, void *arg)
{
    zsock_t *s = zsock_new (ZMQ_REP);
    int rc = s ? zsock_bind (s, ZAP_ENDPOINT) : -1;
    (void) arg;
    zsock_signal (pipe, rc == -1 ? 1 : 0);
    zpoller_t *p = zpoller_new (pipe, s, NULL);
    for (;;) {
        void *which = zpoller_wait (p, -1);
        if (which == s && s)
            zap_answer (s);
        else
            break; /* $TERM or the end of the context */
    }
    zpoller_destroy (&p);
    zsock_destroy (&s);
}

int net_start (struct err *e)
{
    zsys_handler_set (NULL);
    if (sodium_init () == -1)
        return err_set (e, ERR_FAILED, "libsodium cannot start");
    if (!zsys_init ())
        return err_set (e, ERR_FAILED, "ZeroMQ cannot start");
    zsys_set_ipv6 (1);
    zap = zactor_new (zap_actor, NULL);
    return zap ? 0 : err_set (e, ERR_FAILED, "the authentication handler cannot start");
}

void net_stop (void)
{
    zactor_destroy (&zap);
    net_admit (NULL, 0);
    pthread_rwlock_wrlock (&admitted_lock);
    free (admitted);
    admitted = NULL;
    pthread_rwlock_unlock (&admitted_lock);
    zsys_shutdown ();
}

/* ---- sockets ---- */

static bool set_int (void *s, int opt, int v)
{
    return zmq_setsockopt (s, opt, &v, sizeof v) == 0;
}

static bool set_key (void *s, int opt, const uint8_t key[32])
{
    return zmq_setsockopt (s, opt, key, 32) == 0;
}

/* No ZMTP heartbeats: libzmq 4.3.4 ends the process (!_io_error) when their timer finds a connection that broke while its input was
 * stopped at the high water mark, and any peer can bring that about. The kernel's keep-alive finds dead peers as well; who waits
 * for an answer has its own deadline, and workers are pinged by messages. */
static zsock_t *net_new (int type, struct net_room room, const struct net_key *key, struct err *e)
{
    zsock_t *z = zsock_new (type);
    if (!z) {
        err_set (e, ERR_FAILED, "no socket: %s", zmq_strerror (zmq_errno ()));
        return NULL;
    }
    void *s = zsock_resolve (z);
    int64_t most = (int64_t) (room.frame < HANDSHAKE_MAX ? HANDSHAKE_MAX : room.frame) + CURVE_MORE;
    bool ok = set_int (s, ZMQ_SNDHWM, room.out) && set_int (s, ZMQ_RCVHWM, room.in) && set_int (s, ZMQ_LINGER, 1000)
              && zmq_setsockopt (s, ZMQ_MAXMSGSIZE, &most, sizeof most) == 0 && set_int (s, ZMQ_HANDSHAKE_IVL, 5000)
              && set_int (s, ZMQ_TCP_KEEPALIVE, 1) && set_int (s, ZMQ_TCP_KEEPALIVE_IDLE, 10) && set_int (s, ZMQ_TCP_KEEPALIVE_INTVL, 5)
              && set_int (s, ZMQ_TCP_KEEPALIVE_CNT, 3)
              && set_int (s, ZMQ_IPV6, 1) && set_key (s, ZMQ_CURVE_SECRETKEY, key->sec) && set_key (s, ZMQ_CURVE_PUBLICKEY, key->pub);
    if (!ok) {
        err_set (e, ERR_FAILED, "a socket option is refused: %s", zmq_strerror (zmq_errno ()));
        zsock_destroy (&z);
    }
    return z;
}

static zsock_t *net_server (int type, const char *endpoint, const struct net_key *key, struct net_room room, struct err *e)
{
    zsock_t *z = net_new (type, room, key, e);
    if (!z)
        return NULL;
    void *s = zsock_resolve (z);
    bool ok = set_int (s, ZMQ_CURVE_SERVER, 1) && zmq_setsockopt (s, ZMQ_ZAP_DOMAIN, ZAP_DOMAIN, strlen (ZAP_DOMAIN)) == 0
              && set_int (s, ZMQ_ZAP_ENFORCE_DOMAIN, 1) && (type != ZMQ_ROUTER || (set_int (s, ZMQ_ROUTER_MANDATORY, 1) && set_int (s, ZMQ_ROUTER_HANDOVER, 0)))
              && (type != ZMQ_XPUB || (set_int (s, ZMQ_XPUB_VERBOSER, 1) && set_int (s, ZMQ_XPUB_MANUAL, 1)));
    if (!ok)
        err_set (e, ERR_FAILED, "a server's socket option is refused: %s", zmq_strerror (zmq_errno ()));
    else if (zmq_bind (s, endpoint) == -1) {
        ok = false;
        err_set (e, ERR_FAILED, "%s: %s (is another service there, or the address not this machine's?)", endpoint, zmq_strerror (zmq_errno ()));
    }
    if (!ok)
        zsock_destroy (&z);
    return z;
}

zsock_t *net_router (const char *endpoint, const struct net_key *key, struct net_room room, struct err *e)
{
    return net_server (ZMQ_ROUTER, endpoint, key, room, e);
}

zsock_t *net_xpub (const char *endpoint, const struct net_key *key, int hwm, struct err *e)
{
    return net_server (ZMQ_XPUB, endpoint, key, (struct net_room){ hwm, 1000, NET_TOPIC_MAX }, e);
}

static zsock_t *net_client (int type, const char *endpoint, const uint8_t server[32], const struct net_key *key, int hwm, struct err *e)
{
    zsock_t *z = net_new (type, (struct net_room){ hwm, hwm, NET_FRAME_MAX }, key, e);
    if (!z)
        return NULL;
    void *s = zsock_resolve (z);
    if (!set_key (s, ZMQ_CURVE_SERVERKEY, server) || !set_int (s, ZMQ_RECONNECT_IVL, 100) || !set_int (s, ZMQ_RECONNECT_IVL_MAX, 2000)
        || zmq_connect (s, endpoint) == -1) {
        err_set (e, ERR_UNREACHABLE, "%s: %s (is the endpoint right?)", endpoint, zmq_strerror (zmq_errno ()));
        zsock_destroy (&z);
    }
    return z;
}

zsock_t *net_dealer (const char *endpoint, const uint8_t server[32], const struct net_key *key, int hwm, struct err *e)
{
    return net_client (ZMQ_DEALER, endpoint, server, key, hwm, e);
}

zsock_t *net_sub (const char *endpoint, const uint8_t server[32], const struct net_key *key, int hwm, struct err *e)
{
    return net_client (ZMQ_SUB, endpoint, server, key, hwm, e);
}

const char *net_endpoint (zsock_t *z)
{
    static __thread char text[256];
    size_t n = sizeof text;
    if (zmq_getsockopt (zsock_resolve (z), ZMQ_LAST_ENDPOINT, text, &n) == -1)
        text[0] = 0;
    return text;
}

/* ---- messages ---- */

static void take_peer (zmq_msg_t *m, struct net_in *in)
{
    const char *user = zmq_msg_gets (m, "User-Id");
    if (user && hex_decode (user, in->peer, 32))
        in->has_peer = true;
}

int net_recv (zsock_t *z, struct net_in *in, struct err *e)
{
    void *s = zsock_resolve (z);
    int type = 0;
    size_t n = sizeof type;
    memset (in, 0, offsetof (struct net_in, frame));
    in->data = bytes_of (NULL, 0);
    zmq_msg_init (&in->frame);
    if (zmq_getsockopt (s, ZMQ_TYPE, &type, &n) == -1)
        return err_set (e, ERR_FAILED, "socket: %s", zmq_strerror (zmq_errno ()));
    unsigned want = type == ZMQ_ROUTER || type == ZMQ_SUB ? 2 : 1, got = 0;
    bool wrong = false;
    for (bool more = true; more; got++) {
        zmq_msg_t part;
        zmq_msg_init (&part);
        if (zmq_msg_recv (&part, s, ZMQ_DONTWAIT) == -1) {
            int why = zmq_errno ();
            zmq_msg_close (&part);
            if (got == 0)
                return why == EAGAIN || why == EINTR ? 0 : err_set (e, ERR_FAILED, "receive: %s", zmq_strerror (why));
            break;
        }
        more = zmq_msg_more (&part);
        if (want == 2 && got == 0) {
            size_t len = zmq_msg_size (&part);
            if (len > sizeof in->route)
                wrong = true;
            else {
                memcpy (in->route, zmq_msg_data (&part), len);
                in->route_len = len;
            }
        } else if (got == want - 1) {
            take_peer (&part, in);
            zmq_msg_move (&in->frame, &part);
        }
        zmq_msg_close (&part);
    }
    if (got != want || wrong) {
        net_in_release (in);
        return err_code (e, EC_OVERSIZED, "%u frames in one message (one is allowed)", got > want ? got - want + 1 : 0);
    }
    in->data = bytes_of (zmq_msg_data (&in->frame), zmq_msg_size (&in->frame));
    return 1;
}

void net_in_release (struct net_in *in)
{
    zmq_msg_close (&in->frame);
    zmq_msg_init (&in->frame);
    in->data = bytes_of (NULL, 0);
}

void net_in_move (struct net_in *to, struct net_in *from)
{
    *to = *from;
    zmq_msg_init (&to->frame);
    zmq_msg_move (&to->frame, &from->frame);
    to->data = bytes_of (zmq_msg_data (&to->frame), zmq_msg_size (&to->frame));
    from->data = bytes_of (NULL, 0);
}

static int not_sent (struct err *e)
{
    switch (zmq_errno ()) {
    case EAGAIN:
        return err_code (e, EC_BUSY, "the peer takes no more messages now");
    case EHOSTUNREACH:
        return err_code (e, EC_NOT_FOUND, "the peer is gone");
    default:
        return err_code (e, EC_INTERNAL, "send: %s", zmq_strerror (zmq_errno ()));
    }
}

int net_send (zsock_t *z, struct bytes route, struct bytes frame, struct err *e)
{
    void *s = zsock_resolve (z);
    if (route.p && zmq_send (s, route.p, route.len, ZMQ_DONTWAIT | ZMQ_SNDMORE) == -1)
        return not_sent (e);
    return zmq_send (s, frame.p ? frame.p : (const uint8_t *) "", frame.len, ZMQ_DONTWAIT) == -1 ? not_sent (e) : 0;
}

static void free_frame (void *data, void *hint)
{
    (void) hint;
    free (data);
}

int net_send_take (zsock_t *z, struct bytes route, struct buf *frame, struct err *e)
{
    void *s = zsock_resolve (z);
    zmq_msg_t m;
    if (frame->len < TAKE_MIN || zmq_msg_init_data (&m, frame->p, frame->len, free_frame, NULL) == -1) {
        int rc = net_send (z, route, buf_bytes (frame), e);
        buf_release (frame);
        return rc;
    }
    *frame = (struct buf){ NULL, 0, 0 };
    if ((!route.p || zmq_send (s, route.p, route.len, ZMQ_DONTWAIT | ZMQ_SNDMORE) != -1) && zmq_msg_send (&m, s, ZMQ_DONTWAIT) != -1)
        return 0;
    int rc = not_sent (e);
    zmq_msg_close (&m);
    return rc;
}

/* ---- what peers have not read ---- */

struct owed { /* of one key; free to be another's when nothing is left. Never moved: libzmq's threads count down in it */
    uint8_t peer[32];
    atomic_size_t bytes;
};
struct counted {
    struct owed *of;
    size_t len;
};
static pthread_mutex_t owed_lock = PTHREAD_MUTEX_INITIALIZER;
static struct owed **owed;
static size_t owed_count;

/* The key's, or with `len` one that is its from now on. */
static struct owed *owed_of (const uint8_t peer[32], size_t len)
{
    struct owed *found = NULL, *unused = NULL;
    pthread_mutex_lock (&owed_lock);
    for (size_t i = 0; i < owed_count && !found; i++)
        if (atomic_load (&owed[i]->bytes) == 0)
            unused = owed[i];
        else if (memcmp (owed[i]->peer, peer, 32) == 0)
            found = owed[i];
    if (!found && len) {
        if (!unused) {
            owed = xrealloc (owed, (owed_count + 1) * sizeof (struct owed *));
            unused = owed[owed_count++] = xcalloc (1, sizeof *unused);
        }
        found = unused;
        memcpy (found->peer, peer, 32);
    }
    if (found)
        atomic_fetch_add (&found->bytes, len);
    pthread_mutex_unlock (&owed_lock);
    return found;
}

static bool owes (const uint8_t peer[32], size_t most)
{
    const struct owed *o = owed_of (peer, 0);
    return o && atomic_load (&o->bytes) >= most;
}

bool net_owes (const uint8_t peer[32])
{
    return owes (peer, NET_OWED_MAX);
}

static void free_counted (void *data, void *hint)
{
    struct counted *c = hint;
    atomic_fetch_sub (&c->of->bytes, c->len);
    free (c);
    free (data);
}

int net_answer (zsock_t *z, struct bytes route, const uint8_t peer[32], struct buf *frame, struct err *e)
{
    void *s = zsock_resolve (z);
    zmq_msg_t m;
    if (owes (peer, 2 * (size_t) NET_OWED_MAX)) { /* what was begun below the limit is ended: a piece left out costs the reader a connection */
        buf_release (frame);
        return err_code (e, EC_BUSY, "the peer does not read what it asked for");
    }
    if (frame->len == 0)
        return net_send_take (z, route, frame, e);
    struct counted *c = xmalloc (sizeof *c);
    c->len = frame->len;
    c->of = owed_of (peer, c->len);
    if (zmq_msg_init_data (&m, frame->p, frame->len, free_counted, c) == -1) {
        free_counted (frame->p, c);
        *frame = (struct buf){ NULL, 0, 0 };
        return err_code (e, EC_INTERNAL, "send: %s", zmq_strerror (zmq_errno ()));
    }
    *frame = (struct buf){ NULL, 0, 0 };
    if (zmq_send (s, route.p, route.len, ZMQ_DONTWAIT | ZMQ_SNDMORE) != -1 && zmq_msg_send (&m, s, ZMQ_DONTWAIT) != -1)
        return 0;
    int rc = not_sent (e);
    zmq_msg_close (&m);
    return rc;
}

bool net_wait (zsock_t *z, int timeout_ms)
{
    zmq_pollitem_t item = { zsock_resolve (z), 0, ZMQ_POLLIN, 0 };
    return zmq_poll (&item, 1, timeout_ms) > 0;
}

int net_signals (struct err *e)
{
    sigset_t set;
    sigemptyset (&set);
    sigaddset (&set, SIGTERM);
    sigaddset (&set, SIGINT);
    sigaddset (&set, SIGHUP);
    signal (SIGPIPE, SIG_IGN);
    if (pthread_sigmask (SIG_BLOCK, &set, NULL) != 0)
        return err_set (e, ERR_FAILED, "signals cannot be blocked");
    int fd = signalfd (-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd == -1 ? err_errno (e, "signalfd") : fd;
}
