/* rows_votes.c: workers that lie about what came out of a step. */
#include "lab/lab.h"

#include <string.h>

#include "base/file.h"

int row_flip (struct trial *t, struct err *e)
{
    struct proc *p CLEANUP (trial_stop) = NULL;
    struct step_seen s;
    struct digest id;
    if (trial_liar (t, "flipper", "mallory-flip", e) == -1)
        return -1;
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/flipper");
    if (START (t, &p, "flipper", e, "flip", "--dir", dir) == -1)
        return -1;

    struct job j = { .recipe = LAB_BUILD ("agree: 2, trusted: required, dissent: tolerate"), .text = "flip-1", .step = "build", .first = { "mallory-flip" }, .voted = true };
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
    struct proc *p CLEANUP (trial_stop) = NULL;
    struct step_seen s;
    struct digest id;
    if (trial_liar (t, "green", "mallory-green", e) == -1)
        return -1;
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/green");
    struct job j = { .recipe = TEST ("agree: 2, trusted: required, dissent: tolerate"), .text = "bad", .step = "test", .first = { "mallory-green" }, .voted = true };
    if (START (t, &p, "green", e, "vote", dir, "2", "-", "0") == -1 || trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "test", "failed trusted", &s, e) == -1)
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
    struct proc *p CLEANUP (trial_stop) = NULL;
    struct step_seen s;
    struct digest id;
    BUF (said);
    if (trial_liar (t, "victim", "victim", e) == -1 || trial_liar (t, "thief", "mallory-steal", e) == -1)
        return -1;
    CLEANUP (free_ptr) char *victim = farm_path (t->f, "realm/victim"), *thief = farm_path (t->f, "realm/thief");
    struct job j = { .recipe = LAB_BUILD ("agree: 1, trusted: optional"), .text = "steal", .step = "build", .alone = true };
    if (LIAR (t->f, &p, "thief", e, "steal", victim, thief, "steal") == -1 || trial_job (t, &j, &id, e) == -1 || trial_ends (t, p, "thief", &said, e) == -1)
        return -1;
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

int row_copy (struct trial *t, struct err *e)
{
    struct proc *p CLEANUP (trial_stop) = NULL;
    struct step_seen s;
    struct digest id;
    char why[256] = "";
    BUF (said);
    if (trial_liar (t, "copier", "mallory-copy", e) == -1)
        return -1;
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/copier");
    struct job j = { .recipe = LAB_BUILD ("agree: 3, trusted: optional, dissent: tolerate"), .text = "copy", .step = "build", .first = { "mallory-copy" } };
    if (LIAR (t->f, &p, "copier", e, "copy", dir, "copy") == -1 || trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "build", "trusted", &s, e) == -1
        || trial_ends (t, p, "copier", &said, e) == -1)
        return -1;
    trial_lines (t, &said, "events: no-digest\nverdict: no-digest\nlog: not-allowed\nread: not-allowed\nname: bytes-wanted\necho: ok\nlater: digest\nlater events: digest");
    trial_held (t, !strstr (buf_str (&said), "receipt: given"), "it got a receipt for bytes that it never had");
    trial_held (t, s.support == 3 && s.votes == 3, "%u of %u votes for it, not the 3 of honest owners", s.support, s.votes);
    int n = farm_event (t->f, t->since, &(struct event_want){ .kind = "refused", .worker = "copier", .id = &id }, FARM_PATIENCE_MS, why, e);
    if (n == -1)
        return -1;
    trial_held (t, n == 1, "no event names the copier");
    trial_note (t, "events, verdict, log and store told it nothing; what it echoed was refused, and it is named (%.80s); control: after the verdict they tell", why);
    return 0;
}

#define TWO(policy)                                                                                                                                                                                                                                                                                                       \
    "policy: {" policy "}\nsteps:\n  one:\n    run: read -r x <n; echo \"$x\" >/out/n\n    artifacts: [n]\n"                                                                                                                                                                                                              \
    "  two:\n    run: read -r x <n; echo \"$x\" >/out/n\n    artifacts: [n]\n"

