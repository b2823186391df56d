/* Secret keys on disk: what is saved is what is loaded; files that others may read, or that are damaged, are refused; passphrases. */
#include "auth/key.h"
#include "auth/idp.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

struct place {
    char dir[64], path[96];
};

static void place_init (struct place *p)
{
    cr_assert (sodium_init () != -1);
    (void) snprintf (p->dir, sizeof p->dir, "/tmp/assay-key.XXXXXX");
    cr_assert_not_null (mkdtemp (p->dir));
    (void) snprintf (p->path, sizeof p->path, "%s/key", p->dir);
}
static void place_release (struct place *p)
{
    struct err e = ERR_INIT;
    cr_assert_eq (file_remove_tree (p->dir, &e), 0, "%s", e.msg);
}

static void put (const char *path, struct bytes text, mode_t mode)
{
    struct err e = ERR_INIT;
    cr_assert_eq (file_write (path, text, 0600, &e), 0, "%s", e.msg);
    cr_assert_eq (chmod (path, mode), 0);
}

static bool keys_same (const struct keys *a, const struct keys *b)
{
    return !memcmp (a->sign.pub, b->sign.pub, 32) && !memcmp (a->sign.sec, b->sign.sec, 64) && !memcmp (a->transport.pub, b->transport.pub, 32)
           && !memcmp (a->transport.sec, b->transport.sec, 32) && !memcmp (a->seal_pub, b->seal_pub, 32) && !memcmp (a->seal_sec, b->seal_sec, 32);
}

Test (key, what_is_saved_is_what_is_loaded)
{
    struct place p;
    place_init (&p);
    for (int i = 0; i < 20; i++) {
        struct keys k, back;
        struct err e = ERR_INIT;
        struct stat st;
        cr_assert_eq (keys_make (&k, &e), 0, "%s", e.msg);
        cr_assert_eq (keys_save (&k, p.path, &e), 0, "%s", e.msg);
        cr_assert (stat (p.path, &st) == 0 && (st.st_mode & 07777) == 0600);
        cr_assert_eq (keys_load (&back, p.path, &e), 0, "%s", e.msg);
        cr_assert (keys_same (&k, &back));
        BUF (signature);
        struct envelope v; /* and they fit together: sign and check, seal and open */
        envelope_sign (TYPE_LEASE, bytes_str ("x"), &back.sign, &signature);
        cr_assert (envelope_open (buf_bytes (&signature), TYPE_LEASE, &v, &e) == 0 && envelope_check (&v, k.sign.pub, &e) == 0);
        BUF (box);
        BUF (plain);
        seal_to (k.seal_pub, bytes_str ("y"), &box);
        cr_assert (seal_open (back.seal_pub, back.seal_sec, buf_bytes (&box), &plain, &e) == 0 && !strcmp (buf_str (&plain), "y"));
        keys_release (&k);
        keys_release (&back);
        cr_assert_eq (unlink (p.path), 0);
    }
    place_release (&p);
}

Test (key, a_file_of_keys_is_never_overwritten)
{
    struct place p;
    struct keys k, other, back;
    struct sign_key root;
    struct err e = ERR_INIT;
    place_init (&p);
    cr_assert (keys_make (&k, &e) == 0 && keys_make (&other, &e) == 0 && rootkey_make (&root, &e) == 0 && keys_save (&k, p.path, &e) == 0, "%s", e.msg);
    cr_assert_eq (keys_save (&other, p.path, &e), -1);
    cr_assert (strstr (e.msg, "exists") && e.kind == ERR_USAGE, "%s", e.msg);
    cr_assert_eq (rootkey_save (&root, p.path, NULL, &e), -1);
    cr_assert_eq (keys_load (&back, p.path, &e), 0, "%s", e.msg);
    cr_assert (keys_same (&k, &back));
    char dangling[128];
    (void) snprintf (dangling, sizeof dangling, "%s/link", p.dir); /* a link is in the way too, also one to nowhere */
    cr_assert_eq (symlink ("/nonexistent/file", dangling), 0);
    cr_assert_eq (keys_save (&other, dangling, &e), -1);
    keys_release (&k);
    keys_release (&other);
    keys_release (&back);
    rootkey_release (&root);
    place_release (&p);
}

