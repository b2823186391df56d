/* The reader of repositories against hostile ones, and the confined fetch. */
#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "source/git.h"

static char top[64];

/* Runs a shell line in the test's folder; its output, without the last newline, in `out`. */
static void sh (char *out, size_t size, const char *fmt, ...) __attribute__ ((format (printf, 3, 4)));
static void sh (char *out, size_t size, const char *fmt, ...)
{
    char line[8192];
    int n = snprintf (line, sizeof line,
                      "cd %s && export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a "
                      "GIT_COMMITTER_EMAIL=a@b GIT_AUTHOR_DATE='1500000000 +0000' GIT_COMMITTER_DATE='1500000000 +0000'; ",
                      top);
    va_list ap;
    va_start (ap, fmt);
    vsnprintf (line + n, sizeof line - (size_t) n, fmt, ap);
    va_end (ap);
    FILE *p = popen (line, "r");
    cr_assert (p);
    size_t got = fread (out, 1, size - 1, p);
    out[got] = '\0';
    while (got && out[got - 1] == '\n')
        out[--got] = '\0';
    cr_assert_eq (pclose (p), 0, "%s", line);
}

static void run (const char *line)
{
    char none[4096];
    sh (none, sizeof none, "%s", line);
}

static void setup (void)
{
    strcpy (top, "/tmp/test-git-XXXXXX");
    cr_assert (mkdtemp (top));
    run ("git init -q -b main r && cd r && mkdir d && echo hello >d/f && echo '#!/bin/sh' >x && chmod +x x && ln -s d/f l && ln -s /etc/passwd out "
         "&& ln -s .. up && printf 'image: c\\n' >.assay.yml && printf '* text eol=crlf filter=evil\\n' >.gitattributes "
         "&& git -c core.safecrlf=false add -A && git commit -qm 'first [skip ci]' && git tag -m t v1 && git branch other "
         "&& git init -q --bare ../m.git && git push -q ../m.git main");
}

static void teardown (void)
{
    struct err e = ERR_INIT;
    cr_assert_eq (file_remove_tree (top, &e), 0, "%s", e.msg);
}

TestSuite (git, .init = setup, .fini = teardown, .timeout = 60);

static const char *path (const char *below)
{
    static char p[4][256];
    static int i;
    i = (i + 1) % 4;
    snprintf (p[i], sizeof p[i], "%s/%s", top, below);
    return p[i];
}

static void head (char id[65])
{
    struct git_rev rev;
    struct err e = ERR_INIT;
    cr_assert_eq (git_resolve (path ("r"), "HEAD", &rev, &e), 0, "%s", e.msg);
    memcpy (id, rev.id, 65);
    git_rev_release (&rev);
}

Test (git, resolves_names_tags_and_prefixes_to_commits)
{
    static const char *const good[] = { "HEAD", "main", "other", "v1", "refs/heads/main", "refs/tags/v1" };
    char id[65];
    head (id);
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct git_rev rev;
        struct err e = ERR_INIT;
        cr_assert_eq (git_resolve (path ("r/d"), good[i], &rev, &e), 0, "%s: %s", good[i], e.msg);
        cr_assert_str_eq (rev.id, id);
        cr_assert (rev.time == 1500000000 && strstr (rev.message, "[skip ci]"));
        git_rev_release (&rev);
    }
    static const char *const bad[] = { "nothing", "", "HEAD^", "HEAD:x", "0000000000000000000000000000000000000000", "--all" };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct git_rev rev;
        struct err e = ERR_INIT;
        cr_assert_eq (git_resolve (path ("r"), bad[i], &rev, &e), -1, "%s", bad[i]);
        cr_assert_eq (e.kind, ERR_USAGE);
        git_rev_release (&rev);
    }
    BUF (ref);
    BUF (tag);
    cr_assert (git_ref_of (path ("r"), "HEAD", &ref, NULL) == 0 && bytes_eqs (buf_bytes (&ref), "refs/heads/main"));
    cr_assert (git_ref_of (path ("r"), "v1", &tag, NULL) == 0 && bytes_eqs (buf_bytes (&tag), "refs/tags/v1"));
}

