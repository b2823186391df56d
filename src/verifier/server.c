#include "verifier/server.h"

#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "verifier/intake.h"
#include "verifier/judge.h"
#include "verifier/logbook.h"
#include "verifier/rule.h"
#include "verifier/votes.h"

#define TURN 256               /* messages taken in before the disk is synced; answers of the broker do not count, as they cost next to nothing */
#define BATCH 512              /* events asked for at once */
#define ASK_EVERY_MS 1000      /* without any wake-up */
#define ANSWER_MS 5000         /* then the connection is made anew */
#define WINDOW 1024            /* of the outbox on its way: more than a turn of judge_revoked leaves there, so that the broker never waits for us */
#define REPLAYS (UINT64_C (1) << 62) /* request ids of replays; those below are of the outbox */
#define NEWS_MS 2500           /* the roster is refreshed every 2 s at the latest */
#define NEWS_EVERY_MS 10000

struct server {
    struct verifier_conf conf;
    struct realm *rl;
    struct ledger *ledger;
    struct judge judge;
    zsock_t *router, *broker, *events;
    char broker_name[64];
    int signals;
    bool stop, more, review, revoked;
    int64_t review_at;          /* key that judge_review goes on from */
    uint64_t request, asked;    /* asked: the replay on its way, or 0 */
    int64_t asked_at, heard_at, sent_at, news_at;
    int64_t sent_to;            /* the newest of the outbox that is on its way */
    size_t waiting;             /* how many of it are */
};

/* ---- the broker ---- */

static void broker_close (struct server *s)
{
    zsock_destroy (&s->broker);
    zsock_destroy (&s->events);
    s->broker_name[0] = '\0';
    s->asked = 0;
    s->sent_to = 0;
    s->waiting = 0;
}

static bool send_broker (struct server *s, const struct msg *m)
{
    BUF (frame);
    struct err e = ERR_INIT;
    msg_encode (m, &frame);
    return s->broker && net_send (s->broker, bytes_of (NULL, 0), buf_bytes (&frame), &e) == 0;
}

static void broker_open (struct server *s)
{
    struct err e = ERR_INIT;
    const struct principal *p = roster_role (realm_roster (s->rl), ROLE_BROKER, 0);
    if (!p || !*p->endpoint || !*p->events)
        return;
    s->broker = net_dealer (p->endpoint, p->transport_key, &realm_keys (s->rl)->transport, 4096, &e);
    s->events = s->broker ? net_sub (p->events, p->transport_key, &realm_keys (s->rl)->transport, 10000, &e) : NULL;
    if (!s->events) {
        log_warn ("broker %s: %s", p->name, e.msg);
        broker_close (s);
        return;
    }
    (void) snprintf (s->broker_name, sizeof s->broker_name, "%s", p->name);
    zsock_set_subscribe (s->events, "");
    struct msg hello = MSG_INIT (hello, REPLAYS);
    hello.u.hello.min_version = hello.u.hello.max_version = PROTO_VERSION;
    hello.u.hello.software = bytes_str ("assay-verifier");
    send_broker (s, &hello);
    s->heard_at = time_mono_ms ();
    s->more = true;
}

static void ask_events (struct server *s, int64_t mono)
{
    struct msg m = MSG_INIT (replay, REPLAYS + ++s->request);
    m.u.replay.from = ledger_position (s->ledger) + 1;
    m.u.replay.limit = BATCH;
    s->asked_at = mono;
    s->asked = send_broker (s, &m) ? m.request : 0;
    s->more = false;
}

static int send_outbox (void *arg, int64_t id, struct bytes frame)
{
    struct server *s = arg;
    struct msg m;
    struct err bad = ERR_INIT;
    if (msg_decode (frame, &m, &bad) == -1) { /* of an earlier version: what comes behind it must not wait for it */
        log_error ("a message for the broker is not readable, and is left out (assay retry has its step decided again) outbox=%lld reason=%s", (long long) id, bad.msg);
        s->sent_to = id;
        if (ledger_sent (s->ledger, id, &bad) == -1)
            log_error ("%s", bad.msg);
        return 0;
    }
    m.request = (uint64_t) id;
    bool ok = send_broker (s, &m);
    msg_release (&m);
    if (ok) {
        s->sent_to = id;
        s->waiting++;
        s->sent_at = time_mono_ms ();
    }
    return !ok;
}

