/* The rule: rows for what it promises, and properties of any votes in any order of arrival, against a model of its own. */
#include "verifier/rule.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

/* "a1" is owner a voting outcome 1; upper case is a trusted worker; outcome 'x' is a failure; "a1 a2": two workers of one owner. */
static struct decision decide (const char *votes, unsigned agree, bool required, bool block, size_t owners, unsigned max)
{
    static char names[64][8];
    struct vote v[64];
    size_t n = 0;
    for (const char *p = votes; *p;) {
        if (*p == ' ') {
            p++;
            continue;
        }
        struct vote *w = &v[n];
        memset (w, 0, sizeof *w);
        (void) snprintf (names[n], sizeof names[n], "%c", p[0] | 0x20);
        (void) snprintf (names[n] + 2, sizeof names[n] - 2, "w%zu", n);
        w->owner = names[n];
        w->worker = names[n] + 2;
        w->trusted = p[0] >= 'A' && p[0] <= 'Z';
        w->outcome.b[0] = (uint8_t) p[1];
        w->success = p[1] != 'x';
        n++;
        p += 2;
    }
    struct rule_input in = { .policy = { agree, required ? POLICY_TRUSTED_REQUIRED : POLICY_TRUSTED_OPTIONAL,
                                         block ? POLICY_DISSENT_BLOCK : POLICY_DISSENT_TOLERATE, ISOLATION_BWRAP, max },
                             .votes = v, .vote_count = n, .owners = owners, .trusted_owners = 1, .inputs_trusted = true };
    struct decision d;
    rule_decide (&in, &d);
    return d;
}

Test (rule, rows)
{
    static const struct { const char *votes; unsigned agree; bool required, block; size_t owners; unsigned max; enum step_state state; unsigned want; } t[] = {
        { "", 2, false, true, 3, 5, STATE_PENDING, 2 },
        { "", 4, false, true, 3, 5, STATE_UNSATISFIABLE, 0 },
        { "a1", 2, false, true, 3, 5, STATE_PROVISIONAL, 1 },
        { "a1 b1", 2, false, true, 3, 5, STATE_TRUSTED, 0 },
        { "a1 a1 a1", 2, false, true, 3, 5, STATE_PROVISIONAL, 1 },          /* one owner, one vote */
        { "a1 b1", 2, true, true, 3, 5, STATE_PROVISIONAL, 1 },              /* no trusted worker yet */
        { "a1 B1", 2, true, true, 3, 5, STATE_TRUSTED, 0 },
        { "A1", 1, true, true, 3, 5, STATE_TRUSTED, 0 },
        { "a1 b1 C2", 2, true, false, 4, 5, STATE_DISPUTED, 1 },             /* a trusted worker says otherwise */
        { "ax bx", 2, false, true, 3, 5, STATE_FAILED, 0 },
        { "a1 b2", 2, false, true, 3, 5, STATE_DISPUTED, 1 },
        { "a1 b1 c2", 2, false, true, 4, 5, STATE_DISPUTED, 1 },             /* block: nobody may differ */
        { "a1 b1 c2", 2, false, false, 4, 5, STATE_TRUSTED, 0 },             /* tolerate: the liar is outvoted */
        { "a1 b1 c2 d2", 2, false, false, 9, 9, STATE_DISPUTED, 1 },         /* 2-2 never wins */
        { "a1 b1 c2 d2", 2, false, false, 4, 9, STATE_UNREPRODUCIBLE, 0 },
        { "a1 b2 c3 d4 e5", 2, false, true, 9, 5, STATE_UNREPRODUCIBLE, 0 },
        { "a1 a2 b1 c1", 2, false, true, 5, 5, STATE_DISPUTED, 1 },          /* an owner at odds with itself is dissent */
        { "a1 a2 b1 c1", 2, false, false, 5, 5, STATE_TRUSTED, 0 },
        { "a1 a2", 1, false, false, 2, 5, STATE_DISPUTED, 1 },               /* ... and supports nothing */
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct decision d = decide (t[i].votes, t[i].agree, t[i].required, t[i].block, t[i].owners, t[i].max);
        cr_assert_eq (d.state, t[i].state, "row %zu \"%s\": %s (%s)", i, t[i].votes, step_state_name (d.state), d.reason);
        cr_assert_eq (d.want, t[i].want, "row %zu \"%s\": want %u", i, t[i].votes, d.want);
    }
    cr_assert (strstr (decide ("", 4, false, true, 3, 5).reason, "4 owners, and 3 have"));
}

