#include "config.h"

#include "worker/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/cgroup.h"
#include "worker/guest/wire.h"
#include "worker/sandbox_impl.h"

#define OFFER_ENV "ASSAY_ISOLATION_OFFERED"

static const struct sandbox_driver *const drivers[] = { &sandbox_qemu, &sandbox_bwrap, &sandbox_none };

static const struct sandbox_driver *find (unsigned kind, struct err *e)
{
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
        if (drivers[i]->kind == kind)
            return drivers[i];
    err_set (e, ERR_FAILED, "isolation %s: no such driver in this worker", isolation_name (kind));
    return NULL;
}

static int can_now (const struct sandbox_driver *d, const struct conf *conf, const char *state, struct err *e)
{
    return d->now ? d->now (conf, state, e) : 0;
}

int sandbox_probe (unsigned kind, const struct conf *conf, const char *state, struct err *e)
{
    const struct sandbox_driver *d = find (kind, e);
    return d && d->probe (conf, e) == 0 ? can_now (d, conf, state, e) : -1;
}

static void lacks (struct buf *lacking, const struct err *why, bool none, struct err *e)
{
    if (lacking)
        buf_addf (lacking, "%s%s", lacking->len ? "; " : "", why->msg);
    if (none && e)
        *e = *why;
}

unsigned sandbox_offer (const struct conf *conf, const char *state, struct buf *lacking, struct err *e)
{
    unsigned kinds[CONF_DRIVERS], here = 0, mask = 0;
    size_t n = conf_drivers (conf, kinds);
    const char *known = getenv (OFFER_ENV);
    char *key CLEANUP (free_ptr) = xasprintf (" %s", conf->isolation), *after = NULL; /* a reload may have changed it */
    bool cached = known && (here = (unsigned) strtoul (known, &after, 10)) && strcmp (after, key) == 0;
    if (!cached)
        here = 0;
    for (size_t i = 0; i < n; i++) {
        struct err why = ERR_INIT;
        const struct sandbox_driver *d = find (kinds[i], &why);
        if (!cached && d && d->probe (conf, &why) == 0)
            here |= kinds[i];
        if ((here & kinds[i]) && can_now (d, conf, state, &why) == 0)
            mask |= kinds[i];
        else if (*why.msg)
            lacks (lacking, &why, !mask, e);
    }
    if (!cached) {
        char *text CLEANUP (free_ptr) = xasprintf ("%u%s", here, key);
        setenv (OFFER_ENV, text, 1);
    }
    return mask;
}

unsigned sandbox_choose (const struct conf *conf, unsigned offered, const struct sandbox_needs *needs, struct err *e)
{
    unsigned kinds[CONF_DRIVERS], strong = 0;
    size_t n = conf_drivers (conf, kinds);
    for (size_t i = 0; i < n; i++) {
        if (!(offered & kinds[i]) || kinds[i] < needs->isolation)
            continue;
        strong |= kinds[i];
        if ((kinds[i] != ISOLATION_QEMU || needs->bootable) && (!needs->network || sandbox_relays (kinds[i])))
            return kinds[i];
    }
    if (strong && needs->network && !sandbox_relays (strong))
        err_set (e, ERR_FAILED, "it cannot give a network under the isolation that the step asks for (%s)", isolation_name (needs->isolation));
    else if (strong && needs->guest)
        err_set (e, ERR_FAILED, "the image's guest is of version %u and this worker speaks %u, so no VM can boot it (make the image anew, or let steps run with bwrap)",
            needs->guest, GUEST_VERSION);
    else if (strong)
        err_set (e, ERR_FAILED, "the image has no kernel, so no VM can boot it (make it again without --kernel none, or let steps run with bwrap)");
    else
        err_set (e, ERR_FAILED, "it cannot give the isolation that the step asks for (%s)", isolation_name (needs->isolation));
    return 0;
}

const char *sandbox_version (unsigned kind)
{
    const struct sandbox_driver *d = find (kind, NULL);
    return d ? d->version () : "";
}

bool sandbox_relays (unsigned offered)
{
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
        if ((offered & drivers[i]->kind) && drivers[i]->relays)
            return true;
    return false;
}

