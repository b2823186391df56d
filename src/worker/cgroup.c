#include "config.h"

#include "worker/cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"

#define ROOT "/sys/fs/cgroup"
enum { V1_MEMORY, V1_PIDS, V1_CPU, V1_FREEZER, V1_COUNT };
static const char *const v1_names[V1_COUNT] = { "memory", "pids", "cpu", "freezer" };

static int version;                 /* 0: none */
static char base[V1_COUNT][512];    /* folders of our groups; v2 uses the first */
static int bases;

static int put (const char *dir, const char *name, const char *file, const char *value)
{
    char path[PATH_MAX];
    snprintf (path, sizeof path, "%s%s%s/%s", dir, *name ? "/" : "", name, file);
    int fd = open (path, O_WRONLY | O_CLOEXEC);
    if (fd == -1)
        return -1;
    ssize_t n = write (fd, value, strlen (value));
    int saved = errno;
    close (fd);
    errno = saved;
    return n == (ssize_t) strlen (value) ? 0 : -1;
}

static bool get (const char *dir, const char *name, const char *file, char *out, size_t size)
{
    char path[PATH_MAX];
    snprintf (path, sizeof path, "%s%s%s/%s", dir, *name ? "/" : "", name, file);
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd == -1 ? -1 : read (fd, out, size - 1);
    if (fd != -1)
        close (fd);
    out[n > 0 ? n : 0] = '\0';
    return n >= 0;
}

/* Our path in a hierarchy, from /proc/self/cgroup; controller "" is v2. */
static bool own_path (const char *controller, char *out, size_t size)
{
    char line[1024];
    bool found = false;
    FILE *f = fopen ("/proc/self/cgroup", "re");
    while (f && !found && fgets (line, sizeof line, f)) {
        char *list = strchr (line, ':'), *path = list ? strchr (list + 1, ':') : NULL;
        if (!path)
            continue;
        *path++ = '\0';
        path[strcspn (path, "\n")] = '\0';
        if (!*controller)
            found = !list[1];
        else
            for (char *save = NULL, *w = strtok_r (list + 1, ",", &save); w && !found; w = strtok_r (NULL, ",", &save))
                found = strcmp (w, controller) == 0;
        if (found)
            found = (size_t) snprintf (out, size, "%s", strcmp (path, "/") == 0 ? "" : path) < size;
    }
    if (f)
        fclose (f);
    return found;
}

static int setup_v2 (const char *key)
{
    char path[256], have[256];
    struct statfs fs;
    if (statfs (ROOT, &fs) != 0 || fs.f_type != 0x63677270 || !own_path ("", path, sizeof path))
        return -1;
    char own[300];
    snprintf (own, sizeof own, ROOT "%s", path);
    /* A worker that runs in its own leaf (it moved there at an earlier start of this process) keeps its groups beside it. */
    char *leaf = strrchr (own, '/');
    if (leaf && strcmp (leaf, "/assay-self") == 0)
        *leaf = '\0';
    if (!get (own, "", "cgroup.controllers", have, sizeof have) || !strstr (have, "memory") || !strstr (have, "pids"))
        return -1;
    /* No process may sit in a group that hands controllers down: move ourselves into a leaf. */
    char self[400], pid[32];
    snprintf (self, sizeof self, "%s/assay-self", own);
    if (strcmp (path, "") != 0) {
        if (mkdir (self, 0755) == -1 && errno != EEXIST)
            return -1;
        snprintf (pid, sizeof pid, "%d", (int) getpid ());
        if (put (self, "", "cgroup.procs", pid) == -1)
            return -1;
    }
    if (put (own, "", "cgroup.subtree_control", "+memory +pids") == -1)
        return -1;
    put (own, "", "cgroup.subtree_control", "+cpu");
    put (own, "", "cgroup.subtree_control", "+io");
    snprintf (base[0], sizeof base[0], "%s/assay-%s", own, key);
    if (mkdir (base[0], 0755) == -1 && errno != EEXIST)
        return -1;
    if (put (base[0], "", "cgroup.subtree_control", "+memory +pids") == -1)
        return -1;
    put (base[0], "", "cgroup.subtree_control", "+cpu");
    bases = 1;
    return 0;
}

