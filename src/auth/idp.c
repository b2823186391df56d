#include "auth/idp.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth/realm.h"
#include "base/file.h"
#include "base/log.h"

#define CHAIN_MAX (256u << 20)
#define ENTRY_MAX 8192u   /* bytes, as roster_part carries them */
#define TOKENS_MAX 4096u
#define TOKEN_LIFE_US (INT64_C (30) * 86400 * 1000000) /* the longest that a token may live */
#define PART_ENTRIES 256u
#define CHAIN_SPARE (16u << 20)  /* at the end of the chain, for revocations only */
#define POLICIES_HOUR 60u        /* that one maintainer may set: each is an entry for good, that everybody keeps */
#define HOUR_US (INT64_C (3600) * 1000000)

struct pending {
    uint8_t key[32];      /* the token's public transport key */
    struct buf request;   /* the token_make message that asked for it */
    char name[64], by[64];
    int64_t expires;
};

struct idp {
    char *dir, *chain_path, *tokens_path;
    int lock, chain;      /* descriptors */
    off_t chain_len;
    struct sign_key root;
    struct realm *rl;
    struct roster *roster;
    struct pending *tokens;
    size_t token_count;
    uint64_t changes;     /* counts what idp_admitted depends on */
};

/* ---- the chain ---- */

static int64_t after (int64_t a, int64_t b)
{
    return a > b ? a : b;
}

static int sign_head (struct idp *i, int64_t now, struct err *e)
{
    struct msg m = MSG_INIT (roster_head, 0);
    BUF (body);
    BUF (raw);
    m.u.roster_head.seq = roster_seq (i->roster);
    m.u.roster_head.last = roster_last (i->roster);
    m.u.roster_head.time = (uint64_t) after (now, roster_head_time (i->roster));
    msg_encode (&m, &body);
    envelope_sign (TYPE_HEAD, buf_bytes (&body), &i->root, &raw);
    return roster_set_head (i->roster, buf_bytes (&raw), e);
}

static int64_t entry_time (const struct roster *r)
{
    struct envelope v = { 0 };
    struct msg m;
    int64_t time = 0;
    if (roster_seq (r) && envelope_open (roster_entry_raw (r, roster_seq (r)), TYPE_ROSTER, &v, NULL) == 0
        && msg_decode_as (v.body, MSG_roster_entry, &m, NULL) == 0) {
        time = (int64_t) m.u.roster_entry.time;
        msg_release (&m);
    }
    envelope_release (&v);
    return time;
}

/* Sign, check by the roster's own rules, make durable, and only then let the roster have it. */
static int append (struct idp *i, struct msg *m, int64_t now, struct err *e)
{
    BUF (body);
    BUF (raw);
    BUF (record);
    m->u.roster_entry.seq = roster_seq (i->roster) + 1;
    m->u.roster_entry.prev = roster_last (i->roster);
    m->u.roster_entry.time = (uint64_t) after (now, entry_time (i->roster));
    if (m->u.roster_entry.kind == ENTRY_REVOKE && m->u.roster_entry.since == 0)
        m->u.roster_entry.since = m->u.roster_entry.time;
    msg_encode (m, &body);
    envelope_sign (TYPE_ROSTER, buf_bytes (&body), &i->root, &raw);
    uint8_t len[4] = { (uint8_t) (raw.len >> 24), (uint8_t) (raw.len >> 16), (uint8_t) (raw.len >> 8), (uint8_t) raw.len };
    buf_add (&record, len, 4);
    buf_add (&record, raw.p, raw.len);
    size_t most = m->u.roster_entry.kind == ENTRY_REVOKE ? CHAIN_MAX : CHAIN_MAX - CHAIN_SPARE; /* more could not be read at the next start */
    if (raw.len > most || (uint64_t) i->chain_len > most - raw.len - 4)
        return err_code (e, EC_QUOTA, "the roster is full: %lld bytes", (long long) i->chain_len);
    if (lseek (i->chain, i->chain_len, SEEK_SET) == -1 || !file_write_all (i->chain, record.p, record.len) || fdatasync (i->chain) == -1) {
        err_errno (e, "%s", i->chain_path);
        (void) !ftruncate (i->chain, i->chain_len);
        return -1;
    }
    if (roster_add (i->roster, buf_bytes (&raw), e) == -1) {
        if (ftruncate (i->chain, i->chain_len) == -1 || fdatasync (i->chain) == -1)
            log_error ("a refused entry stays at the end of the chain, and will be cut off at the next start");
        return -1;
    }
    i->chain_len += (off_t) record.len;
    i->changes++;
    return sign_head (i, now, e);
}

