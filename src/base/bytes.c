#include "base/bytes.h"

#include <openssl/evp.h>
#include <sodium.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- memory ---- */

static void out_of_memory (size_t n)
{
    fprintf (stderr, "out of memory (%zu bytes)\n", n);
    abort ();
}

void *xmalloc (size_t n)
{
    void *p = malloc (n ? n : 1);
    if (!p)
        out_of_memory (n);
    return p;
}

void *xcalloc (size_t n, size_t size)
{
    void *p = calloc (n ? n : 1, size ? size : 1);
    if (!p)
        out_of_memory (n * size);
    return p;
}

void *xrealloc (void *p, size_t n)
{
    p = realloc (p, n ? n : 1);
    if (!p)
        out_of_memory (n);
    return p;
}

char *xstrdup (const char *s)
{
    size_t n = strlen (s) + 1;
    return memcpy (xmalloc (n), s, n);
}

char *xasprintf (const char *fmt, ...)
{
    va_list ap;
    char *s = NULL;
    va_start (ap, fmt);
    if (vasprintf (&s, fmt, ap) == -1)
        out_of_memory (0);
    va_end (ap);
    return s;
}

void free_ptr (void *pp)
{
    void *p;
    memcpy (&p, pp, sizeof p);
    free (p);
    memset (pp, 0, sizeof p);
}

/* ---- buffers ---- */

void buf_release (struct buf *b)
{
    if (b) {
        free (b->p);
        *b = (struct buf){ NULL, 0, 0 };
    }
}

void buf_room (struct buf *b, size_t len)
{
    if (b->p && len <= b->cap - b->len) /* room for nothing is a place too: NULL plus an offset is none */
        return;
    size_t cap = b->cap ? b->cap : 64;
    while (cap - b->len < len)
        cap = cap > SIZE_MAX / 2 ? b->len + len : cap * 2;
    b->p = xrealloc (b->p, cap);
    b->cap = cap;
}

uint8_t *buf_grow (struct buf *b, size_t len)
{
    buf_room (b, len);
    uint8_t *at = b->p + b->len;
    b->len += len;
    return at;
}

void buf_add (struct buf *b, const void *p, size_t len)
{
    if (len)
        memcpy (buf_grow (b, len), p, len);
}

void buf_adds (struct buf *b, const char *s)
{
    buf_add (b, s, strlen (s));
}

void buf_addf (struct buf *b, const char *fmt, ...)
{
    va_list ap, again;
    va_start (ap, fmt);
    va_copy (again, ap);
    int n = vsnprintf (NULL, 0, fmt, ap);
    va_end (ap);
    if (n > 0) {
        buf_room (b, (size_t) n + 1);
        (void) vsnprintf ((char *) b->p + b->len, (size_t) n + 1, fmt, again);
        b->len += (size_t) n;
    }
    va_end (again);
}

const char *buf_str (struct buf *b)
{
    buf_room (b, 1);
    b->p[b->len] = 0;
    return (const char *) b->p;
}

struct bytes bytes_str (const char *s)
{
    return s ? bytes_of (s, strlen (s)) : bytes_of (NULL, 0);
}

bool bytes_eq (struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp (a.p, b.p, a.len) == 0);
}

bool bytes_eqs (struct bytes a, const char *s)
{
    return bytes_eq (a, bytes_str (s));
}

char *bytes_dup (struct bytes b)
{
    char *s = xmalloc (b.len + 1);
    if (b.len)
        memcpy (s, b.p, b.len);
    s[b.len] = 0;
    return s;
}

bool bytes_copy (struct bytes b, char *dst, size_t size)
{
    if (b.len >= size || (b.len && memchr (b.p, 0, b.len)))
        return false;
    if (b.len)
        memcpy (dst, b.p, b.len);
    dst[b.len] = 0;
    return true;
}

/* ---- digests ---- */

struct digest_ctx {
    EVP_MD_CTX *evp;
};