static int setup_v1 (const char *key)
{
    for (int i = 0; i < V1_COUNT; i++) {
        char path[256];
        if (!own_path (v1_names[i], path, sizeof path))
            return -1;
        snprintf (base[i], sizeof base[i], ROOT "/%s%s/assay-%s", v1_names[i], path, key);
        if (mkdir (base[i], 0755) == -1 && errno != EEXIST) {
            /* in a container the path of /proc may not be visible: the mount's own root is ours then */
            snprintf (base[i], sizeof base[i], ROOT "/%s/assay-%s", v1_names[i], key);
            if (mkdir (base[i], 0755) == -1 && errno != EEXIST)
                return -1;
        }
    }
    bases = V1_COUNT;
    return 0;
}

int cgroup_setup (const char *state_dir, struct err *e)
{
    char real[PATH_MAX], hex[DIGEST_HEX];
    if (!realpath (state_dir, real))
        return err_errno (e, "%s", state_dir);
    struct digest d = digest_of (real, strlen (real));
    digest_hex (&d, hex);
    hex[16] = '\0';
    version = setup_v2 (hex) == 0 ? 2 : setup_v1 (hex) == 0 ? 1 : 0;
    if (!version)
        return err_set (e, ERR_FAILED,
                        "no usable cgroups: neither v2 with memory and pids delegated nor v1 (start it by systemd with Delegate=yes, or set "
                        "require-cgroups = no in worker.ini)");
    return 0;
}

const char *cgroup_kind (void)
{
    return version == 2 ? "v2" : version == 1 ? "v1" : "none";
}

static void weigh (const char *name, int64_t nice, bool idle)
{
    /* each step of niceness is a fifth less, as among processes; v2 counts from 100, v1 from 1024 */
    double share = version == 2 ? 100 : 1024;
    char v[32];
    for (int64_t i = 0; i < nice; i++)
        share *= 0.8;
    const char *dir = base[version == 2 ? 0 : V1_CPU];
    put (dir, name, "cpu.idle", "0"); /* a weight can be set only then */
    snprintf (v, sizeof v, "%d", share < 2 ? 2 : (int) share);
    put (dir, name, version == 2 ? "cpu.weight" : "cpu.shares", v);
    if (idle)
        put (dir, name, "cpu.idle", "1");
}

void cgroup_weight (int64_t nice, bool idle)
{
    if (version)
        weigh ("", nice, idle);
}

int cgroup_make (const char *name, const struct cgroup_limits *l, struct err *e)
{
    char path[PATH_MAX], v[64];
    for (int i = 0; i < bases; i++) {
        snprintf (path, sizeof path, "%s/%s", base[i], name);
        if (mkdir (path, 0755) == -1 && errno != EEXIST)
            return err_errno (e, "cgroup %s", path);
    }
    if (!version)
        return 0;
    snprintf (v, sizeof v, "%lld", (long long) l->memory);
    if (l->memory && version == 2) {
        if (put (base[0], name, "memory.max", v) == -1)
            return err_errno (e, "cgroup memory.max");
        put (base[0], name, "memory.swap.max", "0");
        put (base[0], name, "memory.oom.group", "1");
    } else if (l->memory) {
        if (put (base[V1_MEMORY], name, "memory.limit_in_bytes", v) == -1)
            return err_errno (e, "cgroup memory.limit_in_bytes");
        put (base[V1_MEMORY], name, "memory.memsw.limit_in_bytes", v);
    }
    snprintf (v, sizeof v, "%lld", (long long) l->processes);
    if (l->processes && put (base[version == 2 ? 0 : V1_PIDS], name, "pids.max", v) == -1)
        return err_errno (e, "cgroup pids.max");
    if (l->nice || l->idle)
        weigh (name, l->nice, l->idle);
    if (l->cpus) { /* a comfort beside the CPU affinity: the bandwidth controller may be absent */
        snprintf (v, sizeof v, version == 2 ? "%lld 100000" : "%lld", (long long) l->cpus * 100000);
        put (base[version == 2 ? 0 : V1_CPU], name, version == 2 ? "cpu.max" : "cpu.cfs_quota_us", v);
    }
    return 0;
}

