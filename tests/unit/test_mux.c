/* Many connections over a VM's one port: two sides that obey, in any order and any pieces; and a side that does not. */
#include "worker/guest/ferry.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"

static uint32_t state;
static uint32_t below (uint32_t n)
{
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return state % n;
}

/* What the bytes of a connection are: by its number, its direction and where in it. */
static uint8_t byte_at (unsigned n, int dir, uint64_t at) { return (uint8_t) (n * 31 + (unsigned) dir * 101 + at * 7 + (at >> 8)); }

/* ---- two sides and what is under way between them ---- */

struct way { /* of one connection, one direction */
    uint64_t sent, got;
    bool end, ended;
};
struct side {
    struct mux m;
    unsigned n[MUX_STREAMS]; /* which connection; 0: none */
    bool done[MUX_STREAMS];  /* closed by us */
};
#define PIPE 50000
struct pipe {
    uint8_t b[PIPE];
    size_t len;
};
#define CONNECTIONS 400
struct world {
    struct side side[2];     /* 0 opens, 1 takes */
    struct pipe pipe[2];     /* to side 0, to side 1 */
    struct way way[CONNECTIONS + 1][2]; /* from side 0, from side 1 */
    bool torn[CONNECTIONS + 1];
    unsigned opened;
};

static void carry (struct world *w, int to)
{
    struct pipe *p = &w->pipe[to];
    const uint8_t *b;
    size_t n = mux_out (&w->side[!to].m, &b), take = n ? below ((uint32_t) n) + 1 : 0;
    cr_assert_leq (n, MUX_OUT);
    if (take > PIPE - p->len)
        take = PIPE - p->len;
    memcpy (p->b + p->len, b, take);
    mux_sent (&w->side[!to].m, take);
    p->len += take;
    take = p->len ? below ((uint32_t) p->len) + 1 : 0;
    cr_assert (mux_in (&w->side[to].m, p->b, take), "%s", w->side[to].m.why);
    memmove (p->b, p->b + take, p->len - take);
    p->len -= take;
}

static void write_some (struct world *w, int from, unsigned s)
{
    uint8_t b[MUX_DATA];
    struct side *x = &w->side[from];
    struct way *y = &w->way[x->n[s]][from];
    size_t room = mux_room (&x->m, s), n = room ? below ((uint32_t) room) + 1 : 0;
    cr_assert (room <= MUX_DATA && !(y->end && room));
    for (size_t i = 0; i < n; i++)
        b[i] = byte_at (x->n[s], from, y->sent + i);
    mux_send (&x->m, s, b, n);
    y->sent += n;
}

static void read_some (struct world *w, int at, unsigned s, bool all)
{
    struct side *x = &w->side[at];
    struct way *y = &w->way[x->n[s]][!at];
    const uint8_t *p;
    size_t have = mux_have (&x->m, s, &p), n = !have ? 0 : all ? have : below ((uint32_t) have) + 1;
    for (size_t i = 0; i < n; i++)
        cr_assert_eq (p[i], byte_at (x->n[s], !at, y->got + i), "connection %u", x->n[s]);
    mux_eat (&x->m, s, n);
    y->got += n;
    if (mux_ended (&x->m, s))
        y->ended = true;
}

static void shut (struct world *w, int at, unsigned s)
{
    mux_close (&w->side[at].m, s);
    w->side[at].done[s] = true;
}

static void look (struct world *w, int at)
{
    struct side *x = &w->side[at];
    uint32_t target;
    for (unsigned s = 0; s < MUX_STREAMS; s++) {
        if (at == 1 && mux_taken (&x->m, s, &target)) {
            cr_assert (target >= 1 && target <= w->opened);
            x->n[s] = target;
            x->done[s] = false;
        }
        if (!x->n[s] || x->done[s])
            continue;
        struct way *out = &w->way[x->n[s]][at], *in = &w->way[x->n[s]][!at];
        if (mux_gone (&x->m, s)) {
            cr_assert (w->torn[x->n[s]]);
            shut (w, at, s);
        } else if (out->end && in->ended)
            shut (w, at, s);
    }
}

