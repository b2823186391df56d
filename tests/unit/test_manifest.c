/* The manifest: one tree has one encoding, and nothing else is taken. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "store/manifest.h"

struct row { const char *path; char type; const char *text; };

static const struct row tree[] = {
    { "bin", 'd', NULL }, { "bin/hello", 'x', "#!/bin/sh\n" }, { "bin-doc", 'f', "doc" }, { "lib", 'd', NULL },
    { "lib/x.so", 'l', "x.so.1" }, { "lib/x.so.1", 'f', "" }, { "up", 'l', "bin/hello" }, { "zz", 'f', "doc" },
};
#define ROWS (sizeof tree / sizeof *tree)

static int
add (struct manifest *m, const struct row *r, struct err *e)
{
    bool file = r->type == 'f' || r->type == 'x';
    struct digest d = digest_of (r->text ? r->text : "", file ? strlen (r->text) : 0);

    return manifest_add (m, r->path, r->type, file ? strlen (r->text) : 0, &d, r->type == 'l' ? r->text : NULL, e);
}

static void
encode (const size_t *order, struct buf *out)
{
    struct manifest m;
    struct err e = ERR_INIT;

    manifest_init (&m);
    for (size_t i = 0; i < ROWS; i++)
        cr_assert_eq (add (&m, &tree[order[i]], &e), 0, "%s", e.msg);
    cr_assert_eq (manifest_finish (&m, out, &e), 0, "%s", e.msg);
    manifest_release (&m);
}

/* Heap's algorithm over all 8! orders. */
static size_t
permute (size_t *v, size_t n, struct bytes want)
{
    if (n == 1) {
        BUF (b);
        encode (v, &b);
        cr_assert (bytes_eq (buf_bytes (&b), want));
        return 1;
    }
    size_t seen = 0;
    for (size_t i = 0; i < n; i++) {
        seen += permute (v, n - 1, want);
        size_t j = n % 2 ? 0 : i, t = v[j];
        v[j] = v[n - 1];
        v[n - 1] = t;
    }
    return seen;
}

Test (manifest, all_orders_give_the_same_bytes, .timeout = 120)
{
    size_t v[ROWS];
    BUF (want);

    for (size_t i = 0; i < ROWS; i++)
        v[i] = i;
    encode (v, &want);
    cr_assert_eq (permute (v, ROWS, buf_bytes (&want)), 40320);
}

Test (manifest, parse_is_the_inverse_and_every_mutation_differs_or_is_refused)
{
    size_t v[ROWS], refused = 0, other = 0;
    BUF (raw);

    for (size_t i = 0; i < ROWS; i++)
        v[i] = i;
    encode (v, &raw);
    for (size_t at = 0; at < raw.len; at++)
        for (int bit = -1; bit < 8; bit++) {
            struct manifest m;
            struct err e = ERR_INIT;
            BUF (copy);
            BUF (again);
            buf_add (&copy, raw.p, raw.len);
            if (bit == -1)
                copy.len = at;
            else
                copy.p[at] ^= (uint8_t) (1 << bit);
            if (manifest_parse (buf_bytes (&copy), &m, &e) == -1) {
                cr_assert (e.code == EC_MALFORMED || e.code == EC_OVERSIZED);
                refused++;
                continue;
            }
            cr_assert_eq (manifest_finish (&m, &again, &e), 0);
            cr_assert (bytes_eq (buf_bytes (&again), buf_bytes (&copy)), "what is taken is canonical");
            struct digest a = manifest_digest (buf_bytes (&copy)), b = manifest_digest (buf_bytes (&raw));
            cr_assert_not (digest_eq (&a, &b));
            other++;
            manifest_release (&m);
        }
    cr_assert_gt (refused, 500);
    cr_assert_gt (other, 100);
}

Test (manifest, bad_paths_and_links)
{
    static const char *const paths[] = { "", "/a", "a/", "a//b", ".", "..", "a/..", "./a", "a/./b", "a\nb", "a\x7f", "\xff", "a\x1b[0m", "\xc2\x85" };
    static const struct { const char *path, *target; bool ok; } links[] = {
        { "a", "b", true }, { "a", "..", false }, { "a", "/etc/passwd", false }, { "d/a", "../b", true }, { "d/a", "../../b", false },
        { "d/a", "x/../b", false }, { "a", "", false }, { "d/e/a", "../../x", true }, { "d/e/a", "../../../x", false }, { "a", "./b", true },
        { "d/a", "./../b", true }, { "a", "./..", false }, { "a", "b\n", false }, { "a", "b/..", false }, { "a", "...", true },
    };
    struct err e = ERR_INIT;
    struct manifest m;
    struct digest d = digest_of ("", 0);

    manifest_init (&m);
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        cr_assert_eq (manifest_add (&m, paths[i], 'f', 0, &d, NULL, &e), -1, "path %zu", i);
        for (const char *p = e.msg; *p; p++)
            cr_assert ((unsigned char) *p >= 0x20 && *p != 0x7f);
    }
    for (size_t i = 0; i < sizeof links / sizeof *links; i++)
        cr_assert_eq (manifest_link_check (links[i].path, links[i].target, &e) == 0, links[i].ok, "%s -> %s", links[i].path, links[i].target);
    manifest_release (&m);
}

Test (manifest, whole_rules)
{
    static const struct row bad[][2] = {
        { { "a", 'f', "x" }, { "a", 'f', "x" } },      /* twice */
        { { "a", 'f', "x" }, { "a/b", 'f', "x" } },    /* below a file */
        { { "a", 'l', "x" }, { "a/b", 'f', "x" } },    /* below a link */
        { { "a", 'd', NULL }, { "b/c", 'f', "x" } },   /* folder missing */
    };
    struct err e = ERR_INIT;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct manifest m;
        BUF (out);
        manifest_init (&m);
        cr_assert_eq (add (&m, &bad[i][0], &e), 0);
        cr_assert_eq (add (&m, &bad[i][1], &e), 0);
        cr_assert_eq (manifest_finish (&m, &out, &e), -1, "case %zu", i);
        manifest_release (&m);
    }
    struct digest d = digest_of ("x", 1), empty = manifest_empty ();
    struct manifest m;
    BUF (out);

    manifest_init (&m);
    manifest_add (&m, "a", 'f', 1, &d, NULL, &e);
    manifest_add (&m, "b", 'f', 2, &d, NULL, &e);
    cr_assert_eq (manifest_finish (&m, &out, &e), -1, "one digest, two sizes");
    manifest_release (&m);
    buf_release (&out);
    cr_assert_eq (manifest_finish (&m, &out, &e), 0);
    d = manifest_digest (buf_bytes (&out));
    cr_assert (digest_eq (&d, &empty));
}
