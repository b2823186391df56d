/* The verdict log's tree: the vectors of RFC 6962's reference implementation, every proof of every small log, and what is altered. */
#include "verifier/note.h"
#include "verifier/tlog.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "auth/key.h"

#define ENTRIES 600u

static struct {
    struct digest *level[3];
    size_t n[3];
} t;

static void append (struct digest leaf)
{
    for (unsigned l = 0; l < 3; l++) {
        t.level[l] = xrealloc (t.level[l], (t.n[l] + 1) * sizeof leaf);
        t.level[l][t.n[l]++] = leaf;
        if (t.n[l] % TLOG_TILE)
            return;
        leaf = tlog_tile_root (t.level[l] + t.n[l] - TLOG_TILE);
    }
}

static int tile (void *arg, unsigned level, uint64_t n, const struct digest **v, size_t *count, struct err *e)
{
    (void) arg;
    if (level > 2 || n * TLOG_TILE >= t.n[level])
        return err_code (e, EC_NOT_FOUND, "no tile");
    *v = t.level[level] + n * TLOG_TILE;
    *count = t.n[level] - n * TLOG_TILE < TLOG_TILE ? t.n[level] - (size_t) n * TLOG_TILE : TLOG_TILE;
    return 0;
}

static const struct tlog_source src = { tile, NULL };

static void fill (size_t n)
{
    for (size_t i = 0; i < n; i++) {
        char text[32];
        snprintf (text, sizeof text, "entry %zu", i);
        append (tlog_leaf (bytes_str (text)));
    }
}

static void drop (void)
{
    for (unsigned l = 0; l < 3; l++)
        free (t.level[l]);
    memset (&t, 0, sizeof t);
}

/* The definition, without tiles. */
static struct digest mth (const struct digest *v, size_t n)
{
    size_t k = 1;
    if (n == 1)
        return *v;
    while (k * 2 < n)
        k *= 2;
    struct digest a = mth (v, k), b = mth (v + k, n - k);
    return tlog_node (&a, &b);
}

