/* fleet.h: the daemons of one machine as children of one process (`assay up`).
 *
 *     struct fleet *f = fleet_new (STDOUT_FILENO);
 *     fleet_add (f, "broker", 1, "/usr/bin/assay-broker", dir); // runs it with --dir DIR
 *     rc = fleet_run (f, signal_fd, 10000, &e);             // blocks until all are gone
 *     fleet_destroy (&f);
 *
 * A child's output comes out line by line behind its name, cleaned for the terminal. A line "ready" on its stdout is its
 * word that it serves; when all have said so, one line "ready" goes out. A readable signal_fd starts the stop: SIGTERM to the
 * highest rank first, to the next once all of that rank are gone; whoever takes longer than stop_ms is killed.
 *
 * fleet_run: 0 after a stop that was asked for, when all ended with 0; -1 if a child could not be started, ended unasked,
 * was killed at the stop, or ended with another status. The rest is then stopped first. No child outlives the caller, also when that
 * is killed (PDEATHSIG: call from the thread that lives as long as the process).
 */
#ifndef ASSAY_CLI_FLEET_H
#define ASSAY_CLI_FLEET_H

#include "base/bytes.h"

struct fleet;
struct fleet *fleet_new (int out);
void fleet_add (struct fleet *f, const char *name, unsigned rank, const char *program, const char *dir);
int fleet_run (struct fleet *f, int signal_fd, int stop_ms, struct err *e);
void fleet_destroy (struct fleet **f);

#endif
