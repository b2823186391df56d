#include <stdio.h>
#include <string.h>

#include "ring.h"

int main (int argc, char **argv)
{
    struct ring r = { { 0 }, 0, 0 };
    char b[RING_SIZE];
    if (argc == 2 && strcmp (argv[1], "--version") == 0)
        return puts (ring_version ()) < 0;
    for (size_t n; (n = fread (b, 1, sizeof b, stdin)) > 0;)
        ring_put (&r, b, n);
    fwrite (b, 1, ring_get (&r, b, sizeof b), stdout);
    return 0;
}
