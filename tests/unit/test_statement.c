/* Statements round-trip; no cut or altered byte gets through unnoticed or hurts. */
#include "proto/statement.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void fill (struct result *r)
{
    memset (r, 0, sizeof *r);
    r->submission = digest_of ("s", 1);
    r->recipe = digest_of ("r", 1);
    r->image = digest_of ("i", 1);
    r->lease_id = digest_of ("l", 1);
    r->artifact = digest_of ("a", 1);
    strcpy (r->step, "build");
    strcpy (r->project, "org/hello");
    strcpy (r->worker, "worker-1");
    strcpy (r->owner, "owner-1");
    strcpy (r->commit, "0123456789abcdef0123456789abcdef01234567");
    r->url = xstrdup ("https://git.example/hello.git");
    r->ref = xstrdup ("refs/heads/main");
    buf_adds (&r->lease, "lease");
    buf_adds (&r->receipt, "receipt");
    r->isolation = ISOLATION_BWRAP;
    r->network = NETWORK_NONE;
    r->host = xstrdup ("kernel=6.1 \"quoted\"\\");
    r->note = xstrdup ("");
    r->inputs[0] = digest_of ("in", 2);
    r->input_count = 1;
    r->started = 1700000000123000;
    r->finished = 1700000001000000;
}

Test (statement, a_result_survives)
{
    struct result r, back;
    struct err e = ERR_INIT;
    BUF (a);
    BUF (b);
    fill (&r);
    result_json (&r, &a);
    cr_assert_eq (result_parse (buf_bytes (&a), &back, &e), 0, "%s", e.msg);
    result_json (&back, &b);
    cr_assert (bytes_eq (buf_bytes (&a), buf_bytes (&b)), "%s\n%s", buf_str (&a), buf_str (&b));
    cr_assert (back.started == r.started && back.input_count == 1 && digest_zero (&back.openings[0]) && !strcmp (back.host, r.host));
    result_release (&back);
    for (size_t cut = 0; cut < a.len; cut++)
        cr_assert_eq (result_parse (bytes_of (a.p, cut), &back, &e), -1);
    for (size_t i = 0; i < a.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            a.p[i] ^= (uint8_t) (1 << bit);
            if (result_parse (buf_bytes (&a), &back, &e) == 0)
                result_release (&back);
            a.p[i] ^= (uint8_t) (1 << bit);
        }
    result_release (&r);
}

Test (statement, openings_of_blinded_inputs_survive)
{
    static const char *const bad[] = { "\"openings\":[]", "\"openings\":[\"\",\"\"]", "\"openings\":[\"\",\"\",\"\"]", "\"openings\":7", "\"openings\":[\"\",\"00\"]", "\"openings\":[\"\",null]" };
    struct result r, back;
    struct err e = ERR_INIT;
    BUF (a);
    fill (&r);
    r.inputs[r.input_count++] = digest_of ("another", 7);
    r.openings[1] = digest_of ("salt", 4);
    result_json (&r, &a);
    cr_assert_eq (result_parse (buf_bytes (&a), &back, &e), 0, "%s", e.msg);
    cr_assert (digest_zero (&back.openings[0]) && digest_eq (&back.openings[1], &r.openings[1]));
    result_release (&back);
    const char *at = strstr (buf_str (&a), "\"openings\":"), *end = strchr (at, ']');
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        BUF (b);
        buf_add (&b, a.p, (size_t) (at - (const char *) a.p));
        buf_adds (&b, bad[i]);
        buf_adds (&b, end + 1);
        int rc = result_parse (buf_bytes (&b), &back, &e);
        if (rc == 0)
            result_release (&back);
        cr_assert_eq (rc, i == 1 ? 0 : -1, "%s", bad[i]);
        cr_assert (rc == 0 || strstr (e.msg, "openings"), "%s", e.msg);
    }
    result_release (&r);
}

Test (statement, a_result_that_contradicts_itself_is_refused)
{
    static const struct { const char *from, *to; } t[] = {
        { "\"exitStatus\":0", "\"exitStatus\":1" },   { "\"exitStatus\":0", "\"exitStatus\":0.0" }, { "\"exitStatus\":0", "\"exitStatus\":256" },
        { "urn:assay:worker:worker-1", "urn:assay:worker:worker-2" }, { "\"isolation\":\"bwrap\"", "\"isolation\":\"magic\"" },
        { "\"network\":\"none\"", "\"network\":\"all\"" },
        { "\"step\":\"build\"", "\"step\":\"other\"" }, { "\"project\":\"org/hello\"", "\"project\":\"../hello\"" },
        { "\"ref\":\"refs/heads/main\"", "\"ref\":7" },  { "\"owner\":\"owner-1\"", "\"owner\":\"owner-1\",\"owner\":\"x\"" },
        { "provenance/v1", "provenance/v2" },         { "\"worker\":\"worker-1\"", "\"worker\":\"worker-1\\u0000\"" },
    };
    struct result r, back;
    BUF (a);
    fill (&r);
    result_json (&r, &a);
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        const char *s = buf_str (&a), *at = strstr (s, t[i].from);
        struct err e = ERR_INIT;
        cr_assert (at, "row %zu", i);
        char *bad CLEANUP (free_ptr) = xasprintf ("%.*s%s%s", (int) (at - s), s, t[i].to, at + strlen (t[i].from));
        cr_assert_eq (result_parse (bytes_str (bad), &back, &e), -1, "row %zu", i);
        cr_assert (e.code == EC_MALFORMED, "row %zu: %s", i, e.msg);
    }
    result_release (&r);
}

