/* In-toto links: the text is canonical and follows symlinks as in-toto does; the key's name is securesystemslib's; what is not a link is refused. */
#include "store/link.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill (struct result *r)
{
    memset (r, 0, sizeof *r);
    strcpy (r->step, "build");
    strcpy (r->commit, "0123456789abcdef0123456789abcdef01234567");
    r->image = digest_of ("i", 1);
    r->recipe = digest_of ("r", 1);
    r->inputs[0] = digest_of ("in", 2);
    r->input_count = 1;
}

static void add (struct manifest *m, const char *path, char type, const char *what)
{
    struct digest d = digest_of (what, strlen (what));
    struct err e = ERR_INIT;
    cr_assert_eq (manifest_add (m, path, type, type == 'd' ? 0 : strlen (what), &d, type == 'l' ? what : NULL, &e), 0, "%s", e.msg);
}

static void finish (struct manifest *m)
{
    struct err e = ERR_INIT;
    BUF (raw);
    cr_assert_eq (manifest_finish (m, &raw, &e), 0, "%s", e.msg);
}

static bool has (struct buf *text, const char *path, const char *content)
{
    char hex[DIGEST_HEX];
    struct digest d = digest_of (content, strlen (content));
    char *want = xasprintf ("\"%s\":{\"sha256\":\"%s\"}", path, digest_hex (&d, hex));
    bool found = strstr (buf_str (text), want) != NULL;
    free (want);
    return found;
}

Test (link, a_keys_name_is_that_of_securesystemslib)
{
    uint8_t key[32] = { 0 };
    char id[DIGEST_HEX];
    BUF (text);
    /* sha256 of the canonical form, written out by hand */
    buf_adds (&text, "{\"keyid_hash_algorithms\":[\"sha256\",\"sha512\"],\"keytype\":\"ed25519\",\"keyval\":{\"public\":\"");
    for (int i = 0; i < 32; i++)
        buf_adds (&text, "00");
    buf_adds (&text, "\"},\"scheme\":\"ed25519\"}");
    struct digest want = digest_of (text.p, text.len);
    char hex[DIGEST_HEX];
    link_keyid (key, id);
    cr_assert_str_eq (id, digest_hex (&want, hex));
}

Test (link, products_are_what_in_toto_sees)
{
    struct manifest m;
    struct result r;
    struct err e = ERR_INIT;
    BUF (text);
    manifest_init (&m);
    add (&m, "a", 'd', "");
    add (&m, "a/one", 'f', "1");
    add (&m, "a/up", 'l', "../two");
    add (&m, "a-b", 'f', "between");
    add (&m, "again", 'l', "folder");
    add (&m, "folder", 'l', "a");
    add (&m, "gone", 'l', "a/nothing");
    add (&m, "two", 'x', "2");
    add (&m, "q\"b\\", 'f', "q");
    finish (&m);
    fill (&r);
    cr_assert_eq (link_text (&r, &m, &text, &e), 0, "%s", e.msg);
    static const struct { const char *path, *content; } want[] = {
        { "a/one", "1" }, { "a/up", "2" }, { "a-b", "between" }, { "again/one", "1" }, { "again/up", "2" }, { "folder/one", "1" }, { "folder/up", "2" }, { "two", "2" }, { "q\\\"b\\\\", "q" },
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++)
        cr_assert (has (&text, want[i].path, want[i].content), "%s in %s", want[i].path, buf_str (&text));
    cr_assert_null (strstr (buf_str (&text), "gone"));
    cr_assert_eq (strncmp (buf_str (&text), "{\"_type\":\"link\",\"byproducts\":{\"return-value\":0},\"command\":[],\"environment\":{\"assay:image\":", 83), 0, "%s", buf_str (&text));
    manifest_release (&m);
}

Test (link, symlinks_that_lead_into_themselves_have_none)
{
    struct manifest m;
    struct result r;
    struct err e = ERR_INIT;
    BUF (text);
    fill (&r);
    manifest_init (&m);
    add (&m, "a", 'd', "");
    add (&m, "a/b", 'd', "");
    add (&m, "a/b/f", 'f', "1");
    add (&m, "a/b/x", 'l', "../../a");
    add (&m, "a/b/y", 'l', "../../a");
    add (&m, "a/b/z", 'l', "../../a");
    finish (&m);
    cr_assert_eq (link_text (&r, &m, &text, &e), -1);
    cr_assert (e.code == EC_MALFORMED || e.code == EC_OVERSIZED);
    manifest_release (&m);
    manifest_init (&m);
    add (&m, "p", 'l', "q");
    add (&m, "q", 'l', "p");
    add (&m, "f", 'f', "1");
    finish (&m);
    cr_assert_eq (link_text (&r, &m, &text, &e), 0, "a loop of links leads nowhere");
    cr_assert_null (strstr (buf_str (&text), "\"p\""));
    manifest_release (&m);
}

