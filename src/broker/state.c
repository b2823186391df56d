/* state.c: turns, and their events. */
#include "broker/state.h"

#include <stdlib.h>
#include <string.h>

#include "broker/state_impl.h"

#define PAGE 32768u /* bytes of events that lie in one row, about */
#define NEWS_MAX (64u << 20)

static const struct state_backend *const backends[] = { &state_sqlite, &state_mem };

int state_open (struct state **s, const char *backend, const char *dir, struct err *e)
{
    for (size_t i = 0; i < sizeof backends / sizeof *backends; i++)
        if (!strcmp (backends[i]->name, backend)) {
            if (backends[i]->open (s, dir, e) == -1)
                return -1;
            (*s)->rows = rows_new (*s);
            return 0;
        }
    return err_set (e, ERR_USAGE, "state \"%s\": unknown (sqlite or mem)", backend);
}

void state_close (struct state **s)
{
    if (*s) {
        rows_destroy (&(*s)->rows);
        buf_release (&(*s)->news.page);
        free ((*s)->news.at);
        (*s)->ops->close (*s);
    }
    *s = NULL;
}

void sub_row_release (struct sub_row *r)
{
    buf_release (&r->envelope);
}

int64_t step_rank (const struct step_row *r)
{
    return r->turn - (int64_t) r->priority * (TURN_MAX + 1);
}

void step_ranked (struct step_row *r, int64_t rank)
{
    r->turn = rank & TURN_MAX;
    r->priority = (unsigned) ((r->turn - rank) / (TURN_MAX + 1));
}

/* ---- turns ---- */

static void news_cut (struct state *s, size_t n)
{
    if (n < s->news.n)
        s->news.page.len = s->news.at[n];
    s->news.n = n;
    if (n == 0 && s->news.page.cap > 64 * PAGE)
        buf_release (&s->news.page); /* an unusually large turn */
}

void state_rollback (struct state *s)
{
    s->marked = false;
    news_cut (s, 0);
    rows_forget (s);
}

static size_t news_end (const struct state *s, size_t i)
{
    return i < s->news.n ? s->news.at[i] : s->news.page.len;
}

static int news_write (struct state *s, struct err *e)
{
    for (size_t i = 0, to; i < s->news.n; i = to) {
        size_t begin = s->news.at[i];
        for (to = i + 1; to < s->news.n && news_end (s, to) - begin < PAGE; to++)
            ;
        if (s->ops->events_add (s, (unsigned) (to - i), bytes_of (s->news.page.p + begin, news_end (s, to) - begin), e) == -1)
            return -1;
    }
    return 0;
}

int state_commit (struct state *s, struct err *e)
{
    s->marked = false;
    if (s->news.n == 0 && !rows_changed (s->rows)) {
        rows_committed (s->rows);
        return 0;
    }
    if (s->ops->begin (s, e) == 0) {
        if (rows_write (s, e) == 0 && news_write (s, e) == 0 && s->ops->commit (s, e) == 0) {
            news_cut (s, 0);
            rows_committed (s->rows);
            return 0;
        }
        s->ops->rollback (s);
    }
    state_rollback (s);
    return -1;
}

void state_mark (struct state *s)
{
    s->marked = true;
    s->news.marked = s->news.n;
    rows_mark (s->rows);
}

void state_keep (struct state *s)
{
    s->marked = false;
}

void state_undo (struct state *s)
{
    news_cut (s, s->news.marked);
    rows_undo (s->rows);
    s->marked = false;
}

/* ---- submissions, newest first ---- */

int state_subs (struct state *s, const char *prefix, int64_t before, unsigned limit, int (*each) (void *, const struct sub_row *), void *arg, struct err *e)
{
    if (rows_new_subs (s->rows, prefix, before, &limit, each, arg) == 1 || limit == 0)
        return 0;
    return s->ops->subs (s, prefix, before, limit, each, arg, e);
}

/* ---- events ---- */

void entry_add (struct buf *page, const char *project, struct bytes body)
{
    size_t n = strnlen (project, 127);
    uint8_t head[5] = { (uint8_t) (body.len >> 24), (uint8_t) (body.len >> 16), (uint8_t) (body.len >> 8), (uint8_t) body.len, (uint8_t) n };
    buf_room (page, sizeof head + n + body.len);
    buf_add (page, head, sizeof head);
    buf_add (page, project, n);
    buf_add (page, body.p, body.len);
}

bool entry_take (struct bytes *page, char project[128], struct bytes *body)
{
    const uint8_t *p = page->p;
    if (page->len < 5 || p[4] > 127)
        return false;
    size_t len = (size_t) p[0] << 24 | (size_t) p[1] << 16 | (size_t) p[2] << 8 | p[3], name = p[4];
    if (page->len - 5 < name || page->len - 5 - name < len)
        return false;
    memcpy (project, p + 5, name);
    project[name] = '\0';
    *body = bytes_of (p + 5 + name, len);
    *page = bytes_of (p + 5 + name + len, page->len - 5 - name - len);
    return true;
}

uint64_t state_seq (const struct state *s)
{
    return s->ops->seq (s) + s->news.n;
}

int state_event_add (struct state *s, const char *project, struct bytes body, struct err *e)
{
    if (body.len > NEWS_MAX)
        return err_code (e, EC_OVERSIZED, "an event of %zu bytes", body.len);
    if (s->news.n == s->news.cap)
        s->news.at = xrealloc (s->news.at, (s->news.cap = s->news.cap ? s->news.cap * 2 : 64) * sizeof *s->news.at);
    s->news.at[s->news.n++] = s->news.page.len;
    entry_add (&s->news.page, project, body);
    return 0;
}

struct replay {
    int (*each) (void *, uint64_t, const char *, struct bytes);
    void *arg;
    bool stopped;
};

static int replay_one (void *arg, uint64_t seq, const char *project, struct bytes body)
{
    struct replay *r = arg;
    r->stopped = r->each (r->arg, seq, project, body) != 0;
    return r->stopped;
}

int state_events (struct state *s, uint64_t from, int (*each) (void *, uint64_t, const char *, struct bytes), void *arg, struct err *e)
{
    struct replay r = { each, arg, false };
    uint64_t stored = s->ops->seq (s);
    if (from <= stored && s->ops->events (s, from, replay_one, &r, e) == -1)
        return -1;
    for (size_t i = from > stored + 1 ? (size_t) (from - stored - 1) : 0; !r.stopped && from <= state_seq (s) && i < s->news.n; i++) {
        struct bytes page = bytes_of (s->news.page.p + s->news.at[i], news_end (s, i + 1) - s->news.at[i]), body;
        char project[128];
        if (entry_take (&page, project, &body))
            (void) replay_one (&r, stored + 1 + i, project, body);
    }
    return 0;
}
