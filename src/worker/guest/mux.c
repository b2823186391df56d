#include "worker/guest/mux.h"

#include <string.h>

void mux_init (struct mux *m, bool opens)
{
    memset (m, 0, offsetof (struct mux, out)); /* what the buffers hold is never looked at before it is written */
    m->opens = opens;
}

static struct mux_stream *begin (struct mux *m, unsigned s, uint32_t target)
{
    struct mux_stream *t = &m->s[s];
    *t = (struct mux_stream){ .live = true, .target = target, .room = MUX_WINDOW, .due = MUX_WINDOW };
    return t;
}

static void settle (struct mux_stream *t)
{
    if (t->closed && t->their_close)
        *t = (struct mux_stream){ .live = false };
}

/* ---- what comes ---- */

static bool against (struct mux *m, const char *why)
{
    m->why = why;
    return false;
}

static bool frame (struct mux *m)
{
    unsigned kind = m->head[0], s = m->head[1];
    uint32_t n = (uint32_t) m->head[4] | (uint32_t) m->head[5] << 8 | (uint32_t) m->head[6] << 16 | (uint32_t) m->head[7] << 24;
    if (m->head[2] || m->head[3] || kind < MUX_OPEN || kind > MUX_CLOSE)
        return against (m, "no frame");
    if (s >= MUX_STREAMS)
        return against (m, "a stream beyond the last");
    struct mux_stream *t = &m->s[s];
    if (kind == MUX_OPEN) {
        if (m->opens || t->live)
            return against (m, "a stream opened that was not free");
        begin (m, s, n)->fresh = true;
        return true;
    }
    if (!t->live || t->their_close || t->say_open)
        return against (m, "a stream that is not open");
    if ((kind == MUX_END || kind == MUX_CLOSE) && n)
        return against (m, "an end with a number");
    switch (kind) {
    case MUX_BYTES:
        if (t->their_end || n == 0 || n > MUX_DATA || n > t->due)
            return against (m, "bytes that were not granted");
        t->due -= n;
        m->left = n;
        m->to = s;
        return true;
    case MUX_CREDIT:
        if (n == 0 || n > MUX_WINDOW - t->room)
            return against (m, "credit for what was not sent");
        t->room += n;
        return true;
    case MUX_END:
        if (t->their_end)
            return against (m, "a second end");
        t->their_end = true;
        return true;
    default:
        t->their_close = true;
        if (!t->their_end)
            t->have = 0; /* it gave up: what it had sent is worth nothing */
        settle (t);
        return true;
    }
}

/* The bytes of a frame, into the ring; the head made sure that they fit. */
static size_t content (struct mux *m, const uint8_t *p, size_t n)
{
    struct mux_stream *t = &m->s[m->to];
    uint32_t end = (t->at + t->have) % MUX_WINDOW, piece = m->left < n ? m->left : (uint32_t) n;
    if (!t->close) {
        if (piece > MUX_WINDOW - end)
            piece = MUX_WINDOW - end;
        memcpy (m->ring[m->to] + end, p, piece);
        t->have += piece;
    }
    m->left -= piece;
    return piece;
}

bool mux_in (struct mux *m, const uint8_t *p, size_t n)
{
    while (n && !m->why) {
        size_t used;
        if (m->left)
            used = content (m, p, n);
        else {
            used = MUX_HEAD - m->head_len < n ? MUX_HEAD - m->head_len : n;
            memcpy (m->head + m->head_len, p, used);
            m->head_len += (uint32_t) used;
            if (m->head_len == MUX_HEAD) {
                m->head_len = 0;
                frame (m);
            }
        }
        p += used;
        n -= used;
    }
    return !m->why;
}

/* ---- what goes ---- */

static size_t space (struct mux *m)
{
    if (m->out_at) {
        memmove (m->out, m->out + m->out_at, m->out_len);
        m->out_at = 0;
    }
    return MUX_OUT - m->out_len;
}

static bool put (struct mux *m, enum mux_kind kind, unsigned s, uint32_t n)
{
    const uint8_t head[MUX_HEAD] = { (uint8_t) kind, (uint8_t) s, 0, 0, (uint8_t) n, (uint8_t) (n >> 8), (uint8_t) (n >> 16), (uint8_t) (n >> 24) };
    if (space (m) < MUX_HEAD)
        return false;
    memcpy (m->out + m->out_len, head, MUX_HEAD);
    m->out_len += MUX_HEAD;
    return true;
}

