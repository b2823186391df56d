#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

union rights {
    char space[CMSG_SPACE (FDS_MAX * sizeof (int))];
    struct cmsghdr align;
};

int fds_send (int to, const void *p, size_t len, const int *fds, size_t n)
{
    union rights control = { { 0 } };
    struct iovec v = { (void *) (uintptr_t) p, len };
    struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };
    if (n > FDS_MAX) {
        errno = EINVAL;
        return -1;
    }
    if (n) {
        m.msg_control = control.space;
        m.msg_controllen = CMSG_SPACE (n * sizeof *fds);
        struct cmsghdr *h = CMSG_FIRSTHDR (&m);
        h->cmsg_level = SOL_SOCKET;
        h->cmsg_type = SCM_RIGHTS;
        h->cmsg_len = CMSG_LEN (n * sizeof *fds);
        memcpy (CMSG_DATA (h), fds, n * sizeof *fds);
    }
    ssize_t sent = sendmsg (to, &m, MSG_NOSIGNAL);
    if (sent >= 0 && (size_t) sent != len)
        errno = EMSGSIZE;
    return sent >= 0 && (size_t) sent == len ? 0 : -1;
}

int fds_receive (int from, int *fds, size_t n)
{
    union rights control;
    char one;
    int came[FDS_MAX];
    size_t got = 0;
    struct iovec v = { &one, 1 };
    struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space };
    ssize_t r = recvmsg (from, &m, MSG_CMSG_CLOEXEC);
    struct cmsghdr *h = r == 1 ? CMSG_FIRSTHDR (&m) : NULL;
    if (h && h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS) {
        got = (h->cmsg_len - CMSG_LEN (0)) / sizeof *came;
        memcpy (came, CMSG_DATA (h), got * sizeof *came);
    }
    if (got == n && n) {
        memcpy (fds, came, n * sizeof *fds);
        return 0;
    }
    for (size_t i = 0; i < got; i++)
        close (came[i]);
    if (r != -1)
        errno = EPROTO;
    return -1;
}

void fd_close (int *fd)
{
    if (*fd >= 0)
        close (*fd);
    *fd = -1;
}

bool file_write_all (int fd, const void *p, size_t len)
{
    const uint8_t *b = p;
    while (len) {
        ssize_t n = write (fd, b, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        b += n;
        len -= (size_t) n;
    }
    return true;
}

bool file_read_exact (int fd, void *p, size_t len)
{
    uint8_t *b = p;
    while (len) {
        ssize_t n = read (fd, b, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (n == 0)
                errno = EIO;
            return false;
        }
        b += n;
        len -= (size_t) n;
    }
    return true;
}

int file_sync_dir (const char *path, struct err *e)
{
    int fd CLEANUP (fd_close) = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1 || fsync (fd) == -1)
        return err_errno (e, "%s: sync", path);
    return 0;
}

static char *parent_of (const char *path)
{
    const char *slash = strrchr (path, '/');
    return slash == path ? xstrdup ("/") : slash ? xasprintf ("%.*s", (int) (slash - path), path) : xstrdup (".");
}

int file_write (const char *path, struct bytes content, mode_t mode, struct err *e)
{
    char *dir CLEANUP (free_ptr) = parent_of (path);
    char *temp CLEANUP (free_ptr) = xasprintf ("%s.new-XXXXXX", path);
    int fd CLEANUP (fd_close) = mkostemp (temp, O_CLOEXEC);
    if (fd == -1)
        return err_errno (e, "%s", path);
    if (fchmod (fd, mode) == -1 || !file_write_all (fd, content.p, content.len) || fsync (fd) == -1 || rename (temp, path) == -1) {
        err_errno (e, "%s", path);
        unlink (temp);
        return -1;
    }
    return file_sync_dir (dir, e);
}

