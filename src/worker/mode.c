#include "config.h"

#include "worker/mode.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"

static const char *const names[] = { "running", "paused", "draining" };

const char *mode_name (enum mode mode)
{
    return names[mode];
}

static char *path_of (const char *state)
{
    return xasprintf ("%s/mode", state);
}

int mode_keep (const char *state, enum mode mode, struct err *e)
{
    CLEANUP (free_ptr) char *path = path_of (state);
    if (mode != MODE_RUNNING)
        return file_write (path, bytes_str (names[mode]), 0600, e);
    return unlink (path) == -1 && errno != ENOENT ? err_errno (e, "%s", path) : 0;
}

enum mode mode_kept (const char *state)
{
    CLEANUP (free_ptr) char *path = path_of (state);
    BUF (text);
    if (access (path, F_OK) == -1 && errno == ENOENT)
        return MODE_RUNNING;
    if (file_read (path, 32, &text, NULL) == -1)
        return MODE_PAUSED;
    return strncmp (buf_str (&text), names[MODE_DRAINING], strlen (names[MODE_DRAINING])) == 0 ? MODE_DRAINING : MODE_PAUSED;
}