Test (git, reads_a_file_at_a_commit_within_bounds)
{
    char id[65];
    struct err e = ERR_INIT;
    head (id);
    BUF (text);
    cr_assert_eq (git_read_file (path ("r"), id, "d/f", 6, &text, &e), 0, "%s", e.msg);
    cr_assert (bytes_eqs (buf_bytes (&text), "hello\n"));
    cr_assert (git_read_file (path ("r"), id, "d/f", 5, &text, &e) == -1 && e.code == EC_OVERSIZED);
    cr_assert (git_read_file (path ("r"), id, "none", 9, &text, &e) == -1 && e.code == EC_NOT_FOUND);
    cr_assert_eq (git_read_file (path ("r"), id, "out", 99999, &text, &e), -1, "a link is not followed");
    cr_assert_eq (git_read_file (path ("r"), id, "d", 99999, &text, &e), -1);
    cr_assert_eq (git_read_file (path ("r"), "HEAD", "d/f", 99, &text, &e), -1, "a full id, nothing else");
    cr_assert_eq (git_read_file (path (""), id, "d/f", 99, &text, &e), -1);
    cr_assert_eq (e.kind, ERR_USAGE);
}

static int count_ref (void *arg, const char *ref, const char *id)
{
    (void) ref;
    (void) id;
    ++*(int *) arg;
    return 0;
}

Test (git, refs_are_branches_and_tags_that_lead_to_commits)
{
    int n = 0;
    run ("cd r && git update-ref refs/notes/x HEAD && git tag blob HEAD:x && git update-ref refs/pull/1 HEAD");
    cr_assert_eq (git_refs (path ("r"), count_ref, &n, NULL), 0);
    cr_assert_eq (n, 3); /* main, other, v1 */
}

static mode_t mode_of (const char *below)
{
    struct stat st;
    cr_assert_eq (lstat (path (below), &st), 0, "%s", below);
    cr_assert_eq (st.st_mtime, 1500000000, "%s", below);
    return st.st_mode;
}

Test (git, writes_a_tree_with_links_as_they_are_and_no_filter)
{
    char id[65], target[64] = "";
    struct err e = ERR_INIT;
    head (id);
    mkdir (path ("src"), 0755);
    umask (077);
    cr_assert_eq (git_checkout (path ("m.git"), id, path ("src"), 100, 1 << 20, &e), 0, "%s", e.msg);
    cr_assert_eq (mode_of ("src"), (mode_t) (S_IFDIR | 0755));
    cr_assert_eq (mode_of ("src/d"), (mode_t) (S_IFDIR | 0755));
    cr_assert_eq (mode_of ("src/d/f"), (mode_t) (S_IFREG | 0644));
    cr_assert_eq (mode_of ("src/x"), (mode_t) (S_IFREG | 0755));
    cr_assert (S_ISLNK (mode_of ("src/out")) && readlink (path ("src/out"), target, sizeof target) == 11 && strcmp (target, "/etc/passwd") == 0);
    BUF (text);
    cr_assert (file_read (path ("src/d/f"), 100, &text, &e) == 0 && bytes_eqs (buf_bytes (&text), "hello\n"), "no line ends changed");

    mkdir (path ("few"), 0755);
    cr_assert (git_checkout (path ("m.git"), id, path ("few"), 3, 1 << 20, &e) == -1 && e.code == EC_QUOTA, "%s", e.msg);
    mkdir (path ("small"), 0755);
    cr_assert (git_checkout (path ("m.git"), id, path ("small"), 100, 10, &e) == -1 && e.code == EC_QUOTA, "%s", e.msg);
    cr_assert_eq (git_checkout (path ("m.git"), id, path ("absent"), 100, 10, &e), -1);
    cr_assert_eq (git_checkout (path ("m.git"), "00000000000000000000000000000000000000aa", path ("src"), 100, 10, &e), -1);
}

/* A commit of one tree made of raw entries: pairs of "MODE NAME" and what id to put behind. */
static void raw_commit (const char *entries, char id[65])
{
    sh (id, 65,
        "cd m.git && blob=$(echo evil | git hash-object -w --stdin) && link=$(printf /tmp | git hash-object -w --stdin) && "
        "sub=$(printf '100644 f\\0' | { cat; echo $blob | perl -ne 'print pack \"H40\", $_'; } | git hash-object -w --literally -t tree --stdin) && "
        "bin() { printf \"$1\\0\"; echo $2 | perl -ne 'print pack \"H40\", $_'; } && tree=$( { %s; } | git hash-object -w --literally -t tree --stdin) && "
        "git commit-tree -m evil $tree",
        entries);
}

