/* A guest whose init is hostile: what a step that became root of its VM, or an image that was made to harm, can do to the host. In an
 * initramfs in place of assay's own (ASSAY_GUEST); the first word of the step's command says what it does. */
#define main guest_main
int main (int argc, char **argv);
#include "worker/guest/init.c"
#undef main

static void record (enum record_kind kind, const void *p, size_t len) { say (kind, p, len); }

/* A result: its exit status, flags, bytes of the pack, bytes of log. */
static void result (unsigned status, unsigned flags, uint64_t packed, uint64_t log_bytes)
{
    uint8_t r[RESULT_HEAD] = { (uint8_t) status, (uint8_t) flags };
    put (r + 8, packed, 8);
    put (r + 16, log_bytes, 8);
    record (RECORD_RESULT, r, sizeof r);
}

static void head (uint8_t *b, char type, const char *path, uint64_t size)
{
    memset (b, 0, 32);
    b[0] = (uint8_t) type;
    put (b + 2, strlen (path), 2);
    put (b + 4, 0755, 4);
    put (b + 8, size, 8);
    memcpy (b + 32, path, strlen (path));
}

/* A pack of `out` and one more entry, with content. */
static uint64_t one_entry (int output, char type, const char *path, const char *content)
{
    uint8_t b[16384];
    size_t at = 0;
    head (b, 'd', "out", 0);
    at += 32 + 3;
    head (b + at, type, path, strlen (content));
    at += 32 + strlen (path);
    memcpy (b + at, content, strlen (content));
    at += strlen (content);
    head (b + at, '.', "", 2);
    at += 32;
    pwrite (output, b, at, 0);
    fsync (output);
    return at;
}

static void flood (int fd, uint64_t bytes)
{
    static uint8_t b[65536];
    memset (b, 'x', sizeof b);
    for (uint64_t i = 0; i < bytes; i += sizeof b)
        all_out (fd, b, sizeof b);
}

static void act (const char *what, int log, int output)
{
    static const uint8_t junk[64] = { 0xff, 0x00, 0x80, 'a', 's' };
    if (strcmp (what, "ctl-junk") == 0)
        all_out (ctl, junk, sizeof junk);
    else if (strcmp (what, "ctl-flood") == 0)
        flood (ctl, 64 << 20);
    else if (strcmp (what, "log-flood") == 0)
        flood (log, 32 << 20), result (3, 0, 0, UINT64_MAX);
    else if (strcmp (what, "console-flood") == 0)
        flood (1, 4 << 20), result (3, 0, 0, 0);
    else if (strcmp (what, "off") == 0)
        off ();
    else if (strcmp (what, "silent") == 0)
        for (;;)
            pause ();
    else if (strcmp (what, "panic") == 0) {
        int fd = open ("/proc/sysrq-trigger", O_WRONLY);
        write (fd, "c", 1);
    } else if (strcmp (what, "no-outputs") == 0)
        result (0, RESULT_PACKED, 1000, 0);
    else if (strcmp (what, "big-pack") == 0)
        result (0, RESULT_PACKED, UINT64_C (1) << 60, 0);
    else if (strcmp (what, "flags") == 0)
        result (0, 255, 1, 0);
    else if (strcmp (what, "escape-dots") == 0)
        result (0, RESULT_PACKED, one_entry (output, 'f', "out/../../../../../../tmp/escaped", "x"), 0);
    else if (strcmp (what, "escape-absolute") == 0)
        result (0, RESULT_PACKED, one_entry (output, 'f', "/tmp/escaped", "x"), 0);
    else if (strcmp (what, "device") == 0)
        result (0, RESULT_PACKED, one_entry (output, 'b', "out/x", ""), 0);
    else if (strcmp (what, "link-through") == 0) { /* a link, and then a file through it */
        uint8_t b[1024];
        size_t at = 35;
        head (b, 'd', "out", 0);
        head (b + at, 'l', "out/x", 4);
        memcpy (b + at + 37, "/tmp", 4);
        at += 41;
        head (b + at, 'f', "out/x/escaped", 1);
        b[at + 45] = 'x';
        at += 46;
        head (b + at, '.', "", 3);
        at += 32;
        pwrite (output, b, at, 0);
        fsync (output);
        result (0, RESULT_PACKED, at, 0);
    } else if (strcmp (what, "full-disk") == 0) {
        flood (output, UINT64_C (1) << 40);
        result (3, 0, 0, 0);
    } else if (strcmp (what, "two-results") == 0) { /* the first is the last word */
        result (7, 0, 0, 0);
        result (0, RESULT_PACKED, one_entry (output, 'f', "out/x", "x"), 0);
    } else if (strcmp (what, "terminal") == 0)
        record (RECORD_BROKEN, "\033]0;gotcha\007\033[31mred", 20);
    else
        result (9, 0, 0, 0);
    for (;;)
        pause ();
}

int main (int argc, char **argv)
{
    uint8_t go[GO_SIZE], version[4];
    struct job j;
    if (getpid () != 1)
        return guest_main (argc, argv);
    make_mount ("dev", "/dev", "devtmpfs", 0, NULL);
    int console = open ("/dev/console", O_RDWR);
    dup2 (console, 1);
    make_mount ("proc", "/proc", "proc", 0, NULL);
    make_mount ("sys", "/sys", "sysfs", 0, NULL);
    load_modules ();
    ctl = find ("/sys/class/virtio-ports", "name", "assay.ctl", O_RDWR);
    int log = find ("/sys/class/virtio-ports", "name", "assay.log", O_WRONLY), input = find ("/sys/block", "serial", "input", O_RDONLY),
        output = find ("/sys/block", "serial", "output", O_RDWR);
    put (version, GUEST_VERSION, 4);
    record (RECORD_READY, version, sizeof version);
    wait_for_go (go);
    record (RECORD_STARTED, "", 0);
    ioctl (input, BLKFLSBUF);
    job_read (&j, input);
    j.run[strcspn (j.run, " \n")] = '\0';
    act (j.run, log, output);
}
