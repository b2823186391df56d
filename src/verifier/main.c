/* assay-verifier: says what is trusted. */
#include "auth/daemon.h"
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

int main (int argc, char **argv)
{
    static const struct daemon d = { "assay-verifier", "Counts who got the same bits, and signs verdicts.", "verifier.ini", rows, &conf, &conf.level, open_server, run_server, close_server };
    return daemon_main (&d, argc, argv);
}
