#include "config.h"

#include "worker/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/cgroup.h"
#include "worker/machine.h"
#include "worker/sandbox.h"
#include "worker/trial.h"

struct finding {
    const char *name;
    bool ok;
    char detail[300], advice[300];
};

static const char *const found_where[] = { "/usr/bin", "/usr/local/bin", "/bin", "/usr/sbin", "/sbin", "/usr/libexec" };

static bool program (const char *name, char *path, size_t size)
{
    for (size_t i = 0; i < sizeof found_where / sizeof *found_where; i++) {
        snprintf (path, size, "%s/%s", found_where[i], name);
        if (access (path, X_OK) == 0)
            return true;
    }
    return false;
}

/* "what: why (what to do)"; the line has its own name for what. */
static void split (struct finding *f, const char *text)
{
    static const char *const known[] = { "isolation qemu: ", "isolation bwrap: ", "KVM: " };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (strncmp (text, known[i], strlen (known[i])) == 0)
            text += strlen (known[i]);
    const char *bracket = strrchr (text, '('), *end = text + strlen (text);
    bool told = bracket && bracket > text && bracket[-1] == ' ' && end[-1] == ')';
    if (told)
        snprintf (f->advice, sizeof f->advice, "%.*s", (int) (end - bracket - 2), bracket + 1);
    snprintf (f->detail, sizeof f->detail, "%.*s", (int) (told ? bracket - 1 - text : end - text > 280 ? 280 : end - text), text);
}

static void look_kvm (struct finding *f, const struct conf *conf, const char *state)
{
    struct standing s;
    int64_t began = time_mono_ms ();
    vm_kvm_forget (state);
    vm_kvm_machine (state, &s);
    f->ok = s.what == STANDING_WORKS;
    if (f->ok)
        snprintf (f->detail, sizeof f->detail, "a virtual CPU did its work in %lld ms", (long long) (time_mono_ms () - began));
    else
        split (f, s.why);
    if (!f->ok && !*f->advice)
        snprintf (f->advice, sizeof f->advice, "run the worker on a machine that is no virtual one, or with nested virtualisation; %s",
                  conf->emulation ? "until then VMs are emulated (slow)" : "or set emulation = yes in worker.ini, and VMs are emulated (slow)");
}

static void look_emulation (struct finding *f, const struct conf *conf)
{
    char path[PATH_MAX];
    f->ok = program ("qemu-system-x86_64", path, sizeof path);
    snprintf (f->detail, sizeof f->detail, "%.200s%s", f->ok ? path : "there is no qemu-system-x86_64", !f->ok ? "" : conf->emulation ? ", allowed (emulation = yes)" : ", not allowed (emulation = no)");
    if (!f->ok)
        snprintf (f->advice, sizeof f->advice, "install qemu-system-x86");
}

static void look_driver (struct finding *f, unsigned kind, const struct conf *conf, const char *state)
{
    struct err e = ERR_INIT;
    f->ok = sandbox_probe (kind, conf, state, &e) == 0;
    if (f->ok)
        snprintf (f->detail, sizeof f->detail, "%.280s", sandbox_version (kind));
    else
        split (f, e.msg);
}

/* place: its path is the key of the groups: not those of a worker that runs */
static void look_cgroups (struct finding *f, const char *place)
{
    struct err e = ERR_INIT;
    f->ok = cgroup_setup (place, &e) == 0 && cgroup_make ("probe", &(struct cgroup_limits){ 64 << 20, 16, 1, 0, false }, &e) == 0;
    if (f->ok) {
        bool freezes = cgroup_freeze ("probe", true) == 0;
        snprintf (f->detail, sizeof f->detail, "%s: memory and processes can be limited, steps can%s be frozen", cgroup_kind (), freezes ? "" : "not");
        if (strcmp (cgroup_kind (), "v1") == 0)
            snprintf (f->advice, sizeof f->advice, "version 2 needs no root: boot with systemd.unified_cgroup_hierarchy=1, and Delegate=yes in the worker's unit");
    } else
        split (f, e.msg);
}

