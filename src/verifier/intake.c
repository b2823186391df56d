#include "verifier/intake.h"

#include <string.h>

#include "proto/blind.h"
#include "store/manifest.h"
#include "verifier/ledger.h"

int intake_submission (const struct roster *r, struct bytes raw, const struct digest *id, int64_t time, struct envelope *v, struct msg *body, struct err *e)
{
    memset (v, 0, sizeof *v);
    if (envelope_open (raw, TYPE_SUBMISSION, v, e) == -1)
        return err_wrap (e, "submission");
    const struct principal *p = roster_by_sign (r, v->keyid);
    struct digest own = envelope_id (v);
    int rc = 0;
    if (!digest_eq (&own, id))
        rc = err_code (e, EC_DAMAGED, "submission: it is not the one that the event names");
    else if (!p || !(p->roles & ROLE_SUBMITTER))
        rc = err_code (e, EC_UNKNOWN_KEY, "submission: signed by no submitter of the roster");
    else if (!principal_good_at (p, time))
        rc = err_code (e, EC_REVOKED, "submission: %s was revoked by then", p->name);
    else if (envelope_check (v, p->sign_key, e) == -1 || msg_decode_as (v->body, MSG_submission_body, body, e) == -1)
        rc = err_wrap (e, "submission");
    else if (!bytes_eqs (body->u.submission_body.submitter, p->name) || !principal_project (p, body->u.submission_body.project)) {
        rc = err_code (e, EC_NOT_ALLOWED, "submission: %s may not submit to its project", p->name);
        msg_release (body);
    }
    if (rc == -1)
        envelope_release (v);
    return rc;
}

static const struct principal *signer (const struct roster *r, struct bytes name, unsigned role, const char *what, const struct envelope *v, int64_t time, struct err *e)
{
    const struct principal *p = roster_findb (r, name);
    if (!p || !(p->roles & role))
        err_code (e, EC_UNKNOWN_KEY, "%s: its signer is not in the roster with that role", what);
    else if (!principal_good_at (p, time))
        err_code (e, EC_REVOKED, "%s: %s was revoked by then", what, p->name);
    else if (envelope_check (v, p->sign_key, e) == -1)
        err_wrap (e, "%s", what);
    else
        return p;
    return NULL;
}

struct digest inputs_digest (const struct digest *inputs, size_t n)
{
    struct digest none = { { 0 } };
    return n ? digest_of (inputs, n * sizeof *inputs) : none;
}

static int check_lease (const struct intake *in, const struct result *r, struct taken *out, struct err *e)
{
    struct envelope v = { 0 };
    struct msg m;
    if (envelope_open (buf_bytes (&r->lease), TYPE_LEASE, &v, e) == -1 || msg_decode_as (v.body, MSG_lease_body, &m, e) == -1) {
        envelope_release (&v);
        return err_wrap (e, "lease");
    }
    const struct msg_lease_body *b = &m.u.lease_body;
    struct digest id = envelope_id (&v);
    int64_t time = (int64_t) in->event->time;
    int rc = 0;
    if (!digest_eq (&id, &in->lease) || !digest_eq (&id, &r->lease_id))
        rc = err_code (e, EC_CONFLICT, "lease: the result carries another than the event names");
    else if (!signer (in->roster, b->broker, ROLE_BROKER, "lease", &v, time, e))
        rc = -1;
    else if (!bytes_eqs (b->worker, r->worker) || !bytes_eqs (b->owner, r->owner))
        rc = err_code (e, EC_CONFLICT, "lease: it is another worker's");
    else if (!digest_eq (&b->submission, &in->event->id) || !bytes_eq (b->step, in->event->step) || !bytes_eq (b->project, in->submission->project))
        rc = err_code (e, EC_CONFLICT, "lease: it is of another step");
    else if (!step_has_image (in->step, &b->image))
        rc = err_code (e, EC_CONFLICT, "lease: it names another image than the step");
    else if (!digest_eq (&b->image, &r->image))
        rc = err_code (e, EC_CONFLICT, "the result was made in another image than the lease's");
    else if (b->issued > (uint64_t) (time + INTAKE_SKEW_US) || (uint64_t) time > b->expires + (uint64_t) INTAKE_SKEW_US)
        rc = err_code (e, EC_EXPIRED, "lease: its time was over when the result came");
    else if (b->inputs.n != r->input_count || b->inputs.n != in->step->needs.n)
        rc = err_code (e, EC_CONFLICT, "lease: it has other inputs than the step");
    for (size_t i = 0; rc == 0 && i < r->input_count; i++)
        if (!blind_names_input (b, i, &r->openings[i], &r->inputs[i]))
            rc = err_code (e, EC_CONFLICT, "lease: the result read other inputs");
    if (!bytes_copy (b->broker, out->broker, sizeof out->broker))
        rc = -1;
    msg_release (&m);
    envelope_release (&v);
    return rc;
}

