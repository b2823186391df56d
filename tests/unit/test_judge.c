/* From events to verdicts: every check of a result broken once; all orders of arrival; a restart at every position. */
#include "verifier/judge.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "store/manifest.h"
#include "verifier/intake.h"
#include "verifier/recount.h"
#include "verifier/rule.h"

#define WORKERS 4
#define NOW INT64_C (1700000000000000)

/* ---- a realm without processes ---- */

static struct {
    struct sign_key root;
    struct keys admin, broker, store, verifier, worker[WORKERS], stranger;
    struct roster *roster;
    struct digest last;
    uint64_t seq;
} w;

static void enter (struct msg *m)
{
    struct err e = ERR_INIT;
    BUF (body);
    BUF (raw);
    m->u.roster_entry.seq = ++w.seq;
    m->u.roster_entry.prev = roster_last (w.roster);
    m->u.roster_entry.time = (uint64_t) NOW - 1000 + w.seq + (m->u.roster_entry.kind == ENTRY_REVOKE ? UINT64_C (1000000000) : 0);
    msg_encode (m, &body);
    envelope_sign (TYPE_ROSTER, buf_bytes (&body), &w.root, &raw);
    cr_assert_eq (roster_add (w.roster, buf_bytes (&raw), &e), 0, "%s", e.msg);
}

static void enrol (const char *name, const char *owner, unsigned roles, bool trusted, struct keys *k)
{
    struct err e = ERR_INIT;
    struct msg m = MSG_INIT (roster_entry, 0);
    struct bytes all = bytes_str ("*");
    struct msg_roster_entry *b = &m.u.roster_entry;
    cr_assert_eq (keys_make (k, &e), 0, "%s", e.msg);
    b->kind = ENTRY_ENROL;
    b->name = bytes_str (name);
    b->owner = bytes_str (owner);
    b->by = bytes_str ("root");
    b->roles = roles;
    b->trust = trusted;
    b->projects = (struct bytes_list){ &all, 1 };
    memcpy (b->sign_key.b, k->sign.pub, 32);
    memcpy (b->transport_key.b, k->transport.pub, 32);
    memcpy (b->seal_key.b, k->seal_pub, 32);
    enter (&m);
}

static void make_world (void)
{
    struct err e = ERR_INIT;
    log_open ("test_judge", LOG_LEVEL_ERROR);
    memset (&w, 0, sizeof w);
    cr_assert_eq (rootkey_make (&w.root, &e), 0);
    w.roster = roster_new (w.root.pub);
    enrol ("admin", "operator", ROLE_ADMIN | ROLE_SUBMITTER, false, &w.admin);
    enrol ("broker", "operator", ROLE_BROKER, false, &w.broker);
    enrol ("store", "operator", ROLE_STORE, false, &w.store);
    enrol ("verifier", "operator", ROLE_VERIFIER, false, &w.verifier);
    for (int i = 0; i < WORKERS; i++) {
        char name[16], owner[16];
        snprintf (name, sizeof name, "w%d", i);
        snprintf (owner, sizeof owner, "o%d", i);
        enrol (name, owner, ROLE_WORKER, i == 0, &w.worker[i]);
    }
    cr_assert_eq (keys_make (&w.stranger, &e), 0);
}

static void drop_world (void)
{
    struct keys *all[] = { &w.admin, &w.broker, &w.store, &w.verifier, &w.worker[0], &w.worker[1], &w.worker[2], &w.worker[3], &w.stranger };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        keys_release (all[i]);
    rootkey_release (&w.root);
    roster_destroy (&w.roster);
}

/* ---- events ---- */

struct policy_words {
    unsigned agree, trusted, dissent, max;
    bool chain; /* "test" needs "build", "report" needs "test" */
};

static struct digest make_submission (const struct policy_words *p, struct buf *raw)
{
    struct msg m = MSG_INIT (submission_body, 0), st = MSG_INIT (step, 0);
    BUF (step);
    BUF (body);
    struct envelope v = { 0 };
    st.u.step.name = bytes_str ("build");
    st.u.step.run = bytes_str ("make");
    st.u.step.image = digest_of ("image", 5);
    st.u.step.agree = p->agree;
    st.u.step.trusted = p->trusted;
    st.u.step.dissent = p->dissent;
    st.u.step.max_replicas = p->max;
    msg_encode (&st, &step);
    struct bytes list[3] = { buf_bytes (&step) };
    static const char *const names[] = { "build", "test", "report" };
    BUF (test);
    BUF (report);
    for (int i = 1; p->chain && i < 3; i++) {
        struct bytes need = bytes_str (names[i - 1]);
        st.u.step.name = bytes_str (names[i]);
        st.u.step.needs = (struct bytes_list){ &need, 1 };
        msg_encode (&st, i == 1 ? &test : &report);
        list[i] = buf_bytes (i == 1 ? &test : &report);
    }
    struct msg_submission_body *b = &m.u.submission_body;
    b->submitter = bytes_str ("admin");
    b->project = bytes_str ("p");
    b->url = bytes_str ("https://git.example/p.git");
    b->commit = bytes_str ("0123456789012345678901234567890123456789");
    b->ref = bytes_str ("refs/heads/main");
    b->recipe = digest_of ("recipe", 6);
    b->steps = (struct bytes_list){ list, p->chain ? 3 : 1 };
    b->issued = (uint64_t) NOW;
    b->expires = (uint64_t) NOW + UINT64_C (3600000000);
    msg_encode (&m, &body);
    envelope_sign (TYPE_SUBMISSION, buf_bytes (&body), &w.admin.sign, raw);
    cr_assert_eq (envelope_open (buf_bytes (raw), TYPE_SUBMISSION, &v, NULL), 0);
    struct digest id = envelope_id (&v);
    envelope_release (&v);
    return id;
}

