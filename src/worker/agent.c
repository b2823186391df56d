#include "config.h"

#include "worker/agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "worker/cgroup.h"
#include "worker/limits.h"
#include "worker/order.h"
#include "worker/runner.h"
#include "worker/sandbox.h"

#define SLOTS 64
#define PING_MS 2000
#define LOG_CHUNK 65536u

struct slot {
    bool used, ended;         /* ended: the process is gone, its result waits for the broker's word */
    struct digest lease;
    char hex[DIGEST_HEX];
    pid_t pid;
    int fd;
    struct buf in, result;    /* records not yet taken; the result message, kept until the broker says ok */
    uint64_t offset, request; /* of the log; of the result message */
    bool sent;
    int64_t cpus;
};

struct agent {
    struct realm *rl;
    const struct conf *conf;
    char *state, *dir;
    zsock_t *broker;
    char endpoint[256];
    uint8_t broker_key[32];
    int signals, control, lock;
    bool welcome, paused, stop;
    int64_t heard, pinged, connected;
    uint64_t request;
    int credit;               /* last word to the broker; -1: none since it was connected */
    struct slot slots[SLOTS];
};

static bool say (struct agent *a, const struct msg *m)
{
    struct err e = ERR_INIT;
    BUF (b);
    msg_encode (m, &b);
    return a->broker && net_send (a->broker, bytes_of (NULL, 0), buf_bytes (&b), &e) == 0;
}

static void hello (struct agent *a)
{
    struct msg m = MSG_INIT (hello, ++a->request);
    m.u.hello.min_version = m.u.hello.max_version = PROTO_VERSION;
    m.u.hello.software = bytes_str ("assay-worker");
    a->welcome = false;
    a->credit = -1;
    a->connected = a->heard = time_mono_ms ();
    say (a, &m);
}

static void connect_broker (struct agent *a)
{
    struct err e = ERR_INIT;
    const struct principal *p = roster_role (realm_roster (a->rl), ROLE_BROKER, 0);
    zsock_destroy (&a->broker);
    a->connected = time_mono_ms ();
    if (!p)
        return;
    snprintf (a->endpoint, sizeof a->endpoint, "%s", p->endpoint);
    memcpy (a->broker_key, p->transport_key, 32);
    a->broker = net_dealer (a->endpoint, a->broker_key, &realm_keys (a->rl)->transport, 1000, &e);
    if (!a->broker)
        log_warn ("broker cannot be reached endpoint=%s why=%s", a->endpoint, e.msg);
    else
        hello (a);
}

static unsigned running (const struct agent *a, int64_t *cpus)
{
    unsigned n = 0;
    *cpus = 0;
    for (int i = 0; i < SLOTS; i++)
        if (a->slots[i].used) {
            n++;
            *cpus += a->slots[i].cpus;
        }
    return n;
}

static unsigned credit (struct agent *a, const char **why)
{
    struct limits_seen s;
    limits_look (&s, a->state);
    s.paused = a->paused;
    s.running = running (a, &s.own_cpus);
    return limits_credit (a->conf, &s, why);
}

static void ready (struct agent *a, bool again)
{
    const char *why;
    unsigned n = credit (a, &why);
    struct bytes words[64];
    size_t count = 0;
    if (!a->welcome || (!again && a->credit == (int) n))
        return;
    for (const char *p = a->conf->projects; count < 64;) {
        p += strspn (p, " \t\n,");
        size_t len = strcspn (p, " \t\n,");
        if (!len)
            break;
        words[count++] = bytes_of (p, len > 127 ? 127 : len);
        p += len;
    }
    struct msg m = MSG_INIT (ready, 0);
    m.u.ready.credit = n;
    m.u.ready.isolation = isolation_parse (a->conf->isolation);
    m.u.ready.network = NETWORK_NONE;
    m.u.ready.cpus = (uint64_t) a->conf->cpus;
    m.u.ready.memory = (uint64_t) a->conf->memory;
    m.u.ready.disk = (uint64_t) a->conf->disk;
    m.u.ready.projects = (struct bytes_list){ words, count };
    if (say (a, &m))
        a->credit = (int) n;
}

/* ---- steps ---- */

static char *step_path (const struct agent *a, const char *hex, const char *file)
{
    return xasprintf ("%s/steps/%s%s%s", a->state, hex, *file ? "/" : "", file);
}

