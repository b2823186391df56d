/* assay-store: keeps artifacts. */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/config.h"
#include "base/log.h"
#include "store/server.h"

static const struct config_row rows[] = {
    { "store", "listen", CONFIG_STRING, "tcp://127.0.0.1:7003", 0, 255, offsetof (struct store_conf, listen), "endpoint to bind" },
    { "store", "log", CONFIG_STRING, "info", 0, 16, offsetof (struct store_conf, level), "error, warn, info or debug" },
    { "limits", "quota", CONFIG_SIZE, "100G", 0, INT64_MAX, offsetof (struct store_conf, quota), "bytes of artifacts one owner may hold; 0 is no limit" },
    { "limits", "free-floor", CONFIG_SIZE, "1G", 0, INT64_MAX, offsetof (struct store_conf, free_floor), "bytes of the disk that stay free" },
    { "limits", "max-artifact", CONFIG_SIZE, "16G", 1, INT64_C (1) << 46, offsetof (struct store_conf, max_artifact), "bytes of the largest artifact taken" },
    { "limits", "upload-idle", CONFIG_DURATION, "10m", 1000, INT64_C (86400000), offsetof (struct store_conf, upload_idle), "an upload without progress is given up after this" },
    { "retention", "keep", CONFIG_INT, "10", 1, INT32_MAX, offsetof (struct store_conf, keep), "submissions kept per project and ref, where a step does not say; trusted ones of tags stay for ever" },
    { "retention", "every", CONFIG_DURATION, "1h", 1000, INT64_C (604800000), offsetof (struct store_conf, gc_every), "how often what is not kept is removed" },
    CONFIG_END
};

static int
usage (FILE *to, int status)
{
    fputs ("usage: assay-store [--dir DIR] [--check-config] [--help] [--version] [--help-config]\n", to);
    return status;
}

static int
fail (const struct err *e)
{
    fprintf (stderr, "assay-store: %s\n", e->msg);
    return e->kind == ERR_NONE ? ERR_FAILED : (int) e->kind;
}

static enum log_level
level (const char *name)
{
    return strcmp (name, "error") == 0 ? LOG_LEVEL_ERROR : strcmp (name, "warn") == 0 ? LOG_LEVEL_WARN
         : strcmp (name, "debug") == 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

int
main (int argc, char **argv)
{
    static const struct option options[] = { { "dir", 1, NULL, 'd' }, { "check-config", 0, NULL, 'c' }, { "help", 0, NULL, 'h' },
                                             { "version", 0, NULL, 'v' }, { "help-config", 0, NULL, 'H' }, { NULL, 0, NULL, 0 } };
    const char *dir_option = NULL;
    bool check = false;
    struct store_conf conf = { 0 };
    struct server *server = NULL;
    struct err e = ERR_INIT;
    int c, status = 0, signals;

    while ((c = getopt_long (argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 'd': dir_option = optarg; break;
        case 'c': check = true; break;
        case 'h': return usage (stdout, 0);
        case 'v': puts ("assay-store " PACKAGE_VERSION); return 0;
        case 'H': config_help (rows); return 0;
        default: return usage (stderr, ERR_USAGE);
        }
    if (optind != argc)
        return usage (stderr, ERR_USAGE);
    CLEANUP (free_ptr) char *dir = (char *) realm_default_dir (dir_option);
    CLEANUP (free_ptr) char *file = xasprintf ("%s/store.ini", dir);

    config_defaults (rows, &conf);
    if (config_load (rows, &conf, file, false, &e) == -1)
        return fail (&e);
    if (check) {
        config_release (rows, &conf);
        return 0;
    }
    conf.dir = dir;
    log_open ("assay-store", level (conf.level));
    if ((signals = net_signals (&e)) == -1 || net_start (&e) == -1)
        return fail (&e);
    if (server_open (&server, &conf, signals, &e) == -1)
        status = fail (&e);
    else {
        puts ("ready");
        fflush (stdout);
        sd_notify (0, "READY=1");
        if (server_run (server, &e) == -1)
            status = fail (&e);
        sd_notify (0, "STOPPING=1");
        server_close (&server);
    }
    net_stop ();
    config_release (rows, &conf);
    return status;
}
