/* assay up: run every daemon of a realm's folders in the foreground. */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/net.h"
#include "cli/cli.h"
#include "cli/fleet.h"

#define STOP_MS 15000 /* for what a daemon still has in hand; then it is killed, which loses nothing acknowledged */

/* Stopped from the highest rank down: first those that need the others. */
static const struct daemon {
    const char *folder, *program;
    unsigned rank;
} daemons[] = {
    { "idp", "assay-idp", 1 }, { "store", "assay-store", 2 }, { "broker", "assay-broker", 3 }, { "verifier", "assay-verifier", 4 },
};
#define WORKER_RANK 5u
#define WORKER_FOLDER "worker-"

static bool add (struct fleet *f, const char *dir, const char *folder, const char *program, unsigned rank)
{
    CLEANUP (free_ptr) char *sub = xasprintf ("%s/%s", dir, folder), *ini = xasprintf ("%s/realm.ini", sub);
    if (access (ini, R_OK) == -1)
        return false;
    CLEANUP (free_ptr) char *path = file_program (program, ASSAY_BINDIR);
    fleet_add (f, folder, rank, path, sub);
    return true;
}

static int is_worker (const struct dirent *d)
{
    return strncmp (d->d_name, WORKER_FOLDER, strlen (WORKER_FOLDER)) == 0;
}

static int add_all (struct fleet *f, const char *dir, struct err *e)
{
    size_t count = 0;
    for (size_t i = 0; i < sizeof daemons / sizeof *daemons; i++)
        count += add (f, dir, daemons[i].folder, daemons[i].program, daemons[i].rank);

    struct dirent **found = NULL;
    int n = scandir (dir, &found, is_worker, versionsort);
    if (n == -1)
        return err_errno (e, "%s", dir);
    for (int i = 0; i < n; i++) {
        count += add (f, dir, found[i]->d_name, "assay-worker", WORKER_RANK);
        free (found[i]);
    }
    free (found);
    return count > 0 ? 0 : err_set (e, ERR_USAGE, "%s: no realm there (make one: assay init %s)", dir, dir);
}

int cmd_up (struct cli *c, int argc, char **argv)
{
    (void) c;
    if (argc != 2 || argv[1][0] == '-')
        return cli_usage ("up", "one folder is needed (assay up DIR)");
    const char *dir = argv[1];
    struct err e = ERR_INIT;
    CLEANUP (free_ptr) char *path = xasprintf ("%s/up.lock", dir);
    CLEANUP (fleet_destroy) struct fleet *f = fleet_new (STDOUT_FILENO);
    if (add_all (f, dir, &e) == -1)
        return cli_fail ("up", &e);
    CLEANUP (fd_close) int lock = file_lock (path, &e);
    if (lock == -1)
        return cli_fail ("up", &e);
    CLEANUP (fd_close) int signals = net_signals (&e);
    if (signals == -1 || fleet_run (f, signals, STOP_MS, &e) == -1)
        return cli_fail ("up", &e);
    return 0;
}
