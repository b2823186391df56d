/* examples.c: the examples of proto/PROTOCOL.md, made by the code that they describe, with fixed keys and times.
 *
 * Prints Markdown; tests/check-repo.sh compares it with what stands in the document. Everything is deterministic but sealing,
 * which draws a key of its own: one sealed box was kept, and is opened here. */
#include <assert.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/statement.h"
#include "store/manifest.h"

#define SEALED "bcbd9ff4e7bc05404f7039ede617f022ae083bbd0666551cb0928364caef7502e531ec7965f859c7a24fd99d904ef1c17bf15cfef543995b45dd09c4d21da893bb2e136b21e49f464dfe"
#define NOW UINT64_C (1700000000000000)
#define MINUTE UINT64_C (60000000)

static struct sign_key key (uint8_t n)
{
    static uint8_t secret[8][64];
    struct sign_key k = { { 0 }, secret[n] };
    uint8_t seed[32];
    memset (seed, n, sizeof seed);
    crypto_sign_seed_keypair (k.pub, k.sec, seed);
    return k;
}
enum { ROOT = 1, SUBMITTER, BROKER, WORKER, STORE, VERIFIER };

static struct digest same (uint8_t n)
{
    struct digest d;
    memset (d.b, n, sizeof d.b);
    return d;
}

static struct digest curve (uint8_t n)
{
    struct digest secret = same (n), pub;
    crypto_scalarmult_base (pub.b, secret.b);
    return pub;
}

static void hex (struct bytes b)
{
    puts ("\n```");
    for (size_t i = 0; i < b.len; i++)
        printf ("%02x%s", b.p[i], i % 48 == 47 || i + 1 == b.len ? "\n" : "");
    puts ("```");
}

static void line (const char *what, const void *p, size_t len)
{
    char text[200];
    hex_encode (p, len, text);
    printf ("- %s: `%s`\n", what, text);
}

static struct digest signed_as (const char *type, struct msg *body, uint8_t who, struct buf *envelope)
{
    struct sign_key k = key (who);
    struct envelope v;
    struct digest id;
    BUF (raw);
    msg_encode (body, &raw);
    envelope_sign (type, buf_bytes (&raw), &k, envelope);
    if (envelope_open (buf_bytes (envelope), type, &v, NULL) == -1 || envelope_check (&v, k.pub, NULL) == -1)
        abort ();
    id = envelope_id (&v);
    envelope_release (&v);
    return id;
}

static void show (const char *title, struct msg *m)
{
    BUF (raw);
    msg_encode (m, &raw);
    printf ("\n%s\n", title);
    hex (buf_bytes (&raw));
}

static void keys (void)
{
    static const char *const who[] = { "", "root (seed 01…)", "submitter `alice` (02…)", "broker `broker` (03…)", "worker `w1` (04…)", "store `store` (05…)", "verifier `verifier` (06…)" };
    struct digest seal = curve (0x16);
    puts ("\nSigning keys are made from a seed of 32 equal bytes. Public keys:\n");
    for (uint8_t i = ROOT; i <= VERIFIER; i++) {
        struct sign_key k = key (i);
        line (who[i], k.pub, sizeof k.pub);
    }
    line ("verifier's sealing key (secret: 32 times 16)", seal.b, sizeof seal.b);
}

static void frames (void)
{
    struct msg hello = MSG_INIT (hello, 1), ok = MSG_INIT (ok, 7), busy = MSG_INIT (error, 8), ready = MSG_INIT (ready, 0);
    struct bytes projects[] = { bytes_str ("*") };
    hello.u.hello.min_version = hello.u.hello.max_version = PROTO_VERSION;
    hello.u.hello.software = bytes_str ("example");
    busy.u.error.code = bytes_str ("busy");
    busy.u.error.text = bytes_str ("the queue is full");
    busy.u.error.delay_ms = 200;
    ready.u.ready.credit = 2;
    ready.u.ready.isolation = ISOLATION_BWRAP;
    ready.u.ready.network = NETWORK_NONE;
    ready.u.ready.cpus = 2;
    ready.u.ready.memory = UINT64_C (2) << 30;
    ready.u.ready.disk = UINT64_C (4) << 30;
    ready.u.ready.projects = (struct bytes_list){ projects, 1 };
    puts ("\n### Frames");
    show ("`hello`, request id 1, versions 1 to 1, software `example`:", &hello);
    show ("`ok` to request 7:", &ok);
    show ("`error` to request 8: `busy`, try again in 200 ms:", &busy);
    show ("`ready`: two steps, `bwrap`, 2 CPUs, 2 GiB, 4 GiB, every project:", &ready);
}