/* Owner, outcome, image: "a1x" is owner a with outcome 1 in image x. */
static struct decision decide_lineages (const char *votes, unsigned agree, unsigned lineages, bool block, size_t images, size_t owners)
{
    static char names[64][8];
    struct vote v[64];
    size_t n = 0;
    for (const char *p = votes; *p; p += p[3] ? 4 : 3, n++) {
        (void) snprintf (names[n], sizeof names[n], "%c", p[0]);
        (void) snprintf (names[n] + 2, sizeof names[n] - 2, "w%zu", n);
        v[n] = (struct vote){ .owner = names[n], .worker = names[n] + 2, .success = true };
        v[n].outcome.b[0] = (uint8_t) p[1];
        v[n].image.b[0] = (uint8_t) p[2];
    }
    struct rule_input in = { .policy = { .agree = agree, .lineages = lineages, .dissent = block ? POLICY_DISSENT_BLOCK : POLICY_DISSENT_TOLERATE }, .votes = v, .vote_count = n,
                             .owners = owners, .trusted_owners = 1, .images = images, .inputs_trusted = true };
    struct decision d;
    policy_fill (&in.policy);
    rule_decide (&in, &d);
    return d;
}

Test (rule, agreement_spans_images_that_were_built_separately)
{
    static const struct { const char *votes; unsigned agree, lineages; bool block; size_t images, owners; enum step_state state; unsigned want, spans; } t[] = {
        { "a1x b1x", 2, 1, true, 2, 4, STATE_TRUSTED, 0, 1 },
        { "a1x b1x", 2, 2, true, 2, 4, STATE_PROVISIONAL, 1, 1 },        /* the same compiler may be bad in both */
        { "a1x b1x c1x", 2, 2, true, 2, 4, STATE_PROVISIONAL, 1, 1 },
        { "a1x b1y", 2, 2, true, 2, 4, STATE_TRUSTED, 0, 2 },
        { "a1x b1x c1y", 2, 2, true, 2, 4, STATE_TRUSTED, 0, 2 },
        { "a1x", 1, 2, true, 2, 4, STATE_PROVISIONAL, 1, 1 },            /* two lineages are two owners at least */
        { "a1x a1y", 1, 2, true, 2, 4, STATE_PROVISIONAL, 1, 1 },        /* an owner stands for one, however many it built in */
        { "a1x b2y", 2, 2, true, 2, 4, STATE_DISPUTED, 1, 1 },           /* one of the images alters what it builds */
        { "a1x b1x c2y d2y", 2, 2, false, 2, 6, STATE_DISPUTED, 1, 1 },
        { "a1x b1x c1y d2y", 2, 2, false, 2, 6, STATE_TRUSTED, 0, 2 },
        { "", 2, 3, true, 2, 9, STATE_UNSATISFIABLE, 0, 0 },
        { "a1x b1y", 2, 3, true, 2, 9, STATE_UNSATISFIABLE, 0, 2 },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct decision d = decide_lineages (t[i].votes, t[i].agree, t[i].lineages, t[i].block, t[i].images, t[i].owners);
        cr_assert_eq (d.state, t[i].state, "row %zu \"%s\": %s (%s)", i, t[i].votes, step_state_name (d.state), d.reason);
        cr_assert (d.want == t[i].want && d.lineages == t[i].spans, "row %zu \"%s\": want %u, lineages %u", i, t[i].votes, d.want, d.lineages);
    }
    cr_assert (strstr (decide_lineages ("", 2, 3, true, 2, 9).reason, "3 image lineages, and the step names 2 images"));
    cr_assert (strstr (decide_lineages ("a1x b1x", 2, 2, true, 2, 9).reason, "built in 1 of 2 image lineages"));
}

