/* Namespaces by bubblewrap over a root made here: image below, one sized tmpfs above, all in a mount namespace of this process.
 *
 * The process that runs the step has its own mount namespace, so every mount goes with it, whatever kills it. bwrap itself runs
 * as the step's unprivileged user, which need not be able to reach the worker's folder: all that it binds is below AREA.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <jansson.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/args.h"
#include "worker/cgroup.h"
#include "worker/sandbox_impl.h"
#include "worker/seccomp.h"

#define INSIDE "1000" /* user and group id that a step sees */

#define VERSION_ENV "ASSAY_BWRAP_VERSION"

static const char *bwrap_path (void)
{
    const char *p = getenv ("ASSAY_BWRAP");
    return p ? p : "bwrap";
}

static const char *version (void)
{
    static char text[64];
    const char *known = getenv (VERSION_ENV); /* the worker asked once, for all its steps */
    if (!*text && known)
        snprintf (text, sizeof text, "%s", known);
    if (!*text) {
        FILE *f = popen ("bwrap --version 2>/dev/null", "re");
        char v[32] = "";
        if (!f || fscanf (f, "bubblewrap %31s", v) != 1)
            v[0] = '\0';
        if (f)
            pclose (f);
        snprintf (text, sizeof text, "bwrap-%s", *v ? v : "absent");
        setenv (VERSION_ENV, text, 1);
    }
    return text;
}

static int probe (const struct conf *conf, struct err *e)
{
    (void) conf;
    unsetenv (VERSION_ENV);
    if (strcmp (version (), "bwrap-absent") == 0)
        return err_set (e, ERR_FAILED, "isolation bwrap: the program bwrap is not there (install bubblewrap)");
    int fd = seccomp_filter_fd (e);
    if (fd == -1)
        return -1;
    close (fd);
    pid_t pid = fork ();
    int status = 0;
    if (pid == 0) {
        int null = open ("/dev/null", O_RDWR | O_CLOEXEC);
        dup2 (null, 0), dup2 (null, 1), dup2 (null, 2);
        if (geteuid () == 0 && (setgroups (0, NULL) || setresgid (65534, 65534, 65534) || setresuid (65534, 65534, 65534)))
            _exit (125);
        execlp (bwrap_path (), "bwrap", "--unshare-user", "--unshare-all", "--disable-userns", "--cap-drop", "ALL", "--ro-bind", "/", "/", "--proc", "/proc", "--", "/bin/sh", "-c",
                "exit 7", (char *) NULL);
        _exit (126);
    }
    if (pid == -1 || waitpid (pid, &status, 0) == -1 || !WIFEXITED (status) || WEXITSTATUS (status) != 7)
        return err_set (e, ERR_FAILED, "isolation bwrap: namespaces do not work here (allow unprivileged user namespaces: sysctl kernel.unprivileged_userns_clone=1)");
    return 0;
}

static bool put_file (const char *path, const char *text)
{
    int fd = open (path, O_WRONLY | O_CLOEXEC);
    bool ok = fd != -1 && write (fd, text, strlen (text)) == (ssize_t) strlen (text);
    if (fd != -1)
        close (fd);
    return ok;
}

/* A folder of the system that everyone may pass and under which nothing of ours is: the area goes over it, in our namespace only. */
static const char *area_place (const char *dir)
{
    static const char *const places[] = { "/mnt", "/media", "/srv", "/opt", "/boot" };
    char real[PATH_MAX];
    struct stat st;
    if (!realpath (dir, real))
        return NULL;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        size_t n = strlen (places[i]);
        if (stat (places[i], &st) == 0 && S_ISDIR (st.st_mode) && !(strncmp (real, places[i], n) == 0 && (real[n] == '/' || !real[n])))
            return places[i];
    }
    return NULL;
}

static int enter (const char *dir, struct err *e)
{
    (void) dir;
    uid_t uid = geteuid ();
    gid_t gid = getegid ();
    if (unshare (uid == 0 ? CLONE_NEWNS : CLONE_NEWNS | CLONE_NEWUSER) == -1)
        return err_errno (e, "isolation bwrap: a mount namespace");
    if (uid != 0) {
        char map[64];
        snprintf (map, sizeof map, "0 %u 1", uid);
        if (!put_file ("/proc/self/setgroups", "deny") || !put_file ("/proc/self/uid_map", map))
            return err_errno (e, "isolation bwrap: a user namespace");
        snprintf (map, sizeof map, "0 %u 1", gid);
        if (!put_file ("/proc/self/gid_map", map))
            return err_errno (e, "isolation bwrap: a user namespace");
    }
    if (mount (NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) == -1)
        return err_errno (e, "isolation bwrap: a mount namespace");
    return 0;
}

