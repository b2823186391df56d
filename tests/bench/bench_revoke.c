/* bench_revoke: how long after `assay revoke` is everything decided again?
 *
 *     bench_revoke REALM PROGRAMS VERDICTS
 *
 * REALM is fresh (assay init --workers 4), and nothing of it runs; PROGRAMS is the folder of the programs. Verifier and broker are given so many verdicts
 * (held.h; half of the steps need the other half), then IDP, broker and verifier run, and `assay revoke worker-1` takes a vote of each first step away:
 * it falls, and what needs it with it. The time ends with the last of the verdicts that supersede in the broker's stream of events, from which deployers
 * and `assay watch` have them.
 *
 * The bare side is a verifier and a broker at once, a thread each, that do only what nobody can do without: as many verdicts signed and written, and as many
 * signatures verified and written, a sync for each 256; the same bytes, in SQLite.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/schema.h"
#include "base/log.h"
#include "broker/state.h"
#include "cli/stream.h"
#include "tests/bench/bench.h"
#include "tests/bench/held.h"

#define BATCH 256u
#define SILENT_S 120 /* without any event: it is stuck */

#define e bench_err
#define die bench_die

static const char *programs;

/* ---- the broker's side of what is held ---- */

static void also_broker (void *arg, const struct held *h, const struct held_sub *s)
{
    struct state *st = arg;
    struct sub_row sub = { .id = s->id, .project = "p", .commit = "0123456789012345678901234567890123456789", .ref = "refs/heads/main", .time = h->now, .expires = h->now + INT64_C (86400000000) };
    (void) snprintf (sub.submitter, sizeof sub.submitter, "%s", realm_name (h->admin));
    buf_add (&sub.envelope, s->submission.p, s->submission.len);
    if (state_sub_add (st, &sub, &e) == -1)
        die ("submission");
    for (unsigned k = 0; k < HELD_STEPS; k++) {
        struct step_row row = { .sub = sub.key, .no = k, .job = { .state = JOB_DECIDED, .places = HELD_VOTES, .votes = HELD_VOTES }, .expires = sub.expires, .state = "trusted",
                                .digest = s->step[k].artifact, .agree = HELD_VOTES, .support = HELD_VOTES, .votes = HELD_VOTES, .reason = "2 owners agree (2 needed)",
                                .verdict_index = s->step[k].index, .needs = k };
        (void) snprintf (row.name, sizeof row.name, "%s", held_step_names[k]);
        if (k)
            row.inputs = digest_of (&s->step[0].artifact, sizeof s->step[0].artifact);
        if (state_step_add (st, &row, &e) == -1)
            die ("step");
    }
    if (s->step[0].index / HELD_STEPS % BATCH == BATCH - 1 && state_commit (st, &e) == -1)
        die ("broker's state");
    sub_row_release (&sub);
}

static void fill (struct held *h, const char *dir, size_t subs)
{
    char *folder CLEANUP (free_ptr) = xasprintf ("%s/verifier/state", dir), *path CLEANUP (free_ptr) = xasprintf ("%s/verdicts.db", folder),
         *broker CLEANUP (free_ptr) = xasprintf ("%s/broker/state", dir);
    struct ledger *l = NULL;
    struct state *st = NULL;
    if (file_mkdirs (folder, 0700, &e) == -1 || file_mkdirs (broker, 0700, &e) == -1 || ledger_open (&l, path, &e) == -1 || state_open (&st, "sqlite", broker, &e) == -1)
        die (dir);
    held_fill (h, l, subs, also_broker, st);
    if (state_commit (st, &e) == -1)
        die ("broker's state");
    state_close (&st);
    ledger_close (&l);
}

/* ---- programs ---- */

static pid_t start (const char *program, const char *dir)
{
    char *path CLEANUP (free_ptr) = xasprintf ("%s/%s", programs, program);
    return bench_daemon (path, dir);
}

static void stop (pid_t pid)
{
    kill (pid, SIGTERM);
    waitpid (pid, NULL, 0);
}

static pid_t revoke_first (const char *dir)
{
    char *path CLEANUP (free_ptr) = xasprintf ("%s/assay", programs);
    pid_t pid = fork ();
    if (pid == 0) {
        int null = open ("/dev/null", O_WRONLY);
        dup2 (null, 1);
        execl (path, "assay", "--dir", dir, "revoke", "worker-1", "--since", "-1h", "--reason", "bench", (char *) NULL);
        _exit (127);
    }
    return pid;
}

