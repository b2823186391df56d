/* The first process of a VM: the driver bwrap as a worker has it, under control groups of version 2 that are handed down to us, with a kernel
 * that has all their controllers: as root, and as a user without privileges. Not run by itself: tests/e2e/51-cgroup2.sh boots it. Says each
 * check on the console, and at the end `sandbox2: all N checks hold`.
 *
 * /image is the root file system of the steps, /modules/overlay.ko the kernel's overlayfs where that is a module.
 */
#include "worker/sandbox.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/cgroup.h"

#define ROOT "/sys/fs/cgroup"
#define OWNER 1000 /* the user without privileges */

static const char *who = "root";

/* What a step's process tells its parent. */
static struct shared {
    int rc;
    struct sandbox_run run;
    size_t log;             /* bytes said so far */
    char text[4096];
    char why[300];
} *told;
static int *checks, *wrong; /* shared too: what a child checks counts */

static void check (bool holds, const char *what)
{
    ++*checks;
    *wrong += !holds;
    printf ("sandbox2: %s: %s: %s\n", holds ? "ok" : "WRONG", who, what);
}

static bool put (const char *path, const char *text)
{
    int fd CLEANUP (fd_close) = open (path, O_WRONLY | O_CLOEXEC);
    return fd != -1 && write (fd, text, strlen (text)) == (ssize_t) strlen (text);
}

static int64_t number (const char *group, const char *file, const char *key)
{
    char path[400], line[128];
    int64_t v = -1;
    snprintf (path, sizeof path, "%s/%s", group, file);
    FILE *f = fopen (path, "re");
    while (f && v == -1 && fgets (line, sizeof line, f))
        if (strncmp (line, key, strlen (key)) == 0)
            v = strtoll (line + strlen (key), NULL, 10);
    if (f)
        fclose (f);
    return v;
}

/* Programs that run: the kernel's own threads come and go, and have no command line. */
static int processes (void)
{
    char path[300], c;
    int n = 0;
    DIR *d = opendir ("/proc");
    for (struct dirent *en; d && (en = readdir (d));) {
        snprintf (path, sizeof path, "/proc/%.20s/cmdline", en->d_name);
        int fd CLEANUP (fd_close) = en->d_name[0] >= '0' && en->d_name[0] <= '9' ? open (path, O_RDONLY | O_CLOEXEC) : -1;
        n += fd != -1 && read (fd, &c, 1) == 1;
    }
    if (d)
        closedir (d);
    return n;
}

static void hear (void *arg, const void *p, size_t len)
{
    (void) arg;
    size_t room = sizeof told->text - 1 - told->log;
    memcpy (told->text + told->log, p, len < room ? len : room);
    told->log += len < room ? len : room;
}

static bool heard (const char *line)
{
    return strstr (told->text, line) != NULL;
}

struct try {
    const char *run;
    int64_t ms;         /* that it may take */
    uint64_t cpus;      /* that it asks for; 0: the owner's */
    const char *settings;
    int nice;           /* that the worker was started with; 0: none, else as idle as well */
};

static char group[300]; /* of the step */

/* As in runner.c: a process for the step, with its own control group and mount namespace. */
static pid_t begin (const struct try *t)
{
    memset (told, 0, sizeof *told);
    pid_t parent = getpid (), pid = fork ();
    if (pid != 0)
        return pid;
    struct err e = ERR_INIT;
    struct conf c;
    struct sandbox *box = NULL;
    struct msg m = MSG_INIT (step, 0);
    m.u.step.run = bytes_str (t->run);
    m.u.step.cpus = t->cpus;
    struct sandbox_opts o = { .kind = ISOLATION_BWRAP, .name = "it", .dir = "/state", .image = "/image", .state = "/state", .conf = &c, .step = &m.u.step, .source_date = 1, .log = hear };
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    told->rc = -1;
    if (t->nice && (setpriority (PRIO_PROCESS, 0, t->nice) == -1 || sched_setscheduler (0, SCHED_IDLE, &(struct sched_param){ 0 }) == -1))
        _exit (1);
    if (getppid () == parent && file_write ("/state/worker.ini", bytes_str (t->settings), 0600, &e) == 0 && conf_read (&c, "/state/worker.ini", &e) == 0
        && cgroup_setup ("/state", &e) == 0 && cgroup_make ("it.run", &(struct cgroup_limits){ 0 }, &e) == 0 && cgroup_enter ("it.run") == 0
        && sandbox_enter (ISOLATION_BWRAP, "/state", &e) == 0 && sandbox_open (&box, &o, &e) == 0) {
        sandbox_deadline (box, time_mono_ms () + t->ms, time_mono_ms () + 1000 * t->ms);
        told->rc = sandbox_run (box, &told->run, &e);
    }
    snprintf (told->why, sizeof told->why, "%.280s", e.msg);
    sandbox_close (&box);
    _exit (0);
}

static void over (pid_t pid)
{
    waitpid (pid, NULL, 0);
    if (told->rc == -1)
        printf ("sandbox2: it says: %s\n", told->why);
}

static void step (const struct try *t)
{
    over (begin (t));
    cgroup_sweep ();
}

