#include "auth/client.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/realm.h"
#include "base/file.h"

#define CLIENT_HWM 4096
#define DENIED_PAUSE_MS 200 /* a service may learn of a new principal a moment after the IDP */

struct client {
    zsock_t *socket;
    void *monitor; /* PAIR: tells of a key that is refused at the door */
    char what[64], endpoint[256];
    uint8_t server[32];
    const struct net_key *key;
    uint64_t last_request;
    uint64_t delay_ms; /* of the last busy */
    int timeout_ms;
};

static void monitor_open (struct client *c)
{
    static _Atomic unsigned serial;
    char name[64];
    int none = 0;
    (void) snprintf (name, sizeof name, "inproc://client-monitor-%u", ++serial);
    if (zmq_socket_monitor (zsock_resolve (c->socket), name, ZMQ_EVENT_HANDSHAKE_FAILED_AUTH) == -1)
        return;
    c->monitor = zmq_socket (zsys_init (), ZMQ_PAIR);
    if (c->monitor && (zmq_setsockopt (c->monitor, ZMQ_LINGER, &none, sizeof none) == -1 || zmq_connect (c->monitor, name) == -1)) {
        zmq_close (c->monitor);
        c->monitor = NULL;
    }
}

static void monitor_close (struct client *c)
{
    if (!c->monitor)
        return;
    zmq_socket_monitor (zsock_resolve (c->socket), NULL, 0);
    zmq_close (c->monitor);
    c->monitor = NULL;
}

static int attach (struct client *c, struct err *e)
{
    c->socket = net_dealer (c->endpoint, c->server, c->key, CLIENT_HWM, e);
    if (!c->socket)
        return -1;
    monitor_open (c);
    return 0;
}

static void detach (struct client *c)
{
    monitor_close (c);
    zsock_destroy (&c->socket);
}

/* 1: an answer waits; 0: time is over; -1: refused at the door. */
static int wait_answer (struct client *c, int timeout_ms)
{
    zmq_pollitem_t items[2] = { { zsock_resolve (c->socket), 0, ZMQ_POLLIN, 0 }, { c->monitor, 0, ZMQ_POLLIN, 0 } };
    if (zmq_poll (items, c->monitor ? 2 : 1, timeout_ms) <= 0)
        return 0;
    return items[0].revents ? 1 : -1;
}

static int nobody (struct client *c, struct err *e, int waited_ms)
{
    return err_set (e, ERR_UNREACHABLE, "no %s at %s after %d.%d s (is it running? is the address right?)", c->what, c->endpoint, waited_ms / 1000,
                    waited_ms % 1000 / 100);
}

static int say_hello (struct client *c, int64_t until, bool *denied, struct err *e)
{
    struct msg m = MSG_INIT (hello, client_request (c));
    struct net_in in;
    int64_t left = until - time_mono_ms ();
    m.u.hello.min_version = m.u.hello.max_version = PROTO_VERSION;
    m.u.hello.software = bytes_str ("assay");
    uint64_t request = m.request;
    if (client_send (c, &m, e) == -1)
        return -1;
    int got = wait_answer (c, left > 0 ? (int) left : 0);
    if (got == -1) {
        *denied = true;
        return err_code (e, EC_UNKNOWN_KEY, "%s at %s does not know this principal's key (revoked? enrolled in another realm?)", c->what, c->endpoint);
    }
    if (got == 0)
        return nobody (c, e, c->timeout_ms);
    if (client_recv (c, request, (int) left, &in, &m, e) == -1)
        return -1;
    int rc = m.type == MSG_welcome && m.u.welcome.version == PROTO_VERSION
                 ? 0 : err_code (e, EC_VERSION, "%s at %s answered hello with %s", c->what, c->endpoint, msg_name (m.type));
    msg_release (&m);
    net_in_release (&in);
    return rc;
}

int client_connect (struct client **out, const char *what, const char *endpoint, const uint8_t server[32], const struct net_key *key, int timeout_ms,
                    struct err *e)
{
    if (sodium_init () == -1)
        return err_set (e, ERR_FAILED, "libsodium cannot start");
    zsys_handler_set (NULL);
    struct client *c = xcalloc (1, sizeof *c);
    (void) snprintf (c->what, sizeof c->what, "%s", what);
    (void) snprintf (c->endpoint, sizeof c->endpoint, "%s", endpoint);
    memcpy (c->server, server, 32);
    c->key = key;
    c->timeout_ms = timeout_ms;
    c->last_request = (uint64_t) randombytes_random () << 8;
    int64_t until = time_mono_ms () + timeout_ms;
    for (;;) {
        bool denied = false;
        if (attach (c, e) == 0 && say_hello (c, until, &denied, e) == 0) {
            monitor_close (c);
            *out = c;
            return 0;
        }
        if (c->socket) {
            zsock_set_linger (c->socket, 0); /* nobody is there to take the hello */
            detach (c);
        }
        if (!denied || time_mono_ms () + DENIED_PAUSE_MS >= until)
            break;
        zclock_sleep (DENIED_PAUSE_MS);
    }
    client_close (&c);
    return -1;
}

