#include "broker/job.h"

#define PLACES_MAX 256u

static const char *const states[JOB_STATES] = { "open", "stopped", "decided" };
static const char *const events[JOB_EVENTS] = { "lease", "outcome", "error", "gone", "replicate", "verdict", "final verdict", "cancel", "expire", "exhaust", "retry", "move" };

static const struct row {
    enum job_state state;
    enum job_event event;
    enum job_state next;
    int actions;
} rows[] = {
    { JOB_OPEN, JOB_LEASE, JOB_OPEN, 0 },
    { JOB_OPEN, JOB_OUTCOME, JOB_OPEN, 0 },
    { JOB_OPEN, JOB_ERROR, JOB_OPEN, 0 },
    { JOB_OPEN, JOB_GONE, JOB_OPEN, 0 },
    { JOB_OPEN, JOB_REPLICATE, JOB_OPEN, 0 },
    { JOB_OPEN, JOB_VERDICT_OPEN, JOB_OPEN, 0 },
    { JOB_OPEN, JOB_VERDICT_FINAL, JOB_DECIDED, JOB_REVOKE },
    { JOB_OPEN, JOB_CANCEL, JOB_STOPPED, JOB_REVOKE },
    { JOB_OPEN, JOB_EXPIRE, JOB_STOPPED, JOB_REVOKE },
    { JOB_OPEN, JOB_EXHAUST, JOB_STOPPED, JOB_REVOKE },
    { JOB_OPEN, JOB_RETRY, JOB_OPEN, JOB_REVOKE | JOB_FORGET },
    { JOB_OPEN, JOB_MOVE, JOB_OPEN, JOB_REVOKE | JOB_FORGET },
    { JOB_STOPPED, JOB_GONE, JOB_STOPPED, 0 },
    { JOB_STOPPED, JOB_VERDICT_OPEN, JOB_STOPPED, 0 },
    { JOB_STOPPED, JOB_VERDICT_FINAL, JOB_DECIDED, 0 },
    { JOB_STOPPED, JOB_REPLICATE, JOB_STOPPED, 0 }, /* it crossed our stop: nothing to do */
    { JOB_STOPPED, JOB_RETRY, JOB_OPEN, JOB_FORGET },
    { JOB_DECIDED, JOB_GONE, JOB_DECIDED, 0 },
    { JOB_DECIDED, JOB_VERDICT_FINAL, JOB_DECIDED, 0 },
    { JOB_DECIDED, JOB_VERDICT_OPEN, JOB_OPEN, 0 }, /* decided again, and open */
    { JOB_DECIDED, JOB_REPLICATE, JOB_OPEN, 0 },
    { JOB_DECIDED, JOB_RETRY, JOB_OPEN, JOB_FORGET },
};

const char *job_event_name (enum job_event event)
{
    return (unsigned) event < JOB_EVENTS ? events[event] : "unknown";
}

const char *job_state_name (enum job_state state)
{
    return (unsigned) state < JOB_STATES ? states[state] : "unknown";
}

static unsigned less (unsigned n)
{
    return n ? n - 1 : 0;
}

int job_apply (struct job *j, enum job_event event, unsigned more, unsigned error_cap, struct err *e)
{
    const struct row *row = NULL;
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !row; i++)
        if (rows[i].state == j->state && rows[i].event == event)
            row = &rows[i];
    if (!row)
        return err_code (e, EC_CONFLICT, "a step that is %s takes no %s", job_state_name (j->state), job_event_name (event));
    int actions = row->actions;
    j->state = row->next;
    switch (event) {
    case JOB_LEASE:
        j->open++;
        break;
    case JOB_OUTCOME:
        j->open = less (j->open);
        j->votes++;
        break;
    case JOB_ERROR:
        j->open = less (j->open);
        if (++j->errors >= error_cap)
            actions |= JOB_EXHAUSTED;
        break;
    case JOB_GONE:
        j->open = less (j->open);
        break;
    case JOB_REPLICATE:
        more = more > PLACES_MAX ? PLACES_MAX : more;
        if (j->votes + more > j->places)
            j->places = j->votes + more > PLACES_MAX ? PLACES_MAX : j->votes + more;
        break;
    case JOB_RETRY:
    case JOB_MOVE:
        j->votes = j->errors = 0;
        j->places = more;
        break;
    default:
        break;
    }
    if (actions & JOB_REVOKE)
        j->open = 0;
    return actions;
}

unsigned job_wants (const struct job *j)
{
    return j->state == JOB_OPEN && j->places > j->votes + j->open ? j->places - j->votes - j->open : 0;
}
