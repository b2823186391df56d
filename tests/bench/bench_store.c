/* bench_store: durable uploads by a worker under a lease, beside bare CURVE over loopback in 1 MiB frames.
 *
 *     bench_store REALM FOLDER MIB FILES ROUNDS      the realm is up; FOLDER is on the disk that the store is on
 *
 * The bare side sends as many bytes, a window of 8 frames as the store's credit is, each frame acknowledged; nothing is hashed or written. The disk's own
 * rate (write and fdatasync of as many bytes, nothing else) is printed beside it.
 */
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "bench.h"
#include "store/client.h"

#define FRAME (1u << 20)
#define WINDOW 8
#define ROUNDS_MAX 25

static struct realm *worker, *broker;

/* A lease as the broker gives it, for one upload. */
static void lease (struct buf *out)
{
    struct msg m = MSG_INIT (lease_body, 0);
    struct msg_lease_body *b = &m.u.lease_body;
    const struct principal *who = realm_self (worker);
    BUF (body);
    b->broker = bytes_str (realm_name (broker));
    b->worker = bytes_str (who->name);
    b->owner = bytes_str (who->owner);
    b->step = bytes_str ("build");
    b->project = bytes_str ("bench");
    b->ref = bytes_str ("refs/heads/main");
    b->max_bytes = UINT64_C (1) << 40;
    b->issued = (uint64_t) time_now_us ();
    b->expires = b->issued + UINT64_C (3600000000);
    randombytes_buf (b->submission.b, 32);
    randombytes_buf (b->image.b, 32);
    randombytes_buf (b->nonce.b, 32);
    msg_encode (&m, &body);
    envelope_sign (TYPE_LEASE, buf_bytes (&body), &realm_keys (broker)->sign, out);
}

static double upload (const char *dir)
{
    BUF (manifest);
    BUF (receipt);
    BUF (l);
    int fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1 || manifest_scan (fd, NULL, NULL, &manifest, &bench_err) == -1)
        bench_die ("scan");
    lease (&l);
    double began = now_s ();
    if (store_put (worker, fd, buf_bytes (&manifest), buf_bytes (&l), 60000, &receipt, &bench_err) == -1)
        bench_die ("put");
    double took = now_s () - began;
    close (fd);
    return took;
}

/* Each block differs; making all of it random would take longer than sending it. */
static double fill (const char *path, size_t size, bool sync)
{
    static uint8_t block[FRAME];
    int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    double began = now_s ();
    for (size_t at = 0; at < size; at += sizeof block) {
        size_t n = size - at < sizeof block ? size - at : sizeof block;
        randombytes_buf (block, n < 4096 ? n : 4096);
        if (!file_write_all (fd, block, n))
            bench_die ("fill");
    }
    if (sync && fdatasync (fd) == -1)
        bench_die ("sync");
    close (fd);
    return now_s () - began;
}

static void serve (zsock_t *router, void *arg)
{
    struct net_in in;
    (void) arg;
    for (;;) {
        net_wait (router, -1);
        while (net_recv (router, &in, &bench_err) == 1) {
            net_send (router, bytes_of (in.route, in.route_len), bytes_of ("k", 1), &bench_err);
            net_in_release (&in);
        }
    }
}

static double bare (struct far *f, size_t frames)
{
    size_t sent = 0, answered = 0;
    struct net_in in;
    zsock_t *c = far_connect (f);
    double began = now_s ();
    while (answered < frames) {
        for (; sent < frames && sent - answered < WINDOW; sent++) {
            struct buf b = { NULL, 0, 0 };
            buf_grow (&b, FRAME); /* what is in it is nobody's concern: no reading, no copying on this side */
            net_send_take (c, bytes_of (NULL, 0), &b, &bench_err);
        }
        net_wait (c, 1000);
        while (net_recv (c, &in, &bench_err) == 1) {
            answered++;
            net_in_release (&in);
        }
    }
    double took = now_s () - began;
    zsock_destroy (&c);
    return took;
}

int main (int argc, char **argv)
{
    if (argc != 6)
        return 2;
    size_t mib = strtoul (argv[3], NULL, 10), files = strtoul (argv[4], NULL, 10), rounds = strtoul (argv[5], NULL, 10);
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    char *wdir = xasprintf ("%s/worker-1", argv[1]), *bdir = xasprintf ("%s/broker", argv[1]), *disk = xasprintf ("%s/disk", argv[2]);
    double ours[ROUNDS_MAX], limit[ROUNDS_MAX], ratio[ROUNDS_MAX], small[ROUNDS_MAX], raw[ROUNDS_MAX];
    struct far far;
    if (sodium_init () == -1)
        return 1;
    far_start (&far, serve, NULL);
    if (realm_open (&worker, wdir, &bench_err) == -1 || realm_open (&broker, bdir, &bench_err) == -1)
        bench_die ("realm");
    for (size_t i = 0; i < rounds; i++) {
        char *large = xasprintf ("%s/large-%zu", argv[2], i), *many = xasprintf ("%s/many-%zu", argv[2], i), *file = xasprintf ("%s/file", large);
        if (file_mkdirs (large, 0755, &bench_err) == -1 || file_mkdirs (many, 0755, &bench_err) == -1)
            bench_die ("folders");
        fill (file, mib << 20, false);
        for (size_t n = 0; n < files; n++) {
            char *path CLEANUP (free_ptr) = xasprintf ("%s/f%06zu", many, n);
            fill (path, 4096, false);
        }
        sync ();
        raw[i] = (double) mib / fill (disk, mib << 20, true);
        unlink (disk);
        limit[i] = (double) mib / bare (&far, mib);
        ours[i] = (double) mib / upload (large);
        ratio[i] = ours[i] / limit[i];
        sync ();
        small[i] = (double) files / upload (many);
        unlink (file);
        free (large);
        free (many);
        free (file);
    }
    fprintf (stderr, "   ratio of each round, sorted:");
    quantile (ratio, rounds, 0.5);
    for (size_t i = 0; i < rounds; i++)
        fprintf (stderr, " %.2f", ratio[i]);
    fprintf (stderr, "\n");
    char name[128];
    double bare_rate = quantile (limit, rounds, 0.5);
    snprintf (name, sizeof name, "upload of %zu MiB, durable; limit: bare CURVE", mib);
    line (name, quantile (ours, rounds, 0.5), bare_rate, "MiB/s", 0.85, "min");
    snprintf (name, sizeof name, "upload of %zu files of 4 KiB, durable", files);
    line (name, quantile (small, rounds, 0.5), 20000, "files/s", 1, "min");
    snprintf (name, sizeof name, "... limit: this disk, write and fdatasync alone");
    line (name, quantile (ours, rounds, 0.5), quantile (raw, rounds, 0.5), "MiB/s", 0, "-");
    line ("this disk, write and fdatasync alone; limit: bare CURVE", quantile (raw, rounds, 0.5), bare_rate, "MiB/s", 0, "-");
    far_stop (&far);
    realm_close (&worker);
    realm_close (&broker);
    free (wdir);
    free (bdir);
    free (disk);
    return 0;
}
