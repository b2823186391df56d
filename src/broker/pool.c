#include "broker/pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/bytes.h"

#define ALONE 3u /* fewer items are done before a thread is awake */

struct pool {
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    pthread_t threads[15];
    unsigned count, busy;
    unsigned long round;
    bool stop;
    size_t n;
    atomic_size_t next;
    void (*work) (void *arg, size_t i);
    void *arg;
};

static void share (struct pool *p)
{
    for (size_t i; (i = atomic_fetch_add (&p->next, 1)) < p->n;)
        p->work (p->arg, i);
}

static void *member (void *arg)
{
    struct pool *p = arg;
    unsigned long seen = 0;
    pthread_mutex_lock (&p->lock);
    for (;;) {
        while (!p->stop && p->round == seen)
            pthread_cond_wait (&p->begin, &p->lock);
        if (p->stop)
            break;
        seen = p->round;
        pthread_mutex_unlock (&p->lock);
        share (p);
        pthread_mutex_lock (&p->lock);
        if (--p->busy == 0)
            pthread_cond_signal (&p->end);
    }
    pthread_mutex_unlock (&p->lock);
    return NULL;
}

struct pool *pool_new (unsigned threads)
{
    struct pool *p = xcalloc (1, sizeof *p);
    long cores = sysconf (_SC_NPROCESSORS_ONLN);
    if (threads == 0)
        threads = cores > 1 ? (unsigned) cores - 1 : 0;
    if (threads > sizeof p->threads / sizeof *p->threads)
        threads = sizeof p->threads / sizeof *p->threads;
    pthread_mutex_init (&p->lock, NULL);
    pthread_cond_init (&p->begin, NULL);
    pthread_cond_init (&p->end, NULL);
    while (p->count < threads && pthread_create (&p->threads[p->count], NULL, member, p) == 0)
        p->count++;
    return p;
}

void pool_destroy (struct pool **pp)
{
    struct pool *p = *pp;
    if (!p)
        return;
    pthread_mutex_lock (&p->lock);
    p->stop = true;
    pthread_cond_broadcast (&p->begin);
    pthread_mutex_unlock (&p->lock);
    for (unsigned i = 0; i < p->count; i++)
        pthread_join (p->threads[i], NULL);
    pthread_mutex_destroy (&p->lock);
    pthread_cond_destroy (&p->begin);
    pthread_cond_destroy (&p->end);
    free (p);
    *pp = NULL;
}

void pool_start (struct pool *p, size_t n, void (*work) (void *arg, size_t i), void *arg)
{
    pthread_mutex_lock (&p->lock);
    p->n = n;
    p->work = work;
    p->arg = arg;
    atomic_store (&p->next, 0);
    p->busy = n ? p->count : 0;
    if (p->busy) {
        p->round++;
        pthread_cond_broadcast (&p->begin);
    }
    pthread_mutex_unlock (&p->lock);
}

void pool_finish (struct pool *p)
{
    share (p);
    pthread_mutex_lock (&p->lock);
    while (p->busy)
        pthread_cond_wait (&p->end, &p->lock);
    pthread_mutex_unlock (&p->lock);
}

void pool_run (struct pool *p, size_t n, void (*work) (void *arg, size_t i), void *arg)
{
    if (n < ALONE || p->count == 0) {
        for (size_t i = 0; i < n; i++)
            work (arg, i);
        return;
    }
    pool_start (p, n, work, arg);
    pool_finish (p);
}
