#include "lab/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

#define OUTPUT_MAX (1u << 20)
#define LOOK_MS 20

struct proc {
    pid_t pid;      /* 0: it ended */
    int pidfd, status;
    char *out;
};

static int signals = -1;

void proc_signals (int fd)
{
    signals = fd;
}

bool proc_interrupted (void)
{
    struct pollfd p = { .fd = signals, .events = POLLIN };
    return signals != -1 && poll (&p, 1, 0) == 1; /* never read: it stays so */
}

bool proc_pause (int ms)
{
    struct pollfd p = { .fd = signals, .events = POLLIN };
    return poll (&p, 1, ms) == 0;
}

static void child (const struct proc_opts *o, int out, int err, pid_t parent)
{
    static const char why[] = "cannot be run: ";
    sigset_t none;
    int null = open ("/dev/null", O_RDONLY);
    setpgid (0, 0); /* a terminal's Ctrl-C is for the lab, which stops all in order */
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    if (getppid () != parent)
        _exit (1);
    sigemptyset (&none);
    sigprocmask (SIG_SETMASK, &none, NULL);
    signal (SIGPIPE, SIG_DFL);
    unsetenv ("ASSAY_DIR");
    unsetenv ("GIT_DIR");
    unsetenv ("GIT_WORK_TREE");
    for (size_t i = 0; o->env && o->env[i]; i++)
        putenv ((char *) (uintptr_t) o->env[i]);
    if (dup2 (null, 0) == -1 || dup2 (out, 1) == -1 || dup2 (err, 2) == -1)
        _exit (126);
    close_range (3, ~0u, 0);
    execvp (o->argv[0], (char *const *) (uintptr_t) o->argv);
    const char *text = strerror (errno);
    if (write (2, why, sizeof why - 1) == -1 || write (2, text, strlen (text)) == -1)
        _exit (126);
    _exit (127);
}

int proc_start (struct proc **pp, const struct proc_opts *o, struct err *e)
{
    const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC;
    *pp = NULL;
    if (proc_interrupted ())
        return err_set (e, ERR_FAILED, "interrupted");
    int out CLEANUP (fd_close) = open (o->out, flags, 0600), err CLEANUP (fd_close) = -1;
    if (out == -1)
        return err_errno (e, "%s", o->out);
    err = strcmp (o->out, o->err) ? open (o->err, flags, 0600) : fcntl (out, F_DUPFD_CLOEXEC, 3);
    if (err == -1)
        return err_errno (e, "%s", o->err);
    struct proc *p = xcalloc (1, sizeof *p);
    pid_t parent = getpid ();
    p->pid = fork ();
    if (p->pid == 0)
        child (o, out, err, parent);
    p->pidfd = p->pid == -1 ? -1 : pidfd_open (p->pid, 0);
    if (p->pidfd == -1) {
        err_errno (e, "%s", o->argv[0]);
        if (p->pid > 0) {
            kill (p->pid, SIGKILL);
            waitpid (p->pid, NULL, 0);
        }
        free (p);
        return -1;
    }
    p->out = xstrdup (o->out);
    *pp = p;
    return 0;
}

int proc_wait (struct proc *p, int timeout_ms)
{
    struct pollfd fds[2] = { { .fd = p->pidfd, .events = POLLIN }, { .fd = signals, .events = POLLIN } };
    int status = 0;
    if (!p->pid)
        return p->status;
    while (poll (fds, 2, timeout_ms) == -1 && errno == EINTR) {
    }
    if (!fds[0].revents)
        return PROC_RUNS;
    while (waitpid (p->pid, &status, 0) == -1 && errno == EINTR) {
    }
    p->pid = 0;
    p->status = WIFSIGNALED (status) ? 128 + WTERMSIG (status) : WEXITSTATUS (status);
    return p->status;
}

void proc_output (const struct proc *p, struct buf *out)
{
    int fd CLEANUP (fd_close) = open (p->out, O_RDONLY | O_CLOEXEC);
    ssize_t n = 1;
    while (fd != -1 && n > 0 && out->len < OUTPUT_MAX) {
        uint8_t block[8192];
        n = read (fd, block, sizeof block);
        if (n > 0)
            buf_add (out, block, (size_t) n);
    }
}

bool proc_says (const struct proc *p, const char *line)
{
    BUF (all);
    size_t n = strlen (line);
    proc_output (p, &all);
    for (const char *s = buf_str (&all); *s;) {
        size_t len = strcspn (s, "\n");
        if (len == n && memcmp (s, line, n) == 0)
            return true;
        s += len + (s[len] == '\n');
    }
    return false;
}

int proc_until (struct proc *p, const char *line, int timeout_ms)
{
    int64_t until = time_mono_ms () + timeout_ms;
    for (;;) {
        bool over = proc_wait (p, LOOK_MS) != PROC_RUNS;
        if (proc_says (p, line))
            return 1;
        if (over)
            return 0;
        if (time_mono_ms () > until || proc_interrupted ())
            return -1;
    }
}

int proc_id (const struct proc *p)
{
    return (int) p->pid;
}

void proc_stop (struct proc **pp, int timeout_ms)
{
    struct proc *p = *pp;
    if (!p)
        return;
    if (p->pid) {
        kill (p->pid, SIGTERM);
        struct pollfd fd = { .fd = p->pidfd, .events = POLLIN };
        while (poll (&fd, 1, timeout_ms) == -1 && errno == EINTR) {
        }
        if (!fd.revents)
            kill (p->pid, SIGKILL);
        while (waitpid (p->pid, NULL, 0) == -1 && errno == EINTR) {
        }
    }
    close (p->pidfd);
    free (p->out);
    free (p);
    *pp = NULL;
}
