/* client.h: store an artifact, fetch an artifact; blocking, for worker children and commands.
 *
 * put: `dir_fd` is the folder that holds the tree described by the manifest; files are opened without following links.
 * A broken connection is taken up again until deadline_ms has passed without progress. Every byte got is hashed before use.
 */
#ifndef ASSAY_STORE_CLIENT_H
#define ASSAY_STORE_CLIENT_H

#include "auth/realm.h"
#include "proto/blind.h"
#include "store/manifest.h"

/* `lease`: the envelope, or empty for an admin's image. receipt: the store's signed envelope, checked against the roster. */
int store_put (struct realm *rl, int dir_fd, struct bytes manifest, struct bytes lease, int deadline_ms, struct buf *receipt, struct err *e);
/* Fetch into dir (created, must be empty or absent); content checked against `artifact`. lease/submission as in get_open; may be empty. */
int store_get (struct realm *rl, const struct digest *artifact, const char *dir, struct bytes lease, struct bytes submission, bool provisional, int deadline_ms, struct err *e);
/* An input of a lease, likewise: `name` as the lease has it, a digest or a blinded name with its box (blind.h). */
struct store_input {
    struct digest name, submission; /* submission: its id */
    struct bytes box;               /* empty where the name is the digest */
    struct digest artifact, opening; /* out: which it is; opening as in blind.h */
};
int store_get_input (struct realm *rl, struct store_input *in, const char *dir, struct bytes lease, struct bytes submission, int deadline_ms, struct err *e);
/* Only its manifest, checked against `artifact`; manifest_release. One attempt. */
int store_manifest (struct realm *rl, const struct digest *artifact, bool provisional, struct manifest *m, struct err *e);
/* The manifest of a folder tree: every file hashed, links recorded, nothing followed. Refuses devices, sockets, fifos; drops
 * bits beyond executable and says so through note (may be NULL). */
int manifest_scan (int dir_fd, void (*note) (void *arg, const char *text), void *arg, struct buf *manifest, struct err *e);

#endif
