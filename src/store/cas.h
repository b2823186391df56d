/* cas.h: blobs by their SHA-256: written aside, synced together, then named.
 *
 *     cas_open (&c, "fs", dir, &e);
 *     struct cas_batch *b = cas_batch_new (c, NULL);
 *     for each blob: cas_batch_begin (b, &digest, size, &e), cas_batch_write (...)..., cas_batch_end (b, &e)   // end checks size and digest
 *     cas_batch_commit (b, &e);       // one sync for all, then they appear, durable; may run on another thread than the rest
 *     cas_batch_drop (&b);            // also after a commit; what was not committed is gone
 *
 * After a crash a blob is there whole or not at all. What was written aside stays for a batch of the same name, until cas_forget, or
 * a restart of the machine, after which nobody knows what of it reached the disk:
 *
 *     struct cas_batch *b = cas_batch_new (c, &name);
 *     if (cas_batch_left (b)) for each blob: cas_batch_resume (b, &digest, size, &have, &e)
 *
 * A batch belongs to one thread at a time; the other calls may be made from any thread. Errors: EC_DAMAGED, EC_NOT_FOUND, EC_INTERNAL (disk).
 */
#ifndef ASSAY_STORE_CAS_H
#define ASSAY_STORE_CAS_H

#include "base/bytes.h"

struct cas;
struct cas_batch;

int cas_open (struct cas **c, const char *backend, const char *dir, struct err *e); /* "fs" (dir), "mem" */
/* An fs store that may be in use: nothing is made or cleared away; no batches. */
int cas_look (struct cas **c, const char *dir, struct err *e);
void cas_close (struct cas **c);
bool cas_has (struct cas *c, const struct digest *d, uint64_t *size);               /* size may be NULL */
/* Exactly len bytes at offset. */
int cas_read (struct cas *c, const struct digest *d, uint64_t offset, void *p, size_t len, struct err *e);
/* Hash the whole blob; where it does not fit its name it is set aside and the answer is EC_DAMAGED. A blob that has not
 * changed on disk since it was last found good is not read again, unless `again`. */
int cas_verify (struct cas *c, const struct digest *d, bool again, struct err *e);
int cas_remove (struct cas *c, const struct digest *d, struct err *e);              /* absent is fine */
int cas_each (struct cas *c, void (*fn) (void *arg, const struct digest *d, uint64_t size), void *arg, struct err *e);
uint64_t cas_free (struct cas *c);                                                  /* bytes that may still be written */

/* name: of at most one batch at a time; NULL: of no other batch ever */
struct cas_batch *cas_batch_new (struct cas *c, const struct digest *name);
bool cas_batch_left (struct cas_batch *b);                                          /* did an earlier batch of that name leave something? */
/* Go on with what was left of a blob, which is hashed again. 1: all of it was there, and the blob is ended; 0: *have bytes are there and it is
 * begun, or *have is 0 and nothing is (bytes that are as many as they should be and do not fit the digest are nothing). */
int cas_batch_resume (struct cas_batch *b, const struct digest *d, uint64_t size, uint64_t *have, struct err *e);
int cas_batch_begin (struct cas_batch *b, const struct digest *d, uint64_t size, struct err *e);
int cas_batch_write (struct cas_batch *b, const void *p, size_t len, struct err *e);
int cas_batch_end (struct cas_batch *b, struct err *e);
int cas_batch_commit (struct cas_batch *b, struct err *e);
void cas_batch_drop (struct cas_batch **b);
void cas_batch_leave (struct cas_batch **b);                                        /* ... but for a later batch of that name, of this process or the next */
/* Remove what batches left, but for those of these names. */
int cas_forget (struct cas *c, const struct digest *names, size_t n, struct err *e);

#endif
