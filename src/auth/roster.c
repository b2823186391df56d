#include "auth/roster.h"

#include <stdlib.h>
#include <string.h>

#define SKEW_US (INT64_C (60) * 1000000) /* clocks of the IDP and of those who date what a principal said */
#define PRINCIPALS_MAX 1000000u

/* Open addressing, power of two, at most half full. Values are principal index + 1. */
struct map {
    uint32_t *slot;
    size_t cap, used;
};

struct own_policy {
    char project[128];
    struct policy policy;
};

struct roster {
    uint8_t root[32];
    struct buf *raw; /* entries, raw[seq - 1] */
    size_t entries, raw_cap;
    struct digest last;
    int64_t last_time;
    struct buf head;
    uint64_t head_seq;
    struct digest head_last;
    int64_t head_time;
    struct principal **who;
    size_t count, who_cap;
    struct map by_name, by_transport, by_sign, by_seal;
    struct own_policy *policies;
    size_t policy_count;
};

/* ---- lookup ---- */

static uint64_t hash (const void *p, size_t len)
{
    const uint8_t *b = p;
    uint64_t h = UINT64_C (14695981039346656037);
    for (size_t i = 0; i < len; i++)
        h = (h ^ b[i]) * UINT64_C (1099511628211);
    return h ^ (h >> 29);
}

enum key { KEY_NAME, KEY_TRANSPORT, KEY_SIGN, KEY_SEAL };

static struct bytes key_of (const struct principal *p, enum key which)
{
    switch (which) {
    case KEY_NAME:
        return bytes_str (p->name);
    case KEY_TRANSPORT:
        return bytes_of (p->transport_key, 32);
    case KEY_SIGN:
        return bytes_of (p->sign_key, 32);
    default:
        return bytes_of (p->seal_key, 32);
    }
}

static struct principal *map_find (const struct roster *r, const struct map *m, enum key which, struct bytes key)
{
    if (m->cap == 0)
        return NULL;
    for (size_t i = hash (key.p, key.len) & (m->cap - 1); m->slot[i]; i = (i + 1) & (m->cap - 1)) {
        struct principal *p = r->who[m->slot[i] - 1];
        if (bytes_eq (key_of (p, which), key))
            return p;
    }
    return NULL;
}

static void map_put (const struct roster *r, struct map *m, enum key which, size_t index)
{
    if (2 * (m->used + 1) > m->cap) {
        size_t old_cap = m->cap;
        uint32_t *old = m->slot;
        m->cap = old_cap ? old_cap * 2 : 64;
        m->slot = xcalloc (m->cap, sizeof *m->slot);
        m->used = 0;
        for (size_t i = 0; i < old_cap; i++)
            if (old[i])
                map_put (r, m, which, old[i] - 1);
        free (old);
    }
    struct bytes key = key_of (r->who[index], which);
    size_t i = hash (key.p, key.len) & (m->cap - 1);
    while (m->slot[i])
        i = (i + 1) & (m->cap - 1);
    m->slot[i] = (uint32_t) index + 1;
    m->used++;
}

/* ---- life ---- */

struct roster *roster_new (const uint8_t root[32])
{
    struct roster *r = xcalloc (1, sizeof *r);
    memcpy (r->root, root, 32);
    return r;
}

static void principal_free (struct principal *p)
{
    if (p) {
        free (p->projects);
        free (p->labels);
        free (p);
    }
}

void roster_destroy (struct roster **rp)
{
    struct roster *r = *rp;
    if (!r)
        return;
    for (size_t i = 0; i < r->entries; i++)
        buf_release (&r->raw[i]);
    for (size_t i = 0; i < r->count; i++)
        principal_free (r->who[i]);
    buf_release (&r->head);
    free (r->raw);
    free (r->who);
    free (r->by_name.slot);
    free (r->by_transport.slot);
    free (r->by_sign.slot);
    free (r->by_seal.slot);
    free (r->policies);
    free (r);
    *rp = NULL;
}

/* ---- entries ---- */

