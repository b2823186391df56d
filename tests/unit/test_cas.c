/* The blob store: the same cases on every backend, then what only files can suffer. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "store/cas.h"

static char dir[] = "/tmp/test_cas.XXXXXX";

static void setup (void) { cr_assert_not_null (mkdtemp (dir)); }
static void teardown (void) { file_remove_tree (dir, NULL); }
TestSuite (cas, .init = setup, .fini = teardown, .timeout = 60);

static struct digest
put (struct cas *c, const char *text)
{
    struct cas_batch *b = cas_batch_new (c, NULL);
    struct digest d = digest_of (text, strlen (text));
    struct err e = ERR_INIT;

    cr_assert_eq (cas_batch_begin (b, &d, strlen (text), &e), 0, "%s", e.msg);
    cr_assert_eq (cas_batch_write (b, text, strlen (text), &e), 0);
    cr_assert_eq (cas_batch_end (b, &e), 0, "%s", e.msg);
    cr_assert_not (cas_has (c, &d, NULL), "not there before the commit");
    cr_assert_eq (cas_batch_commit (b, &e), 0, "%s", e.msg);
    cas_batch_drop (&b);
    return d;
}

static void
count (void *arg, const struct digest *d, uint64_t size)
{
    (void) d;
    (void) size;
    ++*(size_t *) arg;
}

Test (cas, every_backend)
{
    static const char *const names[] = { "fs", "mem" };

    for (size_t i = 0; i < 2; i++) {
        struct err e = ERR_INIT;
        struct cas *c = NULL;
        char out[8] = "";
        size_t n = 0;
        uint64_t size;

        cr_assert_eq (cas_open (&c, names[i], dir, &e), 0, "%s", e.msg);
        struct digest hello = put (c, "hello"), none = put (c, ""), other = digest_of ("other", 5);

        cr_assert (cas_has (c, &hello, &size) && size == 5);
        cr_assert (cas_has (c, &none, &size) && size == 0);
        cr_assert_eq (cas_read (c, &hello, 1, out, 3, &e), 0);
        cr_assert_str_eq (out, "ell");
        cr_assert_eq (cas_read (c, &hello, 3, out, 3, &e), -1);
        cr_assert_eq (cas_read (c, &other, 0, out, 1, &e), -1);
        cr_assert_eq (e.code, EC_NOT_FOUND);
        cr_assert_eq (cas_verify (c, &hello, true, &e), 0);

        struct cas_batch *b = cas_batch_new (c, NULL); /* wrong bytes, too many, too few, an open blob, and dropped ones */
        cr_assert_eq (cas_batch_begin (b, &other, 5, &e), 0);
        cr_assert_eq (cas_batch_write (b, "othex", 5, &e), 0);
        cr_assert_eq (cas_batch_commit (b, &e), -1);
        cr_assert_eq (cas_batch_end (b, &e), -1);
        cr_assert_eq (e.code, EC_DAMAGED);
        cas_batch_drop (&b);
        b = cas_batch_new (c, NULL);
        cr_assert_eq (cas_batch_begin (b, &other, 5, &e), 0);
        cr_assert_eq (cas_batch_write (b, "otherx", 6, &e), -1);
        cr_assert_eq (cas_batch_write (b, "oth", 3, &e), 0);
        cr_assert_eq (cas_batch_end (b, &e), -1);
        cas_batch_drop (&b);
        cr_assert_not (cas_has (c, &other, NULL));

        cr_assert_eq (cas_each (c, count, &n, &e), 0);
        cr_assert_eq (n, 2);
        cr_assert_eq (cas_remove (c, &none, &e), 0);
        cr_assert_eq (cas_remove (c, &none, &e), 0);
        cr_assert_not (cas_has (c, &none, NULL));
        cas_close (&c);
    }
}

