/* index.c: see index.h. */
#include "store/index.h"

#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

struct index_db {
    sqlite3 *sql;
};

static const char schema[] =
    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON;"
    "CREATE TABLE IF NOT EXISTS artifact (artifact BLOB NOT NULL, lease BLOB NOT NULL, submission BLOB NOT NULL, project TEXT NOT NULL,"
    " ref TEXT NOT NULL, step TEXT NOT NULL, owner TEXT NOT NULL, worker TEXT NOT NULL, bytes INTEGER NOT NULL, time INTEGER NOT NULL,"
    " PRIMARY KEY (artifact, lease)) STRICT;"
    "CREATE INDEX IF NOT EXISTS artifact_owner ON artifact (owner, bytes);"
    "CREATE INDEX IF NOT EXISTS artifact_lease ON artifact (lease);"
    "CREATE INDEX IF NOT EXISTS artifact_ref ON artifact (project, ref, submission, time);"
    "CREATE TABLE IF NOT EXISTS verdict (submission BLOB NOT NULL, step TEXT NOT NULL, project TEXT NOT NULL, artifact BLOB NOT NULL,"
    " trusted INTEGER NOT NULL, idx INTEGER NOT NULL DEFAULT 0, votes TEXT NOT NULL DEFAULT '', time INTEGER NOT NULL DEFAULT 0,"
    " PRIMARY KEY (submission, step)) STRICT;"
    "CREATE TABLE IF NOT EXISTS sent (owner TEXT NOT NULL, blob BLOB NOT NULL, PRIMARY KEY (blob, owner)) STRICT, WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS verdict_artifact ON verdict (artifact);"
    "CREATE TABLE IF NOT EXISTS keep (submission BLOB PRIMARY KEY, n INTEGER NOT NULL, until INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE TABLE IF NOT EXISTS name (name TEXT PRIMARY KEY, artifact BLOB NOT NULL, time INTEGER NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS mark (id INTEGER PRIMARY KEY, seq INTEGER NOT NULL) STRICT;";

/* Columns that an earlier version did not have, each whole or not at all; where they are there, this fails and changes nothing. Rows of the time
 * before they had one are taken for new. */
#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF (x)
#define NOW_US "CAST (strftime ('%s', 'now') AS INTEGER) * 1000000"
static const char *const upgrades[] = { "ALTER TABLE verdict ADD COLUMN idx INTEGER NOT NULL DEFAULT 0", "ALTER TABLE verdict ADD COLUMN votes TEXT NOT NULL DEFAULT ''",
                                        "ALTER TABLE verdict ADD COLUMN time INTEGER NOT NULL DEFAULT 0; UPDATE verdict SET time = " NOW_US,
                                        "ALTER TABLE keep ADD COLUMN until INTEGER NOT NULL DEFAULT 0; UPDATE keep SET until = " NOW_US " + " TEXT (INDEX_FORGET_DAYS) " * 86400 * 1000000" };

static int
sql_fail (struct index_db *db, struct err *e, const char *what)
{
    return err_code (e, EC_INTERNAL, "store index: %s: %s", what, db->sql ? sqlite3_errmsg (db->sql) : "out of memory");
}

