#include "base/config.h"

#include <errno.h>
#include <glob.h>
#include <ini.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/file.h"

#define CONFIG_FILE_MAX (1u << 20)
#define CONFIG_NAME_MAX 40
#define CONFIG_SECTION_MAX 48

static int parse_scaled (const char *s, const char *what, int64_t *out, struct err *e, bool (*scale) (const char *suffix, int64_t *factor))
{
    char *end;
    int64_t factor;
    errno = 0;
    long long v = strtoll (s, &end, 10);
    if (errno || end == s || v < 0 || !scale (end, &factor) || (factor && v > INT64_MAX / factor))
        return err_set (e, ERR_USAGE, "\"%s\" is not %s", s, what);
    *out = v * factor;
    return 0;
}

static bool scale_size (const char *s, int64_t *f)
{
    static const char units[] = "KMGT";
    const char *at;
    *f = 1;
    if (!*s)
        return true;
    if (s[1] || !(at = strchr (units, s[0])))
        return false;
    for (long n = at - units + 1; n > 0; n--)
        *f *= 1024;
    return true;
}

static bool scale_time (const char *s, int64_t *f)
{
    *f = !*s || !strcmp (s, "s") ? 1000 : !strcmp (s, "ms") ? 1 : !strcmp (s, "m") ? 60000 : !strcmp (s, "h") ? 3600000 : !strcmp (s, "d") ? 86400000 : 0;
    return *f != 0;
}

static bool scale_none (const char *s, int64_t *f)
{
    *f = 1;
    return !*s;
}

int config_parse_size (const char *s, int64_t *bytes, struct err *e)
{
    return parse_scaled (s, "a size (a number, then nothing, K, M, G or T)", bytes, e, scale_size);
}

char *config_size_text (uint64_t bytes, char out[24])
{
    static const char units[] = "\0KMGT";
    int n = 0;
    while (n < 4 && bytes && bytes % 1024 == 0) {
        bytes /= 1024;
        n++;
    }
    snprintf (out, 24, "%" PRIu64 "%.1s", bytes, units + n);
    return out;
}

int config_parse_duration (const char *s, int64_t *ms, struct err *e)
{
    return parse_scaled (s, "a duration (a number, then ms, s, m, h or d)", ms, e, scale_time);
}

int config_set (const struct config_row *rows, void *conf, const char *section, const char *name, const char *value, struct err *e)
{
    const struct config_row *r = rows;
    while (r->name && (strcmp (r->section, section) || strcmp (r->name, name)))
        r++;
    if (!r->name)
        return err_set (e, ERR_USAGE, "unknown setting [%s] %s (--help-config lists them)", section, name);
    char *at = (char *) conf + r->offset;
    int64_t v = 0;
    switch (r->type) {
    case CONFIG_STRING:
    case CONFIG_LIST: {
        size_t most = r->max ? (size_t) r->max : 4096;
        if (strlen (value) > most)
            return err_set (e, ERR_USAGE, "[%s] %s: longer than %zu bytes", section, name, most);
        char *copy = xstrdup (value);
        free (*(char **) at);
        *(char **) at = copy;
        return 0;
    }
    case CONFIG_BOOL: {
        static const char *const yes[] = { "yes", "true", "on", "1" }, *const no[] = { "no", "false", "off", "0" };
        for (size_t i = 0; i < 4; i++)
            if (!strcasecmp (value, yes[i]) || !strcasecmp (value, no[i])) {
                *(bool *) at = !strcasecmp (value, yes[i]);
                return 0;
            }
        return err_set (e, ERR_USAGE, "[%s] %s: \"%s\" is neither yes nor no", section, name, value);
    }
    case CONFIG_INT:
        if (*value == '-' ? r->min >= 0 : false)
            return err_set (e, ERR_USAGE, "[%s] %s: \"%s\" is negative", section, name, value);
        if (*value == '-') {
            if (parse_scaled (value + 1, "a number", &v, e, scale_none) == -1)
                return err_wrap (e, "[%s] %s", section, name);
            v = -v;
        } else if (parse_scaled (value, "a number", &v, e, scale_none) == -1)
            return err_wrap (e, "[%s] %s", section, name);
        break;
    case CONFIG_SIZE:
        if (config_parse_size (value, &v, e) == -1)
            return err_wrap (e, "[%s] %s", section, name);
        break;
    case CONFIG_DURATION:
        if (config_parse_duration (value, &v, e) == -1)
            return err_wrap (e, "[%s] %s", section, name);
        break;
    }
    if (v < r->min || v > r->max)
        return err_set (e, ERR_USAGE, "[%s] %s: %" PRId64 " is out of range (%" PRId64 " to %" PRId64 ")", section, name, v, r->min, r->max);
    memcpy (at, &v, sizeof v);
    return 0;
}

