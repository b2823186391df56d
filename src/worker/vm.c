#include "config.h"

#include "worker/vm.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <x86intrin.h>

#include "base/file.h"

#define VERSION_ENV "ASSAY_QEMU_VERSION"
#define KHZ_ENV "ASSAY_TSC_KHZ"

/* The very file, so that what was asked and what runs are the same. NULL: there is none; at is filled (may be NULL). */
static const char *qemu_path (struct stat *at)
{
    static const char *const places[] = { "/usr/local/bin/qemu-system-x86_64", "/usr/bin/qemu-system-x86_64", "/bin/qemu-system-x86_64" };
    const char *own = getenv ("ASSAY_QEMU");
    struct stat st;
    for (size_t i = 0; !own && i < sizeof places / sizeof *places; i++)
        if (access (places[i], X_OK) == 0)
            own = places[i];
    return own && *own == '/' && stat (own, at ? at : &st) == 0 ? own : NULL;
}

const char *vm_qemu_id (void)
{
    static char text[160];
    struct stat st;
    if (!qemu_path (&st))
        return "absent";
    (void) snprintf (text, sizeof text, "%llx-%llx-%llx-%llx.%lx-%llx.%lx", (unsigned long long) st.st_dev, (unsigned long long) st.st_ino, (unsigned long long) st.st_size,
                     (unsigned long long) st.st_mtim.tv_sec, (unsigned long) st.st_mtim.tv_nsec, (unsigned long long) st.st_ctim.tv_sec, (unsigned long) st.st_ctim.tv_nsec);
    return text;
}

const char *vm_accel_name (enum vm_accel a)
{
    return a == VM_KVM ? "kvm" : a == VM_TCG ? "tcg" : "";
}

int64_t vm_memory (const struct conf *c)
{
    int64_t step = c->memory > INT64_MAX / 4 || c->disk > INT64_MAX / 4 ? INT64_MAX / 4 : c->memory + c->disk;
    int64_t all = step + step / 48 + VM_KERNEL_MEMORY;
    return (all + (1 << 20) - 1) >> 20 << 20;
}

/* Asked once for all steps, and again when the program is another file: the answer is kept with which file gave it. */
const char *vm_version (void)
{
    static char text[64];
    const char *id = vm_qemu_id (), *known = getenv (VERSION_ENV), *path = qemu_path (NULL);
    size_t len = strlen (id);
    if (known && strncmp (known, id, len) == 0 && known[len] == ' ') {
        snprintf (text, sizeof text, "%s", known + len + 1);
        return text;
    }
    char v[32] = "", *command = xasprintf ("'%s' --version 2>/dev/null", path ? path : "false"), *entry CLEANUP (free_ptr) = NULL;
    FILE *f = popen (command, "re");
    if (!f || fscanf (f, "QEMU emulator version %31[0-9.]", v) != 1)
        v[0] = '\0';
    if (f)
        pclose (f);
    free (command);
    snprintf (text, sizeof text, "qemu-%s", *v ? v : "absent");
    entry = xasprintf ("%s %s", id, text);
    setenv (VERSION_ENV, entry, 1);
    return text;
}

int64_t vm_tsc_khz (void)
{
    const char *known = getenv (KHZ_ENV);
    int64_t khz = known ? strtoll (known, NULL, 10) : 0;
    char text[32];
    if (khz > 0)
        return khz;
    /* The best of a few: a process that is put aside between two looks at the clocks measures nonsense. */
    int64_t best = INT64_MAX;
    for (int i = 0; i < 5; i++) {
        struct timespec a, b, z;
        clock_gettime (CLOCK_MONOTONIC_RAW, &z);
        uint64_t from = __rdtsc ();
        clock_gettime (CLOCK_MONOTONIC_RAW, &a);
        nanosleep (&(struct timespec){ 0, 10000000 }, NULL);
        uint64_t to = __rdtsc ();
        clock_gettime (CLOCK_MONOTONIC_RAW, &b);
        int64_t slack = (a.tv_sec - z.tv_sec) * 1000000000 + a.tv_nsec - z.tv_nsec, ns = (b.tv_sec - a.tv_sec) * 1000000000 + b.tv_nsec - a.tv_nsec;
        if (slack < best && ns > 0 && to > from) {
            best = slack;
            khz = (int64_t) ((double) (to - from) * 1e6 / (double) ns);
        }
    }
    snprintf (text, sizeof text, "%lld", (long long) khz);
    setenv (KHZ_ENV, text, 1);
    return khz;
}

