/* The stream that carries trees into a VM and out of it: there and back, and everything that a guest could write into it instead. */
#include "worker/guest/pack.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "store/client.h"

static const char *const roots[] = { "out", "src", NULL };

static char *fresh (void)
{
    char *dir = xstrdup ("/tmp/assay-pack.XXXXXX");
    cr_assert (mkdtemp (dir));
    char *sub = xasprintf ("%s/out", dir);
    cr_assert_eq (mkdir (sub, 0755), 0);
    free (sub);
    sub = xasprintf ("%s/src", dir);
    cr_assert_eq (mkdir (sub, 0755), 0);
    free (sub);
    return dir;
}

static void drop (char *dir)
{
    file_remove_tree (dir, NULL);
    free (dir);
}

static void sh (const char *dir, const char *script)
{
    char *command = xasprintf ("cd '%s' && %s", dir, script);
    cr_assert_eq (system (command), 0, "%s", command);
    free (command);
}

static int pack (const char *dir, int fd, struct pack_out *p)
{
    p->fd = fd;
    int rc = 0;
    for (int i = 0; roots[i] && rc == 0; i++) {
        char *path = xasprintf ("%s/%s", dir, roots[i]);
        int d = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        rc = pack_tree (p, d, roots[i]);
        close (d);
        free (path);
    }
    if (rc == 0)
        rc = pack_end (p);
    pack_release (p);
    return rc;
}

static int unpack (int fd, const char *dir, struct pack_in *p)
{
    int d = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    p->fd = fd;
    p->roots = roots;
    p->uid = -1;
    lseek (fd, 0, SEEK_SET);
    int rc = unpack_tree (p, d);
    unpack_release (p);
    close (d);
    return rc;
}

static struct digest tree_digest (const char *dir)
{
    int fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err e = ERR_INIT;
    BUF (m);
    cr_assert_eq (manifest_scan (fd, NULL, NULL, &m, &e), 0, "%s", e.msg);
    close (fd);
    return manifest_digest (buf_bytes (&m));
}

Test (pack, there_and_back)
{
    char *from = fresh (), *to = fresh ();
    sh (from, "cd out && mkdir -p a/b/c e && echo one >a/1 && head -c 700000 /dev/urandom >a/b/big && : >empty && ln -s a/1 link && chmod 755 a/1 && touch -d @12345.5 a/1 a a/b link -h"
              " && echo x >../src/x && mkdir ../src/a.b && : >../src/a ");
    int fd = memfd_create ("pack", MFD_CLOEXEC), again = memfd_create ("pack", MFD_CLOEXEC);
    struct pack_out out = { .limit = 1 << 24 };
    cr_assert_eq (pack (from, fd, &out), 0, "%s", out.why);
    struct pack_in in = { .limit = out.written, .max_entries = 100, .max_bytes = 1 << 24 };
    cr_assert_eq (unpack (fd, to, &in), 0, "%s", in.why);
    cr_assert_eq (in.entries, out.entries);
    struct digest a = tree_digest (from), b = tree_digest (to);
    cr_assert (digest_eq (&a, &b));
    struct stat st;
    char *path = xasprintf ("%s/out/a", to);
    cr_assert (stat (path, &st) == 0 && st.st_mtim.tv_sec == 12345 && st.st_mtim.tv_nsec == 500000000);
    free (path);
    struct pack_out twice = { .limit = 1 << 24 };
    cr_assert_eq (pack (to, again, &twice), 0);
    cr_assert_eq (twice.written, out.written);
    uint8_t *x = mmap (NULL, out.written, PROT_READ, MAP_PRIVATE, fd, 0), *y = mmap (NULL, out.written, PROT_READ, MAP_PRIVATE, again, 0);
    cr_assert_eq (memcmp (x, y, out.written), 0, "the same tree is the same bytes");
    close (fd);
    close (again);
    drop (from);
    drop (to);
}

