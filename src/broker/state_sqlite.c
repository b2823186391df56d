/* state_sqlite.c: the backends `sqlite` and `mem`: one schema, one set of statements, on disk or not. */
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "broker/state_impl.h"
#include "broker/state_schema.h"

#define SUB "key, id, envelope, project, commit_id, ref, submitter, time, expires, priority FROM submission"
#define STEP                                                                                                                                  \
    "key, sub, no, name, job, places, voted, open, errors, waiting, want_trusted, rank, expires, state, digest, agree, support, dissent, votes," \
    " trusted_required, reason, verdict, needs, usable, inputs, since, queue FROM step"
#define LEASE "id, step, worker, owner, trusted, issued, expires, state, result, image, key FROM lease"

/* What may change of a step. Its place in the queue and whether it is open are in indices, which are written only where these changed. */
#define STEP_SET                                                                                                                                        \
    "places=?5, voted=?6, open=?7, errors=?8, waiting=?9, want_trusted=?10, state=?14, digest=?15, agree=?16, support=?17, dissent=?18, votes=?19,"      \
    " trusted_required=?20, reason=?21, verdict=?22, needs=?23, usable=?24, inputs=?25, since=?26 WHERE key=?27"

enum query {
    Q_BEGIN, Q_COMMIT, Q_ROLLBACK, Q_SUB_FIND, Q_SUB_GET, Q_SUB_ADD, Q_SUBS, Q_SUBS_PREFIX, Q_STEP_ADD, Q_STEP_PUT,
    Q_STEP_PUT_QUEUE, Q_STEP_PUT_ROW,
    Q_STEP_GET, Q_STEPS, Q_QUEUE, Q_EXPIRED, Q_OPEN_PUT, Q_LEASE_ADD, Q_LEASE_PUT, Q_LEASE_GET, Q_LEASES_OF, Q_LEASES_OPEN, Q_EVENTS_ADD,
    Q_EVENTS, Q_EVENTS_OLD, Q_SHARES, Q_SHARE_PUT, Q_COUNT
};
static const char *const texts[Q_COUNT] = {
    [Q_BEGIN] = "BEGIN IMMEDIATE",
    [Q_COMMIT] = "COMMIT",
    [Q_ROLLBACK] = "ROLLBACK",
    [Q_SUB_FIND] = "SELECT " SUB " WHERE id = ?1",
    [Q_SUB_GET] = "SELECT " SUB " WHERE key = ?1",
    [Q_SUB_ADD] = "INSERT INTO submission (id, envelope, project, commit_id, ref, submitter, time, expires, priority, key) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
    [Q_SUBS] = "SELECT " SUB " WHERE key < ?1 ORDER BY key DESC LIMIT ?2",
    [Q_SUBS_PREFIX] = "SELECT " SUB " WHERE id >= ?1 AND id <= ?2 ORDER BY id LIMIT ?3",
    [Q_STEP_ADD] = "INSERT INTO step (sub, no, name, job, places, voted, open, errors, waiting, want_trusted, rank, queue, expires, state, digest, agree,"
                   " support, dissent, votes, trusted_required, reason, verdict, needs, usable, inputs, since, key)"
                   " VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10,?11,?12,?13,?14,?15,?16,?17,?18,?19,?20,?21,?22,?23,?24,?25,?26,?27)",
    [Q_STEP_PUT] = "UPDATE step SET job=?4, rank=?11, queue=?12, expires=?13, " STEP_SET,
    [Q_STEP_PUT_QUEUE] = "UPDATE step SET queue=?12, " STEP_SET,
    [Q_STEP_PUT_ROW] = "UPDATE step SET " STEP_SET,
    [Q_STEP_GET] = "SELECT " STEP " WHERE key = ?1",
    [Q_STEPS] = "SELECT " STEP " WHERE sub = ?1 ORDER BY no",
    [Q_QUEUE] = "SELECT " STEP " WHERE queue = 1 AND (rank, key) > (?1, ?2) ORDER BY rank, key LIMIT ?3",
    [Q_EXPIRED] = "SELECT " STEP " WHERE job = 0 AND expires <= ?1 ORDER BY expires LIMIT ?2",
    [Q_OPEN_PUT] = "UPDATE counter SET value = ?1 WHERE name = 'open'",
    [Q_LEASE_ADD] = "INSERT INTO lease (id, step, worker, owner, trusted, issued, expires, state, result, image) VALUES (?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)",
    [Q_LEASE_PUT] = "UPDATE lease SET state = ?2, result = ?3 WHERE key = ?1",
    [Q_LEASE_GET] = "SELECT " LEASE " WHERE id = ?1",
    [Q_LEASES_OF] = "SELECT " LEASE " WHERE step = ?1 ORDER BY issued",
    [Q_LEASES_OPEN] = "SELECT " LEASE " WHERE state = 1 ORDER BY issued",
    [Q_EVENTS_ADD] = "INSERT INTO event_page (last, first, entries) VALUES (?1, ?2, ?3)",
    [Q_EVENTS] = "SELECT first, last, entries FROM event_page WHERE last >= ?1 ORDER BY last",
    [Q_EVENTS_OLD] = "SELECT seq, project, body FROM event WHERE seq >= ?1 ORDER BY seq",
    [Q_SHARES] = "SELECT priority, open, turn FROM share WHERE submitter = ?1",
    [Q_SHARE_PUT] = "INSERT INTO share (submitter, priority, open, turn) VALUES (?1,?2,?3,?4) ON CONFLICT DO UPDATE SET open = ?3, turn = ?4",
};

