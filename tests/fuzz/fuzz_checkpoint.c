/* Any bytes as a checkpoint and as an inclusion proof: parsed within their bounds, written again as the very same bytes, and never taken as signed by
 * somebody or as a proof of anything that we did not make. Then the same with signatures that hold: what follows on them is reached, too. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/world.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static struct world *w;

static void named (const struct err *e)
{
    if (e->code == EC_NONE || !e->msg[0])
        abort ();
}

static void check_note (struct bytes raw)
{
    static const uint8_t nobody[32] = { 9 }; /* a point of small order: nothing may verify under it */
    struct err e = ERR_INIT;
    struct note n;
    if (note_parse (raw, &n, &e) == -1) {
        named (&e);
        note_release (&n);
        return;
    }
    BUF (again);
    note_text (n.origin, n.size, &n.root, &again);
    if (!bytes_eq (buf_bytes (&again), buf_bytes (&n.text)))
        abort ();
    buf_adds (&again, "\n");
    for (size_t i = 0; i < n.n; i++)
        note_line (&n.v[i], &again);
    if (!bytes_eq (buf_bytes (&again), raw) || n.n == 0 || n.n > NOTE_SIGNATURES)
        abort ();
    for (size_t i = 0; i < n.n; i++)
        if (note_check (&n, n.v[i].name, nobody, NULL) == 0)
            abort ();
    struct note old = n;
    struct tlog_path empty = { .n = 0 };
    old.size = n.size / 2 + 1;
    if (old.size < n.size && checkpoint_extends (&old, &n, &empty, &e) == 0)
        abort ();
    note_release (&n);
}

static void check_proof (struct bytes raw)
{
    struct err e = ERR_INIT;
    struct inclusion in;
    if (inclusion_parse (raw, &in, &e) == -1) {
        named (&e);
        inclusion_release (&in);
        return;
    }
    BUF (again);
    inclusion_text (&in, &again);
    if (!bytes_eq (buf_bytes (&again), raw) || in.path.n > TLOG_PATH_MAX)
        abort ();
    struct note n;
    if (note_parse (buf_bytes (&in.note), &n, NULL) == 0 && inclusion_check (&in, &n, raw, &e) == 0)
        abort (); /* an entry that holds its own proof */
    note_release (&n);
    inclusion_release (&in);
}

/* Paths out of the bytes, against checks of any size. */
static void check_paths (struct bytes raw)
{
    struct tlog_path p = { .n = 0 };
    uint64_t a = 0, b = 0;
    if (raw.len < 16)
        return;
    memcpy (&a, raw.p, 8);
    memcpy (&b, raw.p + 8, 8);
    for (size_t at = 16; at + 32 <= raw.len && p.n < TLOG_PATH_MAX; at += 32)
        memcpy (p.v[p.n++].b, raw.p + at, 32);
    struct digest leaf = tlog_leaf (raw), root = tlog_empty ();
    if (tlog_check (&leaf, a, b, &p, &root) || (a != b && a && tlog_check_growth (a, &leaf, b, &root, &p)))
        abort ();
}

/* As the command line does it: a roster that knows nobody takes no checkpoint. */
static void check_nobody (struct bytes raw)
{
    static const uint8_t root[32] = { 3 };
    struct roster *r = roster_new (root);
    const struct principal *verifier;
    struct err e = ERR_INIT;
    struct note n;
    if (checkpoint_open (r, root, raw, &n, &verifier, &e) == 0)
        abort ();
    named (&e);
    roster_destroy (&r);
}

/* Of witnesses, an owner counts once, and never the verifier's. */
static void check_witnesses (const struct note *n, const struct principal *verifier)
{
    struct err e = ERR_INIT;
    struct witnesses by;
    if (checkpoint_witnesses (w->roster, n, verifier, &by, &e) == -1) {
        named (&e);
        return;
    }
    if (by.n >= n->n)
        abort ();
    for (size_t i = 0; i < by.n; i++) {
        if (!strcmp (by.v[i]->owner, verifier->owner))
            abort ();
        for (size_t k = 0; k < i; k++)
            if (!strcmp (by.v[i]->owner, by.v[k]->owner))
                abort ();
    }
}