static bool signed_by_root (const struct idp *i, struct bytes record)
{
    struct envelope v = { 0 };
    bool yes = envelope_open (record, TYPE_ROSTER, &v, NULL) == 0 && envelope_check (&v, i->root.pub, NULL) == 0;
    envelope_release (&v);
    return yes;
}

/* What a crash leaves behind the last whole entry is a part of one entry that was never answered. If a whole entry is in it (behind
 * another length than its own, or further on), then a length was damaged, and cutting it off would lose what was answered. */
static bool unfinished (const struct idp *i, struct bytes tail)
{
    if (tail.len > 4 + ENTRY_MAX || (tail.len > 4 && signed_by_root (i, bytes_of (tail.p + 4, tail.len - 4))))
        return false;
    for (size_t at = 1; tail.len - at > 4; at++) {
        const uint8_t *p = tail.p + at;
        size_t len = (size_t) p[0] << 24 | (size_t) p[1] << 16 | (size_t) p[2] << 8 | p[3];
        if (len <= tail.len - at - 4 && signed_by_root (i, bytes_of (p + 4, len)))
            return false;
    }
    return true;
}

static int chain_load (struct idp *i, struct err *e)
{
    BUF (all);
    size_t at = 0;
    bool refused = false;
    if (file_read (i->chain_path, CHAIN_MAX, &all, e) == -1)
        return -1;
    while (all.len - at >= 4) {
        const uint8_t *p = all.p + at;
        size_t len = (size_t) p[0] << 24 | (size_t) p[1] << 16 | (size_t) p[2] << 8 | p[3];
        if (len > all.len - at - 4)
            break;
        struct err own = ERR_INIT;
        if (roster_add (i->roster, bytes_of (p + 4, len), &own) == -1) {
            if (at + 4 + len == all.len && own.code != EC_DAMAGED && signed_by_root (i, bytes_of (p + 4, len))) {
                refused = true; /* written, refused, and not cut off before the process ended: it was never answered */
                break;
            }
            return err_set (e, own.kind, "%s: %s (restore it from a copy)", i->chain_path, own.msg);
        }
        at += 4 + len;
    }
    if (at < all.len) {
        if (!refused && !unfinished (i, bytes_of (all.p + at, all.len - at)))
            return err_set (e, ERR_DAMAGED, "%s: damaged behind entry %llu, at byte %zu (restore it from a copy)", i->chain_path,
                            (unsigned long long) roster_seq (i->roster), at);
        log_warn ("the chain's unfinished end is cut off bytes=%zu", all.len - at);
        if (ftruncate (i->chain, (off_t) at) == -1 || fdatasync (i->chain) == -1)
            return err_errno (e, "%s", i->chain_path);
    }
    i->chain_len = (off_t) at;
    return 0;
}

/* ---- tokens ---- */

static void pending_release (struct pending *t)
{
    buf_release (&t->request);
}

static int tokens_save (const struct idp *i, struct err *e)
{
    BUF (all);
    for (size_t n = 0; n < i->token_count; n++) {
        const struct pending *t = &i->tokens[n];
        uint8_t head[5] = { (uint8_t) strlen (t->by), (uint8_t) (t->request.len >> 24), (uint8_t) (t->request.len >> 16), (uint8_t) (t->request.len >> 8),
                            (uint8_t) t->request.len };
        buf_add (&all, head, 5);
        buf_adds (&all, t->by);
        buf_add (&all, t->request.p, t->request.len);
    }
    return file_write (i->tokens_path, buf_bytes (&all), 0600, e);
}

static int token_add (struct idp *i, struct bytes request, const char *by, struct err *e)
{
    struct msg m;
    if (msg_decode_as (request, MSG_token_make, &m, e) == -1)
        return -1;
    i->tokens = xrealloc (i->tokens, (i->token_count + 1) * sizeof *i->tokens);
    struct pending *t = &i->tokens[i->token_count];
    memset (t, 0, sizeof *t);
    memcpy (t->key, m.u.token_make.transport_key.b, 32);
    (void) bytes_copy (m.u.token_make.name, t->name, sizeof t->name);
    (void) snprintf (t->by, sizeof t->by, "%s", by);
    t->expires = m.u.token_make.expires > INT64_MAX ? INT64_MAX : (int64_t) m.u.token_make.expires;
    buf_add (&t->request, request.p, request.len);
    i->token_count++;
    i->changes++;
    msg_release (&m);
    return 0;
}

