/* liar_worker.c: workers that lie. */
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "lab/liar.h"
#include "store/client.h"
#include "store/manifest.h"
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

void one_file (const char *text, struct buf *manifest, struct buf *content)
{
    struct manifest m;
    buf_addf (content, "%s\n", text);
    struct digest d = digest_of (content->p, content->len);
    manifest_init (&m);
    if ((strcmp (text, "-") && manifest_add (&m, "n", 'f', content->len, &d, NULL, &e) == -1) || manifest_finish (&m, manifest, &e) == -1)
        die ("manifest");
    manifest_release (&m);
}

/* Really uploaded, under the lease: the receipt is a good one. One connection for all. */
static void upload (struct realm *rl, struct bytes lease, struct bytes manifest, struct bytes content, struct buf *receipt)
{
    static struct client *store;
    struct net_in in;
    if (!store)
        store = client_of (rl, ROLE_STORE);
    struct msg m = MSG_INIT (put_open, client_request (store));
    m.u.put_open.lease = lease;
    m.u.put_open.manifest = manifest;
    if (client_ask (store, &m, MSG_put_state, &in, &e) == -1)
        die ("upload");
    struct digest id = m.u.put_state.upload;
    bool wanted = m.u.put_state.need.len == 1 && m.u.put_state.need.p[0] == 1;
    msg_release (&m);
    net_in_release (&in);
    if (wanted) {
        m = (struct msg) MSG_INIT (put_chunk, client_request (store));
        m.u.put_chunk.upload = id;
        m.u.put_chunk.data = content;
        if (client_ask (store, &m, MSG_put_credit, &in, &e) == -1)
            die ("upload");
        msg_release (&m);
        net_in_release (&in);
    }
    m = (struct msg) MSG_INIT (put_done, client_request (store));
    m.u.put_done.upload = id;
    if (client_ask (store, &m, MSG_receipt, &in, &e) == -1)
        die ("receipt");
    buf_add (receipt, m.u.receipt.envelope.p, m.u.receipt.envelope.len);
    msg_release (&m);
    net_in_release (&in);
}

static unsigned made = ISOLATION_BWRAP; /* as its results say */

/* What the lease has it read, from the store; only which it is. */
static void read_inputs (struct realm *rl, const struct taken *t, const struct order *o, struct digest artifacts[64], struct digest openings[64])
{
    const struct msg_lease *l = &t->m.u.lease;
    BUF (boxes);
    if (o->lease->inputs.n > 64 || order_boxes (o, &l->boxes, &boxes, &e) == -1)
        die ("inputs");
    for (size_t i = 0; i < o->lease->inputs.n; i++) {
        CLEANUP (free_ptr) char *dir = file_temp_dir ("assay-liar", "/tmp", &e);
        struct store_input in = { .submission = o->submission_id, .box = boxes.len ? blind_box (boxes.p + i * BLIND_BOX) : buf_bytes (&boxes) };
        memcpy (in.name.b, o->lease->inputs.v[i].p, 32);
        int rc = dir ? store_get_input (rl, &in, dir, l->lease, l->submission, 30000, &e) : -1;
        if (dir)
            file_remove_tree (dir, NULL);
        if (rc == -1)
            die ("input");
        artifacts[i] = in.artifact;
        openings[i] = in.opening;
    }
}

