/* matter.h: inside src/verifier only: a step with all that a decision on it needs, and the decision. Reads the ledger, writes nothing.
 *
 *     matter_find (j, &sub, step, &m, e) == 1;  matter_decide (j, &m, &reading, &counted, &decision, e);  counted_release; matter_release
 */
#ifndef ASSAY_VERIFIER_MATTER_H
#define ASSAY_VERIFIER_MATTER_H

#include "verifier/judge.h"
#include "verifier/rule.h"

#define EVERYONE "*" /* among the readers of a step: its results were shown */

struct matter {
    struct ledger_step step;
    struct buf raw;                 /* the submission's envelope */
    struct envelope env;
    struct msg body, step_msg;
    bool have_body, have_step;
    const struct msg_submission_body *sub;
    const struct msg_step *recipe;
    struct policy policy;
    int (*look) (void *arg, const struct ledger_vote *v, struct bytes result); /* may be NULL: sees each vote with its result before it is counted */
    void *look_arg;
};

/* 1 found and opened, 0 not known, -1. Release it in each case. */
int matter_find (const struct judge *j, const struct digest *sub, struct bytes step, struct matter *m, struct err *e);
int matter_open (const struct judge *j, struct matter *m, struct err *e); /* m->step is there: open the rest */
void matter_release (struct matter *m);
struct policy matter_policy (const struct judge *j, struct bytes project, const struct msg_step *step);

/* What a step reads now. */
struct reading {
    struct digest digest;   /* inputs_digest () of what its inputs are now; votes on anything else do not count */
    bool known;             /* each has an artifact that leads */
    bool open;              /* each may be given to a worker: trusted, or provisional where the step starts so */
    bool trusted;           /* each is trusted */
    bool vain;              /* one has ended, and not trusted */
    char why[192];          /* the first that is not trusted */
};
int matter_read (const struct judge *j, const struct matter *m, struct reading *r, struct err *e);
/* Is it over without a decision? What was given up for a step that it needs comes back with that step: a revocation can turn `failed` into
 * anything. */
bool matter_closed (const struct ledger_step *s, const struct reading *r);

struct counted {
    struct ledger_vote *v;
    struct vote *votes;
    size_t n, cap;
    const struct roster *roster;
    const struct reading *reading;
    size_t elsewhere;       /* votes on other inputs than those of now */
    char (*readers)[64];    /* owners that have read the artifact, and did not vote before */
    size_t reader_count;
    bool shown;             /* results were shown: no further vote is taken */
};
void counted_release (struct counted *c);
int matter_decide (const struct judge *j, const struct matter *m, struct reading *r, struct counted *c, struct decision *d, struct err *e);
/* The artifact that others may build on: of a success that leads with nobody against it, or that is trusted. Zero: none. */
struct digest matter_leading (const struct counted *c, const struct decision *d);

#endif
