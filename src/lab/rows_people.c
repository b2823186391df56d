/* rows_people.c: signed jobs, tokens and keys in the wrong hands. */
#include "lab/lab.h"

#include <stdio.h>
#include <string.h>

static void kill_now (struct proc **p)
{
    proc_stop (p, 0);
}

/* One flawed submission; its first line of answer must be `code`. */
static int submit (struct trial *t, const char *dir, const char *flaw, const char *code, struct err *e)
{
    CLEANUP (free_ptr) char *repo = farm_path (t->f, "repository");
    struct proc *p CLEANUP (kill_now) = NULL;
    BUF (said);
    if (LIAR (t->f, &p, "submitter", e, "submit", dir, flaw, farm_url (t->f), farm_head (t->f), "refs/heads/main", t->project, repo) == -1)
        return -1;
    if (proc_wait (p, FARM_PATIENCE_MS) != 0)
        return err_set (e, ERR_FAILED, "a submission with flaw %s could not be sent", flaw);
    proc_output (p, &said);
    size_t n = strlen (code);
    trial_held (t, strncmp (buf_str (&said), code, n) == 0, "%s: the broker answered %.60s, not %s", flaw, buf_str (&said), code);
    return 0;
}

int row_submission (struct trial *t, struct err *e)
{
    static const struct {
        const char *flaw, *code;
    } rows[] = { { "bit", "bad-signature\n" },  { "signature", "bad-signature\n" }, { "key", "unknown-key\n" }, { "name", "bad-signature\n" },
                 { "type", "unexpected\n" }, { "expired", "expired\n" },          { "future", "expired\n" } };
    CLEANUP (free_ptr) char *admin = farm_path (t->f, "realm"), *worker = farm_path (t->f, "realm/worker-1");
    const struct event_want submitted = { .kind = "submitted" };
    if (farm_commit (t->f, LAB_BUILD ("agree: 1, trusted: optional"), "submission", e) == -1)
        return -1;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (submit (t, admin, rows[i].flaw, rows[i].code, e) == -1)
            return -1;
    if (submit (t, worker, "none", "not-allowed\n", e) == -1)
        return -1;
    int n = farm_events (t->f, t->since, &submitted, NULL, e);
    if (n == -1)
        return -1;
    trial_held (t, n == 0, "%d of them were stored", n);
    trial_note (t, "%zu refused by name, none stored", sizeof rows / sizeof *rows + 1);
    if (submit (t, admin, "replay", "ok\n", e) == -1 || (n = farm_events (t->f, t->since, &submitted, NULL, e)) == -1)
        return -1;
    trial_held (t, n == 1, "the same three times made %d jobs", n);
    trial_note (t, "control: a good one is taken, the same three times is one job");
    return 0;
}

static int enrol (struct trial *t, const char *who, const char *token, int want, struct err *e)
{
    int status = ASSAY (t->f, who, NULL, NULL, e, "enrol", token);
    if (status != -1)
        trial_held (t, status == want, "%s: enrol ended with status %d, not %d", who, status, want);
    return status == -1 ? -1 : 0;
}

static int make_token (struct trial *t, const char *name, const char *expires, char token[1024], struct err *e)
{
    BUF (out);
    BUF (err);
    int status = ASSAY (t->f, "", &out, &err, e, "token", "--role", "worker", "--name", name, "--owner", "guests", "--project", t->project, "--expires", expires);
    if (status > 0)
        return err_set (e, ERR_FAILED, "assay token: %.300s", buf_str (&err));
    snprintf (token, 1024, "%.*s", (int) strcspn (buf_str (&out), "\n"), buf_str (&out));
    return status;
}

int row_token (struct trial *t, struct err *e)
{
    char token[1024], late[1024];
    if (make_token (t, "late", "1s", late, e) == -1 || make_token (t, "guest", "1h", token, e) == -1)
        return -1;
    if (enrol (t, "guest", token, 0, e) == -1 || enrol (t, "token-thief", token, 4, e) == -1)
        return -1;
    int status = ASSAY (t->f, "guest", NULL, NULL, e, "token", "--role", "admin", "--name", "guest-2");
    if (status == -1)
        return -1;
    trial_held (t, status == 4, "who enrolled as a worker made a token for an admin: status %d", status);
    if (!proc_pause (1100))
        return err_set (e, ERR_FAILED, "interrupted");
    if (enrol (t, "late", late, 4, e) == -1)
        return -1;
    trial_note (t, "used twice, and after its time: refused; it gives a worker's rights, not an admin's; control: the first use enrols");
    return 0;
}
