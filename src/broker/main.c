/* assay-broker: gets jobs done. */
#include "auth/daemon.h"
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
    { "leases", "sideline", CONFIG_DURATION, "10s", 1000, DAY, AT (sideline), "a worker that declines, hands back or never answers three leases in a row gets none for so long; each further time twice as long, up to 60 times that" },
    { "leases", "max-upload", CONFIG_SIZE, "8G", 1, INT64_MAX, AT (max_upload), "bytes of artifacts that one lease may upload" },
    { "limits", "log", CONFIG_SIZE, "16M", 1024, INT64_C (1) << 34, AT (max_log), "bytes of a step's log that are kept for each attempt" },
    { "limits", "queue", CONFIG_INT, "5000000", 1, INT64_C (1) << 40, AT (max_queue), "open steps; beyond that submissions are told to come again" },
    { "limits", "queue-each", CONFIG_INT, "2000000", 1, INT64_C (1) << 40, AT (max_each), "open steps of one submitter; beyond that its submissions are told to come again" },
    { "limits", "priority", CONFIG_INT, "0", 0, PRIORITIES - 1, AT (max_priority), "highest priority that a submission may ask for; an admin's may have any up to 9" },
    { "limits", "subscriber-queue", CONFIG_INT, "100000", 1, INT32_MAX, AT (event_hwm), "events kept for a slow subscriber; it refills what it misses from the log" },
    { "limits", "free-floor", CONFIG_SIZE, "256M", 0, INT64_MAX, AT (free_floor), "no submissions are taken with less free space than this" },
    CONFIG_END
};

static struct broker_conf conf;

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
    static const struct daemon d = { "assay-broker", "Queues jobs, and leases their steps to workers.", "broker.ini", rows, &conf, &conf.level, open_server, run_server, close_server };
    return daemon_main (&d, argc, argv);
}
