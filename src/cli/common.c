/* common.c: what the commands share. Contract: cli.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"

int cli_fail (const char *command, const struct err *e)
{
    BUF (clean);
    text_clean (bytes_str (e->msg), false, &clean);
    fflush (stdout);
    fprintf (stderr, "assay: %s: %s\n", command, clean.len ? buf_str (&clean) : "failed");
    return e->kind ? (int) e->kind : ERR_FAILED;
}

int cli_usage (const char *command, const char *fmt, ...)
{
    char what[700];
    va_list ap;
    va_start (ap, fmt);
    vsnprintf (what, sizeof what, fmt, ap);
    va_end (ap);
    struct err e = ERR_INIT;
    err_set (&e, ERR_USAGE, "%s", what);
    return cli_fail (command, &e);
}

int cli_flush (void)
{
    if (fflush (stdout) == 0 && !ferror (stdout))
        return 0;
    if (errno != EPIPE)
        fprintf (stderr, "assay: standard output: %s\n", strerror (errno));
    return ERR_FAILED;
}

int cli_realm (struct cli *c, struct realm **rl, struct err *e)
{
    if (realm_open (rl, c->dir, e) == -1)
        return err_wrap (e, "realm");
    struct err refresh = ERR_INIT;
    int timeout = c->timeout_ms < 2000 ? c->timeout_ms : 2000;
    c->kept = realm_refresh (*rl, timeout, &refresh) == -1;
    if (c->kept && (refresh.kind != ERR_UNREACHABLE || roster_seq (realm_roster (*rl)) == 0)) {
        if (e)
            *e = refresh;
        err_wrap (e, "roster from %s", realm_idp (*rl));
        realm_close (rl);
        return -1;
    }
    return 0;
}

void cli_kept (const struct cli *c, const char *command, struct realm *rl)
{
    int64_t of = roster_head_time (realm_roster (rl));
    char when[32], age[32];
    if (!c->kept)
        return;
    fflush (stdout);
    time_format (of, when);
    fprintf (stderr, "assay: %s: no answer of the idp at %s: this is the kept copy of the roster, of %s, %s (is assay-idp running there?)\n", command, realm_idp (rl), when,
             text_age (of, age));
}

const char *cli_endpoint (struct realm *rl, unsigned role)
{
    if (role == ROLE_IDP)
        return realm_idp (rl);
    const struct principal *p = roster_role (realm_roster (rl), role, 0);
    return p ? p->endpoint : "";
}

static const char *service_name (unsigned role)
{
    return role == ROLE_BROKER ? "broker" : role == ROLE_STORE ? "store" : role == ROLE_VERIFIER ? "verifier" : "idp";
}

int cli_connect (struct cli *c, struct realm *rl, const char *name, const char *endpoint, const uint8_t key[32], struct client **out, struct err *e)
{
    struct err why = ERR_INIT;
    int wait = c->connect_ms < c->timeout_ms ? c->connect_ms : c->timeout_ms;
    if (client_connect (out, name, endpoint, key, &realm_keys (rl)->transport, wait, &why) == 0) {
        client_patience (*out, c->timeout_ms);
        return 0;
    }
    if (why.kind == ERR_UNREACHABLE)
        return err_set (e, ERR_UNREACHABLE, "no %s at %s after %g s (is assay-%s running there? `assay up` runs a realm for one machine)", name, endpoint,
                        wait / 1000.0, name);
    if (e)
        *e = why;
    return err_wrap (e, "%s at %s", name, endpoint);
}

int cli_client (struct cli *c, struct realm *rl, unsigned role, struct client **out, struct err *e)
{
    const struct principal *p = role == ROLE_IDP ? NULL : roster_role (realm_roster (rl), role, 0);
    const char *endpoint = cli_endpoint (rl, role), *name = service_name (role);
    if (!*endpoint)
        return err_set (e, ERR_UNREACHABLE, "no %s in the roster (enrol one: `assay token --role %s`)", name, name);
    return cli_connect (c, rl, name, endpoint, p ? p->transport_key : realm_idp_key (rl), out, e);
}

int cli_there (struct cli *c, struct realm *rl, unsigned role, struct err *e)
{
    struct client *CLEANUP (client_close) service = NULL;
    return cli_client (c, rl, role, &service, e);
}

/* The one submission that the prefix means. */
static int complete (struct client *broker, const char *prefix, struct digest *id, struct err *e)
{
    struct msg m = MSG_INIT (status_get, 0);
    struct net_in in;
    m.u.status_get.prefix = bytes_str (prefix);
    m.u.status_get.limit = 2;
    if (client_ask (broker, &m, MSG_status, &in, e) == -1)
        return -1;
    int rc = 0;
    if (m.u.status.jobs.n == 0)
        rc = err_code (e, EC_NOT_FOUND, "%s: no such submission (`assay status` lists them)", prefix);
    else if (m.u.status.jobs.n > 1)
        rc = err_set (e, ERR_USAGE, "%s: more than one submission begins so (give more digits)", prefix);
    else {
        struct msg job;
        rc = msg_decode_as (m.u.status.jobs.v[0], MSG_job_status, &job, e);
        if (rc == 0) {
            *id = job.u.job_status.id;
            char hex[DIGEST_HEX];
            if (strncmp (digest_hex (id, hex), prefix, strlen (prefix)))
                rc = err_code (e, EC_UNEXPECTED, "the broker answered with another submission than %s", prefix);
            msg_release (&job);
        }
    }
    msg_release (&m);
    net_in_release (&in);
    return rc;
}

