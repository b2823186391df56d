/* assay diff: why builds of a step differ: which owners said the same, which files differ between them, and what differs in their hosts. */
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/bundle.h"
#include "cli/compare.h"
#include "cli/diffoscope.h"
#include "store/client.h"

#define PAIRS_MAX 4u      /* groups that the first is compared with by diffoscope */
#define FILES_SHOWN 200u  /* on a terminal; --json has all */
#define COLUMNS_MAX 8u

struct options {
    bool json, brief, close;
    const char *html;
};

struct view {
    struct cli *c;
    const struct compare *cmp;
    struct table *t;
    size_t rows;
};

/* ---- what is compared ---- */

static int of_results (const struct proof_group *g, struct compare *c, struct err *e)
{
    for (size_t i = 0; i < g->n; i++) {
        const struct result *r = &g->results[i];
        struct compare_vote v = { .worker = bytes_str (r->worker), .owner = bytes_str (r->owner), .accelerator = bytes_str (r->accelerator), .host = bytes_str (r->host),
                                  .trusted = g->verdict.counts[i].trusted, .isolation = r->isolation, .image = r->image };
        struct compare_group group = { .outcome = g->verdict.counts[i].outcome, .artifact = r->artifact, .exit_status = r->exit_status };
        if (!compare_add (c, &v, &group))
            return err_code (e, EC_OVERSIZED, "more than %u results", COMPARE_MAX);
    }
    compare_sort (c);
    return 0;
}

static int of_outline (const struct msg_votes *list, struct compare *c, struct err *e)
{
    for (size_t i = 0; i < list->votes.n; i++) {
        struct msg m;
        if (msg_decode_as (list->votes.v[i], MSG_vote_outline, &m, e) == -1)
            return -1;
        const struct msg_vote_outline *o = &m.u.vote_outline;
        struct compare_vote v = { .worker = o->worker, .owner = o->owner, .accelerator = o->accelerator, .host = o->host, .trusted = o->trusted != 0,
                                  .isolation = (unsigned) o->isolation, .image = o->image };
        struct compare_group group = { .given = o->group };
        bool added = o->group > 0 && compare_add (c, &v, &group);
        msg_release (&m); /* the strings are the frame's */
        if (!added)
            return err_code (e, EC_MALFORMED, "an outline of votes that is none");
    }
    compare_sort (c);
    return 0;
}

/* The manifests, from the store. What cannot be read is said, and compared without. */
static void get_manifests (struct realm *rl, struct compare *c)
{
    for (size_t i = 0; i < c->group_count; i++) {
        struct compare_group *g = &c->groups[i];
        struct err e = ERR_INIT;
        char letter[8];
        if (g->exit_status)
            continue;
        g->files = store_manifest (rl, &g->artifact, true, &g->manifest, &e) == 0;
        if (!g->files)
            fprintf (stderr, "assay: diff: the artifact of group %s: %s%s\n", compare_letter (i, letter), e.msg,
                     e.code == EC_NOT_ALLOWED ? " (submitters and admins may)" : e.code == EC_NOT_FOUND ? " (the store has let it go)" : "");
    }
}

/* ---- for people ---- */

static void names (const struct compare *c, size_t group, bool owners, struct buf *out)
{
    for (size_t i = 0; i < c->vote_count; i++) {
        const struct compare_vote *v = &c->votes[i];
        bool again = v->group != group;
        for (size_t k = 0; k < i && owners && !again; k++)
            again = c->votes[k].group == group && bytes_eq (c->votes[k].owner, v->owner);
        if (again)
            continue;
        if (out->len)
            buf_adds (out, ", ");
        buf_add (out, owners ? v->owner.p : v->worker.p, owners ? v->owner.len : v->worker.len);
        if (!owners && v->trusted)
            buf_adds (out, " (trusted)");
    }
}

