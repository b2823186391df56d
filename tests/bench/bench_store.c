/* bench_store: durable uploads beside bare CURVE over loopback in 1 MiB frames, in the same run.
 *
 *     bench_store REALM FOLDER MIB FILES      the realm is up; FOLDER is on the disk that the store is on
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "store/client.h"

static struct err e = ERR_INIT;

static void die (const char *what)
{
    fprintf (stderr, "bench_store: %s: %s\n", what, e.msg);
    exit (1);
}

static double now_s (void)
{
    struct timespec t;
    clock_gettime (CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static double upload (struct realm *rl, const char *dir)
{
    BUF (manifest);
    BUF (receipt);
    int fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1 || manifest_scan (fd, NULL, NULL, &manifest, &e) == -1)
        die ("scan");
    double began = now_s ();
    if (store_put (rl, fd, buf_bytes (&manifest), bytes_of (NULL, 0), 60000, &receipt, &e) == -1)
        die ("put");
    double took = now_s () - began;
    close (fd);
    return took;
}

static void fill (const char *path, size_t size)
{
    static uint8_t block[1 << 20];
    int fd = open (path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    for (size_t at = 0; at < size; at += sizeof block) {
        size_t n = size - at < sizeof block ? size - at : sizeof block;
        randombytes_buf (block, n < 4096 ? n : 4096); /* each block differs; making all of it random would take longer than sending it */
        if (!file_write_all (fd, block, n))
            die ("fill");
    }
    fsync (fd);
    close (fd);
}

/* ---- bare: 1 MiB frames, a window of 16, each acknowledged ---- */

static struct keys server, client;
static zsock_t *router;

static void *sink (void *arg)
{
    size_t left = *(size_t *) arg;
    struct net_in in;
    while (left) {
        net_wait (router, 1000);
        while (left && net_recv (router, &in, &e) == 1) {
            left -= in.data.len < left ? in.data.len : left;
            net_send (router, bytes_of (in.route, in.route_len), bytes_of ("k", 1), &e);
            net_in_release (&in);
        }
    }
    return NULL;
}

static double bare (size_t size)
{
    static uint8_t block[1 << 20];
    size_t left = size, open = 0, all = size;
    pthread_t t;
    struct net_in in;
    zsock_t *c = net_dealer (net_endpoint (router), server.transport.pub, &client.transport, 1000, &e);
    pthread_create (&t, NULL, sink, &all);
    double began = now_s ();
    while (left || open) {
        while (left && open < 16) {
            net_send (c, bytes_of (NULL, 0), bytes_of (block, sizeof block), &e);
            left -= sizeof block;
            open++;
        }
        net_wait (c, 1000);
        while (net_recv (c, &in, &e) == 1) {
            open--;
            net_in_release (&in);
        }
    }
    pthread_join (t, NULL);
    double took = now_s () - began;
    zsock_destroy (&c);
    return took;
}

static int by_value (const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return x < y ? -1 : x > y;
}

int main (int argc, char **argv)
{
    struct realm *rl = NULL;
    if (argc != 5)
        return 2;
    size_t mib = strtoul (argv[3], NULL, 10), files = strtoul (argv[4], NULL, 10);
    if (realm_open (&rl, argv[1], &e) == -1 || keys_make (&server, &e) == -1 || keys_make (&client, &e) == -1)
        die ("realm");
    char *large = xasprintf ("%s/large", argv[2]), *many = xasprintf ("%s/many", argv[2]), *file = xasprintf ("%s/large/file", argv[2]);
    double ours[3], limit[3], small[3];
    if (net_start (&e) == -1)
        die ("start");
    net_admit ((const uint8_t (*)[32]) client.transport.pub, 1);
    if (!(router = net_router ("tcp://127.0.0.1:*", &server.transport, 1000, &e)))
        die ("bare");
    for (int i = 0; i < 3; i++) {
        if (file_remove_tree (large, &e) == -1 || file_remove_tree (many, &e) == -1 || file_mkdirs (large, 0755, &e) == -1 || file_mkdirs (many, 0755, &e) == -1)
            die ("folders");
        fill (file, mib << 20);
        for (size_t n = 0; n < files; n++) {
            char *path CLEANUP (free_ptr) = xasprintf ("%s/f%06zu", many, n);
            uint8_t block[4096];
            randombytes_buf (block, sizeof block);
            int fd = open (path, O_WRONLY | O_CREAT, 0644);
            if (!file_write_all (fd, block, sizeof block))
                die ("files");
            close (fd);
        }
        sync ();
        limit[i] = (double) mib / bare (mib << 20);
        ours[i] = (double) mib / upload (rl, large);
        sync ();
        small[i] = (double) files / upload (rl, many);
    }
    qsort (ours, 3, sizeof *ours, by_value);
    qsort (limit, 3, sizeof *limit, by_value);
    qsort (small, 3, sizeof *small, by_value);
    printf ("upload of %zu MiB, durable\t%.0f\t%.0f\tMiB/s\n", mib, ours[1], limit[1]);
    printf ("upload of %zu files of 4 KiB, durable\t%.0f\t20000\tfiles/s\n", files, small[1]);
    zsock_destroy (&router);
    net_stop ();
    realm_close (&rl);
    keys_release (&server);
    keys_release (&client);
    free (large);
    free (many);
    free (file);
    return 0;
}
