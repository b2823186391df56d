/* A fresh microVM for each step (vm.h), by a keeper: a process forked from the step's that starts qemu, speaks with the guest, and ends
 * with one line on the status pipe. Sources and inputs go in on a disk, outputs come back on another, and are unpacked by the step's own
 * process once no qemu is left.
 *
 * The guest may say and write what it likes: the worst of it is a failed step or an error of the infrastructure.
 */
#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/guest/pack.h"
#include "worker/guest/wire.h"
#include "worker/image_meta.h"
#include "worker/relay_vm.h"
#include "worker/sandbox_impl.h"
#include "worker/seccomp.h"
#include "worker/vm_disk.h"
#include "worker/vm_null.h"
#include "worker/vm_probe.h"
#include "worker/vm_snapshot.h"
#include "worker/vm_talk.h"

#define KEEPER_REFUSES "refuse " /* on the status pipe: this machine cannot, and no other way is allowed */
#define RESUME_MS 30000      /* a resumed guest answers within */
#define KVM_BOOT_MS 20000    /* a guest is up under KVM within, or KVM does not work here */
#define REPORT_MS 30000      /* after the step's time: to report, and to pack what there is */
#define START_MS 120000      /* a VM is up within, however loaded the machine is; the step's own time begins after it */
#define GRACE_MS (START_MS + REPORT_MS + 15000)
#define CLAIM_MAX 1000000000u /* attempts that a guest can claim to have refused */

struct qemu {
    struct image_meta meta;
    struct vm_plan plan;
    enum vm_accel accel;
    int status;              /* for the keeper */
};

static int64_t overhead (const struct conf *c)
{
    return vm_memory (c) - c->memory - c->disk + VM_OVERHEAD;
}

static int probe (const struct conf *conf, struct err *e)
{
    if (strcmp (vm_version (), "qemu-absent") == 0)
        return err_set (e, ERR_FAILED, "isolation qemu: the program qemu-system-x86_64 is not there (install qemu-system-x86)");
    vm_tsc_khz ();
    return sandbox_bwrap.probe (conf, e); /* qemu itself runs inside it */
}

static int now (const struct conf *conf, const char *state, struct err *e)
{
    char why[VM_WHY];
    return vm_accel_any (conf, state, why) == VM_NONE ? vm_accel_none (why, e) : 0;
}

static int refuse (struct sandbox *box, const char *why, struct err *e)
{
    if (box->o.refused)
        *box->o.refused = true;
    return vm_accel_none (why, e);
}

static int open_part (const char *dir, const char *name, struct err *e)
{
    char *path CLEANUP (free_ptr) = xasprintf ("%s/%s", dir, name);
    int fd = open (path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd == -1)
        err_errno (e, "image: %s", name);
    return fd;
}

/* The null job in this image, as the first step in it, or as somebody asked for. */
static int try_null (struct sandbox *box, struct qemu *q, struct err *e)
{
    struct err why = ERR_INIT;
    bool blame, kvm = q->accel == VM_KVM;
    q->plan.accel = q->accel;
    int rc = vm_null (box, &q->plan, &blame, &why);
    if (kvm && (rc == 0 || blame))
        vm_kvm_note (box->o.image_dir, rc == 0, why.msg);
    if (rc == 0)
        return 0;
    if (!kvm || !blame || box->o.trial)
        return err_set (e, ERR_FAILED, "%sa null job in a VM: %.600s", kvm && blame ? "KVM does not work here: " : "", why.msg);
    if (!box->o.conf->emulation)
        return refuse (box, why.msg, e);
    BUF (text);
    buf_addf (&text, "[assay] KVM does not work here (a null job in a VM: %s): this VM is emulated\n", why.msg);
    if (box->o.log)
        box->o.log (box->o.arg, text.p, text.len);
    q->accel = VM_TCG;
    return 0;
}