static void show_groups (struct cli *cli, const struct compare *c)
{
    static const char *const heads[] = { "GROUP", "OWNERS", "WORKERS", "EXIT", "ARTIFACT" };
    struct table *t = table_new (5, heads);
    for (size_t i = 0; i < c->group_count; i++) {
        const struct compare_group *g = &c->groups[i];
        char letter[8], exit_status[16] = "", hex[DIGEST_HEX], artifact[17] = "";
        BUF (owners);
        BUF (workers);
        names (c, i, true, &owners);
        names (c, i, false, &workers);
        if (!g->given) {
            (void) snprintf (exit_status, sizeof exit_status, "%u", g->exit_status);
            (void) snprintf (artifact, sizeof artifact, "%.16s", g->exit_status ? "none" : digest_hex (&g->artifact, hex));
        }
        table_add (t, (const char *[]){ compare_letter (i, letter), buf_str (&owners), buf_str (&workers), exit_status, artifact });
    }
    table_print (cli, &t);
}

static char *entry_text (const struct manifest_entry *entry)
{
    char hex[DIGEST_HEX];
    if (!entry)
        return xstrdup ("-");
    if (entry->type == 'd')
        return xstrdup ("folder");
    if (entry->type == 'l')
        return xasprintf ("-> %s", entry->target);
    return xasprintf ("%.12s %llu bytes%s", digest_hex (&entry->digest, hex), (unsigned long long) entry->size, entry->type == 'x' ? ", executable" : "");
}

static int file_row (void *arg, const struct compare_file *f)
{
    struct view *v = arg;
    const char *cells[COLUMNS_MAX + 2] = { f->path, f->what };
    char *own[COLUMNS_MAX];
    size_t n = 0;
    if (v->rows++ >= FILES_SHOWN)
        return 0;
    for (size_t i = 0; i < v->cmp->group_count && n < COLUMNS_MAX; i++)
        if (v->cmp->groups[i].files) {
            own[n] = entry_text (f->entries[i]);
            cells[n + 2] = own[n];
            n++;
        }
    table_add (v->t, cells);
    for (size_t i = 0; i < n; i++)
        free (own[i]);
    return 0;
}

static void show_files (struct cli *cli, const struct compare *c)
{
    const char *heads[COLUMNS_MAX + 2] = { "FILE", "DIFFERS" };
    char letters[COLUMNS_MAX][8];
    size_t n = 0, with = 0;
    for (size_t i = 0; i < c->group_count; i++)
        if (c->groups[i].files && with++ < COLUMNS_MAX) {
            heads[n + 2] = compare_letter (i, letters[n]);
            n++;
        }
    if (with < 2)
        return;
    struct view v = { cli, c, table_new (n + 2, heads), 0 };
    compare_files (c, file_row, &v);
    printf ("\n");
    table_print (cli, &v.t);
    if (v.rows > FILES_SHOWN)
        printf ("... and %zu more (--json has all)\n", v.rows - FILES_SHOWN);
    if (with > COLUMNS_MAX)
        printf ("... and %zu more groups (--json has all)\n", with - COLUMNS_MAX);
}

static int host_rows (void *arg, const struct compare_host *h)
{
    struct view *v = arg;
    for (size_t i = 0; i < v->cmp->vote_count && !h->same; i++) {
        char letter[8];
        char *worker CLEANUP (free_ptr) = bytes_dup (v->cmp->votes[i].worker);
        table_add (v->t, (const char *[]){ i ? "" : h->name, h->values[i], worker, compare_letter (v->cmp->votes[i].group, letter), h->parts ? "differs as the results do" : "" });
    }
    v->rows += !h->same;
    return 0;
}

static int host_same (void *arg, const struct compare_host *h)
{
    struct buf *out = arg;
    if (h->same && *h->values[0])
        buf_addf (out, "%s%s %s", out->len ? ", " : "", h->name, h->values[0]);
    return 0;
}

static void show_hosts (struct cli *cli, const struct compare *c)
{
    static const char *const heads[] = { "HOST", "VALUE", "WORKER", "GROUP", "" };
    struct view v = { cli, c, table_new (5, heads), 0 };
    BUF (same);
    compare_hosts (c, host_rows, &v);
    compare_hosts (c, host_same, &same);
    printf ("\n");
    if (v.rows)
        table_print (cli, &v.t);
    else {
        table_print (cli, &v.t);
        printf ("nothing that the workers say of their hosts differs\n");
    }
    if (same.len) {
        BUF (clean);
        text_clean (buf_bytes (&same), false, &clean);
        printf ("the same on all hosts: %s\n", buf_str (&clean));
    }
}

