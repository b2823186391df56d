/* Any bytes as a bundle: what is taken is what was signed, whole and in order. And any statements, signed anew by those whom they name: what is called
 * trusted then has as many owners as its policy asks for, whatever the statements say. */
#include <stdlib.h>
#include <string.h>

#include "cli/proof.h"
#include "tests/fuzz/world.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static struct world *w;

static bool owner_before (const struct proof_group *g, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (g->stands[i] && !strcmp (g->results[i].owner, g->results[at].owner))
            return true;
    return false;
}

/* Trusted, says proof_judge: then this holds of each verdict in it. */
static void holds (const struct proof *p)
{
    for (size_t k = 0; k < proof_count (p); k++) {
        const struct proof_group *g = proof_group (p, k);
        struct digest outcome = outcome_digest (0, &g->verdict.artifact);
        unsigned owners = 0, trusted = 0;
        if (strcmp (g->verdict.state, "trusted"))
            abort ();
        for (size_t i = 0; i < g->n; i++) {
            const struct result *r = &g->results[i];
            if (strcmp (r->step, g->verdict.step) || strcmp (r->project, g->verdict.project) || !digest_eq (&r->submission, &g->verdict.submission))
                abort ();
            if (g->stands[i] && r->exit_status == 0 && digest_eq (&g->verdict.counts[i].outcome, &outcome)) {
                owners += !owner_before (g, i);
                trusted += roster_find (w->roster, r->worker)->trusted;
            }
            for (size_t n = 0; n < r->input_count; n++) {
                bool found = false;
                for (size_t m = 0; m < proof_count (p); m++)
                    found = found || (m != k && digest_eq (&proof_group (p, m)->verdict.artifact, &r->inputs[n]));
                if (!found)
                    abort ();
            }
        }
        if (owners < g->verdict.policy.agree || (g->verdict.policy.trusted == POLICY_TRUSTED_REQUIRED && !trusted))
            abort ();
    }
}

static bool check (struct bytes lines)
{
    struct err e = ERR_INIT;
    struct proof *p = proof_new (w->roster);
    int rc = proof_add (p, lines, &e);
    if (rc == 0)
        rc = proof_judge (p, &e);
    if (rc == 0)
        holds (p);
    else if (e.kind == ERR_NONE || !e.msg[0])
        abort ();
    proof_destroy (&p);
    return rc == 0;
}

static struct bytes next_line (struct bytes *in)
{
    const uint8_t *end = in->len ? memchr (in->p, '\n', in->len) : NULL;
    struct bytes line = bytes_of (in->p, end ? (size_t) (end - in->p) : in->len);
    *in = bytes_of (in->p + line.len, in->len - line.len);
    if (in->len)
        *in = bytes_of (in->p + 1, in->len - 1);
    return line;
}

static const struct sign_key *key_of (const struct result *r)
{
    return r->worker[0] == 'w' && r->worker[1] >= '0' && r->worker[1] < '0' + WORLD_WORKERS ? &w->worker[r->worker[1] - '0'] : &w->worker[0];
}

/* The results that follow a verdict, signed; what it names is put right, so that the rest of the statements is what counts. */
static void sign_group (struct bytes *in, struct verdict *v, struct buf *out)
{
    BUF (lines);
    BUF (json);
    size_t n = 0;
    while (n < v->count && in->len) {
        BUF (line);
        struct result r;
        struct bytes body = next_line (in);
        bool good = result_parse (body, &r, NULL) == 0;
        world_sign (good ? key_of (&r) : &w->worker[0], body, &line);
        if (good)
            result_release (&r);
        v->counts[n++].result = digest_of (line.p, line.len - 1);
        buf_add (&lines, line.p, line.len);
    }
    verdict_json (v, &json);
    world_sign (&w->verifier, buf_bytes (&json), out);
    buf_add (out, lines.p, lines.len);
}

static void signed_anew (struct bytes in)
{
    BUF (lines);
    for (unsigned groups = 0; in.len && groups < 8; groups++) {
        struct verdict v;
        struct bytes body = next_line (&in);
        if (verdict_parse (body, &v, NULL) == -1) {
            world_sign (&w->verifier, body, &lines);
            continue;
        }
        sign_group (&in, &v, &lines);
        verdict_release (&v);
    }
    check (buf_bytes (&lines));
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of (data, size);
    if (!w)
        w = world_new ();
    if (check (in)) {
        /* it was signed: nothing but white space around a verdict can differ from what our own encoder makes */
        BUF (own);
        struct proof *a = proof_new (w->roster), *b = proof_new (w->roster);
        world_bundle (w, &own);
        if (proof_add (a, in, NULL) == -1 || proof_add (b, buf_bytes (&own), NULL) == -1 || proof_count (a) > proof_count (b))
            abort ();
        const struct verdict *x = &proof_group (a, 0)->verdict;
        bool known = false;
        for (size_t i = 0; i < proof_count (b); i++) {
            const struct verdict *y = &proof_group (b, i)->verdict;
            known = known || (!strcmp (x->step, y->step) && !strcmp (x->commit, y->commit) && digest_eq (&x->artifact, &y->artifact) && digest_eq (&x->submission, &y->submission));
        }
        if (!known)
            abort ();
        proof_destroy (&a);
        proof_destroy (&b);
    }
    signed_anew (in);
    return 0;
}
