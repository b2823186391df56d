/* bundle.c: see bundle.h. */
#include "cli/bundle.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "cli/auditor.h"
#include "cli/logline.h"
#include "store/client.h"
#include "store/link.h"

#define LAYOUT_US (INT64_C (365) * 24 * 3600 * 1000000) /* a layout holds for a year after the verdict, unless its signer says otherwise */

/* ---- from the verifier ---- */

static int ask (struct client *verifier, const struct digest *id, struct bytes step, struct buf *lines, struct err *e)
{
    struct msg m = MSG_INIT (verdict_get, 0);
    struct net_in in;
    m.u.verdict_get.id = *id;
    m.u.verdict_get.step = step;
    m.u.verdict_get.results = 1;
    if (client_ask (verifier, &m, MSG_bundle, &in, e) == -1)
        return -1;
    int rc = m.u.bundle.envelopes.n ? 0 : err_code (e, EC_MALFORMED, "the verifier's bundle is empty");
    for (size_t i = 0; i < m.u.bundle.envelopes.n; i++) {
        buf_add (lines, m.u.bundle.envelopes.v[i].p, m.u.bundle.envelopes.v[i].len);
        buf_adds (lines, "\n");
    }
    msg_release (&m);
    net_in_release (&in);
    return rc;
}

/* Ask for what the steps of wanted need. The submission's steps need only steps before them, so that one pass backwards finds all. */
static int ask_inputs (struct client *verifier, const struct digest *id, const char *step, const struct msg_submission_body *s, struct buf *lines, struct err *e)
{
    bool wanted[64] = { false };
    for (size_t i = s->steps.n < 64 ? s->steps.n : 64; i-- > 0;) {
        struct msg st;
        if (msg_decode_as (s->steps.v[i], MSG_step, &st, e) == -1)
            return -1;
        bool own = bytes_eqs (st.u.step.name, step);
        int rc = wanted[i] && !own ? ask (verifier, id, st.u.step.name, lines, e) : 0;
        for (size_t k = 0; rc == 0 && (own || wanted[i]) && k < i; k++) {
            struct msg before;
            if (msg_decode_as (s->steps.v[k], MSG_step, &before, e) == -1)
                rc = -1;
            for (size_t n = 0; rc == 0 && n < st.u.step.needs.n; n++)
                wanted[k] = wanted[k] || bytes_eq (st.u.step.needs.v[n], before.u.step.name);
            if (rc == 0)
                msg_release (&before);
        }
        msg_release (&st);
        if (rc == -1)
            return -1;
    }
    return 0;
}

static int inputs (struct client *broker, struct client *verifier, const struct digest *id, const char *step, struct buf *lines, struct err *e)
{
    struct msg m = MSG_INIT (submission_get, 0), body;
    struct envelope v = { 0 };
    struct net_in in;
    m.u.submission_get.id = *id;
    if (client_ask (broker, &m, MSG_submission, &in, e) == -1)
        return -1;
    int rc = envelope_open (m.u.submission.envelope, TYPE_SUBMISSION, &v, e);
    struct digest own = { { 0 } };
    if (rc == 0)
        own = envelope_id (&v);
    if (rc == 0 && !digest_eq (&own, id))
        rc = err_code (e, EC_DAMAGED, "the broker sent another submission");
    if (rc == 0 && (rc = msg_decode_as (v.body, MSG_submission_body, &body, e)) == 0) {
        rc = ask_inputs (verifier, id, step, &body.u.submission_body, lines, e);
        msg_release (&body);
    }
    envelope_release (&v);
    msg_release (&m);
    net_in_release (&in);
    return rc;
}

int bundle_fetch (struct cli *c, struct realm *rl, struct client *broker, const struct digest *id, const char *step, struct proof **p, struct buf *lines, struct err *e)
{
    struct client *CLEANUP (client_close) verifier = NULL;
    struct proof *CLEANUP (proof_destroy) own = proof_new (realm_roster (rl));
    BUF (more);
    if (cli_client (c, rl, ROLE_VERIFIER, &verifier, e) == -1 || ask (verifier, id, bytes_str (step), lines, e) == -1)
        return -1;
    if (proof_add (own, buf_bytes (lines), e) == -1)
        return err_wrap (e, "the verifier's bundle");
    const struct verdict *v = &proof_group (own, 0)->verdict;
    if (!digest_eq (&v->submission, id) || strcmp (v->step, step) || proof_count (own) != 1)
        return err_code (e, EC_DAMAGED, "the verifier's bundle is another step's");
    bool decided = !strcmp (v->state, "trusted") || !strcmp (v->state, "failed");
    bool reads = proof_group (own, 0)->n && proof_group (own, 0)->results[0].input_count;
    if (decided && reads && inputs (broker, verifier, id, step, &more, e) == -1)
        return -1;
    if (more.len && proof_add (own, buf_bytes (&more), e) == -1)
        return err_wrap (e, "the verifier's bundle of what it read");
    buf_add (lines, more.p, more.len);
    *p = own;
    own = NULL;
    return 0;
}

