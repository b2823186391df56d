/* assay-worker-liar: a worker that changes a bit of every file that it built. For tests and the demo; never installed. */
#include "config.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker/agent.h"
#include "worker/runner.h"

static int flip (const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void) at;
    if (kind != FTW_F || !S_ISREG (st->st_mode) || st->st_size == 0)
        return 0;
    int fd = open (path, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    uint8_t last;
    if (fd != -1 && pread (fd, &last, 1, st->st_size - 1) == 1) {
        last ^= 1;
        ssize_t n = pwrite (fd, &last, 1, st->st_size - 1);
        (void) n; /* if it fails, the result is an honest one */
    }
    if (fd != -1)
        close (fd);
    return 0;
}

static void tamper (const char *tree)
{
    nftw (tree, flip, 32, FTW_PHYS);
}

int main (int argc, char **argv)
{
    static const struct runner_hooks hooks = { tamper };
    return worker_main (argc, argv, &hooks);
}
