#include "auth/realm.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/config.h"
#include "base/file.h"
#include "base/log.h"

#define ROSTER_FILE_MAX (256u << 20)
#define RECORD_MAX 65536u
#define HEAD_AGE_US (INT64_C (300) * 1000000)  /* an answer of the IDP itself is never older */
#define HEAD_SAVE_US (INT64_C (600) * 1000000) /* a newer head alone is worth a write that often */
#define POLL_MS 2000
#define ANSWER_MS 5000

struct settings {
    char *root, *idp, *idp_key, *name;
    int64_t witnesses;
};
static const struct config_row rows[] = {
    { "realm", "root", CONFIG_STRING, "", 0, 64, offsetof (struct settings, root), "public root key of the realm, 64 hex digits" },
    { "realm", "idp", CONFIG_STRING, "", 0, 255, offsetof (struct settings, idp), "endpoint of the IDP" },
    { "realm", "idp-key", CONFIG_STRING, "", 0, 64, offsetof (struct settings, idp_key), "transport key of the IDP, 64 hex digits" },
    { "realm", "name", CONFIG_STRING, "", 0, 63, offsetof (struct settings, name), "the principal that this folder belongs to" },
    { "realm", "witnesses", CONFIG_INT, "0", 0, 31, offsetof (struct settings, witnesses), "how many witnesses a verdict that is used here needs in the log" },
    CONFIG_END
};

struct realm {
    char *dir, *roster_path;
    char name[64], idp[256];
    uint8_t root[32], idp_key[32];
    unsigned witnesses;
    struct keys keys;
    struct roster *roster;
    int64_t saved_head;
    unsigned admit; /* roles; 0: nobody was asked for */

    /* the thread that keeps the copy fresh: it has a roster of its own, and hands over the bytes it verified */
    bool running;
    pthread_t thread;
    int stop_fd, news_fd;
    struct roster *fresh; /* the thread's */
    pthread_mutex_t lock;
    struct buf *news; /* entries to add, in order; under the lock */
    size_t news_count;
    struct buf news_head;
};

const char *realm_default_dir (const char *option)
{
    const char *env = getenv ("ASSAY_DIR"), *home = getenv ("HOME");
    if (option && *option)
        return xstrdup (option);
    if (env && *env)
        return xstrdup (env);
    return xasprintf ("%s/.config/assay", home && *home ? home : "/root");
}

/* ---- the copy on disk ---- */

static void put_record (struct buf *out, struct bytes b)
{
    uint8_t len[4] = { (uint8_t) (b.len >> 24), (uint8_t) (b.len >> 16), (uint8_t) (b.len >> 8), (uint8_t) b.len };
    buf_add (out, len, 4);
    buf_add (out, b.p, b.len);
}

void realm_roster_bytes (const struct roster *r, struct buf *out)
{
    for (uint64_t i = 1; i <= roster_seq (r); i++)
        put_record (out, roster_entry_raw (r, i));
    if (roster_head_raw (r).len)
        put_record (out, roster_head_raw (r));
}

int realm_roster_parse (struct bytes file, struct roster *r, struct err *e)
{
    for (size_t at = 0; at < file.len;) {
        if (file.len - at < 4)
            return err_set (e, ERR_DAMAGED, "truncated at byte %zu", at);
        const uint8_t *p = file.p + at;
        size_t len = (size_t) p[0] << 24 | (size_t) p[1] << 16 | (size_t) p[2] << 8 | p[3];
        if (len > RECORD_MAX || len > file.len - at - 4)
            return err_set (e, ERR_DAMAGED, "truncated at byte %zu", at);
        struct bytes record = bytes_of (p + 4, len);
        at += 4 + len;
        if ((at == file.len ? roster_set_head (r, record, e) : roster_add (r, record, e)) == -1)
            return -1;
    }
    return 0;
}

static int save (const struct realm *rl, const struct roster *r, struct err *e)
{
    BUF (all);
    realm_roster_bytes (r, &all);
    return file_write (rl->roster_path, buf_bytes (&all), 0600, e);
}

static int load (const struct realm *rl, struct roster *r, struct err *e)
{
    BUF (all);
    if (access (rl->roster_path, F_OK) == -1 && errno == ENOENT)
        return 0; /* just made: the first refresh fetches it */
    if (file_read (rl->roster_path, ROSTER_FILE_MAX, &all, e) == -1)
        return -1;
    if (realm_roster_parse (buf_bytes (&all), r, e) == -1)
        return err_wrap (e, "%s (if the disk did this, remove it: it is fetched again)", rl->roster_path);
    return 0;
}

