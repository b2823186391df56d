#include "auth/policy.h"

#include <string.h>

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
    into->lineages = larger (into->lineages, other->lineages);
    into->network = larger (into->network, other->network);
}

void policy_fill (struct policy *p)
{
    if (!p->lineages)
        p->lineages = 1;
    p->agree = larger (p->agree, p->lineages);
    if (!p->trusted)
        p->trusted = POLICY_TRUSTED_OPTIONAL;
    if (!p->dissent)
        p->dissent = POLICY_DISSENT_BLOCK;
    if (!p->isolation)
        p->isolation = ISOLATION_BWRAP;
    if (!p->network)
        p->network = NETWORK_NONE;
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
    if (p->lineages > STEP_IMAGES)
        return err_code (e, EC_MALFORMED, "policy: lineages is %u (at most %u)", p->lineages, STEP_IMAGES);
    if (p->network > NETWORK_NONE)
        return err_code (e, EC_MALFORMED, "policy: network %u is unknown", p->network);
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
                            .max_replicas = narrow (s->max_replicas), .lineages = narrow (s->lineages), .network = narrow (s->network) };
}

struct policy policy_in_force (const struct policy *realm, const struct msg_step *s)
{
    struct policy p = *realm, own = policy_of_step (s);
    policy_merge (&p, &own);
    if (!realm->network || !own.network)
        p.network = NETWORK_NONE;
    policy_fill (&p);
    return p;
}

unsigned step_images (const struct msg_step *s, struct digest out[STEP_IMAGES])
{
    unsigned n = 1;
    out[0] = s->image;
    for (size_t i = 0; i < s->images.n && n < STEP_IMAGES; i++) {
        unsigned k = 0;
        if (s->images.v[i].len != 32)
            continue;
        memcpy (out[n].b, s->images.v[i].p, 32);
        while (!digest_eq (&out[k], &out[n]))
            k++;
        n += k == n && !digest_zero (&out[n]);
    }
    return n;
}

bool step_has_image (const struct msg_step *s, const struct digest *image)
{
    struct digest all[STEP_IMAGES];
    unsigned n = step_images (s, all), i = 0;
    while (i < n && !digest_eq (&all[i], image))
        i++;
    return i < n && !digest_zero (image);
}

void policy_text (const struct policy *p, struct buf *out)
{
    static const char *const trusted[] = { "unset", "optional", "required" }, *const dissent[] = { "unset", "tolerate", "block" };
    buf_addf (out, "agree=%u trusted=%s dissent=%s isolation=%s max-replicas=%u lineages=%u network=%s", p->agree, trusted[p->trusted > 2 ? 0 : p->trusted],
              dissent[p->dissent > 2 ? 0 : p->dissent], isolation_name (p->isolation), p->max_replicas, p->lineages, network_name (p->network));
}
