/* assay-liar: a peer that misbehaves, for `assay lab` and the scenarios of tests/threats. It has a principal's folder, or no key at all.
 *
 *   assay-liar garbage DIR ROLE COUNT       frames that are no messages, to that service; prints the answers' codes and how often
 *   assay-liar flood DIR ROLE SECONDS       requests without end, never reading an answer
 *   assay-liar history DIR SECONDS          asks the broker for all events of a project that is not there, without end
 *   assay-liar stranger DIR ROLE            a key that is in no roster: prints "refused" or what it got in with
 *   assay-liar tcp ENDPOINT COUNT           raw bytes to a port
 *   assay-liar submit DIR FLAW URL COMMIT REF PROJECT RECIPE-DIR   a submission with one flaw; prints the broker's answer
 *   assay-liar lease DIR1 DIR2              DIR1 takes a lease, DIR2 answers it in every way; prints the broker's answers
 *   assay-liar result DIR VALUE             takes one lease, and answers with a forged result (VALUE: what is wrong with it)
 *   assay-liar broker DIR LIE,...        in the broker's place, with its key: one lie after the other to the first worker that comes; prints what it answers
 *   assay-liar verdict DIR BUNDLE LIE      the verifier's own key signs the bundle's verdict anew, with a lie in it; prints the bundle
 *   assay-liar mute DIR                     subscribes to all events, and never reads one
 *   assay-liar topics DIR COUNT            subscribes to so many topics, one after the other, and stays
 *   assay-liar vote DIR COUNT TEXT STATUS     answers COUNT leases without running anything: artifact n with TEXT (-: none), and this exit status
 *   assay-liar claim DIR ISOLATION COUNT TEXT STATUS   the same, and says that it gives that isolation: bwrap, qemu, or qemu-offered: not in its results
 *   assay-liar steal DIR1 DIR2 TEXT      DIR1 takes a lease, DIR2 answers it in every way, then DIR1 does, with TEXT; prints the broker's answers
 *   assay-liar echo DIR                  takes a lease, waits for another worker's result of the same step in the broker's log, answers with that
 *   assay-liar replay DIR                takes two leases, and answers the second with its own result of the first
 *   assay-liar read DIR ARTIFACT         takes a lease, and asks the store for an artifact that is not an input of it
 *   assay-liar name DIR BLOB SIZE        takes a lease, and uploads a manifest that names somebody's blob, without having its bytes
 *   assay-liar enrol DIR TOKEN KIND      joins again under the token's name with DIR's own key of that kind (sign, transport, seal; swap: its
 *                                        transport key for sealing; bit: its transport key in another writing)
 *   assay-liar decline DIR WAY N         takes N leases, one after the other, and does none: WAY decline, handback, or leave (it forgets it)
 *   assay-liar repeat DIR TEXT           answers one lease with TEXT, then a second one with the very same words; prints the answers
 *   assay-liar hold DIR                  takes a lease, and never answers
 *   assay-liar linger DIR TEXT           answers one lease with TEXT, and goes on asking until it is refused; then connects anew
 *   assay-liar copy DIR TEXT             takes a lease, waits for two others' answers, and asks everyone what they are; TEXT: as if it had guessed
 *   assay-liar late DIR TEXT             the same, and then answers with TEXT
 *   assay-liar store DIR LIE TREE        in the store's place, with its key: serves TREE, whatever is asked for (LIE bits: and a bit of it changed)
 *   assay-liar flip --dir DIR            a worker that changes a bit of every file that it built
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"
#include "lab/liar.h"
#include "proto/statement.h"
#include "source/git.h"
#include "source/recipe.h"
#include "store/manifest.h"

#define LEASE_MS 60000 /* until a lease must have come */

struct err e = ERR_INIT;
unsigned claimed = ISOLATION_BWRAP;

void die (const char *what)
{
    fprintf (stderr, "assay-liar: %s: %s\n", what, e.msg);
    fflush (stdout);
    _exit (9); /* the sockets need no goodbye */
}

unsigned role_of (const char *name)
{
    return !strcmp (name, "idp") ? (unsigned) ROLE_IDP : role_parse (name);
}

struct realm *realm_of (const char *dir)
{
    struct realm *rl = NULL;
    if (realm_open (&rl, dir, &e) == -1)
        die ("realm");
    if (realm_refresh (rl, 3000, &e) == -1)
        fprintf (stderr, "assay-liar: %s\n", e.msg);
    return rl;
}