static const char *service_name (unsigned role)
{
    switch (role) {
    case ROLE_BROKER:
        return "broker";
    case ROLE_STORE:
        return "store";
    case ROLE_VERIFIER:
        return "verifier";
    case ROLE_IDP:
        return "IDP";
    default:
        return "service";
    }
}

int client_open (struct client **c, struct realm *rl, unsigned role, int timeout_ms, struct err *e)
{
    const struct net_key *key = &realm_keys (rl)->transport;
    if (role == ROLE_IDP)
        return client_connect (c, "IDP", realm_idp (rl), realm_idp_key (rl), key, timeout_ms, e);
    const struct principal *p;
    size_t n = 0;
    while ((p = roster_role (realm_roster (rl), role, n++)))
        if (*p->endpoint)
            return client_connect (c, service_name (role), p->endpoint, p->transport_key, key, timeout_ms, e);
    return err_set (e, ERR_UNREACHABLE, "no %s in the roster (enrol one: `assay token --role %s ...`)", service_name (role), service_name (role));
}

void client_patience (struct client *c, int timeout_ms)
{
    c->timeout_ms = timeout_ms;
}

void client_close (struct client **cp)
{
    struct client *c = *cp;
    if (!c)
        return;
    if (c->socket)
        detach (c);
    free (c);
    *cp = NULL;
}

zsock_t *client_socket (struct client *c)
{
    return c->socket;
}

uint64_t client_request (struct client *c)
{
    return ++c->last_request;
}

int client_send (struct client *c, const struct msg *m, struct err *e)
{
    BUF (frame);
    msg_encode (m, &frame);
    return net_send_take (c->socket, bytes_of (NULL, 0), &frame, e);
}

static enum err_code code_parse (struct bytes name)
{
    for (int i = EC_NONE + 1; i < EC_COUNT; i++)
        if (bytes_eqs (name, err_name ((enum err_code) i)))
            return (enum err_code) i;
    return EC_INTERNAL;
}

int client_recv (struct client *c, uint64_t request, int timeout_ms, struct net_in *in, struct msg *m, struct err *e)
{
    int64_t until = time_mono_ms () + timeout_ms;
    for (;;) {
        int64_t left = until - time_mono_ms ();
        int got = net_recv (c->socket, in, e);
        if (got == -1)
            return err_wrap (e, "%s", c->what);
        if (got == 0) {
            if (left <= 0 || !net_wait (c->socket, (int) left)) {
                if (time_mono_ms () >= until)
                    return nobody (c, e, timeout_ms);
            }
            continue;
        }
        if (msg_decode (in->data, m, e) == -1) {
            net_in_release (in);
            return err_wrap (e, "%s's answer", c->what);
        }
        if (request && m->request != request && !(m->type == MSG_error && m->request == 0)) {
            msg_release (m);
            net_in_release (in);
            continue;
        }
        if (m->type != MSG_error)
            return 0;
        BUF (text);
        text_clean (m->u.error.text, false, &text);
        c->delay_ms = m->u.error.delay_ms;
        err_code (e, code_parse (m->u.error.code), "%s: %s", c->what, buf_str (&text));
        msg_release (m);
        net_in_release (in);
        return -1;
    }
}

int client_ask (struct client *c, struct msg *m, enum msg_type want, struct net_in *in, struct err *e)
{
    struct err own = ERR_INIT, busy = ERR_INIT;
    if (!e)
        e = &own;
    BUF (frame);
    msg_encode (m, &frame);
    uint64_t request = m->request;
    int64_t until = time_mono_ms () + c->timeout_ms;
    for (;;) {
        int64_t left = until - time_mono_ms ();
        if (net_send (c->socket, bytes_of (NULL, 0), buf_bytes (&frame), e) == 0) {
            if (client_recv (c, request, left > 0 ? (int) left : 0, in, m, e) == 0) {
                if (m->type == want)
                    return 0;
                err_code (e, EC_UNEXPECTED, "%s answered with %s instead of %s", c->what, msg_name (m->type), msg_name (want));
                msg_release (m);
                net_in_release (in);
                return -1;
            }
        } else
            c->delay_ms = 50;
        if (e->code != EC_BUSY) {
            if (e->kind == ERR_UNREACHABLE && busy.code)
                *e = busy; /* the time was over between two tries: that it is busy says more */
            return -1;
        }
        busy = *e;
        int64_t pause = c->delay_ms < 20 ? 20 : c->delay_ms > 2000 ? 2000 : (int64_t) c->delay_ms;
        if (time_mono_ms () + pause >= until)
            return -1;
        zclock_sleep ((int) pause);
    }
}