enum flaw {
    GOOD, RESULT_KEY, RESULT_OWNER, RESULT_RECIPE, RESULT_IMAGE, RESULT_COMMIT, RESULT_URL, RESULT_ISOLATION, RESULT_STEP, FAILED_WITH_ARTIFACT, LEASE_KEY, LEASE_WORKER,
    LEASE_STEP, LEASE_IMAGE, LEASE_EXPIRED, LEASE_SUBMISSION, LEASE_OTHER, LEASE_INPUTS, RECEIPT_NONE, RECEIPT_KEY, RECEIPT_LEASE, RECEIPT_ARTIFACT, SEAL, GARBAGE, EVENT_WORKER,
    FLAWS
};

static void sign_lease (const struct digest *sub, int who, enum flaw flaw, unsigned nonce, struct buf *raw, struct digest *id)
{
    struct msg m = MSG_INIT (lease_body, 0);
    struct msg_lease_body *b = &m.u.lease_body;
    char name[16], owner[16];
    BUF (body);
    struct envelope v = { 0 };
    struct digest input = digest_of ("input", 5);
    struct bytes in = bytes_of (input.b, 32);
    if (flaw == LEASE_WORKER)
        who = (who + 1) % WORKERS;
    snprintf (name, sizeof name, "w%d", who);
    snprintf (owner, sizeof owner, "o%d", who);
    b->broker = bytes_str ("broker");
    b->worker = bytes_str (name);
    b->owner = bytes_str (owner);
    b->submission = flaw == LEASE_SUBMISSION ? digest_of ("x", 1) : *sub;
    b->step = bytes_str (flaw == LEASE_STEP ? "other" : "build");
    b->project = bytes_str ("p");
    b->ref = bytes_str ("refs/heads/main");
    b->image = flaw == LEASE_IMAGE ? digest_of ("x", 1) : digest_of ("image", 5);
    if (flaw == LEASE_INPUTS)
        b->inputs = (struct bytes_list){ &in, 1 };
    b->issued = (uint64_t) NOW;
    b->expires = flaw == LEASE_EXPIRED ? (uint64_t) NOW + 1 : (uint64_t) NOW + UINT64_C (3600000000);
    b->nonce = digest_of (&nonce, sizeof nonce);
    msg_encode (&m, &body);
    envelope_sign (TYPE_LEASE, buf_bytes (&body), flaw == LEASE_KEY ? &w.stranger.sign : &w.broker.sign, raw);
    cr_assert_eq (envelope_open (buf_bytes (raw), TYPE_LEASE, &v, NULL), 0);
    *id = envelope_id (&v);
    envelope_release (&v);
}

static void sign_receipt (const struct digest *lease, const struct digest *artifact, enum flaw flaw, struct buf *raw)
{
    struct msg m = MSG_INIT (receipt_body, 0);
    BUF (body);
    m.u.receipt_body.store = bytes_str ("store");
    m.u.receipt_body.lease = flaw == RECEIPT_LEASE ? digest_of ("x", 1) : *lease;
    m.u.receipt_body.artifact = flaw == RECEIPT_ARTIFACT ? digest_of ("x", 1) : *artifact;
    m.u.receipt_body.bytes = 5;
    m.u.receipt_body.time = (uint64_t) NOW;
    msg_encode (&m, &body);
    envelope_sign (TYPE_RECEIPT, buf_bytes (&body), flaw == RECEIPT_KEY ? &w.stranger.sign : &w.store.sign, raw);
}