static bool same (const struct decision *a, const struct decision *b)
{
    return a->state == b->state && digest_eq (&a->outcome, &b->outcome) && a->support == b->support && a->against == b->against && a->votes == b->votes && a->lineages == b->lineages
           && a->want == b->want && a->want_trusted == b->want_trusted && a->final == b->final && !strcmp (a->reason, b->reason);
}

/* ---- the rule once more, as the design words it: each condition asked of the bare votes, for each outcome, without sorting or counting on ---- */

#define OWNERS 8u    /* "a" to "h" */
#define OUTCOMES 10u /* 1 to 9 */

struct model {
    enum step_state state;
    unsigned voters, most, room;
    unsigned whole[OUTCOMES]; /* owners that said this and nothing else */
    unsigned spans[OUTCOMES]; /* images that those stand for */
    bool backed[OUTCOMES];    /* ... a trusted worker of theirs among them */
};

static bool voted (const struct rule_input *in, char owner)
{
    for (size_t i = 0; i < in->vote_count; i++)
        if (*in->votes[i].owner == owner)
            return true;
    return false;
}

static bool said_only (const struct rule_input *in, char owner, unsigned outcome)
{
    for (size_t i = 0; i < in->vote_count; i++)
        if (*in->votes[i].owner == owner && in->votes[i].outcome.b[0] != outcome)
            return false;
    return voted (in, owner);
}

static bool said_otherwise (const struct rule_input *in, unsigned outcome, bool by_trusted)
{
    for (size_t i = 0; i < in->vote_count; i++)
        if (in->votes[i].outcome.b[0] != outcome && (in->votes[i].trusted || !by_trusted))
            return true;
    return false;
}

static void look_at (const struct rule_input *in, unsigned outcome, struct model *m)
{
    bool image[4] = { false };
    for (char o = 'a'; o < (char) ('a' + OWNERS); o++) {
        unsigned least = 3;
        if (!said_only (in, o, outcome))
            continue;
        m->whole[outcome]++;
        for (size_t i = 0; i < in->vote_count; i++)
            if (*in->votes[i].owner == o) {
                m->backed[outcome] |= in->votes[i].trusted;
                least = in->votes[i].image.b[0] < least ? in->votes[i].image.b[0] : least;
            }
        m->spans[outcome] += !image[least];
        image[least] = true;
    }
}

static bool wins (const struct rule_input *in, const struct model *m, unsigned d)
{
    for (unsigned other = 1; other < OUTCOMES; other++)
        if (other != d && m->whole[other] >= m->whole[d])
            return false;
    if (in->policy.trusted == POLICY_TRUSTED_REQUIRED && (!m->backed[d] || said_otherwise (in, d, true)))
        return false;
    if (in->policy.dissent == POLICY_DISSENT_BLOCK && said_otherwise (in, d, false))
        return false;
    return m->whole[d] >= in->policy.agree && m->spans[d] >= in->policy.lineages;
}

static unsigned model (const struct rule_input *in, struct model *m)
{
    unsigned winner = 0;
    bool differ = false, beyond = in->policy.agree > in->owners || in->policy.lineages > (in->images ? in->images : 1)
                                  || (in->policy.trusted == POLICY_TRUSTED_REQUIRED && in->trusted_owners == 0);
    memset (m, 0, sizeof *m);
    for (char o = 'a'; o < (char) ('a' + OWNERS); o++)
        m->voters += voted (in, o);
    for (unsigned d = 1; d < OUTCOMES; d++) {
        look_at (in, d, m);
        m->most = m->whole[d] > m->most ? m->whole[d] : m->most;
    }
    for (unsigned d = 1; d < OUTCOMES; d++)
        if (wins (in, m, d)) {
            cr_assert_eq (winner, 0u, "two outcomes win");
            winner = d;
        }
    for (size_t i = 1; i < in->vote_count; i++)
        differ |= in->votes[i].outcome.b[0] != in->votes[0].outcome.b[0];
    while (m->room + m->voters < in->policy.max_replicas && m->room + m->voters < in->owners)
        m->room++;
    bool success = true;
    for (size_t i = 0; winner && i < in->vote_count; i++)
        if (in->votes[i].outcome.b[0] == winner)
            success = in->votes[i].success;
    m->state = winner ? (!in->inputs_trusted ? STATE_PROVISIONAL : success ? STATE_TRUSTED : STATE_FAILED)
               : differ ? (m->room ? STATE_DISPUTED : STATE_UNREPRODUCIBLE)
               : beyond ? STATE_UNSATISFIABLE
                        : m->voters ? STATE_PROVISIONAL : STATE_PENDING;
    return winner;
}