static void act (struct world *w, int at)
{
    struct side *x = &w->side[at];
    unsigned s = below (MUX_STREAMS), what = below (16);
    if (at == 0 && what == 0 && w->opened < CONNECTIONS) {
        int got = mux_open (&x->m, w->opened + 1);
        if (got != -1) {
            x->n[got] = ++w->opened;
            x->done[got] = false;
        }
        return;
    }
    if (!x->n[s] || x->done[s])
        return;
    if (what < 8)
        write_some (w, at, s);
    else if (what < 14)
        read_some (w, at, s, false);
    else if (what == 14 && below (2)) {
        mux_end (&x->m, s);
        w->way[x->n[s]][at].end = true;
    } else if (what == 15 && below (8) == 0) {
        w->torn[x->n[s]] = true;
        shut (w, at, s);
    }
}

static void connections_over_one_pipe (uint32_t seed)
{
    struct world *w = xcalloc (1, sizeof *w);
    state = seed;
    mux_init (&w->side[0].m, true);
    mux_init (&w->side[1].m, false);
    for (int i = 0; i < 6000; i++) {
        for (int k = 0; k < 4; k++)
            act (w, (int) below (2));
        carry (w, (int) below (2));
        look (w, (int) below (2));
    }
    for (int i = 0; i < 3000; i++) /* to the end: nobody begins anything, each reads what there is and ends */
        for (int at = 0; at < 2; at++) {
            look (w, at);
            for (unsigned s = 0; s < MUX_STREAMS; s++)
                if (w->side[at].n[s] && !w->side[at].done[s]) {
                    read_some (w, at, s, true);
                    mux_end (&w->side[at].m, s);
                    w->way[w->side[at].n[s]][at].end = true;
                }
            carry (w, at);
        }
    cr_assert_gt (w->opened, 20);
    for (unsigned n = 1; n <= w->opened; n++)
        for (int d = 0; d < 2 && !w->torn[n]; d++)
            cr_assert (w->way[n][d].ended && w->way[n][d].sent == w->way[n][d].got, "seed %u, connection %u: %llu of %llu", seed, n, (unsigned long long) w->way[n][d].got,
                       (unsigned long long) w->way[n][d].sent);
    for (int at = 0; at < 2; at++)
        for (unsigned s = 0; s < MUX_STREAMS; s++)
            cr_assert_not (w->side[at].m.s[s].live, "seed %u: side %d, stream %u is still there", seed, at, s);
    free (w);
}

Test (mux, connections_in_any_order_and_any_pieces, .timeout = 120)
{
    for (uint32_t seed = 1; seed <= 12; seed++)
        connections_over_one_pipe (seed * 2654435761u);
}

/* ---- by hand ---- */

static size_t frame (uint8_t *b, unsigned kind, unsigned s, uint32_t n)
{
    const uint8_t head[MUX_HEAD] = { (uint8_t) kind, (uint8_t) s, 0, 0, (uint8_t) n, (uint8_t) (n >> 8), (uint8_t) (n >> 16), (uint8_t) (n >> 24) };
    memcpy (b, head, MUX_HEAD);
    return MUX_HEAD;
}

static bool feed (struct mux *m, unsigned kind, unsigned s, uint32_t n)
{
    uint8_t b[MUX_HEAD + MUX_DATA] = { 0 };
    size_t len = frame (b, kind, s, n);
    return mux_in (m, b, len + (kind == MUX_BYTES && n <= MUX_DATA ? n : 0));
}

static void drain (struct mux *m)
{
    const uint8_t *b;
    for (size_t n; (n = mux_out (m, &b)) > 0;)
        mux_sent (m, n);
}

