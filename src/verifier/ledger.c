#include "verifier/ledger.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "verifier/ledger_schema.h"

#define TILE_ID(level, n) ((int64_t) (level) << 56 | (int64_t) (n))
#define KEPT "16" /* cosignatures of a witness */

#define STEP                                                                                                                                      \
    "key, sub, name, no, round, sought, seen, closed, closed_reason, said, final, state, outcome, artifact, verdict, support, against, votes, needs," \
    " lead, usable, inputs FROM step"

#define VOTE "lease, worker, owner, exit_status, outcome, artifact, result_id, time, inputs, broker, store, image"

enum query {
    Q_BEGIN, Q_COMMIT, Q_ROLLBACK, Q_MOVE, Q_SUB_ADD, Q_SUB_GET, Q_STEP_ADD, Q_STEP_PUT, Q_STEP_FIND, Q_STEPS_OPEN, Q_VOTE_ADD, Q_RESULT_ADD, Q_VOTES, Q_TALLY, Q_VERDICT_ADD,
    Q_VERDICT_GET, Q_SEND, Q_OUTBOX, Q_SENT, Q_STEPS_ALL, Q_STEPS_VOTED, Q_STEP_GET, Q_READER_ADD, Q_READERS, Q_ROSTER,
    Q_TILE_PUT, Q_TILE_GET, Q_COSIGN, Q_COSIGN_TRIM, Q_COSIGNED, Q_COSIGNATURES, Q_VERDICT_AT, Q_COUNT
};
static const char *const texts[Q_COUNT] = {
    [Q_BEGIN] = "BEGIN IMMEDIATE",
    [Q_COMMIT] = "COMMIT",
    [Q_ROLLBACK] = "ROLLBACK",
    [Q_MOVE] = "UPDATE counter SET value = ?1 WHERE name = 'position'",
    [Q_SUB_ADD] = "INSERT OR IGNORE INTO submission (id, envelope) VALUES (?1, ?2)",
    [Q_SUB_GET] = "SELECT envelope FROM submission WHERE id = ?1",
    [Q_STEP_ADD] = "INSERT INTO step (sub, name, no, round, sought, seen, closed, closed_reason, said, final, state, outcome, artifact, verdict, support,"
                   " against, votes, needs, lead, usable, inputs) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21)",
    [Q_STEP_PUT] = "UPDATE step SET round=?4, sought=?5, seen=?6, closed=?7, closed_reason=?8, said=?9, final=?10, state=?11, outcome=?12, artifact=?13,"
                   " verdict=?14, support=?15, against=?16, votes=?17, needs=?18, lead=?19, usable=?20, inputs=?21 WHERE key=?22",
    [Q_STEP_FIND] = "SELECT " STEP " WHERE sub = ?1 AND name = ?2",
    [Q_STEPS_OPEN] = "SELECT " STEP " WHERE final = 0 AND key > ?1 ORDER BY key LIMIT ?2",
    [Q_VOTE_ADD] = "INSERT OR IGNORE INTO vote (lease, step, round, worker, owner, exit_status, outcome, artifact, result_id, time, inputs, broker, store, image, place)"
                   " VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,(SELECT coalesce(max(place), 0) + 1 FROM result))",
    [Q_RESULT_ADD] = "INSERT INTO result (place, envelope) SELECT place, ?4 FROM vote WHERE step = ?1 AND round = ?2 AND lease = ?3",
    [Q_VOTES] = "SELECT " VOTE ", envelope FROM vote JOIN result USING (place) WHERE step = ?1 AND round = ?2 ORDER BY lease",
    [Q_TALLY] = "SELECT " VOTE " FROM vote WHERE step = ?1 AND round = ?2 ORDER BY lease",
    [Q_VERDICT_ADD] = "INSERT INTO verdict (idx, step, envelope) VALUES (?1, ?2, ?3)",
    [Q_VERDICT_GET] = "SELECT envelope FROM verdict WHERE step = ?1 ORDER BY idx DESC LIMIT 1",
    [Q_SEND] = "INSERT INTO outbox (frame) VALUES (?1)",
    [Q_OUTBOX] = "SELECT id, frame FROM outbox WHERE id > ?1 ORDER BY id LIMIT ?2",
    [Q_SENT] = "DELETE FROM outbox WHERE id = ?1",
    [Q_STEPS_ALL] = "SELECT " STEP " WHERE key > ?1 ORDER BY key LIMIT ?2",
    [Q_STEPS_VOTED] = "SELECT " STEP " WHERE key IN (SELECT DISTINCT step FROM vote WHERE worker = ?1 AND step > ?2 AND time >= ?3 ORDER BY step LIMIT ?4) ORDER BY key",
    [Q_TILE_PUT] = "INSERT OR REPLACE INTO tree (tile, hashes) VALUES (?1, ?2)",
    [Q_TILE_GET] = "SELECT hashes FROM tree WHERE tile = ?1",
    [Q_COSIGN] = "INSERT OR REPLACE INTO cosignature (size, name, line) VALUES (?1, ?2, ?3)",
    [Q_COSIGN_TRIM] = "DELETE FROM cosignature WHERE name = ?1 AND size < (SELECT min(size) FROM (SELECT size FROM cosignature WHERE name = ?1 ORDER BY size DESC LIMIT " KEPT "))",
    [Q_COSIGNED] = "SELECT size, name FROM cosignature ORDER BY size DESC, name",
    [Q_COSIGNATURES] = "SELECT name, line FROM cosignature WHERE size = ?1 ORDER BY name",
    [Q_VERDICT_AT] = "SELECT envelope FROM verdict WHERE idx = ?1",
    [Q_STEP_GET] = "SELECT " STEP " WHERE key = ?1",
    [Q_READER_ADD] = "INSERT OR IGNORE INTO reader (step, round, owner) VALUES (?1, ?2, ?3)",
    [Q_READERS] = "SELECT owner FROM reader WHERE step = ?1 AND round = ?2",
    [Q_ROSTER] = "UPDATE counter SET value = CASE name WHEN 'roster' THEN ?1 ELSE ?2 END WHERE name IN ('roster', 'roster_at')",
};