struct client *client_of (struct realm *rl, unsigned role)
{
    struct client *c = NULL;
    if (client_open (&c, rl, role, 5000, &e) == -1)
        die ("connect");
    return c;
}

/* ---- counting answers ---- */

static unsigned counts[EC_COUNT], others;

static void drain (zsock_t *s, int wait_ms)
{
    struct net_in in;
    while (net_wait (s, wait_ms)) {
        struct msg m;
        while (net_recv (s, &in, &e) == 1) {
            if (msg_decode (in.data, &m, &e) == 0) {
                bool known = false;
                for (int i = 1; i < EC_COUNT && m.type == MSG_error; i++)
                    if (bytes_eqs (m.u.error.code, err_name ((enum err_code) i))) {
                        counts[i]++;
                        known = true;
                    }
                others += !known;
                msg_release (&m);
            }
            net_in_release (&in);
        }
    }
}

static void report (void)
{
    for (int i = 1; i < EC_COUNT; i++)
        if (counts[i])
            printf ("%s %u\n", err_name ((enum err_code) i), counts[i]);
    if (others)
        printf ("other %u\n", others);
}

/* ---- garbage ---- */

static void put (struct buf *b, const char *bytes, size_t n)
{
    buf_add (b, bytes, n);
}

static void garbage (unsigned kind, struct buf *b)
{
    struct msg m = MSG_INIT (ping, 7);
    uint8_t noise[600];
    switch (kind % 12) {
    case 0: /* noise */
        randombytes_buf (noise, sizeof noise);
        buf_add (b, noise, 1 + randombytes_uniform (sizeof noise - 1));
        break;
    case 1: /* nothing */
        break;
    case 2: /* a list that claims 2^32 - 1 elements */
        put (b, "\xdd\xff\xff\xff\xff\x01", 6);
        break;
    case 3: /* nested deep */
        for (int i = 0; i < 500; i++)
            put (b, "\xdd\x00\x00\xff\xff", 5);
        break;
    case 4: /* another version */
        put (b, "\x94\x63\x05\x07\x00", 5);
        break;
    case 5: /* an unknown type */
        put (b, "\x93\x01\xcd\x7f\xff\x07", 6);
        break;
    case 6: /* bytes behind the end */
        msg_encode (&m, b);
        put (b, "\x00", 1);
        break;
    case 7: /* cut */
        msg_encode (&m, b);
        b->len -= 1;
        break;
    case 8: /* bad UTF-8 in a string */
        put (b, "\x96\x01\x01\x07\x01\x01\xa2\xc3\x28", 9);
        break;
    case 9: /* a string where a number should be */
        put (b, "\x94\x01\x05\x07\xa1x", 6);
        break;
    case 10: { /* a field far too long */
        put (b, "\x96\x01\x01\x07\x01\x01\xda\xff\xff", 9);
        memset (buf_grow (b, 65535), 'a', 65535);
        break;
    }
    default: /* known, and not for a service */
        m = (struct msg) MSG_INIT (receipt, 7);
        msg_encode (&m, b);
        break;
    }
}

static int cmd_garbage (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct client *c = client_of (rl, role_of (v[1]));
    long n = atol (v[2]);
    for (long i = 0; i < n; i++) {
        BUF (b);
        garbage ((unsigned) i, &b);
        while (net_send (client_socket (c), bytes_of (NULL, 0), buf_bytes (&b), &e) == -1 && e.code == EC_BUSY)
            drain (client_socket (c), 10);
        if (i % 64 == 0)
            drain (client_socket (c), 0);
    }
    /* and one message of many frames */
    zmsg_t *many = zmsg_new ();
    for (int i = 0; i < 50; i++)
        zmsg_addstr (many, "x");
    zmsg_send (&many, client_socket (c));
    drain (client_socket (c), 1000);
    report ();
    client_close (&c);
    realm_close (&rl);
    return 0;
}

