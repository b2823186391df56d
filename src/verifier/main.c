/* assay-verifier: says what is trusted. Options, configuration, loop. */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/config.h"
#include "base/file.h"
#include "base/log.h"
#include "verifier/server.h"

#define AT(field) offsetof (struct verifier_conf, field)

static const struct config_row rows[] = {
    { "verifier", "listen", CONFIG_STRING, "tcp://127.0.0.1:7004", 0, 255, AT (listen), "endpoint for requests" },
    { "verifier", "log", CONFIG_STRING, "info", 0, 16, AT (level), "error, warn, info or debug" },
    CONFIG_END
};

static int usage (FILE *to)
{
    fprintf (to, "usage: assay-verifier [--dir DIR] [--check-config] [--help-config] [--version]\n"
                 "Counts who got the same bits, and signs verdicts. DIR: the verifier's folder (else $ASSAY_DIR, else ~/.config/assay).\n");
    return to == stdout ? 0 : ERR_USAGE;
}

static int fail (const struct err *e)
{
    fprintf (stderr, "assay-verifier: %s\n", e->msg);
    return e->kind ? (int) e->kind : ERR_FAILED;
}

static enum log_level level (const char *name)
{
    return !strcmp (name, "error") ? LOG_LEVEL_ERROR : !strcmp (name, "warn") ? LOG_LEVEL_WARN : !strcmp (name, "debug") ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

static int serve (const struct verifier_conf *conf, const char *dir)
{
    struct server *s = NULL;
    struct err e = ERR_INIT;
    int status = 0, signals = net_signals (&e);
    if (signals == -1 || net_start (&e) == -1)
        return fail (&e);
    if (server_open (&s, conf, dir, signals, &e) == -1)
        status = fail (&e);
    else {
        puts ("ready");
        fflush (stdout);
        sd_notify (0, "READY=1");
        if (server_run (s, &e) == -1)
            status = fail (&e);
        sd_notify (0, "STOPPING=1");
        log_info ("stopped");
        server_close (&s);
    }
    net_stop ();
    fd_close (&signals);
    return status;
}

int main (int argc, char **argv)
{
    static const struct option options[] = {
        { "dir", required_argument, NULL, 'd' }, { "check-config", no_argument, NULL, 'c' }, { "help-config", no_argument, NULL, 'C' },
        { "help", no_argument, NULL, 'h' },      { "version", no_argument, NULL, 'V' },      { NULL, 0, NULL, 0 },
    };
    const char *option = NULL;
    bool check = false;
    struct verifier_conf conf = { 0 };
    struct err e = ERR_INIT;
    for (int o; (o = getopt_long (argc, argv, "h", options, NULL)) != -1;)
        switch (o) {
        case 'd':
            option = optarg;
            break;
        case 'c':
            check = true;
            break;
        case 'C':
            config_help (rows);
            return 0;
        case 'V':
            printf ("assay-verifier %s\n", PACKAGE_VERSION);
            return 0;
        default:
            return usage (o == 'h' ? stdout : stderr);
        }
    if (optind != argc)
        return usage (stderr);
    char *dir CLEANUP (free_ptr) = (char *) (uintptr_t) realm_default_dir (option), *ini CLEANUP (free_ptr) = xasprintf ("%s/verifier.ini", dir);
    config_defaults (rows, &conf);
    int status = config_load (rows, &conf, ini, false, &e) == -1 ? fail (&e) : 0;
    log_open ("assay-verifier", level (conf.level ? conf.level : ""));
    if (status == 0 && !check)
        status = serve (&conf, dir);
    config_release (rows, &conf);
    return status;
}
