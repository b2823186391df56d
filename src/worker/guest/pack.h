/* pack.h: a tree as one stream of bytes, over a block device: source and inputs into a VM, outputs out of it. Used on both sides; needs
 * nothing but libc, so that the guest's init can be linked with it.
 *
 * A stream is entries, then the end. An entry: 32 bytes of head (type, 0, u16 length of the path, u32 mode, u64 size, i64 seconds and
 * u32 nanoseconds of its time, u32 0; little-endian), the path, then `size` bytes: a file's content or a link's target. Types: 'd' folder,
 * 'f' file, 'l' link, 'p' named pipe, 's' socket. The end is a head of type '.', its size the number of entries. Folders come before what
 * they hold; entries of a folder in the order that git has them (a folder sorts as its name and a '/'), so that the same tree is always
 * the same bytes, and is made again in the same order.
 *
 * unpack trusts nothing of the stream: a path is relative, has no "", "." or "..", and its parent is a folder that this very stream
 * made; no entry is made twice; links are made and never followed; only the three bits of permission pass; entries, bytes and depth are
 * bounded before anything is made. What an entry makes lies below the root that it was given, always.
 */
#ifndef ASSAY_WORKER_GUEST_PACK_H
#define ASSAY_WORKER_GUEST_PACK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACK_PATH_MAX 4095u
#define PACK_DEPTH_MAX 140
#define PACK_NAMES_MAX (64u << 20) /* bytes of all paths of a stream that is not trusted */
#define PACK_WHY 256

struct pack_out { /* a writer over a descriptor; zeroed, then fd and limit set */
    int fd;
    uint64_t limit;       /* bytes that may be written in all */
    uint64_t written, entries;
    uint64_t max_bytes, bytes; /* of contents: 0 is no bound */
    uint64_t max_entries;      /* 0: no bound */
    uint8_t *buf;
    size_t used;
    /* may be NULL: which paths (with their root's name left off) are wanted; a folder that is not wanted is not looked into */
    bool (*want) (void *arg, const char *path, bool folder);
    void *arg;
    char why[PACK_WHY];   /* after -1 */
    bool full;            /* -1 came of a bound, not of an error */
};

/* Add the tree below the folder open as dir, under the name `root` ("src"), itself included. -1 with why. */
int pack_tree (struct pack_out *p, int dir, const char *root);
int pack_end (struct pack_out *p); /* the end, and everything written out */
void pack_release (struct pack_out *p);

struct pack_in { /* zeroed, then set */
    int fd;               /* read from here on */
    uint64_t limit;       /* bytes that may be read in all */
    uint64_t max_entries, max_bytes, max_names; /* max_names: bytes of all paths; 0: no bound */
    const char *const *roots; /* names that may stand first, NULL at the end; each must be a folder in dir */
    int64_t uid;          /* owner of what is below the root `own` (NULL: of all), -1: as it is */
    const char *own;
    uint64_t done, entries, bytes, names;
    uint8_t *buf;
    size_t at, have;
    char why[PACK_WHY];
};

int unpack_tree (struct pack_in *p, int dir); /* 0: all of it, to its end; -1 with why */
void unpack_release (struct pack_in *p);

#endif
