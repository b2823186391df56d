#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <grp.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "worker/guest/guest.h"
#include "worker/guest/thrash.h"

#define ROOT WORK "/root"
#define ANSWER_MS 5 /* how often to look whether the host has answered */
#define GROUP "/cgroup/step"
#define CPUS "/sys/devices/system/cpu"

static void must_mount (const char *what, const char *at, const char *type, unsigned long flags, const char *data)
{
    if (mount (what, at, type, flags, data) == -1)
        broken ("mount at %s: %s", at, strerror (errno));
}

static bool write_text (const char *path, const char *text)
{
    int fd = open (path, O_WRONLY | O_CLOEXEC);
    bool ok = fd != -1 && write (fd, text, strlen (text)) == (ssize_t) strlen (text);
    if (fd != -1)
        close (fd);
    return ok;
}

static void folder (const char *path, mode_t mode, bool theirs)
{
    if ((mkdir (path, mode) == -1 && errno != EEXIST) || chmod (path, mode) == -1 || (theirs && chown (path, STEP_ID, STEP_ID) == -1))
        broken ("%s: %s", path, strerror (errno));
}

/* As the other drivers have them. */
static void make_dev (void)
{
    static const struct {
        const char *name;
        unsigned major, minor;
    } nodes[] = { { "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 }, { "urandom", 1, 9 }, { "tty", 5, 0 } };
    static const char *const links[][2] = { { "/proc/self/fd/0", "stdin" }, { "/proc/self/fd/1", "stdout" }, { "/proc/self/fd/2", "stderr" },
                                            { "/proc/self/fd", "fd" }, { "/proc/kcore", "core" }, { "pts/ptmx", "ptmx" } };
    char path[128];
    must_mount ("dev", ROOT "/dev", "tmpfs", MS_NOSUID, "mode=0755,size=1M,nr_inodes=4096,uid=1000,gid=1000");
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++) {
        snprintf (path, sizeof path, ROOT "/dev/%s", nodes[i].name);
        if (mknod (path, S_IFCHR | 0666, makedev (nodes[i].major, nodes[i].minor)) == -1 || chmod (path, 0666) == -1)
            broken ("%s: %s", path, strerror (errno));
    }
    for (size_t i = 0; i < sizeof links / sizeof *links; i++) {
        snprintf (path, sizeof path, ROOT "/dev/%s", links[i][1]);
        if (symlink (links[i][0], path) == -1 || lchown (path, STEP_ID, STEP_ID) == -1)
            broken ("%s: %s", path, strerror (errno));
    }
    folder (ROOT "/dev/pts", 0755, true);
    folder (ROOT "/dev/shm", 0755, true);
    must_mount ("devpts", ROOT "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=620");
}

/* As the other drivers have it, whose steps see the host's /proc/stat. */
static void write_cpus (void)
{
    static const char *const names[] = { "online", "possible", "present" };
    long n = sysconf (_SC_NPROCESSORS_ONLN);
    char path[128], text[32];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf (path, sizeof path, WORK "/upper" CPUS "/%s", names[i]);
        snprintf (text, sizeof text, n > 1 ? "0-%ld\n" : "0\n", n - 1);
        int fd = open (path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
        if (fd == -1 || write (fd, text, strlen (text)) != (ssize_t) strlen (text))
            broken ("%s: %s", path, strerror (errno));
        close (fd);
    }
}

void step_mounts (const struct job *j)
{
    static const struct {
        const char *name;
        mode_t mode;
        bool theirs;
    } dirs[] = { { "src", 0755, true }, { "out", 0755, true }, { "root", 0755, false }, { "work", 0700, false }, { "upper", 0755, false }, { "upper/src", 0755, false },
                 { "upper/out", 0755, false }, { "upper/in", 0755, false }, { "upper/proc", 0755, false }, { "upper/dev", 0755, false }, { "upper/tmp", 01777, false },
                 { "upper/home", 0755, false }, { "upper/home/build", 0755, true }, { "upper/sys", 0755, false }, { "upper/sys/devices", 0755, false },
                 { "upper/sys/devices/system", 0755, false }, { "upper" CPUS, 0755, false } };
    char path[128], opts[128];
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        snprintf (path, sizeof path, WORK "/%s", dirs[i].name);
        folder (path, dirs[i].mode, dirs[i].theirs);
    }
    write_cpus ();
    relay_names (j);
    must_mount ("assay", ROOT, "overlay", MS_NOSUID | MS_NODEV, "lowerdir=" IMAGE ",upperdir=" WORK "/upper,workdir=" WORK "/work");
    make_dev ();
    snprintf (opts, sizeof opts, "mode=0755,uid=1000,gid=1000,size=%llu", (unsigned long long) j->n[JOB_DISK]);
    must_mount ("shm", ROOT "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, opts);
    must_mount (WORK "/src", ROOT "/src", NULL, MS_BIND, NULL);
    must_mount (WORK "/out", ROOT "/out", NULL, MS_BIND, NULL);
    must_mount (WORK "/in", ROOT "/in", NULL, MS_BIND, NULL);
    must_mount (NULL, ROOT "/in", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL);
}

static void limits (const struct job *j)
{
    char text[32];
    if (!write_text ("/cgroup/cgroup.subtree_control", "+memory +pids") || (mkdir (GROUP, 0755) == -1 && errno != EEXIST))
        broken ("control group: %s", strerror (errno));
    uint64_t memory = j->n[JOB_MEMORY] + j->n[JOB_DISK];
    snprintf (text, sizeof text, "%llu", (unsigned long long) memory);
    if (!write_text (GROUP "/memory.max", text))
        broken ("control group: %s", strerror (errno));
    snprintf (text, sizeof text, "%llu", (unsigned long long) j->n[JOB_PROCESSES]);
    if (!write_text (GROUP "/pids.max", text))
        broken ("control group: %s", strerror (errno));
}

static bool limit (int what, rlim_t soft, rlim_t hard)
{
    struct rlimit l = { soft, hard };
    return setrlimit (what, &l) == 0;
}

/* In the step's process, as root of the machine still: 0, or the place where it failed. */
static const char *become_step (const struct job *j, int out)
{
    struct sock_fprog filter = { (unsigned short) (j->filter_len / sizeof (struct sock_filter)), (struct sock_filter *) (void *) j->filter };
    rlim_t disk = (rlim_t) j->n[JOB_DISK];
    int null = open ("/dev/null", O_RDWR | O_CLOEXEC);
    if (null == -1 || dup2 (null, 0) == -1 || dup2 (out, 1) == -1 || dup2 (out, 2) == -1 || close_range (3, ~0u, CLOSE_RANGE_CLOEXEC) == -1)
        return "descriptors";
    if (!limit (RLIMIT_CORE, 0, 0) || !limit (RLIMIT_FSIZE, disk, disk) || !limit (RLIMIT_NOFILE, 1024, 4096) || !limit (RLIMIT_MEMLOCK, 65536, 65536)
        || !limit (RLIMIT_STACK, 8 << 20, 64 << 20) || !limit (RLIMIT_MSGQUEUE, 0, 0))
        return "limits";
    if (setpriority (PRIO_PROCESS, 0, (int) j->n[JOB_NICE]) == -1)
        return "niceness";
    if (setgroups (0, NULL) == -1 || setresgid (STEP_ID, STEP_ID, STEP_ID) == -1 || setresuid (STEP_ID, STEP_ID, STEP_ID) == -1)
        return "user";
    /* One user is all that it sees, as in the other drivers; and no way to be another. */
    if (prctl (PR_SET_DUMPABLE, 1) == -1 || unshare (CLONE_NEWUSER) == -1)
        return "user namespace";
    if (!write_text ("/proc/self/setgroups", "deny") || !write_text ("/proc/self/uid_map", "1000 1000 1") || !write_text ("/proc/self/gid_map", "1000 1000 1"))
        return "user map";
    for (int c = 0; c < 64; c++)
        if (prctl (PR_CAPBSET_DROP, c, 0, 0, 0) == -1 && errno != EINVAL)
            return "capabilities";
    struct {
        uint32_t version;
        int pid;
    } head = { 0x20080522, 0 };
    struct {
        uint32_t effective, permitted, inheritable;
    } none[2] = { { 0 }, { 0 } };
    if (syscall (SYS_capset, &head, none) == -1)
        return "capabilities";
    umask (022);
    if (chdir ("/src") == -1)
        return "/src";
    if (prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1 || prctl (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == -1)
        return "system call filter";
    return NULL;
}

/* Process 1 of the step's namespaces: sets up, starts the step as process 2, and ends when that ends; then the kernel kills the rest. */
static void namespace_init (const struct job *j, int out, int status)
{
    char *argv[] = { (char *) "/bin/sh", (char *) "-ec", j->run, NULL };
    const char *why = NULL;
    if (setsid () == -1) /* here, so that the step's process leads no session, as with bwrap */
        why = "session";
    else if (sethostname ("build", 5) == -1)
        why = "hostname";
    else if (chdir (ROOT) == -1 || mount (".", "/", NULL, MS_MOVE, NULL) == -1 || chroot (".") == -1 || chdir ("/") == -1)
        why = "root";
    else if (mount ("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) == -1)
        why = "/proc";
    pid_t pid = why ? -1 : fork ();
    if (pid == 0) {
        why = become_step (j, out);
        if (!why) {
            execve (argv[0], argv, j->env);
            why = "/bin/sh";
        }
    }
    if (why || pid == -1) {
        dprintf (status, "%s: %s", why ? why : "fork", strerror (errno));
        _exit (125);
    }
    close (out);
    close (status);
    for (int w;;) {
        pid_t got = wait (&w);
        if (got == pid)
            _exit (WIFSIGNALED (w) ? 128 + WTERMSIG (w) : WEXITSTATUS (w));
        if (got == -1 && errno != EINTR)
            _exit (125);
    }
}

/* From the step's pipe to the port, as fast as the host takes it; false at the pipe's end. */
struct flow {
    uint8_t b[65536];
    size_t at, have;
    uint64_t total;
    bool ended;
};

static void flow_once (struct flow *f, int from, int port, int child, int64_t until)
{
    bool full = f->at < f->have;
    struct pollfd p[2] = { { child, POLLIN, 0 }, { full ? port : f->ended ? -1 : from, full ? POLLOUT : POLLIN, 0 } };
    /* a port that has room again does not always wake its writer: a full one is looked at again soon */
    int64_t left = until - now_ms (), most = full ? 2 : 250 /* the host may say that time is over */;
    poll (p, 2, left < 0 ? 0 : left > most ? (int) most : (int) left);
    if (full && (p[1].revents & (POLLOUT | POLLERR | POLLHUP))) {
        ssize_t n = write (port, f->b + f->at, f->have - f->at);
        if (n > 0) {
            f->at += (size_t) n;
            f->total += (uint64_t) n;
        }
    } else if (!full && p[1].revents) {
        ssize_t n = read (from, f->b, sizeof f->b);
        f->at = 0;
        f->have = n > 0 ? (size_t) n : 0;
        f->ended = n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR);
    }
}

static bool oom_killed (void)
{
    char line[64];
    bool yes = false;
    FILE *f = fopen (GROUP "/memory.events", "r");
    while (f && fgets (line, sizeof line, f))
        yes = yes || (strncmp (line, "oom_kill ", 9) == 0 && atol (line + 9) > 0);
    if (f)
        fclose (f);
    return yes;
}

void step_run (const struct job *j, int port, int64_t deadline, struct outcome *o)
{
    static struct flow f;
    int out[2], status[2], wait_status = 0;
    char text[256] = "";
    limits (j);
    if (pipe2 (out, O_CLOEXEC) == -1 || pipe2 (status, O_CLOEXEC) == -1)
        broken ("pipe: %s", strerror (errno));
    int group = open (GROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct clone_args {
        uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup;
    } args = { .flags = CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | 0x200000000ULL /* CLONE_INTO_CGROUP */ | CLONE_PIDFD, .exit_signal = SIGCHLD,
               .cgroup = (uint64_t) group };
    int pidfd = -1;
    args.pidfd = (uint64_t) (uintptr_t) &pidfd;
    pid_t pid = (pid_t) syscall (SYS_clone3, &args, sizeof args);
    if (pid == 0) {
        close (port);
        namespace_init (j, out[1], status[1]);
    }
    if (pid == -1)
        broken ("namespaces: %s", strerror (errno));
    close (out[1]);
    close (status[1]);
    fcntl (out[0], F_SETFL, O_NONBLOCK);
    fcntl (port, F_SETFL, O_WRONLY | O_NONBLOCK);
    struct thrash thrash = { 0 };
    bool asked = false, thrashes = false;
    for (struct pollfd p = { pidfd, POLLIN, 0 }; poll (&p, 1, 0) != 1;) {
        int64_t left;
        if ((thrashes = thrash_look (&thrash, now_ms (), GROUP, "memory.current", "memory.max"))) {
            kill (pid, SIGKILL);
            break;
        }
        if (!asked && now_ms () >= deadline) {
            clock_ask ();
            asked = true;
        }
        if (clock_answer (&left)) {
            if (!left) {
                o->timed_out = true;
                kill (pid, SIGKILL);
                break;
            }
            asked = false;
            deadline = now_ms () + left;
        }
        flow_once (&f, out[0], port, pidfd, asked ? now_ms () + ANSWER_MS : deadline);
    }
    while (waitpid (pid, &wait_status, 0) == -1 && errno == EINTR) {
    }
    /* Nobody writes any more: what the pipe holds is the rest. The host ends this machine if it takes none of it. */
    while (!f.ended || f.at < f.have)
        flow_once (&f, out[0], port, -1, now_ms () + 1000);
    ssize_t n = read (status[0], text, sizeof text - 1);
    if (n > 0)
        broken ("the step did not start: %s", text);
    o->out_of_memory = thrashes || oom_killed ();
    o->exit_status = o->timed_out ? 124 : WIFSIGNALED (wait_status) ? 128u + (unsigned) WTERMSIG (wait_status) : (unsigned) WEXITSTATUS (wait_status);
    o->log = f.total;
}
