/* realm.h: a principal's folder on disk, its verified roster copy, and keeping that copy fresh.
 *
 * DIR/realm.ini   [realm] root = HEX, idp = ENDPOINT, idp-key = HEX (transport key), name = PRINCIPAL; witnesses = K
 * DIR/keys        secret keys, 0600
 * DIR/roster      verified copy: length-prefixed envelopes, head last; written aside, synced, renamed
 *
 *     realm_open (&rl, dir, &e);                           // loads keys and roster; the IDP need not be there
 *     realm_admit (rl, roles)                              // installs the ZAP set: good principals with any of these roles
 *     realm_sync_start (rl, loop-free: a thread)           // connects to the IDP, refreshes the copy every few seconds
 *     on each turn of the loop: if (realm_poll (rl)) ...   // true when the roster changed; swaps in the new one, re-admits
 * The roster returned by realm_roster() belongs to the realm, and changes only inside realm_poll(), so that a loop needs no lock.
 */
#ifndef ASSAY_AUTH_REALM_H
#define ASSAY_AUTH_REALM_H

#include "auth/client.h"
#include "auth/key.h"
#include "auth/roster.h"

const char *realm_default_dir (const char *option);              /* --dir, else $ASSAY_DIR, else ~/.config/assay; static storage no: malloc'd, caller frees */
int realm_open (struct realm **rl, const char *dir, struct err *e);
void realm_close (struct realm **rl);
const char *realm_dir (const struct realm *rl);
const char *realm_name (const struct realm *rl);                 /* our principal's name */
const struct keys *realm_keys (const struct realm *rl);
const uint8_t *realm_root (const struct realm *rl);
unsigned realm_witnesses (const struct realm *rl);               /* that a verdict needs, where no command says otherwise; 0: none */
const char *realm_idp (const struct realm *rl);
const uint8_t *realm_idp_key (const struct realm *rl);
struct roster *realm_roster (struct realm *rl);
const struct principal *realm_self (struct realm *rl);           /* NULL until our entry is in the copy */
/* One synchronous refresh from the IDP (commands): fetch, verify, store. ERR_UNREACHABLE keeps the old copy. */
int realm_refresh (struct realm *rl, int timeout_ms, struct err *e);
int realm_sync_start (struct realm *rl, struct err *e);
int realm_sync_fd (const struct realm *rl);                      /* readable when realm_poll has something */
bool realm_poll (struct realm *rl);
void realm_admit (struct realm *rl, unsigned roles);             /* now, and again at every change of the roster */
/* The roster as a file: every entry's envelope behind its length (4 bytes, big-endian), the signed head last. Parsing verifies all of it. */
void realm_roster_bytes (const struct roster *r, struct buf *out);
int realm_roster_parse (struct bytes file, struct roster *r, struct err *e);
/* Write a new realm folder (assay enrol, assay init). */
int realm_create (const char *dir, const char *name, const uint8_t root[32], const char *idp, const uint8_t idp_key[32], const struct keys *k, struct err *e);

#endif
