/* hook.h: the two halves of `assay hook`. */
#ifndef ASSAY_CLI_HOOK_H
#define ASSAY_CLI_HOOK_H

#include "cli/cli.h"

/* Puts the hook where git finds it. `where`: a bare repository (post-receive), a work tree (post-commit) or the home of gitolite's
 * user (post-receive for all repositories). A hook that is there already goes on being run. */
int hook_install (struct cli *c, const char *where, struct err *e);
/* What git calls. Never fails a push, never waits for the network. */
void hook_run (struct cli *c, const char *name);

#endif
