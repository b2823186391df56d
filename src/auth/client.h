/* client.h: a request to a service and its answer, for commands: connect, say hello, send, wait.
 *
 *     client_open (&c, rl, ROLE_BROKER, 2000, &e);      // the service's endpoint and key come from the roster
 *     struct msg m = MSG_INIT (submit, client_request (c)); ...
 *     struct net_in in;
 *     if (client_ask (c, &m, MSG_submitted, &in, &e) == 0) { use m; msg_release (&m); net_in_release (&in); }
 *
 * On success of client_recv or client_ask the caller releases both the message and *in; on failure there is nothing to
 * release. One thread only. Errors: ERR_UNREACHABLE when nothing answers in time (it says which endpoint), ERR_DENIED when
 * the service refuses our key at the door, else the kind and code of the service's own `error`, or of a malformed answer.
 */
#ifndef ASSAY_AUTH_CLIENT_H
#define ASSAY_AUTH_CLIENT_H

#include "base/net.h"
#include "proto/msg.h"

struct realm;
struct client;

/* `role` picks the first good principal of that role with an endpoint; ROLE_IDP uses realm.ini. */
int client_open (struct client **c, struct realm *rl, unsigned role, int timeout_ms, struct err *e);
/* The same for an endpoint and key that the caller knows (enrolment). `what` names the service in errors; key is borrowed until client_close. */
int client_connect (struct client **c, const char *what, const char *endpoint, const uint8_t server[32], const struct net_key *key, int timeout_ms,
                    struct err *e);
void client_patience (struct client *c, int timeout_ms);         /* how long client_ask waits, from now on; else as long as opening might take */
void client_close (struct client **c);
zsock_t *client_socket (struct client *c);
uint64_t client_request (struct client *c);                      /* a fresh request id */
int client_send (struct client *c, const struct msg *m, struct err *e);
/* The next answer to `request` (0: any) within the timeout; answers to other requests are dropped. An `error` answer becomes
 * *e with its code and kind; `busy` is retried by client_ask only. */
int client_recv (struct client *c, uint64_t request, int timeout_ms, struct net_in *in, struct msg *m, struct err *e);
/* Send and wait; m is the question and then the answer of type `want` (borrowing from *in; the question's own lists stay the
 * caller's). Retries `busy` until the timeout. */
int client_ask (struct client *c, struct msg *m, enum msg_type want, struct net_in *in, struct err *e);

#endif