static void flush (struct server *s)
{
    struct err e = ERR_INIT;
    if (s->broker && s->waiting < WINDOW && ledger_outbox (s->ledger, s->sent_to, (unsigned) (WINDOW - s->waiting), send_outbox, s, &e) == -1)
        log_error ("%s", e.msg);
}

/* ---- events ---- */

/* 0 applied or known; 1 there is a gap before it; -1 the ledger failed. */
static int apply (struct server *s, struct bytes raw, bool live, struct err *e)
{
    struct msg m;
    struct err bad = ERR_INIT;
    if (msg_decode_as (raw, MSG_event, &m, &bad) == -1) {
        log_peer (s->broker_name, &bad);
        return live ? 1 : 0;
    }
    const struct msg_event *ev = &m.u.event;
    uint64_t at = ledger_position (s->ledger);
    int rc = 0;
    if (live && ev->seq > at + 1)
        rc = 1;
    else if (ev->seq > at)
        rc = judge_apply (&s->judge, ev, e) == -1 ? -1 : ledger_move (s->ledger, ev->seq, e);
    msg_release (&m);
    return rc;
}

static int take_events (struct server *s, const struct msg_events *list, struct err *e)
{
    for (size_t i = 0; i < list->events.n; i++)
        if (apply (s, list->events.v[i], false, e) == -1)
            return -1;
    /* What lies between belongs to projects that we do not see. */
    if (list->next > ledger_position (s->ledger) + 1 && list->next <= list->last + 1 && ledger_move (s->ledger, list->next - 1, e) == -1)
        return -1;
    s->more = s->more || ledger_position (s->ledger) < list->last;
    return 0;
}

static int take_answer (struct server *s, const struct msg *m, struct err *e)
{
    s->heard_at = time_mono_ms ();
    if (m->request >= REPLAYS) {
        if (m->request == s->asked)
            s->asked = 0;
        if (m->type == MSG_events)
            return take_events (s, &m->u.events, e);
        if (m->type == MSG_error)
            log_warn ("the broker refuses: %.*s", (int) m->u.error.text.len, (const char *) m->u.error.text.p);
        return 0;
    }
    if (m->request == 0)
        return 0;
    s->waiting -= s->waiting > 0;
    if (m->type == MSG_error) {
        bool again = bytes_eqs (m->u.error.code, err_name (EC_BUSY)) || bytes_eqs (m->u.error.code, err_name (EC_INTERNAL));
        log_warn ("the broker refuses a message: %.*s", (int) m->u.error.text.len, (const char *) m->u.error.text.p);
        if (again)
            return 0; /* it stays in the outbox, and goes again when the rest is through */
    } else if (m->type != MSG_ok)
        return 0;
    return ledger_sent (s->ledger, (int64_t) m->request, e);
}

static int take_in (struct server *s, struct err *e)
{
    struct net_in in;
    struct err bad = ERR_INIT;
    int got;
    for (int i = 0; i < WINDOW && s->broker && (got = net_recv (s->broker, &in, &bad)) != 0; i++) {
        struct msg m;
        int rc = 0;
        if (got == -1 || msg_decode (in.data, &m, &bad) == -1)
            log_peer (s->broker_name, &bad);
        else {
            rc = take_answer (s, &m, e);
            msg_release (&m);
        }
        net_in_release (&in);
        if (rc == -1)
            return -1;
    }
    for (int i = 0; i < TURN && s->events && (got = net_recv (s->events, &in, &bad)) != 0; i++) {
        int rc = got == 1 ? apply (s, in.data, true, e) : 1;
        net_in_release (&in);
        if (rc == -1)
            return -1;
        s->more = s->more || rc == 1;
    }
    return 0;
}

