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

int checkout_server (const struct order *o, struct relay_target *t, struct err *e)
{
    static const char file[] = "file:///";
    struct bytes url = o->submission->url;
    memset (t, 0, sizeof *t);
    if (url.len >= sizeof file - 1 && memcmp (url.p, file, sizeof file - 1) == 0)
        return 0;
    if (!relay_server (url, t->host, &t->port))
        return err_code (e, EC_MALFORMED, "repository URL: its server is neither a name of letters, digits, - _ and . nor an address");
    return 0;
}

/* From the one address that was found for this step, whatever the name says by now. */
static int fetch (const struct checkout_opts *c, const char *mirror, const char *url, const char *commit, struct err *e)
{
    char address[INET6_ADDRSTRLEN];
    struct relay_target *t = c->server;
    struct git_place at = { t->host, address, t->port };
    if (!*t->host)
        return git_fetch (mirror, url, NULL, commit, c->timeout_ms, e);
    if (!relay_find (t, c->loopback, NULL))
        return err_set (e, ERR_FAILED, "%s has no address that a worker may fetch from (it is not known, or loopback, link-local or multicast)", t->host);
    if (getnameinfo ((const struct sockaddr *) &t->at, t->at_len, address, sizeof address, NULL, 0, NI_NUMERICHOST) != 0)
        return err_set (e, ERR_FAILED, "%s: an address that makes no sense", t->host);
    return git_fetch (mirror, url, &at, commit, c->timeout_ms, e);
}

int checkout (const struct order *o, const struct checkout_opts *c, struct err *e)
{
    char hex[DIGEST_HEX], commit[65], url[1024];
    int rc = -1;
    if (!bytes_copy (o->submission->commit, commit, sizeof commit) || !bytes_copy (o->submission->url, url, sizeof url))
        return err_code (e, EC_MALFORMED, "commit or url");
    struct digest key = digest_of (url, strlen (url));
    char *mirrors = xasprintf ("%s/mirrors", c->state), *mirror = xasprintf ("%s/%s", mirrors, digest_hex (&key, hex));
    if (file_mkdirs (mirrors, 0700, e) == -1)
        goto out;
    /* git_fetch lets one fetch at a time into a mirror; what is there can be read meanwhile. */
    if (!git_has (mirror, commit) && fetch (c, mirror, url, commit, e) == -1) {
        err_wrap (e, "fetching %.40s", commit);
        goto out;
    }
    if (recipe_check (o, mirror, commit, e) == -1 || git_checkout (mirror, commit, c->src, c->max_files, c->max_bytes, e) == -1)
        goto out;
    rc = 0;
out:
    free (mirrors);
    free (mirror);
    return rc;
}
