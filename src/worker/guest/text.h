/* text.h: the kernel's texts under /proc and /sys. Needs nothing but libc, as the guest's init is linked with it. */
#ifndef ASSAY_WORKER_GUEST_TEXT_H
#define ASSAY_WORKER_GUEST_TEXT_H

#include <stddef.h>
#include <stdint.h>

size_t text_read (const char *path, char *text, size_t size);   /* as much as fits, and a NUL; how much. 0: not there, or empty */
uint64_t text_value (const char *text, const char *name);       /* of its line "NAME VALUE"; 0 where there is none, or no number. Pure */

#endif
