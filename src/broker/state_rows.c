/* state_rows.c: submissions, steps and leases in memory: what this turn changed, and, by submission, what was used lately (state_rows.h). */
#include <stdlib.h>
#include <string.h>

#include "broker/state_rows.h"

#define TRIM 64u         /* families looked at to let some go within a turn */
#define KEPT (24u << 20) /* bytes of families that stay from turn to turn */

/* ---- tables ---- */

static size_t hash_id (const void *id)
{
    size_t h;
    memcpy (&h, ((const struct digest *) id)->b, sizeof h);
    return h;
}

static int cmp_id (const void *a, const void *b)
{
    return memcmp (a, b, sizeof (struct digest));
}

static size_t hash_key (const void *key)
{
    return (size_t) *(const int64_t *) key;
}

static int cmp_key (const void *a, const void *b)
{
    int64_t x = *(const int64_t *) a, y = *(const int64_t *) b;
    return (x > y) - (x < y);
}

static zhashx_t *table_new (zhashx_hash_fn *hash, zhashx_comparator_fn *cmp)
{
    zhashx_t *t = zhashx_new ();
    zhashx_set_key_hasher (t, hash);
    zhashx_set_key_comparator (t, cmp);
    zhashx_set_key_duplicator (t, NULL); /* a key is in what it finds */
    zhashx_set_key_destructor (t, NULL);
    return t;
}

static void list_add (struct list *l, void *p)
{
    if (l->n == l->cap)
        l->v = xrealloc (l->v, (l->cap = l->cap ? l->cap * 2 : 64) * sizeof *l->v);
    l->v[l->n++] = p;
}

/* ---- families ---- */

static void grew (struct rows *r, struct family *f, size_t n)
{
    f->bytes += n;
    r->bytes += n;
}

static void shrank (struct rows *r, struct family *f, size_t n)
{
    f->bytes -= n;
    r->bytes -= n;
}

static struct family *used (struct rows *r, struct family *f)
{
    if (f && TAILQ_FIRST (&r->used) != f) {
        TAILQ_REMOVE (&r->used, f, use);
        TAILQ_INSERT_HEAD (&r->used, f, use);
    }
    return f;
}

/* Takes the row's envelope. */
static struct family *family_add (struct rows *r, struct sub_row *row)
{
    struct family *f = xcalloc (1, sizeof *f);
    f->row = *row;
    row->envelope = (struct buf){ NULL, 0, 0 };
    zhashx_insert (r->subs, &f->row.key, f);
    zhashx_insert (r->ids, &f->row.id, f);
    TAILQ_INSERT_HEAD (&r->used, f, use);
    grew (r, f, sizeof *f + f->row.envelope.len);
    return f;
}

static void lease_drop (struct rows *r, struct lease_at *l)
{
    zhashx_delete (r->leases, &l->row.id);
    shrank (r, l->step->family, sizeof *l + sizeof (struct lease_at *));
    free (l);
}

static void step_drop (struct rows *r, struct step_at *st)
{
    for (size_t i = 0; i < st->lease_count; i++)
        lease_drop (r, st->leases[i]);
    zhashx_delete (r->steps, &st->row.key);
    shrank (r, st->family, sizeof *st + sizeof (struct step_at *));
    free (st->leases);
    free (st);
}

static void family_drop (struct rows *r, struct family *f)
{
    for (size_t i = 0; i < f->step_count; i++)
        step_drop (r, f->steps[i]);
    zhashx_delete (r->subs, &f->row.key);
    zhashx_delete (r->ids, &f->row.id);
    TAILQ_REMOVE (&r->used, f, use);
    r->bytes -= f->bytes;
    sub_row_release (&f->row);
    free (f->steps);
    free (f);
}

/* NULL: there is one at its place. */
static struct step_at *step_insert (struct rows *r, struct family *f, const struct step_row *row)
{
    size_t i = f->step_count;
    while (i > 0 && f->steps[i - 1]->row.no > row->no)
        i--;
    if (i > 0 && f->steps[i - 1]->row.no == row->no)
        return NULL;
    struct step_at *st = xcalloc (1, sizeof *st);
    f->steps = xrealloc (f->steps, (f->step_count + 1) * sizeof (struct step_at *));
    memmove (f->steps + i + 1, f->steps + i, (f->step_count++ - i) * sizeof (struct step_at *));
    f->steps[i] = st;
    st->row = *row;
    st->family = f;
    zhashx_insert (r->steps, &st->row.key, st);
    grew (r, f, sizeof *st + sizeof (struct step_at *));
    return st;
}

