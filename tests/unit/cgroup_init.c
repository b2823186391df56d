/* The first process of a VM: cgroup.c against control groups of version 2, with a kernel that has all their controllers. Not run by
 * itself: tests/e2e/51-cgroup2.sh boots it. Says each check on the console, and at the end `cgroup2: all N checks hold`.
 */
#include "worker/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

#define ROOT "/sys/fs/cgroup"
#define SECOND 1000000u

static int checks, wrong;

static void check (bool holds, const char *what)
{
    checks++;
    wrong += !holds;
    printf ("cgroup2: %s: %s\n", holds ? "ok" : "WRONG", what);
}

static bool write_to (const char *path, const char *text)
{
    int fd CLEANUP (fd_close) = open (path, O_WRONLY | O_CLOEXEC);
    return fd != -1 && write (fd, text, strlen (text)) == (ssize_t) strlen (text);
}

static bool holds (const char *path, const char *text)
{
    char b[4096];
    int fd CLEANUP (fd_close) = open (path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd == -1 ? -1 : read (fd, b, sizeof b - 1);
    b[n > 0 ? n : 0] = '\0';
    return n >= 0 && strstr (b, text);
}

static pid_t in_group (const char *name, void (*work) (volatile long *), volatile long *arg)
{
    pid_t pid = fork ();
    if (pid == 0) {
        if (cgroup_enter (name) == -1)
            _exit (99);
        work (arg);
        _exit (0);
    }
    return pid;
}

static int status_of (pid_t pid)
{
    int status = -1;
    waitpid (pid, &status, 0);
    return status;
}

static void hog (volatile long *arg)
{
    (void) arg;
    for (size_t n = 0; n < 256; n++) {
        char *p = malloc (1 << 20);
        if (!p)
            _exit (3);
        memset (p, (int) n + 1, 1 << 20);
    }
}

static void bomb (volatile long *made)
{
    for (int i = 0; i < 200; i++) {
        pid_t pid = fork ();
        if (pid == -1)
            break;
        if (pid == 0) {
            pause ();
            _exit (0);
        }
        ++*made;
    }
    setsid ();
    pause ();
}

static void spin (volatile long *n)
{
    for (;;)
        ++*n;
}

static bool settles (volatile long *n, long want)
{
    for (int i = 0; i < 300 && *n != want; i++)
        usleep (SECOND / 10);
    return *n == want;
}

static bool runs (volatile long *n)
{
    long before = *n;
    for (int i = 0; i < 100 && *n == before; i++)
        usleep (SECOND / 10);
    return *n != before;
}

static bool stands (volatile long *n)
{
    for (int i = 0; i < 50; i++) { /* frozen comes in its own time, and then stays */
        long before = *n;
        usleep (SECOND / 2);
        if (*n == before)
            return true;
    }
    return false;
}

/* Where is what a worker of this state folder has? */
static void look (const char *where, const char *state, volatile long *n)
{
    struct err e = ERR_INIT;
    char base[300], path[400], hex[DIGEST_HEX];
    struct digest d = digest_of (state, strlen (state));
    digest_hex (&d, hex);
    hex[16] = '\0';
    snprintf (base, sizeof base, ROOT "%s/assay-%s", where, hex);
    check (cgroup_setup (state, &e) == 0 && strcmp (cgroup_kind (), "v2") == 0, "version 2 is found");
    if (*e.msg)
        printf ("cgroup2: %s\n", e.msg);
    check (access (base, F_OK) == 0, "the groups are below our own");
    check (cgroup_setup (state, &e) == 0, "setup once more, as a step's process does");
    cgroup_weight (10, false);

    check (cgroup_make ("m.box", &(struct cgroup_limits){ 64 << 20, 16, 1, 10, true }, &e) == 0, "a group with limits");
    snprintf (path, sizeof path, "%s/m.box/memory.max", base);
    check (holds (path, "67108864"), "memory.max");
    snprintf (path, sizeof path, "%s/m.box/pids.max", base);
    check (holds (path, "16"), "pids.max");
    snprintf (path, sizeof path, "%s/m.box/cpu.max", base);
    check (holds (path, "100000 100000"), "cpu.max");
    snprintf (path, sizeof path, "%s/m.box/cpu.idle", base);
    check (holds (path, "1"), "cpu.idle");
    int status = status_of (in_group ("m.box", hog, n));
    check (WIFSIGNALED (status) && WTERMSIG (status) == SIGKILL, "a memory hog is killed");
    check (cgroup_oom ("m.box"), "and that is told");

    *n = 0;
    pid_t first = in_group ("m.box", bomb, n);
    check (settles (n, 15), "a fork bomb ends at the limit of processes");
    cgroup_kill ("m.box");
    check (WIFSIGNALED (status_of (first)), "everything in the group is killed, setsid or not");
    while (waitpid (-1, NULL, WNOHANG) > 0) {
    }
    snprintf (path, sizeof path, "%s/m.box", base);
    check (access (path, F_OK) == -1 && errno == ENOENT, "and the group is gone");

    check (cgroup_make ("f.box", &(struct cgroup_limits){ 0 }, &e) == 0, "a group without limits");
    check (cgroup_freeze ("g.box", true) == -1 && !cgroup_frozen ("g.box"), "one that is not there cannot be frozen");
    *n = 0;
    pid_t spinner = in_group ("f.box", spin, n);
    check (runs (n), "a process runs");
    check (!cgroup_frozen ("f.box") && cgroup_freeze ("f.box", true) == 0 && cgroup_frozen ("f.box"), "it is frozen");
    check (stands (n), "and does nothing");
    check (cgroup_freeze ("f.box", false) == 0 && !cgroup_frozen ("f.box") && runs (n), "thawed it runs again");
    check (cgroup_freeze ("f.box", true) == 0, "frozen once more");
    cgroup_sweep ();
    check (WIFSIGNALED (status_of (spinner)), "a sweep kills what is frozen");
    cgroup_leave ();
    check (access (base, F_OK) == -1 && strcmp (cgroup_kind (), "none") == 0, "nothing of ours is left");
}

int main (void)
{
    setvbuf (stdout, NULL, _IOLBF, 0);
    if (getpid () != 1) {
        fputs ("to be booted by tests/e2e/51-cgroup2.sh\n", stderr);
        return 77;
    }
    static const char *const dirs[] = { "/proc", "/sys", "/dev", "/state", "/tmp" };
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++)
        mkdir (dirs[i], 0755);
    mount ("proc", "/proc", "proc", 0, NULL);
    mount ("sysfs", "/sys", "sysfs", 0, NULL);
    check (mount ("cgroup2", ROOT, "cgroup2", 0, NULL) == 0, "version 2 is mounted");
    /* counted by a process of ours that is not in the groups */
    int fd = open ("/tmp/n", O_RDWR | O_CREAT, 0600);
    volatile long *n = fd != -1 && ftruncate (fd, 4096) == 0 ? mmap (NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
    check (n != MAP_FAILED, "a shared page");
    look ("", "/state", n);
    /* and delegated, as by systemd: a group of a service with the controllers handed down, and us in it */
    check (write_to (ROOT "/cgroup.subtree_control", "+memory +pids +cpu") && mkdir (ROOT "/svc", 0755) == 0 && write_to (ROOT "/svc/cgroup.procs", "1"), "a service's group");
    look ("/svc", "/state", n);
    check (holds ("/proc/self/cgroup", "0::/svc/assay-self"), "we are in a leaf of our own");
    look ("/svc", "/state", n);
    /* a group that no controllers are handed down to: refused, with the reason */
    struct err e = ERR_INIT;
    check (mkdir (ROOT "/bare", 0755) == 0 && mkdir (ROOT "/bare/in", 0755) == 0 && write_to (ROOT "/bare/in/cgroup.procs", "1"), "a group that nothing is handed down to");
    check (cgroup_setup ("/state", &e) == -1 && strstr (e.msg, "delegated") && strcmp (cgroup_kind (), "none") == 0, "is refused, with what to do");
    check (write_to (ROOT "/cgroup.procs", "1") && rmdir (ROOT "/svc/assay-self") == 0 && rmdir (ROOT "/svc") == 0, "all can be taken down again");
    if (wrong)
        printf ("cgroup2: %d of %d checks do not hold\n", wrong, checks);
    else
        printf ("cgroup2: all %d checks hold\n", checks);
    fflush (stdout);
    sync ();
    reboot (RB_AUTOBOOT);
    return 0;
}
