#include "verifier/ledger_schema.h"

/* A step's votes lie together, and the next step's beside them; place: of its result. */
#define VOTE                                                                                                                                       \
    "(lease BLOB NOT NULL, step INTEGER NOT NULL, round INTEGER NOT NULL, worker TEXT NOT NULL, owner TEXT NOT NULL, exit_status INTEGER NOT NULL," \
    " outcome BLOB NOT NULL, artifact BLOB NOT NULL, result_id BLOB NOT NULL, time INTEGER NOT NULL, inputs BLOB, broker TEXT NOT NULL DEFAULT '',"  \
    " store TEXT NOT NULL DEFAULT '', image BLOB, place INTEGER NOT NULL, PRIMARY KEY (step, round, lease)) STRICT, WITHOUT ROWID;"
#define RESULT "(place INTEGER PRIMARY KEY, envelope BLOB NOT NULL) STRICT;"

static const char tables[] =
    "CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT OR IGNORE INTO counter VALUES ('position', 0), ('roster', 0), ('roster_at', 0);"
    "CREATE TABLE IF NOT EXISTS submission (id BLOB PRIMARY KEY, envelope BLOB NOT NULL) STRICT, WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS step (key INTEGER PRIMARY KEY, sub BLOB NOT NULL, name TEXT NOT NULL, no INTEGER NOT NULL, round INTEGER NOT NULL,"
    " sought INTEGER NOT NULL, seen INTEGER NOT NULL, closed INTEGER NOT NULL, closed_reason TEXT NOT NULL, said INTEGER NOT NULL, final INTEGER NOT NULL,"
    " state INTEGER NOT NULL, outcome BLOB, artifact BLOB, verdict BLOB, support INTEGER NOT NULL, against INTEGER NOT NULL, votes INTEGER NOT NULL,"
    " needs INTEGER NOT NULL DEFAULT 0, lead BLOB, usable BLOB, inputs BLOB, UNIQUE (sub, name)) STRICT;"
    "CREATE INDEX IF NOT EXISTS step_open ON step (key) WHERE final = 0;"
    "CREATE TABLE IF NOT EXISTS vote " VOTE "CREATE TABLE IF NOT EXISTS result " RESULT
    "CREATE UNIQUE INDEX IF NOT EXISTS vote_lease ON vote (lease);"
    "CREATE INDEX IF NOT EXISTS vote_worker ON vote (worker, step);"
    "CREATE TABLE IF NOT EXISTS reader (step INTEGER NOT NULL, round INTEGER NOT NULL, owner TEXT NOT NULL, PRIMARY KEY (step, round, owner)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS verdict (idx INTEGER PRIMARY KEY, step INTEGER NOT NULL, envelope BLOB NOT NULL) STRICT;"
    "CREATE INDEX IF NOT EXISTS verdict_step ON verdict (step, idx);"
    "CREATE TABLE IF NOT EXISTS tree (tile INTEGER PRIMARY KEY, hashes BLOB NOT NULL) STRICT;" /* by TILE_ID */
    "CREATE TABLE IF NOT EXISTS cosignature (size INTEGER NOT NULL, name TEXT NOT NULL, line BLOB NOT NULL, PRIMARY KEY (size, name)) STRICT, WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS outbox (id INTEGER PRIMARY KEY AUTOINCREMENT, frame BLOB NOT NULL) STRICT;";

/* From schema 1: what came with steps that use each other's artifacts; from 2: with steps that name several images; from 3: results
 * stand apart, so that a decision reads only what it needs; from 4: what belongs to a step is found by its number, in the order of the disk. */
static const char *const upgrades[] = {
    ("ALTER TABLE step ADD COLUMN needs INTEGER NOT NULL DEFAULT 0; ALTER TABLE step ADD COLUMN lead BLOB; ALTER TABLE step ADD COLUMN usable BLOB;"
    "ALTER TABLE step ADD COLUMN inputs BLOB; ALTER TABLE vote ADD COLUMN inputs BLOB; ALTER TABLE vote ADD COLUMN broker TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE vote ADD COLUMN store TEXT NOT NULL DEFAULT '';"),
    ("ALTER TABLE vote ADD COLUMN image BLOB;"),
    ("CREATE TABLE result (lease BLOB PRIMARY KEY, envelope BLOB NOT NULL) STRICT; INSERT INTO result SELECT lease, result FROM vote ORDER BY step;"
    "ALTER TABLE vote DROP COLUMN result;"),
    ("CREATE TABLE vote5 " VOTE "CREATE TABLE result5 " RESULT
    "INSERT INTO result5 SELECT rowid, envelope FROM result ORDER BY rowid;"
    "INSERT INTO vote5 SELECT vote.lease, step, round, worker, owner, exit_status, outcome, artifact, result_id, time, inputs, broker, store, image, result.rowid"
    " FROM vote JOIN result USING (lease) ORDER BY step, round, vote.lease;"
    "DROP TABLE vote; DROP TABLE result; ALTER TABLE vote5 RENAME TO vote; ALTER TABLE result5 RENAME TO result;"),
};

const struct schema ledger_schema = { 5, tables, upgrades };
