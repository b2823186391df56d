#include "config.h"

#include "cli/rootfs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/kernel.h"
#include "cli/tool.h"

#define ARGS_MAX 32

/* Squash a tar: what `producer` writes, or (producer NULL) the file open as `in`. All becomes root's: -root-uid does nothing with -tar, so that
 * the root folder would be whose who calls; and a file of the number that steps have under one driver would be theirs there alone. */
static int
squash (const char *const *producer, int in, const char *out, struct err *e)
{
    CLEANUP (free_ptr) char *file = xasprintf ("%s/rootfs.squashfs", out);
    const char *const mksquashfs[] = { "mksquashfs", "-", file, "-tar", "-noappend", "-reproducible", "-comp", "lz4", "-root-mode", "0755",
                                       "-all-root", "-no-xattrs", "-no-progress", "-quiet", NULL };

    return producer != NULL ? tool_pipe (producer, mksquashfs, in, -1, e) : tool_run (mksquashfs, NULL, in, -1, e);
}

static int
add_digest (json_t *image, const char *key, const char *out, const char *file, struct err *e)
{
    CLEANUP (free_ptr) char *path = xasprintf ("%s/%s", out, file);
    struct digest d;
    char hex[DIGEST_HEX];

    if (tool_digest (path, &d, e) == -1)
        return -1;
    json_object_set_new (image, key, json_string (digest_hex (&d, hex)));
    return 0;
}

/* image.json: what it is made of, and what a worker checks before it boots it. */
static int
describe (json_t *image, const struct kernel_opts *kernel, const char *out, struct err *e)
{
    CLEANUP (free_ptr) char *file = xasprintf ("%s/image.json", out);
    struct kernel_facts facts;
    BUF (content);
    int rc = add_digest (image, "rootfs", out, "rootfs.squashfs", e);

    if (rc == 0 && kernel != NULL) {
        rc = kernel_add (kernel, out, &facts, e);
        if (rc == 0 && (rc = add_digest (image, "kernel", out, "vmlinux", e)) == 0 && (rc = add_digest (image, "initramfs", out, "initramfs", e)) == 0) {
            json_object_set_new (image, "cpu", json_string (kernel->cpu));
            json_object_set_new (image, "kernel-release", json_string (facts.release));
            json_object_set_new (image, "guest", json_integer (facts.guest));
        }
    }
    char *text = rc == 0 ? json_dumps (image, JSON_SORT_KEYS | JSON_INDENT (2)) : NULL;
    json_decref (image);
    if (rc == -1)
        return -1;
    if (text == NULL)
        return err_set (e, ERR_USAGE, "image: not UTF-8");
    buf_addf (&content, "%s\n", text);
    free (text);
    return file_write (file, buf_bytes (&content), 0644, e);
}

static int
by_name (const void *a, const void *b)
{
    return strcmp (*(char *const *) a, *(char *const *) b);
}


int
rootfs_build (const char *suite, char *const *packages, size_t count, const struct kernel_opts *kernel, const char *out, struct err *e)
{
    BUF (include);

    if (!tool_package_valid (suite))
        return err_set (e, ERR_USAGE, "suite %s: not a suite's name (bookworm)", suite);
    if (count > ROOTFS_PACKAGES_MAX)
        return err_set (e, ERR_USAGE, "%zu packages: at most %u", count, ROOTFS_PACKAGES_MAX);
    for (size_t i = 0; i < count; i++)
        if (!tool_package_valid (packages[i]))
            return err_set (e, ERR_USAGE, "package %s: not a package's name", packages[i]);

    CLEANUP (free_ptr) char **sorted = xcalloc (count + 1, sizeof *sorted);
    for (size_t i = 0; i < count; i++)
        sorted[i] = packages[i];
    qsort (sorted, count, sizeof *sorted, by_name);

    json_t *list = json_array ();
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && strcmp (sorted[i], sorted[i - 1]) == 0)
            continue;
        json_array_append_new (list, json_string (sorted[i]));
        buf_addf (&include, "%s%s", include.len > 0 ? "," : "--include=", sorted[i]);
    }
    const char *argv[ARGS_MAX] = { "mmdebstrap", "--quiet", "--variant=minbase", "--format=tar", geteuid () == 0 ? "--mode=root" : "--mode=unshare" };
    size_t n = 5;
    if (include.len > 0)
        argv[n++] = buf_str (&include);
    argv[n++] = suite;
    argv[n++] = "-";
    if (squash (argv, -1, out, e) == -1) {
        json_decref (list);
        return -1;
    }
    return describe (json_pack ("{s:s, s:s, s:o}", "created-by", "assay image build", "suite", suite, "packages", list), kernel, out, e);
}

int
rootfs_import (const char *from, const struct kernel_opts *kernel, const char *out, struct err *e)
{
    CLEANUP (fd_close) int fd = open (from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    int rc;

    if (fd == -1 || fstat (fd, &st) == -1)
        return err_set (e, ERR_USAGE, "%s: %s (a folder or a tar)", from, strerror (errno));
    if (S_ISDIR (st.st_mode)) {
        CLEANUP (free_ptr) char *folder = xasprintf ("--directory=%s", from);
        const char *const tar[] = { "tar", folder, "--create", "--sort=name", "--format=gnu", "--numeric-owner", "--owner=0", "--group=0",
                                    "--mtime=@" TOOL_EPOCH, "--one-file-system", "--hard-dereference", "--file=-", ".", NULL };
        rc = squash (tar, -1, out, e);
    } else if (S_ISREG (st.st_mode)) {
        uint8_t head[8] = { 0 };
        const char *program = pread (fd, head, sizeof head, 0) == (ssize_t) sizeof head ? tool_unpacker (head) : NULL;
        const char *const unpack[] = { program, "-dc", NULL };
        rc = squash (program != NULL ? unpack : NULL, fd, out, e);
    } else
        return err_set (e, ERR_USAGE, "%s: neither a folder nor a tar", from);
    return rc == -1 ? -1 : describe (json_pack ("{s:s}", "created-by", "assay image import"), kernel, out, e);
}