static int qemu_open (struct sandbox *box, struct err *e)
{
    struct qemu *q = xcalloc (1, sizeof *q);
    box->own = q;
    q->plan = (struct vm_plan){ .box = box, .kernel = -1, .initramfs = -1, .image = -1, .input = -1, .output = -1, .output_read = -1, .ram = -1, .incoming = -1 };
    const char *name = strrchr (box->o.image_dir, '/');
    if (image_meta_check (box->o.image_dir, &q->meta, e) == -1)
        return err_wrap (e, "image %.12s", name ? name + 1 : "");
    if (!q->meta.bootable && q->meta.guest)
        return err_set (e, ERR_FAILED, "image %.12s: its guest is of version %u, and this worker speaks %u (make the image anew)", name ? name + 1 : "", q->meta.guest, GUEST_VERSION);
    if (!q->meta.bootable)
        return err_set (e, ERR_FAILED, "image %.12s has no kernel, so no VM can boot it (make it again without --kernel none)", name ? name + 1 : "");
    struct standing cpu;
    bool untried = false, cpu_works = false;
    char why[VM_WHY] = "";
    if (box->o.trial) { /* whatever came of the last one */
        vm_kvm_machine (box->o.state, &cpu);
        cpu_works = cpu.what == STANDING_WORKS;
    }
    q->accel = cpu_works ? VM_KVM : vm_accel_pick (box->o.conf, box->o.state, box->o.image_dir, &untried, why);
    if (q->accel == VM_NONE)
        return refuse (box, why, e);
    q->plan.cpu = q->meta.cpu;
    q->plan.memory = vm_memory (box->o.conf);
    q->plan.khz = vm_tsc_khz ();
    box->file_max = vm_output_size (box->o.conf) > q->plan.memory ? vm_output_size (box->o.conf) : q->plan.memory;
    box->area = xasprintf ("%s/area", box->o.dir);
    box->src = xasprintf ("%s/src", box->area);
    box->out = xasprintf ("%s/out", box->area);
    if (file_mkdirs (box->src, 0755, e) == -1 || file_mkdirs (box->out, 0755, e) == -1)
        return -1;
    if ((q->plan.kernel = open_part (box->o.image_dir, "vmlinux", e)) == -1 || (q->plan.initramfs = open_part (box->o.image_dir, "initramfs", e)) == -1
        || (q->plan.image = open_part (box->o.image_dir, "rootfs.squashfs", e)) == -1)
        return -1;
    return box->o.trial || untried ? try_null (box, q, e) : 0;
}

/* ---- the keeper ---- */

struct keeper {
    struct sandbox *box;
    struct qemu *q;
    int log, relay;          /* relay: to the relay's process, or -1 */
    int64_t step_ms, start_by; /* what the step may take; when its VM must be up */
    pid_t parent;
    struct vm vm;
    struct talk talk;
};

static void leave (struct keeper *k)
{
    talk_release (&k->talk);
    vm_stop (&k->vm);
}

/* Whatever ends first: the time for the start, or `ms` from now. */
static int64_t within (const struct keeper *k, int64_t ms)
{
    int64_t until = time_mono_ms () + ms;
    return until < k->start_by ? until : k->start_by;
}

static int go (struct keeper *k, int64_t until, struct err *e)
{
    int64_t now = time_mono_ms (), left = k->box->end - now < k->step_ms ? k->box->end - now : k->step_ms;
    return talk_go (&k->talk, left, e) == -1 || talk_started (&k->talk, until, e) == -1 ? -1 : 0;
}

