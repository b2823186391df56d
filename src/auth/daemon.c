#include "config.h"

#include "auth/daemon.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "auth/realm.h"
#include "base/file.h"
#include "base/log.h"

static int usage (const struct daemon *d, FILE *to)
{
    fprintf (to, "usage: %s [--dir DIR] [--check-config] [--help-config] [--help] [--version]\n%s\n"
                 "DIR is its realm folder (else $ASSAY_DIR, else ~/.config/assay), its configuration DIR/%s.\n", d->program, d->what, d->ini);
    return to == stdout ? 0 : ERR_USAGE;
}

static int fail (const struct daemon *d, const struct err *e)
{
    fprintf (stderr, "%s: %s\n", d->program, e->msg);
    return e->kind ? (int) e->kind : ERR_FAILED;
}

static int level_parse (const char *name, enum log_level *out)
{
    static const char *const names[] = { "error", "warn", "info", "debug" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp (names[i], name)) {
            *out = (enum log_level) i;
            return 0;
        }
    return -1;
}

static int serve (const struct daemon *d, const char *dir)
{
    struct err e = ERR_INIT;
    void *server = NULL;
    int status = 0, signals CLEANUP (fd_close) = net_signals (&e);
    if (signals == -1 || net_start (&e) == -1)
        return fail (d, &e);
    if (d->open (&server, d->conf, dir, signals, &e) == -1)
        status = fail (d, &e);
    else {
        puts ("ready");
        fflush (stdout);
        sd_notify (0, "READY=1");
        if (d->run (server, &e) == -1)
            status = fail (d, &e);
        sd_notify (0, "STOPPING=1");
        d->close (&server);
        log_info ("stopped");
    }
    net_stop ();
    return status;
}

int daemon_main (const struct daemon *d, int argc, char **argv)
{
    static const struct option options[] = {
        { "dir", required_argument, NULL, 'd' }, { "check-config", no_argument, NULL, 'c' }, { "help-config", no_argument, NULL, 'C' },
        { "help", no_argument, NULL, 'h' },      { "version", no_argument, NULL, 'V' },      { NULL, 0, NULL, 0 },
    };
    const char *option = NULL;
    bool check = false;
    enum log_level level = LOG_LEVEL_INFO;
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
            config_help (d->rows);
            return 0;
        case 'V':
            printf ("%s %s\n", d->program, PACKAGE_VERSION);
            return 0;
        default:
            return usage (d, o == 'h' ? stdout : stderr);
        }
    if (optind != argc)
        return usage (d, stderr);
    char *dir CLEANUP (free_ptr) = (char *) (uintptr_t) realm_default_dir (option), *ini CLEANUP (free_ptr) = xasprintf ("%s/%s", dir, d->ini);
    config_defaults (d->rows, d->conf);
    int status = config_load (d->rows, d->conf, ini, false, &e) == -1 ? fail (d, &e) : 0;
    if (status == 0 && d->level && level_parse (*d->level, &level) == -1) {
        err_set (&e, ERR_USAGE, "%s: log = %s: error, warn, info or debug", ini, *d->level);
        status = fail (d, &e);
    }
    log_open (d->program, level);
    if (status == 0 && !check)
        status = serve (d, dir);
    config_release (d->rows, d->conf);
    return status;
}
