/* The guest's side of the relay: listeners where the step expects the realm's services, and a process that carries what connects there
 * over a port to the worker, which dials. The step runs as another user in a pid namespace of its own: it sees neither process nor port. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "worker/guest/ferry.h"
#include "worker/guest/guest.h"
#include "worker/guest/inside.h"

#define RELAY_ID 65534
#define FULL_MS 2 /* a port that has room again does not always wake its writer */

static void serve (int port, const int *listeners, size_t count)
{
    static struct ferry f;
    struct pollfd p[FERRY_POLL + RELAY_MAX];
    ferry_init (&f, port, true);
    for (;;) {
        bool full = ferry_poll (&f, p), room = mux_free (&f.m);
        for (size_t i = 0; i < count; i++)
            p[FERRY_POLL + i] = (struct pollfd){ room ? listeners[i] : -1, POLLIN, 0 };
        if (poll (p, FERRY_POLL + count, full ? FULL_MS : -1) == -1 && errno != EINTR)
            return;
        if (!ferry_move (&f, p))
            return; /* what connects from now on finds nobody */
        for (size_t i = 0; i < count; i++)
            if ((p[FERRY_POLL + i].revents & POLLIN) && mux_free (&f.m)) {
                int fd = accept4 (listeners[i], NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (fd != -1)
                    ferry_put (&f, (unsigned) mux_open (&f.m, (uint32_t) i), fd, false);
            }
    }
}

/* The port's other end may be told to be open a moment after that of the control port, and reads as ended before. */
static void await_host (int port)
{
    for (int tries = 0; tries < 2000; tries++) {
        struct pollfd p = { port, POLLOUT, 0 };
        if (poll (&p, 1, 0) == 1 && (p.revents & POLLOUT) && !(p.revents & POLLHUP))
            return;
        nanosleep (&(struct timespec){ 0, 2000000 }, NULL);
    }
}

void relay_begin (const struct job *j, int port)
{
    int listeners[RELAY_MAX];
    if (!j->relay_count)
        return;
    inside_ipv6 ();
    for (size_t i = 0; i < j->relay_count; i++) {
        const struct job_relay *r = &j->relay[i];
        if (inside_address ((unsigned) i + 1, r->at) == -1 || (listeners[i] = inside_listen (r->at, r->port)) == -1)
            broken ("relay: its listener %zu: %s", i, strerror (errno));
    }
    pid_t pid = fork ();
    if (pid == -1)
        broken ("relay: %s", strerror (errno));
    if (pid == 0) {
        int spare = open ("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
        ssize_t n = spare == -1 ? 0 : write (spare, "-1000", 5);
        (void) n;
        signal (SIGPIPE, SIG_IGN);
        fcntl (port, F_SETFL, O_RDWR | O_NONBLOCK);
        if (setgroups (0, NULL) == -1 || setresgid (RELAY_ID, RELAY_ID, RELAY_ID) == -1 || setresuid (RELAY_ID, RELAY_ID, RELAY_ID) == -1
            || prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
            _exit (1);
        await_host (port);
        serve (port, listeners, j->relay_count);
        _exit (0);
    }
    for (size_t i = 0; i < j->relay_count; i++)
        close (listeners[i]);
}

void relay_names (const struct job *j)
{
    if (!j->hosts)
        return;
    int fd = mkdir (WORK "/upper/etc", 0755) == -1 ? -1 : open (WORK "/upper/etc/hosts", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    ssize_t len = (ssize_t) strlen (j->hosts);
    if (fd == -1 || write (fd, j->hosts, (size_t) len) != len)
        broken ("/etc/hosts: %s", strerror (errno));
    close (fd);
}

uint64_t relay_refused (const struct job *j)
{
    return j->relay_count ? inside_count () : 0;
}
