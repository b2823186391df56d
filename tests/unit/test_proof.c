/* Proofs from bytes: what is dropped, doubled, moved, altered or signed by the wrong one is refused and named; what is taken means what was signed. */
#include "cli/proof.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/world.h"

static int judge (const struct world *w, struct bytes lines, struct err *e)
{
    struct proof *p = proof_new (w->roster);
    *e = (struct err) ERR_INIT;
    int rc = proof_add (p, lines, e);
    if (rc == 0)
        rc = proof_judge (p, e);
    proof_destroy (&p);
    return rc;
}

static size_t split (struct buf *b, struct bytes lines[16])
{
    size_t n = 0;
    for (size_t at = 0; at < b->len; n++) {
        const uint8_t *end = memchr (b->p + at, '\n', b->len - at);
        cr_assert (n < 16 && end);
        lines[n] = bytes_of (b->p + at, (size_t) (end - b->p) + 1 - at);
        at += lines[n].len;
    }
    return n;
}

static void refused (const struct world *w, struct buf *b, enum err_kind kind, const char *why)
{
    struct err e;
    cr_assert_eq (judge (w, buf_bytes (b), &e), -1, "taken: %s", why);
    cr_assert (e.kind == kind && strstr (e.msg, why), "%d %s, not %s", (int) e.kind, e.msg, why);
}

Test (proof, a_whole_bundle_holds_and_no_line_can_be_dropped_doubled_or_moved)
{
    struct world *w = world_new ();
    struct bytes line[16];
    struct err e;
    BUF (all);
    world_bundle (w, &all);
    size_t n = split (&all, line); /* test: verdict, w0, w1; build: verdict, w0, w1, w2 */
    cr_assert_eq (n, 7u);
    cr_assert_eq (judge (w, buf_bytes (&all), &e), 0, "%s", e.msg);
    for (size_t i = 0; i < n; i++) {
        BUF (dropped);
        BUF (doubled);
        for (size_t k = 0; k < n; k++) {
            if (k != i)
                buf_add (&dropped, line[k].p, line[k].len);
            buf_add (&doubled, line[k].p, line[k].len);
            if (k == i)
                buf_add (&doubled, line[k].p, line[k].len);
        }
        refused (w, &dropped, ERR_DAMAGED, i + 1 == n ? "truncated" : "line");
        refused (w, &doubled, ERR_DAMAGED, "line");
        for (size_t j = i + 1; j < n; j++) {
            BUF (swapped);
            for (size_t k = 0; k < n; k++) {
                size_t from = k == i ? j : k == j ? i : k;
                buf_add (&swapped, line[from].p, line[from].len);
            }
            cr_assert_eq (judge (w, buf_bytes (&swapped), &e), -1, "%zu and %zu swapped", i, j);
            cr_assert_eq (e.kind, ERR_DAMAGED, "%s", e.msg);
        }
    }
    BUF (first);
    buf_add (&first, line[0].p, line[0].len + line[1].len + line[2].len);
    refused (w, &first, ERR_UNTRUSTED, "no verdict among the files says that this is trusted");
    BUF (twice);
    buf_add (&twice, all.p, all.len);
    buf_add (&twice, all.p, all.len);
    refused (w, &twice, ERR_DAMAGED, "line 8: a second verdict on step test");
    BUF (other);
    buf_add (&other, line[3].p, all.len - first.len);
    cr_assert_eq (judge (w, buf_bytes (&other), &e), 0, "build alone is a bundle of its own: %s", e.msg);
    buf_add (&other, first.p, first.len);
    refused (w, &other, ERR_DAMAGED, "which the first does not rest on");
    for (size_t cut = 0; cut < all.len; cut += 11) {
        if (cut == all.len - 1 || cut == first.len || cut == first.len - 1)
            continue;
        cr_assert_eq (judge (w, bytes_of (all.p, cut), &e), -1, "cut at %zu", cut);
        cr_assert_eq (e.kind, ERR_DAMAGED, "%s", e.msg);
    }
    world_destroy (&w);
}

