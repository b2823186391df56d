/* state_queue.c: which steps come first, and what each submitter has in the queue. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "broker/state_rows.h"

#define SHARERS 4096u /* submitters whose shares stay in memory */

/* ---- steps that changed, and those on the disk, in one order ---- */

static bool in_queue (const struct step_row *r)
{
    return !r->waiting && job_wants (&r->job) > 0;
}

static int by_rank (const void *a, const void *b)
{
    const struct step_row *x = *(const struct step_row *const *) a, *y = *(const struct step_row *const *) b;
    int64_t p = step_rank (x), q = step_rank (y);
    return p != q ? (p < q ? -1 : 1) : x->key < y->key ? -1 : x->key > y->key;
}

static int by_expiry (const void *a, const void *b)
{
    const struct step_row *x = *(const struct step_row *const *) a, *y = *(const struct step_row *const *) b;
    return x->expires != y->expires ? (x->expires < y->expires ? -1 : 1) : x->key < y->key ? -1 : x->key > y->key;
}

/* disk: enough of it, in order, where rows that have changed still are as they were. mine: those that changed, and belong here. */
static void merge (struct rows *r, const struct step_row *disk, size_t d, const struct step_row **mine, size_t m, int (*cmp) (const void *, const void *), unsigned limit,
                   struct step_row *out, size_t *n)
{
    size_t at = 0, i = 0;
    qsort (mine, m, sizeof *mine, cmp);
    for (*n = 0; *n < limit;) {
        const struct step_row *next = at < d ? &disk[at] : NULL;
        const struct step_at *known = next ? zhashx_lookup (r->steps, &next->key) : NULL;
        if (known && known->dirty) {
            at++;
            continue;
        }
        if (!next && i == m)
            break;
        if (next && (i == m || cmp (&next, &mine[i]) < 0)) {
            out[(*n)++] = *next;
            at++;
        } else
            out[(*n)++] = *mine[i++];
    }
}

int state_queue (struct state *s, struct cursor after, unsigned limit, struct step_row *out, size_t *n, struct err *e)
{
    struct rows *r = s->rows;
    const struct step_row **mine CLEANUP (free_ptr) = xmalloc ((r->dirty_steps.n + 1) * sizeof *mine);
    size_t m = 0, more = 0, d = 0;
    for (size_t i = 0; i < r->dirty_steps.n; i++) {
        const struct step_at *st = r->dirty_steps.v[i];
        int64_t rank = step_rank (&st->row);
        more += !st->added && st->row.stored.queued;
        if (in_queue (&st->row) && (rank > after.rank || (rank == after.rank && st->row.key > after.key)))
            mine[m++] = &st->row;
    }
    struct step_row *disk CLEANUP (free_ptr) = xmalloc ((limit + more) * sizeof *disk);
    if (s->ops->queue (s, after, limit + more, disk, &d, e) == -1)
        return -1;
    merge (r, disk, d, mine, m, by_rank, limit, out, n);
    return 0;
}

int state_expired (struct state *s, int64_t now, unsigned limit, struct step_row *out, size_t *n, struct err *e)
{
    struct rows *r = s->rows;
    const struct step_row **mine CLEANUP (free_ptr) = xmalloc ((r->dirty_steps.n + 1) * sizeof *mine);
    size_t m = 0, more = 0, d = 0;
    for (size_t i = 0; i < r->dirty_steps.n; i++) {
        const struct step_at *st = r->dirty_steps.v[i];
        more += !st->added && st->row.stored.job == JOB_OPEN && st->row.stored.expires <= now;
        if (st->row.job.state == JOB_OPEN && st->row.expires <= now)
            mine[m++] = &st->row;
    }
    struct step_row *disk CLEANUP (free_ptr) = xmalloc ((limit + more) * sizeof *disk);
    if (s->ops->expired (s, now, limit + more, disk, &d, e) == -1)
        return -1;
    merge (r, disk, d, mine, m, by_expiry, limit, out, n);
    return 0;
}

/* ---- shares ---- */

static void sharer_drop (void **x)
{
    free (*x);
    *x = NULL;
}

zhashx_t *sharers_new (void)
{
    zhashx_t *t = zhashx_new ();
    zhashx_set_destructor (t, sharer_drop);
    return t;
}

static struct sharer *sharer_of (struct rows *r, const char *name, struct err *e)
{
    struct sharer *x = zhashx_lookup (r->sharers, name);
    struct shares now;
    if (x)
        return x;
    if (r->s->ops->shares (r->s, name, &now, e) == -1)
        return NULL;
    x = xcalloc (1, sizeof *x);
    (void) snprintf (x->name, sizeof x->name, "%s", name);
    x->now = now;
    zhashx_insert (r->sharers, x->name, x);
    return x;
}

int state_share (struct state *s, const char *submitter, unsigned priority, struct share *out, struct err *e)
{
    const struct sharer *x = sharer_of (s->rows, submitter, e);
    if (!x)
        return -1;
    *out = (struct share){ .open_here = priority < PRIORITIES ? x->now.open[priority] : 0, .turn = priority < PRIORITIES ? x->now.turn[priority] : 0 };
    for (size_t i = 0; i < PRIORITIES; i++)
        out->open += x->now.open[i];
    return 0;
}

int state_share_add (struct state *s, const char *submitter, unsigned priority, int64_t open, int64_t turn, struct err *e)
{
    struct rows *r = s->rows;
    struct sharer *x = sharer_of (r, submitter, e);
    if (!x || priority >= PRIORITIES)
        return x ? err_code (e, EC_INTERNAL, "state: share: priority %u", priority) : -1;
    struct change *c = rows_log (r, SHARE, x, false, false);
    if (c)
        c->old.share = *x;
    x->now.open[priority] += open;
    if (turn > x->now.turn[priority])
        x->now.turn[priority] = turn;
    x->changed |= 1u << priority;
    r->shared = true;
    return 0;
}

int sharers_write (struct rows *r, struct err *e)
{
    for (const struct sharer *x = r->shared ? zhashx_first (r->sharers) : NULL; x; x = zhashx_next (r->sharers)) {
        for (unsigned n = 0; x->changed >> n; n++)
            if ((x->changed >> n & 1) && r->s->ops->share_put (r->s, x->name, n, x->now.open[n], x->now.turn[n], e) == -1)
                return -1;
    }
    return 0;
}

void sharers_committed (struct rows *r)
{
    for (struct sharer *x = r->shared ? zhashx_first (r->sharers) : NULL; x; x = zhashx_next (r->sharers))
        x->changed = 0;
    r->shared = false;
    if (zhashx_size (r->sharers) > SHARERS)
        zhashx_purge (r->sharers);
}
