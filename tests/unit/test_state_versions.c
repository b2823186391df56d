/* The broker's state as earlier versions left it: it becomes this one's, whole or not at all. */
#include "broker/state.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"

#define Z31 "00000000000000000000000000000000000000000000000000000000000000"
/* As version 3 made them; earlier ones lack columns of it. */
static const char tables_of_3[] =
    "CREATE TABLE submission (key INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE, envelope BLOB NOT NULL, project TEXT NOT NULL,"
    " commit_id TEXT NOT NULL, ref TEXT NOT NULL, submitter TEXT NOT NULL, time INTEGER NOT NULL, expires INTEGER NOT NULL, priority INTEGER NOT NULL) STRICT;"
    "CREATE TABLE step (key INTEGER PRIMARY KEY, sub INTEGER NOT NULL, no INTEGER NOT NULL, name TEXT NOT NULL, job INTEGER NOT NULL,"
    " places INTEGER NOT NULL, voted INTEGER NOT NULL, open INTEGER NOT NULL, errors INTEGER NOT NULL, waiting INTEGER NOT NULL, want_trusted INTEGER NOT NULL,"
    " rank INTEGER NOT NULL, queue INTEGER NOT NULL, expires INTEGER NOT NULL, state TEXT NOT NULL, digest BLOB, agree INTEGER NOT NULL,"
    " support INTEGER NOT NULL, dissent INTEGER NOT NULL, votes INTEGER NOT NULL, trusted_required INTEGER NOT NULL, reason TEXT NOT NULL,"
    " verdict INTEGER NOT NULL, needs INTEGER NOT NULL DEFAULT 0, usable BLOB, inputs BLOB, since INTEGER NOT NULL DEFAULT 0) STRICT;"
    "CREATE UNIQUE INDEX step_sub ON step (sub, no);"
    "CREATE INDEX step_queue ON step (rank, key) WHERE queue = 1;"
    "CREATE INDEX step_expires ON step (expires) WHERE job = 0;"
    "CREATE TABLE lease (id BLOB PRIMARY KEY, step INTEGER NOT NULL, worker TEXT NOT NULL, owner TEXT NOT NULL, trusted INTEGER NOT NULL,"
    " issued INTEGER NOT NULL, expires INTEGER NOT NULL, state INTEGER NOT NULL, result BLOB, image INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;"
    "CREATE INDEX lease_step ON lease (step, issued);"
    "CREATE INDEX lease_open ON lease (issued) WHERE state = 1;"
    "CREATE TABLE event (seq INTEGER PRIMARY KEY, project TEXT NOT NULL, body BLOB NOT NULL) STRICT;"
    "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;"
    "INSERT INTO counter VALUES ('schema', 3), ('open', 7);"
    /* Submissions 1 and 2 are alice's, 3 is bob's, of priority 4. One step of alice's is decided, one waits for it. */
    "INSERT INTO submission VALUES (1, x'" Z31 "01', x'e1', 'p', 'c', 'r', 'alice', 1, 9000, 0), (2, x'" Z31 "02', x'e2', 'p', 'c', 'r', 'alice', 2, 9000, 0),"
    " (3, x'" Z31 "03', x'e3', 'p', 'c', 'r', 'bob', 3, 9000, 4);"
    "INSERT INTO step (key, sub, no, name, job, places, voted, open, errors, waiting, want_trusted, rank, queue, expires, state, agree, support, dissent, votes,"
    " trusted_required, reason, verdict) VALUES"
    " (1, 1, 0, 'a', 2, 1, 1, 0, 0, 0, 0, 0, 0, 9000, 'trusted', 1, 1, 0, 1, 0, '', 1), (2, 1, 1, 'b', 0, 2, 0, 1, 0, 0, 1, 0, 1, 9000, 'pending', 2, 0, 0, 0, 0, '', 0),"
    " (3, 2, 0, 'a', 0, 1, 0, 0, 0, 0, 0, 0, 1, 9000, 'pending', 1, 0, 0, 0, 0, '', 0), (4, 2, 1, 'b', 0, 1, 0, 0, 0, 1, 0, 0, 0, 9000, 'pending', 1, 0, 0, 0, 0, '', 0),"
    " (5, 3, 0, 'a', 0, 1, 0, 0, 0, 0, 0, -4, 1, 9000, 'pending', 1, 0, 0, 0, 0, '', 0), (6, 3, 1, 'b', 0, 1, 0, 0, 0, 0, 0, -4, 1, 9000, 'pending', 1, 0, 0, 0, 0, '', 0),"
    " (7, 3, 2, 'c', 0, 1, 0, 0, 0, 0, 0, -4, 1, 9000, 'pending', 1, 0, 0, 0, 0, '', 0), (8, 3, 3, 'd', 1, 1, 0, 0, 0, 0, 0, -4, 0, 9000, 'pending', 1, 0, 0, 0, 0, '', 0);"
    "INSERT INTO lease (id, step, worker, owner, trusted, issued, expires, state, result) VALUES (x'" Z31 "ff', 1, 'w1', 'o1', 1, 10, 20, 2, x'" Z31 "07'),"
    " (x'" Z31 "aa', 2, 'w2', 'o2', 0, 30, 40, 1, NULL), (x'" Z31 "bb', 1, 'w3', 'o3', 0, 5, 40, 3, NULL);"
    "INSERT INTO event VALUES (1, 'p', x'01'), (2, 'p', x'02');";
