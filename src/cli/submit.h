/* submit.h: a commit becomes a signed submission, and goes to the broker. Used by push, flush and the hook. */
#ifndef ASSAY_CLI_SUBMIT_H
#define ASSAY_CLI_SUBMIT_H

#include "cli/cli.h"

#define SUBMIT_LIFE_US (7ll * 86400 * 1000000) /* how long a submission may wait in a spool before it expires */

struct submit {           /* what to submit; strings are the caller's */
    const char *repo;     /* path in or of the repository */
    const char *commit;   /* full id */
    const char *ref;      /* full name or "" */
    const char *project, *url;
    uint64_t priority;
};
struct signed_submission {
    struct buf envelope;
    struct digest id;
    size_t steps;
};
void signed_submission_release (struct signed_submission *s);

/* --project, else git config assay.project, else the repository's name; the same for the URL (assay.url, else file:// and the path). */
int submit_project (const char *repo, const char *option, struct buf *out, struct err *e);
int submit_url (const char *repo, const char *option, struct buf *out, struct err *e);
/* Reads the recipe at the commit, expands it, signs. Errors of the recipe are ERR_USAGE; a commit without one is EC_NOT_FOUND. */
int submit_sign (struct realm *rl, const struct submit *s, struct signed_submission *out, struct err *e);
/* Sends it; the broker has it on disk when this returns 0. */
int submit_send (struct client *broker, struct bytes envelope, const struct digest *id, bool *again, uint64_t *seq, struct err *e);

#endif
