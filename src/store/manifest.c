/* manifest.c: see manifest.h. Building and parsing end in one and the same check, so that what we make is what we take. */
#include "store/manifest.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC "assay-manifest-1\n"
#define MAGIC_LEN (sizeof MAGIC - 1)
#define SIZE_BOUND (UINT64_C (1) << 46) /* of one file; MANIFEST_ENTRIES_MAX of them still fit an int64_t */

void
manifest_init (struct manifest *m)
{
    *m = (struct manifest){ NULL, 0, 0 };
}

void
manifest_release (struct manifest *m)
{
    if (m == NULL)
        return;
    for (size_t i = 0; i < m->n; i++) {
        free (m->v[i].path);
        free (m->v[i].target);
    }
    free (m->v);
    manifest_init (m);
}

/* The name as it may be shown: hostile bytes never reach an error's text. */
static int
refuse (struct err *e, const char *path, const char *why)
{
    BUF (clean);
    size_t len = strnlen (path, 200);

    text_clean (bytes_of (path, len), false, &clean);
    return err_code (e, EC_MALFORMED, "manifest: \"%s\": %s", buf_str (&clean), why);
}

static bool
text_ok (const char *s, size_t len)
{
    if (!utf8_valid (bytes_of (s, len)))
        return false;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char) s[i];
        if (c < 0x20 || c == 0x7f || (c == 0xc2 && i + 1 < len && (unsigned char) s[i + 1] < 0xa0))
            return false;
    }
    return true;
}

static const char *
path_fault (const char *path)
{
    size_t len = strlen (path);

    if (len == 0 || len > MANIFEST_PATH_MAX)
        return "path empty or too long";
    if (!text_ok (path, len))
        return "control characters or bad UTF-8 in the path";
    for (const char *p = path;;) {
        size_t part = strcspn (p, "/");
        if (part == 0)
            return "empty part in the path (absolute, doubled or trailing slash)";
        if (part > 255)
            return "a part of the path is longer than 255 bytes";
        if ((part == 1 && p[0] == '.') || (part == 2 && p[0] == '.' && p[1] == '.'))
            return "\".\" or \"..\" in the path";
        if (p[part] == '\0')
            return NULL;
        p += part + 1;
    }
}

/* ".." may only lead the target: then it climbs from the link's own folder, which is a real one, and cannot climb out of where
 * another link led to. */
int
manifest_link_check (const char *path, const char *target, struct err *e)
{
    size_t len = strlen (target), depth = 0;
    bool down = false;

    for (const char *p = path; (p = strchr (p, '/')) != NULL; p++)
        depth++;
    if (len == 0 || len > MANIFEST_PATH_MAX || !text_ok (target, len))
        return refuse (e, path, "link target empty, too long, or with control characters");
    if (target[0] == '/')
        return refuse (e, path, "link to an absolute path (make it relative)");
    for (const char *p = target; *p != '\0';) {
        size_t part = strcspn (p, "/");
        if (part == 2 && p[0] == '.' && p[1] == '.') {
            if (down)
                return refuse (e, path, "link target with \"..\" behind a name (write it without)");
            if (depth == 0)
                return refuse (e, path, "link leaves the tree");
            depth--;
        } else if (part != 0 && !(part == 1 && p[0] == '.'))
            down = true;
        p += part;
        if (*p == '/')
            p++;
    }
    return 0;
}

static int
add_taken (struct manifest *m, struct manifest_entry *entry, struct err *e)
{
    if (m->n >= MANIFEST_ENTRIES_MAX) {
        free (entry->path);
        free (entry->target);
        return err_code (e, EC_OVERSIZED, "manifest: more than %u entries (pack them, or name fewer artifacts)", MANIFEST_ENTRIES_MAX);
    }
    if (m->n == m->cap) {
        m->cap = m->cap ? m->cap * 2 : 16;
        m->v = xrealloc (m->v, m->cap * sizeof *m->v);
    }
    m->v[m->n++] = *entry;
    return 0;
}

