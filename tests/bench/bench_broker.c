/* bench_broker: the broker's speed, beside a bare loop that does only what the job cannot do without, in the same run.
 *
 *     bench_broker REALM BROKER-PROGRAM JOBS QUEUED ROUNDS
 *
 * REALM is fresh (assay init). Submissions are signed before the clock starts, on both sides. A cycle: submit, verify, store, answer; lease
 * (signed); result, store, answer. The bare side, a process of its own as the broker is: for each job one Ed25519 verification and one signature,
 * shared over all cores, five CURVE frames of the same sizes as ours, every byte that came in written and synced in one fdatasync for each turn of
 * up to 512 messages, as many as the broker takes; no queue, no roster, no events.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "bench.h"
#include "broker/pool.h"

#define CLIENTS 16
#define WINDOW 64
#define WORKERS 4
#define CREDIT 256
#define LATENCY_ROUNDS 400

#define ROUNDS_MAX 25
#define e bench_err
#define die bench_die

static struct realm *admin, *worker[WORKERS];
static struct buf *subs;      /* signed submissions */
static size_t sub_count, lease_len, submitted_len, result_len; /* bytes of our frames, for the bare side */

/* ---- submissions, signed ahead ---- */

static void sign_one (struct buf *out)
{
    struct msg m = MSG_INIT (submission_body, 0), st = MSG_INIT (step, 0);
    BUF (step);
    BUF (body);
    st.u.step.name = bytes_str ("build");
    st.u.step.run = bytes_str ("make");
    st.u.step.image = digest_of ("image", 5);
    msg_encode (&st, &step);
    struct bytes list = buf_bytes (&step);
    struct msg_submission_body *b = &m.u.submission_body;
    b->submitter = bytes_str (realm_name (admin));
    b->project = bytes_str ("bench");
    b->url = bytes_str ("https://git.example/bench.git");
    b->commit = bytes_str ("0123456789012345678901234567890123456789");
    b->ref = bytes_str ("refs/heads/main");
    b->steps = (struct bytes_list){ &list, 1 };
    b->issued = (uint64_t) time_now_us ();
    b->expires = b->issued + UINT64_C (86400000000);
    randombytes_buf (b->nonce.b, 32);
    msg_encode (&m, &body);
    envelope_sign (TYPE_SUBMISSION, buf_bytes (&body), &realm_keys (admin)->sign, out);
}

static void sign_more (size_t n)
{
    subs = xrealloc (subs, (sub_count + n) * sizeof *subs);
    for (size_t i = 0; i < n; i++) {
        subs[sub_count + i] = (struct buf){ 0 };
        sign_one (&subs[sub_count + i]);
    }
    sub_count += n;
}

static void submit (struct client *c, const struct buf *sub)
{
    struct msg m = MSG_INIT (submit, client_request (c));
    m.u.submit.envelope = buf_bytes (sub);
    while (client_send (c, &m, &e) == -1)
        if (e.code != EC_BUSY)
            die ("submit");
}

static void worker_ready (struct client *c, uint64_t credit)
{
    struct msg r = MSG_INIT (ready, 0);
    struct bytes all = bytes_str ("*");
    r.u.ready.credit = credit;
    r.u.ready.isolation = ISOLATION_BWRAP;
    r.u.ready.network = NETWORK_NONE;
    r.u.ready.projects = (struct bytes_list){ &all, 1 };
    client_send (c, &r, &e);
}

static struct client *worker_open (int i, uint64_t credit)
{
    struct client *c = NULL;
    struct msg h = MSG_INIT (holding, 0);
    if (client_open (&c, worker[i], ROLE_BROKER, 10000, &e) == -1)
        die ("worker");
    client_send (c, &h, &e);
    worker_ready (c, credit);
    return c;
}

/* A lease is answered with a result of the usual size, at once. */
static void answer_lease (struct client *c, const struct msg_lease *l)
{
    static const uint8_t sealed[3000];
    struct envelope v = { 0 };
    struct msg r = MSG_INIT (result, client_request (c));
    if (envelope_open (l->lease, TYPE_LEASE, &v, &e) == -1)
        die ("lease");
    r.u.result.lease = envelope_id (&v);
    r.u.result.kind = RESULT_OUTCOME;
    r.u.result.sealed = bytes_of (sealed, sizeof sealed);
    envelope_release (&v);
    result_len = 60 + sizeof sealed;
    while (client_send (c, &r, &e) == -1)
        if (e.code != EC_BUSY)
            die ("result");
}

