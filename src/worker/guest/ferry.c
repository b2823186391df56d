#include "worker/guest/ferry.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

void ferry_put (struct ferry *f, unsigned s, int fd, bool connecting)
{
    f->c[s].fd = fd;
    f->c[s].connecting = connecting;
    f->c[s].read = f->c[s].shut = false;
}

void ferry_init (struct ferry *f, int port, bool opens)
{
    f->port = port;
    f->bytes = 0;
    for (int s = 0; s < MUX_STREAMS; s++)
        ferry_put (f, (unsigned) s, -1, false);
    mux_init (&f->m, opens);
}

void ferry_ready (struct ferry *f, unsigned s) { f->c[s].connecting = false; }

void ferry_drop (struct ferry *f, unsigned s)
{
    if (f->c[s].fd != -1)
        close (f->c[s].fd);
    f->c[s].fd = -1;
    mux_close (&f->m, s);
}

void ferry_end (struct ferry *f)
{
    for (unsigned s = 0; s < MUX_STREAMS; s++)
        if (f->c[s].fd != -1)
            ferry_drop (f, s);
}

bool ferry_poll (struct ferry *f, struct pollfd p[FERRY_POLL])
{
    const uint8_t *b;
    bool full = mux_out (&f->m, &b) > 0;
    p[0] = (struct pollfd){ f->port, (short) (POLLIN | (full ? POLLOUT : 0)), 0 };
    for (unsigned s = 0; s < MUX_STREAMS; s++) {
        short events = 0;
        if (f->c[s].connecting)
            events = POLLOUT;
        else if (f->c[s].fd != -1)
            events = (short) ((!f->c[s].read && mux_room (&f->m, s) ? POLLIN : 0) | (mux_have (&f->m, s, &b) ? POLLOUT : 0));
        p[1 + s] = (struct pollfd){ events ? f->c[s].fd : -1, events, 0 }; /* an end that hung up would wake us for nothing */
    }
    return full;
}

static bool again (void) { return errno == EAGAIN || errno == EINTR; }

/* Both ways, as far as it goes; false: the connection broke, or is done. */
static bool pass (struct ferry *f, unsigned s, bool readable)
{
    uint8_t in[MUX_DATA];
    const uint8_t *out;
    struct mux *m = &f->m;
    int fd = f->c[s].fd;
    if (mux_gone (m, s))
        return false;
    for (size_t len; (len = mux_have (m, s, &out)) > 0;) {
        ssize_t n = send (fd, out, len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n <= 0) {
            if (n == -1 && !again ())
                return false;
            break;
        }
        mux_eat (m, s, (size_t) n);
        f->bytes += (uint64_t) n;
    }
    if (mux_ended (m, s) && !f->c[s].shut) {
        shutdown (fd, SHUT_WR);
        f->c[s].shut = true;
    }
    size_t room = readable && !f->c[s].read ? mux_room (m, s) : 0;
    if (room) {
        ssize_t n = recv (fd, in, room, MSG_DONTWAIT);
        if (n == -1 && !again ())
            return false;
        if (n == 0) {
            mux_end (m, s);
            f->c[s].read = true;
        } else if (n > 0) {
            mux_send (m, s, in, (size_t) n);
            f->bytes += (uint64_t) n;
        }
    }
    return !(f->c[s].shut && (f->c[s].read || m->s[s].their_close));
}

/* 1, 0: nothing there just now, -1: gone or against the rules */
static int take (struct ferry *f)
{
    static uint8_t b[65536];
    ssize_t n = read (f->port, b, sizeof b);
    if (n == -1 && again ())
        return 0;
    return n > 0 && mux_in (&f->m, b, (size_t) n) ? 1 : -1;
}

static bool give (struct ferry *f)
{
    const uint8_t *b;
    for (size_t len; (len = mux_out (&f->m, &b)) > 0;) {
        ssize_t n = write (f->port, b, len);
        if (n <= 0)
            return n == -1 && again ();
        mux_sent (&f->m, (size_t) n);
    }
    return true;
}

bool ferry_move (struct ferry *f, const struct pollfd p[FERRY_POLL])
{
    bool good = !(p[0].revents & (POLLIN | POLLHUP | POLLERR)) || take (f) != -1;
    for (unsigned s = 0; good && s < MUX_STREAMS; s++)
        if (f->c[s].fd != -1 && !f->c[s].connecting && !pass (f, s, p[1 + s].revents & (POLLIN | POLLHUP | POLLERR)))
            ferry_drop (f, s);
        else if (f->c[s].connecting && mux_gone (&f->m, s))
            ferry_drop (f, s);
    good = good && give (f);
    if (!good)
        ferry_end (f);
    return good;
}
