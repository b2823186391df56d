/* cmd_policy.c: show or set the operator's floor, or a project's own policy. */
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

static int number (const char *option, const char *text, unsigned max, uint64_t *out)
{
    char *end;
    unsigned long v = strtoul (text, &end, 10);
    if (*text < '0' || *text > '9' || *end || v < 1 || v > max)
        return cli_usage ("policy", "%s %s: a number from 1 to %u", option, text, max);
    *out = v;
    return 0;
}

static void print_policy (const char *what, const struct policy *p, bool json)
{
    static const char *const trusted[] = { NULL, "optional", "required" }, *const dissent[] = { NULL, "tolerate", "block" };
    if (json) {
        json_t *o = json_object ();
        json_object_set_new (o, "policy", json_string (what));
        if (p->agree)
            json_object_set_new (o, "agree", json_integer (p->agree));
        if (p->trusted)
            json_object_set_new (o, "trusted", json_string (trusted[p->trusted]));
        if (p->dissent)
            json_object_set_new (o, "dissent", json_string (dissent[p->dissent]));
        if (p->isolation)
            json_object_set_new (o, "isolation", json_string (isolation_name (p->isolation)));
        if (p->max_replicas)
            json_object_set_new (o, "max_replicas", json_integer (p->max_replicas));
        if (p->lineages)
            json_object_set_new (o, "lineages", json_integer (p->lineages));
        if (p->network)
            json_object_set_new (o, "network", json_string (network_name (p->network)));
        char *text CLEANUP (free_ptr) = json_dumps (o, JSON_COMPACT);
        printf ("%s\n", text ? text : "{}");
        json_decref (o);
        return;
    }
    printf ("%-10s", what);
    if (p->agree)
        printf (" agree=%u", p->agree);
    if (p->trusted)
        printf (" trusted=%s", trusted[p->trusted]);
    if (p->dissent)
        printf (" dissent=%s", dissent[p->dissent]);
    if (p->isolation)
        printf (" isolation=%s", isolation_name (p->isolation));
    if (p->max_replicas)
        printf (" max-replicas=%u", p->max_replicas);
    if (p->lineages)
        printf (" lineages=%u", p->lineages);
    if (p->network)
        printf (" network=%s", network_name (p->network));
    printf ("%s\n", p->agree || p->trusted || p->dissent || p->isolation || p->max_replicas || p->lineages || p->network ? "" : " (nothing asked for)");
}

static int show (struct cli *c, struct realm *rl, const char *project, bool json)
{
    static const struct policy none = { 0 };
    const struct policy *floor = roster_policy_own (realm_roster (rl), "");
    print_policy ("floor", floor ? floor : &none, json);
    if (project) {
        const struct policy *own = roster_policy_own (realm_roster (rl), project);
        struct policy all = roster_policy (realm_roster (rl), bytes_str (project));
        policy_fill (&all);
        print_policy ("project", own ? own : &none, json);
        print_policy ("in-force", &all, json);
    }
    cli_kept (c, "policy", rl);
    return 0;
}

static int set (struct cli *c, struct realm *rl, struct msg *m, struct err *e)
{
    struct client *idp = NULL;
    struct net_in in;
    int rc = cli_client (c, rl, ROLE_IDP, &idp, e);
    if (rc == 0) {
        m->request = client_request (idp);
        if ((rc = client_ask (idp, m, MSG_ok, &in, e)) == 0) {
            msg_release (m);
            net_in_release (&in);
            rc = realm_refresh (rl, c->timeout_ms, e);
        }
    }
    client_close (&idp);
    return rc;
}

int cmd_policy (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = {
        { "project", required_argument, NULL, 'p' }, { "agree", required_argument, NULL, 'a' },     { "trusted", required_argument, NULL, 't' },
        { "dissent", required_argument, NULL, 'd' }, { "isolation", required_argument, NULL, 'i' }, { "max-replicas", required_argument, NULL, 'm' },
        { "lineages", required_argument, NULL, 'l' }, { "network", required_argument, NULL, 'n' },
        { "json", no_argument, NULL, 'j' },          { NULL, 0, NULL, 0 },
    };
    struct msg m = MSG_INIT (policy_set, 0);
    struct msg_policy_set *q = &m.u.policy_set;
    struct realm *rl = NULL;
    struct err e = ERR_INIT;
    const char *project = NULL;
    bool change = false, json = false;
    for (int o; (o = getopt_long (argc, argv, "", options, NULL)) != -1;) {
        change = change || (o != 'p' && o != 'j');
        switch (o) {
        case 'p':
            if (!project_valid (optarg))
                return cli_usage ("policy", "--project %s: not a project's name (names joined by /)", optarg);
            project = optarg;
            break;
        case 'a':
            if (number ("--agree", optarg, POLICY_AGREE_MAX, &q->agree))
                return ERR_USAGE;
            break;
        case 't':
            q->trusted = !strcmp (optarg, "required") ? POLICY_TRUSTED_REQUIRED : !strcmp (optarg, "optional") ? POLICY_TRUSTED_OPTIONAL : 0;
            if (!q->trusted)
                return cli_usage ("policy", "--trusted %s: required or optional", optarg);
            break;
        case 'd':
            q->dissent = !strcmp (optarg, "block") ? POLICY_DISSENT_BLOCK : !strcmp (optarg, "tolerate") ? POLICY_DISSENT_TOLERATE : 0;
            if (!q->dissent)
                return cli_usage ("policy", "--dissent %s: block or tolerate", optarg);
            break;
        case 'i':
            q->isolation = isolation_parse (optarg);
            if (!q->isolation)
                return cli_usage ("policy", "--isolation %s: qemu or bwrap", optarg);
            break;
        case 'm':
            if (number ("--max-replicas", optarg, 2 * POLICY_AGREE_MAX, &q->max_replicas))
                return ERR_USAGE;
            break;
        case 'l':
            if (number ("--lineages", optarg, STEP_IMAGES, &q->lineages))
                return ERR_USAGE;
            break;
        case 'n':
            q->network = network_parse (optarg);
            if (!q->network)
                return cli_usage ("policy", "--network %s: none or realm", optarg);
            break;
        case 'j':
            json = true;
            break;
        default:
            return ERR_USAGE;
        }
    }
    if (optind != argc)
        return cli_usage ("policy", "%s: not understood (options only)", argv[optind]);
    if (cli_realm (c, &rl, &e) == -1)
        return cli_fail ("policy", &e);
    q->project = bytes_str (project);
    int rc = change ? set (c, rl, &m, &e) : 0;
    if (rc == 0)
        show (c, rl, project, json);
    realm_close (&rl);
    return rc == -1 ? cli_fail ("policy", &e) : 0;
}
