#include "ring.h"

size_t ring_get (struct ring *r, void *p, size_t len)
{
    unsigned char *b = p;
    size_t n = len < r->len ? len : r->len;
    for (size_t i = 0; i < n; i++)
        b[i] = r->b[(r->start + i) % RING_SIZE];
    r->start = (r->start + n) % RING_SIZE;
    r->len -= n;
    return n;
}
