/* image.h: images by digest: fetched once, checked by the store client, kept within a bound, mounted read-only for a step.
 *
 * STATE/images/HEX/ holds the artifact (rootfs.squashfs, image.json, and what a VM boots: vmlinux, initramfs); STATE/images/HEX.lock is held shared while a step uses it and exclusively
 * while it is fetched or removed. Beside it are what the worker made of it: HEX.checked (image_meta.h), HEX.kvm (vm_probe.h), HEX.root (unpacked). One whose files are no longer
 * those of its digest is refused and thrown away. The mount lives in the calling process's own mount namespace and ends with it.
 */
#ifndef ASSAY_WORKER_IMAGE_H
#define ASSAY_WORKER_IMAGE_H

#include "auth/realm.h"
#include "worker/image_meta.h"

struct image_opts {
    const char *state;
    const struct digest *image;
    struct bytes lease, submission; /* envelopes: what allows the read */
    int deadline_ms;
    int64_t cache_max;              /* bytes; others that nobody uses are removed, oldest use first */
};
/* The image's folder in *dir (malloc'd), and what it says of itself; *lock keeps it in place until closed. */
int image_open (struct realm *rl, const struct image_opts *o, char **dir, struct image_meta *meta, int *lock, struct err *e);
/* Its root file system, mounted at mount_at or unpacked: the path in *root (malloc'd). */
int image_mount (const struct image_opts *o, const char *dir, const char *mount_at, char **root, int lock, struct err *e);

#endif