static double cycles (size_t jobs)
{
    struct client *c[CLIENTS], *w[WORKERS];
    size_t sent = 0, done = 0, flying[CLIENTS] = { 0 };
    size_t first = sub_count;
    sign_more (jobs);
    for (int i = 0; i < CLIENTS; i++)
        if (client_open (&c[i], admin, ROLE_BROKER, 10000, &e) == -1)
            die ("client");
    for (int i = 0; i < WORKERS; i++)
        w[i] = worker_open (i, CREDIT);
    double began = now_s ();
    unsigned since[WORKERS] = { 0 };
    while (done < jobs) {
        for (int i = 0; i < CLIENTS; i++)
            while (flying[i] < WINDOW && sent < jobs) {
                submit (c[i], &subs[first + sent++]);
                flying[i]++;
            }
        zmq_pollitem_t items[CLIENTS + WORKERS];
        for (int i = 0; i < CLIENTS; i++)
            items[i] = (zmq_pollitem_t){ zsock_resolve (client_socket (c[i])), 0, ZMQ_POLLIN, 0 };
        for (int i = 0; i < WORKERS; i++)
            items[CLIENTS + i] = (zmq_pollitem_t){ zsock_resolve (client_socket (w[i])), 0, ZMQ_POLLIN, 0 };
        if (zmq_poll (items, CLIENTS + WORKERS, 10000) <= 0)
            die ("nothing for 10 s");
        struct net_in in;
        struct msg m;
        for (int i = 0; i < CLIENTS; i++)
            while (net_recv (client_socket (c[i]), &in, &e) == 1) {
                if (msg_decode (in.data, &m, &e) == -1 || m.type != MSG_submitted)
                    die ("submitted");
                submitted_len = in.data.len;
                flying[i]--;
                msg_release (&m);
                net_in_release (&in);
            }
        for (int i = 0; i < WORKERS; i++)
            while (net_recv (client_socket (w[i]), &in, &e) == 1) {
                if (msg_decode (in.data, &m, &e) == -1)
                    die ("worker");
                if (m.type == MSG_lease) {
                    lease_len = in.data.len;
                    answer_lease (w[i], &m.u.lease);
                    if (++since[i] == CREDIT / 2) { /* what is on its way stays within the credit: else leases pile up in the sockets */
                        worker_ready (w[i], CREDIT / 2);
                        since[i] = 0;
                    }
                } else if (m.type == MSG_ok)
                    done++;
                msg_release (&m);
                net_in_release (&in);
            }
    }
    double took = now_s () - began;
    for (int i = 0; i < CLIENTS; i++)
        client_close (&c[i]);
    for (int i = 0; i < WORKERS; i++)
        client_close (&w[i]);
    return (double) jobs / took;
}

/* Submit to lease received, one at a time. */
static void latency (double *p50, double *p99)
{
    struct client *c = NULL, *w = worker_open (0, 1);
    double t[LATENCY_ROUNDS];
    size_t first = sub_count;
    sign_more (LATENCY_ROUNDS);
    if (client_open (&c, admin, ROLE_BROKER, 10000, &e) == -1)
        die ("client");
    for (int i = 0; i < LATENCY_ROUNDS; i++) {
        struct net_in in;
        struct msg m;
        bool leased = false, answered = false;
        double began = now_s ();
        submit (c, &subs[first + (size_t) i]);
        while (!leased) {
            if (client_recv (w, 0, 5000, &in, &m, &e) == -1)
                die ("lease");
            leased = m.type == MSG_lease;
            if (leased) {
                t[i] = now_s () - began;
                answer_lease (w, &m.u.lease);
            }
            msg_release (&m);
            net_in_release (&in);
        }
        while (!answered) {
            if (client_recv (w, 0, 5000, &in, &m, &e) == -1)
                die ("ok");
            answered = m.type == MSG_ok;
            msg_release (&m);
            net_in_release (&in);
        }
        worker_ready (w, 1);
        if (client_recv (c, 0, 5000, &in, &m, &e) == 0) {
            msg_release (&m);
            net_in_release (&in);
        }
        usleep (2000);
    }
    *p50 = quantile (t, LATENCY_ROUNDS, 0.5) * 1e6;
    *p99 = quantile (t, LATENCY_ROUNDS, 0.99) * 1e6;
    client_close (&c);
    client_close (&w);
}

/* ---- the bare side ---- */

#define BATCH 512
struct bare {
    const char *dir;
    struct sign_key key;
    const uint8_t *pub;
    struct net_in in[BATCH];
    bool sub[BATCH], good[BATCH];
};

/* Frames say what they are by their first byte: 's' a submission, after a byte; 'r' a result. */
static void bare_check (void *arg, size_t i)
{
    struct bare *b = arg;
    struct bytes d = b->in[i].data;
    struct envelope v = { 0 };
    struct err bad = ERR_INIT;
    b->sub[i] = d.len && d.p[0] == 's';
    b->good[i] = !b->sub[i];
    if (b->sub[i] && envelope_open (bytes_of (d.p + 9, d.len - 9), TYPE_SUBMISSION, &v, &bad) == 0) {
        uint8_t sig[64], lease[400] = { 0 };
        b->good[i] = envelope_check (&v, b->pub, &bad) == 0;
        crypto_sign_detached (sig, NULL, lease, sizeof lease, b->key.sec);
        envelope_release (&v);
    }
}