int cgroup_enter (const char *name)
{
    /* In v1 a thread may go alone, and then the kernel need not wait (some ms) until no other process forks. Who comes here has one thread. */
    for (int i = 0; i < bases; i++)
        if (put (base[i], name, version == 1 ? "tasks" : "cgroup.procs", "0") == -1)
            return -1;
    return 0;
}

bool cgroup_oom (const char *name)
{
    char text[1024];
    if (!version || !get (base[0], name, version == 2 ? "memory.events" : "memory.oom_control", text, sizeof text))
        return false;
    const char *at = strstr (text, "oom_kill ");
    return at && atoll (at + 9) > 0;
}

bool cgroup_thrashes (const char *name, struct thrash *t)
{
    char dir[PATH_MAX];
    (void) snprintf (dir, sizeof dir, "%s/%s", base[0], name);
    return version == 2   ? thrash_look (t, time_mono_ms (), dir, "memory.current", "memory.max")
           : version == 1 ? thrash_look (t, time_mono_ms (), dir, "memory.usage_in_bytes", "memory.limit_in_bytes")
                          : false;
}

/* Does anything of ours run in it? Nothing that is not there can fork. */
static bool empty (const char *name)
{
    char any[32];
    for (int i = 0; i < bases; i++)
        if (get (base[i], name, "cgroup.procs", any, sizeof any) && *any)
            return false;
    return true;
}

/* One pass of SIGKILL over the processes in one group; how many there were. */
static int kill_pass (const char *dir, const char *name)
{
    char path[PATH_MAX], line[32];
    int n = 0;
    snprintf (path, sizeof path, "%s/%s/cgroup.procs", dir, name);
    FILE *f = fopen (path, "re");
    while (f && fgets (line, sizeof line, f)) {
        int pid = atoi (line);
        if (pid > 0 && pid != getpid ()) {
            kill (pid, SIGKILL);
            n++;
        }
    }
    if (f)
        fclose (f);
    return n;
}

void cgroup_kill (const char *name)
{
    char path[PATH_MAX];
    for (int round = 0; bases && round < 1000 && !empty (name); round++) {
        int left = 0;
        /* Frozen processes cannot fork ahead of the loop; they die when thawed. */
        if (version == 2)
            put (base[0], name, "cgroup.kill", "1");
        else
            put (base[V1_FREEZER], name, "freezer.state", "FROZEN");
        for (int i = 0; i < bases; i++)
            left += kill_pass (base[i], name);
        if (version == 1)
            put (base[V1_FREEZER], name, "freezer.state", "THAWED");
        if (!left)
            break;
        nanosleep (&(struct timespec){ 0, round < 20 ? 500000 : 10000000 }, NULL);
    }
    for (int i = 0; i < bases; i++) {
        snprintf (path, sizeof path, "%s/%s", base[i], name);
        for (int tries = 0; rmdir (path) == -1 && errno == EBUSY && tries < 200; tries++)
            nanosleep (&(struct timespec){ 0, 1000000 }, NULL);
    }
}

int cgroup_freeze (const char *name, bool frozen)
{
    return version == 2 ? put (base[0], name, "cgroup.freeze", frozen ? "1" : "0")
         : version == 1 ? put (base[V1_FREEZER], name, "freezer.state", frozen ? "FROZEN" : "THAWED")
                        : -1;
}

bool cgroup_frozen (const char *name)
{
    char text[64];
    if (version == 2)
        return get (base[0], name, "cgroup.freeze", text, sizeof text) && *text == '1';
    return version == 1 && get (base[V1_FREEZER], name, "freezer.state", text, sizeof text) && strncmp (text, "THAWED", 6) != 0;
}

void cgroup_leave (void)
{
    cgroup_sweep ();
    for (int i = 0; i < bases; i++)
        rmdir (base[i]);
    bases = version = 0;
}

void cgroup_sweep (void)
{
    for (int i = 0; i < bases; i++) {
        DIR *d = opendir (base[i]);
        for (struct dirent *en; d && (en = readdir (d));)
            if (en->d_type == DT_DIR && en->d_name[0] != '.')
                cgroup_kill (en->d_name);
        if (d)
            closedir (d);
    }
}
