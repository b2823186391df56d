/* What a VM says, and what an image says of itself: strict, bounded, hostile; which driver a step gets. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "store/client.h"
#include "worker/guest/guest.h"
#include "worker/image_meta.h"
#include "worker/sandbox.h"
#include "worker/vm_probe.h"
#include "worker/vm_talk.h"

/* job.c is the guest's; what it calls where it fails is ours. */
void broken (const char *fmt, ...)
{
    (void) fmt;
    abort ();
}

Test (vm, records)
{
    static const struct {
        const char *bytes;
        size_t len;
        int got;
        size_t used;
    } rows[] = {
        { "", 0, 0, 0 },
        { "as", 2, 0, 0 },
        { "asR1", 4, 0, 0 },
        { "asR1R\0\4\0\1\0\0\0", 12, 1, 12 },
        { "asR1R\0\4\0\1\0\0\0more", 16, 1, 12 },
        { "asR1S\0\0\0", 8, 1, 8 },
        { "asR1E\0\x30\0", 8, 0, 0 },
        { "asR2R\0\0\0", 8, -1, 0 },
        { "xsR1", 4, -1, 0 },
        { "x", 1, -1, 0 },
        { "asR1X\0\0\0", 8, -1, 0 },
        { "asR1R\1\0\0", 8, -1, 0 },
        { "asR1E\0\xff\xff", 8, -1, 0 },
        { "asR1T\0\0\0", 8, 1, 8 },
        { "asR1T\0\1\0x", 9, -1, 0 }, /* it has nothing to say beside */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        unsigned kind;
        struct bytes data;
        size_t used = 0;
        cr_assert_eq (talk_record (bytes_of (rows[i].bytes, rows[i].len), &kind, &data, &used), rows[i].got, "row %zu", i);
        if (rows[i].got == 1)
            cr_assert_eq (used, rows[i].used, "row %zu", i);
    }
}

/* The guest asks what is left of the step's time. */
Test (vm, the_time_is_the_hosts)
{
    enum { FLOOD = 10001 };
    static const char ask[] = "asR1T\0\0\0", result[RECORD_HEAD + RESULT_HEAD] = "asR1E\0\40\0\7";
    int ends[2];
    struct vm vm = VM_INIT;
    struct talk t;
    struct talk_end end;
    struct err e = ERR_INIT;
    uint8_t b[GO_SIZE];
    uint64_t left;
    cr_assert_eq (socketpair (AF_UNIX, SOCK_STREAM, 0, ends), 0);
    vm.ctl = ends[0];
    talk_init (&t, &vm, -1, "none");
    cr_assert_eq (write (ends[1], ask, 8), 8);
    cr_assert (talk_ready (&t, time_mono_ms () + 2000, &e) == -1 && strstr (e.msg, "out of turn"), "before go: %s", e.msg);
    talk_release (&t);

    talk_init (&t, &vm, -1, "none");
    cr_assert_eq (talk_go (&t, 5000, &e), 0);
    cr_assert_eq (read (ends[1], b, sizeof b), GO_SIZE);
    t.deadline += 60000; /* as after a minute in the ice */
    cr_assert (write (ends[1], ask, 8) == 8 && write (ends[1], result, sizeof result) == (ssize_t) sizeof result);
    cr_assert_eq (talk_follow (&t, 0, &end, &e), 0, "%s", e.msg);
    cr_assert_eq (end.exit_status, 7);
    cr_assert (recv (ends[1], b, sizeof b, MSG_DONTWAIT) == TIME_SIZE && memcmp (b, TIME_MAGIC, 8) == 0);
    memcpy (&left, b + 8, 8);
    cr_assert (left > 50000 && left <= 65000, "%llu", (unsigned long long) left);
    talk_release (&t);

    talk_init (&t, &vm, -1, "none");
    cr_assert_eq (talk_go (&t, -5, &e), 0);
    cr_assert_eq (read (ends[1], b, sizeof b), GO_SIZE);
    cr_assert (write (ends[1], ask, 8) == 8 && write (ends[1], result, sizeof result) == (ssize_t) sizeof result);
    cr_assert_eq (talk_follow (&t, 5000, &end, &e), 0, "%s", e.msg);
    cr_assert (recv (ends[1], b, TIME_SIZE, MSG_DONTWAIT) == TIME_SIZE && !memcmp (b + 8, "\0\0\0\0\0\0\0", 8), "it is over");
    while (recv (ends[1], b, sizeof b, MSG_DONTWAIT) > 0) {
    }
    talk_release (&t);

    talk_init (&t, &vm, -1, "none"); /* one that does not ask is told */
    cr_assert_eq (talk_go (&t, 300, &e), 0);
    cr_assert_eq (read (ends[1], b, sizeof b), GO_SIZE);
    cr_assert_eq (talk_follow (&t, 400, &end, &e), 1, "%s", e.msg);
    cr_assert (recv (ends[1], b, sizeof b, MSG_DONTWAIT) == TIME_SIZE && !memcmp (b + 8, "\0\0\0\0\0\0\0", 8), "once");
    talk_release (&t);

    /* again and again, without taking an answer */
    pid_t pid = fork ();
    if (pid == 0) {
        for (int i = 0; i < FLOOD && write (ends[1], ask, 8) == 8; i++) {
        }
        _exit (0);
    }
    talk_init (&t, &vm, -1, "none");
    cr_assert_eq (talk_go (&t, 20000, &e), 0);
    cr_assert (talk_follow (&t, 0, &end, &e) == -1 && strstr (e.msg, "asked for the time"), "%s", e.msg);
    cr_assert_leq (t.ctl.len, 8u * RECORD_MAX);
    talk_release (&t);
    cr_assert (waitpid (pid, NULL, 0) == pid && close (ends[0]) == 0 && close (ends[1]) == 0);
}

