/* assay lab: the threat model acted out on this machine: real daemons, real liars, and what came of it. */
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/cli.h"
#include "lab/lab.h"

#define USAGE "assay lab [ROW...] [--json] [--list] [--keep DIR]"

struct played {
    const struct lab_row *row;
    const char *result; /* held, broke, or not tried */
    char *happened;
    double seconds;
};

static const char *const heads[] = { "ATTACK", "RESULT", "IT TRIED", "WHAT HAPPENED" };

static int list (struct cli *c, bool json)
{
    size_t n;
    const struct lab_row *rows = lab_rows (&n);
    struct table *t = json ? NULL : table_new (2, (const char *const[]){ "ATTACK", "IT TRIES" });
    for (size_t i = 0; i < n; i++)
        if (json) {
            json_t *o = json_pack ("{s:s, s:s}", "row", rows[i].name, "tries", rows[i].tries);
            json_dumpf (o, stdout, JSON_COMPACT);
            putchar ('\n');
            json_decref (o);
        } else
            table_add (t, (const char *const[]){ rows[i].name, rows[i].tries });
    table_print (c, &t);
    return 0;
}

/* The rows named, in the table's order; NULL names: all. */
static int choose (char **names, int count, const struct lab_row **out, size_t *n)
{
    size_t total;
    const struct lab_row *rows = lab_rows (&total);
    *n = 0;
    for (int i = 0; i < count; i++) {
        bool known = false;
        for (size_t k = 0; k < total; k++)
            known = known || strcmp (rows[k].name, names[i]) == 0;
        if (!known)
            return cli_usage ("lab", "%s: no such row (`assay lab --list` shows them)", names[i]);
    }
    for (size_t k = 0; k < total; k++) {
        bool wanted = count == 0;
        for (int i = 0; i < count; i++)
            wanted = wanted || strcmp (rows[k].name, names[i]) == 0;
        if (wanted)
            out[(*n)++] = &rows[k];
    }
    return 0;
}

/* ---- the table ---- */

#define TRIED_WIDTH 30
#define HAPPENED_MIN 40

/* The next line of a text, at most `width` bytes of it, broken at a space where there is one; *at moves on. */
static char *next_line (const char **at, size_t width)
{
    size_t n = strlen (*at), cut = n;
    if (width && n > width) {
        cut = width;
        while (cut > 0 && (*at)[cut] != ' ')
            cut--;
        cut = cut ? cut : width;
    }
    char *line = bytes_dup (bytes_of (*at, cut));
    *at += cut;
    *at += strspn (*at, " ");
    return line;
}

/* On a terminal texts are broken, so that the columns stay columns; elsewhere a row is a line. */
static void show_table (struct cli *c, const struct played *v, size_t n)
{
    struct winsize w = { .ws_col = 0 };
    size_t tried_width = 0, width = 0, fixed = 12 + 11 + TRIED_WIDTH + 2;
    struct table *t = table_new (4, heads);
    if (isatty (STDOUT_FILENO) && ioctl (STDOUT_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col) {
        tried_width = TRIED_WIDTH;
        width = w.ws_col > fixed + HAPPENED_MIN ? w.ws_col - fixed : HAPPENED_MIN;
    }
    for (size_t i = 0; i < n; i++) {
        const char *tries = v[i].row->tries, *happened = v[i].happened;
        for (bool first = true; first || *tries || *happened; first = false) {
            CLEANUP (free_ptr) char *a = next_line (&tries, tried_width), *b = next_line (&happened, width);
            table_add (t, (const char *const[]){ first ? v[i].row->name : "", first ? v[i].result : "", a, b });
        }
    }
    putchar ('\n');
    table_print (c, &t);
}

static void play (struct farm *f, const struct lab_row *row, struct played *p)
{
    struct trial t;
    struct err e = ERR_INIT;
    int64_t began = time_mono_ms ();
    int rc = lab_run (f, row, &t, &e);
    p->row = row;
    p->seconds = (double) (time_mono_ms () - began) / 1000;
    if (t.broke) /* also where something that it needed failed afterwards */
        p->happened = xasprintf ("%s%s%s", t.broken, t.happened.len ? "; besides: " : "", buf_str (&t.happened));
    else
        p->happened = rc == 0 ? xstrdup (buf_str (&t.happened)) : xasprintf ("it could not be tried: %s", e.msg);
    p->result = t.broke ? "broke" : rc == 0 ? "held" : "not tried";
    trial_release (&t);
}

static void show_json (const struct played *p)
{
    json_t *o = json_pack ("{s:s, s:s, s:s, s:s, s:f}", "row", p->row->name, "result", p->result, "tries", p->row->tries, "happened", p->happened, "seconds", p->seconds);
    char *text = o ? json_dumps (o, JSON_COMPACT | JSON_REAL_PRECISION (6)) : NULL;
    printf ("%s\n", text ? text : "{}");
    fflush (stdout);
    free (text);
    json_decref (o);
}

static int play_all (struct cli *c, const struct lab_row *const *rows, size_t n, const char *keep, bool json)
{
    struct err e = ERR_INIT;
    struct farm *CLEANUP (farm_close) f = NULL;
    struct played *played CLEANUP (free_ptr) = xcalloc (n, sizeof *played);
    size_t held = 0, count = 0;
    fprintf (stderr, "a farm of its own is made: three honest workers, and the rest\n");
    if (farm_open (&f, keep, &e) == -1)
        return cli_fail ("lab", &e);
    for (; count < n && !proc_interrupted (); count++) {
        struct played *p = &played[count];
        fprintf (stderr, "[%zu/%zu] %-10s %s ... ", count + 1, n, rows[count]->name, rows[count]->tries);
        play (f, rows[count], p);
        fprintf (stderr, "%s (%.1f s)\n", p->result, p->seconds);
        held += strcmp (p->result, "held") == 0;
        if (json)
            show_json (p);
    }
    farm_close (&f);
    if (!json)
        show_table (c, played, count);
    for (size_t i = 0; i < count; i++)
        free (played[i].happened);
    if (!json)
        printf ("\n%zu of %zu held\n", held, n);
    if (proc_interrupted ())
        fprintf (stderr, "assay: lab: interrupted\n");
    return held == n ? 0 : ERR_FAILED;
}

int cmd_lab (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { "list", no_argument, NULL, 'l' }, { "keep", required_argument, NULL, 'k' }, { NULL, 0, NULL, 0 } };
    const char *keep = NULL;
    bool json = false, only_list = false;
    struct err e = ERR_INIT;
    size_t n;
    for (int o; (o = getopt_long (argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 'j':
            json = true;
            break;
        case 'l':
            only_list = true;
            break;
        case 'k':
            keep = optarg;
            break;
        default:
            return ERR_USAGE;
        }
    if (only_list && (optind < argc || keep))
        return cli_usage ("lab", "--list takes no rows and no --keep (" USAGE ")");
    if (only_list)
        return list (c, json);
    (void) lab_rows (&n);
    const struct lab_row **rows CLEANUP (free_ptr) = xcalloc (n, sizeof *rows);
    int status = choose (argv + optind, argc - optind, rows, &n);
    if (status)
        return status;
    int signals CLEANUP (fd_close) = net_signals (&e);
    if (signals == -1)
        return cli_fail ("lab", &e);
    proc_signals (signals);
    status = play_all (c, rows, n, keep, json);
    proc_signals (-1);
    return status;
}
