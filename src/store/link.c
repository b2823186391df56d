/* link.c: see link.h. */
#include "store/link.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define HOPS_MAX 32 /* of symlinks on the way to a file */
#define PRODUCTS_MAX 131072u           /* entries looked at, each as often as a symlink leads to it */
#define NAMES_MAX (LINK_MAX / 2)       /* bytes of their names */
#define PARTS_MAX (UINT64_C (1) << 21) /* of paths, walked while symlinks are followed */

/* ---- keys ---- */

static json_t *
key_json (const uint8_t key[32])
{
    char hex[65];

    hex_encode (key, 32, hex);
    return json_pack ("{s:[s, s], s:s, s:{s:s}, s:s}", "keyid_hash_algorithms", "sha256", "sha512", "keytype", "ed25519", "keyval", "public", hex,
                      "scheme", "ed25519");
}

/* Canonical for whatever holds no control characters and no fractions. */
static void
canonical (json_t *o, struct buf *out)
{
    char *s = o == NULL ? NULL : json_dumps (o, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);

    if (s == NULL)
        abort (); /* memory */
    buf_adds (out, s);
    free (s);
}

void
link_keyid (const uint8_t key[32], char out[DIGEST_HEX])
{
    BUF (text);
    json_t *o = key_json (key);

    canonical (o, &text);
    json_decref (o);
    struct digest d = digest_of (text.p, text.len);
    digest_hex (&d, out);
}

/* ---- products ---- */

static int
by_path (const void *key, const void *entry)
{
    return strcmp (key, ((const struct manifest_entry *) entry)->path);
}

static const struct manifest_entry *
find (const struct manifest *m, const char *path)
{
    return m->n == 0 ? NULL : bsearch (path, m->v, m->n, sizeof *m->v, by_path);
}

/* What a path leads to, as the kernel would walk it; NULL where it leads nowhere, or to the root. *parts counts what it cost. */
static const struct manifest_entry *
resolve (const struct manifest *m, const char *path, uint64_t *parts)
{
    CLEANUP (free_ptr) char *rest = xstrdup (path);
    BUF (at);

    for (unsigned hops = 0; hops < HOPS_MAX && ++*parts <= PARTS_MAX;) {
        char *part = rest, *end = part + strcspn (part, "/");
        bool last = *end == '\0';
        size_t before = at.len;
        CLEANUP (free_ptr) char *next = xstrdup (last ? "" : end + 1);
        *end = '\0';
        if (strcmp (part, "..") == 0) {
            while (at.len > 0 && at.p[--at.len] != '/')
                ;
        } else if (*part != '\0' && strcmp (part, ".") != 0)
            buf_addf (&at, "%s%s", at.len > 0 ? "/" : "", part);
        const struct manifest_entry *entry = at.len > 0 ? find (m, buf_str (&at)) : NULL;
        if (at.len > 0 && entry == NULL)
            return NULL;
        if (entry != NULL && entry->type == 'l') {
            char *on = xasprintf ("%s%s%s", entry->target, last ? "" : "/", next);
            at.len = before;
            hops++;
            free (rest);
            rest = on;
            continue;
        }
        if (last)
            return entry;
        free (rest);
        rest = xstrdup (next);
    }
    return NULL;
}

static json_t *
sha256 (const struct digest *d)
{
    char hex[DIGEST_HEX];

    return json_pack ("{s:s}", "sha256", digest_hex (d, hex));
}

/* in-toto follows symlinks to folders as well: what is below `real` is seen once more below `shown`. Two symlinks in each folder to the next
 * one double the paths with each, so that it is paths that are counted, whether or not there is a file at their end. */
struct walk {
    const struct manifest *m;
    json_t *out;
    size_t count, names;
    uint64_t parts;
};

static int
walk (struct walk *w, const char *real, const char *shown, unsigned depth, struct err *e)
{
    size_t at = 0, len = strlen (real);

    if (depth > HOPS_MAX)
        return err_code (e, EC_MALFORMED, "no in-toto link: \"%.200s\" leads into itself", shown);
    for (size_t low = at, high = w->m->n; low < high;) { /* the first path above `real` */
        size_t mid = low + (high - low) / 2;
        if (strcmp (w->m->v[mid].path, real) <= 0)
            low = at = mid + 1;
        else
            high = mid;
    }
    for (; at < w->m->n; at++) {
        const struct manifest_entry *entry = &w->m->v[at], *to = entry;
        if (strncmp (entry->path, real, len) != 0)
            break;
        if (len > 0 && entry->path[len] != '/')
            continue; /* "a-b", among those below "a" */
        CLEANUP (free_ptr) char *name = xasprintf ("%s%s", shown, entry->path + len);
        w->names += strlen (name);
        if (++w->count > PRODUCTS_MAX || w->names > NAMES_MAX)
            return err_code (e, EC_OVERSIZED, "no in-toto link: more than %u paths, or %u bytes of them", PRODUCTS_MAX, NAMES_MAX);
        if (entry->type == 'l' && (to = resolve (w->m, entry->path, &w->parts)) != NULL && to->type == 'd') {
            if (walk (w, to->path, name, depth + 1, e) == -1)
                return -1;
        } else if (to != NULL && to->type != 'd')
            json_object_set_new (w->out, name, sha256 (&to->digest));
        if (w->parts > PARTS_MAX)
            return err_code (e, EC_OVERSIZED, "no in-toto link: its symlinks are too long a way");
    }
    return 0;
}

