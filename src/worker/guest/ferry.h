/* ferry.h: between the streams of a mux.h and TCP connections of this side: the same at both ends of a VM's relay port.
 *
 *     ferry_init (&f, port, opens)         // port: a non-blocking descriptor, which stays the caller's
 *     for (;;) {
 *         bool full = ferry_poll (&f, p)   // fills p[0] (the port) and p[1 + s] for each stream s; true: the port has to take more
 *         poll (p, FERRY_POLL, ...)
 *         ferry_move (&f, p)               // false: the port is gone or the other side broke the rules (f.m.why), and every connection ended
 *         new streams: ferry_put (&f, s, fd, connecting)
 *     }
 * A connection that is still being made (connecting) is not touched: the caller looks at its poll and says ferry_ready or ferry_drop.
 */
#ifndef ASSAY_WORKER_GUEST_FERRY_H
#define ASSAY_WORKER_GUEST_FERRY_H

#include <poll.h>

#include "worker/guest/mux.h"

#define FERRY_POLL (1 + MUX_STREAMS)

struct ferry {
    int port;
    struct {
        int fd;                /* -1: none */
        bool connecting, read, shut; /* being made; its end was read; it was told of the other side's */
    } c[MUX_STREAMS];
    uint64_t bytes;            /* passed on, both ways */
    struct mux m;
};

void ferry_init (struct ferry *f, int port, bool opens);
bool ferry_poll (struct ferry *f, struct pollfd p[FERRY_POLL]);
bool ferry_move (struct ferry *f, const struct pollfd p[FERRY_POLL]);
void ferry_put (struct ferry *f, unsigned s, int fd, bool connecting);
void ferry_ready (struct ferry *f, unsigned s);
void ferry_drop (struct ferry *f, unsigned s); /* also without a connection: the stream is closed */
void ferry_end (struct ferry *f);              /* every connection */

#endif