Test (mux, what_the_other_side_may_not_say)
{
    static const struct {
        bool opens; /* which side we are; stream 0 is open, and what we had to say is said */
        struct {
            unsigned kind, s;
            uint32_t n;
        } f[4];
        bool good;  /* the last of them */
    } rows[] = {
        { false, { { MUX_OPEN, 1, 0 } }, true },
        { false, { { MUX_OPEN, 63, UINT32_MAX } }, true },
        { false, { { MUX_OPEN, 64, 0 } }, false },
        { false, { { MUX_OPEN, 255, 0 } }, false },
        { false, { { MUX_OPEN, 0, 0 } }, false },                                            /* is open */
        { true, { { MUX_OPEN, 1, 0 } }, false },                                             /* we open */
        { false, { { 0, 0, 0 } }, false },
        { false, { { 6, 0, 0 } }, false },
        { false, { { 255, 0, 0 } }, false },
        { false, { { MUX_BYTES, 1, 1 } }, false },                                           /* nobody opened it */
        { true, { { MUX_BYTES, 1, 1 } }, false },
        { false, { { MUX_CREDIT, 1, 1 } }, false },
        { false, { { MUX_END, 1, 0 } }, false },
        { false, { { MUX_CLOSE, 1, 0 } }, false },
        { false, { { MUX_BYTES, 0, 0 } }, false },
        { false, { { MUX_BYTES, 0, MUX_DATA + 1 } }, false },
        { false, { { MUX_BYTES, 0, UINT32_MAX } }, false },
        { false, { { MUX_BYTES, 0, MUX_DATA }, { MUX_BYTES, 0, MUX_DATA }, { MUX_BYTES, 0, MUX_DATA }, { MUX_BYTES, 0, MUX_DATA } }, true }, /* all that was granted */
        { false, { { MUX_CREDIT, 0, 1 } }, false },                                          /* for what we never sent */
        { false, { { MUX_CREDIT, 0, 0 } }, false },
        { false, { { MUX_CREDIT, 0, UINT32_MAX } }, false },
        { false, { { MUX_END, 0, 1 } }, false },
        { false, { { MUX_END, 0, 0 }, { MUX_BYTES, 0, 1 } }, false },
        { false, { { MUX_END, 0, 0 }, { MUX_END, 0, 0 } }, false },
        { false, { { MUX_END, 0, 0 }, { MUX_CLOSE, 0, 0 } }, true },
        { false, { { MUX_CLOSE, 0, 7 } }, false },
        { false, { { MUX_CLOSE, 0, 0 }, { MUX_CLOSE, 0, 0 } }, false },
        { false, { { MUX_CLOSE, 0, 0 }, { MUX_BYTES, 0, 1 } }, false },
        { false, { { MUX_CLOSE, 0, 0 }, { MUX_END, 0, 0 } }, false },
        { false, { { MUX_CLOSE, 0, 0 }, { MUX_CREDIT, 0, 1 } }, false },
        { false, { { MUX_CLOSE, 0, 0 }, { MUX_OPEN, 0, 0 } }, false },                       /* we did not close yet */
    };
    struct mux *m = xmalloc (sizeof *m);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        mux_init (m, rows[i].opens);
        if (rows[i].opens)
            cr_assert_eq (mux_open (m, 0), 0);
        else
            cr_assert (feed (m, MUX_OPEN, 0, 0));
        drain (m);
        size_t k = 0;
        while (k + 1 < 4 && rows[i].f[k + 1].kind) {
            cr_assert (feed (m, rows[i].f[k].kind, rows[i].f[k].s, rows[i].f[k].n), "row %zu", i);
            k++;
        }
        cr_assert_eq (feed (m, rows[i].f[k].kind, rows[i].f[k].s, rows[i].f[k].n), rows[i].good, "row %zu: %s", i, m->why ? m->why : "taken");
        cr_assert_eq (m->why == NULL, rows[i].good);
        const uint8_t *b;
        if (!rows[i].good) /* and that is the end of it */
            cr_assert (!feed (m, MUX_OPEN, 5, 0) && mux_out (m, &b) == 0 && mux_room (m, 0) == 0);
    }
    mux_init (m, false);
    cr_assert (feed (m, MUX_OPEN, 0, 0));
    for (int i = 0; i < 4; i++)
        cr_assert (feed (m, MUX_BYTES, 0, MUX_DATA));
    cr_assert_not (feed (m, MUX_BYTES, 0, 1)); /* the window is full */
    mux_init (m, false);
    cr_assert_not (mux_in (m, (const uint8_t *) "\1\0\0\1\0\0\0\0", 8)); /* what must be 0 */
    free (m);
}