static struct lease_at *lease_insert (struct rows *r, struct step_at *st, const struct lease_row *row)
{
    size_t i = st->lease_count;
    struct lease_at *l = xcalloc (1, sizeof *l);
    while (i > 0 && st->leases[i - 1]->row.issued > row->issued)
        i--;
    if ((st->lease_count & (st->lease_count - 1)) == 0) /* full: room is a power of two */
        st->leases = xrealloc (st->leases, (st->lease_count ? st->lease_count * 2 : 1) * sizeof (struct lease_at *));
    memmove (st->leases + i + 1, st->leases + i, (st->lease_count++ - i) * sizeof (struct lease_at *));
    st->leases[i] = l;
    l->row = *row;
    l->step = st;
    zhashx_insert (r->leases, &l->row.id, l);
    grew (r, st->family, sizeof *l + sizeof (struct lease_at *));
    return l;
}

struct loading {
    struct rows *r;
    void *into;
};

static int load_step (void *arg, const struct step_row *row)
{
    struct loading *x = arg;
    (void) step_insert (x->r, x->into, row);
    return 0;
}

/* A family that is not in memory yet, whose submission was just read. NULL with *e. */
static struct family *family_load (struct rows *r, struct sub_row *row, struct err *e)
{
    struct family *f = family_add (r, row);
    struct loading x = { r, f };
    if (r->s->ops->steps (r->s, f->row.key, load_step, &x, e) == 0)
        return f;
    family_drop (r, f);
    return NULL;
}

static struct family *family_of (struct rows *r, int64_t key, struct err *e)
{
    struct family *f = zhashx_lookup (r->subs, &key);
    struct sub_row row;
    if (f)
        return used (r, f);
    return r->s->ops->sub_get (r->s, key, &row, e) == 0 ? family_load (r, &row, e) : NULL;
}

/* 1, 0: there is none, -1. */
static int family_find (struct rows *r, const struct digest *id, struct family **f, struct err *e)
{
    struct sub_row row;
    if ((*f = used (r, zhashx_lookup (r->ids, id))))
        return 1;
    if (digest_eq (&r->absent, id) && !digest_zero (id))
        return 0;
    int found = r->s->ops->sub_find (r->s, id, &row, e);
    if (found == 0)
        r->absent = *id;
    if (found == 1)
        found = (*f = family_load (r, &row, e)) ? 1 : -1;
    return found;
}

static struct step_at *step_of (struct rows *r, int64_t key, struct err *e)
{
    struct step_at *st = zhashx_lookup (r->steps, &key);
    struct step_row row;
    if (!st) {
        if (r->s->ops->step_get (r->s, key, &row, e) == -1 || !family_of (r, row.sub, e))
            return NULL;
        if (!(st = zhashx_lookup (r->steps, &key))) {
            err_code (e, EC_NOT_FOUND, "no such step");
            return NULL;
        }
    }
    (void) used (r, st->family);
    return st;
}

static int load_lease (void *arg, const struct lease_row *row)
{
    struct loading *x = arg;
    if (!zhashx_lookup (x->r->leases, &row->id))
        (void) lease_insert (x->r, x->into, row);
    return 0;
}

/* The step with all its leases. */
static struct step_at *step_full (struct rows *r, int64_t key, struct err *e)
{
    struct step_at *st = step_of (r, key, e);
    struct loading x = { r, st };
    if (st && !st->known) {
        if (r->s->ops->leases_of (r->s, key, load_lease, &x, e) == -1)
            return NULL;
        st->known = true;
    }
    return st;
}

/* ---- life and turns ---- */

static void fresh (struct rows *r)
{
    int64_t sub, step; /* a key that was given before is not given again, even if the turn is lost */
    r->s->ops->keys (r->s, &sub, &step);
    r->next_sub = sub >= r->next_sub ? sub + 1 : r->next_sub;
    r->next_step = step >= r->next_step ? step + 1 : r->next_step;
    r->open = r->s->ops->open_steps (r->s);
    r->new_subs.n = r->dirty_steps.n = r->dirty_leases.n = r->log_count = 0;
    r->shared = false;
    memset (&r->absent, 0, sizeof r->absent);
}

struct rows *rows_new (struct state *s)
{
    struct rows *r = xcalloc (1, sizeof *r);
    r->s = s;
    r->next_sub = r->next_step = 1;
    r->subs = table_new (hash_key, cmp_key);
    r->ids = table_new (hash_id, cmp_id);
    r->steps = table_new (hash_key, cmp_key);
    r->leases = table_new (hash_id, cmp_id);
    r->sharers = sharers_new ();
    TAILQ_INIT (&r->used);
    fresh (r);
    return r;
}

