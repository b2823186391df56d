/* assay status: submissions, and the steps of one. */
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"
#include "cli/stream.h"

static json_t *text (struct bytes b)
{
    return json_stringn (b.len ? (const char *) b.p : "", b.len);
}

static int step_json (const struct msg_step_status *s, json_t *steps)
{
    char hex[DIGEST_HEX];
    json_t *o = json_object ();
    json_object_set_new (o, "name", text (s->name));
    json_object_set_new (o, "state", text (s->state));
    if (!digest_zero (&s->digest))
        json_object_set_new (o, "digest", json_string (digest_hex (&s->digest, hex)));
    json_object_set_new (o, "agree", json_integer ((json_int_t) s->agree));
    json_object_set_new (o, "support", json_integer ((json_int_t) s->support));
    json_object_set_new (o, "dissent", json_integer ((json_int_t) s->dissent));
    json_object_set_new (o, "trusted_required", json_boolean (s->trusted_required));
    json_object_set_new (o, "votes", json_integer ((json_int_t) s->votes));
    if (s->dissent)
        json_object_set_new (o, "split", json_string (s->support <= 1 ? "everyone-differs" : s->dissent == 1 ? "one-against-all" : "divided"));
    if (s->reason.len)
        json_object_set_new (o, "reason", text (s->reason));
    return json_array_append_new (steps, o);
}

static int job_json (const struct msg_job_status *j, struct err *e)
{
    char hex[DIGEST_HEX], when[32];
    json_t *o = json_object (), *steps = json_array ();
    time_format ((int64_t) j->time, when);
    json_object_set_new (o, "id", json_string (digest_hex (&j->id, hex)));
    json_object_set_new (o, "project", text (j->project));
    json_object_set_new (o, "commit", text (j->commit));
    json_object_set_new (o, "ref", text (j->ref));
    json_object_set_new (o, "state", text (j->state));
    json_object_set_new (o, "submitter", text (j->submitter));
    json_object_set_new (o, "time", json_string (when));
    json_object_set_new (o, "steps", steps);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < j->steps.n; i++) {
        struct msg step;
        rc = msg_decode_as (j->steps.v[i], MSG_step_status, &step, e);
        if (rc == 0) {
            step_json (&step.u.step_status, steps);
            msg_release (&step);
        }
    }
    char *line = json_dumps (o, JSON_COMPACT);
    if (rc == 0)
        printf ("%s\n", line ? line : "{}");
    free (line);
    json_decref (o);
    return rc;
}

static const char *short_ref (const char *ref)
{
    return strncmp (ref, "refs/heads/", 11) == 0 ? ref + 11 : strncmp (ref, "refs/tags/", 10) == 0 ? ref + 10 : ref;
}

static void job_row (struct table *t, const struct msg_job_status *j)
{
    char hex[DIGEST_HEX], id[13], commit[13], when[32];
    snprintf (id, sizeof id, "%.12s", digest_hex (&j->id, hex));
    snprintf (commit, sizeof commit, "%.*s", j->commit.len > 12 ? 12 : (int) j->commit.len, (const char *) j->commit.p);
    char *CLEANUP (free_ptr) project = bytes_dup (j->project), *CLEANUP (free_ptr) ref = bytes_dup (j->ref), *CLEANUP (free_ptr) state = bytes_dup (j->state),
                             *CLEANUP (free_ptr) who = bytes_dup (j->submitter);
    table_add (t, (const char *[]){ id, project, commit, short_ref (ref), state, who, text_age ((int64_t) j->time, when) });
}

static int step_row (struct table *t, struct bytes raw, struct err *e)
{
    struct msg m;
    if (msg_decode_as (raw, MSG_step_status, &m, e) == -1)
        return -1;
    const struct msg_step_status *s = &m.u.step_status;
    char hex[DIGEST_HEX], digest[24] = "", support[48], dissent[24];
    if (!digest_zero (&s->digest))
        snprintf (digest, sizeof digest, "%.16s", digest_hex (&s->digest, hex));
    snprintf (support, sizeof support, "%llu of %llu%s", (unsigned long long) s->support, (unsigned long long) s->agree, s->trusted_required ? " + trusted" : "");
    snprintf (dissent, sizeof dissent, "%llu", (unsigned long long) s->dissent);
    char *CLEANUP (free_ptr) name = bytes_dup (s->name), *CLEANUP (free_ptr) state = bytes_dup (s->state), *CLEANUP (free_ptr) reason = bytes_dup (s->reason);
    table_add (t, (const char *[]){ name, state, support, dissent, digest, reason });
    msg_release (&m);
    return 0;
}

