/* daemon.h: what the main () of every service does: options, configuration, log, signals, authentication, loop, goodbye.
 *
 *     static struct conf conf;
 *     int main (int argc, char **argv)
 *     {
 *         static const struct daemon d = { "assay-x", "what it does", "x.ini", rows, &conf, &conf.level, open, run, close };
 *         return daemon_main (&d, argc, argv);
 *     }
 *
 * Options: --dir DIR (else $ASSAY_DIR, else ~/.config/assay), --check-config, --help-config, --help, --version. Signals are blocked before
 * the first thread. When `open` has succeeded the line "ready" goes to stdout and READY=1 to the service manager. The exit status is
 * that of the error's kind (design, section 9), after one line on stderr.
 */
#ifndef ASSAY_AUTH_DAEMON_H
#define ASSAY_AUTH_DAEMON_H

#include "base/config.h"

struct daemon {
    const char *program, *what, *ini;       /* ini: its configuration's name in DIR */
    const struct config_row *rows;
    void *conf;
    char **level;                           /* the log's level in conf, or NULL */
    int (*open) (void **server, void *conf, const char *dir, int signals, struct err *e);
    int (*run) (void *server, struct err *e); /* until a signal says stop */
    void (*close) (void **server);
};

int daemon_main (const struct daemon *d, int argc, char **argv);

#endif