/* A result that is right in every respect but for what it says came out. */
static void seal_vote (struct realm *rl, const struct taken *t, const char *text, unsigned status, struct buf *sealed)
{
    struct order o;
    int64_t now = time_now_us ();
    BUF (receipt);
    BUF (manifest);
    BUF (content);
    struct report rep = { .isolation = made, .exit_status = status, .network = NETWORK_NONE, .artifact = manifest_empty (), .lease = t->m.u.lease.lease, .started = now, .finished = now,
                          .host = "kernel=unknown cpu=unknown driver=bwrap-0.8.0", .note = "" };
    if (order_check (&o, realm_roster (rl), realm_name (rl), t->m.u.lease.lease, t->m.u.lease.submission, now, &e) == -1)
        die ("lease");
    struct digest artifacts[64], openings[64];
    read_inputs (rl, t, &o, artifacts, openings);
    rep.inputs = artifacts;
    rep.openings = openings;
    one_file (text, &manifest, &content);
    if (status == 0) {
        rep.manifest = buf_bytes (&manifest);
        rep.artifact = manifest_digest (rep.manifest);
    }
    if (strcmp (text, "-"))
        upload (rl, rep.lease, rep.manifest, buf_bytes (&content), &receipt);
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

void vote (struct realm *rl, struct client *c, struct taken *t, const char *text, unsigned status)
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

int cmd_claim (char **v)
{
    char *rest[] = { v[0], v[2], v[3], v[4] };
    bool offered = !strcmp (v[1], "qemu-offered");
    claimed = offered || !strcmp (v[1], "qemu") ? ISOLATION_QEMU : ISOLATION_BWRAP;
    made = offered ? ISOLATION_BWRAP : claimed;
    return cmd_vote (rest);
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

/* Answers a first lease, and with the same words a second one; and tells of the first once more something else. */
int cmd_repeat (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct client *c = client_of (rl, ROLE_BROKER);
    struct taken one, two;
    char name[64] = "";
    struct order o;
    BUF (sealed);
    BUF (other);
    take_lease (c, &one);
    if (order_check (&o, realm_roster (rl), realm_name (rl), one.m.u.lease.lease, one.m.u.lease.submission, time_now_us (), &e) == -1)
        die ("lease");
    bytes_copy (o.step->name, name, sizeof name);
    order_release (&o);
    seal_vote (rl, &one, v[1], 0, &sealed);
    seal_vote (rl, &one, "-", 1, &other);
    printf ("its own, %s: ", name);
    send_vote (c, &one.id, buf_bytes (&sealed));
    printf ("the same: ");
    send_vote (c, &one.id, buf_bytes (&sealed));
    printf ("another for it: ");
    send_vote (c, &one.id, buf_bytes (&other));
    take_lease (c, &two);
    printf ("for the other step: ");
    send_vote (c, &two.id, buf_bytes (&sealed));
    return 0;
}

/* Takes a lease, is there, and never answers. */
int cmd_hold (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct client *c = client_of (rl, ROLE_BROKER);
    struct taken t;
    take_lease (c, &t);
    puts ("it has a lease");
    fflush (stdout);
    for (;;) {
        struct msg ping = MSG_INIT (ping, 0), m;
        struct net_in in;
        client_send (c, &ping, &e);
        if (client_recv (c, 0, 500, &in, &m, &e) == 0) {
            msg_release (&m);
            net_in_release (&in);
        }
        poll (NULL, 0, 500);
    }
}

/* Votes, and stays: asks on over the connection that it has until somebody refuses, then knocks anew. */
int cmd_linger (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct client *c = client_of (rl, ROLE_BROKER), *again = NULL;
    struct taken t;
    take_lease (c, &t);
    vote (rl, c, &t, v[1], 0);
    for (;;) {
        struct msg m = MSG_INIT (status_get, client_request (c));
        struct net_in in;
        m.u.status_get.limit = 1;
        if (client_ask (c, &m, MSG_status, &in, &e) == -1)
            break;
        msg_release (&m);
        net_in_release (&in);
        poll (NULL, 0, 50);
    }
    printf ("over the old connection: %s\n", err_name (e.code));
    fflush (stdout);
    /* its own copy of the roster tells it to give up; it asks all the same */
    const struct principal *p = roster_role (realm_roster (rl), ROLE_BROKER, 0);
    if (client_connect (&again, "broker", p->endpoint, p->transport_key, &realm_keys (rl)->transport, 3000, &e) == 0)
        puts ("over a new one: let in");
    else
        printf ("over a new one: %s\n", err_name (e.code));
    fflush (stdout);
    return 0;
}
