#include "config.h"

#include "worker/vm_talk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/cgroup.h"
#include "worker/guest/wire.h"

#define ICE_LOOK_MS 250
#define LOG_BUFFER 65536
#define ASKS_MAX 10000u   /* an honest guest asks once, and once more for each time that it was frozen */
#define LAST_LOG_MS 10000 /* for output that is on its way when the result is there */

static uint64_t le (const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static void put (uint8_t *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++, v >>= 8)
        p[i] = (uint8_t) v;
}

int talk_record (struct bytes in, unsigned *kind, struct bytes *data, size_t *used)
{
    size_t have = in.len < 4 ? in.len : 4;
    if (have && memcmp (in.p, RECORD_MAGIC, have) != 0)
        return -1;
    if (in.len < RECORD_HEAD)
        return 0;
    size_t len = (size_t) le (in.p + 6, 2);
    unsigned k = in.p[4];
    if (in.p[5] || len > RECORD_MAX || (k != RECORD_READY && k != RECORD_STARTED && k != RECORD_TIME && k != RECORD_RESULT && k != RECORD_BROKEN)
        || (k == RECORD_TIME && len))
        return -1;
    if (in.len - RECORD_HEAD < len)
        return 0;
    *kind = k;
    *data = bytes_of (in.p + RECORD_HEAD, len);
    *used = RECORD_HEAD + len;
    return 1;
}

static void printable (struct bytes in, char *out, size_t size)
{
    BUF (clean);
    text_clean (in, false, &clean);
    (void) snprintf (out, size, "%s", buf_str (&clean));
}

bool talk_result (struct bytes d, struct talk_end *end, uint64_t *log)
{
    memset (end, 0, sizeof *end);
    if (d.len < RESULT_HEAD || le (d.p + 2, 6) != 0)
        return false;
    end->exit_status = d.p[0];
    end->flags = d.p[1];
    end->packed = le (d.p + 8, 8);
    *log = le (d.p + 16, 8);
    end->refused = le (d.p + 24, 8);
    bool packed = end->flags & RESULT_PACKED, failed = end->flags & RESULT_NOT_PACKED;
    if (end->flags & ~(unsigned) (RESULT_TIMED_OUT | RESULT_OUT_OF_MEMORY | RESULT_PACKED | RESULT_NOT_PACKED) || (packed && failed))
        return false;
    if ((end->exit_status == 0) != (packed || failed) || packed != (end->packed > 0) || ((end->flags & RESULT_TIMED_OUT) && end->exit_status != 124))
        return false;
    if (!failed && d.len != RESULT_HEAD)
        return false;
    printable (bytes_of (d.p + RESULT_HEAD, d.len - RESULT_HEAD), end->why, sizeof end->why);
    return true;
}

void talk_init (struct talk *t, struct vm *vm, int log_fd, const char *group)
{
    memset (t, 0, sizeof *t);
    t->vm = vm;
    t->log_fd = log_fd;
    t->group = group;
    t->looked = time_mono_ms ();
    t->log = xmalloc (LOG_BUFFER);
    if (log_fd != -1)
        fcntl (log_fd, F_SETFL, fcntl (log_fd, F_GETFL) | O_NONBLOCK);
}

void talk_release (struct talk *t)
{
    buf_release (&t->ctl);
    free (t->log);
    t->log = NULL;
}

static void console_in (struct talk *t)
{
    char b[4096];
    ssize_t n = recv (t->vm->console, b, sizeof b, MSG_DONTWAIT);
    if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR))
        fd_close (&t->vm->console);
    if (n <= 0)
        return;
    size_t len = (size_t) n, max = sizeof t->console, keep = len >= max ? 0 : t->console_len > max - len ? max - len : t->console_len;
    memmove (t->console, t->console + t->console_len - keep, keep);
    size_t take = len < max ? len : max;
    memcpy (t->console + keep, b + len - take, take);
    t->console_len = keep + take;
}

