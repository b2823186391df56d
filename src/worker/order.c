#include "config.h"

#include "worker/order.h"

#include <string.h>

#include "auth/policy.h"

#define SKEW_US (300 * 1000000ll) /* clocks of honest machines differ by less */

static int times (const char *what, uint64_t issued, uint64_t expires, int64_t now, struct err *e)
{
    if (expires <= (uint64_t) now)
        return err_code (e, EC_EXPIRED, "the %s is over", what);
    if (issued > (uint64_t) (now + SKEW_US))
        return err_code (e, EC_EXPIRED, "the %s was issued in the future (check the clocks)", what);
    return 0;
}

static int signer (const struct roster *r, struct bytes name, unsigned role, const char *what, const struct envelope *v, struct err *e)
{
    const struct principal *p = roster_findb (r, name);
    if (!p)
        return err_code (e, EC_UNKNOWN_KEY, "the %s's signer is not in the roster", what);
    if (!principal_good (p))
        return err_code (e, EC_REVOKED, "the %s's signer %s is revoked", what, p->name);
    if (!(p->roles & role))
        return err_code (e, EC_NOT_ALLOWED, "the %s's signer %s has not the role for it", what, p->name);
    if (envelope_check (v, p->sign_key, e) == -1)
        return err_wrap (e, "%s", what);
    return 0;
}

static int find_step (struct order *o, struct err *e)
{
    for (size_t i = 0; i < o->submission->steps.n; i++) {
        if (msg_decode_as (o->submission->steps.v[i], MSG_step, &o->step_msg, e) == -1)
            return err_wrap (e, "step %zu of the submission", i);
        if (bytes_eq (o->step_msg.u.step.name, o->lease->step)) {
            o->step = &o->step_msg.u.step;
            return 0;
        }
        msg_release (&o->step_msg);
    }
    return err_code (e, EC_CONFLICT, "the submission has no step of the lease's name");
}

static int check (struct order *o, const struct roster *r, const char *self, struct bytes lease, struct bytes submission, int64_t now, struct err *e)
{
    const struct principal *me = roster_find (r, self), *who;
    if (!me || !principal_good (me) || !(me->roles & ROLE_WORKER))
        return err_code (e, EC_NOT_ALLOWED, "%s is no good worker in our roster", self);
    if (envelope_open (lease, TYPE_LEASE, &o->lease_env, e) == -1 || msg_decode_as (o->lease_env.body, MSG_lease_body, &o->lease_msg, e) == -1)
        return err_wrap (e, "lease");
    o->lease = &o->lease_msg.u.lease_body;
    o->lease_id = envelope_id (&o->lease_env);
    if (signer (r, o->lease->broker, ROLE_BROKER, "lease", &o->lease_env, e) == -1 || times ("lease", o->lease->issued, o->lease->expires, now, e) == -1)
        return -1;
    if (!bytes_eqs (o->lease->worker, me->name) || !bytes_eqs (o->lease->owner, me->owner))
        return err_code (e, EC_CONFLICT, "the lease is for another worker");
    if (envelope_open (submission, TYPE_SUBMISSION, &o->submission_env, e) == -1
        || msg_decode_as (o->submission_env.body, MSG_submission_body, &o->submission_msg, e) == -1)
        return err_wrap (e, "submission");
    o->submission = &o->submission_msg.u.submission_body;
    o->submission_id = envelope_id (&o->submission_env);
    if (!digest_eq (&o->submission_id, &o->lease->submission))
        return err_code (e, EC_CONFLICT, "the lease is of another submission");
    if (signer (r, o->submission->submitter, ROLE_SUBMITTER, "submission", &o->submission_env, e) == -1
        || times ("submission", o->submission->issued, o->submission->expires, now, e) == -1)
        return -1;
    who = roster_findb (r, o->submission->submitter);
    if (!principal_project (who, o->submission->project))
        return err_code (e, EC_NOT_ALLOWED, "submitter %s may not submit to this project", who->name);
    if (!principal_project (me, o->submission->project))
        return err_code (e, EC_NOT_ALLOWED, "%s may not work on this project", self);
    if (!bytes_eq (o->submission->project, o->lease->project) || !bytes_eq (o->submission->ref, o->lease->ref))
        return err_code (e, EC_CONFLICT, "the lease names another project or ref than the submission");
    if (find_step (o, e) == -1)
        return -1;
    struct policy realm = roster_policy (r, o->submission->project);
    o->network = policy_in_force (&realm, o->step).network == NETWORK_REALM && o->lease->network == NETWORK_REALM ? NETWORK_REALM : NETWORK_NONE;
    if (!step_has_image (o->step, &o->lease->image))
        return err_code (e, EC_CONFLICT, "the lease names another image than the step");
    if (o->lease->inputs.n != o->step->needs.n)
        return err_code (e, EC_CONFLICT, "the lease has %zu inputs, the step needs %zu", o->lease->inputs.n, o->step->needs.n);
    for (size_t i = 0; i < o->lease->inputs.n; i++)
        if (o->lease->inputs.v[i].len != 32)
            return err_code (e, EC_MALFORMED, "an input that is no digest");
    if (!principal_labels (me, &o->step->labels))
        return err_code (e, EC_NOT_ALLOWED, "the step asks for labels that %s has not", self);
    return 0;
}

int order_check (struct order *o, const struct roster *r, const char *self, struct bytes lease, struct bytes submission, int64_t now_us, struct err *e)
{
    memset (o, 0, sizeof *o);
    if (check (o, r, self, lease, submission, now_us, e) == 0)
        return 0;
    order_release (o);
    return -1;
}

void order_release (struct order *o)
{
    if (o->step)
        msg_release (&o->step_msg);
    if (o->submission)
        msg_release (&o->submission_msg);
    if (o->lease)
        msg_release (&o->lease_msg);
    envelope_release (&o->lease_env);
    envelope_release (&o->submission_env);
    memset (o, 0, sizeof *o);
}

unsigned order_isolation (const struct order *o, const struct roster *r)
{
    struct policy realm = roster_policy (r, o->submission->project);
    return policy_in_force (&realm, o->step).isolation;
}

int order_boxes (const struct order *o, const struct bytes_list *boxes, struct buf *out, struct err *e)
{
    static const uint8_t none[BLIND_BOX];
    if (boxes->n && boxes->n != o->lease->inputs.n)
        return err_code (e, EC_CONFLICT, "the lease has %zu inputs, and %zu boxes for them", o->lease->inputs.n, boxes->n);
    for (size_t i = 0; i < boxes->n; i++) {
        if (boxes->v[i].len && boxes->v[i].len != BLIND_BOX)
            return err_code (e, EC_MALFORMED, "the box of input %zu has %zu bytes, not %u", i + 1, boxes->v[i].len, BLIND_BOX);
        buf_add (out, boxes->v[i].len ? boxes->v[i].p : none, BLIND_BOX);
    }
    return 0;
}
