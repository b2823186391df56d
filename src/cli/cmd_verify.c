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
#include "cli/cli.h"
#include "proto/statement.h"
#include "store/client.h"
#include "verifier/rule.h"

#define BUNDLE_MAX (64u << 20)
#define ROSTER_MAX (256u << 20)
#define RESULTS_MAX 256u

struct proof {
    struct roster *roster;
    struct verdict verdict;
    bool have_verdict;
    struct result results[RESULTS_MAX];
    struct digest ids[RESULTS_MAX];
    size_t n;
};

static void proof_release (struct proof *p)
{
    roster_destroy (&p->roster);
    verdict_release (&p->verdict);
    for (size_t i = 0; i < p->n; i++)
        result_release (&p->results[i]);
}

/* The key itself, a file that holds it, or a realm.ini. */
static int root_key (const char *text, uint8_t key[32], struct err *e)
{
    BUF (file);
    if (hex_decode (text, key, 32))
        return 0;
    if (file_read (text, 65536, &file, e) == -1)
        return err_wrap (e, "--root (64 hex digits, or a file that holds them)");
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

static const struct principal *signer (const struct proof *p, const char *name, unsigned role, const char *what, const struct envelope *v, int64_t time, struct err *e)
{
    const struct principal *who = roster_find (p->roster, name);
    if (!who || !(who->roles & role))
        err_code (e, EC_UNKNOWN_KEY, "%s: signed by \"%.64s\", which has not that role in the roster", what, name);
    else if (!principal_good_at (who, time))
        err_code (e, EC_REVOKED, "%s: %s was not good then (revoked since)", what, who->name);
    else if (envelope_check (v, who->sign_key, e) == -1)
        err_wrap (e, "%s of %s", what, who->name);
    else
        return who;
    return NULL;
}

/* What a worker's result carries of others: the broker's lease, and the store's receipt. */
static int check_carried (const struct proof *p, const struct result *r, struct err *e)
{
    struct envelope v = { 0 };
    struct msg m;
    char name[64];
    int rc = envelope_open (buf_bytes (&r->lease), TYPE_LEASE, &v, e);
    if (rc == 0 && (rc = msg_decode_as (v.body, MSG_lease_body, &m, e)) == 0) {
        const struct msg_lease_body *b = &m.u.lease_body;
        struct digest id = envelope_id (&v);
        if (!bytes_copy (b->broker, name, sizeof name) || !signer (p, name, ROLE_BROKER, "lease", &v, (int64_t) b->issued, e))
            rc = -1;
        else if (!digest_eq (&id, &r->lease_id) || !bytes_eqs (b->worker, r->worker) || !digest_eq (&b->submission, &r->submission) || !bytes_eqs (b->step, r->step))
            rc = err_code (e, EC_CONFLICT, "lease: it is another worker's, or of another step");
        msg_release (&m);
    }
    envelope_release (&v);
    if (rc == -1 || r->receipt.len == 0)
        return rc;
    memset (&v, 0, sizeof v);
    rc = envelope_open (buf_bytes (&r->receipt), TYPE_RECEIPT, &v, e);
    if (rc == 0 && (rc = msg_decode_as (v.body, MSG_receipt_body, &m, e)) == 0) {
        const struct msg_receipt_body *b = &m.u.receipt_body;
        if (!bytes_copy (b->store, name, sizeof name) || !signer (p, name, ROLE_STORE, "receipt", &v, (int64_t) b->time, e))
            rc = -1;
        else if (!digest_eq (&b->lease, &r->lease_id) || !digest_eq (&b->artifact, &r->artifact))
            rc = err_code (e, EC_CONFLICT, "receipt: it is for another lease or artifact");
        msg_release (&m);
    }
    envelope_release (&v);
    return rc;
}

static int take_statement (struct proof *p, struct bytes line, struct err *e)
{
    struct envelope v = { 0 };
    struct err other = ERR_INIT;
    struct verdict verdict = { 0 };
    int rc = envelope_open_json (line, TYPE_INTOTO, &v, e);
    if (rc == -1)
        return -1;
    if (verdict_parse (v.body, &verdict, &other) == 0) {
        if (p->have_verdict)
            rc = err_set (e, ERR_USAGE, "two verdicts (one bundle at a time)");
        else if (!signer (p, verdict.verifier, ROLE_VERIFIER, "verdict", &v, verdict.time, e))
            rc = -1;
        if (rc == 0) {
            p->verdict = verdict;
            p->have_verdict = true;
        } else
            verdict_release (&verdict);
    } else if (p->n == RESULTS_MAX)
        rc = err_code (e, EC_OVERSIZED, "more than %u results", RESULTS_MAX);
    else {
        struct result *r = &p->results[p->n];
        rc = result_parse (v.body, r, e);
        if (rc == -1)
            err_wrap (e, "neither a verdict (%.200s) nor a result", other.msg);
        else if (!signer (p, r->worker, ROLE_WORKER, "result", &v, r->finished, e) || check_carried (p, r, e) == -1) {
            err_wrap (e, "result of %s", r->worker);
            result_release (r);
            rc = -1;
        } else
            p->ids[p->n++] = digest_of (line.p, line.len);
    }
    envelope_release (&v);
    return rc;
}

static int take_bundle (struct proof *p, struct bytes file, const char *name, struct err *e)
{
    size_t number = 0;
    for (size_t at = 0; at < file.len;) {
        const uint8_t *end = memchr (file.p + at, '\n', file.len - at);
        size_t len = end ? (size_t) (end - file.p) - at : file.len - at;
        number++;
        if (len && take_statement (p, bytes_of (file.p + at, len), e) == -1)
            return err_wrap (e, "%s:%zu", name, number);
        at += len + 1;
    }
    return 0;
}

/* The verdict once more, from the results. */
static int recompute (const struct proof *p, struct decision *d, struct err *e)
{
    const struct verdict *v = &p->verdict;
    struct vote votes[RESULTS_MAX];
    size_t n = 0;
    struct policy policy = { v->policy.agree, v->policy.trusted, v->policy.dissent, v->policy.isolation, v->policy.max_replicas, v->policy.lineages, v->policy.network }, floor;
    if (policy_check (&policy, e) == -1)
        return -1;
    floor = policy;
    struct policy own = roster_policy (p->roster, bytes_str (v->project));
    own.max_replicas = 0;
    policy_merge (&floor, &own);
    if (memcmp (&floor, &policy, sizeof floor))
        return err_set (e, ERR_UNTRUSTED, "the verdict was made under a weaker policy than the roster now has for project %s", v->project);
    for (size_t i = 0; i < v->count; i++) {
        const struct result *r = NULL;
        for (size_t j = 0; j < p->n && !r; j++)
            if (digest_eq (&p->ids[j], &v->counts[i].result))
                r = &p->results[j];
        if (!r)
            return err_set (e, ERR_DAMAGED, "the result of %s, which the verdict looked at, is not in the bundle", v->counts[i].worker);
        if (!digest_eq (&r->submission, &v->submission) || strcmp (r->step, v->step) || strcmp (r->project, v->project) || strcmp (r->commit, v->commit))
            return err_set (e, ERR_DAMAGED, "the result of %s is of another step than the verdict", r->worker);
        if (!policy_isolation_ok (policy.isolation, r->isolation))
            return err_set (e, ERR_DAMAGED, "the result of %s was made with isolation %s, weaker than the policy's", r->worker, isolation_name (r->isolation));
        const struct principal *who = roster_find (p->roster, r->worker);
        votes[n++] = (struct vote){ .worker = who->name, .owner = who->owner, .trusted = who->trusted, .outcome = outcome_digest (r->exit_status, &r->artifact), .image = r->image,
                                    .success = r->exit_status == 0 };
    }
    struct rule_input in = { .policy = policy, .votes = votes, .vote_count = n, .owners = n, .trusted_owners = n, .images = policy.lineages, .inputs_trusted = true };
    rule_decide (&in, d);
    return 0;
}

static int judge (const struct proof *p, struct err *e)
{
    const struct verdict *v = &p->verdict;
    struct decision d;
    struct digest artifact;
    if (strcmp (v->state, "trusted"))
        return err_set (e, strcmp (v->state, "failed") ? ERR_UNTRUSTED : ERR_FAILED, "the verdict is \"%s\": %.300s", v->state, v->reason ? v->reason : "");
    if (recompute (p, &d, e) == -1)
        return -1;
    if (d.state != STATE_TRUSTED || !digest_eq (&d.outcome, &v->outcome))
        return err_set (e, ERR_DAMAGED, "the results do not give this verdict: by the rule they are \"%s\" (%s)", step_state_name (d.state), d.reason);
    artifact = outcome_digest (v->exit_status, &v->artifact);
    if (!digest_eq (&artifact, &v->outcome))
        return err_set (e, ERR_DAMAGED, "the verdict's artifact is not the one that the owners agreed on");
    return 0;
}

static int check_artifact (const struct verdict *v, const char *path, struct err *e)
{
    BUF (manifest);
    int fd CLEANUP (fd_close) = open (path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd == -1)
        return err_errno (e, "%s", path);
    if (manifest_scan (fd, NULL, NULL, &manifest, e) == -1)
        return err_wrap (e, "%s", path);
    struct digest have = manifest_digest (buf_bytes (&manifest));
    char a[DIGEST_HEX], b[DIGEST_HEX];
    if (!digest_eq (&have, &v->artifact))
        return err_set (e, ERR_DAMAGED, "%s: it is sha256:%s, and the verdict is about sha256:%s (changed, or another artifact)", path, digest_hex (&have, a),
                        digest_hex (&v->artifact, b));
    return 0;
}

/* Folders are artifacts, text that begins with a brace is a bundle, the rest a roster: so that order does not matter. */
static int read_files (struct proof *p, const uint8_t root[32], char **files, int n, const char **artifact, struct err *e)
{
    *artifact = NULL;
    p->roster = roster_new (root);
    for (int pass = 0; pass < 2; pass++) /* the roster first: it has the keys */
        for (int i = 0; i < n; i++) {
            struct stat st;
            BUF (file);
            if (stat (files[i], &st) == -1)
                return err_errno (e, "%s", files[i]);
            if (S_ISDIR (st.st_mode)) {
                if (pass == 0 && *artifact)
                    return err_set (e, ERR_USAGE, "%s: a second artifact (one at a time)", files[i]);
                *artifact = files[i];
                continue;
            }
            if (file_read (files[i], st.st_size > BUNDLE_MAX ? ROSTER_MAX : BUNDLE_MAX, &file, e) == -1)
                return -1;
            bool bundle = file.len && file.p[0] == '{';
            if (pass == 0 && !bundle && (roster_seq (p->roster) ? err_set (e, ERR_USAGE, "%s: a second roster", files[i]) : realm_roster_parse (buf_bytes (&file), p->roster, e)) == -1)
                return err_wrap (e, "%s", files[i]);
            if (pass == 1 && bundle && take_bundle (p, buf_bytes (&file), files[i], e) == -1)
                return -1;
        }
    if (roster_seq (p->roster) == 0)
        return err_set (e, ERR_USAGE, "no roster among the files (`assay attest --roster FILE` writes one)");
    if (!roster_complete (p->roster))
        return err_set (e, ERR_DAMAGED, "the roster is truncated: its signed head names other entries");
    if (!p->have_verdict)
        return err_set (e, ERR_USAGE, "no verdict among the files (`assay attest ID/STEP -o FILE` writes a bundle)");
    return 0;
}

static void report (struct cli *c, const struct proof *p, const char *artifact)
{
    const struct verdict *v = &p->verdict;
    char hex[DIGEST_HEX], when[32];
    time_format (roster_head_time (p->roster), when);
    printf ("%-9s %zu principals, head signed by the root key, %s\n", "roster", roster_count (p->roster), when);
    for (size_t i = 0; i < p->n; i++)
        printf ("%-9s %s of %s, signed; its lease and receipt hold\n", "result", p->results[i].worker, p->results[i].owner);
    printf ("%-9s %s %s at %.12s, by %s: %u of %u owners; computed again from %zu results: the same\n", "verdict", v->project, v->step, v->commit, v->verifier, v->support,
            v->policy.agree, v->count);
    if (artifact)
        printf ("%-9s %s is sha256:%s\n", "artifact", artifact, digest_hex (&v->artifact, hex));
    printf ("%s%s%s\n", cli_colour (c, "trusted"), "trusted", cli_reset (c));
}

int cmd_verify (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { "root", required_argument, NULL, 'r' }, { NULL, 0, NULL, 0 } };
    struct proof *p = xcalloc (1, sizeof *p);
    struct err e = ERR_INIT;
    const char *root = NULL, *artifact = NULL;
    uint8_t key[32];
    int status;
    for (int o; (o = getopt_long (argc, argv, "", options, NULL)) != -1;)
        if (o == 'r')
            root = optarg;
        else {
            free (p);
            return ERR_USAGE;
        }
    if (!root || optind == argc)
        status = cli_usage ("verify", "--root KEY and files are needed (assay verify --root KEY ROSTER BUNDLE [ARTIFACT-FOLDER])");
    else if (root_key (root, key, &e) == -1 || read_files (p, key, argv + optind, argc - optind, &artifact, &e) == -1 || judge (p, &e) == -1
             || (artifact && check_artifact (&p->verdict, artifact, &e) == -1))
        status = cli_fail ("verify", &e);
    else {
        report (c, p, artifact);
        status = 0;
    }
    proof_release (p);
    free (p);
    return status;
}
