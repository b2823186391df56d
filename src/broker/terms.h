/* terms.h: what a worker's owner allows steps of each project, as the worker said (messages terms and ready). Pure.
 *
 *     terms_parse (&t, &msg, &e)            // replaces what t had; -1 leaves it as it was
 *     terms_of (&t, project)                // the row that holds for the project; NULL: none, `ready` holds
 *     terms_lacks (row, step, network, why, size)
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
/* What the step asks for beyond the term, with both numbers: true, and why says it. */
bool terms_lacks (const struct term *t, const struct msg_step *step, unsigned network, char *why, size_t size); /* network: NETWORK_*, in force */
/* NAME, PREFIX and a slash and a star for all below it, or a star. */
bool project_fits (const char *pattern, const char *project);

#endif
