/* rootfs.h: make an image: a folder with rootfs.squashfs, image.json and, with a kernel, vmlinux and initramfs, bit for bit the same for the same input.
 *
 * `out` exists and is empty. rootfs_build installs packages of a Debian suite with mmdebstrap (the same archive state gives
 * the same bits, whatever the order of the packages). rootfs_import takes a folder (all times become the same) or a tar, which may be
 * compressed by gzip, xz or zstd. All files of an image are root's, whoever makes it.
 * Helper programs run without a shell; their last line on stderr is part of the error. ERR_USAGE for bad arguments.
 */
#ifndef ASSAY_CLI_ROOTFS_H
#define ASSAY_CLI_ROOTFS_H

#include "base/bytes.h"

#define ROOTFS_PACKAGES_MAX 512u

struct kernel_opts;

/* kernel: what a VM boots (kernel.h); NULL: none, and the image is for bwrap alone. */
int rootfs_build (const char *suite, char *const *packages, size_t count, const struct kernel_opts *kernel, const char *out, struct err *e);
int rootfs_import (const char *from, const struct kernel_opts *kernel, const char *out, struct err *e);

#endif