/* ---- questions ---- */

static void answer (struct server *s, const struct net_in *in, const struct msg *m)
{
    BUF (frame);
    struct err e = ERR_INIT;
    msg_encode (m, &frame);
    if (net_answer (s->router, bytes_of (in->route, in->route_len), in->peer, &frame, &e) == -1)
        log_debug ("answer not sent reason=%s", e.msg);
}

/* *own: it is the asker's own, or the asker is an admin; may be NULL. */
static int visible (struct server *s, const struct principal *who, const struct digest *sub, bool *own, struct err *e)
{
    BUF (raw);
    struct envelope v = { 0 };
    struct msg body;
    int found = ledger_sub_get (s->ledger, sub, &raw, e), rc = -1;
    if (found == 1 && envelope_open (buf_bytes (&raw), TYPE_SUBMISSION, &v, e) == 0 && msg_decode_as (v.body, MSG_submission_body, &body, e) == 0) {
        rc = (who->roles & ROLE_ADMIN) || principal_project (who, body.u.submission_body.project) ? 0 : err_code (e, EC_NOT_FOUND, "no such submission");
        if (own)
            *own = (who->roles & ROLE_ADMIN) || ((who->roles & ROLE_SUBMITTER) && bytes_eqs (body.u.submission_body.submitter, who->name));
        msg_release (&body);
    } else if (found == 0)
        err_code (e, EC_NOT_FOUND, "no such submission (yet)");
    envelope_release (&v);
    return rc;
}

/* The step, for one who may see its project. */
static int find_step (struct server *s, const struct principal *who, const struct digest *id, struct bytes name, struct ledger_step *step, struct err *e)
{
    if (visible (s, who, id, NULL, e) == -1)
        return -1;
    int found = ledger_step_find (s->ledger, id, name, step, e);
    return found == 1 ? 0 : found == -1 ? -1 : err_code (e, EC_NOT_FOUND, "the submission has no step of that name");
}

/* To end the voting is for those who may also retry the step, or cancel it. */
static int may_end (struct server *s, const struct principal *who, const struct ledger_step *step, struct err *e)
{
    bool own = false;
    if (visible (s, who, &step->sub, &own, e) == -1)
        return -1;
    return own ? 0 : err_code (e, EC_NOT_ALLOWED, "the step is %s: to show its results ends the voting, which its submitter and admins may do",
                               step_state_name ((enum step_state) step->state));
}

/* From here on no further vote is taken on the step, in a turn of its own. */
static int close_votes (struct server *s, const struct digest *id, struct bytes name, struct ledger_step *step, struct err *e)
{
    if (ledger_begin (s->ledger, e) == -1)
        return -1;
    if (judge_close (&s->judge, id, name, time_now_us (), e) == -1 || ledger_commit (s->ledger, e) == -1) {
        ledger_rollback (s->ledger);
        return -1;
    }
    return ledger_step_find (s->ledger, id, name, step, e) == -1 ? -1 : 0;
}

/* Results that were not agreed on are shown when no vote can be added any more. Where one still could (an owner may join), to end that is for those who
 * may also retry it. */
static int may_show (struct server *s, const struct principal *who, struct ledger_step *step, struct err *e)
{
    if (!step->final || step->state == STATE_TRUSTED || step->state == STATE_FAILED || step->votes == 0)
        return 0;
    if (step->state != STATE_UNREPRODUCIBLE && may_end (s, who, step, e) == -1)
        return -1;
    struct digest id = step->sub;
    char name[sizeof step->name];
    memcpy (name, step->name, sizeof name);
    return close_votes (s, &id, bytes_str (name), step, e);
}

