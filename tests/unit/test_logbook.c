/* The verifier's log on disk and in its answers: undone turns, restarts, a damaged tree; which witnesses are taken and which count; and what a client makes of it. */
#include "verifier/logbook.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/key.h"
#include "base/file.h"
#include "verifier/checkpoint.h"

static struct digest leaves[2048];

static struct bytes entry (size_t i, char text[32])
{
    (void) snprintf (text, 32, "entry %zu", i);
    return bytes_str (text);
}

/* MTH of the first n leaves, as it is defined. */
static struct digest reference (size_t from, size_t n)
{
    size_t k = 1;
    if (n == 0)
        return tlog_empty ();
    if (n == 1)
        return leaves[from];
    while (k * 2 < n)
        k *= 2;
    struct digest a = reference (from, k), b = reference (from + k, n - k);
    return tlog_node (&a, &b);
}

static struct ledger *reopen (struct ledger **l, const char *path)
{
    struct err e = ERR_INIT;
    ledger_close (l);
    cr_assert_eq (ledger_open (l, path, &e), 0, "%s", e.msg);
    return *l;
}

static void grow (struct ledger *l, size_t to)
{
    struct err e = ERR_INIT;
    char text[32];
    cr_assert_eq (ledger_begin (l, &e), 0, "%s", e.msg);
    for (size_t i = ledger_next_index (l) - 1; i < to; i++) {
        leaves[i] = tlog_leaf (entry (i, text));
        cr_assert_eq (ledger_verdict_add (l, i + 1, 0, entry (i, text), &e), 0, "%s", e.msg);
    }
    cr_assert_eq (ledger_commit (l, &e), 0, "%s", e.msg);
}

static void check_root (struct ledger *l, size_t n)
{
    struct err e = ERR_INIT;
    struct tlog_source src = ledger_tiles (l);
    struct digest root, want = reference (0, n);
    cr_assert_eq (tlog_root (&src, n, &root, &e), 0, "%s", e.msg);
    cr_assert (digest_eq (&root, &want), "root of %zu", n);
}

static char *scratch (void)
{
    char *dir = xstrdup ("/tmp/assay-logbook.XXXXXX");
    cr_assert (mkdtemp (dir) != NULL);
    return dir;
}

static void drop (char **dir)
{
    (void) file_remove_tree (*dir, NULL);
    free (*dir);
}

static void sql (const char *path, const char *text)
{
    sqlite3 *db;
    cr_assert_eq (sqlite3_open (path, &db), SQLITE_OK);
    cr_assert_eq (sqlite3_exec (db, text, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg (db));
    sqlite3_close (db);
}

Test (ledger, the_tree_survives_restarts_and_undone_turns_at_every_edge_of_a_tile, .timeout = 120)
{
    static const size_t sizes[] = { 1, 2, 254, 255, 256, 257, 300, 511, 512, 513, 1024, 1500 };
    char *dir CLEANUP (drop) = scratch (), *path CLEANUP (free_ptr) = xasprintf ("%s/v.db", dir);
    struct err e = ERR_INIT;
    struct ledger *l = NULL;
    reopen (&l, path);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t at = ledger_next_index (l) - 1;
        /* a turn that is undone leaves no trace, however many tiles it filled, and though it read them */
        cr_assert_eq (ledger_begin (l, &e), 0);
        for (size_t k = at; k < at + 700; k++)
            cr_assert_eq (ledger_verdict_add (l, k + 1, 0, bytes_str ("undone"), &e), 0, "%s", e.msg);
        struct tlog_source src = ledger_tiles (l);
        struct digest undone;
        cr_assert_eq (tlog_root (&src, at + 700, &undone, &e), 0, "%s", e.msg);
        ledger_rollback (l);
        cr_assert_eq (ledger_next_index (l), at + 1);
        if (at)
            check_root (l, at);
        grow (l, sizes[i]);
        check_root (l, sizes[i]);
        if (i % 2)
            reopen (&l, path);
        check_root (l, sizes[i]);
        check_root (l, sizes[i] / 2 + 1 > sizes[i] ? sizes[i] : sizes[i] / 2 + 1);
    }
    ledger_close (&l);
}

