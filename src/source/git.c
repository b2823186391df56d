/* git.c: reading repositories with libgit2. Contracts: git.h. */
#include "source/repo.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void start_once (void)
{
    git_libgit2_init ();
}

void repo_start (void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once (&once, start_once);
}

void git_start (void)
{
    repo_start ();
}

void repo_close (git_repository **r)
{
    git_repository_free (*r);
    *r = NULL;
}

void repo_tree_free (git_tree **t)
{
    git_tree_free (*t);
    *t = NULL;
}

void repo_blob_free (git_blob **b)
{
    git_blob_free (*b);
    *b = NULL;
}

static void object_free (git_object **o)
{
    git_object_free (*o);
    *o = NULL;
}

static void entry_free (git_tree_entry **t)
{
    git_tree_entry_free (*t);
    *t = NULL;
}

static void config_free (git_config **c)
{
    git_config_free (*c);
    *c = NULL;
}

int repo_fail (struct err *e, int rc, const char *fmt, ...)
{
    const git_error *g = git_error_last ();
    char what[512];
    va_list ap;
    va_start (ap, fmt);
    vsnprintf (what, sizeof what, fmt, ap);
    va_end (ap);
    BUF (clean);
    if (g && g->message)
        text_clean (bytes_str (g->message), false, &clean);
    if (rc == GIT_ENOTFOUND)
        return err_code (e, EC_NOT_FOUND, "%s: %s", what, clean.len ? buf_str (&clean) : "not found");
    return err_set (e, ERR_FAILED, "%s: %s", what, clean.len ? buf_str (&clean) : "libgit2 failed");
}

int repo_open (const char *path, git_repository **r, struct err *e)
{
    repo_start ();
    int rc = git_repository_open_ext (r, path, 0, NULL);
    if (rc == GIT_ENOTFOUND)
        return err_set (e, ERR_USAGE, "%s: not a git repository (run this in one, or name it with -C)", path);
    return rc ? repo_fail (e, rc, "%s", path) : 0;
}

int repo_open_here (const char *path, git_repository **r, struct err *e)
{
    repo_start ();
    int rc = git_repository_open_ext (r, path, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL);
    return rc ? repo_fail (e, rc, "%s", path) : 0;
}

bool repo_id_valid (const char *id)
{
    return strlen (id) == GIT_OID_HEXSZ && strspn (id, "0123456789abcdef") == GIT_OID_HEXSZ;
}

int repo_commit_tree (git_repository *r, const char *commit, git_tree **tree, int64_t *time, struct err *e)
{
    git_oid oid;
    if (!repo_id_valid (commit) || git_oid_fromstr (&oid, commit))
        return err_set (e, ERR_USAGE, "commit %.80s: not a full id of 40 lower-case hex digits", commit);
    git_commit *c = NULL;
    int rc = git_commit_lookup (&c, r, &oid);
    if (rc)
        return repo_fail (e, rc, "commit %s", commit);
    if (time)
        *time = git_commit_time (c);
    rc = git_commit_tree (tree, c);
    git_commit_free (c);
    return rc ? repo_fail (e, rc, "tree of commit %s", commit) : 0;
}

void git_rev_release (struct git_rev *c)
{
    free (c->message);
    memset (c, 0, sizeof *c);
}

int git_resolve (const char *path, const char *rev, struct git_rev *c, struct err *e)
{
    memset (c, 0, sizeof *c);
    REPO (r);
    if (repo_open (path, &r, e) == -1)
        return -1;
    git_object *CLEANUP (object_free) o = NULL, *CLEANUP (object_free) peeled = NULL;
    int rc = git_revparse_single (&o, r, rev);
    if (rc == GIT_ENOTFOUND)
        return err_set (e, ERR_USAGE, "%.200s: no such commit, branch or tag in %.300s", rev, path);
    if (rc) {
        repo_fail (e, rc, "%.200s", rev);
        if (e)
            e->kind = ERR_USAGE;
        return -1;
    }
    rc = git_object_peel (&peeled, o, GIT_OBJECT_COMMIT);
    if (rc)
        return err_set (e, ERR_USAGE, "%.200s: names no commit", rev);
    git_oid_tostr (c->id, sizeof c->id, git_object_id (peeled));
    c->time = git_commit_time ((git_commit *) peeled);
    const char *message = git_commit_message ((git_commit *) peeled);
    c->message = xstrdup (message ? message : "");
    return 0;
}

int git_ref_of (const char *path, const char *rev, struct buf *ref, struct err *e)
{
    REPO (r);
    if (repo_open (path, &r, e) == -1)
        return -1;
    git_reference *named = NULL, *direct = NULL;
    if (git_reference_dwim (&named, r, rev) == 0 && git_reference_resolve (&direct, named) == 0) {
        const char *name = git_reference_name (direct);
        if (strncmp (name, "refs/heads/", 11) == 0 || strncmp (name, "refs/tags/", 10) == 0)
            buf_adds (ref, name);
    }
    git_reference_free (named);
    git_reference_free (direct);
    buf_str (ref);
    return 0;
}

