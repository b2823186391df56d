/* submit.c: contract in submit.h. */
#include "cli/submit.h"

#include <ctype.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "source/git.h"
#include "source/recipe.h"

void signed_submission_release (struct signed_submission *s)
{
    buf_release (&s->envelope);
}

/* The folder that people call the repository: the work tree, or the bare folder itself. */
static int repo_folder (const char *repo, struct buf *out, struct err *e)
{
    bool bare = false;
    if (git_dir (repo, out, &bare, e) == -1)
        return -1;
    const char *dir = buf_str (out);
    size_t len = strlen (dir);
    if (!bare && len > 5 && strcmp (dir + len - 5, "/.git") == 0)
        out->len = len - 5;
    buf_str (out);
    return 0;
}

int submit_project (const char *repo, const char *option, struct buf *out, struct err *e)
{
    struct err none = ERR_INIT;
    if (option)
        buf_adds (out, option);
    else if (git_config_get (repo, "assay.project", out, &none) == -1) {
        BUF (folder);
        if (none.code != EC_NOT_FOUND) {
            *e = none;
            return -1;
        }
        if (repo_folder (repo, &folder, e) == -1)
            return -1;
        const char *base = strrchr (buf_str (&folder), '/');
        base = base ? base + 1 : buf_str (&folder);
        size_t len = strlen (base);
        if (len > 4 && strcmp (base + len - 4, ".git") == 0)
            len -= 4;
        for (size_t i = 0; i < len; i++)
            buf_addf (out, "%c", tolower ((unsigned char) base[i]));
    }
    if (!project_valid (buf_str (out)))
        return err_set (e, ERR_USAGE, "project \"%.140s\": not a name (a-z 0-9 . _ -, parts joined by /; give --project or `git config assay.project NAME`)", buf_str (out));
    return 0;
}

int submit_url (const char *repo, const char *option, struct buf *out, struct err *e)
{
    struct err none = ERR_INIT;
    if (option)
        buf_adds (out, option);
    else if (git_config_get (repo, "assay.url", out, &none) == -1) {
        if (none.code != EC_NOT_FOUND) {
            *e = none;
            return -1;
        }
        BUF (folder);
        if (repo_folder (repo, &folder, e) == -1)
            return -1;
        char *CLEANUP (free_ptr) path = realpath (buf_str (&folder), NULL);
        if (!path)
            return err_errno (e, "%s", buf_str (&folder));
        buf_adds (out, "file://");
        for (const unsigned char *p = (const unsigned char *) path; *p; p++)
            if (isalnum (*p) || strchr ("/-._~+", *p))
                buf_addf (out, "%c", *p);
            else
                buf_addf (out, "%%%02X", *p);
    }
    git_allow_file (true); /* whether a worker follows it is for the worker's owner to say */
    return git_url_check (buf_str (out), e);
}

static int read_recipe (const struct submit *s, struct buf *text, struct recipe **recipe, struct err *e)
{
    struct err why = ERR_INIT;
    if (git_read_file (s->repo, s->commit, RECIPE_FILE, RECIPE_MAX, text, &why) == -1) {
        if (e)
            *e = why;
        if (why.code == EC_NOT_FOUND && e) {
            err_set (e, ERR_USAGE, RECIPE_FILE ": not in commit %.12s (add a recipe: assay.yml(5) tells what is in one)", s->commit);
            e->code = EC_NOT_FOUND;
        } else if (why.code == EC_OVERSIZED && e)
            e->kind = ERR_USAGE;
        return -1;
    }
    return recipe_parse (buf_bytes (text), RECIPE_FILE, recipe, e);
}

int submit_sign (struct realm *rl, const struct submit *s, struct signed_submission *out, struct err *e)
{
    BUF (text);
    struct recipe *CLEANUP (recipe_destroy) recipe = NULL;
    struct git_rev CLEANUP (git_rev_release) rev = { 0 };
    memset (out, 0, sizeof *out);
    if (git_resolve (s->repo, s->commit, &rev, e) == -1 || read_recipe (s, &text, &recipe, e) == -1)
        return -1;
    if (strlen (s->ref) > 255)
        return err_set (e, ERR_USAGE, "ref %.60s…: too long (at most 255 bytes)", s->ref);

    size_t n = recipe_steps (recipe);
    struct buf *bodies = xcalloc (n, sizeof *bodies);
    struct bytes *list = xcalloc (n, sizeof *list);
    for (size_t i = 0; i < n; i++) {
        struct msg step = MSG_INIT (step, 0);
        step.u.step = *recipe_step (recipe, i);
        msg_encode (&step, &bodies[i]);
        list[i] = buf_bytes (&bodies[i]);
    }
    struct msg m = MSG_INIT (submission_body, 0);
    struct msg_submission_body *b = &m.u.submission_body;
    b->submitter = bytes_str (realm_name (rl));
    b->project = bytes_str (s->project);
    b->url = bytes_str (s->url);
    b->commit = bytes_str (rev.id);
    b->ref = bytes_str (s->ref);
    b->recipe = digest_of (text.p, text.len);
    b->steps = (struct bytes_list){ list, n };
    b->priority = s->priority;
    b->source_date = rev.time > 0 ? (uint64_t) rev.time : 0;
    b->issued = (uint64_t) time_now_us ();
    b->expires = b->issued + (uint64_t) SUBMIT_LIFE_US;
    randombytes_buf (b->nonce.b, sizeof b->nonce.b);
    BUF (body);
    msg_encode (&m, &body);
    envelope_sign (TYPE_SUBMISSION, buf_bytes (&body), &realm_keys (rl)->sign, &out->envelope);
    for (size_t i = 0; i < n; i++)
        buf_release (&bodies[i]);
    free (bodies);
    free (list);
    out->steps = n;

    struct envelope v;
    if (envelope_open (buf_bytes (&out->envelope), TYPE_SUBMISSION, &v, e) == -1)
        return -1;
    out->id = envelope_id (&v);
    envelope_release (&v);
    return 0;
}

int submit_send (struct client *broker, struct bytes envelope, const struct digest *id, bool *again, uint64_t *seq, struct err *e)
{
    struct msg m = MSG_INIT (submit, 0);
    struct net_in in;
    m.u.submit.envelope = envelope;
    if (client_ask (broker, &m, MSG_submitted, &in, e) == -1)
        return -1;
    int rc = 0;
    if (!digest_eq (&m.u.submitted.id, id))
        rc = err_code (e, EC_UNEXPECTED, "the broker answered for another submission");
    if (again)
        *again = m.u.submitted.again;
    if (seq)
        *seq = m.u.submitted.seq;
    msg_release (&m);
    net_in_release (&in);
    return rc;
}
