/* assay verify: check a verdict offline, from files: the root key, the roster, the bundle, and the artifact. Nothing is believed that is
 * not signed, and the verdict is computed again from the results by the verifier's own rule. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/auditor.h"
#include "cli/logline.h"
#include "store/client.h"
#include "store/link.h"

#define BUNDLE_MAX (64u << 20)
#define ROSTER_MAX (256u << 20)

struct link_file {
    const char *name;
    bool compared;   /* with the artifact; else only the signature is known */
    struct link link;
};

struct wanted { /* what the verdict must be about, where the user says so */
    const char *project, *step, *commit;
    uint64_t witnesses;
};

struct verify {
    uint8_t root[32];
    struct roster *roster;
    struct proof *proof;
    struct buf statements, log; /* of the bundles */
    struct logline logged;
    struct link_file *links;
    size_t link_count;
    const char *artifact;      /* a folder, or NULL */
    struct manifest manifest;  /* what is in it */
};

static void verify_release (struct verify *f)
{
    proof_destroy (&f->proof);
    buf_release (&f->statements);
    buf_release (&f->log);
    roster_destroy (&f->roster);
    for (size_t i = 0; i < f->link_count; i++)
        link_release (&f->links[i].link);
    free (f->links);
    manifest_release (&f->manifest);
}

/* The key itself, a file that holds it, or a realm.ini. */
static int root_key (const char *text, uint8_t key[32], struct err *e)
{
    BUF (file);
    if (hex_decode (text, key, 32))
        return 0;
    if (file_read (text, 65536, &file, e) == -1) {
        e->kind = ERR_USAGE; /* the caller named it */
        return err_wrap (e, "--root (64 hex digits, or a file that holds them)");
    }
    char *copy CLEANUP (free_ptr) = xstrdup (buf_str (&file)), *save = NULL;
    for (char *line = strtok_r (copy, "\r\n", &save); line; line = strtok_r (NULL, "\r\n", &save)) {
        line += strspn (line, " \t");
        if (!strncmp (line, "root", 4))
            line += 4 + strspn (line + 4, " \t=");
        line[strcspn (line, " \t;")] = '\0';
        if (hex_decode (line, key, 32))
            return 0;
    }
    return err_set (e, ERR_USAGE, "%s: holds no root key (64 hex digits, alone or as `root = KEY`)", text);
}

/* ---- files ---- */

static bool ends (const char *name, const char *with)
{
    size_t a = strlen (name), b = strlen (with);
    return a >= b && !strcmp (name + a - b, with);
}

static int take_roster (struct verify *f, const char *name, struct bytes file, struct err *e)
{
    if (file.len == 0 || file.p[0] != 0) /* the length of its first entry */
        return err_set (e, ERR_DAMAGED, "%s: neither a roster, nor a bundle, nor a link", name);
    if (roster_seq (f->roster))
        return err_set (e, ERR_USAGE, "%s: a second roster (one at a time)", name);
    if (realm_roster_parse (file, f->roster, e) == -1) {
        e->kind = ERR_DAMAGED;
        return err_wrap (e, "%s", name);
    }
    return 0;
}

static int take_bundle (struct verify *f, const char *name, struct bytes file, struct err *e)
{
    size_t log = logline_begin (file);
    struct bytes statements = bytes_of (file.p, log);
    if (proof_add (f->proof, statements, e) == -1)
        return err_wrap (e, "%s", name);
    buf_add (&f->statements, statements.p, statements.len);
    if (statements.p[statements.len - 1] != '\n')
        buf_adds (&f->statements, "\n");
    buf_add (&f->log, file.p + log, file.len - log);
    if (log < file.len && file.p[file.len - 1] != '\n')
        buf_adds (&f->log, "\n");
    return 0;
}

static int take_link (struct verify *f, const char *name, struct bytes file, struct err *e)
{
    f->links = xrealloc (f->links, (f->link_count + 1) * sizeof *f->links);
    if (link_open (file, &f->links[f->link_count].link, e) == -1)
        return err_wrap (e, "%s", name);
    f->links[f->link_count++].name = name;
    return 0;
}

static int take_artifact (struct verify *f, const char *path, struct err *e)
{
    BUF (manifest);
    int fd CLEANUP (fd_close) = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->artifact)
        return err_set (e, ERR_USAGE, "%s: a second artifact (one at a time)", path);
    f->artifact = path;
    if (fd == -1)
        return err_errno (e, "%s", path);
    if (manifest_scan (fd, NULL, NULL, &manifest, e) == -1 || manifest_parse (buf_bytes (&manifest), &f->manifest, e) == -1)
        return err_wrap (e, "%s", path);
    return 0;
}

