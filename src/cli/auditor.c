#include "cli/auditor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cli/stream.h"

#define ULL(n) ((unsigned long long) (n))
#define INCLUSION 1u
#define GROWTH 2u
#define VERDICT_LOGGED 2u

void checkpoint_release (struct checkpoint *cp)
{
    note_release (&cp->note);
    buf_release (&cp->raw);
    cp->witnesses.n = 0;
}

int checkpoint_named (struct realm *rl, struct bytes raw, struct checkpoint *cp, const struct principal **verifier, struct err *e)
{
    memset (cp, 0, sizeof *cp);
    if (checkpoint_open (realm_roster (rl), realm_root (rl), raw, &cp->note, verifier, e) == -1)
        return -1;
    if (checkpoint_witnesses (realm_roster (rl), &cp->note, *verifier, &cp->witnesses, e) == -1) {
        checkpoint_release (cp);
        return -1;
    }
    buf_add (&cp->raw, raw.p, raw.len);
    return 0;
}

/* A checkpoint of the verifier at hand. */
static int take (struct auditor *a, struct bytes raw, struct checkpoint *cp, struct err *e)
{
    const struct principal *who;
    if (checkpoint_named (a->rl, raw, cp, &who, e) == -1)
        return -1;
    if (who == a->verifier)
        return 0;
    checkpoint_release (cp);
    return err_code (e, EC_DAMAGED, "checkpoint: it is of the log of %s", who->name);
}

int auditor_open (struct auditor **out, struct cli *c, struct realm *rl, const char *name, struct err *e)
{
    const struct principal *p = name ? roster_find (realm_roster (rl), name) : roster_role (realm_roster (rl), ROLE_VERIFIER, 0);
    if (!p || !(p->roles & ROLE_VERIFIER))
        return name ? err_set (e, ERR_USAGE, "%s: no verifier in the roster (`assay who` lists them)", name)
                    : err_set (e, ERR_UNREACHABLE, "no verifier in the roster (enrol one: `assay token --role verifier`)");
    if (!principal_good (p))
        return err_code (e, EC_REVOKED, "%s is revoked: nothing that it says counts", p->name);
    struct auditor *a = xcalloc (1, sizeof *a);
    *a = (struct auditor){ .c = c, .rl = rl, .verifier = p, .seen.lock = -1 };
    int rc = seen_open (&a->seen, realm_dir (rl), p->name, c->timeout_ms, e);
    if (rc == 0 && a->seen.note.len && (rc = take (a, buf_bytes (&a->seen.note), &a->before, e)) == -1)
        err_wrap (e, "%s/checkpoint (what was seen before is damaged; if the disk did this, remove it: the next audit begins anew)", a->seen.dir);
    if (rc == -1)
        auditor_close (&a);
    else
        *out = a;
    return rc;
}

void auditor_close (struct auditor **ap)
{
    struct auditor *a = *ap;
    if (!a)
        return;
    client_close (&a->client);
    checkpoint_release (&a->before);
    checkpoint_release (&a->newest);
    checkpoint_release (&a->witnessed);
    seen_release (&a->seen);
    free (a);
    *ap = NULL;
}

/* ---- asking ---- */

static int ask (struct auditor *a, struct msg *m, enum msg_type want, struct net_in *in, struct err *e)
{
    const struct principal *p = a->verifier;
    if (!a->client && cli_connect (a->c, a->rl, "verifier", p->endpoint, p->transport_key, &a->client, e) == -1)
        return -1;
    m->request = client_request (a->client);
    return client_ask (a->client, m, want, in, e);
}

static int fetch (struct auditor *a, uint64_t k, struct checkpoint *cp, struct err *e)
{
    struct msg m = MSG_INIT (checkpoint_get, 0);
    struct net_in in;
    m.u.checkpoint_get.witnesses = k;
    if (ask (a, &m, MSG_checkpoint, &in, e) == -1) {
        if (e->code == EC_NOT_FOUND)
            e->kind = ERR_UNTRUSTED;
        return -1;
    }
    checkpoint_release (cp);
    int rc = take (a, m.u.checkpoint.note, cp, e);
    if (rc == -1)
        err_wrap (e, "%s", a->verifier->name);
    else if (cp->witnesses.n < k) {
        rc = err_set (e, ERR_UNTRUSTED, "%s shows a checkpoint with %zu witnesses of different owners (%llu are needed)", a->verifier->name, cp->witnesses.n, ULL (k));
        checkpoint_release (cp);
    }
    msg_release (&m);
    net_in_release (&in);
    return rc;
}

