/* liar_service.c: services that lie, each with the key of the true one, in its place. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "lab/liar.h"
#include "proto/statement.h"
#include "store/client.h"

#define SERVE_MS 60000 /* then nobody comes any more */
#define FORGED_PROJECT "lab/p" /* of the jobs that the broker makes up */

/* ---- a broker that lies ---- */

static void say (zsock_t *s, const struct net_in *to, const struct msg *m)
{
    BUF (frame);
    msg_encode (m, &frame);
    net_send (s, bytes_of (to->route, to->route_len), buf_bytes (&frame), &e);
}

static void forge_submission (struct realm *rl, const struct realm *submitter, const char *lie, struct buf *out)
{
    struct msg m = MSG_INIT (submission_body, 0), st = MSG_INIT (step, 0);
    BUF (step);
    BUF (body);
    struct bytes list;
    st.u.step.name = bytes_str ("build");
    st.u.step.run = bytes_str ("echo owned");
    st.u.step.image = digest_of ("image", 5);
    msg_encode (&st, &step);
    list = buf_bytes (&step);
    struct msg_submission_body *b = &m.u.submission_body;
    b->submitter = bytes_str (realm_name (submitter));
    b->project = bytes_str (FORGED_PROJECT);
    b->url = bytes_str ("https://git.example/p.git");
    b->commit = bytes_str ("0123456789012345678901234567890123456789");
    b->ref = bytes_str ("refs/heads/main");
    b->steps = (struct bytes_list){ &list, 1 };
    b->issued = (uint64_t) time_now_us () - (!strcmp (lie, "expired") ? UINT64_C (7200000000) : 0);
    b->expires = b->issued + UINT64_C (3600000000);
    msg_encode (&m, &body);
    bool own = !strcmp (lie, "submission");
    envelope_sign (TYPE_SUBMISSION, buf_bytes (&body), own ? &realm_keys (rl)->sign : &realm_keys (submitter)->sign, out);
    if (!strcmp (lie, "altered"))
        out->p[out->len / 2] ^= 1;
}

static void forge_lease (struct realm *rl, const struct principal *w, struct bytes submission, const char *lie, struct buf *out)
{
    struct msg m = MSG_INIT (lease_body, 0);
    struct envelope v = { 0 };
    struct keys other;
    BUF (body);
    struct msg_lease_body *b = &m.u.lease_body;
    if (keys_make (&other, &e) == -1 || envelope_open (submission, TYPE_SUBMISSION, &v, &e) == -1)
        die ("lease");
    b->broker = bytes_str (realm_name (rl));
    const char *another = strcmp (w->name, "worker-2") ? "2" : "1";
    char worker[16], owner[16];
    snprintf (worker, sizeof worker, "worker-%s", another);
    snprintf (owner, sizeof owner, "owner-%s", another);
    b->worker = bytes_str (!strcmp (lie, "worker") ? worker : w->name);
    b->owner = bytes_str (!strcmp (lie, "worker") ? owner : w->owner);
    b->submission = envelope_id (&v);
    b->step = bytes_str (!strcmp (lie, "step") ? "other" : "build");
    b->project = bytes_str (FORGED_PROJECT);
    b->ref = bytes_str ("refs/heads/main");
    b->image = digest_of ("image", 5);
    b->issued = (uint64_t) time_now_us ();
    b->expires = b->issued + (!strcmp (lie, "over") ? 1 : UINT64_C (3600000000));
    msg_encode (&m, &body);
    envelope_sign (TYPE_LEASE, buf_bytes (&body), !strcmp (lie, "lease") ? &other.sign : &realm_keys (rl)->sign, out);
    envelope_release (&v);
    keys_release (&other);
}

