/* grant.c: which workers get leases of a step, and the leases that they get. */
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "broker/draw.h"
#include "broker/server.h"

#define WINDOW 64u          /* steps looked at from one place of the queue */
#define GIVEN_MAX 1024u     /* leases given in one turn */
#define GIVEN_BYTES (32u << 20) /* of leases and submissions that go out with them, in one turn */

static bool takes (const struct worker *w, const char *project)
{
    for (size_t i = 0; i < w->project_count; i++)
        if (project_fits (w->projects[i], project))
            return true;
    return false;
}

struct owners {
    char (*v)[64];
    size_t n;
};

static bool owners_has (const struct owners *o, const char *owner)
{
    for (size_t i = 0; i < o->n; i++)
        if (!strcmp (o->v[i], owner))
            return true;
    return false;
}

static void owners_add (struct owners *o, const char *owner)
{
    if (owners_has (o, owner))
        return;
    o->v = xrealloc (o->v, (o->n + 1) * sizeof *o->v);
    (void) snprintf (o->v[o->n++], sizeof *o->v, "%s", owner);
}

struct plan { /* a step that is to be leased, opened */
    struct context c;
    struct envelope env;
    struct msg body, step;
    struct msg *all;           /* every step of the submission, where they need each other */
    size_t all_count;
    bool have_body, have_step;
    struct digest inputs[64];
    uint8_t boxes[64][BLIND_BOX]; /* of those that are blinded, else zero */
    bool blinded;              /* any of them is */
    struct bytes input_list[64];
    unsigned network;          /* NETWORK_*: in force */
    bool early;                /* an input is not trusted yet */
    bool absent;               /* an input is not there: it waits */
    struct owners used;        /* that have a lease of it or a vote on it, or have read its artifact */
    bool trusted;              /* a trusted worker is among its leases */
    uint64_t leases;           /* that it ever had */
    unsigned images[STEP_IMAGES]; /* how many open leases and votes each image of the step has */
    struct {
        struct owners open, voted;
        const struct msg_step *step;
    } need[64];                /* what it reads, and what went into that; step NULL where it does not */
};

static void plan_release (struct plan *p)
{
    for (size_t i = 0; i < 64; i++) {
        free (p->need[i].open.v);
        free (p->need[i].voted.v);
    }
    for (size_t i = 0; i < p->all_count; i++)
        msg_release (&p->all[i]);
    free (p->all);
    free (p->used.v);
    if (p->have_step)
        msg_release (&p->step);
    if (p->have_body)
        msg_release (&p->body);
    envelope_release (&p->env);
    context_release (&p->c);
}

static int plan_open (struct server *s, const struct step_row *row, struct plan *p, struct err *e)
{
    p->c.step = *row;
    if (state_sub_get (s->state, row->sub, &p->c.sub, e) == -1 || envelope_open (buf_bytes (&p->c.sub.envelope), TYPE_SUBMISSION, &p->env, e) == -1
        || msg_decode_as (p->env.body, MSG_submission_body, &p->body, e) == -1)
        return -1;
    p->have_body = true;
    if (row->no >= p->body.u.submission_body.steps.n)
        return err_code (e, EC_INTERNAL, "step %s is not in its submission", row->name);
    if (msg_decode_as (p->body.u.submission_body.steps.v[row->no], MSG_step, &p->step, e) == -1)
        return -1;
    p->have_step = true;
    const struct bytes_list *needs = &p->step.u.step.needs;
    for (size_t i = 0; i < needs->n; i++) {
        struct step_row need;
        int found = state_step_find (s->state, &p->c.sub.id, needs->v[i], &need, e);
        if (found != 1)
            return found == -1 ? -1 : err_code (e, EC_INTERNAL, "step %s needs one that is not there", row->name);
        bool trusted = !strcmp (need.state, "trusted");
        p->early = p->early || !trusted;
        bool blind = !trusted && p->step.u.step.start_provisional && blind_box (need.usable.box).len;
        p->inputs[i] = blind ? need.usable.name : trusted ? need.digest : (struct digest){ { 0 } };
        if (blind)
            memcpy (p->boxes[i], need.usable.box, sizeof p->boxes[i]);
        p->blinded = p->blinded || blind;
        p->absent = p->absent || digest_zero (&p->inputs[i]);
        p->input_list[i] = bytes_of (p->inputs[i].b, 32);
    }
    return 0;
}

