/* scan.c: the manifest of a folder tree. Folders are walked by descriptor and nothing is followed, so that a tree that still
 * changes under us can give a wrong manifest at worst, never a file from outside. */
#include "store/client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define SCAN_DEPTH 128
#define SCAN_BLOCK (256u << 10)

struct scan {
    struct manifest m;
    void (*note) (void *arg, const char *text);
    void *arg;
    uint8_t *block;
};

static int
fail (struct err *e, const char *path, const char *why)
{
    BUF (clean);

    text_clean (bytes_str (path), false, &clean);
    return err_set (e, ERR_FAILED, "artifact \"%s\": %s", buf_str (&clean), why);
}

static int
scan_file (struct scan *s, int dir_fd, const char *name, const char *path, const struct stat *seen, struct err *e)
{
    CLEANUP (fd_close) int fd = openat (dir_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY);
    struct stat st;
    struct digest d;
    uint64_t size = 0;

    if (fd == -1 || fstat (fd, &st) == -1)
        return fail (e, path, strerror (errno));
    if (!S_ISREG (st.st_mode) || st.st_ino != seen->st_ino || st.st_dev != seen->st_dev)
        return fail (e, path, "changed while it was read");
    struct digest_ctx *c = digest_begin ();

    for (;;) {
        ssize_t n = read (fd, s->block, SCAN_BLOCK);
        if (n == -1 && errno == EINTR)
            continue;
        if (n == -1) {
            digest_drop (&c);
            return fail (e, path, strerror (errno));
        }
        if (n == 0)
            break;
        digest_add (c, s->block, (size_t) n);
        size += (uint64_t) n;
    }
    digest_end (&c, &d);
    if ((st.st_mode & 07000) != 0 && s->note != NULL) {
        CLEANUP (free_ptr) char *text = xasprintf ("%s: setuid, setgid or sticky bit dropped", path);
        s->note (s->arg, text);
    }
    return manifest_add (&s->m, path, (st.st_mode & 0111) ? 'x' : 'f', size, &d, NULL, e);
}

static int scan_dir (struct scan *s, int fd, const char *prefix, int depth, struct err *e);

static int
scan_one (struct scan *s, int dir_fd, const char *prefix, const char *name, int depth, struct err *e)
{
    CLEANUP (free_ptr) char *path = *prefix ? xasprintf ("%s/%s", prefix, name) : xstrdup (name);
    struct stat st;

    if (strlen (path) > MANIFEST_PATH_MAX)
        return fail (e, path, "path longer than 1023 bytes");
    if (fstatat (dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
        return fail (e, path, strerror (errno));
    if (S_ISREG (st.st_mode))
        return scan_file (s, dir_fd, name, path, &st, e);
    if (S_ISLNK (st.st_mode)) {
        char target[MANIFEST_PATH_MAX + 2];
        ssize_t n = readlinkat (dir_fd, name, target, sizeof target);
        if (n < 0 || n > (ssize_t) MANIFEST_PATH_MAX)
            return fail (e, path, "link cannot be read, or its target is too long");
        target[n] = '\0';
        return manifest_add (&s->m, path, 'l', 0, NULL, target, e);
    }
    if (S_ISDIR (st.st_mode)) {
        int fd = openat (dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd == -1)
            return fail (e, path, strerror (errno));
        if (manifest_add (&s->m, path, 'd', 0, NULL, NULL, e) == -1) {
            close (fd);
            return -1;
        }
        return scan_dir (s, fd, path, depth + 1, e);
    }
    return fail (e, path, "neither a file, a folder nor a link (devices, sockets and fifos are no artifacts)");
}

/* Takes fd. */
static int
scan_dir (struct scan *s, int fd, const char *prefix, int depth, struct err *e)
{
    DIR *dir = fdopendir (fd);
    struct dirent *d;
    int r = -1;

    if (dir == NULL) {
        close (fd);
        return err_errno (e, "artifact: read folder \"%s\"", prefix);
    }
    if (depth > SCAN_DEPTH) {
        err_set (e, ERR_FAILED, "artifact: folders nested deeper than %d", SCAN_DEPTH);
        goto out;
    }
    while (errno = 0, (d = readdir (dir)) != NULL)
        if (strcmp (d->d_name, ".") != 0 && strcmp (d->d_name, "..") != 0 && scan_one (s, dirfd (dir), prefix, d->d_name, depth, e) == -1)
            goto out;
    if (errno != 0) {
        err_errno (e, "artifact: read folder \"%s\"", prefix);
        goto out;
    }
    r = 0;
out:
    closedir (dir);
    return r;
}

int
manifest_scan (int dir_fd, void (*note) (void *arg, const char *text), void *arg, struct buf *manifest, struct err *e)
{
    struct scan s = { .note = note, .arg = arg };
    int fd = openat (dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r;

    if (fd == -1)
        return err_errno (e, "artifact: open folder");
    manifest_init (&s.m);
    s.block = xmalloc (SCAN_BLOCK);
    r = scan_dir (&s, fd, "", 0, e);
    if (r == 0)
        r = manifest_finish (&s.m, manifest, e);
    free (s.block);
    manifest_release (&s.m);
    return r;
}