static int check_receipt (const struct intake *in, const struct result *r, struct taken *out, struct err *e)
{
    struct digest none = manifest_empty ();
    struct envelope v = { 0 };
    struct msg m;
    if (r->exit_status != 0 && !digest_eq (&r->artifact, &none))
        return err_code (e, EC_CONFLICT, "the step failed, and yet has an artifact");
    if (digest_eq (&r->artifact, &none))
        return 0; /* nothing to hold */
    if (envelope_open (buf_bytes (&r->receipt), TYPE_RECEIPT, &v, e) == -1 || msg_decode_as (v.body, MSG_receipt_body, &m, e) == -1) {
        envelope_release (&v);
        return err_wrap (e, "receipt");
    }
    const struct msg_receipt_body *b = &m.u.receipt_body;
    int rc = 0;
    if (!signer (in->roster, b->store, ROLE_STORE, "receipt", &v, (int64_t) in->event->time, e))
        rc = -1;
    else if (!digest_eq (&b->lease, &in->lease))
        rc = err_code (e, EC_CONFLICT, "receipt: it is for another lease");
    else if (!digest_eq (&b->artifact, &r->artifact))
        rc = err_code (e, EC_CONFLICT, "receipt: it is for another artifact");
    else
        (void) bytes_copy (b->store, out->store, sizeof out->store);
    msg_release (&m);
    envelope_release (&v);
    return rc;
}

static int check_words (const struct intake *in, const struct result *r, struct err *e)
{
    const struct msg_event *ev = in->event;
    const struct msg_submission_body *s = in->submission;
    if (!bytes_eqs (ev->worker, r->worker) || !bytes_eqs (ev->owner, r->owner))
        return err_code (e, EC_CONFLICT, "the event names another worker than the result");
    if (!digest_eq (&r->submission, &ev->id) || !bytes_eqs (ev->step, r->step))
        return err_code (e, EC_CONFLICT, "the result is of another step");
    if (!bytes_eqs (s->project, r->project) || !bytes_eqs (s->commit, r->commit) || !bytes_eqs (s->url, r->url ? r->url : "") || !bytes_eqs (s->ref, r->ref ? r->ref : ""))
        return err_code (e, EC_CONFLICT, "the result is of another source than the submission");
    if (!digest_eq (&r->recipe, &s->recipe))
        return err_code (e, EC_CONFLICT, "the result is of another recipe than the submission");
    if (!step_has_image (in->step, &r->image))
        return err_code (e, EC_CONFLICT, "the result was made in another image than the step's");
    if (r->network < in->policy.network)
        return err_code (e, EC_NOT_ALLOWED, "its build had a network, and the policy in force has none");
    if (!policy_isolation_ok (in->policy.isolation, r->isolation))
        return err_code (e, EC_NOT_ALLOWED, "its isolation %s is weaker than the policy's %s", isolation_name (r->isolation), isolation_name (in->policy.isolation));
    return 0;
}

int intake_check (const struct intake *in, struct bytes raw, struct result *r, struct taken *out, struct err *e)
{
    struct envelope v = { 0 };
    int64_t time = (int64_t) in->event->time;
    memset (r, 0, sizeof *r);
    memset (out, 0, sizeof *out);
    if (envelope_open_json (raw, TYPE_INTOTO, &v, e) == -1)
        return err_wrap (e, "result");
    if (result_parse (v.body, r, e) == -1) {
        envelope_release (&v);
        return err_wrap (e, "result");
    }
    const struct principal *p = signer (in->roster, bytes_str (r->worker), ROLE_WORKER, "result", &v, time, e);
    envelope_release (&v);
    int rc = p ? 0 : -1;
    if (rc == 0 && strcmp (p->owner, r->owner))
        rc = err_code (e, EC_CONFLICT, "the result names another owner than the roster");
    if (rc == 0 && (!principal_project (p, in->submission->project) || !principal_labels (p, &in->step->labels)))
        rc = err_code (e, EC_NOT_ALLOWED, "%s may not work on that project, or lacks a label", p->name);
    if (rc == 0 && (rc = check_words (in, r, e)) == 0 && (rc = check_lease (in, r, out, e)) == 0)
        rc = check_receipt (in, r, out, e);
    if (rc == -1) {
        result_release (r);
        return -1;
    }
    out->id = digest_of (raw.p, raw.len);
    out->inputs = inputs_digest (r->inputs, r->input_count);
    return 0;
}

