/* The scheduler: who fits, never two of an owner, the trusted worker's place, and an even draw. */
#include "broker/schedule.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static uint32_t lcg (void *arg, uint32_t n)
{
    uint64_t *s = arg;
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t) ((*s >> 33) % n);
}

static struct candidate worker (const char *name, const char *owner, bool trusted)
{
    return (struct candidate){ .name = name, .owner = owner, .trusted = trusted, .isolation = ISOLATION_BWRAP, .network = NETWORK_NONE, .credit = 1, .suits = true };
}

Test (schedule, what_does_not_fit)
{
    struct demand d = { .places = 1, .isolation = ISOLATION_BWRAP, .memory = 100 };
    const char *used[] = { "x" }, *avoid[] = { "w" };
    struct candidate c = worker ("w", "x", false);
    cr_assert (schedule_fits (&c, &d));
    c.credit = 0;
    cr_assert_not (schedule_fits (&c, &d));
    c.credit = 1, c.suits = false;
    cr_assert_not (schedule_fits (&c, &d));
    c.suits = true, c.memory = 99;
    cr_assert_not (schedule_fits (&c, &d));
    c.memory = 100;
    cr_assert (schedule_fits (&c, &d));
    d.isolation = ISOLATION_QEMU;
    cr_assert_not (schedule_fits (&c, &d));
    d.isolation = ISOLATION_BWRAP, d.used = used, d.used_count = 1;
    cr_assert_not (schedule_fits (&c, &d));
    d.used_count = 0, d.network = NETWORK_REALM;
    cr_assert_not (schedule_fits (&c, &d));
    c.network = NETWORK_REALM;
    cr_assert (schedule_fits (&c, &d));
    d.avoid = avoid, d.avoid_count = 1;
    cr_assert_not (schedule_fits (&c, &d));
}

/* Thousands of random farms: no owner twice, none used, never more than asked, as many as there can be. */
Test (schedule, properties, .timeout = 120)
{
    static const char *const owners[] = { "a", "b", "c", "d", "e", "f" };
    uint64_t seed = 42;
    for (unsigned round = 0; round < 20000; round++) {
        struct candidate c[12];
        char names[12][8];
        size_t n = lcg (&seed, 13), out[12];
        for (size_t i = 0; i < n; i++) {
            (void) snprintf (names[i], sizeof names[i], "w%zu", i);
            c[i] = worker (names[i], owners[lcg (&seed, 6)], lcg (&seed, 4) == 0);
            c[i].credit = lcg (&seed, 3);
        }
        const char *used[2] = { owners[lcg (&seed, 6)], owners[lcg (&seed, 6)] };
        struct demand d = { .places = 1 + lcg (&seed, 4), .needs_trusted = lcg (&seed, 2), .isolation = ISOLATION_BWRAP, .used = used, .used_count = lcg (&seed, 3) };
        size_t got = schedule_pick (c, n, &d, lcg, &seed, out), possible = 0;
        bool any_trusted = false, got_trusted = false;
        for (size_t o = 0; o < 6; o++) {
            bool fit = false;
            for (size_t i = 0; i < n; i++)
                if (!strcmp (c[i].owner, owners[o]) && schedule_fits (&c[i], &d)) {
                    fit = true;
                    any_trusted |= c[i].trusted;
                }
            possible += fit;
        }
        size_t most = d.places - (d.needs_trusted && !any_trusted ? 1 : 0);
        cr_assert_eq (got, possible < most ? possible : most, "round %u", round);
        for (size_t i = 0; i < got; i++) {
            cr_assert (schedule_fits (&c[out[i]], &d));
            got_trusted |= c[out[i]].trusted;
            for (size_t j = 0; j < i; j++)
                cr_assert (strcmp (c[out[i]].owner, c[out[j]].owner));
        }
        if (d.needs_trusted && any_trusted)
            cr_assert (got_trusted, "round %u: the trusted worker was left out", round);
    }
}

