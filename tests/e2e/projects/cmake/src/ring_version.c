#include "config.h"
#include "ring.h"

const char *ring_version (void)
{
    return "ring " RING_VERSION " of " RING_BUILT ", " __FILE__ " on " __DATE__ " at " __TIME__;
}
