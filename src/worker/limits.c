#include "config.h"

#include "worker/limits.h"

#include <stdio.h>
#include <string.h>

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

bool limits_pattern (struct bytes pattern, struct bytes project)
{
    size_t n = pattern.len;
    if (n == 1 && *pattern.p == '*')
        return true;
    if (n > 2 && memcmp (pattern.p + n - 2, "/*", 2) == 0 && project.len > n - 1 && memcmp (project.p, pattern.p, n - 1) == 0)
        return true;
    return n && bytes_eq (pattern, project);
}

static bool any_word (const char *list, struct bytes what, bool (*fits) (struct bytes word, struct bytes what))
{
    for (;;) {
        list += strspn (list, " \t\n,");
        size_t n = strcspn (list, " \t\n,");
        if (!n)
            return false;
        if (fits (bytes_of (list, n), what))
            return true;
        list += n;
    }
}

bool limits_project (const char *list, struct bytes project)
{
    return any_word (list, project, limits_pattern);
}

static bool same_name (struct bytes word, struct bytes name)
{
    return bytes_eqs (word, "*") || bytes_eq (word, name);
}

bool limits_name (const char *list, struct bytes name)
{
    return any_word (list, name, same_name);
}

const char *limits_busy (const struct conf *c, const struct limits_seen *s)
{
    if (!limits_hours (c->hours, s->minute))
        return "outside of its hours";
    if (s->battery && !c->on_battery)
        return "the machine runs on its battery";
    if (!c->idle_only)
        return NULL;
    if (c->user_idle_ms && s->user_idle_ms >= 0 && s->user_idle_ms < c->user_idle_ms)
        return "the machine is in use (somebody is at it)";
    if ((s->load - (double) s->own_cpus) * 100 > (double) c->max_load * s->cpus)
        return "the machine is in use (load)";
    if (s->running) /* pressure of which our own steps are a part says nothing */
        return NULL;
    if (s->pressure > (double) c->max_pressure)
        return "the machine is in use (CPU pressure)";
    if (s->memory_pressure > (double) c->max_memory_pressure)
        return "the machine is in use (memory pressure)";
    if (s->io_pressure > (double) c->max_io_pressure)
        return "the machine is in use (I/O pressure)";
    return NULL;
}

unsigned limits_credit (const struct conf *c, const struct limits_seen *s, const char **why)
{
    *why = s->paused ? "paused" : s->free_disk < c->free_disk ? "less free disk than its floor" : limits_busy (c, s);
    if (!*why && s->held >= (unsigned) c->steps)
        *why = "all slots are taken";
    return *why ? 0 : (unsigned) c->steps - s->held;
}
