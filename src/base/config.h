/* config.h: a daemon's configuration as a table (INI through inih).
 *
 * One row a setting gives the parser, `--help-config`, `--check-config` and the manual page. FILE is read first, then
 * FILE's folder's conf.d/NAME.*.ini in bytewise order; later wins. Unknown sections and keys, bad values and values out of
 * range are errors with file and line. A missing FILE is fine when `must` is false: defaults hold.
 *
 *     static const struct config_row rows[] = {
 *         { "limits", "memory", CONFIG_SIZE, "2G", 1 << 20, INT64_MAX, offsetof (struct conf, memory), "bytes of memory a step may use" },
 *         CONFIG_END };
 *     struct conf c; config_defaults (rows, &c); config_load (rows, &c, path, false, &e); ... config_release (rows, &c);
 */
#ifndef ASSAY_BASE_CONFIG_H
#define ASSAY_BASE_CONFIG_H

#include "base/bytes.h"

enum config_type {
    CONFIG_STRING,   /* char *, owned by the struct */
    CONFIG_INT,      /* int64_t */
    CONFIG_BOOL,     /* bool: yes|no|true|false|on|off|1|0 */
    CONFIG_SIZE,     /* int64_t bytes, suffix K M G T (powers of 1024) */
    CONFIG_DURATION, /* int64_t milliseconds, suffix ms s m h d; a bare number is seconds */
    CONFIG_LIST      /* char *, as CONFIG_STRING; words separated by white space */
};

struct config_row {
    const char *section, *name;
    enum config_type type;
    const char *preset;
    int64_t min, max; /* numbers; for strings max is the longest length, 0 for 4096 */
    size_t offset;
    const char *help;
};
/* Sections beside the table's, named `[KIND NAME]` (NAME as written, at most 40 bytes): each of their settings is handed on; -1 with *e refuses it. */
struct config_extra {
    const char *kind;
    int (*set) (void *conf, const char *name, const char *key, const char *value, struct err *e);
};
#define CONFIG_END { NULL, NULL, CONFIG_STRING, NULL, 0, 0, 0, NULL }

void config_defaults (const struct config_row *rows, void *conf);
int config_load (const struct config_row *rows, void *conf, const char *path, bool must, struct err *e);
int config_load_with (const struct config_row *rows, const struct config_extra *extra, void *conf, const char *path, bool must, struct err *e);
int config_set (const struct config_row *rows, void *conf, const char *section, const char *name, const char *value, struct err *e);
void config_write (const struct config_row *rows, const void *conf, struct buf *out); /* a file that config_load reads to the same values */
void config_help (const struct config_row *rows); /* to stdout */
void config_release (const struct config_row *rows, void *conf);
int config_parse_size (const char *s, int64_t *bytes, struct err *e);
char *config_size_text (uint64_t bytes, char out[24]);                                 /* what config_parse_size reads: "2G", "1536M", "17" */
int config_parse_duration (const char *s, int64_t *ms, struct err *e);

#endif
