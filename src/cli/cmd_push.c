/* assay push: submit a commit, and with --wait follow it to its end. */
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/spool.h"
#include "cli/stream.h"
#include "cli/submit.h"
#include "source/git.h"

#define BROKER_WAIT_MS 2000

struct push {
    const char *repo, *rev, *project_option, *url_option;
    bool wait, json;
    uint64_t priority;
    struct buf project, url, ref, gitdir;
    struct git_rev commit;
    struct signed_submission sub;
    bool again, spooled;
};

static void push_release (struct push *p)
{
    buf_release (&p->project);
    buf_release (&p->url);
    buf_release (&p->ref);
    buf_release (&p->gitdir);
    git_rev_release (&p->commit);
    signed_submission_release (&p->sub);
}

static int prepare (struct push *p, struct realm *rl, struct err *e)
{
    if (git_dir (p->repo, &p->gitdir, NULL, e) == -1 || git_resolve (p->repo, p->rev, &p->commit, e) == -1 ||
        git_ref_of (p->repo, p->rev, &p->ref, e) == -1 || submit_project (p->repo, p->project_option, &p->project, e) == -1 ||
        submit_url (p->repo, p->url_option, &p->url, e) == -1)
        return -1;
    struct submit s = { p->repo, p->commit.id, buf_str (&p->ref), buf_str (&p->project), buf_str (&p->url), p->priority };
    return submit_sign (rl, &s, &p->sub, e);
}

/* Sent: 0. Kept in the spool: 1, with the reason in *e. Refused or not even kept: -1. */
static int send_or_spool (struct cli *c, struct push *p, struct realm *rl, struct err *e)
{
    struct client *CLEANUP (client_close) broker = NULL;
    int timeout = c->timeout_ms;
    uint64_t seq;
    c->timeout_ms = timeout < BROKER_WAIT_MS ? timeout : BROKER_WAIT_MS;
    if (!*cli_endpoint (rl, ROLE_BROKER))
        realm_refresh (rl, c->timeout_ms, NULL); /* a young copy: the IDP knows more */
    int rc = cli_client (c, rl, ROLE_BROKER, &broker, e);
    if (rc == 0)
        rc = submit_send (broker, buf_bytes (&p->sub.envelope), &p->sub.id, &p->again, &seq, e);
    if (rc == 0)
        spool_send (buf_str (&p->gitdir), broker, NULL, NULL, NULL); /* what waited goes along; its own troubles are `assay flush`'s to tell */
    c->timeout_ms = timeout;
    if (rc == 0 || (e->kind != ERR_UNREACHABLE && e->code != EC_BUSY))
        return rc;
    struct err why = ERR_INIT;
    if (spool_put (buf_str (&p->gitdir), &p->sub.id, buf_bytes (&p->sub.envelope), &why) == -1) {
        *e = why;
        return err_wrap (e, "the broker is not there, and the submission cannot be kept");
    }
    p->spooled = true;
    if (e->code != EC_BUSY)
        err_set (e, ERR_UNREACHABLE, "no broker at %s after %g s (the submission is spooled; \"assay flush\" sends it)", cli_endpoint (rl, ROLE_BROKER),
                 (timeout < BROKER_WAIT_MS ? timeout : BROKER_WAIT_MS) / 1000.0);
    else {
        struct err busy = *e;
        err_set (e, ERR_UNREACHABLE, "%.400s (the submission is spooled; \"assay flush\" sends it)", busy.msg);
    }
    return 1;
}

static void show_id (const struct push *p)
{
    char hex[DIGEST_HEX];
    digest_hex (&p->sub.id, hex);
    if (!p->json) {
        printf ("%s\n", hex);
    } else {
        json_t *o = json_pack ("{s:s, s:s%, s:s, s:s, s:s, s:b, s:b}", "id", hex, "project", p->project.p, p->project.len, "commit", p->commit.id, "ref",
                               p->ref.len ? (const char *) p->ref.p : "", "url", (const char *) p->url.p, "spooled", p->spooled, "again", p->again);
        char *text = o ? json_dumps (o, JSON_COMPACT) : NULL;
        printf ("%s\n", text ? text : "{}");
        free (text);
        json_decref (o);
    }
    fflush (stdout);
}

/* Failed weighs more than not trusted, as in the contract's order. */
static int worse (int a, int b)
{
    if (a == ERR_FAILED || b == ERR_FAILED)
        return ERR_FAILED;
    return a ? a : b;
}

