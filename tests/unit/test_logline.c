/* The lines of the log in a bundle: what is missing, doubled, moved, altered, signed by the wrong one or about something else is refused and named. */
#include "cli/logline.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/fuzz/world.h"

#define SIZE 37u

static int check (const struct world *w, struct bytes lines, uint64_t k, struct logline *out, struct err *e)
{
    BUF (statements);
    struct proof *p = proof_new (w->roster);
    *e = (struct err) ERR_INIT;
    world_bundle (w, &statements);
    cr_assert_eq (proof_add (p, buf_bytes (&statements), e), 0, "%s", e->msg);
    int rc = logline_check (w->roster, w->root.pub, p, buf_bytes (&statements), lines, k, out, e);
    proof_destroy (&p);
    return rc;
}

/* The bundle begins with "test", entry 1 of the log; then comes "build", entry 0. */
static void line_of (const struct world *w, uint64_t index, uint64_t size, unsigned witnesses, struct buf *out)
{
    struct inclusion in;
    world_inclusion (w, index, size, witnesses, &in);
    logline_text (&in, out);
    inclusion_release (&in);
}

static void both (const struct world *w, unsigned witnesses, struct buf *out)
{
    line_of (w, 1, SIZE, witnesses, out);
    line_of (w, 0, SIZE, witnesses, out);
}

Test (logline, lines_that_hold)
{
    struct world *w = world_new ();
    struct logline out;
    struct err e;
    for (unsigned witnesses = 0; witnesses <= WORLD_WORKERS; witnesses++)
        for (uint64_t k = 0; k <= WORLD_WORKERS + 1; k++) {
            BUF (lines);
            both (w, witnesses, &lines);
            int rc = check (w, buf_bytes (&lines), k, &out, &e);
            cr_assert_eq (rc, k <= witnesses ? 0 : -1, "%u of %u: %s", witnesses, (unsigned) k, e.msg);
            cr_assert (rc == 0 ? out.size == SIZE && out.witnesses.n == witnesses : e.kind == ERR_UNTRUSTED && strstr (e.msg, "witnesses of different owners"), "%s", e.msg);
            /* without its last newline, too */
            cr_assert_eq (check (w, bytes_of (lines.p, lines.len - 1), k, &out, &e), rc, "%s", e.msg);
        }
    for (uint64_t size = 2; size <= WORLD_LOG; size += 9) {
        BUF (lines);
        line_of (w, 1, size, 0, &lines);
        line_of (w, 0, size, 0, &lines);
        cr_assert_eq (check (w, buf_bytes (&lines), 0, &out, &e), 0, "%s", e.msg);
        cr_assert_eq (out.size, size);
    }
    cr_assert_eq (check (w, bytes_of (NULL, 0), 0, &out, &e), 0);
    cr_assert_eq (out.size, 0u);
    cr_assert (check (w, bytes_of (NULL, 0), 1, &out, &e) == -1 && e.kind == ERR_UNTRUSTED && strstr (e.msg, "does not show that its verdict is in the log"));
    world_destroy (&w);
}

