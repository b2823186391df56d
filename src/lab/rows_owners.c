/* rows_owners.c: many keys, many owners, long histories, and keys that are no good any more. */
#include "lab/lab.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

#define SYBILS 5
#define COLLUDERS 3
#define STEPS 63           /* of one submission, at most 64 */
#define GOOD 1000

struct crowd {
    struct proc *v[8];
    size_t n;
};

static void crowd_stop (struct crowd *c)
{
    for (size_t i = 0; i < c->n; i++)
        trial_stop (&c->v[i]);
}

/* A worker that answers leases with this text; count: how many. */
static int join (struct trial *t, struct crowd *c, const char *name, const char *count, const char *text, struct err *e)
{
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/%s", name);
    return START (t, &c->v[c->n++], name, e, "vote", dir, count, text, "0");
}

int row_sybils (struct trial *t, struct err *e)
{
    struct crowd c CLEANUP (crowd_stop) = { .n = 0 };
    struct step_seen s;
    struct digest id;
    for (int i = 1; i <= SYBILS; i++) {
        char name[16];
        snprintf (name, sizeof name, "sybil-%d", i);
        if (trial_liar (t, name, "mallory-sybils", e) == -1 || join (t, &c, name, "1", "evil", e) == -1)
            return -1;
    }
    struct job j = { .recipe = LAB_BUILD ("agree: 2, trusted: optional, dissent: tolerate"), .text = "honest", .step = "build", .alone = true };
    if (trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "build", "provisional", &s, e) == -1 || trial_deployer (t, &id, "build", NULL, e) == -1)
        return -1;
    trial_held (t, s.votes == 1 && s.support == 1, "five of one owner have %u votes", s.votes);
    if (farm_honest (t->f, true, e) == -1 || trial_until (t, &id, "build", "trusted", &s, e) == -1 || trial_deployer (t, &id, "build", "honest", e) == -1)
        return -1;
    int leases = farm_events (t->f, t->since, &(struct event_want){ .kind = "leased", .owner = "mallory-sybils", .id = &id }, NULL, e);
    if (leases == -1)
        return -1;
    trial_held (t, leases == 1 && s.dissent == 1, "the owner had %d leases and %u votes", leases, s.dissent);
    trial_note (t, "five workers, one lease and one vote, outvoted %u:%u", s.support, s.dissent);
    crowd_stop (&c);
    c.n = 0;

    /* the same as owners of their own: two of them suffice */
    for (int i = 1; i <= 2; i++) {
        char name[16], owner[16];
        snprintf (name, sizeof name, "person-%d", i);
        snprintf (owner, sizeof owner, "person-%d", i);
        if (trial_liar (t, name, owner, e) == -1 || join (t, &c, name, "1", "evil", e) == -1)
            return -1;
    }
    if (trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "build", "trusted", &s, e) == -1 || trial_deployer (t, &id, "build", "evil", e) == -1)
        return -1;
    trial_note (t, "control: two of them as two owners get it through under agree: 2");
    return 0;
}

int row_collude (struct trial *t, struct err *e)
{
    struct crowd c CLEANUP (crowd_stop) = { .n = 0 };
    struct step_seen s;
    struct digest id;
    static const char project[] = "one/collude"; /* of the honest ones only worker-1 takes it, the trusted one */
    for (int i = 1; i <= COLLUDERS; i++) {
        char name[16];
        snprintf (name, sizeof name, "colluder-%d", i);
        if (farm_enrol (t->f, "worker", name, name, project, e) == -1 || join (t, &c, name, "2", "evil", e) == -1)
            return -1;
    }
    struct job j = { .recipe = LAB_BUILD ("agree: 2, trusted: required, dissent: tolerate, max_replicas: 4"), .text = "honest", .step = "build", .project = project };
    if (trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "build", "unreproducible trusted", &s, e) == -1 || trial_deployer (t, &id, "build", NULL, e) == -1)
        return -1;
    trial_held (t, strcmp (s.state, "unreproducible") == 0 && s.votes == COLLUDERS + 1, "%s with %u votes", s.state, s.votes);
    trial_note (t, "3 against 1: %s, nobody gets anything", s.state);
    j.recipe = LAB_BUILD ("agree: 2, trusted: optional, dissent: tolerate, max_replicas: 4");
    j.alone = true;
    if (trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "build", "trusted", &s, e) == -1 || trial_deployer (t, &id, "build", "evil", e) == -1
        || farm_honest (t->f, true, e) == -1)
        return -1;
    trial_note (t, "control: without the trusted worker, under trusted: optional, theirs are deployed");
    return 0;
}