int cli_step (struct client *broker, const char *text, struct digest *id, char step[64], char worker[64], struct err *e)
{
    char prefix[DIGEST_HEX];
    size_t len = strcspn (text, "/");
    *step = *worker = '\0';
    if (len < 8 || len > 64 || strspn (text, "0123456789abcdef") != len)
        return err_set (e, ERR_USAGE, "%.80s: not an ID (8 to 64 hex digits) or ID/STEP", text);
    memcpy (prefix, text, len);
    prefix[len] = '\0';
    if (text[len] == '/') {
        const char *name = text + len + 1, *at = strchr (name, '@');
        size_t n = at ? (size_t) (at - name) : strlen (name);
        if (n >= 64 || (at && strlen (at + 1) >= 64))
            return err_set (e, ERR_USAGE, "%.120s: a name is too long (ID/STEP[@WORKER], names of at most 63 bytes)", text);
        memcpy (step, name, n);
        step[n] = '\0';
        if (at)
            strcpy (worker, at + 1);
        if (!name_valid (step) || (at && !name_valid (worker)))
            return err_set (e, ERR_USAGE, "%.120s: not ID/STEP[@WORKER] (names of a-z 0-9 . _ -)", text);
    }
    if (len == 64) {
        if (digest_parse (prefix, id))
            return 0;
    }
    return complete (broker, prefix, id, e);
}

int cli_status_of (const char *state)
{
    return strcmp (state, "trusted") == 0 ? 0 : strcmp (state, "failed") == 0 ? ERR_FAILED : ERR_UNTRUSTED;
}

const char *cli_colour (struct cli *c, const char *state)
{
    static const struct {
        const char *state, *escape;
    } rows[] = {
        { "trusted", "\033[32m" },   { "provisional", "\033[33m" },    { "failed", "\033[31m" },        { "disputed", "\033[35m" },
        { "error", "\033[31m" },     { "unreproducible", "\033[31m" }, { "unsatisfiable", "\033[31m" }, { "cancelled", "\033[2m" },
        { "expired", "\033[2m" },    { "pending", "\033[2m" },         { "submitted", "\033[36m" },     { "leased", "\033[36m" },
        { "held", "\033[32m" },      { "broke", "\033[31m" },          { "not tried", "\033[33m" },
        { "revoked", "\033[31m" },   { "exhausted", "\033[31m" },      { "running", "\033[36m" },
    };
    if (c->colour && state)
        for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
            if (strcmp (rows[i].state, state) == 0)
                return rows[i].escape;
    return "";
}

const char *cli_reset (struct cli *c)
{
    return c->colour ? "\033[0m" : "";
}