/* Our own null job, in a VM of an image that is here: the only proof. What came of it is known to a worker that runs. */
static void look_vm (struct finding *f, const struct conf *conf, const char *state, const char *place, bool groups)
{
    struct err e = ERR_INIT;
    char *image CLEANUP (free_ptr) = NULL, *dir CLEANUP (free_ptr) = xasprintf ("%s/vm", place);
    enum vm_accel accel = VM_NONE;
    int64_t ms = 0;
    if (!groups && conf->require_cgroups)
        snprintf (f->detail, sizeof f->detail, "not tried: there are no control groups to hold it in");
    else if (!(image = vm_image_here (state))) {
        snprintf (f->detail, sizeof f->detail, "not tried yet: no image with a kernel is here");
        snprintf (f->advice, sizeof f->advice, "run a step in a VM, which fetches one, and probe again");
    }
    else if (trial_run (&(struct trial_opts){ conf, state, image, dir, "vm" }, &accel, &ms, &e) == 0) {
        f->ok = true;
        snprintf (f->detail, sizeof f->detail, "a null job ran in a VM of image %.12s, %s, in %lld ms", strrchr (image, '/') + 1, accel == VM_KVM ? "under KVM" : "emulated", (long long) ms);
    } else
        split (f, e.msg);
}

/* In a child: may it have a user namespace with a mount namespace in it? */
static void look_namespaces (struct finding *f)
{
    int status = 0;
    pid_t pid = fork ();
    if (pid == 0) {
        prctl (PR_SET_PDEATHSIG, SIGKILL);
        if (geteuid () == 0 && (setgid (65534) == -1 || setuid (65534) == -1))
            _exit (2);
        _exit (unshare (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) == 0 ? 0 : 1);
    }
    while (pid > 0 && waitpid (pid, &status, 0) == -1 && errno == EINTR) {
    }
    f->ok = pid > 0 && WIFEXITED (status) && WEXITSTATUS (status) == 0;
    snprintf (f->detail, sizeof f->detail, "%s", f->ok ? "user, mount, pid, net, ipc and uts namespaces without privileges" : "an unprivileged user gets no user namespace");
    if (!f->ok)
        snprintf (f->advice, sizeof f->advice, "sysctl kernel.unprivileged_userns_clone=1 and kernel.apparmor_restrict_unprivileged_userns=0, where there are such");
}

static bool filesystem (const char *name)
{
    char line[128];
    bool found = false;
    FILE *f = fopen ("/proc/filesystems", "re");
    while (f && !found && fgets (line, sizeof line, f)) {
        char *last = strrchr (line, '\t');
        line[strcspn (line, "\n")] = '\0';
        found = last && strcmp (last + 1, name) == 0;
    }
    if (f)
        fclose (f);
    return found;
}

static void look_images (struct finding *f)
{
    char path[PATH_MAX];
    int control CLEANUP (fd_close) = open ("/dev/loop-control", O_RDWR | O_CLOEXEC);
    bool loop = control != -1 && ioctl (control, LOOP_CTL_GET_FREE) >= 0, squashfs = filesystem ("squashfs"), fuse = access ("/dev/fuse", R_OK | W_OK) == 0 && program ("squashfuse", path, sizeof path),
         unpack = program ("unsquashfs", path, sizeof path), overlay = filesystem ("overlay");
    f->ok = overlay && ((loop && squashfs) || fuse || unpack);
    snprintf (f->detail, sizeof f->detail, "%s%s", loop && squashfs ? "squashfs on loop devices" : fuse ? "squashfuse" : unpack ? "unpacked by unsquashfs (slow)" : "images cannot be opened",
              overlay ? ", overlayfs above" : ", no overlayfs");
    if (!overlay)
        snprintf (f->advice, sizeof f->advice, "modprobe overlay");
    else if (!(loop && squashfs))
        snprintf (f->advice, sizeof f->advice, "%s", geteuid () == 0 ? "modprobe loop squashfs" : "install squashfuse, and let the worker's user use /dev/fuse");
}

