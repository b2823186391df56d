/* assay-broker: gets jobs done. Options, configuration, loop. */
#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/config.h"
#include "base/file.h"
#include "base/log.h"
#include "broker/server.h"

#define AT(field) offsetof (struct broker_conf, field)
#define DAY INT64_C (86400000)

static const struct config_row rows[] = {
    { "broker", "listen", CONFIG_STRING, "tcp://127.0.0.1:7001", 0, 255, AT (listen), "endpoint for requests" },
    { "broker", "events", CONFIG_STRING, "tcp://127.0.0.1:7002", 0, 255, AT (events), "endpoint for the stream of events" },
    { "broker", "state", CONFIG_STRING, "sqlite", 0, 16, AT (state), "where the state is kept: sqlite, or mem (lost with the process; for tests)" },
    { "broker", "log", CONFIG_STRING, "info", 0, 16, AT (level), "error, warn, info or debug" },
    { "leases", "time", CONFIG_DURATION, "2h", 1000, 7 * DAY, AT (lease_time), "longest lease; a step that asks for less gets less" },
    { "leases", "grace", CONFIG_DURATION, "10m", 0, DAY, AT (lease_grace), "on top of a step's time, for fetching and uploading" },
    { "leases", "silence", CONFIG_DURATION, "8s", 1000, DAY, AT (silence), "a worker that is not heard for so long loses its leases" },
    { "leases", "errors", CONFIG_INT, "3", 1, 100, AT (error_cap), "attempts of a step that may end with an error before it is given up" },
    { "leases", "decline-pause", CONFIG_DURATION, "30s", 0, DAY, AT (decline_pause), "a worker that declined a step is not asked again for so long" },
    { "leases", "max-upload", CONFIG_SIZE, "8G", 1, INT64_MAX, AT (max_upload), "bytes of artifacts that one lease may upload" },
    { "limits", "log", CONFIG_SIZE, "16M", 1024, INT64_C (1) << 34, AT (max_log), "bytes of a step's log that are kept for each attempt" },
    { "limits", "queue", CONFIG_INT, "5000000", 1, INT64_C (1) << 40, AT (max_queue), "open steps; beyond that submissions are told to come again" },
    { "limits", "subscriber-queue", CONFIG_INT, "100000", 1, INT32_MAX, AT (event_hwm), "events kept for a slow subscriber; it refills what it misses from the log" },
    { "limits", "free-floor", CONFIG_SIZE, "256M", 0, INT64_MAX, AT (free_floor), "no submissions are taken with less free space than this" },
    CONFIG_END
};

static int usage (FILE *to)
{
    fprintf (to, "usage: assay-broker [--dir DIR] [--check-config] [--help-config] [--version]\n"
                 "Queues jobs and leases them to workers. DIR: the broker's folder (else $ASSAY_DIR, else ~/.config/assay).\n");
    return to == stdout ? 0 : ERR_USAGE;
}

static int fail (const struct err *e)
{
    fprintf (stderr, "assay-broker: %s\n", e->msg);
    return e->kind ? (int) e->kind : ERR_FAILED;
}

static enum log_level level (const char *name)
{
    return !strcmp (name, "error") ? LOG_LEVEL_ERROR : !strcmp (name, "warn") ? LOG_LEVEL_WARN : !strcmp (name, "debug") ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

static int serve (const struct broker_conf *conf, const char *dir)
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
    struct broker_conf conf = { 0 };
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
            printf ("assay-broker %s\n", PACKAGE_VERSION);
            return 0;
        default:
            return usage (o == 'h' ? stdout : stderr);
        }
    if (optind != argc)
        return usage (stderr);
    char *dir CLEANUP (free_ptr) = (char *) (uintptr_t) realm_default_dir (option), *ini CLEANUP (free_ptr) = xasprintf ("%s/broker.ini", dir);
    config_defaults (rows, &conf);
    int status = config_load (rows, &conf, ini, false, &e) == -1 ? fail (&e) : 0;
    log_open ("assay-broker", level (conf.level ? conf.level : ""));
    if (status == 0 && !check)
        status = serve (&conf, dir);
    config_release (rows, &conf);
    return status;
}