Test (cas, swapped_bytes_are_set_aside_and_never_served)
{
    struct err e = ERR_INIT;
    struct cas *c = NULL;
    char hex[DIGEST_HEX];

    cr_assert_eq (cas_open (&c, "fs", dir, &e), 0);
    struct digest d = put (c, "precious");
    digest_hex (&d, hex);
    CLEANUP (free_ptr) char *path = xasprintf ("%s/blobs/%.2s/%s", dir, hex, hex);
    CLEANUP (free_ptr) char *aside = xasprintf ("%s/quarantine/%s", dir, hex);

    cr_assert_eq (cas_verify (c, &d, false, &e), 0);
    usleep (20000); /* the clock of files ticks in jiffies */
    int fd = open (path, O_WRONLY);
    cr_assert (write (fd, "Precious", 8) == 8);
    close (fd);
    cr_assert_eq (cas_verify (c, &d, false, &e), -1, "found good before, but changed since");
    cr_assert_eq (e.code, EC_DAMAGED);
    cr_assert_not (cas_has (c, &d, NULL));
    cr_assert_eq (access (aside, F_OK), 0);
    cr_assert_eq (cas_verify (c, &d, false, &e), -1);
    cr_assert_eq (e.code, EC_NOT_FOUND);
    put (c, "precious");
    cr_assert_eq (cas_verify (c, &d, false, &e), 0, "put again, it is whole again");
    cas_close (&c);
}

static void
verify (void *arg, const struct digest *d, uint64_t size)
{
    struct err e = ERR_INIT;

    (void) size;
    cr_assert_eq (cas_verify (arg, d, true, &e), 0, "%s", e.msg);
}

/* A process killed at any moment leaves whole blobs or none. */
Test (cas, killed_while_writing)
{
    for (int round = 0; round < 30; round++) {
        struct err e = ERR_INIT;
        struct cas *c = NULL;
        pid_t pid = fork ();

        if (pid == 0) {
            if (cas_open (&c, "fs", dir, &e) == -1)
                _exit (1);
            for (unsigned i = 0;; i++) {
                char text[64];
                struct cas_batch *b = cas_batch_new (c, NULL);
                for (int j = 0; j < 20; j++) {
                    snprintf (text, sizeof text, "round %d blob %u %d", round, i, j);
                    struct digest d = digest_of (text, strlen (text));
                    if (cas_batch_begin (b, &d, strlen (text), &e) == -1 || cas_batch_write (b, text, strlen (text), &e) == -1 || cas_batch_end (b, &e) == -1)
                        _exit (1);
                }
                if (cas_batch_commit (b, &e) == -1)
                    _exit (1);
                cas_batch_drop (&b);
            }
        }
        usleep (5000 + (useconds_t) (rand () % 40000));
        kill (pid, SIGKILL);
        int status;
        waitpid (pid, &status, 0);
        cr_assert (WIFSIGNALED (status), "the writer failed by itself");
    }
    struct err e = ERR_INIT;
    struct cas *c = NULL;
    CLEANUP (free_ptr) char *aside = xasprintf ("%s/aside/0", dir);

    cr_assert_eq (cas_open (&c, "fs", dir, &e), 0);
    cr_assert_eq (cas_each (c, verify, c, &e), 0);
    cr_assert_neq (access (aside, F_OK), 0, "what was written aside is gone");
    cas_close (&c);
}

static char *
aside_of (const struct digest *batch, const struct digest *blob)
{
    char b[DIGEST_HEX], h[DIGEST_HEX];

    return xasprintf ("%s/aside/%s/%s", dir, digest_hex (batch, b), digest_hex (blob, h));
}

/* What a killed process wrote of an upload is gone on with: whole blobs, a part of one; never bytes that are wrong; not after a restart of the
 * machine; and not for ever. */
