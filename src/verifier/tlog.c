#include "verifier/tlog.h"

#include <string.h>

struct digest tlog_leaf (struct bytes data)
{
    static const uint8_t zero = 0;
    struct digest_ctx *c = digest_begin ();
    struct digest d;
    digest_add (c, &zero, 1);
    digest_add (c, data.p, data.len);
    digest_end (&c, &d);
    return d;
}

struct digest tlog_node (const struct digest *left, const struct digest *right)
{
    uint8_t in[65] = { 1 };
    memcpy (in + 1, left->b, 32);
    memcpy (in + 33, right->b, 32);
    return digest_of (in, sizeof in);
}

struct digest tlog_empty (void)
{
    return digest_of ("", 0);
}

/* Root of 2^height hashes beside each other. */
static struct digest fold (const struct digest *v, size_t n)
{
    struct digest level[TLOG_TILE];
    memcpy (level, v, n * sizeof *v);
    for (; n > 1; n /= 2)
        for (size_t i = 0; i < n / 2; i++)
            level[i] = tlog_node (&level[2 * i], &level[2 * i + 1]);
    return level[0];
}

struct digest tlog_tile_root (const struct digest hashes[TLOG_TILE])
{
    return fold (hashes, TLOG_TILE);
}

/* The complete subtree of 2^height leaves that begins at leaf index << height. */
static int subtree (const struct tlog_source *src, unsigned height, uint64_t index, struct digest *out, struct err *e)
{
    unsigned level = height / 8, rest = height % 8;
    uint64_t first = index << rest;
    const struct digest *v;
    size_t count, at = (size_t) (first % TLOG_TILE), n = (size_t) 1 << rest;
    if (src->tile (src->arg, level, first / TLOG_TILE, &v, &count, e) == -1)
        return -1;
    if (count < at + n)
        return err_code (e, EC_DAMAGED, "verdict log: tile %u/%llu is short", level, (unsigned long long) (first / TLOG_TILE));
    *out = fold (v + at, n);
    return 0;
}

/* The largest power of two below n, for n > 1. */
static uint64_t below (uint64_t n)
{
    uint64_t k = 1;
    while (k * 2 < n)
        k *= 2;
    return k;
}

/* MTH (D[lo:hi]). lo is a multiple of the subtree's size rounded up, as the recursions of RFC 6962 make it. */
static int range (const struct tlog_source *src, uint64_t lo, uint64_t hi, struct digest *out, struct err *e)
{
    uint64_t n = hi - lo;
    if ((n & (n - 1)) == 0) {
        unsigned height = 0;
        while ((uint64_t) 1 << height < n)
            height++;
        return subtree (src, height, lo >> height, out, e);
    }
    struct digest left, right;
    uint64_t k = below (n);
    if (range (src, lo, lo + k, &left, e) == -1 || range (src, lo + k, hi, &right, e) == -1)
        return -1;
    *out = tlog_node (&left, &right);
    return 0;
}

int tlog_root (const struct tlog_source *src, uint64_t size, struct digest *root, struct err *e)
{
    if (size == 0) {
        *root = tlog_empty ();
        return 0;
    }
    return range (src, 0, size, root, e);
}

static int put (const struct tlog_source *src, uint64_t lo, uint64_t hi, struct tlog_path *out, struct err *e)
{
    if (out->n == TLOG_PATH_MAX)
        return err_code (e, EC_OVERSIZED, "verdict log: a path beyond %u hashes", TLOG_PATH_MAX);
    return range (src, lo, hi, &out->v[out->n++], e);
}