static void look_disk (struct finding *f, const struct conf *conf, const char *state)
{
    struct statvfs fs;
    char place[PATH_MAX];
    snprintf (place, sizeof place, "%s", state);
    while (statvfs (place, &fs) == -1 && strrchr (place, '/') && strrchr (place, '/') != place)
        *strrchr (place, '/') = '\0'; /* a worker that was never started has no folder yet */
    int64_t free_bytes = statvfs (place, &fs) == 0 ? (int64_t) fs.f_bavail * (int64_t) fs.f_frsize : 0;
    f->ok = free_bytes > conf->free_disk;
    snprintf (f->detail, sizeof f->detail, "%lld M free at %.200s, floor %lld M, images up to %lld M", (long long) (free_bytes >> 20), place, (long long) (conf->free_disk >> 20),
              (long long) (conf->image_cache >> 20));
    if (!f->ok)
        snprintf (f->advice, sizeof f->advice, "make room, or lower free-disk in worker.ini");
    else if (free_bytes - conf->free_disk < conf->image_cache)
        snprintf (f->advice, sizeof f->advice, "image-cache does not fit: lower it, or make room");
}

static void look_memory (struct finding *f, const struct conf *conf, bool vms)
{
    char line[128];
    long long total = 0, v;
    FILE *in = fopen ("/proc/meminfo", "re");
    while (in && !total && fgets (line, sizeof line, in))
        if (sscanf (line, "MemTotal: %lld kB", &v) == 1)
            total = v * 1024;
    if (in)
        fclose (in);
    /* as much as any project may have; a VM has its kernel and its emulator beside the step */
    long long most = 0, memory = 0;
    for (int i = -1; i < (int) conf->project_count; i++) {
        struct conf c;
        conf_for_section (conf, i, &c);
        long long one = vms ? vm_memory (&c) / 1024 + VM_OVERHEAD / 1024 : c.memory / 1024 + c.disk / 1024;
        most = one > most ? one : most;
        memory = c.memory > memory ? c.memory : memory;
        conf_release (&c);
    }
    long long want = most > INT64_MAX / 1024 / conf->steps ? INT64_MAX : most * 1024 * conf->steps;
    f->ok = total >= memory;
    snprintf (f->detail, sizeof f->detail, "%lld M; %lld step%s may use %lld M (memory and disk: the work area is in memory%s)", total >> 20, (long long) conf->steps, conf->steps == 1 ? "" : "s", want >> 20,
              vms ? "; and what a VM takes" : "");
    if (want > total)
        snprintf (f->advice, sizeof f->advice, "lower steps, memory or disk in worker.ini: together they are more than there is");
}

static void look_idle (struct finding *f, const struct conf *conf, const char *state)
{
    struct limits_seen s;
    machine_look (&s, &(struct machine_opts){ "", state, true });
    const char *busy = limits_busy (conf, &s);
    f->ok = s.pressure >= 0;
    snprintf (f->detail, sizeof f->detail, "load %.2f on %d CPUs; pressure %s; %s; %s%s%s", s.load, s.cpus, s.pressure >= 0 ? "is known" : "is not known",
              s.user_idle_ms < 0 ? "nobody is logged in" : "users are seen", s.battery ? "on battery" : "on mains", busy ? "; now: " : "", busy ? busy : "");
    if (!f->ok)
        snprintf (f->advice, sizeof f->advice, "boot with psi=1, so that idle-only sees who waits for what");
}

static void look_priority (struct finding *f)
{
    int status = 0;
    pid_t pid = fork ();
    if (pid == 0) {
        int idle = sched_setscheduler (0, SCHED_IDLE, &(struct sched_param){ 0 }) == 0 ? 0 : 1;
        _exit (idle | (syscall (SYS_ioprio_set, 1, 0, 3 << 13) == 0 ? 0 : 2));
    }
    while (pid > 0 && waitpid (pid, &status, 0) == -1 && errno == EINTR) {
    }
    int lacks = pid > 0 && WIFEXITED (status) ? WEXITSTATUS (status) : 3;
    f->ok = !lacks;
    snprintf (f->detail, sizeof f->detail, "cpu-priority = idle %s, io-priority = idle %s", lacks & 1 ? "does not work" : "works", lacks & 2 ? "does not" : lacks & 1 ? "does" : "too");
    if (lacks & 1)
        snprintf (f->advice, sizeof f->advice, "set cpu-priority = normal in worker.ini");
}