/* The payload of an artifact-completed event: worker `who` got `what` ("" fails). */
static void make_payload (const struct digest *sub, int who, const char *what, enum flaw flaw, unsigned nonce, struct buf *payload)
{
    struct result r;
    struct digest lease;
    BUF (json);
    BUF (envelope);
    BUF (sealed);
    memset (&r, 0, sizeof r);
    sign_lease (sub, who, flaw, nonce, &r.lease, &lease);
    r.submission = *sub;
    r.recipe = flaw == RESULT_RECIPE ? digest_of ("x", 1) : digest_of ("recipe", 6);
    r.network = NETWORK_NONE;
    r.image = flaw == RESULT_IMAGE ? digest_of ("x", 1) : digest_of ("image", 5);
    r.lease_id = lease;
    strcpy (r.step, flaw == RESULT_STEP ? "other" : "build");
    strcpy (r.project, "p");
    snprintf (r.worker, sizeof r.worker, "w%d", who);
    snprintf (r.owner, sizeof r.owner, "o%d", flaw == RESULT_OWNER ? who + 1 : who);
    strcpy (r.commit, flaw == RESULT_COMMIT ? "9999999999012345678901234567890123456789" : "0123456789012345678901234567890123456789");
    r.url = xstrdup (flaw == RESULT_URL ? "https://evil.example/" : "https://git.example/p.git");
    r.ref = xstrdup ("refs/heads/main");
    r.isolation = flaw == RESULT_ISOLATION ? ISOLATION_NONE : ISOLATION_BWRAP;
    r.host = xstrdup ("");
    r.note = xstrdup ("");
    r.exit_status = *what && flaw != FAILED_WITH_ARTIFACT ? 0 : 1;
    r.artifact = *what ? digest_of (what, strlen (what)) : manifest_empty ();
    r.started = r.finished = NOW + 1000;
    if (*what && flaw != RECEIPT_NONE)
        sign_receipt (&lease, &r.artifact, flaw, &r.receipt);
    result_json (&r, &json);
    envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), flaw == RESULT_KEY ? &w.stranger.sign : &w.worker[who].sign, &envelope);
    if (flaw == GARBAGE) {
        envelope.len = 0;
        buf_adds (&envelope, "{\"payload\": 7}");
    }
    seal_to (flaw == SEAL ? w.stranger.seal_pub : w.verifier.seal_pub, buf_bytes (&envelope), &sealed);
    struct msg m = MSG_INIT (sealed_payload, 0);
    m.u.sealed_payload.lease = flaw == LEASE_OTHER ? digest_of ("x", 1) : lease;
    m.u.sealed_payload.kind = RESULT_OUTCOME;
    m.u.sealed_payload.sealed = buf_bytes (&sealed);
    msg_encode (&m, payload);
    result_release (&r);
}

static struct judge judge_on (struct ledger *l)
{
    return (struct judge){ .ledger = l, .roster = w.roster, .keys = &w.verifier, .name = "verifier" };
}

static void apply_to (const char *step, struct ledger *l, uint64_t seq, const char *kind, const struct digest *id, int who, struct bytes payload)
{
    struct judge j = judge_on (l);
    struct err e = ERR_INIT;
    struct msg m = MSG_INIT (event, 0);
    char name[16] = "", owner[16] = "";
    if (who >= 0) {
        snprintf (name, sizeof name, "w%d", who);
        snprintf (owner, sizeof owner, "o%d", who);
    }
    m.u.event.seq = seq;
    m.u.event.time = (uint64_t) NOW + 120000000 + seq * 1000;
    m.u.event.kind = bytes_str (kind);
    m.u.event.project = bytes_str ("p");
    m.u.event.id = *id;
    m.u.event.step = bytes_str (strcmp (kind, "submitted") ? step : "");
    m.u.event.worker = bytes_str (name);
    m.u.event.owner = bytes_str (owner);
    m.u.event.reason = bytes_str ("because");
    m.u.event.payload = payload;
    cr_assert_eq (ledger_begin (l, &e), 0, "%s", e.msg);
    cr_assert_eq (judge_apply (&j, &m.u.event, &e), 0, "%s", e.msg);
    cr_assert_eq (ledger_move (l, seq, &e), 0);
    cr_assert_eq (ledger_commit (l, &e), 0, "%s", e.msg);
}

static void apply (struct ledger *l, uint64_t seq, const char *kind, const struct digest *id, int who, struct bytes payload)
{
    apply_to ("build", l, seq, kind, id, who, payload);
}

static struct ledger_step step_of (struct ledger *l, const struct digest *id)
{
    struct ledger_step s;
    struct err e = ERR_INIT;
    cr_assert_eq (ledger_step_find (l, id, bytes_str ("build"), &s, &e), 1);
    return s;
}

static struct ledger *open_ledger (const char *path)
{
    struct ledger *l = NULL;
    struct err e = ERR_INIT;
    cr_assert_eq (ledger_open (&l, path, &e), 0, "%s", e.msg);
    return l;
}

/* ---- tests ---- */

Test (judge, each_check_of_a_result_broken_once_gives_no_vote, .timeout = 120)
{
    make_world ();
    for (enum flaw f = GOOD; f < FLAWS; f++) {
        BUF (raw);
        BUF (payload);
        struct ledger *l = open_ledger (":memory:");
        struct digest id = make_submission (&(struct policy_words){ .agree = 1 }, &raw);
        apply (l, 1, "submitted", &id, -1, buf_bytes (&raw));
        make_payload (&id, 1, "bits", f, 1, &payload);
        apply (l, 2, "artifact-completed", &id, f == EVENT_WORKER ? 2 : 1, buf_bytes (&payload));
        struct ledger_step s = step_of (l, &id);
        if (f == GOOD)
            cr_assert (s.final && s.state == STATE_TRUSTED, "a good result is refused");
        else {
            cr_assert (!s.final && s.votes == 0, "flaw %d came through", (int) f);
            cr_assert_eq (s.sought, 2u, "flaw %d: the vote that is missing is not sought again", (int) f);
            /* and a good one after it decides */
            buf_release (&payload);
            make_payload (&id, 2, "bits", GOOD, 2, &payload);
            apply (l, 3, "artifact-completed", &id, 2, buf_bytes (&payload));
            s = step_of (l, &id);
            cr_assert (s.final && s.state == STATE_TRUSTED);
        }
        ledger_close (&l);
    }
    drop_world ();
}

