/* compare.c: see compare.h. */
#include "cli/compare.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "auth/policy.h"

struct compare *compare_new (void)
{
    return xcalloc (1, sizeof (struct compare));
}

void compare_destroy (struct compare **cp)
{
    struct compare *c = *cp;
    for (size_t i = 0; c && i < c->group_count; i++)
        manifest_release (&c->groups[i].manifest);
    free (c);
    *cp = NULL;
}

bool compare_add (struct compare *c, const struct compare_vote *v, const struct compare_group *g)
{
    size_t i = 0;
    while (i < c->group_count && (c->groups[i].given != g->given || !digest_eq (&c->groups[i].outcome, &g->outcome)))
        i++;
    if (c->vote_count == COMPARE_MAX)
        return false;
    if (i == c->group_count) {
        c->groups[i] = *g;
        c->groups[i].votes = 0;
        manifest_init (&c->groups[i].manifest);
        c->group_count++;
    }
    c->groups[i].votes++;
    c->votes[c->vote_count] = *v;
    c->votes[c->vote_count++].group = i;
    return true;
}

static int by_size (const void *a, const void *b)
{
    const struct compare_group *x = a, *y = b;
    if (x->votes != y->votes)
        return x->votes > y->votes ? -1 : 1;
    if (x->given != y->given)
        return x->given < y->given ? -1 : 1;
    return digest_cmp (&x->outcome, &y->outcome);
}

static int by_worker (const void *a, const void *b)
{
    const struct compare_vote *x = a, *y = b;
    int d = memcmp (x->worker.p, y->worker.p, x->worker.len < y->worker.len ? x->worker.len : y->worker.len);
    return d ? d : (x->worker.len > y->worker.len) - (x->worker.len < y->worker.len);
}

void compare_sort (struct compare *c)
{
    struct compare_group *old CLEANUP (free_ptr) = xcalloc (c->group_count + 1, sizeof *old);
    memcpy (old, c->groups, c->group_count * sizeof *old);
    if (c->group_count)
        qsort (c->groups, c->group_count, sizeof *c->groups, by_size);
    for (size_t i = 0; i < c->vote_count; i++)
        for (size_t k = 0; k < c->group_count; k++)
            if (by_size (&old[c->votes[i].group], &c->groups[k]) == 0) {
                c->votes[i].group = k;
                break;
            }
    if (c->vote_count)
        qsort (c->votes, c->vote_count, sizeof *c->votes, by_worker);
}

const char *compare_letter (size_t group, char out[8])
{
    (void) snprintf (out, 8, group < 26 ? "%c" : "%c%zu", (int) ('A' + group % 26), group / 26);
    return out;
}

/* ---- files ---- */

static const char *differ (const struct manifest_entry *a, const struct manifest_entry *b)
{
    bool files = (a->type == 'f' || a->type == 'x') && (b->type == 'f' || b->type == 'x');
    if (a->type != b->type && !files)
        return "type";
    if (a->type == 'l' && strcmp (a->target, b->target))
        return "link";
    if (files && (a->size != b->size || !digest_eq (&a->digest, &b->digest)))
        return "content";
    return a->type != b->type ? "executable" : NULL;
}

/* All manifests are sorted by path: one step through all of them at once. */
int compare_files (const struct compare *c, int (*each) (void *arg, const struct compare_file *f), void *arg)
{
    size_t *at CLEANUP (free_ptr) = xcalloc (c->group_count + 1, sizeof *at);
    struct compare_file *f CLEANUP (free_ptr) = xcalloc (1, sizeof *f);
    for (;;) {
        const struct manifest_entry *first = NULL;
        f->path = NULL;
        for (size_t i = 0; i < c->group_count; i++)
            if (c->groups[i].files && at[i] < c->groups[i].manifest.n && (!f->path || strcmp (c->groups[i].manifest.v[at[i]].path, f->path) < 0))
                f->path = c->groups[i].manifest.v[at[i]].path;
        if (!f->path)
            return 0;
        f->what = NULL;
        for (size_t i = 0; i < c->group_count; i++) {
            const struct compare_group *g = &c->groups[i];
            bool here = g->files && at[i] < g->manifest.n && !strcmp (g->manifest.v[at[i]].path, f->path);
            f->entries[i] = here ? &g->manifest.v[at[i]++] : NULL;
            if (g->files && !here)
                f->what = "missing";
            if (here && first && !f->what)
                f->what = differ (first, f->entries[i]);
            if (here && !first)
                first = f->entries[i];
        }
        if (f->what && each (arg, f))
            return -1;
    }
}