static int on_verdict_get (struct server *s, const struct net_in *in, const struct msg *q, const struct principal *who, struct err *e)
{
    const struct msg_verdict_get *g = &q->u.verdict_get;
    struct ledger_step step;
    BUF (verdict);
    if (find_step (s, who, &g->id, g->step, &step, e) == -1)
        return -1;
    if (g->results == 1 && !(who->roles & (ROLE_ADMIN | ROLE_VIEWER | ROLE_SUBMITTER)))
        return err_code (e, EC_NOT_ALLOWED, "%s may not read results (roles admin, viewer, submitter)", who->name);
    if (g->results == 1 && may_show (s, who, &step, e) == -1)
        return -1;
    int found = 0;
    if (g->results != 2 && (who->roles & (ROLE_ADMIN | ROLE_SUBMITTER)) && step.said && step.state == STATE_PROVISIONAL)
        found = judge_reveal (&s->judge, &g->id, g->step, time_now_us (), &verdict, e);
    if (found == 0)
        found = ledger_verdict_get (s->ledger, step.key, &verdict, e);
    if (found != 1)
        return found == -1 ? -1 : err_code (e, EC_NOT_FOUND, "no verdict yet");
    struct vote_list *CLEANUP (vote_list_release) b = vote_list_new ();
    vote_list_add (b, buf_bytes (&verdict));
    if (g->results == 1 && step.final && votes_results (s->ledger, &step, buf_bytes (&verdict), b, e) == -1)
        return -1;
    struct msg m = MSG_INIT (bundle, q->request);
    m.u.bundle.envelopes = (struct bytes_list){ b->list, b->n };
    answer (s, in, &m);
    return 0;
}

static int disputed (const struct ledger_step *step, struct err *e)
{
    if (step->said && step->state == STATE_DISPUTED)
        return 0;
    return err_code (e, EC_CONFLICT, "the step is %s, not disputed", step->said ? step_state_name ((enum step_state) step->state) : "pending");
}

static int on_votes_get (struct server *s, const struct net_in *in, const struct msg *q, const struct principal *who, struct err *e)
{
    struct ledger_step step;
    struct vote_list *CLEANUP (vote_list_release) b = vote_list_new ();
    struct msg m = MSG_INIT (votes, q->request);
    if (find_step (s, who, &q->u.votes_get.id, q->u.votes_get.step, &step, e) == -1 || disputed (&step, e) == -1
        || votes_outline (s->ledger, realm_roster (s->rl), &step, b, e) == -1)
        return -1;
    m.u.votes.votes = (struct bytes_list){ b->list, b->n };
    answer (s, in, &m);
    return 0;
}

static int on_votes_close (struct server *s, const struct net_in *in, const struct msg *q, const struct principal *who, struct err *e)
{
    struct ledger_step step;
    char hex[DIGEST_HEX];
    const struct msg_votes_close *c = &q->u.votes_close;
    if (find_step (s, who, &c->id, c->step, &step, e) == -1 || disputed (&step, e) == -1 || may_end (s, who, &step, e) == -1 || close_votes (s, &c->id, c->step, &step, e) == -1)
        return -1;
    log_info ("no further votes id=%.12s step=%s by=%s", digest_hex (&c->id, hex), step.name, who->name);
    struct msg ok = MSG_INIT (ok, q->request);
    answer (s, in, &ok);
    return 0;
}

/* ---- the log ---- */

static struct logbook logbook (struct server *s)
{
    return (struct logbook){ s->ledger, realm_roster (s->rl), realm_root (s->rl), realm_name (s->rl), &realm_keys (s->rl)->sign };
}

static int on_checkpoint_get (struct server *s, const struct net_in *in, const struct msg *q, struct err *e)
{
    BUF (note);
    struct logbook b = logbook (s);
    struct msg m = MSG_INIT (checkpoint, q->request);
    if (logbook_checkpoint (&b, q->u.checkpoint_get.witnesses, &note, e) == -1)
        return -1;
    m.u.checkpoint.note = buf_bytes (&note);
    answer (s, in, &m);
    return 0;
}

