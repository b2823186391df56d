/* A step's life: which event is taken in which state, what it does to the counts, and that no order of events breaks them. */
#include "broker/job.h"

#include <criterion/criterion.h>
#include <string.h>

#define CAP 3u

static uint32_t lcg (uint64_t *s, uint32_t n)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t) ((*s >> 33) % n);
}

/* Written down apart from the rows: the next state's first letter, '!' behind it where leases are revoked, '-' where refused. */
static const struct { enum job_event event; const char *open, *stopped, *decided; } table[] = {
    { JOB_LEASE, "o", "-", "-" },          { JOB_OUTCOME, "o", "-", "-" },   { JOB_ERROR, "o", "-", "-" },      { JOB_GONE, "o", "s", "d" },
    { JOB_REPLICATE, "o", "s", "o" },      { JOB_VERDICT_OPEN, "o", "s", "o" }, { JOB_VERDICT_FINAL, "d!", "d", "d" }, { JOB_CANCEL, "s!", "-", "-" },
    { JOB_EXPIRE, "s!", "-", "-" },        { JOB_EXHAUST, "s!", "-", "-" },  { JOB_RETRY, "o!", "o", "o" },
    { JOB_MOVE, "o!", "-", "-" },
};

Test (job, each_event_in_each_state)
{
    cr_assert_eq (sizeof table / sizeof *table, JOB_EVENTS);
    for (size_t i = 0; i < JOB_EVENTS; i++)
        for (unsigned st = 0; st < JOB_STATES; st++) {
            const char *want = st == JOB_OPEN ? table[i].open : st == JOB_STOPPED ? table[i].stopped : table[i].decided;
            struct job j = { .state = (enum job_state) st, .places = 2, .votes = 1, .open = 1 }, was = j;
            struct err e = ERR_INIT;
            int actions = job_apply (&j, table[i].event, 2, CAP, &e);
            const char *text = job_event_name (table[i].event);
            if (*want == '-') {
                cr_assert_eq (actions, -1, "%s in %s", text, job_state_name (was.state));
                cr_assert (!memcmp (&j, &was, sizeof j) && e.code == EC_CONFLICT, "%s in %s: %s", text, job_state_name (was.state), e.msg);
                cr_assert (strstr (e.msg, text) && strstr (e.msg, job_state_name (was.state)), "%s", e.msg);
                continue;
            }
            cr_assert_neq (actions, -1, "%s in %s: %s", text, job_state_name (was.state), e.msg);
            cr_assert_eq (*job_state_name (j.state), *want, "%s in %s gives %s", text, job_state_name (was.state), job_state_name (j.state));
            cr_assert_eq ((actions & JOB_REVOKE) != 0, want[1] == '!', "%s in %s", text, job_state_name (was.state));
            cr_assert_eq ((actions & JOB_FORGET) != 0, table[i].event == JOB_RETRY || table[i].event == JOB_MOVE);
        }
}

Test (job, what_is_no_event_or_state_is_refused)
{
    struct err e = ERR_INIT;
    for (int n = JOB_EVENTS; n < JOB_EVENTS + 300; n += 37) {
        struct job j = { .places = 1 }, k = { .state = (enum job_state) (n - JOB_EVENTS + JOB_STATES), .places = 9 };
        cr_assert_eq (job_apply (&j, (enum job_event) n, 0, CAP, &e), -1);
        cr_assert_str_eq (job_event_name ((enum job_event) n), "unknown");
        cr_assert_eq (job_apply (&k, JOB_RETRY, 1, CAP, &e), -1, "a row read from a damaged file");
        cr_assert_eq (job_wants (&k), 0);
        cr_assert_str_eq (job_state_name (k.state), "unknown");
    }
}

Test (job, a_step_that_two_owners_agree_on)
{
    struct job j = { .places = 2 };
    struct err e = ERR_INIT;
    cr_assert_eq (job_wants (&j), 2);
    cr_assert (job_apply (&j, JOB_LEASE, 0, CAP, &e) == 0 && job_wants (&j) == 1);
    cr_assert (job_apply (&j, JOB_LEASE, 0, CAP, &e) == 0 && job_wants (&j) == 0);
    cr_assert (job_apply (&j, JOB_OUTCOME, 0, CAP, &e) == 0 && job_wants (&j) == 0 && j.votes == 1 && j.open == 1);
    cr_assert (job_apply (&j, JOB_GONE, 0, CAP, &e) == 0 && job_wants (&j) == 1, "handed back: its place is free again");
    cr_assert (job_apply (&j, JOB_LEASE, 0, CAP, &e) == 0 && job_apply (&j, JOB_OUTCOME, 0, CAP, &e) == 0);
    cr_assert (job_wants (&j) == 0 && j.votes == 2 && j.open == 0 && j.errors == 0);
    cr_assert_eq (job_apply (&j, JOB_REPLICATE, 1, CAP, &e), 0); /* they disagreed */
    cr_assert_eq (job_wants (&j), 1);
    cr_assert_eq (job_apply (&j, JOB_LEASE, 0, CAP, &e), 0);
    cr_assert_eq (job_apply (&j, JOB_VERDICT_FINAL, 0, CAP, &e), JOB_REVOKE);
    cr_assert (j.state == JOB_DECIDED && j.open == 0 && job_wants (&j) == 0);
}