/* ---- who has voted, and who has read ---- */

struct looking {
    struct server *s;
    struct plan *p;
    struct owners *any, *open, *voted;
    int64_t since;
    bool *trusted;
    uint64_t *leases;
    unsigned *images;
};

static int look_lease (void *arg, const struct lease_row *l)
{
    struct looking *x = arg;
    if (x->leases)
        ++*x->leases;
    if (x->any && l->issued >= x->since)
        owners_add (x->any, l->owner);
    /* Its votes of then do not count any more: the owner may come again, with another worker. */
    const struct principal *who = roster_find (realm_roster (x->s->rl), l->worker);
    if (l->state == LEASE_OVER || !who || !principal_good_at (who, l->issued))
        return 0;
    if (x->open && l->state == LEASE_OPEN)
        owners_add (x->open, l->owner);
    if (x->voted && l->state == LEASE_VOTED)
        owners_add (x->voted, l->owner);
    if (x->trusted)
        *x->trusted = *x->trusted || l->trusted;
    if (x->images && l->image < STEP_IMAGES)
        x->images[l->image]++;
    return 0;
}

static bool step_needs (const struct msg_step *st, struct bytes name)
{
    for (size_t i = 0; i < st->needs.n; i++)
        if (bytes_eq (st->needs.v[i], name))
            return true;
    return false;
}

/* All that a step reads, also through others: marks[i] for steps before `no`. Steps need only steps before them. */
static void reads_of (const struct plan *p, size_t no, bool marks[64])
{
    marks[no] = true;
    for (size_t i = no + 1; i-- > 0;)
        for (size_t k = 0; marks[i] && k < i; k++)
            marks[k] = marks[k] || step_needs (&p->all[i].u.step, p->all[k].u.step.name);
    marks[no] = false;
}

struct kin { /* steps of the submission */
    struct step_row rows[64];
    size_t n;
};

static int kin_step (void *arg, const struct step_row *row)
{
    struct kin *k = arg;
    if (k->n < 64)
        k->rows[k->n++] = *row;
    return 0;
}

static int plan_kin (struct server *s, struct plan *p, struct err *e)
{
    const struct bytes_list *steps = &p->body.u.submission_body.steps;
    struct kin *k CLEANUP (free_ptr) = xcalloc (1, sizeof *k);
    p->all = xcalloc (steps->n, sizeof *p->all);
    for (; p->all_count < steps->n; p->all_count++)
        if (msg_decode_as (steps->v[p->all_count], MSG_step, &p->all[p->all_count], e) == -1)
            return -1;
    if (state_steps (s->state, p->c.sub.key, kin_step, k, e) == -1)
        return -1;
    bool mine[64] = { false };
    reads_of (p, p->c.step.no, mine);
    for (size_t i = 0; i < k->n && k->rows[i].no < p->all_count; i++) {
        size_t no = k->rows[i].no;
        struct looking x = { .s = s, .p = p };
        bool theirs[64] = { false };
        reads_of (p, no, theirs);
        if (theirs[p->c.step.no]) { /* whoever had a lease of it has read ours */
            x.any = &p->used;
            x.since = p->c.step.since;
        } else if (mine[no]) {
            p->need[no].step = &p->all[no].u.step;
            x.open = &p->need[no].open;
            x.voted = &p->need[no].voted;
        } else
            continue;
        if (state_leases_of (s->state, k->rows[i].key, look_lease, &x, e) == -1)
            return -1;
    }
    return 0;
}

static int plan_owners (struct server *s, struct plan *p, struct err *e)
{
    struct looking x = { .s = s, .p = p, .open = &p->used, .voted = &p->used, .trusted = &p->trusted, .leases = &p->leases, .images = p->images };
    if (state_leases_of (s->state, p->c.step.key, look_lease, &x, e) == -1)
        return -1;
    return p->body.u.submission_body.steps.n > 1 ? plan_kin (s, p, e) : 0;
}