/* A verdict that the broker made up, as an event; it has no verifier's key, unless it is shown what such a one is worth. */
static void forge_event (struct realm *rl, const struct sign_key *key, const struct digest *id, struct buf *out)
{
    struct verdict v;
    BUF (json);
    BUF (envelope);
    memset (&v, 0, sizeof v);
    v.submission = *id;
    v.artifact = digest_of ("bad", 3);
    v.outcome = outcome_digest (0, &v.artifact);
    strcpy (v.step, "build");
    strcpy (v.project, FORGED_PROJECT);
    strcpy (v.state, "trusted");
    strcpy (v.verifier, roster_role (realm_roster (rl), ROLE_VERIFIER, 0)->name);
    strcpy (v.commit, "0123456789012345678901234567890123456789");
    v.url = xstrdup ("");
    v.ref = xstrdup ("");
    v.reason = xstrdup ("the broker says so");
    v.policy.agree = v.policy.trusted = v.policy.dissent = v.support = v.votes = 1;
    v.policy.isolation = ISOLATION_BWRAP;
    v.policy.max_replicas = 5;
    v.policy.lineages = 1;
    v.policy.network = NETWORK_NONE;
    v.time = time_now_us ();
    v.index = 1;
    v.final = true;
    verdict_json (&v, &json);
    envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), key, &envelope);
    struct msg ev = MSG_INIT (event, 0);
    ev.u.event.seq = 1;
    ev.u.event.time = (uint64_t) v.time;
    ev.u.event.kind = bytes_str ("verdict");
    ev.u.event.project = bytes_str (FORGED_PROJECT);
    ev.u.event.id = *id;
    ev.u.event.step = bytes_str ("build");
    ev.u.event.state = bytes_str ("trusted");
    ev.u.event.digest = v.artifact;
    ev.u.event.payload = buf_bytes (&envelope);
    msg_encode (&ev, out);
    verdict_release (&v);
}

struct lies {                /* to the first worker that comes: one after the other */
    char *list, *now, *rest;
    uint8_t peer[32];
    bool have_peer;
};

static void next_lie (struct lies *l)
{
    l->now = strtok_r (l->now ? NULL : l->list, ",", &l->rest);
}

/* What it made of it; true: that was the last. */
static bool heard (struct lies *l, const struct msg *q)
{
    bool none = !strcmp (l->now, "none");
    if (q->type == MSG_decline)
        printf ("%s: declined: %.*s\n", l->now, (int) q->u.decline.reason.len, (const char *) q->u.decline.reason.p);
    else
        printf ("%s: it works on it: %s %.*s\n", l->now, msg_name (q->type), (int) (q->type == MSG_result ? q->u.result.text.len : 0),
                q->type == MSG_result ? (const char *) q->u.result.text.p : "");
    fflush (stdout);
    next_lie (l);
    return !l->now || none;
}

struct greeted {             /* who said hello to us, and not only to the one before */
    uint8_t v[64][32];
    size_t n;
};

static bool has_greeted (const struct greeted *g, const uint8_t peer[32])
{
    for (size_t i = 0; i < g->n; i++)
        if (memcmp (g->v[i], peer, 32) == 0)
            return true;
    return false;
}

static void greet (struct greeted *g, const uint8_t peer[32])
{
    if (!has_greeted (g, peer) && g->n < 64)
        memcpy (g->v[g->n++], peer, 32);
}

static void send_lease (zsock_t *s, const struct net_in *to, struct realm *rl, const struct realm *submitter, const struct principal *p, const char *lie)
{
    struct msg a = MSG_INIT (lease, 0);
    BUF (sub);
    BUF (lease);
    forge_submission (rl, submitter, lie, &sub);
    forge_lease (rl, p, buf_bytes (&sub), lie, &lease);
    a.u.lease.lease = buf_bytes (&lease);
    a.u.lease.submission = buf_bytes (&sub);
    say (s, to, &a);
}

/* What subscribers are told: a verdict, as soon as there is something to be decided. */
static void send_events (zsock_t *s, const struct net_in *to, uint64_t request, struct realm *rl, const struct sign_key *key, const struct digest *id)
{
    struct msg a = MSG_INIT (events, request);
    struct bytes list;
    BUF (event);
    a.u.events.next = 1;
    if (!digest_zero (id)) {
        forge_event (rl, key, id, &event);
        list = buf_bytes (&event);
        a.u.events.events = (struct bytes_list){ &list, 1 };
        a.u.events.last = 1;
        a.u.events.next = 2;
        puts ("told of a verdict");
        fflush (stdout);
    }
    say (s, to, &a);
}