Test (key, files_that_others_could_read_or_that_are_no_files_are_refused)
{
    struct place p;
    struct keys k, back;
    struct sign_key root;
    struct err e = ERR_INIT;
    char path[128];
    place_init (&p);
    cr_assert (keys_make (&k, &e) == 0 && keys_save (&k, p.path, &e) == 0, "%s", e.msg);
    static const mode_t bad[] = { 0640, 0604, 0644, 0660, 0606, 0610, 0601, 0666, 0777, 0620, 0602 }, good[] = { 0600, 0400, 0700 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq (chmod (p.path, bad[i]), 0);
        cr_assert_eq (keys_load (&back, p.path, &e), -1, "mode %o", (unsigned) bad[i]);
        cr_assert (e.kind == ERR_DENIED && strstr (e.msg, "chmod 600"), "%s", e.msg);
        cr_assert (back.sign.sec == NULL && back.seal_sec == NULL, "nothing to release after a refusal");
        cr_assert_eq (rootkey_load (&root, p.path, NULL, &e), -1);
    }
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        cr_assert_eq (chmod (p.path, good[i]), 0);
        cr_assert_eq (keys_load (&back, p.path, &e), 0, "mode %o: %s", (unsigned) good[i], e.msg);
        keys_release (&back);
    }
    (void) snprintf (path, sizeof path, "%s/link", p.dir);
    cr_assert (symlink (p.path, path) == 0);
    cr_assert_eq (keys_load (&back, path, &e), -1, "a link");
    (void) snprintf (path, sizeof path, "%s/pipe", p.dir);
    cr_assert (mkfifo (path, 0600) == 0);
    cr_assert_eq (keys_load (&back, path, &e), -1, "a pipe; and it must not wait for a writer");
    cr_assert_eq (keys_load (&back, p.dir, &e), -1, "a folder");
    cr_assert_eq (keys_load (&back, "/dev/zero", &e), -1, "a device");
    (void) snprintf (path, sizeof path, "%s/none", p.dir);
    cr_assert_eq (keys_load (&back, path, &e), -1);
    cr_assert (strstr (e.msg, path) && strstr (e.msg, "No such file"), "%s", e.msg);
    keys_release (&k);
    place_release (&p);
}

/* A changed digit is another key, which no checksum tells (the roster's public half does); anything else that is changed is refused. */
Test (key, damaged_files)
{
    struct place p;
    struct keys k, back;
    struct err e = ERR_INIT;
    BUF (text);
    BUF (long_text);
    place_init (&p);
    cr_assert (keys_make (&k, &e) == 0 && keys_save (&k, p.path, &e) == 0 && file_read (p.path, 4096, &text, &e) == 0, "%s", e.msg);
    for (size_t cut = 0; cut < text.len - 1; cut++) { /* the last newline alone may be missing */
        put (p.path, bytes_of (text.p, cut), 0600);
        cr_assert_eq (keys_load (&back, p.path, &e), -1, "cut at %zu", cut);
        cr_assert_eq (e.kind, ERR_DAMAGED, "%s", e.msg);
    }
    for (size_t i = 0; i < text.len; i++) {
        static const uint8_t masks[] = { 1, 0x20, 0x80 };
        for (size_t m = 0; m < sizeof masks; m++) {
            text.p[i] ^= masks[m];
            put (p.path, buf_bytes (&text), 0600);
            if (keys_load (&back, p.path, &e) == 0) {
                cr_assert_not (keys_same (&k, &back), "byte %zu is not looked at", i);
                keys_release (&back);
            }
            text.p[i] ^= masks[m];
        }
    }
    buf_add (&long_text, text.p, text.len);
    memset (buf_grow (&long_text, 8192), '\n', 8192);
    put (p.path, buf_bytes (&long_text), 0600);
    cr_assert_eq (keys_load (&back, p.path, &e), -1);
    cr_assert (strstr (e.msg, "too long"), "%s", e.msg);
    buf_add (&text, "\0x", 2);
    put (p.path, buf_bytes (&text), 0600);
    cr_assert_eq (keys_load (&back, p.path, &e), -1);
    cr_assert (strstr (e.msg, "NUL"), "%s", e.msg);
    keys_release (&k);
    place_release (&p);
}

