#include "config.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <systemd/sd-daemon.h>

#include "base/log.h"
#include "source/git.h"
#include "worker/agent.h"
#include "worker/control.h"
#include "worker/launch.h"
#include "worker/probe.h"
#include "worker/runner.h"
#include "worker/trial.h"

static int usage (FILE *to, int status)
{
    fputs ("usage: assay-worker [--dir DIR] [--check-config] [--help] [--version] [--help-config]\n"
           "       assay-worker [--dir DIR] pause|resume|drain|status|reload|probe [--json] [--wait]\n", to);
    return status;
}

static const char *who = "assay-worker"; /* in errors: `assay worker` runs this program for its owner's words */

static int fail (const struct err *e)
{
    fprintf (stderr, "%s: %s\n", who, e->msg);
    return e->kind == ERR_NONE ? ERR_FAILED : (int) e->kind;
}

static int serve (const char *dir, struct conf *conf)
{
    struct err e = ERR_INIT;
    struct realm *rl = NULL;
    struct agent *a = NULL;
    int status = 0, signals = net_signals (&e);
    if (signals == -1 || net_start (&e) == -1)
        return fail (&e);
    if (realm_open (&rl, dir, &e) == -1 || realm_sync_start (rl, &e) == -1 || agent_open (&a, rl, conf, signals, &e) == -1)
        status = fail (&e);
    else {
        puts ("ready");
        fflush (stdout);
        sd_notify (0, "READY=1");
        if (agent_run (a, &e) == -1)
            status = fail (&e);
        sd_notify (0, "STOPPING=1");
    }
    agent_close (&a);
    realm_close (&rl);
    net_stop ();
    return status;
}

int worker_main (int argc, char **argv, const struct runner_hooks *hooks)
{
    static const struct option options[] = { { "dir", 1, NULL, 'd' }, { "check-config", 0, NULL, 'c' }, { "help", 0, NULL, 'h' }, { "version", 0, NULL, 'v' },
                                             { "help-config", 0, NULL, 'H' }, { "step", 1, NULL, 's' }, { "fd", 1, NULL, 'f' }, { "json", 0, NULL, 'j' }, { "wait", 0, NULL, 'w' }, { "trial", 0, NULL, 't' }, { NULL, 0, NULL, 0 } };
    const char *dir_option = NULL, *step = NULL;
    bool trial = false, check = false, json = false, wait = false;
    int c, fd = -1, status;
    struct conf conf;
    struct err e = ERR_INIT;
    while ((c = getopt_long (argc, argv, "", options, NULL)) != -1)
        switch (c) {
        case 'd': dir_option = optarg; break;
        case 'c': check = true; break;
        case 'h': return usage (stdout, 0);
        case 'v': puts ("assay-worker " PACKAGE_VERSION); return 0;
        case 'H': config_help (conf_rows); return 0;
        case 's': step = optarg; break;
        case 'j': json = true; break;
        case 'w': wait = true; break;
        case 't': trial = true; break;
        case 'f': fd = atoi (optarg); break;
        default: return usage (stderr, ERR_USAGE);
        }
    const char *word = optind < argc ? argv[optind] : NULL;
    if (optind + 1 < argc || (word && !control_word (word) && strcmp (word, "probe") != 0) || (step && fd < 3) || ((json || wait) && !word)
        || (wait && strcmp (word, "drain") != 0))
        return usage (stderr, ERR_USAGE);
    CLEANUP (free_ptr) char *dir = (char *) realm_default_dir (dir_option), *state = xasprintf ("%s/state", dir);
    if (strncmp (argv[0], "assay: ", 7) == 0)
        who = argv[0];
    log_open ("worker", LOG_LEVEL_INFO);
    char hex[DIGEST_HEX];
    if (step && strcmp (step, LAUNCH_SPARE) == 0) {
        if (!launch_wait (fd, hex))
            return ERR_FAILED;
        step = hex;
    }
    if (word && control_word (word))
        return control_ask (state, &(struct control_ask){ word, json, wait }, &e) == -1 ? fail (&e) : 0;
    CLEANUP (free_ptr) char *own = step ? xasprintf ("%s/steps/%s/%s", state, step, RUNNER_CONF) : NULL;
    if ((own ? conf_read (&conf, own, &e) : conf_open (&conf, dir, &e)) == -1)
        return fail (&e);
    git_allow_file (conf.file_urls);
    if (word) {
        status = probe_print (&conf, state, json) ? 0 : ERR_FAILED;
        conf_release (&conf);
        return status;
    }
    status = check ? 0 : trial ? trial_main (&conf, state) : step ? runner_main (dir, &conf, step, fd, hooks) : serve (dir, &conf);
    conf_release (&conf);
    return status;
}
