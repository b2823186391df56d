#include "config.h"

#include "worker/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

static bool range_next (const char **at, int *from, int *to, bool *bad)
{
    int h1, m1, h2, m2, n = 0;
    *at += strspn (*at, " \t,");
    if (!**at)
        return false;
    if (sscanf (*at, "%2d:%2d-%2d:%2d%n", &h1, &m1, &h2, &m2, &n) != 4 || h1 < 0 || h1 > 24 || h2 < 0 || h2 > 24 || m1 < 0 || m1 > 59 || m2 < 0 || m2 > 59
        || h1 * 60 + m1 > 1440 || h2 * 60 + m2 > 1440 || ((*at)[n] && !strchr (" \t,", (*at)[n]))) {
        *bad = true;
        return false;
    }
    *from = h1 * 60 + m1;
    *to = h2 * 60 + m2;
    *at += n;
    return true;
}

bool limits_hours_valid (const char *hours)
{
    int from, to;
    bool bad = false;
    while (range_next (&hours, &from, &to, &bad)) {
    }
    return !bad;
}

bool limits_hours (const char *hours, int minute)
{
    int from, to;
    bool bad = false, any = false;
    while (range_next (&hours, &from, &to, &bad)) {
        any = true;
        if (from <= to ? minute >= from && minute < to : minute >= from || minute < to)
            return true;
    }
    return !any && !bad;
}

bool limits_project (const char *list, struct bytes project)
{
    for (;;) {
        list += strspn (list, " \t\n,");
        size_t n = strcspn (list, " \t\n,");
        if (!n)
            return false;
        if (n == 1 && *list == '*')
            return true;
        if (n > 2 && memcmp (list + n - 2, "/*", 2) == 0 && project.len > n - 1 && memcmp (project.p, list, n - 1) == 0)
            return true;
        if (project.len == n && memcmp (project.p, list, n) == 0)
            return true;
        list += n;
    }
}

void limits_look (struct limits_seen *s, const char *state_dir)
{
    time_t now = time (NULL);
    struct tm tm;
    struct statvfs fs;
    memset (s, 0, sizeof *s);
    localtime_r (&now, &tm);
    s->minute = tm.tm_hour * 60 + tm.tm_min;
    s->cpus = (int) sysconf (_SC_NPROCESSORS_ONLN);
    if (getloadavg (&s->load, 1) != 1)
        s->load = 0;
    s->pressure = -1;
    FILE *f = fopen ("/proc/pressure/cpu", "re");
    if (f) {
        if (fscanf (f, "some avg10=%lf", &s->pressure) != 1)
            s->pressure = -1;
        fclose (f);
    }
    s->free_disk = statvfs (state_dir, &fs) == 0 ? (int64_t) fs.f_bavail * (int64_t) fs.f_frsize : 0;
}

unsigned limits_credit (const struct conf *c, const struct limits_seen *s, const char **why)
{
    *why = NULL;
    if (s->paused)
        *why = "paused";
    else if (!limits_hours (c->hours, s->minute))
        *why = "outside of its hours";
    else if (s->free_disk < c->free_disk)
        *why = "less free disk than its floor";
    else if (c->idle_only && (s->load - (double) s->own_cpus) * 100 > (double) c->max_load * s->cpus)
        *why = "the machine is in use (load)";
    else if (c->idle_only && !s->running && s->pressure > (double) c->max_pressure)
        *why = "the machine is in use (CPU pressure)";
    else if (s->running >= (unsigned) c->steps)
        *why = "all slots are taken";
    return *why ? 0 : (unsigned) c->steps - s->running;
}