/* The answer to proof_get; it is the one that was asked for, and of hashes. */
static int fetch_path (struct auditor *a, uint64_t kind, uint64_t at, uint64_t size, struct tlog_path *path, struct err *e)
{
    struct msg m = MSG_INIT (proof_get, 0);
    struct net_in in;
    m.u.proof_get.kind = kind;
    m.u.proof_get.at = at;
    m.u.proof_get.size = size;
    if (ask (a, &m, MSG_proof, &in, e) == -1)
        return -1;
    const struct msg_proof *p = &m.u.proof;
    int rc = p->kind == kind && p->at == at && p->size == size && p->path.n <= TLOG_PATH_MAX ? 0 : err_code (e, EC_UNEXPECTED, "it sends another proof than the one asked for");
    for (path->n = 0; rc == 0 && path->n < p->path.n; path->n++)
        if (p->path.v[path->n].len == 32)
            memcpy (path->v[path->n].b, p->path.v[path->n].p, 32);
        else
            rc = err_code (e, EC_MALFORMED, "it sends a proof whose hash %zu has %zu bytes", path->n + 1, p->path.v[path->n].len);
    msg_release (&m);
    net_in_release (&in);
    return rc;
}

/* ---- checking ---- */

/* The verifier's own failure (its disk, our connection) is no proof of anything. */
static bool excused (const struct err *e)
{
    return e->kind == ERR_UNREACHABLE || e->kind == ERR_DENIED || e->code == EC_INTERNAL;
}

/* Two statements of the verifier that do not go together: keep both, and say where. */
static int caught (struct auditor *a, struct bytes seen, struct bytes shown, struct err *e)
{
    char *one CLEANUP (free_ptr) = NULL, *two CLEANUP (free_ptr) = NULL;
    struct err why = *e, kept = ERR_INIT;
    int rc = seen_evidence (&a->seen, seen, shown, &one, &two, &kept);
    if (rc == -1)
        err_set (e, ERR_DAMAGED, "%s: %.300s; the evidence could not be kept: %.200s", a->verifier->name, why.msg, kept.msg);
    else if (one)
        err_set (e, ERR_DAMAGED, "%s: %.300s; both are kept, signed: %s %s (trust no verdict of it before that is explained)", a->verifier->name, why.msg, one, two);
    else
        err_set (e, ERR_DAMAGED, "%s: %.300s; %s has %u such pairs already (trust no verdict of it before that is explained)", a->verifier->name, why.msg, a->seen.dir, SEEN_EVIDENCE);
    e->code = EC_DAMAGED;
    return -1;
}

/* Is the smaller of the two the beginning of the larger? `seen` may be either. */
static int relate (struct auditor *a, const struct checkpoint *seen, const struct checkpoint *shown, struct err *e)
{
    const struct checkpoint *old = seen->note.size <= shown->note.size ? seen : shown, *now = old == seen ? shown : seen;
    struct tlog_path path = { .n = 0 };
    int rc = 0;
    if (old->note.size > 0 && old->note.size < now->note.size && (rc = fetch_path (a, GROWTH, old->note.size, now->note.size, &path, e)) == -1) {
        if (excused (e))
            return -1;
        struct err why = *e;
        err_set (e, ERR_DAMAGED, "it does not prove that its log of %llu verdicts begins with the %llu of before: %.200s", ULL (now->note.size), ULL (old->note.size), why.msg);
    }
    if (rc == 0)
        rc = checkpoint_extends (&old->note, &now->note, &path, e);
    return rc == 0 ? 0 : caught (a, buf_bytes (&seen->raw), buf_bytes (&shown->raw), e);
}

/* What was seen before is the beginning of what is shown now, which is remembered. */
int auditor_newest (struct auditor *a, struct err *e)
{
    if (fetch (a, 0, &a->newest, e) == -1)
        return -1;
    struct checkpoint *last = &a->before, now;
    const struct principal *who;
    memset (&now, 0, sizeof now);
    if (a->seen.note.len && checkpoint_named (a->rl, buf_bytes (&a->seen.note), &now, &who, e) == 0)
        last = &now;
    int rc = 0;
    if (last->raw.len && a->newest.note.size < last->note.size) {
        err_set (e, ERR_DAMAGED, "its log had %llu verdicts, and now has %llu: it was rolled back", ULL (last->note.size), ULL (a->newest.note.size));
        rc = caught (a, buf_bytes (&last->raw), buf_bytes (&a->newest.raw), e);
    } else if (last->raw.len)
        rc = relate (a, last, &a->newest, e);
    if (rc == 0 && (!last->raw.len || a->newest.note.size > last->note.size))
        rc = seen_keep (&a->seen, buf_bytes (&a->newest.raw), e);
    checkpoint_release (&now);
    return rc;
}