/* Resume the snapshot: 0, and the guest has started; -1: there is none or it is of no use, and nothing of it is left. */
static int resume (struct keeper *k, const char *path, struct err *e)
{
    struct snapshot s;
    int rc = -1, stream CLEANUP (fd_close) = memfd_create ("devices", MFD_CLOEXEC);
    struct vm_plan p = k->q->plan;
    BUF (devices);
    if (!snapshot_open (&s, path))
        return -1;
    int64_t until = within (k, RESUME_MS);
    if (stream == -1 || vm_disk_ram (k->q->plan.memory, &k->q->plan.ram, e) == -1)
        goto out;
    p.ram = k->q->plan.ram;
    p.incoming = stream;
    p.monitor = true;
    if (vm_start (&k->vm, &p, e) == -1)
        goto out;
    talk_init (&k->talk, &k->vm, k->log, k->box->group);
    /* qemu starts meanwhile; it has nothing to run before it is told to take in the devices, and only those of a sound snapshot */
    rc = snapshot_fill (&s, p.ram, p.memory, &devices, e);
    if (rc == 0 && (!file_write_all (stream, devices.p, devices.len) || lseek (stream, 0, SEEK_SET) == -1))
        rc = err_errno (e, "VM: its devices");
    if (rc == 0)
        rc = snapshot_begin (&k->vm, e);
    if (rc == 0)
        rc = go (k, until, e);
    if (rc == -1) {
        leave (k);
        if (time_mono_ms () < k->start_by) {
            snapshot_discard (path);
            dprintf (k->log, "[assay] a VM's snapshot is thrown away: %s\n", e->msg);
        }
    }
out:
    snapshot_close (&s);
    return rc;
}

static int64_t boot_limit (const struct keeper *k)
{
    return k->q->plan.accel == VM_KVM ? within (k, KVM_BOOT_MS) : k->start_by;
}

/* A guest that waits for go. The one that a snapshot is taken of (it has a monitor) does not have this step's sources: its memory is kept for others. */
static int boot (struct keeper *k, bool monitor, struct err *e)
{
    struct vm_plan p = k->q->plan;
    int none CLEANUP (fd_close) = -1;
    if (vm_disk_ram (k->q->plan.memory, &k->q->plan.ram, e) == -1 || (monitor && vm_disk_empty (k->box, &none, e) == -1))
        return -1;
    p.ram = k->q->plan.ram;
    p.monitor = monitor;
    if (monitor)
        p.input = none;
    if (vm_start (&k->vm, &p, e) == -1)
        return -1;
    talk_init (&k->talk, &k->vm, monitor ? -1 : k->log, k->box->group);
    if (talk_ready (&k->talk, boot_limit (k), e) == -1) {
        leave (k);
        return -1;
    }
    return 0;
}

/* By a snapshot, which is taken first where there is none; else by a boot. */
static int start (struct keeper *k, const char **how, struct err *e)
{
    struct err why = ERR_INIT;
    const struct conf *c = k->box->o.conf;
    char *path CLEANUP (free_ptr) = snapshot_path (k->box->o.state, strrchr (k->box->o.image_dir, '/') + 1, &k->q->plan, vm_output_size (c));
    *how = "resumed";
    if (c->snapshots > 0 && !snapshot_large (path, c->snapshots)) {
        if (resume (k, path, &why) == 0)
            return 0;
        if (boot (k, true, e) == -1)
            return -1;
        bool taken = snapshot_take (path, &k->vm, k->q->plan.ram, c->snapshots, &why) == 0;
        leave (k);
        if (taken && resume (k, path, &why) == 0)
            return 0;
        if (!taken && why.code != EC_BUSY)
            dprintf (k->log, "[assay] no VM's snapshot: %s\n", why.msg);
    }
    *how = "booted";
    if (boot (k, false, e) == -1)
        return -1;
    if (go (k, k->start_by, e) == -1) {
        leave (k);
        return -1;
    }
    return 0;
}

static void say (const struct keeper *k, const char *fmt, ...) __attribute__ ((format (printf, 2, 3)));
static void say (const struct keeper *k, const char *fmt, ...)
{
    va_list ap;
    va_start (ap, fmt);
    vdprintf (k->q->status, fmt, ap);
    va_end (ap);
}

/* A start failed under KVM: is KVM to blame? Only if our own null job fails as well, now; e is then that failure. */
static bool lost_kvm (struct keeper *k, struct err *e)
{
    struct err why = ERR_INIT;
    bool blame;
    if (vm_null (k->box, &k->q->plan, &blame, &why) == 0 || !blame)
        return false;
    vm_kvm_note (k->box->o.image_dir, false, why.msg);
    *e = why;
    return true;
}

static int by_number (const void *a, const void *b)
{
    return *(const int *) a - *(const int *) b;
}