static void look_git (struct finding *f)
{
    char path[PATH_MAX];
    f->ok = program ("git", path, sizeof path);
    snprintf (f->detail, sizeof f->detail, "%.200s", f->ok ? path : "there is no git");
    if (!f->ok)
        snprintf (f->advice, sizeof f->advice, "install git");
}

bool probe_print (const struct conf *conf, const char *state, bool json)
{
    enum { KVM, VM, EMULATION, QEMU, BWRAP, NAMESPACES, CGROUPS, IMAGES, DISK, MEMORY, PRIORITY, IDLE, GIT, COUNT };
    static const char *const names[COUNT] = { "kvm", "vm", "emulation", "qemu", "bwrap", "namespaces", "cgroups", "images", "disk", "memory", "priority", "idle", "git" };
    struct finding f[COUNT];
    memset (f, 0, sizeof f);
    for (int i = 0; i < COUNT; i++)
        f[i].name = names[i];
    char place[] = "/tmp/assay-probe.XXXXXX";
    bool placed = mkdtemp (place) != NULL;
    look_kvm (&f[KVM], conf, state);
    if (placed)
        look_cgroups (&f[CGROUPS], place);
    else
        snprintf (f[CGROUPS].detail, sizeof f[CGROUPS].detail, "/tmp: %s", strerror (errno));
    if (placed)
        look_vm (&f[VM], conf, state, place, f[CGROUPS].ok);
    cgroup_leave ();
    if (placed)
        file_remove_tree (place, NULL);
    look_emulation (&f[EMULATION], conf);
    look_driver (&f[QEMU], ISOLATION_QEMU, conf, state);
    look_driver (&f[BWRAP], ISOLATION_BWRAP, conf, state);
    look_namespaces (&f[NAMESPACES]);
    look_images (&f[IMAGES]);
    look_disk (&f[DISK], conf, state);
    look_priority (&f[PRIORITY]);
    look_idle (&f[IDLE], conf, state);
    look_git (&f[GIT]);
    unsigned offered = sandbox_offer (conf, state, NULL, NULL), listed[CONF_DRIVERS];
    look_memory (&f[MEMORY], conf, offered & ISOLATION_QEMU);
    const bool against[COUNT] = { [DISK] = !f[DISK].ok, [GIT] = !f[GIT].ok, [MEMORY] = !f[MEMORY].ok, [CGROUPS] = !f[CGROUPS].ok && conf->require_cgroups,
                                  [IMAGES] = offered == ISOLATION_BWRAP && !f[IMAGES].ok };
    BUF (why);
    for (size_t i = 0, n = offered ? 0 : conf_drivers (conf, listed); i < n; i++)
        buf_addf (&why, "%s%s", why.len ? ", " : "", isolation_name (listed[i]));
    for (int i = 0; i < COUNT; i++)
        if (against[i])
            buf_addf (&why, "%s%s", why.len ? ", " : "", f[i].name);
    bool works = !why.len;
    for (int i = 0; i < COUNT; i++)
        if (json) {
            json_t *o = json_pack ("{s:s, s:b, s:s}", "name", f[i].name, "ok", f[i].ok, "detail", f[i].detail);
            if (*f[i].advice)
                json_object_set_new (o, "advice", json_string (f[i].advice));
            json_dumpf (o, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
            putchar ('\n');
            json_decref (o);
        } else {
            printf ("%-11s %-4s %s\n", f[i].name, f[i].ok ? "yes" : "no", f[i].detail);
            if (*f[i].advice)
                printf ("%-11s %-4s to change it: %s\n", "", "", f[i].advice);
        }
    if (json) {
        json_t *o = json_pack ("{s:s, s:b, s:s}", "name", "worker", "ok", works, "detail", conf->isolation);
        if (!works)
            json_object_set_new (o, "advice", json_sprintf ("see %s", buf_str (&why)));
        json_dumpf (o, stdout, JSON_COMPACT | JSON_PRESERVE_ORDER);
        putchar ('\n');
        json_decref (o);
    } else if (works)
        printf ("\nA worker with these settings (isolation %s) can work here.\n", conf->isolation);
    else
        printf ("\nA worker with these settings (isolation %s) cannot work here: see %s.\n", conf->isolation, buf_str (&why));
    return works;
}
