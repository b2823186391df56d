/* hook_run.c: what git calls after a push or a commit. Contract: hook.h.
 *
 * It signs and writes spool files, which takes milliseconds and no network, and leaves the sending to a child that holds none of
 * the pusher's descriptors. What it last dealt with is in the ledger (spool.h): a push whose hook was killed is found at the next.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/hook.h"
#include "cli/spool.h"
#include "cli/submit.h"
#include "source/git.h"

#define SUBMISSIONS_MAX 64 /* of one push; what is beyond comes with the next, or by `assay push` */
#define REFS_MAX 65536

struct change {
    char *ref, id[65];
};
struct run {
    struct cli *c;
    struct realm *rl;
    const char *dir;          /* the repository's git folder */
    struct buf project, url;
    struct ledger ledger;
    struct change *v;         /* what to look at */
    size_t n;
    bool skip;                /* -o ci.skip */
    unsigned spooled;
};

static void run_release (struct run *r)
{
    for (size_t i = 0; i < r->n; i++)
        free (r->v[i].ref);
    free (r->v);
    buf_release (&r->project);
    buf_release (&r->url);
    ledger_release (&r->ledger);
    realm_close (&r->rl);
}

/* A line for the pusher. Standard error of a hook reaches them as "remote: ...". */
static void say (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));
static void say (const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start (ap, fmt);
    vsnprintf (text, sizeof text, fmt, ap);
    va_end (ap);
    BUF (clean);
    text_clean (bytes_str (text), false, &clean);
    fprintf (stderr, "assay: %s\n", buf_str (&clean));
}

static bool wanted_ref (const char *ref)
{
    return strncmp (ref, "refs/heads/", 11) == 0 || strncmp (ref, "refs/tags/", 10) == 0;
}

static const char *short_name (const char *ref)
{
    return wanted_ref (ref) ? strchr (ref + 5, '/') + 1 : *ref ? ref : "detached HEAD";
}

static void add_change (struct run *r, const char *ref, const char *id)
{
    if (r->n == REFS_MAX)
        return;
    r->v = xrealloc (r->v, (r->n + 1) * sizeof *r->v);
    struct change *c = &r->v[r->n++];
    c->ref = xstrdup (ref);
    snprintf (c->id, sizeof c->id, "%s", id);
}

/* -o ci.skip, as git hands it on. */
static bool option_skip (void)
{
    const char *count = getenv ("GIT_PUSH_OPTION_COUNT");
    long n = count ? strtol (count, NULL, 10) : 0;
    for (long i = 0; i < n && i < 1000; i++) {
        char name[40];
        snprintf (name, sizeof name, "GIT_PUSH_OPTION_%ld", i);
        const char *v = getenv (name);
        if (v && (strcmp (v, "ci.skip") == 0 || strcmp (v, "skip-ci") == 0))
            return true;
    }
    return false;
}

static bool message_skip (const char *message)
{
    return strcasestr (message, "[skip ci]") || strcasestr (message, "[ci skip]");
}

/* Standard input of post-receive: "OLD NEW REF". */
static void read_pushed (struct run *r)
{
    char *line = NULL;
    size_t cap = 0;
    ssize_t len;
    while ((len = getline (&line, &cap, stdin)) > 0) {
        if (line[len - 1] == '\n')
            line[--len] = '\0';
        char *new_id = strchr (line, ' '), *ref = new_id ? strchr (new_id + 1, ' ') : NULL;
        if (!ref)
            continue;
        *ref++ = '\0';
        new_id++;
        if (!wanted_ref (ref))
            continue;
        if (strspn (new_id, "0") == strlen (new_id))
            ledger_set (&r->ledger, ref, NULL); /* deleted: nothing to build */
        else
            add_change (r, ref, new_id);
    }
    free (line);
}

static int see_ref (void *arg, const char *ref, const char *id)
{
    struct run *r = arg;
    struct ledger_row *row = ledger_find (&r->ledger, ref);
    if (row)
        row->seen = true;
    if (row && strcmp (row->commit, id) == 0)
        return 0;
    for (size_t i = 0; i < r->n; i++)
        if (strcmp (r->v[i].ref, ref) == 0)
            return 0; /* of this push */
    if (r->ledger.present)
        add_change (r, ref, id); /* moved while no hook of ours finished */
    else {
        ledger_set (&r->ledger, ref, id); /* the first run: what was here before is not news */
        ledger_find (&r->ledger, ref)->seen = true;
    }
    return 0;
}

static int spool_one (struct run *r, const struct change *c, const char *commit, struct err *e)
{
    struct signed_submission CLEANUP (signed_submission_release) sub = { 0 };
    struct submit s = { r->dir, commit, c->ref, buf_str (&r->project), buf_str (&r->url), 0 };
    char hex[DIGEST_HEX];
    if (submit_sign (r->rl, &s, &sub, e) == -1 || spool_put (r->dir, &sub.id, buf_bytes (&sub.envelope), e) == -1)
        return -1;
    r->spooled++;
    say ("%s %.12s submitted as %s", short_name (c->ref), commit, digest_hex (&sub.id, hex));
    return 0;
}

