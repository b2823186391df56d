#include "config.h"

#include "worker/relay_vm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/guest/ferry.h"
#include "worker/seccomp.h"

enum { STOP = 3, GIVEN, KEPT }; /* descriptors, once confined */

/* It parses what a hostile guest says: no one in particular, no other descriptor, no file, no child, and few system calls. */
static bool confine (int *stop, int *given, uid_t uid, pid_t parent)
{
    const struct rlimit zero = { 0, 0 }, files = { KEPT + 2 * MUX_STREAMS, KEPT + 2 * MUX_STREAMS };
    int null = open ("/dev/null", O_RDWR | O_CLOEXEC), s = fcntl (*stop, F_DUPFD_CLOEXEC, KEPT), g = fcntl (*given, F_DUPFD_CLOEXEC, KEPT);
    if (null == -1 || dup2 (null, 0) == -1 || dup2 (null, 1) == -1 || dup2 (null, 2) == -1 || s == -1 || g == -1 || dup2 (s, STOP) == -1 || dup2 (g, GIVEN) == -1 || close_range (KEPT, ~0u, 0) == -1)
        return false;
    *stop = STOP;
    *given = GIVEN;
    return setrlimit (RLIMIT_NPROC, &zero) == 0 && setrlimit (RLIMIT_FSIZE, &zero) == 0 && setrlimit (RLIMIT_CORE, &zero) == 0 && setrlimit (RLIMIT_NOFILE, &files) == 0
        && seccomp_drop (uid, parent) == 0 && seccomp_only (SECCOMP_RELAY) == 0;
}

int relay_vm_give (int to, int port)
{
    return fds_send (to, "p", 1, &port, 1);
}

/* The VM's port, once there is a VM; -1: there will be none. */
static int take (int from, int stop)
{
    struct pollfd p[2] = { { stop, POLLIN, 0 }, { from, POLLIN, 0 } };
    int port = -1;
    while (poll (p, 2, -1) == -1 && errno == EINTR) {
    }
    return p[0].revents || fds_receive (from, &port, 1) == -1 ? -1 : port;
}

static void dial (struct ferry *f, unsigned s, const struct relay_target *t, struct relay_counts *counts)
{
    int fd = relay_dial (t, counts);
    if (fd != -1)
        ferry_put (f, s, fd, true);
    else
        ferry_drop (f, s);
}

/* What the guest opened: an endpoint of the plan is dialled, all else is shut and counted. */
static void take_streams (struct ferry *f, const struct relay_plan *p, struct relay_counts *counts)
{
    uint32_t target;
    for (unsigned s = 0; s < MUX_STREAMS; s++)
        if (mux_taken (&f->m, s, &target)) {
            size_t i = 0;
            if (mux_gone (&f->m, s)) { /* and closed already */
                ferry_drop (f, s);
                continue;
            }
            while (i < p->n && (!p->t[i].at_len || target-- > 0))
                i++;
            if (i < p->n)
                dial (f, s, &p->t[i], counts);
            else {
                counts->refused++;
                ferry_drop (f, s);
            }
        }
}

static void connected (struct ferry *f, const struct pollfd p[FERRY_POLL], struct relay_counts *counts)
{
    for (unsigned s = 0; s < MUX_STREAMS; s++) {
        int why = 0;
        socklen_t size = sizeof why;
        if (!f->c[s].connecting || !p[1 + s].revents)
            continue;
        if (getsockopt (f->c[s].fd, SOL_SOCKET, SO_ERROR, &why, &size) == -1 || why) {
            counts->failed++;
            ferry_drop (f, s);
        } else {
            counts->passed++;
            ferry_ready (f, s);
        }
    }
}

static void serve (struct ferry *f, const struct relay_plan *plan, int stop, struct relay_counts *counts)
{
    struct pollfd p[FERRY_POLL + 1];
    for (bool on = true; on;) {
        ferry_poll (f, p);
        p[FERRY_POLL] = (struct pollfd){ stop, POLLIN, 0 };
        if (poll (p, FERRY_POLL + 1, -1) == -1 && errno != EINTR)
            return;
        if (p[FERRY_POLL].revents)
            return;
        connected (f, p, counts);
        on = ferry_move (f, p);
        counts->bytes = f->bytes;
        counts->cut = f->m.why != NULL;
        if (on)
            take_streams (f, plan, counts);
    }
}

void relay_vm_work (const struct relay_plan *plan, int given, uid_t uid, int stop, struct relay_counts *counts)
{
    static struct ferry f;
    pid_t parent = getppid ();
    if (!confine (&stop, &given, uid, parent))
        return;
    int port = take (given, stop);
    if (port == -1)
        return;
    ferry_init (&f, port, false);
    serve (&f, plan, stop, counts);
    close (port);
}
