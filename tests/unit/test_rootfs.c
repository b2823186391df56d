/* Images: the same input gives the same bits. Debian's archive is not asked here. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/rootfs.h"
#include "store/client.h"

static char *
folder (const char *parent, const char *name)
{
    char *path = xasprintf ("%s/%s", parent, name);

    cr_assert_eq (mkdir (path, 0700), 0);
    return path;
}

/* A small tree; made in the order that `turned` says, so that folders list differently. */
static void
tree (const char *dir, bool turned, mode_t mask)
{
    static const char *const names[] = { "a", "bb", "ccc", "dddd", "e" };
    mode_t old = umask (mask);

    for (size_t i = 0; i < 5; i++) {
        const char *name = names[turned ? 4 - i : i];
        CLEANUP (free_ptr) char *path = xasprintf ("%s/%s", dir, name);
        CLEANUP (fd_close) int fd = open (path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0777);
        cr_assert (fd != -1 && file_write_all (fd, name, strlen (name)));
        cr_assert_eq (fchmod (fd, 0755), 0);
    }
    CLEANUP (free_ptr) char *link = xasprintf ("%s/link", dir), *sub = xasprintf ("%s/sub", dir);
    cr_assert (symlink ("a", link) == 0 && mkdir (sub, 0777) == 0 && chmod (sub, 0755) == 0);
    umask (old);
}

static struct digest
import (const char *work, const char *from, const char *name)
{
    CLEANUP (free_ptr) char *out = folder (work, name);
    CLEANUP (fd_close) int fd = open (out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err e = ERR_INIT;
    BUF (manifest);

    cr_assert_eq (rootfs_import (from, NULL, out, &e), 0, "%s", e.msg);
    cr_assert_eq (manifest_scan (fd, NULL, NULL, &manifest, &e), 0, "%s", e.msg);
    return manifest_digest (buf_bytes (&manifest));
}

static void
sh (const char *work, const char *script)
{
    CLEANUP (free_ptr) char *command = xasprintf ("cd '%s' && %s", work, script);

    cr_assert_eq (system (command), 0, "%s", command);
}

Test (rootfs, same_folder_same_digest, .timeout = 120)
{
    char work[] = "/tmp/test_rootfs.XXXXXX";

    cr_assert (mkdtemp (work) != NULL);
    CLEANUP (free_ptr) char *one = folder (work, "one"), *two = folder (work, "two"), *other = folder (work, "other");
    tree (one, false, 022);
    tree (two, true, 077);
    tree (other, false, 022);
    sh (work, "touch -d 2001-01-01 two/* && printf x >>other/a");
    struct digest a = import (work, one, "o1"), b = import (work, two, "o2"), c = import (work, other, "o3"), again = import (work, one, "o4");
    cr_assert (digest_eq (&a, &b) && digest_eq (&a, &again));
    cr_assert_not (digest_eq (&a, &c));
    cr_assert_eq (file_remove_tree (work, NULL), 0);
}

Test (rootfs, a_tar_compressed_or_not, .timeout = 120)
{
    char work[] = "/tmp/test_rootfs.XXXXXX";

    cr_assert (mkdtemp (work) != NULL);
    CLEANUP (free_ptr) char *one = folder (work, "one");
    tree (one, false, 022);
    sh (work, "tar -C one --sort=name --owner=0 --group=0 --mtime=@5 -cf x.tar . && gzip -k x.tar && xz -k x.tar");
    CLEANUP (free_ptr) char *plain = xasprintf ("%s/x.tar", work), *gz = xasprintf ("%s/x.tar.gz", work), *xz = xasprintf ("%s/x.tar.xz", work);
    struct digest a = import (work, plain, "o1"), b = import (work, gz, "o2"), c = import (work, xz, "o3");
    cr_assert (digest_eq (&a, &b) && digest_eq (&a, &c));
    /* what comes out is what went in */
    sh (work, "unsquashfs -q -n -d back o1/rootfs.squashfs >/dev/null 2>&1 && diff -r one back && test \"$(readlink back/link)\" = a");
    sh (work, "grep -q '\"created-by\": \"assay image import\"' o1/image.json");
    cr_assert_eq (file_remove_tree (work, NULL), 0);
}

Test (rootfs, bad_input_is_named, .timeout = 120)
{
    static const struct {
        const char *name;
        enum err_kind kind;
    } cases[] = { { "absent", ERR_USAGE }, { "text", ERR_FAILED }, { "fifo", ERR_USAGE }, { "broken.gz", ERR_FAILED } };
    char work[] = "/tmp/test_rootfs.XXXXXX";

    cr_assert (mkdtemp (work) != NULL);
    CLEANUP (free_ptr) char *out = folder (work, "out");
    sh (work, "seq 10000 >text && mkfifo fifo && printf '\\037\\213\\010broken' >broken.gz");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CLEANUP (free_ptr) char *from = xasprintf ("%s/%s", work, cases[i].name);
        struct err e = ERR_INIT;
        cr_assert_eq (rootfs_import (from, NULL, out, &e), -1, "%s", cases[i].name);
        cr_assert_eq (e.kind, cases[i].kind, "%s: %s", cases[i].name, e.msg);
        cr_assert_null (strchr (e.msg, '\n'));
    }
    cr_assert_eq (file_remove_tree (work, NULL), 0);
}

Test (rootfs, no_option_hides_in_a_package, .timeout = 120)
{
    static const char bad[][32] = { "", "--setup-hook=x", "/etc/passwd", "a,b", "a b", "./x.deb", "Gcc", "gcc=1", "?essential" };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err e = ERR_INIT;
        char word[32], *one[] = { word };
        strcpy (word, bad[i]);
        cr_assert_eq (rootfs_build ("bookworm", one, 1, NULL, "/nowhere", &e), -1);
        cr_assert_eq (e.kind, ERR_USAGE, "%s", e.msg);
        cr_assert_eq (rootfs_build (bad[i], NULL, 0, NULL, "/nowhere", &e), -1);
    }
}
