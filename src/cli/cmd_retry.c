/* assay retry, assay challenge: a step is to run once more - all over, or by one more owner for what is decided. */
#include <getopt.h>

#include "cli/cli.h"

/* m: the request; id and step are its fields. */
static int ask_for (struct cli *c, const char *command, int argc, char **argv, struct msg *m, struct digest *id, struct bytes *field)
{
    static const struct option options[] = { { NULL, 0, NULL, 0 } };
    if (getopt_long (argc, argv, "", options, NULL) != -1)
        return ERR_USAGE;
    if (argc - optind != 1)
        return cli_usage (command, "which step? (assay %s ID/STEP)", command);
    struct err e = ERR_INIT;
    struct realm *CLEANUP (realm_close) rl = NULL;
    struct client *CLEANUP (client_close) broker = NULL;
    struct net_in in;
    char step[64], worker[64];
    if (cli_realm (c, &rl, &e) == -1 || cli_client (c, rl, ROLE_BROKER, &broker, &e) == -1 || cli_step (broker, argv[optind], id, step, worker, &e) == -1)
        return cli_fail (command, &e);
    if (!*step)
        return cli_usage (command, "%s: names no step (assay %s ID/STEP; `assay status ID` lists them)", argv[optind], command);
    *field = bytes_str (step);
    if (client_ask (broker, m, MSG_ok, &in, &e) == -1)
        return cli_fail (command, &e);
    msg_release (m);
    net_in_release (&in);
    return 0;
}

int cmd_retry (struct cli *c, int argc, char **argv)
{
    struct msg m = MSG_INIT (retry, 0);
    return ask_for (c, "retry", argc, argv, &m, &m.u.retry.id, &m.u.retry.step);
}

int cmd_challenge (struct cli *c, int argc, char **argv)
{
    struct msg m = MSG_INIT (challenge, 0);
    return ask_for (c, "challenge", argc, argv, &m, &m.u.challenge.id, &m.u.challenge.step);
}
