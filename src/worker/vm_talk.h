/* vm_talk.h: the host's side of a VM's ports (guest/wire.h). Each byte from the guest is hostile: records are small and strict, the first
 * result is the last word, and the console is a tail of a few hundred bytes for an error's text.
 *
 *     struct talk t; talk_init (&t, &vm, log_fd, group);
 *     talk_ready (&t, until, &e)                   // a guest that boots: waits for its ready
 *     talk_go (&t, left_ms, &e)                    // seed, time, and how long the step may take
 *     talk_started (&t, until, &e)                 // the guest has it
 *     talk_follow (&t, more_ms, &end, &e)          // log to log_fd until the result: 0; 1: the step's time and more_ms were over first;
 *                                                  // -1: the guest broke
 *     talk_release (&t)
 * Times are time_mono_ms(); what the control group `group` is frozen for is added to them. The step's own time is kept here from go on: a guest
 * that asks is told what is left of it, and each is told when it is over.
 */
#ifndef ASSAY_WORKER_VM_TALK_H
#define ASSAY_WORKER_VM_TALK_H

#include "worker/vm.h"

struct talk {
    struct vm *vm;
    int log_fd;           /* where the step's output goes; -1: nowhere */
    struct buf ctl;
    uint8_t *log;         /* not yet written to log_fd */
    size_t at, have;
    uint64_t log_total;   /* bytes of output that came */
    char console[512];    /* its end */
    size_t console_len;
    bool gone, ctl_ended; /* qemu ended; its ctl port did */
    const char *group;    /* its control group: time in which the owner has that frozen does not count */
    int64_t looked, ice;  /* when it was looked at last; milliseconds frozen so far */
    bool frozen;
    int64_t deadline;     /* of the step, as of go; with what it was frozen for until now */
    unsigned asked;       /* how often the guest asked for the time */
    bool told;            /* that it is over */
    enum { TALK_OTHER, TALK_LATE, TALK_GONE } fault; /* after -1: no word in time; the VM went off without one; anything else */
};

struct talk_end {
    unsigned exit_status, flags; /* RESULT_* */
    uint64_t packed;      /* bytes of the pack on the output disk */
    uint64_t refused;     /* attempts to reach what cannot be reached */
    char why[256];        /* printable; with RESULT_NOT_PACKED */
};

void talk_init (struct talk *t, struct vm *vm, int log_fd, const char *group);
void talk_release (struct talk *t);
int talk_ready (struct talk *t, int64_t until, struct err *e);
int talk_go (struct talk *t, int64_t left_ms, struct err *e);
int talk_started (struct talk *t, int64_t until, struct err *e);
int talk_follow (struct talk *t, int64_t more_ms, struct talk_end *end, struct err *e);

/* Take one record off the front: 1 got it, 0 more is needed, -1 nonsense. Pure. */
int talk_record (struct bytes in, unsigned *kind, struct bytes *data, size_t *used);
/* A result's bytes: false if they make no sense. Pure. */
bool talk_result (struct bytes data, struct talk_end *end, uint64_t *log);

#endif
