#include "config.h"

#include "cli/kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/file.h"
#include "cli/tool.h"

#define FILE_MAX (256u << 20)
#define DEPS_MAX 64

/* What the guest loads, in an order that any of them may come in. */
static const char *const wanted[] = { "virtio_mmio", "virtio_blk", "virtio_console", "squashfs", "overlay" };

/* ---- the package ---- */

static char *
cache_dir (void)
{
    const char *xdg = getenv ("XDG_CACHE_HOME"), *home = getenv ("HOME");

    if (xdg != NULL && *xdg == '/')
        return xasprintf ("%s/assay", xdg);
    return home != NULL && *home == '/' && home[1] != '\0' ? xasprintf ("%s/.cache/assay", home) : xstrdup ("/var/cache/assay");
}

static int
output_of (const char *const argv[], struct buf *out, struct err *e)
{
    CLEANUP (fd_close) int fd = memfd_create ("output", MFD_CLOEXEC);

    if (fd == -1)
        return err_errno (e, "%s", argv[0]);
    if (tool_run (argv, NULL, -1, fd, e) == -1)
        return -1;
    off_t size = lseek (fd, 0, SEEK_END);
    if (size > (4 << 20))
        return err_set (e, ERR_FAILED, "%s: it says too much", argv[0]);
    size_t len = (size_t) size;
    return len == 0 || pread (fd, buf_grow (out, len), len, 0) == (ssize_t) len ? 0 : err_errno (e, "%s", argv[0]);
}

/* What was found in the last hours; asking the archive's lists takes seconds. */
static bool
found_lately (const char *note, char **deb)
{
    struct stat st;
    BUF (text);

    if (stat (note, &st) == -1 || time_now_us () / 1000000 - st.st_mtime > 12 * 3600 || file_read (note, 4096, &text, NULL) == -1 || access (buf_str (&text), R_OK) == -1)
        return false;
    *deb = xstrdup (buf_str (&text));
    return true;
}