/* Time on a processor of all its threads. */
static double cpu_of (pid_t pid)
{
    char path[64], text[1024] = "";
    unsigned long user = 0, kernel = 0;
    (void) snprintf (path, sizeof path, "/proc/%d/stat", (int) pid);
    FILE *f = fopen (path, "r");
    char *at = f && fgets (text, sizeof text, f) ? strrchr (text, ')') : NULL;
    if (!at || sscanf (at + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel) != 2)
        die ("the time of a process");
    (void) fclose (f);
    return (double) (user + kernel) / (double) sysconf (_SC_CLK_TCK);
}

/* ---- bare ---- */

/* Verdicts that superseded others, opened. */
static struct envelope again[BATCH];
static struct buf again_raw[BATCH];

static void take_again (sqlite3 *db, size_t verdicts)
{
    sqlite3_stmt *q = NULL;
    if (sqlite3_prepare_v2 (db, "SELECT envelope FROM verdict WHERE idx > ?1 ORDER BY idx LIMIT ?2", -1, &q, NULL) != SQLITE_OK)
        die ("verdicts");
    sqlite3_bind_int64 (q, 1, (int64_t) verdicts);
    sqlite3_bind_int64 (q, 2, BATCH);
    for (size_t i = 0; i < BATCH; i++) {
        if (sqlite3_step (q) != SQLITE_ROW) /* fewer than a batch */
            (void) (sqlite3_reset (q) + sqlite3_step (q));
        buf_add (&again_raw[i], sqlite3_column_blob (q, 0), (size_t) sqlite3_column_bytes (q, 0));
        if (envelope_open_json (buf_bytes (&again_raw[i]), TYPE_INTOTO, &again[i], &e) == -1)
            die ("a verdict");
    }
    sqlite3_finalize (q);
}

struct bare {
    const struct sign_key *key;
    const char *path;
    size_t n;
    bool verifier;
    double cpu;
};