/* ---- once more ---- */

/* The envelope in a field of a statement that was read before, found by its key: the parser would cost more than the signatures. */
static bool field (struct bytes json, const char *key, struct buf *out)
{
    const uint8_t *at = memmem (json.p, json.len, key, strlen (key));
    if (!at)
        return false;
    at += strlen (key);
    const uint8_t *end = memchr (at, '"', (size_t) (json.p + json.len - at));
    return end && base64_decode (bytes_of (at, (size_t) (end - at)), out);
}

static int lease_again (const struct roster *r, const struct ledger_vote *v, struct bytes raw, struct err *e)
{
    struct envelope l = { 0 };
    struct msg m;
    if (envelope_open (raw, TYPE_LEASE, &l, e) == -1 || msg_decode_as (l.body, MSG_lease_body, &m, e) == -1)
        return err_wrap (e, "lease");
    const struct msg_lease_body *b = &m.u.lease_body;
    struct digest id = envelope_id (&l);
    int rc = 0;
    if (!digest_eq (&id, &v->lease) || !bytes_eqs (b->worker, v->worker) || !bytes_eqs (b->owner, v->owner) || !bytes_eqs (b->broker, v->broker)
        || (!digest_zero (&v->image) && !digest_eq (&b->image, &v->image)))
        rc = err_code (e, EC_CONFLICT, "lease: it is not the one that the vote was counted for");
    else if (!signer (r, b->broker, ROLE_BROKER, "lease", &l, v->time, e))
        rc = -1;
    msg_release (&m);
    return rc;
}

static int receipt_again (const struct roster *r, const struct ledger_vote *v, struct bytes raw, struct err *e)
{
    struct envelope l = { 0 };
    struct msg m;
    if (envelope_open (raw, TYPE_RECEIPT, &l, e) == -1 || msg_decode_as (l.body, MSG_receipt_body, &m, e) == -1)
        return err_wrap (e, "receipt");
    const struct msg_receipt_body *b = &m.u.receipt_body;
    int rc = 0;
    if (!digest_eq (&b->lease, &v->lease) || !digest_eq (&b->artifact, &v->artifact) || !bytes_eqs (b->store, v->store))
        rc = err_code (e, EC_CONFLICT, "receipt: it is not for the artifact that was counted");
    else if (!signer (r, b->store, ROLE_STORE, "receipt", &l, v->time, e))
        rc = -1;
    msg_release (&m);
    return rc;
}

int intake_again (const struct roster *r, const struct ledger_vote *v, struct bytes raw, struct err *e)
{
    struct envelope env = { 0 };
    struct digest id = digest_of (raw.p, raw.len), outcome = outcome_digest (v->exit_status, &v->artifact);
    BUF (lease);
    BUF (receipt);
    if (!digest_eq (&id, &v->result))
        return err_code (e, EC_DAMAGED, "result: its bytes are not those that were taken in");
    if (!digest_eq (&outcome, &v->outcome))
        return err_code (e, EC_DAMAGED, "result: the vote is for another outcome than its exit status and artifact");
    if (envelope_open_json (raw, TYPE_INTOTO, &env, e) == -1)
        return err_wrap (e, "result");
    int rc = signer (r, bytes_str (v->worker), ROLE_WORKER, "result", &env, v->time, e) ? 0 : -1;
    bool found = rc == 0 && field (env.body, "\"lease\":\"", &lease) && (!*v->store || field (env.body, "\"receipt\":\"", &receipt))
                 && lease_again (r, v, buf_bytes (&lease), e) == 0 && (!*v->store || receipt_again (r, v, buf_bytes (&receipt), e) == 0);
    if (rc == 0 && !found) { /* unless its signer has put the keys where they mean nothing, something is wrong */
        struct result whole;
        if ((rc = result_parse (env.body, &whole, e)) == 0) {
            rc = lease_again (r, v, buf_bytes (&whole.lease), e);
            if (rc == 0 && *v->store)
                rc = receipt_again (r, v, buf_bytes (&whole.receipt), e);
            result_release (&whole);
        }
    }
    envelope_release (&env);
    return rc;
}
