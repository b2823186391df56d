#include "config.h"

#include "cli/fleet.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

#define LINE_MAX_BYTES 8192u /* a longer line comes out in pieces */
#define STREAMS 2            /* stdout, stderr */

struct stream {
    int fd;                  /* -1: closed */
    struct buf line;
};

struct child {
    char *name, *program, *dir;
    unsigned rank;
    pid_t pid;               /* 0: not running */
    int pidfd;
    struct stream streams[STREAMS];
    bool ready, told;        /* said ready; was sent SIGTERM */
};

struct fleet {
    struct child *v;
    size_t n;
    int out, width;
    bool ready, stopping;
    int64_t deadline;        /* of the rank that is being stopped, monotonic ms */
    struct err first;        /* what went wrong first */
};

struct fleet *
fleet_new (int out)
{
    struct fleet *f = xcalloc (1, sizeof *f);

    f->out = out;
    return f;
}

void
fleet_add (struct fleet *f, const char *name, unsigned rank, const char *program, const char *dir)
{
    f->v = xrealloc (f->v, (f->n + 1) * sizeof *f->v);
    f->v[f->n++] = (struct child){ .name = xstrdup (name), .program = xstrdup (program), .dir = xstrdup (dir), .rank = rank,
                                   .pidfd = -1, .streams = { { .fd = -1 }, { .fd = -1 } } };
    if ((int) strlen (name) > f->width)
        f->width = (int) strlen (name);
}

void
fleet_destroy (struct fleet **fp)
{
    struct fleet *f = *fp;

    if (f == NULL)
        return;
    for (size_t i = 0; i < f->n; i++) {
        free (f->v[i].name);
        free (f->v[i].program);
        free (f->v[i].dir);
        for (int k = 0; k < STREAMS; k++) {
            fd_close (&f->v[i].streams[k].fd);
            buf_release (&f->v[i].streams[k].line);
        }
        fd_close (&f->v[i].pidfd);
    }
    free (f->v);
    free (f);
    *fp = NULL;
}

static void
blame (struct fleet *f, const char *name, const char *what)
{
    if (f->first.kind == ERR_NONE)
        err_set (&f->first, ERR_FAILED, "%s: %s (see its lines above)", name, what);
}

/* In the child: never returns. */
static void
child_exec (const struct child *c, const int pipes[STREAMS], pid_t parent)
{
    static const char why[] = "cannot be run: ";
    sigset_t none;
    int null = open ("/dev/null", O_RDONLY);

    /* not the terminal's group: Ctrl-C reaches the parent alone, which stops the rest in order */
    setpgid (0, 0);
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    if (getppid () != parent)
        _exit (1);
    sigemptyset (&none);
    sigprocmask (SIG_SETMASK, &none, NULL);
    dup2 (null, STDIN_FILENO);
    dup2 (pipes[0], STDOUT_FILENO);
    dup2 (pipes[1], STDERR_FILENO);
    close_range (3, ~0u, 0);
    execlp (c->program, c->program, "--dir", c->dir, (char *) NULL);

    const char *text = strerror (errno);
    if (write (STDERR_FILENO, why, sizeof why - 1) == -1 || write (STDERR_FILENO, text, strlen (text)) == -1)
        _exit (126);
    _exit (127);
}

static int
child_start (struct child *c, struct err *e)
{
    int ends[STREAMS] = { -1, -1 };
    pid_t parent = getpid ();
    int rc = -1;

    for (int k = 0; k < STREAMS; k++) {
        int p[2];
        if (pipe2 (p, O_CLOEXEC) == -1) {
            err_errno (e, "%s: pipe", c->name);
            goto out;
        }
        c->streams[k].fd = p[0];
        ends[k] = p[1];
        fcntl (p[0], F_SETFL, O_NONBLOCK);
    }
    c->pid = fork ();
    if (c->pid == 0)
        child_exec (c, ends, parent);
    if (c->pid == -1) {
        c->pid = 0;
        err_errno (e, "%s: fork", c->name);
        goto out;
    }
    c->pidfd = pidfd_open (c->pid, 0);
    if (c->pidfd == -1) {
        err_errno (e, "%s: pidfd_open", c->name);
        kill (c->pid, SIGKILL);
        waitpid (c->pid, NULL, 0);
        c->pid = 0;
        goto out;
    }
    rc = 0;
out:
    for (int k = 0; k < STREAMS; k++)
        fd_close (&ends[k]);
    return rc;
}

static void
line_out (struct fleet *f, struct child *c, int k)
{
    struct buf *line = &c->streams[k].line;
    BUF (clean);
    BUF (text);

    if (k == 0 && bytes_eqs (buf_bytes (line), "ready"))
        c->ready = true;
    text_clean (buf_bytes (line), false, &clean);
    buf_addf (&text, "%-*s | %s\n", f->width, c->name, buf_str (&clean));
    file_write_all (f->out, text.p, text.len); /* nobody to tell when our own output is gone */
    line->len = 0;
}