/* A checkpoint that is taken under the world's keys is one that they signed: its root is that of their log. */
static void check_open (struct bytes raw)
{
    const struct principal *verifier;
    struct err e = ERR_INIT;
    struct note n;
    if (checkpoint_open (w->roster, w->root.pub, raw, &n, &verifier, &e) == -1) {
        named (&e);
        return;
    }
    struct digest root;
    if (strcmp (verifier->name, "verifier") || n.size > WORLD_LOG)
        abort ();
    root = world_log_root (w, n.size);
    if (!digest_eq (&root, &n.root))
        abort ();
    check_witnesses (&n, verifier);
    note_release (&n);
}

/* Grown out of, and into, the log that we have: only where it is the same log. */
static void check_growth (const struct note *n)
{
    struct note own = { .size = 37 };
    struct tlog_path path = { .n = 0 };
    struct err e = ERR_INIT;
    memcpy (own.origin, n->origin, sizeof own.origin);
    own.root = world_log_root (w, own.size);
    bool fits = n->size <= WORLD_LOG && n->size > 0;
    struct digest root = fits ? world_log_root (w, n->size) : tlog_empty ();
    bool same = fits && digest_eq (&root, &n->root);
    if (fits && n->size >= own.size)
        world_log_growth (w, own.size, n->size, &path);
    if ((checkpoint_extends (&own, n, &path, &e) == 0) != (same && n->size >= own.size))
        abort ();
    path.n = 0;
    if (fits && n->size <= own.size)
        world_log_growth (w, n->size, own.size, &path);
    if (fits && (checkpoint_extends (n, &own, &path, &e) == 0) != (same && n->size <= own.size))
        abort ();
}

/* The text, whatever it says, with signatures of the world's keys: taken where it is of the world's log, with its witnesses. */
static void check_signed (struct bytes raw, unsigned witnesses)
{
    const struct principal *verifier;
    char origin[NOTE_NAME];
    struct err e = ERR_INIT;
    struct note n, own;
    BUF (again);
    if (note_parse (raw, &n, NULL) == 0) {
        note_origin (w->root.pub, "verifier", origin);
        world_note (w, buf_bytes (&n.text), witnesses, &again);
        int rc = checkpoint_open (w->roster, w->root.pub, buf_bytes (&again), &own, &verifier, &e);
        if ((rc == 0) != !strcmp (n.origin, origin))
            abort ();
        if (rc == 0) {
            struct witnesses by;
            if (checkpoint_witnesses (w->roster, &own, verifier, &by, &e) == -1 || by.n != witnesses)
                abort ();
            check_growth (&own);
            note_release (&own);
        } else
            named (&e);
    }
    note_release (&n);
}

/* The proof with its checkpoint signed anew, for each of the first entries: where the checkpoint is the log's, it shows the entry at its place only. */
static void check_included (struct bytes raw)
{
    struct inclusion in;
    struct note n;
    struct err e = ERR_INIT;
    if (inclusion_parse (raw, &in, NULL) == 0 && note_parse (buf_bytes (&in.note), &n, NULL) == 0) {
        struct digest root = n.size && n.size <= WORLD_LOG ? world_log_root (w, n.size) : tlog_empty ();
        for (unsigned i = 2; i < 12; i++) {
            char entry[16];
            int len = snprintf (entry, sizeof entry, "entry %u", i);
            if (inclusion_check (&in, &n, bytes_of (entry, (size_t) len), &e) == -1)
                named (&e);
            else if (digest_eq (&root, &n.root) && in.index != i)
                abort ();
        }
        note_release (&n);
    }
    inclusion_release (&in);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    struct bytes raw = bytes_of (data, size);
    if (!w)
        w = world_new ();
    check_note (raw);
    check_proof (raw);
    check_paths (raw);
    check_nobody (raw);
    check_open (raw);
    check_signed (raw, (unsigned) (size % (WORLD_WORKERS + 1)));
    check_included (raw);
    return 0;
}
