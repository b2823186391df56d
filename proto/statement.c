#include "proto/statement.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define STATEMENT_TYPE "https://in-toto.io/Statement/v1"
#define PROVENANCE_TYPE "https://slsa.dev/provenance/v1"
#define VSA_TYPE "https://slsa.dev/verification_summary/v1"
#define BUILD_TYPE "urn:assay:build:step:1"
#define URN_WORKER "urn:assay:worker:"
#define URN_VERIFIER "urn:assay:verifier:"
#define URN_POLICY "urn:assay:policy:1"
#define URN_RESULT "urn:assay:result:"
#define URN_ARTIFACT "urn:assay:artifact:"
#define EXTENSION "urn:assay:verdict:1" /* of the VSA's predicate: a field whose name is a URI, as the specification asks */
#define SLSA_VERSION "1.0"
#define COUNTS_MAX 256

struct digest outcome_digest (unsigned exit_status, const struct digest *artifact)
{
    static const char head[] = "assay-outcome-1\n";
    uint8_t raw[sizeof head - 1 + 4 + 32], *p = raw + sizeof head - 1;
    memcpy (raw, head, sizeof head - 1);
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t) (exit_status >> (24 - 8 * i));
    memcpy (p + 4, artifact->b, 32);
    return digest_of (raw, sizeof raw);
}

void result_release (struct result *r)
{
    free (r->url);
    free (r->ref);
    free (r->host);
    free (r->note);
    buf_release (&r->lease);
    buf_release (&r->receipt);
    memset (r, 0, sizeof *r);
}

void verdict_release (struct verdict *v)
{
    free (v->url);
    free (v->ref);
    free (v->reason);
    free (v->counts);
    memset (v, 0, sizeof *v);
}

/* ---- building: values that are ours, or were checked; text that is not UTF-8 is cleaned first ---- */

static json_t *text (const char *s)
{
    BUF (clean);
    if (!s)
        s = "";
    if (!utf8_valid (bytes_str (s))) {
        text_clean (bytes_str (s), true, &clean);
        s = buf_str (&clean);
    }
    return json_string (s);
}

static json_t *hex (const struct digest *d)
{
    char h[DIGEST_HEX];
    return json_string (digest_hex (d, h));
}

static json_t *base64 (const struct buf *b)
{
    BUF (out);
    base64_add (&out, buf_bytes (b));
    return json_string (buf_str (&out));
}

static json_t *when (int64_t us)
{
    char s[32];
    time_format (us, s);
    return json_string (s);
}

static json_t *sha256 (const struct digest *d)
{
    return json_pack ("{s:o}", "sha256", hex (d));
}