/* The root that qemu sees: its program and libraries. */
static void add_root (struct args *a)
{
    static const char *const dirs[] = { "/bin", "/sbin", "/lib", "/lib64", "/lib32" };
    args_add (a, "--ro-bind", "/usr", "/usr", NULL);
    for (size_t i = 0; i < sizeof dirs / sizeof *dirs; i++) {
        char target[PATH_MAX];
        ssize_t n = readlink (dirs[i], target, sizeof target - 1);
        target[n > 0 ? n : 0] = '\0';
        if (n > 0)
            args_add (a, "--symlink", target, dirs[i], NULL);
        else
            args_add (a, "--ro-bind-try", dirs[i], dirs[i], NULL);
    }
    args_add (a, "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache", "--ro-bind-try", "/etc/qemu", "/etc/qemu", "--proc", "/proc", "--dev", "/dev", "--chdir", "/", NULL);
    const char *program = qemu_path (NULL);
    if (program && strncmp (program, "/usr/", 5) != 0 && strncmp (program, "/bin/", 5) != 0) { /* one of the owner's own */
        CLEANUP (free_ptr) char *place = bytes_dup (bytes_of (program, (size_t) (strrchr (program, '/') - program)));
        args_add (a, "--ro-bind", place, place, NULL);
    }
}

static void add_disk (struct args *a, const char *id, int fd, int second, bool readonly)
{
    args_addf (a, "-add-fd");
    args_addf (a, "fd=%d,set=%d,opaque=%s", fd, fd, id);
    if (second != -1) {
        args_addf (a, "-add-fd");
        args_addf (a, "fd=%d,set=%d,opaque=%s", second, fd, id);
    }
    args_addf (a, "-drive");
    args_addf (a, "if=none,id=%s,format=raw,%s,file.locking=off,file=/dev/fdset/%d", id, readonly ? "readonly=on" : "readonly=off,cache=unsafe", fd);
    args_addf (a, "-device");
    args_addf (a, "virtio-blk-device,drive=%s,serial=%s", id, id);
}

static void add_port (struct args *a, const char *name, int fd)
{
    args_addf (a, "-chardev");
    args_addf (a, "socket,id=%s,fd=%d", name, fd);
    args_addf (a, "-device");
    args_addf (a, "virtserialport,chardev=%s,name=assay.%s", name, name);
}

