/* assay flush: send what the hook, or a push without a broker, left in the spool. */
#include <getopt.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/spool.h"
#include "source/git.h"

struct tally {
    bool quiet;
    unsigned refused;
};

static void told (void *arg, const char *id, const struct err *refused)
{
    struct tally *t = arg;
    if (refused) {
        t->refused++;
        fprintf (stderr, "assay: flush: %.12s refused: %s (kept in assay/spool/refused of the repository)\n", id, refused->msg);
    } else if (!t->quiet)
        printf ("%s\n", id);
}

int cmd_flush (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { "quiet", no_argument, NULL, 'q' }, { NULL, 0, NULL, 0 } };
    const char *repo = ".";
    struct tally tally = { false, 0 };
    for (int o; (o = getopt_long (argc, argv, "C:q", options, NULL)) != -1;)
        switch (o) {
        case 'C':
            repo = optarg;
            break;
        case 'q':
            tally.quiet = true;
            break;
        default:
            return ERR_USAGE;
        }
    if (optind < argc)
        return cli_usage ("flush", "%s: no arguments (assay flush [-C REPO])", argv[optind]);

    struct err e = ERR_INIT;
    BUF (dir);
    if (git_dir (repo, &dir, NULL, &e) == -1)
        return cli_fail ("flush", &e);
    if (spool_count (buf_str (&dir)) == 0)
        return 0;
    CLEANUP (fd_close) int lock = spool_lock (buf_str (&dir), "flush", 30000, &e);
    if (lock == -1)
        return cli_fail ("flush", &e);
    struct realm *CLEANUP (realm_close) rl = NULL;
    struct client *CLEANUP (client_close) broker = NULL;
    if (cli_realm (c, &rl, &e) == -1 || cli_client (c, rl, ROLE_BROKER, &broker, &e) == -1 ||
        spool_send (buf_str (&dir), broker, told, &tally, &e) == -1) {
        size_t left = spool_count (buf_str (&dir));
        struct err why = e;
        err_set (&e, why.kind, "%.600s; %zu still spooled", why.msg, left);
        return cli_fail ("flush", &e);
    }
    return tally.refused ? ERR_DENIED : 0;
}