static void emit (json_t *o, struct buf *out)
{
    char *s = o ? json_dumps (o, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    if (!s)
        abort (); /* memory, or a value that breaks the header's contract */
    buf_adds (out, s);
    free (s);
    json_decref (o);
}

void result_json (const struct result *r, struct buf *out)
{
    struct digest outcome = outcome_digest (r->exit_status, &r->artifact);
    json_t *deps = json_array (), *inputs = json_array ();
    json_array_append_new (deps, json_pack ("{s:o, s:{s:s}}", "uri", text (r->url), "digest", "gitCommit", r->commit));
    json_array_append_new (deps, json_pack ("{s:s, s:o}", "name", "image", "digest", sha256 (&r->image)));
    json_array_append_new (deps, json_pack ("{s:s, s:o}", "name", "recipe", "digest", sha256 (&r->recipe)));
    for (size_t i = 0; i < r->input_count; i++) {
        json_array_append_new (inputs, hex (&r->inputs[i]));
        json_array_append_new (deps, json_pack ("{s:s, s:o}", "name", "input", "digest", sha256 (&r->inputs[i])));
    }
    char id[DIGEST_HEX];
    char *subject CLEANUP (free_ptr) = xasprintf ("%s/%s", digest_hex (&r->submission, id), r->step);
    char *builder CLEANUP (free_ptr) = xasprintf (URN_WORKER "%s", r->worker);
    json_t *external = json_pack ("{s:o, s:s, s:s, s:o, s:o, s:s, s:o, s:o}", "submission", hex (&r->submission), "step", r->step, "project", r->project, "repository",
                                  text (r->url), "ref", text (r->ref), "commit", r->commit, "recipe", hex (&r->recipe), "image", hex (&r->image));
    json_t *internal = json_pack ("{s:o, s:o, s:o, s:s, s:s, s:s, s:s, s:s, s:o, s:o, s:o}", "lease", base64 (&r->lease), "leaseId", hex (&r->lease_id), "receipt",
                                  base64 (&r->receipt), "worker", r->worker, "owner", r->owner, "isolation", isolation_name (r->isolation), "network", network_name (r->network), "accelerator",
                                  r->accelerator, "host", text (r->host), "inputs", inputs, "note", text (r->note));
    json_t *openings = NULL;
    for (size_t i = 0; i < r->input_count; i++)
        if (!digest_zero (&r->openings[i]) && !openings)
            openings = json_array ();
    for (size_t i = 0; openings && i < r->input_count; i++)
        json_array_append_new (openings, digest_zero (&r->openings[i]) ? json_string ("") : hex (&r->openings[i]));
    if (openings)
        json_object_set_new (internal, "openings", openings);
    if (r->linked) {
        BUF (link);
        buf_add (&link, r->link, sizeof r->link);
        json_object_set_new (internal, "link", base64 (&link));
    }
    json_t *byproducts = json_array ();
    json_array_append_new (byproducts, json_pack ("{s:s, s:o, s:{s:i}}", "name", "outcome", "digest", sha256 (&outcome), "annotations", "exitStatus", (int) r->exit_status));
    json_t *definition = json_pack ("{s:s, s:o, s:o, s:o}", "buildType", BUILD_TYPE, "externalParameters", external, "internalParameters", internal,
                                    "resolvedDependencies", deps);
    json_t *run = json_pack ("{s:{s:s}, s:{s:o, s:o, s:o}, s:o}", "builder", "id", builder, "metadata", "invocationId", hex (&r->lease_id), "startedOn",
                             when (r->started), "finishedOn", when (r->finished), "byproducts", byproducts);
    emit (json_pack ("{s:s, s:[{s:s, s:o}], s:s, s:{s:o, s:o}}", "_type", STATEMENT_TYPE, "subject", "name", subject, "digest", sha256 (&r->artifact), "predicateType",
                     PROVENANCE_TYPE, "predicate", "buildDefinition", definition, "runDetails", run),
          out);
}

/* SHA-256 of one line that says what was asked for: doc/assay-bundle.5. */
static struct digest policy_digest (const struct verdict *v)
{
    BUF (policy);
    buf_addf (&policy, "agree=%u trusted=%u dissent=%u isolation=%u max=%u lineages=%u network=%u", v->policy.agree, v->policy.trusted, v->policy.dissent,
              v->policy.isolation, v->policy.max_replicas, v->policy.lineages, v->policy.network);
    return digest_of (policy.p, policy.len);
}

void verdict_json (const struct verdict *v, struct buf *out)
{
    char id[DIGEST_HEX];
    char *subject CLEANUP (free_ptr) = xasprintf ("%s/%s", digest_hex (&v->submission, id), v->step);
    char *verifier CLEANUP (free_ptr) = xasprintf (URN_VERIFIER "%s", v->verifier);
    char *resource CLEANUP (free_ptr) = xasprintf (URN_ARTIFACT "%s:%s", v->project, v->step);
    char level[32];
    bool passed = !strcmp (v->state, "trusted");
    struct digest pd = policy_digest (v);
    (void) snprintf (level, sizeof level, "ASSAY_OWNERS_%u", v->support);
    json_t *levels = passed ? json_pack ("[s, s]", "SLSA_BUILD_LEVEL_1", level) : json_pack ("[s]", "FAILED");
    json_t *counts = json_array (), *inputs = json_array ();
    for (size_t i = 0; i < v->count; i++) {
        const struct verdict_count *c = &v->counts[i];
        json_array_append_new (counts, json_pack ("{s:s, s:s, s:o, s:o, s:o, s:b, s:b}", "worker", c->worker, "owner", c->owner, "result", hex (&c->result), "outcome",
                                                  hex (&c->outcome), "time", when (c->time), "counted", (int) c->counted, "trusted", (int) c->trusted));
        char *uri CLEANUP (free_ptr) = xasprintf (URN_RESULT "%s", digest_hex (&c->result, id));
        json_array_append_new (inputs, json_pack ("{s:s, s:o}", "uri", uri, "digest", sha256 (&c->result)));
    }
    json_t *assay = json_pack ("{s:o, s:s, s:s, s:s, s:o, s:o, s:s, s:o, s:i, s:i, s:i, s:i, s:o, s:I, s:I, s:o, s:b, s:o}", "submission", hex (&v->submission), "step",
                               v->step, "project", v->project, "commit", v->commit, "repository", text (v->url), "ref", text (v->ref), "state", v->state, "outcome",
                               hex (&v->outcome), "support", (int) v->support, "against", (int) v->against, "votes", (int) v->votes, "exitStatus",
                               (int) v->exit_status, "reason", text (v->reason), "rosterSeq", (json_int_t) v->roster_seq, "index", (json_int_t) v->index, "previous",
                               hex (&v->previous), "final", (int) v->final, "counts", counts);
    json_object_set_new (assay, "policy", json_pack ("{s:i, s:i, s:i, s:i, s:i, s:i, s:i}", "agree", (int) v->policy.agree, "trusted", (int) v->policy.trusted, "dissent",
                                                     (int) v->policy.dissent, "isolation", (int) v->policy.isolation, "maxReplicas", (int) v->policy.max_replicas,
                                                     "lineages", (int) v->policy.lineages, "network", (int) v->policy.network));
    json_t *predicate = json_pack ("{s:{s:s}, s:o, s:s, s:{s:s, s:o}, s:o, s:s, s:o, s:s, s:o}", "verifier", "id", verifier, "timeVerified", when (v->time),
                                   "resourceUri", resource, "policy", "uri", URN_POLICY, "digest", sha256 (&pd), "inputAttestations", inputs, "verificationResult",
                                   passed ? "PASSED" : "FAILED", "verifiedLevels", levels, "slsaVersion", SLSA_VERSION, EXTENSION, assay);
    emit (json_pack ("{s:s, s:[{s:s, s:o}], s:s, s:o}", "_type", STATEMENT_TYPE, "subject", "name", subject, "digest", sha256 (&v->artifact), "predicateType", VSA_TYPE,
                     "predicate", predicate),
          out);
}

/* ---- parsing: the first thing that is wrong is named, and all later reads are skipped ---- */

struct reader {
    const char *wrong; /* the field at fault */
};

static json_t *get (struct reader *rd, json_t *o, const char *name)
{
    json_t *v = rd->wrong ? NULL : json_object_get (o, name);
    if (!v && !rd->wrong)
        rd->wrong = name;
    return v;
}

static json_t *object (struct reader *rd, json_t *o, const char *name)
{
    json_t *v = get (rd, o, name);
    if (v && !json_is_object (v))
        rd->wrong = name;
    return v;
}

static const char *string (struct reader *rd, json_t *o, const char *name, size_t max)
{
    json_t *v = get (rd, o, name);
    if (!json_is_string (v) || json_string_length (v) > max || strlen (json_string_value (v)) != json_string_length (v)) {
        rd->wrong = rd->wrong ? rd->wrong : name;
        return "";
    }
    return json_string_value (v);
}

static void copy (struct reader *rd, json_t *o, const char *name, char *out, size_t size)
{
    const char *s = string (rd, o, name, size - 1);
    memcpy (out, s, strlen (s) + 1);
}

static void digest_in (struct reader *rd, json_t *o, const char *name, struct digest *d)
{
    const char *s = string (rd, o, name, 64);
    if (!rd->wrong && !digest_parse (s, d))
        rd->wrong = name;
}

static void bin (struct reader *rd, json_t *o, const char *name, struct buf *out, size_t max)
{
    const char *s = string (rd, o, name, max * 4 / 3 + 8);
    if (!rd->wrong && (!base64_decode (bytes_str (s), out) || out->len > max))
        rd->wrong = name;
}

static json_int_t number (struct reader *rd, json_t *o, const char *name, json_int_t max)
{
    json_t *v = get (rd, o, name);
    json_int_t n = json_integer_value (v);
    if (!json_is_integer (v) || n < 0 || n > max) {
        rd->wrong = rd->wrong ? rd->wrong : name;
        return 0;
    }
    return n;
}

static bool boolean (struct reader *rd, json_t *o, const char *name)
{
    json_t *v = get (rd, o, name);
    if (!json_is_boolean (v))
        rd->wrong = rd->wrong ? rd->wrong : name;
    return json_is_true (v);
}

static int64_t time_in (struct reader *rd, json_t *o, const char *name)
{
    int64_t us = 0;
    const char *s = string (rd, o, name, 40);
    if (!rd->wrong && (*s < '0' || *s > '9' || !time_parse (s, &us)))
        rd->wrong = name;
    return us;
}

static void constant (struct reader *rd, json_t *o, const char *name, const char *want)
{
    if (strcmp (string (rd, o, name, 1023), want) && !rd->wrong)
        rd->wrong = name;
}

static void same_digest (struct reader *rd, json_t *o, const char *name, const struct digest *want)
{
    struct digest d = { { 0 } };
    digest_in (rd, object (rd, o, "digest"), "sha256", &d);
    if (!rd->wrong && !digest_eq (&d, want))
        rd->wrong = name;
}

/* What a result says for other tools: it must be what it says to us. */
static void dependencies_in (struct reader *rd, json_t *list, const struct result *r)
{
    static const char *const name = "resolvedDependencies";
    if (!rd->wrong && (!json_is_array (list) || json_array_size (list) != 3 + r->input_count))
        rd->wrong = name;
    json_t *source = json_array_get (list, 0);
    constant (rd, source, "uri", r->url);
    constant (rd, object (rd, source, "digest"), "gitCommit", r->commit);
    for (size_t i = 1; !rd->wrong && i < json_array_size (list); i++) {
        json_t *o = json_array_get (list, i);
        constant (rd, o, "name", i == 1 ? "image" : i == 2 ? "recipe" : "input");
        same_digest (rd, o, name, i == 1 ? &r->image : i == 2 ? &r->recipe : &r->inputs[i - 3]);
    }
}

static bool commit_valid (const char *s)
{
    size_t n = strlen (s);
    return (n == 40 || n == 64) && strspn (s, "0123456789abcdef") == n;
}

static bool state_valid (const char *s)
{
    static const char *const known[] = { "pending", "provisional", "trusted", "failed", "disputed", "unreproducible", "unsatisfiable", "cancelled", "expired" };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strcmp (s, known[i]))
            return true;
    return false;
}