int sandbox_enter (unsigned offered, const char *dir, struct err *e)
{
    for (size_t i = 0; i < sizeof drivers / sizeof *drivers; i++)
        if ((offered & drivers[i]->kind) && drivers[i]->enter)
            return drivers[i]->enter (dir, e);
    return 0;
}

int64_t sandbox_limit (int64_t owner, uint64_t step)
{
    return step && step < (uint64_t) owner ? (int64_t) step : owner;
}

int sandbox_open (struct sandbox **out, const struct sandbox_opts *o, struct err *e)
{
    *out = NULL;
    const struct sandbox_driver *d = find (o->kind, e);
    if (!d)
        return -1;
    if (o->relay && !d->relays)
        return err_set (e, ERR_FAILED, "isolation %s: this driver gives builds no network", d->name);
    struct sandbox *box = xcalloc (1, sizeof *box);
    box->driver = d;
    box->o = *o;
    box->accelerator = box->start = "";
    box->cpus = sandbox_limit (o->conf->cpus, o->step->cpus);
    box->memory = sandbox_limit (o->conf->memory, o->step->memory);
    box->disk = sandbox_limit (o->conf->disk, o->step->disk);
    box->group = xasprintf ("%s.box", o->name);
    /* The work area is in memory and counts: what the step may write is granted on top of what it may use. */
    int64_t over = d->overhead ? d->overhead (o->conf) : 0, memory = box->memory > INT64_MAX - box->disk - over ? INT64_MAX : box->memory + box->disk + over;
    struct cgroup_limits l = { memory, d->processes ? d->processes : o->conf->processes, box->cpus, o->conf->nice, strcmp (o->conf->cpu_priority, "idle") == 0 };
    box->grouped = true;
    int rc = cgroup_make (box->group, &l, e);
    if (rc == 0)
        rc = d->open (box, e);
    if (rc == -1) {
        sandbox_close (&box);
        return -1;
    }
    *out = box;
    return 0;
}

const char *sandbox_src (const struct sandbox *box) { return box->src; }
const char *sandbox_out (const struct sandbox *box) { return box->out; }
const char *sandbox_area (const struct sandbox *box) { return box->area; }
const char *sandbox_accelerator (const struct sandbox *box) { return box->accelerator; }
const char *sandbox_start (const struct sandbox *box) { return box->start; }
void sandbox_deadline (struct sandbox *box, int64_t mono_ms, int64_t end_ms)
{
    box->deadline = mono_ms;
    box->end = end_ms;
}

static void kill_all (struct sandbox *box, pid_t pid)
{
    if (pid > 0)
        kill (pid, SIGKILL);
    cgroup_kill (box->group);
    box->grouped = false;
}

struct pump {
    int64_t left;
    bool cut;
};

/* Time in which the owner has the step frozen is not the step's: looked at a few times a second, and given in full where in doubt. */
#define ICE_LOOK_MS 250
struct ice {
    int64_t looked;
    bool frozen;
};

static void ice_look (struct sandbox *box, struct ice *ice, struct sandbox_run *run)
{
    int64_t now = time_mono_ms ();
    if (now - ice->looked < ICE_LOOK_MS)
        return;
    bool frozen = cgroup_frozen (box->group);
    if (frozen || ice->frozen) {
        box->deadline += now - ice->looked;
        run->frozen_ms += now - ice->looked;
    }
    *ice = (struct ice){ now, frozen };
}

/* Move what there is from the pipe to the caller; false at its end. */
static bool pump (struct sandbox *box, struct pump *p, int fd)
{
    char b[65536];
    ssize_t n = read (fd, b, sizeof b);
    if (n <= 0)
        return n == -1 && (errno == EAGAIN || errno == EINTR);
    size_t take = (int64_t) n > p->left ? (size_t) p->left : (size_t) n;
    if (take)
        box->o.log (box->o.arg, b, take);
    p->left -= (int64_t) take;
    if (take < (size_t) n && !p->cut) {
        char note[128];
        int len = snprintf (note, sizeof note, "\n[assay: log cut at %lld bytes]\n", (long long) box->o.conf->log);
        p->cut = true;
        box->o.log (box->o.arg, note, (size_t) len);
    }
    return true;
}

