/* spool.c: contract in spool.h. */
#include "cli/spool.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define ENVELOPE_MAX 1048576u
#define LEDGER_MAX (64u << 20)

static char *spool_path (const char *gitdir, const char *below)
{
    return xasprintf ("%s/assay/%s", gitdir, below);
}

int spool_lock (const char *gitdir, const char *name, int timeout_ms, struct err *e)
{
    char *CLEANUP (free_ptr) dir = spool_path (gitdir, "spool"), *CLEANUP (free_ptr) path = spool_path (gitdir, name);
    if (file_mkdirs (dir, 0700, e) == -1)
        return -1;
    int fd = open (path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1)
        return err_errno (e, "%s", path);
    if (file_flock (fd, true, timeout_ms, e) == -1) {
        close (fd);
        return e->code == EC_BUSY ? err_code (e, EC_BUSY, "%s: another assay works on this repository's spool (try again)", path) : err_wrap (e, "%s", path);
    }
    return fd;
}

int spool_put (const char *gitdir, const struct digest *id, struct bytes envelope, struct err *e)
{
    char hex[DIGEST_HEX];
    char *CLEANUP (free_ptr) dir = spool_path (gitdir, "spool");
    if (file_mkdirs (dir, 0700, e) == -1)
        return -1;
    char *CLEANUP (free_ptr) path = xasprintf ("%s/%s", dir, digest_hex (id, hex));
    return file_write (path, envelope, 0600, e);
}

struct waiting {
    char id[DIGEST_HEX];
    struct timespec when;
};

static int oldest_first (const void *a, const void *b)
{
    const struct waiting *x = a, *y = b;
    if (x->when.tv_sec != y->when.tv_sec)
        return x->when.tv_sec < y->when.tv_sec ? -1 : 1;
    if (x->when.tv_nsec != y->when.tv_nsec)
        return x->when.tv_nsec < y->when.tv_nsec ? -1 : 1;
    return strcmp (x->id, y->id);
}

