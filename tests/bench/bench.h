/* bench.h: what the benches share. A bench prints one line a metric, fields parted by tabs:
 *
 *     metric  ours  limit  unit  target  sense        sense: min (ours / limit >= target is met), max (<= target), or "-": for information
 *
 * The limit is a bare loop over the same libraries that does only what the work cannot do without, between two processes as ours is, measured in
 * turns with ours in the same run; or a fixed figure.
 */
#ifndef ASSAY_BENCH_H
#define ASSAY_BENCH_H

#include <sys/types.h>

#include "auth/realm.h"

extern struct err bench_err;
void bench_die (const char *what);                        /* with bench_err's text */
double now_s (void);
double quantile (double *v, size_t n, double q);          /* sorts */
void line (const char *metric, double ours, double limit, const char *unit, double target, const char *sense);
pid_t bench_daemon (const char *program, const char *dir); /* with --dir DIR; once it says that it is ready. It goes with its parent */
long rss_kib (pid_t pid);
long fd_count (pid_t pid);

/* A process of its own, for the far side of a bare loop: `serve` gets a bound CURVE router and never returns. Call before the first socket is made:
 * a context is not for two processes. It goes with its parent. */
struct far {
    pid_t pid;
    char endpoint[256];
    struct keys server, client;
};
void far_start (struct far *f, void (*serve) (zsock_t *router, void *arg), void *arg);
zsock_t *far_connect (struct far *f);
void far_stop (struct far *f);

#endif
