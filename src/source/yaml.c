/* yaml.c: bounded YAML. Contract: yaml.h. */
#include "source/yaml.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reader {
    yaml_parser_t parser;
    const char *file;
    unsigned nodes;
    struct err *e;
};

static void event_release (yaml_event_t *ev)
{
    yaml_event_delete (ev);
}

static int fail_at (struct reader *r, yaml_mark_t at, const char *what)
{
    return err_set (r->e, ERR_USAGE, "%s:%zu:%zu: %s", r->file, at.line + 1, at.column + 1, what);
}

/* Where byte `offset` stands, for errors that the reader below the scanner finds. */
static yaml_mark_t mark_of (struct bytes text, size_t offset)
{
    yaml_mark_t m = { offset, 0, 0 };
    for (size_t i = 0; i < offset && i < text.len; i++) {
        if (text.p[i] == '\n') {
            m.line++;
            m.column = 0;
        } else if ((text.p[i] & 0xc0) != 0x80)
            m.column++;
    }
    return m;
}

static int next_event (struct reader *r, yaml_event_t *ev)
{
    memset (ev, 0, sizeof *ev);
    if (yaml_parser_parse (&r->parser, ev))
        return 0;
    BUF (what);
    buf_addf (&what, "not YAML: %s", r->parser.problem ? r->parser.problem : "cannot be read");
    if (r->parser.context)
        buf_addf (&what, " %s", r->parser.context);
    return fail_at (r, r->parser.problem_mark, buf_str (&what));
}

void node_destroy (struct node **np)
{
    struct node *n = *np;
    if (!n)
        return;
    for (size_t i = 0; i < n->n; i++) {
        node_destroy (&n->items[i]);
        if (n->keys)
            free (n->keys[i]);
    }
    free (n->items);
    free (n->keys);
    free (n->key_at);
    free (n->text);
    free (n);
    *np = NULL;
}

const struct node *node_get (const struct node *map, const char *key)
{
    if (map && map->kind == NODE_MAP)
        for (size_t i = 0; i < map->n; i++)
            if (strcmp (map->keys[i], key) == 0)
                return map->items[i];
    return NULL;
}

static struct node **slot (struct node *n)
{
    if (n->n == n->cap) {
        n->cap = n->cap ? n->cap * 2 : 8;
        n->items = xrealloc (n->items, n->cap * sizeof *n->items);
        if (n->kind == NODE_MAP) {
            n->keys = xrealloc (n->keys, n->cap * sizeof *n->keys);
            n->key_at = xrealloc (n->key_at, n->cap * sizeof *n->key_at);
        }
    }
    n->items[n->n] = NULL;
    if (n->kind == NODE_MAP) {
        n->keys[n->n] = NULL;
        memset (&n->key_at[n->n], 0, sizeof *n->key_at);
    }
    return &n->items[n->n++];
}

static int read_node (struct reader *r, const yaml_event_t *ev, unsigned depth, struct node **out);

static int read_list (struct reader *r, struct node *n, unsigned depth)
{
    for (;;) {
        CLEANUP (event_release) yaml_event_t ev;
        if (next_event (r, &ev) == -1)
            return -1;
        if (ev.type == YAML_SEQUENCE_END_EVENT)
            return 0;
        struct node **item = slot (n);
        if (read_node (r, &ev, depth, item) == -1)
            return -1;
    }
}

static int read_map (struct reader *r, struct node *n, unsigned depth)
{
    for (;;) {
        CLEANUP (event_release) yaml_event_t key;
        CLEANUP (event_release) yaml_event_t value = { 0 };
        if (next_event (r, &key) == -1)
            return -1;
        if (key.type == YAML_MAPPING_END_EVENT)
            return 0;
        if (key.type == YAML_ALIAS_EVENT)
            return fail_at (r, key.start_mark, "alias as a key (anchors and aliases are not allowed: write it out)");
        if (key.type != YAML_SCALAR_EVENT)
            return fail_at (r, key.start_mark, "a key must be a word");
        CLEANUP (node_destroy) struct node *k = NULL;
        if (read_node (r, &key, depth, &k) == -1)
            return -1;
        if (strcmp (k->text, "<<") == 0)
            return fail_at (r, key.start_mark, "merge key << (not allowed: write it out)");
        for (size_t i = 0; i < n->n; i++)
            if (strcmp (n->keys[i], k->text) == 0) {
                BUF (clean);
                text_clean (bytes_str (k->text), false, &clean);
                return err_set (r->e, ERR_USAGE, "%s:%zu:%zu: key \"%.80s\" given twice (first on line %u)", r->file, key.start_mark.line + 1,
                                key.start_mark.column + 1, buf_str (&clean), n->key_at[i].line);
            }
        struct node **item = slot (n);
        n->keys[n->n - 1] = k->text;
        k->text = NULL;
        n->key_at[n->n - 1].line = k->line;
        n->key_at[n->n - 1].column = k->column;
        if (next_event (r, &value) == -1 || read_node (r, &value, depth, item) == -1)
            return -1;
    }
}

