/* state_rows.h: inside the broker's state only: rows in memory, for state_rows.c (submissions, steps, leases; turns) and state_queue.c (which steps come
 * first, and what each submitter has in the queue).
 *
 * A family is a submission with all its steps; a step's leases are read when they are asked for, or known from the start if the step is new. Rows that
 * changed are in lists until the turn is committed, and are then written; what a message changed is put back from a log of old rows.
 */
#ifndef ASSAY_BROKER_STATE_ROWS_H
#define ASSAY_BROKER_STATE_ROWS_H

#include <czmq.h>
#include <sys/queue.h>

#include "broker/state_impl.h"

struct family;
struct step_at;
struct lease_at {
    struct lease_row row;
    struct step_at *step;
    bool added, dirty;
};
struct step_at {
    struct step_row row;
    struct family *family;
    struct lease_at **leases; /* by time of issue */
    size_t lease_count;
    bool known, added, dirty; /* known: leases has all */
};
struct family {
    struct sub_row row;
    struct step_at **steps; /* by their number */
    size_t step_count, bytes;
    TAILQ_ENTRY (family) use;
    bool touched; /* something of it is in a list of this turn, or in the log */
};

struct sharer { /* a submitter */
    char name[64];
    struct shares now;
    unsigned changed; /* bit n: at priority n, in this turn */
};

enum kind { SUB, STEP, LEASE, SHARE };
struct change {
    enum kind kind;
    void *of;
    bool added, was_dirty;
    union {
        struct step_row step;
        struct lease_row lease;
        struct sharer share;
    } old;
};
struct list {
    void **v;
    size_t n, cap, marked;
};

struct rows {
    struct state *s;
    zhashx_t *subs, *ids, *steps, *leases; /* families by key and by id, steps by key, leases by id: what is found is its own key */
    zhashx_t *sharers;                     /* by name; theirs */
    TAILQ_HEAD (families, family) used;    /* the one that was used last is the first */
    size_t bytes;
    int64_t next_sub, next_step, open, open_marked;
    struct list new_subs, dirty_steps, dirty_leases;
    bool shared; /* a share has changed */
    struct change *log;
    size_t log_count, log_cap;
    struct digest absent; /* the id that was looked for last, and is not there */
};

/* Note what is about to change, within a mark: the caller fills in `old`. NULL: no mark is set. */
struct change *rows_log (struct rows *r, enum kind kind, void *of, bool added, bool was_dirty);

/* state_queue.c */
zhashx_t *sharers_new (void);
int sharers_write (struct rows *r, struct err *e);
void sharers_committed (struct rows *r);

#endif