void config_defaults (const struct config_row *rows, void *conf)
{
    for (const struct config_row *r = rows; r->name; r++) {
        struct err e = ERR_INIT;
        char *at = (char *) conf + r->offset;
        if (r->type == CONFIG_STRING || r->type == CONFIG_LIST)
            *(char **) at = NULL;
        if (config_set (rows, conf, r->section, r->name, r->preset, &e) == -1) {
            fprintf (stderr, "bad preset: %s\n", e.msg); /* a bug in a table */
            abort ();
        }
    }
}

void config_release (const struct config_row *rows, void *conf)
{
    for (const struct config_row *r = rows; r->name; r++)
        if (r->type == CONFIG_STRING || r->type == CONFIG_LIST)
            free_ptr ((char *) conf + r->offset);
}

struct load {
    const struct config_row *rows;
    const struct config_extra *extra;
    void *conf;
    struct err *e;
    bool failed;
};

static int on_pair (void *arg, const char *section, const char *name, const char *value)
{
    struct load *l = arg;
    size_t kind = l->extra ? strlen (l->extra->kind) : 0;
    const char *of = kind && strncmp (section, l->extra->kind, kind) == 0 && section[kind] == ' ' ? section + kind + strspn (section + kind, " ") : NULL;
    if (of && (!*of || strlen (of) > CONFIG_NAME_MAX || strlen (section) > CONFIG_SECTION_MAX)) /* the reader of INI files cuts at 49 */
        err_set (l->e, ERR_USAGE, "[%s]: the name behind \"%s\" is empty, or longer than %d bytes", section, l->extra->kind, CONFIG_NAME_MAX);
    else if (of && l->extra->set (l->conf, of, name, value ? value : "", l->e) == 0)
        return 1;
    else if (!of && config_set (l->rows, l->conf, section, name, value ? value : "", l->e) == 0)
        return 1;
    l->failed = true;
    return 0;
}

static int load_one (const struct config_row *rows, const struct config_extra *extra, void *conf, const char *path, struct err *e)
{
    BUF (text);
    struct err local = ERR_INIT;
    struct load l = { rows, extra, conf, &local, false };
    if (file_read (path, CONFIG_FILE_MAX, &text, e) == -1)
        return -1;
    int line = ini_parse_string (buf_str (&text), on_pair, &l);
    if (line == 0)
        return 0;
    if (l.failed)
        return err_set (e, ERR_USAGE, "%s:%d: %s", path, line, local.msg);
    return err_set (e, ERR_USAGE, "%s:%d: neither a section, a setting nor a comment", path, line);
}

int config_load (const struct config_row *rows, void *conf, const char *path, bool must, struct err *e)
{
    return config_load_with (rows, NULL, conf, path, must, e);
}

int config_load_with (const struct config_row *rows, const struct config_extra *extra, void *conf, const char *path, bool must, struct err *e)
{
    if ((must || access (path, F_OK) == 0) && load_one (rows, extra, conf, path, e) == -1)
        return -1;
    const char *slash = strrchr (path, '/');
    const char *base = slash ? slash + 1 : path, *dot = strrchr (base, '.');
    char *pattern CLEANUP (free_ptr) = xasprintf ("%.*sconf.d/%.*s.*.ini", (int) (base - path), path, (int) (dot ? dot - base : (long) strlen (base)), base);
    glob_t g = { 0 };
    int rc = 0;
    if (glob (pattern, 0, NULL, &g) == 0)
        for (size_t i = 0; rc == 0 && i < g.gl_pathc; i++)
            rc = load_one (rows, extra, conf, g.gl_pathv[i], e);
    globfree (&g);
    return rc;
}

void config_write (const struct config_row *rows, const void *conf, struct buf *out)
{
    const char *section = "";
    for (const struct config_row *r = rows; r->name; r++) {
        const char *at = (const char *) conf + r->offset;
        int64_t v = 0;
        if (strcmp (section, r->section))
            buf_addf (out, "[%s]\n", r->section);
        section = r->section;
        buf_addf (out, "%s = ", r->name);
        switch (r->type) {
        case CONFIG_STRING:
        case CONFIG_LIST: buf_adds (out, *(char *const *) at); break;
        case CONFIG_BOOL: buf_adds (out, *(const bool *) at ? "yes" : "no"); break;
        default:
            memcpy (&v, at, sizeof v);
            buf_addf (out, "%" PRId64 "%s", v, r->type == CONFIG_DURATION ? "ms" : "");
        }
        buf_adds (out, "\n");
    }
}

void config_help (const struct config_row *rows)
{
    static const char *const types[] = { "text", "number", "yes|no", "size", "duration", "list" };
    const char *section = "";
    for (const struct config_row *r = rows; r->name; r++) {
        if (strcmp (section, r->section))
            printf ("%s[%s]\n", *section ? "\n" : "", r->section);
        section = r->section;
        printf ("# %s (%s)\n%s = %s\n", r->help, types[r->type], r->name, r->preset);
    }
}
