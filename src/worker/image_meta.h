/* image_meta.h: image.json, what an image says of itself, checked against its files before a VM boots them. */
#ifndef ASSAY_WORKER_IMAGE_META_H
#define ASSAY_WORKER_IMAGE_META_H

#include "base/bytes.h"

struct image_meta {
    bool bootable;              /* it has a kernel, and a guest that this worker speaks with */
    struct digest rootfs, kernel, initramfs;
    char cpu[32];
    unsigned guest;             /* its version; 0: no kernel */
    bool changed;               /* by image_meta_check: the folder does not hold what was fetched */
};

/* What is in DIR/image.json. Of a bootable image every field must be there and be sound. Hostile input. */
int image_meta_parse (struct bytes json, struct image_meta *m, struct err *e);
/* Read it, and hash all that is in DIR: the manifest must have the digest that DIR is named after (where it is named after one), and the three
 * files of an image that boots must be those that image.json names. It is not hashed again while no file has another number, size, mode
 * or time than DIR.checked has of each. ERR_DAMAGED where something does not match. */
#define IMAGE_CHECKED ".checked"
#define IMAGE_KVM ".kvm" /* vm_probe.h */
int image_meta_check (const char *dir, struct image_meta *m, struct err *e);

#endif
