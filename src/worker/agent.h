/* agent.h: the worker's loop: one outward connection to the broker, one process a step, the owner's control socket.
 *
 * Leases and the owner's word. Paused: none is taken; those that run are frozen, handed back or finished, as on-pause says; frozen ones
 * are handed back when freeze-time is over or their lease is nearly so. Drained: none is taken, those that run are finished. Hours, idleness
 * and battery: the same with on-busy. Stopped (SIGTERM, Ctrl-C): all are handed back at once. Handed back means that nothing of the step
 * is left here, the broker leases it to somebody else at once, and it counts against nobody.
 */
#ifndef ASSAY_WORKER_AGENT_H
#define ASSAY_WORKER_AGENT_H

#include "auth/realm.h"
#include "worker/conf.h"

struct agent;
/* Clears what a killed predecessor left, probes the isolation, takes the state folder's lock. */
/* conf: replaced in place by a reload (SIGHUP, or the owner's word); the caller's to release. */
int agent_open (struct agent **a, struct realm *rl, struct conf *conf, int signals, struct err *e);
int agent_run (struct agent *a, struct err *e);  /* until SIGINT or SIGTERM: current steps are handed back */
void agent_close (struct agent **a);
/* The program's main(), shared with other programs around the same worker. */
struct runner_hooks;
int worker_main (int argc, char **argv, const struct runner_hooks *hooks);

#endif
