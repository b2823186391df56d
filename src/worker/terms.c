#include "config.h"

#include "worker/terms.h"

#include <stdlib.h>
#include <string.h>

#include "worker/sandbox.h"

struct row {
    struct bytes pattern;
    struct buf body;
};

static size_t words (const char *list, struct bytes *out, size_t max, size_t longest)
{
    size_t n = 0;
    while (n < max) {
        list += strspn (list, " \t\n,");
        size_t len = strcspn (list, " \t\n,");
        if (!len)
            break;
        if (len <= longest)
            out[n++] = bytes_of (list, len);
        list += len;
    }
    return n;
}

/* The closest first: whole names, then the longer patterns. */
static int closer (const void *pa, const void *pb)
{
    const struct row *a = pa, *b = pb;
    bool wa = a->pattern.p[a->pattern.len - 1] == '*', wb = b->pattern.p[b->pattern.len - 1] == '*';
    if (wa != wb)
        return wa ? 1 : -1;
    return a->pattern.len == b->pattern.len ? 0 : a->pattern.len > b->pattern.len ? -1 : 1;
}

/* One of the drivers that the owner lists can let builds out. */
static bool relays (const struct conf *c)
{
    struct bytes drivers[4];
    size_t n = words (c->isolation, drivers, 4, 15);
    for (size_t i = 0; i < n; i++) {
        char name[16];
        if (bytes_copy (drivers[i], name, sizeof name) && sandbox_relays (isolation_parse (name)))
            return true;
    }
    return false;
}

static void add (struct row *row, const struct conf *mine, struct bytes pattern, bool open)
{
    struct msg m = MSG_INIT (term, 0);
    struct bytes submitters[32];
    m.u.term.pattern = pattern;
    m.u.term.open = open;
    m.u.term.cpus = (uint64_t) mine->cpus;
    m.u.term.memory = (uint64_t) mine->memory;
    m.u.term.disk = (uint64_t) mine->disk;
    m.u.term.time_ms = (uint64_t) mine->time_ms;
    m.u.term.network = strcmp (mine->network, "realm") == 0 && relays (mine) ? NETWORK_REALM : NETWORK_NONE;
    m.u.term.submitters = (struct bytes_list){ submitters, words (mine->submitters, submitters, 32, 63) };
    row->pattern = pattern;
    msg_encode (&m, &row->body);
}

bool terms_encode (const struct conf *c, const struct limits_seen *s, const unsigned *running, struct buf *out)
{
    static const struct bytes all = { (const uint8_t *) "*", 1 };
    struct row *rows = xcalloc (CONF_PROJECTS_MAX + 1, sizeof *rows);
    struct bytes list[CONF_PROJECTS_MAX + 1];
    size_t n = 0;
    bool any = false;
    for (int i = -1; i < (int) c->project_count; i++) {
        struct conf mine;
        struct bytes names[CONF_PROJECTS_MAX] = { all };
        size_t count = i < 0 ? 1 : words (conf_section_names (c, (size_t) i), names, CONF_PROJECTS_MAX, 127);
        conf_for_section (c, i, &mine);
        bool open = !limits_busy (&mine, s) && running[i < 0 ? c->project_count : (size_t) i] < (unsigned) mine.steps;
        any = any || open;
        for (size_t k = 0; k < count && n < CONF_PROJECTS_MAX; k++)
            if (i >= 0)
                add (&rows[n++], &mine, names[k], open);
        if (i < 0)
            add (&rows[CONF_PROJECTS_MAX], &mine, all, open);
        conf_release (&mine);
    }
    qsort (rows, n, sizeof *rows, closer);
    for (size_t i = 0; i < n; i++)
        list[i] = buf_bytes (&rows[i].body);
    list[n] = buf_bytes (&rows[CONF_PROJECTS_MAX].body);
    struct msg m = MSG_INIT (terms, 0);
    m.u.terms.terms = (struct bytes_list){ list, n + 1 };
    msg_encode (&m, out);
    for (size_t i = 0; i <= CONF_PROJECTS_MAX; i++)
        buf_release (&rows[i].body);
    free (rows);
    return any;
}
