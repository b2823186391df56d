/* cmd_revoke.c: a principal is good no more, from now or from a time in the past on. */
#include <getopt.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"

static int ask_revoke (struct cli *c, struct msg *m, struct err *e)
{
    struct realm *rl = NULL;
    struct client *idp = NULL;
    struct net_in in;
    int rc = cli_realm (c, &rl, e);
    if (rc == 0 && (rc = cli_client (c, rl, ROLE_IDP, &idp, e)) == 0) {
        m->request = client_request (idp);
        if ((rc = client_ask (idp, m, MSG_ok, &in, e)) == 0) {
            msg_release (m);
            net_in_release (&in);
        }
    }
    client_close (&idp);
    realm_close (&rl);
    return rc;
}

int cmd_revoke (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { "since", required_argument, NULL, 's' }, { "reason", required_argument, NULL, 'r' }, { NULL, 0, NULL, 0 } };
    struct msg m = MSG_INIT (revoke, 0);
    struct err e = ERR_INIT;
    int64_t since = 0;
    for (int o; (o = getopt_long (argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 's':
            if (!time_parse (optarg, &since) || since <= 0)
                return cli_usage ("revoke", "--since %s: not a time (2026-01-31T12:00:00Z, @SECONDS, -2h)", optarg);
            if (since > time_now_us ())
                return cli_usage ("revoke", "--since %s: in the future", optarg);
            break;
        case 'r':
            if (strlen (optarg) > 255 || !utf8_valid (bytes_str (optarg)))
                return cli_usage ("revoke", "--reason: at most 255 bytes of text");
            m.u.revoke.reason = bytes_str (optarg);
            break;
        default:
            return ERR_USAGE;
        }
    if (optind + 1 != argc || !name_valid (argv[optind]))
        return cli_usage ("revoke", "give one principal's name (`assay who` lists them)");
    m.u.revoke.name = bytes_str (argv[optind]);
    m.u.revoke.since = (uint64_t) since;
    if (ask_revoke (c, &m, &e) == -1)
        return cli_fail ("revoke", &e);
    printf ("revoked %s\n", argv[optind]);
    return 0;
}
