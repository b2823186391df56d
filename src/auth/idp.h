/* idp.h: the identity provider: it holds the root key, and makes, keeps and serves the roster.
 *
 * Its folder (DIR/idp under `assay init`, 0700), one process at a time (DIR/lock):
 *   root.key   the root key (key.h), perhaps under a passphrase      keys, realm.ini   its own principal `idp`
 *   chain      every roster entry, length-prefixed; appended and synced before anything is answered
 *   tokens     pending and used enrolment tokens until they expire: public half, attributes, who made them. No secret
 *
 * Without a running server (bootstrap; all by the root key):
 *     idp_bootstrap (dir, "tcp://127.0.0.1:7000", NULL, &root, &e);        // folder, root key, first entry `idp`
 *     idp_open (&i, dir, rootkey_ask, &e);
 *     keys_make (&k, &e); idp_enrol_local (i, &(struct enrolment){ .name = "w1", .roles = ROLE_WORKER, ... }, &k, &e);
 *     realm_create (folder, "w1", root.root, root.endpoint, root.idp_key, &k, &e); idp_copy_roster (i, folder, &e);
 *     idp_close (&i);
 *
 * As a server: every request is one call of idp_handle, which answers into a buffer; the sockets, the clock and the list of who
 * is to be told of news are idp_main.c's. Nothing is answered before it is durable.
 */
#ifndef ASSAY_AUTH_IDP_H
#define ASSAY_AUTH_IDP_H

#include "auth/key.h"
#include "auth/roster.h"

struct rootinfo {              /* what a new principal's realm.ini needs */
    uint8_t root[32];          /* the root's public key */
    uint8_t idp_key[32];       /* the IDP's transport key */
    char endpoint[256];
};

struct enrolment {             /* the operator's word about a principal; strings are borrowed for the call */
    const char *name, *owner;
    unsigned roles;
    bool trusted;
    const char *const *projects, *const *labels; /* NULL-terminated; NULL: none */
    const char *endpoint, *events;               /* NULL: none */
};

struct idp;

/* Make a new IDP folder; refuses one that has a root key. pass NULL or "": an unprotected root key. */
int idp_bootstrap (const char *dir, const char *endpoint, const char *pass, struct rootinfo *out, struct err *e);
/* Load and check everything; locks the folder. `ask` as in rootkey_load. */
int idp_open (struct idp **i, const char *dir, int (*ask) (char *pass, size_t size), struct err *e);
void idp_close (struct idp **i);
int idp_enrol_local (struct idp *i, const struct enrolment *who, const struct keys *k, struct err *e);
int idp_policy_local (struct idp *i, const char *project, const struct policy *p, struct err *e); /* "" sets the floor */
/* Write the chain and a fresh head as the roster copy of another principal's folder. */
int idp_copy_roster (struct idp *i, const char *dir, struct err *e);

const struct roster *idp_roster (const struct idp *i);
const struct keys *idp_keys (const struct idp *i);
const char *idp_endpoint (const struct idp *i);                  /* from realm.ini: where clients look for it */

/* The transport keys that may connect: good principals' and live tokens'. malloc'd array, caller frees. */
uint8_t (*idp_admitted (const struct idp *i, size_t *count))[32];
uint64_t idp_changes (const struct idp *i); /* grows when the set of admitted keys may have changed */
/* One request of the peer with this transport key. Always fills `answer` with one encoded message. Returns the sequence number
 * from which the peer wants to hear news (roster_get), else 0; *e says what was refused (kind ERR_NONE: nothing). */
uint64_t idp_handle (struct idp *i, const uint8_t peer[32], struct bytes frame, int64_t now, struct buf *answer, struct err *e);
bool idp_welcome_still (const struct idp *i, const uint8_t peer[32], int64_t now); /* may this peer be told of news */
/* An encoded roster_part with the entries from `from` on, as many as fit, and the head. */
void idp_part (const struct idp *i, uint64_t from, uint64_t request, struct buf *out);
/* Sign a fresh head; call every 30 s at least. Drops expired tokens. */
int idp_tick (struct idp *i, int64_t now, struct err *e);

/* Token text: "assay-token-1." and hex of: the token's transport secret, root key, IDP's transport key, endpoint. */
struct token {
    struct net_key key;        /* .sec in locked memory */
    struct rootinfo root;
};
int token_make (struct token *t, const struct rootinfo *root, struct err *e);
void token_text (const struct token *t, struct buf *out);        /* wipe the buffer after use */
int token_parse (struct token *t, const char *text, struct err *e);
void token_release (struct token *t);

#endif