Test (cas, resumed)
{
    struct err e = ERR_INIT;
    struct cas *c = NULL;
    struct digest name = digest_of ("upload", 6), whole = digest_of ("whole", 5), part = digest_of ("partial", 7), bad = digest_of ("right", 5);
    CLEANUP (free_ptr) char *bad_path = aside_of (&name, &bad), *part_path = aside_of (&name, &part), *boot = xasprintf ("%s/boot", dir);
    uint64_t have;
    pid_t pid = fork ();

    if (pid == 0) {
        if (cas_open (&c, "fs", dir, &e) == -1)
            _exit (1);
        struct cas_batch *b = cas_batch_new (c, &name);
        if (cas_batch_left (b) || cas_batch_begin (b, &whole, 5, &e) == -1 || cas_batch_write (b, "whole", 5, &e) == -1 || cas_batch_end (b, &e) == -1
            || cas_batch_begin (b, &bad, 5, &e) == -1 || cas_batch_write (b, "right", 5, &e) == -1 || cas_batch_end (b, &e) == -1
            || cas_batch_begin (b, &part, 7, &e) == -1 || cas_batch_write (b, "part", 4, &e) == -1)
            _exit (1);
        raise (SIGKILL);
    }
    int status;
    waitpid (pid, &status, 0);
    cr_assert (WIFSIGNALED (status));
    cr_assert_eq (file_write (bad_path, bytes_str ("wrong"), 0600, &e), 0);

    cr_assert_eq (cas_open (&c, "fs", dir, &e), 0, "%s", e.msg);
    struct cas_batch *b = cas_batch_new (c, &name);
    struct digest absent = digest_of ("absent", 6);
    cr_assert (cas_batch_left (b));
    cr_assert_eq (cas_batch_resume (b, &whole, 5, &have, &e), 1, "%s", e.msg);
    cr_assert_eq (have, 5);
    cr_assert_eq (cas_batch_resume (b, &bad, 5, &have, &e), 0);
    cr_assert_eq (have, 0, "wrong bytes are nothing");
    cr_assert (cas_batch_begin (b, &bad, 5, &e) == 0 && cas_batch_write (b, "right", 5, &e) == 0 && cas_batch_end (b, &e) == 0);
    cr_assert_eq (cas_batch_resume (b, &absent, 6, &have, &e), 0);
    cr_assert_eq (have, 0);
    cr_assert_eq (cas_batch_resume (b, &part, 7, &have, &e), 0);
    cr_assert_eq (have, 4);
    cas_batch_leave (&b); /* the process ends in order, and is started again */
    cas_close (&c);

    cr_assert_eq (cas_open (&c, "fs", dir, &e), 0, "%s", e.msg);
    b = cas_batch_new (c, &name);
    cr_assert_eq (cas_batch_resume (b, &whole, 5, &have, &e), 1);
    cr_assert_eq (cas_batch_resume (b, &bad, 5, &have, &e), 1);
    cr_assert_eq (cas_batch_resume (b, &part, 7, &have, &e), 0);
    cr_assert (cas_batch_write (b, "ial", 3, &e) == 0 && cas_batch_end (b, &e) == 0);
    cr_assert_eq (cas_batch_commit (b, &e), 0, "%s", e.msg);
    cas_batch_drop (&b);
    cr_assert (cas_verify (c, &whole, true, &e) == 0 && cas_verify (c, &bad, true, &e) == 0 && cas_verify (c, &part, true, &e) == 0, "%s", e.msg);

    for (int round = 0; round < 3; round++) { /* forgotten; kept, as it is open; machine started anew */
        b = cas_batch_new (c, &name);
        cr_assert (cas_batch_begin (b, &part, 7, &e) == 0 && cas_batch_write (b, "part", 4, &e) == 0);
        cas_batch_leave (&b);
        cr_assert_eq (access (part_path, F_OK), 0);
        if (round == 2) {
            cas_close (&c);
            cr_assert_eq (file_write (boot, bytes_str ("another"), 0600, &e), 0);
            cr_assert_eq (cas_open (&c, "fs", dir, &e), 0);
        } else
            cr_assert_eq (cas_forget (c, &name, (size_t) round, &e), 0, "%s", e.msg);
        cr_assert_eq (access (part_path, F_OK), round == 1 ? 0 : -1, "round %d", round);
    }
    cas_close (&c);
}
