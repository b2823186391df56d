/* file.h: files that survive a crash.
 *
 * file_write: temp file beside the target, write, fsync, rename, fsync of the folder: after success the new content is
 * there for good, after a crash the old or the new, never a mixture. Modes are set at creation (0600 for secrets).
 */
#ifndef ASSAY_BASE_FILE_H
#define ASSAY_BASE_FILE_H

#include <sys/types.h>

#include "base/bytes.h"

int file_write (const char *path, struct bytes content, mode_t mode, struct err *e);
int file_read (const char *path, size_t max, struct buf *out, struct err *e);      /* refuses more than max bytes; regular files only */
int file_mkdirs (const char *path, mode_t mode, struct err *e);                    /* like mkdir -p */
int file_sync_dir (const char *path, struct err *e);
/* Remove path and all below it, never following a link, never leaving its file system. Absent is fine. */
int file_remove_tree (const char *path, struct err *e);
/* A new folder, 0700, in $TMPDIR, else in `otherwise`: its path, malloc'd; NULL on failure. */
char *file_temp_dir (const char *name, const char *otherwise, struct err *e);
/* Hold path (created 0600) as a lock until the process ends; ERR_FAILED naming the holder's pid if another has it. Returns the fd. */
int file_lock (const char *path, struct err *e);
/* flock on an open file, shared or exclusive; EC_BUSY if others keep it from us for timeout_ms. Changing a lock one has lets it go in between. */
int file_flock (int fd, bool exclusive, int64_t timeout_ms, struct err *e);
/* Another program of ours: beside this one first (a build that is not installed), then in ../libexec/assay (installed, and moved since: DESTDIR), then in
 * `installed`, else its bare name, for PATH. malloc'd. */
char *file_program (const char *name, const char *installed);
bool file_write_all (int fd, const void *p, size_t len);                           /* retries EINTR and short writes; errno */
bool file_read_exact (int fd, void *p, size_t len);
/* Descriptors over a unix socket, with bytes that go in the same message. -1 with errno. */
#define FDS_MAX 16
int fds_send (int to, const void *p, size_t len, const int *fds, size_t n);
int fds_receive (int from, int *fds, size_t n);                                     /* exactly n, with one byte; else -1, and none is left open */
void fd_close (int *fd);                                                           /* for CLEANUP; -1 is fine */

int64_t time_now_us (void);                                                        /* CLOCK_REALTIME, microseconds since 1970 */
int64_t time_mono_ms (void);                                                       /* CLOCK_MONOTONIC, milliseconds */
void time_format (int64_t us, char out[32]);                                       /* RFC 3339 in UTC, milliseconds */
bool time_parse (const char *s, int64_t *us);                                      /* RFC 3339, @SECONDS, or NUMBER(s|m|h|d) "ago" relative: "-2h" */

#endif
