/* The rule: rows for what it promises, and properties over every order of arrival. */
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

static void permute (struct vote *v, size_t n, size_t k, struct rule_input *in, const struct decision *first, size_t *cases)
{
    if (k == n) {
        struct decision d;
        in->votes = v;
        rule_decide (in, &d);
        cr_assert (same (&d, first), "an order of arrival changes the verdict: %s, %s", d.reason, first->reason);
        ++*cases;
        return;
    }
    for (size_t i = k; i < n; i++) {
        struct vote x = v[k];
        v[k] = v[i], v[i] = x;
        permute (v, n, k + 1, in, first, cases);
        x = v[k], v[k] = v[i], v[i] = x;
    }
}

/* Five votes of up to four owners over three outcomes, each policy: every set of votes in every order. */
Test (rule, the_order_of_arrival_does_not_matter, .timeout = 240)
{
    static const char *const owner[] = { "a", "b", "c", "d" }, *const worker[] = { "w0", "w1", "w2", "w3", "w4" };
    size_t cases = 0;
    unsigned seed = 1;
    for (unsigned round = 0; round < 2500; round++) {
        struct vote v[5];
        struct decision first;
        for (size_t i = 0; i < 5; i++) {
            seed = seed * 1103515245u + 12345u;
            unsigned r = seed >> 8;
            v[i] = (struct vote){ .worker = worker[i], .owner = owner[r % 4], .trusted = (r >> 4) % 5 == 0, .success = (r >> 8) % 3 != 0 };
            v[i].outcome.b[0] = (uint8_t) (1 + (r >> 8) % 3);
            v[i].image.b[0] = (uint8_t) ((r >> 12) % 3);
        }
        struct rule_input in = { .policy = { 1 + round % 3, 1 + round / 3 % 2, 1 + round / 6 % 2, ISOLATION_BWRAP, 5, 1 + round / 12 % 3, NETWORK_NONE }, .votes = v, .vote_count = 5,
                                 .owners = 4, .trusted_owners = 1, .images = 3, .inputs_trusted = round % 7 != 0 };
        rule_decide (&in, &first);
        permute (v, 5, 0, &in, &first, &cases);
        if (first.state == STATE_TRUSTED)
            cr_assert (in.inputs_trusted && first.support >= in.policy.agree && first.lineages >= in.policy.lineages);
    }
    cr_assert_eq (cases, 2500 * 120);
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
