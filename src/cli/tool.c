#include "config.h"

#include "cli/tool.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

/* Debian's names (policy 5.6.1): no option, path or list of several can hide in one. */
bool
tool_package_valid (const char *s)
{
    if (!isalnum ((unsigned char) *s) || strlen (s) > 127)
        return false;
    return strspn (s, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == strlen (s);
}

pid_t
tool_start (const char *const argv[], int in, int out, int log)
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
    setenv ("SOURCE_DATE_EPOCH", TOOL_EPOCH, 1);
    setenv ("LC_ALL", "C.UTF-8", 1);
    setenv ("TZ", "UTC", 1);
    umask (022);
    execvp (argv[0], (char *const *) (uintptr_t) argv);
    dprintf (2, "%s: %s (see deploy/install-deps)\n", argv[0], strerror (errno));
    _exit (127);
}

bool
tool_ended_well (pid_t pid)
{
    int status = -1;

    if (pid == -1)
        return false;
    while (waitpid (pid, &status, 0) == -1 && errno == EINTR) {
    }
    return WIFEXITED (status) && WEXITSTATUS (status) == 0;
}

/* The last line that is not empty, for the error. */
int
tool_fail (const char *what, int log, struct err *e)
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

int
tool_run (const char *const argv[], const char *cwd, int in, int out, struct err *e)
{
    CLEANUP (fd_close) int log = memfd_create ("log", MFD_CLOEXEC);
    CLEANUP (fd_close) int back = open (".", O_PATH | O_DIRECTORY | O_CLOEXEC);

    if (log == -1 || (cwd != NULL && (back == -1 || chdir (cwd) == -1)))
        return err_errno (e, "%s", argv[0]);
    pid_t pid = tool_start (argv, in, out, log);
    if (cwd != NULL && fchdir (back) == -1)
        err_errno (e, "going back from %s", cwd);
    return tool_ended_well (pid) ? 0 : tool_fail (argv[0], log, e);
}

int
tool_pipe (const char *const first[], const char *const second[], int in, int out, struct err *e)
{
    CLEANUP (fd_close) int log = memfd_create ("log", MFD_CLOEXEC);
    int p[2] = { -1, -1 };

    if (log == -1 || pipe2 (p, O_CLOEXEC) == -1)
        return err_errno (e, "%s", first[0]);
    pid_t a = tool_start (first, in, p[1], log), b = tool_start (second, p[0], out, log);
    fd_close (&p[0]);
    fd_close (&p[1]);
    bool good = tool_ended_well (a), also = tool_ended_well (b);
    return good && also ? 0 : tool_fail (!good ? first[0] : second[0], log, e);
}

int
tool_digest (const char *path, struct digest *d, struct err *e)
{
    CLEANUP (fd_close) int fd = open (path, O_RDONLY | O_CLOEXEC);
    CLEANUP (digest_drop) struct digest_ctx *c = digest_begin ();
    uint8_t b[65536];
    ssize_t n = 0;

    while (fd != -1 && (n = read (fd, b, sizeof b)) > 0)
        digest_add (c, b, (size_t) n);
    if (fd == -1 || n == -1)
        return err_errno (e, "%s", path);
    digest_end (&c, d);
    return 0;
}

const char *
tool_unpacker (const uint8_t head[8])
{
    static const struct {
        const char *magic;
        size_t len;
        const char *program;
    } kinds[] = { { "\x1f\x8b", 2, "gzip" }, { "\xfd" "7zXZ", 5, "xz" }, { "\x28\xb5\x2f\xfd", 4, "zstd" }, { "\x02\x21\x4c\x18", 4, "lz4" } };

    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (memcmp (head, kinds[i].magic, kinds[i].len) == 0)
            return kinds[i].program;
    return NULL;
}
