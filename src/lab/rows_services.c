/* rows_services.c: broker, store and verifier that lie with keys of their own, and who tries to wear them down. */
#include "lab/lab.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

#define PEAK_MIB 768

/* How long one build takes from push to verdict. */
static int timed (struct trial *t, const char *text, double *seconds, struct err *e)
{
    struct step_seen s;
    struct digest id;
    struct job j = { .recipe = LAB_BUILD ("agree: 2"), .text = text };
    int64_t began = time_mono_ms ();
    if (trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "build", "trusted", &s, e) == -1)
        return -1;
    *seconds = (double) (time_mono_ms () - began) / 1000;
    return 0;
}

int row_flood (struct trial *t, struct err *e)
{
    static const char *const names[SERVICES] = { "idp", "store", "broker", "verifier" };
    struct proc *p[SERVICES] = { NULL };
    double before, during = 0;
    unsigned long sent = 0;
    long peak = 0;
    int rc = trial_liar (t, "flooder", "mallory-flood", e);
    if (rc == -1 || timed (t, "flood-1", &before, e) == -1)
        return -1;
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/flooder");
    for (int i = 0; i < SERVICES && rc == 0; i++) {
        CLEANUP (free_ptr) char *log = xasprintf ("flood-%s", names[i]);
        rc = LIAR (t->f, &p[i], log, e, "flood", dir, names[i], "2");
    }
    if (rc == 0)
        rc = timed (t, "flood-2", &during, e);
    for (int i = 0; i < SERVICES && rc == 0; i++) {
        CLEANUP (free_ptr) char *log = xasprintf ("flood-%s", names[i]);
        unsigned long n = 0;
        BUF (said);
        long mib = farm_service_peak (t->f, (enum service) i);
        rc = trial_ends (t, p[i], log, &said, e);
        sscanf (buf_str (&said), "sent %lu", &n);
        sent += n;
        peak = mib > peak ? mib : peak;
        trial_held (t, n > 100, "control: only %lu requests reached %s", n, names[i]);
        trial_held (t, mib > 0 && mib < PEAK_MIB, "%s grew to %ld MiB", names[i], mib);
    }
    for (int i = 0; i < SERVICES; i++)
        trial_stop (&p[i]);
    if (rc == 0)
        trial_note (t, "%lu requests in 2 s; a build meanwhile took %.1f s (%.1f s before); no service beyond %ld MiB", sent, during, before, peak);
    return rc;
}

/* ---- the verifier ---- */

static int verify (struct trial *t, const char *bundle, int want, const char *what, struct err *e)
{
    CLEANUP (free_ptr) char *ini = farm_path (t->f, "realm/realm.ini"), *roster = farm_path (t->f, "roster"), *file = farm_path (t->f, "%s", bundle);
    BUF (err);
    int status = ASSAY (t->f, "", NULL, &err, e, "verify", "--root", ini, roster, file);
    if (status != -1)
        trial_held (t, status == want, "%s: assay verify ended with %d, not %d: %.200s", what, status, want, buf_str (&err));
    return status == -1 ? -1 : 0;
}

int row_verifier (struct trial *t, struct err *e)
{
    static const struct {
        const char *lie;
        int status;
    } rows[] = { { "none", 0 }, { "artifact", 6 }, { "outcome", 6 }, { "commit", 6 }, { "policy", 3 } };
    CLEANUP (free_ptr) char *bundle = farm_path (t->f, "bundle"), *roster = farm_path (t->f, "roster"), *dir = farm_path (t->f, "realm/verifier"), *lie = farm_path (t->f, "lie");
    struct step_seen s;
    struct digest id;
    char hex[DIGEST_HEX];
    struct job j = { .recipe = LAB_BUILD ("agree: 3"), .text = "verifier" };
    int status = ASSAY (t->f, "", NULL, NULL, e, "policy", "--project", t->project, "--agree", "2");
    if (status)
        return status == -1 ? -1 : err_set (e, ERR_FAILED, "assay policy ended with status %d", status);
    if (trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "build", "trusted", &s, e) == -1)
        return -1;
    CLEANUP (free_ptr) char *step = xasprintf ("%s/build", digest_hex (&id, hex));
    status = ASSAY (t->f, "", NULL, NULL, e, "attest", step, "-o", bundle, "--roster", roster);
    if (status || verify (t, "bundle", 0, "the true one", e) == -1)
        return status <= 0 ? -1 : err_set (e, ERR_FAILED, "assay attest ended with status %d", status);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct proc *p CLEANUP (trial_stop) = NULL;
        BUF (said);
        if (LIAR (t->f, &p, "verdict", e, "verdict", dir, bundle, rows[i].lie) == -1 || trial_ends (t, p, "verdict", &said, e) == -1
            || file_write (lie, buf_bytes (&said), 0600, e) == -1 || verify (t, "lie", rows[i].status, rows[i].lie, e) == -1)
            return -1;
    }
    trial_note (t, "computed again offline from the owners' results: artifact, outcome, commit, policy found out; control: the true one, signed anew, passes");
    return 0;
}

