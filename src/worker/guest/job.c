#include <fcntl.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/guest/guest.h"

static uint64_t le (const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes; i-- > 0;)
        v = v << 8 | p[i];
    return v;
}

static void *room (size_t n)
{
    void *p = calloc (1, n ? n : 1);
    if (!p)
        broken ("no memory for %zu bytes", n);
    return p;
}

static void add (char ***list, size_t *n, const uint8_t *p, size_t len)
{
    char **more = realloc (*list, (*n + 2) * sizeof *more), *text = room (len + 1);
    if (!more)
        broken ("no memory");
    memcpy (text, p, len);
    more[(*n)++] = text;
    more[*n] = NULL;
    *list = more;
}

void job_read (struct job *j, int input)
{
    uint8_t head[16];
    memset (j, 0, sizeof *j);
    j->env = room (sizeof *j->env);
    j->artifacts = room (sizeof *j->artifacts);
    if (pread (input, head, sizeof head, 0) != (ssize_t) sizeof head || memcmp (head, JOB_MAGIC, 8) != 0)
        broken ("input disk: no job on it");
    size_t len = (size_t) le (head + 8, 4);
    if (len > JOB_MAX)
        broken ("input disk: a job of %zu bytes", len);
    uint8_t *b = room (len);
    for (size_t at = 0; at < len;) {
        ssize_t n = pread (input, b + at, len - at, (off_t) (sizeof head + at));
        if (n <= 0)
            broken ("input disk: it cannot be read");
        at += (size_t) n;
    }
    for (size_t at = 0; at < len;) {
        size_t n = len - at < 5 ? len : (size_t) le (b + at + 1, 4);
        if (len - at < 5 || n > len - at - 5)
            broken ("input disk: a job that is cut short");
        const uint8_t *p = b + at + 5;
        switch (b[at]) {
        case JOB_RUN:
            j->run = room (n + 1);
            memcpy (j->run, p, n);
            break;
        case JOB_ENV: add (&j->env, &j->env_count, p, n); break;
        case JOB_ARTIFACT: add (&j->artifacts, &j->artifact_count, p, n); break;
        case JOB_FILTER:
            j->filter = room (n);
            memcpy (j->filter, p, n);
            j->filter_len = n;
            break;
        case JOB_RELAY:
            if (n != 6 || j->relay_count == RELAY_MAX)
                broken ("input disk: a listener that makes no sense");
            memcpy (&j->relay[j->relay_count].at, p, 4);
            j->relay[j->relay_count++].port = (uint16_t) le (p + 4, 2);
            break;
        case JOB_HOSTS:
            j->hosts = room (n + 1);
            memcpy (j->hosts, p, n);
            break;
        case JOB_NUMBERS:
            for (size_t i = 0; i < JOB_NUMBER_COUNT && (i + 1) * 8 <= n; i++)
                j->n[i] = le (p + i * 8, 8);
            break;
        default: broken ("input disk: a field that this guest does not know (the image is older than the worker)");
        }
        at += 5 + n;
    }
    free (b);
    if (!j->run || !j->filter)
        broken ("input disk: a job without a command");
    j->pack_at = (sizeof head + len + 4095) / 4096 * 4096;
}

static bool covers (const char *pattern, const char *path, bool folder)
{
    for (;;) {
        char a[256], b[256];
        pattern += strspn (pattern, "/");
        size_t n = strcspn (pattern, "/"), m = strcspn (path, "/");
        if (!n)
            return true; /* below what is listed */
        if (n >= sizeof a || m >= sizeof b)
            return false;
        memcpy (a, pattern, n);
        memcpy (b, path, m);
        a[n] = b[m] = '\0';
        if (strpbrk (a, "*?[") ? fnmatch (a, b, FNM_PERIOD) != 0 : strcmp (a, b) != 0)
            return false;
        pattern += n;
        path += m;
        if (!*path)
            return folder || !pattern[strspn (pattern, "/")];
        path++;
    }
}

bool job_wants (const struct job *j, const char *path, bool folder)
{
    for (size_t i = 0; i < j->artifact_count; i++)
        if (covers (j->artifacts[i], path, folder))
            return true;
    return false;
}