Test (ledger, a_tree_that_is_gone_is_made_again_and_a_damaged_one_is_refused, .timeout = 60)
{
    static const struct {
        const char *sql, *says; /* says NULL: nothing is lost; "" it opens, and does not answer for what it cannot read */
    } rows[] = {
        { "DELETE FROM tree", NULL },
        { "DELETE FROM tree WHERE tile = 2", NULL }, /* the last of its level */
        { "DELETE FROM tree WHERE tile = 0", "" },
        { "UPDATE tree SET hashes = substr (hashes, 1, 32) WHERE tile = 1", "" },
        { "DELETE FROM tree WHERE tile = 1 OR tile = 2", "level 1 of its tree" },
        { "DELETE FROM tree WHERE tile >> 56 = 1", "level 1 of its tree" },
        { "UPDATE tree SET hashes = substr (hashes, 1, 31) WHERE tile = 2", "tile" },
        { "UPDATE tree SET hashes = x'' WHERE tile = 2", "is empty" },
        { "DELETE FROM verdict WHERE idx > 590", "and its tree 600" },
        { "DELETE FROM tree; DELETE FROM verdict WHERE idx = 300", "verdict 300 is missing" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char *dir CLEANUP (drop) = scratch (), *path CLEANUP (free_ptr) = xasprintf ("%s/v.db", dir);
        struct err e = ERR_INIT;
        struct ledger *l = NULL;
        struct digest root;
        reopen (&l, path);
        grow (l, 600);
        ledger_close (&l);
        sql (path, rows[i].sql);
        bool opens = !rows[i].says || !*rows[i].says;
        cr_assert_eq (ledger_open (&l, path, &e), opens ? 0 : -1, "%s: %s", rows[i].sql, e.msg);
        if (!opens) {
            cr_assert (strstr (e.msg, rows[i].says), "%s: %s", rows[i].sql, e.msg);
            continue;
        }
        struct tlog_source src = ledger_tiles (l);
        if (rows[i].says) {
            bool refused = tlog_root (&src, 100, &root, &e) == -1 || tlog_root (&src, 500, &root, &e) == -1;
            cr_assert (refused && e.code == EC_INTERNAL, "%s: %s", rows[i].sql, e.msg);
        } else
            check_root (l, 600);
        ledger_close (&l);
    }
}

/* ---- a log with witnesses ---- */

static struct {
    struct sign_key root;
    struct keys verifier, w[5];
    struct roster *roster;
    struct ledger *ledger;
    struct logbook book;
    const struct principal *self;
} t;

static void enter (struct msg *m)
{
    struct err e = ERR_INIT;
    BUF (body);
    BUF (raw);
    m->u.roster_entry.by = bytes_str ("root");
    m->u.roster_entry.seq = roster_seq (t.roster) + 1;
    m->u.roster_entry.prev = roster_last (t.roster);
    m->u.roster_entry.time = 1000 + m->u.roster_entry.seq;
    msg_encode (m, &body);
    envelope_sign (TYPE_ROSTER, buf_bytes (&body), &t.root, &raw);
    cr_assert_eq (roster_add (t.roster, buf_bytes (&raw), &e), 0, "%s", e.msg);
}

static void enrol (const char *name, const char *owner, unsigned roles, struct keys *k)
{
    struct msg m = MSG_INIT (roster_entry, 0);
    cr_assert_eq (keys_make (k, NULL), 0);
    m.u.roster_entry.kind = ENTRY_ENROL;
    m.u.roster_entry.name = bytes_str (name);
    m.u.roster_entry.owner = bytes_str (owner);
    m.u.roster_entry.roles = roles;
    memcpy (m.u.roster_entry.sign_key.b, k->sign.pub, 32);
    memcpy (m.u.roster_entry.transport_key.b, k->transport.pub, 32);
    memcpy (m.u.roster_entry.seal_key.b, k->seal_pub, 32);
    enter (&m);
}

/* w0, w1 of two owners; w2 of w0's owner; w3 of the verifier's; w4 is revoked by take_away (). */
static void open_log (size_t n)
{
    static const char *const owners[] = { "a", "b", "a", "operator", "c" };
    struct err e = ERR_INIT;
    memset (&t, 0, sizeof t);
    cr_assert_eq (rootkey_make (&t.root, &e), 0);
    t.roster = roster_new (t.root.pub);
    enrol ("verifier", "operator", ROLE_VERIFIER, &t.verifier);
    for (size_t i = 0; i < 5; i++) {
        char name[8];
        (void) snprintf (name, sizeof name, "w%zu", i);
        enrol (name, owners[i], ROLE_VIEWER, &t.w[i]);
    }
    cr_assert_eq (ledger_open (&t.ledger, ":memory:", &e), 0, "%s", e.msg);
    t.self = roster_find (t.roster, "verifier");
    t.book = (struct logbook){ t.ledger, t.roster, t.root.pub, "verifier", &t.verifier.sign };
    grow (t.ledger, n);
}

static void close_log (void)
{
    ledger_close (&t.ledger);
    keys_release (&t.verifier);
    for (size_t i = 0; i < 5; i++)
        keys_release (&t.w[i]);
    roster_destroy (&t.roster);
    rootkey_release (&t.root);
}

static void take_away (const char *name)
{
    struct msg m = MSG_INIT (roster_entry, 0);
    m.u.roster_entry.kind = ENTRY_REVOKE;
    m.u.roster_entry.name = bytes_str (name);
    m.u.roster_entry.since = 1001;
    enter (&m);
    t.self = roster_find (t.roster, "verifier");
}

/* What witness i hands in of the checkpoint of that size. */
static void signed_by (int i, uint64_t size, struct buf *note)
{
    struct err e = ERR_INIT;
    struct note n;
    char name[NOTE_NAME], who[8];
    BUF (own);
    cr_assert_eq (logbook_at (&t.book, size, &own, &e), 0, "%s", e.msg);
    cr_assert_eq (note_parse (buf_bytes (&own), &n, &e), 0, "%s", e.msg);
    (void) snprintf (who, sizeof who, "w%d", i);
    note_witness (n.origin, who, name);
    buf_add (note, n.text.p, n.text.len);
    buf_adds (note, "\n");
    note_line (&n.v[0], note);
    note_sign (name, buf_bytes (&n.text), &t.w[i].sign, note);
    note_release (&n);
}

static int cosign (int i, uint64_t size, struct err *e)
{
    char who[8];
    BUF (note);
    signed_by (i, size, &note);
    (void) snprintf (who, sizeof who, "w%d", i);
    return logbook_cosign (&t.book, buf_bytes (&note), roster_find (t.roster, who), e);
}

/* The size of the newest checkpoint that k witnesses signed, as a client checks it; 0: none. */
static uint64_t witnessed (uint64_t k)
{
    struct err e = ERR_INIT;
    struct note n;
    struct witnesses w;
    const struct principal *who;
    BUF (raw);
    if (logbook_checkpoint (&t.book, k, &raw, &e) == -1) {
        cr_assert_eq (e.code, EC_NOT_FOUND, "%s", e.msg);
        return 0;
    }
    cr_assert_eq (checkpoint_open (t.roster, t.root.pub, buf_bytes (&raw), &n, &who, &e), 0, "%s", e.msg);
    cr_assert_eq (checkpoint_witnesses (t.roster, &n, who, &w, &e), 0, "%s", e.msg);
    cr_assert (w.n >= k, "the verifier shows %zu witnesses where %llu were asked for", w.n, (unsigned long long) k);
    uint64_t size = n.size;
    note_release (&n);
    return size;
}

Test (logbook, witnesses_count_by_owner_and_never_the_verifiers_own)
{
    struct err e = ERR_INIT;
    open_log (20);
    cr_assert_eq (witnessed (1), 0u);
    cr_assert_eq (cosign (3, 20, &e), 0, "%s", e.msg); /* of the verifier's owner: taken, and worth nothing */
    cr_assert_eq (witnessed (1), 0u);
    cr_assert_eq (cosign (0, 10, &e), 0, "%s", e.msg);
    cr_assert_eq (cosign (2, 10, &e), 0, "%s", e.msg); /* the same owner again */
    cr_assert_eq (witnessed (1), 10u);
    cr_assert_eq (witnessed (2), 0u);
    cr_assert_eq (cosign (1, 10, &e), 0, "%s", e.msg);
    cr_assert_eq (witnessed (2), 10u);
    cr_assert_eq (cosign (4, 12, &e), 0, "%s", e.msg);
    cr_assert_eq (cosign (0, 12, &e), 0, "%s", e.msg);
    cr_assert_eq (witnessed (2), 12u);
    cr_assert_eq (cosign (4, 10, &e), 0, "%s", e.msg);
    cr_assert_eq (witnessed (3), 10u);
    take_away ("w4");
    cr_assert_eq (witnessed (3), 0u);
    cr_assert_eq (witnessed (2), 10u);
    cr_assert_eq (witnessed (1), 12u);
    /* one owner cannot push out what others signed */
    grow (t.ledger, 100);
    for (uint64_t size = 30; size <= 100; size++)
        cr_assert_eq (cosign (2, size, &e), 0, "%s", e.msg);
    cr_assert_eq (witnessed (2), 10u);
    cr_assert_eq (witnessed (1), 100u);
    close_log ();
}

Test (logbook, what_is_handed_in_is_checked)
{
    struct err e = ERR_INIT;
    const struct principal *w0, *w1;
    open_log (20);
    w0 = roster_find (t.roster, "w0");
    w1 = roster_find (t.roster, "w1");
    BUF (good);
    signed_by (0, 20, &good);
    cr_assert_eq (logbook_cosign (&t.book, buf_bytes (&good), w1, &e), -1); /* it is another's */
    cr_assert_eq (e.code, EC_BAD_SIGNATURE, "%s", e.msg);
    cr_assert_eq (logbook_cosign (&t.book, buf_bytes (&good), t.self, &e), -1);
    cr_assert_eq (e.code, EC_NOT_ALLOWED, "%s", e.msg);
    for (size_t i = 0; i < good.len; i += 7) {
        good.p[i] ^= 2;
        cr_assert_eq (logbook_cosign (&t.book, buf_bytes (&good), w0, &e), -1, "byte %zu", i);
        good.p[i] ^= 2;
    }
    for (size_t i = 0; i < good.len; i++)
        cr_assert_eq (logbook_cosign (&t.book, bytes_of (good.p, i), w0, &e), -1, "cut at %zu", i);
    /* a genuine note of our own key, and of no state that the log was ever in */
    struct digest other = digest_of ("x", 1);
    char origin[NOTE_NAME], name[NOTE_NAME];
    static const uint64_t sizes[] = { 0, 20, 21, 999999999 };
    note_origin (t.root.pub, "verifier", origin);
    note_witness (origin, "w0", name);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        BUF (text);
        BUF (note);
        note_text (origin, sizes[i], &other, &text);
        buf_add (&note, text.p, text.len);
        buf_adds (&note, "\n");
        note_sign (origin, buf_bytes (&text), &t.verifier.sign, &note);
        note_sign (name, buf_bytes (&text), &t.w[0].sign, &note);
        cr_assert_eq (logbook_cosign (&t.book, buf_bytes (&note), w0, &e), -1);
        cr_assert_eq (e.code, EC_CONFLICT, "%s", e.msg);
    }
    cr_assert_eq (witnessed (1), 0u, "something of it was kept");
    cr_assert_eq (logbook_cosign (&t.book, buf_bytes (&good), w0, &e), 0, "%s", e.msg);
    cr_assert_eq (witnessed (1), 20u);
    /* and proofs of what is not there */
    struct tlog_path p;
    cr_assert_eq (logbook_prove (&t.book, PROOF_INCLUSION, 20, 20, &p, &e), -1);
    cr_assert_eq (logbook_prove (&t.book, PROOF_INCLUSION, 0, 21, &p, &e), -1);
    cr_assert_eq (logbook_prove (&t.book, PROOF_GROWTH, 21, 20, &p, &e), -1);
    cr_assert_eq (logbook_prove (&t.book, PROOF_INCLUSION, 0, UINT64_MAX, &p, &e), -1);
    cr_assert_eq (logbook_prove (&t.book, 3, 0, 20, &p, &e), -1);
    close_log ();
}