int
index_open (struct index_db **out, const char *path, struct err *e)
{
    struct index_db *db = xcalloc (1, sizeof *db);

    if (sqlite3_open_v2 (path, &db->sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOFOLLOW, NULL) != SQLITE_OK
        || sqlite3_busy_timeout (db->sql, 5000) != SQLITE_OK || sqlite3_exec (db->sql, schema, NULL, NULL, NULL) != SQLITE_OK) {
        sql_fail (db, e, path);
        index_close (&db);
        return -1;
    }
    for (size_t i = 0; i < sizeof upgrades / sizeof *upgrades; i++)
        if (sqlite3_exec (db->sql, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK)
            (void) sqlite3_exec (db->sql, sqlite3_exec (db->sql, upgrades[i], NULL, NULL, NULL) == SQLITE_OK ? "COMMIT" : "ROLLBACK", NULL, NULL, NULL);
    *out = db;
    return 0;
}

void
index_close (struct index_db **dbp)
{
    if (*dbp == NULL)
        return;
    sqlite3_close ((*dbp)->sql);
    free (*dbp);
    *dbp = NULL;
}

/* Bind by letters: d digest, b bytes as text, s string, i int64_t. */
static sqlite3_stmt *
query (struct index_db *db, const char *text, const char *kinds, const void *const *values)
{
    sqlite3_stmt *q = NULL;

    if (sqlite3_prepare_v2 (db->sql, text, -1, &q, NULL) != SQLITE_OK)
        return NULL;
    for (int i = 0; kinds[i] != '\0'; i++) {
        const struct bytes *b = values[i];
        switch (kinds[i]) {
        case 'd': sqlite3_bind_blob (q, i + 1, values[i], 32, SQLITE_TRANSIENT); break;
        case 'b': sqlite3_bind_text (q, i + 1, b->len ? (const char *) b->p : "", (int) b->len, SQLITE_TRANSIENT); break;
        case 's': sqlite3_bind_text (q, i + 1, values[i], -1, SQLITE_TRANSIENT); break;
        default: sqlite3_bind_int64 (q, i + 1, *(const int64_t *) values[i]); break;
        }
    }
    return q;
}
#define QUERY(db, text, kinds, ...) query (db, text, kinds, (const void *const[]){ __VA_ARGS__ })

static int
run (struct index_db *db, sqlite3_stmt *q, const char *what, struct err *e)
{
    int r = q == NULL ? SQLITE_ERROR : sqlite3_step (q);
    int bad = r != SQLITE_DONE && r != SQLITE_ROW ? sql_fail (db, e, what) : 0;

    sqlite3_finalize (q);
    return bad;
}

static int64_t
number (sqlite3_stmt *q)
{
    int64_t v = q != NULL && sqlite3_step (q) == SQLITE_ROW ? sqlite3_column_int64 (q, 0) : 0;

    sqlite3_finalize (q);
    return v;
}

static bool
column_digest (sqlite3_stmt *q, int column, struct digest *d)
{
    if (sqlite3_column_bytes (q, column) != 32)
        return false;
    memcpy (d->b, sqlite3_column_blob (q, column), 32);
    return true;
}

int
index_add (struct index_db *db, const struct index_put *p, struct err *e)
{
    int64_t size = (int64_t) p->bytes;

    return run (db, QUERY (db, "INSERT OR REPLACE INTO artifact VALUES (?,?,?,?,?,?,?,?,?,?)", "dddbbbbbii", &p->artifact, &p->lease, &p->submission,
                           &p->project, &p->ref, &p->step, &p->owner, &p->worker, &size, &p->time), "artifact", e);
}

uint64_t
index_owner_bytes (struct index_db *db, struct bytes owner)
{
    return (uint64_t) number (QUERY (db, "SELECT total (b) FROM (SELECT DISTINCT artifact, bytes AS b FROM artifact WHERE owner = ?)", "b", &owner));
}

bool
index_has (struct index_db *db, const struct digest *artifact)
{
    return number (QUERY (db, "SELECT count(*) FROM artifact WHERE artifact = ?", "d", artifact)) > 0;
}

bool
index_lease_used (struct index_db *db, const struct digest *lease, const struct digest *artifact)
{
    return number (QUERY (db, "SELECT count(*) FROM artifact WHERE lease = ? AND artifact <> ?", "dd", lease, artifact)) > 0;
}

void
index_projects (struct index_db *db, const struct digest *artifact, void (*fn) (void *arg, const char *project, bool trusted, const char *votes), void *arg)
{
    sqlite3_stmt *q = QUERY (db, "SELECT project, 0, '' FROM artifact WHERE artifact = ?1 UNION SELECT project, trusted, votes FROM verdict WHERE artifact = ?1", "d", artifact);

    while (q != NULL && sqlite3_step (q) == SQLITE_ROW)
        fn (arg, (const char *) sqlite3_column_text (q, 0), sqlite3_column_int (q, 1) != 0, (const char *) sqlite3_column_text (q, 2));
    sqlite3_finalize (q);
}

int
index_keep (struct index_db *db, const struct digest *submission, uint64_t keep, int64_t until, struct err *e)
{
    int64_t n = keep > INT32_MAX ? INT32_MAX : (int64_t) keep;

    return run (db, QUERY (db, "INSERT OR REPLACE INTO keep (submission, n, until) VALUES (?,?,?)", "dii", submission, &n, &until), "keep", e);
}

int
index_verdict (struct index_db *db, const struct index_said *v, struct err *e)
{
    int64_t t = v->trusted, index = (int64_t) v->index;

    return run (db, QUERY (db, "INSERT INTO verdict (submission, step, project, artifact, trusted, idx, votes, time) VALUES (?1,?2,?3,?4,?5,?6,?7,?8) ON CONFLICT (submission, step)"
                               " DO UPDATE SET project=?3, artifact=?4, trusted=?5, idx=?6, votes=?7, time=?8 WHERE idx < ?6", "dssdiisi", &v->submission, v->step, v->project,
                           &v->artifact, &t, &index, v->votes, &v->time), "verdict", e);
}

int
index_sent (struct index_db *db, struct bytes owner, const struct digest *blobs, size_t n, struct err *e)
{
    sqlite3_stmt *q = NULL;
    int r = sqlite3_prepare_v2 (db->sql, "INSERT OR IGNORE INTO sent VALUES (?1, ?2)", -1, &q, NULL) == SQLITE_OK ? SQLITE_DONE : SQLITE_ERROR;

    for (size_t i = 0; r == SQLITE_DONE && i < n; i++) {
        sqlite3_reset (q);
        sqlite3_bind_text (q, 1, owner.len ? (const char *) owner.p : "", (int) owner.len, SQLITE_STATIC);
        sqlite3_bind_blob (q, 2, blobs[i].b, sizeof blobs[i].b, SQLITE_STATIC);
        r = sqlite3_step (q);
    }
    sqlite3_finalize (q);
    return r == SQLITE_DONE ? 0 : sql_fail (db, e, "sent");
}

bool
index_has_sent (struct index_db *db, struct bytes owner, const struct digest *blob)
{
    return number (QUERY (db, "SELECT count(*) FROM sent WHERE owner = ? AND blob = ?", "bd", &owner, blob)) > 0;
}

int
index_unsent (struct index_db *db, const struct digest *blob, struct err *e)
{
    return run (db, QUERY (db, "DELETE FROM sent WHERE blob = ?", "d", blob), "sent", e);
}

uint64_t
index_seq (struct index_db *db)
{
    return (uint64_t) number (QUERY (db, "SELECT seq FROM mark WHERE id = 1", "", NULL));
}

int
index_set_seq (struct index_db *db, uint64_t seq, struct err *e)
{
    int64_t n = (int64_t) seq;

    return run (db, QUERY (db, "INSERT OR REPLACE INTO mark VALUES (1,?)", "i", &n), "mark", e);
}

int
index_begin (struct index_db *db, struct err *e)
{
    return run (db, QUERY (db, "BEGIN", "", NULL), "begin", e);
}

int
index_end (struct index_db *db, struct err *e)
{
    if (run (db, QUERY (db, "COMMIT", "", NULL), "commit", e) == 0)
        return 0;
    sqlite3_exec (db->sql, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}

int
index_name (struct index_db *db, struct bytes name, const struct digest *artifact, int64_t time, struct err *e)
{
    return run (db, QUERY (db, "INSERT OR REPLACE INTO name VALUES (?,?,?)", "bdi", &name, artifact, &time), "name", e);
}

bool
index_named (struct index_db *db, const struct digest *artifact)
{
    return number (QUERY (db, "SELECT count(*) FROM name WHERE artifact = ?", "d", artifact)) > 0;
}

void
index_names (struct index_db *db, struct bytes prefix, void (*fn) (void *arg, const char *name, const struct digest *artifact, uint64_t size, int64_t time), void *arg)
{
    sqlite3_stmt *q = QUERY (db, "SELECT name, artifact, coalesce ((SELECT max (bytes) FROM artifact a WHERE a.artifact = name.artifact), 0), time FROM name"
                                 " WHERE substr (name, 1, length (?1)) = ?1 ORDER BY name", "b", &prefix);
    struct digest d;

    while (q != NULL && sqlite3_step (q) == SQLITE_ROW)
        if (column_digest (q, 1, &d))
            fn (arg, (const char *) sqlite3_column_text (q, 0), &d, (uint64_t) sqlite3_column_int64 (q, 2), sqlite3_column_int64 (q, 3));
    sqlite3_finalize (q);
}

/* What is known of submissions and steps that nothing is here of, nor will be. */
static int
forget (struct index_db *db, int64_t now, struct err *e)
{
    int64_t before = now - INDEX_FORGET_US;

    if (run (db, QUERY (db, "DELETE FROM keep WHERE until < ? AND submission NOT IN (SELECT submission FROM artifact)", "i", &now), "retention", e) == -1)
        return -1;
    return run (db, QUERY (db, "DELETE FROM verdict WHERE time < ? AND artifact NOT IN (SELECT artifact FROM artifact) AND artifact NOT IN (SELECT artifact FROM name)", "i",
                           &before), "retention", e);
}

int
index_expire (struct index_db *db, uint64_t keep, int64_t now, int64_t young, size_t *dropped, struct err *e)
{
    static const char text[] =
        "WITH sub AS (SELECT project, ref, submission, max (time) AS t FROM artifact WHERE project <> '' GROUP BY project, ref, submission),"
        " ranked AS (SELECT submission, row_number () OVER (PARTITION BY project, ref ORDER BY t DESC, submission) AS place FROM sub)"
        " DELETE FROM artifact WHERE time < ?2 AND artifact NOT IN (SELECT artifact FROM name)"
        " AND NOT (substr (ref, 1, 10) = 'refs/tags/' AND EXISTS (SELECT 1 FROM verdict v WHERE v.submission = artifact.submission"
        "  AND v.step = artifact.step AND v.artifact = artifact.artifact AND v.trusted = 1))"
        " AND (project = '' OR coalesce ((SELECT min (place) FROM ranked r WHERE r.submission = artifact.submission), 0)"
        "  > max (1, coalesce (nullif ((SELECT n FROM keep k WHERE k.submission = artifact.submission), 0), ?1)))";
    int64_t n = keep > INT32_MAX ? INT32_MAX : (int64_t) keep, before = now - young;

    if (run (db, QUERY (db, text, "ii", &n, &before), "retention", e) == -1)
        return -1;
    *dropped = (size_t) sqlite3_changes (db->sql);
    return forget (db, now, e);
}

void
index_artifacts (struct index_db *db, void (*fn) (void *arg, const struct digest *artifact), void *arg)
{
    sqlite3_stmt *q = QUERY (db, "SELECT artifact FROM artifact UNION SELECT artifact FROM name", "", NULL);
    struct digest d;

    while (q != NULL && sqlite3_step (q) == SQLITE_ROW)
        if (column_digest (q, 0, &d))
            fn (arg, &d);
    sqlite3_finalize (q);
}