static double thread_s (void)
{
    struct timespec t;
    clock_gettime (CLOCK_THREAD_CPUTIME_ID, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void *bare_side (void *arg)
{
    struct bare *b = arg;
    double began = thread_s ();
    uint8_t sig[64];
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    struct err why = ERR_INIT;
    if (sqlite3_open (b->path, &db) != SQLITE_OK
        || sqlite3_exec (db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=4000; CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)", NULL, NULL, NULL) != SQLITE_OK
        || sqlite3_prepare_v2 (db, "INSERT INTO t (v) VALUES (?1)", -1, &q, NULL) != SQLITE_OK)
        abort ();
    for (size_t i = 0; i < b->n; i++) {
        if (i % BATCH == 0)
            sqlite3_exec (db, "BEGIN", NULL, NULL, NULL);
        if (b->verifier)
            signature_make (b->key, again[i % BATCH].body, sig);
        else if (envelope_check (&again[i % BATCH], b->key->pub, &why) == -1)
            abort ();
        sqlite3_bind_blob (q, 1, again_raw[i % BATCH].p, (int) again_raw[i % BATCH].len, SQLITE_STATIC);
        sqlite3_step (q);
        sqlite3_reset (q);
        if (i % BATCH == BATCH - 1 || i + 1 == b->n)
            sqlite3_exec (db, "COMMIT", NULL, NULL, NULL);
    }
    sqlite3_finalize (q);
    sqlite3_close (db);
    b->cpu = thread_s () - began;
    return NULL;
}

static double bare (struct bare side[2])
{
    double began = now_s ();
    pthread_t id;
    if (pthread_create (&id, NULL, bare_side, &side[1]) != 0)
        die ("thread");
    (void) bare_side (&side[0]);
    (void) pthread_join (id, NULL);
    return now_s () - began;
}

/* ---- from the command to the last verdict ---- */

struct times {
    double command, first, ledger, last; /* seconds from when the command began */
    double verifier, broker;             /* CPU */
};

static void watch (struct stream *s, sqlite3 *db, double began, pid_t command, size_t verdicts, struct times *t)
{
    double heard = now_s ();
    size_t seen = 0;
    int status = -1;
    while (seen < verdicts) {
        const struct msg_event *ev;
        int got = stream_next (s, 20, &ev, &e);
        double now = now_s ();
        if (got == -1 || now - heard > SILENT_S)
            die ("events");
        if (got)
            heard = now;
        if (got && bytes_eqs (ev->kind, "verdict")) {
            if (seen++ == 0)
                t->first = now - began;
            if (bytes_eqs (ev->state, "trusted"))
                die ("a verdict that should have fallen");
            t->last = now - began;
        }
        if (!t->command && waitpid (command, &status, WNOHANG) == command)
            t->command = now - began;
        if (!t->ledger && (seen % BATCH == 0 || !got) && schema_number (db, "SELECT max(idx) FROM verdict") >= (int64_t) (2 * verdicts))
            t->ledger = now - began;
    }
    if (!t->command && waitpid (command, &status, 0) == command)
        t->command = now_s () - began;
    if (!WIFEXITED (status) || WEXITSTATUS (status) != 0)
        die ("assay revoke");
    if (!t->ledger)
        t->ledger = t->last;
}

static void measure (struct held *h, const char *dir, size_t verdicts, struct times *t)
{
    char *idp_dir CLEANUP (free_ptr) = xasprintf ("%s/idp", dir), *broker_dir CLEANUP (free_ptr) = xasprintf ("%s/broker", dir),
         *verifier_dir CLEANUP (free_ptr) = xasprintf ("%s/verifier", dir), *path CLEANUP (free_ptr) = xasprintf ("%s/state/verdicts.db", verifier_dir);
    struct cli c = { .dir = (char *) dir, .timeout_ms = 10000, .connect_ms = 10000 };
    struct stream *s = NULL;
    sqlite3 *db = NULL;
    if (net_start (&e) == -1)
        die ("net");
    pid_t idp = start ("assay-idp", idp_dir), broker = start ("assay-broker", broker_dir), verifier = start ("assay-verifier", verifier_dir);
    if (stream_open (&c, h->admin, STREAM_NEW, NULL, &s, &e) == -1)
        die ("stream");
    if (sqlite3_open_v2 (path, &db, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK || schema_number (db, "SELECT max(idx) FROM verdict") != (int64_t) verdicts)
        die ("the verifier's ledger");
    const struct msg_event *ev;
    while (stream_next (s, 1000, &ev, &e) == 1) /* they have met */
        continue;
    t->verifier = cpu_of (verifier);
    t->broker = cpu_of (broker);
    double began = now_s ();
    watch (s, db, began, revoke_first (dir), verdicts, t);
    t->verifier = cpu_of (verifier) - t->verifier;
    t->broker = cpu_of (broker) - t->broker;
    if (schema_number (db, "SELECT count(*) FROM step WHERE final = 1") != 0 || schema_number (db, "SELECT max(idx) FROM verdict") != (int64_t) (2 * verdicts))
        die ("not everything is decided again, or something twice");
    take_again (db, verdicts);
    sqlite3_close (db);
    stream_close (&s);
    stop (verifier);
    stop (broker);
    stop (idp);
    net_stop ();
}

int main (int argc, char **argv)
{
    if (argc != 4)
        return 2;
    size_t subs = strtoul (argv[3], NULL, 10) / HELD_STEPS, verdicts = subs * HELD_STEPS;
    char *ours CLEANUP (free_ptr) = xasprintf ("%s/bare-verifier.db", argv[1]), *theirs CLEANUP (free_ptr) = xasprintf ("%s/bare-broker.db", argv[1]);
    struct times t = { .command = 0 };
    struct held h;
    char metric[128];
    programs = argv[2];
    log_open ("bench_revoke", LOG_LEVEL_ERROR);
    if (subs == 0)
        return 2;
    held_open (&h, argv[1]);
    fill (&h, argv[1], subs);
    measure (&h, argv[1], verdicts, &t);
    const struct sign_key *key = &realm_keys (h.verifier)->sign;
    struct bare side[] = { { key, ours, verdicts, true, 0 }, { key, theirs, verdicts, false, 0 } };
    double limit = bare (side);
    (void) snprintf (metric, sizeof metric, "revocation, %zu verdicts: from `assay revoke` to the last event", verdicts);
    line (metric, t.last, limit, "s", 4, "max");
    line ("... CPU time of verifier and broker", t.verifier + t.broker, side[0].cpu + side[1].cpu, "s", 4, "max");
    line ("... of the verifier; bare: signed and written", t.verifier, side[0].cpu, "s", 0, "-");
    line ("... of the broker; bare: verified and written", t.broker, side[1].cpu, "s", 0, "-");
    line ("... the command itself", t.command, 0, "s", 0, "-");
    line ("... to the first verdict that supersedes", t.first, 0, "s", 0, "-");
    line ("... to the last one in the verifier's log", t.ledger, 0, "s", 0, "-");
    held_close (&h);
    return 0;
}
