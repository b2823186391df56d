/* cas.c: what all backends share: choice, hashing, and the memory of what was found good. */
#include "store/cas_impl.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define READ_BLOCK (1u << 20)
#define GOOD_SLOTS 65536u /* blobs remembered as good; a power of two */

struct good {
    struct digest digest;
    struct cas_stamp stamp;
};
struct cas {
    const struct cas_ops *ops;
    void *self;
    pthread_mutex_t lock; /* of `good` */
    struct good *good;
};
struct cas_batch {
    struct cas *cas;
    void *self;
    struct digest_ctx *hash;
    struct digest want;
    uint64_t size, have;
    bool open;
};

static const struct cas_ops *const backends[] = { &cas_fs_ops, &cas_mem_ops };

static int
open_as (struct cas **out, const char *backend, const char *dir, bool look, struct err *e)
{
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (strcmp (backends[i]->name, backend) == 0) {
            void *self = backends[i]->open (dir, look, e);
            if (self == NULL)
                return -1;
            struct cas *c = xcalloc (1, sizeof *c);
            c->ops = backends[i];
            c->self = self;
            c->good = xcalloc (GOOD_SLOTS, sizeof *c->good);
            pthread_mutex_init (&c->lock, NULL);
            *out = c;
            return 0;
        }
    return err_set (e, ERR_USAGE, "no backend \"%s\" (fs, mem)", backend);
}

int
cas_open (struct cas **c, const char *backend, const char *dir, struct err *e)
{
    return open_as (c, backend, dir, false, e);
}

int
cas_look (struct cas **c, const char *dir, struct err *e)
{
    return open_as (c, "fs", dir, true, e);
}

void
cas_close (struct cas **cp)
{
    struct cas *c = *cp;

    if (c == NULL)
        return;
    c->ops->close (c->self);
    pthread_mutex_destroy (&c->lock);
    free (c->good);
    free (c);
    *cp = NULL;
}

static struct good *
good_slot (struct cas *c, const struct digest *d)
{
    uint32_t h;

    memcpy (&h, d->b, sizeof h);
    return &c->good[h & (GOOD_SLOTS - 1)];
}

static bool
is_good (struct cas *c, const struct digest *d, const struct cas_stamp *stamp)
{
    pthread_mutex_lock (&c->lock);
    struct good *g = good_slot (c, d);
    bool r = digest_eq (&g->digest, d) && memcmp (&g->stamp, stamp, sizeof *stamp) == 0;
    pthread_mutex_unlock (&c->lock);
    return r;
}

static void
set_good (struct cas *c, const struct digest *d, const struct cas_stamp *stamp)
{
    pthread_mutex_lock (&c->lock);
    *good_slot (c, d) = (struct good){ *d, *stamp };
    pthread_mutex_unlock (&c->lock);
}

bool
cas_has (struct cas *c, const struct digest *d, uint64_t *size)
{
    struct cas_stamp stamp;
    uint64_t n;

    return c->ops->stat (c->self, d, size ? size : &n, &stamp);
}

int
cas_read (struct cas *c, const struct digest *d, uint64_t offset, void *p, size_t len, struct err *e)
{
    return c->ops->read (c->self, d, offset, p, len, e);
}

int
cas_verify (struct cas *c, const struct digest *d, bool again, struct err *e)
{
    struct cas_stamp stamp;
    char hex[DIGEST_HEX];
    uint64_t size;

    if (!c->ops->stat (c->self, d, &size, &stamp))
        return err_code (e, EC_NOT_FOUND, "blob %s is not here", digest_hex (d, hex));
    if (!again && is_good (c, d, &stamp))
        return 0;
    CLEANUP (free_ptr) uint8_t *block = xmalloc (READ_BLOCK);
    struct digest_ctx *h = digest_begin ();
    struct digest have;
    struct err bad = ERR_INIT;
    bool failed = false;

    for (uint64_t at = 0; at < size && !failed; at += READ_BLOCK) {
        size_t n = size - at < READ_BLOCK ? (size_t) (size - at) : READ_BLOCK;
        failed = c->ops->read (c->self, d, at, block, n, &bad) == -1;
        if (!failed)
            digest_add (h, block, n);
    }
    digest_end (&h, &have);
    if (!failed && digest_eq (&have, d)) {
        set_good (c, d, &stamp);
        return 0;
    }
    if (c->ops->set_aside (c->self, d, &bad) == -1)
        return err_code (e, EC_DAMAGED, "blob %s is damaged, and could not be set aside: %s", digest_hex (d, hex), bad.msg);
    return err_code (e, EC_DAMAGED, "blob %s is damaged; set aside (build it again, or restore it)", digest_hex (d, hex));
}

