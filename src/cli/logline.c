#include "cli/logline.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define KEY "{\"tlogProof\":"

static bool next_line (struct bytes *rest, struct bytes *line)
{
    const uint8_t *end = rest->len ? memchr (rest->p, '\n', rest->len) : NULL;
    size_t len = end ? (size_t) (end - rest->p) : rest->len;
    if (rest->len == 0)
        return false;
    *line = bytes_of (rest->p, len);
    *rest = bytes_of (rest->p + len, rest->len - len);
    if (end)
        *rest = bytes_of (rest->p + 1, rest->len - 1);
    return true;
}

static bool is_log (struct bytes line)
{
    return line.len > strlen (KEY) && memcmp (line.p, KEY, strlen (KEY)) == 0;
}

int logline_split (struct bytes bundle, struct bytes *statements, struct bytes *lines, struct err *e)
{
    struct bytes rest = bundle, line;
    size_t begin = bundle.len, number = 0;
    while (next_line (&rest, &line)) {
        number++;
        if (is_log (line))
            begin = begin == bundle.len ? (size_t) (line.p - bundle.p) : begin;
        else if (begin < bundle.len)
            return err_code (e, EC_MALFORMED, "line %zu: behind the first of the log's lines, and none of them (altered, or out of order)", number);
    }
    *statements = bytes_of (bundle.p, begin);
    *lines = bytes_of (bundle.p + begin, bundle.len - begin);
    return 0;
}

/* Each is followed by the results that it names. */
struct bytes logline_verdict (const struct proof *p, struct bytes statements, size_t i)
{
    struct bytes rest = statements, line = { NULL, 0 };
    size_t skip = 0;
    for (size_t k = 0; k < i; k++)
        skip += 1 + proof_group (p, k)->n;
    for (size_t k = 0; k <= skip; k++)
        if (!next_line (&rest, &line))
            return bytes_of (NULL, 0);
    return line;
}

void logline_text (const struct inclusion *in, struct buf *lines)
{
    BUF (text);
    inclusion_text (in, &text);
    json_t *o = json_pack ("{s:s%}", "tlogProof", buf_str (&text), text.len);
    char *json = json_dumps (o, JSON_COMPACT);
    buf_adds (lines, json ? json : "");
    buf_adds (lines, "\n");
    free (json);
    json_decref (o);
}

/* ---- checking ---- */

static int open_line (struct bytes line, struct inclusion *in, struct err *e)
{
    json_error_t why;
    const char *text = NULL;
    size_t len = 0;
    memset (in, 0, sizeof *in);
    if (line.len > 2 * INCLUSION_MAX)
        return err_code (e, EC_OVERSIZED, "%zu bytes (at most %u)", line.len, 2 * INCLUSION_MAX);
    json_t *o = json_loadb ((const char *) line.p, line.len, JSON_REJECT_DUPLICATES, &why);
    int rc = o && json_unpack_ex (o, NULL, JSON_STRICT, "{s:s%}", "tlogProof", &text, &len) == 0 ? 0 : err_code (e, EC_MALFORMED, "not {\"tlogProof\": TEXT}");
    if (rc == 0)
        rc = inclusion_parse (bytes_of (text, len), in, e);
    json_decref (o);
    return rc;
}

struct checking {
    const struct roster *roster;
    const uint8_t *root;
    uint64_t k;
    struct note first;
    struct logline *out;
};

static int check_note (struct checking *t, const struct verdict *v, const struct inclusion *in, struct bytes entry, struct err *e)
{
    const struct principal *who;
    struct witnesses w = { .n = 0 };
    struct note n;
    if (checkpoint_open (t->roster, t->root, buf_bytes (&in->note), &n, &who, e) == -1)
        return -1;
    int rc = 0;
    if (strcmp (who->name, v->verifier))
        rc = err_set (e, ERR_DAMAGED, "it is the log of %s, and the verdict is by %s", who->name, v->verifier);
    else if (v->index == 0 || in->index != v->index - 1)
        rc = err_set (e, ERR_DAMAGED, "it is about entry %llu of the log, and the verdict is number %llu", (unsigned long long) in->index, (unsigned long long) v->index);
    else if (inclusion_check (in, &n, entry, e) == -1 || checkpoint_witnesses (t->roster, &n, who, &w, e) == -1)
        rc = -1;
    else if (w.n < t->k)
        rc = err_set (e, ERR_UNTRUSTED, "%zu witnesses of different owners have signed the log (%llu are needed)", w.n, (unsigned long long) t->k);
    else if (t->first.text.len && !bytes_eq (buf_bytes (&t->first.text), buf_bytes (&n.text)))
        rc = err_set (e, ERR_DAMAGED, "it is of another checkpoint than the first");
    if (rc == 0 && t->first.text.len == 0) {
        t->out->size = n.size;
        t->out->witnesses = w;
        t->first = n;
        return 0;
    }
    note_release (&n);
    return rc;
}

static int check_line (struct checking *t, const struct verdict *v, struct bytes line, struct bytes entry, struct err *e)
{
    struct inclusion CLEANUP (inclusion_release) in = { 0 };
    if (open_line (line, &in, e) == 0 && check_note (t, v, &in, entry, e) == 0)
        return 0;
    if (e->kind != ERR_UNTRUSTED)
        e->kind = ERR_DAMAGED;
    return err_wrap (e, "the log's line of step %s", v->step);
}

int logline_check (const struct roster *r, const uint8_t root[32], const struct proof *p, struct bytes statements, struct bytes lines, uint64_t k, struct logline *out, struct err *e)
{
    struct checking t = { .roster = r, .root = root, .k = k, .out = out };
    struct bytes rest = lines, line;
    size_t n = 0;
    int rc = 0;
    memset (out, 0, sizeof *out);
    if (lines.len == 0)
        return k ? err_set (e, ERR_UNTRUSTED, "the bundle does not show that its verdict is in the log (`assay attest --witnesses %llu` writes one that does)", (unsigned long long) k) : 0;
    while (rc == 0 && next_line (&rest, &line)) {
        if (n == proof_count (p))
            rc = err_set (e, ERR_DAMAGED, "the log has more lines than there are verdicts");
        else
            rc = check_line (&t, &proof_group (p, n)->verdict, line, logline_verdict (p, statements, n), e);
        n++;
    }
    if (rc == 0 && n < proof_count (p))
        rc = err_set (e, ERR_DAMAGED, "truncated: no line of the log for the verdict on step %s", proof_group (p, n)->verdict.step);
    note_release (&t.first);
    return rc;
}
