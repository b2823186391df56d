#include "verifier/rule.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const names[STATE_COUNT] = { "pending", "provisional", "trusted", "failed", "disputed", "unreproducible", "unsatisfiable", "cancelled", "expired" };

const char *step_state_name (enum step_state s)
{
    return (unsigned) s < STATE_COUNT ? names[s] : "unknown";
}

int step_state_parse (const char *s)
{
    for (int i = 0; i < STATE_COUNT; i++)
        if (!strcmp (names[i], s))
            return i;
    return -1;
}

/* One owner's word: what it supports, or that its workers disagree. */
struct owner {
    const char *name;
    struct digest outcome, image;
    bool success, split, trusted;
};

static int by_owner (const void *a, const void *b)
{
    const struct vote *x = a, *y = b;
    int c = strcmp (x->owner, y->owner);
    if (c == 0)
        c = strcmp (x->worker, y->worker);
    if (c == 0)
        c = digest_cmp (&x->outcome, &y->outcome);
    return c ? c : digest_cmp (&x->image, &y->image);
}

static int by_outcome (const void *a, const void *b)
{
    const struct owner *x = a, *y = b;
    int c = (int) x->split - (int) y->split;
    if (c == 0)
        c = digest_cmp (&x->outcome, &y->outcome);
    if (c == 0)
        c = digest_cmp (&x->image, &y->image);
    return c ? c : strcmp (x->name, y->name);
}

static size_t owners_of (struct vote *v, size_t n, struct owner *out)
{
    size_t count = 0;
    qsort (v, n, sizeof *v, by_owner);
    for (size_t i = 0; i < n; i++) {
        struct owner *o = count ? &out[count - 1] : NULL;
        if (!o || strcmp (o->name, v[i].owner)) {
            out[count++] = (struct owner){ v[i].owner, v[i].outcome, v[i].image, v[i].success, false, v[i].trusted };
            continue;
        }
        if (!digest_eq (&o->outcome, &v[i].outcome))
            o->split = true;
        o->trusted |= v[i].trusted;
        if (digest_cmp (&v[i].image, &o->image) < 0)
            o->image = v[i].image; /* an owner stands for one lineage */
    }
    return count;
}

struct tally {
    struct digest lead;
    unsigned support, second, lineages, trusted_for, trusted_against;
    bool success;
};

/* `o` is sorted by outcome. The leader is the outcome with most owners; among equals the smallest digest, so that order cannot matter. */
static void count (const struct owner *o, size_t n, const struct vote *v, size_t votes, struct tally *t)
{
    memset (t, 0, sizeof *t);
    for (size_t i = 0; i < n && !o[i].split;) {
        size_t j = i;
        while (j < n && !o[j].split && digest_eq (&o[j].outcome, &o[i].outcome))
            j++;
        unsigned got = (unsigned) (j - i), images = 0;
        for (size_t k = i; k < j; k++)
            images += k == i || !digest_eq (&o[k].image, &o[k - 1].image); /* sorted by it */
        if (got > t->support) {
            t->second = t->support;
            t->support = got;
            t->lead = o[i].outcome;
            t->lineages = images;
            t->success = o[i].success;
        } else if (got > t->second)
            t->second = got;
        i = j;
    }
    for (size_t i = 0; i < n; i++)
        if (o[i].trusted && !o[i].split && digest_eq (&o[i].outcome, &t->lead))
            t->trusted_for++;
    for (size_t i = 0; i < votes; i++)
        if (v[i].trusted && !digest_eq (&v[i].outcome, &t->lead))
            t->trusted_against++;
}

/* Who differs: one owner from all others, everyone from everyone, or some from some. `o` is sorted by outcome, those at odds with themselves last. */
static void say_dissent (const struct owner *o, size_t n, const struct tally *t, struct buf *out)
{
    const struct owner *odd = NULL;
    for (size_t i = 0; i < n; i++)
        if (o[i].split || !digest_eq (&o[i].outcome, &t->lead))
            odd = &o[i];
    if (!odd)
        return;
    if (n == 1)
        buf_addf (out, "the workers of owner %s disagree with each other", odd->name);
    else if (t->support <= 1)
        buf_addf (out, "everyone differs: no two of %zu owners agree", n);
    else if (n - t->support == 1)
        buf_addf (out, "one against all: owner %s%s differs from %u others, who agree", odd->name, odd->split ? ", at odds with itself," : "", t->support);
    else
        buf_addf (out, "owners are divided: %u agree, and %zu differ from them", t->support, n - t->support);
}

