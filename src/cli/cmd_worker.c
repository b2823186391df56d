/* assay worker: the owner's words to a worker on this machine. assay-worker itself has them; this finds it and becomes it. */
#include <errno.h>
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"

#define USAGE "[--dir DIR] pause|resume|drain|status|reload|probe [--json] [--wait]"

int
cmd_worker (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { "dir", 1, NULL, 'd' }, { "json", 0, NULL, 'j' }, { "wait", 0, NULL, 'w' }, { NULL, 0, NULL, 0 } };
    static const char *const words[] = { "pause", "resume", "drain", "status", "reload", "probe" };
    const char *dir = c->dir, *word = NULL;
    bool json = false, wait = false;
    struct err e = ERR_INIT;
    int o;

    while ((o = getopt_long (argc, argv, "", options, NULL)) != -1)
        switch (o) {
        case 'd': dir = optarg; break;
        case 'j': json = true; break;
        case 'w': wait = true; break;
        default: return cli_usage ("worker", USAGE);
        }
    for (size_t i = 0; argc - optind == 1 && i < sizeof words / sizeof *words; i++)
        if (strcmp (argv[optind], words[i]) == 0)
            word = words[i];
    if (!word || (wait && strcmp (word, "drain") != 0))
        return cli_usage ("worker", USAGE);

    CLEANUP (free_ptr) char *program = file_program ("assay-worker", ASSAY_BINDIR);
    const char *args[8] = { "assay: worker", "--dir", dir, word };
    size_t n = 4;
    if (json)
        args[n++] = "--json";
    if (wait)
        args[n++] = "--wait";
    execvp (program, (char *const *) (uintptr_t) args);
    err_set (&e, ERR_FAILED, "%s: %s (install assay-worker)", program, strerror (errno));
    return cli_fail ("worker", &e);
}