static void families_drop (struct rows *r)
{
    while (!TAILQ_EMPTY (&r->used))
        family_drop (r, TAILQ_FIRST (&r->used));
}

void rows_forget (struct state *s)
{
    families_drop (s->rows);
    zhashx_purge (s->rows->sharers);
    fresh (s->rows);
}

void rows_destroy (struct rows **rp)
{
    struct rows *r = *rp;
    if (!r)
        return;
    families_drop (r);
    zhashx_t **tables[] = { &r->subs, &r->ids, &r->steps, &r->leases, &r->sharers };
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
        zhashx_destroy (tables[i]);
    free (r->new_subs.v);
    free (r->dirty_steps.v);
    free (r->dirty_leases.v);
    free (r->log);
    free (r);
    *rp = NULL;
}

void rows_mark (struct rows *r)
{
    r->log_count = 0;
    r->open_marked = r->open;
    r->new_subs.marked = r->new_subs.n;
    r->dirty_steps.marked = r->dirty_steps.n;
    r->dirty_leases.marked = r->dirty_leases.n;
}

struct change *rows_log (struct rows *r, enum kind kind, void *of, bool added, bool was_dirty)
{
    if (!r->s->marked)
        return NULL;
    if (r->log_count == r->log_cap)
        r->log = xrealloc (r->log, (r->log_cap = r->log_cap ? r->log_cap * 2 : 16) * sizeof *r->log);
    struct change *c = &r->log[r->log_count++];
    c->kind = kind;
    c->of = of;
    c->added = added;
    c->was_dirty = was_dirty;
    return c;
}

static void undo_lease (struct rows *r, const struct change *c)
{
    struct lease_at *l = c->of;
    struct step_at *st = l->step;
    size_t i = 0;
    if (!c->added) {
        l->row = c->old.lease;
        l->dirty = c->was_dirty;
        return;
    }
    while (st->leases[i] != l)
        i++;
    memmove (st->leases + i, st->leases + i + 1, (--st->lease_count - i) * sizeof (struct lease_at *));
    lease_drop (r, l);
}

static void undo_step (struct rows *r, const struct change *c)
{
    struct step_at *st = c->of;
    struct family *f = st->family;
    size_t i = 0;
    if (!c->added) {
        st->row = c->old.step;
        st->dirty = c->was_dirty;
        return;
    }
    while (f->steps[i] != st)
        i++;
    memmove (f->steps + i, f->steps + i + 1, (--f->step_count - i) * sizeof (struct step_at *));
    step_drop (r, st);
}

void rows_undo (struct rows *r)
{
    while (r->log_count) {
        const struct change *c = &r->log[--r->log_count];
        if (c->kind == LEASE)
            undo_lease (r, c);
        else if (c->kind == STEP)
            undo_step (r, c);
        else if (c->kind == SHARE) {
            struct sharer *x = c->of;
            x->now = c->old.share.now;
            x->changed = c->old.share.changed;
        } else
            family_drop (r, c->of);
    }
    r->new_subs.n = r->new_subs.marked;
    r->dirty_steps.n = r->dirty_steps.marked;
    r->dirty_leases.n = r->dirty_leases.marked;
    r->open = r->open_marked;
}

bool rows_changed (const struct rows *r)
{
    return r->new_subs.n || r->dirty_steps.n || r->dirty_leases.n || r->shared;
}

int rows_write (struct state *s, struct err *e)
{
    struct rows *r = s->rows;
    for (size_t i = 0; i < r->new_subs.n; i++)
        if (s->ops->sub_add (s, &((struct family *) r->new_subs.v[i])->row, e) == -1)
            return -1;
    for (size_t i = 0; i < r->dirty_steps.n; i++) {
        struct step_at *st = r->dirty_steps.v[i];
        if ((st->added ? s->ops->step_add (s, &st->row, e) : s->ops->step_put (s, &st->row, e)) == -1)
            return -1;
    }
    for (size_t i = 0; i < r->dirty_leases.n; i++) {
        struct lease_at *l = r->dirty_leases.v[i];
        if ((l->added ? s->ops->lease_add (s, &l->row, e) : s->ops->lease_put (s, &l->row, e)) == -1)
            return -1;
    }
    return sharers_write (r, e);
}

