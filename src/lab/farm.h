/* farm.h: a realm of its own on this machine, all of it real: daemons, workers of three owners, a repository, an image, and whoever misbehaves.
 *
 *     farm_open (&f, NULL, &e)                    // in a new temporary folder (or in DIR, which is kept): init, start, image. Some seconds
 *     farm_commit (f, recipe, "text", &e)         // IMAGE in the recipe is replaced; the repository's file n holds the text
 *     farm_push (f, "lab/x", &id, &e)             // signed and sent by `assay push`
 *     farm_until (f, &id, "build", "trusted failed", 30000, &s, &e)
 *     farm_close (&f)                             // stops all, removes all
 *
 * worker-1 (trusted), worker-2 and worker-3 are honest: the installed assay-worker, with bwrap. worker-1 takes every project, the others those
 * below lab/. What people do is done by the `assay` command itself; states and events are read as admin from the broker.
 * Errors mean that something could not be tried; what came out of an attack is for the caller to judge.
 */
#ifndef ASSAY_LAB_FARM_H
#define ASSAY_LAB_FARM_H

#include "auth/realm.h"
#include "lab/proc.h"

#define FARM_WORKERS 3

/* How long anything may take that has to come: generous, as the machine may be busy. */
#define FARM_PATIENCE_MS 40000

enum service { SERVICE_IDP, SERVICE_STORE, SERVICE_BROKER, SERVICE_VERIFIER, SERVICES };

struct farm;
struct step_seen {
    char state[32], reason[256];
    struct digest digest;
    unsigned support, dissent, votes;
};
struct event_want {            /* NULL: any */
    const char *kind, *state, *step, *worker, *owner, *reason; /* reason: is part of it */
    const struct digest *id;
};

int farm_open (struct farm **f, const char *dir, struct err *e);
void farm_close (struct farm **f);

/* A path below the farm's folder; malloc'd. "realm": the realm's own (admin's) folder, "realm/NAME": that of a principal. */
char *farm_path (const struct farm *f, const char *format, ...) __attribute__ ((format (printf, 2, 3)));
const char *farm_url (const struct farm *f);                /* of the repository */
const char *farm_head (const struct farm *f);               /* its newest commit */

/* Run a command to its end; its exit status, or -1. out and err may be NULL. argv[0] "assay": this program; the name of another of assay's. */
int farm_run (struct farm *f, const char *const argv[], struct buf *out, struct buf *err, struct err *e);
/* `assay --dir REALM/WHO ...`; WHO "" is the admin. */
int farm_assay (struct farm *f, const char *who, const char *const argv[], struct buf *out, struct buf *err, struct err *e);
#define ASSAY(f, who, out, err, e, ...) farm_assay (f, who, (const char *const[]){ __VA_ARGS__, NULL }, out, err, e)

int farm_enrol (struct farm *f, const char *role, const char *name, const char *owner, const char *project, struct err *e);
int farm_commit (struct farm *f, const char *recipe, const char *text, struct err *e);
int farm_push (struct farm *f, const char *project, struct digest *id, struct err *e);
/* What `assay get` gives to `who`: its exit status; text: of the artifact's file n, without the newline, "" where nothing came. */
int farm_get (struct farm *f, const char *who, const struct digest *id, const char *step, char text[128], struct err *e);

int farm_status (struct farm *f, const struct digest *id, const char *step, struct step_seen *s, struct err *e);
/* 1: the state is one of the words; 0: not in time (s: what it is); -1. */
int farm_until (struct farm *f, const struct digest *id, const char *step, const char *states, int timeout_ms, struct step_seen *s, struct err *e);
uint64_t farm_seq (struct farm *f, struct err *e);          /* of the newest event */
/* How many such events there are from `since` on; the last one's reason, where it is not NULL. -1. */
int farm_events (struct farm *f, uint64_t since, const struct event_want *w, char reason[256], struct err *e);
/* Waits for one: 1, 0, -1. */
int farm_event (struct farm *f, uint64_t since, const struct event_want *w, int timeout_ms, char reason[256], struct err *e);

/* The honest workers take steps, or none. */
int farm_honest (struct farm *f, bool at_work, struct err *e);
/* A program of the lab in the background, "ready" not waited for: assay-liar MODE ARGS...; its output in logs/NAME. */
int farm_liar (struct farm *f, struct proc **p, const char *name, const char *const args[], struct err *e);
#define LIAR(f, p, name, e, ...) farm_liar (f, p, name, (const char *const[]){ __VA_ARGS__, NULL }, e)
/* Stop a service (its key stays free for who takes its place), start it again; the peak of its memory in MiB. */
void farm_service_stop (struct farm *f, enum service s);
int farm_service_start (struct farm *f, enum service s, struct err *e);
long farm_service_peak (const struct farm *f, enum service s);
int farm_worker_says (struct farm *f, unsigned worker, const char *text); /* how many lines of its log hold the text */

#endif
