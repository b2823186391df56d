/* cli.h: what every command of `assay` shares. One file a command: cmd_NAME.c with `int cmd_NAME (struct cli *, int argc, char **argv)`.
 *
 * argv[0] is "assay: NAME", which getopt_long puts before its complaints (optind is reset; `--help` is handled before). The return
 * value is the exit status (design, section 9). Errors go through cli_fail (one line on stderr), which returns the exit status
 * of the error's kind:
 *     return cli_fail ("push", &e);
 * The table of commands is src/cli/commands.def: COMMAND (name, "arguments", "what it does").
 */
#ifndef ASSAY_CLI_CLI_H
#define ASSAY_CLI_CLI_H

#include <stdio.h>

#include "auth/realm.h"

struct cli {
    char *dir;        /* the realm's folder */
    bool colour;      /* stdout is a terminal and NO_COLOR is unset */
    int timeout_ms;   /* for one request: 2000 for the hook, 10000 otherwise */
    int connect_ms;   /* for a service to be there at all */
    bool kept;        /* by cli_realm: the IDP did not answer, so that the roster is the copy that was kept */
};

int cli_fail (const char *command, const struct err *e);
int cli_usage (const char *command, const char *fmt, ...) __attribute__ ((format (printf, 2, 3))); /* 2 */
int cli_flush (void);                                              /* stdout written whole? 0, or 1 with a line on stderr */
int cli_realm (struct cli *c, struct realm **rl, struct err *e);   /* opens and refreshes; an IDP that is down is no error when a copy is there */
void cli_kept (const struct cli *c, const char *command, struct realm *rl); /* says so on stderr, and how old the copy is, where that is what is shown */
/* client_open, with the endpoint and what to do named in the error, within connect_ms. */
int cli_client (struct cli *c, struct realm *rl, unsigned role, struct client **out, struct err *e);
/* The same for one that the caller chose. name: "broker", "store", ... */
int cli_connect (struct cli *c, struct realm *rl, const char *name, const char *endpoint, const uint8_t key[32], struct client **out, struct err *e);
/* Is it there? Before something long, whose end would be lost. */
int cli_there (struct cli *c, struct realm *rl, unsigned role, struct err *e);
/* The service's endpoint as the roster has it; "" if there is none. */
const char *cli_endpoint (struct realm *rl, unsigned role);
/* "ID" or "ID/STEP[@WORKER]" with ID a prefix of 8 or more hex digits; asks the broker to complete the prefix. Empty strings where absent. */
int cli_step (struct client *broker, const char *text, struct digest *id, char step[64], char worker[64], struct err *e);
const char *cli_colour (struct cli *c, const char *state);          /* escape for a state, "" without colour */
const char *cli_reset (struct cli *c);
int cli_status_of (const char *state);                              /* exit status of a step that ended so: trusted 0, failed 1, else 3 */

/* Aligned table on stdout: rows of cells, cleaned for the terminal. */
struct table;
struct table *table_new (size_t columns, const char *const *heads);
void table_add (struct table *t, const char *const *cells);
void table_print (struct cli *c, struct table **t);                 /* a cell that is a state's name is coloured; destroys */
const char *text_age (int64_t us, char out[32]);                    /* "5 min ago" */
size_t text_width (const char *s);                                  /* columns on a terminal; s is clean */

#define COMMAND(name, args, help) int cmd_##name (struct cli *c, int argc, char **argv);
#include "cli/commands.def"
#undef COMMAND

#endif
