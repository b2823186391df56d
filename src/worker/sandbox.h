/* sandbox.h: one step in isolation, for the process that runs the step. Drivers behind it: bwrap, none (sandbox_impl.h).
 *
 *     sandbox_enter (kind, &e)              // first thing in the process, before any thread: a mount namespace of its own
 *     sandbox_open (&box, &opts, &e)        // the work area; then fill sandbox_src (box)
 *     sandbox_run (box, &run, &e)           // 0: the step ran, *run says how it ended; -1: the sandbox broke
 *     collect from sandbox_out (box) and sandbox_src (box), into sandbox_area (box), all on one file system
 *     sandbox_close (&box)                  // everything that ran is dead, everything written is gone
 *
 * It fails closed: where a part of the isolation cannot be had, the call fails and nothing runs.
 */
#ifndef ASSAY_WORKER_SANDBOX_H
#define ASSAY_WORKER_SANDBOX_H

#include "proto/msg.h"
#include "worker/conf.h"
#include "worker/relay.h"

struct sandbox_opts {
    unsigned kind;               /* one ISOLATION_* */
    const char *name;            /* of the step's control group: NAME.box */
    const char *dir;             /* the step's folder */
    const char *image;           /* root file system, mounted or unpacked */
    const char *inputs;          /* folder with one folder an input, or NULL */
    const struct conf *conf;     /* the owner's limits */
    const struct msg_step *step; /* command, environment, and limits that may lower the owner's */
    uint64_t source_date;        /* seconds */
    const struct relay_plan *relay; /* resolved: what the build may reach; NULL: no network */
    void (*log) (void *arg, const void *p, size_t len); /* output as it comes, capped */
    void *arg;
};

struct sandbox_run {
    unsigned exit_status; /* 0..255; 128+N for a signal; 124 at the time limit */
    bool timed_out, out_of_memory, log_cut;
    int64_t frozen_ms;
    struct relay_counts relay;
};

struct sandbox;
int sandbox_probe (unsigned kind, const struct conf *conf, struct err *e); /* can this machine give it? */
bool sandbox_relays (unsigned kind); /* its driver can let builds reach the realm's services */
int sandbox_enter (unsigned kind, const char *dir, struct err *e);
int sandbox_open (struct sandbox **box, const struct sandbox_opts *o, struct err *e);
const char *sandbox_src (const struct sandbox *box);
const char *sandbox_out (const struct sandbox *box);
const char *sandbox_area (const struct sandbox *box);
/* Must be set before the run, both as of time_mono_ms(): when the step's time is over, and when nobody wants its result any more. The
 * first is put off by the time in which the owner had the step frozen; a run that reaches the second by that is broken off, an error. */
void sandbox_deadline (struct sandbox *box, int64_t mono_ms, int64_t end_ms);
int sandbox_run (struct sandbox *box, struct sandbox_run *run, struct err *e);
void sandbox_close (struct sandbox **box);
const char *sandbox_version (unsigned kind); /* "bwrap-0.8.0"; static text after the first call */

/* The limit that holds: the owner's, or the step's where it asks for less. */
int64_t sandbox_limit (int64_t owner, uint64_t step);

#endif