struct ledger {
    sqlite3 *sql;
    sqlite3_stmt *q[Q_COUNT];
    uint64_t position, position_begun, index, index_begun, roster, roster_begun;
    int64_t roster_at, roster_at_begun;
    struct tail {                /* the last tile of a level, as far as it is filled */
        struct digest v[TLOG_TILE];
        uint64_t n;              /* hashes in the level */
        bool dirty;
    } tail[TLOG_LEVELS];
    struct digest read[TLOG_TILE]; /* the tile that was read last; none while read_count is 0. It is a full one, which never changes but by a rollback */
    unsigned read_level;
    uint64_t read_n;
    int read_count;
    bool lost;                     /* the tails are not what the disk has: they are read again before the next turn */
};

static int fail (struct ledger *l, struct err *e, const char *what)
{
    return err_code (e, EC_INTERNAL, "ledger: %s: %s", what, l->sql ? sqlite3_errmsg (l->sql) : "out of memory");
}

static sqlite3_stmt *query (struct ledger *l, enum query which)
{
    sqlite3_reset (l->q[which]);
    sqlite3_clear_bindings (l->q[which]);
    return l->q[which];
}

static int run (struct ledger *l, sqlite3_stmt *q, const char *what, struct err *e)
{
    int rc = sqlite3_step (q) == SQLITE_DONE ? 0 : fail (l, e, what);
    sqlite3_reset (q);
    return rc;
}

static void put_digest (sqlite3_stmt *q, int i, const struct digest *d)
{
    sqlite3_bind_blob (q, i, d->b, 32, SQLITE_STATIC);
}

static void put_bytes (sqlite3_stmt *q, int i, struct bytes b)
{
    sqlite3_bind_blob (q, i, b.p ? b.p : (const uint8_t *) "", (int) b.len, SQLITE_STATIC);
}

static void get_digest (sqlite3_stmt *q, int i, struct digest *d)
{
    const void *p = sqlite3_column_blob (q, i);
    memset (d, 0, sizeof *d);
    if (p && sqlite3_column_bytes (q, i) == 32)
        memcpy (d->b, p, 32);
}

static void get_text (sqlite3_stmt *q, int i, char *out, size_t size)
{
    const char *s = (const char *) sqlite3_column_text (q, i);
    size_t n = s ? strnlen (s, size - 1) : 0;
    if (n)
        memcpy (out, s, n);
    out[n] = 0;
}

/* The envelope of the row with this key. 1, 0, -1 */
static int envelope_by (struct ledger *l, enum query which, int64_t key, struct buf *envelope, struct err *e)
{
    sqlite3_stmt *q = query (l, which);
    sqlite3_bind_int64 (q, 1, key);
    int rc = sqlite3_step (q);
    if (rc == SQLITE_ROW)
        buf_add (envelope, sqlite3_column_blob (q, 0), (size_t) sqlite3_column_bytes (q, 0));
    sqlite3_reset (q);
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : fail (l, e, "verdict");
}

