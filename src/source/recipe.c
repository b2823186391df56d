/* recipe.c: `.assay.yml` against its table of keys. Contract: recipe.h. The tree comes from yaml.c, the steps from expand.c. */
#include "source/recipe.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "source/expand.h"
#include "source/yaml.h"

#define ENCODED_MAX (900u << 10) /* bytes of all steps together, so that a submission stays below its bound of 1 MiB */
#define RUN_MAX 65536u

struct recipe {
    struct draft *drafts;
    size_t draft_count;
    struct expanded out;
};

struct reading {
    const char *file;
    struct err *e;
};

/* One row a key: where it may stand, and who reads it. */
enum where { IN_RECIPE = 1, IN_STEP = 2 };
struct key {
    const char *name;
    unsigned where;
    int (*read) (struct reading *r, struct draft *d, const struct node *n);
};

static int fail (struct reading *r, const struct node *n, const char *fmt, ...) __attribute__ ((format (printf, 3, 4)));
static int fail (struct reading *r, const struct node *n, const char *fmt, ...)
{
    char what[600];
    va_list ap;
    va_start (ap, fmt);
    vsnprintf (what, sizeof what, fmt, ap);
    va_end (ap);
    BUF (clean);
    text_clean (bytes_str (what), false, &clean);
    return err_set (r->e, ERR_USAGE, "%s:%u:%u: %s", r->file, n->line, n->column, buf_str (&clean));
}

static const char *kind_name (const struct node *n)
{
    return n->kind == NODE_MAP ? "a map" : n->kind == NODE_LIST ? "a list" : n->plain && !*n->text ? "nothing" : "a word";
}

static int want_map (struct reading *r, const struct node *n, const char *what)
{
    return n->kind == NODE_MAP ? 0 : fail (r, n, "%s: %s (a map of key: value is wanted)", what, kind_name (n));
}

/* A word that says something; `null` and `~` say nothing. */
static int want_word (struct reading *r, const struct node *n, const char *what, const char *allowed)
{
    if (n->kind != NODE_SCALAR)
        return fail (r, n, "%s: %s (%s)", what, kind_name (n), allowed);
    if (!*n->text || (n->plain && (strcmp (n->text, "~") == 0 || strcmp (n->text, "null") == 0)))
        return fail (r, n, "%s: nothing (%s)", what, allowed);
    return 0;
}

static int want_list (struct reading *r, const struct node *n, const char *what, size_t max, const char *allowed)
{
    if (n->kind != NODE_LIST)
        return fail (r, n, "%s: %s (%s)", what, kind_name (n), allowed);
    if (n->n > max)
        return fail (r, n, "%s: %zu entries (at most %zu)", what, n->n, max);
    return 0;
}

static int want_number (struct reading *r, const struct node *n, const char *what, uint64_t min, uint64_t max, uint64_t *out)
{
    char allowed[80];
    snprintf (allowed, sizeof allowed, "a number from %llu to %llu", (unsigned long long) min, (unsigned long long) max);
    if (want_word (r, n, what, allowed) == -1)
        return -1;
    uint64_t v = 0;
    const char *p = n->text;
    size_t len = strlen (p);
    if (!n->plain || len > 9 || strspn (p, "0123456789") != len || (len > 1 && *p == '0'))
        return fail (r, n, "%s: \"%.40s\" (%s)", what, p, allowed);
    for (; *p; p++)
        v = v * 10 + (uint64_t) (*p - '0');
    if (v < min || v > max)
        return fail (r, n, "%s: %s (%s)", what, n->text, allowed);
    *out = v;
    return 0;
}

struct choice {
    const char *name;
    unsigned value;
};

static int want_choice (struct reading *r, const struct node *n, const char *what, const struct choice *c, size_t count, const char *allowed, unsigned *out)
{
    if (want_word (r, n, what, allowed) == -1)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (strcmp (n->text, c[i].name) == 0) {
            *out = c[i].value;
            return 0;
        }
    return fail (r, n, "%s: \"%.40s\" (%s)", what, n->text, allowed);
}

static int unknown_key (struct reading *r, const struct node *map, size_t i, const char *in, const char *allowed)
{
    return fail (r, &map->key_at[i], "unknown key \"%.60s\" in %s (allowed: %s)", map->keys[i], in, allowed);
}

/* ---- values ---- */