/* Submissions of many small steps, until there were `want`; each is to be trusted. */
static int good_ones (struct trial *t, int want, struct err *e)
{
    for (int done = 0; done < want;) {
        int n = want - done < STEPS ? want - done : STEPS;
        struct digest id;
        struct step_seen s;
        BUF (recipe);
        buf_adds (&recipe, "policy: {agree: 2, trusted: optional}\nsteps:\n");
        for (int i = 0; i < n; i++)
            buf_addf (&recipe, "  s%d:\n    run: read -r x <n; echo \"$x\" >/out/n\n    artifacts: [n]\n", i);
        if (farm_commit (t->f, buf_str (&recipe), "good", e) == -1 || farm_push (t->f, t->project, &id, e) == -1)
            return -1;
        for (int i = 0; i < n; i++) {
            char step[16];
            snprintf (step, sizeof step, "s%d", n - 1 - i);
            if (trial_until (t, &id, step, "trusted", &s, e) == -1)
                return -1;
            if (t->broke)
                return err_set (e, ERR_FAILED, "its good results are not even trusted");
        }
        done += n;
    }
    return 0;
}

int row_turncoat (struct trial *t, struct err *e)
{
    struct crowd c CLEANUP (crowd_stop) = { .n = 0 };
    struct step_seen old, fresh;
    struct digest id;
    int64_t began = time_mono_ms ();
    if (trial_liar (t, "turncoat", "turncoat", e) == -1 || trial_liar (t, "partner", "partner", e) == -1 || trial_liar (t, "newcomer", "newcomer", e) == -1
        || farm_honest (t->f, false, e) == -1 || join (t, &c, "turncoat", "1000", "good", e) == -1 || join (t, &c, "partner", "1000", "good", e) == -1
        || good_ones (t, GOOD, e) == -1 || farm_honest (t->f, true, e) == -1)
        return -1;
    double seconds = (double) (time_mono_ms () - began) / 1000;
    crowd_stop (&c);
    c.n = 0;

    struct job j = { .recipe = LAB_BUILD ("agree: 2, trusted: optional, dissent: tolerate"), .text = "turn", .step = "build", .first = { "turncoat" }, .voted = true };
    if (join (t, &c, "turncoat", "1", "evil", e) == -1 || trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "build", "trusted", &old, e) == -1
        || trial_deployer (t, &id, "build", "turn", e) == -1)
        return -1;
    j.first[0] = "newcomer";
    if (join (t, &c, "newcomer", "1", "evil", e) == -1 || trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "build", "trusted", &fresh, e) == -1)
        return -1;
    trial_held (t, old.support == fresh.support && old.dissent == fresh.dissent, "%u:%u against it, and %u:%u against one without a history", old.support, old.dissent, fresh.support,
                fresh.dissent);
    trial_note (t, "outvoted %u:%u, as a newcomer is (%u:%u); its %d good results were scripted, uploaded, signed, and each agreed with another owner's (%.0f s)", old.support, old.dissent,
                fresh.support, fresh.dissent, GOOD, seconds);
    return 0;
}