/* ---- the tree ---- */

/* -1 an error, 0 not there, else the number of hashes in out. */
static int tile_read (struct ledger *l, unsigned level, uint64_t n, struct digest out[TLOG_TILE], struct err *e)
{
    sqlite3_stmt *q = query (l, Q_TILE_GET);
    sqlite3_bind_int64 (q, 1, TILE_ID (level, n));
    int rc = sqlite3_step (q), count = 0;
    if (rc == SQLITE_ROW) {
        int bytes = sqlite3_column_bytes (q, 0);
        if (bytes % 32 || bytes / 32 > (int) TLOG_TILE)
            rc = SQLITE_CORRUPT;
        else if (bytes)
            memcpy (out, sqlite3_column_blob (q, 0), (size_t) bytes);
        count = bytes / 32;
    }
    sqlite3_reset (q);
    return rc == SQLITE_ROW ? count : rc == SQLITE_DONE ? 0 : fail (l, e, "tile");
}

static int tails_load (struct ledger *l, struct err *e)
{
    l->lost = true;
    l->read_count = 0;
    for (unsigned level = 0; level < TLOG_LEVELS; level++) {
        struct tail *t = &l->tail[level];
        char text[128];
        (void) snprintf (text, sizeof text, "SELECT coalesce(max(tile), -2) FROM tree WHERE tile >= %lld AND tile < %lld", (long long) TILE_ID (level, 0),
                         (long long) TILE_ID (level + 1, 0));
        int64_t last = schema_number (l->sql, text);
        memset (t, 0, sizeof *t);
        if (last == -1)
            return fail (l, e, "tiles");
        if (last < 0)
            continue; /* none yet */
        last -= TILE_ID (level, 0);
        int count = tile_read (l, level, (uint64_t) last, t->v, e);
        if (count <= 0)
            return count == -1 ? -1 : err_set (e, ERR_DAMAGED, "verdict log: tile %u/%lld is empty", level, (long long) last);
        t->n = (uint64_t) last * TLOG_TILE + (uint64_t) count;
    }
    for (unsigned level = 1; level < TLOG_LEVELS; level++)
        if (l->tail[level].n != l->tail[level - 1].n / TLOG_TILE)
            return err_set (e, ERR_DAMAGED, "verdict log: level %u of its tree has %llu hashes, not %llu", level, (unsigned long long) l->tail[level].n,
                            (unsigned long long) (l->tail[level - 1].n / TLOG_TILE));
    l->lost = false;
    return 0;
}

static int tail_write (struct ledger *l, unsigned level, struct err *e)
{
    struct tail *t = &l->tail[level];
    uint64_t n = (t->n - 1) / TLOG_TILE;
    sqlite3_stmt *q = query (l, Q_TILE_PUT);
    sqlite3_bind_int64 (q, 1, TILE_ID (level, n));
    sqlite3_bind_blob (q, 2, t->v, (int) ((t->n - n * TLOG_TILE) * sizeof *t->v), SQLITE_STATIC);
    t->dirty = false;
    return run (l, q, "tile", e);
}

static int tails_write (struct ledger *l, struct err *e)
{
    for (unsigned level = 0; level < TLOG_LEVELS; level++)
        if (l->tail[level].dirty && tail_write (l, level, e) == -1)
            return -1;
    return 0;
}

static int tree_append (struct ledger *l, struct bytes entry, struct err *e)
{
    struct digest hash = tlog_leaf (entry);
    for (unsigned level = 0; level < TLOG_LEVELS; level++) {
        struct tail *t = &l->tail[level];
        t->v[t->n++ % TLOG_TILE] = hash;
        t->dirty = true;
        if (t->n % TLOG_TILE)
            return 0;
        hash = tlog_tile_root (t->v);
        if (tail_write (l, level, e) == -1)
            return -1;
    }
    return 0;
}