static int tokens_load (struct idp *i, struct err *e)
{
    BUF (all);
    if (access (i->tokens_path, F_OK) == -1 && errno == ENOENT)
        return 0;
    if (file_read (i->tokens_path, CHAIN_MAX, &all, e) == -1)
        return -1;
    for (size_t at = 0; at < all.len;) {
        const uint8_t *p = all.p + at;
        char by[64] = "";
        size_t left = all.len - at, name = left >= 5 ? p[0] : 0;
        size_t len = left >= 5 ? ((size_t) p[1] << 24 | (size_t) p[2] << 16 | (size_t) p[3] << 8 | p[4]) : 0;
        if (left < 5 || name >= sizeof by || len > left || name + len > left - 5)
            return err_set (e, ERR_DAMAGED, "%s: damaged at byte %zu (remove it: its tokens are void then)", i->tokens_path, at);
        memcpy (by, p + 5, name);
        if (token_add (i, bytes_of (p + 5 + name, len), by, e) == -1)
            return err_wrap (e, "%s", i->tokens_path);
        at += 5 + name + len;
    }
    return 0;
}

/* A token is worth what the word of its maker is: those that a stolen admin's key made go with it. */
static bool token_good (const struct idp *i, const struct pending *t, int64_t now)
{
    const struct principal *by = roster_find (i->roster, t->by);
    return now < t->expires && by && principal_good (by) && (by->roles & ROLE_ADMIN);
}

static struct pending *token_find (const struct idp *i, const uint8_t key[32], int64_t now)
{
    for (size_t n = 0; n < i->token_count; n++)
        if (memcmp (i->tokens[n].key, key, 32) == 0 && token_good (i, &i->tokens[n], now))
            return &i->tokens[n];
    return NULL;
}

/* ---- life ---- */

int idp_bootstrap (const char *dir, const char *endpoint, const char *pass, struct rootinfo *out, struct err *e)
{
    struct sign_key root = { .sec = NULL };
    struct keys k = { .seal_sec = NULL };
    struct idp *i = NULL;
    char *path CLEANUP (free_ptr) = xasprintf ("%s/root.key", dir), *chain CLEANUP (free_ptr) = xasprintf ("%s/chain", dir);
    int rc = file_mkdirs (dir, 0700, e);
    if (rc == 0)
        rc = rootkey_make (&root, e);
    if (rc == 0)
        rc = rootkey_save (&root, path, pass, e);
    if (rc == 0)
        rc = keys_make (&k, e);
    if (rc == 0)
        rc = realm_create (dir, "idp", root.pub, endpoint, k.transport.pub, &k, e);
    if (rc == 0)
        rc = file_write (chain, bytes_of ("", 0), 0600, e);
    if (rc == 0) {
        /* The first entry is signed with the key in hand: no second asking for the passphrase. */
        i = xcalloc (1, sizeof *i);
        i->chain_path = xstrdup (chain);
        i->lock = -1;
        i->chain = open (chain, O_RDWR | O_CLOEXEC);
        i->root = root;
        i->roster = roster_new (root.pub);
        struct msg m = MSG_INIT (roster_entry, 0);
        struct msg_roster_entry *b = &m.u.roster_entry;
        b->kind = ENTRY_ENROL;
        b->name = b->by = bytes_str ("idp");
        b->owner = bytes_str ("operator");
        b->roles = ROLE_IDP;
        b->endpoint = bytes_str (endpoint);
        memcpy (b->sign_key.b, k.sign.pub, 32);
        memcpy (b->transport_key.b, k.transport.pub, 32);
        memcpy (b->seal_key.b, k.seal_pub, 32);
        rc = i->chain == -1 ? err_errno (e, "%s", chain) : append (i, &m, time_now_us (), e);
        memset (&i->root, 0, sizeof i->root);
        idp_close (&i);
    }
    if (rc == 0 && out) {
        memcpy (out->root, root.pub, 32);
        memcpy (out->idp_key, k.transport.pub, 32);
        (void) snprintf (out->endpoint, sizeof out->endpoint, "%s", endpoint);
    }
    keys_release (&k);
    rootkey_release (&root);
    return rc;
}

