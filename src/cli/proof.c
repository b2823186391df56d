/* proof.c: see proof.h. */
#include "cli/proof.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/blind.h"
#include "store/manifest.h"
#include "verifier/rule.h"

#define GROUPS_MAX 64u /* a submission has at most so many steps */
#define VOTES_MAX 256u

struct proof {
    const struct roster *roster;
    struct proof_group groups[GROUPS_MAX];
    size_t n;
};

struct proof *proof_new (const struct roster *r)
{
    struct proof *p = xcalloc (1, sizeof *p);
    p->roster = r;
    return p;
}

void proof_destroy (struct proof **pp)
{
    struct proof *p = *pp;
    if (!p)
        return;
    for (size_t i = 0; i < p->n; i++) {
        struct proof_group *g = &p->groups[i];
        for (size_t j = 0; j < g->n; j++)
            result_release (&g->results[j]);
        free (g->results);
        free (g->stands);
        verdict_release (&g->verdict);
    }
    free (p);
    *pp = NULL;
}

size_t proof_count (const struct proof *p)
{
    return p->n;
}

const struct proof_group *proof_group (const struct proof *p, size_t i)
{
    return i < p->n ? &p->groups[i] : NULL;
}

/* ---- lines ---- */

/* Who signed it, whether or not that is revoked by now. */
static const struct principal *signer (const struct proof *p, const char *name, unsigned role, const struct envelope *v, struct err *e)
{
    const struct principal *who = roster_find (p->roster, name);
    if (!who || !(who->roles & role))
        err_code (e, EC_UNKNOWN_KEY, "it names \"%.63s\" as its signer, who has not that role in the roster", name);
    else if (envelope_check (v, who->sign_key, e) == -1)
        err_wrap (e, "not signed by %s", who->name);
    else
        return who;
    e->kind = ERR_DAMAGED;
    return NULL;
}

static int add_verdict (struct proof *p, const struct envelope *v, struct err *e)
{
    if (p->n == GROUPS_MAX)
        return err_code (e, EC_OVERSIZED, "more than %u verdicts", GROUPS_MAX);
    struct proof_group *g = &p->groups[p->n];
    if (verdict_parse (v->body, &g->verdict, e) == -1)
        return -1;
    const struct principal *who = signer (p, g->verdict.verifier, ROLE_VERIFIER, v, e);
    if (who && !principal_good_at (who, g->verdict.time)) {
        err_set (e, ERR_UNTRUSTED, "the verdict is by %s, who was revoked by then", who->name);
        who = NULL;
    }
    for (size_t i = 0; who && i < p->n; i++)
        if (digest_eq (&p->groups[i].verdict.submission, &g->verdict.submission) && !strcmp (p->groups[i].verdict.step, g->verdict.step)) {
            err_set (e, ERR_DAMAGED, "a second verdict on step %s", g->verdict.step);
            who = NULL;
        }
    if (!who) {
        verdict_release (&g->verdict);
        return -1;
    }
    g->results = xcalloc (g->verdict.count + 1, sizeof *g->results);
    g->stands = xcalloc (g->verdict.count + 1, sizeof *g->stands);
    p->n++;
    return 0;
}

/* What a worker's result carries of others: the broker's lease and the store's receipt. *stands: their word still counts. */
static int check_lease (const struct proof *p, const struct result *r, int64_t time, bool *stands, struct err *e)
{
    struct envelope v = { 0 };
    struct msg m;
    char name[64];
    int rc = envelope_open (buf_bytes (&r->lease), TYPE_LEASE, &v, e);
    if (rc == 0 && (rc = msg_decode_as (v.body, MSG_lease_body, &m, e)) == 0) {
        const struct msg_lease_body *b = &m.u.lease_body;
        struct digest id = envelope_id (&v);
        const struct principal *who = bytes_copy (b->broker, name, sizeof name) ? signer (p, name, ROLE_BROKER, &v, e) : NULL;
        if (!who)
            rc = -1;
        else if (!digest_eq (&id, &r->lease_id) || !bytes_eqs (b->worker, r->worker) || !bytes_eqs (b->owner, r->owner) || !digest_eq (&b->submission, &r->submission)
                 || !bytes_eqs (b->step, r->step) || !bytes_eqs (b->project, r->project) || !digest_eq (&b->image, &r->image) || b->inputs.n != r->input_count)
            rc = err_set (e, ERR_DAMAGED, "it is another worker's, or of another step");
        for (size_t i = 0; rc == 0 && i < r->input_count; i++)
            if (!blind_names_input (b, i, &r->openings[i], &r->inputs[i]))
                rc = err_set (e, ERR_DAMAGED, "the result read other inputs than it names");
        *stands = *stands && who && principal_good_at (who, time);
        msg_release (&m);
    }
    envelope_release (&v);
    return rc == -1 ? err_wrap (e, "its lease") : 0;
}