static int tree_tile (void *arg, unsigned level, uint64_t n, const struct digest **hashes, size_t *count, struct err *e)
{
    struct ledger *l = arg;
    if (level < TLOG_LEVELS && !l->lost && l->tail[level].n && n == (l->tail[level].n - 1) / TLOG_TILE) {
        *hashes = l->tail[level].v;
        *count = (size_t) (l->tail[level].n - n * TLOG_TILE);
        return 0;
    }
    if (l->lost)
        return err_code (e, EC_INTERNAL, "verdict log: it cannot be read now");
    if (l->read_count == 0 || l->read_level != level || l->read_n != n) {
        l->read_count = 0;
        int got = level < TLOG_LEVELS ? tile_read (l, level, n, l->read, e) : 0;
        if (got != (int) TLOG_TILE) /* not the last: it is full, or lost */
            return got == -1 ? -1 : err_code (e, EC_INTERNAL, "verdict log: tile %u/%llu has %d hashes (the database is damaged)", level, (unsigned long long) n, got);
        l->read_level = level;
        l->read_n = n;
        l->read_count = got;
    }
    *hashes = l->read;
    *count = (size_t) l->read_count;
    return 0;
}

struct tlog_source ledger_tiles (struct ledger *l)
{
    return (struct tlog_source){ tree_tile, l };
}

/* A ledger of a version that had no tree. */
static int tree_catch_up (struct ledger *l, struct err *e)
{
    if (l->tail[0].n > l->index)
        return err_set (e, ERR_DAMAGED, "the verdict log has %llu verdicts, and its tree %llu", (unsigned long long) l->index, (unsigned long long) l->tail[0].n);
    if (l->tail[0].n == l->index)
        return 0;
    int rc = run (l, query (l, Q_BEGIN), "begin", e);
    while (rc == 0 && l->tail[0].n < l->index) {
        BUF (entry);
        int found = envelope_by (l, Q_VERDICT_AT, (int64_t) l->tail[0].n + 1, &entry, e);
        if (found != 1)
            rc = found == -1 ? -1 : err_set (e, ERR_DAMAGED, "verdict %llu is missing in the log", (unsigned long long) l->tail[0].n + 1);
        if (rc == 0)
            rc = tree_append (l, buf_bytes (&entry), e);
    }
    if (rc == 0)
        rc = tails_write (l, e);
    return rc == 0 ? run (l, query (l, Q_COMMIT), "commit", e) : -1;
}

int ledger_open (struct ledger **out, const char *path, struct err *e)
{
    struct ledger *l = xcalloc (1, sizeof *l);
    int fd CLEANUP (fd_close) = !strcmp (path, ":memory:") ? -1 : open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1 && strcmp (path, ":memory:")) {
        free (l);
        return err_errno (e, "%s", path);
    }
    bool ok = sqlite3_open_v2 (path, &l->sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK
              && sqlite3_exec (l->sql, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA trusted_schema=OFF; PRAGMA wal_autocheckpoint=4000;", NULL, NULL, NULL)
                     == SQLITE_OK;
    if (ok && schema_open (l->sql, &ledger_schema, path, e) == -1) {
        ledger_close (&l);
        return -1;
    }
    for (int i = 0; ok && i < Q_COUNT; i++)
        ok = sqlite3_prepare_v3 (l->sql, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &l->q[i], NULL) == SQLITE_OK;
    if (!ok) {
        fail (l, e, path);
        ledger_close (&l);
        return -1;
    }
    int64_t position = schema_number (l->sql, "SELECT value FROM counter WHERE name = 'position'"), index = schema_number (l->sql, "SELECT coalesce(max(idx), 0) FROM verdict");
    if (position < 0 || index < 0) {
        err_set (e, ERR_DAMAGED, "%s: it has no counters, or no verdicts (not a ledger of assay's verifier)", path);
        ledger_close (&l);
        return -1;
    }
    l->position = (uint64_t) position;
    l->index = (uint64_t) index;
    l->roster = (uint64_t) schema_number (l->sql, "SELECT value FROM counter WHERE name = 'roster'");
    l->roster_at = schema_number (l->sql, "SELECT value FROM counter WHERE name = 'roster_at'");
    if (tails_load (l, e) == -1 || tree_catch_up (l, e) == -1) {
        ledger_close (&l);
        return -1;
    }
    *out = l;
    return 0;
}

void ledger_close (struct ledger **lp)
{
    struct ledger *l = *lp;
    if (!l)
        return;
    for (int i = 0; i < Q_COUNT; i++)
        sqlite3_finalize (l->q[i]);
    sqlite3_close (l->sql);
    free (l);
    *lp = NULL;
}

int ledger_begin (struct ledger *l, struct err *e)
{
    if (l->lost && tails_load (l, e) == -1)
        return -1;
    if (l->tail[0].n != l->index)
        return err_code (e, EC_INTERNAL, "verdict log: %llu verdicts, and its tree has %llu", (unsigned long long) l->index, (unsigned long long) l->tail[0].n);
    l->position_begun = l->position;
    l->index_begun = l->index;
    l->roster_begun = l->roster;
    l->roster_at_begun = l->roster_at;
    return run (l, query (l, Q_BEGIN), "begin", e);
}

void ledger_rollback (struct ledger *l)
{
    struct err none;
    if (!sqlite3_get_autocommit (l->sql))
        (void) run (l, query (l, Q_ROLLBACK), "rollback", &none);
    l->position = l->position_begun;
    if (l->index != l->index_begun)
        (void) tails_load (l, &none);
    l->index = l->index_begun;
    l->roster = l->roster_begun;
    l->roster_at = l->roster_at_begun;
}

int ledger_commit (struct ledger *l, struct err *e)
{
    int rc = 0;
    if (sqlite3_get_autocommit (l->sql))
        rc = err_code (e, EC_INTERNAL, "ledger: the database gave up (its disk may be full)");
    if (rc == 0 && l->position != l->position_begun) {
        sqlite3_stmt *q = query (l, Q_MOVE);
        sqlite3_bind_int64 (q, 1, (int64_t) l->position);
        rc = run (l, q, "position", e);
    }
    if (rc == 0)
        rc = tails_write (l, e);
    if (rc == 0)
        rc = run (l, query (l, Q_COMMIT), "commit", e);
    if (rc == -1)
        ledger_rollback (l);
    return rc;
}

uint64_t ledger_position (struct ledger *l)
{
    return l->position;
}

int ledger_move (struct ledger *l, uint64_t seq, struct err *e)
{
    if (seq < l->position)
        return err_code (e, EC_INTERNAL, "ledger: events run backwards");
    l->position = seq;
    return 0;
}

/* ---- submissions and steps ---- */

int ledger_sub_add (struct ledger *l, const struct digest *id, struct bytes envelope, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_SUB_ADD);
    put_digest (q, 1, id);
    put_bytes (q, 2, envelope);
    return run (l, q, "submission", e) == -1 ? -1 : sqlite3_changes (l->sql) > 0;
}