Test (logline, they_come_last)
{
    static const struct {
        const char *bundle;
        int begin; /* -1: refused */
    } rows[] = {
        { "", 0 }, { "\n", 1 }, { "a\nb\n", 4 }, { "a\nb", 3 },
        { "{\"tlogProof\":", 13 }, { "{\"tlogProof\"", 12 }, { "x{\"tlogProof\": 1}\n", 18 }, { " {\"tlogProof\":1}", 16 }, /* none of these is one */
        { "{\"tlogProof\":1}", 0 }, { "a\n\n{\"tlogProof\":1}\n", 3 }, { "a\n{\"tlogProof\":1}\n{\"tlogProof\":2}", 2 },
        { "a\n{\"tlogProof\":1}\nb", -1 }, { "{\"tlogProof\":1}\n\n", -1 }, { "{\"tlogProof\":1}\n{\"tlogProof\" :2}\n", -1 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct bytes statements, lines, in = bytes_str (rows[i].bundle);
        struct err e = ERR_INIT;
        int rc = logline_split (in, &statements, &lines, &e);
        cr_assert_eq (rc, rows[i].begin == -1 ? -1 : 0, "row %zu", i);
        if (rc == 0)
            cr_assert (statements.len == (size_t) rows[i].begin && statements.p == in.p && lines.p == in.p + statements.len && lines.len == in.len - statements.len, "row %zu: %zu", i, statements.len);
        else
            cr_assert (e.code == EC_MALFORMED && strstr (e.msg, "line "), "row %zu: %s", i, e.msg);
    }
}

/* What a lie changes; all but the first line, or the checkpoint, is as it should be. */
enum lie {
    NONE, DROPPED, TRUNCATED, MORE, SWAPPED, DOUBLED, TWO_CHECKPOINTS, OTHER_ENTRY, INDEX_ONLY, INDEX_HUGE, PATH_SHORT, PATH_LONG, PATH_ORDER, SIZE_SAID, ROOT_SAID, SIGNED_BY_WORKER, OTHER_REALM, NO_VERIFIER,
    WITNESS_FIRST, WITNESS_FORGED, WITNESS_TWICE, WITNESS_UNKNOWN, UNSIGNED, NO_CHECKPOINT, LIES
};

/* A checkpoint of the log, signed by `key` under the verifier's name. */
static void note_by (const struct sign_key *key, const char *origin, uint64_t size, const struct digest *root, struct buf *out)
{
    BUF (text);
    note_text (origin, size, root, &text);
    out->len = 0;
    buf_add (out, text.p, text.len);
    buf_adds (out, "\n");
    note_sign (origin, buf_bytes (&text), key, out);
}

/* One more signature under a worker's name, by the key `by`; hash: the key that it says it is of. */
static void cosign (const struct world *w, const char *origin, const char *who, const struct sign_key *hash, const struct sign_key *by, struct buf *note)
{
    struct digest root = world_log_root (w, SIZE);
    struct sign_key mixed = { .sec = by->sec };
    char name[NOTE_NAME];
    BUF (text);
    memcpy (mixed.pub, hash->pub, 32);
    note_text (origin, SIZE, &root, &text);
    note_witness (origin, who, name);
    note_sign (name, buf_bytes (&text), &mixed, note);
}

static void told (const struct world *w, enum lie lie, struct buf *out)
{
    struct inclusion in;
    struct digest root = world_log_root (w, SIZE), other = world_log_root (w, SIZE - 1);
    uint8_t elsewhere[32] = { 1 };
    char origin[NOTE_NAME], foreign[NOTE_NAME], worker[NOTE_NAME];
    note_origin (w->root.pub, "verifier", origin);
    note_origin (elsewhere, "verifier", foreign);
    note_origin (w->root.pub, "w0", worker);
    world_inclusion (w, lie == SWAPPED ? 0 : lie == OTHER_ENTRY ? 2 : 1, lie == TWO_CHECKPOINTS ? SIZE - 1 : SIZE, 0, &in);
    if (lie == INDEX_ONLY)
        in.index = 0;
    if (lie == INDEX_HUGE)
        in.index = UINT64_C (999999999999999999);
    if (lie == PATH_SHORT)
        in.path.n--;
    if (lie == PATH_LONG)
        in.path.v[in.path.n++] = root;
    if (lie == PATH_ORDER) {
        struct digest x = in.path.v[0];
        in.path.v[0] = in.path.v[1], in.path.v[1] = x;
    }
    if (lie == SIZE_SAID)
        note_by (&w->verifier, origin, SIZE - 1, &root, &in.note);
    if (lie == ROOT_SAID)
        note_by (&w->verifier, origin, SIZE, &other, &in.note);
    if (lie == SIGNED_BY_WORKER)
        note_by (&w->worker[0], origin, SIZE, &root, &in.note);
    if (lie == OTHER_REALM)
        note_by (&w->verifier, foreign, SIZE, &root, &in.note);
    if (lie == NO_VERIFIER)
        note_by (&w->worker[0], worker, SIZE, &root, &in.note);
    if (lie == WITNESS_FIRST) {
        in.note.len = 0;
        note_text (origin, SIZE, &root, &in.note);
        buf_adds (&in.note, "\n");
        cosign (w, origin, "w0", &w->worker[0], &w->worker[0], &in.note);
    }
    if (lie == WITNESS_FORGED)
        cosign (w, origin, "w1", &w->worker[1], &w->worker[0], &in.note);
    if (lie == WITNESS_UNKNOWN)
        cosign (w, origin, "stranger", &w->worker[0], &w->worker[0], &in.note);
    for (int i = 0; lie == WITNESS_TWICE && i < 2; i++)
        cosign (w, origin, "w1", &w->worker[1], &w->worker[1], &in.note);
    if (lie == UNSIGNED)
        in.note.len = (size_t) (strstr (buf_str (&in.note), "\n\n") - (char *) in.note.p) + 2;
    if (lie == NO_CHECKPOINT)
        in.note.len = 0;
    if (lie != DROPPED)
        logline_text (&in, out);
    if (lie == DOUBLED)
        logline_text (&in, out);
    inclusion_release (&in);
    if (lie != TRUNCATED)
        line_of (w, lie == SWAPPED ? 1 : 0, SIZE, 0, out);
    if (lie == MORE)
        line_of (w, 0, SIZE, 0, out);
}

Test (logline, a_lie_is_found_out)
{
    static const struct {
        enum lie lie;
        const char *why; /* NULL: it holds, and nothing is gained by it */
    } rows[] = {
        { NONE, NULL },
        { DROPPED, "it is about entry 0 of the log, and the verdict is number 2" },
        { TRUNCATED, "truncated: no line of the log for the verdict on step build" },
        { MORE, "more lines than there are verdicts" },
        { SWAPPED, "it is about entry 0 of the log, and the verdict is number 2" },
        { DOUBLED, "it is about entry 1 of the log, and the verdict is number 1" },
        { TWO_CHECKPOINTS, "step build: it is of another checkpoint than the first" },
        { OTHER_ENTRY, "it is about entry 2 of the log, and the verdict is number 2" },
        { INDEX_ONLY, "it is about entry 0" },
        { INDEX_HUGE, "it is about entry 999999999999999999" },
        { PATH_SHORT, "does not show the verdict as entry 1 of the log of 37" },
        { PATH_LONG, "does not show the verdict" },
        { PATH_ORDER, "does not show the verdict" },
        { SIZE_SAID, "step build: it is of another checkpoint than the first" },
        { ROOT_SAID, "does not show the verdict" },
        { SIGNED_BY_WORKER, "not signed by assay/verdicts/" },
        { OTHER_REALM, "is a log of another realm" },
        { NO_VERIFIER, "is the log of no verifier in the roster" },
        { WITNESS_FIRST, "its first signature is not the verifier's" },
        { WITNESS_FORGED, "/w1 does not hold" },
        { WITNESS_TWICE, "signature 3 is by the same key as signature 2" },
        { WITNESS_UNKNOWN, NULL },
        { UNSIGNED, "not signed" },
        { NO_CHECKPOINT, "it has no checkpoint" },
    };
    cr_assert_eq (sizeof rows / sizeof *rows, (size_t) LIES);
    struct world *w = world_new ();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct logline out;
        struct err e;
        BUF (lines);
        told (w, rows[i].lie, &lines);
        int rc = check (w, buf_bytes (&lines), 0, &out, &e);
        if (rows[i].why)
            cr_assert (rc == -1 && e.kind == ERR_DAMAGED && strstr (e.msg, rows[i].why), "row %zu: %d \"%s\", not \"%s\"", i, (int) e.kind, e.msg, rows[i].why);
        else
            cr_assert (rc == 0 && out.size == SIZE && out.witnesses.n == 0, "row %zu: %s", i, e.msg);
    }
    world_destroy (&w);
}

