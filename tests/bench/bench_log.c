/* bench_log: the log of verdicts, and what a verdict costs the verifier in memory.
 *
 *     bench_log REALM VERIFIER-PROGRAM ENTRIES STEPS
 *
 * REALM is fresh (assay init --workers 1), and nothing of it runs. Proofs are made from a ledger on disk with so many entries and checked, at random places. The
 * bare side makes as many node hashes as a proof out of tiles of 256 takes: what its path covers within the tiles (2 * 247 + 11 of 20 levels), and the 20
 * of the check. Then a real verifier follows a broker (this program, with the broker's keys) that reports so many steps, each with one signed result;
 * its memory after a tenth of them is beside that after all.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "bench.h"
#include "proto/statement.h"
#include "store/manifest.h"
#include "verifier/ledger.h"

#define e bench_err
#define die bench_die
#define PROOFS 4000
#define HASHES (2 * 247 + 11 + 20)
#define COMMIT "0123456789012345678901234567890123456789"
#define HOUR_US INT64_C (3600000000)

/* ---- proofs ---- */

static struct ledger *filled (const char *path, uint64_t n)
{
    struct ledger *l;
    double began = now_s ();
    if (ledger_open (&l, path, &e) == -1 || ledger_begin (l, &e) == -1)
        die ("ledger");
    for (uint64_t i = 1; i <= n; i++) {
        char text[64];
        (void) snprintf (text, sizeof text, "verdict %llu", (unsigned long long) i);
        if (ledger_verdict_add (l, i, 0, bytes_str (text), &e) == -1 || (i % 512 == 0 && (ledger_commit (l, &e) == -1 || ledger_begin (l, &e) == -1)))
            die ("ledger");
    }
    if (ledger_commit (l, &e) == -1)
        die ("ledger");
    line ("log of verdicts: entries a second, a sync for each 512", (double) n / (now_s () - began), 0, "1/s", 0, "-");
    return l;
}

static double bare (void)
{
    double began = now_s ();
    struct digest d = digest_of ("x", 1);
    uint8_t in[65] = { 1 };
    for (int i = 0; i < HASHES; i++) {
        memcpy (in + 1, d.b, 32);
        memcpy (in + 33, d.b, 32);
        d = digest_of (in, sizeof in);
    }
    if (digest_zero (&d))
        die ("bare");
    return now_s () - began;
}