/* May the owner read what the step reads? *voted: it has voted on all of it. */
static bool may_read (const struct server *s, const struct plan *p, const char *owner, bool *voted)
{
    struct stake v[64];
    size_t n = 0;
    for (size_t i = 0; i < p->all_count && i < 64; i++)
        if (p->need[i].step) {
            struct stake *k = &v[n++];
            *k = (struct stake){ .open = owners_has (&p->need[i].open, owner), .voted = owners_has (&p->need[i].voted, owner) };
            /* asked only where it decides, as the whole roster is looked through */
            k->could = p->early && !k->open && !k->voted && roster_owner_fits (realm_roster (s->rl), owner, p->body.u.submission_body.project, &p->need[i].step->labels);
            if (k->open || k->could) /* it may not, whatever it has to do with the rest */
                break;
        }
    return schedule_may_read (v, n, p->early, voted);
}

/* The image with the fewest leases and votes; among equals, chance. So the lineages of a step are as many as its voters allow. */
static unsigned choose_image (struct plan *p, struct digest *image)
{
    struct digest all[STEP_IMAGES];
    unsigned n = step_images (&p->step.u.step, all), best = 0, equal = 0;
    for (unsigned i = 0; i < n; i++) {
        if (p->images[i] < p->images[best])
            equal = 0;
        if (p->images[i] <= p->images[best] && randombytes_uniform (++equal) == 0)
            best = i;
    }
    p->images[best]++;
    *image = all[best];
    return best;
}

static int give (struct server *s, struct plan *p, struct worker *w, bool trusted, int64_t now, struct err *e)
{
    const struct msg_step *st = &p->step.u.step;
    struct msg m = MSG_INIT (lease_body, 0);
    struct msg_lease_body *b = &m.u.lease_body;
    BUF (body);
    int64_t time = st->time_ms && st->time_ms < (uint64_t) s->conf.lease_time ? (int64_t) st->time_ms : s->conf.lease_time;
    b->broker = bytes_str (realm_name (s->rl));
    b->worker = bytes_str (w->name);
    b->owner = bytes_str (w->owner);
    b->submission = p->c.sub.id;
    b->step = st->name;
    b->project = p->body.u.submission_body.project;
    b->ref = p->body.u.submission_body.ref;
    unsigned image = choose_image (p, &b->image);
    b->inputs = (struct bytes_list){ p->input_list, st->needs.n };
    b->network = p->network;
    b->max_bytes = (uint64_t) s->conf.max_upload;
    b->issued = (uint64_t) now;
    b->expires = (uint64_t) (now + (time + s->conf.lease_grace) * 1000);
    randombytes_buf (b->nonce.b, 32);
    msg_encode (&m, &body);
    /* Its id is of what is signed, not of the signature: that is made when the turn ends, on all cores. */
    struct envelope env = { .type = bytes_str (TYPE_LEASE), .body = buf_bytes (&body) };
    struct lease_row l = { .id = envelope_id (&env), .step = p->c.step.key, .trusted = trusted, .image = image, .issued = now, .expires = (int64_t) b->expires,
                           .state = LEASE_OPEN };
    (void) snprintf (l.worker, sizeof l.worker, "%s", w->name);
    (void) snprintf (l.owner, sizeof l.owner, "%s", w->owner);
    if (state_lease_add (s->state, &l, e) == -1
        || event_add (s, &(struct event_fields){ .kind = "leased", .project = p->c.sub.project, .id = p->c.sub.id, .step = p->c.step.name,
                                                 .state = p->c.step.state, .worker = l.worker, .owner = l.owner }, NULL, e) == -1
        || step_apply (s, &p->c, JOB_LEASE, 0, "", e) == -1)
        return -1;
    lease_later (s, &w->route, &body, &p->c.sub.envelope, p->boxes, p->blinded ? st->needs.n : 0);
    w->credit--;
    logs_lease (s, l.step, &l);
    return 0;
}

