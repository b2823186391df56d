/* job.h: the life of one step inside the broker, as rows of (state, event, next state, actions). Pure.
 *
 *      submit              outcome, error, gone, replicate, move, verdict-open
 *   ------------> OPEN  --------------------------------------------------> OPEN
 *                  |  \__ cancel, expire, exhausted __> STOPPED --verdict-final--> DECIDED
 *                  \_____________ verdict-final ____________________________________/  |
 *                  ^______________________ retry, replicate, verdict-open ____________/
 *
 * OPEN seeks outcomes: `places` of them from different owners. STOPPED seeks none and waits for the verifier's last word.
 * What is not listed is refused (EC_CONFLICT).
 */
#ifndef ASSAY_BROKER_JOB_H
#define ASSAY_BROKER_JOB_H

#include "base/bytes.h"

enum job_state { JOB_OPEN, JOB_STOPPED, JOB_DECIDED, JOB_STATES };
enum job_event {
    JOB_LEASE,         /* a lease was given */
    JOB_OUTCOME,       /* a lease ended with an outcome: its owner has voted */
    JOB_ERROR,         /* a lease ended with an error: no vote */
    JOB_GONE,          /* a lease ended without either: declined, handed back, silent, too late */
    JOB_REPLICATE,     /* the verifier wants more */
    JOB_VERDICT_OPEN,  /* a verdict that is not the last */
    JOB_VERDICT_FINAL,
    JOB_CANCEL, JOB_EXPIRE, JOB_EXHAUST, JOB_RETRY,
    JOB_MOVE,          /* its inputs are others now: what it has is worth nothing */
    JOB_EVENTS
};
enum { /* what the caller has to do */
    JOB_REVOKE = 1,    /* the open leases are over: tell the workers */
    JOB_FORGET = 2,    /* the votes so far count no more */
    JOB_EXHAUSTED = 4  /* the cap of errors is reached: apply JOB_EXHAUST */
};

struct job {
    enum job_state state;
    unsigned places;      /* outcomes sought in all */
    unsigned votes, open; /* owners that gave an outcome; leases that are open */
    unsigned errors;
};

/* more: JOB_REPLICATE's count, JOB_RETRY's and JOB_MOVE's places. Returns the actions, or -1 with *e. On -1 the job is unchanged. */
int job_apply (struct job *j, enum job_event event, unsigned more, unsigned error_cap, struct err *e);
unsigned job_wants (const struct job *j); /* leases to give now */
const char *job_event_name (enum job_event event);
const char *job_state_name (enum job_state state);

#endif
