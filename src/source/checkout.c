/* checkout.c: a commit's tree written out as plain files. Contract: git.h (git_checkout).
 *
 * Nothing but what this function made is ever walked: each folder is made by mkdirat and opened without following links, so
 * that a tree with a link and a folder of the same name ends in an error, not outside.
 */
#include "source/repo.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define DEPTH_MAX 128

struct writer {
    git_repository *r;
    git_odb *odb;
    uint64_t files, bytes, max_files, max_bytes;
    struct timespec when[2];
    char path[4096]; /* of the entry at hand, for messages */
    struct err *e;
};

static int refuse (struct writer *w, const char *why)
{
    BUF (clean);
    text_clean (bytes_str (w->path), false, &clean);
    return err_code (w->e, EC_MALFORMED, "%s: %s", buf_str (&clean), why);
}

static int sys_fail (struct writer *w)
{
    int saved = errno;
    BUF (clean);
    text_clean (bytes_str (w->path), false, &clean);
    errno = saved;
    return err_errno (w->e, "%s", buf_str (&clean));
}

static bool name_plain (const char *name)
{
    return *name && strcmp (name, ".") && strcmp (name, "..") && strcasecmp (name, ".git") && !strchr (name, '/') && strlen (name) <= 255;
}

/* The size before inflating, counted against the bound. */
static int count_blob (struct writer *w, const git_oid *id)
{
    size_t size = 0;
    git_object_t type;
    int rc = git_odb_read_header (&size, &type, w->odb, id);
    if (rc)
        return repo_fail (w->e, rc, "%s", w->path);
    if (type != GIT_OBJECT_BLOB)
        return refuse (w, "the tree says file, the object says otherwise");
    if (size > w->max_bytes - w->bytes)
        return err_code (w->e, EC_QUOTA, "source tree: more than %llu bytes", (unsigned long long) w->max_bytes);
    w->bytes += size;
    return 0;
}

static int write_file (struct writer *w, int dir, const char *name, const git_oid *id, bool executable)
{
    BLOB (blob);
    if (count_blob (w, id) == -1)
        return -1;
    int rc = git_blob_lookup (&blob, w->r, id);
    if (rc)
        return repo_fail (w->e, rc, "%s", w->path);
    CLEANUP (fd_close) int fd = openat (dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, executable ? 0755 : 0644);
    if (fd == -1 || !file_write_all (fd, git_blob_rawcontent (blob), (size_t) git_blob_rawsize (blob)) ||
        fchmod (fd, executable ? 0755 : 0644) == -1 || futimens (fd, w->when) == -1)
        return sys_fail (w);
    return 0;
}

static int write_link (struct writer *w, int dir, const char *name, const git_oid *id)
{
    BLOB (blob);
    if (count_blob (w, id) == -1)
        return -1;
    int rc = git_blob_lookup (&blob, w->r, id);
    if (rc)
        return repo_fail (w->e, rc, "%s", w->path);
    char target[4096];
    if (!bytes_copy (bytes_of (git_blob_rawcontent (blob), (size_t) git_blob_rawsize (blob)), target, sizeof target) || !*target)
        return refuse (w, "a link without a usable target");
    if (symlinkat (target, dir, name) == -1 || utimensat (dir, name, w->when, AT_SYMLINK_NOFOLLOW) == -1)
        return sys_fail (w);
    return 0;
}

static int write_tree (struct writer *w, int dir, const git_tree *tree, size_t path_len, unsigned depth);

static int write_folder (struct writer *w, int dir, const char *name, const git_oid *id, size_t path_len, unsigned depth)
{
    if (mkdirat (dir, name, 0755) == -1)
        return sys_fail (w);
    CLEANUP (fd_close) int fd = openat (dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1 || fchmod (fd, 0755) == -1)
        return sys_fail (w);
    if (id) {
        TREE (sub);
        int rc = git_tree_lookup (&sub, w->r, id);
        if (rc)
            return repo_fail (w->e, rc, "%s", w->path);
        if (write_tree (w, fd, sub, path_len, depth + 1) == -1)
            return -1;
    }
    return futimens (fd, w->when) == -1 ? sys_fail (w) : 0;
}

static int write_tree (struct writer *w, int dir, const git_tree *tree, size_t path_len, unsigned depth)
{
    if (depth > DEPTH_MAX)
        return refuse (w, "folders nested too deep");
    size_t n = git_tree_entrycount (tree);
    for (size_t i = 0; i < n; i++) {
        const git_tree_entry *entry = git_tree_entry_byindex (tree, i);
        const char *name = git_tree_entry_name (entry);
        size_t len = strlen (name);
        if (path_len + len + 2 > sizeof w->path)
            return refuse (w, "path too long");
        memcpy (w->path + path_len, name, len + 1);
        if (!name_plain (name))
            return refuse (w, "not a name that a source tree may have");
        if (++w->files > w->max_files)
            return err_code (w->e, EC_QUOTA, "source tree: more than %llu files", (unsigned long long) w->max_files);

        const git_oid *id = git_tree_entry_id (entry);
        unsigned mode = (unsigned) git_tree_entry_filemode_raw (entry);
        int rc;
        switch (mode & 0170000) {
        case 0100000:
            rc = write_file (w, dir, name, id, mode & 0100);
            break;
        case 0120000:
            rc = write_link (w, dir, name, id);
            break;
        case 0160000: /* a submodule: an empty folder, as git leaves it */
            rc = write_folder (w, dir, name, NULL, path_len + len, depth);
            break;
        case 0040000:
            w->path[path_len + len] = '/';
            w->path[path_len + len + 1] = '\0';
            rc = write_folder (w, dir, name, id, path_len + len + 1, depth);
            break;
        default:
            rc = refuse (w, "neither file, link, folder nor submodule");
        }
        if (rc == -1)
            return -1;
    }
    return 0;
}

static void odb_free (git_odb **o)
{
    git_odb_free (*o);
    *o = NULL;
}

int git_checkout (const char *mirror, const char *commit, const char *dir, uint64_t max_files, uint64_t max_bytes, struct err *e)
{
    REPO (r);
    TREE (tree);
    git_odb *CLEANUP (odb_free) odb = NULL;
    int64_t when = 0;
    if (repo_open_here (mirror, &r, e) == -1 || repo_commit_tree (r, commit, &tree, &when, e) == -1)
        return -1;
    int rc = git_repository_odb (&odb, r);
    if (rc)
        return repo_fail (e, rc, "%s", mirror);
    CLEANUP (fd_close) int fd = open (dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1)
        return err_errno (e, "%s", dir);

    if (when < 0)
        when = 0; /* a commit before 1970 is a lie that some file systems refuse */
    struct writer w = { .r = r, .odb = odb, .max_files = max_files, .max_bytes = max_bytes, .e = e };
    w.when[0].tv_sec = w.when[1].tv_sec = (time_t) when;
    if (write_tree (&w, fd, tree, 0, 0) == -1)
        return err_wrap (e, "checkout of %.12s", commit);
    return futimens (fd, w.when) == -1 ? err_errno (e, "%s", dir) : 0;
}