static int on_entry_get (struct server *s, const struct net_in *in, const struct msg *q, const struct principal *who, struct err *e)
{
    struct envelope v = { 0 };
    struct verdict verdict;
    struct msg m = MSG_INIT (bundle, q->request);
    struct bytes one;
    BUF (raw);
    uint64_t at = q->u.entry_get.at;
    int found = at < ledger_next_index (s->ledger) - 1 ? ledger_verdict_at (s->ledger, at + 1, &raw, e) : 0;
    if (found != 1)
        return found == -1 ? -1 : err_code (e, EC_NOT_FOUND, "the log has no entry %llu yet", (unsigned long long) at);
    int rc = envelope_open_json (buf_bytes (&raw), TYPE_INTOTO, &v, e);
    if (rc == 0 && (rc = verdict_parse (v.body, &verdict, e)) == 0) {
        rc = visible (s, who, &verdict.submission, NULL, e);
        verdict_release (&verdict);
    }
    envelope_release (&v);
    if (rc == -1)
        return -1;
    one = buf_bytes (&raw);
    m.u.bundle.envelopes = (struct bytes_list){ &one, 1 };
    answer (s, in, &m);
    return 0;
}

static int on_proof_get (struct server *s, const struct net_in *in, const struct msg *q, struct err *e)
{
    const struct msg_proof_get *g = &q->u.proof_get;
    struct logbook b = logbook (s);
    struct tlog_path path;
    struct bytes list[TLOG_PATH_MAX];
    struct msg m = MSG_INIT (proof, q->request);
    if (logbook_prove (&b, g->kind, g->at, g->size, &path, e) == -1)
        return -1;
    for (size_t i = 0; i < path.n; i++)
        list[i] = bytes_of (path.v[i].b, 32);
    m.u.proof.kind = g->kind;
    m.u.proof.at = g->at;
    m.u.proof.size = g->size;
    m.u.proof.path = (struct bytes_list){ list, path.n };
    answer (s, in, &m);
    return 0;
}

static int on_cosign (struct server *s, const struct net_in *in, const struct msg *q, const struct principal *who, struct err *e)
{
    struct logbook b = logbook (s);
    struct msg ok = MSG_INIT (ok, q->request);
    if (logbook_cosign (&b, q->u.cosign.note, who, e) == -1)
        return -1;
    answer (s, in, &ok);
    return 0;
}

static int handle (struct server *s, const struct net_in *in, const struct msg *q, const struct principal *who, struct err *e)
{
    struct msg m;
    static const enum msg_type taken[] = { MSG_hello, MSG_ping, MSG_verdict_get, MSG_votes_get, MSG_votes_close, MSG_checkpoint_get, MSG_proof_get, MSG_cosign, MSG_entry_get };
    bool known = false;
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        known = known || q->type == taken[i];
    if (!known)
        return err_code (e, EC_UNEXPECTED, "a verifier does not take %s", msg_name (q->type));
    if (!(msg_senders (q->type) & who->roles))
        return err_code (e, EC_NOT_ALLOWED, "%s may not send %s", who->name, msg_name (q->type));
    if (q->type == MSG_verdict_get)
        return on_verdict_get (s, in, q, who, e);
    if (q->type == MSG_votes_get)
        return on_votes_get (s, in, q, who, e);
    if (q->type == MSG_votes_close)
        return on_votes_close (s, in, q, who, e);
    if (q->type == MSG_checkpoint_get)
        return on_checkpoint_get (s, in, q, e);
    if (q->type == MSG_proof_get)
        return on_proof_get (s, in, q, e);
    if (q->type == MSG_entry_get)
        return on_entry_get (s, in, q, who, e);
    if (q->type == MSG_cosign)
        return on_cosign (s, in, q, who, e);
    if (q->type == MSG_ping) {
        m = (struct msg) MSG_INIT (pong, q->request);
        m.u.pong.time = q->u.ping.time;
    } else {
        if (q->u.hello.min_version > PROTO_VERSION || q->u.hello.max_version < PROTO_VERSION)
            return err_code (e, EC_VERSION, "this verifier speaks version %d", PROTO_VERSION);
        m = (struct msg) MSG_INIT (welcome, q->request);
        m.u.welcome.version = PROTO_VERSION;
        m.u.welcome.name = bytes_str (realm_name (s->rl));
        m.u.welcome.software = bytes_str ("assay-verifier");
        m.u.welcome.roster_seq = roster_seq (realm_roster (s->rl));
    }
    answer (s, in, &m);
    return 0;
}

