/* state_schema.c: contract in state_schema.h. */
#include "broker/state_schema.h"

/* Rows lie in the order in which they came, not of their ids, which are random: a turn's leases share a few pages, also when they end. */
#define LEASE_TABLE                                                                                                                                     \
    "CREATE TABLE IF NOT EXISTS lease (key INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, step INTEGER NOT NULL, worker TEXT NOT NULL, owner TEXT NOT NULL," \
    " trusted INTEGER NOT NULL, issued INTEGER NOT NULL, expires INTEGER NOT NULL, state INTEGER NOT NULL, result BLOB,"                                  \
    " image INTEGER NOT NULL DEFAULT 0) STRICT;"

/* By submitter and priority: open steps, and the last turn taken. In the row without a name: the furthest turn that got a lease. */
#define SHARE_TABLE                                                                                                                                  \
    "CREATE TABLE IF NOT EXISTS share (submitter TEXT NOT NULL, priority INTEGER NOT NULL, open INTEGER NOT NULL, turn INTEGER NOT NULL,"              \
    " PRIMARY KEY (submitter, priority)) STRICT, WITHOUT ROWID;"

/* Events lie in pages, as many as a turn brought; those from before schema 6 one in a row. */
#define EVENT_TABLES                                                                                                                                 \
    "CREATE TABLE IF NOT EXISTS event (seq INTEGER PRIMARY KEY, project TEXT NOT NULL, body BLOB NOT NULL) STRICT;"                                    \
    "CREATE TABLE IF NOT EXISTS event_page (last INTEGER PRIMARY KEY, first INTEGER NOT NULL, entries BLOB NOT NULL) STRICT;"

static const char tables[] =
    "CREATE TABLE IF NOT EXISTS submission (key INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, envelope BLOB NOT NULL, project TEXT NOT NULL,"
    " commit_id TEXT NOT NULL, ref TEXT NOT NULL, submitter TEXT NOT NULL, time INTEGER NOT NULL, expires INTEGER NOT NULL, priority INTEGER NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS step (key INTEGER PRIMARY KEY, sub INTEGER NOT NULL, no INTEGER NOT NULL, name TEXT NOT NULL, job INTEGER NOT NULL,"
    " places INTEGER NOT NULL, voted INTEGER NOT NULL, open INTEGER NOT NULL, errors INTEGER NOT NULL, waiting INTEGER NOT NULL, want_trusted INTEGER NOT NULL,"
    " rank INTEGER NOT NULL, queue INTEGER NOT NULL, expires INTEGER NOT NULL, state TEXT NOT NULL, digest BLOB, agree INTEGER NOT NULL,"
    " support INTEGER NOT NULL, dissent INTEGER NOT NULL, votes INTEGER NOT NULL, trusted_required INTEGER NOT NULL, reason TEXT NOT NULL,"
    " verdict INTEGER NOT NULL, needs INTEGER NOT NULL DEFAULT 0, usable BLOB, inputs BLOB, since INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE UNIQUE INDEX IF NOT EXISTS step_sub ON step (sub, no);"
    "CREATE INDEX IF NOT EXISTS step_queue ON step (rank, key) WHERE queue = 1;"
    "CREATE INDEX IF NOT EXISTS step_expires ON step (expires) WHERE job = 0;"
    LEASE_TABLE SHARE_TABLE
    "CREATE INDEX IF NOT EXISTS lease_step ON lease (step, issued);"
    "CREATE INDEX IF NOT EXISTS lease_open ON lease (issued) WHERE state = 1;"
    EVENT_TABLES
    "CREATE TABLE IF NOT EXISTS counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT OR IGNORE INTO counter VALUES ('open', 0);";

/* Each from the version of its number, the first from 1. */
static const char *const upgrades[] = {
    /* steps that start on what is not trusted yet */
    "ALTER TABLE step ADD COLUMN needs INTEGER NOT NULL DEFAULT 0; ALTER TABLE step ADD COLUMN usable BLOB; ALTER TABLE step ADD COLUMN inputs BLOB;"
    "ALTER TABLE step ADD COLUMN since INTEGER NOT NULL DEFAULT 0; UPDATE step SET needs = 1 WHERE waiting = 1;",
    /* steps that name several images */
    "ALTER TABLE lease ADD COLUMN image INTEGER NOT NULL DEFAULT 0;",
    /* leases by age */
    "DROP INDEX lease_step; DROP INDEX lease_open; ALTER TABLE lease RENAME TO lease_by_id;" LEASE_TABLE
    "INSERT INTO lease (id, step, worker, owner, trusted, issued, expires, state, result, image) SELECT id, step, worker, owner, trusted, issued, expires,"
    " state, result, image FROM lease_by_id ORDER BY issued; DROP TABLE lease_by_id;",
    /* fair turns: what is queued gets turns as if it had just come, submitter by submitter */
    SHARE_TABLE
    "UPDATE step SET rank = rank * 1099511627776;"
    "CREATE TEMP TABLE taken AS SELECT step.key AS key, submitter, submission.priority AS priority,"
    " row_number() OVER (PARTITION BY submitter, submission.priority ORDER BY step.key) AS turn"
    " FROM step JOIN submission ON submission.key = step.sub WHERE job <> 2;"
    "UPDATE step SET rank = rank + taken.turn FROM taken WHERE taken.key = step.key;"
    "INSERT INTO share SELECT submitter, priority, count(*), max(turn) FROM taken GROUP BY submitter, priority; DROP TABLE taken;",
    /* events in pages */
    EVENT_TABLES,
};

const struct schema state_schema = { 6, tables, upgrades };