/* The statement's frame: type, one subject with one SHA-256, the predicate. */
static json_t *open_statement (struct reader *rd, struct bytes raw, const char *predicate_type, struct digest *subject, char name[192], json_t **root, struct err *e)
{
    json_error_t je;
    if (raw.len > STATEMENT_MAX) {
        err_code (e, EC_OVERSIZED, "a statement of %zu bytes (at most %u)", raw.len, STATEMENT_MAX);
        return NULL;
    }
    *root = raw.len ? json_loadb ((const char *) raw.p, raw.len, JSON_REJECT_DUPLICATES, &je) : NULL;
    if (!*root) {
        err_code (e, EC_MALFORMED, "a statement that is not JSON%s%s", raw.len ? ": " : "", raw.len ? je.text : "");
        return NULL;
    }
    constant (rd, *root, "_type", STATEMENT_TYPE);
    constant (rd, *root, "predicateType", predicate_type);
    json_t *list = get (rd, *root, "subject"), *one = json_array_get (list, 0);
    if (!json_is_array (list) || json_array_size (list) != 1)
        rd->wrong = rd->wrong ? rd->wrong : "subject";
    copy (rd, one, "name", name, 192);
    digest_in (rd, object (rd, one, "digest"), "sha256", subject);
    return object (rd, *root, "predicate");
}

