#include "verifier/checkpoint.h"

#include <string.h>

#define PROOF_HEAD "c2sp.org/tlog-proof@v1\n"
#define ULL(n) ((unsigned long long) (n))

bool witness_good (const struct principal *p, const struct principal *verifier)
{
    return principal_good (p) && strcmp (p->name, verifier->name) && strcmp (p->owner, verifier->owner);
}

static int check_origin (const struct roster *r, const uint8_t root_key[32], const struct note *n, const struct principal **verifier, struct err *e)
{
    char origin[NOTE_NAME];
    const char *slash = strrchr (n->origin, '/');
    const struct principal *p = slash ? roster_find (r, slash + 1) : NULL;
    if (!p || !(p->roles & ROLE_VERIFIER))
        return err_code (e, EC_DAMAGED, "checkpoint: \"%s\" is the log of no verifier in the roster", n->origin);
    note_origin (root_key, p->name, origin);
    if (strcmp (origin, n->origin))
        return err_code (e, EC_DAMAGED, "checkpoint: \"%s\" is a log of another realm", n->origin);
    *verifier = p;
    if (n->n == 0 || strcmp (n->v[0].name, origin))
        return err_code (e, EC_BAD_SIGNATURE, "checkpoint: its first signature is not the verifier's");
    return note_check (n, origin, p->sign_key, e);
}

int checkpoint_open (const struct roster *r, const uint8_t root_key[32], struct bytes raw, struct note *n, const struct principal **verifier, struct err *e)
{
    *verifier = NULL;
    int rc = note_parse (raw, n, e);
    if (rc == 0)
        rc = check_origin (r, root_key, n, verifier, e);
    if (rc == -1)
        note_release (n);
    return rc;
}

/* The principal under whose name the signature is, or NULL. */
static const struct principal *signer (const struct roster *r, const struct note *n, const char *name)
{
    size_t len = strlen (n->origin);
    return !strncmp (name, n->origin, len) && name[len] == '/' ? roster_find (r, name + len + 1) : NULL;
}

static bool owner_known (const struct witnesses *w, const char *owner)
{
    for (size_t i = 0; i < w->n; i++)
        if (!strcmp (w->v[i]->owner, owner))
            return true;
    return false;
}

int checkpoint_witnesses (const struct roster *r, const struct note *n, const struct principal *verifier, struct witnesses *w, struct err *e)
{
    w->n = 0;
    for (size_t i = 1; i < n->n; i++) {
        const struct principal *p = signer (r, n, n->v[i].name);
        if (!p || !note_names (&n->v[i], p->sign_key))
            continue;
        if (note_check (n, n->v[i].name, p->sign_key, e) == -1)
            return -1;
        if (witness_good (p, verifier) && !owner_known (w, p->owner) && w->n < WITNESSES_MAX)
            w->v[w->n++] = p;
    }
    return 0;
}

int checkpoint_extends (const struct note *old, const struct note *now, const struct tlog_path *path, struct err *e)
{
    if (strcmp (old->origin, now->origin))
        return err_code (e, EC_DAMAGED, "they are of two logs");
    if (now->size < old->size)
        return err_code (e, EC_DAMAGED, "the log had %llu verdicts, and now has %llu", ULL (old->size), ULL (now->size));
    if (now->size == old->size && !digest_eq (&old->root, &now->root))
        return err_code (e, EC_DAMAGED, "there are two different logs of %llu verdicts", ULL (now->size));
    if (!tlog_check_growth (old->size, &old->root, now->size, &now->root, path))
        return err_code (e, EC_DAMAGED, "that the log of %llu verdicts begins with the %llu seen before is not proven", ULL (now->size), ULL (old->size));
    return 0;
}

/* ---- a proof with its checkpoint ---- */

void inclusion_release (struct inclusion *in)
{
    buf_release (&in->note);
    memset (in, 0, sizeof *in);
}

void inclusion_text (const struct inclusion *in, struct buf *out)
{
    buf_addf (out, PROOF_HEAD "index %llu\n", ULL (in->index));
    for (size_t i = 0; i < in->path.n; i++) {
        base64_add (out, bytes_of (in->path.v[i].b, 32));
        buf_adds (out, "\n");
    }
    buf_adds (out, "\n");
    buf_add (out, in->note.p, in->note.len);
}

static int take_path (struct bytes *rest, struct inclusion *in, struct err *e)
{
    struct bytes one;
    for (;;) {
        BUF (raw);
        if (!note_next_line (rest, &one))
            return err_code (e, EC_MALFORMED, "inclusion proof: it ends before its checkpoint");
        if (one.len == 0)
            return 0;
        if (in->path.n == TLOG_PATH_MAX)
            return err_code (e, EC_OVERSIZED, "inclusion proof: more than %u hashes", TLOG_PATH_MAX);
        if (!base64_decode (one, &raw) || raw.len != 32)
            return err_code (e, EC_MALFORMED, "inclusion proof: hash %zu is none", in->path.n + 1);
        memcpy (in->path.v[in->path.n++].b, raw.p, 32);
    }
}

int inclusion_parse (struct bytes text, struct inclusion *in, struct err *e)
{
    static const char index[] = "index ";
    struct bytes rest = text, head, number;
    memset (in, 0, sizeof *in);
    if (text.len > INCLUSION_MAX)
        return err_code (e, EC_OVERSIZED, "inclusion proof: %zu bytes (at most %u)", text.len, INCLUSION_MAX);
    if (!note_next_line (&rest, &head) || !bytes_eq (bytes_of (head.p, head.len + 1), bytes_str (PROOF_HEAD)))
        return err_code (e, EC_MALFORMED, "inclusion proof: its first line is not c2sp.org/tlog-proof@v1");
    if (!note_next_line (&rest, &number) || number.len < sizeof index || memcmp (number.p, index, sizeof index - 1)
        || !note_number (bytes_of (number.p + sizeof index - 1, number.len - sizeof index + 1), &in->index))
        return err_code (e, EC_MALFORMED, "inclusion proof: its second line is no index");
    if (take_path (&rest, in, e) == -1)
        return -1;
    if (rest.len == 0)
        return err_code (e, EC_MALFORMED, "inclusion proof: it has no checkpoint");
    buf_add (&in->note, rest.p, rest.len);
    return 0;
}

int inclusion_check (const struct inclusion *in, const struct note *n, struct bytes entry, struct err *e)
{
    struct digest leaf = tlog_leaf (entry);
    if (!tlog_check (&leaf, in->index, n->size, &in->path, &n->root))
        return err_code (e, EC_DAMAGED, "inclusion proof: it does not show the verdict as entry %llu of the log of %llu", ULL (in->index), ULL (n->size));
    return 0;
}