Test (judge, a_replayed_result_is_one_vote, .timeout = 60)
{
    BUF (raw);
    BUF (payload);
    make_world ();
    struct ledger *l = open_ledger (":memory:");
    struct digest id = make_submission (&(struct policy_words){ .agree = 2 }, &raw);
    apply (l, 1, "submitted", &id, -1, buf_bytes (&raw));
    make_payload (&id, 1, "bits", GOOD, 1, &payload);
    for (uint64_t i = 0; i < 5; i++)
        apply (l, 2 + i, "artifact-completed", &id, 1, buf_bytes (&payload));
    struct ledger_step s = step_of (l, &id);
    cr_assert (s.votes == 1 && !s.final);
    ledger_close (&l);
    drop_world ();
}

/* Votes of four owners in every order, under three policies: the same last word. */
Test (judge, every_order_of_arrival_ends_the_same, .timeout = 300)
{
    static const struct {
        struct policy_words policy;
        const char *what[WORKERS];
        enum step_state end;
    } rows[] = {
        { { 3, 0, POLICY_DISSENT_TOLERATE, 4 }, { "a", "a", "a", "b" }, STATE_TRUSTED },
        { { 4, 0, POLICY_DISSENT_BLOCK, 4 }, { "a", "a", "a", "b" }, STATE_UNREPRODUCIBLE },
        { { 3, 0, POLICY_DISSENT_TOLERATE, 4 }, { "a", "a", "b", "b" }, STATE_UNREPRODUCIBLE },
        { { 3, 0, POLICY_DISSENT_TOLERATE, 4 }, { "", "", "", "a" }, STATE_FAILED },
        { { 4, POLICY_TRUSTED_REQUIRED, POLICY_DISSENT_BLOCK, 4 }, { "a", "a", "a", "a" }, STATE_TRUSTED },
    };
    make_world ();
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++) {
        BUF (raw);
        struct buf payload[WORKERS];
        memset (payload, 0, sizeof payload);
        struct digest id = make_submission (&rows[row].policy, &raw);
        for (int i = 0; i < WORKERS; i++)
            make_payload (&id, i, rows[row].what[i], GOOD, (unsigned) i, &payload[i]);
        for (int order = 0; order < 24; order++) {
            int left[WORKERS] = { 0, 1, 2, 3 }, n = WORKERS, rest = order;
            struct ledger *l = open_ledger (":memory:");
            apply (l, 1, "submitted", &id, -1, buf_bytes (&raw));
            for (uint64_t seq = 2; n; seq++) {
                int pick = rest % n;
                rest /= n;
                apply (l, seq, "artifact-completed", &id, left[pick], buf_bytes (&payload[left[pick]]));
                left[pick] = left[--n];
            }
            struct ledger_step s = step_of (l, &id);
            cr_assert (s.final && s.state == (int) rows[row].end, "row %zu order %d: %s", row, order, step_state_name ((enum step_state) s.state));
            ledger_close (&l);
        }
        for (int i = 0; i < WORKERS; i++)
            buf_release (&payload[i]);
    }
    drop_world ();
}

static void say_end (void *arg, int64_t idx, struct bytes frame)
{
    (void) idx;
    buf_add (arg, frame.p, frame.len);
}

static int add_frame (void *arg, int64_t id, struct bytes frame)
{
    say_end (arg, id, frame);
    return 0;
}

/* What was said is the same whether the verifier ran through, or was started anew before every event; and events that come again change nothing. */
Test (judge, a_restart_at_every_position_says_the_same, .timeout = 120)
{
    char dir[] = "/tmp/assay-judge-XXXXXX", path[64], other[64];
    struct err e = ERR_INIT;
    cr_assert (mkdtemp (dir));
    snprintf (path, sizeof path, "%s/a.db", dir);
    snprintf (other, sizeof other, "%s/b.db", dir);
    make_world ();
    BUF (raw);
    struct buf payload[3];
    memset (payload, 0, sizeof payload);
    struct digest id = make_submission (&(struct policy_words){ .agree = 2, .dissent = POLICY_DISSENT_TOLERATE, .max = 4 }, &raw);
    static const char *const what[] = { "b", "a", "a" };
    for (int i = 0; i < 3; i++)
        make_payload (&id, i, what[i], GOOD, (unsigned) i, &payload[i]);
    BUF (said);
    BUF (again);
    for (int run = 0; run < 2; run++) {
        struct ledger *l = open_ledger (run ? other : path);
        for (uint64_t seq = 1; seq <= 4; seq++) {
            if (run) {
                ledger_close (&l);
                l = open_ledger (other);
                cr_assert_eq (ledger_position (l), seq - 1);
            }
            if (seq == 1)
                apply (l, seq, "submitted", &id, -1, buf_bytes (&raw));
            else
                apply (l, seq, "artifact-completed", &id, (int) seq - 2, buf_bytes (&payload[seq - 2]));
        }
        cr_assert_eq (ledger_outbox (l, 0, 1000, add_frame, run ? &again : &said, &e), 0);
        struct ledger_step s = step_of (l, &id);
        cr_assert (s.final && s.state == STATE_TRUSTED && s.support == 2 && s.against == 1);
        ledger_close (&l);
    }
    cr_assert (said.len > 0 && bytes_eq (buf_bytes (&said), buf_bytes (&again)), "a restart changed what was said");
    for (int i = 0; i < 3; i++)
        buf_release (&payload[i]);
    drop_world ();
    cr_assert_eq (file_remove_tree (dir, &e), 0);
}

#define CAST 7

