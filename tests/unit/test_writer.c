/* The store's threads: an upload's bytes stay in order, whoever writes them; a failure comes back once, with all pieces; what waits for its
 * sync is synced before the end. What is written, and how, is upload.c's: here it is only noted. */
#include "store/server.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#define UPLOADS 40
#define PIECES 60

static struct {
    struct buf got;
    bool in;                    /* a thread is in it */
    unsigned closed, resumed;
    bool close_fails;
} noted[UPLOADS];
static struct upload uploads[UPLOADS];
static atomic_int wrong;

static size_t number (const struct upload *u)
{
    return (size_t) (u - uploads);
}

int upload_take (struct upload *u, struct bytes data, struct err *e)
{
    size_t n = number (u);
    if (noted[n].in || u->state != UPLOAD_OPEN)
        wrong++;
    noted[n].in = true;
    if (data.p[0] % 7 == 0)
        poll (NULL, 0, 1); /* so that threads overtake each other */
    buf_add (&noted[n].got, data.p, data.len);
    u->offset += data.len;
    noted[n].in = false;
    return data.p[0] == 0xff ? err_code (e, EC_DAMAGED, "not these bytes") : 0;
}

int upload_resume (struct upload *u, struct err *e)
{
    (void) e;
    noted[number (u)].resumed++;
    return 0;
}

int upload_close (struct server *s, struct upload *u, struct err *e)
{
    (void) s;
    noted[number (u)].closed++;
    return noted[number (u)].close_fails ? err_code (e, EC_INTERNAL, "no room") : 0;
}

static struct server *begin (void)
{
    static struct server s;
    struct err e = ERR_INIT;
    memset (&s, 0, sizeof s);
    memset (uploads, 0, sizeof uploads);
    for (size_t i = 0; i < UPLOADS; i++)
        buf_release (&noted[i].got);
    memset (noted, 0, sizeof noted);
    wrong = 0;
    pthread_mutex_init (&s.lock, NULL);
    pthread_cond_init (&s.cond, NULL);
    pthread_cond_init (&s.sync_cond, NULL);
    cr_assert_eq (cas_open (&s.cas, "mem", "", &e), 0, "%s", e.msg);
    cr_assert_eq (writer_start (&s, &e), 0, "%s", e.msg);
    cr_assert_geq (s.writer_count, 1);
    return &s;
}

static void end (struct server *s)
{
    writer_stop (s);
    close (s->wake);
    for (size_t i = 0; i < UPLOADS; i++) {
        pieces_free (&uploads[i].todo);
        pieces_free (&uploads[i].done);
        cas_batch_drop (&uploads[i].batch);
        buf_release (&noted[i].got);
    }
    cas_close (&s->cas);
    cr_assert_eq (wrong, 0, "two threads were in one upload");
}

/* A chunk of 3 bytes behind 2 that are not its data: mark, upload, place. */
static void give (struct server *s, size_t upload, uint8_t mark, uint8_t place)
{
    struct net_in in = { .route_len = 1, .route = { (uint8_t) upload } };
    cr_assert_eq (zmq_msg_init_size (&in.frame, 5), 0);
    uint8_t *p = zmq_msg_data (&in.frame);
    p[0] = p[1] = 0;
    p[2] = mark;
    p[3] = (uint8_t) upload;
    p[4] = place;
    in.data = bytes_of (p, 5);
    writer_take (s, &uploads[upload], piece_new (&in, bytes_of (p + 2, 3), place));
    cr_assert_eq (in.data.len, 0, "it is the writer's now");
}

static void wait_for_news (struct server *s)
{
    struct pollfd f = { s->wake, POLLIN, 0 };
    eventfd_t n;
    cr_assert_eq (poll (&f, 1, 20000), 1, "no news for 20 s");
    cr_assert_eq (eventfd_read (s->wake, &n), 0);
}

