/* liar_copy.c: workers that would rather copy than build, take what they do not do, or would be somebody twice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/idp.h"
#include "base/file.h"
#include "lab/liar.h"
#include "store/manifest.h"

/* The sealed result of another worker on the lease's step, from the broker's log. */
static void await_sealed (struct client *c, const struct taken *t, const char *self, struct buf *sealed)
{
    struct envelope lv = { 0 };
    struct msg lb;
    if (envelope_open (t->m.u.lease.lease, TYPE_LEASE, &lv, &e) == -1 || msg_decode_as (lv.body, MSG_lease_body, &lb, &e) == -1)
        die ("lease");
    for (int64_t until = time_mono_ms () + 60000; sealed->len == 0;) {
        uint64_t from = 1, last = 1;
        if (time_mono_ms () > until)
            die ("no result of another");
        while (from <= last && sealed->len == 0) {
            struct msg m = MSG_INIT (replay, client_request (c));
            struct net_in in;
            m.u.replay.from = from;
            if (client_ask (c, &m, MSG_events, &in, &e) == -1)
                die ("replay");
            for (size_t i = 0; i < m.u.events.events.n; i++) {
                struct msg x, payload;
                if (msg_decode_as (m.u.events.events.v[i], MSG_event, &x, &e) == -1)
                    die ("event");
                const struct msg_event *ev = &x.u.event;
                if (bytes_eqs (ev->kind, "artifact-completed") && digest_eq (&ev->id, &lb.u.lease_body.submission) && bytes_eq (ev->step, lb.u.lease_body.step)
                    && !bytes_eqs (ev->worker, self) && msg_decode_as (ev->payload, MSG_sealed_payload, &payload, &e) == 0) {
                    sealed->len = 0;
                    buf_add (sealed, payload.u.sealed_payload.sealed.p, payload.u.sealed_payload.sealed.len);
                    msg_release (&payload);
                }
                msg_release (&x);
            }
            from = m.u.events.next;
            last = m.u.events.last;
            msg_release (&m);
            net_in_release (&in);
        }
        zclock_sleep (100);
    }
    msg_release (&lb);
    envelope_release (&lv);
}

int cmd_echo (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct client *c = client_of (rl, ROLE_BROKER);
    struct taken t;
    BUF (sealed);
    take_lease (c, &t);
    await_sealed (c, &t, realm_name (rl), &sealed);
    send_result (c, &t, buf_bytes (&sealed));
    taken_release (&t);
    client_close (&c);
    realm_close (&rl);
    return 0;
}

int cmd_replay (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct client *c = client_of (rl, ROLE_BROKER);
    struct taken one, two;
    BUF (sealed);
    take_lease (c, &one);
    make_result (rl, &one, "green", &sealed);
    send_result (c, &one, buf_bytes (&sealed));
    take_lease (c, &two);
    send_result (c, &two, buf_bytes (&sealed));
    taken_release (&one);
    taken_release (&two);
    client_close (&c);
    realm_close (&rl);
    return 0;
}

static void give_back (struct client *c, const struct taken *t)
{
    struct msg d = MSG_INIT (handback, client_request (c));
    d.u.handback.lease = t->id;
    d.u.handback.reason = bytes_str ("not worth it");
    answer_of (c, &d, MSG_ok);
}

int cmd_read (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct client *c = client_of (rl, ROLE_BROKER), *s = client_of (rl, ROLE_STORE);
    struct taken t;
    take_lease (c, &t);
    struct msg q = MSG_INIT (get_open, client_request (s));
    if (!digest_parse (v[1], &q.u.get_open.artifact))
        die ("digest");
    q.u.get_open.lease = t.m.u.lease.lease;
    q.u.get_open.submission = t.m.u.lease.submission;
    q.u.get_open.provisional = 1;
    answer_of (s, &q, MSG_get_manifest);
    give_back (c, &t);
    taken_release (&t);
    client_close (&c);
    client_close (&s);
    realm_close (&rl);
    return 0;
}