static const char to_2[] = "ALTER TABLE lease DROP COLUMN image; UPDATE counter SET value = 2 WHERE name = 'schema';";
static const char to_1[] = "ALTER TABLE step DROP COLUMN needs; ALTER TABLE step DROP COLUMN usable; ALTER TABLE step DROP COLUMN inputs; ALTER TABLE step DROP COLUMN since;"
                           "UPDATE counter SET value = 1 WHERE name = 'schema';";

static int64_t ask_db (const char *dir, const char *sql)
{
    char path[96];
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    int64_t v = -1;
    (void) snprintf (path, sizeof path, "%s/state.db", dir);
    cr_assert_eq (sqlite3_open (path, &db), SQLITE_OK);
    cr_assert_eq (sqlite3_prepare_v2 (db, sql, -1, &q, NULL), SQLITE_OK, "%s", sqlite3_errmsg (db));
    if (sqlite3_step (q) == SQLITE_ROW)
        v = sqlite3_column_int64 (q, 0);
    sqlite3_finalize (q);
    sqlite3_close (db);
    return v;
}

static void old_state (char dir[64], const char *const *sql, size_t n)
{
    char path[96], *why = NULL;
    sqlite3 *db = NULL;
    strcpy (dir, "/tmp/assay-state.XXXXXX");
    cr_assert_not_null (mkdtemp (dir));
    (void) snprintf (path, sizeof path, "%s/state.db", dir);
    cr_assert_eq (sqlite3_open (path, &db), SQLITE_OK);
    for (size_t i = 0; i < n; i++)
        cr_assert_eq (sqlite3_exec (db, sql[i], NULL, NULL, &why), SQLITE_OK, "%s", why);
    sqlite3_close (db);
}

struct order {
    char text[32];
};

static int see_lease_worker (void *arg, const struct lease_row *l)
{
    struct order *o = arg;
    size_t len = strlen (o->text);
    (void) snprintf (o->text + len, sizeof o->text - len, "%s", l->worker);
    cr_assert_eq (l->image, 0);
    return 0;
}

