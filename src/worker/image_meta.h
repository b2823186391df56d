/* image_meta.h: image.json, what an image says of itself, checked against its files before a VM boots them. */
#ifndef ASSAY_WORKER_IMAGE_META_H
#define ASSAY_WORKER_IMAGE_META_H

#include "base/bytes.h"

struct image_meta {
    bool bootable;              /* it has a kernel, and a guest that this worker speaks with */
    struct digest rootfs, kernel, initramfs;
    char cpu[32];
    unsigned guest;             /* its version; 0: no kernel */
};

/* What is in DIR/image.json. Of a bootable image every field must be there and be sound. Hostile input. */
int image_meta_parse (struct bytes json, struct image_meta *m, struct err *e);
int image_meta_read (const char *dir, struct image_meta *m, struct err *e);
/* Read it and, for a bootable image, hash the three files once (DIR/checked remembers it). ERR_DAMAGED where one does not match. */
int image_meta_check (const char *dir, struct image_meta *m, struct err *e);

#endif