Test (statement, a_verdict_survives)
{
    struct verdict v, back;
    struct err e = ERR_INIT;
    BUF (a);
    BUF (b);
    memset (&v, 0, sizeof v);
    v.submission = digest_of ("s", 1);
    v.artifact = digest_of ("a", 1);
    v.outcome = outcome_digest (0, &v.artifact);
    strcpy (v.step, "build");
    strcpy (v.project, "hello");
    strcpy (v.state, "trusted");
    strcpy (v.verifier, "verifier");
    strcpy (v.commit, "0123456789abcdef0123456789abcdef01234567");
    v.url = xstrdup ("u");
    v.ref = xstrdup ("");
    v.reason = xstrdup ("2 owners agree");
    v.policy.agree = 2;
    v.support = v.votes = 2;
    v.time = 1700000000000000;
    v.final = true;
    v.count = 2;
    v.counts = xcalloc (2, sizeof *v.counts);
    for (int i = 0; i < 2; i++) {
        strcpy (v.counts[i].worker, i ? "w2" : "w1");
        strcpy (v.counts[i].owner, i ? "o2" : "o1");
        v.counts[i].counted = true;
    }
    verdict_json (&v, &a);
    cr_assert_eq (verdict_parse (buf_bytes (&a), &back, &e), 0, "%s", e.msg);
    verdict_json (&back, &b);
    cr_assert (bytes_eq (buf_bytes (&a), buf_bytes (&b)));
    verdict_release (&back);
    for (size_t cut = 0; cut < a.len; cut++)
        cr_assert_eq (verdict_parse (bytes_of (a.p, cut), &back, &e), -1);
    strcpy (v.state, "disputed");
    a.len = 0;
    verdict_json (&v, &a);
    cr_assert (strstr (buf_str (&a), "\"verificationResult\":\"FAILED\""));
    verdict_release (&v);
}

Test (statement, what_is_said_twice_must_agree)
{
    static const struct { const char *from, *to; } results[] = {
        { "\"gitCommit\":\"0123", "\"gitCommit\":\"1123" }, { "\"uri\":\"https://git", "\"uri\":\"https://got" }, { "\"name\":\"image\"", "\"name\":\"omage\"" },
        { "\"name\":\"input\"", "\"name\":\"image\"" },     { "\"invocationId\":\"", "\"invocationId\":\"0" },    { "resolvedDependencies\":[", "resolvedDependencies\":[{}," },
    }, verdicts[] = {
        { "urn:assay:artifact:org/hello:build", "urn:assay:artifact:org/other:build" }, { "urn:assay:artifact:org/hello:build", "urn:assay:artifact:org/hello:test" },
        { "\"inputAttestations\":[{", "\"inputAttestations\":[{\"x\":1},{" },           { "urn:assay:result:", "urn:assay:result:0" },
        { "\"verificationResult\":\"PASSED\"", "\"verificationResult\":\"FAILED\"" },   { "\"SLSA_BUILD_LEVEL_1\"", "\"FAILED\"" },
        { "\"agree\":2", "\"agree\":1" },                                               { "\"verifiedLevels\":[", "\"verifiedLevels\":[1," },
    };
    struct result r, rb;
    struct verdict v = { .support = 2, .votes = 2, .policy = { 2, 1, 2, 2, 5, 1, 1 }, .final = true }, vb;
    struct verdict_count k = { .worker = "worker-1", .owner = "owner-1", .counted = true };
    BUF (a);
    BUF (b);
    struct err e = ERR_INIT;
    fill (&r);
    result_json (&r, &a);
    v.submission = r.submission;
    strcpy (v.step, "build");
    strcpy (v.project, "org/hello");
    strcpy (v.state, "trusted");
    strcpy (v.verifier, "verifier");
    strcpy (v.commit, r.commit);
    v.url = r.url;
    v.counts = &k;
    v.count = 1;
    verdict_json (&v, &b);
    cr_assert_eq (verdict_parse (buf_bytes (&b), &vb, &e), 0, "%s", e.msg);
    verdict_release (&vb);
    for (size_t i = 0; i < sizeof results / sizeof *results + sizeof verdicts / sizeof *verdicts; i++) {
        bool result = i < sizeof results / sizeof *results;
        const char *from = result ? results[i].from : verdicts[i - sizeof results / sizeof *results].from;
        const char *to = result ? results[i].to : verdicts[i - sizeof results / sizeof *results].to;
        const char *at = strstr (buf_str (result ? &a : &b), from);
        cr_assert_not_null (at, "%s", from);
        char *altered = xasprintf ("%.*s%s%s", (int) (at - buf_str (result ? &a : &b)), buf_str (result ? &a : &b), to, at + strlen (from));
        cr_assert_eq (result ? result_parse (bytes_str (altered), &rb, &e) : verdict_parse (bytes_str (altered), &vb, &e), -1, "%s", to);
        free (altered);
    }
    result_release (&r);
}
