/* assay audit: is the verifier's log the one that it was, the one that others see, and are the verdicts in it? */
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/auditor.h"
#include "cli/stream.h"

#define RECENT 5u   /* submissions that are looked at where none is named */
#define STEPS_MAX 1024u

struct wanted {     /* a step whose verdict must be in the log */
    struct digest id;
    char step[64];
    bool named;     /* by the user: then it has to have a verdict */
};
struct audit {
    struct cli *c;
    struct realm *rl;
    struct auditor *a;
    struct client *broker;
    struct wanted *v;
    size_t n;
    bool json, cosign, entries;
    const char *export, *compare, *verifier;
    uint64_t witnesses;
};

static void put (json_t *o)
{
    char *line = json_dumps (o, JSON_COMPACT);
    printf ("%s\n", line ? line : "{}");
    free (line);
    json_decref (o);
}

/* ---- the log ---- */

static void witness_names (const struct witnesses *w, struct buf *out)
{
    for (size_t i = 0; i < w->n; i++)
        buf_addf (out, "%s%s of %s", i ? ", " : "", w->v[i]->name, w->v[i]->owner);
}

static json_t *log_json (const struct audit *t, const struct checkpoint *cp)
{
    char hex[DIGEST_HEX];
    json_t *o = json_object (), *owners = json_array ();
    json_object_set_new (o, "verifier", json_string (t->a->verifier->name));
    json_object_set_new (o, "origin", json_string (cp->note.origin));
    json_object_set_new (o, "size", json_integer ((json_int_t) cp->note.size));
    json_object_set_new (o, "root", json_string (digest_hex (&cp->note.root, hex)));
    for (size_t i = 0; i < cp->witnesses.n; i++)
        json_array_append_new (owners, json_string (cp->witnesses.v[i]->owner));
    json_object_set_new (o, "witnesses", owners);
    return o;
}

static void show_log (const struct audit *t)
{
    const struct checkpoint *now = &t->a->newest, *before = &t->a->before;
    char hex[DIGEST_HEX];
    BUF (names);
    if (t->json) {
        json_t *o = log_json (t, now);
        if (before->raw.len)
            json_object_set_new (o, "seen", json_integer ((json_int_t) before->note.size));
        put (o);
        return;
    }
    printf ("%-9s %s: %llu verdicts, root sha256:%s\n", "log", t->a->verifier->name, (unsigned long long) now->note.size, digest_hex (&now->note.root, hex));
    if (before->raw.len)
        printf ("%-9s it begins with the %llu that were seen before\n", "", (unsigned long long) before->note.size);
    else
        printf ("%-9s seen for the first time: compare it with what another saw (assay audit --compare FILE)\n", "");
    witness_names (&now->witnesses, &names);
    if (names.len)
        printf ("%-9s %s\n", "witnesses", buf_str (&names));
}

static int show_witnessed (const struct audit *t)
{
    const struct checkpoint *w = &t->a->witnessed;
    BUF (names);
    if (t->json)
        put (log_json (t, w));
    else {
        witness_names (&w->witnesses, &names);
        printf ("%-9s %s: the first %llu verdicts\n", "witnesses", buf_str (&names), (unsigned long long) w->note.size);
    }
    return 0;
}

static int compare (struct audit *t, struct err *e)
{
    struct checkpoint CLEANUP (checkpoint_release) other = { 0 };
    BUF (raw);
    if (file_read (t->compare, NOTE_MAX, &raw, e) == -1)
        return -1;
    if (auditor_compare (t->a, buf_bytes (&raw), &other, e) == -1)
        return e->kind == ERR_UNREACHABLE ? err_wrap (e, "%s: it is of another size than what was seen here, so that only the verifier can show whether they agree", t->compare)
                                          : err_wrap (e, "%s", t->compare);
    if (t->json) {
        json_t *o = log_json (t, &other);
        json_object_set_new (o, "compared", json_string (t->compare));
        put (o);
    } else
        printf ("%-9s %s: %llu verdicts, the same log\n", "compared", t->compare, (unsigned long long) other.note.size);
    return 0;
}

static int export (struct audit *t, struct err *e)
{
    const struct buf *raw = t->a->newest.raw.len ? &t->a->newest.raw : &t->a->before.raw;
    if (strcmp (t->export, "-"))
        return file_write (t->export, buf_bytes (raw), 0644, e);
    fwrite (raw->p, 1, raw->len, stdout);
    return 0;
}

