/* table.c: aligned columns for people. Contract: cli.h. */
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/file.h"
#include "cli/cli.h"

struct table {
    size_t columns, rows, cap;
    size_t *widths;
    char **cells; /* row by row, the heads first */
};

const char *text_age (int64_t us, char out[32])
{
    int64_t s = (time_now_us () - us) / 1000000;
    if (s < 0)
        s = 0;
    if (s < 120)
        snprintf (out, 32, "%lld s ago", (long long) s);
    else if (s < 7200)
        snprintf (out, 32, "%lld min ago", (long long) s / 60);
    else if (s < 172800)
        snprintf (out, 32, "%lld h ago", (long long) s / 3600);
    else
        snprintf (out, 32, "%lld days ago", (long long) s / 86400);
    return out;
}

size_t text_width (const char *s)
{
    size_t width = 0;
    mbstate_t state = { 0 };
    for (size_t len = strlen (s); len;) {
        wchar_t wc;
        size_t n = mbrtowc (&wc, s, len, &state);
        if (n == 0 || n > len) {
            memset (&state, 0, sizeof state);
            n = 1;
            width++;
        } else {
            int w = wcwidth (wc);
            width += w > 0 ? (size_t) w : 0;
        }
        s += n;
        len -= n;
    }
    return width;
}

struct table *table_new (size_t columns, const char *const *heads)
{
    struct table *t = xcalloc (1, sizeof *t);
    t->columns = columns;
    t->widths = xcalloc (columns, sizeof *t->widths);
    table_add (t, heads);
    return t;
}

void table_add (struct table *t, const char *const *cells)
{
    if (t->rows == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 16;
        t->cells = xrealloc (t->cells, t->cap * t->columns * sizeof *t->cells);
    }
    for (size_t i = 0; i < t->columns; i++) {
        BUF (clean);
        text_clean (bytes_str (cells[i] ? cells[i] : ""), false, &clean);
        char *cell = xstrdup (buf_str (&clean));
        size_t width = text_width (cell);
        if (width > t->widths[i])
            t->widths[i] = width;
        t->cells[t->rows * t->columns + i] = cell;
    }
    t->rows++;
}

void table_print (struct cli *c, struct table **tp)
{
    struct table *t = *tp;
    if (!t)
        return;
    for (size_t r = 0; r < t->rows; r++) {
        size_t last = t->columns;
        while (last > 0 && !*t->cells[r * t->columns + last - 1])
            last--;
        for (size_t i = 0; i < last; i++) {
            const char *cell = t->cells[r * t->columns + i];
            const char *colour = r == 0 ? (c->colour ? "\033[1m" : "") : cli_colour (c, cell);
            printf ("%s%s%s", colour, cell, *colour ? cli_reset (c) : "");
            if (i + 1 < last)
                printf ("%*s", (int) (t->widths[i] - text_width (cell) + 2), "");
        }
        putchar ('\n');
    }
    for (size_t i = 0; i < t->rows * t->columns; i++)
        free (t->cells[i]);
    free (t->cells);
    free (t->widths);
    free (t);
    *tp = NULL;
}
