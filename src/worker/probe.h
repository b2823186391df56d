/* probe.h: what this machine can do for builds, and what its owner could change. Starts a few short-lived processes; leaves nothing. */
#ifndef ASSAY_WORKER_PROBE_H
#define ASSAY_WORKER_PROBE_H

#include "worker/conf.h"

/* Prints a table, or with json one object a line {name, ok, detail, advice}. Whether a worker with these settings could work here. */
bool probe_print (const struct conf *conf, const char *state, bool json);

#endif