struct db {
    struct state head;
    sqlite3 *sql;
    sqlite3_stmt *q[Q_COUNT];
    uint64_t seq, seq_begun;
    int64_t open, open_begun, open_stored;
};

static int fail (struct db *d, struct err *e, const char *what)
{
    return err_code (e, EC_INTERNAL, "state: %s: %s", what, d->sql ? sqlite3_errmsg (d->sql) : "out of memory");
}

static sqlite3_stmt *query (struct db *d, enum query which)
{
    sqlite3_stmt *q = d->q[which];
    sqlite3_reset (q);
    sqlite3_clear_bindings (q);
    return q;
}

static int run (struct db *d, sqlite3_stmt *q, const char *what, struct err *e)
{
    int rc = sqlite3_step (q) == SQLITE_DONE ? 0 : fail (d, e, what);
    sqlite3_reset (q);
    return rc;
}

static int simple (struct db *d, enum query which, const char *what, struct err *e)
{
    return run (d, query (d, which), what, e);
}

static void put_text (sqlite3_stmt *q, int i, const char *s)
{
    sqlite3_bind_text (q, i, s, -1, SQLITE_STATIC);
}

static void put_digest (sqlite3_stmt *q, int i, const struct digest *d)
{
    if (digest_zero (d))
        sqlite3_bind_null (q, i);
    else
        sqlite3_bind_blob (q, i, d->b, 32, SQLITE_STATIC);
}

/* Name and box, behind each other; digests of earlier versions are none. */
static void put_usable (sqlite3_stmt *q, int i, const struct blind *b)
{
    _Static_assert (sizeof *b == sizeof b->name + sizeof b->box, "without gaps");
    if (digest_zero (&b->name))
        sqlite3_bind_null (q, i);
    else
        sqlite3_bind_blob (q, i, b, sizeof *b, SQLITE_STATIC);
}

static void get_usable (sqlite3_stmt *q, int i, struct blind *out)
{
    const void *p = sqlite3_column_blob (q, i);
    memset (out, 0, sizeof *out);
    if (p && sqlite3_column_bytes (q, i) == (int) sizeof *out)
        memcpy (out, p, sizeof *out);
}

static void get_text (sqlite3_stmt *q, int i, char *out, size_t size)
{
    const char *s = (const char *) sqlite3_column_text (q, i);
    size_t len = s ? strlen (s) : 0;
    len = len < size ? len : size - 1;
    if (len)
        memcpy (out, s, len);
    out[len] = '\0';
}

