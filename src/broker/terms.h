/* terms.h: what a worker's owner allows steps of each project, as the worker said (messages terms and ready). Pure.
 *
 *     terms_parse (&t, &msg, &e)            // replaces what t had; -1 leaves it as it was
 *     terms_of (&t, project)                // the row that holds for the project; NULL: none, `ready` holds
 *     terms_lacks (row, step, network, why, size)
 * Why nobody takes a step, over all workers that might:
 *     struct terms_most most = { 0 };
 *     terms_most_add (&most, row, worker, kind, why);   // each that lacks something; all borrowed but why
 *     terms_most_tell (&most, step, network, why, size);
 */
#ifndef ASSAY_BROKER_TERMS_H
#define ASSAY_BROKER_TERMS_H

#include "proto/msg.h"

struct term {
    char pattern[128];
    bool open;                            /* steps may start now */
    unsigned network;                     /* NETWORK_* */
    uint64_t cpus, memory, disk, time_ms; /* 0: no limit */
    char (*submitters)[64];
    size_t submitter_count;
};
struct terms {
    struct term *v;
    size_t n;
};

int terms_parse (struct terms *t, const struct msg_terms *m, struct err *e);
void terms_release (struct terms *t);
const struct term *terms_of (const struct terms *t, const char *project);
bool terms_submitter (const struct term *t, const char *submitter);
enum terms_kind { TERMS_FITS, TERMS_CPUS, TERMS_MEMORY, TERMS_DISK, TERMS_TIME, TERMS_NETWORK, TERMS_KINDS };
/* What the step asks for beyond the term, first of the kinds above, and why says it with both numbers. network: NETWORK_*, in force */
enum terms_kind terms_lacks (const struct term *t, const struct msg_step *step, unsigned network, char *why, size_t size);

#define TERMS_WHY 128
struct terms_most {
    struct { const struct term *term; const char *worker; } by[TERMS_KINDS]; /* who allows the most of each */
    char example[TERMS_KINDS][TERMS_WHY];                                    /* one that lacks it */
};
void terms_most_add (struct terms_most *m, const struct term *t, const char *worker, enum terms_kind kind, const char *why);
/* The limit that is beyond every one of them, with the number of who allows the most; or, where there is no such, what each of some lacks. */
void terms_most_tell (const struct terms_most *m, const struct msg_step *step, unsigned network, char *why, size_t size);
/* NAME, PREFIX and a slash and a star for all below it, or a star. */
bool project_fits (const char *pattern, const char *project);

#endif
