/* Comparing results: groups by size, files by manifest, hosts by what their texts say, however they were written. */
#include "cli/compare.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static void vote (struct compare *c, const char *worker, const char *outcome, const char *host)
{
    struct compare_vote v = { .worker = bytes_str (worker), .owner = bytes_str (worker), .host = bytes_str (host), .isolation = ISOLATION_BWRAP };
    struct compare_group g = { .outcome = digest_of (outcome, strlen (outcome)) };
    cr_assert (compare_add (c, &v, &g));
}

static void add (struct manifest *m, const char *path, char type, const char *what)
{
    struct digest d = digest_of (what, strlen (what));
    struct err e = ERR_INIT;
    BUF (raw);
    cr_assert_eq (manifest_add (m, path, type, type == 'd' ? 0 : strlen (what), &d, type == 'l' ? what : NULL, &e), 0, "%s", e.msg);
    cr_assert_eq (manifest_finish (m, &raw, &e), 0, "%s", e.msg);
}

static int note_file (void *arg, const struct compare_file *f)
{
    buf_addf (arg, "%s:%s ", f->path, f->what);
    return 0;
}

static int note_host (void *arg, const struct compare_host *h)
{
    buf_addf (arg, "%s%s%s[%s|%s|%s] ", h->name, h->same ? "=" : "", h->parts ? "!" : "", h->values[0], h->values[1], h->values[2]);
    return 0;
}

Test (compare, groups_and_files)
{
    struct compare *c = compare_new ();
    char letter[8];
    BUF (out);
    vote (c, "w3", "x", "");
    vote (c, "w2", "y", "");
    vote (c, "w1", "y", "");
    compare_sort (c);
    cr_assert (c->group_count == 2 && c->groups[0].votes == 2);
    cr_assert (bytes_eqs (c->votes[0].worker, "w1") && c->votes[0].group == 0 && c->votes[1].group == 0 && c->votes[2].group == 1);
    cr_assert_str_eq (compare_letter (27, letter), "B1");
    struct manifest *a = &c->groups[0].manifest, *b = &c->groups[1].manifest;
    c->groups[0].files = c->groups[1].files = true;
    add (a, "same", 'f', "1");
    add (b, "same", 'f', "1");
    add (a, "content", 'f', "1");
    add (b, "content", 'f', "2");
    add (a, "mode", 'f', "1");
    add (b, "mode", 'x', "1");
    add (a, "kind", 'd', "");
    add (b, "kind", 'l', "same");
    add (a, "link", 'l', "same");
    add (b, "link", 'l', "mode");
    add (b, "zz", 'f', "");
    add (a, "aa", 'f', "");
    compare_files (c, note_file, &out);
    cr_assert_str_eq (buf_str (&out), "aa:missing content:content kind:type link:link mode:executable zz:missing ");
    compare_destroy (&c);
}

Test (compare, hosts)
{
    struct compare *c = compare_new ();
    BUF (out);
    vote (c, "w1", "y", "kernel=6.1 cpu=Some CPU @ 3 GHz driver=bwrap-0.8.0");
    vote (c, "w2", "y", "kernel=6.1 cpu=Some CPU @ 3 GHz driver=bwrap-0.8.1 extra=\x1b[2J");
    vote (c, "w3", "x", "nonsense  cpu=Other kernel=6.1 driver=bwrap-0.8.1 cpu=again =x");
    compare_sort (c);
    compare_hosts (c, note_host, &out);
    cr_assert_str_eq (buf_str (&out),
                      "kernel=[6.1|6.1|6.1] cpu![Some CPU @ 3 GHz|Some CPU @ 3 GHz|Other] driver[bwrap-0.8.0|bwrap-0.8.1|bwrap-0.8.1] extra[|?[2J|] "
                      "isolation=[bwrap|bwrap|bwrap] accelerator=[||] image=[0000000000000000|0000000000000000|0000000000000000] ");
    compare_destroy (&c);
}