static void bare_serve (zsock_t *router, void *arg)
{
    static uint8_t reply[8192];
    struct bare *b = arg;
    struct pool *pool = pool_new (0);
    char *path = xasprintf ("%s/bare.log", b->dir);
    int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    BUF (log);
    for (;;) {
        size_t n = 0;
        net_wait (router, -1);
        while (n < BATCH && net_recv (router, &b->in[n], &e) == 1)
            n++;
        pool_run (pool, n, bare_check, b);
        log.len = 0;
        for (size_t i = 0; i < n; i++)
            buf_add (&log, b->in[i].data.p, b->in[i].data.len);
        if (!file_write_all (fd, log.p, log.len) || fdatasync (fd) == -1)
            _exit (1);
        for (size_t i = 0; i < n; i++) {
            struct bytes route = bytes_of (b->in[i].route, b->in[i].route_len), d = b->in[i].data;
            uint32_t size[2] = { 0, 0 };
            if (!b->good[i])
                _exit (1);
            reply[0] = b->sub[i] ? 'a' : 'k';
            if (b->sub[i]) {
                memcpy (size, d.p + 1, sizeof size); /* of the answer and of the lease */
                net_send (router, route, bytes_of (reply, size[0]), &e);
                reply[0] = 'l';
                net_send (router, route, bytes_of (reply, size[1]), &e);
            } else
                net_send (router, route, bytes_of (reply, 12), &e);
            net_in_release (&b->in[i]);
        }
    }
}

static void bare_submit (zsock_t *c, const struct buf *sub)
{
    uint8_t frame[8192];
    uint32_t size[2] = { (uint32_t) submitted_len, (uint32_t) lease_len };
    frame[0] = 's';
    memcpy (frame + 1, size, sizeof size);
    memcpy (frame + 9, sub->p, sub->len);
    if (net_send (c, bytes_of (NULL, 0), bytes_of (frame, sub->len + 9), &e) == -1)
        die ("bare submit");
}

/* One at a time: submit, verify, sync, answer. */
static double bare_round (struct far *f)
{
    double rounds[LATENCY_ROUNDS];
    struct net_in in;
    zsock_t *c = far_connect (f);
    for (int i = 0; i < LATENCY_ROUNDS; i++) {
        double began = now_s ();
        bare_submit (c, &subs[i]);
        for (int got = 0; got < 2;) {
            net_wait (c, 1000);
            while (net_recv (c, &in, &e) == 1) {
                got++;
                net_in_release (&in);
            }
        }
        rounds[i] = now_s () - began;
        usleep (2000);
    }
    zsock_destroy (&c);
    return quantile (rounds, LATENCY_ROUNDS, 0.5) * 1e6;
}

static double bare_cycles (struct far *f, size_t jobs)
{
    static const uint8_t result[8192] = { 'r' };
    zsock_t *c[CLIENTS];
    size_t sent = 0, done = 0, flying[CLIENTS] = { 0 };
    struct net_in in;
    for (int i = 0; i < CLIENTS; i++)
        c[i] = far_connect (f);
    double began = now_s ();
    while (done < jobs) {
        for (int i = 0; i < CLIENTS; i++)
            while (flying[i] < WINDOW && sent < jobs) {
                bare_submit (c[i], &subs[sent++ % sub_count]);
                flying[i]++;
            }
        zmq_pollitem_t items[CLIENTS];
        for (int i = 0; i < CLIENTS; i++)
            items[i] = (zmq_pollitem_t){ zsock_resolve (c[i]), 0, ZMQ_POLLIN, 0 };
        zmq_poll (items, CLIENTS, 1000);
        for (int i = 0; i < CLIENTS; i++)
            while (net_recv (c[i], &in, &e) == 1) {
                if (in.data.p[0] == 'a')
                    flying[i]--;
                else if (in.data.p[0] == 'l')
                    net_send (c[i], bytes_of (NULL, 0), bytes_of (result, result_len), &e);
                else
                    done++;
                net_in_release (&in);
            }
    }
    double rate = (double) jobs / (now_s () - began);
    for (int i = 0; i < CLIENTS; i++)
        zsock_destroy (&c[i]);
    return rate;
}

/* ---- many queued ---- */

