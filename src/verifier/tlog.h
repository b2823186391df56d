/* tlog.h: the verdict log as a Merkle tree: hashes, proofs, tiles. Pure. RFC 6962, section 2.1 (the same as RFC 9162's).
 *
 * Leaf hash: SHA-256 (0x00, data); node: SHA-256 (0x01, left, right). Storage is by tiles of height 8, as in the C2SP tlog-tiles layout: tile n of
 * level l holds the hashes of the complete subtrees of height 8 l that begin at leaf n * 256 * 256^l; only the last tile of a level is short.
 * Whoever stores tiles puts the root of each one that is full into the level above, and reads them back through a struct tlog_source; proofs read
 * O(log n) tiles.
 *
 *     struct tlog_source src = { read_tile, arg };
 *     tlog_prove (&src, index, size, &path, &e);          tlog_check (&leaf, index, size, &path, &root)
 *     tlog_prove_growth (&src, old, size, &path, &e);     tlog_check_growth (old, &old_root, size, &root, &path)
 * Indices count leaves from 0. The checks need nothing but their arguments, of any origin, and never read past a path.
 */
#ifndef ASSAY_VERIFIER_TLOG_H
#define ASSAY_VERIFIER_TLOG_H

#include "base/bytes.h"

#define TLOG_TILE 256u
#define TLOG_LEVELS 8u
#define TLOG_PATH_MAX 64u

struct tlog_path {
    struct digest v[TLOG_PATH_MAX];
    size_t n;
};
struct tlog_source {
    /* The hashes of a tile, at least as many as the size says. 0, or -1 with *e. The bytes stay good until the next call. */
    int (*tile) (void *arg, unsigned level, uint64_t n, const struct digest **hashes, size_t *count, struct err *e);
    void *arg;
};

struct digest tlog_leaf (struct bytes data);
struct digest tlog_node (const struct digest *left, const struct digest *right);
struct digest tlog_empty (void);                                                     /* root of a log of size 0 */

/* The hash of a whole tile: what is appended to the level above when a tile is full. */
struct digest tlog_tile_root (const struct digest hashes[TLOG_TILE]);
int tlog_root (const struct tlog_source *src, uint64_t size, struct digest *root, struct err *e);
int tlog_prove (const struct tlog_source *src, uint64_t index, uint64_t size, struct tlog_path *out, struct err *e);
int tlog_prove_growth (const struct tlog_source *src, uint64_t old, uint64_t size, struct tlog_path *out, struct err *e);

bool tlog_check (const struct digest *leaf, uint64_t index, uint64_t size, const struct tlog_path *path, const struct digest *root);
bool tlog_check_growth (uint64_t old, const struct digest *old_root, uint64_t size, const struct digest *root, const struct tlog_path *path);

#endif