static int cmd_flood (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct client *c = client_of (rl, role_of (v[1]));
    int64_t until = time_mono_ms () + atol (v[2]) * 1000;
    unsigned long sent = 0;
    while (time_mono_ms () < until) {
        struct msg m = MSG_INIT (status_get, client_request (c)), g = MSG_INIT (roster_get, client_request (c)), r = MSG_INIT (replay, client_request (c));
        g.u.roster_get.from = 1;
        m.u.status_get.limit = 200;
        r.u.replay.from = 1; /* what has the largest answer */
        if (client_send (c, sent % 2 ? (role_of (v[1]) == ROLE_IDP ? &g : &r) : &m, &e) == 0)
            sent++;
        else
            poll (NULL, 0, 1);
    }
    printf ("sent %lu\n", sent);
    client_close (&c);
    realm_close (&rl);
    return 0;
}

static int cmd_history (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct client *c = client_of (rl, ROLE_BROKER);
    int64_t until = time_mono_ms () + atol (v[1]) * 1000;
    while (time_mono_ms () < until) {
        struct net_in in;
        struct msg m = MSG_INIT (replay, client_request (c));
        m.u.replay.from = 1;
        m.u.replay.project = bytes_str ("not/there");
        if (client_send (c, &m, &e) == -1)
            poll (NULL, 0, 1);
        while (net_recv (client_socket (c), &in, &e) == 1)
            net_in_release (&in);
    }
    client_close (&c);
    realm_close (&rl);
    return 0;
}

static int cmd_stranger (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct keys k;
    struct client *c = NULL;
    unsigned role = role_of (v[1]);
    const struct principal *p = role == ROLE_IDP ? NULL : roster_role (realm_roster (rl), role, 0);
    if (keys_make (&k, &e) == -1)
        die ("keys");
    int rc = client_connect (&c, v[1], p ? p->endpoint : realm_idp (rl), p ? p->transport_key : realm_idp_key (rl), &k.transport, 30000, &e);
    printf ("%s\n", rc == -1 ? (e.code == EC_UNKNOWN_KEY ? "refused" : e.msg) : "got in");
    client_close (&c);
    keys_release (&k);
    realm_close (&rl);
    return 0;
}

static int cmd_tcp (char **v)
{
    char host[64];
    unsigned port;
    if (sscanf (v[0], "tcp://%63[^:]:%u", host, &port) != 2)
        return 2;
    for (long i = 0; i < atol (v[1]); i++) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons ((uint16_t) port) };
        uint8_t noise[4096];
        inet_pton (AF_INET, host, &a.sin_addr);
        int fd = socket (AF_INET, SOCK_STREAM, 0);
        randombytes_buf (noise, sizeof noise);
        if (i % 3 == 0)
            memcpy (noise, "\xff\0\0\0\0\0\0\0\x01\x7f\x03\x01", 12); /* a greeting, then noise */
        if (connect (fd, (struct sockaddr *) &a, sizeof a) == 0 && i % 5 != 4)
            (void) !send (fd, noise, 1 + randombytes_uniform (sizeof noise - 1), MSG_NOSIGNAL);
        if (i % 7 != 6)
            close (fd); /* some stay open, and silent */
    }
    return 0;
}

/* ---- submissions with a flaw ---- */

void answer_of (struct client *c, struct msg *m, enum msg_type want)
{
    struct net_in in;
    if (client_ask (c, m, want, &in, &e) == -1) {
        printf ("%s\n", err_name (e.code));
        fprintf (stderr, "assay-liar: %s\n", e.msg);
        return;
    }
    printf ("ok%s\n", want == MSG_submitted && m->u.submitted.again ? " again" : "");
    if (want == MSG_submitted) {
        char hex[DIGEST_HEX];
        printf ("%s\n", digest_hex (&m->u.submitted.id, hex));
    }
    msg_release (m);
    net_in_release (&in);
}

