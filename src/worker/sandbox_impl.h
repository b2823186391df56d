/* sandbox_impl.h: for drivers of the sandbox. Each ends in one const table.
 *
 * The step's time is kept by sandbox.c, which does not count what the owner had the group NAME.box frozen for: a clock of a driver's
 * own, as inside a VM, may only be a wider bound behind it.
 */
#ifndef ASSAY_WORKER_SANDBOX_IMPL_H
#define ASSAY_WORKER_SANDBOX_IMPL_H

#include "worker/sandbox.h"

struct sandbox {
    const struct sandbox_driver *driver;
    struct sandbox_opts o;
    char *area, *src, *out; /* set by open; freed by sandbox.c */
    int64_t cpus, memory, disk, deadline, end;
    char *group;            /* the name of its control group: NAME.box */
    bool grouped;           /* it is there */
    struct relay *relay;    /* by spawn, where o.relay is set; stopped by sandbox.c */
    int64_t file_max;      /* of files that the confined process may write; 0: disk */
    const char *accelerator, *start; /* static text: "", "kvm", "tcg"; "", "resumed", "booted" */
    void *own;
};

struct sandbox_driver {
    const char *name;
    unsigned kind;
    int64_t (*overhead) (const struct conf *conf); /* memory that the driver needs beside the step's; may be NULL */
    int64_t processes; /* that its control group may have, where these are not the step's own; 0: the owner's limit */
    int64_t grace_ms;  /* the driver keeps the deadline itself; it is given up this long after it */
    int (*probe) (const struct conf *conf, struct err *e);   /* what does not change while a worker runs */
    int (*now) (const struct conf *conf, const char *state, struct err *e); /* what does; quick; may be NULL */
    const char *(*version) (void);
    int (*enter) (const char *dir, struct err *e);           /* may be NULL */
    int (*open) (struct sandbox *box, struct err *e);        /* makes area, src, out */
    int (*spawn) (struct sandbox *box, int log_fd, int status_fd, pid_t *pid, struct err *e);
    /* How it ended: what the status pipe said (NUL-terminated) and the process's wait status. -1: the sandbox broke. */
    int (*ended) (struct sandbox *box, const char *status, int wait, struct sandbox_run *run, struct err *e);
    void (*close) (struct sandbox *box);
    bool relays;                                             /* it obeys o.relay */
};

extern const struct sandbox_driver sandbox_qemu, sandbox_bwrap, sandbox_none;

/* Environment of every step: the fixed variables, then the step's own; "K=V" strings, NULL at the end. sandbox_env_free frees. */
char **sandbox_env (const struct sandbox *box);
void sandbox_env_free (char **env);
/* The step's CPUs as the kernel writes such a list in SANDBOX_CPUS: "0-1\n". */
#define SANDBOX_CPUS "/sys/devices/system/cpu"
void sandbox_cpus (const struct sandbox *box, char text[32]);
/* In the forked child: cgroup, rlimits, niceness, I/O class, CPU affinity, umask, signals. -1 with errno: do not go on. */
int sandbox_confine (const struct sandbox *box);
/* The unprivileged user that a worker with real root privileges runs steps as; 0: it has none, and they run as its own user. */
uid_t sandbox_user (const struct sandbox *box);
/* Give everything below dir to uid (-1: as it is), with modes go+rX and, where mtime >= 0, this time. */
int sandbox_own (const char *dir, int64_t uid, int64_t mtime, struct err *e);

#endif