static int bwrap_open (struct sandbox *box, struct err *e)
{
    const char *place = area_place (box->o.dir);
    char opts[PATH_MAX], path[PATH_MAX];
    uid_t uid = sandbox_user (box);
    if (!place)
        return err_set (e, ERR_FAILED, "isolation bwrap: no place for the work area (one of /mnt, /media, /srv, /opt must exist)");
    snprintf (opts, sizeof opts, "size=%lld,nr_inodes=%lld,mode=0755", (long long) box->disk, (long long) box->o.conf->files);
    if (mount ("assay", place, "tmpfs", MS_NOSUID | MS_NODEV, opts) == -1)
        return err_errno (e, "isolation bwrap: the work area");
    box->area = xstrdup (place);
    box->src = xasprintf ("%s/src", place);
    box->out = xasprintf ("%s/out", place);
    static const struct { const char *name; mode_t mode; bool theirs; } dirs[] = {
        { "src", 0755, true }, { "out", 0755, true }, { "in", 0755, false }, { "lower", 0755, false }, { "root", 0755, false }, { "work", 0700, false },
        { "upper", 0755, false }, { "upper/src", 0755, false }, { "upper/out", 0755, false }, { "upper/in", 0755, false }, { "upper/proc", 0755, false },
        { "upper/dev", 0755, false }, { "upper/tmp", 01777, false }, { "upper/home", 0755, false }, { "upper/home/build", 0755, true },
        { "upper/sys", 0755, false }, { "upper/sys/devices", 0755, false }, { "upper/sys/devices/system", 0755, false }, { "upper" SANDBOX_CPUS, 0755, false } };
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        snprintf (path, sizeof path, "%s/%s", place, dirs[i].name);
        if (mkdir (path, 0755) == -1 || chmod (path, dirs[i].mode) == -1 || (dirs[i].theirs && uid && chown (path, uid, uid) == -1))
            return err_errno (e, "isolation bwrap: %s", path);
    }
    /* What libraries take for the machine's CPUs, here and in a VM: without it they would count those of /proc/stat, which is the host's. */
    static const char *const cpus[] = { "online", "possible", "present" };
    char text[32];
    sandbox_cpus (box, text);
    for (size_t i = 0; i < sizeof cpus / sizeof *cpus; i++) {
        snprintf (path, sizeof path, "%s/upper" SANDBOX_CPUS "/%s", place, cpus[i]);
        int fd CLEANUP (fd_close) = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd == -1 || !file_write_all (fd, text, strlen (text)) || fchmod (fd, 0644) == -1)
            return err_errno (e, "isolation bwrap: %s", path);
    }
    snprintf (path, sizeof path, "%s/lower", place);
    if (mount (box->o.image, path, NULL, MS_BIND, NULL) == -1)
        return err_errno (e, "isolation bwrap: the image %s", box->o.image);
    if (box->o.relay) { /* over what the image may have of it */
        BUF (hosts);
        relay_hosts (box->o.relay, &hosts);
        snprintf (path, sizeof path, "%s/upper/etc", place);
        if (mkdir (path, 0755) == -1)
            return err_errno (e, "isolation bwrap: %s", path);
        snprintf (path, sizeof path, "%s/upper/etc/hosts", place);
        int fd CLEANUP (fd_close) = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
        if (fd == -1 || !file_write_all (fd, hosts.p, hosts.len))
            return err_errno (e, "isolation bwrap: %s", path);
    }
    snprintf (opts, sizeof opts, "lowerdir=%s/lower,upperdir=%s/upper,workdir=%s/work%s", place, place, place, uid ? "" : ",userxattr");
    snprintf (path, sizeof path, "%s/root", place);
    if (mount ("assay", path, "overlay", MS_NOSUID | MS_NODEV, opts) == -1)
        return err_errno (e, "isolation bwrap: the writable layer over the image");
    if (box->o.inputs) {
        snprintf (path, sizeof path, "%s/in", place);
        if (sandbox_own (box->o.inputs, -1, (int64_t) box->o.source_date, e) == -1)
            return -1;
        if (mount (box->o.inputs, path, NULL, MS_BIND, NULL) == -1)
            return err_errno (e, "isolation bwrap: the inputs");
    }
    return 0;
}