int ledger_sub_get (struct ledger *l, const struct digest *id, struct buf *envelope, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_SUB_GET);
    put_digest (q, 1, id);
    int rc = sqlite3_step (q);
    if (rc == SQLITE_ROW)
        buf_add (envelope, sqlite3_column_blob (q, 0), (size_t) sqlite3_column_bytes (q, 0));
    sqlite3_reset (q);
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : fail (l, e, "submission");
}

static void step_bind (sqlite3_stmt *q, const struct ledger_step *s)
{
    int i = 4;
    sqlite3_bind_int64 (q, i++, s->round);
    sqlite3_bind_int64 (q, i++, s->sought);
    sqlite3_bind_int64 (q, i++, s->seen);
    sqlite3_bind_int64 (q, i++, s->closed);
    sqlite3_bind_text (q, i++, s->closed_reason, -1, SQLITE_STATIC);
    sqlite3_bind_int64 (q, i++, s->said);
    sqlite3_bind_int64 (q, i++, s->final);
    sqlite3_bind_int64 (q, i++, s->state);
    put_digest (q, i++, &s->outcome);
    put_digest (q, i++, &s->artifact);
    put_digest (q, i++, &s->verdict);
    sqlite3_bind_int64 (q, i++, s->support);
    sqlite3_bind_int64 (q, i++, s->against);
    sqlite3_bind_int64 (q, i++, s->votes);
    sqlite3_bind_int64 (q, i++, s->needs);
    put_digest (q, i++, &s->lead);
    put_digest (q, i++, &s->usable);
    put_digest (q, i++, &s->inputs);
}

static void step_row (sqlite3_stmt *q, struct ledger_step *s)
{
    int i = 0;
    memset (s, 0, sizeof *s);
    s->key = sqlite3_column_int64 (q, i++);
    get_digest (q, i++, &s->sub);
    get_text (q, i++, s->name, sizeof s->name);
    s->no = (unsigned) sqlite3_column_int64 (q, i++);
    s->round = (unsigned) sqlite3_column_int64 (q, i++);
    s->sought = (unsigned) sqlite3_column_int64 (q, i++);
    s->seen = (unsigned) sqlite3_column_int64 (q, i++);
    s->closed = (enum closed) sqlite3_column_int64 (q, i++);
    get_text (q, i++, s->closed_reason, sizeof s->closed_reason);
    s->said = sqlite3_column_int64 (q, i++) != 0;
    s->final = sqlite3_column_int64 (q, i++) != 0;
    s->state = (int) sqlite3_column_int64 (q, i++);
    get_digest (q, i++, &s->outcome);
    get_digest (q, i++, &s->artifact);
    get_digest (q, i++, &s->verdict);
    s->support = (unsigned) sqlite3_column_int64 (q, i++);
    s->against = (unsigned) sqlite3_column_int64 (q, i++);
    s->votes = (unsigned) sqlite3_column_int64 (q, i++);
    s->needs = (unsigned) sqlite3_column_int64 (q, i++);
    get_digest (q, i++, &s->lead);
    get_digest (q, i++, &s->usable);
    get_digest (q, i++, &s->inputs);
}

