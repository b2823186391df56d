/* votes.c: see votes.h. */
#include "verifier/votes.h"

#include <stdlib.h>
#include <string.h>

#include "proto/statement.h"

#define LIST_MAX (3u << 20)
#define GROUPS_MAX 256u

struct vote_list *vote_list_new (void)
{
    return xcalloc (1, sizeof (struct vote_list));
}

void vote_list_release (struct vote_list **lp)
{
    struct vote_list *l = *lp;
    for (size_t i = 0; l && i < l->n; i++)
        buf_release (&l->own[i]);
    free (l);
    *lp = NULL;
}

void vote_list_add (struct vote_list *l, struct bytes what)
{
    if (l->n == sizeof l->own / sizeof *l->own || l->bytes + what.len > LIST_MAX)
        return;
    buf_add (&l->own[l->n], what.p, what.len);
    l->list[l->n] = buf_bytes (&l->own[l->n]);
    l->bytes += what.len;
    l->n++;
}

/* ---- results ---- */

struct named {
    const struct verdict *verdict;
    struct vote_list *out;
};

static int add_result (void *arg, const struct ledger_vote *v, struct bytes result)
{
    const struct named *n = arg;
    for (size_t i = 0; i < n->verdict->count; i++)
        if (digest_eq (&n->verdict->counts[i].result, &v->result)) {
            vote_list_add (n->out, result);
            break;
        }
    return 0;
}

int votes_results (struct ledger *l, const struct ledger_step *step, struct bytes verdict, struct vote_list *out, struct err *e)
{
    struct envelope v = { 0 };
    struct verdict own;
    int rc = envelope_open_json (verdict, TYPE_INTOTO, &v, e);
    if (rc == 0 && (rc = verdict_parse (v.body, &own, e)) == 0) {
        /* both come in order of lease id */
        rc = ledger_votes (l, step->key, step->round, add_result, &(struct named){ &own, out }, e);
        verdict_release (&own);
    }
    envelope_release (&v);
    return rc;
}

/* ---- outline ---- */

struct outline {
    const struct roster *roster;
    const struct ledger_step *step;
    struct vote_list *out;
    struct digest groups[GROUPS_MAX];
    size_t n;
};

static size_t group_of (struct outline *o, const struct digest *outcome)
{
    size_t i = 0;
    while (i < o->n && !digest_eq (&o->groups[i], outcome))
        i++;
    if (i == o->n && o->n < GROUPS_MAX)
        o->groups[o->n++] = *outcome;
    return i;
}

static int add_outline (void *arg, const struct ledger_vote *v, struct bytes result)
{
    struct outline *o = arg;
    struct envelope env = { 0 };
    struct result r;
    const struct principal *p = roster_find (o->roster, v->worker);
    if (!p || !principal_good_at (p, v->time) || (o->step->needs && !digest_eq (&v->inputs, &o->step->inputs)))
        return 0; /* it does not count */
    if (envelope_open_json (result, TYPE_INTOTO, &env, NULL) == 0 && result_parse (env.body, &r, NULL) == 0) {
        BUF (body);
        struct msg m = MSG_INIT (vote_outline, 0);
        m.u.vote_outline.worker = bytes_str (r.worker);
        m.u.vote_outline.owner = bytes_str (r.owner);
        m.u.vote_outline.trusted = p->trusted;
        m.u.vote_outline.group = group_of (o, &v->outcome) + 1;
        m.u.vote_outline.isolation = r.isolation;
        m.u.vote_outline.accelerator = bytes_str (r.accelerator);
        m.u.vote_outline.image = r.image;
        m.u.vote_outline.host = bytes_str (r.host);
        msg_encode (&m, &body);
        vote_list_add (o->out, buf_bytes (&body));
        result_release (&r);
    }
    envelope_release (&env);
    return 0;
}

int votes_outline (struct ledger *l, const struct roster *r, const struct ledger_step *step, struct vote_list *out, struct err *e)
{
    struct outline *o = xcalloc (1, sizeof *o);
    o->roster = r;
    o->step = step;
    o->out = out;
    int rc = ledger_votes (l, step->key, step->round, add_outline, o, e);
    free (o);
    return rc;
}