static void on_question (struct server *s, struct net_in *in, int got, struct err *e)
{
    const struct principal *p = in->has_peer ? roster_by_transport (realm_roster (s->rl), in->peer) : NULL;
    struct msg m = { 0 };
    char hex[17];
    int rc = got;
    bool decoded = false;
    hex_encode (in->peer, 8, hex);
    if (rc == 1) {
        if (!p)
            rc = err_code (e, EC_UNKNOWN_KEY, "this key is not in the roster");
        else if (!principal_good (p))
            rc = err_code (e, EC_REVOKED, "%s is revoked", p->name);
        else if (net_owes (in->peer))
            rc = err_code (e, EC_BUSY, "%s does not read what it asked for", p->name);
        else if ((rc = msg_decode (in->data, &m, e)) == 0) {
            decoded = true;
            rc = handle (s, in, &m, p, e);
        }
    }
    if (rc == -1) {
        struct msg r = MSG_INIT (error, decoded ? m.request : 0);
        r.u.error.code = bytes_str (err_name (e->code ? e->code : EC_INTERNAL));
        r.u.error.text = bytes_str (e->msg);
        if (in->route_len)
            answer (s, in, &r);
        if (e->code != EC_NOT_FOUND)
            log_peer (p ? p->name : hex, e);
    }
    if (decoded)
        msg_release (&m);
}

static void questions (struct server *s)
{
    for (int i = 0; i < TURN; i++) {
        struct net_in in;
        struct err e = ERR_INIT;
        int got = net_recv (s->router, &in, &e);
        if (got == 0)
            return;
        on_question (s, &in, got, &e);
        if (got == 1)
            net_in_release (&in);
    }
}

/* ---- the loop ---- */

static void turn (struct server *s)
{
    struct err e = ERR_INIT;
    uint64_t before = ledger_position (s->ledger);
    bool ok = ledger_begin (s->ledger, &e) == 0;
    if (ok && take_in (s, &e) == -1) {
        ledger_rollback (s->ledger);
        ok = false;
    }
    if (ok && s->review && judge_review (&s->judge, &s->review_at, time_now_us (), &e) == -1) {
        ledger_rollback (s->ledger);
        ok = false;
    }
    if (ok && s->review)
        s->review = s->review_at != 0;
    if (ok && s->revoked) {
        int more = judge_revoked (&s->judge, time_now_us (), &e);
        s->revoked = more != 0;
        if (more == -1) {
            ledger_rollback (s->ledger);
            ok = false;
        }
    }
    if (ok && ledger_commit (s->ledger, &e) == -1)
        ok = false;
    if (!ok) {
        /* The broker's log has it all: once the disk takes writes again, we go on from where we were. */
        log_error ("nothing is decided at event %llu: %s", (unsigned long long) before, e.msg);
        broker_close (s);
        zclock_sleep (500);
        return;
    }
    flush (s);
}

static void tick (struct server *s)
{
    int64_t mono = time_mono_ms ();
    if (s->broker) {
        const struct principal *p = roster_find (realm_roster (s->rl), s->broker_name);
        bool silent = (s->asked && mono - s->asked_at > ANSWER_MS) || (s->waiting && mono - s->heard_at > ANSWER_MS && mono - s->sent_at > ANSWER_MS);
        if (!p || !principal_good (p) || silent)
            broker_close (s);
    }
    if (!s->broker)
        broker_open (s);
    if (s->broker && !s->asked && (s->more || mono - s->asked_at >= ASK_EVERY_MS))
        ask_events (s, mono);
    if (s->waiting == 0 && mono - s->sent_at > ASK_EVERY_MS)
        s->sent_to = 0; /* what was refused for now goes again */
}