static int cosign (struct audit *t, struct err *e)
{
    size_t n = 0;
    const struct principal *self = realm_self (t->rl);
    if (auditor_cosign (t->a, &n, e) == -1)
        return -1;
    if (t->json)
        put (json_pack ("{s:s, s:I, s:i}", "cosigned", realm_name (t->rl), "size", (json_int_t) t->a->newest.note.size, "signatures", (int) n));
    else if (n == 0)
        printf ("%-9s %s had signed it already\n", "cosigned", realm_name (t->rl));
    else
        printf ("%-9s as %s: %llu verdicts%s\n", "cosigned", realm_name (t->rl), (unsigned long long) t->a->newest.note.size, n > 1 ? ", and older ones that wait for witnesses" : "");
    if (self && !witness_good (self, t->a->verifier))
        fprintf (stderr, "assay: audit: the signature counts for nobody: %s belongs to %s, as the verifier does (a witness of another owner is needed)\n", self->name, self->owner);
    return 0;
}

/* ---- verdicts ---- */

/* All that is asked for is looked up, or it is an error: nothing is passed over in silence. */
static int want (struct audit *t, const struct digest *id, struct bytes step, bool named, struct err *e)
{
    struct wanted w = { .id = *id, .named = named };
    if (!bytes_copy (step, w.step, sizeof w.step) || !name_valid (w.step))
        return err_code (e, EC_MALFORMED, "the broker lists a step whose name is none");
    if (t->n == STEPS_MAX)
        return err_set (e, ERR_USAGE, "more than %u steps at once (name fewer submissions)", STEPS_MAX);
    t->v = xrealloc (t->v, (t->n + 1) * sizeof *t->v);
    t->v[t->n++] = w;
    return 0;
}

/* The steps of one submission, or of the newest. */
static int want_steps (struct audit *t, const char *prefix, struct err *e)
{
    struct msg m = MSG_INIT (status_get, 0);
    struct net_in in;
    if (!t->broker && cli_client (t->c, t->rl, ROLE_BROKER, &t->broker, e) == -1)
        return -1;
    m.request = client_request (t->broker);
    m.u.status_get.prefix = bytes_str (prefix);
    m.u.status_get.limit = prefix ? 1 : RECENT;
    if (client_ask (t->broker, &m, MSG_status, &in, e) == -1)
        return -1;
    int rc = prefix && m.u.status.jobs.n == 0 ? err_code (e, EC_NOT_FOUND, "%.12s: no such submission (`assay status` lists them)", prefix) : 0;
    for (size_t i = 0; rc == 0 && i < m.u.status.jobs.n; i++) {
        struct msg job, step;
        char hex[DIGEST_HEX];
        if ((rc = msg_decode_as (m.u.status.jobs.v[i], MSG_job_status, &job, e)) == -1)
            break;
        if (prefix && strcmp (digest_hex (&job.u.job_status.id, hex), prefix))
            rc = err_code (e, EC_UNEXPECTED, "the broker answered with another submission than %s", prefix);
        else if (prefix && job.u.job_status.steps.n == 0)
            rc = err_code (e, EC_UNEXPECTED, "the broker lists no step of %s", prefix);
        for (size_t k = 0; rc == 0 && k < job.u.job_status.steps.n; k++)
            if ((rc = msg_decode_as (job.u.job_status.steps.v[k], MSG_step_status, &step, e)) == 0) {
                rc = want (t, &job.u.job_status.id, step.u.step_status.name, prefix != NULL, e);
                msg_release (&step);
            }
        msg_release (&job);
    }
    msg_release (&m);
    net_in_release (&in);
    return rc;
}

static int want_named (struct audit *t, const char *text, struct err *e)
{
    struct digest id;
    char step[64], worker[64], hex[DIGEST_HEX];
    if (strcspn (text, "/") != 64 && !t->broker && cli_client (t->c, t->rl, ROLE_BROKER, &t->broker, e) == -1)
        return -1; /* a whole ID needs no broker to complete it */
    if (cli_step (t->broker, text, &id, step, worker, e) == -1)
        return -1;
    if (!*step)
        return want_steps (t, digest_hex (&id, hex), e);
    return want (t, &id, bytes_str (step), true, e);
}