Test (proof, an_altered_byte_never_gives_another_meaning, .timeout = 300)
{
    struct world *w = world_new ();
    struct err e = ERR_INIT;
    BUF (all);
    world_bundle (w, &all);
    struct proof *good = proof_new (w->roster);
    cr_assert_eq (proof_add (good, buf_bytes (&all), &e), 0, "%s", e.msg);
    for (size_t i = 0; i < all.len; i += 13) {
        uint8_t was = all.p[i];
        all.p[i] ^= (uint8_t) (1 << (i / 13 % 8));
        struct proof *p = proof_new (w->roster);
        if (proof_add (p, buf_bytes (&all), &e) == 0 && proof_judge (p, &e) == 0) {
            cr_assert_eq (proof_count (p), proof_count (good), "byte %zu", i);
            for (size_t k = 0; k < proof_count (p); k++) {
                BUF (a);
                BUF (b);
                verdict_json (&proof_group (p, k)->verdict, &a);
                verdict_json (&proof_group (good, k)->verdict, &b);
                cr_assert (bytes_eq (buf_bytes (&a), buf_bytes (&b)), "byte %zu", i);
            }
        } else
            cr_assert (e.kind == ERR_DAMAGED && e.msg[0], "byte %zu: %s", i, e.msg);
        proof_destroy (&p);
        all.p[i] = was;
    }
    proof_destroy (&good);
    world_destroy (&w);
}

/* What a lie changes before everything is signed again by those who may. */
enum lie {
    NONE, STATE, PROJECT, STEP, COMMIT, POLICY_LOW, SUPPORT, OUTCOME, ONE_SAYS_OTHERWISE, COUNTS_IT_ANYWAY, SAME_OWNER, NO_RECEIPT, OTHERS_LEASE, ISOLATION, NETWORK, ALL_FAIL, INPUTS,
    WRONG_SIGNER, LIES
};

static void told (const struct world *w, enum lie lie, struct buf *out)
{
    struct result r[3];
    struct digest ids[3], input = digest_of ("input", 5);
    struct verdict v;
    BUF (lines);
    BUF (json);
    for (int i = 0; i < 3; i++) {
        BUF (body);
        BUF (line);
        const char *content = lie == ALL_FAIL ? "" : (lie == ONE_SAYS_OTHERWISE || lie == COUNTS_IT_ANYWAY) && i == 2 ? "other" : "built";
        world_result (w, "build", lie == SAME_OWNER && i ? 1 : i, lie == INPUTS && i == 1 ? &input : NULL, content, &r[i]);
        if (lie == NO_RECEIPT && i == 1)
            r[i].receipt.len = 0;
        if (lie == ISOLATION && i == 1)
            r[i].isolation = ISOLATION_NONE;
        if (lie == NETWORK && i == 1)
            r[i].network = NETWORK_REALM;
        if (lie == OTHERS_LEASE && i == 1) {
            r[i].lease.len = 0;
            buf_add (&r[i].lease, r[0].lease.p, r[0].lease.len);
            r[i].lease_id = r[0].lease_id;
        }
        result_json (&r[i], &body);
        world_sign (lie == WRONG_SIGNER && i == 1 ? &w->worker[0] : &w->worker[r[i].worker[1] - '0'], buf_bytes (&body), &line);
        ids[i] = digest_of (line.p, line.len - 1);
        buf_add (&lines, line.p, line.len);
    }
    world_verdict ("build", r, ids, 3, &v);
    if (lie == STATE)
        strcpy (v.state, "disputed");
    if (lie == PROJECT)
        strcpy (v.project, "a/c");
    if (lie == STEP)
        strcpy (v.step, "test");
    if (lie == COMMIT)
        memset (v.commit, 'b', 40);
    if (lie == POLICY_LOW)
        v.policy.agree = 5;
    if (lie == SUPPORT)
        v.support = 2;
    if (lie == OUTCOME)
        v.artifact = digest_of ("mine", 4);
    if (lie == COUNTS_IT_ANYWAY)
        v.counts[2].counted = true;
    if (lie == SAME_OWNER)
        v.policy.agree = 3;
    verdict_json (&v, &json);
    world_sign (&w->verifier, buf_bytes (&json), out);
    buf_add (out, lines.p, lines.len);
    verdict_release (&v);
    for (int i = 0; i < 3; i++)
        result_release (&r[i]);
}

