#include "config.h"

#include "worker/trial.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "worker/cgroup.h"
#include "worker/sandbox.h"

#define NAME "trial"
#define LOOK_MS 1000
#define REST_MS 60000 /* between two trials, where one ended without a word on KVM */

static bool wanted (const struct conf *conf)
{
    unsigned kinds[CONF_DRIVERS];
    for (size_t n = conf_drivers (conf, kinds); n-- > 0;)
        if (kinds[n] == ISOLATION_QEMU)
            return true;
    return false;
}

static void start (struct trial *t, const char *dir)
{
    t->pid = fork ();
    if (t->pid == 0) {
        sigset_t none;
        sigemptyset (&none);
        setpgid (0, 0); /* a terminal's Ctrl-C is for the agent */
        sigprocmask (SIG_SETMASK, &none, NULL);
        execl ("/proc/self/exe", "assay-worker", "--dir", dir, "--trial", (char *) NULL);
        _exit (127);
    }
    if (t->pid == -1)
        t->pid = 0;
}

/* What VMs run under, told whenever it changes. */
static bool tell (struct trial *t, const struct conf *conf, const char *state)
{
    char why[VM_WHY];
    enum vm_accel now = vm_accel_any (conf, state, why), before = t->accel;
    bool same = now == before && strcmp (why, t->why) == 0;
    t->accel = now;
    (void) snprintf (t->why, sizeof t->why, "%s", why);
    if (!same && now == VM_TCG)
        log_warn ("VMs are emulated, as the owner allows: KVM does not work here why=%s", why);
    else if (!same && now == VM_NONE)
        log_warn ("no VMs: KVM does not work here, and emulation = no why=%s", why);
    else if (!same && before != VM_NONE)
        log_info ("VMs run under KVM");
    return !same;
}

void trial_end (struct trial *t)
{
    if (t->pid) {
        kill (t->pid, SIGKILL);
        while (waitpid (t->pid, NULL, 0) == -1 && errno == EINTR) {
        }
    }
    cgroup_kill (NAME ".box");
    t->pid = 0;
}

bool trial_turn (struct trial *t, const char *dir, const struct conf *conf, const char *state, struct trial_leave leave)
{
    int64_t now = time_mono_ms ();
    char *image CLEANUP (free_ptr) = NULL;
    bool changed = false;
    bool over = t->pid && waitpid (t->pid, NULL, WNOHANG) != 0;
    if (over || (t->pid && !leave.go_on)) {
        if (over)
            t->pid = 0;
        trial_end (t);
        t->not_before = now + REST_MS;
        t->looked = 0;
        changed = true;
    }
    if (!wanted (conf)) {
        t->accel = VM_NONE;
        *t->why = '\0';
        return changed;
    }
    if (t->looked && now - t->looked < LOOK_MS)
        return changed;
    t->looked = now;
    enum vm_due due = !t->pid && leave.go_on && leave.start && now >= t->not_before ? vm_kvm_due (state, &image) : VM_DUE_NOTHING;
    if (due != VM_DUE_NOTHING) {
        start (t, dir);
        t->first = due != VM_DUE_AGAIN;
        changed = t->pid != 0;
    }
    return tell (t, conf, state) || changed;
}

unsigned trial_offer (const struct trial *t, const struct conf *conf, const char *state)
{
    unsigned offered = sandbox_offer (conf, state, NULL, NULL);
    return t->pid && t->first && !conf->emulation ? offered & ~(unsigned) ISOLATION_QEMU : offered;
}

int trial_run (const struct trial_opts *o, enum vm_accel *accel, int64_t *ms, struct err *e)
{
    const struct msg_step none = { .name = bytes_str (NAME) };
    const struct sandbox_opts so = { .kind = ISOLATION_QEMU, .name = o->name, .dir = o->place, .image_dir = o->image_dir, .state = o->state, .conf = o->conf, .step = &none, .trial = true };
    struct sandbox *box = NULL;
    struct standing cpu;
    char *lockfile CLEANUP (free_ptr) = xasprintf ("%s.lock", o->image_dir);
    int lock CLEANUP (fd_close) = open (lockfile, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int64_t began = time_mono_ms ();
    if (lock == -1 || flock (lock, LOCK_SH | LOCK_NB) == -1)
        return err_code (e, EC_BUSY, "the image is being fetched or removed");
    vm_kvm_machine (o->state, &cpu);
    *accel = cpu.what == STANDING_WORKS ? VM_KVM : VM_TCG;
    if (*accel == VM_TCG && !o->conf->emulation)
        return vm_accel_none (cpu.why, e);
    int rc = file_remove_tree (o->place, e) == -1 || file_mkdirs (o->place, 0700, e) == -1 ? -1 : sandbox_open (&box, &so, e);
    sandbox_close (&box);
    file_remove_tree (o->place, NULL);
    *ms = time_mono_ms () - began;
    return rc;
}

int trial_main (const struct conf *conf, const char *state)
{
    char *image CLEANUP (free_ptr) = NULL, *place CLEANUP (free_ptr) = xasprintf ("%s/steps/" NAME, state);
    struct standing s;
    struct err e = ERR_INIT;
    enum vm_accel accel;
    int64_t ms = 0;
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    umask (022);
    if (vm_kvm_due (state, &image) == VM_DUE_CPU) {
        vm_kvm_test (state, &s);
        if (s.what != STANDING_WORKS || vm_kvm_due (state, &image) == VM_DUE_NOTHING)
            return s.what == STANDING_WORKS ? 0 : ERR_FAILED;
    }
    if (!image)
        return 0;
    if (cgroup_setup (state, &e) == -1 && conf->require_cgroups)
        log_warn ("KVM cannot be tried why=%s", e.msg);
    else if (trial_run (&(struct trial_opts){ conf, state, image, place, NAME }, &accel, &ms, &e) == 0) {
        log_info ("a null job ran in a VM image=%.12s accelerator=%s ms=%lld", strrchr (image, '/') + 1, vm_accel_name (accel), (long long) ms);
        return 0;
    } else
        log_warn ("KVM was tried image=%.12s why=%s", strrchr (image, '/') + 1, e.msg);
    return ERR_FAILED;
}
