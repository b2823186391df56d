#include "config.h"

#include "worker/conf.h"

#include <stdlib.h>
#include <string.h>

#include "proto/msg.h"
#include "worker/limits.h"

#define AT(f) offsetof (struct conf, f)
const struct config_row conf_rows[] = {
    { "worker", "isolation", CONFIG_STRING, "bwrap", 0, 32, AT (isolation), "sandbox driver for steps: bwrap (none: only assay's own tests)" },
    { "worker", "user", CONFIG_STRING, "65534", 0, 32, AT (user), "numeric user and group id that steps run as when the worker is root; never 0" },
    { "worker", "projects", CONFIG_LIST, "*", 0, 4096, AT (projects), "projects that this worker takes steps of, within what the roster allows (`x/*`: all below x)" },
    { "worker", "steps", CONFIG_INT, "1", 1, 64, AT (steps), "steps at once" },
    { "worker", "hours", CONFIG_STRING, "", 0, 256, AT (hours), "local hours in which steps start: `22:00-06:00 12:00-13:00`; empty: always" },
    { "worker", "idle-only", CONFIG_BOOL, "no", 0, 0, AT (idle_only), "start steps only while the machine is idle (max-load, max-pressure)" },
    { "worker", "max-load", CONFIG_INT, "50", 0, 10000, AT (max_load), "idle: 1-minute load average at most this percentage of the CPUs, own steps taken off" },
    { "worker", "max-pressure", CONFIG_INT, "20", 0, 100, AT (max_pressure), "idle: percentage of time that something waited for a CPU (PSI, avg10)" },
    { "worker", "free-disk", CONFIG_SIZE, "512M", 0, INT64_MAX, AT (free_disk), "no step starts with less free space than this where the state folder is" },
    { "worker", "image-cache", CONFIG_SIZE, "10G", 1 << 20, INT64_MAX, AT (image_cache), "bytes of images kept; the least recently used goes first" },
    { "worker", "require-cgroups", CONFIG_BOOL, "yes", 0, 0, AT (require_cgroups), "refuse to work without usable cgroups; `no`: rlimits and the pid namespace alone" },
    { "worker", "file-urls", CONFIG_BOOL, "no", 0, 0, AT (file_urls), "fetch from file:///PATH on this machine too: for a realm on one machine" },
    { "worker", "fetch-time", CONFIG_DURATION, "5m", 1000, INT64_MAX, AT (fetch_ms), "longest fetch of source, image or input" },
    { "worker", "upload-time", CONFIG_DURATION, "5m", 1000, INT64_MAX, AT (upload_ms), "longest upload without progress" },
    { "limits", "cpus", CONFIG_INT, "2", 1, 1024, AT (cpus), "CPUs that one step may use" },
    { "limits", "memory", CONFIG_SIZE, "2G", 16 << 20, INT64_MAX, AT (memory), "memory of one step" },
    { "limits", "disk", CONFIG_SIZE, "4G", 1 << 20, INT64_MAX, AT (disk), "/src, /out, /tmp and changes to the image together (a tmpfs: counts as memory on top)" },
    { "limits", "time", CONFIG_DURATION, "1h", 1000, INT64_MAX, AT (time_ms), "wall-clock time of one step" },
    { "limits", "log", CONFIG_SIZE, "16M", 4096, INT64_MAX, AT (log), "bytes of log of one step; the rest is dropped with a note" },
    { "limits", "processes", CONFIG_INT, "512", 16, 100000, AT (processes), "processes and threads of one step" },
    { "limits", "files", CONFIG_INT, "1000000", 1024, INT64_MAX, AT (files), "files and folders that one step may make" },
    { "limits", "nice", CONFIG_INT, "10", 0, 19, AT (nice), "niceness of steps" },
    { "limits", "io-priority", CONFIG_STRING, "idle", 0, 16, AT (io_priority), "I/O class of steps: idle or best-effort" },
    CONFIG_END,
};

int conf_open (struct conf *c, const char *dir, struct err *e)
{
    char *path = xasprintf ("%s/worker.ini", dir), *end;
    config_defaults (conf_rows, c);
    int rc = config_load (conf_rows, c, path, false, e);
    if (rc == 0 && !limits_hours_valid (c->hours))
        rc = err_set (e, ERR_USAGE, "%s: hours = %s: not a list of times (HH:MM-HH:MM ...)", path, c->hours);
    if (rc == 0 && !isolation_parse (c->isolation))
        rc = err_set (e, ERR_USAGE, "%s: isolation = %s: no such driver (bwrap)", path, c->isolation);
    if (rc == 0 && strcmp (c->io_priority, "idle") != 0 && strcmp (c->io_priority, "best-effort") != 0)
        rc = err_set (e, ERR_USAGE, "%s: io-priority = %s: idle or best-effort", path, c->io_priority);
    if (rc == 0 && (strtoul (c->user, &end, 10) == 0 || *end || strtoul (c->user, NULL, 10) > 0x7fffffff))
        rc = err_set (e, ERR_USAGE, "%s: user = %s: a numeric id other than 0", path, c->user);
    free (path);
    if (rc == -1)
        conf_release (c);
    return rc;
}

void conf_release (struct conf *c)
{
    config_release (conf_rows, c);
}