static bool until (bool (*holds) (void))
{
    for (int i = 0; i < 600; i++) {
        if (holds ())
            return true;
        usleep (50000);
    }
    return false;
}

static bool up (void) { return heard ("up\n"); }
static bool full (void) { return number (group, "pids.events", "max ") > 0; }
static bool stands (void) { return number (group, "cgroup.events", "frozen ") == 1; }
static int few;
static bool alone (void) { return processes () == few; }

#define SETTINGS "[limits]\nmemory = 32M\ndisk = 16M\nprocesses = 24\ncpus = 2\n"

static void limits (void)
{
    step (&(struct try){ "cut -d ' ' -f 19 /proc/self/stat", 60000, 0, SETTINGS "nice = 5\n", 12 });
    check (told->rc == 0 && heard (geteuid () == 0 ? "5\n" : "12\n"), "one of a worker that was started with a higher niceness: it has the owner's, or the worker's where that cannot be lowered");
    step (&(struct try){ "echo up; tail -c 200000000 /dev/zero", 60000, 0, SETTINGS, 0 });
    check (told->rc == 0 && told->run.exit_status != 0 && told->run.out_of_memory, "a memory hog is killed, and that is told");
    step (&(struct try){ "dd if=/dev/zero of=/src/big bs=1M count=40", 60000, 0, SETTINGS, 0 });
    check (told->rc == 0 && told->run.exit_status == 1 && heard ("No space left"), "a disk filler finds its disk full");
    step (&(struct try){ "setsid sh -c 'sleep 4321 & sleep 4321' & echo up; while :; do :; done", 1500, 0, SETTINGS, 0 });
    check (told->rc == 0 && told->run.timed_out && told->run.exit_status == 124, "an endless loop ends with its time");

    int before = processes ();
    /* what cannot fork ends, but not the first of them */
    pid_t pid = begin (&(struct try){ "(b() { b | b & }; b) & (i=0; while [ $i -lt 200 ]; do sleep 4321 & i=$((i + 1)); done; wait) & exec sleep 4321", 60000, 0, SETTINGS, 0 });
    check (until (full), "a fork bomb comes to the limit of processes");
    int64_t most = number (group, "pids.current", "");
    check (number (group, "pids.max", "") == 24 && most > 0 && most <= 24 && processes () <= before + 1 + 24, "and not beyond it");
    cgroup_kill ("it.box");
    over (pid);
    cgroup_sweep ();

    pid = begin (&(struct try){ "echo up; while :; do :; done & while :; do :; done", 60000, 1, SETTINGS "nice = 10\ncpu-priority = idle\n", 0 });
    check (until (up), "two that spin");
    int64_t began = time_mono_ms (), used = number (group, "cpu.stat", "usage_usec ");
    usleep (1500000);
    used = (number (group, "cpu.stat", "usage_usec ") - used) / 1000;
    int64_t took = time_mono_ms () - began;
    check (used > took / 10 && used < took + took / 4, "get the time of one CPU");
    check (number (group, "cpu.max", "") == 100000 && number (group, "cpu.idle", "") == 1 && number (group, "memory.max", "") == 48 << 20 && number (group, "memory.swap.max", "") == 0,
           "and their group has what the owner set");
    cgroup_kill ("it.box");
    over (pid);
    cgroup_sweep ();
}

static void freezing (void)
{
    pid_t pid = begin (&(struct try){ "echo up; i=0; while [ $i -lt 10 ]; do sleep 0.1; echo tick; i=$((i + 1)); done; echo on", 4000, 0, SETTINGS, 0 });
    check (until (up) && cgroup_freeze ("it.box", true) == 0 && until (stands) && cgroup_frozen ("it.box"), "a step is frozen");
    usleep (300000); /* what was in the pipe */
    size_t said = told->log;
    usleep (4000000);
    check (told->log == said && stands (), "and stands still, for longer than it may run");
    check (cgroup_freeze ("it.box", false) == 0, "thawed");
    over (pid);
    check (told->rc == 0 && told->run.exit_status == 0 && heard ("on\n") && told->run.frozen_ms >= 4000, "it goes on and ends well: that was not its time");
    cgroup_sweep ();
}

/* SIGKILL of the step's own process, with a step that is frozen, has daemons, and 8 MB of files. */
static void killed (void)
{
    few = processes ();
    pid_t pid = begin (&(struct try){ "dd if=/dev/zero of=/src/big bs=1M count=8 2>/dev/null; setsid sleep 4321 & setsid sleep 4321 & echo up; sleep 4321", 60000, 0, SETTINGS, 0 });
    check (until (up) && cgroup_freeze ("it.box", true) == 0 && until (stands), "a step with daemons, frozen");
    kill (pid, SIGKILL);
    waitpid (pid, NULL, 0);
    cgroup_sweep ();
    check (until (alone) && access (group, F_OK) == -1, "the worker's process is killed: nothing is left after a sweep");
}

