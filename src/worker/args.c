#include "config.h"

#include "worker/args.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/bytes.h"

static void put (struct args *a, char *owned)
{
    if (a->n + 2 > a->cap) {
        a->cap = a->cap ? a->cap * 2 : 64;
        a->v = xrealloc (a->v, a->cap * sizeof *a->v);
    }
    a->v[a->n++] = owned;
    a->v[a->n] = NULL;
}

void args_add (struct args *a, ...)
{
    va_list ap;
    va_start (ap, a);
    for (const char *s; (s = va_arg (ap, const char *));)
        put (a, xstrdup (s));
    va_end (ap);
}

void args_addf (struct args *a, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start (ap, fmt);
    if (vasprintf (&text, fmt, ap) == -1)
        abort ();
    va_end (ap);
    put (a, text);
}

void args_release (struct args *a)
{
    for (size_t i = 0; i < a->n; i++)
        free (a->v[i]);
    free (a->v);
    *a = (struct args){ NULL, 0, 0 };
}
