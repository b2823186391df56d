/* assay get: fetch an artifact, having checked for ourselves that it may be used. */
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/auditor.h"
#include "cli/stream.h"
#include "store/client.h"

#define NEWS_MS 3000

/* The verifier's newest verdict on the step. */
static int from_verifier (struct cli *c, struct realm *rl, const struct digest *id, const char *step, struct verdict *v, struct buf *raw, struct err *e)
{
    struct client *CLEANUP (client_close) verifier = NULL;
    struct msg m = MSG_INIT (verdict_get, 0);
    struct net_in in;
    if (cli_client (c, rl, ROLE_VERIFIER, &verifier, e) == -1)
        return -1;
    m.u.verdict_get.id = *id;
    m.u.verdict_get.step = bytes_str (step);
    if (client_ask (verifier, &m, MSG_bundle, &in, e) == -1)
        return -1;
    int rc = m.u.bundle.envelopes.n ? verdict_open (rl, m.u.bundle.envelopes.v[0], v, e) : err_code (e, EC_NOT_FOUND, "no verdict yet");
    if (rc == 0)
        buf_add (raw, m.u.bundle.envelopes.v[0].p, m.u.bundle.envelopes.v[0].len);
    msg_release (&m);
    net_in_release (&in);
    return rc;
}

/* The same out of the broker's event log: slower, as the log has no index, and as good, as the verdict is signed. */
static int from_log (struct cli *c, struct realm *rl, const struct digest *id, const char *step, struct verdict *v, struct buf *raw, struct err *e)
{
    struct client *CLEANUP (client_close) broker = NULL;
    uint64_t from = 1, last = 0;
    bool found = false;
    if (cli_client (c, rl, ROLE_BROKER, &broker, e) == -1)
        return -1;
    do {
        struct msg m = MSG_INIT (replay, 0);
        struct net_in in;
        m.u.replay.from = from;
        m.u.replay.limit = 256;
        if (client_ask (broker, &m, MSG_events, &in, e) == -1)
            return -1;
        for (size_t i = 0; i < m.u.events.events.n; i++) {
            struct msg ev;
            struct verdict one;
            if (msg_decode_as (m.u.events.events.v[i], MSG_event, &ev, NULL) == -1)
                continue;
            if (bytes_eqs (ev.u.event.kind, "verdict") && digest_eq (&ev.u.event.id, id) && bytes_eqs (ev.u.event.step, step) &&
                verdict_open (rl, ev.u.event.payload, &one, NULL) == 0) {
                if (found)
                    verdict_release (v);
                *v = one;
                raw->len = 0;
                buf_add (raw, ev.u.event.payload.p, ev.u.event.payload.len);
                found = true;
            }
            msg_release (&ev);
        }
        bool more = m.u.events.next > from; /* also where it passed over much that is not for us */
        last = m.u.events.last;
        from = more ? m.u.events.next : UINT64_MAX;
        msg_release (&m);
        net_in_release (&in);
    } while (from <= last);
    return found ? 0 : err_code (e, EC_NOT_FOUND, "no verdict yet");
}

/* raw: its envelope */
static int newest_verdict (struct cli *c, struct realm *rl, const struct digest *id, const char *step, struct verdict *v, struct buf *raw, struct err *e)
{
    memset (v, 0, sizeof *v);
    if (from_verifier (c, rl, id, step, v, raw, e) == -1) {
        struct err why = ERR_INIT;
        if (e->kind != ERR_UNREACHABLE)
            return -1;
        if (from_log (c, rl, id, step, v, raw, &why) == -1) {
            if (why.kind != ERR_UNREACHABLE)
                *e = why;
            return -1;
        }
    }
    if (!digest_eq (&v->submission, id) || strcmp (v->step, step)) {
        verdict_release (v);
        memset (v, 0, sizeof *v);
        return err_code (e, EC_DAMAGED, "the verdict is another step's");
    }
    return 0;
}

static int may_use (const struct verdict *v, const char *name, bool provisional, struct err *e)
{
    const char *reason = v->reason && *v->reason ? v->reason : "no reason given";
    if (strcmp (v->state, "trusted") && !(provisional && strcmp (v->state, "provisional") == 0)) {
        const char *hint = strcmp (v->state, "provisional") == 0 ? "nothing was fetched; --provisional takes what is not trusted yet" : "nothing was fetched";
        return err_set (e, strcmp (v->state, "failed") == 0 ? ERR_FAILED : ERR_UNTRUSTED, "%s: %s: %.400s (%s)", name, v->state, reason, hint);
    }
    if (digest_zero (&v->artifact))
        return err_set (e, ERR_UNTRUSTED, "%s: %s: the verdict shows no artifact yet (try again when there are more votes)", name, v->state);
    return 0;
}

