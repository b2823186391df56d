/* limits.h: may a step start now, may one go on? Pure decisions over what machine_look() saw of the machine. */
#ifndef ASSAY_WORKER_LIMITS_H
#define ASSAY_WORKER_LIMITS_H

#include "worker/conf.h"

struct limits_seen {
    int minute;           /* of the local day, 0..1439 */
    double load;          /* 1-minute load average */
    double pressure, memory_pressure, io_pressure; /* PSI, some avg10, percent; negative where the kernel has none */
    int cpus;
    int64_t free_disk;    /* bytes */
    int64_t user_idle_ms; /* since somebody used a terminal or desktop here; negative: nobody is known to be there */
    bool battery;         /* the machine runs on its battery */
    bool paused;
    unsigned running;     /* own steps that are not frozen */
    int64_t own_cpus;     /* CPUs that they may use in all */
    unsigned held;        /* own steps, frozen ones as well */
};

bool limits_hours_valid (const char *hours);
bool limits_hours (const char *hours, int minute);                       /* empty: always; a range may cross midnight, its end is outside */
bool limits_pattern (struct bytes pattern, struct bytes project);        /* NAME, `NAME` followed by `/` and `*`, or `*` */
bool limits_project (const char *list, struct bytes project);            /* words, each a pattern */
bool limits_name (const char *list, struct bytes name);                  /* words, each a name or `*` */
/* What stands against steps on this machine now (static text): hours, battery, a user, load, pressure. NULL: nothing. */
const char *limits_busy (const struct conf *c, const struct limits_seen *s);
/* How many more steps may start; 0 with *why (static text) where something stands against it. */
unsigned limits_credit (const struct conf *c, const struct limits_seen *s, const char **why);

#endif