int row_replay (struct trial *t, struct err *e)
{
    struct proc *p CLEANUP (trial_stop) = NULL;
    struct step_seen own, other;
    struct digest id;
    char why[256] = "";
    BUF (said);
    if (trial_liar (t, "replayer", "mallory-replay", e) == -1)
        return -1;
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/replayer");
    struct job j = { .recipe = TWO ("agree: 2, trusted: optional, dissent: tolerate"), .text = "replay", .alone = true };
    if (LIAR (t->f, &p, "replayer", e, "repeat", dir, "replay") == -1 || trial_job (t, &j, &id, e) == -1 || trial_ends (t, p, "replayer", &said, e) == -1
        || farm_honest (t->f, true, e) == -1)
        return -1;
    bool first = strstr (buf_str (&said), "its own, one: ") != NULL;
    trial_lines (t, &said, first ? "its own, one: ok\nthe same: ok\nanother for it: conflict\nfor the other step: ok" : "its own, two: ok\nthe same: ok\nanother for it: conflict\nfor the other step: ok");
    if (trial_until (t, &id, first ? "one" : "two", "trusted", &own, e) == -1 || trial_until (t, &id, first ? "two" : "one", "trusted", &other, e) == -1)
        return -1;
    trial_held (t, own.votes == 2 && own.support == 2, "control: its own result and one more are %u votes", own.votes);
    trial_held (t, other.votes == 2 && other.support == 2, "the other step has %u votes, not those of the two honest owners", other.votes);
    int own_votes = farm_event (t->f, t->since, &(struct event_want){ .kind = "refused", .worker = "replayer", .id = &id, .step = first ? "two" : "one" }, FARM_PATIENCE_MS, why, e);
    if (own_votes == -1)
        return -1;
    trial_held (t, own_votes == 1, "no event names the replayer");
    trial_note (t, "no vote, and it is named (%.80s); a second answer to the first lease: conflict; control: its first answer counts", why);
    return 0;
}

int row_withhold (struct trial *t, struct err *e)
{
    struct proc *p CLEANUP (trial_stop) = NULL;
    struct step_seen s;
    struct digest id;
    char why[256] = "";
    if (trial_liar (t, "holder", "mallory-hold", e) == -1)
        return -1;
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/holder");
    struct job j = { .recipe = LAB_BUILD ("agree: 1, trusted: optional") "    limits: {time: 3s}\n", .text = "withhold", .step = "build", .first = { "mallory-hold" } };
    int64_t began = time_mono_ms ();
    if (LIAR (t->f, &p, "holder", e, "hold", dir) == -1 || trial_job (t, &j, &id, e) == -1 || farm_status (t->f, &id, "build", &s, e) == -1)
        return -1;
    trial_held (t, s.votes == 0 && strcmp (s.state, "trusted") != 0, "control: it held the lease, and the step was %s all the same", s.state);
    if (trial_until (t, &id, "build", "trusted", &s, e) == -1 || trial_deployer (t, &id, "build", "withhold", e) == -1)
        return -1;
    int n = farm_events (t->f, t->since, &(struct event_want){ .kind = "error", .worker = "holder", .id = &id }, why, e);
    if (n == -1)
        return -1;
    trial_held (t, n == 1, "the holder did not lose its lease");
    trial_held (t, proc_wait (p, 0) == PROC_RUNS, "control: the holder was gone by itself");
    trial_note (t, "its lease of 5 s was over (%.60s), another owner built it: trusted after %.1f s; control: nothing was decided meanwhile", why, (double) (time_mono_ms () - began) / 1000);
    return 0;
}

#define CHAIN(build)                                                                                                                                                                              \
    "steps:\n  build:\n    policy: {" build "}\n    run: read -r x <n; echo \"$x\" >/out/n\n    artifacts: [n]\n"                                                                                 \
    "  test:\n    needs: [build]\n    start: provisional\n    policy: {agree: 1, trusted: optional}\n    run: read -r x </in/build/n || true; echo \"$x\" >/out/n\n    artifacts: [n]\n"         \
    "  report:\n    needs: [test]\n    start: provisional\n    policy: {agree: 1, trusted: optional}\n    run: read -r x </in/test/n || true; echo \"$x\" >/out/n\n    artifacts: [n]\n"