struct cast { /* votes in the order in which they came, the first as event 2 */
    struct digest id;
    struct buf submission, payload[CAST];
    int who[CAST];
};

/* A ledger that got the votes for which `take` has its bit. */
static struct ledger *ledger_of (const struct cast *c, unsigned take)
{
    struct ledger *l = open_ledger (":memory:");
    apply (l, 1, "submitted", &c->id, -1, buf_bytes (&c->submission));
    for (unsigned i = 0; i < CAST; i++)
        if (take >> i & 1)
            apply (l, 2 + i, "artifact-completed", &c->id, c->who[i], buf_bytes (&c->payload[i]));
    return l;
}

/* Whatever was voted under whatever policy, and whoever is revoked since whenever: what is decided again is what would have been decided had those
 * votes never come, and they are refused when they come after the revocation. */
Test (judge, revoked_votes_vanish, .timeout = 300)
{
    static const char *const said[] = { "a", "a", "a", "b", "" };
    unsigned seed = 3, changed = 0;
    for (unsigned round = 0; round < 60; round++) {
        struct cast c = { .who = { 0 } };
        struct err e = ERR_INIT;
        char name[8];
        make_world ();
        struct policy_words words = { .agree = 1 + round % 3, .trusted = round / 3 % 2 ? POLICY_TRUSTED_REQUIRED : 0,
                                      .dissent = round / 6 % 2 ? POLICY_DISSENT_TOLERATE : POLICY_DISSENT_BLOCK, .max = 3 + round % 2 };
        c.id = make_submission (&words, &c.submission);
        for (unsigned i = 0; i < CAST; i++) {
            seed = seed * 1103515245u + 12345u;
            c.who[i] = (int) (seed >> 12) % WORKERS;
            make_payload (&c.id, c.who[i], said[(seed >> 16) % 5], GOOD, i, &c.payload[i]);
        }
        struct ledger *l = ledger_of (&c, ~0u);
        struct ledger_step before = step_of (l, &c.id);
        struct judge j = judge_on (l);
        unsigned first = round % CAST, gone = 0; /* the worker's votes from this one on */
        for (unsigned i = first; i < CAST; i++)
            gone |= c.who[i] == c.who[first] ? 1u << i : 0;
        snprintf (name, sizeof name, "w%d", c.who[first]);
        struct msg m = MSG_INIT (roster_entry, 0);
        m.u.roster_entry.kind = ENTRY_REVOKE;
        m.u.roster_entry.by = bytes_str ("root");
        m.u.roster_entry.name = bytes_str (name);
        m.u.roster_entry.since = (uint64_t) NOW + 120000000 + (2 + first) * 1000;
        enter (&m);
        for (int more = 1; more == 1;) {
            cr_assert_eq (ledger_begin (l, &e), 0, "%s", e.msg);
            more = judge_revoked (&j, NOW + INT64_C (2000000000), &e);
            cr_assert_neq (more, -1, "%s", e.msg);
            cr_assert_eq (ledger_commit (l, &e), 0, "%s", e.msg);
        }
        struct ledger *never = ledger_of (&c, ~gone), *late = ledger_of (&c, ~0u);
        struct ledger_step now = step_of (l, &c.id), other[] = { step_of (never, &c.id), step_of (late, &c.id) };
        for (int i = 0; i < 2; i++)
            cr_assert (now.state == other[i].state && now.final == other[i].final && now.support == other[i].support && now.against == other[i].against
                           && now.votes == other[i].votes && digest_eq (&now.outcome, &other[i].outcome) && digest_eq (&now.lead, &other[i].lead),
                       "round %u: %s with %u for it and %u against, not %s with %u and %u", round, step_state_name ((enum step_state) now.state), now.support, now.against,
                       step_state_name ((enum step_state) other[i].state), other[i].support, other[i].against);
        changed += now.state != before.state;
        cr_assert (now.state == before.state || !digest_eq (&now.verdict, &before.verdict), "round %u: another state, and no verdict that supersedes the old", round);
        ledger_close (&l);
        ledger_close (&never);
        ledger_close (&late);
        for (unsigned i = 0; i < CAST; i++)
            buf_release (&c.payload[i]);
        buf_release (&c.submission);
        drop_world ();
    }
    cr_assert (changed > 15, "%u of the verdicts changed", changed);
}

/* A vote after the last word: where dissent blocks it is no last word any more, where it is tolerated a new one says so; a challenge that
 * gives no vote ends with the same word again. */