int sandbox_run (struct sandbox *box, struct sandbox_run *run, struct err *e)
{
    int log[2] = { -1, -1 }, status[2] = { -1, -1 }, pidfd = -1, rc = -1, wait = 0;
    pid_t pid = -1;
    struct pump p = { box->o.conf->log, false };
    BUF (said);
    memset (run, 0, sizeof *run);
    if (pipe2 (log, O_CLOEXEC) == -1 || pipe2 (status, O_CLOEXEC) == -1) {
        err_errno (e, "sandbox: pipe");
        goto out;
    }
    if (box->driver->spawn (box, log[1], status[1], &pid, e) == -1)
        goto out;
    fd_close (&log[1]);
    fd_close (&status[1]);
    fcntl (log[0], F_SETFL, O_NONBLOCK);
    fcntl (status[0], F_SETFL, O_NONBLOCK);
    pidfd = (int) syscall (SYS_pidfd_open, pid, 0);
    if (pidfd == -1) {
        err_errno (e, "sandbox: pidfd");
        goto out;
    }
    struct ice ice = { time_mono_ms (), false };
    struct thrash thrash = { 0 };
    bool thrashes = false;
    for (bool open = true, done = false; !done;) {
        ice_look (box, &ice, run);
        int64_t left = box->deadline + box->driver->grace_ms - time_mono_ms ();
        struct pollfd f[2] = { { pidfd, POLLIN, 0 }, { open ? log[0] : -1, POLLIN, 0 } };
        if (run->frozen_ms && time_mono_ms () >= box->end) {
            err_set (e, ERR_FAILED, "its owner had it frozen for %lld s, and the lease's time is over", (long long) (run->frozen_ms / 1000));
            goto out;
        }
        if (left <= 0) {
            run->timed_out = true;
            break;
        }
        if (poll (f, 2, left > ICE_LOOK_MS ? ICE_LOOK_MS : (int) left) == -1 && errno != EINTR) {
            err_errno (e, "sandbox: poll");
            goto out;
        }
        /* in a VM that is for its guest to see; what qemu needs beside is not the step's */
        if ((thrashes = !box->driver->grace_ms && !ice.frozen && cgroup_thrashes (box->group, &thrash)))
            break;
        if (f[1].revents)
            open = pump (box, &p, log[0]);
        done = f[0].revents != 0;
    }
    run->out_of_memory = thrashes || cgroup_oom (box->group);
    kill_all (box, pid);
    while (waitpid (pid, &wait, 0) == -1 && errno == EINTR) {
    }
    pid = -1;
    relay_stop (&box->relay, &run->relay);
    /* What was written before the end; bounded by the pipe's size, as nobody writes any more. */
    for (int i = 0; i < 64; i++) {
        struct pollfd f = { log[0], POLLIN, 0 };
        if (poll (&f, 1, 0) != 1 || !(f.revents & POLLIN) || !pump (box, &p, log[0]))
            break;
    }
    char b[4096];
    ssize_t n;
    while (said.len < 16384 && (n = read (status[0], b, sizeof b)) > 0)
        buf_add (&said, b, (size_t) n);
    run->log_cut = p.cut;
    if (run->timed_out && box->driver->grace_ms)
        err_set (e, ERR_FAILED, "isolation %s: no word of its end long after the deadline", box->driver->name);
    else if (run->timed_out) {
        run->exit_status = 124;
        rc = 0;
    } else
        rc = box->driver->ended (box, buf_str (&said), wait, run, e);
out:
    if (pid > 0) {
        kill_all (box, pid);
        waitpid (pid, &wait, 0);
    }
    relay_stop (&box->relay, NULL);
    fd_close (&log[0]);
    fd_close (&log[1]);
    fd_close (&status[0]);
    fd_close (&status[1]);
    fd_close (&pidfd);
    return rc;
}

void sandbox_close (struct sandbox **pbox)
{
    struct sandbox *box = *pbox;
    if (!box)
        return;
    if (box->grouped)
        kill_all (box, -1);
    box->driver->close (box);
    free (box->area);
    free (box->src);
    free (box->out);
    free (box->group);
    free (box);
    *pbox = NULL;
}

