/* sandbox.h: one step in isolation, for the process that runs the step. Drivers behind it: qemu, bwrap, none (sandbox_impl.h).
 *
 *     sandbox_offer (conf, state, ...)      // which of its drivers work here now
 *     sandbox_enter (offered, dir, &e)      // first thing in the step's process, before any thread: a mount namespace of its own
 *     sandbox_choose (conf, offered, ...)   // the driver of this step
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
    const char *image;           /* bwrap: root file system, mounted or unpacked */
    const char *image_dir;       /* qemu: the image's folder (image.h), checked */
    const char *state;           /* the worker's state folder: snapshots */
    uint64_t max_bytes;          /* of artifacts */
    const char *inputs;          /* folder with one folder an input, or NULL */
    const struct conf *conf;     /* the owner's limits */
    const struct msg_step *step; /* command, environment, and limits that may lower the owner's */
    uint64_t source_date;        /* seconds */
    const struct relay_plan *relay; /* resolved: what the build may reach; NULL: no network */
    bool *refused;               /* set where this machine cannot give the isolation after all: no error of the step, and another worker's; or NULL */
    bool trial;                  /* qemu: open runs the null job (vm_null.h), under KVM if its virtual CPU works, whatever came of earlier ones */
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
/* Mask of the drivers that the owner lists and that this machine can give now. 0: none can, and *e says why. What does not change is in the
 * environment, for the processes of the steps, which do not probe again; what is known of KVM is looked at each time (vm_probe.h). *lacking (may be NULL): text of what was listed and is not there. */
unsigned sandbox_offer (const struct conf *conf, const char *state, struct buf *lacking, struct err *e);
int sandbox_probe (unsigned kind, const struct conf *conf, const char *state, struct err *e); /* one driver, listed or not */
int sandbox_enter (unsigned offered, const char *dir, struct err *e);
bool sandbox_relays (unsigned offered); /* one of these drivers can let builds reach the realm's services */
struct sandbox_needs {
    unsigned isolation; /* the weakest that the policies allow, one ISOLATION_* */
    bool bootable;      /* the image has a kernel and a guest of our version: else it boots no VM */
    bool network;       /* the step reaches the realm's services */
    unsigned guest;     /* version of the image's guest, for the reason; 0: none */
};
/* The first of the owner's list that is offered, is strong enough and can do what the step needs. Never a weaker one: 0, and *e says why. */
unsigned sandbox_choose (const struct conf *conf, unsigned offered, const struct sandbox_needs *needs, struct err *e);
int sandbox_open (struct sandbox **box, const struct sandbox_opts *o, struct err *e);
const char *sandbox_src (const struct sandbox *box);
const char *sandbox_out (const struct sandbox *box);
const char *sandbox_accelerator (const struct sandbox *box); /* after the run: "", "kvm", "tcg"; static text */
const char *sandbox_start (const struct sandbox *box);       /* likewise: "", "resumed", "booted" */
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
