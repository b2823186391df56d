/* cas_mem.c: blobs in memory, for tests. */
#include "store/cas_impl.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct blob {
    struct digest digest;
    struct buf bytes;
};
struct list {
    struct blob *v;
    size_t n;
};
struct mem {
    pthread_mutex_t lock;
    struct list blobs;
};
struct mem_batch {
    struct mem *mem;
    struct list blobs;
};

static struct blob *
find (struct list *l, const struct digest *d)
{
    for (size_t i = 0; i < l->n; i++)
        if (digest_eq (&l->v[i].digest, d))
            return &l->v[i];
    return NULL;
}

static void
list_release (struct list *l)
{
    for (size_t i = 0; i < l->n; i++)
        buf_release (&l->v[i].bytes);
    free (l->v);
    *l = (struct list){ NULL, 0 };
}

static void
list_add (struct list *l, const struct digest *d, struct buf bytes)
{
    l->v = xrealloc (l->v, (l->n + 1) * sizeof *l->v);
    l->v[l->n++] = (struct blob){ *d, bytes };
}

static void *
mem_open (const char *dir, bool look, struct err *e)
{
    struct mem *m = xcalloc (1, sizeof *m);

    (void) dir;
    (void) look;
    (void) e;
    pthread_mutex_init (&m->lock, NULL);
    return m;
}

static void
mem_close (void *self)
{
    struct mem *m = self;

    list_release (&m->blobs);
    pthread_mutex_destroy (&m->lock);
    free (m);
}

static bool
mem_stat (void *self, const struct digest *d, uint64_t *size, struct cas_stamp *stamp)
{
    struct mem *m = self;

    pthread_mutex_lock (&m->lock);
    struct blob *b = find (&m->blobs, d);
    if (b != NULL) {
        *size = b->bytes.len;
        *stamp = (struct cas_stamp){ { b->bytes.len, 1, 0, 0 } };
    }
    pthread_mutex_unlock (&m->lock);
    return b != NULL;
}

static int
mem_read (void *self, const struct digest *d, uint64_t offset, void *p, size_t len, struct err *e)
{
    struct mem *m = self;
    int r = 0;

    pthread_mutex_lock (&m->lock);
    struct blob *b = find (&m->blobs, d);
    if (b == NULL)
        r = err_code (e, EC_NOT_FOUND, "no such blob");
    else if (offset > b->bytes.len || len > b->bytes.len - offset)
        r = err_code (e, EC_DAMAGED, "blob is shorter than it should be");
    else if (len > 0)
        memcpy (p, b->bytes.p + offset, len);
    pthread_mutex_unlock (&m->lock);
    return r;
}

static int
mem_remove (void *self, const struct digest *d, struct err *e)
{
    struct mem *m = self;

    (void) e;
    pthread_mutex_lock (&m->lock);
    struct blob *b = find (&m->blobs, d);
    if (b != NULL) {
        buf_release (&b->bytes);
        *b = m->blobs.v[--m->blobs.n];
    }
    pthread_mutex_unlock (&m->lock);
    return 0;
}

static int
mem_each (void *self, void (*fn) (void *arg, const struct digest *d, uint64_t size), void *arg, struct err *e)
{
    struct mem *m = self;

    (void) e;
    for (size_t i = 0; i < m->blobs.n; i++)
        fn (arg, &m->blobs.v[i].digest, m->blobs.v[i].bytes.len);
    return 0;
}

static uint64_t
mem_space (void *self)
{
    (void) self;
    return UINT64_C (1) << 40;
}

static void *
mem_batch (void *self, const struct digest *name)
{
    struct mem_batch *b = xcalloc (1, sizeof *b);

    (void) name;
    b->mem = self;
    return b;
}

static int
mem_aside (void *batch, const struct digest *d, struct err *e)
{
    struct mem_batch *b = batch;

    (void) e;
    list_add (&b->blobs, d, (struct buf){ NULL, 0, 0 });
    return 0;
}

static int
mem_append (void *batch, const void *p, size_t len, struct err *e)
{
    struct mem_batch *b = batch;

    (void) e;
    buf_add (&b->blobs.v[b->blobs.n - 1].bytes, p, len);
    return 0;
}

static int
mem_shut (void *batch, struct err *e)
{
    (void) batch;
    (void) e;
    return 0;
}

static int
mem_publish (void *batch, struct err *e)
{
    struct mem_batch *b = batch;

    (void) e;
    pthread_mutex_lock (&b->mem->lock);
    for (size_t i = 0; i < b->blobs.n; i++)
        if (find (&b->mem->blobs, &b->blobs.v[i].digest) == NULL) {
            list_add (&b->mem->blobs, &b->blobs.v[i].digest, b->blobs.v[i].bytes);
            b->blobs.v[i].bytes = (struct buf){ NULL, 0, 0 };
        }
    pthread_mutex_unlock (&b->mem->lock);
    list_release (&b->blobs);
    return 0;
}

static void
mem_drop (void *batch)
{
    struct mem_batch *b = batch;

    list_release (&b->blobs);
    free (b);
}

const struct cas_ops cas_mem_ops = {
    .name = "mem", .open = mem_open, .close = mem_close, .stat = mem_stat, .read = mem_read, .remove = mem_remove, .set_aside = mem_remove,
    .each = mem_each, .space = mem_space, .batch = mem_batch, .aside = mem_aside, .append = mem_append, .shut = mem_shut,
    .publish = mem_publish, .drop = mem_drop,
};
