/* logline.h: the last lines of a bundle: that its verdicts are in the verifier's log, and who has witnessed that. Optional. Pure: no I/O, no clock;
 * bundle_prove (bundle.h) asks for them.
 *
 * One line a verdict, in their order: {"tlogProof": "..."}, a C2SP tlog-proof (verifier/checkpoint.h) of the verdict's line without its newline. Who
 * reads bundles passes over lines that it does not know, as in-toto has it.
 *
 *     logline_split (file, &statements, &lines, &e);              // *lines may be empty
 *     logline_check (roster, root, proof, statements, lines, k, &w, &e)
 */
#ifndef ASSAY_CLI_LOGLINE_H
#define ASSAY_CLI_LOGLINE_H

#include "cli/proof.h"
#include "verifier/checkpoint.h"

/* The lines of the log come last. EC_MALFORMED with the line's number where anything else follows them. */
int logline_split (struct bytes bundle, struct bytes *statements, struct bytes *lines, struct err *e);
/* Adds one line. */
void logline_text (const struct inclusion *in, struct buf *lines);
/* The line of the i-th verdict, without its newline: the log's entry. statements: the text that p is of. */
struct bytes logline_verdict (const struct proof *p, struct bytes statements, size_t i);

struct logline {
    uint64_t size;               /* of the log that the first verdict is proven to be in */
    struct witnesses witnesses;
};
/* No lines at all are fine where k is 0 (size 0); fewer than k witnesses are ERR_UNTRUSTED, the rest ERR_DAMAGED. */
int logline_check (const struct roster *r, const uint8_t root[32], const struct proof *p, struct bytes statements, struct bytes lines, uint64_t k, struct logline *out, struct err *e);

#endif