int
manifest_add (struct manifest *m, const char *path, char type, uint64_t size, const struct digest *d, const char *target, struct err *e)
{
    const char *fault = path_fault (path);
    struct manifest_entry entry = { NULL, type, 0, { { 0 } }, NULL };

    if (fault != NULL)
        return refuse (e, path, fault);
    switch (type) {
    case 'f':
    case 'x':
        if (d == NULL || size > SIZE_BOUND)
            return refuse (e, path, "file without a digest, or too large");
        entry.size = size;
        entry.digest = *d;
        break;
    case 'l':
        if (target == NULL)
            return refuse (e, path, "link without a target");
        if (manifest_link_check (path, target, e) == -1)
            return -1;
        entry.target = xstrdup (target);
        entry.size = strlen (target);
        break;
    case 'd':
        break;
    default:
        return refuse (e, path, "unknown type");
    }
    entry.path = xstrdup (path);
    return add_taken (m, &entry, e);
}

static int
by_path (const void *a, const void *b)
{
    return strcmp (((const struct manifest_entry *) a)->path, ((const struct manifest_entry *) b)->path);
}

static bool
has_blob (const struct manifest_entry *entry)
{
    return entry->type == 'f' || entry->type == 'x';
}

struct blob_ref {
    struct digest digest;
    uint64_t size;
    size_t index;
};

static int
by_digest (const void *a, const void *b)
{
    const struct blob_ref *x = a, *y = b;
    int c = memcmp (x->digest.b, y->digest.b, sizeof x->digest.b);

    return c != 0 ? c : (x->index > y->index) - (x->index < y->index);
}

static int
by_index (const void *a, const void *b)
{
    size_t x = *(const size_t *) a, y = *(const size_t *) b;

    return (x > y) - (x < y);
}

static struct blob_ref *
blob_refs (const struct manifest *m, size_t *count)
{
    struct blob_ref *v = xcalloc (m->n + 1, sizeof *v);

    *count = 0;
    for (size_t i = 0; i < m->n; i++)
        if (has_blob (&m->v[i]))
            v[(*count)++] = (struct blob_ref){ m->v[i].digest, m->v[i].size, i };
    qsort (v, *count, sizeof *v, by_digest);
    return v;
}

/* What holds for the whole, sorted: order, parents, one size for one digest. */
static int
check_whole (const struct manifest *m, struct err *e)
{
    struct digest none = digest_of ("", 0);

    for (size_t i = 0; i < m->n; i++) {
        const struct manifest_entry *entry = &m->v[i];
        const char *slash = strrchr (entry->path, '/');

        if (i > 0 && strcmp (m->v[i - 1].path, entry->path) >= 0)
            return refuse (e, entry->path, "twice, or out of order");
        if (has_blob (entry) && (entry->size == 0) != digest_eq (&entry->digest, &none))
            return refuse (e, entry->path, "size does not fit the digest");
        if (slash != NULL) {
            char parent[MANIFEST_PATH_MAX + 1];
            struct manifest_entry key = { .path = parent };
            const struct manifest_entry *found;

            memcpy (parent, entry->path, (size_t) (slash - entry->path));
            parent[slash - entry->path] = '\0';
            found = bsearch (&key, m->v, i, sizeof *m->v, by_path);
            if (found == NULL || found->type != 'd')
                return refuse (e, entry->path, "its folder is missing, or no folder");
        }
    }
    size_t count;
    CLEANUP (free_ptr) struct blob_ref *v = blob_refs (m, &count);

    for (size_t i = 1; i < count; i++)
        if (digest_eq (&v[i - 1].digest, &v[i].digest) && v[i - 1].size != v[i].size)
            return refuse (e, m->v[v[i].index].path, "one digest with two sizes");
    return 0;
}

static void
put_be (struct buf *out, uint64_t v, int bytes)
{
    uint8_t *p = buf_grow (out, (size_t) bytes);

    for (int i = bytes - 1; i >= 0; i--, v >>= 8)
        p[i] = (uint8_t) v;
}

int
manifest_finish (struct manifest *m, struct buf *out, struct err *e)
{
    size_t start = out->len;

    if (m->n > 1)
        qsort (m->v, m->n, sizeof *m->v, by_path);
    if (check_whole (m, e) == -1)
        return -1;
    buf_add (out, MAGIC, MAGIC_LEN);
    for (size_t i = 0; i < m->n; i++) {
        const struct manifest_entry *entry = &m->v[i];
        size_t len = strlen (entry->path);

        put_be (out, len, 4);
        buf_add (out, entry->path, len);
        buf_add (out, &entry->type, 1);
        put_be (out, entry->size, 8);
        if (has_blob (entry))
            buf_add (out, entry->digest.b, sizeof entry->digest.b);
        else if (entry->type == 'l') {
            put_be (out, entry->size, 4);
            buf_add (out, entry->target, entry->size);
        }
        if (out->len - start > MANIFEST_BYTES_MAX)
            return err_code (e, EC_OVERSIZED, "manifest: larger than %u bytes (pack the files, or name fewer artifacts)", MANIFEST_BYTES_MAX);
    }
    return 0;
}