Test (judge, late_dissent, .timeout = 60)
{
    make_world ();
    for (unsigned dissent = POLICY_DISSENT_TOLERATE; dissent <= POLICY_DISSENT_BLOCK; dissent++)
        for (int what = 0; what < 3; what++) { /* the same bits, others, a forged result */
            BUF (raw);
            struct buf payload[3];
            memset (payload, 0, sizeof payload);
            struct ledger *l = open_ledger (":memory:");
            struct digest id = make_submission (&(struct policy_words){ .agree = 2, .dissent = dissent }, &raw);
            apply (l, 1, "submitted", &id, -1, buf_bytes (&raw));
            for (int i = 0; i < 3; i++)
                make_payload (&id, i, i == 2 && what == 1 ? "other" : "bits", i == 2 && what == 2 ? RESULT_KEY : GOOD, (unsigned) i, &payload[i]);
            for (int i = 0; i < 2; i++)
                apply (l, 2 + (uint64_t) i, "artifact-completed", &id, i, buf_bytes (&payload[i]));
            struct ledger_step s = step_of (l, &id), before = s;
            cr_assert (s.final && s.state == STATE_TRUSTED && ledger_next_index (l) == 3);
            apply (l, 4, "challenged", &id, -1, bytes_of (NULL, 0));
            cr_assert_eq (ledger_next_index (l), 3u, "a question is no verdict");
            apply (l, 5, "artifact-completed", &id, 2, buf_bytes (&payload[2]));
            s = step_of (l, &id);
            bool falls = what == 1 && dissent == POLICY_DISSENT_BLOCK;
            cr_assert_eq (ledger_next_index (l), 4u, "dissent %u what %d: no new verdict", dissent, what);
            cr_assert (!digest_eq (&s.verdict, &before.verdict));
            cr_assert_eq (s.state, falls ? (int) STATE_DISPUTED : (int) STATE_TRUSTED, "dissent %u what %d: %s", dissent, what, step_state_name ((enum step_state) s.state));
            cr_assert (s.final == !falls && s.support == (what == 0 ? 3u : 2u) && s.against == (what == 1));
            cr_assert (what != 2 || s.sought == s.seen, "a challenge that came to nothing is over");
            for (int i = 0; i < 3; i++)
                buf_release (&payload[i]);
            ledger_close (&l);
        }
    drop_world ();
}

Test (judge, ends_that_are_not_the_votes, .timeout = 60)
{
    static const struct {
        const char *kind;
        enum step_state end;
    } rows[] = { { "cancelled", STATE_CANCELLED }, { "expired", STATE_EXPIRED }, { "exhausted", STATE_UNSATISFIABLE } };
    make_world ();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        BUF (raw);
        BUF (payload);
        struct ledger *l = open_ledger (":memory:");
        struct digest id = make_submission (&(struct policy_words){ .agree = 2 }, &raw);
        apply (l, 1, "submitted", &id, -1, buf_bytes (&raw));
        apply (l, 2, rows[i].kind, &id, -1, bytes_of (NULL, 0));
        apply (l, 3, "expired", &id, -1, bytes_of (NULL, 0)); /* the first end counts */
        struct ledger_step s = step_of (l, &id);
        cr_assert (s.final && s.state == (int) rows[i].end);
        /* tried again: it is open, and votes of before are forgotten */
        make_payload (&id, 1, "bits", GOOD, 1, &payload);
        uint64_t said = ledger_next_index (l);
        apply (l, 4, "retried", &id, -1, bytes_of (NULL, 0));
        s = step_of (l, &id);
        cr_assert (s.said && !s.final && s.state == STATE_PENDING && ledger_next_index (l) == said + 1, "the verdict of before is taken back: it may reach the broker after the retry");
        apply (l, 5, "artifact-completed", &id, 1, buf_bytes (&payload));
        s = step_of (l, &id);
        cr_assert (!s.final && s.votes == 1);
        ledger_close (&l);
    }
    BUF (greedy);
    struct ledger *l = open_ledger (":memory:");
    struct digest id = make_submission (&(struct policy_words){ .agree = WORKERS + 1 }, &greedy);
    apply (l, 1, "submitted", &id, -1, buf_bytes (&greedy));
    struct ledger_step s = step_of (l, &id);
    cr_assert (s.final && s.state == STATE_UNSATISFIABLE);
    ledger_close (&l);
    drop_world ();
}

Test (judge, a_submission_that_nobody_may_make_is_no_submission, .timeout = 60)
{
    BUF (raw);
    struct ledger_step s;
    struct err e = ERR_INIT;
    make_world ();
    struct ledger *l = open_ledger (":memory:");
    struct digest id = make_submission (&(struct policy_words){ .agree = 1 }, &raw), other = digest_of ("x", 1);
    apply (l, 1, "submitted", &other, -1, buf_bytes (&raw)); /* under another id */
    raw.p[raw.len - 1] ^= 1;
    apply (l, 2, "submitted", &id, -1, buf_bytes (&raw)); /* with another signature */
    cr_assert_eq (ledger_step_find (l, &id, bytes_str ("build"), &s, &e), 0);
    cr_assert_eq (ledger_step_find (l, &other, bytes_str ("build"), &s, &e), 0);
    ledger_close (&l);
    drop_world ();
}