/* ---- the root key ---- */

static int asked;
static const char *answer;

static int ask (char *pass, size_t size)
{
    asked++;
    if (!answer)
        return -1;
    (void) snprintf (pass, size, "%s", answer);
    return 0;
}

Test (rootkey, unprotected)
{
    struct place p;
    struct sign_key root, back;
    struct err e = ERR_INIT;
    BUF (text);
    place_init (&p);
    asked = 0;
    cr_assert (rootkey_make (&root, &e) == 0 && rootkey_save (&root, p.path, "", &e) == 0, "%s", e.msg);
    cr_assert_eq (rootkey_load (&back, p.path, ask, &e), 0, "%s", e.msg);
    cr_assert (asked == 0 && !memcmp (back.pub, root.pub, 32) && !memcmp (back.sec, root.sec, 64));
    rootkey_release (&back);
    cr_assert_eq (file_read (p.path, 4096, &text, &e), 0);
    for (size_t cut = 0; cut < text.len - 1; cut++) {
        put (p.path, bytes_of (text.p, cut), 0600);
        cr_assert_eq (rootkey_load (&back, p.path, ask, &e), -1, "cut at %zu", cut);
    }
    for (size_t i = 0; i < text.len; i++) /* its public half stands beside it: every change shows */
        for (unsigned bit = 0; bit < 8; bit++) {
            text.p[i] ^= (uint8_t) (1u << bit);
            put (p.path, buf_bytes (&text), 0600);
            cr_assert_eq (rootkey_load (&back, p.path, ask, &e), -1, "byte %zu bit %u", i, bit);
            cr_assert (e.kind == ERR_DAMAGED && back.sec == NULL, "%s", e.msg);
            text.p[i] ^= (uint8_t) (1u << bit);
        }
    struct keys k; /* one kind of file is not taken for the other */
    put (p.path, buf_bytes (&text), 0600);
    cr_assert_eq (keys_load (&k, p.path, &e), -1);
    rootkey_release (&root);
    place_release (&p);
}

/* Replaces the value of a line "name = ...". */
static void with_value (const struct buf *text, const char *name, const char *value, struct buf *out)
{
    struct buf copy = { NULL, 0, 0 };
    buf_add (&copy, text->p, text->len);
    const char *s = buf_str (&copy), *at = strstr (s, name);
    cr_assert_not_null (at, "%s", name);
    at += strlen (name) + 3;
    buf_add (out, s, (size_t) (at - s));
    buf_adds (out, value);
    buf_adds (out, at + strcspn (at, "\n"));
    buf_release (&copy);
}

