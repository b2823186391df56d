/* gc.c: see gc.h. */
#include "store/gc.h"

#include <stdlib.h>

#include "base/log.h"
#include "store/manifest.h"

struct gc {
    struct cas *cas;
    struct digest *v;
    size_t n, cap;
    bool unsure;              /* a root could not be read */
    struct digest *doomed;
    uint64_t doomed_bytes;
    size_t doomed_n, doomed_cap;
};

struct gc *
gc_new (struct cas *c)
{
    struct gc *g = xcalloc (1, sizeof *g);

    g->cas = c;
    return g;
}

void
gc_destroy (struct gc **g)
{
    if (*g == NULL)
        return;
    free ((*g)->v);
    free ((*g)->doomed);
    free (*g);
    *g = NULL;
}

static void
push (struct digest **v, size_t *n, size_t *cap, const struct digest *d)
{
    if (*n == *cap) {
        *cap = *cap ? *cap * 2 : 1024;
        *v = xrealloc (*v, *cap * sizeof **v);
    }
    (*v)[(*n)++] = *d;
}

void
gc_blob (struct gc *g, const struct digest *blob)
{
    push (&g->v, &g->n, &g->cap, blob);
}

int
gc_manifest (struct cas *c, const struct digest *artifact, struct buf *raw, struct err *e)
{
    uint64_t size;
    char hex[DIGEST_HEX];

    if (!cas_has (c, artifact, &size))
        return err_code (e, EC_NOT_FOUND, "artifact %s is not here", digest_hex (artifact, hex));
    if (size > MANIFEST_BYTES_MAX)
        return err_code (e, EC_NOT_FOUND, "%s is no artifact", digest_hex (artifact, hex));
    if (cas_verify (c, artifact, false, e) == -1)
        return -1;
    raw->len = 0;
    return cas_read (c, artifact, 0, buf_grow (raw, (size_t) size), (size_t) size, e);
}

void
gc_root (struct gc *g, const struct digest *artifact)
{
    BUF (raw);
    struct manifest m;
    struct err e = ERR_INIT;

    gc_blob (g, artifact);
    if (gc_manifest (g->cas, artifact, &raw, &e) == -1 || manifest_parse (buf_bytes (&raw), &m, &e) == -1) {
        char hex[DIGEST_HEX];
        log_warn ("artifact not readable artifact=%s reason=%s", digest_hex (artifact, hex), e.msg);
        g->unsure = g->unsure || e.code != EC_NOT_FOUND; /* what is gone for good (set aside) holds nothing any more */
        return;
    }
    for (size_t i = 0; i < m.n; i++)
        if (m.v[i].type == 'f' || m.v[i].type == 'x')
            gc_blob (g, &m.v[i].digest);
    manifest_release (&m);
}

static void
judge (void *arg, const struct digest *d, uint64_t size)
{
    struct gc *g = arg;

    if (g->n == 0 || bsearch (d, g->v, g->n, sizeof *g->v, digest_cmp) == NULL) {
        push (&g->doomed, &g->doomed_n, &g->doomed_cap, d);
        g->doomed_bytes += size;
    }
}

int
gc_find (struct gc *g, size_t *count, uint64_t *bytes, struct err *e)
{
    *count = 0;
    *bytes = 0;
    if (g->unsure)
        return 0;
    if (g->n > 1)
        qsort (g->v, g->n, sizeof *g->v, digest_cmp);
    if (cas_each (g->cas, judge, g, e) == -1) {
        g->doomed_n = 0; /* not looked at to the end: nothing goes */
        return -1;
    }
    *count = g->doomed_n;
    *bytes = g->doomed_bytes;
    return 0;
}

void
gc_doomed (const struct gc *g, void (*fn) (void *arg, const struct digest *blob), void *arg)
{
    for (size_t i = 0; i < g->doomed_n; i++)
        fn (arg, &g->doomed[i]);
}

int
gc_remove (struct gc *g, struct err *e)
{
    for (size_t i = 0; i < g->doomed_n; i++)
        if (cas_remove (g->cas, &g->doomed[i], e) == -1)
            return -1;
    return 0;
}