int auditor_witnessed (struct auditor *a, uint64_t k, struct err *e)
{
    return fetch (a, k, &a->witnessed, e) == -1 || relate (a, &a->newest, &a->witnessed, e) == -1 ? -1 : 0;
}

int auditor_include (struct auditor *a, const struct checkpoint *cp, struct bytes entry, uint64_t number, struct inclusion *in, struct err *e)
{
    memset (in, 0, sizeof *in);
    if (number == 0)
        return err_code (e, EC_DAMAGED, "the verdict has no number in the log of %s", a->verifier->name);
    if (number > cp->note.size)
        return err_set (e, ERR_UNTRUSTED, "the verdict is number %llu of its log, and that checkpoint is of %llu (a newer one is needed, with as many witnesses)", ULL (number),
                        ULL (cp->note.size));
    in->index = number - 1;
    int rc = fetch_path (a, INCLUSION, in->index, cp->note.size, &in->path, e);
    if (rc == -1 && excused (e))
        return -1;
    if (rc == 0)
        rc = inclusion_check (in, &cp->note, entry, e);
    if (rc == -1)
        return caught (a, entry, buf_bytes (&cp->raw), e);
    buf_add (&in->note, cp->raw.p, cp->raw.len);
    return 0;
}

int auditor_compare (struct auditor *a, struct bytes raw, struct checkpoint *other, struct err *e)
{
    if (take (a, raw, other, e) == -1)
        return -1;
    int rc = 0;
    if (a->before.raw.len && a->before.note.size == other->note.size)
        rc = relate (a, &a->before, other, e); /* nobody needs to be asked */
    if (rc == 0 && (!a->before.raw.len || a->before.note.size != other->note.size)) {
        rc = a->newest.raw.len ? 0 : auditor_newest (a, e);
        if (rc == 0 && other->note.size > a->newest.note.size) {
            err_set (e, ERR_DAMAGED, "it showed a log of %llu verdicts elsewhere, and shows %llu here", ULL (other->note.size), ULL (a->newest.note.size));
            rc = caught (a, buf_bytes (&other->raw), buf_bytes (&a->newest.raw), e);
        } else if (rc == 0)
            rc = relate (a, other, &a->newest, e);
    }
    if (rc == -1)
        checkpoint_release (other);
    return rc;
}

int auditor_verdict (struct auditor *a, const struct digest *id, const char *step, struct verdict *v, struct buf *envelope, struct err *e)
{
    struct msg m = MSG_INIT (verdict_get, 0);
    struct net_in in;
    memset (v, 0, sizeof *v);
    m.u.verdict_get.id = *id;
    m.u.verdict_get.step = bytes_str (step);
    m.u.verdict_get.results = VERDICT_LOGGED;
    if (ask (a, &m, MSG_bundle, &in, e) == -1)
        return -1;
    const struct bytes_list *list = &m.u.bundle.envelopes;
    int rc = list->n ? verdict_open (a->rl, list->v[0], v, e) : err_code (e, EC_NOT_FOUND, "no verdict yet");
    if (rc == 0 && (!digest_eq (&v->submission, id) || strcmp (v->step, step) || strcmp (v->verifier, a->verifier->name))) {
        verdict_release (v);
        memset (v, 0, sizeof *v);
        rc = err_code (e, EC_DAMAGED, "%s answers with a verdict on another step, or by another verifier", a->verifier->name);
    }
    if (rc == 0)
        buf_add (envelope, list->v[0].p, list->v[0].len);
    msg_release (&m);
    net_in_release (&in);
    return rc;
}

static int take_entry (struct auditor *a, uint64_t at, struct bytes raw, struct verdict *v, struct err *e)
{
    struct inclusion CLEANUP (inclusion_release) in = { 0 };
    if (verdict_open (a->rl, raw, v, e) == -1) {
        e->kind = ERR_DAMAGED;
        return -1;
    }
    int rc = 0;
    if (strcmp (v->verifier, a->verifier->name) || v->index != at + 1)
        rc = err_code (e, EC_DAMAGED, "it is verdict %llu of %s", ULL (v->index), v->verifier);
    else
        rc = auditor_include (a, &a->newest, raw, at + 1, &in, e);
    if (rc == -1) {
        verdict_release (v);
        memset (v, 0, sizeof *v);
    }
    return rc;
}