Test (git, hostile_trees_end_in_an_error_inside_the_folder)
{
    static const struct {
        const char *entries, *says;
    } rows[] = {
        { "bin '100644 ..' $blob", "..: " },
        { "bin '100644 .' $blob", ".: " },
        { "bin '100644 .git' $blob", ".git: " },
        { "bin '40000 .GIT' $sub", ".GIT" },
        { "bin '40000 ..' $sub", ".." },
        { "bin '100644 ../../evil' $blob", "evil" },
        { "bin '100644 a/b' $blob", "a/b" },
        { "bin '100644 /etc/evil' $blob", "/etc/evil" },
        { "bin '120000 a' $link; bin '40000 a' $sub", "a" }, /* a link, then a folder through it */
        { "bin '100644 a' $blob; bin '100644 a' $blob", "a" },
        { "bin '60000 dev' $blob", "dev" },
        { "bin '100644 a' $sub", "a" },                      /* a tree said to be a file */
        { "bin '40000 a' $blob", "a" },
        { "bin '100644 a' 00000000000000000000000000000000000000aa", "a" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char id[65], dir[32];
        struct err e = ERR_INIT;
        raw_commit (rows[i].entries, id);
        snprintf (dir, sizeof dir, "h%zu", i);
        mkdir (path (dir), 0755);
        cr_expect_eq (git_checkout (path ("m.git"), id, path (dir), 100, 1 << 20, &e), -1, "%s", rows[i].entries);
        cr_expect (strstr (e.msg, rows[i].says), "%s: %s", rows[i].entries, e.msg);
        cr_expect (access ("/tmp/f", F_OK) == -1 && access (path ("evil"), F_OK) == -1 && access ("/etc/evil", F_OK) == -1);
    }
}

Test (git, a_submodule_is_an_empty_folder)
{
    char id[65];
    struct err e = ERR_INIT;
    raw_commit ("bin '160000 sub' 00000000000000000000000000000000000000aa", id);
    mkdir (path ("s"), 0755);
    cr_assert_eq (git_checkout (path ("m.git"), id, path ("s"), 100, 1 << 20, &e), 0, "%s", e.msg);
    cr_assert (rmdir (path ("s/sub")) == 0);
}

Test (git, a_tree_of_trees_cannot_grow_beyond_the_bounds)
{
    /* each level holds the one below eight times: 8^12 files of one blob */
    char id[65];
    struct err e = ERR_INIT;
    sh (id, sizeof id,
        "cd m.git && t=$(echo x | git hash-object -w --stdin) && type=blob mode=100644 && for i in 1 2 3 4 5 6 7 8 9 10 11 12; do "
        "t=$(for n in 1 2 3 4 5 6 7 8; do printf '%%s %%s %%s\\t%%s\\n' $mode $type $t $n; done | git mktree) && type=tree mode=40000; done && "
        "git commit-tree -m bomb $t");
    mkdir (path ("b"), 0755);
    cr_assert (git_checkout (path ("m.git"), id, path ("b"), 5000, 1 << 20, &e) == -1 && e.code == EC_QUOTA, "%s", e.msg);
    sh (id, sizeof id,
        "cd m.git && t=$(git mktree </dev/null) && for i in $(seq 200); do t=$(printf '40000 tree %%s\\td\\n' $t | git mktree); done && git commit-tree -m deep $t");
    mkdir (path ("c"), 0755);
    cr_assert (git_checkout (path ("m.git"), id, path ("c"), 5000, 1 << 20, &e) == -1 && strstr (e.msg, "nested too deep"), "%s", e.msg);
}

Test (git, urls)
{
    static const char *const good[] = { "https://git.example/x.git", "ssh://git@example/x", "git://example/x", "git@example.org:x/y.git" };
    static const char *const bad[] = {
        "", "x", "/x", "http://example/x", "ext::sh -c evil", "ext::sh", "fd::17", "file://host/x", "ftp://example/x", "--upload-pack=evil", "-oProxyCommand=evil@x:y",
        "ssh://-oProxyCommand=evil/x", "https://", "https:///x", "a@-evil:x", "@example:x", "https://a b/x", "https://a\n/x", "git@example", "a@b::x", "ext::x@y:z",
    };
    struct err e = ERR_INIT;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_expect_eq (git_url_check (good[i], &e), 0, "%s: %s", good[i], e.msg);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect_eq (git_url_check (bad[i], &e), -1, "%s", bad[i]);
    cr_expect (git_url_check ("file:///x", &e) == -1 && e.code == EC_NOT_ALLOWED);
    git_allow_file (true);
    cr_expect_eq (git_url_check ("file:///x", &e), 0);
    git_allow_file (false);
}

Test (git, fetches_one_commit_and_nothing_else)
{
    char id[65], second[65], url[300];
    struct err e = ERR_INIT;
    head (id);
    sh (second, sizeof second, "cd r && git commit -q --allow-empty -m second && git rev-parse HEAD");
    snprintf (url, sizeof url, "file://%s", path ("r"));
    cr_assert (git_fetch (path ("mirror"), url, NULL, id, 20000, &e) == -1 && e.code == EC_NOT_ALLOWED, "%s", e.msg);
    git_allow_file (true);
    cr_assert_eq (git_fetch (path ("mirror"), url, NULL, id, 20000, &e), 0, "%s", e.msg);
    cr_assert (git_has (path ("mirror"), id) && !git_has (path ("mirror"), second));
    cr_assert_eq (git_fetch (path ("mirror"), url, NULL, second, 20000, &e), 0, "%s", e.msg);
    cr_assert (git_has (path ("mirror"), second));
    mkdir (path ("w"), 0755);
    cr_assert_eq (git_checkout (path ("mirror"), second, path ("w"), 100, 1 << 20, &e), 0, "%s", e.msg);

    cr_assert_eq (git_fetch (path ("mirror"), url, NULL, "00000000000000000000000000000000000000aa", 20000, &e), -1);
    cr_assert (e.kind == ERR_FAILED && strstr (e.msg, "fetch of 00000000"), "%s", e.msg);
    cr_assert_eq (git_fetch (path ("mirror"), "file:///nowhere/at/all", NULL, "00000000000000000000000000000000000000aa", 20000, &e), -1);
    cr_assert_eq (git_fetch (path ("mirror"), url, NULL, "main", 20000, &e), -1);
    git_allow_file (false);
}

/* A server that takes the connection and says nothing: the deadline ends it, and nothing of git stays behind. */
Test (git, a_silent_server_costs_the_deadline_and_no_more)
{
    char port[64], url[128], left[4096];
    struct err e = ERR_INIT;
    sh (port, sizeof port,
        "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new (Listen => 5, LocalAddr => \"127.0.0.1\") or die; print $s->sockport, \"\\n\"; "
        "exit if fork; close STDOUT; close STDERR; alarm 20; while ($c = $s->accept) { push @k, $c }'");
    snprintf (url, sizeof url, "git://127.0.0.1:%s/x", port);
    int64_t start = time_mono_ms ();
    cr_assert_eq (git_fetch (path ("silent"), url, NULL, "00000000000000000000000000000000000000aa", 700, &e), -1);
    cr_assert (e.kind == ERR_UNREACHABLE && strstr (e.msg, "did not finish in time"), "%s", e.msg);
    cr_assert_lt (time_mono_ms () - start, 5000);
    sh (left, sizeof left, "perl -e 'for (</proc/[0-9]*/cmdline>) { open F, $_ or next; $c = <F>; print \"$c\\n\" if $c =~ /^git\\0/ && index ($c, \"%s\") >= 0 }'", top);
    cr_assert_str_eq (left, "", "%s", left);
}

/* Whatever the name means by now: git goes to the address that was found for it, by each kind of URL. */
Test (git, a_fetch_goes_to_the_address_that_was_found)
{
    static const char *const kinds[] = { "git://", "https://", "ssh://git@" };
    static const char *const greets[] = { "host=moved.example.invalid:", "moved.example.invalid", "SSH-2.0-" };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        char port[64], url[128], said[8192], script[1400];
        struct err e = ERR_INIT;
        /* takes one connection and writes down what it is greeted with: the pkt-line, the name in the TLS handshake, the banner */
        snprintf (script, sizeof script,
                  "perl -MIO::Socket::INET -e '$s = IO::Socket::INET->new (Listen => 5, LocalAddr => \"127.0.0.1\") or die; print $s->sockport, \"\\n\"; "
                  "exit if fork; close STDOUT; close STDERR; alarm 20; $c = $s->accept; $b = \"\"; "
                  "while (index ($b, \"%s\") < 0) { sysread ($c, $b, 4000, length $b) or last } open F, \">%s/said.part\"; print F $b; close F; "
                  "rename \"%s/said.part\", \"%s/said.%zu\"'", greets[i], top, top, top, i);
        sh (port, sizeof port, "%s", script);
        snprintf (url, sizeof url, "%smoved.example.invalid:%s/x", kinds[i], port);
        struct git_place at = { "moved.example.invalid", "127.0.0.1", (uint16_t) atoi (port) };
        cr_assert_eq (git_fetch (path ("pinned"), url, &at, "00000000000000000000000000000000000000aa", 8000, &e), -1);
        sh (said, sizeof said, "for i in 1 2 3 4 5 6 7 8 9 10; do [ -e %s/said.%zu ] && break; sleep 0.1; done; tr -c '[:print:]' '\\n' <%s/said.%zu", top, i, top, i);
        cr_assert (strstr (said, greets[i]), "%s: %s (%s)", url, said, e.msg);
        cr_assert_eq (git_fetch (path ("pinned"), url, NULL, "00000000000000000000000000000000000000aa", 8000, &e), -1); /* the control: the name is nowhere */
        cr_assert (strstr (e.msg, "resolve") || strstr (e.msg, "look up") || strstr (e.msg, "in time") || i == 2 /* ssh says so before its last words */, "%s: %s", url, e.msg);
    }
}