static void subject_names (struct reader *rd, const char *name, const struct digest *submission, const char *step)
{
    char want[192], id[DIGEST_HEX];
    (void) snprintf (want, sizeof want, "%s/%s", digest_hex (submission, id), step);
    if (!rd->wrong && strcmp (want, name))
        rd->wrong = "subject.name";
}

static int finish (struct reader *rd, json_t *root, const char *what, struct err *e)
{
    json_decref (root);
    return rd->wrong ? err_code (e, EC_MALFORMED, "%s: \"%s\" is missing, of the wrong type or out of bounds", what, rd->wrong) : 0;
}

int result_parse (struct bytes json, struct result *r, struct err *e)
{
    struct reader rd = { NULL };
    json_t *root = NULL;
    char subject[192] = "", isolation[16] = "", network[16] = "", builder[128] = "", lease[DIGEST_HEX];
    memset (r, 0, sizeof *r);
    json_t *predicate = open_statement (&rd, json, PROVENANCE_TYPE, &r->artifact, subject, &root, e);
    if (!root)
        return -1;
    json_t *definition = object (&rd, predicate, "buildDefinition"), *run = object (&rd, predicate, "runDetails");
    json_t *x = object (&rd, definition, "externalParameters"), *in = object (&rd, definition, "internalParameters"), *meta = object (&rd, run, "metadata");
    constant (&rd, definition, "buildType", BUILD_TYPE);
    digest_in (&rd, x, "submission", &r->submission);
    copy (&rd, x, "step", r->step, sizeof r->step);
    copy (&rd, x, "project", r->project, sizeof r->project);
    copy (&rd, x, "commit", r->commit, sizeof r->commit);
    digest_in (&rd, x, "recipe", &r->recipe);
    digest_in (&rd, x, "image", &r->image);
    r->url = xstrdup (string (&rd, x, "repository", 1023));
    r->ref = xstrdup (string (&rd, x, "ref", 255));
    bin (&rd, in, "lease", &r->lease, 8192);
    bin (&rd, in, "receipt", &r->receipt, 4096);
    digest_in (&rd, in, "leaseId", &r->lease_id);
    copy (&rd, in, "worker", r->worker, sizeof r->worker);
    copy (&rd, in, "owner", r->owner, sizeof r->owner);
    copy (&rd, in, "isolation", isolation, sizeof isolation);
    copy (&rd, in, "network", network, sizeof network);
    copy (&rd, in, "accelerator", r->accelerator, sizeof r->accelerator);
    r->host = xstrdup (string (&rd, in, "host", 4096));
    r->note = xstrdup (string (&rd, in, "note", 65536));
    json_t *inputs = get (&rd, in, "inputs");
    size_t n = json_array_size (inputs);
    if (!json_is_array (inputs) || n > sizeof r->inputs / sizeof *r->inputs)
        rd.wrong = rd.wrong ? rd.wrong : "inputs";
    for (size_t i = 0; !rd.wrong && i < n; i++) {
        const char *s = json_string_value (json_array_get (inputs, i));
        if (!s || !digest_parse (s, &r->inputs[i]))
            rd.wrong = "inputs";
        r->input_count = i + 1;
    }
    json_t *openings = json_object_get (in, "openings");
    if (openings && (!json_is_array (openings) || json_array_size (openings) != r->input_count))
        rd.wrong = rd.wrong ? rd.wrong : "openings";
    for (size_t i = 0; !rd.wrong && openings && i < r->input_count; i++) {
        const char *s = json_string_value (json_array_get (openings, i));
        if (!s || (*s && !digest_parse (s, &r->openings[i])))
            rd.wrong = "openings";
    }
    if (!rd.wrong && json_object_get (in, "link")) {
        BUF (link);
        bin (&rd, in, "link", &link, sizeof r->link);
        if (!rd.wrong && link.len != sizeof r->link)
            rd.wrong = "link";
        if (!rd.wrong) {
            memcpy (r->link, link.p, sizeof r->link);
            r->linked = true;
        }
    }
    dependencies_in (&rd, get (&rd, definition, "resolvedDependencies"), r);
    json_t *by = get (&rd, run, "byproducts"), *outcome = json_array_get (by, 0);
    struct digest claimed = { { 0 } };
    digest_in (&rd, object (&rd, outcome, "digest"), "sha256", &claimed);
    r->exit_status = (unsigned) number (&rd, object (&rd, outcome, "annotations"), "exitStatus", 255);
    constant (&rd, meta, "invocationId", digest_hex (&r->lease_id, lease));
    r->started = time_in (&rd, meta, "startedOn");
    r->finished = time_in (&rd, meta, "finishedOn");
    copy (&rd, object (&rd, run, "builder"), "id", builder, sizeof builder);
    r->isolation = isolation_parse (isolation);
    r->network = network_parse (network);
    if (!rd.wrong) {
        struct digest real = outcome_digest (r->exit_status, &r->artifact);
        if (!name_valid (r->step) || !name_valid (r->worker) || !name_valid (r->owner))
            rd.wrong = "step, worker or owner";
        else if (!project_valid (r->project))
            rd.wrong = "project";
        else if (!commit_valid (r->commit))
            rd.wrong = "commit";
        else if (!r->isolation)
            rd.wrong = "isolation";
        else if (!r->network)
            rd.wrong = "network";
        else if (!digest_eq (&real, &claimed))
            rd.wrong = "outcome";
        else if (strncmp (builder, URN_WORKER, strlen (URN_WORKER)) || strcmp (builder + strlen (URN_WORKER), r->worker))
            rd.wrong = "builder.id";
    }
    subject_names (&rd, subject, &r->submission, r->step);
    if (finish (&rd, root, "result", e) == 0)
        return 0;
    result_release (r);
    return -1;
}

