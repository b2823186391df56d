/* What the store knows of artifacts, what retention keeps, and that the sweep takes nothing that is needed. */
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "store/gc.h"
#include "store/manifest.h"

static char dir[] = "/tmp/test_index.XXXXXX";

static void setup (void) { cr_assert_not_null (mkdtemp (dir)); }
static void teardown (void) { file_remove_tree (dir, NULL); }
TestSuite (store_index, .init = setup, .fini = teardown, .timeout = 60);

static struct digest num (char kind, int n) { char t[2] = { kind, (char) n }; return digest_of (t, 2); }

static void
add (struct index_db *db, int n, const char *project, const char *ref, uint64_t bytes)
{
    struct index_put p = { .artifact = num ('a', n), .lease = num ('l', n), .submission = num ('s', n), .project = bytes_str (project), .ref = bytes_str (ref),
                           .step = bytes_str ("build"), .owner = bytes_str ("o"), .worker = bytes_str ("w"), .bytes = bytes, .time = n };
    struct err e = ERR_INIT;

    cr_assert_eq (index_add (db, &p, &e), 0, "%s", e.msg);
}

static bool has (struct index_db *db, int n) { struct digest d = num ('a', n); return index_has (db, &d); }

static void
see (void *arg, const char *project, bool trusted, const char *votes)
{
    (void) votes;
    (void) project;
    *(bool *) arg |= trusted;
}

Test (store_index, retention_verdicts_and_quota)
{
    CLEANUP (free_ptr) char *path = xasprintf ("%s/index.db", dir);
    struct index_db *db = NULL;
    struct err e = ERR_INIT;
    size_t dropped;
    bool trusted = false;

    cr_assert_eq (index_open (&db, path, &e), 0, "%s", e.msg);
    for (int i = 1; i <= 5; i++)
        add (db, i, "p", "refs/heads/main", 10);
    for (int i = 6; i <= 9; i++)
        add (db, i, "p", "refs/tags/v", 10);
    add (db, 10, "q", "refs/heads/main", 10);
    cr_assert_eq (index_owner_bytes (db, bytes_str ("o")), 100);
    struct digest s6 = num ('s', 6), a6 = num ('a', 6), a1 = num ('a', 1), s2 = num ('s', 2);

    struct index_said said = { .submission = s6, .artifact = a6, .step = "build", .project = "p", .trusted = true, .index = 3, .votes = "w1 5\n" };
    cr_assert_eq (index_verdict (db, &said, &e), 0);
    index_projects (db, &a6, see, &trusted);
    cr_assert (trusted);
    cr_assert_eq (index_name (db, bytes_str ("image/x"), &a1, 1, &e), 0);
    cr_assert_eq (index_keep (db, &s2, 9, 50, &e), 0);
    cr_assert_eq (index_expire (db, 2, 100, 100, &dropped, &e), 0);
    cr_assert_eq (dropped, 0, "all are young");
    cr_assert_eq (index_expire (db, 2, 100, 0, &dropped, &e), 0, "%s", e.msg);
    static const bool kept[] = { 0, true /* named */, true /* asked for 9 */, false, true, true, true /* trusted tag */, false, true, true, true /* other project */ };
    for (int i = 1; i <= 10; i++)
        cr_assert_eq (has (db, i), kept[i], "artifact %d", i);
    said.trusted = false;
    said.index = 2;
    cr_assert_eq (index_verdict (db, &said, &e), 0);
    trusted = false;
    index_projects (db, &a6, see, &trusted);
    cr_assert (trusted, "an older verdict changes nothing, however late it comes");
    said.index = 4;
    cr_assert_eq (index_verdict (db, &said, &e), 0);
    trusted = false;
    index_projects (db, &a6, see, &trusted);
    cr_assert_not (trusted, "a verdict can fall again");
    cr_assert_not (index_has_sent (db, bytes_str ("alice"), &a1));
    cr_assert_eq (index_sent (db, bytes_str ("alice"), &a1, 1, &e), 0, "%s", e.msg);
    cr_assert_eq (index_sent (db, bytes_str ("alice"), &a1, 1, &e), 0, "%s", e.msg);
    cr_assert (index_has_sent (db, bytes_str ("alice"), &a1) && !index_has_sent (db, bytes_str ("bob"), &a1) && !index_has_sent (db, bytes_str ("alice"), &a6));
    cr_assert_eq (index_unsent (db, &a1, &e), 0);
    cr_assert_not (index_has_sent (db, bytes_str ("alice"), &a1), "the blob is gone");
    struct digest l6 = num ('l', 6), l99 = num ('l', 99);
    cr_assert (index_lease_used (db, &l6, &a1) && !index_lease_used (db, &l6, &a6) && !index_lease_used (db, &l99, &a1));
    cr_assert_eq (index_set_seq (db, 77, &e), 0);
    index_close (&db);
    cr_assert_eq (index_open (&db, path, &e), 0);
    cr_assert_eq (index_seq (db), 77);
    index_close (&db);
}

static int64_t
rows (const char *path, const char *table)
{
    CLEANUP (free_ptr) char *text = xasprintf ("SELECT count(*) FROM %s", table);
    sqlite3 *sql = NULL;
    sqlite3_stmt *q = NULL;
    int64_t n = -1;

    cr_assert_eq (sqlite3_open (path, &sql), SQLITE_OK);
    cr_assert_eq (sqlite3_prepare_v2 (sql, text, -1, &q, NULL), SQLITE_OK);
    if (sqlite3_step (q) == SQLITE_ROW)
        n = sqlite3_column_int64 (q, 0);
    sqlite3_finalize (q);
    sqlite3_close (sql);
    return n;
}

