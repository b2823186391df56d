/* May a step start now, may it go on: hours, idleness, users, battery, disk, slots, projects. */
#include "worker/guest/thrash.h"
#include "worker/limits.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <utmpx.h>

#include "base/file.h"
#include "worker/machine.h"
#include "worker/terms.h"

Test (limits, hours_may_cross_midnight)
{
    static const struct {
        const char *hours;
        int minute;
        bool open;
    } rows[] = {
        { "", 0, true },           { "", 1439, true },           { "22:00-06:00", 0, true },    { "22:00-06:00", 359, true },  { "22:00-06:00", 360, false },
        { "22:00-06:00", 1319, false }, { "22:00-06:00", 1320, true }, { "09:00-17:30", 539, false }, { "09:00-17:30", 540, true },  { "09:00-17:30", 1049, true },
        { "09:00-17:30", 1050, false },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_assert (limits_hours_valid (rows[i].hours), "%s", rows[i].hours);
        cr_assert_eq (limits_hours (rows[i].hours, rows[i].minute), rows[i].open, "%s at %d", rows[i].hours, rows[i].minute);
    }
    static const char *const bad[] = { "9-17", "25:00-26:00", "10:00", "10:00-", "10:60-11:00", "aa:bb-cc:dd", "-", "10:00-11:00x" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not (limits_hours_valid (bad[i]), "%s", bad[i]);
}

Test (limits, projects_and_submitters)
{
    static const struct {
        const char *list, *project;
        bool fits;
    } rows[] = {
        { "*", "a", true },          { "a b", "b", true },       { "a b", "c", false },     { "a/*", "a/b", true },   { "a/*", "a", false }, { "a/*", "ab", false },
        { "a/*", "b/a", false },     { "", "a", false },         { "a, b", "b", true },     { "ab", "a", false },     { "a", "ab", false },  { "x/y a/*", "a/b/c", true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        cr_assert_eq (limits_project (rows[i].list, bytes_str (rows[i].project)), rows[i].fits, "\"%s\" and %s", rows[i].list, rows[i].project);
    cr_assert (limits_name ("*", bytes_str ("al")) && limits_name ("bo al", bytes_str ("al")));
    cr_assert_not (limits_name ("bo al", bytes_str ("a")) || limits_name ("a/*", bytes_str ("a/b")) || limits_name ("", bytes_str ("al")));
}

static char none[] = "", night[] = "22:00-06:00";
static const struct conf base = { .hours = none, .steps = 3, .free_disk = 1000, .idle_only = false, .max_load = 50, .max_pressure = 10, .max_memory_pressure = 10, .max_io_pressure = 10,
                                  .user_idle_ms = 60000 };
static const struct limits_seen calm = { .minute = 720, .load = 0.1, .pressure = 0, .cpus = 4, .free_disk = 5000, .user_idle_ms = -1 };

Test (limits, credit_is_what_is_left_and_says_why_not)
{
    const char *why;
    struct conf c = base;
    struct limits_seen s = calm;
    for (unsigned held = 0; held <= 5; held++) {
        s.held = s.running = held;
        cr_assert_eq (limits_credit (&c, &s, &why), held < 3 ? 3 - held : 0);
        cr_assert_eq (why == NULL, held < 3);
    }
    s = calm;
    s.paused = true;
    cr_assert (limits_credit (&c, &s, &why) == 0 && !strcmp (why, "paused"));
    s = calm;
    s.free_disk = 999;
    cr_assert (limits_credit (&c, &s, &why) == 0 && strstr (why, "disk"));
    c.hours = night;
    cr_assert (limits_credit (&c, &calm, &why) == 0 && strstr (why, "hours"));
}

Test (limits, what_stands_against_steps)
{
    struct conf c = base;
    struct limits_seen s = calm;
    s.battery = true;
    cr_assert (strstr (limits_busy (&c, &s), "battery"));
    c.on_battery = true;
    cr_assert_null (limits_busy (&c, &s));
    s.load = 100; /* of no account unless idleness is asked for */
    s.pressure = s.memory_pressure = s.io_pressure = 100;
    s.user_idle_ms = 0;
    cr_assert_null (limits_busy (&c, &s));
    c.idle_only = true;
    cr_assert_null (limits_busy (&c, &calm));
    static const struct {
        double load, cpu, memory, io;
        int64_t user, own;
        unsigned running;
        const char *why;
    } rows[] = {
        { 3, 0, 0, 0, -1, 0, 0, "load" },     { 3, 0, 0, 0, -1, 2, 1, NULL }, /* two of the three are our own steps' */
        { 0, 50, 0, 0, -1, 0, 0, "CPU" },     { 0, 0, 50, 0, -1, 0, 0, "memory" }, { 0, 0, 0, 50, -1, 0, 0, "I/O" },
        { 0, 50, 50, 50, -1, 1, 1, NULL },    { 0, -1, -1, -1, -1, 0, 0, NULL }, { 0, 0, 0, 0, 59999, 0, 0, "somebody" },
        { 0, 0, 0, 0, 60000, 0, 0, NULL },    { 0, 0, 0, 0, 0, 1, 1, "somebody" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        s = calm;
        s.load = rows[i].load;
        s.pressure = rows[i].cpu;
        s.memory_pressure = rows[i].memory;
        s.io_pressure = rows[i].io;
        s.user_idle_ms = rows[i].user;
        s.own_cpus = rows[i].own;
        s.running = rows[i].running;
        const char *why = limits_busy (&c, &s);
        cr_assert (rows[i].why ? why && strstr (why, rows[i].why) != NULL : why == NULL, "row %zu: %s", i, why ? why : "nothing");
    }
}

/* ---- a machine made of files ---- */

static char root[] = "/tmp/assay-machine.XXXXXX";

static void put (const char *path, const char *text)
{
    char full[256];
    snprintf (full, sizeof full, "%s/%s", root, path);
    for (char *p = full + strlen (root) + 1; (p = strchr (p, '/')); p++) {
        *p = '\0';
        mkdir (full, 0700);
        *p = '/';
    }
    FILE *f = fopen (full, "w");
    cr_assert (f && fputs (text, f) >= 0 && fclose (f) == 0, "%s", full);
}

Test (machine, is_read_from_what_the_kernel_shows)
{
    struct limits_seen s;
    cr_assert (mkdtemp (root));
    struct machine_opts o = { root, root, true };
    machine_look (&s, &o); /* nothing is known */
    cr_assert (s.pressure < 0 && s.memory_pressure < 0 && s.io_pressure < 0 && !s.battery && s.user_idle_ms == -1 && s.free_disk > 0);
    put ("proc/pressure/cpu", "some avg10=12.50 avg60=0.00 avg300=0.00 total=1\n");
    put ("proc/pressure/memory", "some avg10=1.25 avg60=0.00 avg300=0.00 total=1\nfull avg10=9 avg60=0 avg300=0 total=0\n");
    put ("proc/pressure/io", "nonsense\n");
    put ("proc/loadavg", "1.50 0.1 0.1 1/100 5\n");
    put ("sys/class/power_supply/BAT0/type", "Battery\n");
    put ("sys/class/power_supply/BAT0/status", "Discharging\n");
    put ("dev/pts/7", "");
    struct utmpx u = { .ut_type = USER_PROCESS, .ut_line = "pts/7", .ut_user = "owner" };
    struct utmpx climber = { .ut_type = USER_PROCESS, .ut_line = "../../etc/passwd", .ut_user = "x" };
    put ("run/utmp", "");
    char path[256];
    snprintf (path, sizeof path, "%s/run/utmp", root);
    FILE *f = fopen (path, "w");
    cr_assert (f && fwrite (&u, sizeof u, 1, f) == 1 && fwrite (&climber, sizeof climber, 1, f) == 1 && fclose (f) == 0);
    struct timespec ago[2] = { { time (NULL) - 100, 0 }, { time (NULL), 0 } };
    snprintf (path, sizeof path, "%s/dev/pts/7", root);
    cr_assert_eq (utimensat (AT_FDCWD, path, ago, 0), 0);
    machine_look (&s, &o);
    cr_assert (s.pressure > 12.4 && s.pressure < 12.6 && s.memory_pressure > 1.2 && s.memory_pressure < 1.3 && s.io_pressure < 0);
    cr_assert (s.load > 1.4 && s.load < 1.6 && s.battery);
    cr_assert (s.user_idle_ms >= 99000 && s.user_idle_ms < 130000, "%lld", (long long) s.user_idle_ms);
    put ("sys/class/power_supply/AC/type", "Mains\n");
    put ("sys/class/power_supply/AC/online", "1\n");
    machine_look (&s, &o);
    cr_assert_not (s.battery);
    o.use = false;
    machine_look (&s, &o);
    cr_assert (s.pressure < 0 && s.user_idle_ms == -1);
    cr_assert_eq (file_remove_tree (root, NULL), 0);
}

/* Out of memory, and the kernel takes it for progress. */
Test (limits, thrashing)
{
    enum { LIMIT = 320 << 20 };
    struct thrash t = { 0 };
    char stat[256];
    unsigned faults = 1000, full = 0;
    for (int s = 1; s < 60 && !full; s++) {
        snprintf (stat, sizeof stat, "cache 300000\npgmajfault %u\ninactive_file 200000\nactive_file 60000\n", faults += 300);
        if (thrash_judge (&t, s * 1000, LIMIT - 100000, LIMIT, stat))
            full = (unsigned) s;
    }
    cr_assert_eq (full, 1 + THRASH_ROUNDS, "after %u s", full);
    static const struct {
        const char *what;
        uint64_t used, limit;
        unsigned faults, files;
    } rows[] = {
        { "room left", LIMIT / 2, LIMIT, 300, 0 },
        { "files that can be given back", LIMIT, LIMIT, 300, 100 << 20 },
        { "at rest at its limit", LIMIT, LIMIT, 0, 0 },
        { "few files read", LIMIT, LIMIT, THRASH_FAULTS - 1, 0 },
        { "no limit", LIMIT, 0, 300, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        memset (&t, 0, sizeof t);
        faults = 7;
        for (int s = 1; s < 60; s++) {
            snprintf (stat, sizeof stat, "pgmajfault %u\ninactive_file %u\n", faults += rows[i].faults, rows[i].files);
            cr_assert_not (thrash_judge (&t, s * 1000, rows[i].used, rows[i].limit, stat), "%s", rows[i].what);
        }
    }
    memset (&t, 0, sizeof t); /* a pause in between begins the count anew */
    faults = 7;
    for (int s = 1; s < 60; s++) {
        snprintf (stat, sizeof stat, "pgmajfault %u\n", faults += s % 4 ? 300 : 0);
        cr_assert_not (thrash_judge (&t, s * 1000, LIMIT, LIMIT, stat));
    }
    cr_assert_not (thrash_judge (&t, 61000, LIMIT, LIMIT, ""));
    cr_assert_not (thrash_look (&t, 99000, "/nowhere", "memory.current", "memory.max"));
}
