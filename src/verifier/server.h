/* server.h: inside src/verifier only: the loop around judge.h: the broker's events in, verdicts out, questions answered. */
#ifndef ASSAY_VERIFIER_SERVER_H
#define ASSAY_VERIFIER_SERVER_H

#include "auth/realm.h"

struct verifier_conf {
    char *listen, *level;
};

struct server;
int server_open (struct server **s, const struct verifier_conf *conf, const char *dir, int signals, struct err *e);
int server_run (struct server *s, struct err *e);
void server_close (struct server **s);

#endif
