#include "config.h"

#include "worker/image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "store/client.h"
#include "worker/image_meta.h"

#define IMAGE_ROOT ".root"

static bool run (const char *const argv[])
{
    int status = -1;
    pid_t pid = fork ();
    if (pid == 0) {
        int null = open ("/dev/null", O_RDWR | O_CLOEXEC);
        dup2 (null, 0), dup2 (null, 1), dup2 (null, 2);
        close_range (3, ~0u, 0);
        execvp (argv[0], (char *const *) (uintptr_t) argv);
        _exit (127);
    }
    while (pid > 0 && waitpid (pid, &status, 0) == -1 && errno == EINTR) {
    }
    return pid > 0 && WIFEXITED (status) && WEXITSTATUS (status) == 0;
}

/* As mount(8) with -o loop, without the program: it takes longer to start than the mount. The device goes when the mount does. */
static bool loop_mount (const char *file, const char *at)
{
    struct loop_config config = { .info = { .lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR } };
    int control CLEANUP (fd_close) = open ("/dev/loop-control", O_RDWR | O_CLOEXEC), image CLEANUP (fd_close) = open (file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (control == -1 || image == -1)
        return false;
    config.fd = (uint32_t) image;
    for (int tries = 0; tries < 16; tries++) {
        char path[32];
        int number = ioctl (control, LOOP_CTL_GET_FREE);
        if (number < 0)
            return false;
        (void) snprintf (path, sizeof path, "/dev/loop%d", number);
        int loop CLEANUP (fd_close) = open (path, O_RDONLY | O_CLOEXEC);
        if (loop == -1)
            return false;
        if (ioctl (loop, LOOP_CONFIGURE, &config) == 0)
            return mount (path, at, "squashfs", MS_RDONLY | MS_NODEV | MS_NOSUID, NULL) == 0;
        if (errno != EBUSY)
            return false; /* EBUSY: somebody else took it in between */
    }
    return false;
}

static int64_t size_of (const char *dir)
{
    static const char *const names[] = { "rootfs.squashfs", "vmlinux", "initramfs" };
    int64_t n = 0;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        struct stat st;
        char *p CLEANUP (free_ptr) = xasprintf ("%s/%s", dir, names[i]);
        n += stat (p, &st) == 0 ? (int64_t) st.st_blocks * 512 : 0;
    }
    return n;
}

/* What a worker that was killed had fetched of an image, and no step has asked for since. Whoever fetches it now holds the lock. */
static void forget_part (const char *images, const char *name)
{
    struct digest g;
    char hex[DIGEST_HEX];
    if (strlen (name) != sizeof hex - 1 + strlen (".part") || strcmp (name + sizeof hex - 1, ".part") != 0)
        return;
    memcpy (hex, name, sizeof hex - 1);
    hex[sizeof hex - 1] = '\0';
    if (!digest_parse (hex, &g))
        return;
    char *part CLEANUP (free_ptr) = xasprintf ("%s/%s", images, name), *lock CLEANUP (free_ptr) = xasprintf ("%s/%s.lock", images, hex);
    int fd CLEANUP (fd_close) = open (lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd != -1 && flock (fd, LOCK_EX | LOCK_NB) == 0)
        file_remove_tree (part, NULL);
}

/* With all that was made of it. Its lock is held exclusively. */
static int forget (const char *dir, struct err *e)
{
    static const char *const beside[] = { "", IMAGE_CHECKED, IMAGE_KVM, IMAGE_ROOT, IMAGE_ROOT ".part" };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof beside / sizeof *beside; i++) {
        char *path CLEANUP (free_ptr) = xasprintf ("%s%s", dir, beside[i]);
        rc = file_remove_tree (path, e);
    }
    return rc;
}

/* Remove images that nobody holds, least recently used first (the lock file's mtime), until the rest fits. */
static void trim (const char *images, const char *keep, int64_t max)
{
    for (;;) {
        int64_t total = 0, oldest = INT64_MAX;
        char victim[DIGEST_HEX] = "";
        DIR *d = opendir (images);
        for (struct dirent *en; d && (en = readdir (d));) {
            struct digest g;
            struct stat st;
            forget_part (images, en->d_name);
            if (!digest_parse (en->d_name, &g))
                continue;
            char *dir = xasprintf ("%s/%s", images, en->d_name), *lock = xasprintf ("%s.lock", dir);
            int fd = open (lock, O_RDWR | O_CLOEXEC);
            total += size_of (dir);
            if (strcmp (en->d_name, keep) != 0 && fd != -1 && flock (fd, LOCK_EX | LOCK_NB) == 0 && fstat (fd, &st) == 0 && st.st_mtime < oldest) {
                oldest = st.st_mtime;
                memcpy (victim, en->d_name, sizeof victim);
            }
            fd_close (&fd);
            free (dir);
            free (lock);
        }
        if (d)
            closedir (d);
        if (total <= max || !*victim)
            return;
        char *dir = xasprintf ("%s/%s", images, victim), *lock = xasprintf ("%s.lock", dir);
        int fd = open (lock, O_RDWR | O_CLOEXEC);
        bool gone = fd != -1 && flock (fd, LOCK_EX | LOCK_NB) == 0 && forget (dir, NULL) == 0;
        fd_close (&fd);
        free (dir);
        free (lock);
        if (!gone)
            return;
    }
}