/* From here on it only reads what the guest says, and ends the VM: with that, and with nothing else that is open. */
static int settle (struct keeper *k, struct err *e)
{
    int keep[] = { 2, k->log, k->q->status, k->vm.pidfd, k->vm.ctl, k->vm.log, k->vm.relay, k->vm.console, k->vm.qmp };
    const size_t n = sizeof keep / sizeof *keep;
    qsort (keep, n, sizeof *keep, by_number);
    for (size_t i = 0; i < n; i++) {
        unsigned last = i + 1 < n ? (unsigned) keep[i + 1] - 1 : ~0u;
        if (keep[i] >= 2 && (unsigned) keep[i] < last && close_range ((unsigned) keep[i] + 1, last, 0) == -1)
            return err_errno (e, "isolation qemu: close_range");
    }
    return seccomp_drop (sandbox_user (k->box), k->parent) == -1 || seccomp_only (SECCOMP_KEEPER) == -1 ? err_errno (e, "isolation qemu: the VM's keeper cannot be confined") : 0;
}

static void keep (struct keeper *k)
{
    struct err e = ERR_INIT;
    struct talk_end end;
    const char *how = "";
    int got = start (k, &how, &e);
    bool refused = got == -1 && k->q->plan.accel == VM_KVM && time_mono_ms () < k->start_by && lost_kvm (k, &e);
    if (refused && k->box->o.conf->emulation) {
        dprintf (k->log, "[assay] KVM does not work here any more (%s): this VM is emulated\n", e.msg);
        k->q->plan.accel = VM_TCG;
        refused = false;
        got = start (k, &how, &e);
    }
    if (got == 0 && k->relay != -1) {
        if (relay_vm_give (k->relay, k->vm.relay) == -1)
            dprintf (k->log, "[assay] network: the relay is gone: %s\n", strerror (errno));
        fd_close (&k->vm.relay); /* the relay's alone: when it hangs up, the guest sees it */
    }
    if (got == 0)
        got = settle (k, &e);
    if (got == 0)
        got = talk_follow (&k->talk, REPORT_MS, &end, &e);
    if (got == 0)
        say (k, "ok %s %s %u %u %llu %llu", vm_accel_name (k->q->plan.accel), how, end.exit_status, end.flags, (unsigned long long) end.packed, (unsigned long long) end.refused);
    else if (got == 1)
        say (k, "ok %s %s 124 %d 0 0", vm_accel_name (k->q->plan.accel), how, RESULT_TIMED_OUT);
    else
        say (k, "%s%s", refused ? KEEPER_REFUSES : "error ", e.msg);
    leave (k);
    if (got == 0 && (end.flags & RESULT_NOT_PACKED))
        dprintf (k->log, "\n[assay] artifacts: %s\n", end.why);
}

static int spawn (struct sandbox *box, int log_fd, int status_fd, pid_t *pid, struct err *e)
{
    struct qemu *q = box->own;
    struct vm_plan *p = &q->plan;
    pid_t parent = getpid ();
    int net[2] = { -1, -1 };
    *pid = -1;
    p->accel = q->accel;
    if (vm_disk_input (box, &p->input, e) == -1 || vm_disk_output (box, vm_output_size (box->o.conf), &p->output, &p->output_read, e) == -1)
        return -1;
    if (box->o.relay && (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, net) == -1 || relay_start_vm (&box->relay, box->o.relay, net[0], sandbox_user (box), e) == -1)) {
        if (net[0] == -1)
            err_errno (e, "sandbox: socketpair");
        fd_close (&net[0]);
        fd_close (&net[1]);
        return -1;
    }
    fd_close (&net[0]);
    *pid = fork ();
    if (*pid == 0) {
        struct keeper k = { .box = box, .q = q, .log = log_fd, .relay = net[1], .vm = VM_INIT, .parent = parent };
        k.step_ms = box->deadline - time_mono_ms ();
        k.start_by = time_mono_ms () + START_MS < box->end ? time_mono_ms () + START_MS : box->end;
        prctl (PR_SET_PDEATHSIG, SIGKILL);
        if (getppid () != parent)
            _exit (1);
        q->status = status_fd;
        signal (SIGPIPE, SIG_IGN);
        keep (&k);
        _exit (0);
    }
    int rc = *pid == -1 ? err_errno (e, "sandbox: fork") : 0;
    fd_close (&net[1]);
    return rc;
}

