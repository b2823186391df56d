/* key.h: a principal's secret keys: signing (Ed25519), transport (CURVE, X25519), sealing (X25519).
 *
 * Kept in one file, mode 0600 (refused otherwise), INI-like text of hex; loaded into sodium_malloc'ed memory, wiped on
 * release, never logged. The IDP's root key file may be protected by a passphrase (Argon2id, crypto_secretbox).
 */
#ifndef ASSAY_AUTH_KEY_H
#define ASSAY_AUTH_KEY_H

#include "base/net.h"
#include "proto/envelope.h"

struct keys {
    struct sign_key sign;
    struct net_key transport;
    uint8_t seal_pub[32];
    uint8_t *seal_sec; /* 32 bytes, locked */
};

int keys_make (struct keys *k, struct err *e);
int keys_save (const struct keys *k, const char *path, struct err *e); /* refuses to overwrite */
int keys_load (struct keys *k, const char *path, struct err *e);
void keys_release (struct keys *k);

/* Public halves from outside, in the one form that a key has: another writing of the same key would be another principal's name for it.
 * EC_MALFORMED if one is not, or is no key that a secret can have. */
int keys_check (const uint8_t sign[32], const uint8_t transport[32], const uint8_t seal[32], struct err *e);

/* The root key: `pass` NULL or "" for an unprotected file. rootkey_load asks the callback only when the file is protected. */
int rootkey_make (struct sign_key *k, struct err *e);
int rootkey_save (const struct sign_key *k, const char *path, const char *pass, struct err *e);
int rootkey_load (struct sign_key *k, const char *path, int (*ask) (char *pass, size_t size), struct err *e);
/* An `ask` for programs: the file named by $ASSAY_ROOT_PASSPHRASE_FILE (its first line), else the terminal without echo; -1 without either. */
int rootkey_ask (char *pass, size_t size);
/* A passphrase for a new root key, from where rootkey_ask takes it, on a terminal twice; in locked memory: passphrase_release wipes it. NULL: *e. */
char *passphrase_choose (struct err *e);
void passphrase_release (char **pass);
void rootkey_release (struct sign_key *k);

#endif