/* Of this thread: a machine's other work says nothing about the slowest of thousands. */
static double cpu_s (void)
{
    struct timespec t;
    clock_gettime (CLOCK_THREAD_CPUTIME_ID, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static void proofs (const char *path, uint64_t n)
{
    static double ours[PROOFS], cpu[PROOFS], limit[PROOFS], growth[PROOFS];
    struct ledger *l = filled (path, n);
    struct tlog_source src = ledger_tiles (l);
    struct digest root;
    if (tlog_root (&src, n, &root, &e) == -1)
        die ("root");
    for (int i = 0; i < PROOFS; i++) {
        uint64_t at = ((uint64_t) i * 2654435761u) % n;
        char text[64];
        struct tlog_path p;
        (void) snprintf (text, sizeof text, "verdict %llu", (unsigned long long) at + 1);
        double began = now_s (), spent = cpu_s ();
        if (tlog_prove (&src, at, n, &p, &e) == -1)
            die ("proof");
        struct digest leaf = tlog_leaf (bytes_str (text));
        if (!tlog_check (&leaf, at, n, &p, &root))
            die ("an inclusion proof does not hold");
        ours[i] = now_s () - began;
        cpu[i] = cpu_s () - spent;
        limit[i] = bare ();
        struct digest old;
        if (at == 0 || tlog_root (&src, at, &old, &e) == -1)
            continue;
        spent = cpu_s ();
        if (tlog_prove_growth (&src, at, n, &p, &e) == -1 || !tlog_check_growth (at, &old, n, &root, &p))
            die ("a growth proof does not hold");
        growth[i] = cpu_s () - spent;
    }
    char name[96];
    (void) snprintf (name, sizeof name, "inclusion proof in %llu verdicts, made and checked, p50; bare: its hashes", (unsigned long long) n);
    line (name, quantile (ours, PROOFS, 0.5) * 1e6, quantile (limit, PROOFS, 0.5) * 1e6, "us", 2, "max");
    (void) snprintf (name, sizeof name, "inclusion proof in %llu verdicts, p99 of CPU time; limit: 1 ms", (unsigned long long) n);
    line (name, quantile (cpu, PROOFS, 0.99) * 1e6, 1000, "us", 1, "max");
    (void) snprintf (name, sizeof name, "growth proof to %llu verdicts, p99 of CPU time; limit: 1 ms", (unsigned long long) n);
    line (name, quantile (growth, PROOFS, 0.99) * 1e6, 1000, "us", 1, "max");
    ledger_close (&l);
}

/* ---- memory: a broker that has much to report ---- */

static struct {
    struct realm *admin, *broker, *store, *worker, *verifier;
    int64_t now;
    uint64_t last, decided;
} w;

static void submission (uint64_t i, struct buf *raw, struct digest *id)
{
    struct msg m = MSG_INIT (submission_body, 0), st = MSG_INIT (step, 0);
    struct envelope v = { 0 };
    BUF (step);
    BUF (body);
    st.u.step.name = bytes_str ("build");
    st.u.step.run = bytes_str ("make");
    st.u.step.image = digest_of ("image", 5);
    st.u.step.agree = 1;
    msg_encode (&st, &step);
    struct bytes list = buf_bytes (&step);
    struct msg_submission_body *b = &m.u.submission_body;
    b->submitter = bytes_str (realm_name (w.admin));
    b->project = bytes_str ("p");
    b->url = bytes_str ("https://git.example/p.git");
    b->commit = bytes_str (COMMIT);
    b->ref = bytes_str ("refs/heads/main");
    b->steps = (struct bytes_list){ &list, 1 };
    b->issued = (uint64_t) w.now;
    b->expires = (uint64_t) (w.now + HOUR_US);
    b->nonce = digest_of (&i, sizeof i);
    msg_encode (&m, &body);
    envelope_sign (TYPE_SUBMISSION, buf_bytes (&body), &realm_keys (w.admin)->sign, raw);
    if (envelope_open (buf_bytes (raw), TYPE_SUBMISSION, &v, &e) == -1)
        die ("submission");
    *id = envelope_id (&v);
    envelope_release (&v);
}

static void lease (const struct digest *sub, struct buf *raw, struct digest *id)
{
    struct msg m = MSG_INIT (lease_body, 0);
    struct envelope v = { 0 };
    BUF (body);
    struct msg_lease_body *b = &m.u.lease_body;
    b->broker = bytes_str (realm_name (w.broker));
    b->worker = bytes_str (realm_name (w.worker));
    b->owner = bytes_str (realm_self (w.worker)->owner);
    b->submission = *sub;
    b->step = bytes_str ("build");
    b->project = bytes_str ("p");
    b->ref = bytes_str ("refs/heads/main");
    b->image = digest_of ("image", 5);
    b->issued = (uint64_t) w.now;
    b->expires = (uint64_t) (w.now + HOUR_US);
    b->nonce = *sub;
    msg_encode (&m, &body);
    envelope_sign (TYPE_LEASE, buf_bytes (&body), &realm_keys (w.broker)->sign, raw);
    if (envelope_open (buf_bytes (raw), TYPE_LEASE, &v, &e) == -1)
        die ("lease");
    *id = envelope_id (&v);
    envelope_release (&v);
}

static void outcome (const struct digest *sub, struct buf *payload)
{
    struct result r = { .submission = *sub, .network = NETWORK_NONE, .image = digest_of ("image", 5), .step = "build", .project = "p", .commit = COMMIT, .isolation = ISOLATION_BWRAP,
                        .artifact = *sub, .started = w.now, .finished = w.now };
    struct msg m = MSG_INIT (sealed_payload, 0), receipt = MSG_INIT (receipt_body, 0);
    BUF (body);
    BUF (json);
    BUF (envelope);
    BUF (sealed);
    lease (sub, &r.lease, &r.lease_id);
    (void) snprintf (r.worker, sizeof r.worker, "%s", realm_name (w.worker));
    (void) snprintf (r.owner, sizeof r.owner, "%s", realm_self (w.worker)->owner);
    r.url = xstrdup ("https://git.example/p.git");
    r.ref = xstrdup ("refs/heads/main");
    r.host = xstrdup ("");
    r.note = xstrdup ("");
    receipt.u.receipt_body.store = bytes_str (realm_name (w.store));
    receipt.u.receipt_body.lease = r.lease_id;
    receipt.u.receipt_body.artifact = r.artifact;
    receipt.u.receipt_body.time = (uint64_t) w.now;
    msg_encode (&receipt, &body);
    envelope_sign (TYPE_RECEIPT, buf_bytes (&body), &realm_keys (w.store)->sign, &r.receipt);
    result_json (&r, &json);
    envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), &realm_keys (w.worker)->sign, &envelope);
    seal_to (realm_keys (w.verifier)->seal_pub, buf_bytes (&envelope), &sealed);
    m.u.sealed_payload.lease = r.lease_id;
    m.u.sealed_payload.kind = RESULT_OUTCOME;
    m.u.sealed_payload.sealed = buf_bytes (&sealed);
    msg_encode (&m, payload);
    result_release (&r);
}

