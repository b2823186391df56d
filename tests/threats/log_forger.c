/* log_forger: a verifier with its genuine keys and log that answers one kind of question wrongly, for tests/threats/32-forged-proofs.sh.
 *
 *     log_forger DIR ENDPOINT LIE       DIR: the folder of a verifier that does not run; prints "ready"
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/realm.h"
#include "proto/statement.h"
#include "verifier/checkpoint.h"
#include "verifier/logbook.h"

static struct {
    struct realm *rl;
    struct logbook book;
    zsock_t *router;
    const char *lie;
} f;

static bool lies (const char *name) { return !strcmp (f.lie, name); }

static void answer (const struct net_in *in, const struct msg *m)
{
    BUF (frame);
    msg_encode (m, &frame);
    (void) net_send (f.router, bytes_of (in->route, in->route_len), buf_bytes (&frame), NULL);
}

static void refuse (const struct net_in *in, uint64_t request, const char *code, const char *text)
{
    struct msg m = MSG_INIT (error, request);
    m.u.error.code = bytes_str (code);
    m.u.error.text = bytes_str (text);
    answer (in, &m);
}

/* ---- checkpoints ---- */

static size_t text_len (const struct buf *note)
{
    return (size_t) ((uint8_t *) memmem (note->p, note->len, "\n\n", 2) - note->p) + 1;
}

/* The same text under other signatures. */
static void sign_anew (struct buf *note, const char *name, const struct sign_key *key, bool keep)
{
    size_t len = text_len (note);
    BUF (out);
    buf_add (&out, note->p, len + 1);
    note_sign (name, bytes_of (note->p, len), key, &out);
    if (keep)
        buf_add (&out, note->p + len + 1, note->len - len - 1);
    note->len = 0;
    buf_add (note, out.p, out.len);
}

static void forge_note (struct buf *note)
{
    char origin[NOTE_NAME];
    size_t len = text_len (note), second = strcspn (buf_str (note), "\n") + 1, digit = second + strcspn (buf_str (note) + second, "\n") - 1;
    struct sign_key other = { .sec = NULL };
    note_origin (realm_root (f.rl), realm_name (f.rl), origin);
    if (lies ("note-cut"))
        note->len -= 20;
    else if (lies ("note-unsigned"))
        note->len = len + 1;
    else if (lies ("note-garbage"))
        for (size_t i = 0; i < note->len; i++)
            note->p[i] = (uint8_t) (i * 197);
    else if (lies ("note-size"))
        note->p[digit] ^= 1;
    else if (lies ("note-doubled"))
        sign_anew (note, origin, f.book.key, true);
    else if (lies ("note-behind"))
        buf_adds (note, "and more\n");
    else if (lies ("note-huge"))
        while (note->len < 16000)
            note_sign ("somebody", bytes_of (note->p, len), f.book.key, note);
    else if (rootkey_make (&other, NULL) == 0) {
        if (lies ("note-resigned"))
            sign_anew (note, origin, &other, false);
        else if (lies ("note-reordered"))
            sign_anew (note, "another/log", &other, true);
        else if (lies ("note-realm")) {
            BUF (text);
            note_origin (other.pub, realm_name (f.rl), origin);
            note_text (origin, 3, &(struct digest){ { 3 } }, &text);
            note->len = 0;
            buf_add (note, text.p, text.len);
            buf_adds (note, "\n");
            note_sign (origin, buf_bytes (&text), f.book.key, note);
        } else if (lies ("note-witness")) {
            char name[NOTE_NAME];
            struct note n;
            note_witness (origin, "worker-1", name);
            if (note_parse (buf_bytes (note), &n, NULL) == 0) { /* the key hash is the witness's, the signature is not */
                struct sign_key alike = { .sec = other.sec };
                memcpy (alike.pub, roster_find (f.book.roster, "worker-1")->sign_key, 32);
                note_sign (name, buf_bytes (&n.text), &alike, note);
            }
            note_release (&n);
        }
        rootkey_release (&other);
    }
}

