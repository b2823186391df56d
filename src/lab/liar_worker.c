/* liar_worker.c: workers that lie. */
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "lab/liar.h"
#include "store/client.h"
#include "worker/agent.h"
#include "worker/report.h"
#include "worker/runner.h"

/* ---- one that builds, and then changes what it built ---- */

static int flip (const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void) at;
    if (kind != FTW_F || !S_ISREG (st->st_mode) || st->st_size == 0)
        return 0;
    int fd = open (path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    uint8_t last;
    if (fd != -1 && pread (fd, &last, 1, st->st_size - 1) == 1) {
        last ^= 1;
        ssize_t n = pwrite (fd, &last, 1, st->st_size - 1);
        (void) n; /* if it fails, the result is an honest one */
    }
    fd_close (&fd);
    return 0;
}

static void tamper (const char *tree)
{
    nftw (tree, flip, 32, FTW_PHYS);
}

/* The worker starts itself again for each step, with options only: then it is one of these as well. */
int liar_worker (int argc, char **argv)
{
    static const struct runner_hooks hooks = { tamper };
    int skip = strncmp (argv[1], "--", 2) != 0;
    return worker_main (argc - skip, argv + skip, &hooks);
}

/* ---- those that run nothing ---- */

/* Really uploaded, under the lease: the receipt is a good one. */
static void upload (struct realm *rl, struct bytes lease, const char *text, struct digest *artifact, struct buf *receipt)
{
    char dir[] = "/tmp/assay-liar.XXXXXX";
    BUF (manifest);
    BUF (line);
    if (!mkdtemp (dir))
        die ("a temporary folder");
    char *n = xasprintf ("%s/n", dir);
    buf_addf (&line, "%s\n", text);
    int fd CLEANUP (fd_close) = open (n, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), tree CLEANUP (fd_close) = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd == -1 || !file_write_all (fd, line.p, line.len) ? -1 : manifest_scan (tree, NULL, NULL, &manifest, &e);
    if (rc == 0)
        rc = store_put (rl, tree, buf_bytes (&manifest), lease, 20000, receipt, &e);
    *artifact = manifest_digest (buf_bytes (&manifest));
    file_remove_tree (dir, NULL);
    free (n);
    if (rc == -1)
        die ("upload");
}

/* A result that is right in every respect but for what it says came out. */
static void seal_vote (struct realm *rl, const struct taken *t, const char *text, unsigned status, struct buf *sealed)
{
    struct order o;
    int64_t now = time_now_us ();
    BUF (receipt);
    struct report rep = { .isolation = ISOLATION_BWRAP, .exit_status = status, .artifact = manifest_empty (), .lease = t->m.u.lease.lease, .started = now, .finished = now,
                          .host = "kernel=unknown cpu=unknown driver=bwrap-0.8.0", .note = "" };
    if (order_check (&o, realm_roster (rl), realm_name (rl), t->m.u.lease.lease, t->m.u.lease.submission, now, &e) == -1)
        die ("lease");
    if (strcmp (text, "-"))
        upload (rl, rep.lease, text, &rep.artifact, &receipt);
    rep.receipt = buf_bytes (&receipt);
    if (report_seal (rl, &o, &rep, sealed, &e) == -1)
        die ("result");
    order_release (&o);
}

static void send_vote (struct client *c, const struct digest *lease, struct bytes sealed)
{
    struct msg q = MSG_INIT (result, client_request (c));
    q.u.result.lease = *lease;
    q.u.result.kind = RESULT_OUTCOME;
    q.u.result.sealed = sealed;
    answer_of (c, &q, MSG_ok);
    fflush (stdout);
}

static void vote (struct realm *rl, struct client *c, struct taken *t, const char *text, unsigned status)
{
    BUF (sealed);
    seal_vote (rl, t, text, status, &sealed);
    send_vote (c, &t->id, buf_bytes (&sealed));
}

int cmd_vote (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct client *c = client_of (rl, ROLE_BROKER);
    long count = atol (v[1]);
    puts ("ready");
    fflush (stdout);
    for (long i = 0; i < count; i++) {
        struct taken t;
        take_lease (c, &t);
        vote (rl, c, &t, v[2], (unsigned) atoi (v[3]));
        taken_release (&t);
    }
    client_close (&c);
    realm_close (&rl);
    return 0;
}

int cmd_steal (char **v)
{
    struct realm *victim = realm_of (v[0]), *thief = realm_of (v[1]);
    struct client *cv = client_of (victim, ROLE_BROKER), *ct = client_of (thief, ROLE_BROKER);
    struct taken t;
    take_lease (cv, &t);
    try_all (ct, &t.id);
    puts ("its owner:");
    vote (victim, cv, &t, v[2], 0);
    taken_release (&t);
    client_close (&cv);
    client_close (&ct);
    realm_close (&victim);
    realm_close (&thief);
    return 0;
}