static int read_node (struct reader *r, const yaml_event_t *ev, unsigned depth, struct node **out)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    enum node_kind kind = NODE_SCALAR;
    switch (ev->type) {
    case YAML_ALIAS_EVENT:
        return fail_at (r, ev->start_mark, "alias (anchors and aliases are not allowed: write it out)");
    case YAML_SCALAR_EVENT:
        anchor = ev->data.scalar.anchor;
        tag = ev->data.scalar.tag;
        break;
    case YAML_SEQUENCE_START_EVENT:
        kind = NODE_LIST;
        anchor = ev->data.sequence_start.anchor;
        tag = ev->data.sequence_start.tag;
        break;
    case YAML_MAPPING_START_EVENT:
        kind = NODE_MAP;
        anchor = ev->data.mapping_start.anchor;
        tag = ev->data.mapping_start.tag;
        break;
    default:
        return fail_at (r, ev->start_mark, "not expected here");
    }
    if (anchor)
        return fail_at (r, ev->start_mark, "anchor (anchors and aliases are not allowed: write it out)");
    if (tag)
        return fail_at (r, ev->start_mark, "tag (types are not tagged here: quote what is text)");
    if (depth >= YAML_DEPTH)
        return fail_at (r, ev->start_mark, "nested too deep (at most 8 levels)");
    if (++r->nodes > YAML_NODES)
        return fail_at (r, ev->start_mark, "too many values (at most 16384)");

    struct node *n = *out = xcalloc (1, sizeof *n);
    n->kind = kind;
    n->line = (unsigned) ev->start_mark.line + 1;
    n->column = (unsigned) ev->start_mark.column + 1;
    if (kind == NODE_LIST)
        return read_list (r, n, depth + 1);
    if (kind == NODE_MAP)
        return read_map (r, n, depth + 1);
    if (memchr (ev->data.scalar.value, '\0', ev->data.scalar.length))
        return fail_at (r, ev->start_mark, "a NUL in the text (not allowed)");
    n->text = bytes_dup (bytes_of (ev->data.scalar.value, ev->data.scalar.length));
    n->plain = ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    return 0;
}

static int read_stream (struct reader *r, struct node **root)
{
    static const yaml_event_type_t open[] = { YAML_STREAM_START_EVENT, YAML_DOCUMENT_START_EVENT };
    for (size_t i = 0; i < 2; i++) {
        CLEANUP (event_release) yaml_event_t ev;
        if (next_event (r, &ev) == -1)
            return -1;
        if (ev.type != open[i])
            return fail_at (r, (yaml_mark_t){ 0, 0, 0 }, "empty (a recipe has at least image: and steps:)");
    }
    {
        CLEANUP (event_release) yaml_event_t ev;
        if (next_event (r, &ev) == -1 || read_node (r, &ev, 0, root) == -1)
            return -1;
    }
    static const yaml_event_type_t shut[] = { YAML_DOCUMENT_END_EVENT, YAML_STREAM_END_EVENT };
    for (size_t i = 0; i < 2; i++) {
        CLEANUP (event_release) yaml_event_t ev;
        if (next_event (r, &ev) == -1)
            return -1;
        if (ev.type != shut[i])
            return fail_at (r, ev.start_mark, "a second document (a recipe is one)");
    }
    return 0;
}

/* The first byte that is not text: bad UTF-8, or a control character beyond tab and line ends. text.len if all is well. */
static size_t first_bad (struct bytes text)
{
    if (utf8_valid (text))
        return text.len;
    size_t line = 0;
    for (size_t i = 0; i <= text.len; i++)
        if (i == text.len || text.p[i] == '\n') {
            if (!utf8_valid (bytes_of (text.p + line, i - line))) {
                size_t good = line;
                for (size_t len = 1; good < i; len = 1) {
                    while (len <= 4 && good + len <= i && !utf8_valid (bytes_of (text.p + good, len)))
                        len++;
                    if (len > 4 || good + len > i)
                        return good;
                    good += len;
                }
            }
            line = i + 1;
        }
    return text.len;
}

int yaml_parse (struct bytes text, const char *file, struct node **root, struct err *e)
{
    struct reader r = { .file = file, .e = e };
    *root = NULL;
    size_t bad = first_bad (text);
    if (bad < text.len)
        return fail_at (&r, mark_of (text, bad), text.p[bad] == 0 ? "a NUL byte (text in UTF-8 is allowed)" : "not UTF-8 (text in UTF-8 is allowed)");
    if (!yaml_parser_initialize (&r.parser))
        return err_set (e, ERR_FAILED, "%s: out of memory", file);
    yaml_parser_set_encoding (&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string (&r.parser, text.len ? text.p : (const unsigned char *) "", text.len);
    int rc = read_stream (&r, root);
    if (rc == -1 && r.parser.error == YAML_READER_ERROR)
        fail_at (&r, mark_of (text, r.parser.problem_offset), "a control character (not allowed)");
    yaml_parser_delete (&r.parser);
    if (rc == -1)
        node_destroy (root);
    return rc;
}
