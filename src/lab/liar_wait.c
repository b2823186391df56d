/* liar_wait.c: workers that wait for the others before they answer: one that wants to know what they got, and asks everyone there is; and one that
 * wants the last word. */
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "lab/liar.h"
#include "proto/statement.h"
#include "store/manifest.h"

#define WAIT_MS 60000
#define SEALED_MAX 262144u

struct copier {
    struct realm *rl;
    struct client *broker, *verifier, *store;
    struct taken t;
    struct digest id;          /* of the submission */
    char step[64], other[64];  /* other: a worker that has answered */
    struct buf sealed;         /* what it answered */
    unsigned answered, shown;  /* events of results, and those of them that show a digest */
};

static void say (const char *what, const char *answer)
{
    printf ("%s: %s\n", what, answer);
    fflush (stdout);
}

/* ---- the broker's log of events, its states, and logs of builds ---- */

static void see (struct copier *k, const struct msg_event *ev)
{
    struct msg p;
    if (!digest_eq (&ev->id, &k->id) || !bytes_eqs (ev->step, k->step))
        return;
    k->shown += !digest_zero (&ev->digest);
    if (!bytes_eqs (ev->kind, "artifact-completed"))
        return;
    k->answered++;
    bytes_copy (ev->worker, k->other, sizeof k->other);
    if (msg_decode_as (ev->payload, MSG_sealed_payload, &p, &e) == 0) {
        k->sealed.len = 0;
        buf_add (&k->sealed, p.u.sealed_payload.sealed.p, p.u.sealed_payload.sealed.len);
        msg_release (&p);
    }
}

static void look (struct copier *k)
{
    uint64_t from = 1, last = 1;
    k->answered = k->shown = 0;
    while (from <= last) {
        struct msg m = MSG_INIT (replay, client_request (k->broker)), ev;
        struct net_in in;
        m.u.replay.from = from;
        m.u.replay.limit = 256;
        if (client_ask (k->broker, &m, MSG_events, &in, &e) == -1)
            die ("events");
        for (size_t i = 0; i < m.u.events.events.n; i++)
            if (msg_decode_as (m.u.events.events.v[i], MSG_event, &ev, &e) == 0) {
                see (k, &ev.u.event);
                msg_release (&ev);
            }
        last = m.u.events.last;
        from = m.u.events.next > from ? m.u.events.next : UINT64_MAX;
        msg_release (&m);
        net_in_release (&in);
    }
}

static void ask_log (struct copier *k)
{
    struct msg m = MSG_INIT (log_get, client_request (k->broker));
    struct net_in in;
    m.u.log_get.id = k->id;
    m.u.log_get.step = bytes_str (k->step);
    m.u.log_get.worker = bytes_str (k->other);
    if (client_ask (k->broker, &m, MSG_log_part, &in, &e) == -1) {
        say ("log", err_name (e.code));
        return;
    }
    say ("log", m.u.log_part.data.len ? "shown" : "empty");
    msg_release (&m);
    net_in_release (&in);
}

/* ---- the verifier ---- */

static const char *ask_verdict (struct copier *k)
{
    struct msg m = MSG_INIT (verdict_get, client_request (k->verifier));
    struct net_in in;
    struct envelope v = { 0 };
    struct verdict d;
    const char *answer = "nothing";
    m.u.verdict_get.id = k->id;
    m.u.verdict_get.step = bytes_str (k->step);
    if (client_ask (k->verifier, &m, MSG_bundle, &in, &e) == -1)
        return err_name (e.code);
    if (m.u.bundle.envelopes.n && envelope_open_json (m.u.bundle.envelopes.v[0], TYPE_INTOTO, &v, &e) == 0 && verdict_parse (v.body, &d, &e) == 0) {
        bool shown = !digest_zero (&d.artifact) || !digest_zero (&d.outcome);
        for (size_t i = 0; i < d.count; i++)
            shown = shown || !digest_zero (&d.counts[i].outcome);
        answer = shown ? "digest" : "no-digest";
        verdict_release (&d);
    }
    envelope_release (&v);
    msg_release (&m);
    net_in_release (&in);
    return answer;
}