Test (vm, results)
{
    static const struct {
        uint8_t status, flags;
        uint64_t packed;
        const char *text;
        bool good;
    } rows[] = {
        { 0, RESULT_PACKED, 100, "", true },
        { 1, 0, 0, "", true },
        { 124, RESULT_TIMED_OUT, 0, "", true },
        { 137, RESULT_OUT_OF_MEMORY, 0, "", true },
        { 0, RESULT_NOT_PACKED, 0, "no more room", true },
        { 0, 0, 0, "", false },                                  /* done, and no word of outputs */
        { 0, RESULT_PACKED, 0, "", false },
        { 1, RESULT_PACKED, 100, "", false },
        { 0, RESULT_PACKED | RESULT_NOT_PACKED, 100, "", false },
        { 0, RESULT_PACKED | 16, 100, "", false },
        { 0, RESULT_PACKED | RESULT_TIMED_OUT, 100, "", false },
        { 5, RESULT_TIMED_OUT, 0, "", false },
        { 1, 0, 5, "", false },
        { 1, 0, 0, "text where there is none", false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        uint8_t b[RESULT_HEAD + 64] = { rows[i].status, rows[i].flags };
        struct talk_end end;
        uint64_t log;
        b[8] = (uint8_t) rows[i].packed;
        b[16] = 3;
        b[24] = 9;
        memcpy (b + RESULT_HEAD, rows[i].text, strlen (rows[i].text));
        cr_assert_eq (talk_result (bytes_of (b, RESULT_HEAD + strlen (rows[i].text)), &end, &log), rows[i].good, "row %zu", i);
        if (rows[i].good)
            cr_assert (end.exit_status == rows[i].status && end.packed == rows[i].packed && log == 3 && end.refused == 9 && !strcmp (end.why, rows[i].text));
        for (size_t n = 0; n < RESULT_HEAD; n++)
            cr_assert_not (talk_result (bytes_of (b, n), &end, &log));
    }
    uint8_t tricks[RESULT_HEAD + 8] = { 0, RESULT_NOT_PACKED };
    struct talk_end end;
    uint64_t log;
    memcpy (tricks + RESULT_HEAD, "\033[31mred", 8);
    cr_assert (talk_result (bytes_of (tricks, sizeof tricks), &end, &log) && !strchr (end.why, 033));
}

Test (vm, images_that_do_not_match_are_refused)
{
#define D "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
    static const struct {
        const char *json;
        const char *why; /* NULL: fine */
        bool bootable;
    } rows[] = {
        { "{\"kernel\":\"" D "\",\"initramfs\":\"" D "\",\"rootfs\":\"" D "\",\"cpu\":\"Nehalem-v1\",\"guest\":3}", NULL, true },
        { "{\"created-by\":\"assay image import\"}", NULL, false },
        { "[]", "not an object", false },
        { "{", "not an object", false },
        { "{\"kernel\":\"" D "\",\"kernel\":\"" D "\"}", "not an object", false },
        { "{\"kernel\":\"aa\",\"initramfs\":\"" D "\",\"rootfs\":\"" D "\",\"cpu\":\"Nehalem-v1\",\"guest\":3}", "SHA-256", true },
        { "{\"kernel\":\"" D "\",\"rootfs\":\"" D "\",\"cpu\":\"Nehalem-v1\",\"guest\":3}", "SHA-256", true },
        { "{\"kernel\":\"" D "\",\"initramfs\":\"" D "\",\"rootfs\":\"" D "\",\"cpu\":\"host\",\"guest\":3}", "CPU model host", true },
        { "{\"kernel\":\"" D "\",\"initramfs\":\"" D "\",\"rootfs\":\"" D "\",\"cpu\":\"Nehalem-v1,+vmx\",\"guest\":3}", "CPU model", true },
        { "{\"kernel\":\"" D "\",\"initramfs\":\"" D "\",\"rootfs\":\"" D "\",\"guest\":3}", "CPU model", true },
        { "{\"kernel\":\"" D "\",\"initramfs\":\"" D "\",\"rootfs\":\"" D "\",\"cpu\":\"Nehalem-v1\",\"guest\":99}", NULL, false }, /* no VM boots it; its root file system serves */
        { "{\"kernel\":\"" D "\",\"initramfs\":\"" D "\",\"rootfs\":\"" D "\",\"cpu\":\"Nehalem-v1\",\"guest\":0}", "a version", true },
        { "{\"kernel\":\"" D "\",\"initramfs\":\"" D "\",\"rootfs\":\"" D "\",\"cpu\":\"Nehalem-v1\",\"guest\":99999999999}", "a version", true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct image_meta m;
        struct err e = ERR_INIT;
        int rc = image_meta_parse (bytes_str (rows[i].json), &m, &e);
        cr_assert_eq (rc, rows[i].why ? -1 : 0, "row %zu: %s", i, e.msg);
        if (rows[i].why)
            cr_assert (strstr (e.msg, rows[i].why) && e.kind == ERR_DAMAGED, "row %zu: %s", i, e.msg);
        else
            cr_assert_eq (m.bootable, rows[i].bootable);
    }
}

Test (vm, what_is_known_of_kvm_is_of_this_boot_and_this_qemu)
{
    const struct {
        const char *text;
        int what;
        int64_t again;
    } rows[] = {
        { "boot qemu\nworks\n", STANDING_WORKS, 0 },
        { "boot qemu\nfailed 3 1100\nit hung\n", STANDING_FAILED, 1100 },
        { "boot qemu\nfailed 3 999999\nit hung\n", STANDING_FAILED, 1000 }, /* the clock was put back: now */
        { "boot other\nworks\n", STANDING_UNTRIED, 0 },
        { "boot qemu2\nworks\n", STANDING_UNTRIED, 0 },
        { "other qemu\nfailed 3 1100\nit hung\n", STANDING_UNTRIED, 0 },
        { "boot qemu\nworks", STANDING_UNTRIED, 0 },
        { "boot qemu\nworks\nmore\n", STANDING_UNTRIED, 0 },
        { "boot qemu\nfailed 0 1100\nit hung\n", STANDING_UNTRIED, 0 },
        { "boot qemu\nfailed 3 -5\nit hung\n", STANDING_UNTRIED, 0 },
        { "boot qemu\nfailed 99999999999999 1\nit hung\n", STANDING_UNTRIED, 0 },
        { "boot qemu\nfailed\n", STANDING_UNTRIED, 0 },
        { "boot qemu", STANDING_UNTRIED, 0 },
        { "", STANDING_UNTRIED, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct standing s;
        standing_parse (bytes_str (rows[i].text), "boot qemu", 1000, &s);
        cr_assert ((int) s.what == rows[i].what && s.again == rows[i].again, "row %zu", i);
        if (s.what == STANDING_FAILED)
            cr_assert (s.failures == 3 && strcmp (s.why, "it hung") == 0);
    }
    char place[] = "/tmp/assay-standing.XXXXXX", dark[STANDING_MAX];
    cr_assert (mkdtemp (place));
    CLEANUP (free_ptr) char *path = xasprintf ("%s/kvm", place);
    struct standing s;
    int64_t last = 0, now = 1000;
    memset (dark, '\n', sizeof dark);
    memcpy (dark, "it \033[31mhung", 12);
    dark[sizeof dark - 1] = '\0';
    for (unsigned n = 1; n < 12; n++, now = s.again) { /* pauses grow, up to an hour */
        cr_assert_eq (standing_note (path, "k", now, false, dark, NULL), 0);
        standing_read (path, "k", now, &s);
        cr_assert (s.what == STANDING_FAILED && s.failures == n && s.again - now >= last && s.again - now == standing_pause (n) && s.again - now <= 3600);
        cr_assert (s.again - now > last || last == 3600);
        cr_assert (!strchr (s.why, '\n') && !strchr (s.why, 033) && strncmp (s.why, "it ", 3) == 0);
        last = s.again - now;
    }
    cr_assert_eq (standing_note (path, "k", now, true, "", NULL), 0);
    standing_read (path, "k", now, &s);
    cr_assert_eq (s.what, STANDING_WORKS);
    cr_assert_eq (standing_note (path, "k", now, false, "again", NULL), 0);
    standing_read (path, "k", now, &s);
    cr_assert_eq (s.failures, 1);
    standing_read (path, "after a boot", now, &s);
    cr_assert_eq (s.what, STANDING_UNTRIED);
    cr_assert_eq (file_remove_tree (place, NULL), 0);
}

/* A test takes a third of a second where KVM hangs: where its outcome cannot be kept - the disk is full, the folder gone - it is not made again and again. */
Test (vm, kvm_is_tested_once_also_where_that_cannot_be_kept)
{
    struct standing first, s;
    unsetenv ("ASSAY_KVM");
    vm_kvm_forget ("/nowhere");
    vm_kvm_machine ("/nowhere", &first);
    int64_t began = time_mono_ms ();
    for (int i = 0; i < 1000; i++) {
        vm_kvm_machine ("/nowhere", &s);
        cr_assert (s.what == first.what && s.what != STANDING_UNTRIED && strcmp (s.why, first.why) == 0);
    }
    cr_assert_lt (time_mono_ms () - began, 100000); /* 1,000 tests take 5 minutes */
    struct conf c = { .emulation = true };
    char why[VM_WHY];
    cr_assert_eq (vm_accel_any (&c, "/nowhere", why), s.what == STANDING_WORKS ? VM_KVM : VM_TCG);
    c.emulation = false;
    cr_assert_eq (vm_accel_any (&c, "/nowhere", why), s.what == STANDING_WORKS ? VM_KVM : VM_NONE);
    cr_assert_eq (s.what == STANDING_FAILED, *why != 0);
}

static void put (const char *dir, const char *name, const char *text)
{
    CLEANUP (free_ptr) char *path = xasprintf ("%s/%s", dir, name);
    int fd CLEANUP (fd_close) = open (path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644); /* in place: the same file */
    cr_assert (fd != -1 && file_write_all (fd, text, strlen (text)));
}

/* The folder holds these, and is named after them. */
static char *image_of (const char *place, const char *cpu)
{
    static const char *const parts[] = { "kernel", "initramfs", "rootfs" }, *const files[] = { "vmlinux", "initramfs", "rootfs.squashfs" };
    CLEANUP (free_ptr) char *dir = xasprintf ("%s/new", place);
    char hex[DIGEST_HEX];
    BUF (json);
    BUF (raw);
    cr_assert_eq (mkdir (dir, 0700), 0);
    buf_adds (&json, "{");
    for (size_t i = 0; i < 3; i++) {
        struct digest d = digest_of (files[i], strlen (files[i]));
        put (dir, files[i], files[i]);
        buf_addf (&json, "\"%s\":\"%s\",", parts[i], digest_hex (&d, hex));
    }
    buf_addf (&json, "\"cpu\":\"%s\",\"guest\":%u}", cpu, GUEST_VERSION);
    put (dir, "image.json", buf_str (&json));
    int fd CLEANUP (fd_close) = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_eq (manifest_scan (fd, NULL, NULL, &raw, NULL), 0);
    struct digest d = manifest_digest (buf_bytes (&raw));
    char *named = xasprintf ("%s/%s", place, digest_hex (&d, hex));
    cr_assert_eq (rename (dir, named), 0);
    return named;
}

Test (vm, an_image_that_changed_is_hashed_again_and_refused)
{
    static const struct {
        const char *file, *with, *why;
    } rows[] = {
        { "vmlinux", "VMLINUX", "its vmlinux is not the one" },
        { "initramfs", "INITRAMFS", "its initramfs is not the one" },
        { "rootfs.squashfs", "ROOTFS.squashfs", "its rootfs.squashfs is not the one" },
        { "image.json", "{ ", "not an object" },
        { "more", "more", "its files are not those that its digest names" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char place[] = "/tmp/assay-image.XXXXXX";
        struct image_meta m;
        struct err e = ERR_INIT;
        struct stat st;
        cr_assert (mkdtemp (place));
        CLEANUP (free_ptr) char *dir = image_of (place, "Nehalem-v1"), *mark = xasprintf ("%s.checked", dir), *path = xasprintf ("%s/%s", dir, rows[i].file);
        cr_assert_eq (image_meta_check (dir, &m, &e), 0, "%s", e.msg);
        cr_assert (m.bootable && !m.changed && stat (mark, &st) == 0);
        struct timespec first = st.st_mtim;
        cr_assert_eq (image_meta_check (dir, &m, &e), 0); /* by the mark, which stays as it is */
        cr_assert (stat (mark, &st) == 0 && st.st_mtim.tv_nsec == first.tv_nsec && st.st_mtim.tv_sec == first.tv_sec);
        bool there = stat (path, &st) == 0;
        put (dir, rows[i].file, rows[i].with);
        if (there) { /* as it was but for its bytes: the same number, size and modification time */
            struct timespec times[2] = { st.st_atim, st.st_mtim };
            cr_assert_eq (utimensat (AT_FDCWD, path, times, 0), 0);
        }
        for (int again = 0; again < 2; again++) {
            cr_assert_eq (image_meta_check (dir, &m, &e), -1, "row %zu", i);
            cr_assert (m.changed && e.kind == ERR_DAMAGED && strstr (e.msg, rows[i].why), "row %zu: %s", i, e.msg);
        }
        cr_assert_eq (file_remove_tree (place, NULL), 0);
    }
}

/* Fetched as it was made, and yet not what it says: not thrown away, as it would only come again. */
Test (vm, an_image_that_is_wrong_from_the_start)
{
    char place[] = "/tmp/assay-image.XXXXXX";
    struct image_meta m;
    struct err e = ERR_INIT;
    cr_assert (mkdtemp (place));
    CLEANUP (free_ptr) char *dir = image_of (place, "host");
    cr_assert_eq (image_meta_check (dir, &m, &e), -1);
    cr_assert (!m.changed && strstr (e.msg, "CPU model host"), "%s", e.msg);
    cr_assert_eq (file_remove_tree (place, NULL), 0);
}

Test (vm, what_the_guest_packs)
{
    char *listed[] = { (char *) "hello", (char *) "doc/*.1", (char *) "lib/", (char *) "a/b/c", NULL };
    const struct job j = { .artifacts = listed, .artifact_count = 4 };
    static const struct {
        const char *path;
        bool folder, wanted;
    } rows[] = {
        { "hello", false, true }, { "hello", true, true },   { "hello/x", false, true }, { "hell", false, false },    { "doc", true, true },    { "doc", false, false },
        { "doc/x.1", false, true }, { "doc/x.2", false, false }, { "doc/.1", false, false }, { "doc/x.1/deep", false, true }, { "lib", true, true }, { "lib/x/y", false, true },
        { "a", true, true },      { "a/b", true, true },     { "a/b", false, false },    { "a/b/c", false, true },    { "a/x", true, false },   { "other", true, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_assert_eq (job_wants (&j, rows[i].path, rows[i].folder), rows[i].wanted, "%s", rows[i].path);
}

Test (vm, the_driver_is_never_weaker_than_asked_for)
{
    static const struct {
        const char *list;
        unsigned offered, least;
        bool bootable;
        unsigned got;
        bool network;
    } rows[] = {
        { "qemu", ISOLATION_QEMU, ISOLATION_BWRAP, true, ISOLATION_QEMU },
        { "qemu", ISOLATION_QEMU, ISOLATION_BWRAP, false, 0 },
        { "qemu bwrap", ISOLATION_QEMU | ISOLATION_BWRAP, ISOLATION_BWRAP, true, ISOLATION_QEMU },
        { "qemu bwrap", ISOLATION_QEMU | ISOLATION_BWRAP, ISOLATION_BWRAP, false, ISOLATION_BWRAP },
        { "qemu bwrap", ISOLATION_QEMU | ISOLATION_BWRAP, ISOLATION_QEMU, false, 0 },
        { "bwrap qemu", ISOLATION_QEMU | ISOLATION_BWRAP, ISOLATION_BWRAP, true, ISOLATION_BWRAP },
        { "bwrap qemu", ISOLATION_QEMU | ISOLATION_BWRAP, ISOLATION_QEMU, true, ISOLATION_QEMU },
        { "qemu bwrap", ISOLATION_BWRAP, ISOLATION_QEMU, true, 0 },
        { "bwrap", ISOLATION_BWRAP, ISOLATION_QEMU, true, 0 },
        { "bwrap", ISOLATION_BWRAP, ISOLATION_BWRAP, false, ISOLATION_BWRAP },
        { "none", ISOLATION_NONE, ISOLATION_BWRAP, true, 0 },
        { "bwrap", ISOLATION_BWRAP, ISOLATION_BWRAP, true, ISOLATION_BWRAP, true },
        { "qemu", ISOLATION_QEMU, ISOLATION_QEMU, true, ISOLATION_QEMU, true },
        { "qemu", ISOLATION_QEMU, ISOLATION_QEMU, false, 0, true },
        { "qemu bwrap", ISOLATION_QEMU | ISOLATION_BWRAP, ISOLATION_BWRAP, true, ISOLATION_QEMU, true },
        { "none", ISOLATION_NONE, ISOLATION_NONE, true, 0, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct conf c = { .isolation = (char *) (uintptr_t) rows[i].list };
        struct err e = ERR_INIT;
        cr_assert_eq (sandbox_choose (&c, rows[i].offered, &(struct sandbox_needs){ rows[i].least, rows[i].bootable, rows[i].network }, &e), rows[i].got, "row %zu", i);
        cr_assert_eq (rows[i].got == 0, *e.msg != 0, "row %zu", i);
        struct err old = ERR_INIT;
        if (rows[i].got == 0 && sandbox_choose (&c, rows[i].offered, &(struct sandbox_needs){ rows[i].least, false, false, 99 }, &old) == 0 && (rows[i].offered & ISOLATION_QEMU))
            cr_assert (strstr (old.msg, "version 99"), "row %zu: %s", i, old.msg);
    }
    unsigned kinds[CONF_DRIVERS];
    static const char *const bad[] = { "", " ", "quemu", "qemu bwrap none qemu", "qemu,x" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct conf c = { .isolation = (char *) (uintptr_t) bad[i] };
        cr_assert_eq (conf_drivers (&c, kinds), 0, "%s", bad[i]);
    }
}