/* The file of the real package, as the archive has it now. */
static int
download (const char *cache, char **deb, struct err *e)
{
    static const char *const depends[] = { "apt-cache", "depends", "--no-recommends", "--no-suggests", KERNEL_META, NULL };
    static const char *const fields[] = { "apt-cache", "show", "--no-all-versions", NULL, NULL };
    const char *show[5];
    char name[128] = "", version[128] = "", arch[32] = "";
    CLEANUP (free_ptr) char *debs = xasprintf ("%s/debs", cache), *note = xasprintf ("%s/latest", debs);
    BUF (text);
    BUF (record);

    if (found_lately (note, deb))
        return 0;
    if (output_of (depends, &text, e) == -1)
        return err_wrap (e, KERNEL_META " (apt-get update may be needed, or --kernel FILE.deb)");
    const char *at = strstr (buf_str (&text), "Depends: ");
    if (at == NULL || sscanf (at, "Depends: %127s", name) != 1 || !tool_package_valid (name) || strncmp (name, "linux-image-", 12) != 0)
        return err_set (e, ERR_FAILED, KERNEL_META ": the archive does not know it (apt-get update, or --kernel FILE.deb)");
    memcpy (show, fields, sizeof show);
    show[3] = name;
    if (output_of (show, &record, e) == -1)
        return err_wrap (e, "%s", name);
    at = strstr (buf_str (&record), "\nVersion: ");
    if (at == NULL || sscanf (at, "\nVersion: %127s", version) != 1 || (at = strstr (buf_str (&record), "\nArchitecture: ")) == NULL
        || sscanf (at, "\nArchitecture: %31s", arch) != 1 || strspn (version, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-.~:") != strlen (version)
        || !tool_package_valid (arch))
        return err_set (e, ERR_FAILED, "%s: the archive's record of it makes no sense", name);

    CLEANUP (free_ptr) char *exact = xasprintf ("%s=%s", name, version);
    char escaped[256] = "";
    for (const char *p = version; *p != '\0'; p++) /* as apt names files */
        snprintf (escaped + strlen (escaped), sizeof escaped - strlen (escaped), *p == ':' ? "%%3a" : "%c", *p);
    *deb = xasprintf ("%s/%s_%s_%s.deb", debs, name, escaped, arch);
    if (access (*deb, R_OK) == 0)
        return file_write (note, bytes_str (*deb), 0644, e);
    const char *const get[] = { "apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", exact, NULL };
    if (file_mkdirs (debs, 0755, e) == -1 || tool_run (get, debs, -1, -1, e) == -1)
        return err_wrap (e, "%s", exact);
    if (access (*deb, R_OK) == -1)
        return err_errno (e, "%s: downloaded, but not there", *deb);
    return file_write (note, bytes_str (*deb), 0644, e);
}

/* ---- its modules ---- */

struct module {
    char *name, *path;
};
static struct {
    struct module *v;
    size_t n;
    char *vmlinuz, *builtin;
    char release[128];
} seen; /* nftw has no argument of ours; one package at a time */

static int
look (const char *path, const struct stat *st, int kind, struct FTW *at)
{
    const char *base = path + at->base, *dot = strstr (base, ".ko"), *modules;

    (void) st;
    if (kind != FTW_F)
        return 0;
    if (strncmp (base, "vmlinuz-", 8) == 0 && seen.vmlinuz == NULL)
        seen.vmlinuz = xstrdup (path);
    if (strcmp (base, "modules.builtin") == 0 && seen.builtin == NULL)
        seen.builtin = xstrdup (path);
    if (dot == NULL || dot == base)
        return 0;
    if (!*seen.release && (modules = strstr (path, "/lib/modules/")) != NULL)
        snprintf (seen.release, sizeof seen.release, "%.*s", (int) strcspn (modules + 13, "/"), modules + 13);
    seen.v = xrealloc (seen.v, (seen.n + 1) * sizeof *seen.v);
    seen.v[seen.n] = (struct module){ bytes_dup (bytes_of (base, (size_t) (dot - base))), xstrdup (path) };
    for (char *p = seen.v[seen.n].name; *p != '\0'; p++)
        if (*p == '-')
            *p = '_';
    seen.n++;
    return 0;
}

static void
forget (void)
{
    for (size_t i = 0; i < seen.n; i++) {
        free (seen.v[i].name);
        free (seen.v[i].path);
    }
    free (seen.v);
    free (seen.vmlinuz);
    free (seen.builtin);
    memset (&seen, 0, sizeof seen);
}

/* Content of a file, unpacked where it is packed. */
static int
content_of (const char *path, struct buf *out, struct err *e)
{
    if (file_read (path, FILE_MAX, out, e) == -1)
        return -1;
    const char *program = out->len >= 8 ? tool_unpacker (out->p) : NULL;
    if (program == NULL)
        return 0;
    const char *const argv[] = { program, "-dc", NULL };
    CLEANUP (fd_close) int in = open (path, O_RDONLY | O_CLOEXEC), fd = memfd_create ("content", MFD_CLOEXEC);
    if (in == -1 || fd == -1 || tool_run (argv, NULL, in, fd, e) == -1)
        return in == -1 || fd == -1 ? err_errno (e, "%s", path) : -1;
    off_t size = lseek (fd, 0, SEEK_END);
    if (size <= 0 || size > FILE_MAX)
        return err_set (e, ERR_FAILED, "%s: %lld bytes unpacked", path, (long long) size);
    out->len = 0;
    return pread (fd, buf_grow (out, (size_t) size), (size_t) size, 0) == (ssize_t) size ? 0 : err_errno (e, "%s", path);
}

static bool
built_in (const char *name, const char *list)
{
    for (const char *p = list; (p = strchr (p, '/')) != NULL;) {
        size_t n = strlen (name);
        bool same = strlen (++p) > n;
        for (size_t i = 0; i < n && same; i++)
            same = p[i] == name[i] || (name[i] == '_' && p[i] == '-');
        if (same && strncmp (p + n, ".ko", 3) == 0)
            return true;
    }
    return false;
}

struct chosen {
    const char *names[DEPS_MAX];
    size_t n;
};

/* The module and, before it, all that it says it depends on. */
static int
choose (struct chosen *c, const char *name, const char *builtin, const char *to, struct buf *list, int depth, struct err *e)
{
    const struct module *m = NULL;
    BUF (content);

    for (size_t i = 0; i < c->n; i++)
        if (strcmp (c->names[i], name) == 0)
            return 0;
    for (size_t i = 0; i < seen.n && m == NULL; i++)
        if (strcmp (seen.v[i].name, name) == 0)
            m = &seen.v[i];
    if (m == NULL && built_in (name, builtin))
        return 0;
    if (m == NULL || depth > 8 || c->n == DEPS_MAX)
        return err_set (e, ERR_FAILED, "the kernel package has no module %s", name);
    if (content_of (m->path, &content, e) == -1)
        return -1;
    const uint8_t *field = memmem (content.p, content.len, "\0depends=", 9);
    CLEANUP (free_ptr) char *needs = field == NULL ? xstrdup ("") : bytes_dup (bytes_of (field + 9, strnlen ((const char *) field + 9, content.len - (size_t) (field + 9 - content.p))));
    char *save = NULL;
    for (char *one = strtok_r (needs, ",", &save); one != NULL; one = strtok_r (NULL, ",", &save)) {
        for (char *p = one; *p != '\0'; p++)
            if (*p == '-')
                *p = '_';
        if (choose (c, one, builtin, to, list, depth + 1, e) == -1)
            return -1;
    }
    CLEANUP (free_ptr) char *file = xasprintf ("%s/%s.ko", to, name);
    c->names[c->n++] = m->name;
    buf_addf (list, "%s.ko\n", name);
    return file_write (file, buf_bytes (&content), 0644, e);
}

/* The kernel's ELF file out of the bzImage (the boot protocol's payload, Documentation/x86/boot.rst, from 2.08 on). */
static int
unpack_kernel (const char *bzimage, const char *to, struct err *e)
{
    BUF (b);

    if (file_read (bzimage, FILE_MAX, &b, e) == -1)
        return -1;
    if (b.len < 1024 || memcmp (b.p + 0x202, "HdrS", 4) != 0)
        return err_set (e, ERR_FAILED, "%s: not a bzImage", bzimage);
    uint32_t at[2];
    memcpy (at, b.p + 0x248, sizeof at);
    uint64_t sectors = b.p[0x1f1] ? b.p[0x1f1] : 4, from = (sectors + 1) * 512 + at[0], len = at[1];
    if (len < 16 || from > b.len || len > b.len - from)
        return err_set (e, ERR_FAILED, "%s: its payload is not inside it", bzimage);
    const char *program = tool_unpacker (b.p + from);
    const char *const argv[] = { program, "-dc", NULL };
    if (program == NULL)
        return err_set (e, ERR_FAILED, "%s: its payload is packed in a way that is not known here", bzimage);
    CLEANUP (fd_close) int in = memfd_create ("payload", MFD_CLOEXEC);
    CLEANUP (fd_close) int out = open (to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    /* the last four bytes are the unpacked size, not part of the stream */
    if (in == -1 || out == -1 || !file_write_all (in, b.p + from, len - 4) || lseek (in, 0, SEEK_SET) == -1)
        return err_errno (e, "%s", to);
    return tool_run (argv, NULL, in, out, e);
}

/* The package's kernel and modules into the cache, once. */
static int
unpack (const char *deb, const char *dir, struct err *e)
{
    CLEANUP (free_ptr) char *part = xasprintf ("%s.part-XXXXXX", dir), *tree = NULL, *modules = NULL, *vmlinux = NULL, *list = NULL, *release = NULL;
    const char *const dpkg[] = { "dpkg-deb", "--fsys-tarfile", deb, NULL };
    struct chosen c = { .n = 0 };
    int rc = -1;
    BUF (order);
    BUF (builtin);

    if (mkdtemp (part) == NULL)
        return err_errno (e, "%s", part);
    tree = xasprintf ("%s/tree", part);
    modules = xasprintf ("%s/modules", part);
    vmlinux = xasprintf ("%s/vmlinux", part);
    list = xasprintf ("%s/list", modules);
    release = xasprintf ("%s/release", part);
    const char *const tar[] = { "tar", "-x", "--no-same-owner", "--no-same-permissions", "-C", tree, "--wildcards", "*/vmlinuz-*", "*.ko*", "*/modules.builtin", NULL };
    if (file_mkdirs (tree, 0700, e) == -1 || file_mkdirs (modules, 0755, e) == -1 || tool_pipe (dpkg, tar, -1, -1, e) == -1)
        goto out;
    nftw (tree, look, 16, FTW_PHYS);
    if (seen.vmlinuz == NULL || seen.builtin == NULL || !*seen.release) {
        err_set (e, ERR_USAGE, "%s: not a kernel's package (linux-image-...)", deb);
        goto out;
    }
    if (file_read (seen.builtin, 1 << 20, &builtin, e) == -1 || unpack_kernel (seen.vmlinuz, vmlinux, e) == -1)
        goto out;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (choose (&c, wanted[i], buf_str (&builtin), modules, &order, 0, e) == -1)
            goto out;
    if (file_write (list, buf_bytes (&order), 0644, e) == -1 || file_write (release, bytes_str (seen.release), 0644, e) == -1 || file_remove_tree (tree, e) == -1)
        goto out;
    rc = rename (part, dir) == 0 || errno == EEXIST || errno == ENOTEMPTY ? 0 : err_errno (e, "%s", dir);
out:
    forget ();
    file_remove_tree (part, NULL);
    return rc;
}

/* ---- the initramfs: cpio's newc format ---- */

static void
cpio_entry (struct buf *out, unsigned *inode, const char *name, unsigned mode, unsigned major, unsigned minor, struct bytes content)
{
    buf_addf (out, "070701%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X", ++*inode, mode, 0u, 0u, 1u, 0u, (unsigned) content.len, 0u, 0u, major, minor,
              (unsigned) strlen (name) + 1, 0u);
    buf_add (out, name, strlen (name) + 1);
    while (out->len % 4)
        buf_add (out, "", 1);
    if (content.len > 0)
        buf_add (out, content.p, content.len);
    while (out->len % 4)
        buf_add (out, "", 1);
}

static char *
guest_path (void)
{
    const char *set = getenv ("ASSAY_GUEST");

    return set != NULL ? xstrdup (set) : file_program ("assay-guest", ASSAY_LIBEXECDIR);
}

static int
make_initramfs (const char *guest, const char *modules, const char *to, struct err *e)
{
    static const char *const folders[] = { "cgroup", "dev", "image", "modules", "proc", "sys", "work" };
    CLEANUP (free_ptr) char *list = xasprintf ("%s/list", modules);
    unsigned inode = 0;
    BUF (out);
    BUF (init);
    BUF (order);

    if (file_read (guest, 16 << 20, &init, e) == -1 || file_read (list, 65536, &order, e) == -1)
        return -1;
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        cpio_entry (&out, &inode, folders[i], S_IFDIR | 0755, 0, 0, bytes_of (NULL, 0));
    cpio_entry (&out, &inode, "dev/console", S_IFCHR | 0600, 5, 1, bytes_of (NULL, 0));
    cpio_entry (&out, &inode, "init", S_IFREG | 0755, 0, 0, buf_bytes (&init));
    cpio_entry (&out, &inode, "modules/list", S_IFREG | 0644, 0, 0, buf_bytes (&order));
    CLEANUP (free_ptr) char *names = bytes_dup (buf_bytes (&order));
    char *save = NULL;
    for (char *one = strtok_r (names, "\n", &save); one != NULL; one = strtok_r (NULL, "\n", &save)) {
        CLEANUP (free_ptr) char *path = xasprintf ("%s/%s", modules, one), *name = xasprintf ("modules/%s", one);
        BUF (content);
        if (file_read (path, FILE_MAX, &content, e) == -1)
            return -1;
        cpio_entry (&out, &inode, name, S_IFREG | 0644, 0, 0, buf_bytes (&content));
    }
    cpio_entry (&out, &inode, "TRAILER!!!", 0, 0, 0, bytes_of (NULL, 0));
    return file_write (to, buf_bytes (&out), 0644, e);
}

static int
copy (const char *from, const char *to, struct err *e)
{
    CLEANUP (fd_close) int in = open (from, O_RDONLY | O_CLOEXEC), out = open (to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    ssize_t n = 0;

    while (in != -1 && out != -1 && (n = copy_file_range (in, NULL, out, NULL, 1 << 26, 0)) > 0) {
    }
    if (n == -1 && (errno == EXDEV || errno == EINVAL || errno == EOPNOTSUPP) && lseek (in, 0, SEEK_SET) == 0 && ftruncate (out, 0) == 0 && lseek (out, 0, SEEK_SET) == 0) {
        char b[65536];
        while ((n = read (in, b, sizeof b)) > 0)
            if (!file_write_all (out, b, (size_t) n))
                return err_errno (e, "%s", to);
    }
    return in == -1 || out == -1 || n == -1 ? err_errno (e, "%s", in == -1 ? from : to) : 0;
}

int
kernel_add (const struct kernel_opts *k, const char *out, struct kernel_facts *facts, struct err *e)
{
    CLEANUP (free_ptr) char *cache = cache_dir (), *kernels = xasprintf ("%s/kernels", cache), *guest = guest_path (), *deb = NULL, *dir = NULL, *modules = NULL,
                             *vmlinux = NULL, *release = NULL, *to = xasprintf ("%s/vmlinux", out), *initramfs = xasprintf ("%s/initramfs", out);
    const char *const ask[] = { guest, "--version", NULL };
    struct digest d;
    char hex[DIGEST_HEX];
    BUF (text);
    BUF (version);

    if (!cpu_model_known (k->cpu))
        return err_set (e, ERR_USAGE, "CPU model %s: not one that is the same everywhere (" CPU_MODELS ")", k->cpu);
    if (output_of (ask, &version, e) == -1)
        return err_wrap (e, "the guest's init %s", guest);
    if (k->source != NULL)
        deb = xstrdup (k->source);
    else if (download (cache, &deb, e) == -1)
        return err_wrap (e, "kernel");
    if (file_mkdirs (kernels, 0755, e) == -1 || tool_digest (deb, &d, e) == -1)
        return err_wrap (e, "kernel");
    dir = xasprintf ("%s/%s", kernels, digest_hex (&d, hex));
    if (access (dir, R_OK) == -1 && unpack (deb, dir, e) == -1)
        return err_wrap (e, "kernel");
    modules = xasprintf ("%s/modules", dir);
    vmlinux = xasprintf ("%s/vmlinux", dir);
    release = xasprintf ("%s/release", dir);
    if (file_read (release, sizeof facts->release - 1, &text, e) == -1 || copy (vmlinux, to, e) == -1 || make_initramfs (guest, modules, initramfs, e) == -1)
        return err_wrap (e, "kernel");
    snprintf (facts->release, sizeof facts->release, "%s", buf_str (&text));
    facts->guest = (unsigned) strtoul (buf_str (&version), NULL, 10);
    return 0;
}