static void show_verdict (const struct audit *t, const struct verdict *v, uint64_t size)
{
    char hex[DIGEST_HEX], artifact[DIGEST_HEX];
    digest_hex (&v->submission, hex);
    if (t->json) {
        json_t *o = json_pack ("{s:s, s:s, s:s, s:I, s:I, s:b}", "id", hex, "step", v->step, "state", v->state, "index", (json_int_t) v->index, "size", (json_int_t) size, "included", 1);
        if (!digest_zero (&v->artifact))
            json_object_set_new (o, "digest", json_string (digest_hex (&v->artifact, artifact)));
        put (o);
    } else
        printf ("%-9s %.12s/%s %s%s%s, number %llu: included\n", "verdict", hex, v->step, cli_colour (t->c, v->state), v->state, cli_reset (t->c), (unsigned long long) v->index);
}

/* What the broker has of the submission: nothing that it can say makes up for the submitter's signature. */
static int submission_holds (const struct audit *t, struct bytes raw, const struct verdict *v, struct err *e)
{
    struct envelope env = { 0 };
    int rc = envelope_open (raw, TYPE_SUBMISSION, &env, e);
    if (rc == 0) {
        struct digest id = envelope_id (&env);
        const struct principal *p = roster_by_sign (realm_roster (t->rl), env.keyid);
        if (!digest_eq (&id, &v->submission))
            rc = err_code (e, EC_DAMAGED, "the broker sent another submission");
        else if (!p || !(p->roles & ROLE_SUBMITTER) || envelope_check (&env, p->sign_key, e) == -1)
            rc = err_code (e, EC_BAD_SIGNATURE, "no submitter in the roster has signed it");
    }
    envelope_release (&env);
    return rc;
}

/* Whoever has a verdict of a submission that nobody submitted was shown something that nobody else saw. */
static int submitted (struct audit *t, const struct verdict *v, struct err *e)
{
    char hex[DIGEST_HEX];
    struct msg m = MSG_INIT (submission_get, 0);
    struct net_in in;
    if (!t->broker && cli_client (t->c, t->rl, ROLE_BROKER, &t->broker, e) == -1)
        return -1;
    digest_hex (&v->submission, hex);
    m.request = client_request (t->broker);
    m.u.submission_get.id = v->submission;
    if (client_ask (t->broker, &m, MSG_submission, &in, e) == -1)
        return e->code != EC_NOT_FOUND ? -1
                                       : err_code (e, EC_DAMAGED, "verdict %llu of the log is on %.12s/%s, which the broker does not know: it was never published",
                                                   (unsigned long long) v->index, hex, v->step);
    int rc = submission_holds (t, m.u.submission.envelope, v, e);
    if (rc == -1)
        err_wrap (e, "verdict %llu of the log, on %.12s/%s", (unsigned long long) v->index, hex, v->step);
    msg_release (&m);
    net_in_release (&in);
    return rc;
}

/* Every entry that is new since entries were last read. How far it got is noted now and then, and at the end. */
static int entries (struct audit *t, struct err *e)
{
    uint64_t to = t->a->newest.note.size, from = t->a->seen.entries <= to ? t->a->seen.entries : 0, read = 0;
    for (uint64_t at = from; at < to; at++) {
        if ((at - from) % 1024 == 1023 && seen_mark (&t->a->seen, at, e) == -1)
            return -1;
        struct verdict v;
        int got = auditor_entry (t->a, at, &v, e);
        if (got == -1)
            return -1;
        if (got == 0)
            continue;
        int rc = submitted (t, &v, e);
        if (rc == 0)
            show_verdict (t, &v, to);
        verdict_release (&v);
        if (rc == -1)
            return -1;
        read++;
    }
    if (seen_mark (&t->a->seen, to, e) == -1)
        return -1;
    if (!t->json)
        printf ("%-9s %llu new ones read, %llu of projects that are not shown to %s\n", "entries", (unsigned long long) read, (unsigned long long) (to - from - read), realm_name (t->rl));
    return 0;
}

static int look_up (struct audit *t, const struct wanted *w, struct err *e)
{
    struct verdict CLEANUP (verdict_release) v = { 0 };
    struct inclusion CLEANUP (inclusion_release) in = { 0 };
    const struct checkpoint *cp = t->witnesses ? &t->a->witnessed : &t->a->newest;
    char hex[DIGEST_HEX];
    BUF (raw);
    if (auditor_verdict (t->a, &w->id, w->step, &v, &raw, e) == -1) {
        if (e->code != EC_NOT_FOUND)
            return -1;
        e->kind = ERR_UNTRUSTED;
        return w->named ? -1 : 0; /* not decided yet */
    }
    if (!t->witnesses && v.index > cp->note.size && auditor_newest (t->a, e) == -1) /* said since */
        return -1;
    if (auditor_include (t->a, cp, buf_bytes (&raw), v.index, &in, e) == -1) {
        if (e->kind == ERR_UNTRUSTED && !w->named && !t->json)
            printf ("%-9s %.12s/%s %s, number %llu: waits for witnesses\n", "verdict", digest_hex (&w->id, hex), w->step, v.state, (unsigned long long) v.index);
        return e->kind == ERR_UNTRUSTED && !w->named ? 0 : -1;
    }
    show_verdict (t, &v, cp->note.size);
    return 0;
}

