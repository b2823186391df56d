/* bench_verifier: what the rule costs over stored results, beside a bare loop that verifies the same signatures on the same cores in the same run.
 *
 *     bench_verifier REALM RESULTS
 *
 * REALM is fresh (assay init --workers 4), and nothing of it runs. The ledger is made as held.h says, with so many results; then every verdict in it is
 * computed again, on all cores, as `assay-verifier --recount` does. The bare side verifies as many signatures as there are: of each result, its lease and
 * its receipt, and of each submission.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/bench/bench.h"
#include "tests/bench/held.h"
#include "verifier/recount.h"

#define OWN_KIB 65536 /* that a recount may take of memory, whatever it counts */
#define LARGE 400000u

#define e bench_err
#define die bench_die

/* Of all threads: what others do on the machine meanwhile does not count. */
static double cpu_s (void)
{
    struct timespec t;
    clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static double smaller (double a, double b)
{
    return a < b ? a : b;
}

/* ---- memory that is ours alone, while something runs: pages of the ledger are the page cache's ---- */

struct watch {
    pthread_t id;
    atomic_bool stop;
    long most;
};

static long anon_kib (void)
{
    char text[256];
    long v = 0;
    FILE *f = fopen ("/proc/self/status", "r");
    while (f && fgets (text, sizeof text, f))
        if (sscanf (text, "RssAnon: %ld", &v) == 1)
            break;
    if (f)
        (void) fclose (f);
    return v;
}

static void *watch_on (void *arg)
{
    struct watch *w = arg;
    while (!atomic_load (&w->stop)) {
        long now = anon_kib ();
        w->most = now > w->most ? now : w->most;
        (void) usleep (20000);
    }
    return NULL;
}

/* ---- bare ---- */

/* The envelopes of the last share, opened: different signatures, as those that are stored are. Of a few that come again and again the processor
 * learns the branches, and they cost less than any others would. */
static struct envelope opened[HELD_SHARE][HELD_STEPS][HELD_VOTES][3], submitted[HELD_SHARE];

static void open_last (const struct held *h)
{
    for (size_t i = 0; i < h->last_count; i++) {
        const struct held_sub *s = &h->made[h->last * HELD_SHARE + i];
        if (envelope_open (buf_bytes (&s->submission), TYPE_SUBMISSION, &submitted[i], &e) == -1)
            die ("submission");
        for (unsigned k = 0; k < HELD_STEPS; k++)
            for (unsigned v = 0; v < HELD_VOTES; v++) {
                const struct held_vote *vote = &s->step[k].vote[v];
                if (envelope_open_json (buf_bytes (&vote->envelope), TYPE_INTOTO, &opened[i][k][v][0], &e) == -1
                    || envelope_open (buf_bytes (&vote->lease), TYPE_LEASE, &opened[i][k][v][1], &e) == -1
                    || envelope_open (buf_bytes (&vote->receipt), TYPE_RECEIPT, &opened[i][k][v][2], &e) == -1)
                    die ("envelope");
            }
    }
}

static void verify_one (void *arg, size_t i)
{
    const struct held *h = arg;
    struct err why = ERR_INIT;
    size_t at = i % h->last_count;
    bool good = envelope_check (&submitted[at], realm_keys (h->admin)->sign.pub, &why) == 0;
    for (unsigned k = 0; k < HELD_STEPS; k++)
        for (unsigned v = 0; v < HELD_VOTES; v++) {
            const uint8_t *keys[] = { realm_keys (h->worker[k + v])->sign.pub, realm_keys (h->broker)->sign.pub, realm_keys (h->store)->sign.pub };
            for (unsigned n = 0; n < 3; n++)
                good = good && envelope_check (&opened[at][k][v][n], keys[n], &why) == 0;
        }
    if (!good)
        abort ();
}

static void check (const struct recount *sum, size_t results)
{
    if (sum->results == results && !sum->bad && !sum->differ)
        return;
    fprintf (stderr, "bench_verifier: %llu results, %llu bad, %llu differ\n", (unsigned long long) sum->results, (unsigned long long) sum->bad, (unsigned long long) sum->differ);
    exit (1);
}

int main (int argc, char **argv)
{
    if (argc != 3)
        return 2;
    size_t subs = strtoul (argv[2], NULL, 10) / (HELD_STEPS * HELD_VOTES), results = subs * HELD_STEPS * HELD_VOTES;
    char *path CLEANUP (free_ptr) = xasprintf ("%s/held.db", argv[1]);
    struct ledger *l = NULL;
    struct held h;
    struct recount sum;
    char metric[128];
    log_open ("bench_verifier", LOG_LEVEL_ERROR);
    if (subs == 0 || ledger_open (&l, path, &e) == -1)
        die (path);
    held_open (&h, argv[1]);
    double began = now_s ();
    held_fill (&h, l, subs, NULL, NULL);
    (void) snprintf (metric, sizeof metric, "ledger of %zu results, signed and written", results);
    line (metric, (double) results / (now_s () - began), 0, "1/s", 0, "-");
    ledger_close (&l);
    open_last (&h);

    /* in turns, the best of each */
    double ours = 1e9, ours_cpu = 1e9, bare = 1e9, bare_cpu = 1e9;
    struct watch w = { .most = 0 };
    long before = anon_kib ();
    for (int round = 0; round < (results > LARGE ? 2 : 3); round++) {
        if (round == 0 && pthread_create (&w.id, NULL, watch_on, &w) != 0)
            die ("thread");
        double cpu = cpu_s ();
        began = now_s ();
        if (recount (path, realm_roster (h.admin), 0, NULL, NULL, &sum, &e) == -1)
            die ("recount");
        ours = smaller (ours, now_s () - began);
        ours_cpu = smaller (ours_cpu, cpu_s () - cpu);
        check (&sum, results);
        if (round == 0) {
            atomic_store (&w.stop, true);
            (void) pthread_join (w.id, NULL);
        }
        began = now_s ();
        cpu = cpu_s ();
        all_cores (subs, verify_one, &h);
        bare = smaller (bare, now_s () - began);
        bare_cpu = smaller (bare_cpu, cpu_s () - cpu);
    }
    (void) snprintf (metric, sizeof metric, "rule over %zu stored results, all cores", results);
    line (metric, (double) results / ours, (double) results / bare, "1/s", 0.9, "min");
    line ("... share of Ed25519 in its CPU time", bare_cpu / ours_cpu, 1, "", 0.9, "min");
    line ("... memory of its own; limit: 64 MiB", (double) (w.most > before ? w.most - before : 0), OWN_KIB, "KiB", 1, "max");
    held_close (&h);
    return 0;
}