int cmd_broker (char **v)
{
    struct realm *rl = realm_of (v[0]);
    char *up = xasprintf ("%s/..", v[0]), *verifier = xasprintf ("%s/../verifier", v[0]);
    struct realm *submitter = realm_of (up); /* the realm's own folder: the admin, who submits */
    struct lies l = { .list = v[1] };
    const struct principal *self = realm_self (rl);
    const struct sign_key *key = strcmp (v[1], "signed-verdict") ? &realm_keys (rl)->sign : &realm_keys (realm_of (verifier))->sign;
    struct digest id = { { 0 } };
    struct greeted g = { .n = 0 };
    next_lie (&l);
    if (!l.now || net_start (&e) == -1)
        die ("start");
    realm_admit (rl, ROLE_ANY);
    zsock_t *s = net_router (self->endpoint, &realm_keys (rl)->transport, (struct net_room){ 1000, 1000, NET_FRAME_MAX }, &e), *x = net_xpub (self->events, &realm_keys (rl)->transport, 1000, &e);
    if (!s || !x)
        die ("bind");
    puts ("ready");
    fflush (stdout);
    for (int64_t until = time_mono_ms () + SERVE_MS; time_mono_ms () < until;) {
        struct net_in in;
        struct msg q, a;
        if (!net_wait (s, 100) || net_recv (s, &in, &e) != 1)
            continue;
        const struct principal *p = roster_by_transport (realm_roster (rl), in.peer);
        if (!p || msg_decode (in.data, &q, &e) == -1)
            continue;
        bool its = l.have_peer && memcmp (l.peer, in.peer, 32) == 0;
        switch (q.type) {
        case MSG_hello:
            greet (&g, in.peer);
            a = (struct msg) MSG_INIT (welcome, q.request);
            a.u.welcome.version = PROTO_VERSION;
            say (s, &in, &a);
            break;
        case MSG_ready:
            if (!q.u.ready.credit || (l.have_peer && !its) || strstr (l.now, "verdict") || !strcmp (l.now, "audit"))
                break; /* those are told to who asks for events */
            memcpy (l.peer, in.peer, 32);
            l.have_peer = true;
            send_lease (s, &in, rl, submitter, p, l.now);
            break;
        case MSG_decline:
        case MSG_log:
        case MSG_result:
            if (its && heard (&l, &q))
                _exit (0); /* the sockets need no goodbye */
            break;
        case MSG_submit: {
            struct envelope env = { 0 };
            if (envelope_open (q.u.submit.envelope, TYPE_SUBMISSION, &env, &e) == 0)
                id = envelope_id (&env);
            envelope_release (&env);
            a = (struct msg) MSG_INIT (submitted, q.request);
            a.u.submitted.id = id;
            a.u.submitted.seq = 1;
            say (s, &in, &a);
            break;
        }
        case MSG_submission_get: { /* it knows of each: it makes one up */
            BUF (sub);
            forge_submission (rl, submitter, l.now, &sub);
            a = (struct msg) MSG_INIT (submission, q.request);
            a.u.submission.envelope = buf_bytes (&sub);
            say (s, &in, &a);
            break;
        }
        case MSG_replay:
            send_events (s, &in, q.request, rl, key, &id);
            break;
        case MSG_ping:
            a = (struct msg) MSG_INIT (pong, q.request);
            if (!has_greeted (&g, in.peer)) { /* so that it says hello to us, and what it is ready for */
                a = (struct msg) MSG_INIT (error, q.request);
                a.u.error.code = bytes_str ("unexpected");
            }
            say (s, &in, &a);
            break;
        default:
            break;
        }
        msg_release (&q);
        net_in_release (&in);
    }
    fflush (stdout);
    _exit (0);
}