static bool wait_news (void *arg)
{
    struct server *s = arg;
    int64_t mono = time_mono_ms ();
    if (mono - s->news_at < NEWS_EVERY_MS && s->news_at)
        return false;
    s->news_at = mono;
    zmq_pollitem_t item = { NULL, realm_sync_fd (s->rl), ZMQ_POLLIN, 0 };
    (void) zmq_poll (&item, 1, NEWS_MS);
    return realm_poll (s->rl);
}

int server_run (struct server *s, struct err *e)
{
    while (!s->stop) {
        zmq_pollitem_t items[5] = { { zsock_resolve (s->router), 0, ZMQ_POLLIN, 0 }, { NULL, s->signals, ZMQ_POLLIN, 0 }, { NULL, realm_sync_fd (s->rl), ZMQ_POLLIN, 0 },
                                    { s->broker ? zsock_resolve (s->broker) : NULL, 0, ZMQ_POLLIN, 0 }, { s->events ? zsock_resolve (s->events) : NULL, 0, ZMQ_POLLIN, 0 } };
        if (zmq_poll (items, s->broker ? 5 : 3, s->review || s->revoked || (s->more && !s->asked) ? 0 : 250) == -1 && zmq_errno () != EINTR)
            return err_set (e, ERR_FAILED, "poll: %s", zmq_strerror (zmq_errno ()));
        if (items[1].revents) {
            struct signalfd_siginfo si;
            if (read (s->signals, &si, sizeof si) == sizeof si && si.ssi_signo != SIGHUP)
                s->stop = true;
        }
        if (items[2].revents && realm_poll (s->rl)) {
            s->review = s->revoked = true;
            s->review_at = 0;
        }
        questions (s);
        turn (s);
        tick (s);
    }
    return 0;
}

/* ---- life ---- */

static int open_all (struct server *s, const char *dir, struct err *e)
{
    char *state CLEANUP (free_ptr) = xasprintf ("%s/state", dir), *lock CLEANUP (free_ptr) = xasprintf ("%s/state/lock", dir),
               *db CLEANUP (free_ptr) = xasprintf ("%s/state/verdicts.db", dir);
    if (realm_open (&s->rl, dir, e) == -1)
        return -1;
    const struct principal *self = realm_self (s->rl);
    if (!self || !(self->roles & ROLE_VERIFIER))
        return err_set (e, ERR_DENIED, "%s: %s is no verifier in the roster (`assay token --role verifier` makes one)", dir, realm_name (s->rl));
    if (file_mkdirs (state, 0700, e) == -1 || file_lock (lock, e) == -1 || ledger_open (&s->ledger, db, e) == -1)
        return -1;
    s->judge = (struct judge){ .ledger = s->ledger, .roster = realm_roster (s->rl), .keys = realm_keys (s->rl), .name = realm_name (s->rl), .news = wait_news, .arg = s };
    realm_admit (s->rl, ROLE_ANY);
    if (!(s->router = net_router (s->conf.listen, &realm_keys (s->rl)->transport, (struct net_room){ 1000, 128, NET_SMALL_MAX }, e)))
        return -1;
    return realm_sync_start (s->rl, e);
}

int server_open (struct server **out, const struct verifier_conf *conf, const char *dir, int signals, struct err *e)
{
    struct server *s = xcalloc (1, sizeof *s);
    s->conf = *conf;
    s->signals = signals;
    s->review = s->revoked = true; /* the roster may have changed while we were away */
    if (open_all (s, dir, e) == -1) {
        server_close (&s);
        return -1;
    }
    log_info ("serving endpoint=%s event=%llu verdict=%llu", conf->listen, (unsigned long long) ledger_position (s->ledger),
              (unsigned long long) ledger_next_index (s->ledger) - 1);
    *out = s;
    return 0;
}

void server_close (struct server **sp)
{
    struct server *s = *sp;
    if (!s)
        return;
    broker_close (s);
    zsock_destroy (&s->router);
    ledger_close (&s->ledger);
    realm_close (&s->rl);
    free (s);
    *sp = NULL;
}
