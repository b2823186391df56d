#include "config.h"

#include "worker/vm_probe.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/image_meta.h"
#include "worker/kvm.h"

#define KVM_ENV "ASSAY_KVM"

static int64_t now_s (void)
{
    return time_now_us () / 1000000;
}

static const char *boot_id (void)
{
    static char id[64];
    if (!*id) {
        int fd CLEANUP (fd_close) = open ("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd == -1 ? -1 : read (fd, id, sizeof id - 1);
        id[n > 0 ? strcspn (id, "\n") : 0] = '\0';
    }
    return *id ? id : "unknown";
}

static char *image_key (void)
{
    return xasprintf ("%s %s", boot_id (), vm_qemu_id ());
}

static char *machine_path (const char *state)
{
    return xasprintf ("%s/kvm", state);
}

/* What this process found out itself: the state folder may be full, or gone, and the test is not for each turn of a loop. */
static struct standing found;

void vm_kvm_test (const char *state, struct standing *s)
{
    char *path CLEANUP (free_ptr) = machine_path (state);
    struct err e = ERR_INIT;
    bool works = kvm_probe (KVM_PROBE_MS, &e) == 0;
    (void) standing_note (path, boot_id (), now_s (), works, e.msg, &found); /* which is whole also where it cannot be kept */
    *s = found;
}

void vm_kvm_machine (const char *state, struct standing *s)
{
    const char *given = getenv (KVM_ENV);
    if (given) {
        memset (s, 0, sizeof *s);
        s->what = *given ? STANDING_FAILED : STANDING_WORKS;
        s->again = INT64_MAX;
        (void) snprintf (s->why, sizeof s->why, "%s", given);
        return;
    }
    char *path CLEANUP (free_ptr) = machine_path (state);
    standing_read (path, boot_id (), now_s (), s);
    if (s->what == STANDING_UNTRIED)
        *s = found;
    if (s->what == STANDING_UNTRIED)
        vm_kvm_test (state, s);
}

void vm_kvm_forget (const char *state)
{
    char *path CLEANUP (free_ptr) = machine_path (state);
    memset (&found, 0, sizeof found);
    unlink (path);
}

void vm_kvm_image (const char *image_dir, struct standing *s)
{
    char *path CLEANUP (free_ptr) = xasprintf ("%s" IMAGE_KVM, image_dir), *key CLEANUP (free_ptr) = image_key ();
    standing_read (path, key, now_s (), s);
}

void vm_kvm_note (const char *image_dir, bool works, const char *why)
{
    char *path CLEANUP (free_ptr) = xasprintf ("%s" IMAGE_KVM, image_dir), *key CLEANUP (free_ptr) = image_key ();
    (void) standing_note (path, key, now_s (), works, why, NULL); /* else the next step finds out for itself */
}

static enum vm_accel else_emulated (const struct conf *conf, const struct standing *s, char why[VM_WHY])
{
    (void) snprintf (why, VM_WHY, "%s", s->why);
    return conf->emulation ? VM_TCG : VM_NONE;
}

enum vm_accel vm_accel_pick (const struct conf *conf, const char *state, const char *image_dir, bool *try, char why[VM_WHY])
{
    struct standing s;
    *try = false;
    *why = '\0';
    vm_kvm_machine (state, &s);
    if (s.what == STANDING_FAILED)
        return else_emulated (conf, &s, why);
    vm_kvm_image (image_dir, &s);
    if (s.what == STANDING_FAILED)
        return else_emulated (conf, &s, why);
    *try = s.what == STANDING_UNTRIED;
    return VM_KVM;
}

int vm_accel_none (const char *why, struct err *e)
{
    return err_set (e, ERR_FAILED, "isolation qemu: KVM does not work here: %s (make it work, or set emulation = yes in worker.ini, which is slow)", strncmp (why, "KVM: ", 5) ? why : why + 5);
}

/* Each image that is here and boots. false: no more. */
struct images {
    char *path;
    DIR *d;
};

static char *next_image (struct images *im)
{
    struct digest g;
    for (struct dirent *en; im->d && (en = readdir (im->d));)
        if (digest_parse (en->d_name, &g)) {
            char *dir = xasprintf ("%s/%s", im->path, en->d_name), *kernel CLEANUP (free_ptr) = xasprintf ("%s/vmlinux", dir);
            if (access (kernel, F_OK) == 0)
                return dir;
            free (dir);
        }
    return NULL;
}

static void images_open (struct images *im, const char *state)
{
    im->path = xasprintf ("%s/images", state);
    im->d = opendir (im->path);
}

static void images_close (struct images *im)
{
    if (im->d)
        closedir (im->d);
    free (im->path);
}

enum vm_accel vm_accel_any (const struct conf *conf, const char *state, char why[VM_WHY])
{
    struct standing s, bad = { .what = STANDING_UNTRIED };
    struct images im;
    bool good = false;
    *why = '\0';
    vm_kvm_machine (state, &s);
    if (s.what == STANDING_FAILED)
        return else_emulated (conf, &s, why);
    images_open (&im, state);
    for (char *dir; !good && (dir = next_image (&im)); free (dir)) {
        vm_kvm_image (dir, &s);
        good = good || s.what == STANDING_WORKS;
        if (s.what == STANDING_FAILED)
            bad = s;
    }
    images_close (&im);
    return good || bad.what == STANDING_UNTRIED ? VM_KVM : else_emulated (conf, &bad, why);
}

enum vm_due vm_kvm_due (const char *state, char **image_dir)
{
    struct standing s;
    struct images im;
    bool good = false;
    char *untried = NULL, *failed = NULL;
    *image_dir = NULL;
    vm_kvm_machine (state, &s);
    if (s.what == STANDING_FAILED)
        return s.again <= now_s () ? VM_DUE_CPU : VM_DUE_NOTHING;
    images_open (&im, state);
    for (char *dir; (dir = next_image (&im));) {
        vm_kvm_image (dir, &s);
        char **to = s.what == STANDING_UNTRIED ? &untried : s.what == STANDING_FAILED && s.again <= now_s () ? &failed : NULL;
        good = good || s.what == STANDING_WORKS;
        if (to && !*to)
            *to = dir;
        else
            free (dir);
    }
    images_close (&im);
    /* What was not tried yet is left to its first step, once one works. */
    *image_dir = failed ? failed : good ? NULL : untried;
    if (*image_dir != failed)
        free (failed);
    if (*image_dir != untried)
        free (untried);
    return !*image_dir ? VM_DUE_NOTHING : failed ? VM_DUE_AGAIN : VM_DUE_FIRST;
}

char *vm_image_here (const char *state)
{
    struct standing s;
    struct images im;
    char *best = NULL;
    images_open (&im, state);
    for (char *dir; (dir = next_image (&im));) {
        vm_kvm_image (dir, &s);
        if (!best || s.what == STANDING_FAILED) {
            free (best);
            best = dir;
        } else
            free (dir);
    }
    images_close (&im);
    return best;
}
