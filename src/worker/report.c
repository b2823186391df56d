#include "config.h"

#include "worker/report.h"

#include <stdio.h>
#include <string.h>

#include "proto/statement.h"
#include "store/link.h"

/* A result is worth the same without it: an artifact too large for a link has none. */
static void sign_link (struct result *r, struct bytes manifest, const struct sign_key *key)
{
    struct manifest m;
    BUF (text);
    manifest_init (&m);
    if (r->exit_status == 0 && manifest.len && manifest_parse (manifest, &m, NULL) == 0 && link_text (r, &m, &text, NULL) == 0) {
        signature_make (key, buf_bytes (&text), r->link);
        r->linked = true;
    }
    manifest_release (&m);
}

int report_seal (struct realm *rl, const struct order *o, const struct report *p, struct buf *sealed, struct err *e)
{
    const struct principal *verifier = roster_role (realm_roster (rl), ROLE_VERIFIER, 0);
    struct result r;
    BUF (json);
    BUF (envelope);
    memset (&r, 0, sizeof r);
    if (!verifier)
        return err_set (e, ERR_UNREACHABLE, "no verifier in the roster to seal the result to");
    r.submission = o->submission_id;
    r.recipe = o->submission->recipe;
    r.image = o->lease->image;
    r.lease_id = o->lease_id;
    bytes_copy (o->step->name, r.step, sizeof r.step);
    bytes_copy (o->submission->project, r.project, sizeof r.project);
    bytes_copy (o->lease->worker, r.worker, sizeof r.worker);
    bytes_copy (o->lease->owner, r.owner, sizeof r.owner);
    bytes_copy (o->submission->commit, r.commit, sizeof r.commit);
    r.url = bytes_dup (o->submission->url);
    r.ref = bytes_dup (o->submission->ref);
    buf_add (&r.lease, p->lease.p, p->lease.len);
    buf_add (&r.receipt, p->receipt.p, p->receipt.len);
    r.isolation = p->isolation;
    r.network = p->network;
    snprintf (r.accelerator, sizeof r.accelerator, "%s", p->accelerator);
    r.host = xstrdup (p->host);
    r.exit_status = p->exit_status;
    r.artifact = p->artifact;
    r.input_count = o->lease->inputs.n;
    memcpy (r.inputs, p->inputs, r.input_count * sizeof *r.inputs);
    memcpy (r.openings, p->openings, r.input_count * sizeof *r.openings);
    r.started = p->started;
    r.finished = p->finished;
    r.note = xstrdup (p->note);
    sign_link (&r, p->manifest, &realm_keys (rl)->sign);
    result_json (&r, &json);
    result_release (&r);
    envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), &realm_keys (rl)->sign, &envelope);
    seal_to (verifier->seal_key, buf_bytes (&envelope), sealed);
    return 0;
}
