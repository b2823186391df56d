/* assay log: the log of a step, as far as it is, or followed to its end. */
#include <getopt.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/stream.h"

/* The length of text that ends with a whole UTF-8 character: what is cut in two waits for its other half. */
static size_t whole (const uint8_t *p, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        uint8_t b = p[len - back];
        if ((b & 0xc0) == 0x80)
            continue;
        size_t need = b >= 0xf0 ? 4 : b >= 0xe0 ? 3 : b >= 0xc0 ? 2 : 1;
        return need > back ? len - back : len;
    }
    return len;
}

struct logs {
    struct digest id;
    char step[64], worker[64];
    bool follow, started, truncated;
    uint64_t offset;
    struct buf held;
};

static void show (struct logs *l, bool last)
{
    BUF (clean);
    size_t n = last ? l->held.len : whole (l->held.p, l->held.len);
    text_clean (bytes_of (l->held.p, n), true, &clean);
    fwrite (clean.p ? (const char *) clean.p : "", 1, clean.len, stdout);
    fflush (stdout);
    if (n) {
        memmove (l->held.p, l->held.p + n, l->held.len - n);
        l->held.len -= n;
    }
}

/* Takes one part in: 1 it was the last, 0 more to come, -1 nonsense. */
static int take (struct logs *l, const struct msg_log_part *p, struct err *e)
{
    if (!l->started && p->worker.len && !*l->worker)
        bytes_copy (p->worker, l->worker, sizeof l->worker); /* stay with the attempt that the first part came from */
    l->started = true;
    if (p->offset < l->offset || p->data.len > UINT32_MAX)
        return p->data.len == 0 && p->end ? 1 : err_code (e, EC_UNEXPECTED, "the broker sent parts of the log out of order");
    buf_add (&l->held, p->data.p, p->data.len);
    l->offset = p->offset + p->data.len;
    l->truncated = l->truncated || p->truncated;
    show (l, p->end);
    return p->end ? 1 : 0;
}

static int ask (struct logs *l, struct client *broker, uint64_t *request, struct err *e)
{
    *request = client_request (broker);
    struct msg m = MSG_INIT (log_get, *request);
    m.u.log_get.id = l->id;
    m.u.log_get.step = bytes_str (l->step);
    m.u.log_get.worker = bytes_str (l->worker);
    m.u.log_get.offset = l->offset;
    m.u.log_get.follow = l->follow;
    return client_send (broker, &m, e);
}

static int read_all (struct cli *c, struct logs *l, struct realm *rl, struct client **broker, struct err *e)
{
    int64_t lost = 0;
    uint64_t request = 0;
    bool asked = false;
    for (;;) {
        struct msg m;
        struct net_in in;
        struct err why = ERR_INIT;
        int rc = 0;
        if (!*broker)
            rc = cli_client (c, rl, ROLE_BROKER, broker, &why);
        if (rc == 0 && !asked)
            rc = ask (l, *broker, &request, &why);
        asked = rc == 0;
        if (rc == 0)
            rc = client_recv (*broker, request, l->follow ? 5000 : c->timeout_ms, &in, &m, &why);
        if (rc == 0) {
            lost = 0;
            int n = m.type == MSG_log_part ? take (l, &m.u.log_part, e) : err_code (e, EC_UNEXPECTED, "the broker answered %s", msg_name (m.type));
            msg_release (&m);
            net_in_release (&in);
            if (n)
                return n == 1 ? 0 : -1;
            if (ferror (stdout))
                return 0;
            continue;
        }
        if (why.kind != ERR_UNREACHABLE || !l->follow) {
            *e = why;
            return -1;
        }
        /* Silence may be a quiet build or a lost broker: a new connection, from where we are, tells. */
        asked = false;
        client_close (broker);
        struct err again = ERR_INIT;
        if (cli_client (c, rl, ROLE_BROKER, broker, &again) == -1) {
            if (!lost)
                lost = time_mono_ms ();
            if (time_mono_ms () - lost > STREAM_PATIENCE_MS) {
                *e = again;
                return -1;
            }
            poll (NULL, 0, 200);
        } else
            lost = 0;
    }
}

int cmd_log (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { "follow", no_argument, NULL, 'f' }, { NULL, 0, NULL, 0 } };
    struct logs l = { .follow = false };
    for (int o; (o = getopt_long (argc, argv, "f", options, NULL)) != -1;)
        if (o == 'f')
            l.follow = true;
        else
            return ERR_USAGE;
    if (argc - optind != 1)
        return cli_usage ("log", "which step? (assay log [-f] ID/STEP[@WORKER])");

    struct err e = ERR_INIT;
    struct realm *CLEANUP (realm_close) rl = NULL;
    struct client *CLEANUP (client_close) broker = NULL;
    if (cli_realm (c, &rl, &e) == -1 || cli_client (c, rl, ROLE_BROKER, &broker, &e) == -1 ||
        cli_step (broker, argv[optind], &l.id, l.step, l.worker, &e) == -1)
        return cli_fail ("log", &e);
    if (!*l.step)
        return cli_usage ("log", "%s: names no step (ID/STEP; `assay status ID` lists them)", argv[optind]);
    int rc = read_all (c, &l, rl, &broker, &e);
    buf_release (&l.held);
    if (rc == -1)
        return cli_fail ("log", &e);
    if (l.truncated)
        fprintf (stderr, "assay: log: %s: the log was longer than the broker keeps, and is cut\n", argv[optind]);
    return 0;
}