Test (schedule, the_draw_is_even_among_owners)
{
    struct candidate c[] = { worker ("a1", "a", false), worker ("a2", "a", false), worker ("a3", "a", false), worker ("b1", "b", false), worker ("c1", "c", false) };
    struct demand d = { .places = 1, .isolation = ISOLATION_BWRAP };
    unsigned hits[3] = { 0 }, first = 0;
    uint64_t seed = 7;
    for (unsigned i = 0; i < 30000; i++) {
        size_t out;
        cr_assert_eq (schedule_pick (c, 5, &d, lcg, &seed, &out), 1);
        hits[c[out].owner[0] - 'a']++;
        first += out == 0;
    }
    for (int i = 0; i < 3; i++)
        cr_assert (hits[i] > 9400 && hits[i] < 10600, "owner %c was drawn %u times of 30000", 'a' + i, hits[i]);
    cr_assert (first > 3000 && first < 3700, "an owner's workers take turns");
}

/* What a draw gives is a matter of its seed and of those that fit: others change nothing, and seeds spread it. */
Test (schedule, a_draw_follows_from_its_seed)
{
    static const char *const names[] = { "a1", "a2", "b1", "c1", "d1", "e1" }, *const owners[] = { "a", "a", "b", "c", "d", "e" };
    unsigned hits[6] = { 0 };
    for (unsigned round = 0; round < 6000; round++) {
        struct candidate all[9], fit[6];
        size_t n = 0, out[9], again[9];
        struct chance x = { .drawn = 0 }, y;
        struct demand d = { .places = 1 + round % 3, .needs_trusted = round % 2, .isolation = ISOLATION_BWRAP };
        struct digest seed = digest_of (&round, sizeof round);
        memcpy (x.seed, seed.b, sizeof x.seed);
        y = x;
        for (size_t i = 0; i < 6; i++) {
            fit[i] = worker (names[i], owners[i], i == 3);
            fit[i].prefer = round % 5 == 0 && i % 2;
            if (i % 2) { /* in between: one that may not, one without credit */
                all[n] = worker ("x", "x", true);
                all[n++].suits = false;
            }
            all[n++] = fit[i];
        }
        size_t got = schedule_pick (all, n, &d, schedule_chance, &x, out), same = schedule_pick (fit, 6, &d, schedule_chance, &y, again);
        cr_assert_eq (got, same);
        for (size_t i = 0; i < got; i++)
            cr_assert_str_eq (all[out[i]].name, fit[again[i]].name, "round %u", round);
        hits[again[0]]++;
    }
    for (size_t i = 0; i < 6; i++)
        cr_assert (hits[i] > 100, "%s was drawn first %u times of 6000", names[i], hits[i]);
}

/* ---- who may read ---- */

/* An owner and one step that is read: written down apart. */
Test (schedule, who_may_read)
{
    static const struct {
        bool open, voted, could, early, may;
        const char *what;
    } rows[] = {
        { true, false, true, false, false, "trusted, and its vote is open again: it is challenged" },
        { true, false, true, true, false, "its vote is open" },
        { true, false, false, true, false, "its vote is open, and the roster has changed since" },
        { true, false, false, false, false, "the same, once it is trusted" },
        { true, true, true, true, false, "one of its workers has voted, the vote of another is open" },
        { true, true, true, false, false, "the same, once it is trusted" },
        { true, true, false, true, false, "" },
        { true, true, false, false, false, "" },
        { false, true, true, true, true, "it has voted" },
        { false, true, true, false, true, "" },
        { false, true, false, true, true, "" },
        { false, true, false, false, true, "" },
        { false, false, true, true, false, "it could vote yet" },
        { false, false, false, true, true, "it never could" },
        { false, false, true, false, true, "what is trusted is no secret" },
        { false, false, false, false, true, "" },
    };
    cr_assert_eq (sizeof rows / sizeof *rows, 16, "each case once");
    for (size_t i = 0; i < 16; i++) {
        const struct stake own = { rows[i].open, rows[i].voted, rows[i].could }, fine[] = { { false, true, true }, { false, true, false } };
        bool voted;
        cr_assert_eq (schedule_may_read (&own, 1, rows[i].early, &voted), rows[i].may, "row %zu: %s", i, rows[i].what);
        cr_assert (!rows[i].may || voted == rows[i].voted);
        for (size_t at = 0; at < 3; at++) { /* wherever it stands among others that are fine: one that must not be read is enough */
            struct stake v[3] = { fine[0], fine[1], fine[0] };
            v[at] = own;
            cr_assert_eq (schedule_may_read (v, 3, rows[i].early, &voted), rows[i].may, "row %zu, the %zu. of 3: %s", i, at + 1, rows[i].what);
            cr_assert (!rows[i].may || voted == rows[i].voted, "row %zu", i);
        }
    }
}

