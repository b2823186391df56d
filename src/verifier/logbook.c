#include "verifier/logbook.h"

#include <stdio.h>
#include <string.h>

#include "verifier/checkpoint.h"

uint64_t logbook_size (const struct logbook *b)
{
    return ledger_next_index (b->ledger) - 1;
}

/* Owners that were met, each once. */
struct owners {
    const char *v[WITNESSES_MAX];
    size_t n;
};

static bool meet (struct owners *o, const char *owner)
{
    for (size_t i = 0; i < o->n; i++)
        if (!strcmp (o->v[i], owner))
            return false;
    if (o->n == WITNESSES_MAX)
        return false;
    o->v[o->n++] = owner;
    return true;
}

static const struct principal *witness (const struct logbook *b, const char *name)
{
    const struct principal *self = roster_find (b->roster, b->name), *p = roster_find (b->roster, name);
    return self && p && witness_good (p, self) ? p : NULL;
}

struct lines {
    const struct logbook *b;
    struct owners owners;
    struct buf *out;
};

static int add_line (void *arg, const char *name, struct bytes line)
{
    struct lines *l = arg;
    const struct principal *p = witness (l->b, name);
    if (p && meet (&l->owners, p->owner))
        buf_add (l->out, line.p, line.len);
    return 0;
}

int logbook_at (const struct logbook *b, uint64_t size, struct buf *out, struct err *e)
{
    char origin[NOTE_NAME];
    struct digest root;
    struct tlog_source src = ledger_tiles (b->ledger);
    struct lines lines = { .b = b, .out = out };
    BUF (text);
    if (tlog_root (&src, size, &root, e) == -1)
        return -1;
    note_origin (b->root_key, b->name, origin);
    note_text (origin, size, &root, &text);
    buf_add (out, text.p, text.len);
    buf_adds (out, "\n");
    note_sign (origin, buf_bytes (&text), b->key, out);
    return ledger_cosignatures (b->ledger, size, add_line, &lines, e);
}

struct search {
    const struct logbook *b;
    struct owners owners;           /* of the size at hand */
    uint64_t want, size, found;
};

static int see_cosigned (void *arg, uint64_t size, const char *name)
{
    struct search *s = arg;
    const struct principal *p = witness (s->b, name);
    if (size != s->size)
        s->owners.n = 0;
    s->size = size;
    if (p && meet (&s->owners, p->owner) && s->owners.n >= s->want)
        s->found = size;
    return s->found != 0;
}

int logbook_checkpoint (const struct logbook *b, uint64_t witnesses, struct buf *note, struct err *e)
{
    struct search s = { .b = b, .want = witnesses };
    if (witnesses == 0)
        return logbook_at (b, logbook_size (b), note, e);
    if (ledger_cosigned (b->ledger, see_cosigned, &s, e) == -1)
        return -1;
    if (s.found == 0)
        return err_code (e, EC_NOT_FOUND, "no checkpoint has %llu witnesses of different owners yet (`assay audit --cosign` makes one)", (unsigned long long) witnesses);
    return logbook_at (b, s.found, note, e);
}

int logbook_prove (const struct logbook *b, uint64_t kind, uint64_t at, uint64_t size, struct tlog_path *path, struct err *e)
{
    struct tlog_source src = ledger_tiles (b->ledger);
    uint64_t have = logbook_size (b);
    if (size > have)
        return err_code (e, EC_NOT_FOUND, "the log has %llu verdicts, not %llu", (unsigned long long) have, (unsigned long long) size);
    if (kind != PROOF_INCLUSION && kind != PROOF_GROWTH)
        return err_code (e, EC_MALFORMED, "a proof is of kind 1 or 2");
    return kind == PROOF_INCLUSION ? tlog_prove (&src, at, size, path, e) : tlog_prove_growth (&src, at, size, path, e);
}

/* The witness's own line, in a checkpoint that is really ours. */
static int check_cosign (const struct logbook *b, const struct note *n, const struct principal *who, struct buf *line, struct err *e)
{
    char origin[NOTE_NAME], name[NOTE_NAME];
    struct digest root;
    struct tlog_source src = ledger_tiles (b->ledger);
    note_origin (b->root_key, b->name, origin);
    note_witness (origin, who->name, name);
    if (!strcmp (who->name, b->name))
        return err_code (e, EC_NOT_ALLOWED, "cosign: a verifier is no witness of its own log");
    if (strcmp (n->origin, origin) || n->size == 0 || n->size > logbook_size (b))
        return err_code (e, EC_CONFLICT, "cosign: it is no checkpoint of this log");
    if (tlog_root (&src, n->size, &root, e) == -1)
        return -1;
    if (!digest_eq (&root, &n->root) || note_check (n, origin, b->key->pub, e) == -1)
        return err_code (e, EC_CONFLICT, "cosign: it is no checkpoint of this log");
    if (note_check (n, name, who->sign_key, e) == -1)
        return -1;
    for (size_t i = 0; i < n->n && line->len == 0; i++)
        if (!strcmp (n->v[i].name, name) && signature_good (who->sign_key, buf_bytes (&n->text), n->v[i].sig))
            note_line (&n->v[i], line);
    return 0;
}

int logbook_cosign (const struct logbook *b, struct bytes raw, const struct principal *who, struct err *e)
{
    struct note n;
    BUF (line);
    int rc = note_parse (raw, &n, e);
    if (rc == 0)
        rc = check_cosign (b, &n, who, &line, e);
    if (rc == 0 && (rc = ledger_begin (b->ledger, e)) == 0) {
        rc = ledger_cosign (b->ledger, n.size, who->name, buf_bytes (&line), e);
        if (rc == 0)
            rc = ledger_commit (b->ledger, e);
        else
            ledger_rollback (b->ledger);
    }
    note_release (&n);
    return rc;
}
