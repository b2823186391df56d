/* auditor.h: a verifier's log as this principal sees it: is it still the log that it was, and is a verdict in it?
 *
 *     auditor_open (&a, c, rl, NULL, &e);               // the realm's first verifier, or the one named; what was seen of it is read, and locked
 *     auditor_newest (a, &e)                            // asks for the newest checkpoint, checks it against the one seen before, remembers it
 *     auditor_witnessed (a, k, &e)                      // the newest that k witnesses signed; checked against the newest
 *     auditor_include (a, &a->witnessed, ...)           // the proof that a verdict is in the log of a checkpoint
 *     auditor_close (&a);
 * Nothing that the verifier says is believed: signatures are checked with the roster's keys, each proof is computed again (checkpoint.h). Where its log
 * is not an extension of what was seen the error is of kind ERR_DAMAGED and names the two files in which both statements are kept.
 */
#ifndef ASSAY_CLI_AUDITOR_H
#define ASSAY_CLI_AUDITOR_H

#include "cli/cli.h"
#include "cli/seen.h"
#include "proto/statement.h"
#include "verifier/checkpoint.h"

struct checkpoint {
    struct note note;
    struct buf raw;                      /* as it came; empty: none */
    struct witnesses witnesses;
};
struct auditor {
    struct cli *c;
    struct realm *rl;
    const struct principal *verifier;
    struct seen seen;
    struct client *client;               /* NULL until it is asked something */
    struct checkpoint before, newest, witnessed; /* before: what was seen when it was opened */
};

int auditor_open (struct auditor **a, struct cli *c, struct realm *rl, const char *verifier, struct err *e);
void auditor_close (struct auditor **a);
int auditor_newest (struct auditor *a, struct err *e);
/* ERR_UNTRUSTED where there is none with so many. k 0: the newest. */
int auditor_witnessed (struct auditor *a, uint64_t k, struct err *e);
/* entry: the verdict's envelope; number: its place in the log, from 1. ERR_UNTRUSTED where the checkpoint is older than the verdict. in->note is the checkpoint. */
int auditor_include (struct auditor *a, const struct checkpoint *cp, struct bytes entry, uint64_t number, struct inclusion *in, struct err *e);
/* A checkpoint from elsewhere, of this verifier (checkpoint_named tells whose it is). Where it is of the size that was seen here, nobody is asked;
 * else the verifier has to show that the one is the beginning of the other. Call it before auditor_newest. */
int auditor_compare (struct auditor *a, struct bytes raw, struct checkpoint *other, struct err *e);
int checkpoint_named (struct realm *rl, struct bytes raw, struct checkpoint *cp, const struct principal **verifier, struct err *e);
void checkpoint_release (struct checkpoint *cp);
/* Sign the newest checkpoint as a witness, and older ones on which others wait for company; *signed_count of them. */
int auditor_cosign (struct auditor *a, size_t *signed_count, struct err *e);

/* The verdict on a step as it is in the log, signed by this verifier, and its envelope. EC_NOT_FOUND while there is none. */
int auditor_verdict (struct auditor *a, const struct digest *id, const char *step, struct verdict *v, struct buf *envelope, struct err *e);

/* Entry `at` (from 0) of the newest checkpoint's log: a verdict, signed, of that number, and proven to be there. 1; 0: it belongs to a project that
 * this principal may not see. An admin may see all: what is withheld from one is ERR_DAMAGED. */
int auditor_entry (struct auditor *a, uint64_t at, struct verdict *v, struct err *e);

/* --witnesses, or else the realm's own number. */
int witnesses_parse (const char *option, uint64_t *k, struct err *e);
int witnesses_wanted (struct realm *rl, const char *option, uint64_t *k, struct err *e);
/* For commands that use a verdict: it is in the log, under a checkpoint that k witnesses signed. in (may be NULL) gets the proof. */
int audit_verdict (struct cli *c, struct realm *rl, const struct verdict *v, struct bytes envelope, uint64_t k, struct inclusion *in, struct err *e);

#endif