static void roster (void)
{
    struct msg m = MSG_INIT (roster_entry, 0), h = MSG_INIT (roster_head, 0), proof = MSG_INIT (enrol_proof, 0);
    struct msg_roster_entry *b = &m.u.roster_entry;
    struct sign_key w = key (WORKER);
    struct bytes projects[] = { bytes_str ("*") }, labels[] = { bytes_str ("arch=amd64") };
    BUF (entry);
    BUF (head);
    BUF (signed_proof);
    b->seq = 1;
    b->time = NOW;
    b->kind = ENTRY_ENROL;
    b->by = bytes_str ("admin");
    b->name = bytes_str ("w1");
    b->roles = ROLE_WORKER;
    b->owner = bytes_str ("owner-1");
    memcpy (b->sign_key.b, w.pub, 32);
    b->transport_key = curve (0x24);
    b->seal_key = curve (0x14);
    b->trust = 1;
    b->projects = (struct bytes_list){ projects, 1 };
    b->labels = (struct bytes_list){ labels, 1 };
    signed_as (TYPE_ROSTER, &m, ROOT, &entry);
    puts ("\n### Roster\n\nThe first entry enrols the worker `w1` of `owner-1`, trusted, for every project; the envelope:");
    hex (buf_bytes (&entry));
    h.u.roster_head.seq = 1;
    h.u.roster_head.last = digest_of (entry.p, entry.len);
    h.u.roster_head.time = NOW + MINUTE;
    signed_as (TYPE_HEAD, &h, ROOT, &head);
    puts ("\nThe head that follows it (`last` is the SHA-256 of the envelope above, and would be `prev` of entry 2):");
    hex (buf_bytes (&head));
    proof.u.enrol_proof.token = curve (0x33);
    proof.u.enrol_proof.sign_key = b->sign_key;
    proof.u.enrol_proof.transport_key = b->transport_key;
    proof.u.enrol_proof.seal_key = b->seal_key;
    signed_as (TYPE_ENROL, &proof, WORKER, &signed_proof);
    puts ("\nThe `proof` of an `enrol` with the same keys, under a token whose transport secret is 32 times 33:");
    hex (buf_bytes (&signed_proof));
}

struct job {
    struct buf submission, lease, receipt;
    struct digest submission_id, lease_id, recipe, image, artifact;
};

static void job_release (struct job *j)
{
    buf_release (&j->submission);
    buf_release (&j->lease);
    buf_release (&j->receipt);
}

static void submission (struct job *j)
{
    struct msg step = MSG_INIT (step, 0), m = MSG_INIT (submission_body, 0);
    struct msg_submission_body *b = &m.u.submission_body;
    struct bytes artifacts[] = { bytes_str ("hello") };
    BUF (raw);
    j->image = same (0xaa);
    j->recipe = digest_of ("image: …\n", strlen ("image: …\n"));
    step.u.step.name = bytes_str ("build");
    step.u.step.run = bytes_str ("make\n");
    step.u.step.image = j->image;
    step.u.step.artifacts = (struct bytes_list){ artifacts, 1 };
    step.u.step.agree = 2;
    step.u.step.time_ms = 1200000;
    msg_encode (&step, &raw);
    show ("The body `step`: name `build`, run `make` and a newline, one artifact, `agree: 2`, 20 minutes:", &step);
    struct bytes steps[] = { buf_bytes (&raw) };
    b->submitter = bytes_str ("alice");
    b->project = bytes_str ("hello");
    b->url = bytes_str ("https://git.example/hello.git");
    b->commit = bytes_str ("0123456789abcdef0123456789abcdef01234567");
    b->ref = bytes_str ("refs/heads/main");
    b->recipe = j->recipe;
    b->steps = (struct bytes_list){ steps, 1 };
    b->source_date = 1699999990;
    b->issued = NOW;
    b->expires = NOW + 60 * MINUTE;
    b->nonce = same (0x5a);
    j->submission_id = signed_as (TYPE_SUBMISSION, &m, SUBMITTER, &j->submission);
    puts ("\nThe submission of that one step, signed by `alice`:");
    hex (buf_bytes (&j->submission));
    puts ("");
    line ("its id", j->submission_id.b, 32);
}