/* ---- those that do not do what they took ---- */

Test (schedule, pauses_double_and_have_an_end)
{
    static const int64_t times[] = { 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60 }, firsts[] = { 1, 1000, 10000, INT64_C (86400000) };
    for (size_t f = 0; f < sizeof firsts / sizeof *firsts; f++) {
        for (unsigned n = 0; n < sizeof times / sizeof *times; n++)
            cr_assert_eq (schedule_pause (n, firsts[f]), times[n] * firsts[f], "%u times in a row", n);
        for (unsigned n = 12; n < 300; n++)
            cr_assert_eq (schedule_pause (n, firsts[f]), 60 * firsts[f]);
        cr_assert_eq (schedule_pause (UINT32_MAX, firsts[f]), 60 * firsts[f]);
    }
}

/* ---- turns ---- */

struct queue { /* of one priority, as the broker keeps it: what is queued, what each has taken */
    struct { int64_t turn; unsigned who; } step[4000];
    size_t n;
    int64_t served, last[8];
    unsigned waits[8];
};

static void queue_add (struct queue *q, unsigned who, unsigned n)
{
    while (n--) {
        int64_t turn = schedule_turn (q->served, q->last[who], q->waits[who] > 0);
        cr_assert_geq (turn, q->served);
        q->last[who] = turn;
        q->waits[who]++;
        q->step[q->n].turn = turn;
        q->step[q->n++].who = who;
    }
}

static unsigned queue_take (struct queue *q)
{
    size_t best = 0;
    for (size_t i = 1; i < q->n; i++) /* age is the place in the list */
        if (q->step[i].turn < q->step[best].turn)
            best = i;
    unsigned who = q->step[best].who;
    if (q->step[best].turn > q->served)
        q->served = q->step[best].turn;
    q->waits[who]--;
    q->n--;
    for (size_t i = best; i < q->n; i++)
        q->step[i] = q->step[i + 1];
    return who;
}

Test (schedule, whoever_has_few_steps_does_not_wait_for_all_of_anothers)
{
    static struct queue q;
    memset (&q, 0, sizeof q);
    queue_add (&q, 0, 1000);
    for (unsigned i = 0; i < 100; i++) {
        cr_assert_eq (queue_take (&q), 0, "nobody else is there");
    }
    queue_add (&q, 1, 1); /* behind a flood: it waits for one at most */
    unsigned first = queue_take (&q), second = queue_take (&q);
    cr_assert (first == 1 || second == 1);
    queue_add (&q, 1, 50); /* two that have many: in turns, the newcomer among them gets no more than its share for having been away */
    queue_add (&q, 2, 50);
    unsigned got[8] = { 0 };
    for (unsigned i = 0; i < 90; i++)
        got[queue_take (&q)]++;
    cr_assert (got[0] >= 29 && got[0] <= 31 && got[1] >= 29 && got[1] <= 31 && got[2] >= 29 && got[2] <= 31, "%u %u %u", got[0], got[1], got[2]);
}

Test (schedule, turns_are_fair_however_steps_come)
{
    static struct queue q;
    uint64_t rnd = 7;
    for (unsigned round = 0; round < 200; round++) {
        unsigned got[4] = { 0 }, always = 600;
        memset (&q, 0, sizeof q);
        q.served = q.last[0] = (int64_t) (round * 1000);
        for (unsigned i = 0; i < 4; i++)
            queue_add (&q, i, 5); /* all four always have some queued, in portions of any size */
        for (unsigned i = 0; i < always; i++) {
            got[queue_take (&q)]++;
            for (unsigned who = 0; who < 4; who++)
                if (q.waits[who] < 5 || (who == 0 && q.n < 3000)) {
                    rnd = rnd * 6364136223846793005u + 1442695040888963407u;
                    queue_add (&q, who, 1 + (unsigned) (rnd >> 60) % 4);
                }
        }
        for (unsigned who = 0; who < 4; who++)
            cr_assert (got[who] + 12 > always / 4 && got[who] < always / 4 + 12, "round %u: %u got %u of %u", round, who, got[who], always);
    }
}