static void counts_in (struct reader *rd, json_t *list, struct verdict *v)
{
    size_t n = json_array_size (list);
    if (!json_is_array (list) || n > COUNTS_MAX)
        rd->wrong = rd->wrong ? rd->wrong : "counts";
    if (rd->wrong || n == 0)
        return;
    v->counts = xcalloc (n, sizeof *v->counts);
    v->count = n;
    for (size_t i = 0; i < n && !rd->wrong; i++) {
        struct verdict_count *c = &v->counts[i];
        json_t *o = json_array_get (list, i);
        copy (rd, o, "worker", c->worker, sizeof c->worker);
        copy (rd, o, "owner", c->owner, sizeof c->owner);
        digest_in (rd, o, "result", &c->result);
        digest_in (rd, o, "outcome", &c->outcome);
        c->counted = boolean (rd, o, "counted");
        c->time = time_in (rd, o, "time");
        c->trusted = boolean (rd, o, "trusted");
    }
}

/* The fields of the VSA that other tools read. */
static void summary_in (struct reader *rd, json_t *predicate, const struct verdict *v)
{
    char resource[256], hex[DIGEST_HEX];
    struct digest policy = policy_digest (v);
    json_t *p = object (rd, predicate, "policy"), *list = get (rd, predicate, "inputAttestations");
    (void) snprintf (resource, sizeof resource, URN_ARTIFACT "%s:%s", v->project, v->step);
    constant (rd, predicate, "resourceUri", resource);
    constant (rd, p, "uri", URN_POLICY);
    same_digest (rd, p, "policy.digest", &policy);
    if (!rd->wrong && (!json_is_array (list) || json_array_size (list) != v->count))
        rd->wrong = "inputAttestations";
    for (size_t i = 0; !rd->wrong && i < v->count; i++) {
        json_t *o = json_array_get (list, i);
        (void) snprintf (resource, sizeof resource, URN_RESULT "%s", digest_hex (&v->counts[i].result, hex));
        constant (rd, o, "uri", resource);
        same_digest (rd, o, "inputAttestations", &v->counts[i].result);
    }
    json_t *levels = get (rd, predicate, "verifiedLevels");
    const char *level = json_string_value (json_array_get (levels, 0));
    if (!rd->wrong && (!level || !strcmp (level, "FAILED") != (strcmp (v->state, "trusted") != 0)))
        rd->wrong = "verifiedLevels";
}