/* Folders are artifacts, what is named *.link an in-toto link, text that begins with a brace a bundle, the rest a roster: so that order does
 * not matter but among bundles. The roster is read first: it has the keys. */
static int take_file (struct verify *f, const char *name, bool rosters, struct err *e)
{
    struct stat st;
    BUF (file);
    if (stat (name, &st) == -1)
        return err_set (e, ERR_USAGE, "%s: %s (a file or folder to check)", name, strerror (errno));
    if (S_ISDIR (st.st_mode))
        return rosters ? 0 : take_artifact (f, name, e);
    if (file_read (name, st.st_size > BUNDLE_MAX ? ROSTER_MAX : BUNDLE_MAX, &file, e) == -1)
        return -1;
    bool link = ends (name, ".link"), bundle = !link && file.len && file.p[0] == '{';
    if (rosters)
        return link || bundle ? 0 : take_roster (f, name, buf_bytes (&file), e);
    if (link)
        return take_link (f, name, buf_bytes (&file), e);
    return bundle ? take_bundle (f, name, buf_bytes (&file), e) : 0;
}

static int read_files (struct verify *f, char **files, int n, struct err *e)
{
    f->roster = roster_new (f->root);
    f->proof = proof_new (f->roster);
    for (int i = 0; i < n; i++)
        if (take_file (f, files[i], true, e) == -1)
            return -1;
    if (roster_seq (f->roster) == 0)
        return err_set (e, ERR_USAGE, "no roster among the files (`assay attest --roster FILE` writes one)");
    if (!roster_complete (f->roster))
        return err_set (e, ERR_DAMAGED, "the roster is truncated: its signed head names other entries");
    for (int i = 0; i < n; i++)
        if (take_file (f, files[i], false, e) == -1)
            return -1;
    if (proof_count (f->proof) == 0)
        return err_set (e, ERR_USAGE, "no verdict among the files (`assay attest ID/STEP -o FILE` writes a bundle)");
    return 0;
}

/* ---- checks ---- */

static int check_subject (const struct verify *f, const struct wanted *w, struct err *e)
{
    const struct verdict *v = &proof_group (f->proof, 0)->verdict;
    if (w->project && strcmp (w->project, v->project))
        return err_set (e, ERR_DAMAGED, "the verdict is about project %s, not %s", v->project, w->project);
    if (w->step && strcmp (w->step, v->step))
        return err_set (e, ERR_DAMAGED, "the verdict is about step %s, not %s", v->step, w->step);
    if (w->commit && strcmp (w->commit, v->commit))
        return err_set (e, ERR_DAMAGED, "the verdict is about commit %s, not %s", v->commit, w->commit);
    return 0;
}

static int check_artifact (const struct verify *f, struct err *e)
{
    const struct verdict *v = &proof_group (f->proof, 0)->verdict;
    struct manifest *m = (struct manifest *) &f->manifest;
    BUF (raw);
    char a[DIGEST_HEX], b[DIGEST_HEX];
    if (manifest_finish (m, &raw, e) == -1)
        return -1;
    struct digest have = manifest_digest (buf_bytes (&raw));
    if (!digest_eq (&have, &v->artifact))
        return err_set (e, ERR_DAMAGED, "%s: it is sha256:%s, and the verdict is about sha256:%s (changed, or another artifact)", f->artifact, digest_hex (&have, a),
                        digest_hex (&v->artifact, b));
    return 0;
}

/* The link is one that a worker of the bundle bound to its result; with the artifact at hand, that it is what the result gives. */
static int check_link (const struct verify *f, struct link_file *l, struct err *e)
{
    const struct proof_group *g = proof_group (f->proof, 0);
    for (size_t i = 0; i < g->n; i++) {
        const struct principal *who = roster_find (f->roster, g->results[i].worker);
        char id[DIGEST_HEX];
        BUF (text);
        link_keyid (who->sign_key, id);
        if (strcmp (id, l->link.keyid))
            continue;
        if (!signature_good (who->sign_key, buf_bytes (&l->link.text), l->link.sig))
            return err_set (e, ERR_DAMAGED, "%s: its signature is not %s's (altered, or signed anew by someone else)", l->name, who->name);
        if (!g->results[i].linked || memcmp (g->results[i].link, l->link.sig, 64))
            return err_set (e, ERR_DAMAGED, "%s: %s signed it, and another one with its result", l->name, who->name);
        l->compared = f->artifact && g->verdict.counts[i].counted;
        if (l->compared
            && (link_text (&g->results[i], &f->manifest, &text, e) == -1 || !bytes_eq (buf_bytes (&text), buf_bytes (&l->link.text))))
            return err_set (e, ERR_DAMAGED, "%s: it is not what the result of %s gives", l->name, who->name);
        return 0;
    }
    return err_set (e, ERR_DAMAGED, "%s: signed by no worker of the bundle (key %.16s...)", l->name, l->link.keyid);
}

