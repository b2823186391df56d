/* state_rows.h: inside the broker's state only: rows in memory, for state_rows.c (submissions, steps, leases; turns) and state_queue.c (which steps come
 * first, and what each submitter has in the queue).
 *
 * A family is a submission with all its steps; a step's leases are read when they are asked for, or known from the start if the step is new. Rows that
 * changed are in lists until the turn is committed, and are then written; what a message changed is put back from a log of old rows.
 */
#ifndef ASSAY_BROKER_STATE_ROWS_H
#define ASSAY_BROKER_STATE_ROWS_H

#include "broker/state_impl.h"

#define BUCKETS 4096u

struct node {
    struct node *next;
    void *of;
    uint64_t hash;
};
struct table {
    struct node *v[BUCKETS];
};

struct family;
struct step_at;
struct lease_at {
    struct lease_row row;
    struct step_at *step;
    struct node by_id;
    bool added, dirty;
};
struct step_at {
    struct step_row row;
    struct family *family;
    struct lease_at **leases; /* by time of issue */
    size_t lease_count;
    struct node by_key;
    bool known, added, dirty; /* known: leases has all */
};
struct family {
    struct sub_row row;
    struct step_at **steps; /* by their number */
    size_t step_count, bytes;
    struct node by_key, by_id;
    struct family *newer, *older; /* by use */
    bool touched; /* something of it is in a list of this turn, or in the log */
};

struct sharer { /* a submitter */
    char name[64];
    struct shares now;
    unsigned changed; /* bit n: at priority n, in this turn */
    struct node by_name;
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
    struct table subs, ids, steps, leases, sharers;
    struct sharer **sharer;
    size_t sharer_count;
    struct family *newest, *oldest;
    size_t bytes;
    int64_t next_sub, next_step, open, open_marked;
    struct list new_subs, dirty_steps, dirty_leases;
    bool shared; /* a share has changed */
    struct change *log;
    size_t log_count, log_cap;
    struct digest absent; /* the id that was looked for last, and is not there */
};

void table_put (struct table *t, struct node *n, uint64_t hash, void *of);
void table_take (struct table *t, struct node *n);
struct node *table_get (const struct table *t, uint64_t hash);      /* the first of that hash */

/* Note what is about to change, within a mark: the caller fills in `old`. NULL: no mark is set. */
struct change *rows_log (struct rows *r, enum kind kind, void *of, bool added, bool was_dirty);

/* state_queue.c */
void sharers_drop (struct rows *r);
int sharers_write (struct rows *r, struct err *e);
void sharers_committed (struct rows *r);

#endif
