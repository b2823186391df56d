/* bench_step: a null step from submission to verdict, beside the bare sum of what that cannot do without.
 *
 *     bench_step REALM ID ROOTFS ROUNDS SYNCS
 *     bench_step REALM ID STEPS        so many of these steps, one after the other, and no word of it
 *
 * The realm is up, its worker's isolation is bwrap; ID is a submission that went through it already, so the commit is in the mirror and the image in
 * the cache. Each round submits it anew (signed with a nonce of its own) and waits for its verdict on the events' socket. The bare sum, a round for
 * a round: bwrap of the same command over the unpacked image with the options that a step has; SYNCS writes of a database's pages, each with its
 * fdatasync: the commits that lie one after the other on the way (submission and lease, result, verdict at the verifier, verdict at the broker);
 * and three CURVE rounds with frames of a submission's and a result's size.
 */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "bench.h"
#include "proto/statement.h"

#define ROUNDS_MAX 1000
#define PAGES 10 /* of 4 KiB in one commit */

static struct realm *admin;

static void submission (struct client *c, const char *hex, struct buf *body)
{
    struct msg m = MSG_INIT (submission_get, 0);
    struct net_in in;
    struct envelope v;
    if (!digest_parse (hex, &m.u.submission_get.id) || client_ask (c, &m, MSG_submission, &in, &bench_err) == -1
        || envelope_open (m.u.submission.envelope, TYPE_SUBMISSION, &v, &bench_err) == -1)
        bench_die ("submission");
    buf_add (body, v.body.p, v.body.len);
    envelope_release (&v);
    msg_release (&m);
    net_in_release (&in);
}

/* The same once more, with a nonce of its own. */
static void again (const struct buf *body, struct buf *out, struct digest *id)
{
    struct msg m;
    BUF (own);
    struct envelope v;
    if (msg_decode_as (buf_bytes (body), MSG_submission_body, &m, &bench_err) == -1)
        bench_die ("submission");
    m.u.submission_body.issued = (uint64_t) time_now_us ();
    m.u.submission_body.expires = m.u.submission_body.issued + UINT64_C (3600000000);
    randombytes_buf (m.u.submission_body.nonce.b, 32);
    msg_encode (&m, &own);
    msg_release (&m);
    out->len = 0;
    envelope_sign (TYPE_SUBMISSION, buf_bytes (&own), &realm_keys (admin)->sign, out);
    if (envelope_open (buf_bytes (out), TYPE_SUBMISSION, &v, &bench_err) == -1)
        bench_die ("submission");
    *id = envelope_id (&v);
    envelope_release (&v);
}

/* Until the verdict on id comes. */
static void await (zsock_t *events, const struct digest *id)
{
    for (bool done = false; !done;) {
        struct net_in in;
        struct msg m;
        if (!net_wait (events, 20000))
            bench_die ("no verdict within 20 s");
        while (!done && net_recv (events, &in, &bench_err) == 1) {
            if (msg_decode_as (in.data, MSG_event, &m, &bench_err) == -1)
                bench_die ("event");
            done = digest_eq (&m.u.event.id, id) && bytes_eqs (m.u.event.kind, "verdict");
            if (done && !bytes_eqs (m.u.event.state, "trusted"))
                bench_die ("the verdict is not \"trusted\"");
            msg_release (&m);
            net_in_release (&in);
        }
    }
}

static double ours (struct client *c, zsock_t *events, const struct buf *body)
{
    BUF (raw);
    struct digest id;
    again (body, &raw, &id);
    double began = now_s ();
    struct msg m = MSG_INIT (submit, client_request (c));
    m.u.submit.envelope = buf_bytes (&raw);
    if (client_send (c, &m, &bench_err) == -1)
        bench_die ("submit");
    await (events, &id);
    double took = now_s () - began;
    struct net_in in;
    if (client_recv (c, m.request, 5000, &in, &m, &bench_err) == 0) {
        msg_release (&m);
        net_in_release (&in);
    }
    return took;
}

static void serve (zsock_t *router, void *arg)
{
    struct net_in in;
    (void) arg;
    for (;;) {
        net_wait (router, -1);
        while (net_recv (router, &in, &bench_err) == 1) {
            net_send (router, bytes_of (in.route, in.route_len), in.data, &bench_err);
            net_in_release (&in);
        }
    }
}