/* ---- JSON: an object a line ---- */

static void line (json_t *o)
{
    char *s CLEANUP (free_ptr) = json_dumps (o, JSON_COMPACT);
    printf ("%s\n", s ? s : "{}");
    json_decref (o);
}

static json_t *text (struct bytes b)
{
    return json_stringn (b.len ? (const char *) b.p : "", b.len);
}

static void json_groups (const struct compare *c)
{
    for (size_t i = 0; i < c->group_count; i++) {
        const struct compare_group *g = &c->groups[i];
        char letter[8], hex[DIGEST_HEX];
        json_t *o = json_object (), *votes = json_array ();
        json_object_set_new (o, "group", json_string (compare_letter (i, letter)));
        if (!g->given) {
            json_object_set_new (o, "exit", json_integer (g->exit_status));
            json_object_set_new (o, "outcome", json_string (digest_hex (&g->outcome, hex)));
            json_object_set_new (o, "artifact", json_string (digest_hex (&g->artifact, hex)));
        }
        for (size_t k = 0; k < c->vote_count; k++)
            if (c->votes[k].group == i)
                json_array_append_new (votes, json_pack ("{s:o, s:o, s:b}", "worker", text (c->votes[k].worker), "owner", text (c->votes[k].owner), "trusted",
                                                         (int) c->votes[k].trusted));
        json_object_set_new (o, "votes", votes);
        line (o);
    }
}

static json_t *entry_json (const struct manifest_entry *entry)
{
    char hex[DIGEST_HEX];
    if (!entry)
        return json_null ();
    if (entry->type == 'd')
        return json_pack ("{s:s}", "type", "folder");
    if (entry->type == 'l')
        return json_pack ("{s:s, s:s}", "type", "link", "target", entry->target);
    return json_pack ("{s:s, s:b, s:I, s:s}", "type", "file", "executable", (int) (entry->type == 'x'), "size", (json_int_t) entry->size, "sha256",
                      digest_hex (&entry->digest, hex));
}

static int json_file (void *arg, const struct compare_file *f)
{
    const struct compare *c = arg;
    json_t *in = json_object ();
    for (size_t i = 0; i < c->group_count; i++) {
        char letter[8];
        if (c->groups[i].files)
            json_object_set_new (in, compare_letter (i, letter), entry_json (f->entries[i]));
    }
    line (json_pack ("{s:s, s:s, s:o}", "file", f->path, "differs", f->what, "in", in));
    return 0;
}

static int json_host (void *arg, const struct compare_host *h)
{
    const struct compare *c = arg;
    json_t *values = json_object ();
    for (size_t i = 0; i < c->vote_count; i++) {
        char *worker CLEANUP (free_ptr) = bytes_dup (c->votes[i].worker);
        json_object_set_new (values, worker, json_string (h->values[i]));
    }
    line (json_pack ("{s:s, s:b, s:b, s:o}", "host", h->name, "same", (int) h->same, "as_results", (int) h->parts, "values", values));
    return 0;
}

/* ---- inside the files ---- */

static int fetch (struct realm *rl, const struct compare_group *g, const char *dir, size_t group, struct err *e)
{
    char letter[8];
    char *to CLEANUP (free_ptr) = xasprintf ("%s/%s", dir, compare_letter (group, letter));
    struct digest none = manifest_empty ();
    if (digest_eq (&g->artifact, &none))
        return file_mkdirs (to, 0700, e);
    return store_get (rl, &g->artifact, to, bytes_str (NULL), bytes_str (NULL), true, 60000, e);
}

/* FILE for the first pair, FILE with the pair's letters before its ending for the others. */
static char *page_name (const char *html, size_t pair, const char *a, const char *b)
{
    const char *dot = strrchr (html, '.'), *slash = strrchr (html, '/');
    size_t stem = dot && (!slash || dot > slash) ? (size_t) (dot - html) : strlen (html);
    return pair == 0 ? xstrdup (html) : xasprintf ("%.*s-%s%s%s", (int) stem, html, a, b, html + stem);
}