#define VOTES 24u

struct set {
    struct rule_input in;
    struct vote v[VOTES];
    char text[VOTES * 6 + 80]; /* for messages: owner (a trusted worker's in upper case), outcome, image of each vote; then the policy */
};

static struct decision decided (struct set *s)
{
    struct decision d;
    size_t at = 0;
    s->in.votes = s->v;
    for (size_t i = 0; i < s->in.vote_count; i++)
        at += (size_t) snprintf (s->text + at, sizeof s->text - at, "%c%u%c ", s->v[i].trusted ? *s->v[i].owner - 32 : *s->v[i].owner, s->v[i].outcome.b[0], 'x' + s->v[i].image.b[0]);
    (void) snprintf (s->text + at, sizeof s->text - at, "agree %u trusted %u dissent %u max %u lineages %u/%zu owners %zu/%zu", s->in.policy.agree, s->in.policy.trusted,
                     s->in.policy.dissent, s->in.policy.max_replicas, s->in.policy.lineages, s->in.images, s->in.owners, s->in.trusted_owners);
    rule_decide (&s->in, &d);
    return d;
}

static void add_vote (struct set *s, char owner, unsigned outcome, bool trusted, unsigned image)
{
    static const char *const owners[OWNERS] = { "a", "b", "c", "d", "e", "f", "g", "h" };
    static const char *const workers[VOTES] = { "w0", "w1", "w2", "w3", "w4", "w5", "w6", "w7", "w8", "w9", "wa", "wb", "wc", "wd", "we", "wf", "wg", "wh", "wi", "wj", "wk", "wl", "wm", "wn" };
    cr_assert (s->in.vote_count < VOTES);
    struct vote *v = &s->v[s->in.vote_count];
    *v = (struct vote){ .worker = workers[s->in.vote_count++], .owner = owners[owner - 'a'], .trusted = trusted, .success = outcome != 1 };
    v->outcome.b[0] = (uint8_t) outcome;
    v->image.b[0] = (uint8_t) image;
}

/* An owner without a vote, or 0. */
static char newcomer (const struct set *s)
{
    for (char o = 'a'; o < (char) ('a' + OWNERS); o++)
        if (!voted (&s->in, o))
            return o;
    return 0;
}

/* The rule says of it what the model says. */
static struct decision as_modelled (struct set *s)
{
    struct model m;
    struct decision d = decided (s);
    unsigned winner = model (&s->in, &m), lead = d.outcome.b[0];
    bool required = s->in.policy.trusted == POLICY_TRUSTED_REQUIRED;
    cr_assert_eq (d.state, m.state, "%s: %s, not %s (%s)", s->text, step_state_name (d.state), step_state_name (m.state), d.reason);
    cr_assert (d.votes == m.voters && d.support == m.most && d.against == m.voters - m.most, "%s: %u for it, %u against, %u in all", s->text, d.support, d.against, d.votes);
    cr_assert (winner ? lead == winner : m.most ? m.whole[lead] == m.most : digest_zero (&d.outcome), "%s: outcome %u leads", s->text, lead);
    cr_assert (d.lineages == (m.most ? m.spans[lead] : 0), "%s: %u lineages", s->text, d.lineages);
    cr_assert_eq (d.final, d.state == STATE_TRUSTED || d.state == STATE_FAILED || d.state == STATE_UNREPRODUCIBLE || d.state == STATE_UNSATISFIABLE, "%s: final", s->text);
    cr_assert (d.want <= m.room && (!d.want || (!d.final && !winner)) && (d.want || d.state != STATE_DISPUTED), "%s: %u wanted of %u", s->text, d.want, m.room);
    cr_assert_eq (d.want_trusted, d.want && required && !(m.most && m.backed[lead]), "%s: a trusted one wanted", s->text);
    cr_assert (d.reason[0], "%s: no reason", s->text);
    return d;
}