static int cmd_submit (char **v)
{
    struct realm *rl = realm_of (v[0]);
    const char *flaw = v[1];
    BUF (text);
    BUF (body);
    BUF (raw);
    struct recipe *r = NULL;
    struct keys other;
    if (keys_make (&other, &e) == -1 || git_read_file (v[6], v[3], RECIPE_FILE, RECIPE_MAX, &text, &e) == -1
        || recipe_parse (buf_bytes (&text), RECIPE_FILE, &r, &e) == -1)
        die ("recipe");
    struct bytes list[64];
    struct buf steps[64];
    memset (steps, 0, sizeof steps);
    size_t n = recipe_steps (r);
    for (size_t i = 0; i < n; i++) {
        struct msg st = MSG_INIT (step, 0);
        st.u.step = *recipe_step (r, i);
        if (!strcmp (flaw, "step"))
            st.u.step.run = bytes_str ("echo not what the recipe says");
        msg_encode (&st, &steps[i]);
        list[i] = buf_bytes (&steps[i]);
    }
    uint64_t now = (uint64_t) time_now_us (), hour = UINT64_C (3600000000);
    struct msg m = MSG_INIT (submission_body, 0);
    struct msg_submission_body *b = &m.u.submission_body;
    b->submitter = bytes_str (!strcmp (flaw, "name") ? "somebody" : realm_name (rl));
    b->project = bytes_str (v[5]);
    b->url = bytes_str (v[2]);
    b->commit = bytes_str (!strcmp (flaw, "commit") ? "0123456789012345678901234567890123456789" : v[3]);
    b->ref = bytes_str (v[4]);
    b->recipe = !strcmp (flaw, "recipe") ? digest_of ("other", 5) : digest_of (text.p, text.len);
    b->steps = (struct bytes_list){ list, n };
    b->issued = !strcmp (flaw, "future") ? now + 24 * hour : !strcmp (flaw, "expired") ? now - 48 * hour : now;
    b->expires = !strcmp (flaw, "soon") ? now + UINT64_C (2000000) : b->issued + hour;
    randombytes_buf (b->nonce.b, 32);
    msg_encode (&m, &body);
    envelope_sign (!strcmp (flaw, "type") ? TYPE_LEASE : TYPE_SUBMISSION, buf_bytes (&body), !strcmp (flaw, "key") ? &other.sign : &realm_keys (rl)->sign, &raw);
    if (!strcmp (flaw, "bit"))
        raw.p[raw.len / 2] ^= 1;
    if (!strcmp (flaw, "signature"))
        raw.p[raw.len - 1] ^= 1;
    struct client *c = client_of (rl, ROLE_BROKER);
    for (int i = 0; i < (!strcmp (flaw, "replay") ? 3 : 1); i++) {
        struct msg q = MSG_INIT (submit, client_request (c));
        q.u.submit.envelope = buf_bytes (&raw);
        answer_of (c, &q, MSG_submitted);
    }
    client_close (&c);
    for (size_t i = 0; i < n; i++)
        buf_release (&steps[i]);
    recipe_destroy (&r);
    keys_release (&other);
    realm_close (&rl);
    return 0;
}

/* ---- leases ---- */

/* Says hello (client_open did), holds nothing, is ready for one step, and takes the lease that comes. */
void take_lease (struct client *c, struct taken *t)
{
    struct msg hold = MSG_INIT (holding, 0), ready = MSG_INIT (ready, 0);
    struct bytes all = bytes_str ("*");
    struct envelope v = { 0 };
    ready.u.ready.credit = 1;
    ready.u.ready.isolation = claimed;
    ready.u.ready.network = NETWORK_NONE;
    ready.u.ready.projects = (struct bytes_list){ &all, 1 };
    if (client_send (c, &hold, &e) == -1 || client_send (c, &ready, &e) == -1)
        die ("ready");
    for (int64_t until = time_mono_ms () + LEASE_MS; time_mono_ms () < until;) {
        struct msg ping = MSG_INIT (ping, 0);
        if (client_recv (c, 0, 1000, &t->in, &t->m, &e) == -1) {
            client_send (c, &ping, &e);
            continue;
        }
        if (t->m.type == MSG_lease) {
            if (envelope_open (t->m.u.lease.lease, TYPE_LEASE, &v, &e) == -1)
                die ("lease");
            t->id = envelope_id (&v);
            envelope_release (&v);
            return;
        }
        msg_release (&t->m);
        net_in_release (&t->in);
    }
    die ("no lease came");
}

void taken_release (struct taken *t)
{
    msg_release (&t->m);
    net_in_release (&t->in);
}

void try_all (struct client *c, const struct digest *lease)
{
    struct msg r = MSG_INIT (result, client_request (c)), d = MSG_INIT (handback, client_request (c)), x = MSG_INIT (result, client_request (c));
    struct msg l = MSG_INIT (log, client_request (c));
    r.u.result.lease = d.u.handback.lease = x.u.result.lease = l.u.log.lease = *lease;
    r.u.result.kind = RESULT_OUTCOME;
    r.u.result.sealed = bytes_str ("not sealed at all");
    x.u.result.kind = RESULT_ERROR;
    x.u.result.text = bytes_str ("its sandbox is broken");
    d.u.handback.reason = bytes_str ("go away");
    l.u.log.data = bytes_str ("all is well");
    answer_of (c, &r, MSG_ok);
    answer_of (c, &x, MSG_ok);
    answer_of (c, &d, MSG_ok);
    answer_of (c, &l, MSG_ok);
}

