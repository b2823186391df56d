/* spool.h: signed submissions that wait beside the repository, and what was last submitted of each ref.
 *
 * GITDIR/assay/spool/ID       the envelope, written aside, synced and renamed
 * GITDIR/assay/spool/refused/ID[.why]   what the broker will never take, with its reason
 * GITDIR/assay/refs           "COMMIT REF" lines: what the hook last dealt with, so that a killed hook's pushes are found again
 * GITDIR/assay/lock           held while the hook or a flush changes any of these
 */
#ifndef ASSAY_CLI_SPOOL_H
#define ASSAY_CLI_SPOOL_H

#include "cli/submit.h"

int spool_lock (const char *gitdir, const char *name, int timeout_ms, struct err *e);   /* the fd; close to let go. name: "lock", "flush" */
int spool_put (const char *gitdir, const struct digest *id, struct bytes envelope, struct err *e);
size_t spool_count (const char *gitdir);
/* Send all that waits, oldest first. each (may be NULL) hears of every one sent or refused. -1 with ERR_UNREACHABLE keeps the rest. */
int spool_send (const char *gitdir, struct client *broker, void (*each) (void *arg, const char *id, const struct err *refused), void *arg, struct err *e);

struct ledger {           /* ref -> commit */
    struct ledger_row {
        char *ref, commit[65];
        bool seen;        /* for the caller */
    } *v;
    size_t n, cap;
    bool present;         /* there was a file */
};
int ledger_load (const char *gitdir, struct ledger *l, struct err *e);
int ledger_save (const char *gitdir, const struct ledger *l, struct err *e);
struct ledger_row *ledger_find (struct ledger *l, const char *ref);
void ledger_set (struct ledger *l, const char *ref, const char *commit); /* commit NULL: forget the ref */
void ledger_release (struct ledger *l);

#endif