/* ---- the store: as if it had guessed the digest ---- */

static void ask_store (struct copier *k, struct bytes manifest)
{
    struct msg m = MSG_INIT (get_open, client_request (k->store));
    struct net_in in;
    m.u.get_open.artifact = manifest_digest (manifest);
    m.u.get_open.lease = k->t.m.u.lease.lease;
    m.u.get_open.submission = k->t.m.u.lease.submission;
    m.u.get_open.provisional = 1;
    if (client_ask (k->store, &m, MSG_get_manifest, &in, &e) == 0)
        say ("read", "served");
    else
        say ("read", err_name (e.code));

    /* to name the blob without having its bytes: a receipt for it would do */
    m = (struct msg) MSG_INIT (put_open, client_request (k->store));
    m.u.put_open.lease = k->t.m.u.lease.lease;
    m.u.put_open.manifest = manifest;
    if (client_ask (k->store, &m, MSG_put_state, &in, &e) == -1) {
        say ("name", err_name (e.code));
        return;
    }
    bool wanted = m.u.put_state.need.len == 1 && m.u.put_state.need.p[0] == 1;
    struct digest upload = m.u.put_state.upload;
    msg_release (&m);
    net_in_release (&in);
    say ("name", wanted ? "bytes-wanted" : "taken");
    m = (struct msg) MSG_INIT (put_done, client_request (k->store));
    m.u.put_done.upload = upload;
    if (client_ask (k->store, &m, MSG_receipt, &in, &e) == 0)
        say ("receipt", "given");
    else
        say ("receipt", err_name (e.code));
}

/* Takes a lease, and waits until two others have answered theirs. */
static void wait_for_others (struct copier *k, const char *dir)
{
    struct envelope lease = { 0 };
    struct msg body;
    k->rl = realm_of (dir);
    k->broker = client_of (k->rl, ROLE_BROKER);
    take_lease (k->broker, &k->t);
    if (envelope_open (k->t.m.u.lease.lease, TYPE_LEASE, &lease, &e) == -1 || msg_decode_as (lease.body, MSG_lease_body, &body, &e) == -1)
        die ("lease");
    k->id = body.u.lease_body.submission;
    bytes_copy (body.u.lease_body.step, k->step, sizeof k->step);
    for (int64_t until = time_mono_ms () + WAIT_MS; k->answered < 2 && time_mono_ms () < until; poll (NULL, 0, 50))
        look (k);
    if (k->answered < 2)
        die ("nobody to wait for");
}

int cmd_late (char **v)
{
    struct copier k = { .answered = 0 };
    wait_for_others (&k, v[0]);
    vote (k.rl, k.broker, &k.t, v[1], 0);
    return 0;
}

int cmd_copy (char **v)
{
    struct copier k = { .answered = 0 };
    BUF (manifest);
    BUF (content);
    wait_for_others (&k, v[0]);
    k.verifier = client_of (k.rl, ROLE_VERIFIER);
    k.store = client_of (k.rl, ROLE_STORE);
    one_file (v[1], &manifest, &content);
    say ("events", k.shown ? "digest" : "no-digest");
    say ("verdict", ask_verdict (&k));
    ask_log (&k);
    ask_store (&k, buf_bytes (&manifest));

    /* what the other answered, as its own */
    struct msg q = MSG_INIT (result, client_request (k.broker));
    q.u.result.lease = k.t.id;
    q.u.result.kind = RESULT_OUTCOME;
    q.u.result.sealed = buf_bytes (&k.sealed);
    printf ("echo: ");
    answer_of (k.broker, &q, MSG_ok);
    fflush (stdout);

    /* and once it is decided: are these the right questions? */
    const char *later = "";
    for (int64_t until = time_mono_ms () + WAIT_MS; strcmp (later = ask_verdict (&k), "digest") && time_mono_ms () < until;)
        poll (NULL, 0, 100);
    say ("later", later);
    look (&k);
    say ("later events", k.shown ? "digest" : "no-digest");
    return 0;
}