Test (logbook, a_checkpoint_is_the_same_bytes_whenever_it_is_asked_for)
{
    struct err e = ERR_INIT;
    BUF (before);
    BUF (after);
    open_log (300);
    cr_assert_eq (logbook_at (&t.book, 257, &before, &e), 0, "%s", e.msg);
    grow (t.ledger, 1300);
    cr_assert_eq (logbook_at (&t.book, 257, &after, &e), 0, "%s", e.msg);
    cr_assert (bytes_eq (buf_bytes (&before), buf_bytes (&after)));
    close_log ();
}

Test (checkpoint, each_pair_of_sizes_is_an_extension_and_nothing_else_is)
{
    struct err e = ERR_INIT;
    open_log (40);
    for (uint64_t a = 0; a <= 40; a++)
        for (uint64_t b = a; b <= 40; b++) {
            struct note old, now;
            const struct principal *who;
            struct tlog_path p;
            BUF (one);
            BUF (two);
            cr_assert_eq (logbook_at (&t.book, a, &one, &e), 0);
            cr_assert_eq (logbook_at (&t.book, b, &two, &e), 0);
            cr_assert_eq (checkpoint_open (t.roster, t.root.pub, buf_bytes (&one), &old, &who, &e), 0, "%s", e.msg);
            cr_assert_eq (checkpoint_open (t.roster, t.root.pub, buf_bytes (&two), &now, &who, &e), 0, "%s", e.msg);
            cr_assert_eq (logbook_prove (&t.book, PROOF_GROWTH, a, b, &p, &e), 0, "%s", e.msg);
            cr_assert_eq (checkpoint_extends (&old, &now, &p, &e), 0, "%llu %llu: %s", (unsigned long long) a, (unsigned long long) b, e.msg);
            cr_assert_eq (checkpoint_extends (&now, &old, &p, &e), a == b ? 0 : -1);
            old.root.b[3] ^= 1;
            cr_assert_eq (checkpoint_extends (&old, &now, &p, &e), -1);
            cr_assert_eq (e.kind, ERR_DAMAGED);
            note_release (&old);
            note_release (&now);
        }
    close_log ();
}