Test (job, errors_up_to_the_cap)
{
    for (unsigned cap = 1; cap <= 5; cap++) {
        struct job j = { .places = 1 };
        struct err e = ERR_INIT;
        for (unsigned n = 1; n <= cap; n++) {
            cr_assert_eq (job_wants (&j), 1);
            cr_assert_eq (job_apply (&j, JOB_LEASE, 0, cap, &e), 0);
            cr_assert_eq (job_apply (&j, JOB_ERROR, 0, cap, &e), n == cap ? JOB_EXHAUSTED : 0, "error %u of %u", n, cap);
            cr_assert (j.state == JOB_OPEN && j.votes == 0);
        }
        cr_assert_eq (job_apply (&j, JOB_EXHAUST, 0, cap, &e), JOB_REVOKE);
        cr_assert (j.state == JOB_STOPPED && job_wants (&j) == 0);
        cr_assert_eq (job_apply (&j, JOB_RETRY, 2, cap, &e), JOB_FORGET);
        cr_assert (j.state == JOB_OPEN && j.errors == 0 && job_wants (&j) == 2, "as new");
    }
}

Test (job, replicas_count_from_the_votes_and_are_bounded)
{
    static const struct { unsigned places, votes, more, then; } t[] = {
        { 2, 2, 1, 3 }, { 2, 1, 1, 2 }, { 5, 2, 1, 5 }, { 2, 2, 0, 2 }, { 1, 0, 300, 256 }, { 1, 200, 200, 256 }, { 1, 0, 4294967295u, 256 }, { 256, 255, 256, 256 },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        struct job j = { .places = t[i].places, .votes = t[i].votes };
        struct err e = ERR_INIT;
        cr_assert_eq (job_apply (&j, JOB_REPLICATE, t[i].more, CAP, &e), 0);
        cr_assert_eq (j.places, t[i].then, "row %zu: %u", i, j.places);
        cr_assert_eq (job_apply (&j, JOB_REPLICATE, t[i].more, CAP, &e), 0); /* the verifier says it again after a restart */
        cr_assert_eq (j.places, t[i].then, "row %zu, again", i);
    }
}

/* A hundred thousand events in any order: counts stay what they mean, and there is always a way on. */
Test (job, random_lives)
{
    for (uint64_t seed = 1; seed <= 2000; seed++) {
        uint64_t rnd = seed;
        unsigned places = 1 + lcg (&rnd, 5), votes = 0, open = 0, errors = 0;
        struct job j = { .places = places };
        for (unsigned n = 0; n < 60; n++) {
            enum job_event ev = (enum job_event) lcg (&rnd, JOB_EVENTS);
            unsigned more = 1 + lcg (&rnd, 4);
            struct job was = j;
            struct err e = ERR_INIT;
            if (ev == JOB_LEASE && job_wants (&j) == 0)
                continue; /* the broker gives no more than are wanted */
            if ((ev == JOB_OUTCOME || ev == JOB_ERROR || ev == JOB_GONE) && open == 0)
                continue; /* and each comes from an open lease */
            int actions = job_apply (&j, ev, more, CAP, &e);
            if (actions == -1) {
                cr_assert (!memcmp (&j, &was, sizeof j));
                continue;
            }
            open += ev == JOB_LEASE;
            open -= ev == JOB_OUTCOME || ev == JOB_ERROR || ev == JOB_GONE;
            votes += ev == JOB_OUTCOME;
            errors += ev == JOB_ERROR;
            if (actions & JOB_REVOKE)
                open = 0;
            if (actions & JOB_FORGET)
                votes = errors = 0;
            if (actions & JOB_EXHAUSTED) {
                cr_assert (errors >= CAP);
                cr_assert_eq (job_apply (&j, JOB_EXHAUST, 0, CAP, &e), JOB_REVOKE);
                open = 0;
            }
            cr_assert (j.open == open && j.votes == votes && j.errors == errors, "seed %llu event %u (%s)", (unsigned long long) seed, n, job_event_name (ev));
            cr_assert (job_wants (&j) <= j.places && (j.state == JOB_OPEN || (job_wants (&j) == 0 && j.open == 0)), "only an open step has leases or wants them");
            cr_assert (ev == JOB_RETRY || ev == JOB_MOVE || j.places >= was.places);
            cr_assert (job_wants (&j) == 0 || job_wants (&j) + j.votes + j.open == j.places);
        }
        struct err e = ERR_INIT;
        cr_assert_neq (job_apply (&j, JOB_RETRY, 2, CAP, &e), -1, "a retry is always possible");
        cr_assert (j.state == JOB_OPEN && job_wants (&j) == 2);
        cr_assert_neq (job_apply (&j, JOB_VERDICT_FINAL, 0, CAP, &e), -1, "and so is the last word");
        cr_assert_eq (j.state, JOB_DECIDED);
    }
}

/* A last verdict that was on its way when the step was retried ends it; the one that takes it back opens it, as the retry had it. */
Test (job, a_verdict_of_before_a_retry_holds_nothing_up)
{
    struct err e = ERR_INIT;
    struct job j = { .state = JOB_OPEN, .places = 2, .votes = 2 };
    cr_assert_neq (job_apply (&j, JOB_RETRY, 2, 3, &e), -1, "%s", e.msg);
    cr_assert_neq (job_apply (&j, JOB_LEASE, 0, 3, &e), -1);
    int actions = job_apply (&j, JOB_VERDICT_FINAL, 0, 3, &e);
    cr_assert (actions != -1 && (actions & JOB_REVOKE) && job_wants (&j) == 0);
    cr_assert_neq (job_apply (&j, JOB_VERDICT_OPEN, 0, 3, &e), -1, "%s", e.msg);
    cr_assert (j.state == JOB_OPEN && j.votes == 0 && job_wants (&j) == 2);
}