static int all (void)
{
    struct err e = ERR_INIT;
    char hex[DIGEST_HEX], own[200] = "";
    struct digest d = digest_of ("/state", 6);
    digest_hex (&d, hex);
    hex[16] = '\0';
    FILE *f = fopen ("/proc/self/cgroup", "re");
    if (!f || fscanf (f, "0::%190s", own) != 1)
        *own = '\0';
    if (f)
        fclose (f);
    snprintf (group, sizeof group, ROOT "%s/assay-%s/it.box", own, hex);
    check (cgroup_setup ("/state", &e) == 0 && strcmp (cgroup_kind (), "v2") == 0, "version 2 is found");
    cgroup_weight (10, false);
    check (sandbox_probe (ISOLATION_BWRAP, NULL, NULL, &e) == 0, "the driver bwrap works here");
    step (&(struct try){ "id -u; pwd; echo $(nproc); exit 7", 60000, 1, SETTINGS, 0 });
    check (told->rc == 0 && told->run.exit_status == 7 && heard ("1000\n/src\n1\n"), "a step runs, as nobody in particular, on as many CPUs as it asks for");
    if (*e.msg)
        printf ("sandbox2: it says: %s\n", e.msg);
    else if (told->rc == 0) {
        limits ();
        freezing ();
        killed ();
    }
    cgroup_leave ();
    return 0;
}

static bool load_module (const char *path)
{
    int fd CLEANUP (fd_close) = open (path, O_RDONLY | O_CLOEXEC);
    return fd == -1 || syscall (SYS_finit_module, fd, "", 0) == 0 || errno == EEXIST;
}

/* The initramfs is no mount that anything could be moved away from, as bwrap does: the same once more, as a mount over it. */
static bool proper_root (void)
{
    return mount ("/", "/root", NULL, MS_BIND | MS_REC, NULL) == 0 && chdir ("/root") == 0 && mount (".", "/", NULL, MS_MOVE, NULL) == 0 && chroot (".") == 0 && chdir ("/") == 0;
}

static void set_up (void)
{
    static const char *const dirs[] = { "/proc", "/sys", "/dev", "/state", "/tmp", "/root", "/mnt" };
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        mkdir (dirs[i], 0755);
    chmod ("/tmp", 01777);
    check (proper_root (), "a root that can be left");
    check (mount ("devtmpfs", "/dev", "devtmpfs", 0, NULL) == 0 && mount ("proc", "/proc", "proc", 0, NULL) == 0 && mount ("sysfs", "/sys", "sysfs", 0, NULL) == 0
               && mount ("cgroup2", ROOT, "cgroup2", 0, NULL) == 0,
           "mounts");
    check (load_module ("/modules/overlay.ko"), "overlayfs");
    setenv ("PATH", "/usr/bin:/bin", 1);
}

/* A group with the controllers handed down, as systemd makes it for Delegate=yes, and a process in it that does the work. */
static void within (const char *name, uid_t uid)
{
    char path[300];
    static const char *const theirs[] = { "", "/cgroup.procs", "/cgroup.subtree_control", "/cgroup.threads" };
    pid_t pid = fork ();
    if (pid == 0) {
        snprintf (path, sizeof path, ROOT "/%s/cgroup.procs", name);
        if (uid)
            who = "a user";
        bool ready = (mkdir ("/state", 0700) == 0 || errno == EEXIST) && chown ("/state", uid, uid) == 0;
        snprintf (path, sizeof path, ROOT "/%s", name);
        ready = ready && mkdir (path, 0755) == 0;
        for (size_t i = 0; i < sizeof theirs / sizeof *theirs; i++) {
            snprintf (path, sizeof path, ROOT "/%s%s", name, theirs[i]);
            ready = ready && chown (path, uid, uid) == 0;
        }
        snprintf (path, sizeof path, ROOT "/%s/cgroup.procs", name);
        /* who was root before is not let near its own entry in /proc; a program that such a user starts is */
        ready = ready && put (path, "0") && (!uid || (setgroups (0, NULL) == 0 && setresgid (uid, uid, uid) == 0 && setresuid (uid, uid, uid) == 0 && prctl (PR_SET_DUMPABLE, 1) == 0));
        check (ready, "a group that is ours");
        _exit (ready ? all () : 1);
    }
    int status = -1;
    waitpid (pid, &status, 0);
    check (WIFEXITED (status) && WEXITSTATUS (status) == 0, "all was tried");
    file_remove_tree ("/state", NULL);
    while (waitpid (-1, NULL, WNOHANG) > 0) {
    }
}

int main (void)
{
    setvbuf (stdout, NULL, _IOLBF, 0);
    if (getpid () != 1) {
        fputs ("to be booted by tests/e2e/51-cgroup2.sh\n", stderr);
        return 77;
    }
    told = mmap (NULL, sizeof *told, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    checks = mmap (NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    wrong = checks + 1;
    set_up ();
    check (put (ROOT "/cgroup.subtree_control", "+memory +pids +cpu"), "controllers");
    within ("svc", 0);
    within ("user", OWNER);
    if (*wrong)
        printf ("sandbox2: %d of %d checks do not hold\n", *wrong, *checks);
    else
        printf ("sandbox2: all %d checks hold\n", *checks);
    fflush (stdout);
    sync ();
    reboot (RB_AUTOBOOT);
    return 0;
}
