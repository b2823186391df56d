/* proof.h: a verdict and all that it rests on, checked from bytes alone. Pure: no I/O, no clock.
 *
 *     struct proof *p = proof_new (roster);             // borrowed; already checked against the root key
 *     proof_add (p, bundle, &e);                        // each line: form, signature, signer's role, order; names the line at fault
 *     proof_judge (p, &e);                              // 0: trusted, as the rule (verifier/rule.h) says of the very results
 *
 * A bundle is lines, each a DSSE envelope: a verdict, then the results that it names, in its order and none else; then the same for each
 * step whose artifact it read, and for what those read. The first verdict is what the proof is about. So nothing can be dropped, doubled,
 * or put elsewhere without being noticed, and no line is there for nothing.
 *
 * A result counts as it would with the verifier: signed by a worker of the roster, under a broker's lease and with a store's receipt, by
 * principals whose word of then still counts. Errors: ERR_DAMAGED (forged, altered, incomplete, or the results do not give this verdict),
 * ERR_UNTRUSTED (a verdict other than trusted, a vote revoked since, a stricter policy since), ERR_FAILED (the owners agree that it fails).
 */
#ifndef ASSAY_CLI_PROOF_H
#define ASSAY_CLI_PROOF_H

#include "auth/roster.h"
#include "proto/statement.h"

struct proof_group {            /* a verdict with its results */
    struct verdict verdict;
    struct result *results;     /* results[i] is what verdict.counts[i] names */
    bool *stands;               /* its signers' word of then still counts */
    size_t n;
};

struct proof;
struct proof *proof_new (const struct roster *r);
void proof_destroy (struct proof **p);
int proof_add (struct proof *p, struct bytes bundle, struct err *e);
size_t proof_count (const struct proof *p);
const struct proof_group *proof_group (const struct proof *p, size_t i); /* 0: what it is about */
int proof_judge (const struct proof *p, struct err *e);

#endif
