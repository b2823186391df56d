#include "config.h"

#include "worker/image_meta.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/file.h"
#include "store/client.h"
#include "worker/guest/wire.h"

#define IMAGE_FILES_MAX 64
#define MARK_MAX (32u << 10)

static int by_name (const void *a, const void *b)
{
    return strcmp (*(char *const *) a, *(char *const *) b);
}

static bool digest_field (const json_t *o, const char *key, struct digest *d)
{
    const char *hex = json_string_value (json_object_get (o, key));
    return hex && digest_parse (hex, d);
}

int image_meta_parse (struct bytes json, struct image_meta *m, struct err *e)
{
    json_error_t why;
    memset (m, 0, sizeof *m);
    json_t *o = json_loadb ((const char *) json.p, json.len, JSON_REJECT_DUPLICATES, &why);
    int rc = 0;
    if (!json_is_object (o))
        rc = err_set (e, ERR_DAMAGED, "image.json: not an object of JSON");
    else if (json_object_get (o, "kernel")) {
        const char *cpu = json_string_value (json_object_get (o, "cpu"));
        json_int_t guest = json_integer_value (json_object_get (o, "guest"));
        m->bootable = true;
        if (!digest_field (o, "kernel", &m->kernel) || !digest_field (o, "initramfs", &m->initramfs) || !digest_field (o, "rootfs", &m->rootfs))
            rc = err_set (e, ERR_DAMAGED, "image.json: kernel, initramfs and rootfs must be SHA-256 digests");
        else if (!cpu || !cpu_model_known (cpu))
            rc = err_set (e, ERR_DAMAGED, "image.json: CPU model %.40s: not one that this worker can give (make the image with assay image --cpu Nehalem-v1)", cpu ? cpu : "(none)");
        else if (guest < 1 || guest > UINT32_MAX)
            rc = err_set (e, ERR_DAMAGED, "image.json: guest must be a version, 1 or more");
        else {
            m->guest = (unsigned) guest;
            m->bootable = guest == GUEST_VERSION; /* its root file system serves as before */
            bytes_copy (bytes_str (cpu), m->cpu, sizeof m->cpu);
        }
    }
    json_decref (o);
    return rc;
}

static int read_meta (const char *dir, struct image_meta *m, struct err *e)
{
    char *path CLEANUP (free_ptr) = xasprintf ("%s/image.json", dir);
    BUF (text);
    memset (m, 0, sizeof *m);
    if (access (path, F_OK) == -1 && errno == ENOENT)
        return 0; /* from elsewhere: a root file system alone */
    return file_read (path, 1 << 20, &text, e) == -1 ? -1 : image_meta_parse (buf_bytes (&text), m, e);
}

/* What a file cannot change without: the folder's entries with number, size, mode and both times. -1: there is what no image has, so it is hashed each time. */
static int appearance (int dir, struct buf *out)
{
    char *names[IMAGE_FILES_MAX];
    size_t n = 0;
    int again = openat (dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = again == -1 ? NULL : fdopendir (again);
    bool bad = !d;
    if (!d)
        fd_close (&again);
    for (struct dirent *en; d && !bad && (en = readdir (d));)
        if (strcmp (en->d_name, ".") && strcmp (en->d_name, "..")) {
            if (n < IMAGE_FILES_MAX)
                names[n++] = xstrdup (en->d_name);
            else
                bad = true;
        }
    if (d)
        closedir (d);
    qsort (names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n; i++) {
        struct stat st;
        if (fstatat (dir, names[i], &st, AT_SYMLINK_NOFOLLOW) == -1 || !S_ISREG (st.st_mode))
            bad = true;
        else
            buf_addf (out, "%s %llu %lld %o %lld.%09ld %lld.%09ld\n", names[i], (unsigned long long) st.st_ino, (long long) st.st_size, st.st_mode, (long long) st.st_mtim.tv_sec,
                      st.st_mtim.tv_nsec, (long long) st.st_ctim.tv_sec, st.st_ctim.tv_nsec);
        free (names[i]);
    }
    return bad ? -1 : 0;
}

/* qemu runs as another user and opens the kernel by its descriptor's name. */
static int readable (int dir, const char *name, struct err *e)
{
    struct stat st;
    if (fstatat (dir, name, &st, AT_SYMLINK_NOFOLLOW) == -1 || !S_ISREG (st.st_mode))
        return err_set (e, ERR_DAMAGED, "no %s in it", name);
    mode_t want = st.st_mode & 0111 ? 0755 : 0644;
    return (st.st_mode & 0777) == want || fchmodat (dir, name, want, 0) == 0 ? 0 : err_errno (e, "%s", name);
}

static int named (const struct manifest *m, const char *name, const struct digest *wanted, struct err *e)
{
    for (size_t i = 0; i < m->n; i++)
        if (strcmp (m->v[i].path, name) == 0 && (m->v[i].type == 'f' || m->v[i].type == 'x') && digest_eq (&m->v[i].digest, wanted))
            return 0;
    return err_set (e, ERR_DAMAGED, "its %s is not the one that image.json names", name);
}

int image_meta_check (const char *dir, struct image_meta *m, struct err *e)
{
    static const char *const parts[] = { "vmlinux", "initramfs", "rootfs.squashfs" };
    const struct digest *const wanted[] = { &m->kernel, &m->initramfs, &m->rootfs };
    char *mark CLEANUP (free_ptr) = xasprintf ("%s" IMAGE_CHECKED, dir);
    int fd CLEANUP (fd_close) = open (dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct digest is, pinned;
    struct manifest list;
    BUF (before);
    BUF (after);
    BUF (known);
    BUF (raw);
    m->changed = false;
    if (fd == -1)
        return err_errno (e, "%s", dir);
    int rc = read_meta (dir, m, e);
    bool boots = rc == 0 && m->guest;
    for (size_t i = 0; rc == 0 && boots && i < sizeof parts / sizeof *parts; i++)
        rc = readable (fd, parts[i], e);
    bool flat = appearance (fd, &before) == 0;
    if (rc == 0 && flat && file_read (mark, MARK_MAX, &known, NULL) == 0 && bytes_eq (buf_bytes (&known), buf_bytes (&before)))
        return 0;
    struct err why = ERR_INIT; /* also where image.json makes no sense: did its author write that, or did it change here? */
    if (manifest_scan (fd, NULL, NULL, &raw, &why) == -1) {
        m->changed = true;
        return rc == -1 ? -1 : err_set (e, ERR_DAMAGED, "%s", why.msg);
    }
    is = manifest_digest (buf_bytes (&raw));
    m->changed = digest_parse (strrchr (dir, '/') + 1, &pinned) && !digest_eq (&is, &pinned);
    if (rc == 0 && boots && (rc = manifest_parse (buf_bytes (&raw), &list, e)) == 0) {
        for (size_t i = 0; rc == 0 && i < sizeof parts / sizeof *parts; i++)
            rc = named (&list, parts[i], wanted[i], e);
        manifest_release (&list);
    }
    if (rc == 0 && m->changed)
        rc = err_set (e, ERR_DAMAGED, "its files are not those that its digest names");
    if (rc == -1)
        return -1;
    /* What changed while it was read is read again the next time. */
    if (flat && appearance (fd, &after) == 0 && bytes_eq (buf_bytes (&before), buf_bytes (&after)))
        return file_write (mark, buf_bytes (&before), 0600, e);
    return 0;
}
