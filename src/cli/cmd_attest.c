/* assay attest: the signed statements behind a verdict: what others can check, with `assay verify` or with tools of their own. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/stream.h"

/* Every line is checked against the roster before it is shown. */
static int check_result (struct realm *rl, struct bytes raw, struct result *r, struct err *e)
{
    struct envelope v = { 0 };
    int rc = envelope_open_json (raw, TYPE_INTOTO, &v, e);
    memset (r, 0, sizeof *r);
    if (rc == 0 && (rc = result_parse (v.body, r, e)) == 0) {
        const struct principal *p = roster_find (realm_roster (rl), r->worker);
        if (!p || !(p->roles & ROLE_WORKER))
            rc = err_code (e, EC_UNKNOWN_KEY, "a result by %s, which is no worker in the roster", r->worker);
        else
            rc = envelope_check (&v, p->sign_key, e);
        if (rc == -1)
            result_release (r);
    }
    envelope_release (&v);
    return rc;
}

static void show (struct cli *c, struct realm *rl, const struct verdict *v, const struct bytes_list *envelopes)
{
    static const char *const heads[] = { "WORKER", "OWNER", "TRUST", "COUNTED", "OUTCOME", "HOST" };
    char hex[DIGEST_HEX], when[32];
    time_format (v->time, when);
    printf ("%s%s%s  %s\n", cli_colour (c, v->state), v->state, cli_reset (c), v->reason ? v->reason : "");
    printf ("artifact  sha256:%s\n", digest_hex (&v->artifact, hex));
    printf ("signed    by %s, verdict %llu of its log, %s\n\n", v->verifier, (unsigned long long) v->index, when);
    struct table *t = table_new (6, heads);
    for (size_t i = 0; i < v->count; i++) {
        const struct verdict_count *k = &v->counts[i];
        char outcome[17], *host CLEANUP (free_ptr) = NULL;
        (void) snprintf (outcome, sizeof outcome, "%.16s", digest_hex (&k->outcome, hex));
        for (size_t j = 1; j < envelopes->n && !host; j++) {
            struct digest id = digest_of (envelopes->v[j].p, envelopes->v[j].len);
            struct result r;
            if (digest_eq (&id, &k->result) && check_result (rl, envelopes->v[j], &r, NULL) == 0) {
                host = r.host;
                r.host = NULL;
                result_release (&r);
            }
        }
        table_add (t, (const char *[]){ k->worker, k->owner, k->trusted ? "trusted" : "maybe", k->counted ? "yes" : "no", outcome, host ? host : "" });
    }
    table_print (c, &t);
}

static int write_bundle (const struct bytes_list *envelopes, const char *file, struct err *e)
{
    BUF (all);
    for (size_t i = 0; i < envelopes->n; i++) {
        buf_add (&all, envelopes->v[i].p, envelopes->v[i].len);
        buf_adds (&all, "\n");
    }
    if (file)
        return file_write (file, buf_bytes (&all), 0644, e);
    fwrite (all.p ? (const char *) all.p : "", 1, all.len, stdout);
    return 0;
}

static int write_roster (struct realm *rl, const char *file, struct err *e)
{
    BUF (all);
    realm_roster_bytes (realm_roster (rl), &all);
    return file_write (file, buf_bytes (&all), 0644, e);
}

static int check_all (struct realm *rl, const struct bytes_list *envelopes, struct verdict *v, struct err *e)
{
    if (envelopes->n == 0)
        return err_code (e, EC_MALFORMED, "the verifier's bundle is empty");
    if (verdict_open (rl, envelopes->v[0], v, e) == -1)
        return -1;
    for (size_t i = 1; i < envelopes->n; i++) {
        struct result r;
        if (check_result (rl, envelopes->v[i], &r, e) == -1)
            return err_wrap (e, "statement %zu of the bundle", i + 1);
        result_release (&r);
    }
    return 0;
}

int cmd_attest (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' }, { "output", required_argument, NULL, 'o' }, { "roster", required_argument, NULL, 'r' }, { NULL, 0, NULL, 0 },
    };
    struct realm *CLEANUP (realm_close) rl = NULL;
    struct client *CLEANUP (client_close) broker = NULL, *CLEANUP (client_close) verifier = NULL;
    struct verdict CLEANUP (verdict_release) v = { 0 };
    struct err e = ERR_INIT;
    const char *output = NULL, *roster = NULL;
    bool json = false;
    struct digest id;
    char step[64], worker[64];
    for (int o; (o = getopt_long (argc, argv, "o:", options, NULL)) != -1;)
        switch (o) {
        case 'j':
            json = true;
            break;
        case 'o':
            output = optarg;
            break;
        case 'r':
            roster = optarg;
            break;
        default:
            return ERR_USAGE;
        }
    if (argc - optind != 1)
        return cli_usage ("attest", "which step? (assay attest ID/STEP [--json] [-o FILE] [--roster FILE])");
    if (cli_realm (c, &rl, &e) == -1 || cli_client (c, rl, ROLE_BROKER, &broker, &e) == -1 || cli_step (broker, argv[optind], &id, step, worker, &e) == -1)
        return cli_fail ("attest", &e);
    if (!*step)
        return cli_usage ("attest", "%s: names no step (ID/STEP; `assay status ID` lists them)", argv[optind]);
    if (cli_client (c, rl, ROLE_VERIFIER, &verifier, &e) == -1)
        return cli_fail ("attest", &e);
    struct msg m = MSG_INIT (verdict_get, client_request (verifier));
    struct net_in in;
    m.u.verdict_get.id = id;
    m.u.verdict_get.step = bytes_str (step);
    m.u.verdict_get.results = 1;
    if (client_ask (verifier, &m, MSG_bundle, &in, &e) == -1) {
        if (e.code == EC_NOT_FOUND)
            e.kind = ERR_UNTRUSTED;
        return cli_fail ("attest", &e);
    }
    int rc = check_all (rl, &m.u.bundle.envelopes, &v, &e);
    if (rc == 0 && roster)
        rc = write_roster (rl, roster, &e);
    if (rc == 0 && (json || output))
        rc = write_bundle (&m.u.bundle.envelopes, output, &e);
    if (rc == 0 && !json)
        show (c, rl, &v, &m.u.bundle.envelopes);
    msg_release (&m);
    net_in_release (&in);
    return rc == -1 ? cli_fail ("attest", &e) : 0;
}
