/* What a step asks for beyond what owners allow, with both numbers; and the limit that is told where nobody allows as much. */
#include "broker/terms.h"

#include <criterion/criterion.h>
#include <string.h>

#define M (UINT64_C (1) << 20)
static const struct term plain = { .open = true, .network = NETWORK_NONE, .cpus = 2, .memory = 512 * M, .disk = 1024 * M, .time_ms = 60000 };

Test (terms, each_limit_is_told_with_both_numbers)
{
    static const struct {
        uint64_t cpus, memory, disk, time_ms;
        unsigned network;
        enum terms_kind kind;
        const char *why;
    } rows[] = {
        { 0, 0, 0, 0, NETWORK_NONE, TERMS_FITS, NULL },
        { 2, 512 * M, 1024 * M, 60000, NETWORK_NONE, TERMS_FITS, NULL },
        { 3, 0, 0, 0, NETWORK_NONE, TERMS_CPUS, "it asks for 3 cpus, the owner allows 2" },
        { 0, 512 * M + 1, 0, 0, NETWORK_NONE, TERMS_MEMORY, "it asks for 536870913 of memory, the owner allows 512M" },
        { 0, 4096 * M, 0, 0, NETWORK_NONE, TERMS_MEMORY, "it asks for 4G of memory, the owner allows 512M" },
        { 0, 0, 3072 * M, 0, NETWORK_NONE, TERMS_DISK, "it asks for 3G of disk, the owner allows 1G" },
        { 0, 0, 0, 60001, NETWORK_NONE, TERMS_TIME, "it asks for 61 s of time, the owner allows 60 s" },
        { 0, 0, 0, UINT64_MAX, NETWORK_NONE, TERMS_TIME, "it asks for 18446744073709552 s of time, the owner allows 60 s" },
        { 0, 0, 0, 0, NETWORK_REALM, TERMS_NETWORK, "it asks for a network, the owner gives none" },
        { 3, 4096 * M, 0, 0, NETWORK_REALM, TERMS_CPUS, "it asks for 3 cpus, the owner allows 2" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char why[TERMS_WHY] = "";
        struct msg m = MSG_INIT (step, 0);
        m.u.step.cpus = rows[i].cpus;
        m.u.step.memory = rows[i].memory;
        m.u.step.disk = rows[i].disk;
        m.u.step.time_ms = rows[i].time_ms;
        cr_assert_eq (terms_lacks (&plain, &m.u.step, rows[i].network, why, sizeof why), rows[i].kind, "row %zu", i);
        if (rows[i].why)
            cr_assert_str_eq (why, rows[i].why);
        static const struct term open = { .network = NETWORK_REALM }; /* no limits */
        cr_assert_eq (terms_lacks (&open, &m.u.step, rows[i].network, why, sizeof why), TERMS_FITS, "row %zu", i);
    }
}

/* Three owners: one has memory, one CPUs and time, one nothing of much. */
static void tell (const struct msg_step *step, unsigned network, char *why, size_t size)
{
    static const struct term t[] = {
        { .network = NETWORK_NONE, .cpus = 1, .memory = 8192 * M, .disk = 1024 * M, .time_ms = 60000 },
        { .network = NETWORK_NONE, .cpus = 8, .memory = 512 * M, .disk = 1024 * M, .time_ms = 3600000 },
        { .network = NETWORK_NONE, .cpus = 2, .memory = 256 * M, .disk = 512 * M, .time_ms = 1000 },
    };
    static const char *const names[] = { "big", "fast", "old" };
    struct terms_most most = { .example = { "" } };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        char lack[TERMS_WHY];
        enum terms_kind kind = terms_lacks (&t[i], step, network, lack, sizeof lack);
        cr_assert_neq (kind, TERMS_FITS);
        terms_most_add (&most, &t[i], names[i], kind, lack);
    }
    terms_most_tell (&most, step, network, why, size);
}

Test (terms, the_limit_that_is_beyond_all_is_told_with_who_allows_the_most)
{
    static const struct {
        uint64_t cpus, memory, disk, time_ms;
        unsigned network;
        const char *why;
    } rows[] = {
        { 16, 0, 0, 0, NETWORK_NONE, "it asks for 16 cpus, the owner allows 8 (fast, which allows the most)" },
        { 0, 9216 * M, 0, 0, NETWORK_NONE, "it asks for 9G of memory, the owner allows 8G (big, which allows the most)" },
        { 0, 0, 2048 * M, 0, NETWORK_NONE, "it asks for 2G of disk, the owner allows 1G (big, which allows the most)" },
        { 0, 0, 0, 7200000, NETWORK_NONE, "it asks for 7200 s of time, the owner allows 3600 s (fast, which allows the most)" },
        { 0, 0, 0, 0, NETWORK_REALM, "it asks for a network, the owner gives none (big)" },
        /* who lacks CPUs is told of another limit, as that is beyond all of them */
        { 4, 0, 2048 * M, 0, NETWORK_NONE, "it asks for 2G of disk, the owner allows 1G (big, which allows the most)" },
        /* each could have been given by somebody */
        { 4, 1024 * M, 0, 0, NETWORK_NONE, "no owner allows all of it: big: it asks for 4 cpus, the owner allows 1; fast: it asks for 1G of memory, the owner allows 512M" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char why[256], small[20];
        struct msg m = MSG_INIT (step, 0);
        m.u.step.cpus = rows[i].cpus;
        m.u.step.memory = rows[i].memory;
        m.u.step.disk = rows[i].disk;
        m.u.step.time_ms = rows[i].time_ms;
        tell (&m.u.step, rows[i].network, why, sizeof why);
        cr_assert_str_eq (why, rows[i].why, "row %zu: %s", i, why);
        tell (&m.u.step, rows[i].network, small, sizeof small);
        cr_assert_eq (strlen (small), sizeof small - 1);
    }
}
