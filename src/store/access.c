/* access.c: see access.h. */
#include "store/access.h"

#include <string.h>

void
lease_release (struct lease *l)
{
    msg_release (&l->body);
    envelope_release (&l->envelope);
    memset (l, 0, sizeof *l);
}

int
lease_time (const struct lease *l, int64_t now, struct err *e)
{
    const struct msg_lease_body *b = &l->body.u.lease_body;

    if (b->expires <= (uint64_t) now)
        return err_code (e, EC_EXPIRED, "the lease is over");
    if (b->issued > (uint64_t) now + ACCESS_SKEW_US)
        return err_code (e, EC_EXPIRED, "the lease begins in the future (check the clocks)");
    return 0;
}

int
lease_open (struct lease *l, struct bytes raw, const struct roster *r, const struct principal *sender, int64_t now, struct err *e)
{
    const struct principal *broker;
    const struct msg_lease_body *b;

    memset (l, 0, sizeof *l);
    if (envelope_open (raw, TYPE_LEASE, &l->envelope, e) == -1)
        return err_wrap (e, "lease");
    broker = roster_by_sign (r, l->envelope.keyid);
    if (broker == NULL) {
        err_code (e, EC_UNKNOWN_KEY, "lease: its signer is not in the roster");
        goto fail;
    }
    if (envelope_check (&l->envelope, broker->sign_key, e) == -1 || msg_decode_as (l->envelope.body, MSG_lease_body, &l->body, e) == -1) {
        err_wrap (e, "lease");
        goto fail;
    }
    b = &l->body.u.lease_body;
    l->id = envelope_id (&l->envelope);
    if (!(broker->roles & ROLE_BROKER) || !bytes_eqs (b->broker, broker->name)) {
        err_code (e, EC_NOT_ALLOWED, "lease: signed by %s, who is not the broker it names", broker->name);
        goto fail;
    }
    if (!principal_good (broker)) {
        err_code (e, EC_REVOKED, "lease: broker %s is revoked", broker->name);
        goto fail;
    }
    if (!(sender->roles & ROLE_WORKER) || !bytes_eqs (b->worker, sender->name) || !bytes_eqs (b->owner, sender->owner)) {
        err_code (e, EC_NOT_ALLOWED, "the lease is not %s's", sender->name);
        goto fail;
    }
    if (lease_time (l, now, e) == -1)
        goto fail;
    return 0;
fail:
    lease_release (l);
    return -1;
}

static bool
lease_names (const struct lease *l, const struct digest *artifact)
{
    const struct msg_lease_body *b = &l->body.u.lease_body;

    if (digest_zero (artifact))
        return false;
    if (digest_eq (&b->image, artifact))
        return true;
    for (size_t i = 0; i < b->inputs.n; i++)
        if (b->inputs.v[i].len == sizeof artifact->b && memcmp (b->inputs.v[i].p, artifact->b, sizeof artifact->b) == 0)
            return true;
    return false;
}

int
access_read (const struct access_ask *a, struct err *e)
{
    const unsigned readers = ROLE_DEPLOYER | ROLE_VIEWER | ROLE_SUBMITTER | ROLE_ADMIN;

    if (!principal_good (a->sender))
        return err_code (e, EC_REVOKED, "%s is revoked", a->sender->name);
    if (a->lease != NULL && (a->sender->roles & ROLE_WORKER) && lease_names (a->lease, &a->artifact))
        return 0;
    if (a->sender->roles & readers)
        for (size_t i = 0; i < a->project_count; i++)
            if (a->projects[i].trusted && principal_project (a->sender, bytes_str (a->projects[i].name)))
                return 0;
    if (a->provisional && (a->sender->roles & (ROLE_SUBMITTER | ROLE_ADMIN)))
        for (size_t i = 0; i < a->project_count; i++)
            if (principal_project (a->sender, bytes_str (a->projects[i].name)))
                return 0;
    if (a->image && (a->sender->roles & ROLE_ADMIN))
        return 0;
    return err_code (e, EC_NOT_ALLOWED, "%s may not read this artifact (%s)", a->sender->name,
                     a->lease != NULL ? "it is neither an input nor the image of the lease" : "no trusted verdict for it in a project of yours");
}