static void lease (struct job *j)
{
    struct msg m = MSG_INIT (lease_body, 0), ref = MSG_INIT (log, 0);
    struct msg_lease_body *b = &m.u.lease_body;
    b->broker = bytes_str ("broker");
    b->worker = bytes_str ("w1");
    b->owner = bytes_str ("owner-1");
    b->submission = j->submission_id;
    b->step = bytes_str ("build");
    b->project = bytes_str ("hello");
    b->ref = bytes_str ("refs/heads/main");
    b->image = j->image;
    b->max_bytes = UINT64_C (1) << 30;
    b->network = NETWORK_NONE;
    b->issued = NOW + 1000;
    b->expires = NOW + 30 * MINUTE;
    b->nonce = same (0x5b);
    j->lease_id = signed_as (TYPE_LEASE, &m, BROKER, &j->lease);
    puts ("\nA lease of it to `w1`, signed by `broker`:");
    hex (buf_bytes (&j->lease));
    puts ("");
    line ("its id", j->lease_id.b, 32);
    ref.u.log.lease = j->lease_id;
    ref.u.log.data = bytes_str ("cc -o hello hello.c\n");
    show ("The first `log` message under that lease:", &ref);
}

static void artifact (struct job *j)
{
    struct manifest m;
    struct msg r = MSG_INIT (receipt_body, 0);
    struct digest content = digest_of ("hello\n", 6), empty = manifest_empty (), id;
    BUF (raw);
    manifest_init (&m);
    if (manifest_add (&m, "doc", 'd', 0, NULL, NULL, NULL) == -1 || manifest_add (&m, "doc/hello", 'l', 0, NULL, "../hello", NULL) == -1
        || manifest_add (&m, "hello", 'x', 6, &content, NULL, NULL) == -1 || manifest_finish (&m, &raw, NULL) == -1)
        abort ();
    j->artifact = manifest_digest (buf_bytes (&raw));
    puts ("\nThe manifest of an executable `hello` of the six bytes `hello` and newline, a folder `doc`, and in it a link `hello` to `../hello`:");
    hex (buf_bytes (&raw));
    puts ("");
    line ("the artifact's digest", j->artifact.b, 32);
    line ("the digest of the artifact without entries", empty.b, 32);
    r.u.receipt_body.store = bytes_str ("store");
    r.u.receipt_body.lease = j->lease_id;
    r.u.receipt_body.artifact = j->artifact;
    r.u.receipt_body.bytes = manifest_bytes (&m);
    r.u.receipt_body.time = NOW + 2 * MINUTE;
    id = signed_as (TYPE_RECEIPT, &r, STORE, &j->receipt);
    puts ("\nThe store's receipt for it, under the lease above:");
    hex (buf_bytes (&j->receipt));
    puts ("");
    line ("its id", id.b, 32);
    manifest_release (&m);
}

static void text (const char *title, struct bytes b)
{
    printf ("\n%s\n\n```\n%.*s\n```\n", title, (int) b.len, (const char *) b.p);
}

