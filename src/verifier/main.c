/* assay-verifier: says what is trusted. */
#include <stdio.h>
#include <string.h>

#include "auth/daemon.h"
#include "base/file.h"
#include "base/log.h"
#include "verifier/recount.h"
#include "verifier/server.h"

#define AT(field) offsetof (struct verifier_conf, field)

static const struct config_row rows[] = {
    { "verifier", "listen", CONFIG_STRING, "tcp://127.0.0.1:7004", 0, 255, AT (listen), "endpoint for requests" },
    { "verifier", "log", CONFIG_STRING, "info", 0, 16, AT (level), "error, warn, info or debug" },
    CONFIG_END
};

static struct verifier_conf conf;

static int open_server (void **s, void *c, const char *dir, int signals, struct err *e)
{
    return server_open ((struct server **) s, c, dir, signals, e);
}

static int run_server (void *s, struct err *e)
{
    return server_run (s, e);
}

static void close_server (void **s)
{
    server_close ((struct server **) s);
}

static void tell (void *arg, const char *line)
{
    BUF (clean);
    (void) arg;
    text_clean (bytes_str (line), false, &clean);
    printf ("%s\n", buf_str (&clean));
}

/* --recount: everything that was decided, decided again from what is stored; nothing is written. */
static int recount_all (const char *option)
{
    struct err e = ERR_INIT;
    struct realm *rl = NULL;
    struct recount sum = { 0 };
    char *dir CLEANUP (free_ptr) = (char *) (uintptr_t) realm_default_dir (option), *lock CLEANUP (free_ptr) = xasprintf ("%s/state/lock", dir),
               *db CLEANUP (free_ptr) = xasprintf ("%s/state/verdicts.db", dir);
    log_open ("assay-verifier", LOG_LEVEL_ERROR);
    int rc = realm_open (&rl, dir, &e) == -1 || file_lock (lock, &e) == -1 ? -1 : recount (db, realm_roster (rl), 0, tell, NULL, &sum, &e);
    realm_close (&rl);
    if (rc == 0) {
        printf ("%llu steps, %llu results: %llu do not hold, %llu steps come out otherwise\n", (unsigned long long) sum.steps, (unsigned long long) sum.results,
                (unsigned long long) sum.bad, (unsigned long long) sum.differ);
        return sum.bad || sum.differ ? ERR_DAMAGED : 0;
    }
    fprintf (stderr, "assay-verifier: %s\n", e.msg);
    return e.kind ? (int) e.kind : ERR_FAILED;
}

int main (int argc, char **argv)
{
    if (argc >= 2 && !strcmp (argv[1], "--recount") && (argc == 2 || (argc == 4 && !strcmp (argv[2], "--dir"))))
        return recount_all (argc == 4 ? argv[3] : NULL);
    static const struct daemon d = { "assay-verifier", "Counts who got the same bits, and signs verdicts.", "verifier.ini", rows, &conf, &conf.level, open_server, run_server, close_server };
    return daemon_main (&d, argc, argv);
}