static void curve (zsock_t *z, size_t bytes)
{
    static const uint8_t frame[8192];
    struct net_in in;
    net_send (z, bytes_of (NULL, 0), bytes_of (frame, bytes), &bench_err);
    if (!net_wait (z, 5000) || net_recv (z, &in, &bench_err) != 1)
        bench_die ("curve");
    net_in_release (&in);
}

static void commit (int fd)
{
    static const uint8_t pages[PAGES * 4096];
    if (!file_write_all (fd, pages, sizeof pages) || fdatasync (fd) == -1)
        bench_die ("sync");
}

static void bwrap (const char *root, const char *area)
{
    int status = -1;
    pid_t pid = fork ();
    if (pid == 0) {
        int null = open ("/dev/null", O_RDWR);
        dup2 (null, 0), dup2 (null, 1), dup2 (null, 2);
        execlp ("bwrap", "bwrap", "--unshare-user", "--unshare-all", "--disable-userns", "--new-session", "--die-with-parent", "--clearenv", "--cap-drop", "ALL", "--uid", "1000", "--gid",
                "1000", "--hostname", "build", "--ro-bind", root, "/", "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/dev/shm", "--bind", area, "/src", "--chdir", "/src", "--",
                "/bin/sh", "-ec", "true", (char *) NULL);
        _exit (126);
    }
    if (waitpid (pid, &status, 0) == -1 || !WIFEXITED (status) || WEXITSTATUS (status) != 0)
        bench_die ("bwrap");
}

int main (int argc, char **argv)
{
    if (argc != 6 && argc != 4)
        return 2;
    size_t rounds = argc == 6 ? strtoul (argv[4], NULL, 10) : 1;
    int syncs = argc == 6 ? atoi (argv[5]) : 0;
    double all[ROUNDS_MAX], sum[ROUNDS_MAX], part[3][ROUNDS_MAX];
    struct client *c = NULL;
    struct far far;
    char name[128], *path = xasprintf ("%s/bench.sync", argv[1]);
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    if (sodium_init () == -1)
        return 1;
    far_start (&far, serve, NULL);
    if (realm_open (&admin, argv[1], &bench_err) == -1 || client_open (&c, admin, ROLE_BROKER, 5000, &bench_err) == -1)
        bench_die ("realm");
    const struct principal *broker = roster_role (realm_roster (admin), ROLE_BROKER, 0);
    zsock_t *events = net_sub (broker->events, broker->transport_key, &realm_keys (admin)->transport, 10000, &bench_err), *z = far_connect (&far);
    int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    BUF (body);
    if (!events || fd == -1)
        bench_die ("start");
    zmq_setsockopt (zsock_resolve (events), ZMQ_SUBSCRIBE, "", 0);
    submission (c, argv[2], &body);
    curve (z, 100);
    sleep (1); /* the subscription is in */
    ours (c, events, &body);
    for (long i = argc == 4 ? atol (argv[3]) : 0; i > 1; i--)
        ours (c, events, &body);
    for (size_t i = 0; argc == 6 && i < rounds; i++) {
        all[i] = ours (c, events, &body) * 1000;
        double t[4] = { now_s () };
        bwrap (argv[3], argv[1]);
        t[1] = now_s ();
        for (int n = 0; n < syncs; n++)
            commit (fd);
        t[2] = now_s ();
        curve (z, 800);
        curve (z, 1500);
        curve (z, 4500);
        t[3] = now_s ();
        for (int n = 0; n < 3; n++)
            part[n][i] = (t[n + 1] - t[n]) * 1000;
        sum[i] = (t[3] - t[0]) * 1000;
    }
    if (argc == 4)
        goto out;
    fprintf (stderr, "   bare sum, p50: bwrap %.1f ms, %d commits %.1f ms, three CURVE rounds %.1f ms\n", quantile (part[0], rounds, 0.5), syncs, quantile (part[1], rounds, 0.5),
             quantile (part[2], rounds, 0.5));
    snprintf (name, sizeof name, "null step, bwrap, push to verdict, p50 (p99 %.0f); limit: the bare sum", quantile (all, rounds, 0.99));
    line (name, quantile (all, rounds, 0.5), quantile (sum, rounds, 0.5), "ms", 2, "max");
out:
    zsock_destroy (&events);
    zsock_destroy (&z);
    close (fd);
    unlink (path);
    client_close (&c);
    far_stop (&far);
    realm_close (&admin);
    free (path);
    return 0;
}