int git_read_file (const char *path, const char *commit, const char *file, size_t max, struct buf *out, struct err *e)
{
    REPO (r);
    TREE (tree);
    BLOB (blob);
    if (repo_open (path, &r, e) == -1 || repo_commit_tree (r, commit, &tree, NULL, e) == -1)
        return -1;
    git_tree_entry *CLEANUP (entry_free) entry = NULL;
    int rc = git_tree_entry_bypath (&entry, tree, file);
    if (rc)
        return rc == GIT_ENOTFOUND ? err_code (e, EC_NOT_FOUND, "%s: not in commit %.12s", file, commit) : repo_fail (e, rc, "%s", file);
    git_filemode_t mode = git_tree_entry_filemode_raw (entry);
    if (git_tree_entry_type (entry) != GIT_OBJECT_BLOB || (mode & 0170000) != 0100000)
        return err_set (e, ERR_USAGE, "%s: not a regular file in commit %.12s", file, commit);

    /* The header tells the size before anything is inflated. */
    git_odb *odb = NULL;
    size_t size = 0;
    git_object_t type;
    rc = git_repository_odb (&odb, r);
    if (rc == 0)
        rc = git_odb_read_header (&size, &type, odb, git_tree_entry_id (entry));
    git_odb_free (odb);
    if (rc)
        return repo_fail (e, rc, "%s in commit %.12s", file, commit);
    if (size > max)
        return err_code (e, EC_OVERSIZED, "%s: %zu bytes in commit %.12s (at most %zu)", file, size, commit, max);
    rc = git_blob_lookup (&blob, r, git_tree_entry_id (entry));
    if (rc)
        return repo_fail (e, rc, "%s in commit %.12s", file, commit);
    if ((size_t) git_blob_rawsize (blob) > max)
        return err_code (e, EC_OVERSIZED, "%s: more than %zu bytes in commit %.12s", file, max, commit);
    buf_add (out, git_blob_rawcontent (blob), (size_t) git_blob_rawsize (blob));
    return 0;
}

int git_dir (const char *path, struct buf *gitdir, bool *bare, struct err *e)
{
    REPO (r);
    if (repo_open (path, &r, e) == -1)
        return -1;
    const char *dir = git_repository_commondir (r);
    size_t len = strlen (dir);
    while (len > 1 && dir[len - 1] == '/')
        len--;
    buf_add (gitdir, dir, len);
    buf_str (gitdir);
    if (bare)
        *bare = git_repository_is_bare (r);
    return 0;
}

int git_config_get (const char *path, const char *key, struct buf *value, struct err *e)
{
    REPO (r);
    git_config *CLEANUP (config_free) c = NULL;
    if (repo_open (path, &r, e) == -1)
        return -1;
    int rc = git_repository_config_snapshot (&c, r);
    const char *v = NULL;
    if (rc == 0)
        rc = git_config_get_string (&v, c, key);
    if (rc)
        return repo_fail (e, rc, "git config %s", key);
    buf_adds (value, v);
    buf_str (value);
    return 0;
}

int git_config_set (const char *path, const char *key, const char *value, struct err *e)
{
    REPO (r);
    git_config *CLEANUP (config_free) all = NULL, *CLEANUP (config_free) local = NULL;
    if (repo_open (path, &r, e) == -1)
        return -1;
    int rc = git_repository_config (&all, r);
    if (rc == 0)
        rc = git_config_open_level (&local, all, GIT_CONFIG_LEVEL_LOCAL);
    if (rc == 0)
        rc = git_config_set_string (local, key, value);
    return rc ? repo_fail (e, rc, "git config %s", key) : 0;
}

int git_config_set_file (const char *file, const char *key, const char *value, struct err *e)
{
    git_config *CLEANUP (config_free) c = NULL;
    repo_start ();
    int rc = git_config_open_ondisk (&c, file);
    if (rc == 0)
        rc = git_config_set_string (c, key, value);
    return rc ? repo_fail (e, rc, "%s: %s", file, key) : 0;
}

int git_origin_url (const char *path, const char *remote, struct buf *url, struct err *e)
{
    BUF (key);
    buf_addf (&key, "remote.%s.url", remote);
    return git_config_get (path, buf_str (&key), url, e);
}

int git_refs (const char *path, int (*each) (void *arg, const char *ref, const char *id), void *arg, struct err *e)
{
    REPO (r);
    if (repo_open (path, &r, e) == -1)
        return -1;
    git_reference_iterator *it = NULL;
    int rc = git_reference_iterator_new (&it, r), stop = 0;
    if (rc)
        return repo_fail (e, rc, "refs of %s", path);
    git_reference *ref = NULL;
    while (!stop && (rc = git_reference_next (&ref, it)) == 0) {
        const char *name = git_reference_name (ref);
        git_object *CLEANUP (object_free) o = NULL;
        char id[GIT_OID_HEXSZ + 1];
        /* A ref that leads to no commit (a tag of a blob, a broken link) has nothing to build. */
        if ((strncmp (name, "refs/heads/", 11) == 0 || strncmp (name, "refs/tags/", 10) == 0) &&
            git_reference_peel (&o, ref, GIT_OBJECT_COMMIT) == 0)
            stop = each (arg, name, git_oid_tostr (id, sizeof id, git_object_id (o)));
        git_reference_free (ref);
    }
    git_reference_iterator_free (it);
    if (stop)
        return -1;
    return rc == GIT_ITEROVER ? 0 : repo_fail (e, rc, "refs of %s", path);
}

bool git_has (const char *mirror, const char *commit)
{
    REPO (r);
    TREE (tree);
    return repo_open_here (mirror, &r, NULL) == 0 && repo_commit_tree (r, commit, &tree, NULL, NULL) == 0;
}