static int add_enrol (struct roster *r, const struct msg_roster_entry *b, struct err *e)
{
    struct principal *p = xcalloc (1, sizeof *p);
    if (!bytes_copy (b->name, p->name, sizeof p->name) || !name_valid (p->name)) {
        principal_free (p);
        return err_code (e, EC_MALFORMED, "entry %llu enrols a name that is none (1 to 63 of a-z 0-9 . _ -)", (unsigned long long) b->seq);
    }
    if (!bytes_copy (b->owner, p->owner, sizeof p->owner) || !name_valid (p->owner)) {
        err_code (e, EC_MALFORMED, "%s: the owner is no name (1 to 63 of a-z 0-9 . _ -)", p->name);
        goto bad;
    }
    if (b->roles == 0 || (b->roles & ~(uint64_t) ROLE_ANY)) {
        err_code (e, EC_MALFORMED, "%s: roles %llx are none that a principal can have", p->name, (unsigned long long) b->roles);
        goto bad;
    }
    if (!bytes_copy (b->endpoint, p->endpoint, sizeof p->endpoint) || !bytes_copy (b->events, p->events, sizeof p->events)) {
        err_code (e, EC_MALFORMED, "%s: an endpoint is too long", p->name);
        goto bad;
    }
    if (r->count >= PRINCIPALS_MAX) {
        err_code (e, EC_QUOTA, "%s: the roster is full (%u principals)", p->name, PRINCIPALS_MAX);
        goto bad;
    }
    p->roles = (unsigned) b->roles;
    p->trusted = b->trust == 1;
    memcpy (p->sign_key, b->sign_key.b, 32);
    memcpy (p->transport_key, b->transport_key.b, 32);
    memcpy (p->seal_key, b->seal_key.b, 32);
    if (map_find (r, &r->by_name, KEY_NAME, b->name)) {
        err_code (e, EC_CONFLICT, "%s: the name is taken (a revoked name stays taken)", p->name);
        goto bad;
    }
    const struct principal *same = map_find (r, &r->by_transport, KEY_TRANSPORT, bytes_of (p->transport_key, 32));
    if (!same)
        same = map_find (r, &r->by_sign, KEY_SIGN, bytes_of (p->sign_key, 32));
    if (!same)
        same = map_find (r, &r->by_seal, KEY_SEAL, bytes_of (p->seal_key, 32));
    if (!same) /* both are X25519: one secret must not have two names */
        same = map_find (r, &r->by_seal, KEY_SEAL, bytes_of (p->transport_key, 32));
    if (!same)
        same = map_find (r, &r->by_transport, KEY_TRANSPORT, bytes_of (p->seal_key, 32));
    if (same) {
        err_code (e, EC_CONFLICT, "%s: has a key of %s (each principal has keys of its own)", p->name, same->name);
        goto bad;
    }
    if (digest_zero (&b->sign_key) || digest_zero (&b->transport_key) || digest_zero (&b->seal_key)) {
        err_code (e, EC_MALFORMED, "%s: a key is missing", p->name);
        goto bad;
    }
    p->projects = xcalloc (b->projects.n + 1, sizeof *p->projects);
    for (size_t i = 0; i < b->projects.n; i++) {
        char name[128];
        bool fine = bytes_copy (b->projects.v[i], name, sizeof name);
        size_t len = fine ? strlen (name) : 0;
        if (fine && len > 2 && !strcmp (name + len - 2, "/*")) {
            name[len - 2] = '\0';
            fine = project_valid (name);
            strcpy (name + len - 2, "/*");
        } else if (fine && strcmp (name, "*"))
            fine = project_valid (name);
        if (!fine) {
            err_code (e, EC_MALFORMED, "%s: project %zu is no project's name (a/b, a/*, *)", p->name, i + 1);
            goto bad;
        }
        memcpy (p->projects[p->project_count++], name, sizeof name);
    }
    p->labels = xcalloc (b->labels.n + 1, sizeof *p->labels);
    for (size_t i = 0; i < b->labels.n; i++)
        if (!bytes_copy (b->labels.v[i], p->labels[p->label_count++], sizeof *p->labels)) {
            err_code (e, EC_MALFORMED, "%s: a label is too long", p->name);
            goto bad;
        }
    p->enrolled_seq = b->seq;
    p->enrolled = (int64_t) b->time;
    p->revoked_since = INT64_MAX;
    if (r->count == r->who_cap) {
        r->who_cap = r->who_cap ? r->who_cap * 2 : 16;
        r->who = xrealloc (r->who, r->who_cap * sizeof *r->who);
    }
    r->who[r->count] = p;
    map_put (r, &r->by_name, KEY_NAME, r->count);
    map_put (r, &r->by_transport, KEY_TRANSPORT, r->count);
    map_put (r, &r->by_sign, KEY_SIGN, r->count);
    map_put (r, &r->by_seal, KEY_SEAL, r->count);
    r->count++;
    return 0;
bad:
    principal_free (p);
    return -1;
}

