#include "worker/guest/text.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

size_t text_read (const char *path, char *text, size_t size)
{
    int fd = open (path, O_RDONLY | O_CLOEXEC);
    size_t at = 0;
    for (ssize_t n; fd != -1 && at < size - 1 && (n = read (fd, text + at, size - 1 - at)) > 0;)
        at += (size_t) n;
    if (fd != -1)
        close (fd);
    text[at] = '\0';
    return at;
}

uint64_t text_value (const char *text, const char *name)
{
    size_t n = strlen (name);
    for (const char *at = text; at && *at; at = strchr (at, '\n') ? strchr (at, '\n') + 1 : NULL)
        if (strncmp (at, name, n) == 0 && (at[n] == ' ' || at[n] == '\t')) {
            at += n + strspn (at + n, " \t");
            return *at >= '0' && *at <= '9' ? strtoull (at, NULL, 10) : 0;
        }
    return 0;
}