/* Fetched once: an implicit fetch for each digest costs more than hashing a small blob. */
static const EVP_MD *sha256 (void)
{
    static EVP_MD *md;
    EVP_MD *seen = __atomic_load_n (&md, __ATOMIC_ACQUIRE);
    if (!seen) {
        EVP_MD *fresh = EVP_MD_fetch (NULL, "SHA256", NULL);
        if (!fresh)
            abort ();
        if (__atomic_compare_exchange_n (&md, &seen, fresh, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
            return fresh;
        EVP_MD_free (fresh);
    }
    return seen;
}

struct digest_ctx *digest_begin (void)
{
    struct digest_ctx *c = xmalloc (sizeof *c);
    c->evp = EVP_MD_CTX_new ();
    if (!c->evp || EVP_DigestInit_ex (c->evp, sha256 (), NULL) != 1)
        abort ();
    return c;
}

void digest_add (struct digest_ctx *c, const void *p, size_t len)
{
    if (len && EVP_DigestUpdate (c->evp, p, len) != 1)
        abort ();
}

void digest_drop (struct digest_ctx **c)
{
    if (*c) {
        EVP_MD_CTX_free ((*c)->evp);
        free (*c);
        *c = NULL;
    }
}

void digest_end (struct digest_ctx **c, struct digest *out)
{
    unsigned n = 0;
    if (EVP_DigestFinal_ex ((*c)->evp, out->b, &n) != 1 || n != sizeof out->b)
        abort ();
    digest_drop (c);
}

struct digest digest_of (const void *p, size_t len)
{
    struct digest d;
    struct digest_ctx *c = digest_begin ();
    digest_add (c, p, len);
    digest_end (&c, &d);
    return d;
}

bool digest_eq (const struct digest *a, const struct digest *b)
{
    return memcmp (a->b, b->b, sizeof a->b) == 0;
}

bool digest_zero (const struct digest *a)
{
    static const struct digest zero;
    return digest_eq (a, &zero);
}

int digest_cmp (const void *a, const void *b)
{
    return memcmp (((const struct digest *) a)->b, ((const struct digest *) b)->b, 32);
}

char *digest_hex (const struct digest *d, char out[DIGEST_HEX])
{
    hex_encode (d->b, sizeof d->b, out);
    return out;
}

bool digest_parse (const char *hex, struct digest *d)
{
    return hex_decode (hex, d->b, sizeof d->b);
}

/* ---- text forms ---- */

void hex_encode (const void *p, size_t len, char *out)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *b = p;
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[b[i] >> 4];
        out[2 * i + 1] = digits[b[i] & 15];
    }
    out[2 * len] = 0;
}

