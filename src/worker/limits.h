/* limits.h: may a step start now? Pure decision over what limits_look() saw of the machine. */
#ifndef ASSAY_WORKER_LIMITS_H
#define ASSAY_WORKER_LIMITS_H

#include "worker/conf.h"

struct limits_seen {
    int minute;           /* of the local day, 0..1439 */
    double load;          /* 1-minute load average */
    double pressure;      /* PSI cpu some avg10, percent; negative where the kernel has none */
    int cpus;
    int64_t free_disk;    /* bytes */
    bool paused;
    unsigned running;     /* own steps */
    int64_t own_cpus;     /* CPUs that they may use in all */
};

bool limits_hours_valid (const char *hours);
bool limits_hours (const char *hours, int minute);                       /* empty: always; a range may cross midnight, its end is outside */
bool limits_project (const char *list, struct bytes project);            /* words: NAME, `NAME` followed by `/` and `*`, or `*` */
void limits_look (struct limits_seen *s, const char *state_dir);         /* the machine; paused and running are the caller's */
/* How many more steps may start; 0 with *why (static text) where something stands against it. */
unsigned limits_credit (const struct conf *c, const struct limits_seen *s, const char **why);

#endif