Test (logline, lines_of_another_form)
{
    static const struct {
        const char *before, *after, *why; /* around the text of a proof that holds; NULL after: nothing else */
    } rows[] = {
        { "{\"tlogProof\":\"", "\",\"more\":1}", "not {" },
        { "{\"tlogProof\":\"\",\"tlogProof\":\"", "\"}", "not {" },
        { "{\"tlogProof\":[\"", "\"]}", "not {" },
        { "{\"tlogProof\":{\"a\":\"", "\"}}", "not {" },
        { "{\"tlogProof\":\"", "\"} {}", "not {" },
        { "{\"tlogProof\":\"", "\"", "not {" },
        { "{\"tlogProof\":\"", "\\u0000\"}", "not {" },
        { "{\"tlogProof\":\"", "\\n\"}", "signature 2 is none" },
        { "{\"tlogProof\":\" ", "\"}", "first line is not" },
        { "{\"tlogProof\":\"\\n", "\"}", "first line is not" },
        { "{\"tlogProof\":1}", NULL, "not {" },
        { "{\"tlogProof\":null}", NULL, "not {" },
        { "{\"tlogProof\":\"\"}", NULL, "first line is not" },
        { "{\"tlogProof\":\"c2sp.org/tlog-proof@v2\\nindex 1\\n\\nx\\n\"}", NULL, "first line is not" },
        { "{\"tlogProof\":\"c2sp.org/tlog-proof@v1\\nindex 01\\n\\nx\\n\"}", NULL, "no index" },
        { "{\"tlogProof\":\"c2sp.org/tlog-proof@v1\\nindex -1\\n\\nx\\n\"}", NULL, "no index" },
        { "{\"tlogProof\":\"c2sp.org/tlog-proof@v1\\nindex 18446744073709551616\\n\\nx\\n\"}", NULL, "no index" },
        { "{\"tlogProof\":\"c2sp.org/tlog-proof@v1\\nindex 1\\nAAAA\\n\\nx\\n\"}", NULL, "hash 1 is none" },
        { "{\"tlogProof\":\"c2sp.org/tlog-proof@v1\\nindex 1\\n\"}", NULL, "ends before its checkpoint" },
        { "{\"tlogProof\":\"c2sp.org/tlog-proof@v1\\nindex 1\\n\\nx\\n\"}", NULL, "second line is no size" },
        { "", NULL, "not {" },
        { "[]", NULL, "not {" },
        { "\"", "\"", "not {" },
        { "\xff\xfe", NULL, "not {" },
    };
    struct world *w = world_new ();
    BUF (good);
    line_of (w, 1, SIZE, 0, &good);
    static const char head[] = "{\"tlogProof\":\"";
    size_t text = good.len - strlen (head) - strlen ("\"}\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct logline out;
        struct err e;
        BUF (lines);
        buf_adds (&lines, rows[i].before);
        if (rows[i].after) {
            buf_add (&lines, good.p + strlen (head), text);
            buf_adds (&lines, rows[i].after);
        }
        buf_adds (&lines, "\n");
        line_of (w, 0, SIZE, 0, &lines);
        cr_assert_eq (check (w, buf_bytes (&lines), 0, &out, &e), -1, "row %zu was taken", i);
        cr_assert (e.kind == ERR_DAMAGED && strstr (e.msg, rows[i].why), "row %zu: %s", i, e.msg);
        cr_assert (strstr (e.msg, "the log's line of step test"), "row %zu: %s", i, e.msg);
    }
    /* bounds: of a line, of hashes, of a checkpoint */
    for (unsigned which = 0; which < 3; which++) {
        struct inclusion in;
        struct logline out;
        struct err e;
        BUF (lines);
        BUF (long_line);
        world_inclusion (w, 1, SIZE, 0, &in);
        for (unsigned i = 0; which == 2 && in.note.len < NOTE_MAX; i++)
            buf_addf (&in.note, "\xe2\x80\x94 x%u AAAA\n", i);
        logline_text (&in, &lines);
        if (which == 0)
            while (lines.len < 3 * INCLUSION_MAX)
                buf_adds (&lines, " ");
        if (which == 1) {
            char *at = strstr (buf_str (&lines), "index 1\\n") + strlen ("index 1\\n");
            buf_add (&long_line, lines.p, (size_t) (at - (char *) lines.p));
            for (unsigned i = 0; i <= TLOG_PATH_MAX; i++)
                buf_adds (&long_line, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\\n");
            buf_adds (&long_line, at);
        }
        cr_assert_eq (check (w, which == 1 ? buf_bytes (&long_line) : buf_bytes (&lines), 0, &out, &e), -1);
        cr_assert (e.kind == ERR_DAMAGED && e.code == EC_OVERSIZED, "bound %u: %s", which, e.msg);
        inclusion_release (&in);
    }
    world_destroy (&w);
}

Test (logline, an_altered_byte_never_gives_another_meaning, .timeout = 300)
{
    struct world *w = world_new ();
    struct logline out;
    struct err e;
    BUF (lines);
    BUF (statements);
    both (w, 2, &lines);
    world_bundle (w, &statements);
    struct proof *p = proof_new (w->roster);
    cr_assert_eq (proof_add (p, buf_bytes (&statements), &e), 0);
    for (uint64_t k = 0; k <= 2; k += 2)
        for (size_t i = 0; i < lines.len; i++) {
            uint8_t was = lines.p[i];
            lines.p[i] ^= (uint8_t) (1 << i % 8);
            e = (struct err) ERR_INIT;
            int rc = logline_check (w->roster, w->root.pub, p, buf_bytes (&statements), buf_bytes (&lines), k, &out, &e);
            /* a witness's name may be another's now: its signature counts for nothing */
            cr_assert (rc == 0 ? out.size == SIZE && out.witnesses.n <= 2 && out.witnesses.n >= k : (e.kind == ERR_DAMAGED || (k && e.kind == ERR_UNTRUSTED)) && e.msg[0], "byte %zu: %d %s", i, (int) e.kind, e.msg);
            lines.p[i] = was;
            if (i % 3 == 0 && i + 1 < lines.len)
                cr_assert_eq (logline_check (w->roster, w->root.pub, p, buf_bytes (&statements), bytes_of (lines.p, i), 1, &out, &e), -1, "cut at %zu", i);
        }
    proof_destroy (&p);
    world_destroy (&w);
}

Test (logline, an_owner_is_one_witness_and_the_verifiers_own_is_none)
{
    struct world *w = world_new ();
    const struct {
        const char *by[3];
        const struct sign_key *key[3];
        size_t witnesses;
    } rows[] = {
        { { "w0" }, { &w->worker[0] }, 1 },
        { { "w0", "second" }, { &w->worker[0], &w->second }, 1 },
        { { "second", "w0", "w1" }, { &w->second, &w->worker[0], &w->worker[1] }, 2 },
        { { "colleague" }, { &w->colleague }, 0 },
        { { "colleague", "w2" }, { &w->colleague, &w->worker[2] }, 1 },
        { { "verifier" }, { &w->verifier }, 0 },
        { { "w0" }, { &w->second }, 0 }, /* under a name with which that key does not go: of nobody */
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct logline out;
        struct err e;
        BUF (lines);
        for (uint64_t entry = 2; entry-- > 0;) {
            struct inclusion in;
            world_inclusion (w, entry, SIZE, 0, &in);
            for (size_t k = 0; k < 3 && rows[i].by[k]; k++)
                world_cosign (w, rows[i].by[k], rows[i].key[k], &in.note);
            logline_text (&in, &lines);
            inclusion_release (&in);
        }
        cr_assert_eq (check (w, buf_bytes (&lines), rows[i].witnesses, &out, &e), 0, "row %zu: %s", i, e.msg);
        cr_assert_eq (out.witnesses.n, rows[i].witnesses, "row %zu: %zu", i, out.witnesses.n);
        cr_assert (check (w, buf_bytes (&lines), rows[i].witnesses + 1, &out, &e) == -1 && e.kind == ERR_UNTRUSTED, "row %zu", i);
    }
    world_destroy (&w);
}

Test (logline, a_witness_that_was_revoked_is_none)
{
    struct world *w = world_new ();
    struct logline out;
    struct err e;
    BUF (lines);
    both (w, 3, &lines);
    cr_assert_eq (check (w, buf_bytes (&lines), 3, &out, &e), 0, "%s", e.msg);
    world_revoke (w, "w2", WORLD_TIME + 5); /* its votes stand, its signatures on what grows do not */
    cr_assert (check (w, buf_bytes (&lines), 3, &out, &e) == -1 && e.kind == ERR_UNTRUSTED, "%s", e.msg);
    cr_assert (check (w, buf_bytes (&lines), 2, &out, &e) == 0 && out.witnesses.n == 2, "%s", e.msg);
    world_destroy (&w);
}
