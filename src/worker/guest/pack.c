#include "worker/guest/pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define HEAD 32
#define CHUNK (256u << 10)

static void put (uint8_t *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++, v >>= 8)
        p[i] = (uint8_t) v;
}

static uint64_t get (const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

/* ---- writing ---- */

static int wrong (struct pack_out *p, const char *path, const char *why)
{
    snprintf (p->why, sizeof p->why, "%.160s: %s", path, why);
    return -1;
}

static int out_flush (struct pack_out *p)
{
    for (size_t at = 0; at < p->used;) {
        ssize_t n = write (p->fd, p->buf + at, p->used - at);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0) {
            p->full = n == 0 || errno == ENOSPC || errno == EFBIG;
            return wrong (p, "writing", n == 0 ? "no more room" : strerror (errno));
        }
        at += (size_t) n;
    }
    p->used = 0;
    return 0;
}

static int out_add (struct pack_out *p, const void *from, size_t len)
{
    const uint8_t *b = from;
    if (!p->buf && !(p->buf = malloc (CHUNK)))
        return wrong (p, "packing", "no memory");
    if (len > p->limit || p->written > p->limit - len) {
        p->full = true;
        return wrong (p, "packing", "no more room");
    }
    p->written += len;
    while (len) {
        size_t n = CHUNK - p->used < len ? CHUNK - p->used : len;
        memcpy (p->buf + p->used, b, n);
        p->used += n;
        b += n;
        len -= n;
        if (p->used == CHUNK && out_flush (p) == -1)
            return -1;
    }
    return 0;
}

static int out_head (struct pack_out *p, char type, const char *path, const struct stat *st, uint64_t size)
{
    uint8_t h[HEAD] = { (uint8_t) type };
    size_t len = strlen (path);
    put (h + 2, len, 2);
    put (h + 4, st ? st->st_mode & 07777 : 0, 4);
    put (h + 8, size, 8);
    put (h + 16, st ? (uint64_t) st->st_mtim.tv_sec : 0, 8);
    put (h + 24, st ? (uint64_t) st->st_mtim.tv_nsec : 0, 4);
    return out_add (p, h, sizeof h) == -1 ? -1 : out_add (p, path, len);
}

static int counted (struct pack_out *p, const char *path, uint64_t bytes)
{
    p->entries++;
    if ((p->max_entries && p->entries > p->max_entries) || (p->max_bytes && (bytes > p->max_bytes || p->bytes > p->max_bytes - bytes))) {
        p->full = true;
        return wrong (p, path, p->max_entries && p->entries > p->max_entries ? "too many files" : "all together larger than what may be uploaded");
    }
    p->bytes += bytes;
    return 0;
}

static int out_file (struct pack_out *p, int dir, const char *name, const char *path)
{
    struct stat st;
    uint8_t b[65536];
    int rc = -1, fd = openat (dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    uint64_t left;
    if (fd == -1 || fstat (fd, &st) == -1 || !S_ISREG (st.st_mode)) {
        wrong (p, path, fd == -1 ? strerror (errno) : "changed while it was packed");
        goto out;
    }
    left = (uint64_t) st.st_size;
    if (counted (p, path, left) == -1 || out_head (p, 'f', path, &st, left) == -1)
        goto out;
    while (left) {
        ssize_t n = read (fd, b, left < sizeof b ? (size_t) left : sizeof b);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0) {
            wrong (p, path, n == 0 ? "changed while it was packed" : strerror (errno));
            goto out;
        }
        if (out_add (p, b, (size_t) n) == -1)
            goto out;
        left -= (uint64_t) n;
    }
    rc = 0;
out:
    if (fd != -1)
        close (fd);
    return rc;
}

struct name {
    char *name; /* with a '/' behind a folder's */
    bool folder;
};

static int by_name (const void *a, const void *b)
{
    return strcmp (((const struct name *) a)->name, ((const struct name *) b)->name);
}

static int out_dir (struct pack_out *p, int dir, char *path, size_t root, int depth);