/* Once results of a step that was not agreed on are shown, nobody can repeat one and be counted; a retry opens it anew. */
Test (judge, what_was_shown_takes_no_further_vote, .timeout = 60)
{
    BUF (raw);
    struct err e = ERR_INIT;
    make_world ();
    struct ledger *l = open_ledger (":memory:");
    struct judge j = judge_on (l);
    struct digest id = make_submission (&(struct policy_words){ .agree = 2 }, &raw);
    apply (l, 1, "submitted", &id, -1, buf_bytes (&raw));
    for (int i = 0; i < 2; i++) {
        BUF (payload);
        make_payload (&id, i, i ? "bits" : "other bits", GOOD, 1, &payload);
        apply (l, 2 + (uint64_t) i, "artifact-completed", &id, i, buf_bytes (&payload));
    }
    struct ledger_step s = step_of (l, &id);
    cr_assert (s.state == STATE_DISPUTED && !s.final);
    cr_assert_eq (ledger_begin (l, &e), 0);
    cr_assert_eq (judge_close (&j, &id, bytes_str ("build"), NOW + 130000000, &e), 0, "%s", e.msg);
    cr_assert_eq (judge_close (&j, &id, bytes_str ("build"), NOW + 130000000, &e), 0, "%s", e.msg);
    cr_assert_eq (judge_close (&j, &id, bytes_str ("none"), NOW + 130000000, &e), 0, "%s", e.msg);
    cr_assert_eq (ledger_commit (l, &e), 0);
    s = step_of (l, &id);
    cr_assert (s.state == STATE_UNREPRODUCIBLE && s.final && s.votes == 2);
    for (int i = 0; i < 3; i++) { /* an owner that had not voted, and two that had, by new leases */
        BUF (payload);
        make_payload (&id, 2 - i, "bits", GOOD, 7, &payload);
        apply (l, 4 + (uint64_t) i, "artifact-completed", &id, 2 - i, buf_bytes (&payload));
        s = step_of (l, &id);
        cr_assert (s.state == STATE_UNREPRODUCIBLE && s.votes == 2);
    }
    apply (l, 7, "retried", &id, -1, bytes_of (NULL, 0));
    for (int i = 0; i < 2; i++) {
        BUF (payload);
        make_payload (&id, i, "bits", GOOD, 9, &payload);
        apply (l, 8 + (uint64_t) i, "artifact-completed", &id, i, buf_bytes (&payload));
    }
    s = step_of (l, &id);
    cr_assert (s.state == STATE_TRUSTED && s.votes == 2);
    ledger_close (&l);
    drop_world ();
}

static void tamper (const char *path, const char *sql)
{
    sqlite3 *db = NULL;
    cr_assert_eq (sqlite3_open (path, &db), SQLITE_OK);
    cr_assert_eq (sqlite3_exec (db, sql, NULL, NULL, NULL), SQLITE_OK, "%s: %s", sql, sqlite3_errmsg (db));
    cr_assert_eq (sqlite3_changes (db), 1, "%s", sql);
    sqlite3_close (db);
}

/* Each kind of damage to what is stored is found, and named, by counting again; and what is undamaged gives what was said. */
Test (judge, a_recount_finds_what_was_altered, .timeout = 120)
{
    static const struct { const char *sql; uint64_t bad, differ; } rows[] = {
        { NULL, 0, 0 },
        { "UPDATE result SET envelope = CAST (replace (CAST (envelope AS TEXT), 'payload', 'pay1oad') AS BLOB) WHERE rowid = 1", 1, 0 },
        { "UPDATE vote SET exit_status = 1 WHERE worker = 'w1'", 1, 0 },
        { "UPDATE vote SET worker = 'w2', owner = 'o2' WHERE worker = 'w1'", 1, 0 },
        { "UPDATE vote SET artifact = outcome WHERE worker = 'w1'", 1, 0 },
        { "UPDATE step SET support = 3", 0, 1 },
        { "UPDATE step SET state = 3", 0, 1 },
        { "DELETE FROM vote WHERE worker = 'w1'", 0, 1 },
    };
    struct err e = ERR_INIT;
    make_world ();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char dir[] = "/tmp/assay-judge-XXXXXX", path[64];
        struct recount sum;
        BUF (raw);
        struct buf payload[2];
        memset (payload, 0, sizeof payload);
        cr_assert (mkdtemp (dir));
        snprintf (path, sizeof path, "%s/a.db", dir);
        struct ledger *l = open_ledger (path);
        struct digest id = make_submission (&(struct policy_words){ .agree = 2 }, &raw);
        apply (l, 1, "submitted", &id, -1, buf_bytes (&raw));
        for (int k = 0; k < 2; k++) {
            make_payload (&id, k, "bits", GOOD, (unsigned) k, &payload[k]);
            apply (l, 2 + (uint64_t) k, "artifact-completed", &id, k, buf_bytes (&payload[k]));
            buf_release (&payload[k]);
        }
        ledger_close (&l);
        if (rows[i].sql)
            tamper (path, rows[i].sql);
        cr_assert_eq (recount (path, w.roster, 2, NULL, NULL, &sum, &e), 0, "%s", e.msg);
        cr_assert (sum.steps == 1 && sum.results >= 1);
        cr_assert_eq (sum.bad > 0, rows[i].bad > 0, "row %zu: %llu bad", i, (unsigned long long) sum.bad);
        cr_assert_eq (sum.differ, rows[i].differ, "row %zu: %llu differ", i, (unsigned long long) sum.differ);
        cr_assert_eq (file_remove_tree (dir, &e), 0);
    }
    drop_world ();
}