static int draw_event (struct server *s, const struct plan *p, const struct demand *d, const struct chance *chance, const struct candidate *c, size_t n, const size_t *picked, size_t count,
                       struct err *e)
{
    struct msg m = MSG_INIT (draw, 0);
    struct msg_draw *b = &m.u.draw;
    size_t most = n < DRAW_FIT_MAX ? n : DRAW_FIT_MAX;
    struct bytes *fit CLEANUP (free_ptr) = xcalloc (most, sizeof *fit), names[DRAW_PICKED_MAX];
    char (*text)[DRAW_LINE] = xcalloc (most, sizeof *text);
    BUF (payload);
    memcpy (b->seed.b, chance->seed, 32);
    b->places = d->places;
    b->needs_trusted = d->needs_trusted;
    b->fit.v = fit;
    for (size_t i = 0; i < n && b->fit.n < most; i++)
        if (schedule_fits (&c[i], d)) {
            draw_line (&c[i], text[b->fit.n]);
            fit[b->fit.n] = bytes_str (text[b->fit.n]);
            b->fit.n++;
        }
    b->picked.v = names;
    for (size_t i = 0; i < count && i < DRAW_PICKED_MAX; i++)
        names[b->picked.n++] = bytes_str (c[picked[i]].name);
    msg_encode (&m, &payload);
    char why[96];
    (void) snprintf (why, sizeof why, "%zu of %zu workers that fit, for %zu places", count, b->fit.n, d->places);
    int rc = event_add (s, &(struct event_fields){ .kind = "drawn", .project = p->c.sub.project, .id = p->c.sub.id, .step = p->c.step.name, .state = p->c.step.state, .reason = why,
                                                   .payload = buf_bytes (&payload) }, NULL, e);
    free (text);
    return rc;
}

static void candidates (const struct server *s, const struct plan *p, struct candidate *c)
{
    const struct msg_step *st = &p->step.u.step;
    int64_t mono = time_mono_ms ();
    for (size_t i = 0; i < s->worker_count; i++) {
        const struct worker *w = &s->workers[i];
        const struct principal *who = roster_find (realm_roster (s->rl), w->name);
        bool good = who && principal_good (who) && (who->roles & ROLE_WORKER), voted = false, reads = !st->needs.n || may_read (s, p, w->owner, &voted);
        c[i] = (struct candidate){ .name = w->name, .owner = w->owner, .trusted = good && who->trusted, .isolation = w->isolation, .network = w->network,
                                   .credit = w->held && !worker_sidelined (s, w->name, mono) ? w->credit : 0, .cpus = w->cpus, .memory = w->memory, .disk = w->disk, .prefer = voted,
                                   .suits = good && reads && principal_project (who, bytes_str (p->c.sub.project)) && principal_labels (who, &st->labels)
                                            && takes (w, p->c.sub.project) };
        const struct term *t = terms_of (&w->terms, p->c.sub.project);
        if (!t)
            continue;
        c[i].network = t->network;
        c[i].cpus = t->cpus;
        c[i].memory = t->memory;
        c[i].disk = t->disk;
        c[i].suits = c[i].suits && t->open && terms_submitter (t, p->c.sub.submitter) && (!t->time_ms || st->time_ms <= t->time_ms);
    }
}

/* The step asks for more than the owner of any worker that might take it allows, and each of them has said so: why, with both numbers.
 * One that might and is not here may allow more: then the step waits for it. */
