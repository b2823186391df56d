/* expand.h: inside src/source only: from the recipe as written (checked, defaults applied) to the list of steps that run. Pure. */
#ifndef ASSAY_SOURCE_EXPAND_H
#define ASSAY_SOURCE_EXPAND_H

#include "auth/policy.h"

#define STEPS_MAX 64u

struct words {                /* a growing list of owned strings */
    char **v;
    size_t n;
};
void words_add (struct words *w, char *owned);
void words_release (struct words *w);

struct place {
    unsigned line, column;
};

struct axis {                 /* one row of a matrix */
    char *name;
    struct words values;
};

struct need {
    char *name;
    struct place at;
};

struct draft {                /* one step as written */
    char *name;
    struct place at;
    char *run;
    struct digest images[STEP_IMAGES];
    unsigned image_count;
    struct need *needs;
    size_t need_count;
    struct words artifacts;
    struct words env, labels; /* "NAME=VALUE", inherited ones included; sorted by name */
    struct axis *axes;
    size_t axis_count;
    bool provisional;
    struct policy policy;
    uint64_t cpus, memory, disk, time_ms, keep;
    size_t first, count;      /* set by expansion: its steps in the result */
};
void draft_release (struct draft *d);

struct expanded {
    struct msg_step *steps;   /* borrow from the drafts and from `own` */
    size_t n;
    struct words own;
    void **lists;             /* the arrays inside the steps */
    size_t list_count;
};
void expanded_release (struct expanded *x);
int expand (struct draft *drafts, size_t n, const char *file, struct expanded *out, struct err *e);
/* Add or replace NAME=VALUE, keeping the list sorted. */
void words_put (struct words *w, const char *name, const char *value);

#endif