/* A ledger as the version before kept it: its votes still have their results, and a recount finds nothing. */
Test (judge, a_ledger_of_the_version_before_is_taken_over, .timeout = 60)
{
    static const char *const back[] = {
        "CREATE TABLE vote4 (lease BLOB PRIMARY KEY, step INTEGER NOT NULL, round INTEGER NOT NULL, worker TEXT NOT NULL, owner TEXT NOT NULL, exit_status INTEGER NOT NULL,"
        " outcome BLOB NOT NULL, artifact BLOB NOT NULL, result_id BLOB NOT NULL, time INTEGER NOT NULL, inputs BLOB, broker TEXT NOT NULL DEFAULT '',"
        " store TEXT NOT NULL DEFAULT '', image BLOB) STRICT, WITHOUT ROWID",
        "INSERT INTO vote4 SELECT lease, step, round, worker, owner, exit_status, outcome, artifact, result_id, time, inputs, broker, store, image FROM vote",
        "CREATE TABLE result4 (lease BLOB PRIMARY KEY, envelope BLOB NOT NULL) STRICT",
        "INSERT INTO result4 SELECT lease, envelope FROM vote JOIN result USING (place) ORDER BY lease",
        "DROP TABLE vote", "DROP TABLE result", "ALTER TABLE vote4 RENAME TO vote", "ALTER TABLE result4 RENAME TO result",
        "UPDATE counter SET value = 4 WHERE name = 'schema'",
    };
    struct err e = ERR_INIT;
    char dir[] = "/tmp/assay-judge-XXXXXX", path[64];
    struct recount sum;
    struct digest id;
    sqlite3 *db = NULL;
    BUF (raw);
    make_world ();
    cr_assert (mkdtemp (dir));
    snprintf (path, sizeof path, "%s/a.db", dir);
    struct ledger *l = open_ledger (path);
    id = make_submission (&(struct policy_words){ .agree = 3 }, &raw);
    apply (l, 1, "submitted", &id, -1, buf_bytes (&raw));
    for (int k = 0; k < 3; k++) {
        BUF (payload);
        make_payload (&id, k, "bits", GOOD, (unsigned) k, &payload);
        if (k == 2) { /* the third comes after the upgrade, and again after it */
            ledger_close (&l);
            cr_assert_eq (sqlite3_open (path, &db), SQLITE_OK);
            for (size_t i = 0; i < sizeof back / sizeof *back; i++)
                cr_assert_eq (sqlite3_exec (db, back[i], NULL, NULL, NULL), SQLITE_OK, "%s: %s", back[i], sqlite3_errmsg (db));
            sqlite3_close (db);
            l = open_ledger (path);
            apply (l, 4, "artifact-completed", &id, k, buf_bytes (&payload));
        }
        apply (l, 2 + (uint64_t) k + (k == 2 ? 1 : 0), "artifact-completed", &id, k, buf_bytes (&payload));
    }
    struct ledger_step s = step_of (l, &id);
    cr_assert (s.state == STATE_TRUSTED && s.votes == 3, "%d, %u votes", s.state, s.votes);
    ledger_close (&l);
    cr_assert_eq (recount (path, w.roster, 2, NULL, NULL, &sum, &e), 0, "%s", e.msg);
    cr_assert (sum.steps == 1 && sum.results == 3 && sum.bad == 0 && sum.differ == 0, "%llu results, %llu bad", (unsigned long long) sum.results, (unsigned long long) sum.bad);
    cr_assert_eq (file_remove_tree (dir, &e), 0);
    drop_world ();
}

/* Opening a ledger writes to it, and closing locks it for a moment: threads that opened one meanwhile were told that it is locked. */
Test (judge, a_recount_on_many_threads_opens_its_ledger_in_turns, .timeout = 120)
{
    struct err e = ERR_INIT;
    char dir[] = "/tmp/assay-judge-XXXXXX", path[64];
    struct recount sum;
    make_world ();
    cr_assert (mkdtemp (dir));
    snprintf (path, sizeof path, "%s/a.db", dir);
    struct ledger *l = open_ledger (path);
    for (int i = 0; i < 40; i++)
        cr_assert_eq (recount (path, w.roster, 16, NULL, NULL, &sum, &e), 0, "round %d: %s", i, e.msg);
    ledger_close (&l);
    cr_assert_eq (file_remove_tree (dir, &e), 0);
    drop_world ();
}

/* Whose lease reads an artifact has no vote on the step that made it, nor on what went into that; whose lease is of the step itself has. */
Test (judge, who_has_read_an_artifact_has_no_vote_on_it, .timeout = 60)
{
    static const struct {
        const char *step; /* that owner 1 has a lease of */
        bool counts;
    } rows[] = { { "build", true }, { "test", false }, { "report", false } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        BUF (raw);
        make_world ();
        struct ledger *l = open_ledger (":memory:");
        struct digest id = make_submission (&(struct policy_words){ .agree = 2, .chain = true }, &raw);
        apply (l, 1, "submitted", &id, -1, buf_bytes (&raw));
        for (int k = 0; k < 3; k++) {
            static const unsigned votes[2][3] = { { 1, 1, 2 }, { 1, 2, 3 } };
            BUF (payload);
            if (k == 1)
                apply_to (rows[i].step, l, 3, "leased", &id, 1, bytes_of (NULL, 0));
            make_payload (&id, k, "bits", GOOD, 10 + (unsigned) k, &payload);
            apply (l, 4 + (uint64_t) k - (k == 0 ? 2 : 0), "artifact-completed", &id, k, buf_bytes (&payload));
            struct ledger_step s = step_of (l, &id);
            cr_assert_eq (s.votes, votes[rows[i].counts][k], "a lease of %s, owner %d: %u votes", rows[i].step, k, s.votes);
            cr_assert_eq (s.state == STATE_TRUSTED, votes[rows[i].counts][k] >= 2);
        }
        ledger_close (&l);
        drop_world ();
    }
}
