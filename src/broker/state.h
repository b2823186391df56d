/* state.h: what the broker knows, durably: submissions, steps, leases, events. All else is only a cache.
 *
 *     state_open (&s, "sqlite", dir, &e);
 *     each turn:  per message { state_mark; ... state_keep, or on failure state_undo }; state_commit; and only then answers go out
 * What is asked for has the turn's own changes in it. A failed commit undoes the whole turn. Rows are copies; the caller releases what has a release.
 * Errors: EC_INTERNAL with the database's words (disk full, damaged), EC_NOT_FOUND where a key is unknown. A full disk shows when the turn is committed.
 *
 * Backends: `sqlite` (DIR/state.db, WAL, full sync) and `mem` (the same without a disk; for tests). state_impl.h is for implementers.
 */
#ifndef ASSAY_BROKER_STATE_H
#define ASSAY_BROKER_STATE_H

#include "broker/job.h"
#include "proto/blind.h"

struct state;

struct sub_row {
    int64_t key;              /* grows with each submission */
    struct digest id;
    struct buf envelope;
    char project[128], commit[65], ref[256], submitter[64];
    int64_t time, expires;    /* microseconds */
    unsigned priority;
};
#define PRIORITIES 10

struct step_row {
    int64_t key, sub;
    unsigned no;              /* place in the submission */
    char name[64];
    struct job job;
    bool waiting;             /* for steps that it needs */
    bool want_trusted;        /* a trusted worker must be among the outcomes */
    unsigned priority;        /* below PRIORITIES */
    int64_t turn;             /* its place among steps of its priority, 0 to TURN_MAX (schedule_turn); equal ones go by age */
    int64_t expires;
    char state[32];           /* from the newest verdict, else "pending" */
    struct digest digest;
    unsigned agree, support, dissent, votes;
    bool trusted_required;
    char reason[256];
    struct {                  /* the backend's: what is in indices, as it is on disk */
        enum job_state job;
        int64_t rank, expires;
        bool queued;
    } stored;
    uint64_t verdict_index;   /* of the newest verdict in the verifier's log; 0: none */
    unsigned needs;           /* steps that it needs */
    struct blind usable;      /* its artifact, blinded, for steps that may start before it is trusted; once it is, the name alone. name zero: none */
    struct digest inputs;     /* SHA-256 of the artifacts that its leases read, in order; zero: none was given yet */
    int64_t since;            /* of its newest retry, microseconds; 0: none. Who read the artifact before may vote again */
};
enum lease_state { LEASE_OPEN = 1, LEASE_VOTED = 2, LEASE_OVER = 3 };
struct lease_row {
    struct digest id;
    int64_t step;
    char worker[64], owner[64];
    bool trusted;
    unsigned image;           /* which of the step's (step_images) */
    int64_t issued, expires;
    enum lease_state state;
    int64_t key;              /* the backend's */
    struct digest result;     /* SHA-256 of what ended it, so that the same again is recognised; zero if nothing did */
};

int state_open (struct state **s, const char *backend, const char *dir, struct err *e);
void state_close (struct state **s);

int state_commit (struct state *s, struct err *e);
void state_rollback (struct state *s);
void state_mark (struct state *s);                     /* one at a time */
void state_keep (struct state *s);
void state_undo (struct state *s);
void state_trim (struct state *s);                     /* between messages: memory goes back to its bounds, if much was read in this turn */

int state_sub_find (struct state *s, const struct digest *id, struct sub_row *out, struct err *e); /* 1 found, 0 not */
int state_sub_get (struct state *s, int64_t key, struct sub_row *out, struct err *e);
int state_sub_add (struct state *s, struct sub_row *sub, struct err *e);                            /* sets key */
/* Newest first, below `before` (INT64_MAX: all); id_prefix "" or hex digits. Each until it returns non-zero. */
int state_subs (struct state *s, const char *id_prefix, int64_t before, unsigned limit, int (*each) (void *arg, const struct sub_row *sub), void *arg, struct err *e);
void sub_row_release (struct sub_row *r);

int state_step_add (struct state *s, struct step_row *step, struct err *e);                         /* sets key */
int state_step_put (struct state *s, struct step_row *step, struct err *e);                   /* writes all of it, and whether it is in the queue */
int state_step_get (struct state *s, int64_t key, struct step_row *out, struct err *e);
int state_step_find (struct state *s, const struct digest *sub, struct bytes name, struct step_row *out, struct err *e); /* 1, 0 */
int state_steps (struct state *s, int64_t sub, int (*each) (void *arg, const struct step_row *step), void *arg, struct err *e);
/* Steps that want leases, from behind the cursor on, best first: by priority, then turn, then age. */
#define TURN_MAX ((INT64_C (1) << 40) - 1)
int64_t step_rank (const struct step_row *r);          /* priority and turn as one number, that the best has the least of */
void step_ranked (struct step_row *r, int64_t rank);   /* and back */
struct cursor {
    int64_t rank, key;        /* {INT64_MIN, 0} is before all */
};
int state_queue (struct state *s, struct cursor after, unsigned limit, struct step_row *out, size_t *n, struct err *e);
int state_expired (struct state *s, int64_t now, unsigned limit, struct step_row *out, size_t *n, struct err *e); /* open ones past their time */
int64_t state_open_steps (struct state *s);            /* how many are not decided; a counter, not a scan */
/* What a submitter has in the queue. The caller adds to it what it adds to, or takes from, the steps; kept with them. Submitter "": turn
 * is the furthest that got a lease, of anybody. */
struct share {
    int64_t open, open_here;  /* steps that are not decided: all, and those of the priority */
    int64_t turn;             /* the last that was taken, at the priority */
};
int state_share (struct state *s, const char *submitter, unsigned priority, struct share *out, struct err *e);
int state_share_add (struct state *s, const char *submitter, unsigned priority, int64_t open, int64_t turn, struct err *e); /* a turn below the last changes nothing */

int state_lease_add (struct state *s, const struct lease_row *l, struct err *e);
int state_lease_put (struct state *s, const struct lease_row *l, struct err *e); /* state and result */
int state_lease_get (struct state *s, const struct digest *id, struct lease_row *out, struct err *e); /* 1, 0 */
int state_leases_of (struct state *s, int64_t step, int (*each) (void *arg, const struct lease_row *l), void *arg, struct err *e); /* in order of issue */
int state_leases_open (struct state *s, int (*each) (void *arg, const struct lease_row *l), void *arg, struct err *e);

uint64_t state_seq (const struct state *s);            /* of the newest event; 0: none */
int state_event_add (struct state *s, const char *project, struct bytes body, struct err *e); /* body holds state_seq () + 1 */
int state_events (struct state *s, uint64_t from, int (*each) (void *arg, uint64_t seq, const char *project, struct bytes body), void *arg, struct err *e);

#endif
