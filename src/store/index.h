/* index.h: what the store knows about artifacts beside their bytes: who put them and for what, verdicts, names (SQLite, WAL).
 *
 * Every call that changes something is durable when it returns; a row is written only after the blobs are. One thread.
 */
#ifndef ASSAY_STORE_INDEX_H
#define ASSAY_STORE_INDEX_H

#include "base/bytes.h"

struct index_db;

struct index_put {
    struct digest artifact, lease, submission;
    struct bytes project, ref, step, owner, worker;
    uint64_t bytes;
    int64_t time;
};

int index_open (struct index_db **db, const char *path, struct err *e);
void index_close (struct index_db **db);
int index_add (struct index_db *db, const struct index_put *p, struct err *e); /* the same lease and artifact again: replaced */
uint64_t index_owner_bytes (struct index_db *db, struct bytes owner);
bool index_has (struct index_db *db, const struct digest *artifact);
bool index_lease_used (struct index_db *db, const struct digest *lease, const struct digest *artifact); /* by another artifact than this one */
/* The projects that hold the artifact, with whether it is trusted there, and on which votes. */
void index_projects (struct index_db *db, const struct digest *artifact, void (*fn) (void *arg, const char *project, bool trusted, const char *votes), void *arg);
/* Events: how many submissions of a ref a step wants kept, the newest verdict of a step, and how far the log was read. */
int index_keep (struct index_db *db, const struct digest *submission, uint64_t keep, int64_t until, struct err *e); /* until: artifacts of it may come, microseconds */
struct index_said {             /* a verdict */
    struct digest submission, artifact;
    const char *step, *project;
    bool trusted;
    uint64_t index;             /* in the verifier's log: one that is not newer than what is known is passed over */
    const char *votes;          /* what it rests on: a line "WORKER TIME" each, microseconds */
    int64_t time;               /* when it was made, microseconds */
};
int index_verdict (struct index_db *db, const struct index_said *v, struct err *e);
/* Blobs whose bytes an owner has sent: only those need not be sent again, so that naming a blob gains nobody what he does not have. */
int index_sent (struct index_db *db, struct bytes owner, const struct digest *blobs, size_t n, struct err *e);
bool index_has_sent (struct index_db *db, struct bytes owner, const struct digest *blob);
int index_unsent (struct index_db *db, const struct digest *blob, struct err *e);        /* it is gone: by nobody any more */
uint64_t index_seq (struct index_db *db);
int index_set_seq (struct index_db *db, uint64_t seq, struct err *e);
int index_begin (struct index_db *db, struct err *e);   /* one sync for what follows, up to index_end */
int index_end (struct index_db *db, struct err *e);
int index_name (struct index_db *db, struct bytes name, const struct digest *artifact, int64_t time, struct err *e);
bool index_named (struct index_db *db, const struct digest *artifact);
void index_names (struct index_db *db, struct bytes prefix, void (*fn) (void *arg, const char *name, const struct digest *artifact, uint64_t size, int64_t time), void *arg);
/* Drop rows that retention lets go: per project and ref the newest `keep` submissions stay (a submission's own word before
 * the default), trusted ones of tags and named ones stay for ever, and whatever is younger than `young` microseconds. With them goes what
 * events said of submissions (past `until`) and artifacts (INDEX_FORGET_US after their verdict) of which nothing is here. */
#define INDEX_FORGET_DAYS 62 /* twice the longest life of a submission */
#define INDEX_FORGET_US ((int64_t) INDEX_FORGET_DAYS * 86400 * 1000000)
int index_expire (struct index_db *db, uint64_t keep, int64_t now, int64_t young, size_t *dropped, struct err *e);
void index_artifacts (struct index_db *db, void (*fn) (void *arg, const struct digest *artifact), void *arg); /* all that stay */

#endif