static bool beyond_all (const struct server *s, const struct plan *p, unsigned isolation, char *why, size_t size)
{
    const struct msg_step *st = &p->step.u.step;
    struct terms_most most = { .example = { "" } };
    char lack[TERMS_WHY] = "";
    size_t n = 0;
    bool any = false, every = false;
    for (size_t i = 0; i < s->worker_count && !any; i++) {
        const struct term *t = terms_of (&s->workers[i].terms, p->c.sub.project);
        any = t && terms_lacks (t, st, p->network, lack, sizeof lack) != TERMS_FITS;
    }
    for (const struct principal *who; any && (who = roster_role (realm_roster (s->rl), ROLE_WORKER, n)); n++) {
        const struct worker *w = NULL;
        if (!principal_project (who, bytes_str (p->c.sub.project)) || !principal_labels (who, &st->labels) || owners_has (&p->used, who->owner))
            continue;
        for (size_t i = 0; i < s->worker_count && !w; i++)
            w = !strcmp (s->workers[i].name, who->name) ? &s->workers[i] : NULL;
        const struct term *t = w ? terms_of (&w->terms, p->c.sub.project) : NULL;
        if (!w || !t || !w->project_count)
            return false;
        if (!takes (w, p->c.sub.project) || !policy_isolation_ok (isolation, w->isolation) || !terms_submitter (t, p->c.sub.submitter))
            continue;
        enum terms_kind kind = terms_lacks (t, st, p->network, lack, sizeof lack);
        if (kind == TERMS_FITS)
            return false;
        terms_most_add (&most, t, w->name, kind, lack);
        every = true;
    }
    if (every)
        terms_most_tell (&most, st, p->network, why, size);
    return every;
}

static int give_up (struct server *s, struct plan *p, const char *why, struct err *e)
{
    if (event_add (s, &(struct event_fields){ .kind = "exhausted", .project = p->c.sub.project, .id = p->c.sub.id, .step = p->c.step.name, .state = p->c.step.state, .reason = why }, NULL, e)
        == -1)
        return -1;
    return step_apply (s, &p->c, JOB_EXHAUST, 0, why, e);
}

int challenge_fits (struct server *s, const struct context *c, struct err *e)
{
    struct plan *p = xcalloc (1, sizeof *p);
    const char **used = NULL;
    size_t trusted = 0;
    int rc = -1;
    if (plan_open (s, &c->step, p, e) == 0 && plan_owners (s, p, e) == 0) {
        used = xcalloc (p->used.n, sizeof *used);
        for (size_t i = 0; i < p->used.n; i++)
            used[i] = p->used.v[i];
        rc = roster_owners_but (realm_roster (s->rl), bytes_str (c->sub.project), &p->step.u.step.labels, used, p->used.n, &trusted)
                 ? 0
                 : err_code (e, EC_CONFLICT, "every owner that fits has voted on step %s, or has read its artifact", c->step.name);
    }
    free (used);
    plan_release (p);
    free (p);
    return rc;
}

static int by_name (const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    return strcmp (x->name, y->name);
}

/* Returns how many leases were given, or -1. */
static int give_step (struct server *s, const struct step_row *row, int64_t now, struct err *e)
{
    struct plan *p = xcalloc (1, sizeof *p);
    int given = -1;
    size_t n = s->worker_count, count, *picked = xcalloc (n, sizeof *picked);
    struct candidate *c = xcalloc (n, sizeof *c);
    size_t avoids = s->avoid_next < AVOIDS ? s->avoid_next : AVOIDS;
    const char **avoided = xcalloc (avoids, sizeof *avoided), **used = NULL;
    struct chance chance = { .drawn = 0 };
    if (plan_open (s, row, p, e) == -1)
        goto out;
    if (p->absent) { /* the verifier tells it again, or a verdict does */
        p->c.step.waiting = true;
        given = state_step_put (s->state, &p->c.step, e);
        goto out;
    }
    if (plan_owners (s, p, e) == -1)
        goto out;
    const struct msg_step *st = &p->step.u.step;
    struct policy pol = roster_policy (realm_roster (s->rl), bytes_str (p->c.sub.project));
    pol = policy_in_force (&pol, st);
    p->network = pol.network;
    if (p->early && pol.isolation < ISOLATION_BWRAP)
        pol.isolation = ISOLATION_BWRAP; /* nobody vouches for what it runs */
    used = xcalloc (p->used.n, sizeof *used);
    for (size_t i = 0; i < p->used.n; i++)
        used[i] = p->used.v[i];
    struct demand d = { .places = job_wants (&row->job), .needs_trusted = (row->want_trusted || pol.trusted == POLICY_TRUSTED_REQUIRED) && !p->trusted,
                        .isolation = pol.isolation, .network = pol.network, .cpus = st->cpus, .memory = st->memory, .disk = st->disk, .used = used, .used_count = p->used.n, .avoid = avoided };
    int64_t mono = time_mono_ms ();
    for (size_t i = 0; i < avoids; i++)
        if (s->avoid[i].step == row->key && s->avoid[i].until > mono)
            avoided[d.avoid_count++] = s->avoid[i].worker;
    candidates (s, p, c);
    qsort (c, n, sizeof *c, by_name); /* so that the draw does not depend on who came first */
    draw_seed (&p->c.sub.id, bytes_str (p->c.step.name), p->leases, chance.seed);
    count = schedule_pick (c, n, &d, schedule_chance, &chance, picked);
    if (count && draw_event (s, p, &d, &chance, c, n, picked, count, e) == -1)
        goto out;
    given = 0;
    char why[256];
    if (!count && !row->job.open && beyond_all (s, p, pol.isolation, why, sizeof why) && give_up (s, p, why, e) == -1)
        given = -1;
    for (size_t i = 0; i < count && given != -1; i++)
        given = give (s, p, worker_find (s, c[picked[i]].name), c[picked[i]].trusted, now, e) == -1 ? -1 : given + 1;
out:
    plan_release (p);
    free (p);
    free (used);
    free (avoided);
    free (c);
    free (picked);
    return given;
}

