#include "auth/key.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "base/file.h"

#define KEY_FILE_MAX 4096
#define KEYS_HEAD "assay-keys 1\n"
#define PASS_MAX_LEN 1024 /* with its end */
#define ROOT_HEAD "assay-root-key 1\n"
#define ARGON_OPS_MAX 64
#define ARGON_MEM_MAX (UINT64_C (1) << 32) /* bytes: a file from elsewhere must not take the machine's memory */

/* Locked, so that it stays out of swap and core files. sodium_init () is idempotent: net_start () may not have run yet. */
static void *locked (size_t n, struct err *e)
{
    void *p = sodium_init () == -1 ? NULL : sodium_malloc (n);
    if (!p)
        err_set (e, ERR_FAILED, "no locked memory for a key (raise the limit on locked memory: ulimit -l)");
    return p;
}

static void unlock_ptr (void *pp)
{
    sodium_free (*(void **) pp); /* wipes */
    *(void **) pp = NULL;
}

/* The text of a secret file into locked memory, refused where others could read or replace it. Caller frees with sodium_free. */
static char *secret_read (const char *path, struct err *e)
{
    struct stat st;
    int fd CLEANUP (fd_close) = open (path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd == -1 || fstat (fd, &st) == -1) {
        err_errno (e, "%s", path);
        return NULL;
    }
    if (!S_ISREG (st.st_mode) || (st.st_uid != geteuid () && st.st_uid != 0)) {
        err_set (e, ERR_DENIED, "%s: not a regular file of this user (chown it)", path);
        return NULL;
    }
    if (st.st_mode & 077) {
        err_set (e, ERR_DENIED, "%s: others may read it, mode %04o (chmod 600 it, and consider the keys as known to them)", path, (unsigned) st.st_mode & 07777);
        return NULL;
    }
    if (st.st_size >= KEY_FILE_MAX) {
        err_set (e, ERR_DAMAGED, "%s: too long for a key file", path);
        return NULL;
    }
    char *text = locked (KEY_FILE_MAX, e);
    if (!text)
        return NULL;
    memset (text, 0, KEY_FILE_MAX);
    if (!file_read_exact (fd, text, (size_t) st.st_size)) {
        err_errno (e, "%s", path);
        sodium_free (text);
        return NULL;
    }
    if (strlen (text) != (size_t) st.st_size) {
        err_set (e, ERR_DAMAGED, "%s: not a key file (a NUL in it)", path);
        sodium_free (text);
        return NULL;
    }
    return text;
}

static int secret_write (const char *path, const char *text, struct err *e)
{
    struct stat st;
    if (lstat (path, &st) == 0)
        return err_set (e, ERR_USAGE, "%s: exists already (keys are never overwritten; move it away first)", path);
    return file_write (path, bytes_str (text), 0600, e);
}

/* The value behind "name = " at the start of a line, up to its end; NULL if there is none. */
static const char *value_at (const char *text, const char *name, size_t *len)
{
    size_t n = strlen (name);
    for (const char *line = text; *line;) {
        if (!strncmp (line, name, n) && !strncmp (line + n, " = ", 3)) {
            line += n + 3;
            *len = strcspn (line, "\n");
            return line;
        }
        line += strcspn (line, "\n");
        line += *line == '\n';
    }
    return NULL;
}

static bool value_hex (const char *text, const char *name, void *out, size_t size)
{
    char *hex CLEANUP (unlock_ptr) = sodium_malloc (2 * size + 1);
    size_t len;
    const char *v = value_at (text, name, &len);
    if (!hex || !v || len != 2 * size)
        return false;
    memcpy (hex, v, len);
    hex[len] = 0;
    return hex_decode (hex, out, size);
}

static bool value_number (const char *text, const char *name, uint64_t max, uint64_t *out)
{
    size_t len;
    const char *v = value_at (text, name, &len);
    if (!v || len == 0 || len > 12)
        return false;
    *out = 0;
    for (size_t i = 0; i < len; i++) {
        if (v[i] < '0' || v[i] > '9')
            return false;
        *out = *out * 10 + (uint64_t) (v[i] - '0');
    }
    return *out <= max;
}

/* ---- a principal's keys ---- */