/* ---- open, close ---- */

static int settle (struct realm *rl, const char *path, const struct settings *s, struct err *e)
{
    if (!hex_decode (s->root, rl->root, 32))
        return err_set (e, ERR_USAGE, "%s: [realm] root is no key (64 hex digits)", path);
    if (!hex_decode (s->idp_key, rl->idp_key, 32))
        return err_set (e, ERR_USAGE, "%s: [realm] idp-key is no key (64 hex digits)", path);
    if (!name_valid (s->name))
        return err_set (e, ERR_USAGE, "%s: [realm] name is no name", path);
    if (!*s->idp)
        return err_set (e, ERR_USAGE, "%s: [realm] idp is missing", path);
    (void) snprintf (rl->name, sizeof rl->name, "%s", s->name);
    (void) snprintf (rl->idp, sizeof rl->idp, "%s", s->idp);
    rl->witnesses = (unsigned) s->witnesses;
    return 0;
}

int realm_open (struct realm **out, const char *dir, struct err *e)
{
    struct realm *rl = xcalloc (1, sizeof *rl);
    struct settings s;
    char *ini CLEANUP (free_ptr) = xasprintf ("%s/realm.ini", dir), *keys CLEANUP (free_ptr) = xasprintf ("%s/keys", dir);
    rl->dir = xstrdup (dir);
    rl->roster_path = xasprintf ("%s/roster", dir);
    rl->stop_fd = rl->news_fd = -1;
    pthread_mutex_init (&rl->lock, NULL);
    config_defaults (rows, &s);
    int rc = access (ini, F_OK) == -1 && errno == ENOENT
                 ? err_set (e, ERR_USAGE, "%s: no realm there (`assay init %s` makes one, `assay enrol TOKEN` joins one)", dir, dir)
                 : config_load (rows, &s, ini, true, e);
    if (rc == 0)
        rc = settle (rl, ini, &s, e);
    config_release (rows, &s);
    if (rc == 0)
        rc = keys_load (&rl->keys, keys, e);
    if (rc == 0) {
        rl->roster = roster_new (rl->root);
        rc = load (rl, rl->roster, e);
        rl->saved_head = roster_head_time (rl->roster);
    }
    if (rc == -1) {
        realm_close (&rl);
        return -1;
    }
    *out = rl;
    return 0;
}

static void news_drop (struct realm *rl)
{
    for (size_t i = 0; i < rl->news_count; i++)
        buf_release (&rl->news[i]);
    free (rl->news);
    rl->news = NULL;
    rl->news_count = 0;
    buf_release (&rl->news_head);
}

void realm_close (struct realm **rlp)
{
    struct realm *rl = *rlp;
    if (!rl)
        return;
    if (rl->running) {
        uint64_t one = 1;
        (void) file_write_all (rl->stop_fd, &one, sizeof one);
        pthread_join (rl->thread, NULL);
    }
    news_drop (rl);
    fd_close (&rl->stop_fd);
    fd_close (&rl->news_fd);
    pthread_mutex_destroy (&rl->lock);
    roster_destroy (&rl->fresh);
    roster_destroy (&rl->roster);
    keys_release (&rl->keys);
    free (rl->dir);
    free (rl->roster_path);
    free (rl);
    *rlp = NULL;
}

const char *realm_dir (const struct realm *rl) { return rl->dir; }
const char *realm_name (const struct realm *rl) { return rl->name; }
const struct keys *realm_keys (const struct realm *rl) { return &rl->keys; }
const uint8_t *realm_root (const struct realm *rl) { return rl->root; }
unsigned realm_witnesses (const struct realm *rl) { return rl->witnesses; }
const char *realm_idp (const struct realm *rl) { return rl->idp; }
const uint8_t *realm_idp_key (const struct realm *rl) { return rl->idp_key; }
struct roster *realm_roster (struct realm *rl) { return rl->roster; }
int realm_sync_fd (const struct realm *rl) { return rl->news_fd; }

const struct principal *realm_self (struct realm *rl)
{
    return roster_find (rl->roster, rl->name);
}