static void reap (struct agent *a, struct slot *s)
{
    char *run = xasprintf ("%s.run", s->hex), *box = xasprintf ("%s.box", s->hex), *dir = step_path (a, s->hex, "");
    if (s->pid > 0) {
        kill (s->pid, SIGKILL);
        while (waitpid (s->pid, NULL, 0) == -1 && errno == EINTR) {
        }
        s->pid = -1;
    }
    cgroup_kill (run);
    cgroup_kill (box);
    file_remove_tree (dir, NULL);
    fd_close (&s->fd);
    free (run);
    free (box);
    free (dir);
}

static void drop (struct agent *a, struct slot *s)
{
    reap (a, s);
    buf_release (&s->in);
    buf_release (&s->result);
    memset (s, 0, sizeof *s);
    s->fd = -1;
    ready (a, true);
}

static void decline (struct agent *a, const struct digest *lease, const char *why)
{
    struct msg m = MSG_INIT (decline, 0);
    m.u.decline.lease = *lease;
    m.u.decline.reason = bytes_of (why, strnlen (why, 255));
    say (a, &m);
    ready (a, true);
}

static void send_result (struct agent *a, struct slot *s)
{
    struct err e = ERR_INIT;
    s->sent = a->broker && a->welcome && net_send (a->broker, bytes_of (NULL, 0), buf_bytes (&s->result), &e) == 0;
}

static void finish (struct agent *a, struct slot *s, unsigned kind, struct bytes sealed, const char *text)
{
    struct msg m = MSG_INIT (result, ++a->request);
    BUF (clean);
    text_clean (bytes_of (text, strnlen (text, 600)), false, &clean);
    m.u.result.lease = s->lease;
    m.u.result.kind = kind;
    m.u.result.sealed = sealed;
    m.u.result.text = buf_bytes (&clean);
    msg_encode (&m, &s->result);
    s->request = m.request;
    s->ended = true;
    reap (a, s);
    log_info ("step done lease=%.12s kind=%s why=%s", s->hex, kind == RESULT_OUTCOME ? "outcome" : "error", text);
    send_result (a, s);
}

/* For the step's process, and gone with it: no sync. */
static int leave (const char *path, struct bytes content, struct err *e)
{
    int fd CLEANUP (fd_close) = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return fd == -1 || !file_write_all (fd, content.p, content.len) ? err_errno (e, "%s", path) : 0;
}

static int start (struct agent *a, struct slot *s, struct bytes lease, struct bytes submission, struct err *e)
{
    char *dir = step_path (a, s->hex, ""), *l = step_path (a, s->hex, "lease"), *sub = step_path (a, s->hex, "submission");
    int pair[2] = { -1, -1 }, rc = -1;
    char fdtext[16];
    if (file_mkdirs (dir, 0700, e) == -1 || leave (l, lease, e) == -1 || leave (sub, submission, e) == -1)
        goto out;
    if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1) {
        err_errno (e, "socketpair");
        goto out;
    }
    snprintf (fdtext, sizeof fdtext, "%d", pair[1]);
    s->pid = fork ();
    if (s->pid == 0) {
        sigset_t none;
        sigemptyset (&none);
        fcntl (pair[1], F_SETFD, 0);
        setpgid (0, 0); /* a terminal's Ctrl-C is for the agent */
        sigprocmask (SIG_SETMASK, &none, NULL);
        execl ("/proc/self/exe", "assay-worker", "--dir", a->dir, "--step", s->hex, "--fd", fdtext, (char *) NULL);
        _exit (127);
    }
    if (s->pid == -1) {
        err_errno (e, "fork");
        goto out;
    }
    s->fd = pair[0];
    pair[0] = -1;
    fcntl (s->fd, F_SETFL, O_NONBLOCK);
    rc = 0;
out:
    fd_close (&pair[0]);
    fd_close (&pair[1]);
    free (dir);
    free (l);
    free (sub);
    return rc;
}

