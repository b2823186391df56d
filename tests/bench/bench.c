/* bench.c: see bench.h. */
#include "bench.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct err bench_err = ERR_INIT;

void bench_die (const char *what)
{
    fprintf (stderr, "bench: %s: %s\n", what, bench_err.msg);
    exit (1);
}

double now_s (void)
{
    struct timespec t;
    clock_gettime (CLOCK_MONOTONIC, &t);
    return (double) t.tv_sec + (double) t.tv_nsec / 1e9;
}

static int by_value (const void *a, const void *b)
{
    double x = *(const double *) a, y = *(const double *) b;
    return (x > y) - (x < y);
}

double quantile (double *v, size_t n, double q)
{
    qsort (v, n, sizeof *v, by_value);
    return v[(size_t) ((double) (n - 1) * q + 0.5)];
}

void line (const char *metric, double ours, double limit, const char *unit, double target, const char *sense)
{
    printf ("%s\t%.*f\t%.*f\t%s\t%.2f\t%s\n", metric, ours < 10 ? 3 : ours < 1000 ? 1 : 0, ours, limit < 10 ? 3 : limit < 1000 ? 1 : 0, limit, unit, target, sense);
    fflush (stdout);
}

long rss_kib (pid_t pid)
{
    char path[64], text[256];
    long v = 0;
    snprintf (path, sizeof path, "/proc/%d/status", (int) pid);
    FILE *f = fopen (path, "r");
    while (f && fgets (text, sizeof text, f))
        if (sscanf (text, "VmRSS: %ld", &v) == 1)
            break;
    if (f)
        fclose (f);
    return v;
}

long fd_count (pid_t pid)
{
    char path[64];
    long n = -2; /* . and .. */
    snprintf (path, sizeof path, "/proc/%d/fd", (int) pid);
    DIR *d = opendir (path);
    while (d && readdir (d))
        n++;
    if (d)
        closedir (d);
    return d ? n : 0;
}

pid_t bench_daemon (const char *program, const char *dir)
{
    int p[2];
    char c;
    if (pipe (p) == -1)
        bench_die ("pipe");
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
    if (pid == -1 || read (p[0], &c, 1) != 1)
        bench_die (program);
    close (p[0]);
    return pid;
}

void far_start (struct far *f, void (*serve) (zsock_t *router, void *arg), void *arg)
{
    int p[2];
    if (keys_make (&f->server, &bench_err) == -1 || keys_make (&f->client, &bench_err) == -1 || pipe (p) == -1)
        bench_die ("far side");
    f->pid = fork ();
    if (f->pid == 0) {
        prctl (PR_SET_PDEATHSIG, SIGKILL);
        close (p[0]);
        if (net_start (&bench_err) == -1)
            bench_die ("far side");
        net_admit ((const uint8_t (*)[32]) f->client.transport.pub, 1);
        zsock_t *router = net_router ("tcp://127.0.0.1:*", &f->server.transport, (struct net_room){ 10000, 10000, NET_FRAME_MAX }, &bench_err);
        if (!router)
            bench_die ("far side");
        snprintf (f->endpoint, sizeof f->endpoint, "%s", net_endpoint (router));
        if (write (p[1], f->endpoint, sizeof f->endpoint) != (ssize_t) sizeof f->endpoint)
            _exit (1);
        serve (router, arg);
        _exit (0);
    }
    close (p[1]);
    if (f->pid == -1 || read (p[0], f->endpoint, sizeof f->endpoint) != (ssize_t) sizeof f->endpoint)
        bench_die ("far side");
    close (p[0]);
}

zsock_t *far_connect (struct far *f)
{
    zsock_t *z = net_dealer (f->endpoint, f->server.transport.pub, &f->client.transport, 10000, &bench_err);
    if (!z)
        bench_die ("far side");
    return z;
}

void far_stop (struct far *f)
{
    kill (f->pid, SIGKILL);
    waitpid (f->pid, NULL, 0);
    keys_release (&f->server);
    keys_release (&f->client);
}
