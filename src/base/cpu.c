#include "base/cpu.h"

#include <stddef.h>
#include <string.h>

bool cpu_model_known (const char *name)
{
    size_t n = strlen (name);
    for (const char *p = CPU_MODELS; n; p += 2) {
        size_t len = strcspn (p, ",");
        if (len == n && memcmp (p, name, n) == 0)
            return true;
        p += len;
        if (!*p)
            return false;
    }
    return false;
}
