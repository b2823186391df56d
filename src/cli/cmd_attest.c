/* assay attest: the signed statements behind a verdict: what others can check, with `assay verify` or with tools of their own. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/auditor.h"
#include "cli/bundle.h"

static void show (struct cli *c, const struct proof *p)
{
    static const char *const heads[] = { "WORKER", "OWNER", "TRUST", "COUNTED", "ISOLATION", "OUTCOME", "HOST" };
    const struct proof_group *g = proof_group (p, 0);
    const struct verdict *v = &g->verdict;
    char hex[DIGEST_HEX], when[32];
    BUF (reason);
    time_format (v->time, when);
    text_clean (bytes_str (v->reason), false, &reason); /* who signs may lie */
    printf ("%s%s%s  %s\n", cli_colour (c, v->state), v->state, cli_reset (c), buf_str (&reason));
    printf ("artifact  sha256:%s\n", digest_hex (&v->artifact, hex));
    printf ("signed    by %s, verdict %llu of its log, %s\n\n", v->verifier, (unsigned long long) v->index, when);
    struct table *t = table_new (7, heads);
    for (size_t i = 0; i < g->n; i++) {
        const struct verdict_count *k = &v->counts[i];
        const struct result *r = &g->results[i];
        char outcome[17], isolation[64];
        (void) snprintf (outcome, sizeof outcome, "%.16s", digest_hex (&k->outcome, hex));
        (void) snprintf (isolation, sizeof isolation, "%s%s%s", isolation_name (r->isolation), *r->accelerator ? " " : "", r->accelerator);
        table_add (t, (const char *[]){ k->worker, k->owner, k->trusted ? "trusted" : "maybe", k->counted ? "yes" : "no", isolation, outcome, r->host });
    }
    table_print (c, &t);
}

static int write_roster (struct realm *rl, const char *file, struct err *e)
{
    BUF (all);
    realm_roster_bytes (realm_roster (rl), &all);
    return file_write (file, buf_bytes (&all), 0644, e);
}

struct options {
    const char *output, *roster, *format;
    bool json;
};

static int give (struct cli *c, struct realm *rl, const struct proof *p, const struct buf *lines, const struct options *o, struct err *e)
{
    if (o->roster && write_roster (rl, o->roster, e) == -1)
        return -1;
    if (!strcmp (o->format, "in-toto-link")) {
        size_t n;
        if (bundle_links (rl, p, o->output, &n, e) == -1)
            return -1;
        printf ("%s  %zu links and %s.layout (sign it: in-toto-sign; then in-toto-verify)\n", o->output, n, proof_group (p, 0)->verdict.step);
        return 0;
    }
    if (o->output && file_write (o->output, buf_bytes (lines), 0644, e) == -1)
        return -1;
    if (o->json && !o->output)
        fwrite (lines->p, 1, lines->len, stdout);
    if (!o->json)
        show (c, p);
    return 0;
}

int cmd_attest (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' }, { "output", required_argument, NULL, 'o' }, { "roster", required_argument, NULL, 'r' },
        { "format", required_argument, NULL, 'f' }, { "log", no_argument, NULL, 'l' },        { "witnesses", required_argument, NULL, 'w' }, { NULL, 0, NULL, 0 },
    };
    struct realm *CLEANUP (realm_close) rl = NULL;
    struct client *CLEANUP (client_close) broker = NULL;
    struct proof *CLEANUP (proof_destroy) p = NULL;
    struct options opts = { .format = "bundle" };
    struct err e = ERR_INIT;
    const char *witnesses = NULL;
    bool log = false;
    uint64_t k;
    struct digest id;
    char step[64], worker[64];
    BUF (lines);
    for (int o; (o = getopt_long (argc, argv, "o:", options, NULL)) != -1;)
        switch (o) {
        case 'j':
            opts.json = true;
            break;
        case 'o':
            opts.output = optarg;
            break;
        case 'r':
            opts.roster = optarg;
            break;
        case 'f':
            opts.format = optarg;
            break;
        case 'l':
            log = true;
            break;
        case 'w':
            witnesses = optarg;
            break;
        default:
            return ERR_USAGE;
        }
    if (argc - optind != 1)
        return cli_usage ("attest", "which step? (assay attest ID/STEP [--json] [-o FILE] [--roster FILE] [--format bundle|in-toto-link] [--log] [--witnesses K])");
    if (strcmp (opts.format, "bundle") && strcmp (opts.format, "in-toto-link"))
        return cli_usage ("attest", "--format %s: bundle or in-toto-link", opts.format);
    if (!strcmp (opts.format, "in-toto-link") && !opts.output)
        return cli_usage ("attest", "--format in-toto-link writes several files: name a folder (-o DIR)");
    if (cli_realm (c, &rl, &e) == -1 || witnesses_wanted (rl, witnesses, &k, &e) == -1 || cli_client (c, rl, ROLE_BROKER, &broker, &e) == -1 || cli_step (broker, argv[optind], &id, step, worker, &e) == -1)
        return cli_fail ("attest", &e);
    if (!*step)
        return cli_usage ("attest", "%s: names no step (ID/STEP; `assay status ID` lists them)", argv[optind]);
    if (bundle_fetch (c, rl, broker, &id, step, &p, &lines, &e) == -1) {
        if (e.code == EC_NOT_FOUND)
            e.kind = ERR_UNTRUSTED;
        return cli_fail ("attest", &e);
    }
    BUF (proven);
    if ((log || k) && bundle_prove (c, rl, p, buf_bytes (&lines), k, &proven, &e) == -1)
        return cli_fail ("attest", &e);
    buf_add (&lines, proven.p, proven.len);
    return give (c, rl, p, &lines, &opts, &e) == -1 ? cli_fail ("attest", &e) : 0;
}