static void queued (const char *program, const char *dir, pid_t *broker, size_t n)
{
    struct client *c = NULL;
    size_t sent = 0, answered = 0;
    kill (*broker, SIGTERM); /* a fresh one: what an older has set aside would hide what the queue takes */
    waitpid (*broker, NULL, 0);
    *broker = bench_daemon (program, dir);
    if (client_open (&c, admin, ROLE_BROKER, 10000, &e) == -1)
        die ("client");
    long before = rss_kib (*broker);
    while (answered < n) {
        for (; sent < n && sent - answered < 1024; sent++) {
            BUF (sub);
            sign_one (&sub);
            submit (c, &sub);
        }
        struct net_in in;
        struct msg m;
        if (!net_wait (client_socket (c), 10000))
            die ("nothing for 10 s");
        while (net_recv (client_socket (c), &in, &e) == 1) {
            if (msg_decode (in.data, &m, &e) == -1 || m.type != MSG_submitted)
                die ("submitted");
            answered++;
            msg_release (&m);
            net_in_release (&in);
        }
    }
    client_close (&c);
    long after = rss_kib (*broker);
    char name[128];
    snprintf (name, sizeof name, "memory for each queued step, %zu queued", n);
    line (name, (double) (after - before) * 1024 / (double) n, 100, "bytes", 1, "max");
    kill (*broker, SIGKILL);
    waitpid (*broker, NULL, 0);
    double began = now_s ();
    *broker = bench_daemon (program, dir);
    struct client *w = worker_open (0, 1);
    struct net_in in;
    struct msg m;
    if (client_recv (w, 0, 20000, &in, &m, &e) == -1 || m.type != MSG_lease)
        die ("no lease after the restart");
    snprintf (name, sizeof name, "SIGKILL with %zu queued: restart to first lease", n);
    line (name, now_s () - began, 0.2, "s", 1, "max");
    msg_release (&m);
    net_in_release (&in);
    client_close (&w);
}

int main (int argc, char **argv)
{
    if (argc != 6)
        return 2;
    const char *realm = argv[1], *program = argv[2];
    size_t jobs = strtoul (argv[3], NULL, 10), many = strtoul (argv[4], NULL, 10), rounds = strtoul (argv[5], NULL, 10);
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    char *dir = xasprintf ("%s/broker", realm);
    static struct bare b;
    struct far far;
    if (realm_open (&admin, realm, &e) == -1)
        die ("realm");
    for (int i = 0; i < WORKERS; i++) {
        char *w CLEANUP (free_ptr) = xasprintf ("%s/worker-%d", realm, i + 1);
        if (realm_open (&worker[i], w, &e) == -1)
            die ("realm");
    }
    b.dir = dir;
    b.pub = realm_keys (admin)->sign.pub;
    if (rootkey_make (&b.key, &e) == -1)
        die ("key");
    far_start (&far, bare_serve, &b);
    zsys_handler_set (NULL);
    pid_t broker = bench_daemon (program, dir);
    double p50[ROUNDS_MAX], p99[ROUNDS_MAX], bare_p50[ROUNDS_MAX], ours[ROUNDS_MAX], bare[ROUNDS_MAX], ratio[ROUNDS_MAX];
    sign_more (LATENCY_ROUNDS);
    cycles (jobs / 10); /* warm, and the sizes of the frames are known */
    long warm = rss_kib (broker), warm_fds = fd_count (broker);
    for (size_t i = 0; i < rounds; i++) { /* in turns; medians count */
        latency (&p50[i], &p99[i]);
        bare_p50[i] = bare_round (&far);
        ours[i] = cycles (jobs);
        bare[i] = bare_cycles (&far, jobs);
        ratio[i] = ours[i] / bare[i];
    }
    fprintf (stderr, "   cycles, ratio of each round, sorted:");
    quantile (ratio, rounds, 0.5);
    for (size_t i = 0; i < rounds; i++)
        fprintf (stderr, " %.2f", ratio[i]);
    fprintf (stderr, "\n   broker after %zu jobs: rss %ld KiB (%ld KiB after the first %zu), descriptors %ld (%ld)\n", jobs * rounds, rss_kib (broker), warm, jobs / 10, fd_count (broker),
             warm_fds);
    char name[128];
    snprintf (name, sizeof name, "whole cycles a second, %d clients, window %d; limit: bare loop", CLIENTS, WINDOW);
    line (name, quantile (ours, rounds, 0.5), quantile (bare, rounds, 0.5), "jobs/s", 0.7, "min");
    snprintf (name, sizeof name, "dispatch when idle, p50 (p99 %.0f); limit: bare round", quantile (p99, rounds, 0.5));
    line (name, quantile (p50, rounds, 0.5), quantile (bare_p50, rounds, 0.5), "us", 1.5, "max");
    queued (program, dir, &broker, many);
    kill (broker, SIGTERM);
    waitpid (broker, NULL, 0);
    far_stop (&far);
    rootkey_release (&b.key);
    for (size_t i = 0; i < sub_count; i++)
        buf_release (&subs[i]);
    free (subs);
    realm_close (&admin);
    for (int i = 0; i < WORKERS; i++)
        realm_close (&worker[i]);
    free (dir);
    return 0;
}