static void on_lease (struct agent *a, const struct msg_lease *m)
{
    struct err e = ERR_INIT;
    struct envelope v;
    struct order o;
    struct slot *s = NULL;
    const char *why;
    if (envelope_open (m->lease, TYPE_LEASE, &v, &e) == -1) {
        log_peer ("broker", &e);
        return;
    }
    struct digest id = envelope_id (&v);
    envelope_release (&v);
    for (int i = 0; i < SLOTS; i++)
        if (a->slots[i].used && digest_eq (&a->slots[i].lease, &id))
            return; /* the same once more */
    for (int i = 0; i < SLOTS && !s; i++)
        if (!a->slots[i].used)
            s = &a->slots[i];
    if (order_check (&o, realm_roster (a->rl), realm_name (a->rl), m->lease, m->submission, time_now_us (), &e) == -1) {
        log_peer ("broker", &e);
        decline (a, &id, e.msg);
        return;
    }
    unsigned have = isolation_parse (a->conf->isolation);
    if (!s || credit (a, &why) == 0)
        decline (a, &id, s ? why : "all slots are taken");
    else if (!limits_project (a->conf->projects, o.submission->project))
        decline (a, &id, "its owner does not let this worker work on this project");
    else if (o.step->isolation > have)
        decline (a, &id, "it cannot give the isolation that the step asks for");
    else {
        memset (s, 0, sizeof *s);
        s->used = true;
        s->fd = -1;
        s->lease = id;
        s->cpus = sandbox_limit (a->conf->cpus, o.step->cpus);
        digest_hex (&id, s->hex);
        if (start (a, s, m->lease, m->submission, &e) == -1)
            finish (a, s, RESULT_ERROR, bytes_of (NULL, 0), e.msg);
        else
            log_info ("step starts lease=%.12s step=%.*s", s->hex, (int) o.step->name.len, (const char *) o.step->name.p);
    }
    order_release (&o);
}

/* Take what the step's process said; logs stay in the buffer while the broker cannot take them. */
static void drain (struct agent *a, struct slot *s)
{
    bool end = false;
    while (s->in.len < 4 * RUNNER_RECORD_MAX) {
        uint8_t b[65536];
        ssize_t n = read (s->fd, b, sizeof b);
        if (n > 0)
            buf_add (&s->in, b, (size_t) n);
        else {
            end = n == 0 || (errno != EAGAIN && errno != EINTR);
            break;
        }
    }
    size_t at = 0, used;
    char kind = 0;
    struct bytes data;
    int got;
    while ((got = runner_read (bytes_of (s->in.p + at, s->in.len - at), &kind, &data, &used)) == 1) {
        if (kind == RUNNER_OUTCOME) {
            finish (a, s, RESULT_OUTCOME, data, "");
            return;
        }
        if (kind == RUNNER_ERROR) {
            char *text = bytes_dup (data);
            finish (a, s, RESULT_ERROR, bytes_of (NULL, 0), text);
            free (text);
            return;
        }
        if (data.len > LOG_CHUNK)
            break;
        struct msg m = MSG_INIT (log, 0);
        m.u.log.lease = s->lease;
        m.u.log.offset = s->offset;
        m.u.log.data = data;
        if (!a->welcome || !say (a, &m))
            break;
        s->offset += data.len;
        at += used;
    }
    memmove (s->in.p, s->in.p + at, s->in.len - at);
    s->in.len -= at;
    if (got == -1 || (end && got == 0))
        finish (a, s, RESULT_ERROR, bytes_of (NULL, 0), "the step's process ended without a result");
}

/* ---- the broker's words ---- */

static struct slot *find (struct agent *a, const struct digest *lease)
{
    for (int i = 0; i < SLOTS; i++)
        if (a->slots[i].used && digest_eq (&a->slots[i].lease, lease))
            return &a->slots[i];
    return NULL;
}

static void on_welcome (struct agent *a)
{
    struct bytes held[SLOTS];
    size_t n = 0;
    a->welcome = true;
    for (int i = 0; i < SLOTS; i++)
        if (a->slots[i].used)
            held[n++] = bytes_of (a->slots[i].lease.b, 32);
    struct msg m = MSG_INIT (holding, 0);
    m.u.holding.leases = (struct bytes_list){ held, n };
    say (a, &m);
    for (int i = 0; i < SLOTS; i++)
        if (a->slots[i].used && a->slots[i].ended)
            send_result (a, &a->slots[i]);
    ready (a, true);
}

static void on_message (struct agent *a, const struct msg *m)
{
    struct slot *s = NULL;
    a->heard = time_mono_ms ();
    for (int i = 0; m->request && i < SLOTS; i++)
        if (a->slots[i].used && a->slots[i].ended && a->slots[i].request == m->request)
            s = &a->slots[i];
    switch (m->type) {
    case MSG_welcome: on_welcome (a); break;
    case MSG_pong: break;
    case MSG_lease: on_lease (a, &m->u.lease); break;
    case MSG_ok:
        if (s)
            drop (a, s);
        break;
    case MSG_revoked_lease:
        s = find (a, &m->u.revoked_lease.lease);
        if (s) {
            log_info ("step stopped lease=%.12s", s->hex);
            drop (a, s);
        }
        break;
    case MSG_error:
        log_warn ("refused code=%.*s why=%.*s", (int) m->u.error.code.len, (const char *) m->u.error.code.p, (int) m->u.error.text.len, (const char *) m->u.error.text.p);
        if (s && (bytes_eqs (m->u.error.code, err_name (EC_BUSY)) || bytes_eqs (m->u.error.code, err_name (EC_INTERNAL))))
            s->sent = false; /* it could not be stored now: again with the next ping */
        else if (s)
            drop (a, s); /* the lease is over: nobody wants it */
        else if (a->welcome && bytes_eqs (m->u.error.code, err_name (EC_UNEXPECTED)))
            hello (a); /* a restarted broker does not know this connection */
        break;
    default: break;
    }
}