int verdict_parse (struct bytes json, struct verdict *v, struct err *e)
{
    struct reader rd = { NULL };
    json_t *root = NULL;
    char subject[192] = "", verifier[128] = "", passed[16] = "";
    memset (v, 0, sizeof *v);
    json_t *predicate = open_statement (&rd, json, VSA_TYPE, &v->artifact, subject, &root, e);
    if (!root)
        return -1;
    json_t *a = object (&rd, predicate, EXTENSION), *p = object (&rd, a, "policy");
    copy (&rd, object (&rd, predicate, "verifier"), "id", verifier, sizeof verifier);
    v->time = time_in (&rd, predicate, "timeVerified");
    copy (&rd, predicate, "verificationResult", passed, sizeof passed);
    digest_in (&rd, a, "submission", &v->submission);
    copy (&rd, a, "step", v->step, sizeof v->step);
    copy (&rd, a, "project", v->project, sizeof v->project);
    copy (&rd, a, "commit", v->commit, sizeof v->commit);
    v->url = xstrdup (string (&rd, a, "repository", 1023));
    v->ref = xstrdup (string (&rd, a, "ref", 255));
    copy (&rd, a, "state", v->state, sizeof v->state);
    digest_in (&rd, a, "outcome", &v->outcome);
    v->support = (unsigned) number (&rd, a, "support", 100000);
    v->against = (unsigned) number (&rd, a, "against", 100000);
    v->votes = (unsigned) number (&rd, a, "votes", 100000);
    v->exit_status = (unsigned) number (&rd, a, "exitStatus", 255);
    v->reason = xstrdup (string (&rd, a, "reason", 2048));
    v->roster_seq = (uint64_t) number (&rd, a, "rosterSeq", INT64_MAX);
    v->index = (uint64_t) number (&rd, a, "index", INT64_MAX);
    digest_in (&rd, a, "previous", &v->previous);
    v->final = boolean (&rd, a, "final");
    v->policy.agree = (unsigned) number (&rd, p, "agree", 1000000);
    v->policy.trusted = (unsigned) number (&rd, p, "trusted", 2);
    v->policy.dissent = (unsigned) number (&rd, p, "dissent", 2);
    v->policy.isolation = (unsigned) number (&rd, p, "isolation", 7);
    v->policy.max_replicas = (unsigned) number (&rd, p, "maxReplicas", 1000000);
    v->policy.lineages = (unsigned) number (&rd, p, "lineages", 1000);
    v->policy.network = (unsigned) number (&rd, p, "network", 2);
    counts_in (&rd, get (&rd, a, "counts"), v);
    if (!rd.wrong) {
        bool trusted = !strcmp (v->state, "trusted");
        if (strncmp (verifier, URN_VERIFIER, strlen (URN_VERIFIER)) || !name_valid (verifier + strlen (URN_VERIFIER)))
            rd.wrong = "verifier.id";
        else
            (void) snprintf (v->verifier, sizeof v->verifier, "%.63s", verifier + strlen (URN_VERIFIER));
        if (!name_valid (v->step) || !project_valid (v->project))
            rd.wrong = "step or project";
        else if (*v->commit && !commit_valid (v->commit))
            rd.wrong = "commit";
        else if (!state_valid (v->state))
            rd.wrong = "state";
        else if (strcmp (passed, trusted ? "PASSED" : "FAILED"))
            rd.wrong = "verificationResult";
    }
    summary_in (&rd, predicate, v);
    subject_names (&rd, subject, &v->submission, v->step);
    if (finish (&rd, root, "verdict", e) == 0)
        return 0;
    verdict_release (v);
    return -1;
}
