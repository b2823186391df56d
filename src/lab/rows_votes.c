/* rows_votes.c: workers that lie about what came out of a step. */
#include "lab/lab.h"

#include <string.h>

#define STOP_MS 8000

static void stop (struct proc **p)
{
    proc_stop (p, STOP_MS);
}

static int stays_away (struct proc *p, const char *name, struct err *e)
{
    BUF (said);
    proc_output (p, &said);
    return err_set (e, ERR_FAILED, "%s does not start: %.300s", name, buf_str (&said));
}

int row_flip (struct trial *t, struct err *e)
{
    struct proc *p CLEANUP (stop) = NULL;
    struct step_seen s;
    struct digest id;
    if (trial_liar (t, "flipper", "mallory-flip", e) == -1)
        return -1;
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/flipper");
    if (LIAR (t->f, &p, "flipper", e, "flip", "--dir", dir) == -1)
        return -1;
    if (proc_until (p, "ready", FARM_PATIENCE_MS) != 1)
        return stays_away (p, "flipper", e);

    struct job j = { .recipe = LAB_BUILD ("agree: 2, trusted: required, dissent: tolerate"), .text = "flip-1", .step = "build", .first = { "flipper" }, .voted = true };
    if (trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "build", "trusted", &s, e) == -1 || trial_deployer (t, &id, "build", "flip-1", e) == -1)
        return -1;
    trial_held (t, s.support == 2 && s.dissent == 1, "%u for it and %u against, not 2 and 1", s.support, s.dissent);
    trial_note (t, "outvoted %u:%u", s.support, s.dissent);

    j.recipe = LAB_BUILD ("agree: 2, dissent: block");
    j.text = "flip-2";
    if (trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "build", "unreproducible", &s, e) == -1 || trial_deployer (t, &id, "build", NULL, e) == -1)
        return -1;
    trial_note (t, "under dissent: block nobody gets anything");

    j = (struct job){ .recipe = LAB_BUILD ("agree: 1, trusted: optional"), .text = "flip-3", .step = "build", .alone = true };
    if (trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "build", "trusted", &s, e) == -1 || trial_deployer (t, &id, "build", "flip-3\v", e) == -1)
        return -1;
    trial_note (t, "control: alone under agree: 1 its bits are deployed");
    return 0;
}

#define TEST(policy) "steps:\n  test:\n    policy: {" policy "}\n    run: read -r x <n; [ \"$x\" = good ]\n"

int row_green (struct trial *t, struct err *e)
{
    struct proc *p CLEANUP (stop) = NULL;
    struct step_seen s;
    struct digest id;
    if (trial_liar (t, "green", "mallory-green", e) == -1)
        return -1;
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/green");
    struct job j = { .recipe = TEST ("agree: 2, trusted: required, dissent: tolerate"), .text = "bad", .step = "test", .first = { "green" }, .voted = true };
    if (LIAR (t->f, &p, "green", e, "vote", dir, "2", "-", "0") == -1)
        return -1;
    if (proc_until (p, "ready", FARM_PATIENCE_MS) != 1)
        return stays_away (p, "green", e);
    if (trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "test", "failed trusted", &s, e) == -1)
        return -1;
    trial_held (t, strcmp (s.state, "failed") == 0, "a test that fails is %s", s.state);
    trial_note (t, "two owners ran the test: %s, %u:%u", s.state, s.support, s.dissent);

    j = (struct job){ .recipe = TEST ("agree: 1, trusted: optional"), .text = "bad", .step = "test", .alone = true };
    if (trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "test", "failed trusted", &s, e) == -1)
        return -1;
    trial_held (t, strcmp (s.state, "trusted") == 0, "control: alone under agree: 1 the test is %s", s.state);
    trial_note (t, "control: alone under agree: 1 the test is green");
    return 0;
}

int row_steal (struct trial *t, struct err *e)
{
    struct proc *p CLEANUP (stop) = NULL;
    struct step_seen s;
    struct digest id;
    BUF (said);
    if (trial_liar (t, "victim", "victim", e) == -1 || trial_liar (t, "thief", "mallory-steal", e) == -1)
        return -1;
    CLEANUP (free_ptr) char *victim = farm_path (t->f, "realm/victim"), *thief = farm_path (t->f, "realm/thief");
    struct job j = { .recipe = LAB_BUILD ("agree: 1, trusted: optional"), .text = "steal", .step = "build", .alone = true };
    if (LIAR (t->f, &p, "thief", e, "steal", victim, thief, "steal") == -1 || trial_job (t, &j, &id, e) == -1)
        return -1;
    int status = proc_wait (p, FARM_PATIENCE_MS);
    proc_output (p, &said);
    if (status)
        return err_set (e, ERR_FAILED, "the thief ended with status %d: %.300s", status, buf_str (&said));
    trial_held (t, strcmp (buf_str (&said), "not-allowed\nnot-allowed\nnot-allowed\nnot-allowed\nits owner:\nok\n") == 0, "the broker answered: %.200s", buf_str (&said));
    if (trial_until (t, &id, "build", "trusted", &s, e) == -1 || trial_deployer (t, &id, "build", "steal", e) == -1)
        return -1;
    int events = farm_events (t->f, t->since, &(struct event_want){ .worker = "thief" }, NULL, e);
    if (events == -1)
        return -1;
    trial_held (t, events == 0 && s.votes == 1, "%d events of the thief, %u votes", events, s.votes);
    trial_note (t, "all four refused, and the lease stayed; control: its holder's answer counts");
    return 0;
}