static json_t *
products (const struct manifest *m, struct err *e)
{
    struct walk w = { .m = m, .out = json_object () };

    if (walk (&w, "", "", 0, e) == -1) {
        json_decref (w.out);
        return NULL;
    }
    return w.out;
}

static json_t *
materials (const struct result *r)
{
    json_t *o = json_object ();

    json_object_set_new (o, "git:commit", json_pack ("{s:s}", strlen (r->commit) == 64 ? "sha256" : "sha1", r->commit));
    json_object_set_new (o, "assay:recipe", sha256 (&r->recipe));
    for (size_t i = 0; i < r->input_count; i++) {
        char name[40];
        (void) snprintf (name, sizeof name, "assay:input/%zu", i + 1);
        json_object_set_new (o, name, sha256 (&r->inputs[i]));
    }
    return o;
}

int
link_text (const struct result *r, const struct manifest *m, struct buf *text, struct err *e)
{
    json_t *files = products (m, e);
    size_t before = text->len;

    if (files == NULL)
        return -1;
    json_t *o = json_pack ("{s:s, s:{s:i}, s:[], s:{s:o}, s:o, s:s, s:o}", "_type", "link", "byproducts", "return-value", (int) r->exit_status, "command",
                           "environment", "assay:image", sha256 (&r->image), "materials", materials (r), "name", r->step, "products", files);
    canonical (o, text);
    json_decref (o);
    if (text->len - before > LINK_MAX / 2)
        return err_code (e, EC_OVERSIZED, "an in-toto link of %zu bytes (at most %u)", text->len - before, LINK_MAX / 2);
    return 0;
}

void
link_file (struct bytes text, const uint8_t key[32], const uint8_t sig[64], struct buf *out)
{
    char id[DIGEST_HEX], hex[129];

    link_keyid (key, id);
    hex_encode (sig, 64, hex);
    buf_addf (out, "{\"signatures\":[{\"keyid\":\"%s\",\"sig\":\"%s\"}],\"signed\":", id, hex);
    buf_add (out, text.p, text.len);
    buf_adds (out, "}\n");
}

/* ---- reading ---- */

static bool
plain (struct bytes s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.p[i] < 0x20)
            return false;
    return true;
}

/* Nothing whose canonical form could be doubtful: strings without control characters, whole numbers, and what holds them. */
static bool
sober (json_t *o, unsigned depth)
{
    const char *name;
    json_t *v;
    size_t i;

    if (depth > 8 || json_is_real (o))
        return false;
    if (json_is_string (o))
        return plain (bytes_of (json_string_value (o), json_string_length (o)));
    json_array_foreach (o, i, v)
        if (!sober (v, depth + 1))
            return false;
    json_object_foreach (o, name, v)
        if (!plain (bytes_str (name)) || !sober (v, depth + 1))
            return false;
    return true;
}

/* {"PATH": {"ALGORITHM": "HEX"}, ...} */
static bool
artifacts (json_t *o)
{
    const char *name, *algorithm;
    json_t *v, *hex;

    if (!json_is_object (o))
        return false;
    json_object_foreach (o, name, v) {
        if (!json_is_object (v) || json_object_size (v) == 0)
            return false;
        json_object_foreach (v, algorithm, hex)
            if (!json_is_string (hex) || strspn (json_string_value (hex), "0123456789abcdef") != json_string_length (hex))
                return false;
    }
    return true;
}

static const char *
signed_wrong (json_t *o)
{
    const char *type = json_string_value (json_object_get (o, "_type")), *name = json_string_value (json_object_get (o, "name"));
    json_t *by = json_object_get (o, "byproducts");

    if (!json_is_object (o) || json_object_size (o) != 7)
        return "signed";
    if (type == NULL || strcmp (type, "link") != 0)
        return "_type";
    if (name == NULL || !name_valid (name))
        return "name";
    if (!artifacts (json_object_get (o, "materials")))
        return "materials";
    if (!artifacts (json_object_get (o, "products")))
        return "products";
    if (!json_is_object (by) || !json_is_integer (json_object_get (by, "return-value")))
        return "byproducts";
    if (!json_is_array (json_object_get (o, "command")))
        return "command";
    if (!json_is_object (json_object_get (o, "environment")))
        return "environment";
    return NULL;
}

