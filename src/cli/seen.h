/* seen.h: what this principal has seen of a verifier's log: the newest checkpoint, and evidence of a log that is not what it was.
 *
 * DIR/audit/VERIFIER/checkpoint     the signed note, as it came; written aside, synced, renamed: after a crash the old one or the new one
 * DIR/audit/VERIFIER/NAME.seen and .shown    two statements of that verifier that cannot both be true; the first SEEN_EVIDENCE pairs are kept
 * DIR/audit/VERIFIER/entries        how many entries of it were read, one by one (decimal)
 * DIR/audit/VERIFIER/lock           held from before a checkpoint is fetched until it is kept, so that two commands at once never see the log "shrink"
 */
#ifndef ASSAY_CLI_SEEN_H
#define ASSAY_CLI_SEEN_H

#include "base/bytes.h"

#define SEEN_EVIDENCE 64u

struct seen {
    char *dir;
    int lock;
    struct buf note;      /* empty: nothing was seen yet */
    uint64_t entries;     /* that were read; 0 as well where the file says nothing that makes sense: they are read again */
};
/* Waits for another command up to timeout_ms (EC_BUSY). On failure there is nothing to release. */
int seen_open (struct seen *s, const char *realm_dir, const char *verifier, int timeout_ms, struct err *e);
void seen_release (struct seen *s);
int seen_keep (struct seen *s, struct bytes note, struct err *e);
int seen_mark (struct seen *s, uint64_t entries, struct err *e);
/* Both into files named after their content (the same pair twice is one); *seen_path and *shown_path are the caller's, NULL where the pair was not kept. */
int seen_evidence (struct seen *s, struct bytes seen, struct bytes shown, char **seen_path, char **shown_path, struct err *e);

#endif
