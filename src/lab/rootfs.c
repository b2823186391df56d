#include "lab/rootfs.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

static int copy (const char *from, const char *root, struct err *e)
{
    CLEANUP (free_ptr) char *to = xasprintf ("%s%s", root, from), *folder = xstrdup (to);
    struct stat st;
    *strrchr (folder, '/') = '\0';
    if (file_mkdirs (folder, 0755, e) == -1)
        return -1;
    int in CLEANUP (fd_close) = open (from, O_RDONLY | O_CLOEXEC), out CLEANUP (fd_close) = open (to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);
    if (in == -1 || fstat (in, &st) == -1)
        return err_errno (e, "%s", from);
    if (out == -1)
        return err_errno (e, "%s", to);
    for (off_t left = st.st_size; left > 0;) {
        ssize_t n = sendfile (out, in, NULL, (size_t) left);
        if (n <= 0)
            return err_errno (e, "%s", to);
        left -= n;
    }
    return 0;
}

/* Libraries and loader: whatever ldd names as an absolute path. A shell without any is a static one. */
static int libraries (const char *root, struct err *e)
{
    char line[1024];
    int rc = 0;
    FILE *f = popen ("LC_ALL=C ldd /bin/sh 2>/dev/null", "re");
    if (!f)
        return err_errno (e, "ldd");
    while (rc == 0 && fgets (line, sizeof line, f)) {
        char *path = strchr (line, '/');
        if (path) {
            path[strcspn (path, " \t\n")] = '\0';
            rc = copy (path, root, e);
        }
    }
    pclose (f);
    return rc;
}

int lab_rootfs (const char *dir, struct err *e)
{
    static const char *const folders[] = { "tmp", "proc", "dev", "src", "in", "out", "etc" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        CLEANUP (free_ptr) char *folder = xasprintf ("%s/%s", dir, folders[i]);
        if (file_mkdirs (folder, 0755, e) == -1)
            return -1;
    }
    return copy ("/bin/sh", dir, e) == -1 || libraries (dir, e) == -1 ? err_wrap (e, "an image of /bin/sh") : 0;
}