static int inside (struct realm *rl, const struct compare *c, const struct options *o, const char *dir, struct err *e)
{
    size_t first = COMPARE_MAX, pairs = 0;
    for (size_t i = 0; i < c->group_count; i++) {
        char a[8], b[8];
        BUF (report);
        if (!c->groups[i].files)
            continue;
        if (first != COMPARE_MAX && pairs == PAIRS_MAX) {
            printf ("\nthe other groups are not compared with group %s\n", compare_letter (first, a));
            break;
        }
        if (fetch (rl, &c->groups[i], dir, i, e) == -1)
            return -1;
        if (first == COMPARE_MAX) {
            first = i;
            continue;
        }
        compare_letter (first, a);
        compare_letter (i, b);
        char *html CLEANUP (free_ptr) = o->html ? page_name (o->html, pairs, a, b) : NULL;
        pairs++;
        if (diffoscope_run (dir, a, b, &report, html, e) == -1)
            return err_wrap (e, "groups %s and %s", a, b);
        if (!o->json)
            printf ("\n%s", report.len ? buf_str (&report) : "diffoscope finds no difference\n");
        if (html && !o->json)
            printf ("\n%s: groups %s and %s\n", html, a, b);
    }
    return 0;
}

static int look_inside (struct realm *rl, const struct compare *c, const struct options *o, struct err *e)
{
    const char *missing = diffoscope_missing ();
    size_t with = 0;
    for (size_t i = 0; i < c->group_count; i++)
        with += c->groups[i].files;
    if (with < 2 || (o->brief && !o->html) || (o->json && !o->html))
        return o->html ? err_set (e, ERR_UNTRUSTED, "--html: there are no two artifacts to compare") : 0;
    if (missing && o->html)
        return err_set (e, ERR_FAILED, "--html: %s", missing);
    if (missing) {
        printf ("\n%s\n", missing);
        return 0;
    }
    char *dir CLEANUP (free_ptr) = file_temp_dir ("assay-diff", "/tmp", e);
    if (!dir)
        return -1;
    int rc = inside (rl, c, o, dir, e);
    file_remove_tree (dir, NULL);
    return rc;
}

/* ---- the command ---- */

static void head (struct cli *cli, const struct verdict *v, bool json)
{
    char hex[DIGEST_HEX];
    BUF (reason);
    text_clean (bytes_str (v->reason), false, &reason); /* who signs may lie */
    if (json)
        line (json_pack ("{s:s, s:s, s:s, s:s, s:s, s:i, s:i, s:i}", "id", digest_hex (&v->submission, hex), "step", v->step, "project", v->project, "state", v->state,
                         "reason", v->reason, "support", (int) v->support, "dissent", (int) v->against, "votes", (int) v->votes));
    else
        printf ("%s%s%s  %s\n\n", cli_colour (cli, v->state), v->state, cli_reset (cli), buf_str (&reason));
}

static int ask_verifier (struct cli *c, struct realm *rl, struct msg *m, enum msg_type answer, struct net_in *in, struct err *e)
{
    struct client *CLEANUP (client_close) verifier = NULL;
    return cli_client (c, rl, ROLE_VERIFIER, &verifier, e) == -1 ? -1 : client_ask (verifier, m, answer, in, e);
}

static int close_votes (struct cli *c, struct realm *rl, const struct digest *id, const char *step, struct err *e)
{
    struct msg m = MSG_INIT (votes_close, 0);
    struct net_in in;
    m.u.votes_close.id = *id;
    m.u.votes_close.step = bytes_str (step);
    if (ask_verifier (c, rl, &m, MSG_ok, &in, e) == -1)
        return -1;
    msg_release (&m);
    net_in_release (&in);
    return 0;
}

