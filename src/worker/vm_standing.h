/* vm_standing.h: what is known of KVM, of this machine or of one image under it, since the machine's last boot and with the qemu that is
 * installed now; kept in a small file, so that it is found out once and not by each step.
 *
 *     standing_read (path, key, now_s, &s)   // STANDING_UNTRIED where nothing is known, or all that is known is of another boot or qemu
 *     standing_note (path, key, now_s, works, why, &s)   // s: what is known from now on, or NULL; -1: it could not be kept
 * A failure is not for ever: `again` says when it is tried once more; the pauses grow from a minute to an hour.
 */
#ifndef ASSAY_WORKER_VM_STANDING_H
#define ASSAY_WORKER_VM_STANDING_H

#include "base/bytes.h"

#define VM_WHY 256
#define STANDING_MAX 1024 /* bytes of such a file */

struct standing {
    enum { STANDING_UNTRIED, STANDING_WORKS, STANDING_FAILED } what;
    unsigned failures;    /* in a row */
    int64_t again;        /* seconds since 1970; with STANDING_FAILED */
    char why[VM_WHY];     /* one printable line; likewise */
};

/* Pure. Words that make no sense are STANDING_UNTRIED; key is one word or more, without a line's end. */
void standing_parse (struct bytes text, const char *key, int64_t now_s, struct standing *s);
void standing_format (const struct standing *s, const char *key, struct buf *text);
int64_t standing_pause (unsigned failures); /* seconds */

void standing_read (const char *path, const char *key, int64_t now_s, struct standing *s);
int standing_note (const char *path, const char *key, int64_t now_s, bool works, const char *why, struct standing *out);

#endif