static int verdicts (struct audit *t, char **names, int n, struct err *e)
{
    int rc = 0;
    if (n == 0)
        rc = want_steps (t, NULL, e);
    for (int i = 0; rc == 0 && i < n; i++)
        rc = want_named (t, names[i], e);
    for (size_t i = 0; rc == 0 && i < t->n; i++)
        if ((rc = look_up (t, &t->v[i], e)) == -1) {
            char hex[DIGEST_HEX];
            err_wrap (e, "%.12s/%s", digest_hex (&t->v[i].id, hex), t->v[i].step);
        }
    return rc;
}

/* ---- in order ---- */

static int audit (struct audit *t, char **names, int n, struct err *e)
{
    if (auditor_open (&t->a, t->c, t->rl, t->verifier, e) == -1)
        return -1;
    if (t->compare && compare (t, e) == -1)
        return -1;
    if (!t->a->newest.raw.len && auditor_newest (t->a, e) == -1) {
        if (!t->compare || e->kind != ERR_UNREACHABLE)
            return -1;
        return t->export ? export (t, e) : 0; /* what was compared needed no answer */
    }
    show_log (t);
    if (t->entries && entries (t, e) == -1)
        return -1;
    if (t->cosign && cosign (t, e) == -1)
        return -1;
    if (t->export && export (t, e) == -1)
        return -1;
    if (t->witnesses && (auditor_witnessed (t->a, t->witnesses, e) == -1 || show_witnessed (t) == -1))
        return -1;
    return (t->compare || t->entries) && n == 0 ? 0 : verdicts (t, names, n, e);
}

/* The verifier whose checkpoint the file is. */
static int verifier_of (struct audit *t, struct err *e)
{
    struct checkpoint CLEANUP (checkpoint_release) cp = { 0 };
    const struct principal *who;
    BUF (raw);
    if (file_read (t->compare, NOTE_MAX, &raw, e) == -1)
        return -1;
    if (checkpoint_named (t->rl, buf_bytes (&raw), &cp, &who, e) == -1)
        return err_wrap (e, "%s", t->compare);
    if (t->verifier && strcmp (t->verifier, who->name))
        return err_set (e, ERR_USAGE, "%s: it is of the log of %s, not of %s", t->compare, who->name, t->verifier);
    t->verifier = who->name;
    return 0;
}

int cmd_audit (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = {
        { "json", no_argument, NULL, 'j' },           { "cosign", no_argument, NULL, 's' },        { "witnesses", required_argument, NULL, 'w' },
        { "compare", required_argument, NULL, 'c' },  { "export", required_argument, NULL, 'x' }, { "verifier", required_argument, NULL, 'v' },
        { "entries", no_argument, NULL, 'e' },
        { NULL, 0, NULL, 0 },
    };
    struct audit t = { .c = c };
    struct err e = ERR_INIT;
    const char *witnesses = NULL;
    for (int o; (o = getopt_long (argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 'j':
            t.json = true;
            break;
        case 'e':
            t.entries = true;
            break;
        case 's':
            t.cosign = true;
            break;
        case 'w':
            witnesses = optarg;
            break;
        case 'c':
            t.compare = optarg;
            break;
        case 'x':
            t.export = optarg;
            break;
        case 'v':
            t.verifier = optarg;
            break;
        default:
            return ERR_USAGE;
        }
    int rc = cli_realm (c, &t.rl, &e);
    if (rc == 0)
        rc = witnesses_wanted (t.rl, witnesses, &t.witnesses, &e);
    if (rc == 0 && t.compare)
        rc = verifier_of (&t, &e);
    if (rc == 0)
        rc = audit (&t, argv + optind, argc - optind, &e);
    auditor_close (&t.a);
    client_close (&t.broker);
    realm_close (&t.rl);
    free (t.v);
    return rc == -1 ? cli_fail ("audit", &e) : 0;
}