/* Event 2 i + 1: submission i; event 2 i + 2: its result. */
static void event (uint64_t seq, struct buf *out)
{
    struct msg m = MSG_INIT (event, 0);
    BUF (raw);
    BUF (payload);
    struct digest id;
    bool result = seq % 2 == 0;
    submission ((seq - 1) / 2, &raw, &id);
    if (result)
        outcome (&id, &payload);
    m.u.event.seq = seq;
    m.u.event.time = (uint64_t) w.now + seq;
    m.u.event.kind = bytes_str (result ? "artifact-completed" : "submitted");
    m.u.event.project = bytes_str ("p");
    m.u.event.id = id;
    m.u.event.step = bytes_str (result ? "build" : "");
    m.u.event.worker = bytes_str (result ? realm_name (w.worker) : "");
    m.u.event.owner = bytes_str (result ? realm_self (w.worker)->owner : "");
    m.u.event.payload = result ? buf_bytes (&payload) : buf_bytes (&raw);
    msg_encode (&m, out);
}

static void replay (const struct msg_replay *q, struct msg *m, struct buf events[512], struct bytes list[512])
{
    size_t n = 0;
    for (uint64_t seq = q->from; seq <= w.last && n < q->limit && n < 512; seq++, n++) {
        event (seq, &events[n]);
        list[n] = buf_bytes (&events[n]);
    }
    m->u.events.events = (struct bytes_list){ list, n };
    m->u.events.last = w.last;
    m->u.events.next = q->from + n;
}

static void serve (zsock_t *router, const struct net_in *in)
{
    static struct buf events[512];
    static struct bytes list[512];
    struct msg q, m;
    BUF (frame);
    if (msg_decode (in->data, &q, &e) == -1)
        die ("the verifier's message");
    if (q.type == MSG_hello) {
        m = (struct msg) MSG_INIT (welcome, q.request);
        m.u.welcome.version = PROTO_VERSION;
        m.u.welcome.name = bytes_str (realm_name (w.broker));
    } else if (q.type == MSG_replay) {
        m = (struct msg) MSG_INIT (events, q.request);
        replay (&q.u.replay, &m, events, list);
    } else {
        w.decided += q.type == MSG_verdict;
        m = (struct msg) MSG_INIT (ok, q.request);
    }
    msg_encode (&m, &frame);
    if (net_send (router, bytes_of (in->route, in->route_len), buf_bytes (&frame), &e) == -1)
        die ("answer");
    for (size_t i = 0; i < 512; i++)
        buf_release (&events[i]);
    msg_release (&q);
}

static void until_decided (zsock_t *router, uint64_t steps)
{
    w.last = 2 * steps;
    while (w.decided < steps) {
        struct net_in in;
        if (!net_wait (router, 60000))
            die ("the verifier asks for nothing more");
        if (net_recv (router, &in, &e) == 1) {
            serve (router, &in);
            net_in_release (&in);
        }
    }
}

static struct realm *member (const char *realm, const char *name)
{
    struct realm *rl;
    char *dir CLEANUP (free_ptr) = xasprintf ("%s/%s", realm, name);
    if (realm_open (&rl, dir, &e) == -1)
        die (name);
    return rl;
}

static void memory (const char *realm, const char *program, uint64_t steps)
{
    char *dir CLEANUP (free_ptr) = xasprintf ("%s/verifier", realm);
    char name[96];
    pid_t pid = bench_daemon (program, dir);
    w.admin = member (realm, "");
    w.broker = member (realm, "broker");
    w.store = member (realm, "store");
    w.worker = member (realm, "worker-1");
    w.verifier = member (realm, "verifier");
    w.now = time_now_us ();
    if (net_start (&e) == -1)
        die ("net");
    realm_admit (w.broker, ROLE_ANY);
    zsock_t *router = net_router (realm_self (w.broker)->endpoint, &realm_keys (w.broker)->transport, (struct net_room){ 4096, 4096, NET_FRAME_MAX }, &e);
    if (!router)
        die ("broker's endpoint");
    until_decided (router, steps / 10);
    double began = now_s ();
    long before = rss_kib (pid);
    until_decided (router, steps);
    long after = rss_kib (pid);
    (void) snprintf (name, sizeof name, "verifier: memory after %llu finished steps; limit: after %llu", (unsigned long long) steps, (unsigned long long) steps / 10);
    line (name, (double) after, (double) before, "KiB", 1.1, "max");
    line ("verifier: steps decided a second (results signed and sealed in the same run)", (double) (steps - steps / 10) / (now_s () - began), 0, "1/s", 0, "-");
    kill (pid, SIGKILL);
    waitpid (pid, NULL, 0);
    zsock_destroy (&router);
    net_stop ();
    struct realm **all[] = { &w.admin, &w.broker, &w.store, &w.worker, &w.verifier };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        realm_close (all[i]);
}

int main (int argc, char **argv)
{
    if (argc != 5)
        return 2;
    char *path CLEANUP (free_ptr) = xasprintf ("%s/log.db", argv[1]);
    proofs (path, strtoull (argv[3], NULL, 10));
    memory (argv[1], argv[2], strtoull (argv[4], NULL, 10));
    return 0;
}
