/* Policies: the strictest of each field whoever speaks first, and numbers from outside that do not wrap into lenient ones. */
#include "auth/policy.h"

#include <criterion/criterion.h>

static uint32_t lcg (uint64_t *s, uint32_t n)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t) ((*s >> 33) % n);
}

static struct policy random_policy (uint64_t *s)
{
    static const unsigned isolation[] = { 0, ISOLATION_NONE, ISOLATION_BWRAP, ISOLATION_QEMU };
    return (struct policy){ lcg (s, POLICY_AGREE_MAX + 1), lcg (s, 3), lcg (s, 3), isolation[lcg (s, 4)], lcg (s, 2 * POLICY_AGREE_MAX + 1), lcg (s, STEP_IMAGES + 1), lcg (s, 3) };
}
static bool policy_same (struct policy a, struct policy b)
{
    return a.agree == b.agree && a.trusted == b.trusted && a.dissent == b.dissent && a.isolation == b.isolation && a.max_replicas == b.max_replicas
           && a.lineages == b.lineages && a.network == b.network;
}
static struct policy merged (struct policy a, struct policy b)
{
    policy_merge (&a, &b);
    return a;
}

Test (policy, merging_has_no_order_and_never_loosens)
{
    uint64_t w = 16;
    const struct policy unset = { 0 };
    for (unsigned i = 0; i < 20000; i++) {
        struct policy a = random_policy (&w), b = random_policy (&w), c = random_policy (&w), m = merged (a, b);
        struct err e = ERR_INIT;
        cr_assert_eq (policy_check (&a, &e), 0, "%s", e.msg);
        cr_assert (policy_same (m, merged (b, a)) && policy_same (merged (m, c), merged (a, merged (b, c))) && policy_same (merged (a, a), a));
        cr_assert (policy_same (merged (a, unset), a) && policy_same (merged (unset, a), a));
        cr_assert (m.agree >= a.agree && m.trusted >= a.trusted && m.dissent >= a.dissent && m.isolation >= a.isolation && m.lineages >= a.lineages && m.network >= a.network);
        policy_fill (&m);
        struct policy filled = m;
        policy_fill (&filled);
        cr_assert (policy_same (m, filled) && m.agree >= 1 && m.trusted && m.dissent && m.isolation && m.max_replicas >= m.agree && m.lineages && m.agree >= m.lineages && m.network);
    }
    struct policy d = { 0 };
    policy_fill (&d);
    cr_assert (d.agree == 1 && d.trusted == POLICY_TRUSTED_OPTIONAL && d.dissent == POLICY_DISSENT_BLOCK && d.isolation == ISOLATION_BWRAP && d.max_replicas == 5 && d.lineages == 1 && d.network == NETWORK_NONE);
}

/* A branch that asks for the network gets it only where the roster's policies say so, and one that does not ask has none. */
Test (policy, a_step_has_a_network_only_if_it_asks_and_the_realm_allows)
{
    for (unsigned realm = 0; realm <= NETWORK_NONE; realm++)
        for (unsigned own = 0; own <= NETWORK_NONE; own++) {
            struct policy r = { .network = realm };
            struct msg_step s = { .network = own, .lineages = 3 };
            struct policy p = policy_in_force (&r, &s);
            cr_assert_eq (p.network, realm == NETWORK_REALM && own == NETWORK_REALM ? NETWORK_REALM : NETWORK_NONE, "realm %u step %u", realm, own);
            cr_assert (p.lineages == 3 && p.agree == 3);
        }
}

Test (policy, images_of_a_step_are_each_counted_once)
{
    struct digest a = digest_of ("a", 1), b = digest_of ("b", 1), none = { { 0 } }, out[STEP_IMAGES];
    struct bytes more[] = { bytes_of (a.b, 32), bytes_of (b.b, 32), bytes_of (b.b, 31), bytes_of (b.b, 32), bytes_of (none.b, 32) };
    struct msg_step s = { .image = a, .images = { more, 5 } };
    cr_assert (step_images (&s, out) == 2 && digest_eq (&out[0], &a) && digest_eq (&out[1], &b));
    struct digest c = digest_of ("c", 1);
    cr_assert (step_has_image (&s, &a) && step_has_image (&s, &b) && !step_has_image (&s, &c) && !step_has_image (&s, &none));
}

Test (policy, numbers_of_a_step_do_not_wrap)
{
    static const uint64_t big[] = { 65, 1000, UINT64_C (1) << 32, (UINT64_C (1) << 32) + 1, UINT64_MAX };
    for (size_t i = 0; i < sizeof big / sizeof *big; i++)
        for (int field = 0; field < 7; field++) {
            struct msg_step s = { 0 };
            struct err e = ERR_INIT;
            uint64_t *f[] = { &s.agree, &s.trusted, &s.dissent, &s.isolation, &s.max_replicas, &s.lineages, &s.network };
            *f[field] = field == 4 && big[i] == 65 ? 129 : big[i];
            struct policy p = policy_of_step (&s);
            cr_assert_eq (policy_check (&p, &e), -1, "field %d value %llu", field, (unsigned long long) big[i]);
        }
    static const struct { unsigned wanted, have; bool ok; } t[] = {
        { ISOLATION_BWRAP, ISOLATION_NONE, false },  { ISOLATION_BWRAP, ISOLATION_BWRAP, true }, { ISOLATION_BWRAP, ISOLATION_QEMU, true },
        { ISOLATION_QEMU, ISOLATION_BWRAP | ISOLATION_NONE, false }, { ISOLATION_QEMU, 7, true }, { ISOLATION_NONE, 0, false }, { ISOLATION_NONE, ISOLATION_BWRAP, true },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        cr_assert_eq (policy_isolation_ok (t[i].wanted, t[i].have), t[i].ok, "row %zu", i);
}
