/* bench_peers: the same work through others' queues, unsigned and in the clear, every change synced before its answer, in the same run.
 *
 *     bench_peers beanstalkd|redis DIR JOBS QUEUED ROUNDS       DIR: an empty folder for its state; the program is started and killed here
 *
 * beanstalkd: binlog with a sync at each write (-b DIR -f 0). Redis: a stream with a group, AOF, `appendfsync always`. Bodies of 800 bytes, as a submission.
 * Prints, by tabs: what (the first words of our own line's metric), value, unit, name and size: `run` puts ours beside them.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "bench.h"

#define CLIENTS 16
#define WINDOW 64
#define WORKERS 4
#define BODY 800
#define LATENCY_ROUNDS 200
#define ROUNDS_MAX 25

static bool redis;
static const char *name, *dir;
static uint16_t port;
static pid_t server;
static char body[BODY + 1];

/* ---- the server ---- */

static void server_start (void)
{
    char text[16];
    snprintf (text, sizeof text, "%u", port);
    server = fork ();
    if (server == 0) {
        int null = open ("/dev/null", O_RDWR);
        prctl (PR_SET_PDEATHSIG, SIGKILL);
        dup2 (null, 0), dup2 (null, 1), dup2 (null, 2);
        if (redis)
            execlp ("redis-server", "redis-server", "--bind", "127.0.0.1", "--port", text, "--dir", dir, "--appendonly", "yes", "--appendfsync", "always", "--save", "", (char *) NULL);
        else
            execlp ("beanstalkd", "beanstalkd", "-l", "127.0.0.1", "-p", text, "-b", dir, "-f", "0", (char *) NULL);
        _exit (127);
    }
}

static void server_kill (void)
{
    kill (server, SIGKILL);
    waitpid (server, NULL, 0);
}

struct conn {
    int fd;
    struct buf in;
    size_t at;
};

