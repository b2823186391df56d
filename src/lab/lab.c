#include "lab/lab.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"

const struct lab_row *lab_rows (size_t *count)
{
    static const struct lab_row rows[] = {
        { "flip", "a worker changes one bit of what it built", row_flip },
        { "green", "a worker says that the tests passed, and never ran them", row_green },
        { "provisional", "a worker's bits are tested before anybody has confirmed them", row_provisional },
        { "copy", "a worker waits for the others' results, and hands one in as its own", row_copy },
        { "replay", "a worker answers a second step with its result of the first", row_replay },
        { "withhold", "a worker takes a lease and never answers", row_withhold },
        { "steal", "a worker answers another's lease: result, error, handback, log", row_steal },
        { "sybils", "five workers of one owner say the same wrong bits", row_sybils },
        { "collude", "three owners say the same wrong bits against one trusted worker", row_collude },
        { "order", "a liar chooses when to speak: first, or last", row_order },
        { "turncoat", "a worker turns bad after 1,000 good results", row_turncoat },
        { "revoked", "a worker goes on with a key that was revoked", row_revoked },
        { "submission", "a signed job is altered, replayed, expired, from the future, by the wrong key", row_submission },
        { "token", "a stolen enrolment token is used again", row_token },
        { "flood", "a peer floods every service, and reads no answer", row_flood },
        { "verifier", "a verifier signs verdicts that the results do not give", row_verifier },

        { "fork", "a verifier keeps two logs, and shows each to another", row_fork },
        { "store", "a store swaps bytes, and serves another artifact", row_store },
        { "broker", "a broker makes jobs, leases and a verdict up", row_broker },
    };
    *count = sizeof rows / sizeof *rows;
    return rows;
}

int lab_run (struct farm *f, const struct lab_row *row, struct trial *t, struct err *e)
{
    memset (t, 0, sizeof *t);
    t->f = f;
    t->row = row->name;
    snprintf (t->project, sizeof t->project, "lab/%s", row->name);
    *e = (struct err) ERR_INIT;
    t->since = farm_seq (f, e) + 1;
    return e->kind == ERR_NONE && farm_honest (f, true, e) == 0 ? row->run (t, e) : -1;
}

void trial_release (struct trial *t)
{
    buf_release (&t->happened);
}

bool trial_held (struct trial *t, bool ok, const char *fmt, ...)
{
    if (!ok && !t->broke) {
        va_list ap;
        va_start (ap, fmt);
        vsnprintf (t->broken, sizeof t->broken, fmt, ap);
        va_end (ap);
        t->broke = true;
    }
    return ok;
}

void trial_note (struct trial *t, const char *fmt, ...)
{
    char text[512];
    va_list ap;
    if (t->broke)
        return; /* it would say what should have come of it */
    va_start (ap, fmt);
    vsnprintf (text, sizeof text, fmt, ap);
    va_end (ap);
    buf_addf (&t->happened, "%s%s", t->happened.len ? "; " : "", text);
}

void trial_stop (struct proc **p)
{
    proc_stop (p, 5000);
}

/* What it left on standard error says why. */
static int fell (struct trial *t, const char *name, const char *how, struct err *e)
{
    CLEANUP (free_ptr) char *path = farm_path (t->f, "logs/%s.err", name);
    BUF (text);
    (void) file_read (path, 1 << 20, &text, NULL);
    const char *why = strstr (buf_str (&text), "assay-liar: ");
    return err_set (e, ERR_FAILED, "%s %s: %.300s", name, how, why ? why : buf_str (&text));
}

int trial_start (struct trial *t, struct proc **p, const char *name, const char *const args[], struct err *e)
{
    if (farm_liar (t->f, p, name, args, e) == -1)
        return -1;
    return proc_until (*p, "ready", FARM_PATIENCE_MS) == 1 ? 0 : fell (t, name, "does not start", e);
}

int trial_ends (struct trial *t, struct proc *p, const char *name, struct buf *said, struct err *e)
{
    int status = proc_wait (p, 2 * FARM_PATIENCE_MS);
    proc_output (p, said);
    return status == 0 ? 0 : fell (t, name, status == PROC_RUNS ? "does not end" : "gave up", e);
}

void trial_lines (struct trial *t, struct buf *said, const char *lines)
{
    for (const char *s = lines; *s; s += strcspn (s, "\n"), s += *s == '\n') {
        CLEANUP (free_ptr) char *line = bytes_dup (bytes_of (s, strcspn (s, "\n")));
        const char *at = buf_str (said);
        size_t n = strlen (line);
        while ((at = strstr (at, line)) && !((at == buf_str (said) || at[-1] == '\n') && (at[n] == '\n' || !at[n])))
            at += n;
        trial_held (t, at, "not \"%s\" but: %.300s", line, buf_str (said));
    }
}

/* Nothing was tried: the attacker got no lease, or could not use it. */
static int no_turn (struct trial *t, const struct job *j, const char *owner, uint64_t since, struct err *e)
{
    char why[256] = "";
    int n = farm_events (t->f, since, &(struct event_want){ .kind = "error", .owner = owner }, why, e);
    if (n > 0)
        return err_set (e, ERR_FAILED, "%s could not work: %s", owner, why);
    return n == -1 ? -1 : err_set (e, ERR_FAILED, "%s %s after %d s", owner, j->voted ? "has not answered" : "got no lease", FARM_PATIENCE_MS / 1000);
}

int trial_job (struct trial *t, const struct job *j, struct digest *id, struct err *e)
{
    bool waits = j->alone || j->first[0];
    uint64_t since = farm_seq (t->f, e) + 1;
    if ((waits && farm_honest (t->f, false, e) == -1) || farm_commit (t->f, j->recipe, j->text, e) == -1
        || farm_push (t->f, j->project ? j->project : t->project, id, e) == -1)
        return -1;
    for (size_t i = 0; j->first[i]; i++) {
        int got = farm_event (t->f, since, &(struct event_want){ .kind = j->voted ? "artifact-completed" : "leased", .owner = j->first[i], .step = j->step, .id = id }, FARM_PATIENCE_MS, NULL, e);
        if (got != 1)
            return got == -1 ? -1 : no_turn (t, j, j->first[i], since, e);
    }
    return waits && !j->alone ? farm_honest (t->f, true, e) : 0;
}

int trial_until (struct trial *t, const struct digest *id, const char *step, const char *states, struct step_seen *s, struct err *e)
{
    int rc = farm_until (t->f, id, step, states, FARM_PATIENCE_MS, s, e);
    if (rc == 0)
        trial_held (t, false, "step %s stays %s (%s) after %d s: not %s", step, s->state, s->reason, FARM_PATIENCE_MS / 1000, states);
    return rc == -1 ? -1 : 0;
}

int trial_deployer (struct trial *t, const struct digest *id, const char *step, const char *text, struct err *e)
{
    char got[128];
    int status = farm_get (t->f, "deployer", id, step, got, e);
    if (status == -1)
        return -1;
    if (text)
        trial_held (t, status == 0 && strcmp (got, text) == 0, "a deployer got \"%s\" with exit status %d, not \"%s\"", got, status, text);
    else
        trial_held (t, status != 0 && !*got, "a deployer got \"%s\" with exit status %d", got, status);
    return 0;
}

int trial_liar (struct trial *t, const char *name, const char *owner, struct err *e)
{
    return farm_enrol (t->f, "worker", name, owner, t->project, e);
}