/* What the console said last, for the text of an error. */
static const char *last_words (struct talk *t, char out[300])
{
    size_t end = t->console_len;
    while (end && (unsigned char) t->console[end - 1] <= ' ')
        end--;
    size_t from = end;
    while (from && t->console[from - 1] != '\n' && end - from < 250)
        from--;
    printable (bytes_of (t->console + from, end - from), out, 300);
    return *out ? out : "nothing";
}

/* A few times a second, and given in full where in doubt. */
static void ice_look (struct talk *t, bool now_too)
{
    int64_t now = time_mono_ms ();
    if (!now_too && now - t->looked < ICE_LOOK_MS)
        return;
    bool frozen = cgroup_frozen (t->group);
    if (frozen || t->frozen) {
        t->ice += now - t->looked;
        t->deadline += now - t->looked;
    }
    t->frozen = frozen;
    t->looked = now;
}

/* One wait of at most ms, and what came. */
static void turn (struct talk *t, int64_t ms)
{
    enum { CTL, LOG, CONSOLE, GONE, COUNT };
    bool waits = t->at < t->have;
    struct pollfd f[COUNT] = { [CTL] = { t->ctl_ended || t->ctl.len > 4 * RECORD_MAX ? -1 : t->vm->ctl, POLLIN, 0 },
                               [LOG] = { waits ? t->log_fd : t->vm->log, waits ? POLLOUT : POLLIN, 0 },
                               [CONSOLE] = { t->vm->console, POLLIN, 0 },
                               [GONE] = { t->gone ? -1 : t->vm->pidfd, POLLIN, 0 } };
    if (poll (f, COUNT, ms < 0 ? 0 : ms > ICE_LOOK_MS ? ICE_LOOK_MS : (int) ms) == -1)
        return;
    t->gone = t->gone || f[GONE].revents;
    if (f[CTL].revents) {
        uint8_t b[4096];
        ssize_t n = recv (t->vm->ctl, b, sizeof b, MSG_DONTWAIT);
        if (n > 0)
            buf_add (&t->ctl, b, (size_t) n);
        else if (n == 0 || (errno != EAGAIN && errno != EINTR))
            t->ctl_ended = true;
    }
    if (f[CONSOLE].revents)
        console_in (t);
    if (f[LOG].revents && waits) {
        ssize_t n = write (t->log_fd, t->log + t->at, t->have - t->at);
        if (n > 0)
            t->at += (size_t) n;
        else if (n == -1 && errno != EAGAIN && errno != EINTR)
            t->at = t->have; /* nobody wants it any more */
    } else if (f[LOG].revents) {
        ssize_t n = recv (t->vm->log, t->log, LOG_BUFFER, MSG_DONTWAIT);
        if (n == 0 || (n == -1 && errno != EAGAIN && errno != EINTR))
            fd_close (&t->vm->log);
        t->at = 0;
        t->have = n > 0 ? (size_t) n : 0;
        t->log_total += (uint64_t) t->have;
        if (t->log_fd == -1)
            t->at = t->have;
    }
}

/* The guest's clock ran on while it was frozen, and fell behind while it got little of the machine; this one did not. */
static void tell_time (struct talk *t)
{
    uint8_t b[TIME_SIZE] = TIME_MAGIC;
    ice_look (t, true);
    int64_t left = t->deadline - time_mono_ms ();
    t->told = t->told || left <= 0;
    put (b + 8, left > 0 ? (uint64_t) left : 0, 8);
    /* one that does not take its answers, or is gone, is seen to be so where it is read from, at the latest when the caller's time is over */
    ssize_t n = send (t->vm->ctl, b, sizeof b, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void) n;
}

static void drop (struct talk *t, size_t used)
{
    memmove (t->ctl.p, t->ctl.p + used, t->ctl.len - used);
    t->ctl.len -= used;
}