static void result (const struct job *j, struct buf *envelope)
{
    struct sign_key w = key (WORKER);
    struct result r = { .submission = j->submission_id, .recipe = j->recipe, .image = j->image, .lease_id = j->lease_id, .step = "build", .project = "hello", .worker = "w1",
                        .owner = "owner-1", .commit = "0123456789abcdef0123456789abcdef01234567", .isolation = ISOLATION_BWRAP, .network = NETWORK_NONE, .artifact = j->artifact,
                        .started = (int64_t) (NOW + MINUTE), .finished = (int64_t) (NOW + 2 * MINUTE), .lease = j->lease, .receipt = j->receipt };
    struct result back;
    struct digest outcome = outcome_digest (0, &j->artifact);
    char url[] = "https://git.example/hello.git", ref[] = "refs/heads/main", host[] = "kernel=6.1.0 cpu=… driver=bwrap-0.8.0", note[] = "";
    BUF (json);
    r.url = url;
    r.ref = ref;
    r.host = host;
    r.note = note;
    result_json (&r, &json);
    if (result_parse (buf_bytes (&json), &back, NULL) == -1)
        abort ();
    result_release (&back);
    puts ("\n### Result\n");
    line ("outcome digest of exit status 0 and the artifact above", outcome.b, 32);
    text ("The result of `w1`, without white space as it is signed:", buf_bytes (&json));
    envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), &w, envelope);
    text ("Its DSSE envelope, which is sealed to the verifier:", buf_bytes (envelope));
}

static void sealed (void)
{
    struct digest secret = same (0x16), pub = curve (0x16);
    uint8_t box[(sizeof SEALED - 1) / 2];
    struct err e = ERR_INIT;
    BUF (plain);
    if (!hex_decode (SEALED, box, sizeof box) || seal_open (pub.b, secret.b, bytes_of (box, sizeof box), &plain, &e) == -1)
        abort ();
    printf ("\nA sealed box (`crypto_box_seal`) to the verifier's sealing key; it holds the %zu bytes `%s`:\n", plain.len, buf_str (&plain));
    hex (bytes_of (box, sizeof box));
}

static void verdict (const struct job *j, const struct buf *envelope)
{
    struct sign_key k = key (VERIFIER);
    struct verdict_count counts[2] = { { .worker = "w1", .owner = "owner-1", .counted = true, .trusted = true }, { .worker = "w2", .owner = "owner-2", .counted = true } };
    struct verdict v = { .submission = j->submission_id, .artifact = j->artifact, .step = "build", .project = "hello", .state = "trusted", .verifier = "verifier",
                         .commit = "0123456789abcdef0123456789abcdef01234567", .support = 2, .votes = 2, .roster_seq = 9, .index = 1, .time = (int64_t) (NOW + 3 * MINUTE),
                         .final = true, .counts = counts, .count = 2, .policy = { 2, 2, 2, ISOLATION_BWRAP, 5, 1, NETWORK_NONE } };
    struct verdict back;
    char url[] = "https://git.example/hello.git", ref[] = "refs/heads/main", reason[] = "2 owners agree (2 needed), a trusted worker among them";
    BUF (json);
    BUF (out);
    v.url = url;
    v.ref = ref;
    v.reason = reason;
    v.outcome = counts[0].outcome = counts[1].outcome = outcome_digest (0, &j->artifact);
    counts[0].result = digest_of (envelope->p, envelope->len);
    counts[1].result = same (0x77);
    verdict_json (&v, &json);
    if (verdict_parse (buf_bytes (&json), &back, NULL) == -1)
        abort ();
    verdict_release (&back);
    puts ("\n### Verdict");
    text ("Two owners agree, a trusted one among them:", buf_bytes (&json));
    envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), &k, &out);
    text ("Its DSSE envelope, as `verdict` messages, events and `bundle` carry it:", buf_bytes (&out));
}

int main (void)
{
    struct job CLEANUP (job_release) j = { .lease_id = { { 0 } } };
    BUF (envelope);
    if (sodium_init () == -1)
        return 1;
    keys ();
    frames ();
    roster ();
    puts ("\n### Submission, lease, artifact");
    submission (&j);
    lease (&j);
    artifact (&j);
    result (&j, &envelope);
    sealed ();
    verdict (&j, &envelope);
    return fflush (stdout) == EOF;
}
