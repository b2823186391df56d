/* logtool: for scenarios about the log of verdicts.
 *
 *     logtool fill STATE N          puts N entries "filler verdict I" (I from 1) into the ledger in the folder STATE of a verifier that does not run
 *     logtool secret DIR            adds a verdict on a submission that nobody made to the log of the verifier in the folder DIR, which does not run
 *     logtool dump DIR OUT          as the principal in DIR, asks the verifier for its newest checkpoint and for proofs, and the broker for all verdicts:
 *                                   OUT/keys (NAME HEX), OUT/checkpoint, OUT/entry-I, OUT/inclusion-I, OUT/growth-N, with I from 0
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/realm.h"
#include "base/file.h"
#include "proto/statement.h"
#include "verifier/checkpoint.h"
#include "verifier/ledger.h"

static void die (const struct err *e)
{
    fprintf (stderr, "logtool: %s\n", e->msg);
    exit (e->kind ? (int) e->kind : 1);
}

static void fill (const char *state, uint64_t n)
{
    struct err e = ERR_INIT;
    struct ledger *l;
    char *path CLEANUP (free_ptr) = xasprintf ("%s/verdicts.db", state);
    if (file_mkdirs (state, 0700, &e) == -1 || ledger_open (&l, path, &e) == -1 || ledger_begin (l, &e) == -1)
        die (&e);
    for (uint64_t i = 1; i <= n; i++) {
        char text[64];
        (void) snprintf (text, sizeof text, "filler verdict %llu", (unsigned long long) i);
        if (ledger_verdict_add (l, i, 0, bytes_str (text), &e) == -1)
            die (&e);
        if (i % 50000 == 0 && (ledger_commit (l, &e) == -1 || ledger_begin (l, &e) == -1))
            die (&e);
    }
    if (ledger_commit (l, &e) == -1)
        die (&e);
    ledger_close (&l);
}

/* The last verdict once more, as one on another submission. */
static void secret (const char *dir)
{
    struct err e = ERR_INIT;
    struct realm *rl = NULL;
    struct ledger *l = NULL;
    struct envelope v = { 0 };
    struct verdict verdict = { 0 };
    char *path CLEANUP (free_ptr) = xasprintf ("%s/state/verdicts.db", dir);
    BUF (raw);
    BUF (json);
    BUF (envelope);
    if (realm_open (&rl, dir, &e) == -1 || ledger_open (&l, path, &e) == -1 || ledger_verdict_at (l, ledger_next_index (l) - 1, &raw, &e) != 1
        || envelope_open_json (buf_bytes (&raw), TYPE_INTOTO, &v, &e) == -1 || verdict_parse (v.body, &verdict, &e) == -1)
        die (&e);
    verdict.submission.b[0] ^= 1;
    verdict.index = ledger_next_index (l);
    verdict_json (&verdict, &json);
    envelope_sign_json (TYPE_INTOTO, buf_bytes (&json), &realm_keys (rl)->sign, &envelope);
    if (ledger_begin (l, &e) == -1 || ledger_verdict_add (l, verdict.index, 0, buf_bytes (&envelope), &e) == -1 || ledger_commit (l, &e) == -1)
        die (&e);
    verdict_release (&verdict);
    envelope_release (&v);
    ledger_close (&l);
    realm_close (&rl);
}

/* ---- dump ---- */

static const char *out;

static void put (struct bytes text, const char *name, int64_t n)
{
    struct err e = ERR_INIT;
    char *path CLEANUP (free_ptr) = n < 0 ? xasprintf ("%s/%s", out, name) : xasprintf ("%s/%s-%lld", out, name, (long long) n);
    if (file_write (path, text, 0644, &e) == -1)
        die (&e);
}

static struct client *dial (struct realm *rl, unsigned role)
{
    struct err e = ERR_INIT;
    struct client *c;
    if (client_open (&c, rl, role, 10000, &e) == -1)
        die (&e);
    return c;
}

static void path (struct client *c, uint64_t kind, uint64_t at, uint64_t size, struct tlog_path *p)
{
    struct msg m = MSG_INIT (proof_get, client_request (c));
    struct net_in in;
    struct err e = ERR_INIT;
    m.u.proof_get.kind = kind;
    m.u.proof_get.at = at;
    m.u.proof_get.size = size;
    if (client_ask (c, &m, MSG_proof, &in, &e) == -1)
        die (&e);
    for (p->n = 0; p->n < m.u.proof.path.n; p->n++)
        memcpy (p->v[p->n].b, m.u.proof.path.v[p->n].p, 32);
    msg_release (&m);
    net_in_release (&in);
}