/* The next record: 0; 1: `until` came first; -1: the guest broke, went away or said nonsense. The record stays until talk_next. */
static int next (struct talk *t, int64_t until, unsigned *kind, struct bytes *data, size_t *used, struct err *e)
{
    char words[300];
    int64_t ice = t->ice;
    t->fault = TALK_OTHER;
    for (;;) {
        ice_look (t, false);
        int got = talk_record (buf_bytes (&t->ctl), kind, data, used);
        if (got == -1)
            return err_set (e, ERR_FAILED, "the VM's guest wrote what makes no sense to its control port");
        if (got == 1 && *kind == RECORD_BROKEN) {
            printable (*data, words, sizeof words);
            return err_set (e, ERR_FAILED, "the VM's guest: %s", words);
        }
        if (got == 1 && *kind == RECORD_TIME && t->deadline) {
            if (++t->asked > ASKS_MAX)
                return err_set (e, ERR_FAILED, "the VM's guest asked for the time more than %u times", ASKS_MAX);
            tell_time (t);
            drop (t, *used);
            continue;
        }
        if (got == 1)
            return 0;
        if (t->deadline && !t->told && !t->frozen && time_mono_ms () >= t->deadline)
            tell_time (t);
        int64_t left = until + t->ice - ice - time_mono_ms ();
        if (left <= 0)
            return 1;
        if (t->gone || t->ctl_ended) { /* what it said before it went is still to be had */
            size_t before = t->ctl.len;
            for (int i = 0; i < 64 && t->vm->console != -1; i++)
                console_in (t);
            turn (t, 0);
            if (t->ctl.len == before) {
                t->fault = TALK_GONE;
                return err_set (e, ERR_FAILED, "the VM went off without a result; its console's last words: %s", last_words (t, words));
            }
            continue;
        }
        turn (t, left);
    }
}

static int expect (struct talk *t, unsigned wanted, int64_t until, struct bytes *data, size_t *used, struct err *e)
{
    unsigned kind = 0;
    char words[300];
    int got = next (t, until, &kind, data, used, e);
    if (got == 1) {
        t->fault = TALK_LATE;
        return err_set (e, ERR_FAILED, "the VM did not start in time; its console's last words: %s", last_words (t, words));
    }
    if (got == 0 && kind != wanted)
        return err_set (e, ERR_FAILED, "the VM's guest spoke out of turn");
    return got;
}

int talk_ready (struct talk *t, int64_t until, struct err *e)
{
    struct bytes data;
    size_t used;
    if (expect (t, RECORD_READY, until, &data, &used, e) == -1)
        return -1;
    if (data.len != 4 || le (data.p, 4) != GUEST_VERSION)
        return err_set (e, ERR_DAMAGED, "the image's guest is of another version than this worker (make the image anew)");
    drop (t, used);
    return 0;
}

int talk_go (struct talk *t, int64_t left_ms, struct err *e)
{
    uint8_t go[GO_SIZE] = GO_MAGIC;
    ice_look (t, true);
    t->deadline = time_mono_ms () + left_ms;
    put (go + 8, (uint64_t) time_now_us () * 1000, 8);
    put (go + 16, left_ms > 0 ? (uint64_t) left_ms : 0, 8);
    if (getrandom (go + 24, GO_SEED, 0) != GO_SEED || send (t->vm->ctl, go, sizeof go, MSG_NOSIGNAL) != (ssize_t) sizeof go)
        return err_errno (e, "VM: its control port");
    return 0;
}

int talk_started (struct talk *t, int64_t until, struct err *e)
{
    struct bytes data;
    size_t used;
    if (expect (t, RECORD_STARTED, until, &data, &used, e) == -1)
        return -1;
    drop (t, used);
    return 0;
}

int talk_follow (struct talk *t, int64_t more_ms, struct talk_end *end, struct err *e)
{
    unsigned kind = 0;
    struct bytes data;
    size_t used;
    uint64_t log = 0;
    int got = next (t, t->deadline + more_ms, &kind, &data, &used, e);
    if (got)
        return got;
    if (kind != RECORD_RESULT || !talk_result (data, end, &log))
        return err_set (e, ERR_FAILED, "the VM's guest claims a result that makes no sense");
    /* Its output may still be on its way through qemu; a guest that lies about how much there is gains a short wait. */
    int64_t last = time_mono_ms () + LAST_LOG_MS;
    while ((t->log_total < log || t->at < t->have) && t->vm->log != -1 && time_mono_ms () < last)
        turn (t, 100);
    return 0;
}
