#include "base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    enum err_kind kind;
} codes[EC_COUNT] = {
    [EC_NONE] = { "none", ERR_FAILED },
    [EC_MALFORMED] = { "malformed", ERR_DAMAGED },
    [EC_OVERSIZED] = { "oversized", ERR_DAMAGED },
    [EC_VERSION] = { "version", ERR_DAMAGED },
    [EC_UNKNOWN_TYPE] = { "unknown-type", ERR_DAMAGED },
    [EC_UNEXPECTED] = { "unexpected", ERR_DAMAGED },
    [EC_NOT_ALLOWED] = { "not-allowed", ERR_DENIED },
    [EC_BAD_SIGNATURE] = { "bad-signature", ERR_DAMAGED },
    [EC_UNKNOWN_KEY] = { "unknown-key", ERR_DENIED },
    [EC_REVOKED] = { "revoked", ERR_DENIED },
    [EC_REPLAYED] = { "replayed", ERR_DENIED },
    [EC_EXPIRED] = { "expired", ERR_DENIED },
    [EC_NOT_FOUND] = { "not-found", ERR_FAILED },
    [EC_CONFLICT] = { "conflict", ERR_USAGE },
    [EC_BUSY] = { "busy", ERR_UNREACHABLE },
    [EC_QUOTA] = { "quota", ERR_DENIED },
    [EC_DAMAGED] = { "damaged", ERR_DAMAGED },
    [EC_INTERNAL] = { "internal", ERR_FAILED },
};

const char *err_name (enum err_code code)
{
    return (unsigned) code < EC_COUNT ? codes[code].name : "unknown";
}

enum err_kind err_code_kind (enum err_code code)
{
    return (unsigned) code < EC_COUNT ? codes[code].kind : ERR_FAILED;
}

int err_set (struct err *e, enum err_kind kind, const char *fmt, ...)
{
    if (e) {
        va_list ap;
        va_start (ap, fmt);
        e->kind = kind;
        e->code = EC_NONE;
        (void) vsnprintf (e->msg, sizeof e->msg, fmt, ap);
        va_end (ap);
    }
    return -1;
}

int err_code (struct err *e, enum err_code code, const char *fmt, ...)
{
    if (e) {
        va_list ap;
        va_start (ap, fmt);
        e->kind = err_code_kind (code);
        e->code = code;
        (void) vsnprintf (e->msg, sizeof e->msg, fmt, ap);
        va_end (ap);
    }
    return -1;
}

int err_errno (struct err *e, const char *fmt, ...)
{
    int saved = errno;

    if (e) {
        va_list ap;
        va_start (ap, fmt);
        e->kind = ERR_FAILED;
        e->code = EC_INTERNAL;
        int n = vsnprintf (e->msg, sizeof e->msg, fmt, ap);
        va_end (ap);
        if (n >= 0 && (size_t) n < sizeof e->msg)
            (void) snprintf (e->msg + n, sizeof e->msg - (size_t) n, ": %s", strerror (saved));
    }
    errno = saved;
    return -1;
}

int err_wrap (struct err *e, const char *fmt, ...)
{
    if (e) {
        char old[sizeof e->msg];
        memcpy (old, e->msg, sizeof old);
        va_list ap;
        va_start (ap, fmt);
        int n = vsnprintf (e->msg, sizeof e->msg, fmt, ap);
        va_end (ap);
        if (n >= 0 && (size_t) n < sizeof e->msg)
            (void) snprintf (e->msg + n, sizeof e->msg - (size_t) n, ": %s", old);
    }
    return -1;
}