static int spawn (struct sandbox *box, int log_fd, int status_fd, pid_t *pid, struct err *e)
{
    ARGS (a);
    char path[PATH_MAX], **env = sandbox_env (box), *run = bytes_dup (box->o.step->run);
    uid_t uid = sandbox_user (box);
    int rc = -1, filter = seccomp_filter_fd (e), net[2] = { -1, -1 };
    *pid = -1;
    if (filter == -1)
        goto out;
    if (box->o.relay && socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, net) == -1) {
        err_errno (e, "sandbox: socketpair");
        goto out;
    }
    if (uid && sandbox_own (box->src, uid, -1, e) == -1)
        goto out;
    args_add (&a, "bwrap", NULL);
    if (box->o.relay) /* the network namespace is made here, with the relay's listeners in it, and handed down */
        args_add (&a, "--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-uts", "--unshare-cgroup-try", "--disable-userns", NULL);
    else
        args_add (&a, "--unshare-user", "--unshare-all", "--disable-userns", NULL);
    args_add (&a, "--new-session", "--die-with-parent", "--clearenv", NULL);
    args_add (&a, "--cap-drop", "ALL", NULL);
    args_add (&a, "--uid", INSIDE, NULL);
    args_add (&a, "--gid", INSIDE, NULL);
    args_add (&a, "--hostname", "build", NULL);
    for (char **v = env; *v; v++) {
        char *eq = strchr (*v, '=');
        *eq = '\0';
        args_add (&a, "--setenv", *v, eq + 1, NULL);
        *eq = '=';
    }
    snprintf (path, sizeof path, "%s/root", box->area);
    args_add (&a, "--bind", path, "/", NULL);
    args_add (&a, "--proc", "/proc", NULL);
    args_add (&a, "--dev", "/dev", NULL);
    snprintf (path, sizeof path, "%lld", (long long) box->disk);
    args_add (&a, "--size", path, NULL);
    args_add (&a, "--tmpfs", "/dev/shm", NULL);
    args_add (&a, "--bind", box->src, "/src", NULL);
    args_add (&a, "--bind", box->out, "/out", NULL);
    snprintf (path, sizeof path, "%s/in", box->area);
    args_add (&a, "--ro-bind", path, "/in", NULL);
    args_add (&a, "--chdir", "/src", NULL);
    args_add (&a, "--seccomp", "3", NULL);
    args_add (&a, "--json-status-fd", "4", NULL);
    args_add (&a, "--", "/bin/sh", "-ec", NULL);
    args_add (&a, run, NULL);
    pid_t parent = getpid ();
    *pid = fork ();
    if (*pid == 0) {
        sigset_t none;
        int null = open ("/dev/null", O_RDWR | O_CLOEXEC);
        char *clean[] = { (char *) "PATH=/usr/local/bin:/usr/bin:/bin", NULL };
        sigemptyset (&none);
        sigprocmask (SIG_SETMASK, &none, NULL);
        /* Copies above 9 first, so that no dup2 lands on a source. */
        int f = fcntl (filter, F_DUPFD, 10), s = fcntl (status_fd, F_DUPFD, 10), l = fcntl (log_fd, F_DUPFD, 10), z = fcntl (null, F_DUPFD, 10);
        if (sandbox_confine (box) == -1) {
            dprintf (s, "{\"assay\":\"confine: %s\"}\n", strerror (errno));
            _exit (125);
        }
        if (box->o.relay && relay_netns (box->o.relay, net[1]) == -1) {
            dprintf (s, "{\"assay\":\"network: %s\"}\n", strerror (errno));
            _exit (125);
        }
        if (uid && (setgroups (0, NULL) || setresgid (uid, uid, uid) || setresuid (uid, uid, uid)))
            _exit (125);
        if (dup2 (z, 0) == -1 || dup2 (l, 1) == -1 || dup2 (l, 2) == -1 || dup2 (f, 3) == -1 || dup2 (s, 4) == -1 || close_range (5, ~0u, 0) == -1
            || prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
            _exit (125);
        /* bwrap asks for this too, but only once it runs: a parent killed before that would leave it behind */
        if (prctl (PR_SET_PDEATHSIG, SIGKILL) == -1 || getppid () != parent)
            _exit (125);
        environ = clean;
        execvp (bwrap_path (), a.v);
        _exit (126);
    }
    rc = *pid == -1 ? err_errno (e, "sandbox: fork") : 0;
    fd_close (&net[1]);
    if (rc == 0 && box->o.relay)
        rc = relay_start (&box->relay, box->o.relay, net[0], e);
out:
    fd_close (&net[0]);
    fd_close (&net[1]);
    fd_close (&filter);
    free (run);
    sandbox_env_free (env);
    return rc;
}

/* bwrap's own exit status does not tell its failures from the command's: only its status pipe does. */
static int ended (struct sandbox *box, const char *status, int wait, struct sandbox_run *run, struct err *e)
{
    const char *at = strstr (status, "\"exit-code\"");
    (void) box;
    if (at && (at = strchr (at, ':'))) {
        long v = strtol (at + 1, NULL, 10);
        if (v >= 0 && v <= 255) {
            run->exit_status = (unsigned) v;
            return 0;
        }
    }
    if (strstr (status, "\"child-pid\"") && WIFSIGNALED (wait)) { /* killed with everything in it, as for memory */
        run->exit_status = 128u + (unsigned) WTERMSIG (wait);
        return 0;
    }
    return err_set (e, ERR_FAILED, "the sandbox did not start: %s%.200s (status %d)", "bwrap ", *status ? status : "said nothing", wait);
}

static void bwrap_close (struct sandbox *box)
{
    if (!box->area)
        return;
    /* With all that is mounted below it; lazily, as the namespace ends with this process anyway. */
    umount2 (box->area, MNT_DETACH);
}

const struct sandbox_driver sandbox_bwrap = { .name = "bwrap", .kind = ISOLATION_BWRAP, .probe = probe, .version = version, .enter = enter, .open = bwrap_open, .spawn = spawn,
                                              .ended = ended, .close = bwrap_close, .relays = true };
