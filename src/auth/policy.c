#include "auth/policy.h"

static unsigned larger (unsigned a, unsigned b)
{
    return a > b ? a : b;
}

void policy_merge (struct policy *into, const struct policy *other)
{
    into->agree = larger (into->agree, other->agree);
    into->trusted = larger (into->trusted, other->trusted);
    into->dissent = larger (into->dissent, other->dissent);
    into->isolation = larger (into->isolation, other->isolation);
    if (other->max_replicas && (!into->max_replicas || other->max_replicas < into->max_replicas))
        into->max_replicas = other->max_replicas;
}

void policy_fill (struct policy *p)
{
    if (!p->agree)
        p->agree = 1;
    if (!p->trusted)
        p->trusted = POLICY_TRUSTED_OPTIONAL;
    if (!p->dissent)
        p->dissent = POLICY_DISSENT_BLOCK;
    if (!p->isolation)
        p->isolation = ISOLATION_BWRAP;
    if (!p->max_replicas)
        p->max_replicas = larger (p->agree + 2, 5);
    p->max_replicas = larger (p->max_replicas, p->agree);
}

bool policy_isolation_ok (unsigned wanted, unsigned have_mask)
{
    return have_mask >= wanted; /* the strongest bit of the mask decides: none < bwrap < qemu */
}

int policy_check (const struct policy *p, struct err *e)
{
    if (p->agree > POLICY_AGREE_MAX)
        return err_code (e, EC_MALFORMED, "policy: agree is %u (at most %u)", p->agree, POLICY_AGREE_MAX);
    if (p->trusted > POLICY_TRUSTED_REQUIRED || p->dissent > POLICY_DISSENT_BLOCK)
        return err_code (e, EC_MALFORMED, "policy: trusted or dissent has an unknown value");
    if (p->isolation && p->isolation != ISOLATION_NONE && p->isolation != ISOLATION_BWRAP && p->isolation != ISOLATION_QEMU)
        return err_code (e, EC_MALFORMED, "policy: isolation %u is unknown", p->isolation);
    if (p->max_replicas > 2 * POLICY_AGREE_MAX)
        return err_code (e, EC_MALFORMED, "policy: max_replicas is %u (at most %u)", p->max_replicas, 2 * POLICY_AGREE_MAX);
    return 0;
}

/* A value beyond unsigned must not wrap into a lenient one. */
static unsigned narrow (uint64_t v)
{
    return v > 1000000 ? 1000000 : (unsigned) v;
}

struct policy policy_of_step (const struct msg_step *s)
{
    return (struct policy){ .agree = narrow (s->agree), .trusted = narrow (s->trusted), .dissent = narrow (s->dissent), .isolation = narrow (s->isolation),
                            .max_replicas = narrow (s->max_replicas) };
}

void policy_text (const struct policy *p, struct buf *out)
{
    static const char *const trusted[] = { "unset", "optional", "required" }, *const dissent[] = { "unset", "tolerate", "block" };
    buf_addf (out, "agree=%u trusted=%s dissent=%s isolation=%s max-replicas=%u", p->agree, trusted[p->trusted > 2 ? 0 : p->trusted],
              dissent[p->dissent > 2 ? 0 : p->dissent], isolation_name (p->isolation), p->max_replicas);
}
