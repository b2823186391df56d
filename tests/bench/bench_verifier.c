/* bench_verifier: what a revocation costs, and what the rule costs over stored results, beside bare loops on the same cores in the same run.
 *
 *     bench_verifier DIR VERDICTS
 *
 * DIR is an empty folder. Each verdict is of a step of its own, with the results of two owners; one of them is then revoked from the beginning,
 * so that every verdict is decided again. Events go through judge.h as they do in the verifier; only the sockets are missing.
 * The bare sides: as many signatures, on all cores, and the same bytes written to SQLite in as many commits; and as many verifications of
 * the same envelopes, on all cores.
 */
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "proto/statement.h"
#include "tests/bench/bench.h"
#include "verifier/judge.h"
#include "verifier/recount.h"

#define SHARE 512u
#define ROUNDS 3
#define START INT64_C (1700000000000000)

#define e bench_err
#define die bench_die

static struct sign_key root;
static struct keys admin, broker, store, verifier, worker[2];
static struct roster *roster;
static uint64_t entries;

/* Of all threads: what others do on the machine meanwhile does not count. */
static double cpu_s (void)
{
    struct timespec t;
    clock_gettime (CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static unsigned cores (void)
{
    long n = sysconf (_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 64 ? 64 : (unsigned) n;
}

/* The same work on each of n items, on all cores. */
struct work {
    atomic_size_t next;
    size_t n;
    void (*one) (size_t i);
};

static void *work_on (void *arg)
{
    struct work *w = arg;
    for (size_t i; (i = atomic_fetch_add (&w->next, 1)) < w->n;)
        w->one (i);
    return NULL;
}

static void all_cores (size_t n, void (*one) (size_t i))
{
    struct work w = { .n = n, .one = one };
    pthread_t ids[64];
    unsigned started = 0;
    while (started + 1 < cores () && pthread_create (&ids[started], NULL, work_on, &w) == 0)
        started++;
    work_on (&w);
    while (started)
        pthread_join (ids[--started], NULL);
}

/* ---- the realm ---- */

static void enter (struct msg *m)
{
    BUF (body);
    BUF (raw);
    m->u.roster_entry.seq = ++entries;
    m->u.roster_entry.prev = roster_last (roster);
    m->u.roster_entry.time = (uint64_t) START - 1000 + entries + (m->u.roster_entry.kind == ENTRY_REVOKE ? UINT64_C (1000000000000) : 0);
    m->u.roster_entry.by = bytes_str ("root");
    msg_encode (m, &body);
    envelope_sign (TYPE_ROSTER, buf_bytes (&body), &root, &raw);
    if (roster_add (roster, buf_bytes (&raw), &e) == -1)
        die ("roster");
}

static void enrol (const char *name, const char *owner, unsigned roles, struct keys *k)
{
    struct msg m = MSG_INIT (roster_entry, 0);
    struct bytes all = bytes_str ("*");
    struct msg_roster_entry *b = &m.u.roster_entry;
    if (keys_make (k, &e) == -1)
        die ("keys");
    b->kind = ENTRY_ENROL;
    b->name = bytes_str (name);
    b->owner = bytes_str (owner);
    b->roles = roles;
    b->projects = (struct bytes_list){ &all, 1 };
    memcpy (b->sign_key.b, k->sign.pub, 32);
    memcpy (b->transport_key.b, k->transport.pub, 32);
    memcpy (b->seal_key.b, k->seal_pub, 32);
    enter (&m);
}

static void revoke_first (void)
{
    struct msg m = MSG_INIT (roster_entry, 0);
    m.u.roster_entry.kind = ENTRY_REVOKE;
    m.u.roster_entry.name = bytes_str ("w0");
    m.u.roster_entry.since = 1;
    enter (&m);
}

/* ---- steps with their results, a share at a time ---- */

static struct made {
    struct digest id;
    struct buf submission, payload[2], envelope[2], lease[2], receipt[2];
} made[SHARE];
static size_t base;

static struct digest sign_it (const char *type, struct msg *m, const struct sign_key *key, struct buf *out)
{
    struct envelope v;
    BUF (body);
    msg_encode (m, &body);
    envelope_sign (type, buf_bytes (&body), key, out);
    if (envelope_open (buf_bytes (out), type, &v, &e) == -1)
        die (type);
    return envelope_id (&v);
}

static void make_submission (struct made *x, size_t number)
{
    struct msg m = MSG_INIT (submission_body, 0), st = MSG_INIT (step, 0);
    struct msg_submission_body *b = &m.u.submission_body;
    BUF (step);
    st.u.step.name = bytes_str ("build");
    st.u.step.run = bytes_str ("make");
    st.u.step.image = digest_of ("image", 5);
    st.u.step.agree = 2;
    msg_encode (&st, &step);
    struct bytes list = buf_bytes (&step);
    b->submitter = bytes_str ("admin");
    b->project = bytes_str ("p");
    b->url = bytes_str ("https://git.example/p.git");
    b->commit = bytes_str ("0123456789012345678901234567890123456789");
    b->ref = bytes_str ("refs/heads/main");
    b->recipe = digest_of ("recipe", 6);
    b->steps = (struct bytes_list){ &list, 1 };
    b->issued = (uint64_t) START;
    b->expires = (uint64_t) START + UINT64_C (3600000000);
    b->nonce = digest_of (&number, sizeof number);
    x->id = sign_it (TYPE_SUBMISSION, &m, &admin.sign, &x->submission);
}

static void make_result (struct made *x, int who, size_t number)
{
    struct msg l = MSG_INIT (lease_body, 0), c = MSG_INIT (receipt_body, 0), p = MSG_INIT (sealed_payload, 0);
    struct result r;
    char name[16], owner[16];
    BUF (json);
    BUF (sealed);
    memset (&r, 0, sizeof r);
    (void) snprintf (name, sizeof name, "w%d", who);
    (void) snprintf (owner, sizeof owner, "o%d", who);
    size_t nonce = number * 2 + (size_t) who;
    l.u.lease_body.broker = bytes_str ("broker");
    l.u.lease_body.worker = bytes_str (name);
    l.u.lease_body.owner = bytes_str (owner);
    l.u.lease_body.submission = x->id;
    l.u.lease_body.step = bytes_str ("build");
    l.u.lease_body.project = bytes_str ("p");
    l.u.lease_body.ref = bytes_str ("refs/heads/main");
    l.u.lease_body.image = digest_of ("image", 5);
    l.u.lease_body.issued = (uint64_t) START;
    l.u.lease_body.expires = (uint64_t) START + UINT64_C (3600000000);
    l.u.lease_body.nonce = digest_of (&nonce, sizeof nonce);
    r.lease_id = sign_it (TYPE_LEASE, &l, &broker.sign, &x->lease[who]);
    r.artifact = digest_of (&number, sizeof number);
    c.u.receipt_body.store = bytes_str ("store");
    c.u.receipt_body.lease = r.lease_id;
    c.u.receipt_body.artifact = r.artifact;
    c.u.receipt_body.bytes = 5;
    c.u.receipt_body.time = (uint64_t) START;
    (void) sign_it (TYPE_RECEIPT, &c, &store.sign, &x->receipt[who]);
    r.submission = x->id;
    r.recipe = digest_of ("recipe", 6);
    r.image = digest_of ("image", 5);
    strcpy (r.step, "build");
    strcpy (r.project, "p");
    strcpy (r.worker, name);
    strcpy (r.owner, owner);
    strcpy (r.commit, "0123456789012345678901234567890123456789");
    r.url = xstrdup ("https://git.example/p.git");
    r.ref = xstrdup ("refs/heads/main");
    r.isolation = ISOLATION_BWRAP;
    r.network = NETWORK_NONE;
    r.host = xstrdup ("kernel=6.1.0 cpu=some driver=bwrap-0.8.0");
    r.note = xstrdup ("");
    r.started = r.finished = START + 1000;
    buf_add (&r.lease, x->lease[who].p, x->lease[who].len);
    buf_add (&r.receipt, x->receipt[who].p, x->receipt[who].len);
    result_json (&r, &json);
    result_release (&r);
    envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), &worker[who].sign, &x->envelope[who]);
    seal_to (verifier.seal_pub, buf_bytes (&x->envelope[who]), &sealed);
    struct envelope lv;
    if (envelope_open (buf_bytes (&x->lease[who]), TYPE_LEASE, &lv, &e) == -1)
        die ("lease");
    p.u.sealed_payload.lease = envelope_id (&lv);
    p.u.sealed_payload.kind = RESULT_OUTCOME;
    p.u.sealed_payload.sealed = buf_bytes (&sealed);
    msg_encode (&p, &x->payload[who]);
}

static void make_one (size_t i)
{
    make_submission (&made[i], base + i);
    for (int who = 0; who < 2; who++)
        make_result (&made[i], who, base + i);
}

static void clear (struct made *x)
{
    buf_release (&x->submission);
    for (int i = 0; i < 2; i++) {
        buf_release (&x->payload[i]);
        buf_release (&x->envelope[i]);
        buf_release (&x->lease[i]);
        buf_release (&x->receipt[i]);
    }
}

static void apply (struct judge *j, const char *kind, const struct digest *id, const char *name, const char *owner, struct bytes payload)
{
    static uint64_t seq;
    struct msg m = MSG_INIT (event, 0);
    m.u.event.seq = ++seq;
    m.u.event.time = (uint64_t) START + 120000000;
    m.u.event.kind = bytes_str (kind);
    m.u.event.project = bytes_str ("p");
    m.u.event.id = *id;
    m.u.event.step = bytes_str (*name ? "build" : "");
    m.u.event.worker = bytes_str (name);
    m.u.event.owner = bytes_str (owner);
    m.u.event.payload = payload;
    if (judge_apply (j, &m.u.event, &e) == -1)
        die ("event");
}

static int drop (void *arg, int64_t id, struct bytes frame)
{
    int64_t *last = arg;
    (void) frame;
    *last = id;
    return 0;
}

/* The broker took all of it. */
static void sent (struct ledger *l)
{
    int64_t last = 0, id = 0;
    if (ledger_outbox (l, 0, 1u << 20, drop, &last, &e) == -1)
        die ("outbox");
    for (id = 1; id <= last; id++)
        if (ledger_sent (l, id, &e) == -1)
            die ("outbox");
}

static void fill (struct judge *j, size_t n)
{
    for (base = 0; base < n; base += SHARE) {
        size_t k = n - base < SHARE ? n - base : SHARE;
        all_cores (k, make_one);
        if (ledger_begin (j->ledger, &e) == -1)
            die ("begin");
        for (size_t i = 0; i < k; i++) {
            apply (j, "submitted", &made[i].id, "", "", buf_bytes (&made[i].submission));
            apply (j, "artifact-completed", &made[i].id, "w0", "o0", buf_bytes (&made[i].payload[0]));
            apply (j, "artifact-completed", &made[i].id, "w1", "o1", buf_bytes (&made[i].payload[1]));
        }
        if (ledger_commit (j->ledger, &e) == -1)
            die ("commit");
        for (size_t i = 0; i < k && base + SHARE < n; i++)
            clear (&made[i]);
    }
}

/* ---- bare ---- */

static struct buf sample; /* a verdict's body, and the frames that go with it */
static uint8_t sigs[64];

static void sign_one (size_t i)
{
    uint8_t sig[64];
    (void) i;
    signature_make (&verifier.sign, buf_bytes (&sample), sig);
    sigs[i % 64] = sig[0];
}

/* The envelopes of the last share, opened: different signatures, as those that are stored are. Of a few that come again and again the processor
 * learns the branches, and they cost less than any others would. */
static struct envelope opened[SHARE][2][3], submitted[SHARE];
static size_t held;

static void open_last (size_t n)
{
    held = (n - 1) % SHARE + 1;
    for (size_t i = 0; i < held; i++) {
        if (envelope_open (buf_bytes (&made[i].submission), TYPE_SUBMISSION, &submitted[i], &e) == -1)
            die ("submission");
        for (int who = 0; who < 2; who++)
            if (envelope_open_json (buf_bytes (&made[i].envelope[who]), TYPE_INTOTO, &opened[i][who][0], &e) == -1
                || envelope_open (buf_bytes (&made[i].lease[who]), TYPE_LEASE, &opened[i][who][1], &e) == -1
                || envelope_open (buf_bytes (&made[i].receipt[who]), TYPE_RECEIPT, &opened[i][who][2], &e) == -1)
                die ("envelope");
    }
}

static void verify_one (size_t i)
{
    struct err why = ERR_INIT;
    size_t step = i / 2 % held, who = i % 2;
    const uint8_t *keys[] = { worker[who].sign.pub, broker.sign.pub, store.sign.pub };
    for (size_t k = 0; k < 3; k++)
        if (envelope_check (&opened[step][who][k], keys[k], &why) == -1)
            abort ();
    if (who && envelope_check (&submitted[step], admin.sign.pub, &why) == -1)
        abort ();
}

static double smaller (double a, double b)
{
    return a < b ? a : b;
}

static int add_up (void *arg, int64_t id, struct bytes frame)
{
    size_t *bytes = arg;
    (void) id;
    *bytes += frame.len;
    return 0;
}

static double bare_revocation (const char *dir, size_t n, size_t bytes_each)
{
    char *path CLEANUP (free_ptr) = xasprintf ("%s/bare.db", dir);
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    double began = now_s ();
    all_cores (n, sign_one);
    if (sqlite3_open (path, &db) != SQLITE_OK
        || sqlite3_exec (db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE t (k INTEGER PRIMARY KEY, v BLOB)", NULL, NULL, NULL) != SQLITE_OK
        || sqlite3_prepare_v2 (db, "INSERT INTO t (v) VALUES (?1)", -1, &q, NULL) != SQLITE_OK)
        die ("bare");
    uint8_t *v = xcalloc (1, bytes_each);
    for (size_t i = 0; i < n; i++) {
        if (i % 256 == 0)
            sqlite3_exec (db, "BEGIN", NULL, NULL, NULL);
        sqlite3_bind_blob (q, 1, v, (int) bytes_each, SQLITE_STATIC);
        sqlite3_step (q);
        sqlite3_reset (q);
        if (i % 256 == 255 || i + 1 == n)
            sqlite3_exec (db, "COMMIT", NULL, NULL, NULL);
    }
    free (v);
    sqlite3_finalize (q);
    sqlite3_close (db);
    return now_s () - began;
}

int main (int argc, char **argv)
{
    if (argc != 3)
        return 2;
    size_t n = strtoul (argv[2], NULL, 10);
    struct ledger *l = NULL;
    struct recount sum;
    char *path CLEANUP (free_ptr) = xasprintf ("%s/verdicts.db", argv[1]);
    log_open ("bench_verifier", LOG_LEVEL_ERROR);
    if (rootkey_make (&root, &e) == -1 || !(roster = roster_new (root.pub)) || ledger_open (&l, path, &e) == -1)
        die (path);
    enrol ("admin", "operator", ROLE_ADMIN | ROLE_SUBMITTER, &admin);
    enrol ("broker", "operator", ROLE_BROKER, &broker);
    enrol ("store", "operator", ROLE_STORE, &store);
    enrol ("verifier", "operator", ROLE_VERIFIER, &verifier);
    enrol ("w0", "o0", ROLE_WORKER, &worker[0]);
    enrol ("w1", "o1", ROLE_WORKER, &worker[1]);
    struct judge j = { .ledger = l, .roster = roster, .keys = &verifier, .name = "verifier" };
    fill (&j, n);
    if (ledger_next_index (l) != n * 2 + 1) {
        fprintf (stderr, "bench_verifier: %llu verdicts, not %zu\n", (unsigned long long) ledger_next_index (l) - 1, n * 2);
        return 1;
    }
    sent (l);

    /* the rule once more: in turns, the best of each */
    double ours = 1e9, ours_cpu = 1e9, bare = 1e9, bare_cpu = 1e9, began, cpu;
    char metric[128];
    open_last (n);
    for (int round = 0; round < ROUNDS; round++) {
        began = now_s ();
        cpu = cpu_s ();
        if (recount (path, roster, 0, NULL, NULL, &sum, &e) == -1)
            die ("recount");
        ours = smaller (ours, now_s () - began);
        ours_cpu = smaller (ours_cpu, cpu_s () - cpu);
        if (sum.results != n * 2 || sum.bad || sum.differ) {
            fprintf (stderr, "bench_verifier: %llu results, %llu bad, %llu differ\n", (unsigned long long) sum.results, (unsigned long long) sum.bad, (unsigned long long) sum.differ);
            return 1;
        }
        began = now_s ();
        cpu = cpu_s ();
        all_cores (n * 2, verify_one);
        bare = smaller (bare, now_s () - began);
        bare_cpu = smaller (bare_cpu, cpu_s () - cpu);
    }
    (void) snprintf (metric, sizeof metric, "rule over %zu stored results, all cores", n * 2);
    line (metric, (double) n * 2 / ours, (double) n * 2 / bare, "1/s", 0.9, "min");
    line ("... share of Ed25519 in its CPU time", bare_cpu / ours_cpu, 1, "", 0.9, "min");

    /* a revocation */
    revoke_first ();
    size_t bytes = 0;
    int more = 1;
    began = now_s ();
    cpu = cpu_s ();
    while (more == 1) {
        if (ledger_begin (l, &e) == -1 || (more = judge_revoked (&j, START + INT64_C (2000000000), &e)) == -1 || ledger_commit (l, &e) == -1)
            die ("revocation");
    }
    ours = now_s () - began;
    ours_cpu = cpu_s () - cpu;
    if (ledger_next_index (l) != n * 3 + 1) {
        fprintf (stderr, "bench_verifier: %llu verdicts after the revocation, not %zu\n", (unsigned long long) ledger_next_index (l) - 1, n * 3);
        return 1;
    }
    if (ledger_outbox (l, 0, 1u << 24, add_up, &bytes, &e) == -1)
        die ("outbox");
    while (sample.len < 1800)
        buf_adds (&sample, "a verdict's body ");
    cpu = cpu_s ();
    bare = bare_revocation (argv[1], n, bytes / n * 2);
    bare_cpu = cpu_s () - cpu;
    (void) snprintf (metric, sizeof metric, "revocation, %zu verdicts: to the last that is decided again", n);
    line (metric, ours, bare, "s", 4, "max");
    line ("... CPU time of it, all cores", ours_cpu, bare_cpu, "s", 4, "max");
    ledger_close (&l);
    return 0;
}