/* An owner that says what the others said, in an image that none of them stands for, if there is one. */
static void join (struct set *s, bool trusted)
{
    struct set best = *s;
    unsigned outcome = s->in.vote_count ? s->v[0].outcome.b[0] : 2, spans = 0;
    for (unsigned image = 0; image < 3; image++) {
        struct set more = *s;
        add_vote (&more, newcomer (&more), outcome, trusted, image);
        struct decision d = decided (&more);
        if (d.lineages > spans)
            best = more;
        spans = d.lineages > spans ? d.lineages : spans;
    }
    *s = best;
}

/* Where all agree so far: when as many say the same as were asked for, it is enough; one fewer is not. */
static void wants_what_it_lacks (const struct set *s, const struct decision *d)
{
    struct set more = *s;
    more.in.inputs_trusted = true;
    for (unsigned i = 0; i < d->want; i++) {
        struct decision now = decided (&more);
        cr_assert (now.state == STATE_PROVISIONAL || now.state == STATE_PENDING, "%s: fewer than were asked for suffice", more.text);
        join (&more, d->want_trusted && i == 0);
    }
    struct decision then = as_modelled (&more);
    cr_assert (then.state == STATE_TRUSTED || then.state == STATE_FAILED || then.votes == s->in.policy.max_replicas || then.votes >= s->in.owners, "%s: what was asked for is not enough", more.text);
}

/* Whoever comes after it was trusted, and says otherwise. */
static void takes_late_dissent (const struct set *s, const struct decision *d)
{
    for (unsigned trusted = 0; trusted < 2; trusted++) {
        struct set more = *s;
        if (!newcomer (&more))
            return;
        add_vote (&more, newcomer (&more), 9, trusted, 0);
        struct decision then = as_modelled (&more);
        bool stays = s->in.policy.dissent == POLICY_DISSENT_TOLERATE && d->support > 1 && !(trusted && s->in.policy.trusted == POLICY_TRUSTED_REQUIRED);
        cr_assert_eq (then.state == STATE_TRUSTED, stays, "%s: %s", more.text, step_state_name (then.state));
        cr_assert (stays ? then.against == d->against + 1 && strstr (then.reason, "tolerated: ") : then.state == STATE_DISPUTED || then.state == STATE_UNREPRODUCIBLE, "%s: %s", more.text, then.reason);
        cr_assert (!stays || digest_eq (&then.outcome, &d->outcome));
    }
}

/* One owner more or less, however many keys: who repeats what its owner said changes nothing. */
static void owners_have_one_vote (const struct set *s, const struct decision *d)
{
    for (size_t i = 0; i < s->in.vote_count; i++) {
        struct set more = *s;
        for (unsigned k = 0; k < 3; k++)
            add_vote (&more, *s->v[i].owner, s->v[i].outcome.b[0], s->v[i].trusted, s->v[i].image.b[0]);
        struct decision then = decided (&more);
        cr_assert (same (&then, d), "%s: said again by keys of owner %s: %s", s->text, s->v[i].owner, then.reason);
    }
}

static unsigned pick (unsigned *seed, unsigned n)
{
    *seed = *seed * 1103515245u + 12345u;
    return (*seed >> 12) % n;
}

static void random_set (unsigned *seed, unsigned votes, unsigned owners, struct set *s)
{
    unsigned outcomes = 1 + pick (seed, 4), trusted = 1 + pick (seed, 6);
    memset (s, 0, sizeof *s);
    s->in = (struct rule_input){ .policy = { 1 + pick (seed, 4), 1 + pick (seed, 2), 1 + pick (seed, 2), ISOLATION_BWRAP, 2 + pick (seed, 6), 1 + pick (seed, 3), NETWORK_NONE },
                                 .owners = pick (seed, OWNERS + 1), .trusted_owners = pick (seed, 3), .images = 1 + pick (seed, 3), .inputs_trusted = pick (seed, 7) };
    policy_fill (&s->in.policy);
    for (unsigned i = 0; i < votes; i++)
        add_vote (s, (char) ('a' + pick (seed, owners)), 1 + pick (seed, outcomes), pick (seed, trusted) == 0, pick (seed, 3));
}

