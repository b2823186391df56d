#include "config.h"

#include "worker/vm_probe.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/kvm.h"

#define KVM_ENV "ASSAY_KVM"

bool vm_kvm_works (char why[VM_WHY])
{
    const char *known = getenv (KVM_ENV);
    struct err e = ERR_INIT;
    if (!known) {
        if (kvm_probe (KVM_PROBE_MS, &e) == -1 && !*e.msg)
            err_set (&e, ERR_FAILED, "KVM does not work");
        setenv (KVM_ENV, e.msg, 1);
        known = e.msg;
    }
    (void) snprintf (why, VM_WHY, "%s", known);
    return !*known;
}

/* Kept for this boot of the machine only. */
static char *mark_path (const char *state)
{
    return xasprintf ("%s/kvm-failed", state);
}

static void boot_id (struct buf *out)
{
    if (file_read ("/proc/sys/kernel/random/boot_id", 64, out, NULL) == -1) {
        /* /proc says that it is empty: read it as a stream */
        char b[64];
        int fd CLEANUP (fd_close) = open ("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd == -1 ? -1 : read (fd, b, sizeof b);
        out->len = 0;
        if (n > 0)
            buf_add (out, b, (size_t) n);
    }
}

void vm_kvm_failed (const char *state)
{
    char *path CLEANUP (free_ptr) = mark_path (state);
    BUF (id);
    boot_id (&id);
    file_write (path, buf_bytes (&id), 0600, NULL);
}

static bool failed_before (const char *state)
{
    char *path CLEANUP (free_ptr) = mark_path (state);
    BUF (then);
    BUF (now);
    boot_id (&now);
    return file_read (path, 64, &then, NULL) == 0 && bytes_eq (buf_bytes (&then), buf_bytes (&now));
}

enum vm_accel vm_accel_pick (const struct conf *conf, const char *state, struct err *e)
{
    char why[VM_WHY];
    bool works = vm_kvm_works (why);
    if (works && state && failed_before (state)) {
        works = false;
        (void) snprintf (why, sizeof why, "a guest hung under it");
    }
    if (works)
        return VM_KVM;
    if (conf->emulation)
        return VM_TCG;
    err_set (e, ERR_FAILED, "isolation qemu: KVM does not work here: %s (allow it, or set emulation = yes in worker.ini, which is slow)", why);
    return VM_NONE;
}