int row_revoked (struct trial *t, struct err *e)
{
    struct proc *p CLEANUP (trial_stop) = NULL;
    struct step_seen s;
    struct digest id;
    BUF (said);
    BUF (err);
    if (trial_liar (t, "former", "former", e) == -1)
        return -1;
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/former");
    struct job j = { .recipe = LAB_BUILD ("agree: 2, trusted: optional"), .text = "revoked", .step = "build", .first = { "former" }, .voted = true };
    if (LIAR (t->f, &p, "former", e, "linger", dir, "revoked") == -1 || trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "build", "trusted", &s, e) == -1
        || trial_deployer (t, &id, "build", "revoked", e) == -1 || farm_honest (t->f, false, e) == -1)
        return -1;
    trial_held (t, proc_wait (p, 0) == PROC_RUNS, "control: it was refused before it was revoked");
    int status = ASSAY (t->f, "", NULL, &err, e, "revoke", "former", "--since", "-1h", "--reason", "its disk was copied");
    if (status)
        return status == -1 ? -1 : err_set (e, ERR_FAILED, "assay revoke: %.300s", buf_str (&err));
    if (trial_deployer (t, &id, "build", NULL, e) == -1 || trial_until (t, &id, "build", "provisional pending", &s, e) == -1 || trial_ends (t, p, "former", &said, e) == -1)
        return -1;
    trial_lines (t, &said, "ok\nover a new one: unknown-key");
    trial_held (t, strstr (buf_str (&said), "over the old connection: "), "its open connection went on");
    if (farm_honest (t->f, true, e) == -1 || trial_until (t, &id, "build", "trusted", &s, e) == -1 || trial_deployer (t, &id, "build", "revoked", e) == -1)
        return -1;
    trial_held (t, s.votes == 2 && s.support == 2, "%u votes after it", s.votes);
    trial_note (t, "refused on its open connection and on a new one; its vote is gone, deployers were refused until another owner had built it; control: before that they got it");
    return 0;
}

/* The liar's vote comes first, or after those of two others: the state in which it all ends. */
static int in_order (struct trial *t, const char *recipe, const char *text, bool last, struct step_seen *s, struct err *e)
{
    struct proc *p CLEANUP (trial_stop) = NULL;
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/speaker");
    struct digest id;
    struct job j = { .recipe = recipe, .text = text, .step = "build", .first = { "speaker" }, .voted = !last };
    BUF (said);
    int rc = last ? LIAR (t->f, &p, "speaker", e, "late", dir, "evil") : LIAR (t->f, &p, "speaker", e, "vote", dir, "1", "evil", "0");
    if (rc == -1 || trial_job (t, &j, &id, e) == -1 || trial_ends (t, p, "speaker", &said, e) == -1)
        return -1;
    return trial_until (t, &id, "build", "trusted unreproducible", s, e);
}

int row_order (struct trial *t, struct err *e)
{
    static const struct {
        const char *policy, *recipe, *state;
    } rows[] = { { "tolerate", LAB_BUILD ("agree: 3, trusted: optional, dissent: tolerate"), "trusted" }, { "block", LAB_BUILD ("agree: 3, trusted: optional, dissent: block"), "unreproducible" } };
    if (trial_liar (t, "speaker", "speaker", e) == -1)
        return -1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct step_seen first, last;
        if (in_order (t, rows[i].recipe, "order-first", false, &first, e) == -1 || in_order (t, rows[i].recipe, "order-last", true, &last, e) == -1)
            return -1;
        trial_held (t, strcmp (first.state, last.state) == 0 && first.support == last.support && first.dissent == last.dissent, "dissent: %s: first %s %u:%u, last %s %u:%u", rows[i].policy,
                    first.state, first.support, first.dissent, last.state, last.support, last.dissent);
        trial_held (t, strcmp (first.state, rows[i].state) == 0 && first.dissent == 1, "control: dissent: %s: %s, %u against it", rows[i].policy, first.state, first.dissent);
        trial_note (t, "dissent: %s: %s %u:%u both times", rows[i].policy, first.state, first.support, first.dissent);
    }
    return 0;
}
