/* args.h: an argument list for exec: `ARGS (a);` and args_add (&a, "x", "y", NULL); a.v ends with NULL. */
#ifndef ASSAY_WORKER_ARGS_H
#define ASSAY_WORKER_ARGS_H

#include <stddef.h>

struct args {
    char **v;
    size_t n, cap;
};
#define ARGS(name) __attribute__ ((cleanup (args_release))) struct args name = { NULL, 0, 0 }

void args_add (struct args *a, ...) __attribute__ ((sentinel));                             /* strings, then NULL; copied */
void args_addf (struct args *a, const char *fmt, ...) __attribute__ ((format (printf, 2, 3))); /* one argument */
void args_release (struct args *a);

#endif