void rows_committed (struct rows *r)
{
    for (size_t i = 0; i < r->new_subs.n; i++)
        ((struct family *) r->new_subs.v[i])->touched = false;
    for (size_t i = 0; i < r->dirty_steps.n; i++) {
        struct step_at *st = r->dirty_steps.v[i];
        st->added = st->dirty = st->family->touched = false;
    }
    for (size_t i = 0; i < r->dirty_leases.n; i++) {
        struct lease_at *l = r->dirty_leases.v[i];
        l->added = l->dirty = l->step->family->touched = false;
    }
    r->new_subs.n = r->dirty_steps.n = r->dirty_leases.n = r->log_count = 0;
    memset (&r->absent, 0, sizeof r->absent);
    sharers_committed (r);
    while (r->bytes > KEPT && !TAILQ_EMPTY (&r->used))
        family_drop (r, TAILQ_LAST (&r->used, families));
}

void state_trim (struct state *s)
{
    struct rows *r = s->rows;
    struct family *f = TAILQ_LAST (&r->used, families);
    for (unsigned i = 0; i < TRIM && f && r->bytes > KEPT; i++) {
        struct family *newer = TAILQ_PREV (f, families, use);
        if (!f->touched)
            family_drop (r, f);
        f = newer;
    }
}

/* ---- submissions ---- */

static void sub_copy (const struct sub_row *from, struct sub_row *to)
{
    *to = *from;
    to->envelope = (struct buf){ NULL, 0, 0 };
    buf_add (&to->envelope, from->envelope.p, from->envelope.len);
}

int state_sub_find (struct state *s, const struct digest *id, struct sub_row *out, struct err *e)
{
    struct family *f;
    int found = family_find (s->rows, id, &f, e);
    if (found == 1)
        sub_copy (&f->row, out);
    return found;
}

int state_sub_get (struct state *s, int64_t key, struct sub_row *out, struct err *e)
{
    struct family *f = family_of (s->rows, key, e);
    if (!f)
        return -1;
    sub_copy (&f->row, out);
    return 0;
}

int state_sub_add (struct state *s, struct sub_row *sub, struct err *e)
{
    struct rows *r = s->rows;
    struct family *f;
    struct sub_row row;
    int found = family_find (r, &sub->id, &f, e);
    if (found != 0)
        return found == -1 ? -1 : err_code (e, EC_INTERNAL, "state: submission: it is there already");
    sub->key = r->next_sub++;
    sub_copy (sub, &row);
    f = family_add (r, &row);
    f->touched = true;
    list_add (&r->new_subs, f);
    (void) rows_log (r, SUB, f, true, false);
    memset (&r->absent, 0, sizeof r->absent);
    return 0;
}

int rows_new_subs (struct rows *r, const char *prefix, int64_t before, unsigned *limit, int (*each) (void *, const struct sub_row *), void *arg)
{
    char hex[DIGEST_HEX];
    for (size_t i = r->new_subs.n; i-- > 0 && *limit;) {
        const struct family *f = r->new_subs.v[i];
        if (f->row.key >= before || strncmp (digest_hex (&f->row.id, hex), prefix, strlen (prefix)))
            continue;
        (*limit)--;
        if (each (arg, &f->row))
            return 1;
    }
    return 0;
}

/* ---- steps ---- */

int64_t state_open_steps (struct state *s)
{
    return s->rows->open;
}

int state_step_add (struct state *s, struct step_row *step, struct err *e)
{
    struct rows *r = s->rows;
    struct family *f = family_of (r, step->sub, e);
    if (!f)
        return -1;
    step->key = r->next_step;
    struct step_at *st = step_insert (r, f, step);
    if (!st)
        return err_code (e, EC_INTERNAL, "state: step: its submission has one at place %u", step->no);
    r->next_step++;
    st->known = st->added = st->dirty = f->touched = true;
    list_add (&r->dirty_steps, st);
    (void) rows_log (r, STEP, st, true, false);
    r->open += step->job.state != JOB_DECIDED;
    return 0;
}

int state_step_put (struct state *s, struct step_row *step, struct err *e)
{
    struct rows *r = s->rows;
    struct step_at *st = step_of (r, step->key, e);
    if (!st)
        return -1;
    struct change *c = rows_log (r, STEP, st, false, st->dirty);
    if (c)
        c->old.step = st->row;
    r->open += (step->job.state != JOB_DECIDED) - (st->row.job.state != JOB_DECIDED);
    step->stored = st->row.stored; /* what is on the disk is not the caller's to say */
    st->row = *step;
    if (!st->dirty)
        list_add (&r->dirty_steps, st);
    st->dirty = st->family->touched = true;
    return 0;
}