Test (mux, an_end_and_a_close_at_once_lose_nothing)
{
    struct mux *a = xmalloc (sizeof *a), *b = xmalloc (sizeof *b);
    const uint8_t *p;
    uint32_t target;
    mux_init (a, true);
    mux_init (b, false);
    int s = mux_open (a, 3);
    size_t n = mux_out (a, &p);
    cr_assert (s == 0 && n == MUX_HEAD && mux_in (b, p, n));
    mux_sent (a, n);
    cr_assert (mux_taken (b, 0, &target) && target == 3 && !mux_taken (b, 0, &target));
    mux_send (b, 0, (const uint8_t *) "hello", 5);
    mux_end (b, 0);
    mux_close (b, 0);
    n = mux_out (b, &p);
    cr_assert (mux_in (a, p, n));
    mux_sent (b, n);
    cr_assert (!mux_gone (a, 0) && mux_have (a, 0, &p) == 5 && memcmp (p, "hello", 5) == 0 && !mux_ended (a, 0));
    mux_eat (a, 0, 5);
    cr_assert (mux_ended (a, 0) && mux_room (a, 0) == 0);
    mux_close (a, 0);
    n = mux_out (a, &p);
    cr_assert (mux_in (b, p, n));
    mux_sent (a, n);
    cr_assert (!a->s[0].live && !b->s[0].live && mux_open (a, 4) == 0);
    /* without an end, what was sent is worth nothing, and that is told apart */
    drain (a);
    cr_assert (feed (b, MUX_OPEN, 0, 4));
    mux_send (b, 0, (const uint8_t *) "hello", 5);
    mux_close (b, 0);
    n = mux_out (b, &p);
    cr_assert (mux_in (a, p, n) && mux_gone (a, 0) && mux_have (a, 0, &p) == 0);
    free (a);
    free (b);
}

Test (mux, a_side_that_takes_nothing_costs_no_more_than_its_buffer)
{
    struct mux *m = xmalloc (sizeof *m);
    static const uint8_t b[MUX_DATA];
    const uint8_t *p;
    mux_init (m, false);
    for (unsigned s = 0; s < MUX_STREAMS; s++)
        cr_assert (feed (m, MUX_OPEN, s, 0));
    size_t sent = 0;
    for (int i = 0; i < 100; i++)
        for (unsigned s = 0; s < MUX_STREAMS; s++) {
            size_t room = mux_room (m, s);
            mux_send (m, s, b, room);
            sent += room;
            mux_out (m, &p);
        }
    cr_assert (sent <= MUX_OUT && m->out_len <= MUX_OUT);
    for (unsigned s = 0; s < MUX_STREAMS; s++) {
        mux_end (m, s);
        mux_close (m, s);
        cr_assert (feed (m, MUX_CLOSE, s, 0));
    }
    drain (m); /* what could not be said before is said now */
    for (unsigned s = 0; s < MUX_STREAMS; s++)
        cr_assert_not (m->s[s].live);
    for (int i = 0; i < 100000; i++) { /* opened and closed for ever */
        cr_assert (feed (m, MUX_OPEN, 0, 0) && feed (m, MUX_CLOSE, 0, 0));
        mux_close (m, 0);
        drain (m);
    }
    free (m);
}

/* ---- with descriptors ---- */


static void pair (int fd[2])
{
    cr_assert_eq (socketpair (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fd), 0);
}

static bool turn (struct ferry *f, struct ferry *g)
{
    struct pollfd p[2 * FERRY_POLL];
    ferry_poll (f, p);
    ferry_poll (g, p + FERRY_POLL);
    poll (p, 2 * FERRY_POLL, 10);
    return ferry_move (f, p) && ferry_move (g, p + FERRY_POLL);
}

