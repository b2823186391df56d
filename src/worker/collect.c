#include "config.h"

#include "worker/collect.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "store/manifest.h"

struct job {
    const struct collect_opts *o;
    struct buf *notes;
    struct err *e;
    int tree;
    uint64_t files, bytes;
};

static void shown (const char *path, struct buf *out)
{
    text_clean (bytes_str (path), false, out);
}

static int bad (struct job *j, const char *path, const char *why)
{
    BUF (clean);
    shown (path, &clean);
    return err_set (j->e, ERR_FAILED, "artifact %.300s: %s", buf_str (&clean), why);
}

static bool name_ok (const char *name)
{
    size_t n = strlen (name);
    if (!n || !utf8_valid (bytes_of (name, n)))
        return false;
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char) name[i];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && (unsigned char) name[i + 1] < 0xa0))
            return false;
    }
    return true;
}

static const char *kind_name (mode_t m)
{
    return S_ISBLK (m) || S_ISCHR (m) ? "a device" : S_ISSOCK (m) ? "a socket" : S_ISFIFO (m) ? "a named pipe" : "of no known kind";
}

/* A folder of the tree, made if it is not there. What the step made of links is in the tree as well, and is never gone through: a link inside
 * the tree that is reached by another link leads anywhere. */
static int folder (struct job *j, int into, const char *name, const char *path)
{
    if (mkdirat (into, name, 0755) == -1 && errno != EEXIST)
        return bad (j, path, strerror (errno));
    int fd = openat (into, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd != -1 ? fd : bad (j, path, errno == ENOTDIR || errno == ELOOP ? "a folder, and something else too (/out and /src differ; name one of them)" : strerror (errno));
}

/* Take dir/name as into/name, a place of the tree; path is its whole path there. */
static int take (struct job *j, int dir, const char *name, int into, const char *path, int depth)
{
    struct stat st;
    if (!name_ok (name))
        return bad (j, path, "a name with control characters or bad UTF-8");
    if (strlen (path) > MANIFEST_PATH_MAX)
        return bad (j, path, "a path of more than 1023 bytes");
    if (fstatat (dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
        return bad (j, path, strerror (errno));
    if (++j->files > j->o->max_files)
        return err_set (j->e, ERR_FAILED, "artifacts: more than %llu files", (unsigned long long) j->o->max_files);
    if (S_ISDIR (st.st_mode)) {
        if (depth > 128)
            return bad (j, path, "nested too deeply");
        CLEANUP (fd_close) int to = folder (j, into, name, path);
        if (to == -1)
            return -1;
        if (fchmodat (dir, name, 0755, 0) == -1)
            return bad (j, path, strerror (errno));
        int sub = openat (dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc = 0;
        DIR *d = sub == -1 ? NULL : fdopendir (sub);
        if (!d) {
            fd_close (&sub);
            return bad (j, path, strerror (errno));
        }
        for (struct dirent *en; rc == 0 && (en = readdir (d));) {
            if (strcmp (en->d_name, ".") == 0 || strcmp (en->d_name, "..") == 0)
                continue;
            char *inner = xasprintf ("%s/%s", path, en->d_name);
            rc = take (j, dirfd (d), en->d_name, to, inner, depth + 1);
            free (inner);
        }
        closedir (d);
        return rc;
    }
    if (S_ISLNK (st.st_mode)) {
        char target[4096];
        ssize_t n = readlinkat (dir, name, target, sizeof target - 1);
        struct err why = ERR_INIT;
        if (n < 0)
            return bad (j, path, strerror (errno));
        target[n] = '\0';
        if (!name_ok (target))
            return bad (j, path, "a link to a name with control characters or bad UTF-8");
        if (manifest_link_check (path, target, &why) == -1)
            return bad (j, path, "a link that leaves the tree");
        if (symlinkat (target, into, name) == -1 && errno != EEXIST)
            return bad (j, path, strerror (errno));
        return 0;
    }
    if (!S_ISREG (st.st_mode))
        return bad (j, path, kind_name (st.st_mode));
    if ((uint64_t) st.st_size > j->o->max_bytes || j->bytes > j->o->max_bytes - (uint64_t) st.st_size)
        return err_set (j->e, ERR_FAILED, "artifact %.300s: all together larger than the %llu bytes that the lease allows", path, (unsigned long long) j->o->max_bytes);
    j->bytes += (uint64_t) st.st_size;
    if (st.st_mode & 07000) {
        BUF (clean);
        shown (path, &clean);
        buf_addf (j->notes, "%s: %s%s%sdropped\n", buf_str (&clean), st.st_mode & 04000 ? "setuid bit " : "", st.st_mode & 02000 ? "setgid bit " : "",
                  st.st_mode & 01000 ? "sticky bit " : "");
    }
    if (fchmodat (dir, name, st.st_mode & 0111 ? 0755 : 0644, 0) == -1)
        return bad (j, path, strerror (errno));
    if (linkat (dir, name, into, name, 0) == -1 && errno != EEXIST)
        return bad (j, path, strerror (errno));
    return 0;
}

/* Open the folder of the tree above path, and make it and those above it where they are not there. */
static int parents (struct job *j, const char *path)
{
    char *copy = xstrdup (path), *part = copy;
    int at = openat (j->tree, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at == -1)
        (void) bad (j, path, strerror (errno));
    for (char *p = strchr (copy, '/'); p && at != -1; part = p + 1, p = strchr (part, '/')) {
        *p = '\0';
        int next = folder (j, at, part, copy);
        close (at);
        at = next;
        *p = '/';
    }
    free (copy);
    return at;
}

/* Match `pattern` (rest of the listed path) below dir, whose own path is `at`. Number of matches, -1 on failure. */
static int match (struct job *j, int dir, const char *at, const char *pattern)
{
    size_t n = strcspn (pattern, "/");
    const char *rest = pattern + n + strspn (pattern + n, "/");
    char *part = bytes_dup (bytes_of (pattern, n));
    bool glob = strpbrk (part, "*?[") != NULL;
    int found = 0, list = openat (dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = list == -1 ? NULL : fdopendir (list);
    char **names = NULL;
    size_t count = 0;
    if (!d)
        fd_close (&list);
    for (struct dirent *en; d && (en = readdir (d));) {
        if (strcmp (en->d_name, ".") == 0 || strcmp (en->d_name, "..") == 0)
            continue;
        if (glob ? fnmatch (part, en->d_name, FNM_PERIOD) != 0 : strcmp (part, en->d_name) != 0)
            continue;
        names = xrealloc (names, (count + 1) * sizeof *names);
        names[count++] = xstrdup (en->d_name);
        if (count > j->o->max_files) {
            found = err_set (j->e, ERR_FAILED, "artifacts: more than %llu files", (unsigned long long) j->o->max_files);
            break;
        }
    }
    for (size_t i = 0; i < count && found >= 0; i++) {
        char *path = xasprintf ("%s%s%s", at, *at ? "/" : "", names[i]);
        if (!*rest) {
            CLEANUP (fd_close) int into = parents (j, path);
            found = into == -1 || take (j, dir, names[i], into, path, 0) == -1 ? -1 : found + 1;
        } else {
            int sub = openat (dir, names[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            int more = !name_ok (names[i]) ? bad (j, path, "a name with control characters or bad UTF-8") : sub == -1 ? 0 : match (j, sub, path, rest);
            found = more == -1 ? -1 : found + more;
            fd_close (&sub);
        }
        free (path);
    }
    for (size_t i = 0; i < count; i++)
        free (names[i]);
    free (names);
    if (d)
        closedir (d);
    free (part);
    return found;
}

static bool pattern_ok (const char *p)
{
    if (!*p || *p == '/')
        return false;
    for (;;) {
        size_t n = strcspn (p, "/");
        if (!n || (n == 1 && *p == '.') || (n == 2 && memcmp (p, "..", 2) == 0))
            return false;
        if (!p[n])
            return true;
        p += n + 1;
        if (!*p)
            return true; /* "doc/" */
    }
}

int collect (const struct collect_opts *o, struct buf *notes, struct err *e)
{
    struct job j = { o, notes, e, -1, 0, 0 };
    int out = open (o->out, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), src = open (o->src, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc = -1;
    j.tree = open (o->tree, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (out == -1 || src == -1 || j.tree == -1)
        err_errno (e, "collecting artifacts");
    else
        rc = 0;
    for (size_t i = 0; i < o->paths->n && rc == 0; i++) {
        char *path = bytes_dup (o->paths->v[i]);
        int found = 0;
        if (!pattern_ok (path))
            found = bad (&j, path, "not a path inside the tree");
        if (found == 0)
            found = match (&j, out, "", path);
        if (found == 0)
            found = match (&j, src, "", path);
        rc = found > 0 ? 0 : found == 0 ? bad (&j, path, "missing (neither in /out nor in /src)") : -1;
        free (path);
    }
    fd_close (&out);
    fd_close (&src);
    fd_close (&j.tree);
    return rc;
}
