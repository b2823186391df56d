#include "config.h"

#include "cli/rootfs.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

#define EPOCH "1672531200"     /* every image's time; any fixed one does */
#define ARGS_MAX 32

static pid_t
start (const char *const argv[], int in, int out, int log)
{
    pid_t pid = fork ();

    if (pid != 0)
        return pid;
    int null = open ("/dev/null", O_RDWR);
    /* through high numbers first, so that none of them overwrites another */
    in = fcntl (in == -1 ? null : in, F_DUPFD, 16);
    out = fcntl (out == -1 ? null : out, F_DUPFD, 16);
    log = fcntl (log, F_DUPFD, 16);
    if (dup2 (in, 0) == -1 || dup2 (out, 1) == -1 || dup2 (log, 2) == -1)
        _exit (126);
    close_range (3, ~0u, 0);
    setenv ("SOURCE_DATE_EPOCH", EPOCH, 1);
    setenv ("LC_ALL", "C.UTF-8", 1);
    setenv ("TZ", "UTC", 1);
    umask (022);
    execvp (argv[0], (char *const *) (uintptr_t) argv);
    dprintf (2, "%s: %s (see deploy/install-deps)\n", argv[0], strerror (errno));
    _exit (127);
}

static bool
ended_well (pid_t pid)
{
    int status = -1;

    if (pid == -1)
        return false;
    while (waitpid (pid, &status, 0) == -1 && errno == EINTR) {
    }
    return WIFEXITED (status) && WEXITSTATUS (status) == 0;
}

/* The last line that is not empty, for the error. */
static int
fail_with_log (const char *what, int log, struct err *e)
{
    char text[2048];
    BUF (clean);
    off_t size = lseek (log, 0, SEEK_END);
    ssize_t n = pread (log, text, sizeof text - 1, size > (off_t) sizeof text - 1 ? size - (off_t) sizeof text + 1 : 0);

    text[n > 0 ? n : 0] = '\0';
    for (n = (ssize_t) strlen (text); n > 0 && isspace ((unsigned char) text[n - 1]); n--)
        text[n - 1] = '\0';
    char *line = strrchr (text, '\n');
    text_clean (bytes_str (line != NULL ? line + 1 : text), false, &clean);
    return err_set (e, ERR_FAILED, "%s failed: %s", what, *buf_str (&clean) ? buf_str (&clean) : "it did not say why");
}

/* Squash a tar: what `producer` writes, or (producer NULL) the file open as `in`. */
static int
squash (const char *const *producer, int in, const char *out, struct err *e)
{
    CLEANUP (free_ptr) char *file = xasprintf ("%s/rootfs.squashfs", out);
    const char *const mksquashfs[] = { "mksquashfs", "-", file, "-tar", "-noappend", "-reproducible", "-comp", "lz4", "-root-mode", "0755",
                                       "-root-uid", "0", "-root-gid", "0", "-no-xattrs", "-no-progress", "-quiet", NULL };
    CLEANUP (fd_close) int log = memfd_create ("log", MFD_CLOEXEC);
    int p[2] = { -1, -1 };
    pid_t first = -1;

    if (log == -1 || (producer != NULL && pipe2 (p, O_CLOEXEC) == -1))
        return err_errno (e, "image");
    if (producer != NULL) {
        first = start (producer, in, p[1], log);
        fd_close (&p[1]);
    }
    pid_t second = start (mksquashfs, producer != NULL ? p[0] : in, -1, log);
    fd_close (&p[0]);
    bool good = producer == NULL || ended_well (first), squashed = ended_well (second);
    if (!good)
        return fail_with_log (producer[0], log, e);
    if (!squashed)
        return fail_with_log ("mksquashfs", log, e);
    return 0;
}

static int
describe (json_t *image, const char *out, struct err *e)
{
    CLEANUP (free_ptr) char *file = xasprintf ("%s/image.json", out);
    char *text = json_dumps (image, JSON_SORT_KEYS | JSON_INDENT (2));
    BUF (content);

    json_decref (image);
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

/* Debian's names (policy 5.6.1): no option, path or list of several can hide in one. */
static bool
package_valid (const char *s)
{
    if (!isalnum ((unsigned char) *s) || strlen (s) > 127)
        return false;
    return strspn (s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == strlen (s);
}

int
rootfs_build (const char *suite, char *const *packages, size_t count, const char *out, struct err *e)
{
    BUF (include);

    if (!package_valid (suite))
        return err_set (e, ERR_USAGE, "suite %s: not a suite's name (bookworm)", suite);
    if (count > ROOTFS_PACKAGES_MAX)
        return err_set (e, ERR_USAGE, "%zu packages: at most %u", count, ROOTFS_PACKAGES_MAX);
    for (size_t i = 0; i < count; i++)
        if (!package_valid (packages[i]))
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
    return describe (json_pack ("{s:s, s:s, s:o}", "created-by", "assay image build", "suite", suite, "packages", list), out, e);
}

/* How to unpack it, by its first bytes; NULL: not compressed. */
static const char *
unpacker (int fd)
{
    static const struct {
        const char *magic;
        size_t len;
        const char *program;
    } kinds[] = { { "\x1f\x8b", 2, "gzip" }, { "\xfd" "7zXZ", 5, "xz" }, { "\x28\xb5\x2f\xfd", 4, "zstd" } };
    char head[8] = "";

    if (pread (fd, head, sizeof head, 0) < 5)
        return NULL;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (memcmp (head, kinds[i].magic, kinds[i].len) == 0)
            return kinds[i].program;
    return NULL;
}

int
rootfs_import (const char *from, const char *out, struct err *e)
{
    CLEANUP (fd_close) int fd = open (from, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    int rc;

    if (fd == -1 || fstat (fd, &st) == -1)
        return err_set (e, ERR_USAGE, "%s: %s (a folder or a tar)", from, strerror (errno));
    if (S_ISDIR (st.st_mode)) {
        CLEANUP (free_ptr) char *folder = xasprintf ("--directory=%s", from);
        const char *const tar[] = { "tar", folder, "--create", "--sort=name", "--format=gnu", "--numeric-owner", "--owner=0", "--group=0",
                                    "--mtime=@" EPOCH, "--one-file-system", "--hard-dereference", "--file=-", ".", NULL };
        rc = squash (tar, -1, out, e);
    } else if (S_ISREG (st.st_mode)) {
        const char *program = unpacker (fd);
        const char *const unpack[] = { program, "-dc", NULL };
        rc = squash (program != NULL ? unpack : NULL, fd, out, e);
    } else
        return err_set (e, ERR_USAGE, "%s: neither a folder nor a tar", from);
    return rc == -1 ? -1 : describe (json_pack ("{s:s}", "created-by", "assay image import"), out, e);
}
