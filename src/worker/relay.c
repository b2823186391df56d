#include "config.h"

#include "worker/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/guest/inside.h"
#include "worker/relay_vm.h"

#define CONNECTIONS 64  /* at once; the rest waits in the listeners' queues */
#define CHUNK 65536u
#define TAKE_MS 10000

/* ---- in the sandbox's child: a network namespace with our listeners ---- */

/* The namespace first, then a listener a target that can be reached. */
int relay_netns (const struct relay_plan *p, int to)
{
    int fds[1 + RELAY_TARGETS], n = 0;
    if (unshare (CLONE_NEWNET) == -1 || inside_up () == -1)
        return -1;
    inside_ipv6 ();
    if ((fds[n++] = open ("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) == -1)
        return -1;
    for (size_t i = 0; i < p->n; i++) {
        if (!p->t[i].at_len)
            continue;
        if (inside_address ((unsigned) i + 1, p->t[i].inside) == -1 || (fds[n++] = inside_listen (p->t[i].inside, p->t[i].port)) == -1)
            return -1;
    }
    int sent = fds_send (to, "n", 1, fds, (size_t) n);
    for (int i = 0; i < n; i++)
        close (fds[i]);
    return sent;
}

/* ---- the process that passes bytes on ---- */

struct way { /* one direction */
    uint8_t *data;
    size_t at, len;
    bool ended, shut;
};
struct connection {
    int in, out;           /* -1: free */
    bool connecting;
    struct way there, back;
};

struct relay {
    pid_t pid;
    int stop;
    struct relay_counts *counts; /* shared */
};

static void drop (struct connection *c)
{
    fd_close (&c->in);
    fd_close (&c->out);
    free (c->there.data);
    free (c->back.data);
    memset (c, 0, sizeof *c);
    c->in = c->out = -1;
}

int relay_dial (const struct relay_target *t, struct relay_counts *counts)
{
    if (counts->dialled >= RELAY_DIALS) {
        counts->refused++;
        return -1;
    }
    counts->dialled++;
    int fd = socket (t->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd != -1 && (connect (fd, (const struct sockaddr *) &t->at, t->at_len) == 0 || errno == EINPROGRESS))
        return fd;
    fd_close (&fd);
    counts->failed++;
    return -1;
}

static void take (struct connection *c, int listener, const struct relay_target *t, struct relay_counts *counts)
{
    c->in = accept4 (listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (c->in == -1)
        return;
    c->out = relay_dial (t, counts);
    if (c->out == -1) {
        drop (c);
        return;
    }
    c->connecting = true;
    c->there.data = xmalloc (CHUNK);
    c->back.data = xmalloc (CHUNK);
}

/* Moves what can be moved; false: the connection is broken. */
static bool move (struct way *w, int from, int to, bool readable, struct relay_counts *counts)
{
    if (readable && !w->ended && w->len == 0) {
        ssize_t n = read (from, w->data, CHUNK);
        if (n == -1 && errno != EAGAIN && errno != EINTR)
            return false;
        w->ended = n == 0;
        w->at = 0;
        w->len = n > 0 ? (size_t) n : 0;
    }
    if (w->len) {
        ssize_t n = send (to, w->data + w->at, w->len, MSG_NOSIGNAL);
        if (n == -1 && errno != EAGAIN && errno != EINTR)
            return false;
        if (n > 0) {
            w->at += (size_t) n;
            w->len -= (size_t) n;
            counts->bytes += (uint64_t) n;
        }
    }
    if (w->ended && !w->len && !w->shut) {
        shutdown (to, SHUT_WR);
        w->shut = true;
    }
    return true;
}

static void advance (struct connection *c, const struct pollfd *in, const struct pollfd *out, struct relay_counts *counts)
{
    if (c->connecting) {
        int why = 0;
        socklen_t size = sizeof why;
        if (!(out->revents & (POLLOUT | POLLERR | POLLHUP)))
            return;
        if (getsockopt (c->out, SOL_SOCKET, SO_ERROR, &why, &size) == -1 || why) {
            counts->failed++;
            drop (c);
            return;
        }
        c->connecting = false;
        counts->passed++;
    }
    const short some = POLLIN | POLLHUP | POLLERR;
    if (!move (&c->there, c->in, c->out, in->revents & some, counts) || !move (&c->back, c->out, c->in, out->revents & some, counts) || (c->there.shut && c->back.shut))
        drop (c);
}

static short wants (const struct connection *c, const struct way *reads, const struct way *writes)
{
    return (short) ((!c->connecting && !reads->ended && !reads->len ? POLLIN : 0) | (writes->len ? POLLOUT : 0));
}

static void serve (const struct relay_plan *p, const int *listeners, int stop, struct relay_counts *counts)
{
    struct connection c[CONNECTIONS];
    struct pollfd f[1 + RELAY_TARGETS + 2 * CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++)
        c[i] = (struct connection){ .in = -1, .out = -1 };
    for (;;) {
        int free_one = -1;
        for (int i = 0; i < CONNECTIONS; i++)
            if (c[i].in == -1)
                free_one = i;
        f[0] = (struct pollfd){ stop, POLLIN, 0 };
        for (int i = 0; i < RELAY_TARGETS; i++)
            f[1 + i] = (struct pollfd){ free_one == -1 ? -1 : listeners[i], POLLIN, 0 };
        for (int i = 0; i < CONNECTIONS; i++) {
            struct pollfd *in = &f[1 + RELAY_TARGETS + 2 * i];
            *in = (struct pollfd){ c[i].in, wants (&c[i], &c[i].there, &c[i].back), 0 };
            in[1] = (struct pollfd){ c[i].out, (short) (wants (&c[i], &c[i].back, &c[i].there) | (c[i].connecting ? POLLOUT : 0)), 0 };
            if (!in[0].events)
                in[0].fd = -1; /* an end that hung up would wake us for nothing */
            if (!in[1].events)
                in[1].fd = -1;
        }
        if (poll (f, 1 + RELAY_TARGETS + 2 * CONNECTIONS, -1) == -1 && errno != EINTR)
            return;
        if (f[0].revents)
            return;
        for (int i = 0; i < CONNECTIONS; i++)
            if (c[i].in != -1)
                advance (&c[i], &f[1 + RELAY_TARGETS + 2 * i], &f[2 + RELAY_TARGETS + 2 * i], counts);
        for (int i = 0; i < RELAY_TARGETS; i++)
            for (int k = 0; k < CONNECTIONS && (f[1 + i].revents & POLLIN); k++)
                if (c[k].in == -1) {
                    take (&c[k], listeners[i], &p->t[i], counts);
                    break;
                }
    }
}

static bool receive (const struct relay_plan *p, int from, int *netns, int listeners[RELAY_TARGETS])
{
    int fds[1 + RELAY_TARGETS];
    size_t want = 1;
    struct pollfd f = { from, POLLIN, 0 };
    for (size_t i = 0; i < p->n; i++)
        want += p->t[i].at_len != 0;
    if (poll (&f, 1, TAKE_MS) != 1 || fds_receive (from, fds, want) == -1)
        return false;
    int at = 0;
    *netns = fds[at++];
    for (size_t i = 0; i < RELAY_TARGETS; i++)
        listeners[i] = i < p->n && p->t[i].at_len ? fds[at++] : -1;
    return true;
}

/* What the process is to do: in the step's network namespace, or (given != -1) for its VM. */
struct work {
    const struct relay_plan *plan;
    int *listeners, netns, given;
    uid_t uid;
};

static void work (const struct work *w, int stop, struct relay_counts *counts)
{
    if (w->given != -1)
        relay_vm_work (w->plan, w->given, w->uid, stop, counts);
    else {
        serve (w->plan, w->listeners, stop, counts);
        if (setns (w->netns, CLONE_NEWNET) == 0)
            counts->refused += inside_count (); /* as its kernel counted */
    }
}

static int start (struct relay **out, const struct work *w, struct err *e)
{
    int stop[2];
    struct relay *r = xcalloc (1, sizeof *r);
    r->counts = mmap (NULL, sizeof *r->counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    bool ok = r->counts != MAP_FAILED && pipe2 (stop, O_CLOEXEC) == 0;
    pid_t parent = getpid ();
    r->pid = ok ? fork () : -1;
    if (r->pid == 0) {
        close (stop[1]);
        prctl (PR_SET_PDEATHSIG, SIGKILL);
        signal (SIGPIPE, SIG_IGN);
        if (getppid () == parent)
            work (w, stop[0], r->counts);
        _exit (0);
    }
    if (ok)
        close (stop[0]);
    r->stop = ok ? stop[1] : -1;
    if (r->pid == -1) {
        err_errno (e, "network: the relay");
        relay_stop (&r, NULL);
        return -1;
    }
    *out = r;
    return 0;
}

int relay_start (struct relay **out, const struct relay_plan *p, int from, struct err *e)
{
    int listeners[RELAY_TARGETS], netns = -1;
    *out = NULL;
    if (!receive (p, from, &netns, listeners))
        return err_set (e, ERR_FAILED, "network: the sandbox could not make its network namespace");
    int rc = start (out, &(struct work){ .plan = p, .listeners = listeners, .netns = netns, .given = -1 }, e);
    for (size_t i = 0; i < RELAY_TARGETS; i++)
        fd_close (&listeners[i]);
    close (netns);
    return rc;
}

int relay_start_vm (struct relay **out, const struct relay_plan *p, int given, uid_t uid, struct err *e)
{
    *out = NULL;
    return start (out, &(struct work){ .plan = p, .given = given, .uid = uid }, e);
}

void relay_stop (struct relay **pr, struct relay_counts *counts)
{
    struct relay *r = *pr;
    if (!r)
        return;
    fd_close (&r->stop);
    if (r->pid > 0) {
        CLEANUP (fd_close) int pidfd = (int) syscall (SYS_pidfd_open, r->pid, 0);
        struct pollfd f = { pidfd, POLLIN, 0 };
        if (pidfd == -1 || poll (&f, 1, TAKE_MS) != 1)
            kill (r->pid, SIGKILL);
        while (waitpid (r->pid, NULL, 0) == -1 && errno == EINTR) {
        }
    }
    if (r->counts != MAP_FAILED) {
        if (counts)
            *counts = *r->counts;
        munmap (r->counts, sizeof *r->counts);
    }
    free (r);
    *pr = NULL;
}