int
link_open (struct bytes file, struct link *l, struct err *e)
{
    json_error_t je;
    const char *wrong = NULL;

    memset (l, 0, sizeof *l);
    if (file.len > LINK_MAX)
        return err_code (e, EC_OVERSIZED, "an in-toto link of %zu bytes (at most %u)", file.len, LINK_MAX);
    json_t *o = file.len == 0 ? NULL : json_loadb ((const char *) file.p, file.len, JSON_REJECT_DUPLICATES, &je);
    if (o == NULL)
        return err_code (e, EC_MALFORMED, "an in-toto link that is not JSON%s%s", file.len > 0 ? ": " : ": it is empty", file.len > 0 ? je.text : "");
    json_t *list = json_object_get (o, "signatures"), *one = json_array_get (list, 0), *body = json_object_get (o, "signed");
    const char *id = json_string_value (json_object_get (one, "keyid")), *sig = json_string_value (json_object_get (one, "sig"));
    uint8_t raw[32];
    if (json_object_size (o) != 2 || !json_is_array (list) || json_array_size (list) != 1 || json_object_size (one) != 2)
        wrong = "signatures";
    else if (id == NULL || !hex_decode (id, raw, 32))
        wrong = "keyid";
    else if (sig == NULL || !hex_decode (sig, l->sig, 64))
        wrong = "sig";
    else if (!sober (body, 0))
        wrong = "signed";
    else
        wrong = signed_wrong (body);
    if (wrong == NULL) {
        (void) snprintf (l->keyid, sizeof l->keyid, "%s", id);
        (void) snprintf (l->name, sizeof l->name, "%s", json_string_value (json_object_get (body, "name")));
        canonical (body, &l->text);
    }
    json_decref (o);
    return wrong == NULL ? 0 : err_code (e, EC_MALFORMED, "an in-toto link: \"%s\" is missing, of the wrong type or out of bounds", wrong);
}

void
link_release (struct link *l)
{
    buf_release (&l->text);
    memset (l, 0, sizeof *l);
}

/* ---- the layout ---- */

/* in-toto leaves these out when it looks at a folder: asking for one could never be fulfilled. */
static bool
overlooked (const char *path)
{
    for (const char *part = path; *part != '\0';) {
        size_t n = strcspn (part, "/");
        if ((n == 4 && memcmp (part, ".git", 4) == 0) || (n >= 4 && memcmp (part + n - 4, ".pyc", 4) == 0) || (n > 0 && part[n - 1] == '~'))
            return true;
        for (size_t i = 0; i + 5 <= n; i++)
            if (memcmp (part + i, ".link", 5) == 0)
                return true;
        part += n + (part[n] == '/');
    }
    return false;
}

void
link_layout (const struct link_layout *o, struct buf *out)
{
    json_t *keys = json_object (), *ids = json_array (), *rules = json_array (), *files = products (o->artifact, NULL), *digest;
    const char *path;
    char expires[32];

    time_format (o->expires, expires);
    memcpy (expires + 19, "Z", 2); /* whole seconds */
    for (size_t i = 0; i < o->key_count; i++) {
        char id[DIGEST_HEX];
        json_t *key = key_json (o->keys[i]);
        link_keyid (o->keys[i], id);
        json_object_set_new (key, "keyid", json_string (id));
        json_object_set_new (keys, id, key);
        json_array_append_new (ids, json_string (id));
    }
    json_object_foreach (files, path, digest)
        if (!overlooked (path))
            json_array_append_new (rules, json_pack ("[s, s]", "REQUIRE", path));
    json_decref (files);
    json_array_append_new (rules, json_pack ("[s, s, s, s, s, s]", "MATCH", "*", "WITH", "PRODUCTS", "FROM", o->step));
    json_array_append_new (rules, json_pack ("[s, s]", "DISALLOW", "*"));
    json_t *step = json_pack ("{s:s, s:s, s:[], s:[[s, s], [s, s], [s, s]], s:[[s, s]], s:o, s:i}", "_type", "step", "name", o->step, "expected_command",
                              "expected_materials", "ALLOW", "git:commit", "ALLOW", "assay:*", "DISALLOW", "*", "expected_products", "ALLOW", "*", "pubkeys", ids,
                              "threshold", (int) o->threshold);
    json_t *inspection = json_pack ("{s:s, s:s, s:[s], s:o, s:[]}", "_type", "inspection", "name", "artifact", "run", "true", "expected_materials", rules,
                                    "expected_products");
    json_t *layout = json_pack ("{s:[], s:{s:s, s:s, s:s, s:o, s:[o], s:[o]}}", "signatures", "signed", "_type", "layout", "expires", expires, "readme", "", "keys",
                                keys, "steps", step, "inspect", inspection);
    char *s = json_dumps (layout, JSON_INDENT (1) | JSON_SORT_KEYS);
    if (s == NULL)
        abort (); /* memory */
    buf_addf (out, "%s\n", s);
    free (s);
    json_decref (layout);
}