int ledger_step_add (struct ledger *l, struct ledger_step *s, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_STEP_ADD);
    put_digest (q, 1, &s->sub);
    sqlite3_bind_text (q, 2, s->name, -1, SQLITE_STATIC);
    sqlite3_bind_int64 (q, 3, s->no);
    step_bind (q, s);
    if (run (l, q, "step", e) == -1)
        return -1;
    s->key = sqlite3_last_insert_rowid (l->sql);
    return 0;
}

int ledger_step_put (struct ledger *l, const struct ledger_step *s, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_STEP_PUT);
    step_bind (q, s);
    sqlite3_bind_int64 (q, 22, s->key);
    return run (l, q, "step", e);
}

int ledger_step_find (struct ledger *l, const struct digest *sub, struct bytes name, struct ledger_step *s, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_STEP_FIND);
    put_digest (q, 1, sub);
    sqlite3_bind_text (q, 2, name.len ? (const char *) name.p : "", (int) name.len, SQLITE_STATIC);
    int rc = sqlite3_step (q);
    if (rc == SQLITE_ROW)
        step_row (q, s);
    sqlite3_reset (q);
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : fail (l, e, "step");
}

int ledger_step_get (struct ledger *l, int64_t key, struct ledger_step *s, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_STEP_GET);
    sqlite3_bind_int64 (q, 1, key);
    int rc = sqlite3_step (q);
    if (rc == SQLITE_ROW)
        step_row (q, s);
    sqlite3_reset (q);
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : fail (l, e, "step");
}

static int steps (struct ledger *l, sqlite3_stmt *q, unsigned limit, struct ledger_step *out, size_t *n, struct err *e)
{
    int rc = SQLITE_DONE;
    for (*n = 0; *n < limit && (rc = sqlite3_step (q)) == SQLITE_ROW;)
        step_row (q, &out[(*n)++]);
    sqlite3_reset (q);
    return rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : fail (l, e, "steps");
}

static int steps_after (struct ledger *l, enum query which, int64_t after, unsigned limit, struct ledger_step *out, size_t *n, struct err *e)
{
    sqlite3_stmt *q = query (l, which);
    sqlite3_bind_int64 (q, 1, after);
    sqlite3_bind_int64 (q, 2, limit);
    return steps (l, q, limit, out, n, e);
}

int ledger_steps_open (struct ledger *l, int64_t after, unsigned limit, struct ledger_step *out, size_t *n, struct err *e)
{
    return steps_after (l, Q_STEPS_OPEN, after, limit, out, n, e);
}

int ledger_steps_all (struct ledger *l, int64_t after, unsigned limit, struct ledger_step *out, size_t *n, struct err *e)
{
    return steps_after (l, Q_STEPS_ALL, after, limit, out, n, e);
}

int ledger_steps_voted (struct ledger *l, const char *worker, int64_t since, int64_t after, unsigned limit, struct ledger_step *out, size_t *n, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_STEPS_VOTED);
    sqlite3_bind_text (q, 1, worker, -1, SQLITE_STATIC);
    sqlite3_bind_int64 (q, 2, after);
    sqlite3_bind_int64 (q, 3, since);
    sqlite3_bind_int64 (q, 4, limit);
    return steps (l, q, limit, out, n, e);
}

int ledger_reader_add (struct ledger *l, int64_t step, unsigned round, struct bytes owner, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_READER_ADD);
    sqlite3_bind_int64 (q, 1, step);
    sqlite3_bind_int64 (q, 2, round);
    sqlite3_bind_text (q, 3, owner.len ? (const char *) owner.p : "", (int) owner.len, SQLITE_STATIC);
    return run (l, q, "reader", e);
}