/* What was packed in the guest, into fresh folders: no qemu is left that could write the disk. */
static int unpack (struct sandbox *box, struct qemu *q, uint64_t packed, struct err *e)
{
    static const char *const roots[] = { "out", "src", NULL };
    if (packed > (uint64_t) vm_output_size (box->o.conf))
        return err_set (e, ERR_FAILED, "the VM's guest claims more output than its disk holds");
    if (file_remove_tree (box->src, e) == -1 || file_remove_tree (box->out, e) == -1 || file_mkdirs (box->src, 0755, e) == -1 || file_mkdirs (box->out, 0755, e) == -1)
        return -1;
    int dir CLEANUP (fd_close) = open (box->area, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir == -1 || lseek (q->plan.output_read, 0, SEEK_SET) == -1)
        return err_errno (e, "%s", box->area);
    struct pack_in p = { .fd = q->plan.output_read, .limit = packed, .max_entries = vm_entries_max (box->o.conf), .max_bytes = box->o.max_bytes, .max_names = PACK_NAMES_MAX,
                         .roots = roots, .uid = -1 };
    int rc = unpack_tree (&p, dir);
    unpack_release (&p);
    return rc == -1 ? err_set (e, ERR_FAILED, "the VM's outputs: %s", p.why) : 0;
}

static int ended (struct sandbox *box, const char *status, int wait, struct sandbox_run *run, struct err *e)
{
    struct qemu *q = box->own;
    char accel[8] = "", how[16] = "";
    unsigned exit_status = 0, flags = 0;
    unsigned long long packed = 0, refused = 0;
    if (strncmp (status, "error ", 6) == 0)
        return err_set (e, ERR_FAILED, "%.600s", status + 6);
    if (strncmp (status, KEEPER_REFUSES, strlen (KEEPER_REFUSES)) == 0)
        return refuse (box, status + strlen (KEEPER_REFUSES), e);
    if (sscanf (status, "ok %7s %15s %u %u %llu %llu", accel, how, &exit_status, &flags, &packed, &refused) != 6 || exit_status > 255)
        return err_set (e, ERR_FAILED, "isolation qemu: the VM's keeper ended without a word (status %d)", wait);
    box->accelerator = strcmp (accel, "kvm") == 0 ? "kvm" : "tcg";
    box->start = strcmp (how, "resumed") == 0 ? "resumed" : "booted";
    if (box->o.relay) {
        run->relay.refused += refused < CLAIM_MAX ? refused : CLAIM_MAX; /* beside what the relay itself refused */
        run->relay.claimed = true;
    }
    run->timed_out = flags & RESULT_TIMED_OUT;
    run->out_of_memory = run->out_of_memory || (flags & RESULT_OUT_OF_MEMORY);
    run->exit_status = flags & RESULT_NOT_PACKED ? 1 : exit_status;
    return flags & RESULT_PACKED ? unpack (box, q, packed, e) : 0;
}

static void qemu_close (struct sandbox *box)
{
    struct qemu *q = box->own;
    if (q) {
        int *fds[] = { &q->plan.kernel, &q->plan.initramfs, &q->plan.image, &q->plan.input, &q->plan.output, &q->plan.output_read, &q->plan.ram };
        for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
            fd_close (fds[i]);
    }
    free (q);
    box->own = NULL;
    if (box->area)
        file_remove_tree (box->area, NULL);
}

const struct sandbox_driver sandbox_qemu = { .name = "qemu", .kind = ISOLATION_QEMU, .overhead = overhead, .processes = 128, .grace_ms = GRACE_MS, .probe = probe, .now = now,
                                             .version = vm_version, .open = qemu_open, .spawn = spawn, .ended = ended, .close = qemu_close, .relays = true };
