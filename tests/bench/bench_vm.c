/* bench_vm: the sandbox's drivers on a null step, beside what such a step cannot do without.
 *
 *     bench_vm DIR IMAGE ROOTFS ROUNDS BOOTS STEPS LOADED
 *
 * DIR: a folder of its own, empty; IMAGE: folder of an image with a kernel; ROOTFS: its root file system, unpacked. A null step is sandbox_open .. sandbox_close with the command `true`.
 * Beside it, in turns with it: the same qemu alone, under no worker, no bwrap and no control group, which resumes the same snapshot, or boots the
 * same kernel, runs the same job and powers off; and for bwrap, fork and exec of the same command. Then LOADED null steps in VMs, while each CPU
 * is busy with another program.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "bench.h"
#include "worker/cgroup.h"
#include "worker/image_meta.h"
#include "worker/vm_disk.h"
#include "worker/vm_probe.h"
#include "worker/vm_snapshot.h"
#include "worker/vm_talk.h"

#define ROUNDS_MAX 1000
#define LIMIT_MS 300000 /* for a step, a boot or a resume, on a machine as busy as may be */

static const char *dir, *image, *root;
static struct conf conf;
static struct msg_step step;
static bool told; /* the step's log holds a word of the sandbox itself: a snapshot thrown away, a retry */

static void on_log (void *arg, const void *p, size_t len)
{
    (void) arg;
    told = true;
    if (fwrite (p, 1, len, stderr) != len)
        told = true;
}

static struct sandbox *box_open (unsigned kind)
{
    struct sandbox *box = NULL;
    static int number;
    char *name CLEANUP (free_ptr) = xasprintf ("bench-%d", ++number); /* lives as long as its box: see box_close */
    struct sandbox_opts o = { .kind = kind, .name = xstrdup (name), .dir = xasprintf ("%s/%s", dir, name), .image = root, .image_dir = image, .state = dir, .max_bytes = 1 << 20,
                              .conf = &conf, .step = &step, .source_date = 1, .log = on_log };
    if (file_mkdirs (o.dir, 0700, &bench_err) == -1 || sandbox_open (&box, &o, &bench_err) == -1)
        bench_die ("sandbox");
    sandbox_deadline (box, time_mono_ms () + LIMIT_MS, time_mono_ms () + 2 * LIMIT_MS);
    return box;
}

static void box_close (struct sandbox **box)
{
    char *name = (char *) (uintptr_t) (*box)->o.name, *folder = (char *) (uintptr_t) (*box)->o.dir;
    sandbox_close (box);
    file_remove_tree (folder, NULL);
    free (name);
    free (folder);
}

/* Milliseconds of a null step; it must go as it is wanted to: "resumed", "booted", "". */
static double ours (unsigned kind, const char *how)
{
    struct sandbox_run run;
    double began = now_s ();
    struct sandbox *box = box_open (kind);
    if (sandbox_run (box, &run, &bench_err) == -1)
        bench_die ("null step");
    bool good = run.exit_status == 0 && strcmp (sandbox_start (box), how) == 0;
    if (!good)
        fprintf (stderr, "bench: null step: exit status %u, %s where it should be %s\n", run.exit_status, sandbox_start (box), how);
    box_close (&box);
    if (!good)
        exit (1);
    return (now_s () - began) * 1000;
}

/* ---- qemu alone ---- */

struct bare {
    struct sandbox *box;
    struct vm_plan plan;
    int raw, state; /* the snapshot: its memory as a file that qemu maps privately; the devices' state */
};

static int open_file (const char *folder, const char *name)
{
    char *path CLEANUP (free_ptr) = xasprintf ("%s/%s", folder, name);
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    if (fd == -1)
        bench_die (path);
    return fd;
}

/* As the steps before it had it. */
static enum vm_accel pick (void)
{
    bool untried;
    char why[VM_WHY];
    return vm_accel_pick (&conf, dir, image, &untried, why);
}