static int one_image (struct reading *r, struct draft *d, const struct node *n)
{
    static const char allowed[] = "NAME@sha256: and 64 lower-case hex digits";
    struct digest *image = &d->images[d->image_count];
    if (want_word (r, n, "image", allowed) == -1)
        return -1;
    char name[64];
    const char *at = strstr (n->text, "@sha256:");
    if (!at || (size_t) (at - n->text) >= sizeof name)
        return fail (r, n, "image: \"%.120s\" (%s)", n->text, allowed);
    memcpy (name, n->text, (size_t) (at - n->text));
    name[at - n->text] = '\0';
    if (!name_valid (name) || !digest_parse (at + 8, image) || digest_zero (image))
        return fail (r, n, "image: \"%.120s\" (%s)", n->text, allowed);
    for (unsigned i = 0; i < d->image_count; i++)
        if (digest_eq (&d->images[i], image))
            return fail (r, n, "image: \"%.120s\" given twice (images that were built separately)", n->text);
    d->image_count++;
    return 0;
}

static int read_image (struct reading *r, struct draft *d, const struct node *n)
{
    d->image_count = 0;
    if (n->kind != NODE_LIST)
        return one_image (r, d, n);
    if (want_list (r, n, "image", STEP_IMAGES, "") == -1)
        return -1;
    for (size_t i = 0; i < n->n; i++)
        if (one_image (r, d, n->items[i]) == -1)
            return -1;
    return n->n ? 0 : fail (r, n, "image: an empty list (at least one NAME@sha256:HEX)");
}

static int read_network (struct reading *r, struct draft *d, const struct node *n)
{
    static const struct choice network[] = { { "none", NETWORK_NONE }, { "realm", NETWORK_REALM } };
    return want_choice (r, n, "network", network, 2, "none or realm", &d->policy.network);
}

static int read_policy (struct reading *r, struct draft *d, const struct node *n)
{
    static const struct choice trusted[] = { { "required", POLICY_TRUSTED_REQUIRED }, { "optional", POLICY_TRUSTED_OPTIONAL } };
    static const struct choice dissent[] = { { "block", POLICY_DISSENT_BLOCK }, { "tolerate", POLICY_DISSENT_TOLERATE } };
    static const struct choice isolation[] = { { "qemu", ISOLATION_QEMU }, { "bwrap", ISOLATION_BWRAP }, { "none", ISOLATION_NONE } };
    if (want_map (r, n, "policy") == -1)
        return -1;
    const struct node *replicas = NULL;
    for (size_t i = 0; i < n->n; i++) {
        const struct node *v = n->items[i];
        uint64_t number = 0;
        int rc = 0;
        if (strcmp (n->keys[i], "agree") == 0) {
            rc = want_number (r, v, "agree", 1, POLICY_AGREE_MAX, &number);
            d->policy.agree = (unsigned) number;
        } else if (strcmp (n->keys[i], "trusted") == 0)
            rc = want_choice (r, v, "trusted", trusted, 2, "required or optional", &d->policy.trusted);
        else if (strcmp (n->keys[i], "dissent") == 0)
            rc = want_choice (r, v, "dissent", dissent, 2, "block or tolerate", &d->policy.dissent);
        else if (strcmp (n->keys[i], "isolation") == 0)
            rc = want_choice (r, v, "isolation", isolation, 3, "qemu, bwrap or none", &d->policy.isolation);
        else if (strcmp (n->keys[i], "max_replicas") == 0) {
            rc = want_number (r, v, "max_replicas", 1, 2 * POLICY_AGREE_MAX, &number);
            d->policy.max_replicas = (unsigned) number;
            replicas = v;
        } else if (strcmp (n->keys[i], "lineages") == 0) {
            rc = want_number (r, v, "lineages", 1, STEP_IMAGES, &number);
            d->policy.lineages = (unsigned) number;
        } else
            rc = unknown_key (r, n, i, "policy", "agree, trusted, dissent, isolation, max_replicas, lineages");
        if (rc == -1)
            return -1;
    }
    if (replicas && d->policy.max_replicas < d->policy.agree)
        return fail (r, replicas, "max_replicas: %u (at least agree, which is %u)", d->policy.max_replicas, d->policy.agree);
    return 0;
}

