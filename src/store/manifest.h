/* manifest.h: the canonical list of an artifact's contents; its SHA-256 is the artifact's digest. Pure.
 *
 * Format: "assay-manifest-1\n", then each entry in bytewise order of path: u32be length and path, one type byte ('f' file,
 * 'x' executable file, 'd' directory, 'l' symlink), u64be size (link: length of the target; directory: 0), then 32 bytes SHA-256 of the content (file)
 * or u32be length and target (link); nothing for a directory. No duplicates, no parent missing, no entry below a non-directory,
 * paths relative UTF-8 without "", ".", "..", control characters; links stay inside the tree.
 */
#ifndef ASSAY_STORE_MANIFEST_H
#define ASSAY_STORE_MANIFEST_H

#include "base/bytes.h"

#define MANIFEST_BYTES_MAX (3u << 20)
#define MANIFEST_ENTRIES_MAX 65536u
#define MANIFEST_PATH_MAX 1023u

struct manifest_entry {
    char *path;
    char type;             /* 'f' 'x' 'd' 'l' */
    uint64_t size;
    struct digest digest;  /* files */
    char *target;          /* links */
};
struct manifest {
    struct manifest_entry *v;
    size_t n, cap;
};

void manifest_init (struct manifest *m);
void manifest_release (struct manifest *m);
int manifest_add (struct manifest *m, const char *path, char type, uint64_t size, const struct digest *d, const char *target, struct err *e); /* any order */
int manifest_finish (struct manifest *m, struct buf *out, struct err *e);   /* sort, check the rules, encode */
int manifest_parse (struct bytes raw, struct manifest *m, struct err *e);   /* hostile input; only the canonical form is accepted */
struct digest manifest_digest (struct bytes raw);
uint64_t manifest_bytes (const struct manifest *m);                         /* of distinct blobs */
/* Distinct blobs in order of first appearance: indices of entries. Caller frees. */
size_t *manifest_blobs (const struct manifest *m, size_t *count);
struct digest manifest_empty (void);                                        /* digest of the artifact with no entries */
int manifest_link_check (const char *path, const char *target, struct err *e);

#endif