static void every_order (struct set *s, size_t k, const struct decision *first, size_t *cases)
{
    if (k == s->in.vote_count) {
        struct decision d = decided (s);
        cr_assert (same (&d, first), "%s: an order of arrival changes the verdict: %s, %s", s->text, d.reason, first->reason);
        ++*cases;
        return;
    }
    for (size_t i = k; i < s->in.vote_count; i++) {
        struct vote x = s->v[k];
        s->v[k] = s->v[i], s->v[i] = x;
        every_order (s, k + 1, first, cases);
        x = s->v[k], s->v[k] = s->v[i], s->v[i] = x;
    }
}

/* Any votes under any policy: what the model says, in whatever order they came. */
Test (rule, the_order_of_arrival_does_not_matter, .timeout = 240)
{
    size_t cases = 0;
    unsigned seed = 1;
    for (unsigned round = 0; round < 2500; round++) {
        struct set s;
        random_set (&seed, 5, 4, &s);
        struct decision first = as_modelled (&s);
        every_order (&s, 0, &first, &cases);
    }
    cr_assert_eq (cases, 2500 * 120);
}

Test (rule, any_votes_are_decided_as_the_design_says, .timeout = 240)
{
    unsigned seed = 7, seen[STATE_COUNT] = { 0 };
    for (unsigned round = 0; round < 60000; round++) {
        struct set s;
        random_set (&seed, round % 10, 1 + pick (&seed, OWNERS), &s);
        struct decision d = as_modelled (&s);
        seen[d.state]++;
        owners_have_one_vote (&s, &d);
        if (d.state == STATE_TRUSTED)
            takes_late_dissent (&s, &d);
        if (d.want && !d.against)
            wants_what_it_lacks (&s, &d);
    }
    for (enum step_state st = STATE_PENDING; st <= STATE_UNSATISFIABLE; st++)
        cr_assert (seen[st] > 500, "%u sets are %s", seen[st], step_state_name (st));
}

/* As many for one as for another, whoever they are and whatever the policy: nothing wins. */
Test (rule, equal_halves_never_win)
{
    for (unsigned half = 1; half <= OWNERS / 2; half++)
        for (unsigned agree = 1; agree <= half; agree++)
            for (unsigned how = 0; how < 16; how++) {
                struct set s = { .in = { .policy = { agree, 1 + how % 2, 1 + how / 2 % 2, ISOLATION_BWRAP, 9, 1, NETWORK_NONE }, .owners = how & 8 ? 2 * half : 9, .trusted_owners = 1,
                                         .images = 1, .inputs_trusted = true } };
                for (unsigned i = 0; i < 2 * half; i++)
                    add_vote (&s, (char) ('a' + i), 2 + i % 2, how & 4 && i == 0, 0);
                struct decision d = as_modelled (&s);
                cr_assert_eq (d.state, how & 8 ? STATE_UNREPRODUCIBLE : STATE_DISPUTED, "%s", s.text);
            }
}

/* A build that never repeats: more are asked for until the cap or until nobody is left, and then it is said. */
Test (rule, random_outputs_end_at_the_cap)
{
    for (unsigned max = 2; max <= 7; max++)
        for (unsigned owners = 2; owners <= OWNERS; owners++)
            for (unsigned agree = 2; agree <= max && agree <= owners; agree++)
                for (unsigned how = 0; how < 4; how++) {
                    struct set s = { .in = { .policy = { agree, 1 + how % 2, 1 + how / 2, ISOLATION_BWRAP, max, 1, NETWORK_NONE }, .owners = owners, .trusted_owners = 1, .images = 1,
                                             .inputs_trusted = true } };
                    unsigned end = max < owners ? max : owners;
                    struct decision d = as_modelled (&s);
                    while (d.want && s.in.vote_count < OWNERS) {
                        unsigned i = (unsigned) s.in.vote_count;
                        add_vote (&s, (char) ('a' + i), 1 + i, false, 0);
                        d = as_modelled (&s);
                        cr_assert_eq (d.state, i == 0 ? STATE_PROVISIONAL : i + 1 < end ? STATE_DISPUTED : STATE_UNREPRODUCIBLE, "%s: %s", s.text, d.reason);
                    }
                    cr_assert (d.state == STATE_UNREPRODUCIBLE && d.final && d.votes == end, "%s: ended %s after %u", s.text, step_state_name (d.state), d.votes);
                }
}