static void get_digest (sqlite3_stmt *q, int i, struct digest *out)
{
    const void *p = sqlite3_column_blob (q, i);
    memset (out, 0, sizeof *out);
    if (p && sqlite3_column_bytes (q, i) == 32)
        memcpy (out->b, p, 32);
}

static unsigned get_u (sqlite3_stmt *q, int i)
{
    return (unsigned) sqlite3_column_int64 (q, i);
}

/* ---- life ---- */

static void db_close (struct state *s)
{
    struct db *d = (struct db *) s;
    for (int i = 0; i < Q_COUNT; i++)
        sqlite3_finalize (d->q[i]);
    sqlite3_close (d->sql);
    free (d);
}

static int db_open (struct state **out, const struct state_backend *ops, const char *path, struct err *e)
{
    struct db *d = xcalloc (1, sizeof *d);
    d->head.ops = ops;
    bool ok = sqlite3_open_v2 (path, &d->sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL) == SQLITE_OK
              && sqlite3_exec (d->sql, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA cache_size=-16384; PRAGMA wal_autocheckpoint=8000;"
                                       "PRAGMA trusted_schema=OFF; PRAGMA temp_store=MEMORY;", NULL, NULL, NULL) == SQLITE_OK;
    if (ok && schema_open (d->sql, &state_schema, path, e) == -1) {
        db_close (&d->head);
        return -1;
    }
    for (int i = 0; ok && i < Q_COUNT; i++)
        ok = sqlite3_prepare_v3 (d->sql, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &d->q[i], NULL) == SQLITE_OK;
    if (!ok) {
        fail (d, e, path);
        db_close (&d->head);
        return -1;
    }
    int64_t seq = schema_number (d->sql, "SELECT coalesce(max(last), (SELECT coalesce(max(seq), 0) FROM event)) FROM event_page");
    d->open = d->open_stored = schema_number (d->sql, "SELECT value FROM counter WHERE name = 'open'");
    if (seq < 0 || d->open < 0) {
        err_set (e, ERR_DAMAGED, "%s: it has no counters, or no events (not a state of assay's broker)", path);
        db_close (&d->head);
        return -1;
    }
    d->seq = (uint64_t) seq;
    *out = &d->head;
    return 0;
}

static int sqlite_open (struct state **s, const char *dir, struct err *e)
{
    char *path CLEANUP (free_ptr) = xasprintf ("%s/state.db", dir);
    /* made here, so that its mode is ours: SQLite gives its journal the same */
    int fd CLEANUP (fd_close) = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1)
        return err_errno (e, "%s", path);
    return db_open (s, &state_sqlite, path, e);
}

static int mem_open (struct state **s, const char *dir, struct err *e)
{
    (void) dir;
    return db_open (s, &state_mem, ":memory:", e);
}

static void db_keys (struct state *s, int64_t *sub, int64_t *step)
{
    struct db *d = (struct db *) s;
    *sub = schema_number (d->sql, "SELECT coalesce(max(key), 0) FROM submission");
    *step = schema_number (d->sql, "SELECT coalesce(max(key), 0) FROM step");
}

/* ---- turns ---- */

static int db_begin (struct state *s, struct err *e)
{
    struct db *d = (struct db *) s;
    d->seq_begun = d->seq;
    d->open_begun = d->open;
    return simple (d, Q_BEGIN, "begin", e);
}

static void db_rollback (struct state *s)
{
    struct db *d = (struct db *) s;
    struct err none;
    if (!sqlite3_get_autocommit (d->sql))
        (void) simple (d, Q_ROLLBACK, "rollback", &none);
    d->seq = d->seq_begun;
    d->open = d->open_begun;
}

static int db_commit (struct state *s, struct err *e)
{
    struct db *d = (struct db *) s;
    if (d->open != d->open_stored) {
        sqlite3_stmt *q = query (d, Q_OPEN_PUT);
        sqlite3_bind_int64 (q, 1, d->open);
        if (run (d, q, "counter", e) == -1) {
            db_rollback (s);
            return -1;
        }
    }
    if (simple (d, Q_COMMIT, "commit", e) == -1) {
        db_rollback (s);
        return -1;
    }
    d->open_stored = d->open;
    return 0;
}

