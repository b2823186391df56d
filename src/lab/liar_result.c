/* liar_result.c: results that are false in one way. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "lab/liar.h"
#include "proto/statement.h"
#include "store/manifest.h"

static void find_step (const struct msg_submission_body *s, struct bytes name, struct msg *st)
{
    for (size_t i = 0; i < s->steps.n; i++) {
        if (msg_decode_as (s->steps.v[i], MSG_step, st, &e) == -1)
            die ("step");
        if (bytes_eq (st->u.step.name, name))
            return;
        msg_release (st);
    }
    die ("the lease's step");
}

static bool is (const char *a, const char *b)
{
    return !strcmp (a, b);
}

void make_result (struct realm *rl, const struct taken *t, const char *wrong, struct buf *sealed)
{
    struct envelope lv = { 0 }, sv = { 0 };
    struct msg lb, sb, st;
    struct keys other;
    struct result r;
    if (keys_make (&other, &e) == -1 || envelope_open (t->m.u.lease.lease, TYPE_LEASE, &lv, &e) == -1 || msg_decode_as (lv.body, MSG_lease_body, &lb, &e) == -1
        || envelope_open (t->m.u.lease.submission, TYPE_SUBMISSION, &sv, &e) == -1 || msg_decode_as (sv.body, MSG_submission_body, &sb, &e) == -1)
        die ("lease");
    const struct msg_submission_body *s = &sb.u.submission_body;
    const struct msg_lease_body *l = &lb.u.lease_body;
    find_step (s, l->step, &st);
    memset (&r, 0, sizeof r);
    r.submission = envelope_id (&sv);
    r.recipe = is (wrong, "recipe") ? digest_of ("x", 1) : s->recipe;
    r.image = is (wrong, "image") ? digest_of ("x", 1) : l->image;
    r.lease_id = t->id;
    bytes_copy (st.u.step.name, r.step, sizeof r.step);
    bytes_copy (s->project, r.project, sizeof r.project);
    snprintf (r.worker, sizeof r.worker, "%s", realm_name (rl));
    snprintf (r.owner, sizeof r.owner, "%s", is (wrong, "owner") ? "another-owner" : realm_self (rl)->owner);
    bytes_copy (s->commit, r.commit, sizeof r.commit);
    r.url = bytes_dup (s->url);
    r.ref = bytes_dup (s->ref);
    buf_add (&r.lease, t->m.u.lease.lease.p, t->m.u.lease.lease.len);
    r.network = is (wrong, "network") ? NETWORK_REALM : NETWORK_NONE;
    r.isolation = is (wrong, "isolation") ? ISOLATION_NONE : ISOLATION_BWRAP;
    r.host = xstrdup ("");
    r.note = xstrdup ("");
    r.exit_status = is (wrong, "red");
    r.artifact = is (wrong, "green") || is (wrong, "red") ? manifest_empty () : digest_of ("never built", 11);
    r.input_count = l->inputs.n;
    for (size_t i = 0; i < l->inputs.n; i++) /* a blinded one stays what it is called: this liar reads nothing */
        memcpy (r.inputs[i].b, l->inputs.v[i].p, 32);
    r.started = r.finished = time_now_us ();
    BUF (json);
    BUF (envelope);
    result_json (&r, &json);
    envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), is (wrong, "key") ? &other.sign : &realm_keys (rl)->sign, &envelope);
    seal_to (roster_role (realm_roster (rl), ROLE_VERIFIER, 0)->seal_key, buf_bytes (&envelope), sealed);
    result_release (&r);
    msg_release (&st);
    msg_release (&sb);
    msg_release (&lb);
    envelope_release (&lv);
    envelope_release (&sv);
    keys_release (&other);
}

void send_result (struct client *c, const struct taken *t, struct bytes sealed)
{
    struct msg q = MSG_INIT (result, client_request (c));
    q.u.result.lease = t->id;
    q.u.result.kind = RESULT_OUTCOME;
    q.u.result.sealed = sealed;
    answer_of (c, &q, MSG_ok);
}

/* key, owner, recipe, image, isolation, network, receipt, seal: that is wrong. green: it never ran, and says that it went well, with nothing to
 * show; red: it never ran, and says that it failed. */
int cmd_result (char **v)
{
    struct realm *rl = realm_of (v[0]);
    struct client *c = client_of (rl, ROLE_BROKER);
    struct taken t;
    BUF (sealed);
    take_lease (c, &t);
    make_result (rl, &t, v[1], &sealed);
    send_result (c, &t, is (v[1], "seal") ? bytes_str ("not sealed at all") : buf_bytes (&sealed));
    taken_release (&t);
    client_close (&c);
    realm_close (&rl);
    return 0;
}