/* A change that both copies of the verifier's state go on from; the copy that is put aside has not seen it. */
static int swap (struct trial *t, const char *away, const char *here, struct err *e)
{
    CLEANUP (free_ptr) char *state = farm_path (t->f, "realm/verifier/state"), *a = farm_path (t->f, "%s", away), *b = farm_path (t->f, "%s", here);
    farm_service_stop (t->f, SERVICE_VERIFIER);
    return rename (state, a) == -1 || rename (b, state) == -1 ? err_errno (e, "the verifier's state") : 0;
}

static int audit (struct trial *t, const char *who, const char *option, const char *file, struct err *e)
{
    CLEANUP (free_ptr) char *path = farm_path (t->f, "%s", file);
    return ASSAY (t->f, who, NULL, NULL, e, "audit", option, path);
}

/* Until who was shown a log as long as that in the file. */
static int same_size (struct trial *t, const char *who, const char *file, struct err *e)
{
    CLEANUP (free_ptr) char *theirs = farm_path (t->f, "%s", file), *own = farm_path (t->f, "checkpoint-now");
    for (int64_t until = time_mono_ms () + FARM_PATIENCE_MS; time_mono_ms () < until;) {
        BUF (a);
        BUF (b);
        if (audit (t, who, "--export", "checkpoint-now", e) == 0 && file_read (theirs, 65536, &a, e) == 0 && file_read (own, 65536, &b, e) == 0) {
            const char *x = strchr (buf_str (&a), '\n'), *y = strchr (buf_str (&b), '\n'); /* the second line is the size */
            if (x && y && strcspn (x + 1, "\n") == strcspn (y + 1, "\n") && strncmp (x, y, strcspn (x + 1, "\n") + 2) == 0)
                return 0;
        }
        if (!proc_pause (100))
            return err_set (e, ERR_FAILED, "interrupted");
    }
    return err_set (e, ERR_FAILED, "the two logs never had the same size");
}

static int must_end (struct trial *t, int got, int want, const char *what)
{
    if (got != -1)
        trial_held (t, got == want, "%s: assay audit ended with %d, not %d", what, got, want);
    return got == -1 ? -1 : 0;
}

/* Alice is the deployer, Bob worker-3's owner. */
static int two_logs (struct trial *t, struct err *e)
{
    static const char alice[] = "deployer", bob[] = "worker-3";
    CLEANUP (free_ptr) char *state = farm_path (t->f, "realm/verifier/state"), *copy = farm_path (t->f, "log-b");
    double seconds;
    if (timed (t, "fork-1", &seconds, e) == -1 || must_end (t, audit (t, alice, "--export", "seen-a", e), 0, "control: Alice, one log") == -1
        || must_end (t, audit (t, bob, "--export", "seen-b", e), 0, "control: Bob, one log") == -1
        || must_end (t, audit (t, bob, "--compare", "seen-a", e), 0, "control: Alice's and Bob's, of one log") == -1)
        return -1;
    farm_service_stop (t->f, SERVICE_VERIFIER);
    int status = farm_run (t->f, (const char *const[]){ "cp", "-a", state, copy, NULL }, NULL, NULL, e);
    if (status || farm_service_start (t->f, SERVICE_VERIFIER, e) == -1)
        return status <= 0 ? -1 : err_set (e, ERR_FAILED, "cp ended with status %d", status);
    if (timed (t, "fork-2", &seconds, e) == -1 || must_end (t, audit (t, alice, "--export", "seen-a", e), 0, "control: Alice, the first log") == -1 || swap (t, "log-a", "log-b", e) == -1)
        return -1;
    /* under another roster the same votes make another verdict */
    if (ASSAY (t->f, "", NULL, NULL, e, "policy", "--project", "lab/elsewhere", "--agree", "2") != 0 || ASSAY (t->f, "verifier", NULL, NULL, e, "who") != 0)
        return *e->msg ? -1 : err_set (e, ERR_FAILED, "the roster could not be changed");
    if (farm_service_start (t->f, SERVICE_VERIFIER, e) == -1 || same_size (t, bob, "seen-a", e) == -1)
        return -1;
    int compared = audit (t, bob, "--compare", "seen-a", e), shown = audit (t, alice, "--export", "seen-a2", e);
    return must_end (t, compared, 6, "Bob compares with what Alice saw") == -1 ? -1 : must_end (t, shown, 6, "Alice is shown the second log");
}

int row_fork (struct trial *t, struct err *e)
{
    int rc = two_logs (t, e);
    CLEANUP (free_ptr) char *first = farm_path (t->f, "log-a");
    struct err again = ERR_INIT;
    if (access (first, F_OK) == 0 && (swap (t, "log-b", "log-a", &again) == -1 || farm_service_start (t->f, SERVICE_VERIFIER, &again) == -1) && rc == 0) {
        *e = again;
        rc = -1;
    }
    if (rc == 0)
        trial_note (t, "each log is genuine, and the two do not go together: who compares two checkpoints finds out, and who is shown the other one; control: of one log they agree");
    return rc;
}

