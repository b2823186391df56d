#include "lab/lab.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const struct lab_row *lab_rows (size_t *count)
{
    static const struct lab_row rows[] = {
        { "flip", "a worker changes one bit of what it built", row_flip },
        { "green", "a worker says that the tests passed, and never ran them", row_green },
        { "steal", "a worker answers another's lease: result, error, handback, log", row_steal },
        { "submission", "a signed job is altered, replayed, expired, from the future, by the wrong key", row_submission },
        { "token", "a stolen enrolment token is used again", row_token },
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
    return e->kind == ERR_NONE ? row->run (t, e) : -1;
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
    va_start (ap, fmt);
    vsnprintf (text, sizeof text, fmt, ap);
    va_end (ap);
    buf_addf (&t->happened, "%s%s", t->happened.len ? "; " : "", text);
}

int trial_job (struct trial *t, const struct job *j, struct digest *id, struct err *e)
{
    bool waits = j->alone || j->first[0];
    uint64_t since = farm_seq (t->f, e) + 1;
    if ((waits && farm_honest (t->f, false, e) == -1) || farm_commit (t->f, j->recipe, j->text, e) == -1
        || farm_push (t->f, j->project ? j->project : t->project, id, e) == -1)
        return -1;
    for (size_t i = 0; j->first[i]; i++) {
        int got = farm_event (t->f, since, &(struct event_want){ .kind = j->voted ? "artifact-completed" : "leased", .worker = j->first[i], .step = j->step, .id = id }, FARM_PATIENCE_MS, NULL, e);
        if (got != 1)
            return got == -1 ? -1 : err_set (e, ERR_FAILED, "%s got no lease: nothing was tried", j->first[i]);
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