static int show_one (struct cli *c, const struct msg_job_status *j, struct err *e)
{
    static const char *const heads[] = { "STEP", "STATE", "AGREE", "DISSENT", "ARTIFACT", "REASON" };
    char hex[DIGEST_HEX], when[32];
    BUF (line);
    BUF (clean);
    buf_addf (&line, "%s\n%.*s at %.*s (%.*s), submitted by %.*s, %s\n\n", digest_hex (&j->id, hex), (int) j->project.len, (const char *) j->project.p,
              (int) j->commit.len, (const char *) j->commit.p, (int) j->ref.len, (const char *) j->ref.p, (int) j->submitter.len, (const char *) j->submitter.p,
              text_age ((int64_t) j->time, when));
    text_clean (buf_bytes (&line), true, &clean);
    fputs (buf_str (&clean), stdout);
    struct table *t = table_new (6, heads);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < j->steps.n; i++)
        rc = step_row (t, j->steps.v[i], e);
    table_print (c, &t);
    return rc;
}

static int show_all (struct cli *c, const struct msg_status *s, bool one, bool json, struct err *e)
{
    static const char *const heads[] = { "ID", "PROJECT", "COMMIT", "REF", "STATE", "BY", "WHEN" };
    struct table *t = json || one ? NULL : table_new (7, heads);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->jobs.n; i++) {
        struct msg m;
        rc = msg_decode_as (s->jobs.v[i], MSG_job_status, &m, e);
        if (rc == -1)
            break;
        if (json)
            rc = job_json (&m.u.job_status, e);
        else if (one)
            rc = show_one (c, &m.u.job_status, e);
        else
            job_row (t, &m.u.job_status);
        msg_release (&m);
    }
    table_print (c, &t);
    return rc;
}

int cmd_status (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { "limit", required_argument, NULL, 'n' }, { NULL, 0, NULL, 0 } };
    bool json = false;
    long limit = 20;
    for (int o; (o = getopt_long (argc, argv, "n:", options, NULL)) != -1;)
        switch (o) {
        case 'j':
            json = true;
            break;
        case 'n':
            limit = strtol (optarg, NULL, 10);
            if (limit < 1 || limit > 200)
                return cli_usage ("status", "--limit %s: from 1 to 200", optarg);
            break;
        default:
            return ERR_USAGE;
        }
    const char *id = optind < argc ? argv[optind++] : NULL;
    if (optind < argc)
        return cli_usage ("status", "%s: one ID at most", argv[optind]);

    struct err e = ERR_INIT;
    struct realm *CLEANUP (realm_close) rl = NULL;
    struct client *CLEANUP (client_close) broker = NULL;
    struct digest full;
    char step[64], worker[64], hex[DIGEST_HEX] = "";
    if (cli_realm (c, &rl, &e) == -1 || cli_client (c, rl, ROLE_BROKER, &broker, &e) == -1)
        return cli_fail ("status", &e);
    if (id && cli_step (broker, id, &full, step, worker, &e) == -1)
        return cli_fail ("status", &e);
    if (id)
        digest_hex (&full, hex);

    struct msg m = MSG_INIT (status_get, 0);
    struct net_in in;
    m.u.status_get.prefix = bytes_str (hex);
    m.u.status_get.limit = id ? 1 : (uint64_t) limit;
    if (client_ask (broker, &m, MSG_status, &in, &e) == -1)
        return cli_fail ("status", &e);
    int rc = id && m.u.status.jobs.n == 0 ? err_code (&e, EC_NOT_FOUND, "%s: no such submission (`assay status` lists them)", id)
                                          : show_all (c, &m.u.status, id != NULL, json, &e);
    msg_release (&m);
    net_in_release (&in);
    return rc == -1 ? cli_fail ("status", &e) : 0;
}
