/* Any bytes: parsed, they must encode to the very same bytes again; else they are refused. */
#include <stdlib.h>
#include <string.h>

#include "store/manifest.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

int
LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    struct manifest m;
    struct err e = ERR_INIT;
    BUF (again);

    if (manifest_parse (bytes_of (data, size), &m, &e) == -1)
        return 0;
    if (manifest_finish (&m, &again, &e) == -1 || again.len != size || memcmp (again.p, data, size) != 0)
        abort ();
    manifest_bytes (&m);
    manifest_release (&m);
    return 0;
}
