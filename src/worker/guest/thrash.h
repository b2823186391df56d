/* thrash.h: a control group that is out of memory without the kernel saying so. Needs nothing but libc, as the guest's init is linked with it.
 *
 * All that it may have is taken by what cannot be given back, but for a few pages of its programs' own files, which the kernel throws out and reads
 * in again and again: to it that is progress, so that it kills nothing, and the step goes on like that, at the cost of the machine's disk, until its
 * time is over. Looked at once a second; some seconds of nothing else, and it is out of memory.
 */
#ifndef ASSAY_WORKER_GUEST_THRASH_H
#define ASSAY_WORKER_GUEST_THRASH_H

#include <stdbool.h>
#include <stdint.h>

#define THRASH_LOOK_MS 1000
#define THRASH_ROUNDS 5u           /* looks in a row */
#define THRASH_FAULTS 20u          /* a second, for which a file had to be read */
#define THRASH_FILES (UINT64_C (2) << 20) /* bytes of files that are still in memory */

struct thrash { /* zero at first */
    int64_t looked;
    uint64_t faults;
    unsigned rounds;
};

/* used, limit: bytes; stat: the text of memory.stat, of either version. Is it out of memory? Pure. */
bool thrash_judge (struct thrash *t, int64_t now_ms, uint64_t used, uint64_t limit, const char *stat);
/* Of the group in this folder, by the names of its files; false before it is time to look again, and where there is no such group. */
bool thrash_look (struct thrash *t, int64_t now_ms, const char *dir, const char *used, const char *limit);

#endif
