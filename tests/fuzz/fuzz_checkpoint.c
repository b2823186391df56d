/* Any bytes as a checkpoint and as an inclusion proof: parsed within their bounds, written again as the very same bytes, and never taken as signed by
 * somebody or as a proof of anything that we did not make. */
#include <stdlib.h>
#include <string.h>

#include "verifier/checkpoint.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

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
static void check_open (struct bytes raw)
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

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    struct bytes raw = bytes_of (data, size);
    check_note (raw);
    check_proof (raw);
    check_paths (raw);
    check_open (raw);
    return 0;
}