Test (proof, a_verifier_or_a_worker_that_lies_is_found_out)
{
    static const struct {
        enum lie lie;
        enum err_kind kind;
        const char *why;
    } rows[] = {
        { STATE, ERR_UNTRUSTED, "is \"disputed\"" },
        { PROJECT, ERR_DAMAGED, "another project than the verdict" },
        { STEP, ERR_DAMAGED, "another step than the verdict" },
        { COMMIT, ERR_DAMAGED, "another source than the verdict" },
        { POLICY_LOW, ERR_DAMAGED, "the results do not give this verdict" },
        { SUPPORT, ERR_DAMAGED, "the verdict counts 2 of 3 owners, and the results are 3 of 3" },
        { OUTCOME, ERR_DAMAGED, "not the one that the owners agreed on" },
        { ONE_SAYS_OTHERWISE, ERR_DAMAGED, "one against all: owner o2" },
        { COUNTS_IT_ANYWAY, ERR_DAMAGED, "counts it for another outcome" },
        { SAME_OWNER, ERR_DAMAGED, "the results do not give this verdict" },
        { NO_RECEIPT, ERR_DAMAGED, "its receipt" },
        { OTHERS_LEASE, ERR_DAMAGED, "its lease" },
        { ISOLATION, ERR_DAMAGED, "weaker than the policy's" },
        { NETWORK, ERR_DAMAGED, "had a network" },
        { ALL_FAIL, ERR_DAMAGED, "the results do not give this verdict" },
        { INPUTS, ERR_DAMAGED, "read different inputs" },
        { WRONG_SIGNER, ERR_DAMAGED, "not signed by w1" },
    };
    struct world *w = world_new ();
    struct err e;
    BUF (good);
    told (w, NONE, &good);
    cr_assert_eq (judge (w, buf_bytes (&good), &e), 0, "%s", e.msg);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        BUF (lines);
        told (w, rows[i].lie, &lines);
        refused (w, &lines, rows[i].kind, rows[i].why);
    }
    world_destroy (&w);
}

Test (proof, a_vote_revoked_since_counts_no_more)
{
    static const struct {
        const char *name;
        int64_t since;
        bool holds;
    } rows[] = {
        { "w2", WORLD_TIME - 5, true },  /* two owners are enough */
        { "w0", WORLD_TIME - 5, false }, /* the trusted one */
        { "w0", WORLD_TIME + 5, true },  /* its word of then still counts */
        { "store", WORLD_TIME - 5, false }, { "broker", WORLD_TIME - 5, false }, { "verifier", WORLD_TIME - 5, false }, { "verifier", WORLD_TIME + 5, true },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world *w = world_new ();
        struct err e;
        BUF (lines);
        told (w, NONE, &lines);
        world_revoke (w, rows[i].name, rows[i].since);
        if (rows[i].holds)
            cr_assert_eq (judge (w, buf_bytes (&lines), &e), 0, "%s: %s", rows[i].name, e.msg);
        else
            refused (w, &lines, ERR_UNTRUSTED, "revoked");
        world_destroy (&w);
    }
}

static void add_group (struct world *w, const char *project, char commit, const char *step, const struct digest *input, const char *content, struct buf *out)
{
    struct result r[2];
    struct digest ids[2];
    struct verdict v;
    BUF (lines);
    BUF (json);
    w->project = project;
    for (int i = 0; i < 2; i++) {
        BUF (body);
        BUF (line);
        world_result (w, step, i, input, content, &r[i]);
        memset (r[i].commit, commit, 40);
        result_json (&r[i], &body);
        world_sign (&w->worker[i], buf_bytes (&body), &line);
        ids[i] = digest_of (line.p, line.len - 1);
        buf_add (&lines, line.p, line.len);
    }
    world_verdict (step, r, ids, 2, &v);
    verdict_json (&v, &json);
    world_sign (&w->verifier, buf_bytes (&json), out);
    buf_add (out, lines.p, lines.len);
    verdict_release (&v);
    for (int i = 0; i < 2; i++)
        result_release (&r[i]);
}

/* Broker, verifier and workers lie together: what was built for one project is said to be an input of another's. */
Test (proof, all_statements_are_of_one_project_and_commit)
{
    static const struct {
        const char *project, *input_project;
        char commit, input_commit;
        const char *why;
    } rows[] = {
        { "a/b", "a/b", 'a', 'a', NULL },
        { "a/c", "a/c", 'b', 'b', NULL },
        { "a/b", "a/c", 'a', 'a', "on step test is about project a/b at aaaaaaaaaaaa, and that on step build about project a/c at aaaaaaaaaaaa" },
        { "a/b", "a/b", 'a', 'b', "on step test is about project a/b at aaaaaaaaaaaa, and that on step build about project a/b at bbbbbbbbbbbb" },
    };
    struct digest built = digest_of ("built", 5);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct world *w = world_new ();
        struct err e;
        BUF (lines);
        add_group (w, rows[i].project, rows[i].commit, "test", &built, "passed", &lines);
        add_group (w, rows[i].input_project, rows[i].input_commit, "build", NULL, "built", &lines);
        if (rows[i].why)
            refused (w, &lines, ERR_DAMAGED, rows[i].why);
        else
            cr_assert_eq (judge (w, buf_bytes (&lines), &e), 0, "row %zu: %s", i, e.msg);
        world_destroy (&w);
    }
}