int
cas_remove (struct cas *c, const struct digest *d, struct err *e)
{
    return c->ops->remove (c->self, d, e);
}

int
cas_each (struct cas *c, void (*fn) (void *arg, const struct digest *d, uint64_t size), void *arg, struct err *e)
{
    return c->ops->each (c->self, fn, arg, e);
}

uint64_t
cas_free (struct cas *c)
{
    return c->ops->space (c->self);
}

struct cas_batch *
cas_batch_new (struct cas *c, const struct digest *name)
{
    struct cas_batch *b = xcalloc (1, sizeof *b);

    b->cas = c;
    b->self = c->ops->batch (c->self, name);
    return b;
}

bool
cas_batch_left (struct cas_batch *b)
{
    return b->cas->ops->left != NULL && b->cas->ops->left (b->self);
}

static void
begin (struct cas_batch *b, const struct digest *d, uint64_t size)
{
    digest_drop (&b->hash);
    b->hash = digest_begin ();
    b->want = *d;
    b->size = size;
    b->have = 0;
    b->open = true;
}

int
cas_batch_begin (struct cas_batch *b, const struct digest *d, uint64_t size, struct err *e)
{
    if (b->cas->ops->aside (b->self, d, e) == -1)
        return -1;
    begin (b, d, size);
    return 0;
}

/* The bytes that are there, hashed once more. */
static int
reread (struct cas_batch *b, uint64_t len, struct err *e)
{
    CLEANUP (free_ptr) uint8_t *block = xmalloc (READ_BLOCK);

    while (b->have < len) {
        size_t n = len - b->have < READ_BLOCK ? (size_t) (len - b->have) : READ_BLOCK;
        if (b->cas->ops->reread (b->self, b->have, block, n, e) == -1)
            return -1;
        digest_add (b->hash, block, n);
        b->have += n;
    }
    return 0;
}

int
cas_batch_resume (struct cas_batch *b, const struct digest *d, uint64_t size, uint64_t *have, struct err *e)
{
    struct err why = ERR_INIT;
    uint64_t len;

    *have = 0;
    if (b->cas->ops->again == NULL)
        return 0;
    if (b->cas->ops->again (b->self, d, &len, &why) == -1) {
        if (why.code == EC_NOT_FOUND)
            return 0;
        *e = why;
        return -1;
    }
    begin (b, d, size);
    if (len <= size && reread (b, len, e) == -1)
        return -1;
    if (len < size && len > 0) {
        *have = len;
        return 0;
    }
    if (len == size && cas_batch_end (b, &why) == 0) {
        *have = size;
        return 1;
    }
    b->open = false; /* begun anew, from nothing */
    return 0;
}

int
cas_batch_write (struct cas_batch *b, const void *p, size_t len, struct err *e)
{
    if (!b->open || len > b->size - b->have)
        return err_code (e, EC_UNEXPECTED, "more bytes than the manifest says");
    if (b->cas->ops->append (b->self, p, len, e) == -1)
        return -1;
    digest_add (b->hash, p, len);
    b->have += len;
    return 0;
}

int
cas_batch_end (struct cas_batch *b, struct err *e)
{
    struct digest have;
    char hex[DIGEST_HEX];

    if (!b->open)
        return err_code (e, EC_UNEXPECTED, "no blob is open");
    b->open = false;
    digest_end (&b->hash, &have);
    if (b->have != b->size || !digest_eq (&have, &b->want))
        return err_code (e, EC_DAMAGED, "bytes of blob %s do not fit its digest", digest_hex (&b->want, hex));
    return b->cas->ops->shut (b->self, e);
}

int
cas_batch_commit (struct cas_batch *b, struct err *e)
{
    if (b->open)
        return err_code (e, EC_UNEXPECTED, "a blob is not complete");
    return b->cas->ops->publish (b->self, e);
}

static void
batch_end (struct cas_batch **bp, bool leave)
{
    struct cas_batch *b = *bp;

    if (b == NULL)
        return;
    digest_drop (&b->hash);
    (leave && b->cas->ops->leave != NULL ? b->cas->ops->leave : b->cas->ops->drop) (b->self);
    free (b);
    *bp = NULL;
}

void
cas_batch_drop (struct cas_batch **b)
{
    batch_end (b, false);
}

void
cas_batch_leave (struct cas_batch **b)
{
    batch_end (b, true);
}

int
cas_forget (struct cas *c, const struct digest *names, size_t n, struct err *e)
{
    return c->ops->forget != NULL ? c->ops->forget (c->self, names, n, e) : 0;
}
