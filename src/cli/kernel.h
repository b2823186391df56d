/* kernel.h: what a VM boots: vmlinux and an initramfs, out of a Debian kernel package and assay's guest init.
 *
 * The package is unpacked once and kept by its SHA-256 in a cache ($XDG_CACHE_HOME/assay, ~/.cache/assay, else /var/cache/assay):
 * the kernel out of its bzImage, and the modules that the guest needs with those that they need. The initramfs is made here, entry by
 * entry in a fixed order with fixed times, so the same package and the same guest give the same bits.
 */
#ifndef ASSAY_CLI_KERNEL_H
#define ASSAY_CLI_KERNEL_H

#include "base/bytes.h"

#define KERNEL_META "linux-image-cloud-amd64"  /* the package that depends on the one with the kernel */

struct kernel_opts {
    const char *source; /* a package's file; NULL: what KERNEL_META stands for, downloaded with apt-get unless it is in the cache */
    const char *cpu;    /* the CPU model that the VM shows (base/cpu.h) */
};
struct kernel_facts {
    char release[128];  /* uname -r */
    unsigned guest;     /* version of what guest and worker speak */
};

/* Adds `vmlinux` and `initramfs` to the folder out. */
int kernel_add (const struct kernel_opts *k, const char *out, struct kernel_facts *facts, struct err *e);

#endif
