/* expand.c: matrix, needs, order. Contract: expand.h. */
#include "source/expand.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void words_add (struct words *w, char *owned)
{
    w->v = xrealloc (w->v, (w->n + 1) * sizeof *w->v);
    w->v[w->n++] = owned;
}

void words_release (struct words *w)
{
    for (size_t i = 0; i < w->n; i++)
        free (w->v[i]);
    free (w->v);
    memset (w, 0, sizeof *w);
}

void words_put (struct words *w, const char *name, const char *value)
{
    char *word = xasprintf ("%s=%s", name, value);
    size_t len = strlen (name) + 1, i = 0;
    for (; i < w->n; i++) {
        int c = strncmp (w->v[i], word, len);
        if (c == 0) {
            free (w->v[i]);
            w->v[i] = word;
            return;
        }
        if (c > 0)
            break;
    }
    words_add (w, word);
    for (size_t k = w->n - 1; k > i; k--) {
        w->v[k] = w->v[k - 1];
        w->v[k - 1] = word;
    }
}

void draft_release (struct draft *d)
{
    free (d->name);
    free (d->run);
    for (size_t i = 0; i < d->need_count; i++)
        free (d->needs[i].name);
    free (d->needs);
    words_release (&d->artifacts);
    words_release (&d->env);
    words_release (&d->labels);
    for (size_t i = 0; i < d->axis_count; i++) {
        free (d->axes[i].name);
        words_release (&d->axes[i].values);
    }
    free (d->axes);
}

void expanded_release (struct expanded *x)
{
    free (x->steps);
    words_release (&x->own);
    for (size_t i = 0; i < x->list_count; i++)
        free (x->lists[i]);
    free (x->lists);
    memset (x, 0, sizeof *x);
}

static struct bytes *list_new (struct expanded *x, size_t n)
{
    struct bytes *v = xcalloc (n ? n : 1, sizeof *v);
    x->lists = xrealloc (x->lists, (x->list_count + 1) * sizeof *x->lists);
    x->lists[x->list_count++] = v;
    return v;
}

static struct bytes_list list_of (struct expanded *x, const struct words *w)
{
    struct bytes_list l = { list_new (x, w->n), w->n };
    for (size_t i = 0; i < w->n; i++)
        l.v[i] = bytes_str (w->v[i]);
    return l;
}

static const char *keep (struct expanded *x, char *owned)
{
    words_add (&x->own, owned);
    return owned;
}

static int fail (struct err *e, const char *file, struct place at, const char *what, const char *name, const char *allowed)
{
    return err_set (e, ERR_USAGE, "%s:%u:%u: %s \"%.80s\" (%s)", file, at.line, at.column, what, name, allowed);
}

/* One combination of a matrix: `pick` counts through the axes like digits, the last axis fastest. */
static int add_variant (struct expanded *x, const struct draft *d, size_t pick, const char *file, struct err *e)
{
    if (x->n == STEPS_MAX)
        return fail (e, file, d->at, "too many steps with", d->name, "at most 64, all combinations of a matrix counted");
    BUF (name);
    buf_adds (&name, d->name);
    struct words env = { NULL, 0 };
    for (size_t i = 0; i < d->env.n; i++)
        words_add (&env, xstrdup (d->env.v[i]));
    size_t below = 1;
    for (size_t i = 0; i < d->axis_count; i++)
        below *= d->axes[i].values.n;
    for (size_t i = 0; i < d->axis_count; i++) {
        below /= d->axes[i].values.n;
        const char *value = d->axes[i].values.v[pick / below % d->axes[i].values.n];
        buf_addf (&name, "-%s", value);
        char *upper = xstrdup (d->axes[i].name);
        for (char *p = upper; *p; p++)
            *p = *p == '-' || *p == '.' ? '_' : (char) toupper ((unsigned char) *p);
        words_put (&env, upper, value);
        free (upper);
    }
    struct msg_step *s = &x->steps[x->n++];
    memset (s, 0, sizeof *s);
    s->env = list_of (x, &env);
    for (size_t i = 0; i < env.n; i++)
        keep (x, env.v[i]);
    free (env.v);
    if (!name_valid (buf_str (&name)))
        return fail (e, file, d->at, "step name with its matrix values is not a name:", buf_str (&name), "at most 63 of a-z 0-9 . _ -");
    s->name = bytes_str (keep (x, xstrdup (buf_str (&name))));
    for (size_t i = 0; i + 1 < x->n; i++)
        if (bytes_eq (x->steps[i].name, s->name))
            return fail (e, file, d->at, "two steps would be called", buf_str (&name), "names are used once, with their matrix values too");
    s->run = bytes_str (d->run);
    s->image = d->images[0];
    s->images = (struct bytes_list){ list_new (x, d->image_count), 0 };
    for (unsigned i = 1; i < d->image_count; i++)
        s->images.v[s->images.n++] = bytes_of (d->images[i].b, 32);
    s->start_provisional = d->provisional;
    s->artifacts = list_of (x, &d->artifacts);
    s->labels = list_of (x, &d->labels);
    s->agree = d->policy.agree;
    s->trusted = d->policy.trusted;
    s->dissent = d->policy.dissent;
    s->isolation = d->policy.isolation;
    s->max_replicas = d->policy.max_replicas;
    s->lineages = d->policy.lineages;
    s->network = d->policy.network;
    s->cpus = d->cpus;
    s->memory = d->memory;
    s->disk = d->disk;
    s->time_ms = d->time_ms;
    s->keep = d->keep;
    return 0;
}

