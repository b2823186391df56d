/* cmd_store.c: `assay store check --dir STOREDIR`: hash every blob again, set damaged ones aside. */
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "store/cas.h"

struct check {
    struct cas *cas;
    size_t good, damaged;
};

static void
check_one (void *arg, const struct digest *d, uint64_t size)
{
    struct check *k = arg;
    struct err e = ERR_INIT;

    (void) size;
    if (cas_verify (k->cas, d, true, &e) == 0)
        k->good++;
    else if (e.code == EC_DAMAGED) {
        k->damaged++;
        printf ("%s\n", e.msg);
    }
}

int
cmd_store (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { "dir", 1, NULL, 'd' }, { NULL, 0, NULL, 0 } };
    const char *dir = c->dir;
    struct check k = { 0 };
    struct err e = ERR_INIT;
    int o;

    while ((o = getopt_long (argc, argv, "", options, NULL)) != -1)
        if (o == 'd')
            dir = optarg;
        else
            return cli_usage ("store", "check --dir DIR");
    if (argc - optind != 1 || strcmp (argv[optind], "check") != 0)
        return cli_usage ("store", "check --dir DIR");
    CLEANUP (free_ptr) char *state = xasprintf ("%s/state", dir);

    if (cas_look (&k.cas, state, &e) == -1) {
        if (access (state, F_OK) == -1)
            err_set (&e, ERR_USAGE, "%s: no store keeps its files there (assay store check --dir STOREDIR, the folder that assay-store has)", state);
        return cli_fail ("store", &e);
    }
    if (cas_each (k.cas, check_one, &k, &e) == -1) {
        cas_close (&k.cas);
        return cli_fail ("store", &e);
    }
    cas_close (&k.cas);
    printf ("%zu blobs good, %zu damaged and set aside\n", k.good, k.damaged);
    return k.damaged > 0 ? ERR_DAMAGED : 0;
}