static int add_revoke (struct roster *r, const struct msg_roster_entry *b, struct err *e)
{
    struct principal *p = map_find (r, &r->by_name, KEY_NAME, b->name);
    int64_t since = b->since ? (int64_t) b->since : (int64_t) b->time;
    if (!p)
        return err_code (e, EC_NOT_FOUND, "entry %llu revokes a principal that is not there", (unsigned long long) b->seq);
    if (b->since > b->time)
        return err_code (e, EC_MALFORMED, "%s: revoked since a time in the future", p->name);
    if (p->revoked_seq && since >= p->revoked_since)
        return err_code (e, EC_CONFLICT, "%s: revoked already, since an earlier time", p->name);
    p->revoked_seq = b->seq;
    p->revoked = (int64_t) b->time;
    p->revoked_since = since;
    (void) bytes_copy (b->reason, p->reason, sizeof p->reason);
    return 0;
}

static int add_policy (struct roster *r, const struct msg_roster_entry *b, struct err *e)
{
    char project[128];
    if (!bytes_copy (b->project, project, sizeof project) || (*project && !project_valid (project)))
        return err_code (e, EC_MALFORMED, "entry %llu sets the policy of what is no project", (unsigned long long) b->seq);
    if (b->agree > POLICY_AGREE_MAX || b->trusted > POLICY_TRUSTED_REQUIRED || b->dissent > POLICY_DISSENT_BLOCK || b->isolation > ISOLATION_QEMU
        || b->max_replicas > 2 * POLICY_AGREE_MAX || b->lineages > STEP_IMAGES || b->network > NETWORK_NONE)
        return err_code (e, EC_MALFORMED, "entry %llu: a policy out of bounds", (unsigned long long) b->seq);
    struct policy p = { (unsigned) b->agree, (unsigned) b->trusted, (unsigned) b->dissent, (unsigned) b->isolation, (unsigned) b->max_replicas, (unsigned) b->lineages, (unsigned) b->network };
    if (policy_check (&p, e) == -1)
        return -1;
    for (size_t i = 0; i < r->policy_count; i++)
        if (!strcmp (r->policies[i].project, project)) {
            r->policies[i].policy = p;
            return 0;
        }
    r->policies = xrealloc (r->policies, (r->policy_count + 1) * sizeof *r->policies);
    memcpy (r->policies[r->policy_count].project, project, sizeof project);
    r->policies[r->policy_count++].policy = p;
    return 0;
}

static int open_signed (const struct roster *r, struct bytes raw, const char *type, enum msg_type body, struct msg *m, struct err *e)
{
    struct envelope v = { 0 };
    int rc = -1;
    if (envelope_open (raw, type, &v, e) == 0) {
        if (envelope_check (&v, r->root, e) == -1)
            err_code (e, EC_BAD_SIGNATURE, "forged: not signed by the realm's root key");
        else
            rc = msg_decode_as (v.body, body, m, e);
    }
    envelope_release (&v);
    return rc;
}

int roster_add (struct roster *r, struct bytes raw, struct err *e)
{
    struct msg m;
    if (open_signed (r, raw, TYPE_ROSTER, MSG_roster_entry, &m, e) == -1)
        return err_wrap (e, "roster entry %zu", r->entries + 1);
    const struct msg_roster_entry *b = &m.u.roster_entry;
    int rc = -1;
    if (b->seq != r->entries + 1)
        err_code (e, EC_DAMAGED, "out of order: it is entry %llu", (unsigned long long) b->seq);
    else if (!digest_eq (&b->prev, &r->last))
        err_code (e, EC_DAMAGED, "forked: it follows another entry %zu than ours", r->entries);
    else if (b->time > INT64_MAX || (int64_t) b->time < r->last_time)
        err_code (e, EC_MALFORMED, "its time is before that of the entry before");
    else if (b->kind == ENTRY_ENROL)
        rc = add_enrol (r, b, e);
    else if (b->kind == ENTRY_REVOKE)
        rc = add_revoke (r, b, e);
    else if (b->kind == ENTRY_POLICY)
        rc = add_policy (r, b, e);
    else
        err_code (e, EC_MALFORMED, "kind %llu is unknown here (install a later version)", (unsigned long long) b->kind);
    if (rc == 0) {
        if (r->entries == r->raw_cap) {
            r->raw_cap = r->raw_cap ? r->raw_cap * 2 : 16;
            r->raw = xrealloc (r->raw, r->raw_cap * sizeof *r->raw);
        }
        r->raw[r->entries] = (struct buf){ 0 };
        buf_add (&r->raw[r->entries++], raw.p, raw.len);
        r->last = digest_of (raw.p, raw.len);
        r->last_time = (int64_t) b->time;
    } else
        err_wrap (e, "roster entry %zu", r->entries + 1);
    msg_release (&m);
    return rc;
}