int cmd_name (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct client *c = client_of (rl, ROLE_BROKER), *s = client_of (rl, ROLE_STORE);
    struct taken t;
    struct manifest m;
    struct digest blob;
    struct net_in in;
    BUF (raw);
    take_lease (c, &t);
    manifest_init (&m);
    if (!digest_parse (v[1], &blob) || manifest_add (&m, "n", 'f', strtoull (v[2], NULL, 10), &blob, NULL, &e) == -1 || manifest_finish (&m, &raw, &e) == -1)
        die ("manifest");
    struct msg q = MSG_INIT (put_open, client_request (s));
    q.u.put_open.lease = t.m.u.lease.lease;
    q.u.put_open.manifest = buf_bytes (&raw);
    if (client_ask (s, &q, MSG_put_state, &in, &e) == -1)
        die ("put_open");
    struct digest upload = q.u.put_state.upload;
    printf ("%s\n", q.u.put_state.need.len && q.u.put_state.need.p[0] ? "its bytes are wanted" : "it is taken without its bytes");
    msg_release (&q);
    net_in_release (&in);
    struct msg done = MSG_INIT (put_done, client_request (s));
    done.u.put_done.upload = upload;
    answer_of (s, &done, MSG_receipt);
    give_back (c, &t);
    manifest_release (&m);
    taken_release (&t);
    client_close (&c);
    client_close (&s);
    realm_close (&rl);
    return 0;
}

int cmd_enrol (char **v)
{
    struct realm *rl = realm_of (v[0]);
    const struct keys *own = realm_keys (rl);
    struct token t = { .key.sec = NULL };
    struct keys k;
    struct client *idp = NULL;
    struct msg m = MSG_INIT (enrol_proof, 0), q;
    BUF (body);
    BUF (proof);
    if (token_parse (&t, v[1], &e) == -1 || keys_make (&k, &e) == -1 || client_connect (&idp, "IDP", t.root.endpoint, t.root.idp_key, &t.key, 5000, &e) == -1)
        die ("token");
    bool sign = !strcmp (v[2], "sign");
    memcpy (m.u.enrol_proof.token.b, t.key.pub, 32);
    memcpy (m.u.enrol_proof.sign_key.b, sign ? own->sign.pub : k.sign.pub, 32);
    memcpy (m.u.enrol_proof.transport_key.b, !strcmp (v[2], "transport") || !strcmp (v[2], "bit") ? own->transport.pub : k.transport.pub, 32);
    memcpy (m.u.enrol_proof.seal_key.b, !strcmp (v[2], "seal") ? own->seal_pub : !strcmp (v[2], "swap") ? own->transport.pub : k.seal_pub, 32);
    m.u.enrol_proof.transport_key.b[31] ^= !strcmp (v[2], "bit") ? 0x80 : 0;
    msg_encode (&m, &body);
    envelope_sign (TYPE_ENROL, buf_bytes (&body), sign ? &own->sign : &k.sign, &proof);
    q = (struct msg) MSG_INIT (enrol, client_request (idp));
    q.u.enrol.sign_key = m.u.enrol_proof.sign_key;
    q.u.enrol.transport_key = m.u.enrol_proof.transport_key;
    q.u.enrol.seal_key = m.u.enrol_proof.seal_key;
    q.u.enrol.proof = buf_bytes (&proof);
    answer_of (idp, &q, MSG_enrolled);
    client_close (&idp);
    keys_release (&k);
    token_release (&t);
    realm_close (&rl);
    return 0;
}

/* WAY decline, handback, or leave: that is to come again, and not to know of it. */
int cmd_decline (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct client *c = client_of (rl, ROLE_BROKER);
    for (long n = strtol (v[2], NULL, 10); n > 0; n--) {
        struct taken t;
        struct msg d = MSG_INIT (decline, 0);
        take_lease (c, &t);
        d.request = client_request (c);
        d.u.decline.lease = t.id;
        d.u.decline.reason = bytes_str ("not this one");
        if (!strcmp (v[1], "decline"))
            answer_of (c, &d, MSG_ok);
        else if (!strcmp (v[1], "handback"))
            give_back (c, &t);
        taken_release (&t);
    }
    if (!strcmp (v[1], "leave")) { /* the last one */
        struct msg hold = MSG_INIT (holding, 0), ping = MSG_INIT (ping, client_request (c));
        if (client_send (c, &hold, &e) == -1)
            die ("holding");
        answer_of (c, &ping, MSG_pong);
    }
    client_close (&c);
    realm_close (&rl);
    return 0;
}
