/* repo.h: inside src/source only: libgit2 objects with scope-bound cleanup, and its error as ours. */
#ifndef ASSAY_SOURCE_REPO_H
#define ASSAY_SOURCE_REPO_H

#include <git2.h>

#include "source/git.h"

#define REPO(name) __attribute__ ((cleanup (repo_close))) git_repository *name = NULL
#define TREE(name) __attribute__ ((cleanup (repo_tree_free))) git_tree *name = NULL
#define BLOB(name) __attribute__ ((cleanup (repo_blob_free))) git_blob *name = NULL

void repo_start (void);                                                       /* libgit2, once a process */
void repo_close (git_repository **r);
void repo_tree_free (git_tree **t);
void repo_blob_free (git_blob **b);
int repo_fail (struct err *e, int rc, const char *fmt, ...) __attribute__ ((format (printf, 3, 4)));
int repo_open (const char *path, git_repository **r, struct err *e);          /* at or above path */
int repo_open_here (const char *path, git_repository **r, struct err *e);     /* exactly here: a mirror */
int repo_commit_tree (git_repository *r, const char *commit, git_tree **tree, int64_t *time, struct err *e);
bool repo_id_valid (const char *id);                                          /* a full id: 40 lower-case hex digits */

#endif
