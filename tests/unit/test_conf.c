/* worker.ini: what holds for a project, what a step may ask for, and what the broker is told. */
#include "worker/conf.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/terms.h"

static char dir[64];

static void begin (void)
{
    strcpy (dir, "/tmp/assay-conf.XXXXXX");
    cr_assert (mkdtemp (dir));
}

static void end (void)
{
    cr_assert_eq (file_remove_tree (dir, NULL), 0);
}

static int load (struct conf *c, const char *text, struct err *e)
{
    CLEANUP (free_ptr) char *path = xasprintf ("%s/worker.ini", dir);
    cr_assert_eq (file_write (path, bytes_str (text), 0600, NULL), 0);
    return conf_open (c, dir, e);
}

static const char text[] = "[project kernel/*]\nmemory = 8G\nhours = 20:00-08:00\nsubmitters = al bo\n"
                           "[worker]\nisolation = bwrap\nsteps = 4\nprojects = *\nidle-only = no\n"
                           "[project kernel/main]\nmemory = 1G\nsteps = 1\n"
                           "[project two]\nnames = x/y, z\ntime = 1m\nnetwork = realm\n"
                           "[limits]\nmemory = 2G\ndisk = 1536M\ntime = 90s\ncpus = 2\n";

Test (conf, the_closest_section_counts_alone, .init = begin, .fini = end)
{
    struct conf c, mine;
    struct err e = ERR_INIT;
    cr_assert_eq (load (&c, text, &e), 0, "%s", e.msg);
    static const struct {
        const char *project;
        int64_t memory, time_ms, steps;
        const char *hours, *submitters, *network;
    } rows[] = {
        { "other", 2ll << 30, 90000, 4, "", "*", "none" },
        { "kernel/net", 8ll << 30, 90000, 4, "20:00-08:00", "al bo", "none" },
        { "kernel/main", 1ll << 30, 90000, 1, "", "*", "none" },
        { "kernel", 2ll << 30, 90000, 4, "", "*", "none" },
        { "x/y", 2ll << 30, 60000, 4, "", "*", "realm" },
        { "two", 2ll << 30, 90000, 4, "", "*", "none" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        conf_for (&c, bytes_str (rows[i].project), &mine);
        cr_assert (mine.memory == rows[i].memory && mine.time_ms == rows[i].time_ms && mine.steps == rows[i].steps && !strcmp (mine.hours, rows[i].hours)
                       && !strcmp (mine.submitters, rows[i].submitters) && !strcmp (mine.network, rows[i].network) && mine.disk == 1536ll << 20 && !mine.project_count,
                   "%s", rows[i].project);
        /* and through the file that a step's process reads */
        BUF (out);
        struct conf back;
        CLEANUP (free_ptr) char *path = xasprintf ("%s/step.ini", dir);
        conf_write (&mine, &out);
        cr_assert_eq (file_write (path, buf_bytes (&out), 0600, NULL), 0);
        cr_assert_eq (conf_read (&back, path, &e), 0, "%s", e.msg);
        BUF (again);
        conf_write (&back, &again);
        cr_assert (bytes_eq (buf_bytes (&out), buf_bytes (&again)) && back.memory == mine.memory && !strcmp (back.submitters, mine.submitters));
        conf_release (&back);
        conf_release (&mine);
    }
    conf_release (&c);
}

Test (conf, mistakes_are_told_with_their_line, .init = begin, .fini = end)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        { "[project x]\nmemory = lots\n", "worker.ini:2" },
        { "[project x]\nisolation = none\n", "not a setting that a project" },
        { "[project x]\nhours = 9-17\n", "hours" },
        { "[project ]\nmemory = 1G\n", "empty" },
        { "[project]\nmemory = 1G\n", "unknown setting" },
        { "[project 1234567890123456789012345678901234567890123]\nmemory = 1G\n", "longer than" },
        { "[projects x]\nmemory = 1G\n", "unknown setting" },
        { "[worker]\non-pause = sleep\n", "on-pause" },
        { "[worker]\nnetwork = all\n", "network" },
        { "[limits]\ncpu-priority = high\n", "cpu-priority" },
        { "[limits]\ncpus = 0\n", "out of range" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct conf c;
        struct err e = ERR_INIT;
        cr_assert_eq (load (&c, rows[i].text, &e), -1, "%s", rows[i].text);
        cr_assert (e.kind == ERR_USAGE && strstr (e.msg, rows[i].why), "%s: %s", rows[i].text, e.msg);
    }
    BUF (many);
    for (int i = 0; i < 70; i++)
        buf_addf (&many, "[project p%d]\ncpus = 1\n", i);
    struct conf c;
    struct err e = ERR_INIT;
    cr_assert (load (&c, buf_str (&many), &e) == -1 && strstr (e.msg, "more than 62"), "%s", e.msg);
    buf_release (&many);
    buf_adds (&many, "[project all]\n");
    for (int i = 0; i < 70; i++)
        buf_addf (&many, "%sp%d", i % 10 ? " " : "\nnames = ", i);
    cr_assert_eq (load (&c, buf_str (&many), &e), 0, "%s", e.msg); /* the last line wins */
    cr_assert_eq (conf_section (&c, bytes_str ("p69")), 0);
    cr_assert_eq (conf_section (&c, bytes_str ("p1")), -1);
    conf_release (&c);
}