static int hex_digit (char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool hex_decode (const char *hex, void *out, size_t len)
{
    uint8_t *b = out;
    if (strlen (hex) != 2 * len)
        return false;
    for (size_t i = 0; i < len; i++) {
        int hi = hex_digit (hex[2 * i]), lo = hex_digit (hex[2 * i + 1]);
        if (hi < 0 || lo < 0)
            return false;
        b[i] = (uint8_t) (hi << 4 | lo);
    }
    return true;
}

/* libcrypto's: what is encoded here is no secret, and libsodium's, which hides what it works on from a clock, takes ten times as long. */
void base64_add (struct buf *out, struct bytes b)
{
    size_t n = (b.len + 2) / 3 * 4;
    if (b.len == 0)
        return;
    uint8_t *at = buf_grow (out, n + 1);
    EVP_EncodeBlock (at, b.p, (int) b.len);
    out->len--; /* the NUL */
}

#define NO 0x40 /* set where a byte is no letter of base64 */

static uint8_t base64_value (uint8_t c)
{
    static const uint8_t after[256] = { /* one more than its value; 0, and so 0xff: no letter */
        ['A'] = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26,
        ['a'] = 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, 52,
        ['0'] = 53, 54, 55, 56, 57, 58, 59, 60, 61, 62, ['+'] = 63, ['/'] = 64
    };
    return (uint8_t) (after[c] - 1);
}

/* One pass, and strict: EVP_DecodeBlock takes white space at both ends, '=' for a letter and bits that are in no byte, so that all would be read
 * twice. */
bool base64_decode (struct bytes text, struct buf *out)
{
    if (text.len == 0)
        return true;
    if (text.len % 4 || text.len > INT32_MAX)
        return false;
    size_t pad = text.p[text.len - 1] != '=' ? 0 : text.p[text.len - 2] != '=' ? 1 : 2, n = text.len / 4 * 3 - pad, letters = text.len - pad;
    uint8_t *at = buf_grow (out, n), seen = 0;
    size_t i = 0;
    for (; i + 4 <= letters; i += 4, at += 3) {
        uint8_t a = base64_value (text.p[i]), b = base64_value (text.p[i + 1]), c = base64_value (text.p[i + 2]), d = base64_value (text.p[i + 3]);
        seen |= a | b | c | d;
        at[0] = (uint8_t) (a << 2 | b >> 4);
        at[1] = (uint8_t) (b << 4 | c >> 2);
        at[2] = (uint8_t) (c << 6 | d);
    }
    if (pad) { /* two letters or three are left; their last bits are in no byte */
        uint8_t a = base64_value (text.p[i]), b = base64_value (text.p[i + 1]), c = pad == 1 ? base64_value (text.p[i + 2]) : 0;
        seen |= a | b | c;
        at[0] = (uint8_t) (a << 2 | b >> 4);
        if (pad == 1)
            at[1] = (uint8_t) (b << 4 | c >> 2);
        if (pad == 1 ? c & 3 : b & 15)
            seen |= NO;
    }
    if (seen & NO)
        out->len -= n;
    return !(seen & NO);
}

/* Length of the well-formed sequence at p (RFC 3629), or 0. */
static size_t utf8_step (const uint8_t *p, size_t len)
{
    if (p[0] < 0x80)
        return 1;
    if (p[0] >= 0xc2 && p[0] <= 0xdf)
        return len >= 2 && (p[1] & 0xc0) == 0x80 ? 2 : 0;
    if ((p[0] & 0xf0) == 0xe0) {
        uint8_t lo = p[0] == 0xe0 ? 0xa0 : 0x80, hi = p[0] == 0xed ? 0x9f : 0xbf;
        return len >= 3 && p[1] >= lo && p[1] <= hi && (p[2] & 0xc0) == 0x80 ? 3 : 0;
    }
    if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        uint8_t lo = p[0] == 0xf0 ? 0x90 : 0x80, hi = p[0] == 0xf4 ? 0x8f : 0xbf;
        return len >= 4 && p[1] >= lo && p[1] <= hi && (p[2] & 0xc0) == 0x80 && (p[3] & 0xc0) == 0x80 ? 4 : 0;
    }
    return 0;
}

bool utf8_valid (struct bytes b)
{
    for (size_t i = 0; i < b.len;) {
        size_t n = b.p[i] ? utf8_step (b.p + i, b.len - i) : 0;
        if (!n)
            return false;
        i += n;
    }
    return true;
}

void text_clean (struct bytes in, bool keep_lines, struct buf *out)
{
    for (size_t i = 0; i < in.len;) {
        size_t n = utf8_step (in.p + i, in.len - i);
        uint8_t c = in.p[i];
        bool control = n == 1 ? c < 0x20 || c == 0x7f : n == 2 && c == 0xc2 && in.p[i + 1] < 0xa0;
        /* Bidirectional overrides (U+202A..E, U+2066..9) would reorder a line on the terminal. */
        if (n == 3 && c == 0xe2 && ((in.p[i + 1] == 0x80 && in.p[i + 2] >= 0xaa && in.p[i + 2] <= 0xae)
                                    || (in.p[i + 1] == 0x81 && in.p[i + 2] >= 0xa6 && in.p[i + 2] <= 0xa9)))
            control = true;
        if (n == 0 || (control && !(keep_lines && (c == '\n' || c == '\t'))))
            buf_add (out, "?", 1);
        else
            buf_add (out, in.p + i, n);
        i += n ? n : 1;
    }
}

static bool name_part (const char *s, size_t len)
{
    if (len == 0 || len > 63 || !((s[0] >= 'a' && s[0] <= 'z') || (s[0] >= '0' && s[0] <= '9')))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!((s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9') || s[i] == '.' || s[i] == '_' || s[i] == '-'))
            return false;
    return true;
}

bool name_valid (const char *s)
{
    return name_part (s, strlen (s));
}

bool project_valid (const char *s)
{
    if (strlen (s) > 127)
        return false;
    for (;;) {
        size_t n = strcspn (s, "/");
        if (!name_part (s, n))
            return false;
        if (!s[n])
            return true;
        s += n + 1;
    }
}
