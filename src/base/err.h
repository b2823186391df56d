/* err.h: the one error space of assay.
 *
 * Purpose: a failure of the environment or a peer travels up as a value that says what went wrong, with which name or
 * number, and what to do. Bugs assert; nothing below main() prints or exits.
 *
 * Calling sequence: a function that can fail takes `struct err *e` last, returns 0 or -1 (or NULL), and on failure has
 * filled *e. `e` may be NULL when the caller does not care. Text is cut, never overrun. A caller adds context with err_wrap().
 *
 *     struct err e = ERR_INIT;
 *     if (file_read (path, 1 << 20, &b, &e) == -1)
 *         return err_wrap (&e, "roster");                 // "roster: /x/y: No such file or directory"
 */
#ifndef ASSAY_BASE_ERR_H
#define ASSAY_BASE_ERR_H

#include <stdarg.h>

/* The kind decides the exit status of a program (design, section 9) and, for a peer's misbehaviour, the code on the wire. */
enum err_kind {
    ERR_NONE = 0,
    ERR_FAILED = 1,      /* the step failed; also any failure of the environment: disk, memory, a helper program */
    ERR_USAGE = 2,       /* the caller's words, a configuration or a recipe */
    ERR_UNTRUSTED = 3,   /* disputed, unreproducible, provisional, unsatisfiable, ... */
    ERR_DENIED = 4,      /* not allowed: role, project, revoked */
    ERR_UNREACHABLE = 5, /* no answer in time; busy for too long */
    ERR_DAMAGED = 6      /* damaged or forged input: signature, digest, malformed bytes, broken chain */
};

/* Named protocol errors, as sent in the `error` message; PROTOCOL.md lists the same. Keep in step with err_name(). */
enum err_code {
    EC_NONE = 0,
    EC_MALFORMED,     /* not a message: bad msgpack, wrong order, trailing bytes, bad UTF-8, nested */
    EC_OVERSIZED,     /* a frame or field beyond its bound, or too many frames */
    EC_VERSION,       /* protocol version not spoken here */
    EC_UNKNOWN_TYPE,  /* no such message */
    EC_UNEXPECTED,    /* known, but not in this state or direction */
    EC_NOT_ALLOWED,   /* the sender's roles or projects do not allow it */
    EC_BAD_SIGNATURE, /* does not verify under the key that the roster names */
    EC_UNKNOWN_KEY,   /* the signer or sender is not in the roster */
    EC_REVOKED,       /* ... or no longer */
    EC_REPLAYED,      /* seen before, and not the idempotent kind */
    EC_EXPIRED,       /* its time is over, or lies in the future */
    EC_NOT_FOUND,
    EC_CONFLICT,      /* state does not allow it: finished step, other content under the same name */
    EC_BUSY,          /* back-pressure: try again after the delay named */
    EC_QUOTA,         /* a quota, cap or floor is reached */
    EC_DAMAGED,       /* digest does not match; stored bytes are bad */
    EC_INTERNAL,      /* the service's own trouble (disk full, ...) */
    EC_COUNT
};

struct err {
    enum err_kind kind;
    enum err_code code;
    char msg[768];
};
#define ERR_INIT { ERR_NONE, EC_NONE, "" }

/* Fill *e; always return -1, so that `return err_set (e, ...)` reads well. err_code() sets kind from the code. */
int err_set (struct err *e, enum err_kind kind, const char *fmt, ...) __attribute__ ((format (printf, 3, 4)));
int err_code (struct err *e, enum err_code code, const char *fmt, ...) __attribute__ ((format (printf, 3, 4)));
/* "fmt: strerror (errno)"; kind ERR_FAILED. errno is read first. */
int err_errno (struct err *e, const char *fmt, ...) __attribute__ ((format (printf, 2, 3)));
/* Put "fmt: " before the message; kind and code stay. Returns -1. */
int err_wrap (struct err *e, const char *fmt, ...) __attribute__ ((format (printf, 2, 3)));
/* "malformed", "not-allowed", ...; "unknown" out of range. err_code_kind: the exit kind of a code. */
const char *err_name (enum err_code code);
enum err_kind err_code_kind (enum err_code code);

#endif