/* ---- submissions ---- */

static void sub_row (sqlite3_stmt *q, struct sub_row *r)
{
    memset (r, 0, sizeof *r);
    r->key = sqlite3_column_int64 (q, 0);
    get_digest (q, 1, &r->id);
    buf_add (&r->envelope, sqlite3_column_blob (q, 2), (size_t) sqlite3_column_bytes (q, 2));
    get_text (q, 3, r->project, sizeof r->project);
    get_text (q, 4, r->commit, sizeof r->commit);
    get_text (q, 5, r->ref, sizeof r->ref);
    get_text (q, 6, r->submitter, sizeof r->submitter);
    r->time = sqlite3_column_int64 (q, 7);
    r->expires = sqlite3_column_int64 (q, 8);
    r->priority = get_u (q, 9);
}

/* 1 a row, 0 none, -1 an error. */
static int one_sub (struct db *d, sqlite3_stmt *q, struct sub_row *out, struct err *e)
{
    int rc = sqlite3_step (q);
    if (rc == SQLITE_ROW)
        sub_row (q, out);
    sqlite3_reset (q);
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : fail (d, e, "submission");
}

static int db_sub_find (struct state *s, const struct digest *id, struct sub_row *out, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_SUB_FIND);
    sqlite3_bind_blob (q, 1, id->b, 32, SQLITE_STATIC);
    return one_sub (d, q, out, e);
}

static int db_sub_get (struct state *s, int64_t key, struct sub_row *out, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_SUB_GET);
    sqlite3_bind_int64 (q, 1, key);
    int rc = one_sub (d, q, out, e);
    return rc == 0 ? err_code (e, EC_NOT_FOUND, "no such submission") : rc == 1 ? 0 : -1;
}

static int db_sub_add (struct state *s, const struct sub_row *r, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_SUB_ADD);
    sqlite3_bind_blob (q, 1, r->id.b, 32, SQLITE_STATIC);
    sqlite3_bind_blob (q, 2, r->envelope.p, (int) r->envelope.len, SQLITE_STATIC);
    put_text (q, 3, r->project);
    put_text (q, 4, r->commit);
    put_text (q, 5, r->ref);
    put_text (q, 6, r->submitter);
    sqlite3_bind_int64 (q, 7, r->time);
    sqlite3_bind_int64 (q, 8, r->expires);
    sqlite3_bind_int64 (q, 9, r->priority);
    sqlite3_bind_int64 (q, 10, r->key);
    return run (d, q, "submission", e);
}

static int db_subs (struct state *s, const char *prefix, int64_t before, unsigned limit, int (*each) (void *, const struct sub_row *), void *arg, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q;
    uint8_t low[32], high[32];
    int rc;
    if (*prefix) {
        char hex[65];
        size_t len = strlen (prefix);
        for (int end = 0; end < 2; end++) {
            memset (hex, end ? 'f' : '0', 64);
            hex[64] = '\0';
            memcpy (hex, prefix, len > 64 ? 64 : len);
            if (!hex_decode (hex, end ? high : low, 32))
                return err_code (e, EC_MALFORMED, "an id is of hexadecimal digits");
        }
        q = query (d, Q_SUBS_PREFIX);
        sqlite3_bind_blob (q, 1, low, 32, SQLITE_STATIC);
        sqlite3_bind_blob (q, 2, high, 32, SQLITE_STATIC);
        sqlite3_bind_int64 (q, 3, limit);
    } else {
        q = query (d, Q_SUBS);
        sqlite3_bind_int64 (q, 1, before);
        sqlite3_bind_int64 (q, 2, limit);
    }
    bool stop = false;
    while (!stop && (rc = sqlite3_step (q)) == SQLITE_ROW) {
        struct sub_row r;
        sub_row (q, &r);
        stop = each (arg, &r) != 0;
        sub_row_release (&r);
    }
    int failed = !stop && rc != SQLITE_DONE ? fail (d, e, "submissions") : 0;
    sqlite3_reset (q);
    return failed;
}