Test (pack, bounds_of_the_writer)
{
    char *from = fresh ();
    sh (from, "cd out && head -c 300000 /dev/zero >a && echo b >b");
    static const struct {
        struct pack_out p;
        const char *why;
    } rows[] = { { { .limit = 1000 }, "no more room" }, { { .limit = 1 << 20, .max_bytes = 1000 }, "larger than" }, { { .limit = 1 << 20, .max_entries = 2 }, "too many" } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        int fd = memfd_create ("pack", MFD_CLOEXEC);
        struct pack_out p = rows[i].p;
        cr_assert_eq (pack (from, fd, &p), -1);
        cr_assert (p.full && strstr (p.why, rows[i].why), "%s", p.why);
        close (fd);
    }
    sh (from, "cd out && rm a && truncate -s 1T sparse");
    int fd = memfd_create ("pack", MFD_CLOEXEC);
    struct pack_out p = { .limit = 1 << 20, .max_bytes = 1 << 30 };
    cr_assert (pack (from, fd, &p) == -1 && p.full, "a sparse giant is told by its size");
    close (fd);
    drop (from);
}

struct entry {
    char type;
    const char *path;
    uint64_t size;
    const char *content;
};

static void le (uint8_t *p, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++, v >>= 8)
        p[i] = (uint8_t) v;
}

static void put (struct buf *b, const struct entry *e)
{
    uint8_t h[32] = { (uint8_t) e->type };
    le (h + 2, strlen (e->path), 2);
    le (h + 4, 0755, 4);
    le (h + 8, e->size, 8);
    buf_add (b, h, sizeof h);
    buf_adds (b, e->path);
    if (e->content)
        buf_adds (b, e->content);
}

/* Nothing but what the two roots hold is there. */
static size_t beside (const char *dir)
{
    size_t n = 0;
    DIR *d = opendir (dir);
    for (struct dirent *en; (en = readdir (d));)
        n += strcmp (en->d_name, "out") != 0 && strcmp (en->d_name, "src") != 0 && en->d_name[0] != '.';
    closedir (d);
    return n;
}