/* All that is there to read now; a descendant that keeps the pipe open is not waited for. */
static void
stream_read (struct fleet *f, struct child *c, int k, bool last)
{
    struct stream *s = &c->streams[k];
    uint8_t block[4096];
    ssize_t n = 0;

    while (s->fd != -1 && (n = read (s->fd, block, sizeof block)) != -1) {
        if (n == 0) {
            fd_close (&s->fd);
            break;
        }
        for (ssize_t i = 0; i < n; i++) {
            if (block[i] != '\n')
                buf_add (&s->line, &block[i], 1);
            if (block[i] == '\n' || s->line.len == LINE_MAX_BYTES)
                line_out (f, c, k);
        }
        if (!last)
            break; /* fair to the others; poll tells again */
    }
    if (s->fd != -1 && n == -1 && errno != EAGAIN && errno != EINTR)
        fd_close (&s->fd);
    if ((last || s->fd == -1) && s->line.len > 0)
        line_out (f, c, k);
}

static void
child_ended (struct fleet *f, struct child *c)
{
    char what[64];
    int status = 0;

    while (waitpid (c->pid, &status, 0) == -1 && errno == EINTR) {
    }
    c->pid = 0;
    fd_close (&c->pidfd);
    for (int k = 0; k < STREAMS; k++) {
        stream_read (f, c, k, true);
        fd_close (&c->streams[k].fd);
    }
    if (WIFSIGNALED (status))
        snprintf (what, sizeof what, "%s by signal %d", c->told ? "was ended" : "died", WTERMSIG (status));
    else
        snprintf (what, sizeof what, "ended with status %d", WEXITSTATUS (status));
    if (!c->told || status != 0)
        blame (f, c->name, what);
}

/* SIGTERM to the highest rank that still runs; SIGKILL to those of it that are past the deadline. */
static void
stop_next (struct fleet *f, int stop_ms)
{
    unsigned rank = 0;
    bool fresh = false;

    for (size_t i = 0; i < f->n; i++)
        if (f->v[i].pid != 0 && f->v[i].rank > rank)
            rank = f->v[i].rank;
    for (size_t i = 0; i < f->n; i++) {
        struct child *c = &f->v[i];
        if (c->pid == 0 || c->rank != rank)
            continue;
        if (!c->told) {
            c->told = fresh = true;
            kill (c->pid, SIGTERM);
        } else if (time_mono_ms () >= f->deadline)
            kill (c->pid, SIGKILL);
    }
    if (fresh)
        f->deadline = time_mono_ms () + stop_ms;
}

static size_t
alive (const struct fleet *f, size_t *ready)
{
    size_t n = 0;

    *ready = 0;
    for (size_t i = 0; i < f->n; i++) {
        n += f->v[i].pid != 0;
        *ready += f->v[i].pid != 0 && f->v[i].ready;
    }
    return n;
}

/* Wait for something to happen, and take it in. */
static void
turn (struct fleet *f, struct pollfd *p, int signal_fd)
{
    size_t n = 0;
    int wait = -1;

    if (f->stopping) {
        int64_t left = f->deadline - time_mono_ms ();
        wait = left > 0 ? (int) left : 100; /* after a SIGKILL: until it is gone */
    }
    for (size_t i = 0; i < f->n; i++) {
        for (int k = 0; k < STREAMS; k++)
            p[n++] = (struct pollfd){ .fd = f->v[i].streams[k].fd, .events = POLLIN };
        p[n++] = (struct pollfd){ .fd = f->v[i].pidfd, .events = POLLIN };
    }
    p[n++] = (struct pollfd){ .fd = f->stopping ? -1 : signal_fd, .events = POLLIN };
    if (poll (p, n, wait) <= 0)
        return;
    f->stopping |= p[n - 1].revents != 0;
    for (size_t i = 0; i < f->n; i++) {
        const struct pollfd *mine = p + i * (STREAMS + 1);
        for (int k = 0; k < STREAMS; k++)
            if (mine[k].revents != 0)
                stream_read (f, &f->v[i], k, false);
        if (mine[STREAMS].revents != 0)
            child_ended (f, &f->v[i]);
    }
}

int
fleet_run (struct fleet *f, int signal_fd, int stop_ms, struct err *e)
{
    struct pollfd *p = xcalloc (f->n * (STREAMS + 1) + 1, sizeof *p);
    size_t ready, running;

    for (size_t i = 0; i < f->n && f->first.kind == ERR_NONE; i++)
        (void) child_start (&f->v[i], &f->first);
    while ((running = alive (f, &ready)) > 0) {
        f->stopping |= f->first.kind != ERR_NONE;
        if (!f->ready && !f->stopping && ready == f->n) {
            f->ready = true;
            file_write_all (f->out, "ready\n", 6);
        }
        if (f->stopping)
            stop_next (f, stop_ms);
        turn (f, p, signal_fd);
    }
    free (p);
    if (f->first.kind == ERR_NONE)
        return 0;
    if (e != NULL)
        *e = f->first;
    return -1;
}
