/* Any bytes as an in-toto link: refused with the field's name, or taken; what is taken is written and read again as the same text. Any manifest as an
 * artifact: its link is canonical, and its layout comes to an end. */
#include <stdlib.h>
#include <string.h>

#include "store/link.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void file (struct bytes in)
{
    struct link l, back;
    struct err e = ERR_INIT;
    static const uint8_t key[32] = { 1 };
    BUF (again);
    if (link_open (in, &l, &e) == -1) {
        if (e.code == EC_NONE || !e.msg[0])
            abort ();
        return;
    }
    link_file (buf_bytes (&l.text), key, l.sig, &again);
    if (!name_valid (l.name) || link_open (buf_bytes (&again), &back, &e) == -1 || !bytes_eq (buf_bytes (&l.text), buf_bytes (&back.text))
        || memcmp (l.sig, back.sig, 64) != 0 || strcmp (l.name, back.name) != 0)
        abort ();
    link_release (&back);
    link_release (&l);
}

static void artifact (struct bytes in)
{
    struct manifest m;
    struct err e = ERR_INIT;
    struct result r = { .step = "build", .input_count = 1 };
    static const uint8_t keys[1][32] = { { 1 } };
    struct link_layout o = { "build", 1, keys, 1, &m, INT64_C (1790000000000000) };
    BUF (text);
    BUF (layout);
    memset (r.commit, 'a', 40);
    manifest_init (&m);
    if (manifest_parse (in, &m, &e) == 0) {
        if (link_text (&r, &m, &text, &e) == 0) {
            struct link l;
            uint8_t sig[64] = { 0 };
            BUF (whole);
            link_file (buf_bytes (&text), keys[0], sig, &whole);
            if (link_open (buf_bytes (&whole), &l, &e) == -1 || !bytes_eq (buf_bytes (&l.text), buf_bytes (&text)))
                abort ();
            link_release (&l);
            link_layout (&o, &layout);
        } else if (!e.msg[0])
            abort ();
    }
    manifest_release (&m);
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    file (bytes_of (data, size));
    artifact (bytes_of (data, size));
    return 0;
}