static int expect_steps (struct tracker *t, const struct push *p, struct err *e)
{
    struct envelope v;
    struct msg body;
    if (envelope_open (buf_bytes (&p->sub.envelope), TYPE_SUBMISSION, &v, e) == -1 || msg_decode_as (v.body, MSG_submission_body, &body, e) == -1)
        return -1;
    for (size_t i = 0; i < body.u.submission_body.steps.n; i++) {
        struct msg step;
        if (msg_decode_as (body.u.submission_body.steps.v[i], MSG_step, &step, e) == -1)
            return -1;
        tracker_expect (t, &p->sub.id, step.u.step.name);
        msg_release (&step);
    }
    msg_release (&body);
    envelope_release (&v);
    return 0;
}

static void show_event (struct cli *c, const struct push *p, const struct msg_event *ev)
{
    BUF (line);
    if (p->json) {
        event_json (ev, &line);
        fputs (buf_str (&line), stdout);
        fflush (stdout);
        return;
    }
    struct cli plain = *c;
    plain.colour = isatty (STDERR_FILENO) && !getenv ("NO_COLOR");
    event_line (&plain, ev, &line);
    fputs (buf_str (&line), stderr); /* stdout has the id, for scripts */
}

static int follow (struct cli *c, struct push *p, struct realm *rl, struct stream *s)
{
    struct err e = ERR_INIT;
    struct tracker *CLEANUP (tracker_destroy) t = tracker_new (rl);
    int status = 0, n;
    const struct msg_event *ev;
    if (expect_steps (t, p, &e) == -1)
        return cli_fail ("push", &e);
    while (tracker_open (t) && (n = stream_next (s, 60000, &ev, &e)) >= 0) {
        if (n == 0 || !digest_eq (&ev->id, &p->sub.id))
            continue;
        size_t before = tracker_open (t);
        tracker_see (t, ev);
        show_event (c, p, ev);
        const char *state = tracker_open (t) < before ? tracker_state (t, &ev->id, ev->step) : NULL;
        if (state)
            status = worse (status, cli_status_of (state));
    }
    return tracker_open (t) ? cli_fail ("push", &e) : status;
}

static int run (struct cli *c, struct push *p, struct realm *rl)
{
    struct err e = ERR_INIT;
    if (prepare (p, rl, &e) == -1)
        return cli_fail ("push", &e);

    /* The subscription comes first, so that a quick verdict is not missed. */
    struct stream *CLEANUP (stream_close) s = NULL;
    if (p->wait) {
        struct err why = ERR_INIT;
        int timeout = c->timeout_ms;
        c->timeout_ms = timeout < BROKER_WAIT_MS ? timeout : BROKER_WAIT_MS;
        if (stream_open (c, rl, STREAM_NEW, buf_str (&p->project), &s, &why) == -1 && why.kind != ERR_UNREACHABLE)
            return cli_fail ("push", &why);
        c->timeout_ms = timeout;
    }
    int rc = send_or_spool (c, p, rl, &e);
    if (rc == -1)
        return cli_fail ("push", &e);
    show_id (p);
    if (rc == 1)
        return cli_fail ("push", &e);
    if (!p->wait)
        return 0;
    if (!s && stream_open (c, rl, 0, buf_str (&p->project), &s, &e) == -1)
        return cli_fail ("push", &e);
    return follow (c, p, rl, s);
}

int cmd_push (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = {
        { "project", required_argument, NULL, 'p' }, { "url", required_argument, NULL, 'u' }, { "priority", required_argument, NULL, 'P' }, { "wait", no_argument, NULL, 'w' },
        { "json", no_argument, NULL, 'j' },          { NULL, 0, NULL, 0 },
    };
    struct push CLEANUP (push_release) p = { .repo = ".", .rev = "HEAD" };
    for (int o; (o = getopt_long (argc, argv, "C:p:u:w", options, NULL)) != -1;)
        switch (o) {
        case 'C':
            p.repo = optarg;
            break;
        case 'p':
            p.project_option = optarg;
            break;
        case 'u':
            p.url_option = optarg;
            break;
        case 'P':
            if (strlen (optarg) != 1 || *optarg < '0' || *optarg > '9')
                return cli_usage ("push", "--priority %s: 0 to 9", optarg);
            p.priority = (uint64_t) (*optarg - '0');
            break;
        case 'w':
            p.wait = true;
            break;
        case 'j':
            p.json = true;
            break;
        default:
            return ERR_USAGE;
        }
    if (optind < argc)
        p.rev = argv[optind++];
    if (optind < argc)
        return cli_usage ("push", "%s: one commit at a time (assay push [-C REPO] [REV])", argv[optind]);

    struct err e = ERR_INIT;
    struct realm *CLEANUP (realm_close) rl = NULL;
    if (realm_open (&rl, c->dir, &e) == -1)
        return cli_fail ("push", &e);
    return run (c, &p, rl);
}