static int out_entry (struct pack_out *p, int dir, const char *name, bool folder, char *path, size_t root, int depth)
{
    struct stat st;
    const char *shown = path + root + 1;
    if (fstatat (dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1)
        return wrong (p, shown, strerror (errno));
    if (S_ISDIR (st.st_mode) != folder)
        return wrong (p, shown, "changed while it was packed");
    if (p->want && !p->want (p->arg, shown, folder))
        return 0;
    if (folder) {
        int sub = openat (dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (sub == -1)
            return wrong (p, shown, strerror (errno));
        int rc = counted (p, shown, 0) == -1 || out_head (p, 'd', path, &st, 0) == -1 ? -1 : out_dir (p, sub, path, root, depth + 1);
        close (sub);
        return rc;
    }
    if (S_ISREG (st.st_mode))
        return out_file (p, dir, name, path);
    if (S_ISLNK (st.st_mode)) {
        char target[PACK_PATH_MAX + 1];
        ssize_t n = readlinkat (dir, name, target, sizeof target);
        if (n <= 0 || (size_t) n >= sizeof target)
            return wrong (p, shown, "a link that cannot be read");
        return counted (p, shown, 0) == -1 || out_head (p, 'l', path, &st, (uint64_t) n) == -1 ? -1 : out_add (p, target, (size_t) n);
    }
    if (!S_ISFIFO (st.st_mode) && !S_ISSOCK (st.st_mode))
        return wrong (p, shown, "a device");
    return counted (p, shown, 0) == -1 ? -1 : out_head (p, S_ISFIFO (st.st_mode) ? 'p' : 's', path, &st, 0);
}

static int out_dir (struct pack_out *p, int dir, char *path, size_t root, int depth)
{
    struct name *v = NULL;
    size_t n = 0, cap = 0, len = strlen (path);
    int rc = 0, list = depth < PACK_DEPTH_MAX ? openat (dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    DIR *d = list == -1 ? NULL : fdopendir (list);
    if (!d) {
        if (list != -1)
            close (list);
        return wrong (p, path + root, depth < PACK_DEPTH_MAX ? strerror (errno) : "nested too deeply");
    }
    for (struct dirent *en; (en = readdir (d));) {
        struct stat st;
        if (strcmp (en->d_name, ".") == 0 || strcmp (en->d_name, "..") == 0)
            continue;
        bool folder = en->d_type == DT_DIR || (en->d_type == DT_UNKNOWN && fstatat (dir, en->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR (st.st_mode));
        if (n == cap) {
            struct name *more = realloc (v, (cap = cap ? cap * 2 : 32) * sizeof *v);
            if (!more) {
                rc = wrong (p, path, "no memory");
                break;
            }
            v = more;
        }
        size_t size = strlen (en->d_name);
        v[n].folder = folder;
        if (!(v[n].name = malloc (size + 2))) {
            rc = wrong (p, path, "no memory");
            break;
        }
        memcpy (v[n].name, en->d_name, size + 1);
        if (folder)
            memcpy (v[n].name + size, "/", 2);
        n++;
    }
    closedir (d);
    if (n)
        qsort (v, n, sizeof *v, by_name);
    for (size_t i = 0; i < n && rc == 0; i++) {
        size_t size = strlen (v[i].name) - v[i].folder;
        v[i].name[size] = '\0';
        if (len + 1 + size > PACK_PATH_MAX)
            rc = wrong (p, path + root, "holds a path that is too long");
        else {
            path[len] = '/';
            memcpy (path + len + 1, v[i].name, size + 1);
            rc = out_entry (p, dir, v[i].name, v[i].folder, path, root, depth);
            path[len] = '\0';
        }
    }
    for (size_t i = 0; i < n; i++)
        free (v[i].name);
    free (v);
    return rc;
}

int pack_tree (struct pack_out *p, int dir, const char *root)
{
    char *path = malloc (PACK_PATH_MAX + 1);
    struct stat st;
    if (!path || fstat (dir, &st) == -1) {
        free (path);
        return wrong (p, root, "cannot be packed");
    }
    snprintf (path, PACK_PATH_MAX + 1, "%s", root);
    p->entries++;
    int rc = out_head (p, 'd', path, &st, 0) == -1 ? -1 : out_dir (p, dir, path, strlen (root), 0);
    free (path);
    return rc;
}

int pack_end (struct pack_out *p)
{
    return out_head (p, '.', "", NULL, p->entries) == -1 ? -1 : out_flush (p);
}

void pack_release (struct pack_out *p)
{
    free (p->buf);
    p->buf = NULL;
}

/* ---- reading ---- */

static int refuse (struct pack_in *p, const char *path, const char *why)
{
    char clean[96];
    size_t n = 0;
    for (; path[n] && n < sizeof clean - 1; n++)
        clean[n] = path[n] < 0x20 || path[n] > 0x7e ? '?' : path[n];
    clean[n] = '\0';
    snprintf (p->why, sizeof p->why, "%s: %s", *clean ? clean : "pack", why);
    return -1;
}

static int fill (struct pack_in *p)
{
    if (!p->buf && !(p->buf = malloc (CHUNK)))
        return refuse (p, "", "no memory");
    uint64_t may = p->limit - p->done;
    ssize_t n;
    do
        n = may ? read (p->fd, p->buf, may < CHUNK ? (size_t) may : CHUNK) : 0;
    while (n == -1 && errno == EINTR);
    if (n <= 0)
        return refuse (p, "", n == 0 ? "it ends before its end" : strerror (errno));
    p->at = 0;
    p->have = (size_t) n;
    p->done += (uint64_t) n;
    return 0;
}

static int take (struct pack_in *p, void *to, size_t len)
{
    uint8_t *b = to;
    while (len) {
        if (p->at == p->have && fill (p) == -1)
            return -1;
        size_t n = p->have - p->at < len ? p->have - p->at : len;
        memcpy (b, p->buf + p->at, n);
        p->at += n;
        b += n;
        len -= n;
    }
    return 0;
}

/* Relative, plain components, not too many; its first component is one of the roots. */
static bool path_ok (const struct pack_in *p, const char *path, size_t len)
{
    int depth = 0;
    bool root = false;
    if (!len || len > PACK_PATH_MAX || memchr (path, 0, len))
        return false;
    for (const char *s = path;; depth++) {
        size_t n = strcspn (s, "/");
        if (!n || n > 255 || (n == 1 && *s == '.') || (n == 2 && s[0] == '.' && s[1] == '.') || depth > PACK_DEPTH_MAX)
            return false;
        for (const char *const *r = p->roots; s == path && *r; r++)
            root = root || (strlen (*r) == n && memcmp (*r, s, n) == 0);
        if (!s[n])
            return root;
        s += n + 1;
    }
}

/* Whose the entry becomes; -1: as it is. */
static int64_t owner (const struct pack_in *p, const char *path)
{
    size_t n = p->own ? strlen (p->own) : 0;
    return n && (strncmp (path, p->own, n) != 0 || (path[n] && path[n] != '/')) ? -1 : p->uid;
}

struct places {
    int dir;                    /* where the roots are */
    int parent;                 /* open folder of the last entry; -1 */
    char name[PACK_PATH_MAX + 1]; /* and its path */
};

/* The folder that an entry goes into: reached through folders only, below its root. (A root may be a mount of its own, as `in` is in a VM;
 * below it there is none.) */
static int parent_of (struct places *w, const char *path, size_t len)
{
    if (w->parent != -1 && strlen (w->name) == len && memcmp (w->name, path, len) == 0)
        return w->parent;
    struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV };
    if (w->parent != -1)
        close (w->parent);
    memcpy (w->name, path, len);
    w->name[len] = '\0';
    size_t root = strcspn (w->name, "/");
    w->name[root] = '\0';
    w->parent = openat (w->dir, w->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (w->parent != -1 && root < len) {
        int top = w->parent;
        w->name[root] = '/';
        w->parent = (int) syscall (SYS_openat2, top, w->name + root + 1, &how, sizeof how);
        close (top);
    }
    return w->parent;
}

static int file_in (struct pack_in *p, int dir, const char *name, const char *path, mode_t mode, uint64_t size, const struct timespec when[2])
{
    int fd = openat (dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600), rc = 0;
    if (fd == -1)
        return refuse (p, path, errno == EEXIST ? "twice" : strerror (errno));
    while (size && rc == 0) {
        if (p->at == p->have && fill (p) == -1)
            rc = -1;
        size_t n = p->have - p->at < size ? p->have - p->at : (size_t) size;
        for (size_t at = 0; at < n && rc == 0;) {
            ssize_t w = write (fd, p->buf + p->at + at, n - at);
            if (w > 0)
                at += (size_t) w;
            else if (w == 0 || errno != EINTR)
                rc = refuse (p, path, w == 0 ? "no more room" : strerror (errno));
        }
        p->at += n;
        size -= n;
    }
    if (rc == 0 && ((owner (p, path) >= 0 && fchown (fd, (uid_t) p->uid, (gid_t) p->uid) == -1) || fchmod (fd, mode) == -1 || futimens (fd, when) == -1))
        rc = refuse (p, path, strerror (errno));
    if (close (fd) == -1 && rc == 0)
        rc = refuse (p, path, strerror (errno));
    return rc;
}

/* Folders get their time last: what is made in them changes it. */
struct stamp {
    char *path;
    struct timespec when;
};

struct stamps {
    struct stamp *v;
    size_t n, cap;
};

static int remember (struct pack_in *p, struct stamps *s, const char *path, struct timespec when)
{
    if (s->n == s->cap) {
        struct stamp *more = realloc (s->v, (s->cap = s->cap ? s->cap * 2 : 64) * sizeof *s->v);
        if (!more)
            return refuse (p, path, "no memory");
        s->v = more;
    }
    if (!(s->v[s->n].path = strdup (path)))
        return refuse (p, path, "no memory");
    s->v[s->n++].when = when;
    return 0;
}

static int entry_in (struct pack_in *p, struct places *w, struct stamps *s, char type, char *path, uint64_t size, mode_t mode, struct timespec when)
{
    struct timespec both[2] = { when, when };
    char *slash = strrchr (path, '/');
    if (!slash) { /* a root: it is there */
        if (type != 'd')
            return refuse (p, path, "not a folder");
        return remember (p, s, path, when);
    }
    const char *name = slash + 1;
    int dir = parent_of (w, path, (size_t) (slash - path)), rc = 0;
    if (dir == -1)
        return refuse (p, path, "its folder is not there");
    switch (type) {
    case 'f': return file_in (p, dir, name, path, mode & 0111 ? 0755 : 0644, size, both);
    case 'd':
        if (mkdirat (dir, name, 0755) == -1)
            return refuse (p, path, errno == EEXIST ? "twice" : strerror (errno));
        rc = remember (p, s, path, when);
        break;
    case 'l': {
        char target[PACK_PATH_MAX + 1];
        if (!size || size > PACK_PATH_MAX)
            return refuse (p, path, "a link of no good length");
        if (take (p, target, (size_t) size) == -1)
            return -1;
        target[size] = '\0';
        if (memchr (target, 0, (size_t) size))
            return refuse (p, path, "a link with a NUL");
        if (symlinkat (target, dir, name) == -1)
            return refuse (p, path, errno == EEXIST ? "twice" : strerror (errno));
        break;
    }
    case 'p':
    case 's':
        if (mknodat (dir, name, (type == 'p' ? S_IFIFO : S_IFSOCK) | 0600, 0) == -1)
            return refuse (p, path, errno == EEXIST ? "twice" : strerror (errno));
        break;
    default: return refuse (p, path, "of no known type");
    }
    if (rc == 0 && owner (p, path) >= 0 && fchownat (dir, name, (uid_t) p->uid, (gid_t) p->uid, AT_SYMLINK_NOFOLLOW) == -1)
        rc = refuse (p, path, strerror (errno));
    if (rc == 0 && type == 'l' && utimensat (dir, name, both, AT_SYMLINK_NOFOLLOW) == -1)
        rc = refuse (p, path, strerror (errno));
    return rc;
}

int unpack_tree (struct pack_in *p, int dir)
{
    struct places *w = calloc (1, sizeof *w);
    struct stamps s = { NULL, 0, 0 };
    char path[PACK_PATH_MAX + 1];
    int rc = -1;
    if (!w)
        return refuse (p, "", "no memory");
    w->dir = dir;
    w->parent = -1;
    for (;;) {
        uint8_t h[HEAD];
        if (take (p, h, sizeof h) == -1)
            break;
        char type = (char) h[0];
        size_t len = (size_t) get (h + 2, 2);
        uint64_t size = get (h + 8, 8), sec = get (h + 16, 8), nsec = get (h + 24, 4);
        if (h[1] || get (h + 28, 4) || nsec >= 1000000000 || get (h + 4, 4) > 07777 || len > PACK_PATH_MAX) {
            refuse (p, "", "a head that makes no sense");
            break;
        }
        if (type == '.') {
            if (len || size != p->entries)
                refuse (p, "", "its end does not fit");
            else
                rc = 0;
            break;
        }
        if (take (p, path, len) == -1)
            break;
        path[len] = '\0';
        if (!path_ok (p, path, len)) {
            refuse (p, path, "not a path below the folder");
            break;
        }
        if (type != 'f' && type != 'l' && size) {
            refuse (p, path, "content where there is none");
            break;
        }
        p->names += len;
        if (++p->entries > p->max_entries || (p->max_names && p->names > p->max_names)) {
            refuse (p, path, p->entries > p->max_entries ? "too many files" : "too many long paths");
            break;
        }
        if (type == 'f' && (size > p->max_bytes || p->bytes > p->max_bytes - size)) {
            refuse (p, path, "too many bytes");
            break;
        }
        p->bytes += type == 'f' ? size : 0;
        /* times that every file system takes */
        struct timespec when = { sec > UINT32_MAX ? 0 : (time_t) sec, (long) nsec };
        if (entry_in (p, w, &s, type, path, size, (mode_t) get (h + 4, 4), when) == -1)
            break;
    }
    for (size_t i = s.n; i-- > 0;) { /* the innermost first */
        if (rc == 0) {
            struct timespec both[2] = { s.v[i].when, s.v[i].when };
            int fd = parent_of (w, s.v[i].path, strlen (s.v[i].path));
            if (fd == -1 || fchmod (fd, 0755) == -1 || (owner (p, s.v[i].path) >= 0 && fchown (fd, (uid_t) p->uid, (gid_t) p->uid) == -1) || futimens (fd, both) == -1)
                rc = refuse (p, s.v[i].path, strerror (errno));
        }
        free (s.v[i].path);
    }
    free (s.v);
    if (w->parent != -1)
        close (w->parent);
    free (w);
    return rc;
}

void unpack_release (struct pack_in *p)
{
    free (p->buf);
    p->buf = NULL;
}