/* ---- steps ---- */

static bool step_queue (const struct step_row *r)
{
    return !r->waiting && job_wants (&r->job) > 0;
}

static void step_stored (struct step_row *r)
{
    r->stored.job = r->job.state;
    r->stored.rank = step_rank (r);
    r->stored.expires = r->expires;
    r->stored.queued = step_queue (r);
}

static void step_row (sqlite3_stmt *q, struct step_row *r)
{
    int i = 0;
    memset (r, 0, sizeof *r);
    r->key = sqlite3_column_int64 (q, i++);
    r->sub = sqlite3_column_int64 (q, i++);
    r->no = get_u (q, i++);
    get_text (q, i++, r->name, sizeof r->name);
    r->job.state = (enum job_state) get_u (q, i++);
    r->job.places = get_u (q, i++);
    r->job.votes = get_u (q, i++);
    r->job.open = get_u (q, i++);
    r->job.errors = get_u (q, i++);
    r->waiting = get_u (q, i++) != 0;
    r->want_trusted = get_u (q, i++) != 0;
    step_ranked (r, sqlite3_column_int64 (q, i++));
    r->expires = sqlite3_column_int64 (q, i++);
    get_text (q, i++, r->state, sizeof r->state);
    get_digest (q, i++, &r->digest);
    r->agree = get_u (q, i++);
    r->support = get_u (q, i++);
    r->dissent = get_u (q, i++);
    r->votes = get_u (q, i++);
    r->trusted_required = get_u (q, i++) != 0;
    get_text (q, i++, r->reason, sizeof r->reason);
    r->verdict_index = (uint64_t) sqlite3_column_int64 (q, i++);
    r->needs = get_u (q, i++);
    get_usable (q, i++, &r->usable);
    get_digest (q, i++, &r->inputs);
    r->since = sqlite3_column_int64 (q, i++);
    bool queued = get_u (q, i++) != 0;
    step_stored (r);
    r->stored.queued = queued;
}

static void step_bind (sqlite3_stmt *q, const struct step_row *r)
{
    int i = 4;
    sqlite3_bind_int64 (q, i++, r->job.state);
    sqlite3_bind_int64 (q, i++, r->job.places);
    sqlite3_bind_int64 (q, i++, r->job.votes);
    sqlite3_bind_int64 (q, i++, r->job.open);
    sqlite3_bind_int64 (q, i++, r->job.errors);
    sqlite3_bind_int64 (q, i++, r->waiting);
    sqlite3_bind_int64 (q, i++, r->want_trusted);
    sqlite3_bind_int64 (q, i++, step_rank (r));
    sqlite3_bind_int64 (q, i++, step_queue (r));
    sqlite3_bind_int64 (q, i++, r->expires);
    put_text (q, i++, r->state);
    put_digest (q, i++, &r->digest);
    sqlite3_bind_int64 (q, i++, r->agree);
    sqlite3_bind_int64 (q, i++, r->support);
    sqlite3_bind_int64 (q, i++, r->dissent);
    sqlite3_bind_int64 (q, i++, r->votes);
    sqlite3_bind_int64 (q, i++, r->trusted_required);
    put_text (q, i++, r->reason);
    sqlite3_bind_int64 (q, i++, (int64_t) r->verdict_index);
    sqlite3_bind_int64 (q, i++, r->needs);
    put_usable (q, i++, &r->usable);
    put_digest (q, i++, &r->inputs);
    sqlite3_bind_int64 (q, i++, r->since);
}

static int one_step (struct db *d, sqlite3_stmt *q, struct step_row *out, struct err *e)
{
    int rc = sqlite3_step (q);
    if (rc == SQLITE_ROW)
        step_row (q, out);
    sqlite3_reset (q);
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : fail (d, e, "step");
}