int auditor_entry (struct auditor *a, uint64_t at, struct verdict *v, struct err *e)
{
    struct msg m = MSG_INIT (entry_get, 0);
    struct net_in in;
    const struct principal *self = realm_self (a->rl);
    memset (v, 0, sizeof *v);
    m.u.entry_get.at = at;
    if (ask (a, &m, MSG_bundle, &in, e) == -1) {
        if (e->code != EC_NOT_FOUND)
            return -1;
        return self && (self->roles & ROLE_ADMIN) ? err_code (e, EC_DAMAGED, "%s withholds entry %llu of its log", a->verifier->name, ULL (at)) : 0;
    }
    int rc = m.u.bundle.envelopes.n == 1 ? take_entry (a, at, m.u.bundle.envelopes.v[0], v, e) : err_code (e, EC_MALFORMED, "%zu envelopes where one was asked for", m.u.bundle.envelopes.n);
    msg_release (&m);
    net_in_release (&in);
    return rc == 0 ? 1 : err_wrap (e, "entry %llu", ULL (at));
}

/* ---- being a witness ---- */

static bool signed_by_us (struct auditor *a, const struct checkpoint *cp)
{
    char name[NOTE_NAME];
    note_witness (cp->note.origin, realm_name (a->rl), name);
    return note_check (&cp->note, name, realm_keys (a->rl)->sign.pub, NULL) == 0;
}

static int cosign (struct auditor *a, const struct checkpoint *cp, struct err *e)
{
    char name[NOTE_NAME];
    struct msg m = MSG_INIT (cosign, 0);
    struct net_in in;
    BUF (note);
    note_witness (cp->note.origin, realm_name (a->rl), name);
    buf_add (&note, cp->note.text.p, cp->note.text.len);
    buf_adds (&note, "\n");
    note_line (&cp->note.v[0], &note);
    note_sign (name, buf_bytes (&cp->note.text), &realm_keys (a->rl)->sign, &note);
    m.u.cosign.note = buf_bytes (&note);
    if (ask (a, &m, MSG_ok, &in, e) == -1)
        return err_wrap (e, "the signature is not kept");
    msg_release (&m);
    net_in_release (&in);
    return 0;
}

static int sign (struct auditor *a, const struct checkpoint *cp, size_t *count, struct err *e)
{
    if (signed_by_us (a, cp))
        return 0;
    *count += 1;
    return cosign (a, cp, e);
}

/* Witnesses come at different times, and so to different sizes. Each joins the newest that has one other's signature, the newest that has
 * two, and so on: so there is soon one with all. */
int auditor_cosign (struct auditor *a, size_t *signed_count, struct err *e)
{
    *signed_count = 0;
    if (!realm_self (a->rl) || !strcmp (realm_name (a->rl), a->verifier->name))
        return err_code (e, EC_NOT_ALLOWED, "%s is no witness of its own log", a->verifier->name);
    if (a->newest.note.size == 0)
        return err_set (e, ERR_USAGE, "the log of %s is empty: there is nothing to sign", a->verifier->name);
    for (uint64_t k = 1; k <= WITNESSES_MAX; k++) {
        struct err none = ERR_INIT;
        if (auditor_witnessed (a, k, &none) == -1 && none.kind == ERR_UNTRUSTED)
            break;
        if (none.kind || sign (a, &a->witnessed, signed_count, &none) == -1) {
            *e = none;
            return -1;
        }
    }
    return sign (a, &a->newest, signed_count, e); /* last, so that its own signature is no company */
}

int witnesses_parse (const char *option, uint64_t *k, struct err *e)
{
    char *end;
    errno = 0;
    *k = strtoul (option, &end, 10);
    if (errno || *end || *option < '0' || *option > '9' || *k > WITNESSES_MAX)
        return err_set (e, ERR_USAGE, "--witnesses %.40s: not a number from 0 to %u", option, WITNESSES_MAX);
    return 0;
}

int witnesses_wanted (struct realm *rl, const char *option, uint64_t *k, struct err *e)
{
    *k = realm_witnesses (rl);
    return option ? witnesses_parse (option, k, e) : 0;
}

int audit_verdict (struct cli *c, struct realm *rl, const struct verdict *v, struct bytes envelope, uint64_t k, struct inclusion *in, struct err *e)
{
    struct auditor *CLEANUP (auditor_close) a = NULL;
    struct inclusion CLEANUP (inclusion_release) own = { 0 };
    return auditor_open (&a, c, rl, v->verifier, e) == -1 || auditor_newest (a, e) == -1 || (k && auditor_witnessed (a, k, e) == -1)
                   || auditor_include (a, k ? &a->witnessed : &a->newest, envelope, v->index, in ? in : &own, e) == -1
               ? -1 : 0;
}