/* Each of the three reaches one of the states. */
static int chain (struct trial *t, const struct digest *id, const char *states, struct step_seen s[3], struct err *e)
{
    static const char *const steps[] = { "build", "test", "report" };
    for (size_t i = 0; i < 3; i++)
        if (trial_until (t, id, steps[i], states, &s[i], e) == -1)
            return -1;
    return 0;
}

int row_provisional (struct trial *t, struct err *e)
{
    struct proc *p CLEANUP (trial_stop) = NULL;
    static const char *const steps[] = { "build", "test", "report" };
    struct step_seen s[3];
    struct digest id;
    char why[256] = "";
    if (trial_liar (t, "early", "mallory-early", e) == -1)
        return -1;
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/early");
    if (START (t, &p, "early", e, "flip", "--dir", dir) == -1)
        return -1;

    struct job j = { .recipe = CHAIN ("agree: 2, trusted: required, dissent: tolerate"), .text = "early", .step = "report", .first = { "mallory-early" }, .voted = true, .alone = true };
    if (trial_job (t, &j, &id, e) == -1 || chain (t, &id, "provisional", s, e) == -1)
        return -1;
    for (size_t i = 0; i < 3; i++)
        if (trial_deployer (t, &id, steps[i], NULL, e) == -1)
            return -1;
    trial_stop (&p); /* where one owner is enough, as for the tests, whoever is drawn is believed */
    if (farm_honest (t->f, true, e) == -1 || chain (t, &id, "trusted", s, e) == -1)
        return -1;
    trial_held (t, s[0].support >= 2 && s[0].dissent == 1, "the build has %u for it and %u against", s[0].support, s[0].dissent);
    for (size_t i = 0; i < 3; i++) {
        int leases = farm_events (t->f, t->since, &(struct event_want){ .kind = "leased", .id = &id, .step = steps[i], .owner = "mallory-early" }, NULL, e);
        int fell = i ? farm_events (t->f, t->since, &(struct event_want){ .kind = "fallen", .id = &id, .step = steps[i], .reason = "turned out other than what it ran on" }, why, e) : 1;
        int verdicts = farm_events (t->f, t->since, &(struct event_want){ .kind = "verdict", .id = &id, .step = steps[i], .state = "trusted" }, NULL, e);
        int all = farm_events (t->f, t->since, &(struct event_want){ .kind = "leased", .id = &id, .step = steps[i] }, NULL, e);
        if (leases == -1 || fell == -1 || verdicts == -1 || all == -1 || trial_deployer (t, &id, steps[i], "early", e) == -1)
            return -1;
        trial_held (t, leases == 1 && all >= 2, "%s: the liar had %d leases of %d", steps[i], leases, all);
        trial_held (t, fell >= 1, "%s: no event says that it fell, and why", steps[i]);
        trial_held (t, verdicts == 1, "%s: it was said to be trusted %d times, not only on the right bits", steps[i], verdicts);
        trial_held (t, s[i].votes == (i ? 1 : s[0].support + 1), "%s: %u votes", steps[i], s[i].votes);
    }
    trial_note (t, "what ran on its bits was provisional, and nobody's to deploy; other bits from the trusted worker, and test and report fell (%.60s) and ran again", why);

    j.recipe = CHAIN ("agree: 1, trusted: optional");
    j.text = "alone";
    if (START (t, &p, "early", e, "flip", "--dir", dir) == -1 || trial_job (t, &j, &id, e) == -1 || chain (t, &id, "trusted", s, e) == -1 || trial_deployer (t, &id, "report", "alone\v\v\v", e) == -1)
        return -1;
    trial_note (t, "control: alone under agree: 1 all of it is deployed");
    return farm_honest (t->f, true, e);
}