/* ---- proofs ---- */

static void forge_path (const struct msg_proof_get *g, struct msg *m, struct bytes list[TLOG_PATH_MAX], struct tlog_path *p)
{
    static struct digest extra = { { 9 } };
    const char *lie = f.lie + strcspn (f.lie, "-") + 1;
    struct bytes_list *path = &m->u.proof.path;
    if (strncmp (f.lie, g->kind == 1 ? "inclusion-" : "growth-", (size_t) (lie - f.lie)))
        return;
    if (!strcmp (lie, "flipped"))
        p->v[p->n - 1].b[5] ^= 8;
    else if (!strcmp (lie, "short"))
        path->n--;
    else if (!strcmp (lie, "none"))
        path->n = 0;
    else if (!strcmp (lie, "long"))
        list[path->n++] = bytes_of (extra.b, 32);
    else if (!strcmp (lie, "doubled")) {
        list[path->n] = list[path->n - 1];
        path->n++;
    } else if (!strcmp (lie, "full"))
        for (; path->n < TLOG_PATH_MAX; path->n++)
            list[path->n] = bytes_of (extra.b, 32);
    else if (!strcmp (lie, "reordered")) {
        struct bytes one = list[0];
        list[0] = list[path->n - 1];
        list[path->n - 1] = one;
    } else if (!strcmp (lie, "thin"))
        list[path->n - 1].len = 31;
    else if (!strcmp (lie, "kind"))
        m->u.proof.kind = 3 - g->kind;
    else if (!strcmp (lie, "place"))
        m->u.proof.at++;
}

static void on_proof (const struct net_in *in, const struct msg *q)
{
    const struct msg_proof_get *g = &q->u.proof_get;
    struct msg m = MSG_INIT (proof, q->request);
    struct bytes list[TLOG_PATH_MAX + 1];
    struct tlog_path p;
    struct err e = ERR_INIT;
    uint64_t at = lies ("inclusion-other") && g->kind == 1 ? g->at ^ 1 : g->at;
    if ((lies ("growth-refused") && g->kind == 2) || (lies ("inclusion-refused") && g->kind == 1))
        refuse (in, q->request, "not-found", "there is no such proof");
    else if (logbook_prove (&f.book, g->kind, at, g->size, &p, &e) == -1)
        refuse (in, q->request, err_name (e.code), e.msg);
    else {
        for (size_t i = 0; i < p.n; i++)
            list[i] = bytes_of (p.v[i].b, 32);
        m.u.proof.kind = g->kind;
        m.u.proof.at = g->at;
        m.u.proof.size = g->size;
        m.u.proof.path = (struct bytes_list){ list, p.n };
        forge_path (g, &m, list, &p);
        answer (in, &m);
    }
}

/* ---- verdicts ---- */

/* A verdict of the same number that is signed, and in no log. */
static void forge_verdict (struct buf *envelope)
{
    struct envelope v = { 0 };
    struct verdict verdict;
    BUF (json);
    if (envelope_open_json (buf_bytes (envelope), TYPE_INTOTO, &v, NULL) == 0 && verdict_parse (v.body, &verdict, NULL) == 0) {
        if (lies ("verdict-unlogged") || lies ("entry-forged"))
            verdict.time += 1000000;
        if (lies ("verdict-reason")) {
            free (verdict.reason);
            verdict.reason = xstrdup ("\033]0;owned\007\033[2J a reason");
        }
        if (lies ("verdict-number"))
            verdict.index--;
        if (lies ("verdict-zero"))
            verdict.index = 0;
        if (lies ("verdict-step"))
            (void) snprintf (verdict.step, sizeof verdict.step, "other");
        verdict_json (&verdict, &json);
        envelope->len = 0;
        envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), f.book.key, envelope);
        verdict_release (&verdict);
    }
    envelope_release (&v);
}

