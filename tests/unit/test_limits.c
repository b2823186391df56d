/* May a step start now: hours, idleness, disk, slots, projects. */
#include "worker/limits.h"

#include <criterion/criterion.h>
#include <string.h>

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

Test (limits, projects)
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
}

Test (limits, credit_is_what_is_left_and_says_why_not)
{
    char none[] = "", night[] = "22:00-06:00";
    const struct conf base = { .hours = none, .steps = 3, .free_disk = 1000, .idle_only = false, .max_load = 50, .max_pressure = 10 };
    const struct limits_seen calm = { .minute = 720, .load = 0.1, .pressure = 0, .cpus = 4, .free_disk = 5000 };
    const char *why;
    struct conf c = base;
    struct limits_seen s = calm;
    for (unsigned running = 0; running <= 5; running++) {
        s.running = running;
        cr_assert_eq (limits_credit (&c, &s, &why), running < 3 ? 3 - running : 0);
        cr_assert_eq (why == NULL, running < 3);
    }
    s = calm;
    s.paused = true;
    cr_assert (limits_credit (&c, &s, &why) == 0 && !strcmp (why, "paused"));
    s = calm;
    s.free_disk = 999;
    cr_assert (limits_credit (&c, &s, &why) == 0 && strstr (why, "disk"));
    c.hours = night;
    cr_assert (limits_credit (&c, &calm, &why) == 0 && strstr (why, "hours"));
    c = base;
    c.idle_only = true;
    cr_assert_eq (limits_credit (&c, &calm, &why), 3);
    s = calm;
    s.load = 3; /* of 4 CPUs, and half of them is what the owner gives */
    cr_assert (limits_credit (&c, &s, &why) == 0 && strstr (why, "load"));
    s.own_cpus = 2; /* but two of the three are our own steps' */
    s.running = 1;
    cr_assert_eq (limits_credit (&c, &s, &why), 2);
    s = calm;
    s.pressure = 50;
    cr_assert (limits_credit (&c, &s, &why) == 0 && strstr (why, "pressure"));
}