int realm_create (const char *dir, const char *name, const uint8_t root[32], const char *idp, const uint8_t idp_key[32], const struct keys *k, struct err *e)
{
    char root_hex[65], key_hex[65];
    char *ini CLEANUP (free_ptr) = xasprintf ("%s/realm.ini", dir), *keys CLEANUP (free_ptr) = xasprintf ("%s/keys", dir);
    BUF (text);
    hex_encode (root, 32, root_hex);
    hex_encode (idp_key, 32, key_hex);
    buf_addf (&text, "[realm]\nname = %s\nroot = %s\nidp = %s\nidp-key = %s\n", name, root_hex, idp, key_hex);
    return file_mkdirs (dir, 0700, e) == -1 || keys_save (k, keys, e) == -1 || file_write (ini, buf_bytes (&text), 0644, e) == -1 ? -1 : 0;
}

/* ---- fetching ---- */

struct take { /* what a part brought */
    struct realm *rl;
    bool note;   /* keep the bytes for realm_poll */
    size_t entries;
};

static int take_part (struct take *t, struct roster *r, const struct msg_roster_part *part, struct err *e)
{
    for (size_t i = 0; i < part->entries.n; i++) {
        struct envelope v = { 0 };
        struct msg b;
        /* A pushed part may overlap with one that was asked for: entries that are known must be the same bytes. */
        if (envelope_open (part->entries.v[i], TYPE_ROSTER, &v, e) == -1)
            return -1;
        int rc = msg_decode_as (v.body, MSG_roster_entry, &b, e);
        uint64_t seq = rc == 0 ? b.u.roster_entry.seq : 0;
        if (rc == 0)
            msg_release (&b);
        envelope_release (&v);
        if (rc == -1)
            return -1;
        if (seq >= 1 && seq <= roster_seq (r)) {
            if (!bytes_eq (roster_entry_raw (r, seq), part->entries.v[i]))
                return err_code (e, EC_DAMAGED, "roster: forked, the IDP now has another entry %llu", (unsigned long long) seq);
            continue;
        }
        if (roster_add (r, part->entries.v[i], e) == -1)
            return -1;
        t->entries++;
        if (t->note) {
            pthread_mutex_lock (&t->rl->lock);
            t->rl->news = xrealloc (t->rl->news, (t->rl->news_count + 1) * sizeof *t->rl->news);
            t->rl->news[t->rl->news_count] = (struct buf){ 0 };
            buf_add (&t->rl->news[t->rl->news_count++], part->entries.v[i].p, part->entries.v[i].len);
            pthread_mutex_unlock (&t->rl->lock);
        }
    }
    return roster_set_head (r, part->head, e);
}

/* Ask until the roster is whole. */
static int fetch (struct client *c, struct take *t, struct roster *r, struct err *e)
{
    for (;;) {
        struct msg m = MSG_INIT (roster_get, client_request (c));
        struct net_in in;
        size_t before = t->entries;
        m.u.roster_get.from = roster_seq (r) + 1;
        if (client_ask (c, &m, MSG_roster_part, &in, e) == -1)
            return -1;
        int rc = take_part (t, r, &m.u.roster_part, e);
        msg_release (&m);
        net_in_release (&in);
        if (rc == -1)
            return -1;
        if (roster_complete (r))
            return roster_fresh (r, time_now_us (), HEAD_AGE_US, e);
        if (t->entries == before)
            return err_code (e, EC_DAMAGED, "roster: truncated, the IDP's head names entries that it does not give");
    }
}

static int keep (struct realm *rl, const struct roster *r, size_t entries, struct err *e)
{
    if (entries == 0 && roster_head_time (r) - rl->saved_head < HEAD_SAVE_US)
        return 0;
    if (save (rl, r, e) == -1)
        return -1;
    rl->saved_head = roster_head_time (r);
    return 0;
}

int realm_refresh (struct realm *rl, int timeout_ms, struct err *e)
{
    struct client *c = NULL;
    struct take t = { rl, false, 0 };
    if (client_open (&c, rl, ROLE_IDP, timeout_ms, e) == -1)
        return -1;
    int rc = fetch (c, &t, rl->roster, e);
    client_close (&c);
    if (t.entries && rl->admit)
        realm_admit (rl, rl->admit);
    return rc == 0 ? keep (rl, rl->roster, t.entries, e) : -1;
}

/* ---- the thread ---- */

static void announce (struct realm *rl)
{
    uint64_t one = 1;
    pthread_mutex_lock (&rl->lock);
    buf_release (&rl->news_head);
    buf_add (&rl->news_head, roster_head_raw (rl->fresh).p, roster_head_raw (rl->fresh).len);
    pthread_mutex_unlock (&rl->lock);
    (void) file_write_all (rl->news_fd, &one, sizeof one);
}

