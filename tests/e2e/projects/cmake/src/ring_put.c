#include "ring.h"

void ring_put (struct ring *r, const void *p, size_t len)
{
    const unsigned char *b = p;
    for (size_t i = 0; i < len; i++) {
        r->b[(r->start + r->len) % RING_SIZE] = b[i];
        if (r->len < RING_SIZE)
            r->len++;
        else
            r->start = (r->start + 1) % RING_SIZE;
    }
}
