/* main.c: `assay COMMAND ...`. The table is commands.def; what every command shares is cli.h. */
#include "config.h"

#include <getopt.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "cli/cli.h"

/* A build may leave a command out: then the name is known, and says so. The command's own file, where it is there, wins. */
static int absent (const char *name)
{
    fprintf (stderr, "assay: %s: not in this build (install a later version of assay)\n", name);
    return ERR_USAGE;
}
#define COMMAND(name, args, help)                                                                                          \
    __attribute__ ((weak)) int cmd_##name (struct cli *c, int argc, char **argv)                                           \
    {                                                                                                                      \
        (void) c;                                                                                                          \
        (void) argc;                                                                                                       \
        (void) argv;                                                                                                       \
        return absent (#name);                                                                                             \
    }
#include "cli/commands.def"
#undef COMMAND

struct command {
    const char *name, *args, *help;
    int (*run) (struct cli *c, int argc, char **argv);
};
static const struct command commands[] = {
#define COMMAND(name, args, help) { #name, args, help, cmd_##name },
#include "cli/commands.def"
#undef COMMAND
};
#define COMMANDS (sizeof commands / sizeof *commands)

static void help (FILE *to)
{
    fprintf (to, "usage: assay [--dir DIR] [--timeout TIME] COMMAND ...\n\n");
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf (to, "  %-8s %s\n", commands[i].name, commands[i].help);
    fprintf (to, "\nThe realm is --dir DIR, else $ASSAY_DIR, else ~/.config/assay. `assay COMMAND --help` tells a command's arguments.\n"
                 "Exit status: 0 done, 1 the step failed, 2 usage, 3 not trusted, 4 not allowed, 5 not reachable, 6 damaged or forged.\n");
}

static const struct command *find (const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp (commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static bool wants_help (int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp (argv[i], "--"); i++)
        if (strcmp (argv[i], "--help") == 0)
            return true;
    return false;
}

int main (int argc, char **argv)
{
    static const struct option options[] = {
        { "dir", required_argument, NULL, 'd' }, { "timeout", required_argument, NULL, 't' }, { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'V' },   { NULL, 0, NULL, 0 },
    };
    const char *dir = NULL;
    struct cli c = { .timeout_ms = 10000, .connect_ms = 5000 };
    struct err e = ERR_INIT;
    int64_t ms = 0;

    setlocale (LC_CTYPE, "C.UTF-8");
    signal (SIGPIPE, SIG_IGN); /* a closed pipe is a failed write, which cli_flush reports */
    log_open ("assay", LOG_LEVEL_WARN);
    for (int o; (o = getopt_long (argc, argv, "+h", options, NULL)) != -1;)
        switch (o) {
        case 'd':
            dir = optarg;
            break;
        case 't':
            if (config_parse_duration (optarg, &ms, &e) == -1 || ms < 1 || ms > 3600000)
                return cli_usage ("--timeout", "%s: not a time from 1ms to 1h", optarg);
            c.timeout_ms = c.connect_ms = (int) ms;
            break;
        case 'h':
            help (stdout);
            return cli_flush ();
        case 'V':
            printf ("assay %s\n", PACKAGE_VERSION);
            return cli_flush ();
        default:
            return ERR_USAGE;
        }
    if (optind >= argc) {
        help (stderr);
        return ERR_USAGE;
    }
    const struct command *command = find (argv[optind]);
    if (!command)
        return cli_usage (argv[optind], "no such command (`assay --help` lists them)");
    argc -= optind;
    argv += optind;
    if (wants_help (argc, argv)) {
        printf ("usage: assay %s %s\n%s\n", command->name, command->args, command->help);
        return cli_flush ();
    }
    c.dir = (char *) (uintptr_t) realm_default_dir (dir);
    c.colour = isatty (STDOUT_FILENO) && !getenv ("NO_COLOR");
    optind = 0; /* glibc: start over, with its internal state as well */
    argv[0] = xasprintf ("assay: %s", command->name);
    int status = command->run (&c, argc, argv);
    int flushed = cli_flush ();
    free (c.dir);
    free (argv[0]);
    return status ? status : flushed;
}