Test (git, hostile_objects_are_refused_at_the_fetch)
{
    char id[65], url[300];
    struct err e = ERR_INIT;
    raw_commit ("bin '40000 .git' $sub", id);
    snprintf (url, sizeof url, "file://%s", path ("m.git"));
    git_allow_file (true);
    cr_assert_eq (git_fetch (path ("mirror"), url, NULL, id, 20000, &e), -1);
    cr_assert (!git_has (path ("mirror"), id));
    cr_assert (strstr (e.msg, "fetch of"), "%s", e.msg);
    git_allow_file (false);
}

Test (git, a_repository_cannot_run_anything_at_the_fetch)
{
    /* Its own configuration, hooks and the caller's environment: all of them would make a file. */
    char id[65], url[300], line[1200];
    struct err e = ERR_INIT;
    head (id);
    snprintf (line, sizeof line,
              "cd r && git config uploadpack.packObjectsHook 'touch %s/ran; exec' && git config core.sshCommand 'touch %s/ran' && git config core.fsmonitor "
              "'touch %s/ran'",
              top, top, top);
    run (line);
    snprintf (line, sizeof line, "touch %s/ran", top);
    setenv ("GIT_SSH_COMMAND", line, 1);
    setenv ("GIT_PROXY_COMMAND", line, 1);
    setenv ("GIT_TRACE", path ("ran"), 1);
    snprintf (url, sizeof url, "file://%s", path ("r"));
    git_allow_file (true);
    cr_assert_eq (git_fetch (path ("mirror"), url, NULL, id, 20000, &e), 0, "%s", e.msg);
    git_fetch (path ("mirror"), "ssh://127.0.0.1:1/x", NULL, "00000000000000000000000000000000000000aa", 5000, &e);
    cr_assert_eq (access (path ("ran"), F_OK), -1);
    unsetenv ("GIT_TRACE");
    git_allow_file (false);
}

Test (git, configuration_is_read_and_set)
{
    struct err e = ERR_INIT;
    BUF (value);
    cr_assert (git_config_get (path ("r"), "assay.project", &value, &e) == -1 && e.code == EC_NOT_FOUND);
    cr_assert_eq (git_config_set (path ("r"), "assay.project", "x/y", &e), 0, "%s", e.msg);
    cr_assert (git_config_get (path ("r/d"), "assay.project", &value, &e) == 0 && bytes_eqs (buf_bytes (&value), "x/y"));
    BUF (dir);
    bool bare = false;
    cr_assert (git_dir (path ("m.git"), &dir, &bare, &e) == 0 && bare && bytes_eqs (buf_bytes (&dir), path ("m.git")));
}
