#include <string.h>

#include "ring.h"

int main (void)
{
    struct ring r = { { 0 }, 0, 0 };
    char b[RING_SIZE];
    for (int i = 0; i < 10; i++)
        ring_put (&r, "0123456789", 10);
    return ring_get (&r, b, sizeof b) == RING_SIZE && memcmp (b, "6789012345", 10) == 0 && ring_get (&r, b, 1) == 0 ? 0 : 1;
}