void vm_args (struct args *a, const struct vm_plan *p)
{
    const char *program = qemu_path (NULL);
    args_add (a, program ? program : "qemu-system-x86_64", "-M", "microvm,x-option-roms=off,memory-backend=ram", "-cpu", p->cpu, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", NULL);
    args_addf (a, "-accel");
    if (p->accel == VM_KVM)
        args_addf (a, "kvm");
    else
        args_addf (a, "tcg,tb-size=%d", VM_TB_MIB);
    args_addf (a, "-m");
    args_addf (a, "%lldM", (long long) (p->memory >> 20));
    args_addf (a, "-smp");
    args_addf (a, "%lld", (long long) p->box->cpus);
    args_addf (a, "-object");
    args_addf (a, "memory-backend-file,id=ram,size=%lldM,mem-path=/proc/self/fd/%d,share=on", (long long) (p->memory >> 20), VM_FD_RAM);
    args_addf (a, "-kernel");
    args_addf (a, "/proc/self/fd/%d", VM_FD_KERNEL);
    args_addf (a, "-initrd");
    args_addf (a, "/proc/self/fd/%d", VM_FD_INITRAMFS);
    args_addf (a, "-append");
    args_addf (a, "console=ttyS0 quiet panic=-1 reboot=t tsc_early_khz=%lld lpj=%lld no_timer_check cryptomgr.notests", (long long) p->khz, (long long) p->khz * 2);
    add_disk (a, "image", VM_FD_IMAGE, -1, true);
    add_disk (a, "input", VM_FD_INPUT, -1, true);
    add_disk (a, "output", VM_FD_OUTPUT, VM_FD_OUTPUT_READ, false);
    args_add (a, "-device", "virtio-serial-device", NULL);
    add_port (a, "log", VM_FD_LOG);
    add_port (a, "ctl", VM_FD_CTL);
    add_port (a, "relay", VM_FD_RELAY);
    args_addf (a, "-chardev");
    args_addf (a, "socket,id=console,fd=%d", VM_FD_CONSOLE);
    args_add (a, "-serial", "chardev:console", NULL);
    if (p->monitor) {
        args_addf (a, "-chardev");
        args_addf (a, "socket,id=qmp,fd=%d", VM_FD_QMP);
        args_add (a, "-mon", "chardev=qmp,mode=control", NULL);
    }
    if (p->incoming != -1)
        args_add (a, "-incoming", "defer", NULL);
    args_add (a, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny", NULL);
}

/* In the forked child. Copies far above first, so that no dup2 lands on a source. */
static bool place (const int from[VM_FD_END])
{
    int copy[VM_FD_END];
    for (int i = VM_FD_FIRST; i < VM_FD_END; i++)
        if ((copy[i] = from[i] == -1 ? -1 : fcntl (from[i], F_DUPFD, 64)) == -1 && from[i] != -1)
            return false;
    for (int i = VM_FD_FIRST; i < VM_FD_END; i++) {
        if (copy[i] != -1 && dup2 (copy[i], i) == -1)
            return false;
        if (copy[i] == -1)
            close (i);
    }
    return close_range (3, VM_FD_FIRST - 1, 0) == 0 && close_range (VM_FD_END, ~0u, 0) == 0;
}

static void child (const struct vm_plan *p, const int fds[VM_FD_END], char **argv, uid_t uid)
{
    char *clean[] = { (char *) "PATH=/usr/local/bin:/usr/bin:/bin", (char *) "LC_ALL=C.UTF-8", NULL };
    sigset_t none;
    struct stat kvm;
    int null = open ("/dev/null", O_RDWR | O_CLOEXEC);
    sigemptyset (&none);
    sigprocmask (SIG_SETMASK, &none, NULL);
    if (sandbox_confine (p->box) == -1)
        _exit (125);
    if (uid) {
        gid_t groups[1];
        size_t n = 0;
        if (p->accel == VM_KVM && stat ("/dev/kvm", &kvm) == 0 && kvm.st_gid)
            groups[n++] = kvm.st_gid;
        if (setgroups (n, groups) || setresgid (uid, uid, uid) || setresuid (uid, uid, uid))
            _exit (125);
    }
    if (prctl (PR_SET_PDEATHSIG, SIGKILL) == -1 || dup2 (null, 0) == -1 || dup2 (fds[VM_FD_CONSOLE], 1) == -1 || dup2 (fds[VM_FD_CONSOLE], 2) == -1 || !place (fds)
        || prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == -1)
        _exit (125);
    environ = clean;
    execvp (argv[0], argv);
    _exit (126);
}

int vm_start (struct vm *vm, const struct vm_plan *p, struct err *e)
{
    ARGS (a);
    const char *bwrap = getenv ("ASSAY_BWRAP");
    int theirs[5] = { -1, -1, -1, -1, -1 }, *ours[5] = { &vm->ctl, &vm->log, &vm->relay, &vm->console, &vm->qmp }, rc = -1;
    *vm = (struct vm) VM_INIT;
    for (int i = 0; i < (p->monitor ? 5 : 4); i++) {
        int pair[2];
        if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1) {
            err_errno (e, "VM: socketpair");
            goto out;
        }
        *ours[i] = pair[0];
        theirs[i] = pair[1];
        if (fcntl (pair[0], F_SETFL, O_NONBLOCK) == -1) {
            err_errno (e, "VM: socketpair");
            goto out;
        }
    }
    args_add (&a, bwrap ? bwrap : "bwrap", "--unshare-user", "--unshare-all", "--disable-userns", "--new-session", "--die-with-parent", "--cap-drop", "ALL", NULL);
    add_root (&a);
    if (p->accel == VM_KVM)
        args_add (&a, "--dev-bind-try", "/dev/kvm", "/dev/kvm", NULL);
    args_add (&a, "--", NULL);
    vm_args (&a, p);
    const int fds[VM_FD_END] = { [VM_FD_KERNEL] = p->kernel, [VM_FD_INITRAMFS] = p->initramfs, [VM_FD_IMAGE] = p->image, [VM_FD_INPUT] = p->input, [VM_FD_OUTPUT] = p->output,
                              [VM_FD_OUTPUT_READ] = p->output_read, [VM_FD_RAM] = p->ram, [VM_FD_CTL] = theirs[0], [VM_FD_LOG] = theirs[1], [VM_FD_RELAY] = theirs[2],
                              [VM_FD_CONSOLE] = theirs[3], [VM_FD_QMP] = theirs[4], [VM_FD_INCOMING] = p->incoming };
    vm->pid = fork ();
    if (vm->pid == 0)
        child (p, fds, a.v, sandbox_user (p->box));
    if (vm->pid == -1 || (vm->pidfd = (int) syscall (SYS_pidfd_open, vm->pid, 0)) == -1) {
        err_errno (e, "VM: starting qemu");
        goto out;
    }
    rc = 0;
out:
    for (int i = 0; i < 5; i++)
        fd_close (&theirs[i]);
    if (rc == -1)
        vm_stop (vm);
    return rc;
}

void vm_stop (struct vm *vm)
{
    if (vm->pid > 0) {
        kill (vm->pid, SIGKILL);
        while (waitpid (vm->pid, NULL, 0) == -1 && errno == EINTR) {
        }
    }
    fd_close (&vm->pidfd);
    fd_close (&vm->ctl);
    fd_close (&vm->log);
    fd_close (&vm->relay);
    fd_close (&vm->console);
    fd_close (&vm->qmp);
    vm->pid = -1;
}