static int keys_alloc (struct keys *k, struct err *e)
{
    memset (k, 0, sizeof *k);
    k->sign.sec = locked (64, e);
    k->transport.sec = k->sign.sec ? locked (32, e) : NULL;
    k->seal_sec = k->transport.sec ? locked (32, e) : NULL;
    if (k->seal_sec)
        return 0;
    keys_release (k);
    return -1;
}

int keys_make (struct keys *k, struct err *e)
{
    if (keys_alloc (k, e) == -1)
        return -1;
    crypto_sign_keypair (k->sign.pub, k->sign.sec);
    crypto_box_keypair (k->transport.pub, k->transport.sec);
    crypto_box_keypair (k->seal_pub, k->seal_sec);
    return 0;
}

int keys_save (const struct keys *k, const char *path, struct err *e)
{
    char *text CLEANUP (unlock_ptr) = locked (KEY_FILE_MAX, e);
    char *hex CLEANUP (unlock_ptr) = text ? locked (3 * 65, e) : NULL;
    if (!hex)
        return -1;
    hex_encode (k->sign.sec, 32, hex); /* the seed */
    hex_encode (k->transport.sec, 32, hex + 65);
    hex_encode (k->seal_sec, 32, hex + 130);
    (void) snprintf (text, KEY_FILE_MAX, KEYS_HEAD "sign = %s\ntransport = %s\nseal = %s\n", hex, hex + 65, hex + 130);
    return secret_write (path, text, e);
}

int keys_load (struct keys *k, const char *path, struct err *e)
{
    char *text CLEANUP (unlock_ptr) = secret_read (path, e);
    uint8_t *seed CLEANUP (unlock_ptr) = text ? locked (32, e) : NULL;
    memset (k, 0, sizeof *k);
    if (!seed || keys_alloc (k, e) == -1)
        return -1;
    if (strncmp (text, KEYS_HEAD, strlen (KEYS_HEAD)) != 0 || !value_hex (text, "sign", seed, 32) || !value_hex (text, "transport", k->transport.sec, 32)
        || !value_hex (text, "seal", k->seal_sec, 32)) {
        keys_release (k);
        return err_set (e, ERR_DAMAGED, "%s: not a key file (its first line is \"assay-keys 1\", then sign, transport and seal)", path);
    }
    crypto_sign_seed_keypair (k->sign.pub, k->sign.sec, seed);
    crypto_scalarmult_base (k->transport.pub, k->transport.sec);
    crypto_scalarmult_base (k->seal_pub, k->seal_sec);
    return 0;
}

void keys_release (struct keys *k)
{
    if (!k)
        return;
    sodium_free (k->sign.sec);
    sodium_free (k->transport.sec);
    sodium_free (k->seal_sec);
    memset (k, 0, sizeof *k);
}

/* ---- the root key ---- */

int rootkey_make (struct sign_key *k, struct err *e)
{
    memset (k, 0, sizeof *k);
    if (!(k->sec = locked (64, e)))
        return -1;
    crypto_sign_keypair (k->pub, k->sec);
    return 0;
}

void rootkey_release (struct sign_key *k)
{
    if (!k)
        return;
    sodium_free (k->sec);
    memset (k, 0, sizeof *k);
}