Test (tlog, vectors)
{
    static const struct {
        const char *data;
        size_t len;
        const char *root;
    } rows[] = { /* certificate-transparency's merkletree tests: the roots after each entry */
        { "", 0, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d" },
        { "\x00", 1, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125" },
        { "\x10", 1, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77" },
        { "\x20\x21", 2, "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7" },
        { "\x30\x31", 2, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4" },
        { "\x40\x41\x42\x43", 4, "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef" },
        { "\x50\x51\x52\x53\x54\x55\x56\x57", 8, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c" },
        { "\x60\x61\x62\x63\x64\x65\x66\x67\x68\x69\x6a\x6b\x6c\x6d\x6e\x6f", 16, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328" },
    };
    char hex[DIGEST_HEX];
    struct digest root, empty = tlog_empty ();
    struct err e = ERR_INIT;
    cr_assert_str_eq (digest_hex (&empty, hex), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        append (tlog_leaf (bytes_of (rows[i].data, rows[i].len)));
        cr_assert_eq (tlog_root (&src, i + 1, &root, &e), 0, "%s", e.msg);
        cr_assert_str_eq (digest_hex (&root, hex), rows[i].root, "size %zu", i + 1);
    }
    drop ();
}

Test (tlog, every_inclusion_proof_of_every_small_log, .timeout = 120)
{
    struct err e = ERR_INIT;
    fill (ENTRIES);
    for (size_t size = 1; size <= ENTRIES; size += size < 70 || (size > 250 && size < 262) ? 1 : 37) {
        struct digest root, want = mth (t.level[0], size);
        cr_assert_eq (tlog_root (&src, size, &root, &e), 0);
        cr_assert (digest_eq (&root, &want), "root of %zu", size);
        for (size_t i = 0; i < size; i++) {
            struct tlog_path p;
            cr_assert_eq (tlog_prove (&src, i, size, &p, &e), 0, "%s", e.msg);
            cr_assert (tlog_check (&t.level[0][i], i, size, &p, &root), "%zu of %zu", i, size);
            struct digest other = t.level[0][(i + 1) % ENTRIES];
            cr_assert_not (tlog_check (&other, i, size, &p, &root));
            cr_assert (size == 1 || !tlog_check (&t.level[0][i], i ^ 1, size, &p, &root));
            if (p.n) {
                struct tlog_path bad = p;
                bad.v[i % p.n].b[i % 32] ^= 1;
                cr_assert_not (tlog_check (&t.level[0][i], i, size, &bad, &root));
                bad = p;
                bad.n--;
                cr_assert_not (tlog_check (&t.level[0][i], i, size, &bad, &root));
            }
            p.v[p.n++] = root;
            cr_assert_not (tlog_check (&t.level[0][i], i, size, &p, &root), "a longer path");
        }
        struct tlog_path p;
        cr_assert_eq (tlog_prove (&src, size, size, &p, &e), -1);
    }
    drop ();
}

Test (tlog, every_growth_proof_of_every_small_log, .timeout = 120)
{
    struct err e = ERR_INIT;
    fill (ENTRIES);
    for (size_t size = 1; size <= ENTRIES; size += size < 40 || (size > 254 && size < 259) ? 1 : 53)
        for (size_t old = 0; old <= size; old++) {
            struct digest a = old ? mth (t.level[0], old) : tlog_empty (), b = mth (t.level[0], size), c = a;
            struct tlog_path p;
            cr_assert_eq (tlog_prove_growth (&src, old, size, &p, &e), 0, "%s", e.msg);
            cr_assert (tlog_check_growth (old, &a, size, &b, &p), "%zu in %zu", old, size);
            c.b[7] ^= 4;
            cr_assert_not (tlog_check_growth (old, &c, size, &b, &p), "another past: %zu in %zu", old, size);
            cr_assert (old == 0 || !tlog_check_growth (old, &a, size, &c, &p));
            if (p.n) {
                struct tlog_path bad = p;
                bad.v[old % p.n].b[old % 32] ^= 1;
                cr_assert_not (tlog_check_growth (old, &a, size, &b, &bad));
                bad = p;
                bad.n--;
                cr_assert_not (tlog_check_growth (old, &a, size, &b, &bad));
            }
            p.v[p.n++] = b;
            cr_assert_not (tlog_check_growth (old, &a, size, &b, &p));
        }
    drop ();
}

Test (tlog, paths_of_any_length_never_hurt)
{
    struct tlog_path p = { .n = TLOG_PATH_MAX };
    struct digest d = tlog_empty ();
    for (uint64_t size = 1; size; size <<= 1)
        for (size_t n = 0; n <= TLOG_PATH_MAX; n++) {
            p.n = n;
            cr_assert_not (tlog_check (&d, size - 1, size, &p, &d) && n);
            cr_assert_not (tlog_check_growth (size / 2 + 1, &d, size + 3, &d, &p));
        }
}

Test (note, round_trip_and_every_change_is_refused)
{
    struct sign_key key, witness;
    struct err e = ERR_INIT;
    struct note n;
    char origin[NOTE_NAME], name[NOTE_NAME + 8];
    uint8_t root_key[32] = { 7 };
    BUF (text);
    BUF (raw);
    cr_assert_eq (rootkey_make (&key, &e), 0);
    cr_assert_eq (rootkey_make (&witness, &e), 0);
    struct digest root = digest_of ("x", 1);
    note_origin (root_key, "verifier", origin);
    snprintf (name, sizeof name, "%s/w", origin);
    note_text (origin, 42, &root, &text);
    buf_add (&raw, text.p, text.len);
    buf_adds (&raw, "\n");
    note_sign (origin, buf_bytes (&text), &key, &raw);
    note_sign (name, buf_bytes (&text), &witness, &raw);
    cr_assert_eq (note_parse (buf_bytes (&raw), &n, &e), 0, "%s", e.msg);
    cr_assert (n.size == 42 && n.n == 2 && !strcmp (n.origin, origin) && digest_eq (&n.root, &root));
    cr_assert_eq (note_check (&n, origin, key.pub, &e), 0, "%s", e.msg);
    cr_assert_eq (note_check (&n, name, witness.pub, &e), 0, "%s", e.msg);
    cr_assert_eq (note_check (&n, name, key.pub, &e), -1);
    cr_assert_eq (note_check (&n, origin, witness.pub, &e), -1);
    note_release (&n);
    for (size_t i = 0; i < raw.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            raw.p[i] ^= (uint8_t) (1 << bit);
            struct note m;
            bool both = note_parse (buf_bytes (&raw), &m, NULL) == 0 && note_check (&m, origin, key.pub, NULL) == 0 && note_check (&m, name, witness.pub, NULL) == 0;
            cr_assert_not (both, "byte %zu bit %d", i, bit);
            note_release (&m);
            raw.p[i] ^= (uint8_t) (1 << bit);
        }
    for (size_t i = 0; i < raw.len; i++) {
        struct note m;
        bool good = note_parse (bytes_of (raw.p, i), &m, NULL) == 0 && note_check (&m, name, witness.pub, NULL) == 0;
        cr_assert_not (good, "cut at %zu", i);
        note_release (&m);
    }
    static const char *const bad[] = { "", "\n", "o\n1\n", "o\n01\nAAAA\n\n", "o\n-1\nAAAA\n\n", "o p\n1\nAAAA\n\n", "o\n99999999999999999999\nAAAA\n\n" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct note m;
        cr_assert_eq (note_parse (bytes_str (bad[i]), &m, &e), -1, "%s", bad[i]);
        note_release (&m);
    }
    rootkey_release (&key);
    rootkey_release (&witness);
}
