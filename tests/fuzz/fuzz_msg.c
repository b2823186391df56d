/* Any frame: refused with a named error, or taken; what is taken keeps its bounds and is encoded to something that means the same. */
#include <stdlib.h>

#include "proto/msg.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

/* Reads every byte that the message borrows, so that one outside of the frame shows. */
static void touch (struct bytes b)
{
    volatile uint8_t sum = 0;
    for (size_t i = 0; i < b.len; i++)
        sum = (uint8_t) (sum + b.p[i]);
    (void) sum;
}
static void check_text (struct bytes b, size_t max)
{
    touch (b);
    if (b.len > max || !utf8_valid (b))
        abort ();
}
static void check_list (const struct bytes_list *l, size_t count, size_t max, bool text)
{
    if (l->n > count)
        abort ();
    for (size_t i = 0; i < l->n; i++) {
        touch (l->v[i]);
        if (l->v[i].len > max || (text && !utf8_valid (l->v[i])))
            abort ();
    }
}

static void check (const struct msg *m)
{
    switch (m->type) {
#define MSG(num, name, senders, help) case MSG_##name: {
#define U64(msg, f)
#define DIG(msg, f)
#define STR(msg, f, max) check_text (m->u.msg.f, max);
#define BIN(msg, f, max)                                                                                                                                 \
    touch (m->u.msg.f);                                                                                                                                  \
    if (m->u.msg.f.len > max)                                                                                                                            \
        abort ();
#define STRS(msg, f, count, max) check_list (&m->u.msg.f, count, max, true);
#define BINS(msg, f, count, max) check_list (&m->u.msg.f, count, max, false);
#define END(msg) break; }
#include "proto/messages.def"
#undef MSG
#undef U64
#undef DIG
#undef STR
#undef BIN
#undef STRS
#undef BINS
#undef END
    default:
        abort ();
    }
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    struct msg m, back;
    struct err e = ERR_INIT;
    BUF (once);
    BUF (twice);
    if (msg_decode (bytes_of (data, size), &m, &e) == -1) {
        if (e.code == EC_NONE || e.code >= EC_COUNT || !e.msg[0])
            abort ();
        return 0;
    }
    check (&m);
    msg_encode (&m, &once);
    if (msg_decode_as (buf_bytes (&once), m.type, &back, &e) == -1 || back.request != m.request)
        abort ();
    msg_encode (&back, &twice);
    if (!bytes_eq (buf_bytes (&once), buf_bytes (&twice)))
        abort ();
    msg_release (&back);
    msg_release (&m);
    return 0;
}