Test (conf, a_step_may_only_ask_for_less, .init = begin, .fini = end)
{
    struct conf c;
    char why[256];
    cr_assert_eq (load (&c, text, NULL), 0);
    static const struct {
        struct msg_step step;
        const char *why;
    } rows[] = {
        { { .cpus = 0 }, NULL },
        { { .cpus = 2, .memory = 2ull << 30, .disk = 1536ull << 20, .time_ms = 90000 }, NULL },
        { { .cpus = 3 }, "3 cpus, its owner allows 2" },
        { { .memory = (2ull << 30) + 1 }, "2147483649 of memory, its owner allows 2G" },
        { { .memory = UINT64_MAX }, "of memory" },
        { { .disk = 2ull << 30 }, "2G of disk, its owner allows 1536M" },
        { { .time_ms = 90001 }, "91 s of time, its owner allows 90 s" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        *why = '\0';
        cr_assert_eq (conf_allows (&c, &rows[i].step, why, sizeof why), !rows[i].why, "row %zu", i);
        cr_assert (!rows[i].why || strstr (why, rows[i].why), "row %zu: %s", i, why);
    }
    conf_release (&c);
}

Test (terms, the_closest_row_first_and_open_where_steps_may_start, .init = begin, .fini = end)
{
    struct conf c;
    struct limits_seen noon = { .minute = 720, .cpus = 4, .free_disk = INT64_MAX, .user_idle_ms = -1 };
    unsigned running[4] = { 0, 1, 0, 2 }; /* kernel/main has its one step */
    struct msg m, t;
    BUF (out);
    cr_assert_eq (load (&c, text, NULL), 0);
    cr_assert (terms_encode (&c, &noon, running, &out));
    cr_assert_eq (msg_decode (buf_bytes (&out), &m, NULL), 0);
    cr_assert_eq (m.type, MSG_terms);
    static const struct {
        const char *pattern;
        uint64_t open, memory, network;
        size_t submitters;
    } rows[] = {
        { "kernel/main", 0, 1ull << 30, NETWORK_NONE, 1 }, { "x/y", 1, 2ull << 30, NETWORK_REALM, 1 }, { "z", 1, 2ull << 30, NETWORK_REALM, 1 },
        { "kernel/*", 0, 8ull << 30, NETWORK_NONE, 2 },    { "*", 1, 2ull << 30, NETWORK_NONE, 1 },
    };
    cr_assert_eq (m.u.terms.terms.n, sizeof rows / sizeof *rows);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cr_assert_eq (msg_decode_as (m.u.terms.terms.v[i], MSG_term, &t, NULL), 0);
        cr_assert (bytes_eqs (t.u.term.pattern, rows[i].pattern) && t.u.term.open == rows[i].open && t.u.term.memory == rows[i].memory && t.u.term.network == rows[i].network
                       && t.u.term.submitters.n == rows[i].submitters,
                   "row %zu: %.*s", i, (int) t.u.term.pattern.len, (const char *) t.u.term.pattern.p);
        msg_release (&t);
    }
    msg_release (&m);
    conf_release (&c);
}