int tlog_prove (const struct tlog_source *src, uint64_t index, uint64_t size, struct tlog_path *out, struct err *e)
{
    uint64_t lo = 0, hi = size;
    struct { uint64_t lo, hi; } sides[TLOG_PATH_MAX];
    size_t n = 0;
    out->n = 0;
    if (index >= size)
        return err_code (e, EC_NOT_FOUND, "verdict log: no entry %llu in a log of %llu", (unsigned long long) index, (unsigned long long) size);
    while (hi - lo > 1 && n < TLOG_PATH_MAX) { /* from the root down; the path is from the leaf up */
        uint64_t k = below (hi - lo);
        if (index - lo < k) {
            sides[n].lo = lo + k, sides[n++].hi = hi;
            hi = lo + k;
        } else {
            sides[n].lo = lo, sides[n++].hi = lo + k;
            lo += k;
        }
    }
    while (n > 0) {
        n--;
        if (put (src, sides[n].lo, sides[n].hi, out, e) == -1)
            return -1;
    }
    return 0;
}

/* RFC 6962, 2.1.2: SUBPROOF (m, D[lo:hi], whole). */
static int subproof (const struct tlog_source *src, uint64_t m, uint64_t lo, uint64_t hi, bool whole, struct tlog_path *out, struct err *e)
{
    uint64_t n = hi - lo;
    if (m == n)
        return whole ? 0 : put (src, lo, hi, out, e);
    uint64_t k = below (n);
    if (m <= k)
        return subproof (src, m, lo, lo + k, whole, out, e) == -1 ? -1 : put (src, lo + k, hi, out, e);
    return subproof (src, m - k, lo + k, hi, false, out, e) == -1 ? -1 : put (src, lo, lo + k, out, e);
}

int tlog_prove_growth (const struct tlog_source *src, uint64_t old, uint64_t size, struct tlog_path *out, struct err *e)
{
    out->n = 0;
    if (old > size)
        return err_code (e, EC_NOT_FOUND, "verdict log: %llu entries are not in a log of %llu", (unsigned long long) old, (unsigned long long) size);
    return old == 0 || old == size ? 0 : subproof (src, old, 0, size, true, out, e);
}

/* RFC 9162, 2.1.3.2 */
bool tlog_check (const struct digest *leaf, uint64_t index, uint64_t size, const struct tlog_path *path, const struct digest *root)
{
    struct digest r = *leaf;
    uint64_t fn = index, sn = size - 1;
    if (index >= size || path->n > TLOG_PATH_MAX)
        return false;
    for (size_t i = 0; i < path->n; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) || fn == sn) {
            r = tlog_node (&path->v[i], &r);
            while (!(fn & 1) && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else
            r = tlog_node (&r, &path->v[i]);
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && digest_eq (&r, root);
}

/* RFC 9162, 2.1.4.2 */
bool tlog_check_growth (uint64_t old, const struct digest *old_root, uint64_t size, const struct digest *root, const struct tlog_path *path)
{
    struct digest empty = tlog_empty ();
    if (old > size || path->n > TLOG_PATH_MAX)
        return false;
    if (old == size)
        return path->n == 0 && digest_eq (old_root, root);
    if (old == 0)
        return path->n == 0 && digest_eq (old_root, &empty);
    uint64_t fn = old - 1, sn = size - 1;
    size_t i = 0;
    while (fn & 1) {
        fn >>= 1;
        sn >>= 1;
    }
    if (path->n == 0 && fn != 0)
        return false;
    bool power = (old & (old - 1)) == 0; /* then the old root itself begins the path, and is not sent */
    if (!power && path->n == 0)
        return false;
    struct digest fr = power ? *old_root : path->v[i++], sr = fr;
    for (; i < path->n; i++) {
        if (sn == 0)
            return false;
        if ((fn & 1) || fn == sn) {
            fr = tlog_node (&path->v[i], &fr);
            sr = tlog_node (&path->v[i], &sr);
            while (!(fn & 1) && fn != 0) {
                fn >>= 1;
                sn >>= 1;
            }
        } else
            sr = tlog_node (&sr, &path->v[i]);
        fn >>= 1;
        sn >>= 1;
    }
    return sn == 0 && digest_eq (&fr, old_root) && digest_eq (&sr, root);
}
