/* cas_fs.c: blobs as files: DIR/blobs/XX/HEX, written in DIR/aside/BATCH/HEX, damaged ones in DIR/quarantine/HEX. DIR/boot names the
 * start of the machine that what is aside comes from: its bytes are not synced, and only good until the next one.
 *
 * A batch is made durable by syncs over the whole of it: a few files are synced one by one, many by one syncfs(2), once for the
 * bytes before they get their names and once for the names. */
#include "config.h"

#include "store/cas_impl.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/file.h"

#define WRITEBACK (8u << 20) /* bytes of a blob after which the kernel is told to begin writing them, so that the sync finds little left */
#define FEW 8 /* up to so many files fdatasync costs less than syncfs */

struct fs {
    int root, blobs, aside, quarantine;
    int fan[256];
    atomic_uint batches;
    uint64_t salt; /* names of batches differ from run to run: where their files lie depends on them */
};
struct fs_batch {
    struct fs *fs;
    char name[DIGEST_HEX];       /* of the folder: a digest, or a number where nothing is to stay */
    bool left;
    int dir, fd;
    off_t at, begun;  /* in the open blob: written; of that, on their way to the disk */
    struct digest *v;
    size_t n, cap;
};

static int
sub_dir (int at, const char *name, bool make, struct err *e)
{
    if (make && mkdirat (at, name, 0700) == -1 && errno != EEXIST)
        return err_errno (e, "make folder %s", name);
    int fd = openat (at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd == -1 ? err_errno (e, "open folder %s", name) : fd;
}

static void
fs_close (void *self)
{
    struct fs *f = self;

    for (int i = 0; i < 256; i++)
        fd_close (&f->fan[i]);
    fd_close (&f->quarantine);
    fd_close (&f->aside);
    fd_close (&f->blobs);
    fd_close (&f->root);
    free (f);
}

/* The folders of batches are to lie apart on the disk (chattr +T), each with fresh inodes at hand: else ext4 looks for those of all new files in one
 * place, among all that were removed there lately, and takes ten times as long to make a file. Where there is no such flag, nothing is lost. */
static void
spread (int dir)
{
    int flags = 0;

    if (ioctl (dir, FS_IOC_GETFLAGS, &flags) == 0 && !(flags & FS_TOPDIR_FL)) {
        flags |= FS_TOPDIR_FL;
        (void) ioctl (dir, FS_IOC_SETFLAGS, &flags);
    }
}

/* A folder of `at` and the files in it. */
static int
remove_folder (int at, const char *name, struct err *e)
{
    int fd = openat (at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd == -1 ? NULL : fdopendir (fd);
    struct dirent *entry;

    if (dir == NULL) {
        if (fd == -1 && errno == ENOENT)
            return 0;
        fd_close (&fd);
        return err_errno (e, "remove folder %s", name);
    }
    while ((entry = readdir (dir)) != NULL)
        if (entry->d_name[0] != '.')
            unlinkat (fd, entry->d_name, 0);
    closedir (dir);
    return unlinkat (at, name, AT_REMOVEDIR) == -1 && errno != ENOENT ? err_errno (e, "remove folder %s", name) : 0;
}

/* Remove the folders below `at` that fn does not want. */
static int
remove_folders (int at, bool (*want) (void *arg, const struct digest *name), void *arg, struct err *e)
{
    int fd = openat (at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    DIR *dir = fd == -1 ? NULL : fdopendir (fd);
    struct dirent *entry;

    if (dir == NULL) {
        fd_close (&fd);
        return err_errno (e, "read aside");
    }
    while (r == 0 && (entry = readdir (dir)) != NULL) {
        struct digest d;
        bool named = digest_parse (entry->d_name, &d);
        if (entry->d_name[0] != '.' && !want (arg, named ? &d : NULL))
            r = remove_folder (at, entry->d_name, e);
    }
    closedir (dir);
    return r;
}

static bool
is_named (void *arg, const struct digest *name)
{
    (void) arg;
    return name != NULL;
}

/* What was written aside before the machine was started is removed, and what no later batch can go on with. */
static int
clear_aside (struct fs *f, const char *dir, struct err *e)
{
    CLEANUP (free_ptr) char *aside = xasprintf ("%s/aside", dir), *boot = xasprintf ("%s/boot", dir);
    BUF (now);
    BUF (then);

    if (file_read ("/proc/sys/kernel/random/boot_id", 64, &now, NULL) == 0 && file_read (boot, 64, &then, NULL) == 0 && now.len > 0
        && bytes_eq (buf_bytes (&now), buf_bytes (&then)))
        return remove_folders (f->aside, is_named, NULL, e);
    fd_close (&f->aside);
    if (file_remove_tree (aside, e) == -1 || (f->aside = sub_dir (f->root, "aside", true, e)) == -1)
        return -1;
    return file_write (boot, buf_bytes (&now), 0600, e);
}

static void *
fs_open (const char *dir, bool look, struct err *e)
{
    struct fs *f = xcalloc (1, sizeof *f);

    f->root = f->blobs = f->aside = f->quarantine = -1;
    f->salt = (uint64_t) time_now_us ();
    for (int i = 0; i < 256; i++)
        f->fan[i] = -1;
    if (!look && file_mkdirs (dir, 0700, e) == -1)
        goto fail;
    f->root = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->root == -1) {
        err_errno (e, "open %s", dir);
        goto fail;
    }
    if ((f->blobs = sub_dir (f->root, "blobs", !look, e)) == -1 || (f->aside = sub_dir (f->root, "aside", !look, e)) == -1
        || (f->quarantine = sub_dir (f->root, "quarantine", !look, e)) == -1 || (!look && clear_aside (f, dir, e) == -1))
        goto fail;
    if (!look)
        spread (f->aside);
    for (int i = 0; i < 256; i++) {
        char name[3];
        snprintf (name, sizeof name, "%02x", i);
        if ((f->fan[i] = sub_dir (f->blobs, name, !look, e)) == -1)
            goto fail;
    }
    if (!look && syncfs (f->root) == -1) {
        err_errno (e, "sync %s", dir);
        goto fail;
    }
    return f;
fail:
    fs_close (f);
    return NULL;
}

static int
fan_of (struct fs *f, const struct digest *d, char hex[DIGEST_HEX])
{
    digest_hex (d, hex);
    return f->fan[d->b[0]];
}

static bool
fs_stat (void *self, const struct digest *d, uint64_t *size, struct cas_stamp *stamp)
{
    char hex[DIGEST_HEX];
    struct stat st;
    int fan = fan_of (self, d, hex);

    if (fstatat (fan, hex, &st, AT_SYMLINK_NOFOLLOW) == -1 || !S_ISREG (st.st_mode))
        return false;
    *size = (uint64_t) st.st_size;
    *stamp = (struct cas_stamp){ { (uint64_t) st.st_ino, (uint64_t) st.st_size, (uint64_t) st.st_ctim.tv_sec, (uint64_t) st.st_ctim.tv_nsec } };
    return true;
}

static int
fs_read (void *self, const struct digest *d, uint64_t offset, void *p, size_t len, struct err *e)
{
    char hex[DIGEST_HEX];
    int fan = fan_of (self, d, hex);
    CLEANUP (fd_close) int fd = openat (fan, hex, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

    if (fd == -1)
        return errno == ENOENT ? err_code (e, EC_NOT_FOUND, "blob %s is not here", hex) : err_code (e, EC_DAMAGED, "blob %s: %s", hex, strerror (errno));
    for (size_t got = 0; got < len;) {
        ssize_t n = pread (fd, (uint8_t *) p + got, len - got, (off_t) (offset + got));
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            return err_code (e, EC_DAMAGED, "blob %s: %s", hex, n == 0 ? "shorter than it should be" : strerror (errno));
        got += (size_t) n;
    }
    return 0;
}

static int
fs_remove (void *self, const struct digest *d, struct err *e)
{
    char hex[DIGEST_HEX];
    int fan = fan_of (self, d, hex);

    if (unlinkat (fan, hex, 0) == -1 && errno != ENOENT)
        return err_errno (e, "remove blob %s", hex);
    return 0;
}

static int
fs_set_aside (void *self, const struct digest *d, struct err *e)
{
    struct fs *f = self;
    char hex[DIGEST_HEX];
    int fan = fan_of (f, d, hex);

    if (renameat (fan, hex, f->quarantine, hex) == -1)
        return err_errno (e, "set aside blob %s", hex);
    fsync (fan);
    fsync (f->quarantine);
    return 0;
}

static int
fs_each (void *self, void (*fn) (void *arg, const struct digest *d, uint64_t size), void *arg, struct err *e)
{
    struct fs *f = self;

    for (int i = 0; i < 256; i++) {
        int fd = openat (f->fan[i], ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *dir = fd == -1 ? NULL : fdopendir (fd);
        struct dirent *entry;

        if (dir == NULL) {
            fd_close (&fd);
            return err_errno (e, "read blobs/%02x", i);
        }
        while ((entry = readdir (dir)) != NULL) {
            struct digest d;
            struct cas_stamp stamp;
            uint64_t size;
            if (digest_parse (entry->d_name, &d) && d.b[0] == i && fs_stat (f, &d, &size, &stamp))
                fn (arg, &d, size);
        }
        closedir (dir);
    }
    return 0;
}

static uint64_t
fs_space (void *self)
{
    struct fs *f = self;
    struct statvfs st;

    return fstatvfs (f->root, &st) == -1 ? 0 : (uint64_t) st.f_bavail * st.f_frsize;
}

static void *
fs_batch (void *self, const struct digest *name)
{
    struct fs_batch *b = xcalloc (1, sizeof *b);

    b->fs = self;
    b->fd = -1;
    if (name == NULL) {
        snprintf (b->name, sizeof b->name, "%016llx", (unsigned long long) (b->fs->salt + UINT64_C (0x9e3779b97f4a7c15) * atomic_fetch_add (&b->fs->batches, 1)));
        b->dir = -1;
    } else {
        b->dir = openat (b->fs->aside, digest_hex (name, b->name), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        b->left = b->dir != -1;
    }
    return b;
}

static bool
fs_left (void *batch)
{
    return ((struct fs_batch *) batch)->left;
}

static void
now_writing (struct fs_batch *b, const struct digest *d)
{
    if (b->n > 0 && digest_eq (&b->v[b->n - 1], d))
        return; /* begun anew */
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 16;
        b->v = xrealloc (b->v, b->cap * sizeof *b->v);
    }
    b->v[b->n++] = *d;
}


static int
fs_aside (void *batch, const struct digest *d, struct err *e)
{
    struct fs_batch *b = batch;
    char hex[DIGEST_HEX];

    if (b->dir == -1 && (b->dir = sub_dir (b->fs->aside, b->name, true, e)) == -1)
        return -1;
    fd_close (&b->fd);
    b->fd = openat (b->dir, digest_hex (d, hex), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (b->fd == -1)
        return err_code (e, EC_INTERNAL, "write blob: %s", strerror (errno));
    now_writing (b, d);
    b->at = b->begun = 0;
    return 0;
}

static int
fs_again (void *batch, const struct digest *d, uint64_t *len, struct err *e)
{
    struct fs_batch *b = batch;
    char hex[DIGEST_HEX];
    struct stat st;

    if (b->dir == -1)
        return err_code (e, EC_NOT_FOUND, "nothing was left");
    fd_close (&b->fd);
    b->fd = openat (b->dir, digest_hex (d, hex), O_RDWR | O_APPEND | O_NOFOLLOW | O_CLOEXEC);
    if (b->fd == -1 && errno == ENOENT)
        return err_code (e, EC_NOT_FOUND, "nothing was left");
    if (b->fd == -1 || fstat (b->fd, &st) == -1)
        return err_code (e, EC_INTERNAL, "write blob: %s", strerror (errno));
    *len = (uint64_t) st.st_size;
    b->at = b->begun = st.st_size;
    now_writing (b, d);
    return 0;
}

static int
fs_reread (void *batch, uint64_t offset, void *p, size_t len, struct err *e)
{
    struct fs_batch *b = batch;
    ssize_t n = pread (b->fd, p, len, (off_t) offset);

    return n == (ssize_t) len ? 0 : err_code (e, EC_INTERNAL, "read what was written of a blob: %s", n == -1 ? strerror (errno) : "it is shorter now");
}

static int
fs_append (void *batch, const void *p, size_t len, struct err *e)
{
    struct fs_batch *b = batch;

    if (!file_write_all (b->fd, p, len))
        return err_code (e, EC_INTERNAL, "write blob: %s", strerror (errno));
    b->at += (off_t) len;
    if (b->at - b->begun >= (off_t) WRITEBACK) { /* only a hint: errors come with the sync */
        (void) sync_file_range (b->fd, b->begun, b->at - b->begun, SYNC_FILE_RANGE_WRITE);
        b->begun = b->at;
    }
    return 0;
}

static int
fs_shut (void *batch, struct err *e)
{
    struct fs_batch *b = batch;
    int fd = b->fd;

    b->fd = -1;
    return close (fd) == 0 ? 0 : err_code (e, EC_INTERNAL, "write blob: %s", strerror (errno));
}

static int
sync_bytes (struct fs_batch *b)
{
    if (b->n > FEW)
        return syncfs (b->dir);
    for (size_t i = 0; i < b->n; i++) {
        char hex[DIGEST_HEX];
        CLEANUP (fd_close) int fd = openat (b->dir, digest_hex (&b->v[i], hex), O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd == -1 || fsync (fd) == -1)
            return -1;
    }
    return 0;
}

static int
sync_names (struct fs_batch *b)
{
    if (b->n > FEW)
        return syncfs (b->dir);
    for (size_t i = 0; i < b->n; i++)
        if (fsync (b->fs->fan[b->v[i].b[0]]) == -1)
            return -1;
    return 0;
}

static int
fs_publish (void *batch, struct err *e)
{
    struct fs_batch *b = batch;

    if (b->n == 0)
        return 0;
    if (sync_bytes (b) == -1)
        return err_code (e, EC_INTERNAL, "sync: %s", strerror (errno));
    for (size_t i = 0; i < b->n; i++) {
        char hex[DIGEST_HEX];
        int fan = fan_of (b->fs, &b->v[i], hex);
        if (renameat (b->dir, hex, fan, hex) == -1)
            return err_code (e, EC_INTERNAL, "name blob %s: %s", hex, strerror (errno));
    }
    if (sync_names (b) == -1)
        return err_code (e, EC_INTERNAL, "sync: %s", strerror (errno));
    b->n = 0;
    return 0;
}

static void
fs_leave (void *batch)
{
    struct fs_batch *b = batch;

    fd_close (&b->fd);
    fd_close (&b->dir);
    free (b->v);
    free (b);
}

static void
fs_drop (void *batch)
{
    struct fs_batch *b = batch;

    if (b->dir != -1)
        remove_folder (b->fs->aside, b->name, NULL);
    fs_leave (b);
}

struct names {
    const struct digest *v;
    size_t n;
};

static bool
is_kept (void *arg, const struct digest *name)
{
    const struct names *k = arg;

    for (size_t i = 0; name != NULL && i < k->n; i++)
        if (digest_eq (&k->v[i], name))
            return true;
    return name == NULL; /* a number: of a batch of this process */
}

static int
fs_forget (void *self, const struct digest *names, size_t n, struct err *e)
{
    struct names k = { names, n };

    return remove_folders (((struct fs *) self)->aside, is_kept, &k, e);
}

const struct cas_ops cas_fs_ops = {
    .name = "fs", .open = fs_open, .close = fs_close, .stat = fs_stat, .read = fs_read, .remove = fs_remove, .set_aside = fs_set_aside,
    .each = fs_each, .space = fs_space, .batch = fs_batch, .aside = fs_aside, .append = fs_append, .shut = fs_shut,
    .publish = fs_publish, .drop = fs_drop, .left = fs_left, .again = fs_again, .reread = fs_reread, .leave = fs_leave, .forget = fs_forget,
};
