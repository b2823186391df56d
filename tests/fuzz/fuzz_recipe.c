/* Any text: taken, or refused with a place; what is taken can be encoded, and its needs name its own steps. */
#include <stdio.h>
#include <stdlib.h>

#include "source/recipe.h"

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size);

static void check_needs (const struct recipe *r, const struct msg_step *s)
{
    for (size_t k = 0; k < s->needs.n; k++) {
        size_t i = 0;
        while (i < recipe_steps (r) && !bytes_eq (recipe_step (r, i)->name, s->needs.v[k]))
            i++;
        if (i == recipe_steps (r))
            abort ();
    }
}

int LLVMFuzzerTestOneInput (const uint8_t *data, size_t size)
{
    struct recipe *r;
    struct err e = ERR_INIT;
    if (recipe_parse (bytes_of (data, size), "f", &r, &e) == -1) {
        unsigned line = 0, column = 0;
        if (e.kind != ERR_USAGE || sscanf (e.msg, "f:%u:%u: ", &line, &column) != 2 || line < 1 || column < 1)
            abort ();
        return 0;
    }
    for (size_t i = 0; i < recipe_steps (r); i++) {
        struct msg m = MSG_INIT (step, 0);
        m.u.step = *recipe_step (r, i);
        BUF (b);
        msg_encode (&m, &b);
        check_needs (r, recipe_step (r, i));
        struct msg back;
        if (msg_decode_as (buf_bytes (&b), MSG_step, &back, &e) == -1)
            abort ();
        msg_release (&back);
    }
    recipe_destroy (&r);
    return 0;
}