/* ---- hosts ---- */

/* "NAME=" at p, which begins a word: the length of NAME, or 0. */
static size_t name_at (const char *p)
{
    size_t n = strspn (p, "abcdefghijklmnopqrstuvwxyz0123456789_-");
    return n > 0 && n < 32 && p[n] == '=' ? n : 0;
}

/* The next "NAME=value" of a host's text, where a value may have spaces: it ends before the next name. */
static bool next_word (const char **at, const char **name, size_t *name_len, const char **value, size_t *value_len)
{
    const char *p = *at;
    while (*p && !name_at (p))
        p += strcspn (p, " ") + (p[strcspn (p, " ")] == ' ');
    if (!*p)
        return false;
    *name = p;
    *name_len = name_at (p);
    *value = p + *name_len + 1;
    const char *end = *value;
    while (*end && !(*end == ' ' && name_at (end + 1)))
        end++;
    *value_len = (size_t) (end - *value);
    *at = *end ? end + 1 : end;
    return true;
}

static char *value_of (const char *host, const char *wanted)
{
    const char *at = host, *name, *value;
    size_t n, len;
    while (next_word (&at, &name, &n, &value, &len))
        if (strlen (wanted) == n && !memcmp (name, wanted, n)) {
            BUF (clean);
            text_clean (bytes_of (value, len), false, &clean);
            return xstrdup (buf_str (&clean));
        }
    return xstrdup ("");
}

static char *attribute (const struct compare_vote *v, const char *host, const char *name)
{
    char hex[DIGEST_HEX];
    if (!strcmp (name, "isolation"))
        return xstrdup (isolation_name (v->isolation));
    if (!strcmp (name, "accelerator")) {
        BUF (clean);
        text_clean (v->accelerator, false, &clean);
        return xstrdup (buf_str (&clean));
    }
    if (!strcmp (name, "image"))
        return xasprintf ("%.16s", digest_hex (&v->image, hex));
    return value_of (host, name);
}

static void judge_host (const struct compare *c, struct compare_host *h)
{
    h->same = true;
    h->parts = c->group_count > 1;
    for (size_t i = 0; i < c->vote_count; i++)
        for (size_t k = 0; k < i; k++) {
            bool equal = !strcmp (h->values[i], h->values[k]);
            h->same = h->same && equal;
            if (equal && c->votes[i].group != c->votes[k].group)
                h->parts = false;
        }
}

int compare_hosts (const struct compare *c, int (*each) (void *arg, const struct compare_host *h), void *arg)
{
    static const char *const own[] = { "isolation", "accelerator", "image" };
    char names[COMPARE_HOSTS + 3][32];
    size_t n = 0;
    int rc = 0;
    struct compare_host *h CLEANUP (free_ptr) = xcalloc (1, sizeof *h);
    char **hosts CLEANUP (free_ptr) = xcalloc (c->vote_count + 1, sizeof *hosts);
    for (size_t i = 0; i < c->vote_count; i++) {
        hosts[i] = bytes_dup (c->votes[i].host);
        const char *at = hosts[i], *name, *value;
        size_t len, value_len;
        while (next_word (&at, &name, &len, &value, &value_len)) {
            bool known = n == COMPARE_HOSTS;
            for (size_t k = 0; k < n; k++)
                known = known || (strlen (names[k]) == len && !memcmp (names[k], name, len));
            for (size_t k = 0; k < 3; k++)
                known = known || (strlen (own[k]) == len && !memcmp (own[k], name, len));
            if (!known)
                (void) snprintf (names[n++], sizeof names[0], "%.*s", (int) len, name);
        }
    }
    for (size_t k = 0; k < 3; k++)
        (void) snprintf (names[n++], sizeof names[0], "%s", own[k]);
    for (size_t k = 0; rc == 0 && k < n; k++) {
        memcpy (h->name, names[k], sizeof h->name);
        for (size_t i = 0; i < c->vote_count; i++)
            h->values[i] = attribute (&c->votes[i], hosts[i], h->name);
        judge_host (c, h);
        rc = each (arg, h);
        for (size_t i = 0; i < c->vote_count; i++)
            free (h->values[i]);
    }
    for (size_t i = 0; i < c->vote_count; i++)
        free (hosts[i]);
    return rc ? -1 : 0;
}