/* ---- a store that lies ---- */

/* It answers whatever is asked for with the tree in `dir`; "bits": with a bit of each chunk changed. */
int cmd_store (char **v)
{
    struct realm *rl = realm_of (v[0]);
    const struct principal *self = realm_self (rl);
    bool bits = !strcmp (v[1], "bits");
    char *n = xasprintf ("%s/n", v[2]);
    BUF (manifest);
    BUF (content);
    int tree CLEANUP (fd_close) = open (v[2], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (tree == -1 || manifest_scan (tree, NULL, NULL, &manifest, &e) == -1 || file_read (n, 1 << 20, &content, &e) == -1 || net_start (&e) == -1)
        die ("content");
    realm_admit (rl, ROLE_ANY);
    zsock_t *s = net_router (self->endpoint, &realm_keys (rl)->transport, (struct net_room){ 1000, 1000, NET_FRAME_MAX }, &e);
    if (!s)
        die ("bind");
    if (bits)
        content.p[0] ^= 1;
    puts ("ready");
    fflush (stdout);
    for (;;) {
        struct net_in in;
        struct msg q;
        if (!net_wait (s, 1000) || net_recv (s, &in, &e) != 1)
            continue;
        if (msg_decode (in.data, &q, &e) == 0) {
            struct msg a = MSG_INIT (error, q.request);
            a.u.error.code = bytes_str ("unexpected");
            if (q.type == MSG_hello) {
                a = (struct msg) MSG_INIT (welcome, q.request);
                a.u.welcome.version = PROTO_VERSION;
            } else if (q.type == MSG_ping)
                a = (struct msg) MSG_INIT (pong, q.request);
            else if (q.type == MSG_get_open) {
                a = (struct msg) MSG_INIT (get_manifest, q.request);
                a.u.get_manifest.manifest = buf_bytes (&manifest);
                puts ("served");
                fflush (stdout);
            } else if (q.type == MSG_get_next && q.u.get_next.offset <= content.len) {
                a = (struct msg) MSG_INIT (get_chunk, q.request);
                a.u.get_chunk.artifact = q.u.get_next.artifact;
                a.u.get_chunk.offset = q.u.get_next.offset;
                a.u.get_chunk.data = bytes_of (content.p + q.u.get_next.offset, content.len - q.u.get_next.offset);
            }
            say (s, &in, &a);
            msg_release (&q);
        }
        net_in_release (&in);
    }
}

/* ---- a verifier that lies ---- */

int cmd_verdict (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct envelope env = { 0 };
    struct verdict d;
    BUF (file);
    BUF (json);
    BUF (out);
    if (file_read (v[1], 1 << 24, &file, &e) == -1)
        die ("bundle");
    const char *text = buf_str (&file);
    size_t first = strcspn (text, "\n");
    if (envelope_open_json (bytes_of (file.p, first), TYPE_INTOTO, &env, &e) == -1 || verdict_parse (env.body, &d, &e) == -1)
        die ("verdict");
    if (!strcmp (v[2], "artifact"))
        d.artifact = digest_of ("another", 7);
    else if (!strcmp (v[2], "outcome")) {
        d.artifact = digest_of ("another", 7);
        d.outcome = outcome_digest (0, &d.artifact);
    } else if (!strcmp (v[2], "trusted")) {
        strcpy (d.state, "trusted");
        for (size_t i = 0; i < d.count; i++)
            d.counts[i].counted = true;
    } else if (!strcmp (v[2], "policy"))
        d.policy.agree = 1;
    else if (!strcmp (v[2], "commit"))
        memset (d.commit, '7', strlen (d.commit));
    verdict_json (&d, &json);
    envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), &realm_keys (rl)->sign, &out);
    printf ("%s\n%s", buf_str (&out), text + first + (text[first] == '\n'));
    verdict_release (&d);
    envelope_release (&env);
    realm_close (&rl);
    return 0;
}

