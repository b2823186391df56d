#include "worker/guest/thrash.h"

#include <stdio.h>
#include <stdlib.h>

#include "worker/guest/text.h"

bool thrash_judge (struct thrash *t, int64_t now, uint64_t used, uint64_t limit, const char *stat)
{
    uint64_t faults = text_value (stat, "pgmajfault"), files = text_value (stat, "inactive_file") + text_value (stat, "active_file"), more = faults - t->faults;
    uint64_t ms = (uint64_t) (now - t->looked);
    bool full = limit && used >= limit - limit / 64, bad = t->looked && full && files <= THRASH_FILES && faults > t->faults && more >= THRASH_FAULTS * ms / 1000;
    t->rounds = bad ? t->rounds + 1 : 0;
    t->looked = now;
    t->faults = faults;
    return t->rounds >= THRASH_ROUNDS;
}

static bool get (const char *dir, const char *name, char *text, size_t size)
{
    char path[4096];
    (void) snprintf (path, sizeof path, "%s/%s", dir, name);
    return text_read (path, text, size) > 0;
}

bool thrash_look (struct thrash *t, int64_t now, const char *dir, const char *used, const char *limit)
{
    char have[32], most[32], stat[8192];
    if (now - t->looked < THRASH_LOOK_MS || !get (dir, used, have, sizeof have) || !get (dir, limit, most, sizeof most) || !get (dir, "memory.stat", stat, sizeof stat))
        return false;
    return thrash_judge (t, now, strtoull (have, NULL, 10), strtoull (most, NULL, 10) /* "max": 0 */, stat);
}
