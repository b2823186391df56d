/* bundle.h: the signed statements behind a step, from the verifier, as the lines that proof.h checks. */
#ifndef ASSAY_CLI_BUNDLE_H
#define ASSAY_CLI_BUNDLE_H

#include "cli/cli.h"
#include "cli/proof.h"

/* The step's verdict and the results that it names; of a step that is decided also those of the steps whose artifacts went into it. What
 * comes is checked line by line against the realm's roster, and must be about that step: *p is for proof_destroy, *lines has the text. */
int bundle_fetch (struct cli *c, struct realm *rl, struct client *broker, const struct digest *id, const char *step, struct proof **p, struct buf *lines, struct err *e);

/* Ask the verifier for the proofs that all verdicts of these statements are in its log, under a checkpoint with k witnesses, and add them as the lines
 * that logline.h checks. Nothing is added that would not be taken there. */
int bundle_prove (struct cli *c, struct realm *rl, const struct proof *p, struct bytes statements, uint64_t k, struct buf *lines, struct err *e);

/* Write DIR (made if it is not there): the in-toto link of one worker for each owner that agrees, and a layout to be signed, STEP.layout. The
 * artifact's manifest comes from the store. *n: links written. ERR_UNTRUSTED where the first verdict is not trusted. */
int bundle_links (struct realm *rl, const struct proof *p, const char *dir, size_t *n, struct err *e);

#endif