/* Waits for news pushed by the IDP or for the next turn. false: stop. */
static bool pause_for (struct realm *rl, struct client *c, int ms, bool *pushed)
{
    zmq_pollitem_t items[2] = { { NULL, rl->stop_fd, ZMQ_POLLIN, 0 }, { c ? zsock_resolve (client_socket (c)) : NULL, 0, ZMQ_POLLIN, 0 } };
    (void) zmq_poll (items, c ? 2 : 1, ms);
    *pushed = c && items[1].revents;
    return !items[0].revents;
}

static void *sync_thread (void *arg)
{
    struct realm *rl = arg;
    struct client *c = NULL;
    char last[sizeof ((struct err *) NULL)->msg] = "";
    bool pushed = false;
    do {
        struct err e = ERR_INIT;
        struct take t = { rl, true, 0 };
        int64_t head = roster_head_time (rl->fresh);
        int rc = c ? 0 : client_open (&c, rl, ROLE_IDP, ANSWER_MS, &e);
        if (rc == 0 && pushed) {
            struct net_in in;
            struct msg m;
            if (client_recv (c, 0, 0, &in, &m, &e) == 0) {
                if (m.type == MSG_roster_part)
                    rc = take_part (&t, rl->fresh, &m.u.roster_part, &e);
                msg_release (&m);
                net_in_release (&in);
            }
        }
        if (rc == 0 && (!pushed || !roster_complete (rl->fresh)))
            rc = fetch (c, &t, rl->fresh, &e);
        if (rc == 0)
            rc = keep (rl, rl->fresh, t.entries, &e);
        if (t.entries || roster_head_time (rl->fresh) > head)
            announce (rl);
        if (rc == -1) {
            if (strcmp (last, e.msg) != 0) /* once for each new trouble; an IDP that is down is nothing to shout about */
                log_warn ("roster not refreshed, going on with the copy reason=%s", e.msg);
            (void) snprintf (last, sizeof last, "%s", e.msg);
            client_close (&c);
        } else {
            if (*last)
                log_info ("roster is fresh again entries=%llu", (unsigned long long) roster_seq (rl->fresh));
            *last = '\0';
        }
    } while (pause_for (rl, c, POLL_MS, &pushed));
    client_close (&c);
    return NULL;
}

int realm_sync_start (struct realm *rl, struct err *e)
{
    rl->stop_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    rl->news_fd = eventfd (0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (rl->stop_fd == -1 || rl->news_fd == -1)
        return err_errno (e, "eventfd");
    BUF (copy);
    rl->fresh = roster_new (rl->root);
    realm_roster_bytes (rl->roster, &copy);
    if (realm_roster_parse (buf_bytes (&copy), rl->fresh, e) == -1)
        return -1;
    int rc = pthread_create (&rl->thread, NULL, sync_thread, rl);
    if (rc != 0) {
        errno = rc;
        return err_errno (e, "a thread for the roster");
    }
    rl->running = true;
    return 0;
}

bool realm_poll (struct realm *rl)
{
    uint64_t count;
    struct err e = ERR_INIT;
    if (rl->news_fd == -1 || read (rl->news_fd, &count, sizeof count) != sizeof count)
        return false;
    uint64_t before = roster_seq (rl->roster);
    pthread_mutex_lock (&rl->lock);
    struct buf *news = rl->news, head = rl->news_head;
    size_t n = rl->news_count;
    rl->news = NULL;
    rl->news_count = 0;
    rl->news_head = (struct buf){ 0 };
    pthread_mutex_unlock (&rl->lock);
    for (size_t i = 0; i < n; i++) {
        if (roster_add (rl->roster, buf_bytes (&news[i]), &e) == -1)
            log_error ("%s", e.msg); /* the same bytes passed in the thread: only a bug comes here */
        buf_release (&news[i]);
    }
    free (news);
    if (head.len && roster_set_head (rl->roster, buf_bytes (&head), &e) == -1)
        log_error ("%s", e.msg);
    buf_release (&head);
    if (roster_seq (rl->roster) == before)
        return false;
    if (rl->admit)
        realm_admit (rl, rl->admit);
    return true;
}

void realm_admit (struct realm *rl, unsigned roles)
{
    size_t n = 0, count = roster_count (rl->roster);
    uint8_t (*keys)[32] = xmalloc ((count + 1) * 32);
    rl->admit = roles;
    for (size_t i = 0; i < count; i++) {
        const struct principal *p = roster_at (rl->roster, i);
        if (principal_good (p) && (p->roles & roles))
            memcpy (keys[n++], p->transport_key, 32);
    }
    net_admit ((const uint8_t (*)[32]) keys, n);
    free (keys);
}