static int cmd_lease (char **v)
{
    struct realm *a = realm_of (v[0]), *b = realm_of (v[1]);
    struct client *ca = client_of (a, ROLE_BROKER), *cb = client_of (b, ROLE_BROKER);
    struct taken t;
    take_lease (ca, &t);
    try_all (cb, &t.id);
    struct msg d = MSG_INIT (decline, 0);
    d.u.decline.lease = t.id;
    d.u.decline.reason = bytes_str ("not interested");
    client_send (ca, &d, &e);
    taken_release (&t);
    struct msg p = MSG_INIT (ping, client_request (ca));
    answer_of (ca, &p, MSG_pong);
    client_close (&ca);
    client_close (&cb);
    realm_close (&a);
    realm_close (&b);
    return 0;
}

/* ---- one that listens, and never hears ---- */

static int cmd_mute (char **v)
{
    struct realm *rl = realm_of (v[0]);
    const struct principal *p = roster_role (realm_roster (rl), ROLE_BROKER, 0);
    zsock_t *s = net_sub (p->events, p->transport_key, &realm_keys (rl)->transport, 10, &e);
    if (!s)
        die ("events");
    zsock_set_subscribe (s, "");
    puts ("ready");
    fflush (stdout);
    while (pause () == -1)
        ;
    return 0;
}

static int cmd_topics (char **v)
{
    struct realm *rl = realm_of (v[0]);
    const struct principal *p = roster_role (realm_roster (rl), ROLE_BROKER, 0);
    zsock_t *s = net_sub (p->events, p->transport_key, &realm_keys (rl)->transport, 100000, &e);
    if (!s)
        die ("events");
    for (long i = 0, n = atol (v[1]); i < n; i++) {
        char topic[128];
        struct digest d = digest_of (&i, sizeof i);
        (void) snprintf (topic, sizeof topic, "%032lx/", i);
        hex_encode (d.b, 32, topic + 33);
        zsock_set_subscribe (s, topic);
        if (i % 1000 == 999)
            poll (NULL, 0, 10);
    }
    puts ("ready");
    fflush (stdout);
    while (pause () == -1)
        ;
    return 0;
}

int main (int argc, char **argv)
{
    static const struct {
        const char *name;
        int args;
        int (*run) (char **v);
    } rows[] = {
        { "garbage", 3, cmd_garbage }, { "flood", 3, cmd_flood }, { "history", 2, cmd_history }, { "stranger", 2, cmd_stranger }, { "tcp", 2, cmd_tcp },
        { "submit", 7, cmd_submit },   { "lease", 2, cmd_lease }, { "result", 2, cmd_result },     { "mute", 1, cmd_mute },     { "topics", 2, cmd_topics },
        { "broker", 2, cmd_broker },   { "verdict", 3, cmd_verdict }, { "vote", 4, cmd_vote }, { "claim", 5, cmd_claim },     { "steal", 3, cmd_steal },
        { "echo", 1, cmd_echo },       { "replay", 1, cmd_replay }, { "read", 2, cmd_read },      { "name", 3, cmd_name },
        { "enrol", 3, cmd_enrol },     { "decline", 3, cmd_decline },
        { "repeat", 2, cmd_repeat },   { "hold", 1, cmd_hold },   { "linger", 2, cmd_linger },     { "copy", 2, cmd_copy },
        { "store", 3, cmd_store },     { "late", 2, cmd_late },
    };
    if (argc > 1 && (!strcmp (argv[1], "flip") || !strncmp (argv[1], "--", 2)))
        return liar_worker (argc, argv);
    for (size_t i = 0; argc > 1 && i < sizeof rows / sizeof *rows; i++)
        if (!strcmp (argv[1], rows[i].name) && argc - 2 == rows[i].args) {
            int status = rows[i].run (argv + 2);
            fflush (stdout);
            _exit (status); /* what was asked was answered: the sockets need no goodbye */
        }
    fprintf (stderr, "usage: see the head of src/lab/liar.c\n");
    return 2;
}
