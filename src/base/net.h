/* net.h: CURVE sockets set up the one right way, and who sent what.
 *
 * Every socket gets: CURVE, MAXMSGSIZE, HWM, LINGER, ROUTER_MANDATORY (routers), TCP keep-alive, handshake limit, IPv6. A server
 * fails closed: net_start() runs the ZAP handler before the first bind, every server socket has a ZAP domain and
 * ZMQ_ZAP_ENFORCE_DOMAIN, and the handler admits only keys that are in the set that net_admit() last installed.
 * One assay message is one frame; a ROUTER's message is [routing id][frame], a PUB's is [topic][frame].
 *
 * The peer's identity is the User-Id that the ZAP handler attached: its transport key. It is read per message, and must be
 * looked up in the roster per message, as a handshake outlives a revocation.
 *
 * Threads: net_start/net_stop once a process; net_admit from any thread. Sockets belong to one thread.
 */
#ifndef ASSAY_BASE_NET_H
#define ASSAY_BASE_NET_H

#include <czmq.h>

#include "base/bytes.h"

#define NET_FRAME_MAX (4u << 20) /* bytes; the largest message of the protocol with room to spare */

#define NET_SMALL_MAX (64u << 10) /* for services that are asked small questions only */
#define NET_TOPIC_MAX 256u        /* a subscription; what a handshake needs, about 1 KiB, is taken in any case */
#define NET_OWED_MAX (96u << 20)

struct net_key {         /* one CURVE key pair, raw */
    uint8_t pub[32];
    uint8_t *sec;        /* 32 bytes in locked memory, owned by its loader */
};

int net_start (struct err *e); /* blocks signals' default handling in czmq, starts ZAP (admitting nobody) */
void net_stop (void);
/* Install the set of transport keys admitted at handshakes (copied). With `tokens`, further keys admitted (enrolment). */
void net_admit (const uint8_t (*keys)[32], size_t count);

/* Of each connection: messages that wait to go out and to be read, and the largest that is taken in, in bytes: what is larger closes it. in * frame
 * is what a peer can have a server keep that does not get to reading, before it waits in the peer's own buffers. */
struct net_room {
    int out, in;
    size_t frame;
};
/* hwm: messages each way, of up to NET_FRAME_MAX. endpoint "tcp://127.0.0.1:*" picks a port; net_endpoint() tells the real one. */
zsock_t *net_router (const char *endpoint, const struct net_key *key, struct net_room room, struct err *e);
zsock_t *net_xpub (const char *endpoint, const struct net_key *key, int hwm, struct err *e); /* XPUB_MANUAL, verbose; takes in nothing but topics */
zsock_t *net_dealer (const char *endpoint, const uint8_t server[32], const struct net_key *key, int hwm, struct err *e);
zsock_t *net_sub (const char *endpoint, const uint8_t server[32], const struct net_key *key, int hwm, struct err *e);
const char *net_endpoint (zsock_t *s);

struct net_in {          /* one received message; net_in_release when done */
    uint8_t route[256];  /* ROUTER: routing id; XPUB: none; SUB: topic */
    size_t route_len;
    uint8_t peer[32];    /* transport key of the sender (servers) */
    bool has_peer;
    zmq_msg_t frame;
    struct bytes data;   /* the frame's bytes, borrowed from `frame` */
};
/* Receive without blocking. 1: got one; 0: nothing there; -1: a message that breaks the framing (wrong count of parts,
 * too large), already dropped, with EC_* in *e and route/peer filled so that it can be answered and counted. */
int net_recv (zsock_t *s, struct net_in *in, struct err *e);
void net_in_release (struct net_in *in);
void net_in_move (struct net_in *to, struct net_in *from); /* from is as after a release; `to` was none */
/* Send one frame without blocking; route is the ROUTER's id or the PUB's topic, else none. 0; -1 with EC_BUSY at the HWM, EC_NOT_FOUND when the peer is gone. */
int net_send (zsock_t *s, struct bytes route, struct bytes frame, struct err *e);
/* The same, of a buffer that is the socket's from here on, also on failure: large ones go out without being copied. */
int net_send_take (zsock_t *s, struct bytes route, struct buf *frame, struct err *e);
/* A router's answer to a peer: as net_send_take, and counted. High water marks count messages, and an answer may have megabytes: so of all that goes to
 * one key, over all its connections, at most NET_OWED_MAX waits for it to read: beyond, net_owes says so, and nothing new is begun for it. EC_BUSY at twice that, whatever it is. */
int net_answer (zsock_t *s, struct bytes route, const uint8_t peer[32], struct buf *frame, struct err *e);
bool net_owes (const uint8_t peer[32]);
/* Wait until readable or timeout (ms, -1 for ever). true: readable. */
bool net_wait (zsock_t *s, int timeout_ms);

/* A signalfd for SIGTERM, SIGINT and SIGHUP, which are blocked in all threads from here on; call first in main(). */
int net_signals (struct err *e);

#endif