static void receive (struct agent *a)
{
    struct net_in in;
    struct err e = ERR_INIT;
    for (int i = 0, got; a->broker && i < 100; i++) {
        struct msg m;
        got = net_recv (a->broker, &in, &e);
        if (got == 0)
            return;
        if (got == 1 && msg_decode (in.data, &m, &e) == 0) {
            on_message (a, &m);
            msg_release (&m);
        } else
            log_peer ("broker", &e);
        net_in_release (&in);
    }
}

static void tick (struct agent *a)
{
    int64_t now = time_mono_ms ();
    const struct principal *p = roster_role (realm_roster (a->rl), ROLE_BROKER, 0);
    bool moved = p && (strcmp (p->endpoint, a->endpoint) != 0 || memcmp (p->transport_key, a->broker_key, 32) != 0);
    if (moved || (now - a->heard > 4 * PING_MS && now - a->connected > 4 * PING_MS))
        connect_broker (a);
    if (now - a->pinged >= PING_MS && a->welcome) {
        struct msg m = MSG_INIT (ping, 0);
        m.u.ping.time = (uint64_t) time_now_us ();
        say (a, &m);
        a->pinged = now;
        for (int i = 0; i < SLOTS; i++)
            if (a->slots[i].used && a->slots[i].ended && !a->slots[i].sent)
                send_result (a, &a->slots[i]);
        ready (a, false);
    }
}

/* ---- the owner's control socket ---- */

static int control_address (const char *dir, struct sockaddr_un *sa)
{
    /* sun_path is short and a folder's name may not be: through a descriptor of the folder */
    int fd = open (dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    memset (sa, 0, sizeof *sa);
    sa->sun_family = AF_UNIX;
    snprintf (sa->sun_path, sizeof sa->sun_path, "/proc/self/fd/%d/control", fd);
    return fd;
}

static void on_control (struct agent *a)
{
    char word[32] = "", answer[256];
    const char *why;
    int64_t cpus;
    int fd = accept4 (a->control, NULL, NULL, SOCK_CLOEXEC);
    if (fd == -1)
        return;
    struct pollfd p = { fd, POLLIN, 0 };
    ssize_t n = poll (&p, 1, 200) == 1 ? recv (fd, word, sizeof word - 1, MSG_DONTWAIT) : -1;
    word[n > 0 ? strcspn (word, "\n") : 0] = '\0';
    if (strcmp (word, "pause") == 0)
        a->paused = true;
    if (strcmp (word, "resume") == 0)
        a->paused = false;
    unsigned left = credit (a, &why);
    int len = snprintf (answer, sizeof answer, "%s steps=%u credit=%u connected=%s cgroups=%s%s%s\n", a->paused ? "paused" : "running", running (a, &cpus), left,
                        a->welcome ? "yes" : "no", cgroup_kind (), why ? " why=" : "", why ? why : "");
    send (fd, answer, (size_t) len, MSG_DONTWAIT | MSG_NOSIGNAL);
    close (fd);
    ready (a, false);
}

int agent_control (const char *dir, const char *word, struct err *e)
{
    struct sockaddr_un sa;
    char *state = xasprintf ("%s/state", dir), b[512];
    int folder = control_address (state, &sa), fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), rc = -1;
    ssize_t n;
    if (fd == -1 || connect (fd, (struct sockaddr *) &sa, sizeof sa) == -1)
        err_set (e, ERR_UNREACHABLE, "%s: no worker runs there: %s (start assay-worker)", dir, strerror (errno));
    else if (file_write_all (fd, word, strlen (word)) && (n = read (fd, b, sizeof b)) > 0) {
        fwrite (b, 1, (size_t) n, stdout);
        rc = 0;
    } else
        err_set (e, ERR_UNREACHABLE, "%s: the worker does not answer", dir);
    fd_close (&fd);
    fd_close (&folder);
    free (state);
    return rc;
}

/* ---- life ---- */

static int sweep (struct agent *a, struct err *e)
{
    char *steps = xasprintf ("%s/steps", a->state);
    cgroup_sweep ();
    int rc = file_remove_tree (steps, e);
    free (steps);
    return rc;
}