/* A need names a step as written (all of its matrix) or one combination. Marks the steps meant in `set`; false if it names none. */
static bool mark_need (const struct draft *drafts, size_t n, const struct expanded *x, const char *name, bool *set)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp (drafts[i].name, name) == 0) {
            for (size_t k = 0; k < drafts[i].count; k++)
                set[drafts[i].first + k] = true;
            return true;
        }
    for (size_t i = 0; i < x->n; i++)
        if (bytes_eqs (x->steps[i].name, name)) {
            set[i] = true;
            return true;
        }
    return false;
}

static size_t step_index (const struct expanded *x, struct bytes name)
{
    size_t i = 0;
    while (!bytes_eq (x->steps[i].name, name))
        i++;
    return i;
}

/* Take away, again and again, the steps whose needs are all taken; what stays is on a cycle or behind one. From any of these,
 * following needs among what stays must come round: that walk is the cycle to show. */
static int check_cycles (const struct draft *drafts, size_t n, const struct expanded *x, const char *file, struct err *e)
{
    bool done[STEPS_MAX] = { false };
    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < x->n; i++) {
            bool ready = !done[i];
            for (size_t k = 0; ready && k < x->steps[i].needs.n; k++)
                ready = done[step_index (x, x->steps[i].needs.v[k])];
            if (ready)
                done[i] = more = true;
        }
    }
    size_t at = 0;
    while (at < x->n && done[at])
        at++;
    if (at == x->n)
        return 0;

    size_t seen[STEPS_MAX + 1], len = 0, start = 0;
    for (;;) {
        for (start = 0; start < len && seen[start] != at; start++)
            ;
        if (start < len)
            break;
        seen[len++] = at;
        for (size_t k = 0; k < x->steps[at].needs.n; k++) {
            size_t next = step_index (x, x->steps[at].needs.v[k]);
            if (!done[next]) {
                at = next;
                break;
            }
        }
    }
    BUF (path);
    for (size_t i = start; i <= len; i++) {
        struct bytes name = x->steps[i == len ? seen[start] : seen[i]].name;
        buf_addf (&path, "%s%.*s", i > start ? " -> " : "", (int) name.len, (const char *) name.p);
    }
    const struct draft *d = drafts;
    while (d + 1 < drafts + n && !(seen[start] >= d->first && seen[start] < d->first + d->count))
        d++;
    struct place place = d->need_count ? d->needs[0].at : d->at;
    return err_set (e, ERR_USAGE, "%s:%u:%u: needs go round in a circle: %.300s (each step needs only what can run before it)", file, place.line, place.column,
                    buf_str (&path));
}

/* Steps come after those that they need; else in the order of the recipe. There are no cycles here any more. */
static void sort_by_needs (struct expanded *x)
{
    struct msg_step *sorted = xcalloc (STEPS_MAX, sizeof *sorted);
    bool taken[STEPS_MAX] = { false };
    for (size_t n = 0; n < x->n; n++)
        for (size_t i = 0; i < x->n; i++) {
            bool ready = !taken[i];
            for (size_t k = 0; ready && k < x->steps[i].needs.n; k++)
                ready = taken[step_index (x, x->steps[i].needs.v[k])];
            if (ready) {
                taken[i] = true;
                sorted[n] = x->steps[i];
                break;
            }
        }
    free (x->steps);
    x->steps = sorted;
}

int expand (struct draft *drafts, size_t n, const char *file, struct expanded *x, struct err *e)
{
    memset (x, 0, sizeof *x);
    x->steps = xcalloc (STEPS_MAX, sizeof *x->steps);
    for (size_t i = 0; i < n; i++) {
        size_t count = 1;
        for (size_t k = 0; k < drafts[i].axis_count; k++) {
            count *= drafts[i].axes[k].values.n;
            if (count > STEPS_MAX)
                return fail (e, file, drafts[i].at, "too many combinations in the matrix of", drafts[i].name, "at most 64 steps in all");
        }
        drafts[i].first = x->n;
        drafts[i].count = count;
        for (size_t k = 0; k < count; k++)
            if (add_variant (x, &drafts[i], k, file, e) == -1)
                return -1;
    }
    for (size_t i = 0; i < n; i++) {
        bool set[STEPS_MAX] = { false };
        for (size_t k = 0; k < drafts[i].need_count; k++) {
            const struct need *need = &drafts[i].needs[k];
            if (!mark_need (drafts, n, x, need->name, set)) {
                BUF (names);
                for (size_t s = 0; s < n; s++)
                    buf_addf (&names, "%s%s", s ? ", " : "", drafts[s].name);
                BUF (allowed);
                buf_addf (&allowed, "there are: %.300s", buf_str (&names));
                return fail (e, file, need->at, "needs an unknown step", need->name, buf_str (&allowed));
            }
        }
        size_t count = 0;
        for (size_t s = 0; s < x->n; s++)
            count += set[s];
        struct bytes *v = list_new (x, count);
        count = 0;
        for (size_t s = 0; s < x->n; s++)
            if (set[s])
                v[count++] = x->steps[s].name;
        for (size_t k = 0; k < drafts[i].count; k++)
            x->steps[drafts[i].first + k].needs = (struct bytes_list){ v, count };
    }
    if (check_cycles (drafts, n, x, file, e) == -1)
        return -1;
    sort_by_needs (x);
    return 0;
}
