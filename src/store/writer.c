/* writer.c: the threads that hash and write what comes in, and the one that syncs what is whole, or hashes what an earlier process left. The loop hands a chunk over as it came and goes
 * on; an upload is one thread's at a time, so its bytes stay in order. What is finished comes back to the loop, which alone answers. */
#include "store/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/file.h"

struct piece *
piece_new (struct net_in *in, struct bytes data, uint64_t request)
{
    struct piece *p = xcalloc (1, sizeof *p);
    size_t at = (size_t) (data.p - in->data.p);

    net_in_move (&p->in, in);
    p->data = bytes_of (p->in.data.p + at, data.len);
    p->request = request;
    return p;
}

void
pieces_free (struct pieces *list)
{
    for (struct piece *p = list->first, *next; p != NULL; p = next) {
        next = p->next;
        net_in_release (&p->in);
        free (p);
    }
    *list = (struct pieces){ NULL, NULL };
}

static void
append (struct pieces *list, struct piece *p)
{
    p->next = NULL;
    if (list->last != NULL)
        list->last->next = p;
    else
        list->first = p;
    list->last = p;
}

static struct piece *
first (struct pieces *list)
{
    struct piece *p = list->first;

    if (p != NULL && (list->first = p->next) == NULL)
        list->last = NULL;
    return p;
}

/* With the lock held: somebody has to look at u. */
static void
make_ready (struct server *s, struct upload *u)
{
    struct upload **at = &s->ready;

    while (*at != NULL)
        at = &(*at)->ready_next;
    u->ready_next = NULL;
    *at = u;
    pthread_cond_signal (&s->cond);
}

bool
writer_idle (struct server *s, struct upload *u)
{
    pthread_mutex_lock (&s->lock);
    bool idle = !u->busy && u->done.first == NULL;
    pthread_mutex_unlock (&s->lock);
    return idle;
}

struct upload *
writer_moved (struct server *s, struct pieces *done, bool *failed)
{
    pthread_mutex_lock (&s->lock);
    struct upload *u = s->moved;
    if (u != NULL) {
        s->moved = u->moved_next;
        u->moved = false;
        *done = u->done;
        u->done = (struct pieces){ NULL, NULL };
        *failed = u->bad.kind != ERR_NONE;
    }
    pthread_mutex_unlock (&s->lock);
    return u;
}

/* With the lock held. */
static void
tell (struct server *s, struct upload *u)
{
    if (u->moved)
        return;
    u->moved = true;
    u->moved_next = s->moved;
    s->moved = u;
    eventfd_write (s->wake, 1);
}

void
writer_take (struct server *s, struct upload *u, struct piece *p)
{
    pthread_mutex_lock (&s->lock);
    if (u->bad.kind != ERR_NONE) {
        append (&u->done, p);
        tell (s, u);
    } else {
        append (&u->todo, p);
        if (!u->busy) {
            u->busy = true;
            make_ready (s, u);
        }
    }
    pthread_mutex_unlock (&s->lock);
}

/* With the lock held, which is given up while bytes are written. After a failure the rest is let go unwritten. */
static void
write_out (struct server *s, struct upload *u)
{
    struct piece *p;

    while ((p = first (&u->todo)) != NULL) {
        if (u->bad.kind == ERR_NONE) {
            struct err e = ERR_INIT;
            pthread_mutex_unlock (&s->lock);
            int r = upload_take (u, p->data, &e);
            p->end = u->offset;
            pthread_mutex_lock (&s->lock);
            if (r == -1)
                u->bad = e;
        }
        append (&u->done, p);
        if (u->bad.kind == ERR_NONE)
            tell (s, u);
    }
    u->busy = false;
    tell (s, u);
}

static void *
write_thread (void *arg)
{
    struct server *s = arg;

    pthread_mutex_lock (&s->lock);
    while (!s->stop) {
        struct upload *u = s->ready;
        if (u == NULL) {
            pthread_cond_wait (&s->cond, &s->lock);
            continue;
        }
        s->ready = u->ready_next;
        write_out (s, u);
    }
    pthread_mutex_unlock (&s->lock);
    return NULL;
}

void
writer_sync (struct server *s, struct upload *u)
{
    pthread_mutex_lock (&s->lock);
    u->done_next = s->todo;
    s->todo = u;
    pthread_cond_signal (&s->sync_cond);
    pthread_mutex_unlock (&s->lock);
}

static void *
sync_thread (void *arg)
{
    struct server *s = arg;

    pthread_mutex_lock (&s->lock);
    for (;;) {
        while (s->todo == NULL && !s->stop)
            pthread_cond_wait (&s->sync_cond, &s->lock);
        if (s->todo == NULL)
            break;
        struct upload *u = s->todo;
        s->todo = u->done_next;
        pthread_mutex_unlock (&s->lock);
        u->result = (struct err) ERR_INIT;
        if (u->state == UPLOAD_RESUMING)
            upload_resume (u, &u->result);
        else if (upload_close (s, u, &u->result) == 0)
            cas_batch_commit (u->batch, &u->result);
        pthread_mutex_lock (&s->lock);
        u->done_next = s->done;
        s->done = u;
        eventfd_write (s->wake, 1);
    }
    pthread_mutex_unlock (&s->lock);
    return NULL;
}

struct upload *
writer_synced (struct server *s)
{
    pthread_mutex_lock (&s->lock);
    struct upload *u = s->done;
    s->done = NULL;
    pthread_mutex_unlock (&s->lock);
    return u;
}

int
writer_start (struct server *s, struct err *e)
{
    long cores = sysconf (_SC_NPROCESSORS_ONLN);
    unsigned want = cores < 2 ? 1 : cores > WRITERS_MAX ? WRITERS_MAX : (unsigned) cores;

    s->wake = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (s->wake == -1)
        return err_errno (e, "eventfd");
    errno = pthread_create (&s->thread, NULL, sync_thread, s);
    if (errno != 0)
        return err_errno (e, "thread");
    s->thread_runs = true;
    while (s->writer_count < want && pthread_create (&s->writers[s->writer_count], NULL, write_thread, s) == 0)
        s->writer_count++;
    return s->writer_count > 0 ? 0 : err_set (e, ERR_FAILED, "no thread can be had to write with");
}

void
writer_stop (struct server *s)
{
    pthread_mutex_lock (&s->lock);
    s->stop = true;
    pthread_cond_broadcast (&s->cond);
    pthread_cond_broadcast (&s->sync_cond);
    pthread_mutex_unlock (&s->lock);
    for (unsigned i = 0; i < s->writer_count; i++)
        pthread_join (s->writers[i], NULL);
    s->writer_count = 0;
    if (s->thread_runs)
        pthread_join (s->thread, NULL);
    s->thread_runs = false;
}