Test (mux, a_connection_that_stalls_holds_back_no_other, .timeout = 60)
{
    struct ferry *in = xmalloc (sizeof *in), *out = xmalloc (sizeof *out);
    static uint8_t b[65536], c[65536];
    int port[2], here[2][2], there[2][2];
    uint32_t target;
    pair (port);
    ferry_init (in, port[0], true);
    ferry_init (out, port[1], false);
    for (int i = 0; i < 2; i++) {
        pair (here[i]);
        pair (there[i]);
        int s = mux_open (&in->m, (uint32_t) i);
        cr_assert_eq (s, i);
        ferry_put (in, (unsigned) s, here[i][1], false);
    }
    while (!mux_taken (&out->m, 1, &target))
        cr_assert (turn (in, out));
    for (unsigned i = 0; i < 2; i++)
        ferry_put (out, i, there[i][0], false);
    /* 0 is written to, and nobody reads; 1 carries two megabytes meanwhile */
    uint64_t sent = 0, got = 0, stalled = 0;
    const uint64_t all = 2 << 20;
    while (got < all) {
        cr_assert (turn (in, out));
        ssize_t n = write (here[0][0], b, sizeof b);
        stalled += n > 0 ? (uint64_t) n : 0;
        size_t want = all - sent < sizeof b ? (size_t) (all - sent) : sizeof b;
        for (size_t i = 0; i < want; i++)
            b[i] = byte_at (1, 0, sent + i);
        n = want ? write (here[1][0], b, want) : 0;
        sent += n > 0 ? (uint64_t) n : 0;
        n = read (there[1][1], c, sizeof c);
        for (ssize_t i = 0; i < n; i++)
            cr_assert_eq (c[i], byte_at (1, 0, got + (uint64_t) i));
        got += n > 0 ? (uint64_t) n : 0;
    }
    cr_assert_lt (stalled, 4 << 20); /* the sockets' own buffers, and the window */
    /* the end of one direction, an answer, and then the other */
    shutdown (here[1][0], SHUT_WR);
    ssize_t n;
    while ((n = read (there[1][1], c, sizeof c)) == -1)
        cr_assert (turn (in, out));
    cr_assert_eq (n, 0);
    cr_assert_eq (write (there[1][1], "bye", 3), 3);
    close (there[1][1]);
    while ((n = read (here[1][0], c, sizeof c)) == -1)
        cr_assert (turn (in, out));
    cr_assert (n == 3 && memcmp (c, "bye", 3) == 0);
    while ((n = read (here[1][0], c, sizeof c)) == -1)
        cr_assert (turn (in, out));
    cr_assert_eq (n, 0);
    for (int i = 0; i < 100 && (in->m.s[1].live || out->m.s[1].live); i++)
        cr_assert (turn (in, out));
    cr_assert (!in->m.s[1].live && !out->m.s[1].live && in->c[1].fd == -1 && out->c[1].fd == -1);
    /* a client that breaks off: the service is told */
    close (here[0][0]);
    for (int i = 0; i < 200 && out->c[0].fd != -1; i++) {
        cr_assert (turn (in, out));
        while (read (there[0][1], c, sizeof c) > 0) {
        }
    }
    close (there[0][1]);
    for (int i = 0; i < 200 && (in->m.s[0].live || out->m.s[0].live); i++)
        cr_assert (turn (in, out));
    cr_assert (!in->m.s[0].live && !out->m.s[0].live);
    /* nonsense ends it, with every connection */
    int last[2];
    pair (last);
    int s = mux_open (&in->m, 0);
    ferry_put (in, (unsigned) s, last[1], false);
    cr_assert_eq (write (port[1], "nonsense", 8), 8);
    while (turn (in, out)) {
    }
    cr_assert (in->m.why && in->c[s].fd == -1 && read (last[0], c, 1) == 0);
    close (last[0]);
    close (here[1][0]);
    close (port[0]);
    close (port[1]);
    free (in);
    free (out);
}