static int dial (void)
{
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons (port), .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
    int one = 1, fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connect (fd, (struct sockaddr *) &a, sizeof a) == -1) {
        close (fd);
        return -1;
    }
    setsockopt (fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void conn_open (struct conn *c)
{
    double began = now_s ();
    memset (c, 0, sizeof *c);
    while ((c->fd = dial ()) == -1) {
        if (now_s () - began > 120 || waitpid (server, NULL, WNOHANG) != 0)
            bench_die (name);
        usleep (1000);
    }
}

static void conn_close (struct conn *c)
{
    close (c->fd);
    buf_release (&c->in);
}

static void put (struct conn *c, const char *text, size_t len)
{
    if (!file_write_all (c->fd, text, len))
        bench_die (name);
}

/* ---- requests and answers ---- */

static void ask_put (struct conn *c)
{
    char text[BODY + 128];
    int n = redis ? snprintf (text, sizeof text, "*5\r\n$4\r\nXADD\r\n$1\r\nq\r\n$1\r\n*\r\n$1\r\nb\r\n$%d\r\n%s\r\n", BODY, body)
                  : snprintf (text, sizeof text, "put 0 0 3600 %d\r\n%s\r\n", BODY, body);
    put (c, text, (size_t) n);
}

static void ask_take (struct conn *c)
{
    static const char wait[] = "*11\r\n$10\r\nXREADGROUP\r\n$5\r\nGROUP\r\n$1\r\ng\r\n$1\r\nw\r\n$5\r\nCOUNT\r\n$1\r\n1\r\n$5\r\nBLOCK\r\n$5\r\n60000\r\n$7\r\nSTREAMS\r\n$1\r\nq\r\n$1\r\n>\r\n";
    if (redis)
        put (c, wait, sizeof wait - 1);
    else
        put (c, "reserve\r\n", 9);
}

static void ask_done (struct conn *c, const char *id)
{
    char text[160];
    int n = redis ? snprintf (text, sizeof text, "*4\r\n$4\r\nXACK\r\n$1\r\nq\r\n$1\r\ng\r\n$%zu\r\n%s\r\n", strlen (id), id) : snprintf (text, sizeof text, "delete %s\r\n", id);
    put (c, text, (size_t) n);
}

/* One RESP value: the place behind it, NULL when it is not whole yet. Of bulk strings the first that is an entry's id is kept. */
static const uint8_t *resp (const uint8_t *p, const uint8_t *end, char id[64])
{
    const uint8_t *nl = memchr (p, '\n', (size_t) (end - p));
    if (!nl)
        return NULL;
    long n = strtol ((const char *) p + 1, NULL, 10);
    const uint8_t *q = nl + 1;
    if (*p == '$' && n >= 0) {
        if (end - q < n + 2)
            return NULL;
        if (!*id && n < 63 && memchr (q, '-', (size_t) n)) {
            memcpy (id, q, (size_t) n);
            id[n] = '\0';
        }
        return q + n + 2;
    }
    for (long i = 0; *p == '*' && i < n && q; i++)
        q = q < end ? resp (q, end, id) : NULL;
    return q;
}

/* The next whole answer, 'i'nserted, 'r'eserved (with its id), 'd'one or '?'; 0 when there is none yet. */
static char answer (struct conn *c, char id[64])
{
    const uint8_t *p = c->in.p + c->at, *end = c->in.p + c->in.len, *next;
    char kind = '?';
    id[0] = '\0';
    if (p == end)
        return 0;
    if (redis) {
        next = resp (p, end, id);
        kind = *p == '$' ? 'i' : *p == '*' ? 'r' : *p == ':' ? 'd' : '?';
    } else {
        const uint8_t *nl = memchr (p, '\n', (size_t) (end - p));
        unsigned long bytes = 0;
        next = nl ? nl + 1 : NULL;
        if (nl && sscanf ((const char *) p, "RESERVED %63s %lu", id, &bytes) == 2) {
            kind = 'r';
            next = (size_t) (end - next) >= bytes + 2 ? next + bytes + 2 : NULL;
        } else if (nl)
            kind = *p == 'I' ? 'i' : *p == 'D' ? 'd' : '?';
    }
    if (!next)
        return 0;
    c->at = (size_t) (next - c->in.p);
    if (kind == '?')
        bench_die (name);
    return kind;
}

static void fill_in (struct conn *c)
{
    if (c->at == c->in.len)
        c->at = c->in.len = 0;
    buf_room (&c->in, 65536);
    ssize_t n = recv (c->fd, c->in.p + c->in.len, 65535, 0);
    if (n <= 0)
        bench_die (name);
    c->in.len += (size_t) n;
    c->in.p[c->in.len] = '\0'; /* strtol and sscanf stop here */
}

static char await (struct conn *c, char id[64])
{
    char kind;
    while (!(kind = answer (c, id)))
        fill_in (c);
    return kind;
}

static void group (void)
{
    static const char text[] = "*6\r\n$6\r\nXGROUP\r\n$6\r\nCREATE\r\n$1\r\nq\r\n$1\r\ng\r\n$1\r\n0\r\n$8\r\nMKSTREAM\r\n";
    struct conn c;
    char reply[64];
    conn_open (&c);
    if (redis) {
        put (&c, text, sizeof text - 1);
        (void) !recv (c.fd, reply, sizeof reply, 0);
    }
    conn_close (&c);
}

/* ---- the measures ---- */

static double cycles (size_t jobs)
{
    struct conn c[CLIENTS + WORKERS];
    size_t sent = 0, done = 0, flying[CLIENTS] = { 0 };
    char id[64], kind;
    for (int i = 0; i < CLIENTS + WORKERS; i++)
        conn_open (&c[i]);
    double began = now_s ();
    for (int i = CLIENTS; i < CLIENTS + WORKERS; i++)
        ask_take (&c[i]);
    while (done < jobs) {
        struct pollfd p[CLIENTS + WORKERS];
        for (int i = 0; i < CLIENTS; i++)
            for (; flying[i] < WINDOW && sent < jobs; flying[i]++, sent++)
                ask_put (&c[i]);
        for (int i = 0; i < CLIENTS + WORKERS; i++)
            p[i] = (struct pollfd){ c[i].fd, POLLIN, 0 };
        if (poll (p, CLIENTS + WORKERS, 20000) <= 0)
            bench_die (name);
        for (int i = 0; i < CLIENTS + WORKERS; i++) {
            if (!p[i].revents)
                continue;
            fill_in (&c[i]);
            while ((kind = answer (&c[i], id)))
                if (kind == 'i')
                    flying[i]--;
                else if (kind == 'r')
                    ask_done (&c[i], id), ask_take (&c[i]);
                else
                    done++;
        }
    }
    double rate = (double) jobs / (now_s () - began);
    for (int i = 0; i < CLIENTS + WORKERS; i++)
        conn_close (&c[i]);
    return rate;
}

static double latency (void)
{
    struct conn p, w;
    double t[LATENCY_ROUNDS];
    char id[64];
    conn_open (&p);
    conn_open (&w);
    for (int i = 0; i < LATENCY_ROUNDS; i++) {
        ask_take (&w);
        usleep (2000);
        double began = now_s ();
        ask_put (&p);
        await (&w, id);
        t[i] = now_s () - began;
        await (&p, (char[64]){ 0 });
        ask_done (&w, id);
        await (&w, id);
    }
    conn_close (&p);
    conn_close (&w);
    return quantile (t, LATENCY_ROUNDS, 0.5) * 1e6;
}

static void show (const char *what, double v, const char *unit, size_t n)
{
    char size[32] = "";
    if (n)
        snprintf (size, sizeof size, ", %zu queued", n);
    printf ("%s\t%.*f\t%s\t%s%s\n", what, v < 10 ? 3 : v < 1000 ? 1 : 0, v, unit, name, size);
    fflush (stdout);
}

static void queued (size_t n)
{
    struct conn c;
    char id[64];
    conn_open (&c);
    long before = rss_kib (server);
    for (size_t sent = 0, answered = 0; answered < n; answered++) {
        for (; sent < n && sent - answered < 1024; sent++)
            ask_put (&c);
        await (&c, id);
    }
    show ("memory for each queued step", (double) (rss_kib (server) - before) * 1024 / (double) n, "bytes", n);
    conn_close (&c);
    server_kill ();
    double began = now_s ();
    server_start ();
    for (char got = 0; got != 'r';) { /* Redis listens before it has read its file, and says so */
        conn_open (&c);
        ask_take (&c);
        fill_in (&c);
        got = c.in.p[0] == '-' ? 0 : await (&c, id);
        conn_close (&c);
    }
    show ("SIGKILL", now_s () - began, "s", n);
}

int main (int argc, char **argv)
{
    if (argc != 6)
        return 2;
    size_t jobs = strtoul (argv[3], NULL, 10), many = strtoul (argv[4], NULL, 10), rounds = strtoul (argv[5], NULL, 10);
    double rate[ROUNDS_MAX], p50[ROUNDS_MAX];
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
    socklen_t len = sizeof a;
    name = argv[1];
    dir = argv[2];
    redis = !strcmp (name, "redis");
    rounds = rounds < 1 ? 1 : rounds > ROUNDS_MAX ? ROUNDS_MAX : rounds;
    memset (body, 'x', BODY);
    int any = socket (AF_INET, SOCK_STREAM, 0); /* a port that is free now */
    if (bind (any, (struct sockaddr *) &a, sizeof a) == -1 || getsockname (any, (struct sockaddr *) &a, &len) == -1)
        bench_die ("port");
    port = ntohs (a.sin_port);
    close (any);
    server_start ();
    group ();
    for (size_t i = 0; i < rounds; i++) {
        p50[i] = latency ();
        rate[i] = cycles (jobs);
    }
    show ("whole cycles a second", quantile (rate, rounds, 0.5), "jobs/s", 0);
    show ("dispatch when idle", quantile (p50, rounds, 0.5), "us", 0);
    queued (many);
    server_kill ();
    return 0;
}