static int check_receipt (const struct proof *p, const struct result *r, int64_t time, bool *stands, struct err *e)
{
    struct envelope v = { 0 };
    struct msg m;
    char name[64];
    struct digest none = manifest_empty ();
    if (r->exit_status && !digest_eq (&r->artifact, &none))
        return err_set (e, ERR_DAMAGED, "it failed, and yet has an artifact");
    if (digest_eq (&r->artifact, &none))
        return 0; /* nothing to hold */
    int rc = envelope_open (buf_bytes (&r->receipt), TYPE_RECEIPT, &v, e);
    if (rc == 0 && (rc = msg_decode_as (v.body, MSG_receipt_body, &m, e)) == 0) {
        const struct msg_receipt_body *b = &m.u.receipt_body;
        const struct principal *who = bytes_copy (b->store, name, sizeof name) ? signer (p, name, ROLE_STORE, &v, e) : NULL;
        if (!who)
            rc = -1;
        else if (!digest_eq (&b->lease, &r->lease_id) || !digest_eq (&b->artifact, &r->artifact))
            rc = err_set (e, ERR_DAMAGED, "it is for another lease or artifact");
        *stands = *stands && who && principal_good_at (who, time);
        msg_release (&m);
    }
    envelope_release (&v);
    return rc == -1 ? err_wrap (e, "its receipt") : 0;
}

/* Does the result say of the step what the verdict says, and of its worker what the roster says? */
static const char *differs (const struct verdict *v, const struct verdict_count *k, const struct result *r, const struct result *first, const struct principal *who)
{
    struct digest outcome = outcome_digest (r->exit_status, &r->artifact);
    if (strcmp (r->project, v->project))
        return "it is of another project than the verdict";
    if (!digest_eq (&r->submission, &v->submission) || strcmp (r->step, v->step))
        return "it is of another step than the verdict";
    if (strcmp (r->commit, v->commit) || strcmp (r->url, v->url) || strcmp (r->ref, v->ref))
        return "it is of another source than the verdict";
    if (!digest_eq (&r->recipe, &first->recipe))
        return "its recipe is not that of the others";
    if (strcmp (k->worker, r->worker) || strcmp (k->owner, r->owner) || strcmp (who->owner, r->owner))
        return "its worker or owner is another than the verdict or the roster says";
    if (!digest_eq (&k->outcome, &outcome))
        return "its outcome is another than the verdict says";
    if (k->counted && !digest_eq (&outcome, &v->outcome))
        return "the verdict counts it for another outcome";
    if (!principal_project (who, bytes_str (v->project)))
        return "its worker may not work on that project";
    if (!policy_isolation_ok (v->policy.isolation, r->isolation))
        return "its isolation is weaker than the policy's";
    if (r->network < v->policy.network)
        return "its build had a network, and the policy has none";
    return NULL;
}

static int add_result (struct proof *p, struct bytes line, const struct envelope *v, struct err *e)
{
    struct proof_group *g = &p->groups[p->n - 1];
    const struct verdict_count *k = &g->verdict.counts[g->n];
    struct result *r = &g->results[g->n];
    struct digest id = digest_of (line.p, line.len);
    if (!digest_eq (&id, &k->result)) {
        for (size_t i = 0; i < g->verdict.count; i++)
            if (digest_eq (&id, &g->verdict.counts[i].result))
                return err_set (e, ERR_DAMAGED, "out of order or doubled: the result of %s, where the verdict names that of %s", g->verdict.counts[i].worker, k->worker);
        return err_set (e, ERR_DAMAGED, "not the result of %s that the verdict names here (altered, missing, or another step's)", k->worker);
    }
    if (result_parse (v->body, r, e) == -1)
        return -1;
    bool stands = true;
    const struct principal *who = signer (p, r->worker, ROLE_WORKER, v, e);
    const char *why = who ? differs (&g->verdict, k, r, &g->results[0], who) : NULL;
    if (!who || why || check_lease (p, r, k->time, &stands, e) == -1 || check_receipt (p, r, k->time, &stands, e) == -1) {
        if (why)
            err_set (e, ERR_DAMAGED, "%s", why);
        err_wrap (e, "result of %s", k->worker);
        result_release (r);
        return -1;
    }
    g->stands[g->n++] = stands && principal_good_at (who, k->time);
    return 0;
}

