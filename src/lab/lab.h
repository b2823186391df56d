/* lab.h: the threat model, acted out: each row is a real process that does a bad thing over the real sockets, and a judgement of what the rest
 * then did. `assay lab` shows it; doc/THREATS.md names its rows.
 *
 *     struct lab_row {...} are listed by lab_rows (); lab_run (f, row, &trial, &e) plays one in a farm (farm.h).
 *
 * A row breaks when the attack gets what it wants, or keeps others from what they should get. Where an attack is meant to work under a weaker
 * policy, the row shows that as well (its control): else "held" would mean nothing, and a control that fails breaks the row.
 */
#ifndef ASSAY_LAB_LAB_H
#define ASSAY_LAB_LAB_H

#include "lab/farm.h"

struct trial {
    struct farm *f;
    const char *row;
    char project[64];       /* lab/ROW */
    uint64_t since;         /* the event before the row's first */
    struct buf happened;    /* what happened, as text for people */
    bool broke;
    char broken[512];       /* what should not have been, first of all */
};

struct lab_row {
    const char *name, *tries;
    int (*run) (struct trial *t, struct err *e); /* 0 played to its end; -1 it could not be tried */
};

const struct lab_row *lab_rows (size_t *count);
int lab_run (struct farm *f, const struct lab_row *row, struct trial *t, struct err *e); /* trial_release afterwards in any case */
void trial_release (struct trial *t);

/* ---- for rows ---- */

/* What must be: false breaks the row, with this text. Returns ok. */
bool trial_held (struct trial *t, bool ok, const char *fmt, ...) __attribute__ ((format (printf, 3, 4)));
void trial_note (struct trial *t, const char *fmt, ...) __attribute__ ((format (printf, 2, 3))); /* one more clause of what happened */

/* A liar in the background, until it says "ready"; and to the end of one that ends by itself: said is what it printed. */
int trial_start (struct trial *t, struct proc **p, const char *name, const char *const args[], struct err *e);
#define START(t, p, name, e, ...) trial_start (t, p, name, (const char *const[]){ __VA_ARGS__, NULL }, e)
int trial_ends (struct trial *t, struct proc *p, const char *name, struct buf *said, struct err *e);
void trial_stop (struct proc **p);          /* for CLEANUP */

/* Commit, push, and see to it that others (first: owners) have a lease before the honest ones are at work again. */
struct job {
    const char *recipe, *text, *project; /* project NULL: the trial's */
    const char *step, *first[4];         /* owners, NULL-terminated: they get their leases while the honest workers pause */
    bool voted;                          /* ... and their results are in, too */
    bool alone;                          /* the honest workers stay away */
};
int trial_job (struct trial *t, const struct job *j, struct digest *id, struct err *e);
/* The step reaches one of the states: else the row is broken. */
int trial_until (struct trial *t, const struct digest *id, const char *step, const char *states, struct step_seen *s, struct err *e);
/* Each line of `lines` is one of said; else the row is broken. */
void trial_lines (struct trial *t, struct buf *said, const char *lines);
/* The deployer gets this text with exit status 0; NULL: gets nothing, with another. */
int trial_deployer (struct trial *t, const struct digest *id, const char *step, const char *text, struct err *e);
/* A worker of that row, enrolled for its project only. */
int trial_liar (struct trial *t, const char *name, const char *owner, struct err *e);

/* A step `build` that gives the repository's file n as artifact n (and says so in its log), under this policy; for recipes. */
#define LAB_BUILD(policy) "steps:\n  build:\n    policy: {" policy "}\n    run: read -r x <n; echo \"it is $x\"; echo \"$x\" >/out/n\n    artifacts: [n]\n"

#define LAB_ROW(name) int row_##name (struct trial *t, struct err *e);
LAB_ROW (flip) LAB_ROW (copy) LAB_ROW (green) LAB_ROW (withhold) LAB_ROW (replay) LAB_ROW (flood) LAB_ROW (steal) LAB_ROW (sybils)
LAB_ROW (collude) LAB_ROW (turncoat) LAB_ROW (revoked) LAB_ROW (submission) LAB_ROW (token) LAB_ROW (broker) LAB_ROW (store) LAB_ROW (verifier)
LAB_ROW (fork) LAB_ROW (order) LAB_ROW (provisional)

#endif