int file_read (const char *path, size_t max, struct buf *out, struct err *e)
{
    struct stat st;
    int fd CLEANUP (fd_close) = open (path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd == -1 || fstat (fd, &st) == -1)
        return err_errno (e, "%s", path);
    if (!S_ISREG (st.st_mode))
        return err_set (e, ERR_FAILED, "%s: not a regular file", path);
    size_t start = out->len;
    for (;;) {
        size_t room = max - (out->len - start) + 1;
        if (room > 65536)
            room = 65536;
        uint8_t *at = buf_grow (out, room);
        ssize_t n = read (fd, at, room);
        out->len -= room - (n > 0 ? (size_t) n : 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno (e, "%s", path);
        if (out->len - start > max)
            return err_set (e, ERR_DAMAGED, "%s: longer than %zu bytes", path, max);
        if (n == 0)
            return 0;
    }
}

int file_mkdirs (const char *path, mode_t mode, struct err *e)
{
    char *copy CLEANUP (free_ptr) = xstrdup (path);
    for (char *p = copy + 1;; p++) {
        if (*p && *p != '/')
            continue;
        char c = *p;
        *p = 0;
        if (mkdir (copy, mode) == -1 && errno != EEXIST)
            return err_errno (e, "%s", copy);
        *p = c;
        if (!c)
            break;
    }
    struct stat st;
    if (stat (path, &st) == -1 || !S_ISDIR (st.st_mode))
        return err_set (e, ERR_FAILED, "%s: not a folder", path);
    return 0;
}

static int remove_below (int dirfd, dev_t dev, unsigned depth)
{
    DIR *d = fdopendir (dirfd); /* owns dirfd */
    if (!d) {
        close (dirfd);
        return -1;
    }
    int rc = 0;
    struct dirent *de;
    while ((errno = 0, de = readdir (d))) {
        if (!strcmp (de->d_name, ".") || !strcmp (de->d_name, ".."))
            continue;
        struct stat st;
        if (fstatat (dirfd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == -1) {
            rc = errno == ENOENT ? rc : -1;
            continue;
        }
        if (!S_ISDIR (st.st_mode)) {
            if (unlinkat (dirfd, de->d_name, 0) == -1 && errno != ENOENT)
                rc = -1;
            continue;
        }
        if (st.st_dev != dev || depth > 4096) {
            errno = EXDEV;
            rc = -1;
            continue;
        }
        if ((st.st_mode & 0700) != 0700 && fchmodat (dirfd, de->d_name, 0700, 0) == -1)
            rc = -1;
        int sub = openat (dirfd, de->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub == -1 || remove_below (sub, dev, depth + 1) == -1 || unlinkat (dirfd, de->d_name, AT_REMOVEDIR) == -1)
            rc = -1;
    }
    int saved = errno;
    closedir (d);
    errno = saved;
    return rc;
}

int file_remove_tree (const char *path, struct err *e)
{
    struct stat st;
    if (lstat (path, &st) == -1)
        return errno == ENOENT ? 0 : err_errno (e, "%s", path);
    if (!S_ISDIR (st.st_mode))
        return unlink (path) == -1 && errno != ENOENT ? err_errno (e, "%s", path) : 0;
    int fd = open (path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd == -1 || remove_below (fd, st.st_dev, 0) == -1 || rmdir (path) == -1)
        return err_errno (e, "%s: cannot be removed whole", path);
    return 0;
}

char *file_program (const char *name, const char *installed)
{
    char self[4096];
    ssize_t n = readlink ("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    char *slash = strrchr (self, '/');
    if (slash)
        *slash = '\0';
    CLEANUP (free_ptr) char *moved = xasprintf ("%s/../libexec/assay", self);
    const char *const folders[] = { slash ? self : NULL, slash ? moved : NULL, installed };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path = folders[i] ? xasprintf ("%s/%s", folders[i], name) : NULL;
        if (path && access (path, X_OK) == 0)
            return path;
        free (path);
    }
    return xstrdup (name);
}

char *file_temp_dir (const char *name, const char *otherwise, struct err *e)
{
    const char *tmp = getenv ("TMPDIR");
    char *dir = xasprintf ("%s/%s.XXXXXX", tmp && *tmp ? tmp : otherwise, name);
    if (mkdtemp (dir))
        return dir;
    err_errno (e, "%s", dir);
    free (dir);
    return NULL;
}

int file_lock (const char *path, struct err *e)
{
    int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1)
        return err_errno (e, "%s", path);
    if (flock (fd, LOCK_EX | LOCK_NB) == -1) {
        char pid[32] = "";
        ssize_t n = pread (fd, pid, sizeof pid - 1, 0);
        pid[n > 0 ? n : 0] = 0;
        pid[strspn (pid, "0123456789")] = 0;
        close (fd);
        return err_set (e, ERR_FAILED, "%s: held by process %s (stop it first)", path, *pid ? pid : "unknown");
    }
    char pid[32];
    int n = snprintf (pid, sizeof pid, "%ld\n", (long) getpid ());
    if (ftruncate (fd, 0) == -1 || pwrite (fd, pid, (size_t) n, 0) != n) {
        err_errno (e, "%s", path);
        close (fd);
        return -1;
    }
    return fd;
}

int file_flock (int fd, bool exclusive, int64_t timeout_ms, struct err *e)
{
    int64_t deadline = time_mono_ms () + timeout_ms;
    while (flock (fd, (exclusive ? LOCK_EX : LOCK_SH) | LOCK_NB) == -1) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return err_errno (e, "lock");
        if (time_mono_ms () >= deadline)
            return err_code (e, EC_BUSY, "others have held its lock for %lld s", (long long) (timeout_ms / 1000));
        poll (NULL, 0, 20);
    }
    return 0;
}

