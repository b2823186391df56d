/* machine.h: what the owner's machine is doing. Reads /proc, /sys, terminals and logind; decides nothing (limits.h does). */
#ifndef ASSAY_WORKER_MACHINE_H
#define ASSAY_WORKER_MACHINE_H

#include "worker/limits.h"

struct machine_opts {
    const char *root;  /* "" in earnest; tests give a folder with proc/, sys/, dev/ and run/utmp */
    const char *state; /* whose free disk is meant */
    bool use;          /* also who uses it: pressure, users (more to read) */
};
/* Fills what is of the machine; paused, running, held and own_cpus are the caller's. What cannot be read counts as nothing against a step. */
void machine_look (struct limits_seen *s, const struct machine_opts *o);

#endif
