/* Bytes, text, files, times, configuration. */
#include "base/config.h"
#include "base/file.h"
#include "base/log.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

Test (bytes, sha256_known_answers)
{
    char hex[DIGEST_HEX];
    struct digest d = digest_of ("abc", 3), back;
    cr_assert_str_eq (digest_hex (&d, hex), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    cr_assert (digest_parse (hex, &back) && digest_eq (&d, &back));
    hex[0] = 'B';
    cr_assert_not (digest_parse (hex, &back));
}

Test (bytes, base64_round_trips_and_refuses)
{
    uint8_t raw[100];
    for (size_t n = 0; n < sizeof raw; n++) {
        raw[n] = (uint8_t) (n * 37);
        BUF (text);
        BUF (back);
        base64_add (&text, bytes_of (raw, n));
        cr_assert (base64_decode (buf_bytes (&text), &back), "%zu", n);
        cr_assert (bytes_eq (buf_bytes (&back), bytes_of (raw, n)), "%zu", n);
    }
    static const char *const bad[] = { "A", "AA", "AAA", "AA=", "A===", "AAAA=", "AA==AA==", "A AA", "AAA\n", "_-8=", "AB==" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        BUF (out);
        cr_assert_not (base64_decode (bytes_str (bad[i]), &out), "%s", bad[i]);
        cr_assert_eq (out.len, 0);
    }
    BUF (high);
    cr_assert_not (base64_decode (bytes_of ("QUJ\xc4", 4), &high), "a letter with its high bit set is no letter");
}

Test (bytes, utf8)
{
    static const struct { const char *s; bool ok; } t[] = {
        { "", true }, { "a", true }, { "\xc3\xa9", true }, { "\xe2\x82\xac", true }, { "\xf0\x9f\x98\x80", true },
        { "\xc0\x80", false }, { "\xc1\xbf", false }, { "\xe0\x80\x80", false }, { "\xed\xa0\x80", false }, { "\xf0\x80\x80\x80", false },
        { "\xf4\x90\x80\x80", false }, { "\xf5\x80\x80\x80", false }, { "\x80", false }, { "\xe2\x82", false }, { "\xff", false },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        cr_assert_eq (utf8_valid (bytes_str (t[i].s)), t[i].ok, "row %zu", i);
    cr_assert_not (utf8_valid (bytes_of ("a\0b", 3)));
}

Test (bytes, text_clean_stops_terminal_tricks)
{
    BUF (out);
    text_clean (bytes_str ("a\033[31m\r\n\tb\x7f\xc2\x9b\xe2\x80\xae\xffz"), true, &out);
    cr_assert_str_eq (buf_str (&out), "a?[31m?\n\tb????z");
}

Test (bytes, names_and_projects)
{
    static const char *const good[] = { "a", "worker-1", "x.y_z", "0" }, *const bad[] = { "", "-a", ".a", "A", "a/b", "a b", "\xc3\xa9" };
    for (size_t i = 0; i < 4; i++)
        cr_assert (name_valid (good[i]) && project_valid (good[i]));
    for (size_t i = 0; i < 7; i++)
        cr_assert_not (name_valid (bad[i]), "%s", bad[i]);
    cr_assert (project_valid ("org/x/y"));
    cr_assert_not (project_valid ("org//y") || project_valid ("/x") || project_valid ("x/") || project_valid ("x/../y"));
}

Test (file, write_is_whole_and_private)
{
    char dir[] = "/tmp/assay-test-XXXXXX";
    cr_assert (mkdtemp (dir));
    char *path CLEANUP (free_ptr) = xasprintf ("%s/a/b/f", dir), *sub CLEANUP (free_ptr) = xasprintf ("%s/a/b", dir);
    struct err e = ERR_INIT;
    struct stat st;
    BUF (got);
    cr_assert_eq (file_mkdirs (sub, 0700, &e), 0, "%s", e.msg);
    cr_assert_eq (file_write (path, bytes_str ("one"), 0600, &e), 0, "%s", e.msg);
    cr_assert_eq (file_write (path, bytes_str ("second"), 0600, &e), 0, "%s", e.msg);
    cr_assert (stat (path, &st) == 0 && (st.st_mode & 0777) == 0600);
    cr_assert_eq (file_read (path, 6, &got, &e), 0);
    cr_assert_str_eq (buf_str (&got), "second");
    cr_assert_eq (file_read (path, 5, &got, &e), -1);
    cr_assert_eq (e.kind, ERR_DAMAGED);
    int lock = file_lock (path, &e), second = file_lock (path, &e);
    cr_assert (lock >= 0 && second == -1 && strstr (e.msg, "held by process"));
    close (lock);
    char *link CLEANUP (free_ptr) = xasprintf ("%s/a/link", dir);
    cr_assert_eq (symlink ("/etc", link), 0);
    cr_assert_eq (file_remove_tree (dir, &e), 0, "%s", e.msg);
    cr_assert (access (dir, F_OK) == -1 && access ("/etc/passwd", F_OK) == 0);
}

Test (file, times)
{
    int64_t us;
    char text[32];
    cr_assert (time_parse ("2026-01-02T03:04:05.678Z", &us));
    time_format (us, text);
    cr_assert_str_eq (text, "2026-01-02T03:04:05.678Z");
    cr_assert (time_parse ("2026-01-02T05:04:05+02:00", &us) && us == 1767323045000000);
    cr_assert (time_parse ("@12", &us) && us == 12000000);
    cr_assert_not (time_parse ("yesterday", &us) || time_parse ("-2x", &us) || time_parse ("2026-13-01", &us) || time_parse ("@1x", &us));
}

struct conf {
    char *name;
    int64_t n, size, wait;
    bool on;
};
static const struct config_row rows[] = {
    { "a", "name", CONFIG_STRING, "x", 0, 8, offsetof (struct conf, name), "a name" },
    { "a", "n", CONFIG_INT, "3", -2, 10, offsetof (struct conf, n), "a number" },
    { "b", "size", CONFIG_SIZE, "2M", 0, INT64_MAX, offsetof (struct conf, size), "a size" },
    { "b", "wait", CONFIG_DURATION, "5", 0, INT64_MAX, offsetof (struct conf, wait), "a time" },
    { "b", "on", CONFIG_BOOL, "no", 0, 0, offsetof (struct conf, on), "a switch" },
    CONFIG_END
};

Test (config, values_and_errors)
{
    struct conf c;
    struct err e = ERR_INIT;
    config_defaults (rows, &c);
    cr_assert (!strcmp (c.name, "x") && c.n == 3 && c.size == 2 << 20 && c.wait == 5000 && !c.on);
    static const struct { const char *s, *n, *v; bool ok; } t[] = {
        { "a", "name", "abc", true }, { "a", "name", "123456789", false }, { "a", "n", "-2", true }, { "a", "n", "-3", false }, { "a", "n", "11", false },
        { "a", "n", "1x", false }, { "a", "n", "", false }, { "b", "size", "1G", true }, { "b", "size", "9999999T", false }, { "b", "size", "1X", false },
        { "b", "wait", "20ms", true }, { "b", "wait", "2w", false }, { "b", "on", "Yes", true }, { "b", "on", "maybe", false }, { "c", "n", "1", false },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++)
        cr_assert_eq (config_set (rows, &c, t[i].s, t[i].n, t[i].v, &e) == 0, t[i].ok, "row %zu: %s", i, e.msg);
    cr_assert (c.n == -2 && c.size == 1 << 30 && c.wait == 20 && c.on);
    char path[] = "/tmp/assay-conf-XXXXXX";
    int fd = mkstemp (path);
    cr_assert (write (fd, "[a]\nn = 4\n\n[b]\nnope = 1\n", 24) == 24);
    cr_assert_eq (config_load (rows, &c, path, true, &e), -1);
    cr_assert (strstr (e.msg, ":5:") && strstr (e.msg, "nope") && e.kind == ERR_USAGE, "%s", e.msg);
    close (fd);
    unlink (path);
    config_release (rows, &c);
}

Test (log, a_peer_is_named_once_and_counted)
{
    struct err e = ERR_INIT;
    err_code (&e, EC_MALFORMED, "garbage");
    for (int i = 0; i < 1000; i++)
        log_peer ("peer", &e);
    cr_assert_eq (log_peer_count (), 1000);
}

/* Found by fuzz_envelope: a sealed box with nothing in it made NULL + 0. */
Test (buf, room_for_nothing_is_a_place)
{
    BUF (b);
    cr_assert_not_null (buf_grow (&b, 0));
    cr_assert_eq (b.len, 0);
    buf_add (&b, NULL, 0);
    buf_adds (&b, "x");
    cr_assert_str_eq (buf_str (&b), "x");
}

static int open_fds (void)
{
    int n = 0;
    DIR *d = opendir ("/proc/self/fd");
    while (d && readdir (d))
        n++;
    closedir (d);
    return n;
}

/* As many descriptors come as were asked for, or none stays open, whatever a peer sends. */
Test (base, descriptors_come_as_asked_for_or_not_at_all)
{
    static const struct {
        const char *bytes;
        size_t sent, wanted;
        int rc;
    } cases[] = { { "n", 1, 1, 0 }, { "n", 3, 3, 0 }, { "n", FDS_MAX, FDS_MAX, 0 }, { "n", 2, 1, -1 }, { "n", 1, 2, -1 }, { "n", 0, 1, -1 }, { "n", 3, FDS_MAX, -1 }, { "", 0, 1, -1 } };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int pair[2], fds[FDS_MAX], got[FDS_MAX];
        cr_assert_eq (socketpair (AF_UNIX, SOCK_STREAM, 0, pair), 0);
        for (size_t k = 0; k < FDS_MAX; k++)
            cr_assert ((fds[k] = dup (pair[0])) != -1);
        int before = open_fds ();
        if (*cases[i].bytes)
            cr_assert_eq (fds_send (pair[0], cases[i].bytes, 1, fds, cases[i].sent), 0);
        else
            shutdown (pair[0], SHUT_WR);
        cr_assert_eq (fds_receive (pair[1], got, cases[i].wanted), cases[i].rc, "row %zu", i);
        cr_assert_eq (open_fds (), before + (cases[i].rc == 0 ? (int) cases[i].wanted : 0), "row %zu", i);
        for (size_t k = 0; cases[i].rc == 0 && k < cases[i].wanted; k++)
            cr_assert_eq (close (got[k]), 0);
        for (size_t k = 0; k < FDS_MAX; k++)
            close (fds[k]);
        close (pair[0]);
        close (pair[1]);
    }
    int fd = 0;
    cr_assert_eq (fds_send (fd, "n", 1, &fd, FDS_MAX + 1), -1);
}