static bool incomplete (const struct proof *p)
{
    return p->n && p->groups[p->n - 1].n < p->groups[p->n - 1].verdict.count;
}

static int add_line (struct proof *p, struct bytes line, struct err *e)
{
    struct envelope v = { 0 };
    int rc = envelope_open_json (line, TYPE_INTOTO, &v, e);
    if (rc == 0)
        rc = incomplete (p) ? add_result (p, line, &v, e) : add_verdict (p, &v, e);
    envelope_release (&v);
    return rc;
}

int proof_add (struct proof *p, struct bytes bundle, struct err *e)
{
    size_t number = 0;
    if (bundle.len == 0)
        return err_set (e, ERR_DAMAGED, "an empty bundle");
    for (size_t at = 0; at < bundle.len;) {
        const uint8_t *end = memchr (bundle.p + at, '\n', bundle.len - at);
        size_t len = end ? (size_t) (end - bundle.p) - at : bundle.len - at;
        number++;
        if (add_line (p, bytes_of (bundle.p + at, len), e) == -1) {
            if (e->kind != ERR_UNTRUSTED)
                e->kind = ERR_DAMAGED;
            return err_wrap (e, "line %zu", number);
        }
        at += len + 1;
    }
    if (incomplete (p)) {
        const struct proof_group *g = &p->groups[p->n - 1];
        return err_set (e, ERR_DAMAGED, "truncated: the result of %s, which the verdict on step %s looked at, is missing", g->verdict.counts[g->n].worker, g->verdict.step);
    }
    return 0;
}

/* ---- the verdict once more ---- */

struct judging {
    const struct proof *p;
    bool used[GROUPS_MAX], good[GROUPS_MAX];
    bool open[GROUPS_MAX]; /* what rests on it is being judged: nothing is its own input */
};
static int judge_group (struct judging *j, size_t i, struct err *e);

/* No stricter policy may be in force by now than the verdict's. */
static int check_policy (const struct proof *p, const struct verdict *v, struct policy *policy, struct err *e)
{
    *policy = (struct policy){ v->policy.agree, v->policy.trusted, v->policy.dissent, v->policy.isolation, v->policy.max_replicas, v->policy.lineages,
                                v->policy.network };
    struct policy merged, own = roster_policy (p->roster, bytes_str (v->project));
    if (policy_check (policy, e) == -1)
        return err_wrap (e, "the verdict's policy");
    merged = *policy;
    own.max_replicas = 0;
    policy_merge (&merged, &own);
    if (memcmp (&merged, policy, sizeof merged))
        return err_set (e, ERR_UNTRUSTED, "the verdict was made under a weaker policy than the roster now has for project %s", v->project);
    return 0;
}

/* All results read the same, and each of it is the artifact of a trusted step of that submission. */
static int check_inputs (struct judging *j, const struct proof_group *g, struct err *e)
{
    const struct result *first = &g->results[0];
    for (size_t i = 1; i < g->n; i++)
        if (g->results[i].input_count != first->input_count || memcmp (g->results[i].inputs, first->inputs, first->input_count * sizeof *first->inputs))
            return err_set (e, ERR_DAMAGED, "the results of %s and %s read different inputs", first->worker, g->results[i].worker);
    for (size_t i = 0; g->n && i < first->input_count; i++) {
        char hex[DIGEST_HEX];
        struct err why = ERR_INIT;
        bool found = false;
        for (size_t k = 0; k < j->p->n; k++) {
            const struct verdict *v = &j->p->groups[k].verdict;
            if (!digest_eq (&v->submission, &g->verdict.submission))
                continue;
            if (strcmp (v->project, g->verdict.project) || strcmp (v->commit, g->verdict.commit))
                return err_set (e, ERR_DAMAGED, "of one submission, the verdict on step %s is about project %s at %.12s, and that on step %s about project %s at %.12s", g->verdict.step,
                                g->verdict.project, g->verdict.commit, v->step, v->project, v->commit);
            if (!j->open[k] && digest_eq (&v->artifact, &first->inputs[i]))
                found = judge_group (j, k, &why) == 0 || found;
        }
        if (!found && why.kind != ERR_NONE) {
            *e = why;
            return err_wrap (e, "input %zu of step %s", i + 1, g->verdict.step);
        }
        if (!found)
            return err_set (e, ERR_UNTRUSTED, "step %s read sha256:%s, and no verdict among the files says that this is trusted", g->verdict.step,
                            digest_hex (&first->inputs[i], hex));
    }
    return 0;
}