static int db_step_get (struct state *s, int64_t key, struct step_row *out, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_STEP_GET);
    sqlite3_bind_int64 (q, 1, key);
    int rc = one_step (d, q, out, e);
    return rc == 0 ? err_code (e, EC_NOT_FOUND, "no such step") : rc == 1 ? 0 : -1;
}

static int db_step_add (struct state *s, struct step_row *r, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_STEP_ADD);
    sqlite3_bind_int64 (q, 1, r->sub);
    sqlite3_bind_int64 (q, 2, r->no);
    put_text (q, 3, r->name);
    step_bind (q, r);
    sqlite3_bind_int64 (q, 27, r->key);
    if (run (d, q, "step", e) == -1)
        return -1;
    d->open += r->job.state != JOB_DECIDED;
    step_stored (r);
    return 0;
}

static int db_step_put (struct state *s, struct step_row *r, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, r->job.state != r->stored.job || step_rank (r) != r->stored.rank || r->expires != r->stored.expires ? Q_STEP_PUT
                                      : step_queue (r) != r->stored.queued                                                                    ? Q_STEP_PUT_QUEUE
                                                                                                                                              : Q_STEP_PUT_ROW);
    step_bind (q, r);
    sqlite3_bind_int64 (q, 27, r->key);
    if (run (d, q, "step", e) == -1)
        return -1;
    if (sqlite3_changes (d->sql) == 0)
        return err_code (e, EC_NOT_FOUND, "no such step");
    d->open += (r->job.state != JOB_DECIDED) - (r->stored.job != JOB_DECIDED);
    step_stored (r);
    return 0;
}

static int db_steps (struct state *s, int64_t sub, int (*each) (void *, const struct step_row *), void *arg, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_STEPS);
    int rc = SQLITE_DONE;
    bool stop = false;
    sqlite3_bind_int64 (q, 1, sub);
    while (!stop && (rc = sqlite3_step (q)) == SQLITE_ROW) {
        struct step_row r;
        step_row (q, &r);
        stop = each (arg, &r) != 0;
    }
    int failed = !stop && rc != SQLITE_DONE ? fail (d, e, "steps") : 0;
    sqlite3_reset (q);
    return failed;
}

static int many_steps (struct db *d, sqlite3_stmt *q, size_t limit, struct step_row *out, size_t *n, struct err *e)
{
    int rc = SQLITE_DONE;
    *n = 0;
    while (*n < limit && (rc = sqlite3_step (q)) == SQLITE_ROW)
        step_row (q, &out[(*n)++]);
    int failed = rc != SQLITE_DONE && rc != SQLITE_ROW ? fail (d, e, "queue") : 0;
    sqlite3_reset (q);
    return failed;
}

static int db_queue (struct state *s, struct cursor after, size_t limit, struct step_row *out, size_t *n, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_QUEUE);
    sqlite3_bind_int64 (q, 1, after.rank);
    sqlite3_bind_int64 (q, 2, after.key);
    sqlite3_bind_int64 (q, 3, (int64_t) limit);
    return many_steps (d, q, limit, out, n, e);
}

static int db_expired (struct state *s, int64_t now, size_t limit, struct step_row *out, size_t *n, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_EXPIRED);
    sqlite3_bind_int64 (q, 1, now);
    sqlite3_bind_int64 (q, 2, (int64_t) limit);
    return many_steps (d, q, limit, out, n, e);
}

static int64_t db_open_steps (struct state *s)
{
    return ((struct db *) s)->open;
}

static int db_shares (struct state *s, const char *submitter, struct shares *out, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_SHARES);
    int rc;
    memset (out, 0, sizeof *out);
    put_text (q, 1, submitter);
    while ((rc = sqlite3_step (q)) == SQLITE_ROW) {
        int64_t priority = sqlite3_column_int64 (q, 0);
        if (priority < 0 || priority >= PRIORITIES)
            continue;
        out->open[priority] = sqlite3_column_int64 (q, 1);
        out->turn[priority] = sqlite3_column_int64 (q, 2);
    }
    sqlite3_reset (q);
    return rc == SQLITE_DONE ? 0 : fail (d, e, "share");
}