struct reader {
    const uint8_t *p;
    size_t left;
};

static bool
get_be (struct reader *r, int bytes, uint64_t *v)
{
    if (r->left < (size_t) bytes)
        return false;
    *v = 0;
    for (int i = 0; i < bytes; i++)
        *v = *v << 8 | r->p[i];
    r->p += bytes;
    r->left -= (size_t) bytes;
    return true;
}

/* u32be length and that many bytes, as a string of our own; NULL if they are not there or hold a NUL. */
static char *
get_text (struct reader *r)
{
    uint64_t len;
    char *s;

    if (!get_be (r, 4, &len) || len > MANIFEST_PATH_MAX || len > r->left || memchr (r->p, 0, (size_t) len) != NULL)
        return NULL;
    s = bytes_dup (bytes_of (r->p, (size_t) len));
    r->p += len;
    r->left -= (size_t) len;
    return s;
}

static int
parse_entry (struct reader *r, struct manifest *m, struct err *e)
{
    CLEANUP (free_ptr) char *path = get_text (r);
    CLEANUP (free_ptr) char *target = NULL;
    struct digest d;
    uint64_t type, size;

    if (path == NULL || !get_be (r, 1, &type) || !get_be (r, 8, &size))
        return err_code (e, EC_MALFORMED, "manifest: entry %zu is cut short or too long", m->n);
    if (type == 'f' || type == 'x') {
        if (r->left < sizeof d.b)
            return refuse (e, path, "cut short");
        memcpy (d.b, r->p, sizeof d.b);
        r->p += sizeof d.b;
        r->left -= sizeof d.b;
    } else if (type == 'l') {
        target = get_text (r);
        if (target == NULL || strlen (target) != size)
            return refuse (e, path, "link target cut short, or of another size");
    } else if (type != 'd' || size != 0)
        return refuse (e, path, "unknown type, or a folder with a size");
    return manifest_add (m, path, (char) type, size, &d, target, e);
}

int
manifest_parse (struct bytes raw, struct manifest *m, struct err *e)
{
    struct reader r = { raw.p, raw.len };

    manifest_init (m);
    if (raw.len > MANIFEST_BYTES_MAX)
        return err_code (e, EC_OVERSIZED, "manifest: %zu bytes, at most %u are taken", raw.len, MANIFEST_BYTES_MAX);
    if (raw.len < MAGIC_LEN || memcmp (raw.p, MAGIC, MAGIC_LEN) != 0)
        return err_code (e, EC_MALFORMED, "manifest: not an assay-manifest-1");
    r.p += MAGIC_LEN;
    r.left -= MAGIC_LEN;
    while (r.left > 0)
        if (parse_entry (&r, m, e) == -1)
            goto fail;
    if (check_whole (m, e) == -1)
        goto fail;
    return 0;
fail:
    manifest_release (m);
    return -1;
}

struct digest
manifest_digest (struct bytes raw)
{
    return digest_of (raw.p, raw.len);
}

struct digest
manifest_empty (void)
{
    return digest_of (MAGIC, MAGIC_LEN);
}

size_t *
manifest_blobs (const struct manifest *m, size_t *count)
{
    size_t all;
    CLEANUP (free_ptr) struct blob_ref *v = blob_refs (m, &all);
    size_t *out = xcalloc (all + 1, sizeof *out);

    *count = 0;
    for (size_t i = 0; i < all; i++)
        if (i == 0 || !digest_eq (&v[i - 1].digest, &v[i].digest))
            out[(*count)++] = v[i].index;
    qsort (out, *count, sizeof *out, by_index);
    return out;
}

uint64_t
manifest_bytes (const struct manifest *m)
{
    size_t count;
    CLEANUP (free_ptr) size_t *v = manifest_blobs (m, &count);
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++)
        sum += m->v[v[i]].size;
    return sum;
}
