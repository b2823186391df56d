/* conf.h: worker.ini, what the worker's owner allows. The rows are the reference (`assay-worker --help-config`). */
#ifndef ASSAY_WORKER_CONF_H
#define ASSAY_WORKER_CONF_H

#include "base/config.h"

struct conf {
    char *isolation, *user, *projects, *hours, *io_priority;
    int64_t steps, cpus, memory, disk, time_ms, log, processes, files, nice, max_load, max_pressure, free_disk, image_cache, fetch_ms, upload_ms;
    bool idle_only, require_cgroups, file_urls;
};

extern const struct config_row conf_rows[];

/* DIR/worker.ini over the defaults; a missing file is fine. Checks what one row alone cannot (hours, isolation). */
int conf_open (struct conf *c, const char *dir, struct err *e);
void conf_release (struct conf *c);

#endif
