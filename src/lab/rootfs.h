/* rootfs.h: the smallest root file system in which a step can run: this machine's /bin/sh with its libraries, and no other program.
 * Steps of the lab use only what a shell has built in. */
#ifndef ASSAY_LAB_ROOTFS_H
#define ASSAY_LAB_ROOTFS_H

#include "base/err.h"

int lab_rootfs (const char *dir, struct err *e); /* dir is made; an error names what this machine lacks */

#endif
