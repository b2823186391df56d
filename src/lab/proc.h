/* proc.h: child processes of the lab: commands that are waited for, and daemons and liars in the background, each with its output in files.
 *
 *     proc_start (&p, &(struct proc_opts){ .argv = argv, .out = "broker.log", .err = "broker.log" }, &e);
 *     proc_says (p, "ready")                  // a whole line of its output
 *     proc_wait (p, 10000)                    // its exit status (128+N for a signal), PROC_RUNS while it runs
 *     proc_stop (&p, 5000);                   // SIGTERM, then SIGKILL; NULL-safe
 *
 * No child outlives this process, also when that is killed (call from the thread that lives as long as the process). Waiting ends at once
 * when a signal has come to the descriptor of proc_signals (): proc_interrupted () tells, and nothing is started any more.
 */
#ifndef ASSAY_LAB_PROC_H
#define ASSAY_LAB_PROC_H

#include "base/bytes.h"

#define PROC_RUNS (-1)

struct proc;
struct proc_opts {
    const char *const *argv;   /* argv[0]: a path, or a name that is looked up in PATH */
    const char *out, *err;     /* files; the same name for both in one */
    const char *const *env;    /* NULL or NULL-terminated "K=V": on top of ours */
};

void proc_signals (int fd);
bool proc_interrupted (void);
bool proc_pause (int ms);                                               /* false: interrupted */

int proc_start (struct proc **p, const struct proc_opts *o, struct err *e);
int proc_wait (struct proc *p, int timeout_ms);
bool proc_says (const struct proc *p, const char *line);
/* Until it says that line (1), ends (0), or the time is over (-1). */
int proc_until (struct proc *p, const char *line, int timeout_ms);
void proc_output (const struct proc *p, struct buf *out);               /* of stdout so far, at most 1 MiB */
int proc_id (const struct proc *p);
void proc_stop (struct proc **p, int timeout_ms);

#endif