/* ---- the store ---- */

static int from_liar (struct trial *t, const char *lie, const char *tree, const struct digest *id, const char *text, struct err *e)
{
    struct proc *p CLEANUP (trial_stop) = NULL;
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/store");
    if (START (t, &p, "store-liar", e, "store", dir, lie, tree) == -1 || trial_deployer (t, id, "build", text, e) == -1)
        return -1;
    trial_held (t, proc_says (p, "served"), "control: nobody asked the store");
    return 0;
}

int row_store (struct trial *t, struct err *e)
{
    CLEANUP (free_ptr) char *good = farm_path (t->f, "tree-good"), *other = farm_path (t->f, "tree-other"), *a = xasprintf ("%s/n", good), *b = xasprintf ("%s/n", other);
    struct step_seen s;
    struct digest id;
    struct job j = { .recipe = LAB_BUILD ("agree: 2"), .text = "store" };
    if (trial_job (t, &j, &id, e) == -1 || trial_until (t, &id, "build", "trusted", &s, e) == -1 || file_mkdirs (good, 0755, e) == -1 || file_mkdirs (other, 0755, e) == -1
        || file_write (a, bytes_str ("store\n"), 0644, e) == -1 || file_write (b, bytes_str ("evil\n"), 0644, e) == -1)
        return -1;
    farm_service_stop (t->f, SERVICE_STORE);
    int rc = from_liar (t, "bits", good, &id, NULL, e);
    if (rc == 0)
        rc = from_liar (t, "whole", other, &id, NULL, e);
    if (rc == 0)
        rc = from_liar (t, "whole", good, &id, "store", e);
    struct err again = ERR_INIT;
    if (farm_service_start (t->f, SERVICE_STORE, &again) == -1 && rc == 0) {
        *e = again;
        rc = -1;
    }
    if (rc == 0)
        trial_note (t, "readers hash: a deployer refused both; control: the same program with the true bytes is believed");
    return rc;
}

/* ---- the broker ---- */

/* `push --wait` against a broker that tells of a verdict: its exit status, or PROC_RUNS where it still waits after having heard it twice. */
static int push_to (struct trial *t, const char *lie, struct err *e)
{
    struct proc *broker CLEANUP (trial_stop) = NULL, *push CLEANUP (trial_stop) = NULL;
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/broker"), *realm = farm_path (t->f, "realm"), *repo = farm_path (t->f, "repository"), *log = farm_path (t->f, "logs/push-%s", lie);
    const char *argv[] = { "/proc/self/exe", "--dir", realm, "--timeout", "3s", "push", "-C", repo, "--project", "lab/p", "--wait", NULL };
    char mode[32];
    snprintf (mode, sizeof mode, "%s", lie);
    if (START (t, &broker, "broker-liar", e, "broker", dir, mode) == -1 || proc_start (&push, &(struct proc_opts){ .argv = argv, .out = log, .err = log }, e) == -1)
        return -2;
    if (proc_until (broker, "told of a verdict", FARM_PATIENCE_MS) != 1) {
        err_set (e, ERR_FAILED, "nobody asked the broker for events");
        return -2;
    }
    return proc_wait (push, 3000);
}

static int lie_to_workers (struct trial *t, struct err *e)
{
    static const char lies[] = "submission,altered,lease,worker,step,over,expired,none";
    struct proc *p CLEANUP (trial_stop) = NULL;
    CLEANUP (free_ptr) char *dir = farm_path (t->f, "realm/broker");
    BUF (said);
    if (START (t, &p, "broker-liar", e, "broker", dir, lies) == -1 || trial_ends (t, p, "broker-liar", &said, e) == -1)
        return -1;
    unsigned declined = 0;
    for (const char *s = buf_str (&said); (s = strstr (s, ": declined: ")); s++)
        declined++;
    trial_held (t, declined == 7, "%u of 7 lies declined: %.300s", declined, buf_str (&said));
    trial_held (t, strstr (buf_str (&said), "none: it works on it"), "control: without a lie no worker began: %.300s", buf_str (&said));
    return 0;
}

int row_broker (struct trial *t, struct err *e)
{
    if (farm_commit (t->f, LAB_BUILD ("agree: 2"), "broker", e) == -1)
        return -1;
    farm_service_stop (t->f, SERVICE_BROKER);
    int rc = lie_to_workers (t, e);
    int forged = rc == 0 ? push_to (t, "verdict", e) : -2, true_one = forged != -2 ? push_to (t, "signed-verdict", e) : -2;
    struct err again = ERR_INIT;
    if (farm_service_start (t->f, SERVICE_BROKER, &again) == -1 && true_one != -2) {
        *e = again;
        return -1;
    }
    if (true_one == -2)
        return -1;
    trial_held (t, forged != 0, "push --wait believed a verdict that the broker had made up");
    trial_held (t, true_one == 0, "control: a verdict that the verifier signed: push --wait ended with %d", true_one);
    trial_note (t, "workers declined 7 of 7; nobody believes its verdict; control: without a lie they work, and a verdict by the verifier's key is believed");
    return 0;
}