char **sandbox_env (const struct sandbox *box)
{
    const struct bytes_list *own = &box->o.step->env;
    char **env = xcalloc (own->n + 10, sizeof *env);
    size_t n = 0;
    env[n++] = xasprintf ("SOURCE_DATE_EPOCH=%llu", (unsigned long long) box->o.source_date);
    env[n++] = xstrdup ("TZ=UTC");
    env[n++] = xstrdup ("LC_ALL=C.UTF-8");
    env[n++] = xstrdup ("LANG=C.UTF-8");
    env[n++] = xstrdup ("HOME=/home/build");
    env[n++] = xstrdup ("USER=build");
    env[n++] = xstrdup ("LOGNAME=build");
    env[n++] = xstrdup ("PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin");
    for (size_t i = 0; i < own->n; i++) {
        const uint8_t *eq = own->v[i].len ? memchr (own->v[i].p, '=', own->v[i].len) : NULL;
        if (!eq || eq == own->v[i].p)
            continue;
        size_t name = (size_t) (eq - own->v[i].p) + 1, at = 0;
        while (at < n && strncmp (env[at], (const char *) own->v[i].p, name) != 0)
            at++;
        if (at < n)
            free (env[at]);
        else
            n++;
        env[at] = bytes_dup (own->v[i]);
    }
    return env;
}

void sandbox_env_free (char **env)
{
    for (char **p = env; p && *p; p++)
        free (*p);
    free (env);
}

uid_t sandbox_user (const struct sandbox *box)
{
    static int known = -1; /* real root, not the root of a user namespace with one id; a box has its namespaces for good */
    if (known == -1) {
        unsigned inside = 1, outside = 1, count = 0;
        FILE *f = fopen ("/proc/self/uid_map", "re");
        known = f && fscanf (f, "%u %u %u", &inside, &outside, &count) == 3 && count > 1;
        if (f)
            fclose (f);
    }
    return known && geteuid () == 0 ? (uid_t) strtoul (box->o.conf->user, NULL, 10) : 0;
}

static int limit (int what, int64_t soft, int64_t hard)
{
    struct rlimit now, want = { (rlim_t) soft, (rlim_t) hard };
    if (getrlimit (what, &now) == 0 && now.rlim_max != RLIM_INFINITY && want.rlim_max > now.rlim_max && geteuid () != 0)
        want.rlim_max = now.rlim_max;
    if (want.rlim_cur > want.rlim_max)
        want.rlim_cur = want.rlim_max;
    return setrlimit (what, &want);
}

void sandbox_cpus (const struct sandbox *box, char text[32])
{
    cpu_set_t have;
    CPU_ZERO (&have);
    int n = sched_getaffinity (0, sizeof have, &have) == 0 ? CPU_COUNT (&have) : 1;
    if (n > box->cpus)
        n = (int) box->cpus;
    (void) snprintf (text, 32, n > 1 ? "0-%d\n" : "0\n", n - 1);
}