static int check_all (struct verify *f, const struct wanted *w, struct err *e)
{
    if (check_subject (f, w, e) == -1 || proof_judge (f->proof, e) == -1
        || logline_check (f->roster, f->root, f->proof, buf_bytes (&f->statements), buf_bytes (&f->log), w->witnesses, &f->logged, e) == -1 || (f->artifact && check_artifact (f, e) == -1))
        return -1;
    for (size_t i = 0; i < f->link_count; i++) {
        for (size_t k = 0; k < i; k++)
            if (!strcmp (f->links[k].link.keyid, f->links[i].link.keyid))
                return err_set (e, ERR_DAMAGED, "%s: by the same key as %s", f->links[i].name, f->links[k].name);
        if (check_link (f, &f->links[i], e) == -1)
            return -1;
    }
    return 0;
}

static void report (struct cli *c, const struct verify *f)
{
    char hex[DIGEST_HEX], when[32];
    time_format (roster_head_time (f->roster), when);
    printf ("%-9s %zu principals, head signed by the root key, %s\n", "roster", roster_count (f->roster), when);
    for (size_t k = proof_count (f->proof); k-- > 0;) {
        const struct proof_group *g = proof_group (f->proof, k);
        const struct verdict *v = &g->verdict;
        for (size_t i = 0; i < g->n; i++)
            printf ("%-9s %s of %s, signed; its lease and receipt hold\n", "result", g->results[i].worker, g->results[i].owner);
        printf ("%-9s %s %s at %.12s, by %s: %u of %u owners; computed again from %zu results: the same%s\n", "verdict", v->project, v->step, v->commit, v->verifier,
                v->support, v->policy.agree, v->count, k ? " (an input)" : "");
    }
    if (f->logged.size) {
        printf ("%-9s the verdict is in the log of %llu; witnesses: %zu", "log", (unsigned long long) f->logged.size, f->logged.witnesses.n);
        for (size_t i = 0; i < f->logged.witnesses.n; i++)
            printf ("%s %s of %s", i ? "," : ":", f->logged.witnesses.v[i]->name, f->logged.witnesses.v[i]->owner);
        printf ("\n");
    }
    if (f->artifact)
        printf ("%-9s %s is sha256:%s\n", "artifact", f->artifact, digest_hex (&proof_group (f->proof, 0)->verdict.artifact, hex));
    for (size_t i = 0; i < f->link_count; i++)
        printf ("%-9s %s is %s\n", "link", f->links[i].name,
                f->links[i].compared ? "what its signer's result gives" : "the one that was signed with a result; not compared with the artifact, which is needed for that");
    printf ("%s%s%s\n", cli_colour (c, "trusted"), "trusted", cli_reset (c));
}

int cmd_verify (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = {
        { "root", required_argument, NULL, 'r' }, { "project", required_argument, NULL, 'p' }, { "step", required_argument, NULL, 's' },
        { "commit", required_argument, NULL, 'c' }, { "witnesses", required_argument, NULL, 'w' }, { NULL, 0, NULL, 0 },
    };
    struct verify CLEANUP (verify_release) f = { .links = NULL };
    struct wanted w = { .witnesses = 0 };
    struct err e = ERR_INIT;
    const char *root = NULL;
    for (int o; (o = getopt_long (argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 'r':
            root = optarg;
            break;
        case 'p':
            w.project = optarg;
            break;
        case 's':
            w.step = optarg;
            break;
        case 'c':
            w.commit = optarg;
            break;
        case 'w':
            if (witnesses_parse (optarg, &w.witnesses, &e) == -1)
                return cli_fail ("verify", &e);
            break;
        default:
            return ERR_USAGE;
        }
    if (!root || optind == argc)
        return cli_usage ("verify", "--root KEY and files are needed (assay verify --root KEY ROSTER BUNDLE [LINK]... [ARTIFACT-FOLDER])");
    if (root_key (root, f.root, &e) == -1 || read_files (&f, argv + optind, argc - optind, &e) == -1 || check_all (&f, &w, &e) == -1)
        return cli_fail ("verify", &e);
    report (c, &f);
    return 0;
}