/* One ref. What a person must mend is said and done with; what the machine could not do is tried again at the next push. */
static void deal_with (struct run *r, const struct change *c)
{
    struct err e = ERR_INIT;
    struct git_rev CLEANUP (git_rev_release) rev = { 0 };
    const char *name = short_name (c->ref);
    if (git_resolve (r->dir, c->id, &rev, &e) == -1) {
        say ("%s: %s (nothing submitted)", name, e.msg);
        ledger_set (&r->ledger, c->ref, c->id);
        return;
    }
    struct ledger_row *row = ledger_find (&r->ledger, c->ref);
    if (row && strcmp (row->commit, rev.id) == 0)
        return;
    if (r->skip || message_skip (rev.message))
        say ("%s %.12s skipped (%s)", name, rev.id, r->skip ? "push option ci.skip" : "[skip ci] in the commit's message");
    else if (r->spooled == SUBMISSIONS_MAX) {
        say ("%s: not submitted now, %d of one push is the most (the next push or `assay push` takes it up)", name, SUBMISSIONS_MAX);
        return;
    } else if (spool_one (r, c, rev.id, &e) == -1) {
        say ("%s: %s (nothing submitted)", name, e.msg);
        if (e.kind != ERR_USAGE)
            return;
    }
    ledger_set (&r->ledger, c->ref, rev.id);
}

/* A child that outlives us, holding nothing of the pusher's: git waits for whoever has its pipes. */
static void start_flush (struct run *r)
{
    char program[4096];
    ssize_t n = readlink ("/proc/self/exe", program, sizeof program - 1);
    if (n <= 0)
        return;
    program[n] = '\0';
    char *CLEANUP (free_ptr) log = xasprintf ("%s/assay/flush.log", r->dir);
    fflush (stdout);
    fflush (stderr);
    pid_t pid = fork ();
    if (pid > 0)
        waitpid (pid, NULL, 0); /* the one in the middle */
    if (pid != 0)
        return;
    if (setsid () == -1 || fork () != 0)
        _exit (0);
    int null = open ("/dev/null", O_RDWR), out = open (log, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0600);
    if (null == -1 || dup2 (null, 0) == -1 || dup2 (null, 1) == -1 || dup2 (out == -1 ? null : out, 2) == -1)
        _exit (1);
    close_range (3, ~0u, 0);
    char *argv[] = { (char *) "assay", (char *) "--dir", r->c->dir, (char *) "--timeout", (char *) "2s", (char *) "flush", (char *) "--quiet", (char *) "-C",
                     (char *) (uintptr_t) r->dir, NULL };
    execv (program, argv);
    _exit (1);
}

static int run_locked (struct run *r, const char *name, struct err *e)
{
    CLEANUP (fd_close) int lock = spool_lock (r->dir, "lock", 5000, e);
    if (lock == -1 || ledger_load (r->dir, &r->ledger, e) == -1)
        return -1;
    if (strcmp (name, "post-receive") == 0) {
        read_pushed (r);
        if (git_refs (r->dir, see_ref, r, e) == -1)
            return -1;
        if (r->ledger.present) /* refs that went away while no hook of ours finished */
            for (size_t i = r->ledger.n; i-- > 0;)
                if (!r->ledger.v[i].seen)
                    ledger_set (&r->ledger, r->ledger.v[i].ref, NULL);
    } else {
        struct git_rev CLEANUP (git_rev_release) head = { 0 };
        BUF (ref);
        if (git_resolve (".", "HEAD", &head, e) == -1 || git_ref_of (".", "HEAD", &ref, e) == -1)
            return -1;
        add_change (r, buf_str (&ref), head.id);
    }
    for (size_t i = 0; i < r->n; i++)
        deal_with (r, &r->v[i]);
    return ledger_save (r->dir, &r->ledger, e);
}

void hook_run (struct cli *c, const char *name)
{
    struct err e = ERR_INIT;
    struct run CLEANUP (run_release) r = { .c = c, .skip = option_skip () };
    BUF (dir);
    int rc = git_dir (".", &dir, NULL, &e);
    r.dir = buf_str (&dir);
    if (rc == 0)
        rc = submit_project (r.dir, NULL, &r.project, &e);
    if (rc == 0)
        rc = submit_url (r.dir, NULL, &r.url, &e);
    if (rc == 0)
        rc = realm_open (&r.rl, c->dir, &e);
    if (rc == 0)
        rc = run_locked (&r, name, &e);
    if (rc == -1)
        say ("hook: %s (the push itself is done)", e.msg);
    if (r.rl && spool_count (r.dir))
        start_flush (&r);
}
