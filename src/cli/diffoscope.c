/* diffoscope.c: see diffoscope.h. */
#include "config.h"

#include "cli/diffoscope.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/tool.h"

#define PROGRAM "/usr/bin/diffoscope"
#define SAME 0
#define DIFFERENT 1

const char *
diffoscope_missing (void)
{
    if (access (PROGRAM, X_OK) == -1)
        return "diffoscope is not installed, which would show what differs inside the files (Debian: diffoscope-minimal)";
    if (access ("/usr/bin/bwrap", X_OK) == -1)
        return "bubblewrap is not installed, without which diffoscope is not run on what others built";
    return NULL;
}

/* Its exit status, or -1. */
static int
ended (pid_t pid)
{
    int status = -1;

    while (pid > 0 && waitpid (pid, &status, 0) == -1 && errno == EINTR) {
    }
    return pid > 0 && WIFEXITED (status) ? WEXITSTATUS (status) : -1;
}

static int
take_text (int out, struct buf *text, struct err *e)
{
    struct stat st;
    BUF (raw);

    if (fstat (out, &st) == -1)
        return err_errno (e, "diffoscope's report");
    size_t n = st.st_size > (off_t) DIFFOSCOPE_MAX ? DIFFOSCOPE_MAX : (size_t) st.st_size;
    if (lseek (out, 0, SEEK_SET) == -1 || !file_read_exact (out, buf_grow (&raw, n), n))
        return err_errno (e, "diffoscope's report");
    text_clean (buf_bytes (&raw), true, text);
    if (n < (size_t) st.st_size)
        buf_adds (text, "\n(cut here)\n");
    return 0;
}

int
diffoscope_run (const char *dir, const char *a, const char *b, struct buf *text, const char *html, struct err *e)
{
    CLEANUP (free_ptr) char *left = xasprintf ("%s/%s", dir, a), *right = xasprintf ("%s/%s", dir, b), *report = xasprintf ("%s/report", dir),
                            *page = xasprintf ("%s/report/page.html", dir);
    CLEANUP (free_ptr) char *inner_left = xasprintf ("/%s", a), *inner_right = xasprintf ("/%s", b);
    CLEANUP (fd_close) int out = memfd_create ("report", MFD_CLOEXEC), log = memfd_create ("log", MFD_CLOEXEC);
    const char *argv[] = { "timeout", "-k", "5", DIFFOSCOPE_S, "/usr/bin/bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--cap-drop", "ALL",
                           "--ro-bind", "/usr", "/usr", "--ro-bind-try", "/bin", "/bin", "--ro-bind-try", "/sbin", "/sbin", "--ro-bind-try", "/lib", "/lib",
                           "--ro-bind-try", "/lib64", "/lib64", "--ro-bind-try", "/etc/alternatives", "/etc/alternatives", "--ro-bind-try",
                           "/etc/ld.so.cache", "/etc/ld.so.cache", "--proc", "/proc", "--dev", "/dev",
                           "--tmpfs", "/tmp", "--ro-bind", left, inner_left, "--ro-bind", right, inner_right, "--bind", report, "/report", "--chdir", "/",
                           "--clearenv", "--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/tmp", "--setenv", "LC_ALL", "C.UTF-8", "--", PROGRAM,
                           "--no-progress", "--max-text-report-size", "2097152", "--exclude-directory-metadata", "yes", "--text", "-", inner_left, inner_right,
                           NULL, NULL, NULL };
    size_t n = sizeof argv / sizeof *argv - 3;

    if (html != NULL) {
        argv[n++] = "--html";
        argv[n++] = "/report/page.html";
    }
    if (out == -1 || log == -1 || (mkdir (report, 0700) == -1 && errno != EEXIST))
        return err_errno (e, "a place for diffoscope's report");
    int status = ended (tool_start (argv, -1, out, log));
    if (status != SAME && status != DIFFERENT)
        return status == 124 ? err_set (e, ERR_FAILED, "diffoscope took longer than " DIFFOSCOPE_S " s") : tool_fail ("diffoscope", log, e);
    if (take_text (out, text, e) == -1)
        return -1;
    if (html != NULL) {
        BUF (content);
        struct stat st;
        if (status == SAME)
            return err_set (e, ERR_FAILED, "diffoscope finds no difference: there is no %s", html);
        if (lstat (page, &st) == -1 || !S_ISREG (st.st_mode))
            return err_set (e, ERR_FAILED, "diffoscope wrote no page");
        if (file_read (page, 256u << 20, &content, e) == -1 || file_write (html, buf_bytes (&content), 0644, e) == -1)
            return -1;
        unlink (page);
    }
    return 0;
}
