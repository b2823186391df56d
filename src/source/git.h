/* git.h: the one reader of repositories (libgit2), and the confined fetch (the git program).
 *
 * Ids are hex strings of 40 (or 64) digits at this seam. Repositories are hostile: no hooks, filters, submodules, attributes
 * or configuration of theirs is obeyed.
 */
#ifndef ASSAY_SOURCE_GIT_H
#define ASSAY_SOURCE_GIT_H

#include "base/bytes.h"

struct git_rev {
    char id[65];
    int64_t time;      /* committer's, seconds since 1970 */
    char *message;     /* cleaned for display is the caller's task */
};
void git_rev_release (struct git_rev *c);

void git_start (void); /* load the library now, not with the first call: it takes milliseconds */

/* Resolve rev (name, branch, prefix, id) in the repository at or above `path`. */
int git_resolve (const char *path, const char *rev, struct git_rev *c, struct err *e);
/* The full name of the branch or tag that rev means ("refs/heads/main"; HEAD gives the branch checked out); "" if it is neither. */
int git_ref_of (const char *path, const char *rev, struct buf *ref, struct err *e);
int git_read_file (const char *path, const char *commit, const char *file, size_t max, struct buf *out, struct err *e);
/* Where the repository's git folder is; bare tells which kind. */
int git_dir (const char *path, struct buf *gitdir, bool *bare, struct err *e);
int git_config_get (const char *path, const char *key, struct buf *value, struct err *e); /* EC_NOT_FOUND */
int git_config_set (const char *path, const char *key, const char *value, struct err *e);
int git_config_set_file (const char *file, const char *key, const char *value, struct err *e); /* a configuration file by its path */
int git_origin_url (const char *path, const char *remote, struct buf *url, struct err *e);
/* Every ref under refs/heads and refs/tags: callback (name, commit id). */
int git_refs (const char *path, int (*each) (void *arg, const char *ref, const char *id), void *arg, struct err *e);

/* What may be fetched from: https://, ssh://, git://, USER@HOST:PATH; and, only after git_allow_file (true), file:///PATH on
 * this machine (the worker's owner says so in its configuration). Everything else is refused before git runs. */
void git_allow_file (bool yes);
int git_url_check (const char *url, struct err *e);
/* Where the server of a URL was found to be. Its name is not looked up again: an answer that was good must not be another one when git asks. */
struct git_place {
    const char *host, *address; /* as in the URL (lower case, no brackets); an IP address in text */
    uint16_t port;
};
/* Fetch exactly `commit` from url into the bare mirror (created if absent), confined, within timeout_ms. Kills what it started on timeout.
 * at: the one address that git may connect to, and no redirection leads elsewhere; NULL for a file URL, or where git may look it up. */
int git_fetch (const char *mirror, const char *url, const struct git_place *at, const char *commit, int timeout_ms, struct err *e);
bool git_has (const char *mirror, const char *commit);
/* Write the commit's tree below dir (exists, empty): regular files 0644/0755, symlinks as they are (but none that leaves the
 * tree is followed while writing), submodules as empty folders; mtimes all the commit's time. Bounds on files and bytes. */
int git_checkout (const char *mirror, const char *commit, const char *dir, uint64_t max_files, uint64_t max_bytes, struct err *e);

#endif
