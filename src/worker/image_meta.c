#include "config.h"

#include "worker/image_meta.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/file.h"
#include "worker/guest/wire.h"

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

static int file_check (const char *dir, const char *name, const struct digest *wanted, struct err *e)
{
    char *path CLEANUP (free_ptr) = xasprintf ("%s/%s", dir, name);
    int fd CLEANUP (fd_close) = open (path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct digest_ctx *c CLEANUP (digest_drop) = digest_begin ();
    struct digest is;
    uint8_t b[65536];
    ssize_t n = 0;
    while (fd != -1 && (n = read (fd, b, sizeof b)) > 0)
        digest_add (c, b, (size_t) n);
    if (fd == -1 || n == -1)
        return err_errno (e, "%s", name);
    digest_end (&c, &is);
    if (!digest_eq (&is, wanted))
        return err_set (e, ERR_DAMAGED, "its %s is not the one that image.json names", name);
    /* qemu runs as another user and opens the kernel by its descriptor's name */
    return fchmod (fd, 0644) == 0 ? 0 : err_errno (e, "%s", name);
}

int image_meta_read (const char *dir, struct image_meta *m, struct err *e)
{
    char *path CLEANUP (free_ptr) = xasprintf ("%s/image.json", dir);
    BUF (text);
    memset (m, 0, sizeof *m);
    if (access (path, F_OK) == -1 && errno == ENOENT)
        return 0; /* from elsewhere: a root file system alone */
    if (file_read (path, 1 << 20, &text, e) == -1 || image_meta_parse (buf_bytes (&text), m, e) == -1)
        return err_wrap (e, "image %.12s", strrchr (dir, '/') + 1);
    return 0;
}

int image_meta_check (const char *dir, struct image_meta *m, struct err *e)
{
    char *mark CLEANUP (free_ptr) = xasprintf ("%s/checked", dir);
    if (image_meta_read (dir, m, e) == -1)
        return -1;
    if (!m->bootable || access (mark, F_OK) == 0)
        return 0;
    if (file_check (dir, "vmlinux", &m->kernel, e) == -1 || file_check (dir, "initramfs", &m->initramfs, e) == -1 || file_check (dir, "rootfs.squashfs", &m->rootfs, e) == -1)
        return -1;
    return file_write (mark, bytes_str ("sound\n"), 0600, e);
}
