/* Any bytes as an envelope, compact or JSON, and as a sealed box: parsed within their bounds, and never taken as signed by us. */
#include <stdlib.h>
#include <string.h>

#include "proto/envelope.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static const char *const types[] = { TYPE_ROSTER, TYPE_HEAD, TYPE_SUBMISSION, TYPE_LEASE, TYPE_RECEIPT, TYPE_ENROL, TYPE_INTOTO };

static void check (const struct envelope *v, const char *type)
{
    static const uint8_t nobody[32] = { 9 }; /* a point of small order: nothing may verify under it */
    struct digest id = envelope_id (v);
    volatile uint8_t sum = id.b[0];
    for (size_t i = 0; i < v->body.len; i++)
        sum = (uint8_t) (sum + v->body.p[i]);
    if (!bytes_eqs (v->type, type) || envelope_check (v, nobody, NULL) == 0)
        abort ();
    (void) envelope_check (v, v->keyid, NULL);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    static const uint8_t sec[32] = { 1, 2, 3 }, pub[32] = { 4, 5, 6 };
    struct bytes raw = bytes_of (data, size);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        struct envelope v = { 0 };
        struct err e = ERR_INIT;
        if (envelope_open (raw, types[i], &v, &e) == 0)
            check (&v, types[i]);
        else if (e.code == EC_NONE || !e.msg[0])
            abort ();
        envelope_release (&v);
        e = (struct err) ERR_INIT;
        memset (&v, 0, sizeof v);
        if (envelope_open_json (raw, types[i], &v, &e) == 0) {
            check (&v, types[i]);
            envelope_release (&v);
        } else if (e.code == EC_NONE || !e.msg[0])
            abort ();
    }
    BUF (out);
    if (seal_open (pub, sec, raw, &out, NULL) == 0)
        abort ();
    return 0;
}
