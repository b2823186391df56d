/* liar.h: what the modes of assay-liar share. One process plays one principal (or one that is none), prints what it was answered, and ends; what
 * fails otherwise ends it with status 9 and the reason. Not for daemons: nothing is freed that the end frees. */
#ifndef ASSAY_LAB_LIAR_H
#define ASSAY_LAB_LIAR_H

#include "auth/realm.h"

extern struct err e;                                             /* why the last call failed */
extern unsigned claimed;                                         /* ISOLATION_*: what it says that it gives */

struct taken {                                                   /* a lease, as the broker sent it */
    struct net_in in;
    struct msg m;
    struct digest id;
};

void die (const char *what) __attribute__ ((noreturn));
unsigned role_of (const char *name);
struct realm *realm_of (const char *dir);                        /* with a fresh roster */
struct client *client_of (struct realm *rl, unsigned role);
void answer_of (struct client *c, struct msg *m, enum msg_type want); /* asks, and prints "ok" or the error's name */
void take_lease (struct client *c, struct taken *t);             /* says ready for one step, and waits for it */
void taken_release (struct taken *t);
void try_all (struct client *c, const struct digest *lease);     /* result, error, handback and log for it; prints the answers */

/* wrong: what is wrong with it (see cmd_result); sealed to the verifier. */
void make_result (struct realm *rl, const struct taken *t, const char *wrong, struct buf *sealed);
void send_result (struct client *c, const struct taken *t, struct bytes sealed); /* prints the answer */

void vote (struct realm *rl, struct client *broker, struct taken *t, const char *text, unsigned status); /* right in all but what it says came out */
void one_file (const char *text, struct buf *manifest, struct buf *content); /* an artifact: file n with a line of text, none with "-" */

#define LIAR_MODE(name) int cmd_##name (char **v);               /* its arguments; the exit status */
LIAR_MODE (vote) LIAR_MODE (claim) LIAR_MODE (steal) LIAR_MODE (repeat) LIAR_MODE (hold) LIAR_MODE (linger) LIAR_MODE (copy) LIAR_MODE (late)
LIAR_MODE (broker) LIAR_MODE (store) LIAR_MODE (verdict)
LIAR_MODE (result) LIAR_MODE (echo) LIAR_MODE (replay) LIAR_MODE (read) LIAR_MODE (name) LIAR_MODE (enrol) LIAR_MODE (decline)

int liar_worker (int argc, char **argv);                         /* a real worker, but for what it does to the artifact */

#endif
