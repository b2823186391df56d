/* assay watch: the event stream, live, and replayed from --since. */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/stream.h"

#define KINDS_MAX 32

struct watch {
    const char *project, *kinds[KINDS_MAX];
    size_t kind_count;
    uint64_t since;
    bool json, until_idle;
};

static bool shown (const struct watch *w, const struct msg_event *ev)
{
    if (*w->project && !bytes_eqs (ev->project, w->project))
        return false;
    for (size_t i = 0; i < w->kind_count; i++)
        if (bytes_eqs (ev->kind, w->kinds[i]))
            return true;
    return w->kind_count == 0;
}

/* What is on its way already: the newest submissions whose steps have no final state. */
static int expect_running (struct tracker *t, const struct watch *w, struct client *broker, struct err *e)
{
    struct msg m = MSG_INIT (status_get, 0);
    struct net_in in;
    m.u.status_get.limit = 200;
    if (client_ask (broker, &m, MSG_status, &in, e) == -1)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < m.u.status.jobs.n; i++) {
        struct msg job;
        rc = msg_decode_as (m.u.status.jobs.v[i], MSG_job_status, &job, e);
        if (rc == -1)
            break;
        for (size_t k = 0; rc == 0 && k < job.u.job_status.steps.n; k++) {
            struct msg step;
            rc = msg_decode_as (job.u.job_status.steps.v[k], MSG_step_status, &step, e);
            if (rc == 0) {
                if (state_is_open (step.u.step_status.state) && (!*w->project || bytes_eqs (job.u.job_status.project, w->project)))
                    tracker_expect (t, &job.u.job_status.id, step.u.step_status.name);
                msg_release (&step);
            }
        }
        msg_release (&job);
    }
    msg_release (&m);
    net_in_release (&in);
    return rc;
}

static int follow (struct cli *c, const struct watch *w, struct realm *rl, struct stream *s)
{
    struct err e = ERR_INIT;
    struct tracker *CLEANUP (tracker_destroy) t = tracker_new (rl);
    if (w->until_idle && w->since == STREAM_NEW && expect_running (t, w, stream_client (s), &e) == -1)
        return cli_fail ("watch", &e);
    for (;;) {
        const struct msg_event *ev;
        /* Idle is said only when nothing more waits to be read: a second of silence after the last final verdict. */
        bool idle = w->until_idle && tracker_open (t) == 0;
        int n = stream_next (s, idle ? 1000 : 60000, &ev, &e);
        if (n == -1)
            return cli_fail ("watch", &e);
        if (n == 0 && idle)
            return 0;
        if (n == 0)
            continue;
        if (w->until_idle)
            tracker_see (t, ev);
        if (!shown (w, ev))
            continue;
        BUF (line);
        if (w->json)
            event_json (ev, &line);
        else
            event_line (c, ev, &line);
        fputs (buf_str (&line), stdout);
        if (fflush (stdout) == EOF)
            return errno == EPIPE ? 0 : ERR_FAILED;
    }
}

int cmd_watch (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = {
        { "since", required_argument, NULL, 's' }, { "project", required_argument, NULL, 'p' }, { "kind", required_argument, NULL, 'k' },
        { "json", no_argument, NULL, 'j' },        { "until-idle", no_argument, NULL, 'i' },    { NULL, 0, NULL, 0 },
    };
    struct watch w = { .project = "", .since = STREAM_NEW };
    for (int o; (o = getopt_long (argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 's': {
            char *end;
            errno = 0;
            unsigned long long v = strtoull (optarg, &end, 10);
            if (*end || !*optarg || *optarg == '-' || errno || v > INT64_MAX)
                return cli_usage ("watch", "--since %s: not a sequence number (0 replays everything)", optarg);
            w.since = v;
            break;
        }
        case 'p':
            w.project = optarg;
            break;
        case 'k':
            if (w.kind_count == KINDS_MAX)
                return cli_usage ("watch", "--kind: at most %d of them", KINDS_MAX);
            w.kinds[w.kind_count++] = optarg;
            break;
        case 'j':
            w.json = true;
            break;
        case 'i':
            w.until_idle = true;
            break;
        default:
            return ERR_USAGE;
        }
    if (optind < argc)
        return cli_usage ("watch", "%s: no arguments, options only (`assay watch --help`)", argv[optind]);
    if (*w.project && !project_valid (w.project))
        return cli_usage ("watch", "--project %s: not a project's name", w.project);

    struct err e = ERR_INIT;
    struct realm *CLEANUP (realm_close) rl = NULL;
    struct stream *CLEANUP (stream_close) s = NULL;
    if (cli_realm (c, &rl, &e) == -1 || stream_open (c, rl, w.since, w.project, &s, &e) == -1)
        return cli_fail ("watch", &e);
    return follow (c, &w, rl, s);
}