/* While more votes are on their way there is only the outline: ERR_UNTRUSTED tells that. */
static int show_outline (struct cli *cli, struct realm *rl, const struct verdict *v, const struct options *o, struct err *e)
{
    struct compare *CLEANUP (compare_destroy) c = compare_new ();
    struct msg m = MSG_INIT (votes_get, 0);
    struct net_in in;
    m.u.votes_get.id = v->submission;
    m.u.votes_get.step = bytes_str (v->step);
    if (ask_verifier (cli, rl, &m, MSG_votes, &in, e) == -1)
        return -1;
    int rc = of_outline (&m.u.votes, c, e);
    if (rc == 0 && o->json) {
        json_groups (c);
        compare_hosts (c, json_host, c);
    } else if (rc == 0) {
        show_groups (cli, c);
        show_hosts (cli, c);
    }
    msg_release (&m);
    net_in_release (&in);
    if (rc == -1)
        return -1;
    return err_set (e, ERR_UNTRUSTED, "more votes are on their way, so that no digest is shown yet: files are compared once it is %s (wait, or --close: no further vote counts)",
                    "unreproducible");
}

static int show_results (struct cli *cli, struct realm *rl, const struct proof_group *g, const struct options *o, struct err *e)
{
    struct compare *CLEANUP (compare_destroy) c = compare_new ();
    if (of_results (g, c, e) == -1)
        return -1;
    if (c->group_count < 2) {
        if (!o->json)
            printf (c->vote_count ? "all %zu results are the same\n" : "there are no results\n", c->vote_count);
        return 0;
    }
    get_manifests (rl, c);
    if (o->json) {
        json_groups (c);
        compare_files (c, json_file, c);
        compare_hosts (c, json_host, c);
    } else {
        show_groups (cli, c);
        show_files (cli, c);
        show_hosts (cli, c);
    }
    return look_inside (rl, c, o, e);
}

static int run (struct cli *c, struct realm *rl, struct client *broker, const struct digest *id, const char *step, const struct options *o, struct err *e)
{
    for (bool closed = false;; closed = true) {
        struct proof *CLEANUP (proof_destroy) p = NULL;
        BUF (lines);
        if (bundle_fetch (c, rl, broker, id, step, &p, &lines, e) == -1)
            return -1;
        const struct proof_group *g = proof_group (p, 0);
        bool disputed = !strcmp (g->verdict.state, "disputed");
        if (disputed && o->close && !closed) {
            if (close_votes (c, rl, id, step, e) == -1)
                return -1;
            continue;
        }
        head (c, &g->verdict, o->json);
        if (disputed)
            return show_outline (c, rl, &g->verdict, o, e);
        if (!g->verdict.final)
            return err_set (e, ERR_UNTRUSTED, "no results differ so far (%s)", g->verdict.state);
        return show_results (c, rl, g, o, e);
    }
}

int cmd_diff (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' }, { "html", required_argument, NULL, 'h' }, { "brief", no_argument, NULL, 'b' }, { "close", no_argument, NULL, 'c' }, { NULL, 0, NULL, 0 },
    };
    struct realm *CLEANUP (realm_close) rl = NULL;
    struct client *CLEANUP (client_close) broker = NULL;
    struct options opts = { .html = NULL };
    struct err e = ERR_INIT;
    struct digest id;
    char step[64], worker[64];
    for (int o; (o = getopt_long (argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 'j':
            opts.json = true;
            break;
        case 'h':
            opts.html = optarg;
            break;
        case 'b':
            opts.brief = true;
            break;
        case 'c':
            opts.close = true;
            break;
        default:
            return ERR_USAGE;
        }
    if (argc - optind != 1)
        return cli_usage ("diff", "which step? (assay diff ID/STEP [--html FILE] [--json] [--brief] [--close])");
    if (cli_realm (c, &rl, &e) == -1 || cli_client (c, rl, ROLE_BROKER, &broker, &e) == -1 || cli_step (broker, argv[optind], &id, step, worker, &e) == -1)
        return cli_fail ("diff", &e);
    if (!*step)
        return cli_usage ("diff", "%s: names no step (ID/STEP; `assay status ID` lists them)", argv[optind]);
    if (run (c, rl, broker, &id, step, &opts, &e) == -1) {
        if (e.code == EC_NOT_FOUND)
            e.kind = ERR_UNTRUSTED;
        return cli_fail ("diff", &e);
    }
    return 0;
}
