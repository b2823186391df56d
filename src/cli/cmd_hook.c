/* assay hook: install it; git runs it. */
#include <getopt.h>
#include <string.h>

#include "cli/hook.h"

int cmd_hook (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { NULL, 0, NULL, 0 } };
    const char *where = ".";
    for (int o; (o = getopt_long (argc, argv, "C:", options, NULL)) != -1;)
        if (o == 'C')
            where = optarg;
        else
            return ERR_USAGE;
    const char *verb = optind < argc ? argv[optind++] : "";
    if (strcmp (verb, "install") == 0 && optind == argc) {
        struct err e = ERR_INIT;
        return hook_install (c, where, &e) == -1 ? cli_fail ("hook", &e) : 0;
    }
    if (strcmp (verb, "run") == 0 && optind + 1 == argc && (strcmp (argv[optind], "post-receive") == 0 || strcmp (argv[optind], "post-commit") == 0)) {
        hook_run (c, argv[optind]);
        return 0;
    }
    return cli_usage ("hook", "what? (assay hook install [-C REPO])");
}