static void on_verdict (const struct net_in *in, const struct msg *q)
{
    struct ledger_step step;
    struct msg m = MSG_INIT (bundle, q->request);
    struct bytes one;
    BUF (envelope);
    if (ledger_step_find (f.book.ledger, &q->u.verdict_get.id, q->u.verdict_get.step, &step, NULL) != 1 || ledger_verdict_get (f.book.ledger, step.key, &envelope, NULL) != 1) {
        refuse (in, q->request, "not-found", "no verdict yet");
        return;
    }
    if (!strncmp (f.lie, "verdict-", 8))
        forge_verdict (&envelope);
    one = buf_bytes (&envelope);
    m.u.bundle.envelopes = (struct bytes_list){ &one, 1 };
    answer (in, &m);
}

static void on_entry (const struct net_in *in, const struct msg *q)
{
    struct msg m = MSG_INIT (bundle, q->request);
    struct bytes one;
    BUF (envelope);
    if (lies ("entry-withheld") || ledger_verdict_at (f.book.ledger, q->u.entry_get.at + (lies ("entry-other") ? 2 : 1), &envelope, NULL) != 1) {
        refuse (in, q->request, "not-found", "no such submission");
        return;
    }
    if (lies ("entry-forged")) /* signed, and another than in the log */
        forge_verdict (&envelope);
    one = buf_bytes (&envelope);
    m.u.bundle.envelopes = (struct bytes_list){ &one, lies ("entry-none") ? 0 : 1 };
    answer (in, &m);
}

static void take (const struct net_in *in)
{
    struct msg q, m;
    BUF (note);
    if (msg_decode (in->data, &q, NULL) == -1)
        return;
    switch (q.type) {
    case MSG_hello:
        m = (struct msg) MSG_INIT (welcome, q.request);
        m.u.welcome.version = PROTO_VERSION;
        m.u.welcome.name = bytes_str (realm_name (f.rl));
        answer (in, &m);
        break;
    case MSG_checkpoint_get:
        m = (struct msg) MSG_INIT (checkpoint, q.request);
        if (logbook_at (&f.book, logbook_size (&f.book), &note, NULL) == 0) {
            if (!strncmp (f.lie, "note-", 5))
                forge_note (&note);
            m.u.checkpoint.note = buf_bytes (&note);
            answer (in, &m);
        }
        break;
    case MSG_entry_get:
        on_entry (in, &q);
        break;
    case MSG_proof_get:
        on_proof (in, &q);
        break;
    case MSG_verdict_get:
        on_verdict (in, &q);
        break;
    default:
        break;
    }
    msg_release (&q);
}

int main (int argc, char **argv)
{
    struct err e = ERR_INIT;
    struct ledger *ledger;
    if (argc != 4)
        return 2;
    char *db CLEANUP (free_ptr) = xasprintf ("%s/state/verdicts.db", argv[1]);
    if (net_start (&e) == -1 || realm_open (&f.rl, argv[1], &e) == -1 || ledger_open (&ledger, db, &e) == -1) {
        fprintf (stderr, "log_forger: %s\n", e.msg);
        return 1;
    }
    realm_admit (f.rl, ROLE_ANY);
    f.lie = argv[3];
    f.book = (struct logbook){ ledger, realm_roster (f.rl), realm_root (f.rl), realm_name (f.rl), &realm_keys (f.rl)->sign };
    f.router = net_router (argv[2], &realm_keys (f.rl)->transport, (struct net_room){ 1000, 1000, NET_FRAME_MAX }, &e);
    if (!f.router) {
        fprintf (stderr, "log_forger: %s\n", e.msg);
        return 1;
    }
    puts ("ready");
    fflush (stdout);
    for (;;) {
        struct net_in in;
        if (!net_wait (f.router, -1))
            return 0;
        if (net_recv (f.router, &in, &e) == 1) {
            take (&in);
            net_in_release (&in);
        }
    }
}