/* ---- from the verifier's log ---- */

static int prove_one (struct auditor *a, const struct checkpoint *cp, const struct verdict *v, struct bytes line, struct buf *lines, struct err *e)
{
    struct inclusion CLEANUP (inclusion_release) in = { 0 };
    if (!v->final)
        return err_set (e, ERR_UNTRUSTED, "step %s is not decided yet: there is nothing to prove", v->step);
    if (auditor_include (a, cp, line, v->index, &in, e) == -1)
        return err_wrap (e, "step %s", v->step);
    logline_text (&in, lines);
    return 0;
}

int bundle_prove (struct cli *c, struct realm *rl, const struct proof *p, struct bytes statements, uint64_t k, struct buf *lines, struct err *e)
{
    const char *name = proof_group (p, 0)->verdict.verifier;
    struct auditor *CLEANUP (auditor_close) a = NULL;
    if (auditor_open (&a, c, rl, name, e) == -1 || auditor_newest (a, e) == -1 || (k && auditor_witnessed (a, k, e) == -1))
        return -1;
    for (size_t i = 0; i < proof_count (p); i++) {
        const struct verdict *v = &proof_group (p, i)->verdict;
        if (strcmp (v->verifier, name))
            return err_set (e, ERR_UNTRUSTED, "step %s was decided by %s, and not by %s (its proof is another log's)", v->step, v->verifier, name);
        if (prove_one (a, k ? &a->witnessed : &a->newest, v, logline_verdict (p, statements, i), lines, e) == -1)
            return -1;
    }
    return 0;
}

/* ---- classic in-toto ---- */

/* Its owner's first worker that agrees: in-toto counts keys, and one owner has one vote. */
static bool speaks (const struct proof_group *g, size_t i)
{
    if (!g->stands[i] || !digest_eq (&g->verdict.counts[i].outcome, &g->verdict.outcome))
        return false;
    for (size_t k = 0; k < i; k++)
        if (!strcmp (g->results[k].owner, g->results[i].owner) && speaks (g, k))
            return false;
    return true;
}

static int write_link (const struct principal *who, const struct result *r, const struct manifest *m, const char *dir, struct err *e)
{
    BUF (text);
    BUF (file);
    char id[DIGEST_HEX];
    if (!r->linked)
        return err_set (e, ERR_FAILED, "%s signed no in-toto link with its result (an older worker, or too large an artifact)", r->worker);
    if (link_text (r, m, &text, e) == -1)
        return -1;
    if (!signature_good (who->sign_key, buf_bytes (&text), r->link))
        return err_set (e, ERR_DAMAGED, "%s signed another in-toto link than its result gives", r->worker);
    link_keyid (who->sign_key, id);
    link_file (buf_bytes (&text), who->sign_key, r->link, &file);
    char *path CLEANUP (free_ptr) = xasprintf ("%s/%s.%.8s.link", dir, r->step, id);
    struct stat st;
    if (lstat (path, &st) == 0)
        return err_set (e, ERR_USAGE, "%s is there already (name another folder)", path);
    return file_write (path, buf_bytes (&file), 0644, e);
}

int bundle_links (struct realm *rl, const struct proof *p, const char *dir, size_t *n, struct err *e)
{
    const struct proof_group *g = proof_group (p, 0);
    const struct verdict *v = &g->verdict;
    struct manifest m;
    uint8_t (*keys)[32] CLEANUP (free_ptr) = xcalloc (g->n + 1, sizeof *keys);
    *n = 0;
    if (proof_judge (p, e) == -1 || file_mkdirs (dir, 0755, e) == -1 || store_manifest (rl, &v->artifact, false, &m, e) == -1)
        return -1;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < g->n; i++)
        if (speaks (g, i)) {
            const struct principal *who = roster_find (realm_roster (rl), g->results[i].worker);
            rc = write_link (who, &g->results[i], &m, dir, e);
            memcpy (keys[(*n)++], who->sign_key, 32);
        }
    if (rc == 0) {
        BUF (layout);
        char *path CLEANUP (free_ptr) = xasprintf ("%s/%s.layout", dir, v->step);
        struct link_layout o = { v->step, v->policy.agree, (const uint8_t (*)[32]) keys, *n, &m, v->time + LAYOUT_US };
        link_layout (&o, &layout);
        rc = file_write (path, buf_bytes (&layout), 0644, e);
    }
    manifest_release (&m);
    return rc;
}