static bool env_name_valid (const char *s)
{
    size_t len = strlen (s);
    return len > 0 && len <= 128 && !strchr ("0123456789", *s) &&
           strspn (s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == len;
}

static int read_env (struct reading *r, struct draft *d, const struct node *n)
{
    if (want_map (r, n, "env") == -1)
        return -1;
    for (size_t i = 0; i < n->n; i++) {
        if (!env_name_valid (n->keys[i]))
            return fail (r, &n->key_at[i], "env: \"%.60s\" is not a variable's name (letters, digits and _, not a digit first)", n->keys[i]);
        if (strcmp (n->keys[i], "SOURCE_DATE_EPOCH") == 0 || strncmp (n->keys[i], "ASSAY_", 6) == 0)
            return fail (r, &n->key_at[i], "env: %.60s is set by the worker (any name but SOURCE_DATE_EPOCH and ASSAY_*)", n->keys[i]);
        const struct node *v = n->items[i];
        if (v->kind != NODE_SCALAR)
            return fail (r, v, "env %.60s: %s (a word; quote what has blanks or marks)", n->keys[i], kind_name (v));
        if (strlen (n->keys[i]) + 1 + strlen (v->text) > 4096)
            return fail (r, v, "env %.60s: too long (at most 4096 bytes with its name)", n->keys[i]);
        words_put (&d->env, n->keys[i], v->text);
        if (d->env.n > 128)
            return fail (r, &n->key_at[i], "env: too many variables (at most 128)");
    }
    return 0;
}

static int read_labels (struct reading *r, struct draft *d, const struct node *n)
{
    if (want_map (r, n, "labels") == -1)
        return -1;
    for (size_t i = 0; i < n->n; i++) {
        const struct node *v = n->items[i];
        if (!name_valid (n->keys[i]))
            return fail (r, &n->key_at[i], "labels: \"%.60s\" is not a name (a-z 0-9 . _ -, a letter or digit first)", n->keys[i]);
        if (want_word (r, v, n->keys[i], "a name of a-z 0-9 . _ -") == -1)
            return -1;
        if (!name_valid (v->text) || strlen (n->keys[i]) + 1 + strlen (v->text) > 63)
            return fail (r, v, "label %.60s: \"%.60s\" (a name of a-z 0-9 . _ -, at most 63 bytes with its key)", n->keys[i], v->text);
        words_put (&d->labels, n->keys[i], v->text);
        if (d->labels.n > 32)
            return fail (r, &n->key_at[i], "labels: too many (at most 32)");
    }
    return 0;
}

static int want_size (struct reading *r, const struct node *n, const char *what, uint64_t *out)
{
    static const char allowed[] = "bytes with K, M, G or T, as 2G; from 1M to 1024T";
    int64_t v = 0;
    if (want_word (r, n, what, allowed) == -1)
        return -1;
    if (config_parse_size (n->text, &v, NULL) == -1 || v < 1 << 20 || v > (int64_t) 1 << 50)
        return fail (r, n, "%s: \"%.40s\" (%s)", what, n->text, allowed);
    *out = (uint64_t) v;
    return 0;
}

static int read_limits (struct reading *r, struct draft *d, const struct node *n)
{
    static const char times[] = "a duration with s, m, h or d, as 20m; from 1s to 30d";
    if (want_map (r, n, "limits") == -1)
        return -1;
    for (size_t i = 0; i < n->n; i++) {
        const struct node *v = n->items[i];
        int rc = 0;
        if (strcmp (n->keys[i], "cpus") == 0)
            rc = want_number (r, v, "cpus", 1, 1024, &d->cpus);
        else if (strcmp (n->keys[i], "memory") == 0)
            rc = want_size (r, v, "memory", &d->memory);
        else if (strcmp (n->keys[i], "disk") == 0)
            rc = want_size (r, v, "disk", &d->disk);
        else if (strcmp (n->keys[i], "time") == 0) {
            int64_t ms = 0;
            rc = want_word (r, v, "time", times);
            if (rc == 0 && (config_parse_duration (v->text, &ms, NULL) == -1 || ms < 1000 || ms > (int64_t) 30 * 86400 * 1000))
                rc = fail (r, v, "time: \"%.40s\" (%s)", v->text, times);
            d->time_ms = (uint64_t) ms;
        } else
            rc = unknown_key (r, n, i, "limits", "cpus, memory, disk, time");
        if (rc == -1)
            return -1;
    }
    return 0;
}

static int read_keep (struct reading *r, struct draft *d, const struct node *n)
{
    return want_number (r, n, "keep", 1, 1000000, &d->keep);
}

static int read_run (struct reading *r, struct draft *d, const struct node *n)
{
    static const char allowed[] = "the shell commands of the step, at most 65536 bytes";
    if (want_word (r, n, "run", allowed) == -1)
        return -1;
    if (strlen (n->text) > RUN_MAX)
        return fail (r, n, "run: %zu bytes (%s)", strlen (n->text), allowed);
    if (strspn (n->text, " \t\r\n") == strlen (n->text))
        return fail (r, n, "run: nothing (%s)", allowed);
    d->run = xstrdup (n->text);
    return 0;
}

static int read_needs (struct reading *r, struct draft *d, const struct node *n)
{
    if (want_list (r, n, "needs", 64, "a list of steps' names, as [build]") == -1)
        return -1;
    d->needs = xcalloc (n->n ? n->n : 1, sizeof *d->needs);
    for (size_t i = 0; i < n->n; i++) {
        const struct node *v = n->items[i];
        if (want_word (r, v, "needs", "a step's name") == -1)
            return -1;
        if (!name_valid (v->text))
            return fail (r, v, "needs: \"%.80s\" is not a step's name (a-z 0-9 . _ -, a letter or digit first)", v->text);
        for (size_t k = 0; k < i; k++)
            if (strcmp (d->needs[k].name, v->text) == 0)
                return fail (r, v, "needs: \"%.80s\" given twice (each step once)", v->text);
        d->needs[d->need_count++] = (struct need){ xstrdup (v->text), { v->line, v->column } };
    }
    return 0;
}

static int read_start (struct reading *r, struct draft *d, const struct node *n)
{
    static const struct choice start[] = { { "trusted", 0 }, { "provisional", 1 } };
    unsigned v = 0;
    if (want_choice (r, n, "start", start, 2, "trusted or provisional", &v) == -1)
        return -1;
    d->provisional = v;
    return 0;
}

/* NULL, or what is wrong with a path below the source tree. */
static const char *path_fault (const char *p)
{
    if (*p == '/')
        return "is absolute";
    if (strlen (p) > 1023)
        return "is too long";
    for (const char *c = p; *c; c++)
        if ((unsigned char) *c < ' ' || *c == 0x7f || *c == '\\')
            return "has control characters or backslashes";
    for (const char *part = p;; part++) {
        size_t len = strcspn (part, "/");
        if (len == 2 && part[0] == '.' && part[1] == '.')
            return "leaves the tree";
        if (len == 0 && part[len] == '\0' && part != p)
            return NULL; /* one slash at the end: a folder */
        if (len == 0 || (len == 1 && part[0] == '.'))
            return "has an empty part or \".\"";
        part += len;
        if (!*part)
            return NULL;
    }
}

static int read_artifacts (struct reading *r, struct draft *d, const struct node *n)
{
    static const char allowed[] = "a list of paths or globs below the source tree, as [hello, doc/*.1]";
    if (want_list (r, n, "artifacts", 256, allowed) == -1)
        return -1;
    for (size_t i = 0; i < n->n; i++) {
        const struct node *v = n->items[i];
        if (want_word (r, v, "artifacts", "a path or glob below the source tree") == -1)
            return -1;
        const char *fault = path_fault (v->text);
        if (fault)
            return fail (r, v, "artifacts: \"%.200s\" %s (a path or glob below the source tree)", v->text, fault);
        for (size_t k = 0; k < d->artifacts.n; k++)
            if (strcmp (d->artifacts.v[k], v->text) == 0)
                return fail (r, v, "artifacts: \"%.200s\" given twice (each path once)", v->text);
        words_add (&d->artifacts, xstrdup (v->text));
    }
    return 0;
}

static int read_matrix (struct reading *r, struct draft *d, const struct node *n)
{
    if (want_map (r, n, "matrix") == -1)
        return -1;
    if (n->n < 1 || n->n > 8)
        return fail (r, n, "matrix: %zu rows (from 1 to 8, as {cc: [gcc, clang]})", n->n);
    d->axes = xcalloc (n->n, sizeof *d->axes);
    for (size_t i = 0; i < n->n; i++) {
        const struct node *v = n->items[i];
        if (!name_valid (n->keys[i]) || strchr ("0123456789", *n->keys[i]))
            return fail (r, &n->key_at[i], "matrix: \"%.60s\" is not a name (a-z 0-9 . _ -, a letter first)", n->keys[i]);
        if (strcmp (n->keys[i], "source_date_epoch") == 0 || strncmp (n->keys[i], "assay", 5) == 0)
            return fail (r, &n->key_at[i], "matrix: \"%.60s\" would set a variable of the worker's (any other name)", n->keys[i]);
        if (want_list (r, v, n->keys[i], 64, "a list of values, as [gcc, clang]") == -1)
            return -1;
        if (v->n == 0)
            return fail (r, v, "matrix %.60s: no values (at least one)", n->keys[i]);
        struct axis *a = &d->axes[d->axis_count++];
        a->name = xstrdup (n->keys[i]);
        for (size_t k = 0; k < v->n; k++) {
            const struct node *w = v->items[k];
            if (want_word (r, w, n->keys[i], "a name of a-z 0-9 . _ -") == -1)
                return -1;
            if (!name_valid (w->text))
                return fail (r, w, "matrix %.60s: \"%.60s\" (a name of a-z 0-9 . _ -, a letter or digit first)", n->keys[i], w->text);
            for (size_t j = 0; j < k; j++)
                if (strcmp (a->values.v[j], w->text) == 0)
                    return fail (r, w, "matrix %.60s: \"%.60s\" given twice (each value once)", n->keys[i], w->text);
            words_add (&a->values, xstrdup (w->text));
        }
    }
    return 0;
}

/* ---- the table ---- */

static const struct key keys[] = {
    { "image", IN_RECIPE | IN_STEP, read_image },
    { "policy", IN_RECIPE | IN_STEP, read_policy },
    { "env", IN_RECIPE | IN_STEP, read_env },
    { "labels", IN_RECIPE | IN_STEP, read_labels },
    { "limits", IN_RECIPE | IN_STEP, read_limits },
    { "keep", IN_RECIPE | IN_STEP, read_keep },
    { "network", IN_RECIPE | IN_STEP, read_network },
    { "run", IN_STEP, read_run },
    { "needs", IN_STEP, read_needs },
    { "start", IN_STEP, read_start },
    { "artifacts", IN_STEP, read_artifacts },
    { "matrix", IN_STEP, read_matrix },
};
#define KEYS (sizeof keys / sizeof *keys)

static int read_keys (struct reading *r, struct draft *d, const struct node *map, enum where where, const char *in)
{
    for (size_t i = 0; i < map->n; i++) {
        size_t k = 0;
        while (k < KEYS && !((keys[k].where & where) && strcmp (keys[k].name, map->keys[i]) == 0))
            k++;
        if (k < KEYS) {
            if (keys[k].read (r, d, map->items[i]) == -1)
                return -1;
            continue;
        }
        if (where == IN_RECIPE && strcmp (map->keys[i], "steps") == 0)
            continue;
        BUF (allowed);
        for (k = 0; k < KEYS; k++)
            if (keys[k].where & where)
                buf_addf (&allowed, "%s%s", allowed.len ? ", " : "", keys[k].name);
        if (where == IN_RECIPE)
            buf_adds (&allowed, ", steps");
        return unknown_key (r, map, i, in, buf_str (&allowed));
    }
    return 0;
}

static void inherit (struct draft *d, const struct draft *from)
{
    memcpy (d->images, from->images, sizeof d->images);
    d->image_count = from->image_count;
    d->policy = from->policy;
    d->cpus = from->cpus;
    d->memory = from->memory;
    d->disk = from->disk;
    d->time_ms = from->time_ms;
    d->keep = from->keep;
    for (size_t i = 0; i < from->env.n; i++)
        words_add (&d->env, xstrdup (from->env.v[i]));
    for (size_t i = 0; i < from->labels.n; i++)
        words_add (&d->labels, xstrdup (from->labels.v[i]));
}

static int read_steps (struct reading *r, struct recipe *out, const struct draft *common, const struct node *steps)
{
    if (want_map (r, steps, "steps") == -1)
        return -1;
    if (steps->n < 1 || steps->n > STEPS_MAX)
        return fail (r, steps, "steps: %zu of them (from 1 to 64)", steps->n);
    out->drafts = xcalloc (steps->n, sizeof *out->drafts);
    for (size_t i = 0; i < steps->n; i++) {
        const struct node *at = &steps->key_at[i], *body = steps->items[i];
        if (!name_valid (steps->keys[i]))
            return fail (r, at, "step \"%.80s\": not a name (1 to 63 of a-z 0-9 . _ -, a letter or digit first)", steps->keys[i]);
        struct draft *d = &out->drafts[out->draft_count++];
        d->name = xstrdup (steps->keys[i]);
        d->at = (struct place){ at->line, at->column };
        inherit (d, common);
        BUF (in);
        buf_addf (&in, "step %s", d->name);
        if (want_map (r, body, buf_str (&in)) == -1 || read_keys (r, d, body, IN_STEP, buf_str (&in)) == -1)
            return -1;
        if (!d->run)
            return fail (r, at, "step %s: no run (the shell commands of the step)", d->name);
        if (!d->image_count)
            return fail (r, at, "step %s: no image (image: NAME@sha256:HEX, in the step or for all steps)", d->name);
        if (d->policy.max_replicas && d->policy.max_replicas < d->policy.agree)
            return fail (r, at, "step %s: max_replicas %u below agree %u (at least agree)", d->name, d->policy.max_replicas, d->policy.agree);
        if (d->policy.lineages > d->image_count)
            return fail (r, at, "step %s: lineages %u, and %u image%s (at least as many images as lineages)", d->name, d->policy.lineages, d->image_count,
                         d->image_count == 1 ? "" : "s");
    }
    return 0;
}

/* What the steps come to in a submission. */
static size_t encoded_size (const struct msg_step *s)
{
    const struct bytes_list *lists[] = { &s->needs, &s->artifacts, &s->env, &s->labels, &s->images };
    size_t n = 256 + s->name.len + s->run.len;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (size_t k = 0; k < lists[i]->n; k++)
            n += lists[i]->v[k].len + 5;
    return n;
}

static int check_size (struct reading *r, const struct recipe *out, const struct node *steps)
{
    size_t sum = 0;
    for (size_t i = 0; i < out->out.n; i++) {
        size_t one = encoded_size (&out->out.steps[i]);
        sum += one;
        if (one > 262144)
            return fail (r, steps, "step %.*s: %zu bytes (at most 262144)", (int) out->out.steps[i].name.len, (const char *) out->out.steps[i].name.p, one);
    }
    if (sum > ENCODED_MAX)
        return fail (r, steps, "steps: %zu bytes in all, each combination of a matrix counted (at most %u)", sum, ENCODED_MAX);
    return 0;
}

static int parse (struct reading *r, struct recipe *out, const struct node *root)
{
    struct draft CLEANUP (draft_release) common = { 0 };
    if (want_map (r, root, "recipe") == -1 || read_keys (r, &common, root, IN_RECIPE, "the recipe") == -1)
        return -1;
    const struct node *steps = node_get (root, "steps");
    if (!steps)
        return fail (r, root, "no steps (steps: with at least one step)");
    if (read_steps (r, out, &common, steps) == -1 || expand (out->drafts, out->draft_count, r->file, &out->out, r->e) == -1)
        return -1;
    return check_size (r, out, steps);
}

int recipe_parse (struct bytes text, const char *file, struct recipe **rp, struct err *e)
{
    struct reading r = { file, e };
    *rp = NULL;
    if (text.len > RECIPE_MAX)
        return err_set (e, ERR_USAGE, "%s:1:1: %zu bytes (at most %u)", file, text.len, RECIPE_MAX);
    CLEANUP (node_destroy) struct node *root = NULL;
    if (yaml_parse (text, file, &root, e) == -1)
        return -1;
    struct recipe *out = xcalloc (1, sizeof *out);
    if (parse (&r, out, root) == -1) {
        recipe_destroy (&out);
        return -1;
    }
    *rp = out;
    return 0;
}

void recipe_destroy (struct recipe **rp)
{
    struct recipe *r = *rp;
    if (!r)
        return;
    expanded_release (&r->out);
    for (size_t i = 0; i < r->draft_count; i++)
        draft_release (&r->drafts[i]);
    free (r->drafts);
    free (r);
    *rp = NULL;
}

size_t recipe_steps (const struct recipe *r)
{
    return r->out.n;
}

const struct msg_step *recipe_step (const struct recipe *r, size_t i)
{
    assert (i < r->out.n);
    return &r->out.steps[i];
}
