#include "cli/seen.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "verifier/note.h"

void seen_release (struct seen *s)
{
    fd_close (&s->lock);
    buf_release (&s->note);
    free (s->dir);
    s->dir = NULL;
}

int seen_open (struct seen *s, const char *realm_dir, const char *verifier, int timeout_ms, struct err *e)
{
    *s = (struct seen){ .dir = xasprintf ("%s/audit/%s", realm_dir, verifier), .lock = -1 };
    char *lock CLEANUP (free_ptr) = xasprintf ("%s/lock", s->dir), *file CLEANUP (free_ptr) = xasprintf ("%s/checkpoint", s->dir);
    int rc = file_mkdirs (s->dir, 0700, e);
    if (rc == 0 && (s->lock = open (lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600)) == -1)
        rc = err_errno (e, "%s", lock);
    if (rc == 0 && (rc = file_flock (s->lock, true, timeout_ms, e)) == -1)
        err_wrap (e, "%s: another command looks at this log", lock);
    if (rc == 0 && (access (file, F_OK) == 0 || errno != ENOENT))
        rc = file_read (file, NOTE_MAX, &s->note, e);
    if (rc == -1) {
        seen_release (s);
        return -1;
    }
    BUF (mark);
    char *entries CLEANUP (free_ptr) = xasprintf ("%s/entries", s->dir);
    if (file_read (entries, 32, &mark, NULL) == -1 || mark.len == 0 || !note_number (bytes_of (mark.p, mark.len - 1), &s->entries))
        s->entries = 0;
    return 0;
}

int seen_keep (struct seen *s, struct bytes note, struct err *e)
{
    char *file CLEANUP (free_ptr) = xasprintf ("%s/checkpoint", s->dir);
    if (file_write (file, note, 0600, e) == -1)
        return -1;
    s->note.len = 0;
    buf_add (&s->note, note.p, note.len);
    return 0;
}

int seen_mark (struct seen *s, uint64_t entries, struct err *e)
{
    char *file CLEANUP (free_ptr) = xasprintf ("%s/entries", s->dir), *text CLEANUP (free_ptr) = xasprintf ("%llu\n", (unsigned long long) entries);
    return file_write (file, bytes_str (text), 0600, e);
}

static size_t pairs (const char *dir)
{
    size_t n = 0;
    DIR *d = opendir (dir);
    for (struct dirent *f; d && (f = readdir (d));) {
        const char *dot = strrchr (f->d_name, '.');
        n += dot && !strcmp (dot, ".shown");
    }
    if (d)
        closedir (d);
    return n;
}

int seen_evidence (struct seen *s, struct bytes seen, struct bytes shown, char **seen_path, char **shown_path, struct err *e)
{
    char hex[DIGEST_HEX];
    BUF (both);
    buf_add (&both, seen.p, seen.len);
    buf_add (&both, shown.p, shown.len);
    struct digest d = digest_of (both.p, both.len);
    *seen_path = xasprintf ("%s/%.16s.seen", s->dir, digest_hex (&d, hex));
    *shown_path = xasprintf ("%s/%.16s.shown", s->dir, hex);
    if (access (*shown_path, F_OK) == 0)
        return 0;
    if (pairs (s->dir) < SEEN_EVIDENCE && file_write (*seen_path, seen, 0600, e) == 0 && file_write (*shown_path, shown, 0600, e) == 0)
        return 0;
    bool full = pairs (s->dir) >= SEEN_EVIDENCE;
    free_ptr (seen_path);
    free_ptr (shown_path);
    return full ? 0 : -1;
}