Test (checkpoint, an_inclusion_proof_travels_as_text)
{
    struct err e = ERR_INIT;
    char text[32];
    open_log (77);
    for (uint64_t i = 0; i < 77; i++) {
        struct inclusion in = { .index = i }, back;
        struct note n;
        const struct principal *who;
        BUF (raw);
        cr_assert_eq (logbook_prove (&t.book, PROOF_INCLUSION, i, 77, &in.path, &e), 0, "%s", e.msg);
        cr_assert_eq (logbook_at (&t.book, 77, &in.note, &e), 0);
        inclusion_text (&in, &raw);
        cr_assert_eq (inclusion_parse (buf_bytes (&raw), &back, &e), 0, "%s", e.msg);
        cr_assert (back.index == i && back.path.n == in.path.n);
        cr_assert_eq (checkpoint_open (t.roster, t.root.pub, buf_bytes (&back.note), &n, &who, &e), 0, "%s", e.msg);
        cr_assert_eq (inclusion_check (&back, &n, entry (i, text), &e), 0, "%s", e.msg);
        cr_assert_eq (inclusion_check (&back, &n, entry (i + 1, text), &e), -1);
        cr_assert_eq (e.kind, ERR_DAMAGED);
        for (size_t cut = 0; cut < raw.len; cut += 3) {
            struct inclusion part;
            struct note m;
            bool good = inclusion_parse (bytes_of (raw.p, cut), &part, NULL) == 0;
            if (good && checkpoint_open (t.roster, t.root.pub, buf_bytes (&part.note), &m, &who, NULL) == 0) {
                note_release (&m);
                cr_assert (false, "cut at %zu", cut);
            }
            inclusion_release (&part);
        }
        note_release (&n);
        inclusion_release (&in);
        inclusion_release (&back);
    }
    close_log ();
}
