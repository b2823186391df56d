#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/random.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "worker/guest/guest.h"
#include "worker/guest/inside.h"
#include "worker/guest/pack.h"

static int ctl = -1;

int64_t now_ms (void)
{
    struct timespec t;
    clock_gettime (CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool all_out (int fd, const void *p, size_t len)
{
    for (const uint8_t *b = p; len;) {
        ssize_t n = write (fd, b, len);
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        b += n;
        len -= (size_t) n;
    }
    return true;
}

static void put (uint8_t *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++, v >>= 8)
        p[i] = (uint8_t) v;
}

static uint64_t get (const uint8_t *p)
{
    uint64_t v = 0;
    for (int i = 8; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static void say (enum record_kind kind, const void *p, size_t len)
{
    uint8_t b[RECORD_HEAD + RECORD_MAX] = RECORD_MAGIC;
    if (len > RECORD_MAX)
        len = RECORD_MAX;
    b[4] = (uint8_t) kind;
    put (b + 6, len, 2);
    memcpy (b + RECORD_HEAD, p, len);
    all_out (ctl, b, RECORD_HEAD + len);
}

static void off (void)
{
    reboot (RB_AUTOBOOT); /* the host takes a reset for the end */
    for (;;)
        pause ();
}

void broken (const char *fmt, ...)
{
    char text[512];
    va_list ap;
    va_start (ap, fmt);
    vsnprintf (text, sizeof text, fmt, ap);
    va_end (ap);
    printf ("guest: %s\n", text);
    fflush (stdout);
    if (ctl != -1)
        say (RECORD_BROKEN, text, strlen (text));
    off ();
    __builtin_unreachable ();
}

static void load_modules (void)
{
    char line[256];
    FILE *f = fopen ("/modules/list", "r");
    while (f && fgets (line, sizeof line, f)) {
        char path[300];
        line[strcspn (line, "\n")] = '\0';
        snprintf (path, sizeof path, "/modules/%s", line);
        int fd = open (path, O_RDONLY | O_CLOEXEC);
        if (fd == -1 || (syscall (SYS_finit_module, fd, "", 0) == -1 && errno != EEXIST))
            broken ("module %s: %s", line, strerror (errno));
        close (fd);
    }
    if (f)
        fclose (f);
}

/* First line of FOLDER/NAME/FILE. */
static bool read_line (const char *folder, const char *name, const char *file, char *out, int size)
{
    char path[512];
    snprintf (path, sizeof path, "%s/%s/%s", folder, name, file);
    FILE *f = fopen (path, "r");
    bool ok = f && fgets (out, size, f);
    if (f)
        fclose (f);
    if (ok)
        out[strcspn (out, "\n")] = '\0';
    return ok;
}

/* The device that calls itself `wanted`; drivers find theirs a moment after their modules are there. */
static int find (const char *folder, const char *file, const char *wanted, int flags)
{
    for (int tries = 0; tries < 2000; tries++) {
        DIR *d = opendir (folder);
        for (struct dirent *en; d && (en = readdir (d));) {
            char text[128], path[300];
            if (en->d_name[0] == '.' || !read_line (folder, en->d_name, file, text, sizeof text) || strcmp (text, wanted) != 0)
                continue;
            snprintf (path, sizeof path, "/dev/%s", en->d_name);
            int fd = open (path, flags | O_CLOEXEC);
            if (fd != -1) {
                closedir (d);
                return fd;
            }
        }
        if (d)
            closedir (d);
        nanosleep (&(struct timespec){ 0, 5000000 }, NULL);
    }
    broken ("no device named %s", wanted);
}

static void make_mount (const char *what, const char *at, const char *type, unsigned long flags, const char *data)
{
    mkdir (at, 0755);
    if (mount (what, at, type, flags, data) == -1)
        broken ("mount %s at %s: %s", type ? type : what, at, strerror (errno));
}

static void mount_image (int image)
{
    char dev[64], link[64];
    snprintf (link, sizeof link, "/proc/self/fd/%d", image);
    ssize_t n = readlink (link, dev, sizeof dev - 1);
    dev[n > 0 ? n : 0] = '\0';
    make_mount (dev, IMAGE, "squashfs", MS_RDONLY | MS_NODEV | MS_NOSUID, NULL);
}

/* Until the host has gone: what it sends there is what starts the step. A port whose other end is not open yet reads as ended. */
static void wait_for_go (uint8_t go[GO_SIZE])
{
    for (size_t at = 0; at < GO_SIZE;) {
        ssize_t n = read (ctl, go + at, GO_SIZE - at);
        if (n > 0)
            at += (size_t) n;
        else
            nanosleep (&(struct timespec){ 0, 2000000 }, NULL);
    }
    if (memcmp (go, GO_MAGIC, 8) != 0)
        broken ("the host did not say go");
}

void clock_ask (void)
{
    say (RECORD_TIME, "", 0);
}

bool clock_answer (int64_t *left)
{
    static uint8_t b[TIME_SIZE];
    static size_t at;
    struct pollfd p = { ctl, POLLIN, 0 };
    ssize_t n = poll (&p, 1, 0) == 1 && (p.revents & POLLIN) ? read (ctl, b + at, sizeof b - at) : 0;
    at += n > 0 ? (size_t) n : 0;
    if (at < sizeof b)
        return false;
    if (memcmp (b, TIME_MAGIC, 8) != 0)
        broken ("the host did not say what time it is");
    uint64_t ms = get (b + 8);
    *left = ms > INT32_MAX ? INT32_MAX : (int64_t) ms; /* it is asked again after that */
    at = 0;
    return true;
}

/* A guest that was resumed has the randomness and the time of its snapshot: nothing may run before it has its own. */
static void wake (const uint8_t go[GO_SIZE])
{
    _Alignas (struct rand_pool_info) uint8_t pool[sizeof (struct rand_pool_info) + GO_SEED];
    struct rand_pool_info *info = (struct rand_pool_info *) pool;
    uint64_t ns = get (go + 8);
    struct timespec t = { (time_t) (ns / 1000000000), (long) (ns % 1000000000) };
    info->entropy_count = GO_SEED * 8;
    info->buf_size = GO_SEED;
    memcpy (info->buf, go + 24, GO_SEED);
    int fd = open ("/dev/urandom", O_RDWR | O_CLOEXEC);
    if (fd == -1 || ioctl (fd, RNDADDENTROPY, info) == -1 || ioctl (fd, RNDRESEEDCRNG) == -1)
        broken ("randomness: %s", strerror (errno));
    close (fd);
    if (clock_settime (CLOCK_REALTIME, &t) == -1)
        broken ("time: %s", strerror (errno));
}

static void unpack (const struct job *j, int input)
{
    static const char *const roots[] = { "src", "in", NULL };
    char opts[128];
    snprintf (opts, sizeof opts, "size=%llu,nr_inodes=%llu,mode=0755", (unsigned long long) j->n[JOB_DISK], (unsigned long long) j->n[JOB_FILES]);
    make_mount ("assay", WORK, "tmpfs", MS_NOSUID, opts);
    mkdir (WORK "/src", 0755);
    mkdir (WORK "/in", 0755);
    if (j->n[JOB_INPUTS]) /* not the step's: they do not count as what it may write */
        make_mount ("inputs", WORK "/in", "tmpfs", MS_NOSUID | MS_NODEV, "size=100%,nr_inodes=0,mode=0755");
    if (lseek (input, (off_t) j->pack_at, SEEK_SET) == -1)
        broken ("input disk: %s", strerror (errno));
    int dir = open (WORK, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct pack_in p = { .fd = input, .limit = UINT64_MAX, .max_entries = UINT64_MAX, .max_bytes = UINT64_MAX, .roots = roots, .uid = STEP_ID, .own = "src" };
    if (dir == -1 || unpack_tree (&p, dir) == -1)
        broken ("input disk: %s", p.why);
    unpack_release (&p);
    close (dir);
}

static bool want (void *arg, const char *path, bool folder)
{
    return job_wants (arg, path, folder);
}

/* The listed outputs onto the output disk. False with the reason where they do not fit. */
static bool pack (struct job *j, int output, uint64_t *bytes, char why[PACK_WHY])
{
    static const char *const roots[] = { "out", "src" };
    struct pack_out p = { .fd = output, .limit = j->n[JOB_OUTPUT], .max_bytes = j->n[JOB_MAX_BYTES], .max_entries = j->n[JOB_MAX_FILES], .want = want, .arg = j };
    int rc = 0;
    for (int i = 0; i < 2 && rc == 0; i++) {
        char path[32];
        snprintf (path, sizeof path, WORK "/%s", roots[i]);
        int dir = open (path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        rc = dir == -1 ? -1 : pack_tree (&p, dir, roots[i]);
        if (dir != -1)
            close (dir);
    }
    if (rc == 0)
        rc = pack_end (&p);
    if (rc == 0 && fsync (output) == -1) {
        snprintf (p.why, sizeof p.why, "output disk: %s", strerror (errno));
        rc = -1;
    }
    pack_release (&p);
    *bytes = rc == 0 ? p.written : 0;
    memcpy (why, p.why, PACK_WHY);
    return rc == 0;
}

int main (int argc, char **argv)
{
    uint8_t go[GO_SIZE], version[4], result[RESULT_HEAD + PACK_WHY] = { 0 };
    struct job j;
    struct outcome o = { 0 };
    uint64_t packed = 0;
    char why[PACK_WHY] = "";
    if (getpid () != 1) {
        if (argc == 2 && strcmp (argv[1], "--version") == 0)
            return printf ("%u\n", GUEST_VERSION) < 0;
        fputs ("assay-guest: the init of a step's VM; it is no command\n", stderr);
        return 2;
    }
    umask (022);
    make_mount ("dev", "/dev", "devtmpfs", 0, NULL);
    int console = open ("/dev/console", O_RDWR);
    if (console != -1) {
        dup2 (console, 0);
        dup2 (console, 1);
        dup2 (console, 2);
        if (console > 2)
            close (console);
    }
    make_mount ("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    make_mount ("sys", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    make_mount ("cgroup", "/cgroup", "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    load_modules ();
    ctl = find ("/sys/class/virtio-ports", "name", "assay.ctl", O_RDWR);
    int log = find ("/sys/class/virtio-ports", "name", "assay.log", O_WRONLY), relay = find ("/sys/class/virtio-ports", "name", "assay.relay", O_RDWR);
    int image = find ("/sys/block", "serial", "image", O_RDONLY), input = find ("/sys/block", "serial", "input", O_RDONLY),
        output = find ("/sys/block", "serial", "output", O_RDWR);
    mount_image (image);
    if (inside_up () == -1)
        broken ("loopback: %s", strerror (errno));
    put (version, GUEST_VERSION, 4);
    say (RECORD_READY, version, sizeof version);
    wait_for_go (go);

    int64_t began = now_ms ();
    say (RECORD_STARTED, "", 0);
    wake (go);
    /* What was read of the disks before a snapshot is not what is on them now. */
    if (ioctl (input, BLKFLSBUF) == -1 || ioctl (output, BLKFLSBUF) == -1)
        broken ("disks: %s", strerror (errno));
    job_read (&j, input);
    unpack (&j, input);
    step_mounts (&j);
    relay_begin (&j, relay);
    close (relay);
    step_run (&j, log, began + (int64_t) get (go + 16), &o);
    if (o.exit_status == 0)
        result[1] = pack (&j, output, &packed, why) ? RESULT_PACKED : RESULT_NOT_PACKED;
    result[0] = (uint8_t) o.exit_status;
    result[1] = (uint8_t) (result[1] | (o.timed_out ? RESULT_TIMED_OUT : 0) | (o.out_of_memory ? RESULT_OUT_OF_MEMORY : 0));
    put (result + 8, packed, 8);
    put (result + 16, o.log, 8);
    put (result + 24, relay_refused (&j), 8);
    size_t len = result[1] & RESULT_NOT_PACKED ? strnlen (why, PACK_WHY) : 0;
    memcpy (result + RESULT_HEAD, why, len);
    say (RECORD_RESULT, result, RESULT_HEAD + len);
    off ();
    return 0;
}