Test (writer, bytes_stay_in_order_and_every_piece_comes_back, .timeout = 120)
{
    struct server *s = begin ();
    size_t back = 0, next[UPLOADS] = { 0 };
    for (size_t k = 0; k < PIECES; k++)
        for (size_t i = 0; i < UPLOADS; i++)
            give (s, i, (uint8_t) ((i * 31 + k) % 200), (uint8_t) k);
    while (back < UPLOADS * PIECES) {
        struct pieces done;
        struct upload *u;
        bool failed;
        wait_for_news (s);
        while ((u = writer_moved (s, &done, &failed))) {
            cr_assert_not (failed);
            for (struct piece *p = done.first; p; p = p->next) {
                size_t i = number (u);
                cr_assert (p->request == next[i] && p->end == 3 * (next[i] + 1) && p->in.route[0] == i, "piece %zu of %zu", (size_t) p->request, i);
                next[i]++;
                back++;
            }
            pieces_free (&done);
        }
    }
    for (size_t i = 0; i < UPLOADS; i++) {
        while (!writer_idle (s, &uploads[i]))
            poll (NULL, 0, 1);
        cr_assert_eq (noted[i].got.len, 3 * PIECES);
        for (size_t k = 0; k < PIECES; k++)
            cr_assert (noted[i].got.p[3 * k + 1] == i && noted[i].got.p[3 * k + 2] == k, "upload %zu, piece %zu", i, k);
    }
    end (s);
}

Test (writer, a_failure_comes_once_and_nothing_is_written_after_it, .timeout = 120)
{
    struct server *s = begin ();
    size_t back = 0, failures = 0, good = 0;
    for (size_t k = 0; k < PIECES; k++)
        give (s, 3, k == 10 ? 0xff : 1, (uint8_t) k);
    while (back < PIECES) {
        struct pieces done;
        struct upload *u;
        bool failed;
        wait_for_news (s);
        while ((u = writer_moved (s, &done, &failed))) {
            cr_assert_eq (number (u), 3);
            failures += failed;
            for (struct piece *p = done.first; p; p = p->next) {
                back++;
                good += !failed;
            }
            pieces_free (&done);
            if (failed)
                cr_assert (writer_idle (s, u), "no thread has it any more: it may be freed");
        }
    }
    cr_assert_leq (good, 10);
    cr_assert_eq (failures, 1);
    cr_assert_eq (noted[3].got.len, 33, "%zu bytes were written", noted[3].got.len);
    cr_assert_eq (uploads[3].bad.code, EC_DAMAGED);
    /* One that was on its way comes back as well. */
    struct pieces done;
    bool failed = false;
    give (s, 3, 1, 99);
    wait_for_news (s);
    cr_assert_eq (writer_moved (s, &done, &failed), &uploads[3]);
    cr_assert (failed && done.first && done.first->request == 99 && !done.first->next);
    pieces_free (&done);
    cr_assert_eq (noted[3].got.len, 33);
    end (s);
}

Test (writer, what_is_whole_is_synced_also_at_the_end, .timeout = 120)
{
    struct server *s = begin ();
    size_t got = 0;
    for (size_t i = 0; i < UPLOADS; i++) {
        uploads[i].batch = cas_batch_new (s->cas, NULL);
        uploads[i].state = i % 5 == 0 ? UPLOAD_RESUMING : UPLOAD_SYNCING;
        noted[i].close_fails = i == 7;
        if (i < UPLOADS / 2)
            writer_sync (s, &uploads[i]);
    }
    while (got < UPLOADS / 2) {
        wait_for_news (s);
        for (struct upload *u = writer_synced (s); u; u = u->done_next, got++)
            cr_assert_eq (u->result.kind != ERR_NONE, number (u) == 7, "%zu: %s", number (u), u->result.msg);
    }
    for (size_t i = UPLOADS / 2; i < UPLOADS; i++)
        writer_sync (s, &uploads[i]);
    writer_stop (s);
    for (struct upload *u = writer_synced (s); u; u = u->done_next)
        got++;
    cr_assert_eq (got, UPLOADS);
    for (size_t i = 0; i < UPLOADS; i++)
        cr_assert (noted[i].closed == (i % 5 != 0) && noted[i].resumed == (i % 5 == 0), "%zu", i);
    end (s);
}