/* What is to be said about a stream, as far as there is room, in an order that the other side understands: an end or a close comes after
 * the bytes, as these were put there when they were sent. */
static void speak (struct mux *m, unsigned s)
{
    struct mux_stream *t = &m->s[s];
    if (t->say_open)
        t->say_open = !put (m, MUX_OPEN, s, t->target);
    if (t->say_open)
        return;
    if (t->eaten >= MUX_WINDOW / 4 && !t->their_end && !t->close && put (m, MUX_CREDIT, s, t->eaten)) {
        t->due += t->eaten;
        t->eaten = 0;
    }
    if (t->say_end)
        t->say_end = !put (m, MUX_END, s, 0);
    if (t->say_close && !t->say_end && put (m, MUX_CLOSE, s, 0)) {
        t->say_close = false;
        t->closed = true;
        settle (t);
    }
}

size_t mux_out (struct mux *m, const uint8_t **p)
{
    for (unsigned s = 0; s < MUX_STREAMS && !m->why; s++)
        if (m->s[s].live)
            speak (m, s);
    *p = m->out + m->out_at;
    return m->why ? 0 : m->out_len;
}

void mux_sent (struct mux *m, size_t n)
{
    m->out_at += n;
    m->out_len -= n;
}

/* ---- streams ---- */

static int first_free (const struct mux *m)
{
    for (int s = 0; s < MUX_STREAMS; s++)
        if (!m->s[s].live)
            return s;
    return -1;
}

bool mux_free (const struct mux *m) { return first_free (m) != -1; }

int mux_open (struct mux *m, uint32_t target)
{
    int s = first_free (m);
    if (s != -1)
        begin (m, (unsigned) s, target)->say_open = true;
    return s;
}

bool mux_taken (struct mux *m, unsigned s, uint32_t *target)
{
    bool fresh = m->s[s].fresh;
    m->s[s].fresh = false;
    *target = m->s[s].target;
    return fresh;
}

size_t mux_room (struct mux *m, unsigned s)
{
    struct mux_stream *t = &m->s[s];
    if (!t->live || t->end || t->close || t->their_close || m->why)
        return 0;
    speak (m, s); /* what is to be said comes first */
    size_t most = t->room < MUX_DATA ? t->room : MUX_DATA, room = space (m);
    if (t->say_open || room <= MUX_HEAD)
        return 0;
    return most < room - MUX_HEAD ? most : room - MUX_HEAD;
}

void mux_send (struct mux *m, unsigned s, const uint8_t *p, size_t n)
{
    if (n == 0 || n > mux_room (m, s) || !put (m, MUX_BYTES, s, (uint32_t) n))
        return;
    memcpy (m->out + m->out_len, p, n);
    m->out_len += n;
    m->s[s].room -= (uint32_t) n;
}

void mux_end (struct mux *m, unsigned s)
{
    struct mux_stream *t = &m->s[s];
    if (t->live && !t->end && !t->close)
        t->end = t->say_end = true;
}

size_t mux_have (const struct mux *m, unsigned s, const uint8_t **p)
{
    const struct mux_stream *t = &m->s[s];
    *p = m->ring[s] + t->at;
    return t->have < MUX_WINDOW - t->at ? t->have : MUX_WINDOW - t->at;
}

void mux_eat (struct mux *m, unsigned s, size_t n)
{
    struct mux_stream *t = &m->s[s];
    t->at = (uint32_t) (t->at + n) % MUX_WINDOW;
    t->have -= (uint32_t) n;
    t->eaten += (uint32_t) n;
}

bool mux_ended (const struct mux *m, unsigned s) { return m->s[s].their_end && !m->s[s].have; }

bool mux_gone (const struct mux *m, unsigned s) { return m->s[s].their_close && !m->s[s].their_end; }

void mux_close (struct mux *m, unsigned s)
{
    struct mux_stream *t = &m->s[s];
    if (!t->live || t->close)
        return;
    t->close = t->say_close = true; /* an end that was asked for is said before it */
    t->have = 0;
}