int rootkey_save (const struct sign_key *k, const char *path, const char *pass, struct err *e)
{
    char *text CLEANUP (unlock_ptr) = locked (KEY_FILE_MAX, e);
    char *hex CLEANUP (unlock_ptr) = text ? locked (65, e) : NULL;
    char pub[65];
    if (!hex)
        return -1;
    hex_encode (k->pub, 32, pub);
    if (!pass || !*pass) {
        hex_encode (k->sec, 32, hex);
        (void) snprintf (text, KEY_FILE_MAX, ROOT_HEAD "public = %s\nseed = %s\n", pub, hex);
        return secret_write (path, text, e);
    }
    uint8_t salt[crypto_pwhash_SALTBYTES], nonce[crypto_secretbox_NONCEBYTES], box[crypto_secretbox_MACBYTES + 32];
    char salt_hex[sizeof salt * 2 + 1], nonce_hex[sizeof nonce * 2 + 1], box_hex[sizeof box * 2 + 1];
    uint8_t *key CLEANUP (unlock_ptr) = locked (crypto_secretbox_KEYBYTES, e);
    if (!key)
        return -1;
    randombytes_buf (salt, sizeof salt);
    randombytes_buf (nonce, sizeof nonce);
    unsigned long long ops = crypto_pwhash_argon2id_OPSLIMIT_MODERATE;
    size_t mem = crypto_pwhash_argon2id_MEMLIMIT_MODERATE;
    if (crypto_pwhash (key, crypto_secretbox_KEYBYTES, pass, strlen (pass), salt, ops, mem, crypto_pwhash_ALG_ARGON2ID13) != 0)
        return err_set (e, ERR_FAILED, "%s: Argon2id needs %zu MiB of memory, which is not there", path, mem >> 20);
    crypto_secretbox_easy (box, k->sec, 32, nonce, key);
    hex_encode (salt, sizeof salt, salt_hex);
    hex_encode (nonce, sizeof nonce, nonce_hex);
    hex_encode (box, sizeof box, box_hex);
    (void) snprintf (text, KEY_FILE_MAX, ROOT_HEAD "public = %s\nkdf = argon2id\nops = %llu\nmemory = %zu\nsalt = %s\nnonce = %s\nbox = %s\n", pub, ops, mem,
                     salt_hex, nonce_hex, box_hex);
    return secret_write (path, text, e);
}

static int rootkey_unbox (const char *text, uint8_t seed[32], const char *path, int (*ask) (char *pass, size_t size), struct err *e)
{
    uint64_t ops, mem;
    size_t len;
    uint8_t salt[crypto_pwhash_SALTBYTES], nonce[crypto_secretbox_NONCEBYTES], box[crypto_secretbox_MACBYTES + 32];
    const char *kdf = value_at (text, "kdf", &len);
    char *pass CLEANUP (unlock_ptr) = locked (PASS_MAX_LEN, e);
    uint8_t *key CLEANUP (unlock_ptr) = pass ? locked (crypto_secretbox_KEYBYTES, e) : NULL;
    if (!key)
        return -1;
    if (!kdf || len != 8 || memcmp (kdf, "argon2id", 8) || !value_number (text, "ops", ARGON_OPS_MAX, &ops) || !value_number (text, "memory", ARGON_MEM_MAX, &mem)
        || !value_hex (text, "salt", salt, sizeof salt) || !value_hex (text, "nonce", nonce, sizeof nonce) || !value_hex (text, "box", box, sizeof box))
        return err_set (e, ERR_DAMAGED, "%s: not a root key file", path);
    memset (pass, 0, PASS_MAX_LEN);
    if (!ask || ask (pass, PASS_MAX_LEN) == -1)
        return err_set (e, ERR_DENIED, "%s: needs its passphrase (set ASSAY_ROOT_PASSPHRASE_FILE, or start it on a terminal)", path);
    if (crypto_pwhash (key, crypto_secretbox_KEYBYTES, pass, strlen (pass), salt, ops, (size_t) mem, crypto_pwhash_ALG_ARGON2ID13) != 0)
        return err_set (e, ERR_FAILED, "%s: Argon2id needs %llu MiB of memory, which is not there", path, (unsigned long long) mem >> 20);
    if (crypto_secretbox_open_easy (seed, box, sizeof box, nonce, key) != 0)
        return err_set (e, ERR_DENIED, "%s: the passphrase does not open it", path);
    return 0;
}

int rootkey_load (struct sign_key *k, const char *path, int (*ask) (char *pass, size_t size), struct err *e)
{
    char *text CLEANUP (unlock_ptr) = secret_read (path, e);
    uint8_t *seed CLEANUP (unlock_ptr) = text ? locked (32, e) : NULL;
    uint8_t pub[32];
    size_t len;
    memset (k, 0, sizeof *k);
    if (!seed)
        return -1;
    if (strncmp (text, ROOT_HEAD, strlen (ROOT_HEAD)) != 0 || !value_hex (text, "public", pub, 32))
        return err_set (e, ERR_DAMAGED, "%s: not a root key file (its first line is \"assay-root-key 1\")", path);
    if (value_at (text, "kdf", &len)) {
        if (rootkey_unbox (text, seed, path, ask, e) == -1)
            return -1;
    } else if (!value_hex (text, "seed", seed, 32))
        return err_set (e, ERR_DAMAGED, "%s: not a root key file (no seed)", path);
    if (!(k->sec = locked (64, e)))
        return -1;
    crypto_sign_seed_keypair (k->pub, k->sec, seed);
    if (memcmp (k->pub, pub, 32) != 0) {
        rootkey_release (k);
        return err_set (e, ERR_DAMAGED, "%s: the public half does not belong to the secret one", path);
    }
    return 0;
}