static int weigh (struct judging *j, size_t at, struct err *e)
{
    const struct proof_group *g = &j->p->groups[at];
    const struct verdict *v = &g->verdict;
    struct vote votes[VOTES_MAX];
    struct policy policy;
    struct decision d;
    size_t n = 0;
    const char *revoked = NULL;
    bool fails = !strcmp (v->state, "failed");
    if (!fails && strcmp (v->state, "trusted"))
        return err_set (e, ERR_UNTRUSTED, "the verdict on step %s is \"%s\": %.300s", v->step, v->state, v->reason);
    if (g->n > VOTES_MAX)
        return err_code (e, EC_OVERSIZED, "more than %u results", VOTES_MAX);
    if (check_policy (j->p, v, &policy, e) == -1 || check_inputs (j, g, e) == -1)
        return -1;
    for (size_t i = 0; i < g->n; i++) {
        const struct principal *who = roster_find (j->p->roster, g->results[i].worker);
        if (g->stands[i])
            votes[n++] = (struct vote){ .worker = who->name, .owner = who->owner, .trusted = who->trusted, .outcome = v->counts[i].outcome, .image = g->results[i].image,
                                        .success = g->results[i].exit_status == 0 };
        else
            revoked = who->name;
    }
    struct rule_input in = { .policy = policy, .votes = votes, .vote_count = n, .owners = n, .trusted_owners = n, .images = policy.lineages, .inputs_trusted = true };
    struct digest outcome = outcome_digest (v->exit_status, &v->artifact);
    rule_decide (&in, &d);
    if (revoked && d.state != (fails ? STATE_FAILED : STATE_TRUSTED))
        return err_set (e, ERR_UNTRUSTED, "the vote of %s was revoked since, and without it step %s is \"%s\": %s", revoked, v->step, step_state_name (d.state), d.reason);
    if (d.state != (fails ? STATE_FAILED : STATE_TRUSTED) || !digest_eq (&d.outcome, &v->outcome))
        return err_set (e, ERR_DAMAGED, "the results do not give this verdict: by the rule step %s is \"%s\" (%s)", v->step, step_state_name (d.state), d.reason);
    if (!digest_eq (&outcome, &v->outcome))
        return err_set (e, ERR_DAMAGED, "the verdict's artifact is not the one that the owners agreed on");
    if (!revoked && (v->support != d.support || v->against != d.against || v->votes != d.votes))
        return err_set (e, ERR_DAMAGED, "the verdict counts %u of %u owners, and the results are %u of %u", v->support, v->votes, d.support, d.votes);
    if (fails)
        return err_set (e, ERR_FAILED, "the verdict on step %s is \"failed\": %.300s", v->step, v->reason);
    return 0;
}

static int judge_group (struct judging *j, size_t at, struct err *e)
{
    if (j->used[at])
        return j->good[at] ? 0 : err_set (e, ERR_UNTRUSTED, "the verdict on step %s does not hold", j->p->groups[at].verdict.step);
    j->used[at] = j->open[at] = true;
    j->good[at] = weigh (j, at, e) == 0;
    j->open[at] = false;
    return j->good[at] ? 0 : -1;
}

int proof_judge (const struct proof *p, struct err *e)
{
    struct judging j = { .p = p };
    if (p->n == 0)
        return err_set (e, ERR_DAMAGED, "no verdict");
    if (judge_group (&j, 0, e) == -1)
        return -1;
    for (size_t i = 0; i < p->n; i++)
        if (!j.used[i])
            return err_set (e, ERR_DAMAGED, "a verdict on step %s, which the first does not rest on (one step at a time)", p->groups[i].verdict.step);
    return 0;
}