/* The store hears of a verdict a moment after we may have: what it does not allow yet is asked for again for a while. */
static int fetch (struct cli *c, struct realm *rl, const struct verdict *v, const char *dir, bool provisional, struct err *e)
{
    int64_t until = time_mono_ms () + NEWS_MS;
    if (cli_there (c, rl, ROLE_STORE, e) == -1)
        return -1;
    for (;;) {
        int rc = store_get (rl, &v->artifact, dir, bytes_str (NULL), bytes_str (NULL), provisional, c->timeout_ms > 60000 ? c->timeout_ms : 60000, e);
        if (rc == 0 || e->code != EC_NOT_ALLOWED || strcmp (v->state, "trusted") || time_mono_ms () > until)
            return rc;
        poll (NULL, 0, 100);
    }
}

int cmd_get (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { "directory", required_argument, NULL, 'd' }, { "provisional", no_argument, NULL, 'p' },
                                            { "witnesses", required_argument, NULL, 'w' }, { NULL, 0, NULL, 0 } };
    const char *dir = NULL, *witnesses = NULL;
    bool provisional = false;
    for (int o; (o = getopt_long (argc, argv, "d:", options, NULL)) != -1;)
        switch (o) {
        case 'd':
            dir = optarg;
            break;
        case 'p':
            provisional = true;
            break;
        case 'w':
            witnesses = optarg;
            break;
        default:
            return ERR_USAGE;
        }
    if (argc - optind != 1)
        return cli_usage ("get", "which artifact? (assay get ID/STEP [-d DIR] [--provisional] [--witnesses K])");

    struct err e = ERR_INIT;
    struct realm *CLEANUP (realm_close) rl = NULL;
    struct client *CLEANUP (client_close) broker = NULL;
    struct verdict CLEANUP (verdict_release) v = { 0 };
    struct digest id;
    uint64_t k;
    char step[64], worker[64], hex[DIGEST_HEX];
    BUF (raw);
    if (cli_realm (c, &rl, &e) == -1 || witnesses_wanted (rl, witnesses, &k, &e) == -1)
        return cli_fail ("get", &e);
    bool whole = strcspn (argv[optind], "/") == 64; /* a whole ID needs no broker to complete it */
    if (!whole && cli_client (c, rl, ROLE_BROKER, &broker, &e) == -1)
        return cli_fail ("get", &e);
    if (cli_step (broker, argv[optind], &id, step, worker, &e) == -1)
        return cli_fail ("get", &e);
    if (!*step)
        return cli_usage ("get", "%s: names no step (ID/STEP; `assay status ID` lists them)", argv[optind]);

    char *CLEANUP (free_ptr) name = xasprintf ("%.12s/%s", digest_hex (&id, hex), step);
    char *CLEANUP (free_ptr) preset = xasprintf ("%s-%.8s", step, hex);
    if (!dir)
        dir = preset;
    if (newest_verdict (c, rl, &id, step, &v, &raw, &e) == -1) {
        err_wrap (&e, "%s", name);
        if (e.code == EC_NOT_FOUND)
            e.kind = ERR_UNTRUSTED;
        return cli_fail ("get", &e);
    }
    if (verdict_stands (rl, &v, &e) == -1) {
        err_wrap (&e, "%s", name);
        return cli_fail ("get", &e);
    }
    if (may_use (&v, name, provisional, &e) == -1)
        return cli_fail ("get", &e);
    if (k && strcmp (v.state, "trusted"))
        return cli_usage ("get", "%s: what is not trusted yet is in no log: no witness can have seen it (--witnesses 0 asks for none)", name);
    if (k && audit_verdict (c, rl, &v, buf_bytes (&raw), k, NULL, &e) == -1) {
        err_wrap (&e, "%s", name);
        return cli_fail ("get", &e);
    }
    if (fetch (c, rl, &v, dir, provisional, &e) == -1)
        return cli_fail ("get", &e);
    printf ("%s  sha256:%s  %s%s%s: %u of %u owners\n", dir, digest_hex (&v.artifact, hex), cli_colour (c, v.state), v.state, cli_reset (c), v.support,
            v.policy.agree);
    return 0;
}