Test (pack, what_a_guest_may_not_write)
{
    static const struct {
        struct entry e[4];
        const char *why;
    } rows[] = {
        { { { 'f', "out/../x", 1, "x" } }, "not a path" },
        { { { 'f', "../x", 1, "x" } }, "not a path" },
        { { { 'f', "/x", 1, "x" } }, "not a path" },
        { { { 'f', "out//x", 1, "x" } }, "not a path" },
        { { { 'f', "out/./x", 1, "x" } }, "not a path" },
        { { { 'f', "out/x/", 1, "x" } }, "not a path" },
        { { { 'f', "x", 1, "x" } }, "not a path" },
        { { { 'f', "other/x", 1, "x" } }, "not a path" },
        { { { 'f', "out", 1, "x" } }, "not a folder" },
        { { { 'f', "", 1, "x" } }, "not a path" },
        { { { 'f', "out/a/b", 1, "x" } }, "folder is not there" },
        { { { 'l', "out/l", 2, ".." }, { 'f', "out/l/x", 1, "x" } }, "folder is not there" },
        { { { 'l', "out/l", 4, "/tmp" }, { 'd', "out/l/x", 0, NULL } }, "folder is not there" },
        { { { 'f', "out/a", 1, "x" }, { 'f', "out/a", 1, "y" } }, "twice" },
        { { { 'l', "out/a", 4, "/tmp" }, { 'f', "out/a", 1, "y" } }, "twice" },
        { { { 'd', "out/a", 0, NULL }, { 'd', "out/a", 0, NULL } }, "twice" },
        { { { 'b', "out/a", 0, NULL } }, "no known type" },
        { { { 'c', "out/a", 0, NULL } }, "no known type" },
        { { { 'd', "out/a", 5, "xxxxx" } }, "content where there is none" },
        { { { 'p', "out/a", 5, "xxxxx" } }, "content where there is none" },
        { { { 'l', "out/a", 0, NULL } }, "no good length" },
        { { { 'l', "out/a", 5000, NULL } }, "no good length" },
        { { { 'f', "out/a", UINT64_C (1) << 40, NULL } }, "too many bytes" },
        { { { 'f', "out/a", 1000, "short" } }, "ends before" },
#define FIFTY "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
        { { { 'd', "out/" FIFTY FIFTY FIFTY FIFTY "b", 0, NULL }, { 'd', "out/" FIFTY FIFTY FIFTY FIFTY "c", 0, NULL } }, "too many long paths" },
        { { { '.', "", 7, NULL } }, "end does not fit" },
        { { { '.', "x", 0, "" } }, "end does not fit" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *to = fresh ();
        BUF (b);
        uint64_t n = 0;
        for (int k = 0; k < 4 && rows[i].e[k].type; k++, n++)
            put (&b, &rows[i].e[k]);
        if (!rows[i].e[0].content || strcmp (rows[i].e[0].content, "short") != 0)
            put (&b, &(struct entry){ '.', "", n, NULL });
        int fd = memfd_create ("pack", MFD_CLOEXEC);
        cr_assert (file_write_all (fd, b.p, b.len));
        struct pack_in in = { .limit = b.len, .max_entries = 100, .max_bytes = 1 << 20, .max_names = 400 };
        cr_assert_eq (unpack (fd, to, &in), -1, "row %zu", i);
        cr_assert (strstr (in.why, rows[i].why), "row %zu: %s, not %s", i, in.why, rows[i].why);
        cr_assert_eq (beside (to), 0, "row %zu", i);
        close (fd);
        drop (to);
    }
}

Test (pack, setuid_bits_and_owners_do_not_pass)
{
    char *from = fresh (), *to = fresh ();
    sh (from, "cd out && echo x >s && chmod 4755 s && mkdir d && chmod 1777 d && mkfifo p");
    int fd = memfd_create ("pack", MFD_CLOEXEC);
    struct pack_out out = { .limit = 1 << 20 };
    cr_assert_eq (pack (from, fd, &out), 0);
    struct pack_in in = { .limit = out.written, .max_entries = 100, .max_bytes = 1 << 20 };
    cr_assert_eq (unpack (fd, to, &in), 0, "%s", in.why);
    sh (to, "[ \"$(stat -c %a out/s out/d | tr '\\n' ' ')\" = '755 755 ' ] && [ -p out/p ]");
    close (fd);
    drop (from);
    drop (to);
}

Test (pack, cut_or_changed_anywhere_it_is_refused_or_stays_inside)
{
    char *from = fresh ();
    sh (from, "cd out && mkdir a && echo 1 >a/1 && ln -s a/1 l && echo x >../src/x");
    int fd = memfd_create ("pack", MFD_CLOEXEC);
    struct pack_out out = { .limit = 1 << 20 };
    cr_assert_eq (pack (from, fd, &out), 0);
    uint8_t *raw = xmalloc (out.written);
    cr_assert_eq (pread (fd, raw, out.written, 0), (ssize_t) out.written);
    for (size_t i = 0; i < out.written; i++) {
        char *to = fresh ();
        struct pack_in in = { .limit = i, .max_entries = 100, .max_bytes = 1 << 20 };
        cr_assert_eq (unpack (fd, to, &in), -1, "cut at %zu", i);
        uint8_t changed = raw[i] ^ (uint8_t) (1 << i % 8);
        cr_assert_eq (pwrite (fd, &changed, 1, (off_t) i), 1);
        drop (to);
        to = fresh ();
        in = (struct pack_in){ .limit = out.written, .max_entries = 100, .max_bytes = 1 << 20 };
        (void) unpack (fd, to, &in);
        cr_assert_eq (beside (to), 0);
        cr_assert_eq (pwrite (fd, &raw[i], 1, (off_t) i), 1);
        drop (to);
    }
    free (raw);
    close (fd);
    drop (from);
}