int state_step_get (struct state *s, int64_t key, struct step_row *out, struct err *e)
{
    const struct step_at *st = step_of (s->rows, key, e);
    if (!st)
        return -1;
    *out = st->row;
    return 0;
}

int state_step_find (struct state *s, const struct digest *sub, struct bytes name, struct step_row *out, struct err *e)
{
    struct family *f;
    int found = family_find (s->rows, sub, &f, e);
    for (size_t i = 0; found == 1 && i < f->step_count; i++)
        if (bytes_eqs (name, f->steps[i]->row.name)) {
            *out = f->steps[i]->row;
            return 1;
        }
    return found == -1 ? -1 : 0;
}

int state_steps (struct state *s, int64_t sub, int (*each) (void *, const struct step_row *), void *arg, struct err *e)
{
    const struct family *f = zhashx_lookup (s->rows->subs, &sub);
    if (!f) /* nothing of it has changed */
        return s->ops->steps (s, sub, each, arg, e);
    for (size_t i = 0; i < f->step_count; i++) {
        struct step_row row = f->steps[i]->row;
        if (each (arg, &row))
            break;
    }
    return 0;
}

/* ---- leases ---- */

int state_lease_add (struct state *s, const struct lease_row *row, struct err *e)
{
    struct rows *r = s->rows;
    struct step_at *st = step_full (r, row->step, e);
    if (!st)
        return -1;
    if (zhashx_lookup (r->leases, &row->id))
        return err_code (e, EC_INTERNAL, "state: lease: it is there already");
    struct lease_at *l = lease_insert (r, st, row);
    l->added = l->dirty = st->family->touched = true;
    list_add (&r->dirty_leases, l);
    (void) rows_log (r, LEASE, l, true, false);
    return 0;
}

int state_lease_put (struct state *s, const struct lease_row *row, struct err *e)
{
    struct rows *r = s->rows;
    struct lease_at *l = zhashx_lookup (r->leases, &row->id);
    if (!l) {
        struct lease_row old;
        int found = s->ops->lease_get (s, &row->id, &old, e);
        if (found == 1 && !step_full (r, old.step, e))
            found = -1;
        if (found == -1)
            return -1;
        if (!(l = zhashx_lookup (r->leases, &row->id)))
            return err_code (e, EC_NOT_FOUND, "no such lease");
    }
    struct change *c = rows_log (r, LEASE, l, false, l->dirty);
    if (c)
        c->old.lease = l->row;
    l->row.state = row->state;
    l->row.result = row->result;
    if (!l->dirty)
        list_add (&r->dirty_leases, l);
    l->dirty = l->step->family->touched = true;
    return 0;
}

int state_lease_get (struct state *s, const struct digest *id, struct lease_row *out, struct err *e)
{
    const struct lease_at *l = zhashx_lookup (s->rows->leases, id);
    if (!l)
        return s->ops->lease_get (s, id, out, e);
    (void) used (s->rows, l->step->family);
    *out = l->row;
    return 1;
}

int state_leases_of (struct state *s, int64_t step, int (*each) (void *, const struct lease_row *), void *arg, struct err *e)
{
    const struct step_at *st = step_full (s->rows, step, e);
    if (!st)
        return -1;
    for (size_t i = 0; i < st->lease_count; i++) {
        struct lease_row row = st->leases[i]->row;
        if (each (arg, &row))
            break;
    }
    return 0;
}

struct gathered {
    const struct rows *r;
    struct lease_row *v;
    size_t n, cap;
};

static void gather (struct gathered *g, const struct lease_row *row)
{
    if (g->n == g->cap)
        g->v = xrealloc (g->v, (g->cap = g->cap ? g->cap * 2 : 64) * sizeof *g->v);
    g->v[g->n++] = *row;
}

static int gather_stored (void *arg, const struct lease_row *row)
{
    struct gathered *g = arg;
    const struct lease_at *l = zhashx_lookup (g->r->leases, &row->id);
    if (!l || !l->dirty)
        gather (g, row);
    return 0;
}

int state_leases_open (struct state *s, int (*each) (void *, const struct lease_row *), void *arg, struct err *e)
{
    struct gathered g = { .r = s->rows };
    int rc = s->ops->leases_open (s, gather_stored, &g, e);
    for (size_t i = 0; i < s->rows->dirty_leases.n; i++) {
        const struct lease_at *l = s->rows->dirty_leases.v[i];
        if (l->row.state == LEASE_OPEN)
            gather (&g, &l->row);
    }
    for (size_t i = 0; rc == 0 && i < g.n; i++)
        if (each (arg, &g.v[i]))
            break;
    free (g.v);
    return rc;
}