/* A build's own artifact must not keep its worker, or whoever verifies it, busy for ever. */
Test (link, paths_that_double_with_each_folder_come_to_an_end, .timeout = 60)
{
    struct manifest m;
    struct result r;
    struct err e = ERR_INIT;
    BUF (text);
    manifest_init (&m);
    for (int i = 0; i < 32; i++) {
        char folder[32], link[32], target[32];
        (void) snprintf (folder, sizeof folder, "d%02d", i);
        add (&m, folder, 'd', "");
        for (int k = 0; k < 2 && i < 31; k++) {
            (void) snprintf (link, sizeof link, "d%02d/%d", i, k);
            (void) snprintf (target, sizeof target, "../d%02d", i + 1);
            add (&m, link, 'l', target);
        }
    }
    finish (&m);
    fill (&r);
    cr_assert_eq (link_text (&r, &m, &text, &e), -1);
    cr_assert_eq (e.code, EC_OVERSIZED, "%s", e.msg);
    manifest_release (&m);
}

/* The longest way that a path and its symlinks can be, again and again. */
Test (link, symlinks_that_are_a_long_way_come_to_an_end, .timeout = 60)
{
    struct manifest m;
    struct result r;
    struct err e = ERR_INIT;
    BUF (text);
    BUF (folder);
    BUF (up);
    manifest_init (&m);
    for (int i = 0; i < 160; i++) {
        buf_addf (&folder, "%sa", i ? "/" : "");
        buf_adds (&up, "../");
        add (&m, buf_str (&folder), 'd', "");
    }
    for (int i = 0; i < 2000; i++) {
        char *link = xasprintf ("%s/%04d", buf_str (&folder), i), *target = xasprintf ("%s%s/%04d", buf_str (&up), buf_str (&folder), i + 1);
        add (&m, link, 'l', target);
        free (link);
        free (target);
    }
    finish (&m);
    fill (&r);
    cr_assert_eq (link_text (&r, &m, &text, &e), -1);
    cr_assert_eq (e.code, EC_OVERSIZED, "%s", e.msg);
    manifest_release (&m);
}

Test (link, what_is_written_is_read_and_every_cut_or_flip_is_noticed)
{
    struct manifest m;
    struct result r;
    struct link l;
    struct err e = ERR_INIT;
    uint8_t key[32] = { 1 }, sig[64] = { 2 };
    BUF (text);
    BUF (file);
    fill (&r);
    manifest_init (&m);
    add (&m, "wörld", 'f', "1");
    finish (&m);
    cr_assert_eq (link_text (&r, &m, &text, &e), 0);
    link_file (buf_bytes (&text), key, sig, &file);
    cr_assert_eq (link_open (buf_bytes (&file), &l, &e), 0, "%s", e.msg);
    cr_assert (bytes_eq (buf_bytes (&l.text), buf_bytes (&text)));
    cr_assert_str_eq (l.name, "build");
    cr_assert_eq (memcmp (l.sig, sig, 64), 0);
    link_release (&l);
    for (size_t cut = 0; cut + 1 < file.len; cut++) /* the last is the newline */
        cr_assert_eq (link_open (bytes_of (file.p, cut), &l, &e), -1, "%zu", cut);
    for (size_t i = 0; i < file.len; i++)
        for (int bit = 0; bit < 8; bit++) {
            file.p[i] ^= (uint8_t) (1 << bit);
            if (link_open (buf_bytes (&file), &l, &e) == 0) {
                /* taken: then it has another key, signature or text, or the same meaning */
                bool same = bytes_eq (buf_bytes (&l.text), buf_bytes (&text)) && !memcmp (l.sig, sig, 64);
                char id[DIGEST_HEX];
                link_keyid (key, id);
                cr_assert (!same || strcmp (l.keyid, id) || file.p[i] == ' ' || file.p[i] == '\n' || file.p[i] == '\t' || file.p[i] == '\r', "byte %zu", i);
                link_release (&l);
            }
            file.p[i] ^= (uint8_t) (1 << bit);
        }
    manifest_release (&m);
}
