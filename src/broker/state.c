#include "broker/state.h"

#include <string.h>

#include "broker/state_impl.h"

static const struct state_backend *const backends[] = { &state_sqlite, &state_mem };

int state_open (struct state **s, const char *backend, const char *dir, struct err *e)
{
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (!strcmp (backends[i]->name, backend))
            return backends[i]->open (s, dir, e);
    return err_set (e, ERR_USAGE, "state \"%s\": unknown (sqlite or mem)", backend);
}

void state_close (struct state **s)
{
    if (*s)
        (*s)->ops->close (*s);
    *s = NULL;
}

void sub_row_release (struct sub_row *r)
{
    buf_release (&r->envelope);
}

int state_begin (struct state *s, struct err *e) { return s->ops->begin (s, e); }
int state_commit (struct state *s, struct err *e) { return s->ops->commit (s, e); }
void state_rollback (struct state *s) { s->ops->rollback (s); }
int state_mark (struct state *s, struct err *e) { return s->ops->mark (s, e); }
int state_keep (struct state *s, struct err *e) { return s->ops->keep (s, e); }
void state_undo (struct state *s) { s->ops->undo (s); }
bool state_broken (struct state *s) { return s->ops->broken (s); }
int state_sub_find (struct state *s, const struct digest *id, struct sub_row *out, struct err *e) { return s->ops->sub_find (s, id, out, e); }
int state_sub_get (struct state *s, int64_t key, struct sub_row *out, struct err *e) { return s->ops->sub_get (s, key, out, e); }
int state_sub_add (struct state *s, struct sub_row *sub, struct err *e) { return s->ops->sub_add (s, sub, e); }

int state_subs (struct state *s, const char *prefix, int64_t before, unsigned limit, int (*each) (void *, const struct sub_row *), void *arg, struct err *e)
{
    return s->ops->subs (s, prefix, before, limit, each, arg, e);
}

int state_step_add (struct state *s, struct step_row *step, struct err *e) { return s->ops->step_add (s, step, e); }
int state_step_put (struct state *s, struct step_row *step, struct err *e) { return s->ops->step_put (s, step, e); }
int state_step_get (struct state *s, int64_t key, struct step_row *out, struct err *e) { return s->ops->step_get (s, key, out, e); }

int state_step_find (struct state *s, const struct digest *sub, struct bytes name, struct step_row *out, struct err *e)
{
    return s->ops->step_find (s, sub, name, out, e);
}

int state_steps (struct state *s, int64_t sub, int (*each) (void *, const struct step_row *), void *arg, struct err *e)
{
    return s->ops->steps (s, sub, each, arg, e);
}

int64_t step_rank (const struct step_row *r)
{
    return r->turn - (int64_t) r->priority * (TURN_MAX + 1);
}

void step_ranked (struct step_row *r, int64_t rank)
{
    r->turn = rank & TURN_MAX;
    r->priority = (unsigned) ((r->turn - rank) / (TURN_MAX + 1));
}

int state_share (struct state *s, const char *submitter, unsigned priority, struct share *out, struct err *e)
{
    return s->ops->share (s, submitter, priority, out, e);
}

int state_share_add (struct state *s, const char *submitter, unsigned priority, int64_t open, int64_t turn, struct err *e)
{
    return s->ops->share_add (s, submitter, priority, open, turn, e);
}

int state_queue (struct state *s, struct cursor after, unsigned limit, struct step_row *out, size_t *n, struct err *e)
{
    return s->ops->queue (s, after, limit, out, n, e);
}

int state_expired (struct state *s, int64_t now, unsigned limit, struct step_row *out, size_t *n, struct err *e)
{
    return s->ops->expired (s, now, limit, out, n, e);
}

int64_t state_open_steps (struct state *s) { return s->ops->open_steps (s); }
int state_lease_add (struct state *s, const struct lease_row *l, struct err *e) { return s->ops->lease_add (s, l, e); }
int state_lease_put (struct state *s, const struct lease_row *l, struct err *e) { return s->ops->lease_put (s, l, e); }
int state_lease_get (struct state *s, const struct digest *id, struct lease_row *out, struct err *e) { return s->ops->lease_get (s, id, out, e); }

int state_leases_of (struct state *s, int64_t step, int (*each) (void *, const struct lease_row *), void *arg, struct err *e)
{
    return s->ops->leases_of (s, step, each, arg, e);
}

int state_leases_open (struct state *s, int (*each) (void *, const struct lease_row *), void *arg, struct err *e)
{
    return s->ops->leases_open (s, each, arg, e);
}

uint64_t state_seq (const struct state *s) { return s->ops->seq (s); }
int state_event_add (struct state *s, const char *project, struct bytes body, struct err *e) { return s->ops->event_add (s, project, body, e); }

int state_events (struct state *s, uint64_t from, int (*each) (void *, uint64_t, const char *, struct bytes), void *arg, struct err *e)
{
    return s->ops->events (s, from, each, arg, e);
}