/* Before anybody voted. */
Test (rule, what_cannot_be_is_said_at_once)
{
    for (unsigned agree = 1; agree <= 6; agree++)
        for (unsigned owners = 0; owners <= 6; owners++)
            for (unsigned trusted = 0; trusted < 3; trusted++)
                for (unsigned required = 0; required < 2; required++)
                    for (unsigned lineages = 1; lineages <= 3; lineages++) {
                        struct set s = { .in = { .policy = { agree, required ? POLICY_TRUSTED_REQUIRED : POLICY_TRUSTED_OPTIONAL, POLICY_DISSENT_BLOCK, ISOLATION_BWRAP, 9, lineages, NETWORK_NONE },
                                                 .owners = owners, .trusted_owners = trusted, .images = 2, .inputs_trusted = true } };
                        struct decision d = as_modelled (&s);
                        bool can = agree <= owners && (!required || trusted) && lineages <= 2;
                        cr_assert_eq (d.state, can ? STATE_PENDING : STATE_UNSATISFIABLE, "%s: %s", s.text, d.reason);
                        cr_assert (can ? d.want >= agree : d.final && d.want == 0, "%s: %u wanted", s.text, d.want);
                    }
}

Test (policy, the_strictest_of_each_field_in_any_order)
{
    for (unsigned i = 0; i < 4096; i++) {
        struct policy a = { i % 4, i / 4 % 3, i / 12 % 3, (unsigned[]){ 0, 1, 2, 4 }[i % 4], i % 7 };
        struct policy b = { i / 16 % 4, i / 64 % 3, i / 5 % 3, (unsigned[]){ 0, 1, 2, 4 }[i / 16 % 4], i / 9 % 7 }, ab = a, ba = b, twice;
        policy_merge (&ab, &b);
        policy_merge (&ba, &a);
        cr_assert (!memcmp (&ab, &ba, sizeof ab), "commutative");
        twice = ab;
        policy_merge (&twice, &a);
        cr_assert (!memcmp (&ab, &twice, sizeof ab), "idempotent");
        cr_assert (ab.agree >= a.agree && ab.agree >= b.agree && ab.trusted >= a.trusted && ab.dissent >= a.dissent && ab.isolation >= b.isolation);
        policy_fill (&ab);
        cr_assert (ab.agree && ab.trusted && ab.dissent && ab.isolation && ab.max_replicas >= ab.agree);
        cr_assert_eq (policy_check (&ab, NULL), 0);
    }
    cr_assert (policy_isolation_ok (ISOLATION_BWRAP, ISOLATION_QEMU) && !policy_isolation_ok (ISOLATION_QEMU, ISOLATION_BWRAP | ISOLATION_NONE));
}

Test (rule, the_reason_tells_one_against_all_from_everyone_differs)
{
    static const struct { const char *votes; bool block; const char *reason; } t[] = {
        { "a1 b1 c1 d2", true, "one against all: owner d differs from 3 others, who agree" },
        { "a1 b1 c1 d2", false, "tolerated: one against all: owner d differs" },
        { "a2 b1 c1", true, "one against all: owner a differs from 2 others" },
        { "a1 a2 b1 c1", true, "one against all: owner a, at odds with itself, differs from 2 others" },
        { "a1 b2 c3 d4", true, "everyone differs: no two of 4 owners agree" },
        { "a1 b2", true, "everyone differs: no two of 2 owners agree" },
        { "a1 a2", true, "the workers of owner a disagree with each other" },
        { "a1 b1 c2 d2", true, "owners are divided: 2 agree, and 2 differ from them" },
        { "a1 b1 c2 d3", true, "owners are divided: 2 agree, and 2 differ from them" },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct decision d = decide (t[i].votes, 2, false, t[i].block, 9, 9);
        cr_assert_not_null (strstr (d.reason, t[i].reason), "%s: %s", t[i].votes, d.reason);
    }
    cr_assert_null (strstr (decide ("a1 b1", 2, false, true, 9, 9).reason, "against"));
}