static struct waiting *spool_list (const char *gitdir, size_t *count)
{
    char *CLEANUP (free_ptr) dir = spool_path (gitdir, "spool");
    struct waiting *v = NULL;
    *count = 0;
    DIR *d = opendir (dir);
    if (!d)
        return NULL;
    for (struct dirent *entry; (entry = readdir (d));) {
        struct digest id;
        struct stat st;
        if (!digest_parse (entry->d_name, &id) || fstatat (dirfd (d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == -1 || !S_ISREG (st.st_mode))
            continue;
        v = xrealloc (v, (*count + 1) * sizeof *v);
        memcpy (v[*count].id, entry->d_name, DIGEST_HEX);
        v[(*count)++].when = st.st_mtim;
    }
    closedir (d);
    if (v)
        qsort (v, *count, sizeof *v, oldest_first);
    return v;
}

size_t spool_count (const char *gitdir)
{
    size_t n;
    free (spool_list (gitdir, &n));
    return n;
}

static int set_aside (const char *dir, const char *path, const char *id, const struct err *why, struct err *e)
{
    char *CLEANUP (free_ptr) folder = xasprintf ("%s/refused", dir), *CLEANUP (free_ptr) to = xasprintf ("%s/refused/%s", dir, id),
                             *CLEANUP (free_ptr) reason = xasprintf ("%s/refused/%s.why", dir, id);
    BUF (text);
    buf_addf (&text, "%s\n", why->msg);
    if (file_mkdirs (folder, 0700, e) == -1 || file_write (reason, buf_bytes (&text), 0600, e) == -1)
        return -1;
    return rename (path, to) == -1 ? err_errno (e, "%s", to) : file_sync_dir (dir, e);
}

static bool try_later (const struct err *why)
{
    return why->kind == ERR_UNREACHABLE || why->code == EC_BUSY || why->code == EC_INTERNAL || why->code == EC_QUOTA;
}

int spool_send (const char *gitdir, struct client *broker, void (*each) (void *arg, const char *id, const struct err *refused), void *arg, struct err *e)
{
    char *CLEANUP (free_ptr) dir = spool_path (gitdir, "spool");
    for (;;) {
        size_t n;
        struct waiting *CLEANUP (free_ptr) v = spool_list (gitdir, &n);
        if (n == 0)
            return 0;
        for (size_t i = 0; i < n; i++) {
            char *CLEANUP (free_ptr) path = xasprintf ("%s/%s", dir, v[i].id);
            BUF (envelope);
            struct envelope opened;
            struct digest id;
            struct err why = ERR_INIT;
            digest_parse (v[i].id, &id);
            int rc = file_read (path, ENVELOPE_MAX, &envelope, &why);
            if (rc == -1 && access (path, F_OK) == -1)
                continue; /* another flush was here */
            if (rc == 0)
                rc = envelope_open (buf_bytes (&envelope), TYPE_SUBMISSION, &opened, &why);
            if (rc == 0) {
                struct digest real = envelope_id (&opened);
                envelope_release (&opened);
                rc = digest_eq (&real, &id) ? submit_send (broker, buf_bytes (&envelope), &id, NULL, NULL, &why)
                                            : err_code (&why, EC_DAMAGED, "the spooled file is damaged");
            }
            if (rc == -1 && try_later (&why)) {
                if (e)
                    *e = why;
                return -1;
            }
            if (rc == -1 ? set_aside (dir, path, v[i].id, &why, e) == -1 : unlink (path) == -1 && errno != ENOENT)
                return rc == -1 ? -1 : err_errno (e, "%s", path);
            if (each)
                each (arg, v[i].id, rc == -1 ? &why : NULL);
        }
    }
}

/* ---- what the hook last dealt with ---- */

/* Rows are sorted by ref: where `ref` is or would go. */
static size_t ledger_place (const struct ledger *l, const char *ref)
{
    size_t low = 0, high = l->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp (l->v[mid].ref, ref) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct ledger_row *ledger_find (struct ledger *l, const char *ref)
{
    size_t at = ledger_place (l, ref);
    return at < l->n && strcmp (l->v[at].ref, ref) == 0 ? &l->v[at] : NULL;
}

void ledger_set (struct ledger *l, const char *ref, const char *commit)
{
    size_t at = ledger_place (l, ref);
    bool there = at < l->n && strcmp (l->v[at].ref, ref) == 0;
    if (!commit) {
        if (there) {
            free (l->v[at].ref);
            memmove (&l->v[at], &l->v[at + 1], (l->n - at - 1) * sizeof *l->v);
            l->n--;
        }
        return;
    }
    if (!there) {
        if (l->n == l->cap) {
            l->cap = l->cap ? l->cap * 2 : 64;
            l->v = xrealloc (l->v, l->cap * sizeof *l->v);
        }
        memmove (&l->v[at + 1], &l->v[at], (l->n - at) * sizeof *l->v);
        l->v[at] = (struct ledger_row){ .ref = xstrdup (ref) };
        l->n++;
    }
    snprintf (l->v[at].commit, sizeof l->v[at].commit, "%s", commit);
}

void ledger_release (struct ledger *l)
{
    for (size_t i = 0; i < l->n; i++)
        free (l->v[i].ref);
    free (l->v);
    memset (l, 0, sizeof *l);
}

int ledger_load (const char *gitdir, struct ledger *l, struct err *e)
{
    char *CLEANUP (free_ptr) path = spool_path (gitdir, "refs");
    BUF (text);
    memset (l, 0, sizeof *l);
    if (access (path, F_OK) == -1)
        return 0;
    if (file_read (path, LEDGER_MAX, &text, e) == -1)
        return -1;
    l->present = true;
    char *save = NULL;
    for (char *line = strtok_r ((char *) (uintptr_t) buf_str (&text), "\n", &save); line; line = strtok_r (NULL, "\n", &save)) {
        size_t len = strspn (line, "0123456789abcdef");
        if ((len != 40 && len != 64) || line[len] != ' ' || !line[len + 1])
            continue; /* a line that makes no sense only costs a submission too many */
        line[len] = '\0';
        ledger_set (l, line + len + 1, line);
    }
    return 0;
}

int ledger_save (const char *gitdir, const struct ledger *l, struct err *e)
{
    char *CLEANUP (free_ptr) path = spool_path (gitdir, "refs");
    BUF (text);
    for (size_t i = 0; i < l->n; i++)
        buf_addf (&text, "%s %s\n", l->v[i].commit, l->v[i].ref);
    return file_write (path, buf_bytes (&text), 0600, e);
}