static int first_line (int fd, char *pass, size_t size)
{
    size_t n = 0;
    for (; n < size; n++) {
        ssize_t got = read (fd, pass + n, 1);
        if (got < 0 && errno == EINTR) {
            n--;
            continue;
        }
        if (got < 0)
            return -1;
        if (got == 0 || pass[n] == '\n')
            break;
    }
    if (n == size)
        return -1;
    pass[n] = 0;
    return n > 0 ? 0 : -1;
}

int rootkey_ask (char *pass, size_t size)
{
    const char *file = getenv ("ASSAY_ROOT_PASSPHRASE_FILE");
    if (file && *file) {
        int fd CLEANUP (fd_close) = open (file, O_RDONLY | O_CLOEXEC);
        return fd == -1 ? -1 : first_line (fd, pass, size);
    }
    static const char prompt[] = "Passphrase of the root key: ";
    struct termios old, quiet;
    int fd CLEANUP (fd_close) = open ("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY);
    if (fd == -1 || tcgetattr (fd, &old) == -1 || tcgetpgrp (fd) != getpgrp ()) /* in the background asking would stop us */
        return -1;
    quiet = old;
    quiet.c_lflag &= ~(tcflag_t) ECHO;
    if (tcsetattr (fd, TCSAFLUSH, &quiet) == -1)
        return -1;
    int rc = file_write_all (fd, prompt, sizeof prompt - 1) ? first_line (fd, pass, size) : -1;
    (void) tcsetattr (fd, TCSAFLUSH, &old);
    (void) file_write_all (fd, "\n", 1);
    return rc;
}

char *passphrase_choose (struct err *e)
{
    const char *file = getenv ("ASSAY_ROOT_PASSPHRASE_FILE");
    char *pass = locked (PASS_MAX_LEN, e), *second CLEANUP (unlock_ptr) = pass ? locked (PASS_MAX_LEN, e) : NULL;
    if (!second) {
        passphrase_release (&pass);
        return NULL;
    }
    memset (pass, 0, PASS_MAX_LEN);
    memset (second, 0, PASS_MAX_LEN);
    if (rootkey_ask (pass, PASS_MAX_LEN) == -1)
        err_set (e, ERR_USAGE, "no passphrase for the root key (a line of 1 to %d bytes, in the file that ASSAY_ROOT_PASSPHRASE_FILE names or on the terminal)", PASS_MAX_LEN - 1);
    else if (!(file && *file) && (rootkey_ask (second, PASS_MAX_LEN) == -1 || strcmp (pass, second) != 0))
        err_set (e, ERR_USAGE, "the two passphrases differ (nothing was made)");
    else
        return pass;
    passphrase_release (&pass);
    return NULL;
}

void passphrase_release (char **pass)
{
    sodium_free (*pass);
    *pass = NULL;
}

/* X25519 takes 2^255 - 19 to 2^256 - 1 for smaller numbers, and some points for no point at all (RFC 7748, 5 and 6.1). */
static bool x25519_plain (const uint8_t k[32])
{
    static const uint8_t some[32] = { 9 };
    uint8_t out[crypto_scalarmult_BYTES];
    bool top = k[31] == 0x7f && k[0] >= 0xed;
    for (int i = 1; i < 31; i++)
        top = top && k[i] == 0xff;
    return k[31] < 0x80 && !top && crypto_scalarmult (out, some, k) == 0;
}

int keys_check (const uint8_t sign[32], const uint8_t transport[32], const uint8_t seal[32], struct err *e)
{
    const char *wrong = !crypto_core_ed25519_is_valid_point (sign) ? "signing" : !x25519_plain (transport) ? "transport" : !x25519_plain (seal) ? "sealing" : NULL;
    return wrong ? err_code (e, EC_MALFORMED, "the %s key is not written as keys are (make keys with `assay enrol`)", wrong) : 0;
}
