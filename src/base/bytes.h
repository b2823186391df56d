/* bytes.h: borrowed bytes, growing buffers, digests, hex and base64.
 *
 * struct bytes borrows; struct buf owns (buf_release, or scope-bound: `BUF (b);`). Lengths are bytes. Allocation failure
 * ends the process (there is no sane recovery in a daemon whose state is on disk); sizes that come from a peer are bounded
 * by the caller before they reach here.
 */
#ifndef ASSAY_BASE_BYTES_H
#define ASSAY_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct bytes {
    const uint8_t *p;
    size_t len;
};

struct buf {
    uint8_t *p;
    size_t len, cap;
};

#define BUF(name) __attribute__ ((cleanup (buf_release))) struct buf name = { NULL, 0, 0 }
#define CLEANUP(fn) __attribute__ ((cleanup (fn)))

void buf_release (struct buf *b);                                /* frees, zeroes the struct; NULL-safe */
void buf_add (struct buf *b, const void *p, size_t len);
void buf_room (struct buf *b, size_t len);                       /* len more bytes will be added: grow once, not often */
uint8_t *buf_grow (struct buf *b, size_t len);                   /* room for len more bytes, counted in; returns them */
void buf_addf (struct buf *b, const char *fmt, ...) __attribute__ ((format (printf, 2, 3)));
void buf_adds (struct buf *b, const char *s);
const char *buf_str (struct buf *b);                             /* NUL after the end (not counted); never NULL */
static inline struct bytes buf_bytes (const struct buf *b) { return (struct bytes){ b->p, b->len }; }
static inline struct bytes bytes_of (const void *p, size_t len) { return (struct bytes){ (const uint8_t *) p, len }; }
struct bytes bytes_str (const char *s);                          /* without the NUL; NULL gives none */
bool bytes_eq (struct bytes a, struct bytes b);                  /* not for secrets */
bool bytes_eqs (struct bytes a, const char *s);
char *bytes_dup (struct bytes b);                                /* malloc'd, NUL added */
bool bytes_copy (struct bytes b, char *dst, size_t size);        /* as a C string; false if too long or a NUL is inside */

void *xmalloc (size_t n);
void *xcalloc (size_t n, size_t size);
void *xrealloc (void *p, size_t n);
char *xstrdup (const char *s);
char *xasprintf (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));
void free_ptr (void *pp);                                        /* for CLEANUP: frees *(void **) pp and clears it */

struct digest {
    uint8_t b[32];
};
#define DIGEST_HEX 65 /* 64 and the NUL */

struct digest digest_of (const void *p, size_t len);             /* SHA-256 through OpenSSL EVP */
bool digest_eq (const struct digest *a, const struct digest *b);
bool digest_zero (const struct digest *a);
int digest_cmp (const void *a, const void *b);                   /* for qsort */
char *digest_hex (const struct digest *d, char out[DIGEST_HEX]); /* returns out */
bool digest_parse (const char *hex, struct digest *d);           /* exactly 64 lower-case digits */

/* Streaming SHA-256. digest_end also frees; digest_drop frees without a result. */
struct digest_ctx;
struct digest_ctx *digest_begin (void);
void digest_add (struct digest_ctx *c, const void *p, size_t len);
void digest_end (struct digest_ctx **c, struct digest *out);
void digest_drop (struct digest_ctx **c);

void hex_encode (const void *p, size_t len, char *out);          /* 2*len + 1 bytes */
bool hex_decode (const char *hex, void *out, size_t len);        /* exactly 2*len lower-case digits, then NUL */
void base64_add (struct buf *out, struct bytes b);               /* standard alphabet, padded */
bool base64_decode (struct bytes text, struct buf *out);         /* strict; false if malformed */

bool utf8_valid (struct bytes b);                                /* RFC 3629: no surrogates, no overlong; NUL refused */
/* Copy for a person's terminal: control characters, DEL, C1 and bad UTF-8 become '?'; '\n' and '\t' stay if keep_lines. */
void text_clean (struct bytes in, bool keep_lines, struct buf *out);
/* A name: 1..63 of [a-z0-9._-], first a letter or digit. Principals, owners, steps, labels' parts. */
bool name_valid (const char *s);
/* A project: names joined by '/', at most 127 bytes; no empty part, none of "." or "..". */
bool project_valid (const char *s);

#endif