static void entries (struct realm *rl)
{
    struct client *c = dial (rl, ROLE_BROKER);
    struct err e = ERR_INIT;
    for (uint64_t from = 1, last = 1; from <= last;) {
        struct msg m = MSG_INIT (replay, client_request (c)), ev;
        struct net_in in;
        m.u.replay.from = from;
        m.u.replay.limit = 256;
        if (client_ask (c, &m, MSG_events, &in, &e) == -1)
            die (&e);
        for (size_t i = 0; i < m.u.events.events.n; i++) {
            struct envelope v = { 0 };
            struct verdict verdict;
            if (msg_decode_as (m.u.events.events.v[i], MSG_event, &ev, &e) == -1)
                die (&e);
            if (bytes_eqs (ev.u.event.kind, "verdict") && envelope_open_json (ev.u.event.payload, TYPE_INTOTO, &v, &e) == 0) {
                if (verdict_parse (v.body, &verdict, &e) == -1)
                    die (&e);
                put (ev.u.event.payload, "entry", (int64_t) verdict.index - 1);
                verdict_release (&verdict);
            }
            envelope_release (&v);
            msg_release (&ev);
        }
        last = m.u.events.last;
        from = m.u.events.next > from ? m.u.events.next : last + 1;
        msg_release (&m);
        net_in_release (&in);
    }
    client_close (&c);
}

static void keys (struct realm *rl)
{
    const struct roster *r = realm_roster (rl);
    const struct principal *verifier = roster_role (r, ROLE_VERIFIER, 0);
    char origin[NOTE_NAME], name[NOTE_NAME], hex[65];
    BUF (text);
    note_origin (realm_root (rl), verifier->name, origin);
    for (size_t i = 0; i < roster_count (r); i++) {
        const struct principal *p = roster_at (r, i);
        hex_encode (p->sign_key, 32, hex);
        note_witness (origin, p->name, name);
        buf_addf (&text, "%s %s\n", p == verifier ? origin : name, hex);
    }
    put (buf_bytes (&text), "keys", -1);
}

static bool chosen (uint64_t i, uint64_t size)
{
    static const uint64_t edges[] = { 0, 1, 2, 254, 255, 256, 257, 511, 512, 4095, 65535, 65536, 65537 };
    for (size_t k = 0; k < sizeof edges / sizeof *edges; k++)
        if (i == edges[k])
            return true;
    return i + 24 >= size || i % 7919 == 0;
}

static void dump (const char *dir)
{
    struct err e = ERR_INIT;
    struct realm *rl;
    if (realm_open (&rl, dir, &e) == -1)
        die (&e);
    struct client *c = dial (rl, ROLE_VERIFIER);
    struct msg m = MSG_INIT (checkpoint_get, client_request (c));
    struct net_in in;
    struct note note;
    if (client_ask (c, &m, MSG_checkpoint, &in, &e) == -1 || note_parse (m.u.checkpoint.note, &note, &e) == -1)
        die (&e);
    put (m.u.checkpoint.note, "checkpoint", -1);
    keys (rl);
    entries (rl);
    for (uint64_t i = 0; i < note.size; i++) {
        struct inclusion proof = { .index = i };
        struct tlog_path growth;
        BUF (text);
        BUF (list);
        if (!chosen (i, note.size))
            continue;
        path (c, 1, i, note.size, &proof.path);
        buf_add (&proof.note, m.u.checkpoint.note.p, m.u.checkpoint.note.len);
        inclusion_text (&proof, &text);
        put (buf_bytes (&text), "inclusion", (int64_t) i);
        inclusion_release (&proof);
        if (i == 0)
            continue;
        path (c, 2, i, note.size, &growth);
        for (size_t k = 0; k < growth.n; k++) {
            base64_add (&list, bytes_of (growth.v[k].b, 32));
            buf_adds (&list, "\n");
        }
        put (buf_bytes (&list), "growth", (int64_t) i);
    }
    note_release (&note);
    msg_release (&m);
    net_in_release (&in);
    client_close (&c);
    realm_close (&rl);
}

int main (int argc, char **argv)
{
    if (argc == 4 && !strcmp (argv[1], "fill"))
        fill (argv[2], strtoull (argv[3], NULL, 10));
    else if (argc == 3 && !strcmp (argv[1], "secret"))
        secret (argv[2]);
    else if (argc == 4 && !strcmp (argv[1], "dump")) {
        out = argv[3];
        dump (argv[2]);
    } else {
        fprintf (stderr, "usage: logtool fill STATE N | logtool secret DIR | logtool dump DIR OUT\n");
        return 2;
    }
    return 0;
}