/* ---- time ---- */

int64_t time_now_us (void)
{
    struct timespec t;
    clock_gettime (CLOCK_REALTIME, &t);
    return (int64_t) t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

int64_t time_mono_ms (void)
{
    struct timespec t;
    clock_gettime (CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

void time_format (int64_t us, char out[32])
{
    struct tm tm;
    int64_t rest = us % 1000000;
    if (rest < 0)
        rest += 1000000;
    time_t s = (time_t) ((us - rest) / 1000000);
    if (!gmtime_r (&s, &tm) || tm.tm_year > 8099 || tm.tm_year < -1900) {
        strcpy (out, "?");
        return;
    }
    size_t n = strftime (out, 24, "%Y-%m-%dT%H:%M:%S", &tm);
    (void) snprintf (out + n, 32 - n, ".%03dZ", (int) (rest / 1000));
}

bool time_parse (const char *s, int64_t *us)
{
    char *end;
    if (*s == '@' || *s == '-') {
        errno = 0;
        long long v = strtoll (s + 1, &end, 10);
        if (errno || end == s + 1 || v < 0 || v > 253402300799LL)
            return false;
        if (*s == '@') {
            *us = v * 1000000;
            return *end == 0;
        }
        int64_t unit = *end == 's' ? 1 : *end == 'm' ? 60 : *end == 'h' ? 3600 : *end == 'd' ? 86400 : 0;
        if (!unit || end[1] || v > 253402300799LL / unit)
            return false;
        *us = time_now_us () - v * unit * 1000000;
        return true;
    }
    struct tm tm = { 0 };
    const char *rest = strptime (s, "%Y-%m-%d", &tm);
    if (!rest)
        return false;
    if (*rest == 'T' || *rest == ' ') {
        rest = strptime (rest + 1, "%H:%M:%S", &tm);
        if (!rest)
            return false;
    }
    int64_t micro = 0;
    if (*rest == '.') {
        int64_t unit = 100000;
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10)
            micro += (*rest - '0') * unit;
    }
    int64_t shift = 0;
    if (*rest == 'Z')
        rest++;
    else if (*rest == '+' || *rest == '-') {
        int h, m, n = 0;
        if (sscanf (rest + 1, "%2d:%2d%n", &h, &m, &n) != 2 || n != 5)
            return false;
        shift = (*rest == '+' ? 1 : -1) * (h * 3600 + m * 60);
        rest += 6;
    }
    if (*rest)
        return false;
    *us = ((int64_t) timegm (&tm) - shift) * 1000000 + micro;
    return true;
}
