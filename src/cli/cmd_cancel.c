/* assay cancel: stop a submission, or one step of it. */
#include <getopt.h>

#include "cli/cli.h"

int cmd_cancel (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { NULL, 0, NULL, 0 } };
    if (getopt_long (argc, argv, "", options, NULL) != -1)
        return ERR_USAGE;
    if (argc - optind != 1)
        return cli_usage ("cancel", "which? (assay cancel ID, or ID/STEP)");
    struct err e = ERR_INIT;
    struct realm *CLEANUP (realm_close) rl = NULL;
    struct client *CLEANUP (client_close) broker = NULL;
    struct digest id;
    char step[64], worker[64];
    if (cli_realm (c, &rl, &e) == -1 || cli_client (c, rl, ROLE_BROKER, &broker, &e) == -1 ||
        cli_step (broker, argv[optind], &id, step, worker, &e) == -1)
        return cli_fail ("cancel", &e);
    struct msg m = MSG_INIT (cancel, 0);
    struct net_in in;
    m.u.cancel.id = id;
    m.u.cancel.step = bytes_str (step);
    if (client_ask (broker, &m, MSG_ok, &in, &e) == -1)
        return cli_fail ("cancel", &e);
    msg_release (&m);
    net_in_release (&in);
    return 0;
}