static int db_share_put (struct state *s, const char *submitter, unsigned priority, int64_t open, int64_t turn, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_SHARE_PUT);
    put_text (q, 1, submitter);
    sqlite3_bind_int64 (q, 2, priority);
    sqlite3_bind_int64 (q, 3, open);
    sqlite3_bind_int64 (q, 4, turn);
    return run (d, q, "share", e);
}

/* ---- leases ---- */

static void lease_row (sqlite3_stmt *q, struct lease_row *r)
{
    memset (r, 0, sizeof *r);
    get_digest (q, 0, &r->id);
    r->step = sqlite3_column_int64 (q, 1);
    get_text (q, 2, r->worker, sizeof r->worker);
    get_text (q, 3, r->owner, sizeof r->owner);
    r->trusted = get_u (q, 4) != 0;
    r->issued = sqlite3_column_int64 (q, 5);
    r->expires = sqlite3_column_int64 (q, 6);
    r->state = (enum lease_state) get_u (q, 7);
    get_digest (q, 8, &r->result);
    r->image = get_u (q, 9);
    r->key = sqlite3_column_int64 (q, 10);
}

static int db_lease_add (struct state *s, struct lease_row *l, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_LEASE_ADD);
    sqlite3_bind_blob (q, 1, l->id.b, 32, SQLITE_STATIC);
    sqlite3_bind_int64 (q, 2, l->step);
    put_text (q, 3, l->worker);
    put_text (q, 4, l->owner);
    sqlite3_bind_int64 (q, 5, l->trusted);
    sqlite3_bind_int64 (q, 6, l->issued);
    sqlite3_bind_int64 (q, 7, l->expires);
    sqlite3_bind_int64 (q, 8, l->state);
    put_digest (q, 9, &l->result);
    sqlite3_bind_int64 (q, 10, l->image);
    if (run (d, q, "lease", e) == -1)
        return -1;
    l->key = sqlite3_last_insert_rowid (d->sql);
    return 0;
}

static int db_lease_put (struct state *s, const struct lease_row *l, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_LEASE_PUT);
    sqlite3_bind_int64 (q, 1, l->key);
    sqlite3_bind_int64 (q, 2, l->state);
    put_digest (q, 3, &l->result);
    return run (d, q, "lease", e);
}

static int db_lease_get (struct state *s, const struct digest *id, struct lease_row *out, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_LEASE_GET);
    sqlite3_bind_blob (q, 1, id->b, 32, SQLITE_STATIC);
    int rc = sqlite3_step (q);
    if (rc == SQLITE_ROW)
        lease_row (q, out);
    sqlite3_reset (q);
    return rc == SQLITE_ROW ? 1 : rc == SQLITE_DONE ? 0 : fail (d, e, "lease");
}

/* Rows are taken first and given out then: the callback may write to the table. */
static int many_leases (struct db *d, sqlite3_stmt *q, int (*each) (void *, const struct lease_row *), void *arg, struct err *e)
{
    struct lease_row *rows = NULL;
    size_t n = 0, cap = 0;
    int rc;
    while ((rc = sqlite3_step (q)) == SQLITE_ROW) {
        if (n == cap)
            rows = xrealloc (rows, (cap = cap ? cap * 2 : 8) * sizeof *rows);
        lease_row (q, &rows[n++]);
    }
    int failed = rc != SQLITE_DONE ? fail (d, e, "leases") : 0;
    sqlite3_reset (q);
    for (size_t i = 0; failed == 0 && i < n; i++)
        if (each (arg, &rows[i]) != 0)
            break;
    free (rows);
    return failed;
}

static int db_leases_of (struct state *s, int64_t step, int (*each) (void *, const struct lease_row *), void *arg, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_LEASES_OF);
    sqlite3_bind_int64 (q, 1, step);
    return many_leases (d, q, each, arg, e);
}

static int db_leases_open (struct state *s, int (*each) (void *, const struct lease_row *), void *arg, struct err *e)
{
    struct db *d = (struct db *) s;
    return many_leases (d, query (d, Q_LEASES_OPEN), each, arg, e);
}

