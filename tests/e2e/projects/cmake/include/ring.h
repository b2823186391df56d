/* ring.h: a buffer of fixed size that keeps the last bytes that were put into it. */
#ifndef RING_H
#define RING_H

#include <stddef.h>

#define RING_SIZE 64

struct ring {
    unsigned char b[RING_SIZE];
    size_t start, len;
};

void ring_put (struct ring *r, const void *p, size_t len);
size_t ring_get (struct ring *r, void *p, size_t len); /* the oldest bytes; how many there were */
const char *ring_version (void);

#endif