Test (rootkey, under_a_passphrase)
{
    struct place p;
    struct sign_key root, back;
    struct err e = ERR_INIT;
    char seed[65], other[65];
    BUF (text);
    place_init (&p);
    cr_assert (rootkey_make (&root, &e) == 0 && rootkey_save (&root, p.path, "correct horse \xc3\xa4", &e) == 0, "%s", e.msg);
    cr_assert_eq (file_read (p.path, 4096, &text, &e), 0);
    hex_encode (root.sec, 32, seed);
    cr_assert (!strstr (buf_str (&text), seed) && strstr (buf_str (&text), "argon2id"), "the seed is not in the file");

    static const struct { const char *pass; int rc, asked; } t[] = {
        { "correct horse \xc3\xa4", 0, 1 }, { "correct horse", -1, 1 }, { "", -1, 1 }, { NULL, -1, 1 },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        asked = 0;
        answer = t[i].pass;
        cr_assert_eq (rootkey_load (&back, p.path, ask, &e), t[i].rc, "row %zu", i);
        cr_assert_eq (asked, t[i].asked);
        if (t[i].rc == 0) {
            cr_assert (!memcmp (back.pub, root.pub, 32) && !memcmp (back.sec, root.sec, 64));
            rootkey_release (&back);
        } else
            cr_assert (e.kind == ERR_DENIED && strstr (e.msg, "passphrase") && back.sec == NULL, "%s", e.msg);
    }
    cr_assert_eq (rootkey_load (&back, p.path, NULL, &e), -1);
    cr_assert (strstr (e.msg, "ASSAY_ROOT_PASSPHRASE_FILE"), "%s", e.msg);

    /* What a file from elsewhere may ask of this machine is bounded before anything is computed, and before anyone is asked. */
    static const struct { const char *name, *value; } bad[] = {
        { "ops", "65" }, { "ops", "99999999999999999999" }, { "ops", "-1" }, { "ops", "" }, { "memory", "4294967297" }, { "memory", "999999999999" }, { "memory", "x" },
        { "kdf", "argon2i" }, { "kdf", "none" }, { "salt", "00" }, { "nonce", "zz" }, { "box", "" },
    };
    asked = 0;
    answer = "correct horse \xc3\xa4";
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        BUF (changed);
        with_value (&text, bad[i].name, bad[i].value, &changed);
        put (p.path, buf_bytes (&changed), 0600);
        cr_assert_eq (rootkey_load (&back, p.path, ask, &e), -1, "%s = %s", bad[i].name, bad[i].value);
        cr_assert (e.kind == ERR_DAMAGED && asked == 0, "%s = %s: %s", bad[i].name, bad[i].value, e.msg);
    }
    /* A changed box, and another's public half beside it. */
    size_t box = (size_t) (strstr (buf_str (&text), "box = ") - buf_str (&text)) + 6;
    uint8_t digit = text.p[box];
    text.p[box] = digit == '0' ? '1' : '0';
    put (p.path, buf_bytes (&text), 0600);
    cr_assert_eq (rootkey_load (&back, p.path, ask, &e), -1);
    text.p[box] = digit;
    struct keys k;
    BUF (swapped);
    cr_assert_eq (keys_make (&k, &e), 0);
    hex_encode (k.sign.pub, 32, other);
    with_value (&text, "public", other, &swapped);
    put (p.path, buf_bytes (&swapped), 0600);
    cr_assert_eq (rootkey_load (&back, p.path, ask, &e), -1);
    keys_release (&k);
    rootkey_release (&root);
    place_release (&p);
}

Test (rootkey, the_passphrase_file)
{
    struct place p;
    char pass[16];
    place_init (&p);
    cr_assert_eq (setenv ("ASSAY_ROOT_PASSPHRASE_FILE", p.path, 1), 0);
    cr_assert_eq (rootkey_ask (pass, sizeof pass), -1, "not there");
    static const struct { const char *text; int rc; const char *pass; } t[] = {
        { "word\n", 0, "word" },  { "word", 0, "word" },           { "two words\nmore\n", 0, "two words" }, { "", -1, NULL },
        { "\nword\n", -1, NULL }, { "fifteen letters\n", 0, "fifteen letters" }, { "sixteen letters.\n", -1, NULL },
    };
    for (size_t i = 0; i < sizeof t / sizeof *t; i++) {
        put (p.path, bytes_str (t[i].text), 0600);
        cr_assert_eq (rootkey_ask (pass, sizeof pass), t[i].rc, "row %zu", i);
        if (t[i].rc == 0)
            cr_assert_str_eq (pass, t[i].pass);
    }
    cr_assert_eq (unsetenv ("ASSAY_ROOT_PASSPHRASE_FILE"), 0);
    place_release (&p);
}

