#include "config.h"

#include "worker/checkout.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "source/git.h"
#include "source/recipe.h"

/* The recipe's digest must be the signed one, and what it expands to must be the very steps signed: a submission whose steps say
 * something else than the recipe at the commit is refused, whoever signed it. */
static int recipe_check (const struct order *o, const char *mirror, const char *commit, struct err *e)
{
    BUF (text);
    struct recipe *r = NULL;
    if (git_read_file (mirror, commit, RECIPE_FILE, RECIPE_MAX, &text, e) == -1)
        return -1;
    struct digest d = digest_of (text.p, text.len);
    if (!digest_eq (&d, &o->submission->recipe))
        return err_code (e, EC_CONFLICT, "%s at the commit is not the one that was signed", RECIPE_FILE);
    if (recipe_parse (buf_bytes (&text), RECIPE_FILE, &r, e) == -1)
        return -1;
    int rc = recipe_steps (r) == o->submission->steps.n ? 0 : -1;
    for (size_t i = 0; rc == 0 && i < recipe_steps (r); i++) {
        struct msg m = MSG_INIT (step, 0);
        BUF (b);
        m.u.step = *recipe_step (r, i);
        msg_encode (&m, &b);
        if (!bytes_eq (buf_bytes (&b), o->submission->steps.v[i]))
            rc = -1;
    }
    recipe_destroy (&r);
    return rc == 0 ? 0 : err_code (e, EC_CONFLICT, "the signed steps are not those of %s at the commit", RECIPE_FILE);
}

int checkout (const struct order *o, const char *state, const char *src, int timeout_ms, uint64_t max_files, uint64_t max_bytes, struct err *e)
{
    char hex[DIGEST_HEX], commit[65], url[1024];
    int rc = -1;
    if (!bytes_copy (o->submission->commit, commit, sizeof commit) || !bytes_copy (o->submission->url, url, sizeof url))
        return err_code (e, EC_MALFORMED, "commit or url");
    struct digest key = digest_of (url, strlen (url));
    char *mirrors = xasprintf ("%s/mirrors", state), *mirror = xasprintf ("%s/%s", mirrors, digest_hex (&key, hex));
    if (file_mkdirs (mirrors, 0700, e) == -1)
        goto out;
    /* git_fetch lets one fetch at a time into a mirror; what is there can be read meanwhile. */
    if (!git_has (mirror, commit) && git_fetch (mirror, url, commit, timeout_ms, e) == -1) {
        err_wrap (e, "fetching %.40s", commit);
        goto out;
    }
    if (recipe_check (o, mirror, commit, e) == -1 || git_checkout (mirror, commit, src, max_files, max_bytes, e) == -1)
        goto out;
    rc = 0;
out:
    free (mirrors);
    free (mirror);
    return rc;
}
