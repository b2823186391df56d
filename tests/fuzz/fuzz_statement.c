/* Any text as a result or a verdict: refused with the field's name, or taken; what is taken is written and read again as the same. */
#include <stdlib.h>
#include <string.h>

#include "proto/statement.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void result (struct bytes in)
{
    struct result r, back;
    struct err e = ERR_INIT;
    BUF (once);
    BUF (twice);
    if (result_parse (in, &r, &e) == -1) {
        if (e.code == EC_NONE || !e.msg[0])
            abort ();
        return;
    }
    if (!name_valid (r.step) || !name_valid (r.worker) || !name_valid (r.owner) || !project_valid (r.project) || r.exit_status > 255 || r.input_count > 64)
        abort ();
    result_json (&r, &once);
    if (result_parse (buf_bytes (&once), &back, &e) == -1) {
        if (once.len <= STATEMENT_MAX)
            abort ();
    } else {
        result_json (&back, &twice);
        if (!bytes_eq (buf_bytes (&once), buf_bytes (&twice)))
            abort ();
        result_release (&back);
    }
    result_release (&r);
}

static void verdict (struct bytes in)
{
    struct verdict v, back;
    struct err e = ERR_INIT;
    BUF (once);
    BUF (twice);
    if (verdict_parse (in, &v, &e) == -1) {
        if (e.code == EC_NONE || !e.msg[0])
            abort ();
        return;
    }
    if (!name_valid (v.step) || !name_valid (v.verifier) || !project_valid (v.project) || v.exit_status > 255)
        abort ();
    verdict_json (&v, &once);
    if (verdict_parse (buf_bytes (&once), &back, &e) == -1) {
        if (once.len <= STATEMENT_MAX)
            abort ();
    } else {
        verdict_json (&back, &twice);
        if (!bytes_eq (buf_bytes (&once), buf_bytes (&twice)))
            abort ();
        verdict_release (&back);
    }
    verdict_release (&v);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    result (bytes_of (data, size));
    verdict (bytes_of (data, size));
    return 0;
}
