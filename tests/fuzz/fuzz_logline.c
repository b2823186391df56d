/* Any bytes as the log's lines of a bundle: what is taken was signed by the verifier and its witnesses. And any proofs, their checkpoints signed anew: what
 * is taken then has each verdict at its place under one checkpoint, by a computation of its own. */
#include <stdlib.h>
#include <string.h>

#include "cli/logline.h"
#include "tests/fuzz/world.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static struct world *w;
static struct proof *proof;
static struct buf statements;

/* The root that a path leads to, from the definition: the larger half of a log is the largest power of two below its size. */
static bool climb (const struct digest *leaf, uint64_t index, uint64_t size, const struct tlog_path *p, size_t n, struct digest *root)
{
    struct digest below;
    uint64_t half = 1;
    if (size <= 1) {
        *root = *leaf;
        return index == 0 && size == 1 && n == 0;
    }
    if (n == 0)
        return false;
    while (half < size - half)
        half *= 2;
    bool right = index >= half;
    if (!climb (leaf, right ? index - half : index, right ? size - half : half, p, n - 1, &below))
        return false;
    *root = right ? tlog_node (&p->v[n - 1], &below) : tlog_node (&below, &p->v[n - 1]);
    return true;
}

static int taken (struct bytes lines, uint64_t k, struct logline *out)
{
    struct err e = ERR_INIT;
    int rc = logline_check (w->roster, w->root.pub, proof, buf_bytes (&statements), lines, k, out, &e);
    if (rc == -1 && (!e.msg[0] || (e.kind != ERR_DAMAGED && e.kind != ERR_UNTRUSTED)))
        abort ();
    if (rc == 0 && (out->witnesses.n < k || out->witnesses.n > WORLD_WORKERS || (out->size == 0) != (lines.len == 0)))
        abort ();
    return rc;
}

/* Signed by our keys: then it is a log that they signed (its seeds have no others). */
static void as_it_is (struct bytes lines)
{
    for (uint64_t k = 0; k <= 2; k++) {
        struct logline out;
        if (taken (lines, k, &out) == 0 && out.size && out.size != WORLD_LOG && out.size != 2 && out.size != 37)
            abort ();
    }
}

/* A line as logline_text makes it, or any JSON of that form: its proof, with a checkpoint signed anew. */
static bool sign_line (const char *text, size_t len, unsigned witnesses, struct buf *out, struct inclusion *in)
{
    struct note n;
    bool good = inclusion_parse (bytes_of (text, len), in, NULL) == 0 && note_parse (buf_bytes (&in->note), &n, NULL) == 0;
    if (!good) {
        inclusion_release (in);
        return false;
    }
    in->note.len = 0;
    world_note (w, buf_bytes (&n.text), witnesses, &in->note);
    logline_text (in, out);
    note_release (&n);
    return true;
}

/* Lines of plain proofs, parted by a line "--". */
static void signed_anew (struct bytes raw)
{
    static const char part[] = "\n--\n";
    struct inclusion in[3];
    size_t n = 0;
    BUF (lines);
    while (raw.len && n < 3) {
        const uint8_t *end = memmem (raw.p, raw.len, part, strlen (part));
        size_t len = end ? (size_t) (end - raw.p) + 1 : raw.len; /* with its newline */
        if (!sign_line ((const char *) raw.p, len, (unsigned) (raw.len % (WORLD_WORKERS + 1)), &lines, &in[n]))
            break;
        n++;
        size_t skip = end ? len + strlen (part) - 1 : len;
        raw = bytes_of (raw.p + skip, raw.len - skip);
    }
    struct logline out;
    if (n && taken (buf_bytes (&lines), 0, &out) == 0) {
        struct digest first;
        if (n != proof_count (proof))
            abort ();
        for (size_t i = 0; i < n; i++) {
            struct digest leaf = tlog_leaf (logline_verdict (proof, buf_bytes (&statements), i)), root;
            struct note note;
            if (in[i].index + 1 != proof_group (proof, i)->verdict.index || note_parse (buf_bytes (&in[i].note), &note, NULL) == -1)
                abort ();
            if (!climb (&leaf, in[i].index, note.size, &in[i].path, in[i].path.n, &root) || !digest_eq (&root, &note.root) || note.size != out.size)
                abort ();
            if (i == 0)
                first = root;
            if (!digest_eq (&root, &first))
                abort ();
            note_release (&note);
        }
    }
    for (size_t i = 0; i < n; i++)
        inclusion_release (&in[i]);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    struct bytes in = bytes_of (data, size);
    if (!w) {
        w = world_new ();
        proof = proof_new (w->roster);
        world_bundle (w, &statements);
        if (proof_add (proof, buf_bytes (&statements), NULL) == -1)
            abort ();
    }
    struct bytes before, lines;
    struct err e = ERR_INIT;
    if (logline_split (in, &before, &lines, &e) == -1 ? !e.msg[0] : before.len + lines.len != in.len)
        abort ();
    as_it_is (in);
    signed_anew (in);
    return 0;
}