int roster_set_head (struct roster *r, struct bytes raw, struct err *e)
{
    struct msg m;
    if (open_signed (r, raw, TYPE_HEAD, MSG_roster_head, &m, e) == -1)
        return err_wrap (e, "roster head");
    const struct msg_roster_head *h = &m.u.roster_head;
    int rc = -1;
    if (h->time > INT64_MAX)
        err_code (e, EC_MALFORMED, "roster head: its time is none");
    else if ((int64_t) h->time < r->head_time)
        err_code (e, EC_REPLAYED, "roster head: stale, older than one that was seen");
    else if (h->seq < r->entries) {
        struct digest known = h->seq ? digest_of (r->raw[h->seq - 1].p, r->raw[h->seq - 1].len) : (struct digest){ { 0 } };
        if (digest_eq (&known, &h->last))
            err_code (e, EC_DAMAGED, "roster head: truncated, it ends at entry %llu and we have %zu", (unsigned long long) h->seq, r->entries);
        else
            err_code (e, EC_DAMAGED, "roster head: forked at or before entry %llu", (unsigned long long) h->seq);
    } else if (h->seq == r->entries && !digest_eq (&h->last, &r->last))
        err_code (e, EC_DAMAGED, "roster head: forked, it names another entry %zu", r->entries);
    else {
        buf_release (&r->head);
        buf_add (&r->head, raw.p, raw.len);
        r->head_seq = h->seq;
        r->head_last = h->last;
        r->head_time = (int64_t) h->time;
        rc = 0;
    }
    msg_release (&m);
    return rc;
}

bool roster_complete (const struct roster *r)
{
    return r->head_time != 0 && r->head_seq == r->entries && digest_eq (&r->head_last, &r->last);
}

int roster_fresh (const struct roster *r, int64_t now, int64_t max_age, struct err *e)
{
    if (r->head_time == 0)
        return err_code (e, EC_DAMAGED, "roster: truncated, it has no signed head");
    if (!roster_complete (r))
        return err_code (e, EC_DAMAGED, "roster: truncated, its head names entry %llu and %zu are here", (unsigned long long) r->head_seq, r->entries);
    if (now - r->head_time > max_age)
        return err_code (e, EC_EXPIRED, "roster: stale, its head is %lld s old (is this the IDP's own answer? are the clocks right?)",
                         (long long) ((now - r->head_time) / 1000000));
    if (r->head_time - now > max_age)
        return err_code (e, EC_EXPIRED, "roster: its head is %lld s in the future (are the clocks right?)", (long long) ((r->head_time - now) / 1000000));
    return 0;
}

uint64_t roster_seq (const struct roster *r)
{
    return r->entries;
}

struct digest roster_last (const struct roster *r)
{
    return r->last;
}

int64_t roster_head_time (const struct roster *r)
{
    return r->head_time;
}

struct bytes roster_entry_raw (const struct roster *r, uint64_t seq)
{
    return seq >= 1 && seq <= r->entries ? buf_bytes (&r->raw[seq - 1]) : (struct bytes){ NULL, 0 };
}

struct bytes roster_head_raw (const struct roster *r)
{
    return buf_bytes (&r->head);
}

const struct principal *roster_findb (const struct roster *r, struct bytes name)
{
    return map_find (r, &r->by_name, KEY_NAME, name);
}

const struct principal *roster_find (const struct roster *r, const char *name)
{
    return roster_findb (r, bytes_str (name));
}

const struct principal *roster_by_transport (const struct roster *r, const uint8_t key[32])
{
    return map_find (r, &r->by_transport, KEY_TRANSPORT, bytes_of (key, 32));
}

const struct principal *roster_by_sign (const struct roster *r, const uint8_t key[32])
{
    return map_find (r, &r->by_sign, KEY_SIGN, bytes_of (key, 32));
}

