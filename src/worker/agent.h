/* agent.h: the worker's loop: one outward connection to the broker, one process a step, the owner's control socket. */
#ifndef ASSAY_WORKER_AGENT_H
#define ASSAY_WORKER_AGENT_H

#include "auth/realm.h"
#include "worker/conf.h"

struct agent;
/* Clears what a killed predecessor left, probes the isolation, takes the state folder's lock. */
int agent_open (struct agent **a, struct realm *rl, const struct conf *conf, int signals, struct err *e);
int agent_run (struct agent *a, struct err *e);  /* until SIGINT or SIGTERM: current steps are handed back */
void agent_close (struct agent **a);
/* For the owner's other terminal: "pause", "resume", "status"; prints the answer to stdout. */
int agent_control (const char *dir, const char *word, struct err *e);
/* The program's main(), shared with other programs around the same worker. */
struct runner_hooks;
int worker_main (int argc, char **argv, const struct runner_hooks *hooks);

#endif
