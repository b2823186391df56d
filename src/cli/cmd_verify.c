/* assay verify: check a verdict offline, from files: the root key, the roster, the bundle, and the artifact. Nothing is believed that is
 * not signed, and the verdict is computed again from the results by the verifier's own rule. A true verdict about another project is none
 * about this one: which one is meant says --project, or else the work tree that this is called in. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/auditor.h"
#include "cli/logline.h"
#include "source/git.h"
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
    const char *project_by; /* who says so, for people */
    struct buf config;      /* git config assay.project, where no option names one */
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
    struct bytes statements, log;
    if (logline_split (file, &statements, &log, e) == -1) {
        e->kind = ERR_DAMAGED;
        return err_wrap (e, "%s", name);
    }
    if (proof_add (f->proof, statements, e) == -1)
        return err_wrap (e, "%s", name);
    buf_add (&f->statements, statements.p, statements.len);
    if (statements.p[statements.len - 1] != '\n')
        buf_adds (&f->statements, "\n");
    buf_add (&f->log, log.p, log.len);
    if (log.len && log.p[log.len - 1] != '\n')
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

/* Where no option names the project, the repository that this is called in may: as for `assay push`, but that a folder's name is no word of anybody. */
static int expect_project (struct wanted *w, struct err *e)
{
    struct err why = ERR_INIT;
    w->project_by = "--project";
    if (w->project)
        return 0;
    if (git_config_get (".", "assay.project", &w->config, &why) == 0) {
        w->project = buf_str (&w->config);
        w->project_by = "git config assay.project of this work tree";
    } else if (why.code != EC_NOT_FOUND && why.kind != ERR_USAGE) /* it says nothing, or there is no repository */
        return err_set (e, ERR_USAGE, "which project is expected here cannot be read: %.300s (--project P says it)", why.msg);
    if (w->project && !project_valid (w->project))
        return err_set (e, ERR_USAGE, "git config assay.project: \"%.140s\" is no project's name (--project P says which one is expected)", w->project);
    return 0;
}

static int check_subject (const struct verify *f, const struct wanted *w, struct err *e)
{
    const struct verdict *v = &proof_group (f->proof, 0)->verdict;
    if (w->project && strcmp (w->project, v->project))
        return err_set (e, ERR_DAMAGED, "the verdict is about project %s, not %s, which is expected by %s", v->project, w->project, w->project_by);
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

static void report_project (const struct verdict *v, const struct wanted *w)
{
    if (w->project)
        printf ("%-9s %s, as %s asks for\n", "project", v->project, w->project_by);
    else
        printf ("%-9s %s; nobody said which one it must be (--project P does, or git config assay.project in a work tree)\n", "project", v->project);
}

static void report (struct cli *c, const struct verify *f, const struct wanted *w)
{
    char hex[DIGEST_HEX], when[32];
    time_format (roster_head_time (f->roster), when);
    printf ("%-9s %zu principals, head signed by the root key, %s\n", "roster", roster_count (f->roster), when);
    report_project (&proof_group (f->proof, 0)->verdict, w);
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

/* ---- the same for programs ---- */

static json_t *results_json (const struct proof_group *g)
{
    json_t *all = json_array ();
    for (size_t i = 0; i < g->n; i++)
        json_array_append_new (all, json_pack ("{s:s, s:s, s:b, s:b}", "worker", g->results[i].worker, "owner", g->results[i].owner, "counted", g->verdict.counts[i].counted, "trusted",
                                               g->verdict.counts[i].trusted));
    return all;
}

static json_t *log_json (const struct logline *logged)
{
    json_t *owners = json_array ();
    for (size_t i = 0; i < logged->witnesses.n; i++)
        json_array_append_new (owners, json_string (logged->witnesses.v[i]->owner));
    return json_pack ("{s:I, s:o}", "size", (json_int_t) logged->size, "witnesses", owners);
}

static void add_asked (json_t *o, const char *key, const char *value)
{
    if (value)
        json_object_set_new (o, key, json_string (value));
}

static void report_json (const struct verify *f, const struct wanted *w)
{
    const struct verdict *v = &proof_group (f->proof, 0)->verdict;
    char id[DIGEST_HEX], hex[DIGEST_HEX];
    json_t *inputs = json_array (), *links = json_array (), *asked = json_object ();
    add_asked (asked, "project", w->project);
    add_asked (asked, "step", w->step);
    add_asked (asked, "commit", w->commit);
    for (size_t k = 1; k < proof_count (f->proof); k++) {
        const struct proof_group *g = proof_group (f->proof, k);
        json_array_append_new (inputs, json_pack ("{s:s, s:s, s:o}", "step", g->verdict.step, "digest", digest_hex (&g->verdict.artifact, hex), "results", results_json (g)));
    }
    for (size_t i = 0; i < f->link_count; i++) {
        BUF (name);
        text_clean (bytes_str (f->links[i].name), false, &name);
        json_array_append_new (links, json_pack ("{s:s, s:b}", "file", buf_str (&name), "compared", f->links[i].compared));
    }
    json_t *o = json_pack ("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:I}", "id", digest_hex (&v->submission, id), "project", v->project,
                           "step", v->step, "state", v->state, "commit", v->commit, "ref", v->ref, "url", v->url, "digest", digest_hex (&v->artifact, hex), "verifier", v->verifier, "index",
                           (json_int_t) v->index, "time", (json_int_t) v->time, "agree", (int) v->policy.agree, "support", (int) v->support, "against", (int) v->against, "votes", (int) v->votes,
                           "asked", asked, "results", results_json (proof_group (f->proof, 0)), "inputs", inputs, "links", links, "roster_time", (json_int_t) roster_head_time (f->roster));
    if (f->logged.size)
        json_object_set_new (o, "log", log_json (&f->logged));
    if (f->artifact) {
        BUF (name);
        text_clean (bytes_str (f->artifact), false, &name);
        json_object_set_new (o, "artifact", json_string (buf_str (&name)));
    }
    char *text = json_dumps (o, JSON_COMPACT);
    printf ("%s\n", text ? text : "{}");
    free (text);
    json_decref (o);
}

static void wanted_release (struct wanted *w)
{
    buf_release (&w->config);
}

int cmd_verify (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = {
        { "root", required_argument, NULL, 'r' }, { "project", required_argument, NULL, 'p' }, { "step", required_argument, NULL, 's' },
        { "commit", required_argument, NULL, 'c' }, { "witnesses", required_argument, NULL, 'w' }, { "json", no_argument, NULL, 'j' }, { NULL, 0, NULL, 0 },
    };
    struct verify CLEANUP (verify_release) f = { .links = NULL };
    struct wanted CLEANUP (wanted_release) w = { .witnesses = 0 };
    struct err e = ERR_INIT;
    const char *root = NULL;
    bool json = false;
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
        case 'j':
            json = true;
            break;
        default:
            return ERR_USAGE;
        }
    if (!root || optind == argc)
        return cli_usage ("verify", "--root KEY and files are needed (assay verify --root KEY ROSTER BUNDLE [LINK]... [ARTIFACT-FOLDER])");
    if (root_key (root, f.root, &e) == -1 || expect_project (&w, &e) == -1 || read_files (&f, argv + optind, argc - optind, &e) == -1 || check_all (&f, &w, &e) == -1)
        return cli_fail ("verify", &e);
    if (json)
        report_json (&f, &w);
    else
        report (c, &f, &w);
    return 0;
}
