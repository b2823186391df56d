/* A guest whose init is hostile: what a step that became root of its VM, or an image that was made to harm, can do to the host. In an
 * initramfs in place of assay's own (ASSAY_GUEST). An image with a file /hostile says there what it does before it is told to go, or as soon as it
 * is; else the first word of the step's command says what it does then. */
#define main guest_main
int main (int argc, char **argv);
#include "worker/guest/init.c"
#undef main
#include "worker/guest/mux.h"

static int relay = -1;

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

/* ---- on the relay's port ---- */

static void frame (uint8_t *b, unsigned kind, unsigned s, uint32_t n)
{
    memset (b, 0, MUX_HEAD);
    b[0] = (uint8_t) kind;
    b[1] = (uint8_t) s;
    put (b + 4, n, 4);
}

static void rest (void) { nanosleep (&(struct timespec){ 0, 1000000 }, NULL); }

static bool hung_up (void)
{
    struct pollfd p = { relay, 0, 0 };
    return poll (&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

static void out (const void *p, size_t len)
{
    for (const uint8_t *b = p; len && !hung_up ();) {
        ssize_t n = write (relay, b, len);
        if (n > 0) {
            b += n;
            len -= (size_t) n;
        } else
            rest ();
    }
}

static void tell (unsigned kind, unsigned s, uint32_t n)
{
    static uint8_t b[MUX_HEAD + MUX_DATA];
    frame (b, kind, s, n);
    out (b, MUX_HEAD + (kind == MUX_BYTES ? n : 0));
}

/* Until the worker has hung up: what it read until then was enough for it. */
static void await_end (void)
{
    for (uint8_t b[4096]; read (relay, b, sizeof b) != 0;)
        rest ();
}

static bool got (uint8_t *b, size_t len)
{
    for (size_t at = 0; at < len && !hung_up ();) {
        ssize_t n = read (relay, b + at, len - at);
        if (n > 0)
            at += (size_t) n;
        else
            rest ();
    }
    return !hung_up ();
}

/* Until the worker has closed this stream; closed: those that it did. */
static void await_closed (bool closed[MUX_STREAMS], unsigned s)
{
    static uint8_t b[MUX_DATA];
    for (uint8_t h[MUX_HEAD]; !closed[s] && got (h, sizeof h);)
        if (h[0] == MUX_CLOSE)
            closed[h[1] % MUX_STREAMS] = true;
        else if (h[0] == MUX_BYTES)
            got (b, h[4] | (size_t) h[5] << 8);
}

static bool act_on_relay (const char *what)
{
    bool closed[MUX_STREAMS] = { false };
    if (strcmp (what, "relay-junk") == 0)
        out ("GET / HTTP/1.1\r\n\r\n", 18);
    else if (strcmp (what, "relay-twice") == 0)
        tell (MUX_OPEN, 0, 0), tell (MUX_OPEN, 0, 0);
    else if (strcmp (what, "relay-window") == 0) { /* the broker wants a greeting first, and what follows is beyond what is granted */
        tell (MUX_OPEN, 0, 0);
        while (!hung_up ())
            tell (MUX_BYTES, 0, MUX_DATA);
    } else if (strcmp (what, "relay-credit") == 0)
        tell (MUX_OPEN, 0, 0), tell (MUX_CREDIT, 0, 1 << 30);
    else if (strcmp (what, "relay-elsewhere") == 0) { /* no such endpoint: shut, and counted */
        for (uint32_t i = 0; i < 40; i++)
            tell (MUX_OPEN, i, 8 + i * 100000000);
        for (unsigned i = 0; i < 40; i++)
            await_closed (closed, i);
        result (9, 0, 0, 0);
        return true;
    } else if (strcmp (what, "relay-flood") == 0) { /* opened and dropped, again and again */
        for (int i = 0; i < 3000; i++) {
            unsigned s = (unsigned) i % MUX_STREAMS;
            if (i >= MUX_STREAMS)
                await_closed (closed, s);
            closed[s] = false;
            tell (MUX_OPEN, s, 0);
            tell (MUX_CLOSE, s, 0);
        }
        result (9, 0, 0, 0);
        return true;
    } else
        return false;
    await_end ();
    result (9, 0, 0, 0);
    return true;
}

static void crash (void)
{
    int fd = open ("/proc/sysrq-trigger", O_WRONLY);
    write (fd, "c", 1);
}

static void act (const char *what, int log, int output)
{
    if (act_on_relay (what))
        for (;;)
            pause ();
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
    else if (strcmp (what, "panic") == 0)
        crash ();
    else if (strcmp (what, "no-outputs") == 0)
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

static void forever (void)
{
    for (;;)
        pause ();
}

static void ready (void)
{
    uint8_t version[4];
    put (version, GUEST_VERSION, 4);
    record (RECORD_READY, version, sizeof version);
}

static void started (void)
{
    uint8_t go[GO_SIZE];
    wait_for_go (go);
    record (RECORD_STARTED, "", 0);
}

/* What no step has told it: before ready, between ready and go - when a snapshot is taken - and right after go. Returns where it is no such thing. */
static void act_early (const char *what, int log)
{
    static uint8_t junk[64] = { 0xff, 0x00, 0x80, 'a', 's' };
    uint8_t go[GO_SIZE];
    if (strcmp (what, "early-junk") == 0)
        all_out (ctl, junk, sizeof junk);
    else if (strcmp (what, "early-result") == 0)
        result (0, RESULT_PACKED, 4096, 0);
    else if (strcmp (what, "early-time") == 0)
        clock_ask ();
    else if (strcmp (what, "early-off") == 0)
        off ();
    else if (strcmp (what, "early-panic") == 0)
        crash ();
    else if (strcmp (what, "old-version") == 0)
        put (junk, GUEST_VERSION - 1, 4), record (RECORD_READY, junk, 4);
    else if (strcmp (what, "never-ready") == 0)
        forever ();
    else if (strcmp (what, "early-log") == 0) { /* as the step's output, before there is a step */
        flood (log, 16 << 20);
        ready ();
        started ();
        result (9, 0, 0, UINT64_MAX);
    } else if (strcmp (what, "ready-twice") == 0) {
        ready ();
        ready ();
        started ();
        result (9, 0, 0, 0);
    } else if (strcmp (what, "result-at-ready") == 0) { /* in the very memory that a snapshot keeps */
        ready ();
        result (0, RESULT_PACKED, 4096, 0);
        started ();
        result (9, 0, 0, 0);
    } else if (strcmp (what, "off-at-ready") == 0) {
        ready ();
        off ();
    } else if (strcmp (what, "panic-at-ready") == 0) {
        ready ();
        crash ();
    } else if (strcmp (what, "busy-at-ready") == 0) { /* never at rest while it is saved, and deaf when it wakes */
        static uint8_t all[32 << 20];
        ready ();
        for (uint8_t i = 0;; i++) {
            memset (all, i, sizeof all);
            all_out (log, all, 65536);
        }
    } else if (strcmp (what, "wakes-badly") == 0) {
        ready ();
        wait_for_go (go);
        all_out (ctl, junk, sizeof junk);
    } else if (strcmp (what, "wakes-dead") == 0) {
        ready ();
        wait_for_go (go);
        crash ();
    } else if (strcmp (what, "never-started") == 0) {
        ready ();
        wait_for_go (go);
    } else if (strcmp (what, "asks-on") == 0) { /* for the time, without end, and hears no answer */
        ready ();
        started ();
        for (;;)
            clock_ask ();
    } else
        return;
    forever ();
}

int main (int argc, char **argv)
{
    char what[64];
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
    relay = find ("/sys/class/virtio-ports", "name", "assay.relay", O_RDWR | O_NONBLOCK);
    mount_image (find ("/sys/block", "serial", "image", O_RDONLY));
    if (read_line (IMAGE, ".", "hostile", what, sizeof what))
        act_early (what, log);
    ready ();
    started ();
    ioctl (input, BLKFLSBUF);
    job_read (&j, input);
    j.run[strcspn (j.run, " \n")] = '\0';
    act (j.run, log, output);
}
