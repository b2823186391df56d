#include "config.h"

#include "worker/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "source/git.h"
#include "worker/runner.h"
#include "worker/seccomp.h"

static pid_t spare_pid = -1;
static int spare_fd = -1;

/* For the step's process, and gone with it: no sync. */
static int leave (const char *dir, const char *name, struct bytes content, struct err *e)
{
    CLEANUP (free_ptr) char *path = xasprintf ("%s/%s", dir, name);
    int fd CLEANUP (fd_close) = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd == -1 || !file_write_all (fd, content.p, content.len) ? err_errno (e, "%s", path) : 0;
}

static int start (const char *dir, const char *hex, pid_t *pid, int *fd, struct err *e)
{
    int pair[2] = { -1, -1 };
    char fdtext[16];
    if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1)
        return err_errno (e, "socketpair");
    snprintf (fdtext, sizeof fdtext, "%d", pair[1]);
    *pid = fork ();
    if (*pid == 0) {
        sigset_t none;
        sigemptyset (&none);
        fcntl (pair[1], F_SETFD, 0);
        setpgid (0, 0); /* a terminal's Ctrl-C is for the agent */
        sigprocmask (SIG_SETMASK, &none, NULL);
        execl ("/proc/self/exe", "assay-worker", "--dir", dir, "--step", hex, "--fd", fdtext, (char *) NULL);
        _exit (127);
    }
    close (pair[1]);
    if (*pid == -1) {
        close (pair[0]);
        return err_errno (e, "fork");
    }
    fcntl (pair[0], F_SETFL, O_NONBLOCK);
    *fd = pair[0];
    return 0;
}

void launch_spare (const char *dir)
{
    if (spare_pid == -1 && start (dir, LAUNCH_SPARE, &spare_pid, &spare_fd, NULL) == -1)
        spare_pid = -1;
}

void launch_end (void)
{
    if (spare_pid > 0) {
        kill (spare_pid, SIGKILL);
        while (waitpid (spare_pid, NULL, 0) == -1 && errno == EINTR) {
        }
    }
    fd_close (&spare_fd);
    spare_pid = -1;
}

/* Tell the spare whose it is. false: there is none, or it has died. */
static bool take_spare (const char *hex, pid_t *pid, int *fd)
{
    if (spare_pid == -1)
        return false;
    bool told = send (spare_fd, hex, DIGEST_HEX - 1, MSG_NOSIGNAL) == DIGEST_HEX - 1;
    if (waitpid (spare_pid, NULL, WNOHANG) != 0) { /* its number may be another process's by now */
        spare_pid = -1;
        told = false;
    }
    if (!told) {
        launch_end ();
        return false;
    }
    *pid = spare_pid;
    *fd = spare_fd;
    spare_pid = -1;
    spare_fd = -1;
    return true;
}

bool launch_wait (int fd, char hex[DIGEST_HEX])
{
    struct digest any;
    struct bytes filter;
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    git_start ();
    (void) seccomp_program (&filter, NULL); /* ahead of the step; what fails now fails again, and is told, then */
    any = digest_of ("", 0);
    if (!file_read_exact (fd, hex, DIGEST_HEX - 1))
        return false;
    hex[DIGEST_HEX - 1] = '\0';
    return digest_parse (hex, &any);
}

int launch (const struct launch_opts *o, pid_t *pid, int *fd, struct err *e)
{
    CLEANUP (free_ptr) char *dir = xasprintf ("%s/steps/%s", o->state, o->hex);
    BUF (settings);
    conf_write (o->conf, &settings);
    if (file_mkdirs (dir, 0700, e) == -1 || leave (dir, "lease", o->lease, e) == -1 || leave (dir, "submission", o->submission, e) == -1 || leave (dir, "boxes", o->boxes, e) == -1
        || leave (dir, RUNNER_CONF, buf_bytes (&settings), e) == -1)
        return -1;
    return take_spare (o->hex, pid, fd) ? 0 : start (o->dir, o->hex, pid, fd, e);
}
