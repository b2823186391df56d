/* ledger.h: what the verifier has seen and said, durably (SQLite, WAL, full sync): submissions, steps, votes, the verdict log, and
 * what the broker has not acknowledged yet.
 *
 * ledger_begin; apply events; ledger_commit: votes, verdicts and the position in the event log reach the disk together, so that
 * after a kill at any point the same events give the same verdicts, each once. Errors: EC_INTERNAL with the database's words.
 */
#ifndef ASSAY_VERIFIER_LEDGER_H
#define ASSAY_VERIFIER_LEDGER_H

#include "base/bytes.h"
#include "verifier/tlog.h"

struct ledger;

enum closed { CLOSED_NOT, CLOSED_CANCELLED, CLOSED_EXPIRED, CLOSED_EXHAUSTED, CLOSED_NEEDS }; /* NEEDS: a step that it needs ended otherwise, until that changes */

struct ledger_step {
    int64_t key;
    struct digest sub;
    char name[64];
    unsigned no;                 /* place in the submission */
    unsigned round;              /* how often it was retried; votes of earlier rounds do not count */
    unsigned sought, seen;       /* outcomes that the broker was asked for, and those that came in, refused ones as well */
    enum closed closed;
    char closed_reason[256];
    bool said, final;            /* there is a verdict; it is final */
    int state;                   /* of the newest verdict: enum step_state */
    struct digest outcome, artifact, verdict; /* of the newest verdict (outcome also where it is not shown yet) */
    unsigned support, against, votes;
    unsigned needs;              /* steps that it needs */
    struct digest lead;          /* the artifact that leads, shown or not; zero where none may be used */
    struct digest usable;        /* what the broker was told of it for provisional use: SHA-256 of its artifact and the store's sealing key; zero: nothing */
    struct digest inputs;        /* of its newest decision: inputs_digest () */
};

struct ledger_vote {
    struct digest lease, outcome, artifact, result;
    struct digest inputs;        /* inputs_digest () of what it read */
    struct digest image;         /* what it ran in */
    char worker[64], owner[64], broker[64], store[64]; /* broker: of its lease; store: of its receipt, or empty */
    unsigned exit_status;
    int64_t time;                /* of the event, microseconds */
};

int ledger_open (struct ledger **l, const char *path, struct err *e);
void ledger_close (struct ledger **l);
int ledger_begin (struct ledger *l, struct err *e);
int ledger_commit (struct ledger *l, struct err *e); /* on failure everything since ledger_begin is undone */
void ledger_rollback (struct ledger *l);

uint64_t ledger_position (struct ledger *l);                        /* sequence number of the last event applied */
int ledger_move (struct ledger *l, uint64_t seq, struct err *e);

int ledger_sub_add (struct ledger *l, const struct digest *id, struct bytes envelope, struct err *e); /* 1 added, 0 known */
int ledger_sub_get (struct ledger *l, const struct digest *id, struct buf *envelope, struct err *e);  /* 1, 0 */
int ledger_step_add (struct ledger *l, struct ledger_step *s, struct err *e);
int ledger_step_put (struct ledger *l, const struct ledger_step *s, struct err *e);
int ledger_step_find (struct ledger *l, const struct digest *sub, struct bytes name, struct ledger_step *s, struct err *e); /* 1, 0 */
int ledger_steps_open (struct ledger *l, int64_t after, unsigned limit, struct ledger_step *out, size_t *n, struct err *e); /* not final, by key */

int ledger_steps_all (struct ledger *l, int64_t after, unsigned limit, struct ledger_step *out, size_t *n, struct err *e);  /* by key */
/* Steps on which the worker has a vote from `since` on, by key. */
int ledger_steps_voted (struct ledger *l, const char *worker, int64_t since, int64_t after, unsigned limit, struct ledger_step *out, size_t *n, struct err *e);
int ledger_step_get (struct ledger *l, int64_t key, struct ledger_step *s, struct err *e);                                 /* 1, 0 */

/* Who has read a step's artifact by a lease of a step that needs it: it has no vote on it any more, in that round. */
int ledger_reader_add (struct ledger *l, int64_t step, unsigned round, struct bytes owner, struct err *e);
int ledger_readers (struct ledger *l, int64_t step, unsigned round, int (*each) (void *arg, const char *owner), void *arg, struct err *e);

/* Roster sequence numbers up to which revocations were worked through. ledger_again: where the one in work stands; key 0: none is. */
uint64_t ledger_roster (struct ledger *l);
int ledger_roster_put (struct ledger *l, uint64_t seq, int64_t at, struct err *e);
int64_t ledger_roster_at (struct ledger *l);

/* result: the worker's DSSE envelope. Returns 1 added, 0 when that lease has voted. */
int ledger_vote_add (struct ledger *l, int64_t step, unsigned round, const struct ledger_vote *v, struct bytes result, struct err *e);
/* The same file is opened to be read from end to end: through the page cache, without copies, and all of it as it is at the first read, without
 * locks for each. It is closed without having been written to. */
void ledger_to_read (struct ledger *l);
/* Votes of the step's round, in order of lease id; ledger_tally: without their results, which a decision does not need. */
int ledger_tally (struct ledger *l, int64_t step, unsigned round, int (*each) (void *arg, const struct ledger_vote *v, struct bytes none), void *arg, struct err *e);
int ledger_votes (struct ledger *l, int64_t step, unsigned round, int (*each) (void *arg, const struct ledger_vote *v, struct bytes result), void *arg, struct err *e);

uint64_t ledger_next_index (struct ledger *l);                      /* of the next verdict in the verdict log */
int ledger_verdict_add (struct ledger *l, uint64_t index, int64_t step, struct bytes envelope, struct err *e);
int ledger_verdict_get (struct ledger *l, int64_t step, struct buf *envelope, struct err *e);         /* the newest; 1, 0 */

int ledger_verdict_at (struct ledger *l, uint64_t index, struct buf *envelope, struct err *e);         /* by its number in the log; 1, 0 */

/* The verdict log as a Merkle tree (tlog.h), whose entry i is verdict i + 1's envelope. Sizes are those of the turn. */
struct tlog_source ledger_tiles (struct ledger *l);
/* Signatures of witnesses on checkpoints, each a line of its note; the newest 16 of a name are kept. */
int ledger_cosign (struct ledger *l, uint64_t size, const char *name, struct bytes line, struct err *e);
/* Who signed which sizes, the largest first. */
int ledger_cosigned (struct ledger *l, int (*each) (void *arg, uint64_t size, const char *name), void *arg, struct err *e);
int ledger_cosignatures (struct ledger *l, uint64_t size, int (*each) (void *arg, const char *name, struct bytes line), void *arg, struct err *e);

/* To the broker: kept until ledger_sent. A message's id is the request id it is sent with. */
int ledger_send (struct ledger *l, struct bytes frame_without_id, struct err *e);
int ledger_outbox (struct ledger *l, int64_t after, unsigned limit, int (*each) (void *arg, int64_t id, struct bytes frame), void *arg, struct err *e);
int ledger_sent (struct ledger *l, int64_t id, struct err *e);

#endif
