/* bench_broker: the broker's speed, beside a bare loop that does only what the job cannot do without, in the same run.
 *
 *     bench_broker REALM BROKER-PROGRAM JOBS QUEUED       prints lines "metric<TAB>ours<TAB>limit<TAB>unit"
 *
 * REALM is fresh (assay init). Submissions are signed before the clock starts, on both sides. A cycle: submit, verify, store, answer; lease
 * (signed); result, store, answer. The bare side: one Ed25519 verification, one signature, the same five frames under CURVE, and one
 * fdatasync for each batch; no queue, no roster, no events.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "auth/realm.h"
#include "base/file.h"

#define CLIENTS 16
#define WINDOW 64
#define WORKERS 4
#define LATENCY_ROUNDS 400

static struct err e = ERR_INIT;
static struct realm *admin, *worker[WORKERS];
static struct buf *subs;      /* signed submissions */
static size_t sub_count;

static void die (const char *what)
{
    fprintf (stderr, "bench_broker: %s: %s\n", what, e.msg);
    exit (1);
}

static double now_s (void)
{
    struct timespec t;
    clock_gettime (CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

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

/* ---- the broker as a child ---- */

static pid_t broker_start (const char *program, const char *dir)
{
    int p[2];
    char c;
    if (pipe (p) == -1)
        die ("pipe");
    pid_t pid = fork ();
    if (pid == 0) {
        int null = open ("/dev/null", O_WRONLY);
        prctl (PR_SET_PDEATHSIG, SIGKILL);
        dup2 (p[1], 1);
        dup2 (null, 2);
        execl (program, program, "--dir", dir, (char *) NULL);
        _exit (127);
    }
    close (p[1]);
    if (read (p[0], &c, 1) != 1)
        die ("the broker does not start");
    close (p[0]);
    return pid;
}

static long rss_kib (pid_t pid)
{
    char path[64], line[256];
    long v = 0;
    snprintf (path, sizeof path, "/proc/%d/status", (int) pid);
    FILE *f = fopen (path, "r");
    while (f && fgets (line, sizeof line, f))
        if (sscanf (line, "VmRSS: %ld", &v) == 1)
            break;
    if (f)
        fclose (f);
    return v;
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
        w[i] = worker_open (i, 256);
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
                flying[i]--;
                msg_release (&m);
                net_in_release (&in);
            }
        for (int i = 0; i < WORKERS; i++)
            while (net_recv (client_socket (w[i]), &in, &e) == 1) {
                if (msg_decode (in.data, &m, &e) == -1)
                    die ("worker");
                if (m.type == MSG_lease) {
                    answer_lease (w[i], &m.u.lease);
                    if (++since[i] == 128) {
                        worker_ready (w[i], 256);
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

static int by_value (const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return x < y ? -1 : x > y;
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
    qsort (t, LATENCY_ROUNDS, sizeof *t, by_value);
    *p50 = t[LATENCY_ROUNDS / 2] * 1e6;
    *p99 = t[LATENCY_ROUNDS * 99 / 100] * 1e6;
    client_close (&c);
    client_close (&w);
}

/* ---- the bare side ---- */

struct bare {
    zsock_t *router;
    int fd;
    volatile bool stop;
    const uint8_t *pub;
    struct sign_key lease_key;
};

struct job {
    struct bytes frame;
    bool good;
};
struct slice {
    struct job *jobs;
    size_t n;
    const uint8_t *pub;
};

static void *verify_slice (void *arg)
{
    struct slice *s = arg;
    for (size_t i = 0; i < s->n; i++) {
        struct envelope v = { 0 };
        struct err bad;
        s->jobs[i].good = s->jobs[i].frame.len > 100 && envelope_open (s->jobs[i].frame, TYPE_SUBMISSION, &v, &bad) == 0 && envelope_check (&v, s->pub, &bad) == 0;
        envelope_release (&v);
    }
    return NULL;
}

#define BATCH 512
static void *bare_server (void *arg)
{
    struct bare *b = arg;
    static uint8_t log[4096 * BATCH], reply[1200];
    while (!b->stop) {
        static struct net_in in[BATCH];
        static struct job jobs[BATCH];
        size_t n = 0, subs_in = 0, len = 0;
        if (!net_wait (b->router, 100))
            continue;
        while (n < BATCH && net_recv (b->router, &in[n], &e) == 1) {
            jobs[n].frame = in[n].data;
            memcpy (log + len, in[n].data.p, in[n].data.len < 4000 ? in[n].data.len : 4000);
            len += in[n].data.len < 4000 ? in[n].data.len : 4000;
            n++;
        }
        struct slice half[2] = { { jobs, n / 2, b->pub }, { jobs + n / 2, n - n / 2, b->pub } };
        pthread_t t;
        bool two = n > 8 && pthread_create (&t, NULL, verify_slice, &half[0]) == 0;
        if (!two)
            verify_slice (&half[0]);
        verify_slice (&half[1]);
        if (two)
            pthread_join (t, NULL);
        if (!file_write_all (b->fd, log, len) || fdatasync (b->fd) == -1)
            abort ();
        for (size_t i = 0; i < n; i++) {
            struct bytes route = bytes_of (in[i].route, in[i].route_len);
            if (jobs[i].good) {
                uint8_t sig[64];
                crypto_sign_detached (sig, NULL, reply, 300, b->lease_key.sec);
                net_send (b->router, route, bytes_of (reply, 60), &e);                                  /* submitted */
                net_send (b->router, route, bytes_of (reply, 400 + (subs_in++, in[i].data.len)), &e);   /* lease */
            } else
                net_send (b->router, route, bytes_of (reply, 10), &e);                                  /* ok */
            net_in_release (&in[i]);
        }
    }
    return NULL;
}

static void bare_run (const char *dir, size_t jobs, double *rate, double *round_us)
{
    struct bare b = { .stop = false, .pub = realm_keys (admin)->sign.pub };
    char *path CLEANUP (free_ptr) = xasprintf ("%s/bare.log", dir);
    zsock_t *c[CLIENTS];
    pthread_t t;
    static const uint8_t result[3080];
    size_t sent = 0, done = 0, flying[CLIENTS] = { 0 };
    struct keys server;
    if (keys_make (&server, &e) == -1 || rootkey_make (&b.lease_key, &e) == -1 || net_start (&e) == -1)
        die ("bare");
    net_admit ((const uint8_t (*)[32]) realm_keys (admin)->transport.pub, 1);
    b.router = net_router ("tcp://127.0.0.1:*", &server.transport, 10000, &e);
    b.fd = open (path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    char endpoint[256];
    snprintf (endpoint, sizeof endpoint, "%s", net_endpoint (b.router));
    for (int i = 0; i < CLIENTS; i++)
        c[i] = net_dealer (endpoint, server.transport.pub, &realm_keys (admin)->transport, 10000, &e);
    pthread_create (&t, NULL, bare_server, &b);
    /* one at a time first: a round is submit, verify, sync, answer */
    double rounds[LATENCY_ROUNDS];
    struct net_in in;
    for (int i = 0; i < LATENCY_ROUNDS; i++) {
        double began = now_s ();
        net_send (c[0], bytes_of (NULL, 0), buf_bytes (&subs[i]), &e);
        for (int got = 0; got < 2;) {
            net_wait (c[0], 1000);
            while (net_recv (c[0], &in, &e) == 1) {
                got++;
                net_in_release (&in);
            }
        }
        rounds[i] = now_s () - began;
        usleep (2000);
    }
    qsort (rounds, LATENCY_ROUNDS, sizeof *rounds, by_value);
    *round_us = rounds[LATENCY_ROUNDS / 2] * 1e6;
    double began = now_s ();
    while (done < jobs) {
        for (int i = 0; i < CLIENTS; i++)
            while (flying[i] < WINDOW && sent < jobs) {
                net_send (c[i], bytes_of (NULL, 0), buf_bytes (&subs[sent++ % sub_count]), &e);
                flying[i]++;
            }
        zmq_pollitem_t items[CLIENTS];
        for (int i = 0; i < CLIENTS; i++)
            items[i] = (zmq_pollitem_t){ zsock_resolve (c[i]), 0, ZMQ_POLLIN, 0 };
        zmq_poll (items, CLIENTS, 1000);
        for (int i = 0; i < CLIENTS; i++)
            while (net_recv (c[i], &in, &e) == 1) {
                if (in.data.len > 100) {
                    net_send (c[i], bytes_of (NULL, 0), bytes_of (result, 99), &e);
                    flying[i]--;
                } else if (in.data.len == 10)
                    done++;
                net_in_release (&in);
            }
    }
    *rate = (double) jobs / (now_s () - began);
    b.stop = true;
    pthread_join (t, NULL);
    for (int i = 0; i < CLIENTS; i++)
        zsock_destroy (&c[i]);
    zsock_destroy (&b.router);
    close (b.fd);
    keys_release (&server);
    rootkey_release (&b.lease_key);
    net_stop ();
}

/* ---- many queued ---- */

static void queued (const char *program, const char *dir, pid_t *broker, size_t n)
{
    struct client *c = NULL;
    size_t sent = 0, answered = 0;
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
    printf ("memory for each queued step, %zu queued\t%.1f\t100\tbytes\n", n, (double) (after - before) * 1024 / (double) n);
    kill (*broker, SIGKILL);
    waitpid (*broker, NULL, 0);
    double began = now_s ();
    *broker = broker_start (program, dir);
    struct client *w = worker_open (0, 1);
    struct net_in in;
    struct msg m;
    if (client_recv (w, 0, 20000, &in, &m, &e) == -1 || m.type != MSG_lease)
        die ("no lease after the restart");
    printf ("SIGKILL with %zu queued: restart to first lease\t%.3f\t0.2\ts\n", n, now_s () - began);
    msg_release (&m);
    net_in_release (&in);
    client_close (&w);
}

int main (int argc, char **argv)
{
    if (argc != 5)
        return 2;
    const char *realm = argv[1], *program = argv[2];
    size_t jobs = strtoul (argv[3], NULL, 10), many = strtoul (argv[4], NULL, 10);
    char *dir = xasprintf ("%s/broker", realm);
    if (realm_open (&admin, realm, &e) == -1)
        die ("realm");
    for (int i = 0; i < WORKERS; i++) {
        char *w CLEANUP (free_ptr) = xasprintf ("%s/worker-%d", realm, i + 1);
        if (realm_open (&worker[i], w, &e) == -1)
            die ("realm");
    }
    zsys_handler_set (NULL);
    pid_t broker = broker_start (program, dir);
    double p50, p99, ours[3], bare_rate[3], round_us = 0, rate;
    latency (&p50, &p99);
    sign_more (jobs);
    for (int i = 0; i < 3; i++) { /* alternating; the median counts */
        ours[i] = cycles (jobs);
        fflush (stdout);
    }
    queued (program, dir, &broker, many);
    kill (broker, SIGTERM);
    waitpid (broker, NULL, 0);
    for (int i = 0; i < 3; i++) {
        bare_run (dir, jobs, &rate, &round_us);
        bare_rate[i] = rate;
    }
    qsort (ours, 3, sizeof *ours, by_value);
    qsort (bare_rate, 3, sizeof *bare_rate, by_value);
    printf ("whole cycles a second, %d clients, window %d\t%.0f\t%.0f\tjobs/s\n", CLIENTS, WINDOW, ours[1], bare_rate[1]);
    printf ("dispatch when idle, p50 (p99 %.0f)\t%.0f\t%.0f\tus\n", p99, p50, round_us);
    for (size_t i = 0; i < sub_count; i++)
        buf_release (&subs[i]);
    free (subs);
    realm_close (&admin);
    for (int i = 0; i < WORKERS; i++)
        realm_close (&worker[i]);
    free (dir);
    return 0;
}