int agent_open (struct agent **out, struct realm *rl, const struct conf *conf, int signals, struct err *e)
{
    struct agent *a = xcalloc (1, sizeof *a);
    struct sockaddr_un sa;
    int folder = -1;
    a->rl = rl;
    a->conf = conf;
    a->signals = signals;
    a->control = a->lock = -1;
    a->credit = -1;
    a->dir = xstrdup (realm_dir (rl));
    a->state = xasprintf ("%s/state", a->dir);
    for (int i = 0; i < SLOTS; i++)
        a->slots[i].fd = -1;
    char *lock = xasprintf ("%s/lock", a->state), *control = xasprintf ("%s/control", a->state);
    *out = NULL;
    if (file_mkdirs (a->state, 0700, e) == -1 || (a->lock = file_lock (lock, e)) == -1)
        goto fail;
    if (cgroup_setup (a->state, e) == -1) {
        if (conf->require_cgroups)
            goto fail;
        log_warn ("working without cgroups, as the owner allows: rlimits and namespaces only");
    }
    if (sweep (a, e) == -1 || sandbox_probe (isolation_parse (conf->isolation), conf, e) == -1)
        goto fail;
    unlink (control);
    folder = control_address (a->state, &sa);
    a->control = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (a->control == -1 || bind (a->control, (struct sockaddr *) &sa, sizeof sa) == -1 || chmod (control, 0600) == -1 || listen (a->control, 8) == -1) {
        err_errno (e, "%s", control);
        goto fail;
    }
    fd_close (&folder);
    free (lock);
    free (control);
    *out = a;
    return 0;
fail:
    fd_close (&folder);
    free (lock);
    free (control);
    agent_close (&a);
    return -1;
}

int agent_run (struct agent *a, struct err *e)
{
    connect_broker (a);
    while (!a->stop) {
        zmq_pollitem_t items[SLOTS + 4];
        struct slot *of[SLOTS];
        int n = 0, steps = 0;
        items[n++] = (zmq_pollitem_t){ NULL, a->signals, ZMQ_POLLIN, 0 };
        items[n++] = (zmq_pollitem_t){ NULL, a->control, ZMQ_POLLIN, 0 };
        items[n++] = (zmq_pollitem_t){ NULL, realm_sync_fd (a->rl), ZMQ_POLLIN, 0 };
        for (int i = 0; i < SLOTS; i++)
            if (a->slots[i].used && a->slots[i].fd != -1 && a->slots[i].in.len < 4 * RUNNER_RECORD_MAX) {
                of[steps++] = &a->slots[i];
                items[n++] = (zmq_pollitem_t){ NULL, a->slots[i].fd, ZMQ_POLLIN, 0 };
            }
        if (a->broker)
            items[n++] = (zmq_pollitem_t){ zsock_resolve (a->broker), 0, ZMQ_POLLIN, 0 };
        if (zmq_poll (items, n, 500) == -1 && errno != EINTR)
            return err_errno (e, "poll");
        if (items[0].revents) {
            struct signalfd_siginfo si;
            if (read (a->signals, &si, sizeof si) == sizeof si && si.ssi_signo != SIGHUP)
                a->stop = true;
        }
        if (items[1].revents)
            on_control (a);
        if (items[2].revents)
            realm_poll (a->rl);
        for (int i = 0; i < steps; i++)
            if (items[3 + i].revents)
                drain (a, of[i]);
        receive (a);
        /* what could not be sent before */
        for (int i = 0; i < SLOTS; i++)
            if (a->slots[i].used && a->slots[i].fd != -1 && a->slots[i].in.len)
                drain (a, &a->slots[i]);
        tick (a);
    }
    for (int i = 0; i < SLOTS; i++)
        if (a->slots[i].used && !a->slots[i].ended) {
            struct msg m = MSG_INIT (handback, 0);
            m.u.handback.lease = a->slots[i].lease;
            m.u.handback.reason = bytes_str ("its owner stopped the worker");
            say (a, &m);
            log_info ("step handed back lease=%.12s", a->slots[i].hex);
        }
    return 0;
}

void agent_close (struct agent **pa)
{
    struct agent *a = *pa;
    if (!a)
        return;
    for (int i = 0; i < SLOTS; i++)
        if (a->slots[i].used) {
            reap (a, &a->slots[i]);
            buf_release (&a->slots[i].in);
            buf_release (&a->slots[i].result);
        }
    zsock_destroy (&a->broker);
    fd_close (&a->control);
    fd_close (&a->lock);
    free (a->state);
    free (a->dir);
    free (a);
    *pa = NULL;
}
