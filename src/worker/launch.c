#include "config.h"

#include "worker/launch.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/runner.h"

/* For the step's process, and gone with it: no sync. */
static int leave (const char *dir, const char *name, struct bytes content, struct err *e)
{
    CLEANUP (free_ptr) char *path = xasprintf ("%s/%s", dir, name);
    int fd CLEANUP (fd_close) = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd == -1 || !file_write_all (fd, content.p, content.len) ? err_errno (e, "%s", path) : 0;
}

int launch (const struct launch_opts *o, pid_t *pid, int *fd, struct err *e)
{
    CLEANUP (free_ptr) char *dir = xasprintf ("%s/steps/%s", o->state, o->hex);
    int pair[2] = { -1, -1 };
    char fdtext[16];
    BUF (settings);
    conf_write (o->conf, &settings);
    if (file_mkdirs (dir, 0700, e) == -1 || leave (dir, "lease", o->lease, e) == -1 || leave (dir, "submission", o->submission, e) == -1
        || leave (dir, RUNNER_CONF, buf_bytes (&settings), e) == -1)
        return -1;
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
        execl ("/proc/self/exe", "assay-worker", "--dir", o->dir, "--step", o->hex, "--fd", fdtext, (char *) NULL);
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