static void bare_open (struct bare *b)
{
    static struct image_meta meta;
    struct vm_plan *p = &b->plan;
    struct snapshot s;
    BUF (devices);
    if (image_meta_check (image, &meta, &bench_err) == -1)
        bench_die (image);
    b->box = box_open (ISOLATION_QEMU);
    *p = (struct vm_plan){ .box = b->box, .accel = pick (), .cpu = meta.cpu, .memory = vm_memory (&conf), .khz = vm_tsc_khz (), .incoming = -1 };
    p->kernel = open_file (image, "vmlinux");
    p->initramfs = open_file (image, "initramfs");
    p->image = open_file (image, "rootfs.squashfs");
    char *path CLEANUP (free_ptr) = snapshot_path (dir, strrchr (image, '/') + 1, p, vm_output_size (&conf)), *raw CLEANUP (free_ptr) = xasprintf ("%s/raw", dir);
    b->state = memfd_create ("state", MFD_CLOEXEC);
    b->raw = open (raw, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (b->raw == -1 || ftruncate (b->raw, (off_t) p->memory) == -1 || !snapshot_open (&s, path) || snapshot_fill (&s, b->raw, p->memory, &devices, &bench_err) == -1
        || !file_write_all (b->state, devices.p, devices.len))
        bench_die ("snapshot");
    snapshot_close (&s);
}

static void bare_close (struct bare *b)
{
    int *fds[] = { &b->plan.kernel, &b->plan.initramfs, &b->plan.image, &b->raw, &b->state };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        fd_close (fds[i]);
    box_close (&b->box);
}

static void bare_child (const struct vm_plan *p, const int theirs[5])
{
    const int fds[VM_FD_END] = { [VM_FD_KERNEL] = p->kernel, [VM_FD_INITRAMFS] = p->initramfs, [VM_FD_IMAGE] = p->image, [VM_FD_INPUT] = p->input, [VM_FD_OUTPUT] = p->output,
                                 [VM_FD_OUTPUT_READ] = p->output_read, [VM_FD_RAM] = p->ram, [VM_FD_CTL] = theirs[0], [VM_FD_LOG] = theirs[1], [VM_FD_RELAY] = theirs[2],
                                 [VM_FD_CONSOLE] = theirs[3], [VM_FD_QMP] = theirs[4], [VM_FD_INCOMING] = p->incoming };
    ARGS (a);
    vm_args (&a, p);
    for (size_t i = 0; a.v[i]; i++) {
        char *share = strstr (a.v[i], ",share=on");
        if (share && p->incoming != -1)
            *share = '\0'; /* a private map of the snapshot's memory, nothing copied */
    }
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    for (int i = VM_FD_FIRST; i < VM_FD_END; i++)
        if (fds[i] > 0 && fcntl (fds[i], F_DUPFD, 100 + i) != 100 + i)
            _exit (125);
    for (int i = VM_FD_FIRST; i < VM_FD_END; i++)
        if (fds[i] > 0 && dup2 (100 + i, i) == -1)
            _exit (125);
    close_range (VM_FD_END, ~0u, 0);
    execvp (a.v[0], a.v);
    _exit (126);
}

/* Milliseconds from its fork until it has powered off. */
static double bare (struct bare *b, bool resumed)
{
    struct vm_plan p = b->plan;
    struct vm vm = VM_INIT;
    struct talk t;
    struct talk_end end;
    int theirs[5], *own[5] = { &vm.ctl, &vm.log, &vm.relay, &vm.console, &vm.qmp }, status = -1;
    if (vm_disk_input (b->box, &p.input, &bench_err) == -1 || vm_disk_output (b->box, vm_output_size (&conf), &p.output, &p.output_read, &bench_err) == -1)
        bench_die ("disks");
    p.ram = resumed ? b->raw : memfd_create ("vm", MFD_CLOEXEC);
    if (p.ram == -1 || (!resumed && ftruncate (p.ram, (off_t) p.memory) == -1))
        bench_die ("memory");
    for (int i = 0; i < 5; i++) {
        int pair[2];
        if (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == -1 || fcntl (pair[0], F_SETFL, O_NONBLOCK) == -1)
            bench_die ("socketpair");
        *own[i] = pair[0];
        theirs[i] = pair[1];
    }
    p.monitor = resumed;
    if (resumed) {
        p.incoming = b->state;
        lseek (b->state, 0, SEEK_SET);
    }
    double began = now_s ();
    vm.pid = fork ();
    if (vm.pid == 0)
        bare_child (&p, theirs);
    for (int i = 0; i < 5; i++)
        close (theirs[i]);
    vm.pidfd = (int) syscall (SYS_pidfd_open, vm.pid, 0);
    talk_init (&t, &vm, -1, "");
    int64_t until = time_mono_ms () + LIMIT_MS;
    if ((resumed ? snapshot_begin (&vm, &bench_err) : talk_ready (&t, until, &bench_err)) == -1 || talk_go (&t, LIMIT_MS, &bench_err) == -1 || talk_started (&t, until, &bench_err) == -1
        || talk_follow (&t, LIMIT_MS, &end, &bench_err) != 0 || end.exit_status != 0)
        bench_die ("qemu alone");
    if (waitpid (vm.pid, &status, 0) == -1 || status != 0)
        bench_die ("qemu alone: how it ended");
    double took = (now_s () - began) * 1000;
    vm.pid = -1;
    vm_stop (&vm);
    talk_release (&t);
    int *fds[] = { &p.input, &p.output, &p.output_read };
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        fd_close (fds[i]);
    if (!resumed)
        fd_close (&p.ram);
    return took;
}

static double command (void)
{
    double began = now_s ();
    int status = -1;
    pid_t pid = fork ();
    if (pid == 0) {
        execl ("/bin/sh", "sh", "-ec", "true", (char *) NULL);
        _exit (126);
    }
    if (waitpid (pid, &status, 0) == -1 || status != 0)
        bench_die ("fork and exec");
    return (now_s () - began) * 1000;
}

static void against_bare (size_t rounds, size_t boots)
{
    double all[4][ROUNDS_MAX], part[2];
    struct bare b;
    char name[160];
    int64_t snapshots = conf.snapshots;
    ours (ISOLATION_QEMU, "resumed"); /* takes the snapshot */
    told = false;
    bare_open (&b);
    for (size_t i = 0; i < rounds; i++) {
        all[0][i] = ours (ISOLATION_QEMU, "resumed");
        all[1][i] = bare (&b, true);
    }
    conf.snapshots = 0;
    for (size_t i = 0; i < boots; i++) {
        all[2][i] = ours (ISOLATION_QEMU, "booted");
        all[3][i] = bare (&b, false);
    }
    conf.snapshots = snapshots;
    bare_close (&b);
    if (told)
        bench_die ("null step: the sandbox had something to say");
    part[0] = quantile (all[0], rounds, 0.5);
    part[1] = quantile (all[2], boots, 0.5);
    snprintf (name, sizeof name, "null step, qemu %s, resumed, p50 (p99 %.0f); limit: bare qemu", vm_accel_name (b.plan.accel), quantile (all[0], rounds, 0.99));
    line (name, part[0], quantile (all[1], rounds, 0.5), "ms", 1.5, "max");
    line ("null step, qemu, resumed; limit: the same, booted", part[0], part[1], "ms", 0.33, "max");
    snprintf (name, sizeof name, "null step, qemu %s, booted, p50 (max %.0f); limit: bare qemu", vm_accel_name (b.plan.accel), quantile (all[2], boots, 1));
    line (name, part[1], quantile (all[3], boots, 0.5), "ms", 1.3, "max");
}

static void against_exec (size_t rounds)
{
    double all[2][ROUNDS_MAX];
    char name[160];
    for (size_t i = 0; i < rounds; i++) {
        all[0][i] = ours (ISOLATION_BWRAP, "");
        all[1][i] = command ();
    }
    double p50 = quantile (all[0], rounds, 0.5);
    snprintf (name, sizeof name, "null step, bwrap, p50 (p99 %.1f); limit: fork and exec", quantile (all[0], rounds, 0.99));
    line (name, p50, quantile (all[1], rounds, 0.5), "ms", 8, "max");
}

/* While each CPU has something else to do: a quarter of the VMs boot. */
static void loaded (size_t steps)
{
    long cpus = sysconf (_SC_NPROCESSORS_ONLN);
    pid_t *busy = xcalloc ((size_t) cpus, sizeof *busy);
    double all[2][ROUNDS_MAX];
    size_t n[2] = { 0 }, good = 0;
    int64_t snapshots = conf.snapshots;
    char name[160];
    for (long i = 0; i < cpus; i++)
        if ((busy[i] = fork ()) == 0) {
            prctl (PR_SET_PDEATHSIG, SIGKILL);
            for (volatile unsigned long x = 0;; x++) {
            }
        }
    for (size_t i = 0; i < steps; i++) {
        int booted = i % 4 == 3;
        conf.snapshots = booted ? 0 : snapshots;
        told = false;
        all[booted][n[booted]++] = ours (ISOLATION_QEMU, booted ? "booted" : "resumed"); /* a hang ends at LIMIT_MS, and the bench with it */
        good += !told;
    }
    conf.snapshots = snapshots;
    for (long i = 0; i < cpus; i++) {
        kill (busy[i], SIGKILL);
        waitpid (busy[i], NULL, 0);
    }
    free (busy);
    snprintf (name, sizeof name, "null steps in VMs, all CPUs busy, no retry (resumed max %.1f s, booted %.1f)", n[0] ? quantile (all[0], n[0], 1) / 1000 : 0,
              n[1] ? quantile (all[1], n[1], 1) / 1000 : 0);
    line (name, (double) good, (double) steps, "", 1, "min");
}

static size_t number (const char *text)
{
    size_t n = strtoul (text, NULL, 10);
    return n < 1 ? 1 : n > ROUNDS_MAX ? ROUNDS_MAX : n;
}

int main (int argc, char **argv)
{
    if (argc != 8)
        return 2;
    char *ini CLEANUP (free_ptr) = xasprintf ("%s/worker.ini", argv[1]);
    /* no niceness: what is beside it has none either */
    static const char settings[] = "[worker]\nisolation = qemu bwrap\nemulation = yes\n[limits]\ncpus = 1\nmemory = 256M\ndisk = 256M\nnice = 0\nio-priority = best-effort\n";
    dir = argv[1];
    image = argv[2];
    root = argv[3];
    step = (struct msg_step){ .name = bytes_str ("build"), .run = bytes_str ("true") };
    if (file_write (ini, bytes_str (settings), 0600, &bench_err) == -1 || conf_read (&conf, ini, &bench_err) == -1 || cgroup_setup (dir, &bench_err) == -1)
        bench_die ("start");
    unsigned offered = sandbox_offer (&conf, dir, NULL, &bench_err);
    if (!(offered & ISOLATION_QEMU) || !(offered & ISOLATION_BWRAP) || sandbox_enter (offered, dir, &bench_err) == -1)
        bench_die ("isolation");
    against_exec (number (argv[6]));
    against_bare (number (argv[4]), number (argv[5]));
    loaded (number (argv[7]));
    cgroup_leave ();
    conf_release (&conf);
    return 0;
}