static void wants (struct decision *d, unsigned n, bool trusted, unsigned room)
{
    d->want = n < room ? n : room;
    d->want_trusted = trusted && d->want;
}

void rule_decide (const struct rule_input *in, struct decision *d)
{
    const struct policy *p = &in->policy;
    bool required = p->trusted == POLICY_TRUSTED_REQUIRED;
    size_t n = in->vote_count;
    struct vote *v = xcalloc (n, sizeof *v);
    struct owner *o = xcalloc (n, sizeof *o);
    struct tally t;
    BUF (dissent);

    memset (d, 0, sizeof *d);
    if (n)
        memcpy (v, in->votes, n * sizeof *v);
    size_t owners = owners_of (v, n, o);
    qsort (o, owners, sizeof *o, by_outcome);
    count (o, owners, v, n, &t);
    say_dissent (o, owners, &t, &dissent);
    free (o);
    free (v);

    d->outcome = t.lead;
    d->votes = (unsigned) owners;
    d->support = t.support;
    d->against = d->votes - t.support;
    d->lineages = t.lineages;
    unsigned room = d->votes < p->max_replicas ? p->max_replicas - d->votes : 0;
    unsigned left = in->owners > owners ? (unsigned) (in->owners - owners) : 0;
    if (left < room)
        room = left;
    bool lacks_trusted = required && !t.trusted_for;
    bool blocked = t.trusted_against && required;
    if (p->dissent == POLICY_DISSENT_BLOCK && d->against)
        blocked = true;
    unsigned images = p->lineages > t.lineages && t.support ? p->lineages - t.lineages : 0; /* lacking */
    bool agreed = t.support >= p->agree && !images && t.support > t.second && !lacks_trusted && !blocked;

    if (agreed && !in->inputs_trusted) {
        d->state = STATE_PROVISIONAL;
        (void) snprintf (d->reason, sizeof d->reason, "%u of %u owners agree%s, but an input is not trusted yet", d->support, d->votes, t.success ? "" : " that it fails");
    } else if (agreed && !t.success) {
        d->state = STATE_FAILED;
        d->final = true;
        (void) snprintf (d->reason, sizeof d->reason, "%u of %u owners agree that it fails", d->support, d->votes);
    } else if (agreed) {
        d->state = STATE_TRUSTED;
        d->final = true;
        (void) snprintf (d->reason, sizeof d->reason, "%u owners agree (%u needed)%s%s%s", d->support, p->agree, required ? ", a trusted worker among them" : "",
                         dissent.len ? "; tolerated: " : "", buf_str (&dissent));
    } else if (d->against) {
        /* Under "block" no further vote can settle it, but they tell one liar from a build that never repeats. */
        d->state = room ? STATE_DISPUTED : STATE_UNREPRODUCIBLE;
        d->final = !room;
        wants (d, t.support > t.second && t.support >= p->agree ? 1 : p->agree > t.support ? p->agree - t.support : 1, lacks_trusted, room);
        (void) snprintf (d->reason, sizeof d->reason, "%s (%u votes, at most %u replicas)", buf_str (&dissent), d->votes, p->max_replicas);
    } else if (p->agree > in->owners || (required && in->trusted_owners == 0) || (p->lineages > 1 && p->lineages > in->images)) {
        d->state = STATE_UNSATISFIABLE;
        d->final = true;
        if (p->agree > in->owners)
            (void) snprintf (d->reason, sizeof d->reason, "the policy asks for %u owners, and %zu have a worker that fits", p->agree, in->owners);
        else if (required && in->trusted_owners == 0)
            (void) snprintf (d->reason, sizeof d->reason, "the policy asks for a trusted worker, and 0 of %zu owners have one that fits", in->owners);
        else
            (void) snprintf (d->reason, sizeof d->reason, "the policy asks for %u image lineages, and the step names %zu image%s", p->lineages, in->images,
                             in->images == 1 ? "" : "s");
    } else {
        d->state = d->votes ? STATE_PROVISIONAL : STATE_PENDING;
        unsigned lack = p->agree > t.support ? p->agree - t.support : 0;
        lack = lack > images ? lack : images;
        wants (d, lack ? lack : lacks_trusted ? 1 : 0, lacks_trusted, room);
        int len = snprintf (d->reason, sizeof d->reason, "%u of %u owners so far%s", d->support, p->agree, lacks_trusted ? ", no trusted worker among them" : "");
        if (images)
            (void) snprintf (d->reason + len, sizeof d->reason - (size_t) len, ", built in %u of %u image lineages", t.lineages, p->lineages);
    }
}