/* They grew with each submission and each step, for ever. */
Test (store_index, rows_of_what_is_not_here_go)
{
    CLEANUP (free_ptr) char *path = xasprintf ("%s/index.db", dir);
    struct index_db *db = NULL;
    struct err e = ERR_INIT;
    size_t dropped;

    cr_assert_eq (index_open (&db, path, &e), 0, "%s", e.msg);
    add (db, 1, "p", "refs/heads/main", 10);
    for (int i = 1; i <= 20; i++) { /* of 1 there is an artifact, of 2 one may still come */
        struct digest sub = num ('s', i);
        struct index_said v = { .submission = sub, .artifact = num ('a', i), .step = "build", .project = "p", .trusted = true, .index = (uint64_t) i, .votes = "", .time = i == 2 ? 500 : 100 };
        cr_assert_eq (index_keep (db, &sub, 3, i == 2 ? 5000 : 1000, &e), 0);
        cr_assert_eq (index_verdict (db, &v, &e), 0);
    }
    cr_assert_eq (index_expire (db, 2, 999, 0, &dropped, &e), 0, "%s", e.msg);
    cr_assert (rows (path, "keep") == 20 && rows (path, "verdict") == 20, "too early");
    cr_assert_eq (index_expire (db, 2, 1001, 0, &dropped, &e), 0);
    cr_assert_eq (rows (path, "keep"), 2);
    cr_assert_eq (rows (path, "verdict"), 20);
    cr_assert_eq (index_expire (db, 2, INDEX_FORGET_US + 101, 0, &dropped, &e), 0);
    cr_assert_eq (rows (path, "keep"), 1);
    cr_assert_eq (rows (path, "verdict"), 2, "of 1, which is here, and of 2, which is not old enough");
    bool trusted = false;
    struct digest a1 = num ('a', 1);
    index_projects (db, &a1, see, &trusted);
    cr_assert (trusted);
    index_close (&db);
}

/* Rows of a version that did not note when they came are taken for new. */
Test (store_index, rows_without_a_time_get_one)
{
    CLEANUP (free_ptr) char *path = xasprintf ("%s/index.db", dir);
    sqlite3 *sql = NULL;
    struct index_db *db = NULL;
    struct err e = ERR_INIT;
    size_t dropped;

    cr_assert_eq (sqlite3_open (path, &sql), SQLITE_OK);
    cr_assert_eq (sqlite3_exec (sql, "CREATE TABLE verdict (submission BLOB NOT NULL, step TEXT NOT NULL, project TEXT NOT NULL, artifact BLOB NOT NULL, trusted INTEGER NOT NULL,"
                                     " PRIMARY KEY (submission, step)) STRICT; CREATE TABLE keep (submission BLOB PRIMARY KEY, n INTEGER NOT NULL) STRICT;"
                                     "INSERT INTO verdict VALUES (x'01', 'a', 'p', x'02', 1); INSERT INTO keep VALUES (x'01', 3);", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close (sql);
    cr_assert_eq (index_open (&db, path, &e), 0, "%s", e.msg);
    int64_t now = time_now_us ();
    cr_assert_eq (index_expire (db, 2, now, 0, &dropped, &e), 0, "%s", e.msg);
    cr_assert (rows (path, "keep") == 1 && rows (path, "verdict") == 1);
    cr_assert_eq (index_expire (db, 2, now + INDEX_FORGET_US + 1, 0, &dropped, &e), 0);
    cr_assert (rows (path, "keep") == 0 && rows (path, "verdict") == 0);
    index_close (&db);
}

static struct digest
blob (struct cas *c, const void *p, size_t len)
{
    struct cas_batch *b = cas_batch_new (c, NULL);
    struct digest d = digest_of (p, len);
    struct err e = ERR_INIT;

    cr_assert (cas_batch_begin (b, &d, len, &e) == 0 && cas_batch_write (b, p, len, &e) == 0 && cas_batch_end (b, &e) == 0 && cas_batch_commit (b, &e) == 0);
    cas_batch_drop (&b);
    return d;
}

static void swept (void *arg, const struct digest *d) { cr_assert (digest_eq (arg, d)); }

Test (store_index, sweep)
{
    struct cas *c = NULL;
    struct err e = ERR_INIT;
    struct manifest m;
    BUF (raw);
    size_t removed;
    uint64_t bytes;

    cr_assert_eq (cas_open (&c, "mem", dir, &e), 0);
    struct digest used = blob (c, "used", 4), open = blob (c, "open", 4), lost = blob (c, "lost", 4);

    manifest_init (&m);
    cr_assert_eq (manifest_add (&m, "f", 'f', 4, &used, NULL, &e), 0);
    cr_assert_eq (manifest_finish (&m, &raw, &e), 0);
    manifest_release (&m);
    struct digest artifact = blob (c, raw.p, raw.len), gone = num ('g', 1);
    struct gc *g = gc_new (c);

    gc_root (g, &artifact);
    gc_root (g, &gone); /* set aside before: holds nothing, stops nothing */
    gc_blob (g, &open);
    cr_assert_eq (gc_find (g, &removed, &bytes, &e), 0);
    gc_doomed (g, swept, &lost);
    cr_assert (cas_has (c, &lost, NULL), "found, and noted by whoever has to, before it goes");
    cr_assert_eq (gc_remove (g, &e), 0);
    gc_destroy (&g);
    cr_assert_eq (removed, 1);
    cr_assert_eq (bytes, 4);
    cr_assert (cas_has (c, &used, NULL) && cas_has (c, &open, NULL) && cas_has (c, &artifact, NULL) && !cas_has (c, &lost, NULL));
    cas_close (&c);
}