Test (key, releasing_nothing_is_fine)
{
    struct keys k = { .seal_sec = NULL };
    struct sign_key r = { .sec = NULL };
    keys_release (NULL);
    keys_release (&k);
    rootkey_release (NULL);
    rootkey_release (&r);
}

/* X25519 ignores the highest bit, and takes numbers beyond the field; both curves have points of small order. */
Test (key, public_halves_have_one_form)
{
    static const uint8_t bad[][32] = { { 0 }, { 1 }, { 0xed, [1 ... 30] = 0xff, 0x7f }, { 0xee, [1 ... 30] = 0xff, 0x7f }, { [0 ... 30] = 0xff, 0x7f } };
    struct keys k;
    struct err e = ERR_INIT;
    cr_assert_eq (keys_make (&k, &e), 0);
    cr_assert_eq (keys_check (k.sign.pub, k.transport.pub, k.seal_pub, &e), 0, "%s", e.msg);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq (keys_check (bad[i], k.transport.pub, k.seal_pub, &e), -1, "signing %zu", i);
        cr_assert_eq (keys_check (k.sign.pub, bad[i], k.seal_pub, &e), -1, "transport %zu", i);
        cr_assert_eq (keys_check (k.sign.pub, k.transport.pub, bad[i], &e), -1, "sealing %zu", i);
    }
    k.seal_pub[31] ^= 0x80;
    cr_assert (keys_check (k.sign.pub, k.transport.pub, k.seal_pub, &e) == -1 && strstr (e.msg, "sealing"), "%s", e.msg);
    keys_release (&k);
}

/* ---- tokens, as text ---- */

Test (key, token_text)
{
    struct rootinfo root = { .endpoint = "tcp://127.0.0.1:7000" };
    struct token t, back;
    struct err e = ERR_INIT;
    BUF (text);
    randombytes_buf (root.root, 32);
    randombytes_buf (root.idp_key, 32);
    cr_assert_eq (token_make (&t, &root, &e), 0, "%s", e.msg);
    token_text (&t, &text);
    cr_assert_eq (token_parse (&back, buf_str (&text), &e), 0, "%s", e.msg);
    cr_assert (!memcmp (back.key.pub, t.key.pub, 32) && !memcmp (back.key.sec, t.key.sec, 32) && !memcmp (back.root.root, root.root, 32)
               && !memcmp (back.root.idp_key, root.idp_key, 32) && !strcmp (back.root.endpoint, root.endpoint));
    token_release (&back);
    for (size_t i = 0; i < text.len; i++)
        for (int c = 1; c < 256; c += 7) {
            uint8_t was = text.p[i];
            if (c == was)
                continue;
            text.p[i] = (uint8_t) c;
            if (token_parse (&back, buf_str (&text), &e) == 0) {
                BUF (other); /* then it says exactly what is written: no letter is looked over */
                token_text (&back, &other);
                cr_assert (bytes_eq (buf_bytes (&other), buf_bytes (&text)), "byte %zu as %02x", i, (unsigned) c);
                token_release (&back);
            } else
                cr_assert (back.key.sec == NULL && e.msg[0]);
            text.p[i] = was;
        }
    size_t fixed = strlen ("assay-token-1.") + 192;
    for (size_t cut = 0; cut < text.len; cut++) {
        char *part CLEANUP (free_ptr) = bytes_dup (bytes_of (text.p, cut));
        int rc = token_parse (&back, part, &e);
        cr_assert (rc == -1 || cut > fixed, "cut at %zu", cut);
        token_release (&back);
    }
    static const char *const bad[] = { "", "assay-token-1", "assay-token-1.", "assay-token-2.00", "https://example.org/" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq (token_parse (&back, bad[i], &e), -1, "\"%s\"", bad[i]);
    BUF (long_text);
    buf_add (&long_text, text.p, text.len);
    memset (buf_grow (&long_text, 2 * 256), '6', 2 * 256);
    cr_assert_eq (token_parse (&back, buf_str (&long_text), &e), -1, "an endpoint beyond its bound");
    token_release (&t);
}