int ledger_readers (struct ledger *l, int64_t step, unsigned round, int (*each) (void *arg, const char *owner), void *arg, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_READERS);
    int rc = SQLITE_DONE;
    bool stop = false;
    sqlite3_bind_int64 (q, 1, step);
    sqlite3_bind_int64 (q, 2, round);
    while (!stop && (rc = sqlite3_step (q)) == SQLITE_ROW)
        stop = each (arg, (const char *) sqlite3_column_text (q, 0)) != 0;
    sqlite3_reset (q);
    return stop || rc == SQLITE_DONE ? 0 : fail (l, e, "readers");
}

/* ---- revocations ---- */

uint64_t ledger_roster (struct ledger *l)
{
    return l->roster;
}

int64_t ledger_roster_at (struct ledger *l)
{
    return l->roster_at;
}

int ledger_roster_put (struct ledger *l, uint64_t seq, int64_t at, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_ROSTER);
    sqlite3_bind_int64 (q, 1, (int64_t) seq);
    sqlite3_bind_int64 (q, 2, at);
    if (run (l, q, "roster", e) == -1)
        return -1;
    l->roster = seq;
    l->roster_at = at;
    return 0;
}

/* ---- votes and verdicts ---- */

int ledger_vote_add (struct ledger *l, int64_t step, unsigned round, const struct ledger_vote *v, struct bytes result, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_VOTE_ADD);
    put_digest (q, 1, &v->lease);
    sqlite3_bind_int64 (q, 2, step);
    sqlite3_bind_int64 (q, 3, round);
    sqlite3_bind_text (q, 4, v->worker, -1, SQLITE_STATIC);
    sqlite3_bind_text (q, 5, v->owner, -1, SQLITE_STATIC);
    sqlite3_bind_int64 (q, 6, v->exit_status);
    put_digest (q, 7, &v->outcome);
    put_digest (q, 8, &v->artifact);
    put_digest (q, 9, &v->result);
    sqlite3_bind_int64 (q, 10, v->time);
    put_digest (q, 11, &v->inputs);
    sqlite3_bind_text (q, 12, v->broker, -1, SQLITE_STATIC);
    sqlite3_bind_text (q, 13, v->store, -1, SQLITE_STATIC);
    put_digest (q, 14, &v->image);
    if (run (l, q, "vote", e) == -1)
        return -1;
    if (sqlite3_changes (l->sql) == 0)
        return 0;
    q = query (l, Q_RESULT_ADD);
    sqlite3_bind_int64 (q, 1, step);
    sqlite3_bind_int64 (q, 2, round);
    put_digest (q, 3, &v->lease);
    put_bytes (q, 4, result);
    return run (l, q, "result", e) == -1 ? -1 : 1;
}

static int votes (struct ledger *l, enum query which, int64_t step, unsigned round, int (*each) (void *arg, const struct ledger_vote *v, struct bytes result), void *arg,
                  struct err *e)
{
    sqlite3_stmt *q = query (l, which);
    int rc = SQLITE_DONE;
    bool stop = false;
    sqlite3_bind_int64 (q, 1, step);
    sqlite3_bind_int64 (q, 2, round);
    while (!stop && (rc = sqlite3_step (q)) == SQLITE_ROW) {
        struct ledger_vote v;
        memset (&v, 0, sizeof v);
        get_digest (q, 0, &v.lease);
        get_text (q, 1, v.worker, sizeof v.worker);
        get_text (q, 2, v.owner, sizeof v.owner);
        v.exit_status = (unsigned) sqlite3_column_int64 (q, 3);
        get_digest (q, 4, &v.outcome);
        get_digest (q, 5, &v.artifact);
        get_digest (q, 6, &v.result);
        v.time = sqlite3_column_int64 (q, 7);
        get_digest (q, 8, &v.inputs);
        get_text (q, 9, v.broker, sizeof v.broker);
        get_text (q, 10, v.store, sizeof v.store);
        get_digest (q, 11, &v.image);
        struct bytes result = which == Q_VOTES ? bytes_of (sqlite3_column_blob (q, 12), (size_t) sqlite3_column_bytes (q, 12)) : bytes_of (NULL, 0);
        stop = each (arg, &v, result) != 0;
    }
    sqlite3_reset (q);
    return stop || rc == SQLITE_DONE ? 0 : fail (l, e, "votes");
}

int ledger_votes (struct ledger *l, int64_t step, unsigned round, int (*each) (void *arg, const struct ledger_vote *v, struct bytes result), void *arg, struct err *e)
{
    return votes (l, Q_VOTES, step, round, each, arg, e);
}

