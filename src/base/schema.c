#include "base/schema.h"

#include <sqlite3.h>

#include "base/bytes.h"

int64_t schema_number (sqlite3 *sql, const char *query)
{
    sqlite3_stmt *q = NULL;
    int64_t v = -1;
    if (sqlite3_prepare_v2 (sql, query, -1, &q, NULL) == SQLITE_OK && sqlite3_step (q) == SQLITE_ROW)
        v = sqlite3_column_int64 (q, 0);
    sqlite3_finalize (q);
    return v;
}

/* The text, and the version that it leads to. */
static int apply (sqlite3 *sql, const char *text, int64_t version, const char *path, struct err *e)
{
    char *mark CLEANUP (free_ptr) = xasprintf ("INSERT INTO counter VALUES ('schema', %lld) ON CONFLICT DO UPDATE SET value = excluded.value; COMMIT", (long long) version);
    const char *const parts[] = { "BEGIN IMMEDIATE", text, mark };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++)
        if (sqlite3_exec (sql, parts[i], NULL, NULL, NULL) != SQLITE_OK) {
            err_code (e, EC_INTERNAL, "%s: %s", path, sqlite3_errmsg (sql));
            (void) sqlite3_exec (sql, "ROLLBACK", NULL, NULL, NULL);
            return -1;
        }
    return 0;
}

/* The tables of a version that is known may lack some that came without a new version. */
int schema_open (sqlite3 *sql, const struct schema *s, const char *path, struct err *e)
{
    int64_t version = schema_number (sql, "SELECT value FROM counter WHERE name = 'schema'"); /* -1: a new one */
    if (version != -1 && (version < 1 || version > s->version))
        return err_set (e, ERR_DAMAGED, "%s: schema %lld is not %d (made by another version of assay)", path, (long long) version, s->version);
    for (; version != -1 && version < s->version; version++)
        if (apply (sql, s->upgrades[version - 1], version + 1, path, e) == -1)
            return -1;
    if (version == -1)
        return apply (sql, s->tables, s->version, path, e);
    return sqlite3_exec (sql, s->tables, NULL, NULL, NULL) == SQLITE_OK ? 0 : err_code (e, EC_INTERNAL, "%s: %s", path, sqlite3_errmsg (sql));
}