int sandbox_confine (const struct sandbox *box)
{
    const struct conf *c = box->o.conf;
    if (cgroup_enter (box->group) == -1)
        return -1;
    int64_t file_max = box->file_max ? box->file_max : box->disk, memory = box->driver->overhead ? c->memory + c->disk + 4 * box->driver->overhead (c) : box->memory;
    if (limit (RLIMIT_CORE, 0, 0) || limit (RLIMIT_FSIZE, file_max, file_max) || limit (RLIMIT_NOFILE, 1024, 4096) || limit (RLIMIT_MEMLOCK, 65536, 65536)
        || limit (RLIMIT_STACK, 8 << 20, 64 << 20) || limit (RLIMIT_MSGQUEUE, 0, 0))
        return -1;
    /* Without a cgroup the rlimits are all there is; memory is then bounded per process only. */
    if (strcmp (cgroup_kind (), "none") == 0 && (limit (RLIMIT_AS, memory, memory) || limit (RLIMIT_NPROC, c->processes, c->processes)))
        return -1;
    /* A worker that was itself started with a higher niceness, or as idle, and is not root cannot give its steps more than it has: that is as good. */
    if (setpriority (PRIO_PROCESS, 0, (int) c->nice) == -1 && (errno != EACCES || getpriority (PRIO_PROCESS, 0) < c->nice))
        return -1;
    int policy = strcmp (c->cpu_priority, "idle") == 0 ? SCHED_IDLE : strcmp (c->cpu_priority, "batch") == 0 ? SCHED_BATCH : SCHED_OTHER;
    if (sched_setscheduler (0, policy, &(struct sched_param){ 0 }) == -1 && (errno != EPERM || sched_getscheduler (0) != SCHED_IDLE))
        return -1;
    /* ioprio: class in the upper 3 bits of 16; 3 is idle, 2 best effort (lowest level 7). A kernel without it ignores us. */
    syscall (SYS_ioprio_set, 1, 0, strcmp (c->io_priority, "idle") == 0 ? 3 << 13 : 2 << 13 | 7);
    /* As many CPUs as the step has: what nproc and make -j see must not depend on the machine. Which ones differs by step. */
    cpu_set_t have, use;
    CPU_ZERO (&use);
    if (sched_getaffinity (0, sizeof have, &have) == 0 && CPU_COUNT (&have) > box->cpus) {
        int first = 0, picked = 0;
        for (const char *s = box->o.name; *s; s++)
            first = (first * 31 + (unsigned char) *s) % CPU_SETSIZE;
        for (int i = 0; i < 2 * CPU_SETSIZE && picked < box->cpus; i++) {
            int cpu = (first + i) % CPU_SETSIZE;
            if (CPU_ISSET (cpu, &have) && !CPU_ISSET (cpu, &use)) {
                CPU_SET (cpu, &use);
                picked++;
            }
        }
        if (sched_setaffinity (0, sizeof use, &use) == -1)
            return -1;
    }
    umask (022);
    /* What the worker was started with - by nohup, or behind a shell's & - is none of the step's business. */
    for (int s = 1; s < NSIG; s++)
        signal (s, SIG_DFL);
    return 0;
}

static int own_at (int dir, int64_t uid, int64_t mtime, int depth, struct err *e)
{
    struct timespec times[2] = { { (time_t) mtime, 0 }, { (time_t) mtime, 0 } };
    DIR *d = depth < 256 ? fdopendir (dup (dir)) : NULL;
    int rc = 0;
    if (!d)
        return err_errno (e, "sandbox: reading a folder");
    rewinddir (d);
    for (struct dirent *en; rc == 0 && (en = readdir (d));) {
        struct stat st;
        if (strcmp (en->d_name, ".") == 0 || strcmp (en->d_name, "..") == 0)
            continue;
        if (fstatat (dir, en->d_name, &st, AT_SYMLINK_NOFOLLOW) == -1)
            rc = err_errno (e, "sandbox: %s", en->d_name);
        else if (uid >= 0 && fchownat (dir, en->d_name, (uid_t) uid, (gid_t) uid, AT_SYMLINK_NOFOLLOW) == -1)
            rc = err_errno (e, "sandbox: giving %s to the step's user", en->d_name);
        else if (S_ISDIR (st.st_mode)) {
            int sub = openat (dir, en->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            if (sub == -1 || fchmod (sub, 0755) == -1)
                rc = err_errno (e, "sandbox: %s", en->d_name);
            else
                rc = own_at (sub, uid, mtime, depth + 1, e);
            fd_close (&sub);
        } else if (S_ISREG (st.st_mode) && fchmodat (dir, en->d_name, st.st_mode & 0100 ? 0755 : 0644, 0) == -1)
            rc = err_errno (e, "sandbox: %s", en->d_name);
        if (rc == 0 && mtime >= 0)
            utimensat (dir, en->d_name, times, AT_SYMLINK_NOFOLLOW);
    }
    closedir (d);
    return rc;
}

int sandbox_own (const char *path, int64_t uid, int64_t mtime, struct err *e)
{
    struct timespec times[2] = { { (time_t) mtime, 0 }, { (time_t) mtime, 0 } };
    int dir = open (path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir == -1)
        return err_errno (e, "%s", path);
    int rc = own_at (dir, uid, mtime, 0, e);
    if (rc == 0 && (fchmod (dir, 0755) == -1 || (uid >= 0 && fchown (dir, (uid_t) uid, (gid_t) uid) == -1)))
        rc = err_errno (e, "%s", path);
    if (rc == 0 && mtime >= 0)
        futimens (dir, times);
    fd_close (&dir);
    return rc;
}