int ledger_tally (struct ledger *l, int64_t step, unsigned round, int (*each) (void *arg, const struct ledger_vote *v, struct bytes none), void *arg, struct err *e)
{
    return votes (l, Q_TALLY, step, round, each, arg, e);
}

void ledger_to_read (struct ledger *l)
{
    (void) sqlite3_exec (l->sql, "PRAGMA mmap_size=1099511627776; BEGIN;", NULL, NULL, NULL);
}

uint64_t ledger_next_index (struct ledger *l)
{
    return l->index + 1;
}

int ledger_verdict_add (struct ledger *l, uint64_t index, int64_t step, struct bytes envelope, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_VERDICT_ADD);
    sqlite3_bind_int64 (q, 1, (int64_t) index);
    sqlite3_bind_int64 (q, 2, step);
    put_bytes (q, 3, envelope);
    if (run (l, q, "verdict", e) == -1 || tree_append (l, envelope, e) == -1)
        return -1;
    l->index = index;
    return 0;
}

int ledger_verdict_get (struct ledger *l, int64_t step, struct buf *envelope, struct err *e)
{
    return envelope_by (l, Q_VERDICT_GET, step, envelope, e);
}

int ledger_verdict_at (struct ledger *l, uint64_t index, struct buf *envelope, struct err *e)
{
    return envelope_by (l, Q_VERDICT_AT, index > INT64_MAX ? INT64_MAX : (int64_t) index, envelope, e);
}

/* ---- witnesses ---- */

int ledger_cosign (struct ledger *l, uint64_t size, const char *name, struct bytes text, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_COSIGN);
    sqlite3_bind_int64 (q, 1, (int64_t) size);
    sqlite3_bind_text (q, 2, name, -1, SQLITE_STATIC);
    put_bytes (q, 3, text);
    if (run (l, q, "cosignature", e) == -1)
        return -1;
    q = query (l, Q_COSIGN_TRIM);
    sqlite3_bind_text (q, 1, name, -1, SQLITE_STATIC);
    return run (l, q, "cosignature", e);
}

int ledger_cosigned (struct ledger *l, int (*each) (void *arg, uint64_t size, const char *name), void *arg, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_COSIGNED);
    int rc = SQLITE_DONE;
    bool stop = false;
    while (!stop && (rc = sqlite3_step (q)) == SQLITE_ROW)
        stop = each (arg, (uint64_t) sqlite3_column_int64 (q, 0), (const char *) sqlite3_column_text (q, 1)) != 0;
    sqlite3_reset (q);
    return stop || rc == SQLITE_DONE ? 0 : fail (l, e, "cosignatures");
}

int ledger_cosignatures (struct ledger *l, uint64_t size, int (*each) (void *arg, const char *name, struct bytes line), void *arg, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_COSIGNATURES);
    int rc = SQLITE_DONE;
    bool stop = false;
    sqlite3_bind_int64 (q, 1, (int64_t) size);
    while (!stop && (rc = sqlite3_step (q)) == SQLITE_ROW)
        stop = each (arg, (const char *) sqlite3_column_text (q, 0), bytes_of (sqlite3_column_blob (q, 1), (size_t) sqlite3_column_bytes (q, 1))) != 0;
    sqlite3_reset (q);
    return stop || rc == SQLITE_DONE ? 0 : fail (l, e, "cosignatures");
}

/* ---- to the broker ---- */

int ledger_send (struct ledger *l, struct bytes frame, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_SEND);
    put_bytes (q, 1, frame);
    return run (l, q, "outbox", e);
}

int ledger_outbox (struct ledger *l, int64_t after, unsigned limit, int (*each) (void *arg, int64_t id, struct bytes frame), void *arg, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_OUTBOX);
    int rc = SQLITE_DONE;
    bool stop = false;
    sqlite3_bind_int64 (q, 1, after);
    sqlite3_bind_int64 (q, 2, limit);
    while (!stop && (rc = sqlite3_step (q)) == SQLITE_ROW)
        stop = each (arg, sqlite3_column_int64 (q, 0), bytes_of (sqlite3_column_blob (q, 1), (size_t) sqlite3_column_bytes (q, 1))) != 0;
    sqlite3_reset (q);
    return stop || rc == SQLITE_DONE ? 0 : fail (l, e, "outbox");
}

int ledger_sent (struct ledger *l, int64_t id, struct err *e)
{
    sqlite3_stmt *q = query (l, Q_SENT);
    sqlite3_bind_int64 (q, 1, id);
    return run (l, q, "outbox", e);
}
