/* relay.h: the only network that a build can have: the git server of its submission, the broker and the store of its realm.
 *
 * In the sandbox's own network namespace, which has nothing but loopback, sockets of ours listen where these services are expected: at
 * their own address if the URL has one, else at an address of 127.77.0.0/16 under their name (/etc/hosts). What connects there is
 * passed on, byte by byte, to the one address that was looked up before the build began. All else fails in that namespace: other names,
 * ports and addresses, IPv6, the host's loopback, link-local.
 *
 *     relay_plan_add (&plan, host, port, realm)        // pure; relay_endpoint parses URLs and endpoints
 *     relay_resolve (&plan, loopback, &e)              // looks the names up, drops what may not be reached; the source is fetched from there too
 *     in the forked child: relay_netns (&plan, fd)     // the namespace and its listeners, sent over fd
 *     relay_start (&r, &plan, fd, &e)                  // takes them; a process of its own passes bytes on
 *     for a VM, which has no network card: relay_start_vm (&r, &plan, fd, uid, &e), and its port over fd (relay_vm_give) once it has started;
 *                                                      // its guest listens likewise, and carries what connects over that port (guest/mux.h)
 *     relay_stop (&r, &counts)                         // ends it: what was let through, and what tried in vain
 */
#ifndef ASSAY_WORKER_RELAY_H
#define ASSAY_WORKER_RELAY_H

#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "base/bytes.h"

#define RELAY_TARGETS 8
#define RELAY_HOST_MAX 253
#define RELAY_DIALS 10000 /* connections of one step, in all: more would be an attack on the services */

struct relay_target {
    char host[RELAY_HOST_MAX + 1];
    uint16_t port;
    bool realm;                  /* named by the roster, which the root key signed: may be anywhere */
    bool named;                  /* the host is a name, not an address */
    bool sought;                 /* it was looked up, once for all */
    struct in_addr inside;       /* where the build finds it */
    struct sockaddr_storage at;  /* where it is */
    socklen_t at_len;            /* 0: not looked up, or not to be reached */
};
struct relay_plan {
    struct relay_target t[RELAY_TARGETS];
    size_t n;
};
struct relay_counts {
    uint64_t passed, failed, refused; /* connections let through; to allowed services that did not answer; attempts elsewhere */
    uint64_t bytes;
    uint64_t dialled;                 /* connections begun; from RELAY_DIALS on they are refused */
    bool claimed;                     /* refused is what a VM's guest says */
    bool cut;                         /* the guest broke the rules */
};

/* Host and port of https://, ssh://, git://, tcp:// URLs and USER@HOST:PATH; an address of IPv6 without its brackets. false: none, or not a plain one. */
bool relay_server (struct bytes url, char host[RELAY_HOST_MAX + 1], uint16_t *port);
/* Likewise, of what can be passed on: no IPv6 literals. */
bool relay_endpoint (struct bytes url, char host[RELAY_HOST_MAX + 1], uint16_t *port);
void relay_plan_add (struct relay_plan *p, const char *host, uint16_t port, bool realm);
/* May a build's git server be there? Not loopback (unless allowed), link-local, multicast, broadcast or nowhere. */
bool relay_address_ok (const struct sockaddr *sa, bool loopback);
/* Looks a target up, the first time; from then on it stays where it was found, or nowhere: a name that means another address a moment later
 * gains nothing. ask: in place of getaddrinfo, for tests; NULL. */
typedef int relay_ask (const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out);
bool relay_find (struct relay_target *t, bool loopback, relay_ask *ask);
int relay_resolve (struct relay_plan *p, bool loopback, struct err *e);
void relay_hosts (const struct relay_plan *p, struct buf *text); /* the sandbox's /etc/hosts */

int relay_netns (const struct relay_plan *p, int fd); /* -1 with errno; async-signal-safe enough for a forked child */
struct relay;
int relay_start (struct relay **r, const struct relay_plan *p, int fd, struct err *e);
int relay_start_vm (struct relay **r, const struct relay_plan *p, int given, uid_t uid, struct err *e); /* uid: whom it runs as; 0: as it is */
void relay_stop (struct relay **r, struct relay_counts *counts);
void relay_text (const struct relay_plan *p, const struct relay_counts *counts, struct buf *text); /* a line for the log */

#endif
