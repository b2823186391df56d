/* world.h: a small realm whose keys never change, bundles of it and its verifier's log, for the harnesses of proofs, their seeds and unit tests.
 *
 * Step "build" is built by workers w0, w1, w2 of owners o0, o1, o2, w0 trusted; "test" read its artifact. The policy is agree 2, trusted required.
 */
#ifndef ASSAY_TESTS_FUZZ_WORLD_H
#define ASSAY_TESTS_FUZZ_WORLD_H

#include "auth/roster.h"
#include "proto/statement.h"
#include "verifier/checkpoint.h"

#define WORLD_WORKERS 3
#define WORLD_LOG 200u /* entries of the verifier's log */
#define WORLD_TIME INT64_C (1790000000000000)

struct world {
    struct roster *roster;
    const char *project;     /* of what is made: "a/b" */
    struct sign_key root, broker, store, verifier, worker[WORLD_WORKERS], second, colleague; /* second: another of w0's owner; colleague: of the verifier's */
    uint8_t sec[6 + WORLD_WORKERS][64];
    struct digest leaf[WORLD_LOG];
};
struct world *world_new (void);
void world_destroy (struct world **w);

/* Worker `who` got an artifact of that content ("": the step failed), having read `input` (or NULL). result_release. */
void world_result (const struct world *w, const char *step, int who, const struct digest *input, const char *content, struct result *r);
/* A verdict "trusted" on the first result's outcome, naming these lines. verdict_release. */
void world_verdict (const char *step, const struct result *r, const struct digest *lines, size_t n, struct verdict *v);
void world_sign (const struct sign_key *key, struct bytes json, struct buf *line);   /* with its newline */
void world_bundle (const struct world *w, struct buf *out);                          /* of "test", with that of "build" */
void world_bodies (const struct world *w, struct buf *out);                          /* the same, only what is signed */
/* The verifier's log: the verdict on "build" is its first entry, that on "test" its second, the others are "entry N". */
struct digest world_log_root (const struct world *w, uint64_t size);                 /* size: up to WORLD_LOG, here and below */
void world_log_path (const struct world *w, uint64_t index, uint64_t size, struct tlog_path *path);
void world_log_growth (const struct world *w, uint64_t old, uint64_t size, struct tlog_path *path);
/* A checkpoint's text, signed by the verifier and by the first workers as witnesses. */
void world_note (const struct world *w, struct bytes text, unsigned witnesses, struct buf *out);
void world_cosign (const struct world *w, const char *who, const struct sign_key *key, struct buf *note);
void world_checkpoint (const struct world *w, uint64_t size, unsigned witnesses, struct buf *out);
void world_inclusion (const struct world *w, uint64_t index, uint64_t size, unsigned witnesses, struct inclusion *in); /* inclusion_release */
/* Added to the roster, a second later. */
void world_revoke (struct world *w, const char *name, int64_t since);

#endif