Test (state_versions, earlier_versions_become_this_one)
{
    static const char *const sql[] = { tables_of_3, to_2, to_1 };
    for (size_t n = 1; n <= 3; n++) {
        char dir[64];
        struct state *s = NULL;
        struct err e = ERR_INIT;
        struct step_row rows[9];
        struct lease_row l;
        struct share x;
        struct order o = { "" };
        size_t k;
        old_state (dir, sql, n);
        for (int again = 0; again < 2; again++) {
            cr_assert_eq (state_open (&s, "sqlite", dir, &e), 0, "from %zu: %s", 4 - n, e.msg);
            cr_assert_eq (state_seq (s), 2);
            cr_assert_eq (state_open_steps (s), 7);
            /* bob's come first, by their priority, then alice's; each submitter's in their order */
            cr_assert_eq (state_queue (s, (struct cursor){ INT64_MIN, 0 }, 9, rows, &k, &e), 0, "%s", e.msg);
            cr_assert_eq (k, 5);
            static const int64_t keys[] = { 5, 6, 7, 2, 3 }, turns[] = { 1, 2, 3, 1, 2 };
            for (size_t i = 0; i < k; i++)
                cr_assert (rows[i].key == keys[i] && rows[i].turn == turns[i] && rows[i].priority == (i < 3 ? 4u : 0u), "%zu: step %lld, turn %lld", i, (long long) rows[i].key,
                           (long long) rows[i].turn);
            cr_assert_eq (state_share (s, "alice", 0, &x, &e), 0);
            cr_assert (x.open == 3 && x.open_here == 3 && x.turn == 3);
            cr_assert_eq (state_share (s, "bob", 4, &x, &e), 0);
            cr_assert (x.open == 4 && x.turn == 4);
            cr_assert_eq (state_step_get (s, 1, &rows[0], &e), 0);
            cr_assert (rows[0].job.state == JOB_DECIDED && rows[0].priority == 0 && rows[0].turn == 0);
            cr_assert_eq (state_step_get (s, 4, &rows[0], &e), 0);
            cr_assert (rows[0].waiting && rows[0].needs == (n == 3 ? 1u : 0u), "what waits needs something");
            *o.text = '\0';
            cr_assert_eq (state_leases_of (s, 1, see_lease_worker, &o, &e), 0);
            cr_assert_str_eq (o.text, "w3w1");
            struct digest id = { { 0 } };
            id.b[31] = 0xff;
            cr_assert_eq (state_lease_get (s, &id, &l, &e), 1, "%s", e.msg);
            cr_assert (l.step == 1 && l.trusted && l.issued == 10 && l.expires == 20 && l.state == LEASE_VOTED && l.result.b[31] == 7);
            state_close (&s);
        }
        cr_assert_eq (ask_db (dir, "SELECT count(*) FROM sqlite_schema WHERE type = 'index' AND name IN ('lease_step', 'lease_open', 'step_queue', 'step_expires', 'step_sub')"), 5);
        cr_assert_eq (file_remove_tree (dir, &e), 0);
    }
}

/* What an upgrade does not finish, by a kill, or because it fails as here, it has not begun. */
Test (state_versions, an_upgrade_is_whole_or_has_not_happened)
{
    static const char *const sql[][4] = {
        { tables_of_3, to_2, to_1, "ALTER TABLE step ADD COLUMN since INTEGER NOT NULL DEFAULT 0" }, /* the last that it adds */
        { tables_of_3, "CREATE TABLE share (x INTEGER); INSERT INTO step SELECT 9, 9, 9, name, job, places, voted, open, errors, waiting, want_trusted, 1 << 62, queue, expires,"
                       " state, digest, agree, support, dissent, votes, trusted_required, reason, verdict, needs, usable, inputs, since FROM step WHERE key = 1; SELECT 1", "SELECT 1", "SELECT 1" },
    };
    static const int64_t want[] = { 1, 4 };
    for (size_t i = 0; i < 2; i++) {
        char dir[64];
        struct state *s = NULL;
        struct err e = ERR_INIT;
        old_state (dir, sql[i], 4);
        cr_assert_eq (state_open (&s, "sqlite", dir, &e), -1);
        cr_assert_eq (ask_db (dir, "SELECT value FROM counter WHERE name = 'schema'"), want[i]);
        if (i == 0)
            cr_assert_eq (ask_db (dir, "SELECT count(*) FROM pragma_table_info('step') WHERE name IN ('needs', 'usable', 'inputs')"), 0);
        else
            cr_assert_eq (ask_db (dir, "SELECT rank FROM step WHERE key = 5"), -4);
        cr_assert_eq (file_remove_tree (dir, &e), 0);
    }
}

Test (state_versions, a_later_version_is_left_alone)
{
    static const char *const sql[] = { "CREATE TABLE counter (name TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID; INSERT INTO counter VALUES ('schema', 7), ('open', 0);" };
    char dir[64];
    struct state *s = NULL;
    struct err e = ERR_INIT;
    old_state (dir, sql, 1);
    cr_assert_eq (state_open (&s, "sqlite", dir, &e), -1);
    cr_assert (e.kind == ERR_DAMAGED && strstr (e.msg, "schema 7"), "%s", e.msg);
    cr_assert_eq (ask_db (dir, "SELECT count(*) FROM sqlite_schema WHERE type = 'table'"), 1, "nothing was made in it");
    cr_assert_eq (file_remove_tree (dir, &e), 0);
}