const struct principal *roster_role (const struct roster *r, unsigned role, size_t nth)
{
    for (size_t i = 0; i < r->count; i++)
        if ((r->who[i]->roles & role) && principal_good (r->who[i]) && nth-- == 0)
            return r->who[i];
    return NULL;
}

size_t roster_count (const struct roster *r)
{
    return r->count;
}

const struct principal *roster_at (const struct roster *r, size_t i)
{
    return i < r->count ? r->who[i] : NULL;
}

/* ---- what a principal may ---- */

bool principal_good (const struct principal *p)
{
    return p->revoked_seq == 0;
}

bool principal_good_at (const struct principal *p, int64_t time_us)
{
    return time_us >= p->enrolled - SKEW_US && time_us < p->revoked_since;
}

bool principal_project (const struct principal *p, struct bytes project)
{
    for (size_t i = 0; i < p->project_count; i++) {
        const char *own = p->projects[i];
        size_t len = strlen (own);
        if (!strcmp (own, "*") || bytes_eqs (project, own))
            return true;
        if (len > 2 && !strcmp (own + len - 2, "/*") && project.len >= len && memcmp (project.p, own, len - 1) == 0)
            return true;
    }
    return false;
}

bool principal_labels (const struct principal *p, const struct bytes_list *wanted)
{
    for (size_t i = 0; i < wanted->n; i++) {
        bool has = false;
        for (size_t j = 0; j < p->label_count && !has; j++)
            has = bytes_eqs (wanted->v[i], p->labels[j]);
        if (!has)
            return false;
    }
    return true;
}

/* ---- policies ---- */

const struct policy *roster_policy_own (const struct roster *r, const char *project)
{
    for (size_t i = 0; i < r->policy_count; i++)
        if (!strcmp (r->policies[i].project, project))
            return &r->policies[i].policy;
    return NULL;
}

struct policy roster_policy (const struct roster *r, struct bytes project)
{
    struct policy p = { 0 };
    for (size_t i = 0; i < r->policy_count; i++)
        if (!*r->policies[i].project || bytes_eqs (project, r->policies[i].project))
            policy_merge (&p, &r->policies[i].policy);
    return p;
}

static int owner_cmp (const void *a, const void *b)
{
    const struct principal *x = *(const struct principal *const *) a, *y = *(const struct principal *const *) b;
    int c = strcmp (x->owner, y->owner);
    return c ? c : (int) y->trusted - (int) x->trusted; /* an owner's trusted ones first */
}

static bool fits (const struct principal *p, struct bytes project, const struct bytes_list *labels)
{
    return (p->roles & ROLE_WORKER) && principal_good (p) && principal_project (p, project) && (!labels || principal_labels (p, labels));
}

bool roster_owner_fits (const struct roster *r, const char *owner, struct bytes project, const struct bytes_list *labels)
{
    for (size_t i = 0; i < r->count; i++)
        if (!strcmp (r->who[i]->owner, owner) && fits (r->who[i], project, labels))
            return true;
    return false;
}

const struct principal *roster_revoked_after (const struct roster *r, uint64_t after)
{
    const struct principal *next = NULL;
    for (size_t i = 0; i < r->count; i++) {
        const struct principal *p = r->who[i];
        if (p->revoked_seq > after && (!next || p->revoked_seq < next->revoked_seq))
            next = p;
    }
    return next;
}

size_t roster_owners (const struct roster *r, struct bytes project, const struct bytes_list *labels, size_t *trusted)
{
    return roster_owners_but (r, project, labels, NULL, 0, trusted);
}

size_t roster_owners_but (const struct roster *r, struct bytes project, const struct bytes_list *labels, const char *const *but, size_t but_count, size_t *trusted)
{
    const struct principal **fit = xcalloc (r->count + 1, sizeof *fit);
    size_t n = 0, owners = 0, with_trusted = 0;
    for (size_t i = 0; i < r->count; i++) {
        bool out = false;
        for (size_t j = 0; j < but_count && !out; j++)
            out = !strcmp (r->who[i]->owner, but[j]);
        if (!out && fits (r->who[i], project, labels))
            fit[n++] = r->who[i];
    }
    qsort (fit, n, sizeof *fit, owner_cmp);
    for (size_t i = 0; i < n; i++)
        if (i == 0 || strcmp (fit[i]->owner, fit[i - 1]->owner)) {
            owners++;
            with_trusted += fit[i]->trusted;
        }
    free (fit);
    if (trusted)
        *trusted = with_trusted;
    return owners;
}
