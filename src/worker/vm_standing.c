#include "config.h"

#include "worker/vm_standing.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"

#define PAUSE_FIRST 60
#define PAUSE_MOST 3600

int64_t standing_pause (unsigned failures)
{
    int64_t pause = PAUSE_FIRST;
    while (failures-- > 1 && pause < PAUSE_MOST)
        pause *= 2;
    return pause < PAUSE_MOST ? pause : PAUSE_MOST;
}

/* KEY "\nworks\n", or KEY "\nfailed FAILURES AGAIN\nWHY\n" */
void standing_parse (struct bytes text, const char *key, int64_t now_s, struct standing *s)
{
    char all[STANDING_MAX + 1];
    size_t len = strlen (key);
    unsigned failures;
    long long again;
    int used = 0;
    memset (s, 0, sizeof *s);
    if (!bytes_copy (text, all, sizeof all) || strncmp (all, key, len) != 0 || all[len] != '\n')
        return;
    const char *rest = all + len + 1;
    if (strcmp (rest, "works\n") == 0) {
        s->what = STANDING_WORKS;
        return;
    }
    if (sscanf (rest, "failed %9u %18lld%n", &failures, &again, &used) != 2 || rest[used] != '\n' || failures == 0 || again < 0)
        return;
    s->what = STANDING_FAILED;
    s->failures = failures;
    s->again = again > now_s + PAUSE_MOST ? now_s : again; /* the clock was put back */
    (void) snprintf (s->why, sizeof s->why, "%.*s", (int) strcspn (rest + used + 1, "\n"), rest + used + 1);
}

void standing_format (const struct standing *s, const char *key, struct buf *text)
{
    if (s->what == STANDING_WORKS)
        buf_addf (text, "%s\nworks\n", key);
    else if (s->what == STANDING_FAILED)
        buf_addf (text, "%s\nfailed %u %lld\n%s\n", key, s->failures, (long long) s->again, s->why);
}

void standing_read (const char *path, const char *key, int64_t now_s, struct standing *s)
{
    BUF (text);
    memset (s, 0, sizeof *s);
    if (file_read (path, STANDING_MAX, &text, NULL) == 0)
        standing_parse (buf_bytes (&text), key, now_s, s);
}

int standing_note (const char *path, const char *key, int64_t now_s, bool works, const char *why, struct standing *out)
{
    struct standing s, before;
    BUF (clean);
    BUF (text);
    standing_read (path, key, now_s, &before);
    memset (&s, 0, sizeof s);
    s.what = works ? STANDING_WORKS : STANDING_FAILED;
    if (!works) {
        s.failures = before.what == STANDING_FAILED && before.failures < 1000 ? before.failures + 1 : 1;
        s.again = now_s + standing_pause (s.failures);
        text_clean (bytes_str (why), false, &clean);
        (void) snprintf (s.why, sizeof s.why, "%s", buf_str (&clean));
    }
    if (out)
        *out = s;
    standing_format (&s, key, &text);
    return file_write (path, buf_bytes (&text), 0644, NULL);
}
