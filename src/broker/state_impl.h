/* state_impl.h: what a backend of the broker's state implements, and what lies before it.
 *
 * A turn's changes are kept in memory (state.c: events; state_rows.c: rows) and reach the backend all at once, when the turn is committed: so a row that
 * changes three times in a turn is written once, a message that fails is undone in memory, and a backend needs no savepoints. Rows that were read or
 * written lately stay there, by submission, within bounds: the backend's file is this process's alone.
 */
#ifndef ASSAY_BROKER_STATE_IMPL_H
#define ASSAY_BROKER_STATE_IMPL_H

#include "broker/state.h"

struct shares {               /* of one submitter, by priority */
    int64_t open[PRIORITIES], turn[PRIORITIES];
};

struct state_backend { /* members that are also functions of state.h do what is said there; what a turn has not committed is not theirs to know */
    const char *name;
    int (*open) (struct state **s, const char *dir, struct err *e);
    void (*close) (struct state *s);
    void (*keys) (struct state *s, int64_t *sub, int64_t *step); /* the highest in use */
    int (*begin) (struct state *s, struct err *e);  /* writes come between these, and only there */
    int (*commit) (struct state *s, struct err *e); /* -1: nothing of it was done */
    void (*rollback) (struct state *s);
    int (*sub_find) (struct state *s, const struct digest *id, struct sub_row *out, struct err *e);
    int (*sub_get) (struct state *s, int64_t key, struct sub_row *out, struct err *e);
    int (*sub_add) (struct state *s, const struct sub_row *sub, struct err *e);  /* key is set */
    int (*subs) (struct state *s, const char *prefix, int64_t before, unsigned limit, int (*each) (void *, const struct sub_row *), void *arg, struct err *e);
    int (*step_add) (struct state *s, struct step_row *step, struct err *e);     /* key is set; sets stored */
    int (*step_put) (struct state *s, struct step_row *step, struct err *e);     /* sets stored */
    int (*step_get) (struct state *s, int64_t key, struct step_row *out, struct err *e);
    int (*steps) (struct state *s, int64_t sub, int (*each) (void *, const struct step_row *), void *arg, struct err *e);
    int (*queue) (struct state *s, struct cursor after, size_t limit, struct step_row *out, size_t *n, struct err *e);
    int (*expired) (struct state *s, int64_t now, size_t limit, struct step_row *out, size_t *n, struct err *e);
    int64_t (*open_steps) (struct state *s);
    int (*shares) (struct state *s, const char *submitter, struct shares *out, struct err *e);
    int (*share_put) (struct state *s, const char *submitter, unsigned priority, int64_t open, int64_t turn, struct err *e);
    int (*lease_add) (struct state *s, struct lease_row *l, struct err *e);      /* sets key */
    int (*lease_put) (struct state *s, const struct lease_row *l, struct err *e); /* by its key */
    int (*lease_get) (struct state *s, const struct digest *id, struct lease_row *out, struct err *e);
    int (*leases_of) (struct state *s, int64_t step, int (*each) (void *, const struct lease_row *), void *arg, struct err *e);
    int (*leases_open) (struct state *s, int (*each) (void *, const struct lease_row *), void *arg, struct err *e);
    uint64_t (*seq) (const struct state *s);
    int (*events_add) (struct state *s, unsigned n, struct bytes page, struct err *e); /* n entries, from seq () + 1 on */
    int (*events) (struct state *s, uint64_t from, int (*each) (void *, uint64_t, const char *, struct bytes), void *arg, struct err *e);
};

struct rows;
struct state { /* a backend's own struct begins with it */
    const struct state_backend *ops;
    struct rows *rows;
    struct {
        struct buf page;      /* events of this turn, as entries */
        size_t *at;           /* where each begins */
        size_t n, cap, marked;
    } news;
    bool marked;
};

/* An entry of a page of events: length of the body (u32be), of the project (u8), project, body. */
void entry_add (struct buf *page, const char *project, struct bytes body);
bool entry_take (struct bytes *page, char project[128], struct bytes *body); /* false: that is none */

/* state_rows.c */
struct rows *rows_new (struct state *s);
void rows_destroy (struct rows **r);
void rows_mark (struct rows *r);
void rows_undo (struct rows *r);
bool rows_changed (const struct rows *r);                 /* since the last commit */
int rows_write (struct state *s, struct err *e);          /* to the backend, between its begin and commit */
void rows_committed (struct rows *r);
void rows_forget (struct state *s);                       /* all: the turn is lost */
int rows_new_subs (struct rows *r, const char *prefix, int64_t before, unsigned *limit, int (*each) (void *, const struct sub_row *), void *arg); /* 1: each stopped it */

extern const struct state_backend state_sqlite, state_mem;

#endif