int idp_open (struct idp **out, const char *dir, int (*ask) (char *pass, size_t size), struct err *e)
{
    struct idp *i = xcalloc (1, sizeof *i);
    char *root CLEANUP (free_ptr) = xasprintf ("%s/root.key", dir), *lock CLEANUP (free_ptr) = xasprintf ("%s/lock", dir);
    i->dir = xstrdup (dir);
    i->chain_path = xasprintf ("%s/chain", dir);
    i->tokens_path = xasprintf ("%s/tokens", dir);
    i->chain = -1;
    i->lock = file_lock (lock, e);
    if (i->lock == -1 || rootkey_load (&i->root, root, ask, e) == -1 || realm_open (&i->rl, dir, e) == -1)
        goto failed;
    if (memcmp (realm_root (i->rl), i->root.pub, 32) != 0) {
        err_set (e, ERR_DAMAGED, "%s: root.key is not the root of realm.ini", dir);
        goto failed;
    }
    i->chain = open (i->chain_path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (i->chain == -1) {
        err_errno (e, "%s", i->chain_path);
        goto failed;
    }
    i->roster = roster_new (i->root.pub);
    if (chain_load (i, e) == -1 || tokens_load (i, e) == -1 || sign_head (i, time_now_us (), e) == -1)
        goto failed;
    *out = i;
    return 0;
failed:
    idp_close (&i);
    return -1;
}

void idp_close (struct idp **ip)
{
    struct idp *i = *ip;
    if (!i)
        return;
    for (size_t n = 0; n < i->token_count; n++)
        pending_release (&i->tokens[n]);
    free (i->tokens);
    roster_destroy (&i->roster);
    realm_close (&i->rl);
    rootkey_release (&i->root);
    fd_close (&i->chain);
    fd_close (&i->lock);
    free (i->dir);
    free (i->chain_path);
    free (i->tokens_path);
    free (i);
    *ip = NULL;
}

const struct roster *idp_roster (const struct idp *i) { return i->roster; }
const struct keys *idp_keys (const struct idp *i) { return realm_keys (i->rl); }
const char *idp_endpoint (const struct idp *i) { return realm_idp (i->rl); }

/* ---- without a server ---- */

static struct bytes_list list_of (const char *const *v)
{
    struct bytes_list l = { NULL, 0 };
    while (v && v[l.n])
        l.n++;
    l.v = xcalloc (l.n + 1, sizeof *l.v);
    for (size_t i = 0; i < l.n; i++)
        l.v[i] = bytes_str (v[i]);
    return l;
}

int idp_enrol_local (struct idp *i, const struct enrolment *who, const struct keys *k, struct err *e)
{
    struct msg m = MSG_INIT (roster_entry, 0);
    struct msg_roster_entry *b = &m.u.roster_entry;
    b->kind = ENTRY_ENROL;
    b->by = bytes_str ("root");
    b->name = bytes_str (who->name);
    b->owner = bytes_str (who->owner);
    b->roles = who->roles;
    b->trust = who->trusted;
    b->projects = list_of (who->projects);
    b->labels = list_of (who->labels);
    b->endpoint = bytes_str (who->endpoint);
    b->events = bytes_str (who->events);
    memcpy (b->sign_key.b, k->sign.pub, 32);
    memcpy (b->transport_key.b, k->transport.pub, 32);
    memcpy (b->seal_key.b, k->seal_pub, 32);
    int rc = append (i, &m, time_now_us (), e);
    free (b->projects.v);
    free (b->labels.v);
    return rc;
}

static int set_policy (struct idp *i, struct bytes project, const struct policy *p, struct bytes by, int64_t now, struct err *e)
{
    struct msg m = MSG_INIT (roster_entry, 0);
    struct msg_roster_entry *b = &m.u.roster_entry;
    b->kind = ENTRY_POLICY;
    b->by = by;
    b->project = project;
    b->agree = p->agree;
    b->trusted = p->trusted;
    b->dissent = p->dissent;
    b->isolation = p->isolation;
    b->max_replicas = p->max_replicas;
    b->lineages = p->lineages;
    b->network = p->network;
    return append (i, &m, now, e);
}

int idp_policy_local (struct idp *i, const char *project, const struct policy *p, struct err *e)
{
    return set_policy (i, bytes_str (project), p, bytes_str ("root"), time_now_us (), e);
}

int idp_copy_roster (struct idp *i, const char *dir, struct err *e)
{
    BUF (all);
    char *path CLEANUP (free_ptr) = xasprintf ("%s/roster", dir);
    if (sign_head (i, time_now_us (), e) == -1)
        return -1;
    realm_roster_bytes (i->roster, &all);
    return file_write (path, buf_bytes (&all), 0600, e);
}

/* ---- as a server ---- */

uint8_t (*idp_admitted (const struct idp *i, size_t *count))[32]
{
    size_t all = roster_count (i->roster), n = 0;
    uint8_t (*keys)[32] = xmalloc ((all + i->token_count + 1) * 32);
    for (size_t j = 0; j < all; j++)
        if (principal_good (roster_at (i->roster, j)))
            memcpy (keys[n++], roster_at (i->roster, j)->transport_key, 32);
    for (size_t j = 0; j < i->token_count; j++)
        if (token_good (i, &i->tokens[j], 0)) /* expired ones go by idp_tick */
            memcpy (keys[n++], i->tokens[j].key, 32);
    *count = n;
    return keys;
}

uint64_t idp_changes (const struct idp *i)
{
    return i->changes;
}

bool idp_welcome_still (const struct idp *i, const uint8_t peer[32], int64_t now)
{
    const struct principal *p = roster_by_transport (i->roster, peer);
    return p ? principal_good (p) : token_find (i, peer, now) != NULL;
}

void idp_part (const struct idp *i, uint64_t from, uint64_t request, struct buf *out)
{
    struct msg m = MSG_INIT (roster_part, request);
    struct bytes entries[PART_ENTRIES];
    size_t n = 0;
    for (uint64_t seq = from ? from : 1; seq <= roster_seq (i->roster) && n < PART_ENTRIES; seq++)
        entries[n++] = roster_entry_raw (i->roster, seq);
    m.u.roster_part.entries = (struct bytes_list){ entries, n };
    m.u.roster_part.head = roster_head_raw (i->roster);
    msg_encode (&m, out);
}

struct call { /* one request */
    struct idp *i;
    const struct principal *who; /* NULL: a token's holder */
    struct pending *token;
    const struct msg *m;
    struct bytes frame;
    int64_t now;
    struct msg *reply;
};

static int on_token_make (struct call *c, struct err *e)
{
    const struct msg_token_make *t = &c->m->u.token_make;
    char name[64], owner[64];
    if (!bytes_copy (t->name, name, sizeof name) || !name_valid (name))
        return err_code (e, EC_MALFORMED, "the name is none (1 to 63 of a-z 0-9 . _ -)");
    if (!bytes_copy (t->owner, owner, sizeof owner) || !name_valid (owner))
        return err_code (e, EC_MALFORMED, "%s: the owner is no name (1 to 63 of a-z 0-9 . _ -)", name);
    if (t->roles == 0 || (t->roles & ~(uint64_t) ROLE_ANY) || (t->roles & ROLE_IDP))
        return err_code (e, EC_MALFORMED, "%s: roles that a token cannot give", name);
    if (t->trusted > 1)
        return err_code (e, EC_MALFORMED, "%s: trust is neither trusted nor maybe", name);
    if (t->expires <= (uint64_t) c->now || t->expires > (uint64_t) (c->now + TOKEN_LIFE_US))
        return err_code (e, EC_EXPIRED, "%s: a token lives up to 30 days", name);
    if (roster_find (c->i->roster, name))
        return err_code (e, EC_CONFLICT, "%s: the name is taken", name);
    for (size_t n = 0; n < c->i->token_count; n++)
        if (memcmp (c->i->tokens[n].key, t->transport_key.b, 32) == 0)
            return err_code (e, EC_REPLAYED, "%s: that token exists", name);
    if (roster_by_transport (c->i->roster, t->transport_key.b))
        return err_code (e, EC_CONFLICT, "%s: a token cannot have a principal's key", name);
    if (c->i->token_count >= TOKENS_MAX)
        return err_code (e, EC_QUOTA, "%u tokens are pending (they go when they expire)", TOKENS_MAX);
    /* A later token for the same name replaces the one that was never used. */
    for (size_t n = 0; n < c->i->token_count; n++)
        if (!strcmp (c->i->tokens[n].name, name)) {
            pending_release (&c->i->tokens[n]);
            c->i->tokens[n--] = c->i->tokens[--c->i->token_count];
        }
    if (token_add (c->i, c->frame, c->who->name, e) == -1)
        return -1;
    if (tokens_save (c->i, e) == -1) {
        pending_release (&c->i->tokens[--c->i->token_count]);
        return -1;
    }
    log_info ("token made name=%s by=%s", name, c->who->name);
    return 0;
}

static int check_proof (const struct call *c, const struct msg_enrol *q, struct err *e)
{
    struct envelope v = { 0 };
    struct msg m;
    int rc = envelope_open (q->proof, TYPE_ENROL, &v, e);
    if (rc == 0)
        rc = envelope_check (&v, q->sign_key.b, e);
    if (rc == 0 && (rc = msg_decode_as (v.body, MSG_enrol_proof, &m, e)) == 0) {
        const struct msg_enrol_proof *p = &m.u.enrol_proof;
        if (memcmp (p->token.b, c->token->key, 32) != 0 || !digest_eq (&p->sign_key, &q->sign_key) || !digest_eq (&p->transport_key, &q->transport_key)
            || !digest_eq (&p->seal_key, &q->seal_key))
            rc = err_code (e, EC_BAD_SIGNATURE, "the proof is for other keys or another token");
        msg_release (&m);
    }
    envelope_release (&v);
    return rc;
}

static int on_enrol (struct call *c, struct err *e)
{
    const struct msg_enrol *q = &c->m->u.enrol;
    const struct principal *same = roster_find (c->i->roster, c->token->name);
    if (check_proof (c, q, e) == -1 || keys_check (q->sign_key.b, q->transport_key.b, q->seal_key.b, e) == -1)
        return -1;
    if (same && (memcmp (same->sign_key, q->sign_key.b, 32) != 0 || memcmp (same->transport_key, q->transport_key.b, 32) != 0
                 || memcmp (same->seal_key, q->seal_key.b, 32) != 0))
        return err_code (e, EC_REPLAYED, "the token was used already (ask an admin for another: `assay token`)");
    if (!same) {
        struct msg asked;
        if (msg_decode_as (buf_bytes (&c->token->request), MSG_token_make, &asked, e) == -1)
            return -1;
        const struct msg_token_make *t = &asked.u.token_make;
        struct msg m = MSG_INIT (roster_entry, 0);
        struct msg_roster_entry *b = &m.u.roster_entry;
        b->kind = ENTRY_ENROL;
        b->by = bytes_str (c->token->by);
        b->name = t->name;
        b->owner = t->owner;
        b->roles = t->roles;
        b->trust = t->trusted;
        b->projects = t->projects;
        b->labels = t->labels;
        b->endpoint = t->endpoint;
        b->events = t->events;
        b->sign_key = q->sign_key;
        b->transport_key = q->transport_key;
        b->seal_key = q->seal_key;
        int rc = append (c->i, &m, c->now, e);
        msg_release (&asked);
        if (rc == -1)
            return -1;
        same = roster_find (c->i->roster, c->token->name);
        log_info ("enrolled name=%s owner=%s by=%s", same->name, same->owner, c->token->by);
    }
    *c->reply = (struct msg) MSG_INIT (enrolled, c->m->request);
    c->reply->u.enrolled.name = bytes_str (same->name);
    c->reply->u.enrolled.seq = same->enrolled_seq;
    return 0;
}

static int on_revoke (struct call *c, struct err *e)
{
    const struct msg_revoke *q = &c->m->u.revoke;
    const struct principal *p = roster_findb (c->i->roster, q->name);
    if (!p)
        return err_code (e, EC_NOT_FOUND, "%.*s: no such principal (`assay who` lists them)", (int) q->name.len, (const char *) q->name.p);
    if (p->roles & ROLE_IDP)
        return err_code (e, EC_NOT_ALLOWED, "%s: the IDP cannot be revoked", p->name);
    if (q->since > (uint64_t) c->now)
        return err_code (e, EC_MALFORMED, "%s: since a time in the future", p->name);
    struct msg m = MSG_INIT (roster_entry, 0);
    m.u.roster_entry.kind = ENTRY_REVOKE;
    m.u.roster_entry.by = bytes_str (c->who->name);
    m.u.roster_entry.name = q->name;
    m.u.roster_entry.since = q->since;
    m.u.roster_entry.reason = q->reason;
    if (append (c->i, &m, c->now, e) == -1)
        return -1;
    log_info ("revoked name=%s by=%s", p->name, c->who->name);
    return 0;
}

/* How many policies the sender set within the last hour, as the chain has it: a restart forgets nothing. */
static unsigned policies_lately (const struct call *c)
{
    unsigned n = 0;
    bool late = true;
    for (uint64_t seq = roster_seq (c->i->roster); seq && late && n < POLICIES_HOUR; seq--) {
        struct envelope v = { 0 };
        struct msg m;
        if (envelope_open (roster_entry_raw (c->i->roster, seq), TYPE_ROSTER, &v, NULL) == 0 && msg_decode_as (v.body, MSG_roster_entry, &m, NULL) == 0) {
            const struct msg_roster_entry *b = &m.u.roster_entry;
            late = (int64_t) b->time > c->now - HOUR_US;
            n += late && b->kind == ENTRY_POLICY && bytes_eqs (b->by, c->who->name);
            msg_release (&m);
        }
        envelope_release (&v);
    }
    return n;
}

static int on_policy_set (struct call *c, struct err *e)
{
    const struct msg_policy_set *q = &c->m->u.policy_set;
    if (!(c->who->roles & ROLE_ADMIN) && (q->project.len == 0 || !principal_project (c->who, q->project)))
        return err_code (e, EC_NOT_ALLOWED, "%s maintains no such project (the floor is an admin's to set)", c->who->name);
    if (q->agree > POLICY_AGREE_MAX || q->trusted > 2 || q->dissent > 2 || q->isolation > ISOLATION_QEMU || q->max_replicas > 2 * POLICY_AGREE_MAX
        || q->lineages > STEP_IMAGES || q->network > NETWORK_NONE)
        return err_code (e, EC_MALFORMED, "a policy out of bounds");
    if (!(c->who->roles & ROLE_ADMIN) && policies_lately (c) >= POLICIES_HOUR)
        return err_code (e, EC_QUOTA, "%s has set %u policies within an hour (an admin may set more)", c->who->name, POLICIES_HOUR);
    struct policy p = { (unsigned) q->agree, (unsigned) q->trusted, (unsigned) q->dissent, (unsigned) q->isolation, (unsigned) q->max_replicas, (unsigned) q->lineages, (unsigned) q->network };
    return set_policy (c->i, q->project, &p, bytes_str (c->who->name), c->now, e);
}

static int on_hello (struct call *c, struct err *e)
{
    if (c->m->u.hello.min_version > PROTO_VERSION || c->m->u.hello.max_version < PROTO_VERSION)
        return err_code (e, EC_VERSION, "this IDP speaks version %d", PROTO_VERSION);
    *c->reply = (struct msg) MSG_INIT (welcome, c->m->request);
    c->reply->u.welcome.version = PROTO_VERSION;
    c->reply->u.welcome.name = bytes_str ("idp");
    c->reply->u.welcome.software = bytes_str ("assay-idp");
    c->reply->u.welcome.roster_seq = roster_seq (c->i->roster);
    return 0;
}

static int on_ping (struct call *c, struct err *e)
{
    (void) e;
    *c->reply = (struct msg) MSG_INIT (pong, c->m->request);
    c->reply->u.pong.time = c->m->u.ping.time;
    return 0;
}

static const struct {
    enum msg_type type;
    int (*handler) (struct call *c, struct err *e);
} handlers[] = {
    { MSG_hello, on_hello },   { MSG_ping, on_ping },     { MSG_token_make, on_token_make },
    { MSG_enrol, on_enrol },   { MSG_revoke, on_revoke }, { MSG_policy_set, on_policy_set },
};

static int dispatch (struct call *c, struct err *e)
{
    unsigned roles = c->who ? c->who->roles : ROLE_TOKEN;
    for (size_t n = 0; n < sizeof handlers / sizeof *handlers; n++)
        if (handlers[n].type == c->m->type) {
            if (!(msg_senders (c->m->type) & roles))
                return err_code (e, EC_NOT_ALLOWED, "%s may not send %s", c->who ? c->who->name : "an enrolment token", msg_name (c->m->type));
            return handlers[n].handler (c, e);
        }
    return err_code (e, EC_UNEXPECTED, "an IDP does not take %s", msg_name (c->m->type));
}

uint64_t idp_handle (struct idp *i, const uint8_t peer[32], struct bytes frame, int64_t now, struct buf *answer, struct err *e)
{
    struct msg m = { 0 }, reply = { 0 };
    struct call c = { .i = i, .who = roster_by_transport (i->roster, peer), .m = &m, .frame = frame, .now = now, .reply = &reply };
    uint64_t news = 0;
    bool decoded = false;
    int rc;
    *e = (struct err) ERR_INIT;
    if (c.who)
        rc = principal_good (c.who) ? 0 : err_code (e, EC_REVOKED, "%s is revoked", c.who->name);
    else
        rc = (c.token = token_find (i, peer, now)) ? 0 : err_code (e, EC_UNKNOWN_KEY, "this key is neither a principal's nor a valid token's (did the token expire, or was its maker revoked?)");
    if (rc == 0 && (rc = msg_decode (frame, &m, e)) == 0)
        decoded = true;
    if (rc == 0 && m.type == MSG_roster_get) {
        uint64_t most = roster_seq (i->roster) + 1;
        uint64_t from = m.u.roster_get.from;
        idp_part (i, from, m.request, answer);
        news = from + PART_ENTRIES < most ? from + PART_ENTRIES : most;
    } else {
        reply = (struct msg) MSG_INIT (ok, m.request);
        if (rc == 0)
            rc = dispatch (&c, e);
        if (rc == -1) {
            reply = (struct msg) MSG_INIT (error, m.request);
            reply.u.error.code = bytes_str (err_name (e->code ? e->code : EC_INTERNAL));
            reply.u.error.text = bytes_str (e->msg);
        }
        msg_encode (&reply, answer);
    }
    if (decoded)
        msg_release (&m);
    return news;
}

int idp_tick (struct idp *i, int64_t now, struct err *e)
{
    bool dropped = false;
    for (size_t n = 0; n < i->token_count; n++)
        if (!token_good (i, &i->tokens[n], now)) {
            pending_release (&i->tokens[n]);
            i->tokens[n--] = i->tokens[--i->token_count];
            i->changes++;
            dropped = true;
        }
    if (dropped && tokens_save (i, e) == -1)
        return -1;
    return sign_head (i, now, e);
}

/* ---- token text ---- */

#define TOKEN_HEAD "assay-token-1."

int token_make (struct token *t, const struct rootinfo *root, struct err *e)
{
    memset (t, 0, sizeof *t);
    t->key.sec = sodium_init () == -1 ? NULL : sodium_malloc (32);
    if (!t->key.sec)
        return err_set (e, ERR_FAILED, "no locked memory for a key (raise the limit on locked memory: ulimit -l)");
    crypto_box_keypair (t->key.pub, t->key.sec);
    t->root = *root;
    return 0;
}

void token_text (const struct token *t, struct buf *out)
{
    char hex[513];
    buf_adds (out, TOKEN_HEAD);
    hex_encode (t->key.sec, 32, hex);
    buf_adds (out, hex);
    sodium_memzero (hex, sizeof hex);
    hex_encode (t->root.root, 32, hex);
    buf_adds (out, hex);
    hex_encode (t->root.idp_key, 32, hex);
    buf_adds (out, hex);
    hex_encode (t->root.endpoint, strlen (t->root.endpoint), hex);
    buf_adds (out, hex);
}

int token_parse (struct token *t, const char *text, struct err *e)
{
    size_t head = strlen (TOKEN_HEAD), len = strlen (text);
    memset (t, 0, sizeof *t);
    if (strncmp (text, TOKEN_HEAD, head) != 0)
        return err_set (e, ERR_USAGE, "not an enrolment token (it begins with \"" TOKEN_HEAD "\")");
    const char *p = text + head;
    len -= head;
    if (len < 194 || (len - 192) % 2 || (len - 192) / 2 >= sizeof t->root.endpoint)
        return err_set (e, ERR_DAMAGED, "not a whole enrolment token (was it copied to its end?)");
    t->key.sec = sodium_init () == -1 ? NULL : sodium_malloc (32);
    if (!t->key.sec)
        return err_set (e, ERR_FAILED, "no locked memory for a key (raise the limit on locked memory: ulimit -l)");
    char *part CLEANUP (free_ptr) = xmalloc (len + 1);
    bool ok = true;
    uint8_t *const into[3] = { t->key.sec, t->root.root, t->root.idp_key };
    for (int i = 0; i < 3 && ok; i++) {
        memcpy (part, p + 64 * i, 64);
        part[64] = '\0';
        ok = hex_decode (part, into[i], 32);
    }
    sodium_memzero (part, 64);
    ok = ok && hex_decode (p + 192, t->root.endpoint, (len - 192) / 2) && utf8_valid (bytes_str (t->root.endpoint))
         && strlen (t->root.endpoint) == (len - 192) / 2;
    if (!ok) {
        token_release (t);
        return err_set (e, ERR_DAMAGED, "not an enrolment token (a letter of it changed)");
    }
    crypto_scalarmult_base (t->key.pub, t->key.sec);
    return 0;
}

void token_release (struct token *t)
{
    if (!t)
        return;
    sodium_free (t->key.sec);
    memset (t, 0, sizeof *t);
}