static bool any_credit (const struct server *s)
{
    for (size_t i = 0; i < s->worker_count; i++)
        if (s->workers[i].held && s->workers[i].credit)
            return true;
    return false;
}

/* Look at a window of the queue; *after is moved behind it. Returns the leases given, or -1. */
static int look (struct server *s, struct cursor *after, size_t *seen, struct err *e)
{
    struct step_row *rows = xmalloc (WINDOW * sizeof *rows);
    int given = 0;
    int64_t now = time_now_us (), served[PRIORITIES] = { 0 };
    int rc = state_queue (s->state, *after, WINDOW, rows, seen, e);
    for (size_t i = 0; rc == 0 && i < *seen && any_credit (s) && s->out_bytes < GIVEN_BYTES; i++) {
        state_trim (s->state);
        int got = give_step (s, &rows[i], now, e);
        if (got == -1)
            rc = -1;
        else
            given += got;
        if (got > 0 && rows[i].priority < PRIORITIES && rows[i].turn > served[rows[i].priority])
            served[rows[i].priority] = rows[i].turn;
    }
    for (unsigned i = 0; rc == 0 && i < PRIORITIES; i++)
        if (served[i])
            rc = state_share_add (s->state, "", i, 0, served[i], e);
    if (rc == 0 && *seen)
        *after = (struct cursor){ step_rank (&rows[*seen - 1]), rows[*seen - 1].key };
    free (rows);
    return rc == 0 ? given : -1;
}

/* The best steps first; and, turn by turn, the rest of the queue, so that steps nobody can take now do not hide those behind them. */
int leases_give (struct server *s, struct err *e)
{
    static const struct cursor top = { INT64_MIN, 0 };
    size_t seen = 0;
    int given, all = 0;
    s->dirty = false;
    do {
        struct cursor at = top;
        if (!any_credit (s))
            return 0;
        if ((given = look (s, &at, &seen, e)) == -1)
            return -1;
        all += given;
    } while (given > 0 && seen == WINDOW && all < (int) GIVEN_MAX && s->out_bytes < GIVEN_BYTES);
    if (given > 0 && (all >= (int) GIVEN_MAX || s->out_bytes >= GIVEN_BYTES)) {
        s->dirty = true;
        return 0;
    }
    if (seen < WINDOW || !any_credit (s)) {
        s->cursor = top;
        return 0;
    }
    if (look (s, &s->cursor, &seen, e) == -1)
        return -1;
    if (seen == WINDOW)
        s->dirty = true; /* there is more behind it */
    else
        s->cursor = top;
    return 0;
}