/* ---- events ---- */

static uint64_t db_seq (const struct state *s)
{
    return ((const struct db *) s)->seq;
}

static int db_events_add (struct state *s, unsigned n, struct bytes page, struct err *e)
{
    struct db *d = (struct db *) s;
    sqlite3_stmt *q = query (d, Q_EVENTS_ADD);
    sqlite3_bind_int64 (q, 1, (int64_t) (d->seq + n));
    sqlite3_bind_int64 (q, 2, (int64_t) d->seq + 1);
    sqlite3_bind_blob (q, 3, page.p, (int) page.len, SQLITE_STATIC);
    if (run (d, q, "events", e) == -1)
        return -1;
    d->seq += n;
    return 0;
}

struct reading {
    uint64_t from;
    int (*each) (void *, uint64_t, const char *, struct bytes);
    void *arg;
    bool stop;
};

/* A page's entries are as many as its numbers say. */
static int read_page (struct reading *r, uint64_t first, uint64_t last, struct bytes page, struct err *e)
{
    for (uint64_t seq = first; !r->stop && seq <= last; seq++) {
        char project[128];
        struct bytes body;
        if (!entry_take (&page, project, &body))
            return err_code (e, EC_INTERNAL, "state: events: event %llu is damaged", (unsigned long long) seq);
        if (seq >= r->from)
            r->stop = r->each (r->arg, seq, project, body) != 0;
    }
    return 0;
}

static int db_events (struct state *s, uint64_t from, int (*each) (void *, uint64_t, const char *, struct bytes), void *arg, struct err *e)
{
    struct db *d = (struct db *) s;
    struct reading r = { from, each, arg, false };
    static const enum query both[] = { Q_EVENTS_OLD, Q_EVENTS };
    int failed = 0;
    for (size_t i = 0; i < 2 && failed == 0 && !r.stop; i++) {
        sqlite3_stmt *q = query (d, both[i]);
        int rc = SQLITE_DONE;
        sqlite3_bind_int64 (q, 1, from > INT64_MAX ? INT64_MAX : (int64_t) from);
        while (failed == 0 && !r.stop && (rc = sqlite3_step (q)) == SQLITE_ROW) {
            struct bytes blob = bytes_of (sqlite3_column_blob (q, 2), (size_t) sqlite3_column_bytes (q, 2));
            if (both[i] == Q_EVENTS)
                failed = read_page (&r, (uint64_t) sqlite3_column_int64 (q, 0), (uint64_t) sqlite3_column_int64 (q, 1), blob, e);
            else {
                const char *project = (const char *) sqlite3_column_text (q, 1);
                r.stop = each (arg, (uint64_t) sqlite3_column_int64 (q, 0), project ? project : "", blob) != 0;
            }
        }
        if (failed == 0 && !r.stop && rc != SQLITE_DONE)
            failed = fail (d, e, "events");
        sqlite3_reset (q);
    }
    return failed;
}

#define BACKEND(backend_name, opener)                                                                                                                    \
    {                                                                                                                                                    \
        .name = backend_name, .open = opener, .close = db_close, .keys = db_keys, .begin = db_begin, .commit = db_commit, .rollback = db_rollback,       \
        .sub_find = db_sub_find, .sub_get = db_sub_get, .sub_add = db_sub_add, .subs = db_subs, .step_add = db_step_add, .step_put = db_step_put,         \
        .step_get = db_step_get, .steps = db_steps, .queue = db_queue, .expired = db_expired, .open_steps = db_open_steps, .shares = db_shares, .share_put = db_share_put, .lease_add = db_lease_add,     \
        .lease_put = db_lease_put, .lease_get = db_lease_get, .leases_of = db_leases_of, .leases_open = db_leases_open, .seq = db_seq,                     \
        .events_add = db_events_add, .events = db_events                                                                                                 \
    }
const struct state_backend state_sqlite = BACKEND ("sqlite", sqlite_open);
const struct state_backend state_mem = BACKEND ("mem", mem_open);
