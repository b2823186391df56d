/* Any bytes from the other side of a VM's relay port, and between them whatever this side may do: the bounds of the window and of the
 * buffers hold, and a side that broke the rules says nothing more. First byte: which side we are. Then pieces: a byte of what we do (its
 * low bits), a length, that many bytes from the other side. */
#include <stdlib.h>

#include "worker/guest/mux.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void holds (struct mux *m)
{
    const uint8_t *p;
    if (m->out_len > MUX_OUT || m->out_at + m->out_len > MUX_OUT || m->head_len >= MUX_HEAD || m->left > MUX_DATA)
        abort ();
    for (unsigned s = 0; s < MUX_STREAMS; s++) {
        const struct mux_stream *t = &m->s[s];
        if (t->room > MUX_WINDOW || t->at >= MUX_WINDOW || (uint64_t) t->have + t->due + (t->close ? 0 : t->eaten) > MUX_WINDOW || mux_have (m, s, &p) > t->have)
            abort ();
    }
}

static void act (struct mux *m, uint8_t what)
{
    static const uint8_t b[MUX_DATA];
    const uint8_t *p;
    uint32_t target;
    unsigned s = what >> 3 & 7;
    size_t n;
    switch (what & 7) {
    case 0:
        if (m->opens)
            mux_open (m, what);
        else
            mux_taken (m, s, &target);
        break;
    case 1: mux_send (m, s, b, mux_room (m, s)); break;
    case 2: mux_eat (m, s, mux_have (m, s, &p)); break;
    case 3: mux_end (m, s); break;
    case 4: mux_close (m, s); break;
    case 5: mux_eat (m, s, mux_have (m, s, &p) / 2); break;
    default:
        n = mux_out (m, &p);
        if (n && m->why)
            abort ();
        mux_sent (m, what & 64 ? n : n / 2);
    }
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    static struct mux m;
    if (size == 0)
        return 0;
    mux_init (&m, data[0] & 1);
    for (size_t at = 1; at + 1 < size;) {
        act (&m, data[at]);
        holds (&m);
        size_t n = data[at + 1] < size - at - 2 ? data[at + 1] : size - at - 2;
        bool broken = m.why != NULL;
        if (mux_in (&m, data + at + 2, n) && (broken || m.why))
            abort ();
        holds (&m);
        at += 2 + n;
    }
    return 0;
}
