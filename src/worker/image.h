/* image.h: images by digest: fetched once, checked by the store client, kept within a bound, mounted read-only for a step.
 *
 * STATE/images/HEX/ holds the artifact (rootfs.squashfs); STATE/images/HEX.lock is held shared while a step uses it and exclusively
 * while it is fetched or removed. The mount lives in the calling process's own mount namespace and ends with it.
 */
#ifndef ASSAY_WORKER_IMAGE_H
#define ASSAY_WORKER_IMAGE_H

#include "auth/realm.h"

struct image_opts {
    const char *state;
    const struct digest *image;
    struct bytes lease, submission; /* envelopes: what allows the read */
    int deadline_ms;
    int64_t cache_max;              /* bytes; others that nobody uses are removed, oldest use first */
};
/* The root folder's path in *root (malloc'd); *lock keeps the image in place until closed. */
int image_open (struct realm *rl, const struct image_opts *o, const char *mount_at, char **root, int *lock, struct err *e);

#endif