/* From the store into the cache: fetched aside, so that a folder with the image's name is whole. */
static int bring (struct realm *rl, const struct image_opts *o, const char *images, const char *part, const char *dir, const char *hex, struct err *e)
{
    if (file_remove_tree (part, e) == -1 || store_get (rl, o->image, part, o->lease, o->submission, true, o->deadline_ms, e) == -1)
        return -1;
    if (rename (part, dir) == -1)
        return err_errno (e, "%s", dir);
    trim (images, hex, o->cache_max);
    return 0;
}

/* Where nothing can mount it: unpacked beside it, once, and kept. */
static int unpack (const char *file, const char *to, int lock, int64_t wait_ms, struct err *e)
{
    struct stat st;
    char *part CLEANUP (free_ptr) = xasprintf ("%s.part", to);
    const char *argv[] = { "unsquashfs", "-q", "-n", "-no-xattrs", "-d", part, file, NULL };
    if (file_flock (lock, true, wait_ms, e) == -1 || (stat (to, &st) == -1 && file_remove_tree (part, e) == -1))
        return -1;
    if (stat (to, &st) == 0)
        return 0;
    if (run (argv) && rename (part, to) == 0)
        return 0;
    file_remove_tree (part, NULL);
    return err_set (e, ERR_FAILED, "neither a loop mount, squashfuse nor unsquashfs works here (install squashfs-tools)");
}

int image_open (struct realm *rl, const struct image_opts *o, char **out, struct image_meta *meta, int *lock, struct err *e)
{
    char hex[DIGEST_HEX];
    struct stat st;
    struct err why = ERR_INIT;
    int rc = -1;
    digest_hex (o->image, hex);
    char *images CLEANUP (free_ptr) = xasprintf ("%s/images", o->state), *dir = xasprintf ("%s/%s", images, hex), *lockfile CLEANUP (free_ptr) = xasprintf ("%s.lock", dir),
         *part CLEANUP (free_ptr) = xasprintf ("%s.part", dir), *file CLEANUP (free_ptr) = xasprintf ("%s/rootfs.squashfs", dir);
    *out = dir;
    *lock = -1;
    if (file_mkdirs (images, 0700, e) == -1)
        return -1;
    *lock = open (lockfile, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    /* Shared while a step uses it, so that steps run side by side; exclusive while it is put there. */
    if (*lock == -1 || file_flock (*lock, false, o->deadline_ms, e) == -1) {
        err_wrap (e, "%s", lockfile);
        goto out;
    }
    futimens (*lock, NULL); /* when it was last used */
    if (stat (dir, &st) == -1 && (file_flock (*lock, true, o->deadline_ms, e) == -1 || (stat (dir, &st) == -1 && bring (rl, o, images, part, dir, hex, e) == -1))) {
        err_wrap (e, "image %.12s", hex);
        goto out;
    }
    if (lstat (file, &st) == -1 || !S_ISREG (st.st_mode)) {
        err_set (e, ERR_DAMAGED, "image %.12s: no rootfs.squashfs in it (make it with assay image build)", hex);
        goto out;
    }
    if (image_meta_check (dir, meta, &why) == -1) {
        bool gone = meta->changed && file_flock (*lock, true, o->deadline_ms, NULL) == 0 && forget (dir, NULL) == 0;
        err_set (e, why.kind, "image %.12s: %.600s%s", hex, why.msg, gone ? " (it changed here, and is thrown away: the next step fetches it again)" : "");
        goto out;
    }
    rc = file_flock (*lock, false, o->deadline_ms, e);
out:
    if (rc == -1)
        fd_close (lock);
    return rc;
}

int image_mount (const struct image_opts *o, const char *dir, const char *mount_at, char **root, int lock, struct err *e)
{
    struct stat st;
    char *file CLEANUP (free_ptr) = xasprintf ("%s/rootfs.squashfs", dir), *unpacked CLEANUP (free_ptr) = xasprintf ("%s" IMAGE_ROOT, dir);
    *root = NULL;
    if (file_mkdirs (mount_at, 0755, e) == -1)
        return -1;
    const char *loop[] = { "mount", "-t", "squashfs", "-o", "loop,ro,nodev,nosuid", file, mount_at, NULL }, *fuse[] = { "squashfuse", "-o", "ro,allow_other", file, mount_at, NULL };
    if (stat (unpacked, &st) == 0)
        *root = xstrdup (unpacked);
    else if (loop_mount (file, mount_at) || run (loop) || run (fuse))
        *root = xstrdup (mount_at);
    else if (unpack (file, unpacked, lock, o->deadline_ms, e) == 0)
        *root = xstrdup (unpacked);
    else
        return err_wrap (e, "image %.12s", strrchr (dir, '/') + 1);
    return file_flock (lock, false, o->deadline_ms, e);
}
