/* Artifacts are gathered from what a hostile step left: nothing of it may lead the worker, which may be root, out of the tree. */
#include "worker/collect.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

struct place {
    char dir[64];
};

static const char *in (const struct place *p, const char *name)
{
    static char path[4][256];
    static unsigned n;
    char *out = path[n++ % 4];
    (void) snprintf (out, sizeof path[0], "%s/%s", p->dir, name);
    return out;
}

static void place_open (struct place *p)
{
    strcpy (p->dir, "/tmp/assay-collect.XXXXXX");
    cr_assert_not_null (mkdtemp (p->dir));
    static const char *const dirs[] = { "area", "area/out", "area/src", "area/tree" };
    for (size_t i = 0; i < 4; i++)
        cr_assert_eq (mkdir (in (p, dirs[i]), 0755), 0);
}

static void place_close (struct place *p)
{
    cr_assert_eq (file_remove_tree (p->dir, NULL), 0);
}

static void dirs (const struct place *p, const char *name)
{
    cr_assert_eq (file_mkdirs (in (p, name), 0755, NULL), 0);
}

static void file (const struct place *p, const char *name)
{
    int fd = open (in (p, name), O_WRONLY | O_CREAT | O_EXCL, 0600);
    cr_assert (fd != -1 && write (fd, "x", 1) == 1 && close (fd) == 0, "%s", name);
}

static int gather (const struct place *p, const char *const *paths, size_t n, struct err *e)
{
    struct bytes v[8];
    BUF (notes);
    for (size_t i = 0; i < n; i++)
        v[i] = bytes_str (paths[i]);
    struct bytes_list list = { v, n };
    struct collect_opts o = { in (p, "area/out"), in (p, "area/src"), in (p, "area/tree"), &list, 1000, 1000 };
    *e = (struct err) ERR_INIT;
    return collect (&o, &notes, e);
}

static bool there (const struct place *p, const char *name)
{
    struct stat st;
    return lstat (in (p, name), &st) == 0;
}

Test (collect, files_folders_and_links_of_both_places)
{
    struct place p;
    struct err e;
    static const char *const paths[] = { "a", "d/*.h", "l", "deep", "deep/er/f" };
    place_open (&p);
    file (&p, "area/out/a");
    dirs (&p, "area/src/d");
    file (&p, "area/src/d/x.h");
    file (&p, "area/src/d/x.c");
    cr_assert_eq (symlink ("d/x.h", in (&p, "area/src/l")), 0);
    dirs (&p, "area/src/deep/er");
    file (&p, "area/src/deep/er/f");
    cr_assert_eq (gather (&p, paths, 5, &e), 0, "%s", e.msg);
    cr_assert (there (&p, "area/tree/a") && there (&p, "area/tree/d/x.h") && !there (&p, "area/tree/d/x.c") && there (&p, "area/tree/l") && there (&p, "area/tree/deep/er/f"));
    place_close (&p);
}

/* Each link stays in the tree by its name; reached by another link it would not. */
Test (collect, a_link_in_the_tree_is_never_gone_through)
{
    static const char *const folders[] = { "s", "s/s/s/up", "up/outside" }, *const files[] = { "s", "s/f" }, *const links[] = { "s", "s/s/s/up", "up/made" },
                            *const whole[] = { "s", "s/s" };
    struct place p;
    struct err e;
    for (int i = 0; i < 4; i++) {
        place_open (&p);
        cr_assert_eq (symlink (".", in (&p, "area/out/s")), 0); /* /out has a link where /src has a folder */
        dirs (&p, "area/src/s/s/s");
        file (&p, "area/src/s/f");
        cr_assert_eq (symlink ("../../..", in (&p, "area/src/s/s/s/up")), 0);
        dirs (&p, "area/src/up/outside");
        cr_assert_eq (symlink ("x", in (&p, "area/src/up/made")), 0);
        int rc = i == 0 ? gather (&p, folders, 3, &e) : i == 1 ? gather (&p, files, 2, &e) : i == 2 ? gather (&p, links, 3, &e) : gather (&p, whole, 2, &e);
        cr_assert (rc == -1 && strstr (e.msg, "artifact s"), "%d: %s", i, e.msg);
        cr_assert (!there (&p, "outside") && !there (&p, "made") && !there (&p, "area/outside") && !there (&p, "area/made") && !there (&p, "area/tree/up") && !there (&p, "area/tree/f"),
                   "%d: something was made where it does not belong", i);
        place_close (&p);
    }
}

Test (collect, what_is_no_path_or_not_there_is_named)
{
    static const char *const bad[] = { "../x", "/etc/passwd", "a/../b", "", ".", "nothing", "d/nothing" };
    struct place p;
    struct err e;
    place_open (&p);
    dirs (&p, "area/src/d");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert (gather (&p, &bad[i], 1, &e) == -1 && e.kind == ERR_FAILED, "%s", bad[i]);
    cr_assert_eq (mkfifo (in (&p, "area/out/pipe"), 0600), 0);
    static const char *const pipe_only[] = { "pipe" };
    cr_assert_eq (gather (&p, pipe_only, 1, &e), -1);
    cr_assert (strstr (e.msg, "named pipe"), "%s", e.msg);
    place_close (&p);
}
