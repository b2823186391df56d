/* read.c: artifacts going out, and names. No byte of a blob leaves before the whole of it was found good. */
#include "store/server.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/log.h"
#include "proto/blind.h"
#include "store/gc.h"

#define READ_IDLE_MS 600000

struct holders {
    const struct roster *roster;
    struct access_project *v;
    size_t n;
};

void
read_release (struct read_open **rp)
{
    if (*rp == NULL)
        return;
    manifest_release (&(*rp)->m);
    free ((*rp)->blobs);
    free (*rp);
    *rp = NULL;
}

/* Does each vote that a verdict rests on still count? One that was revoked since makes the verdict void, from that moment on and not only
 * when the verifier's next word comes. */
static bool
votes_stand (const struct roster *r, const char *votes)
{
    for (const char *line = votes; *line != '\0';) {
        char name[64];
        long long time;
        if (sscanf (line, "%63s %lld", name, &time) != 2)
            return false;
        const struct principal *p = roster_find (r, name);
        if (p == NULL || !principal_good_at (p, (int64_t) time))
            return false;
        line += strcspn (line, "\n");
        line += *line == '\n';
    }
    return true;
}

static void
add_holder (void *arg, const char *project, bool trusted, const char *votes)
{
    struct holders *h = arg;

    trusted = trusted && votes_stand (h->roster, votes);

    h->v = xrealloc (h->v, (h->n + 1) * sizeof *h->v);
    h->v[h->n++] = (struct access_project){ xstrdup (project), trusted };
}

/* *artifact: what is asked for, by its digest, once it is known that it may be read. opening: of a blinded input, else zero. */
static int
may_read (struct ask *a, const struct msg_get_open *g, int64_t *until, struct digest *artifact, struct digest *opening, struct err *e)
{
    struct access_ask q = { .sender = a->sender, .artifact = g->artifact, .provisional = g->provisional == 1 };
    struct holders h = { realm_roster (a->s->rl), NULL, 0 };
    struct lease l;
    int r;

    *until = INT64_MAX;
    if (g->lease.len > 0) {
        if (lease_open (&l, g->lease, realm_roster (a->s->rl), a->sender, time_now_us (), e) == -1)
            return -1;
        *until = (int64_t) l.body.u.lease_body.expires;
        q.lease = &l;
        a->submission = l.body.u.lease_body.submission;
        (void) bytes_copy (l.body.u.lease_body.step, a->step, sizeof a->step);
    }
    q.image = index_named (a->s->index, &g->artifact);
    index_projects (a->s->index, &g->artifact, add_holder, &h);
    q.projects = h.v;
    q.project_count = h.n;
    r = access_read (&q, e);
    *artifact = g->artifact;
    memset (opening, 0, sizeof *opening);
    if (r == 0 && g->box.len > 0) {
        const struct keys *k = realm_keys (a->s->rl);
        r = q.lease == NULL ? err_code (e, EC_NOT_ALLOWED, "a blinded input is read by a lease")
                            : blind_open (&g->artifact, &l.body.u.lease_body.submission, g->box, k->seal_pub, k->seal_sec, artifact, opening, e);
    }
    for (size_t i = 0; i < h.n; i++)
        free ((char *) h.v[i].name);
    free (h.v);
    if (q.lease != NULL)
        lease_release (&l);
    return r;
}

static struct read_open **
read_slot (struct server *s, const struct net_in *in, const struct digest *artifact)
{
    struct read_open **free_slot = NULL, **oldest = &s->reads[0];

    for (size_t i = 0; i < READS_MAX; i++) {
        struct read_open *r = s->reads[i];
        if (r == NULL) {
            if (free_slot == NULL)
                free_slot = &s->reads[i];
        } else if (r->route_len == in->route_len && memcmp (r->route, in->route, in->route_len) == 0
                   && memcmp (r->peer, in->peer, sizeof r->peer) == 0 && digest_eq (&r->artifact, artifact))
            return &s->reads[i];
        else if (*oldest == NULL || r->touched < (*oldest)->touched)
            oldest = &s->reads[i];
    }
    return free_slot != NULL ? free_slot : oldest;
}

/* Nobody has so many open, or so large ones, that others go without: his own oldest are closed. */
static void
reads_trim (struct server *s, const uint8_t peer[32], const struct read_open *but)
{
    for (;;) {
        struct read_open **oldest = NULL;
        size_t count = 0, entries = 0;
        for (size_t i = 0; i < READS_MAX; i++) {
            struct read_open *r = s->reads[i];
            if (r == NULL || memcmp (r->peer, peer, sizeof r->peer) != 0)
                continue;
            count++;
            entries += r->m.n;
            if (r != but && (oldest == NULL || r->touched < (*oldest)->touched))
                oldest = &s->reads[i];
        }
        if (oldest == NULL || (count <= READS_EACH && entries <= READS_ENTRIES))
            return;
        read_release (oldest);
    }
}

int
on_get_open (struct ask *a, struct err *e)
{
    const struct msg_get_open *g = &a->m->u.get_open;
    struct server *s = a->s;
    struct msg m = MSG_INIT (get_manifest, a->m->request);
    BUF (raw);
    struct digest artifact;
    int64_t until;

    if (net_owes (a->in->peer))
        return err_code (e, EC_BUSY, "%s does not read what it asked for", a->sender->name);
    if (may_read (a, g, &until, &artifact, &m.u.get_manifest.opening, e) == -1)
        return -1;
    if (gc_manifest (s->cas, &artifact, &raw, e) == -1)
        return -1;
    struct read_open **slot = read_slot (s, a->in, &artifact), *r = xcalloc (1, sizeof *r);

    if (manifest_parse (buf_bytes (&raw), &r->m, e) == -1) {
        free (r);
        return -1;
    }
    read_release (slot);
    *slot = r;
    memcpy (r->route, a->in->route, a->in->route_len);
    r->route_len = a->in->route_len;
    memcpy (r->peer, a->in->peer, sizeof r->peer);
    r->artifact = artifact;
    r->blobs = manifest_blobs (&r->m, &r->blob_count);
    r->total = manifest_bytes (&r->m);
    r->touched = time_mono_ms ();
    r->until = until;
    reads_trim (s, r->peer, r);
    m.u.get_manifest.manifest = buf_bytes (&raw);
    return ask_reply (a, &m);
}

/* Fill out with len bytes of the stream from offset on. */
static int
stream_read (struct server *s, const struct read_open *r, uint64_t offset, uint8_t *out, size_t len, struct err *e)
{
    uint64_t start = 0;

    for (size_t i = 0; i < r->blob_count && len > 0; i++) {
        const struct manifest_entry *entry = &r->m.v[r->blobs[i]];
        if (offset < start + entry->size) {
            uint64_t in = offset - start;
            size_t n = entry->size - in < len ? (size_t) (entry->size - in) : len;
            if (cas_verify (s->cas, &entry->digest, false, e) == -1 || cas_read (s->cas, &entry->digest, in, out, n, e) == -1)
                return -1;
            out += n;
            offset += n;
            len -= n;
        }
        start += entry->size;
    }
    return len == 0 ? 0 : err_code (e, EC_MALFORMED, "read beyond the end of the artifact");
}

int
on_get_next (struct ask *a, struct err *e)
{
    const struct msg_get_next *g = &a->m->u.get_next;
    struct read_open *r = *read_slot (a->s, a->in, &g->artifact);

    if (r == NULL || r->route_len != a->in->route_len || memcmp (r->route, a->in->route, r->route_len) != 0
        || memcmp (r->peer, a->in->peer, sizeof r->peer) != 0 || !digest_eq (&r->artifact, &g->artifact))
        return err_code (e, EC_UNEXPECTED, "the artifact is not open on this connection (get_open first)");
    if (r->until <= time_now_us ())
        return err_code (e, EC_EXPIRED, "the lease is over");
    if (net_owes (a->in->peer))
        return err_code (e, EC_BUSY, "%s does not read what it asked for", a->sender->name);
    if (g->offset > r->total)
        return err_code (e, EC_MALFORMED, "offset beyond the end of the artifact");
    r->touched = time_mono_ms ();
    uint64_t left = r->total - g->offset, offset = g->offset;
    CLEANUP (free_ptr) uint8_t *block = xmalloc (CHUNK_MAX);

    left = left < g->credit ? left : g->credit;
    left = left < CREDIT ? left : CREDIT;
    do {
        size_t n = left < CHUNK_MAX ? (size_t) left : CHUNK_MAX;
        struct msg m = MSG_INIT (get_chunk, a->m->request);
        if (stream_read (a->s, r, offset, block, n, e) == -1) {
            if (e->code == EC_DAMAGED)
                log_error ("%s", e->msg);
            return -1;
        }
        m.u.get_chunk.artifact = g->artifact;
        m.u.get_chunk.offset = offset;
        m.u.get_chunk.data = bytes_of (block, n);
        ask_reply (a, &m);
        offset += n;
        left -= n;
    } while (left > 0);
    return 0;
}

void
reads_tick (struct server *s, int64_t mono)
{
    for (size_t i = 0; i < READS_MAX; i++)
        if (s->reads[i] != NULL && mono - s->reads[i]->touched > READ_IDLE_MS)
            read_release (&s->reads[i]);
}

int
on_name_set (struct ask *a, struct err *e)
{
    const struct msg_name_set *n = &a->m->u.name_set;
    struct msg m = MSG_INIT (ok, a->m->request);
    char name[128];

    if (!bytes_copy (n->name, name, sizeof name) || strncmp (name, "image/", 6) != 0 || !name_valid (name + 6))
        return err_code (e, EC_MALFORMED, "a name is \"image/NAME\", NAME of lower-case letters, digits, dot, dash");
    if (!index_has (a->s->index, &n->artifact))
        return err_code (e, EC_NOT_FOUND, "no such artifact (store it first)");
    if (index_name (a->s->index, n->name, &n->artifact, time_now_us (), e) == -1)
        return -1;
    return ask_reply (a, &m);
}

struct name_list {
    struct buf v[512];
    size_t n;
};

static void
add_name (void *arg, const char *name, const struct digest *artifact, uint64_t size, int64_t time)
{
    struct name_list *l = arg;
    struct msg b = MSG_INIT (store_name, 0);

    if (l->n == sizeof l->v / sizeof *l->v)
        return;
    b.u.store_name.name = bytes_str (name);
    b.u.store_name.artifact = *artifact;
    b.u.store_name.size = size;
    b.u.store_name.time = (uint64_t) time;
    msg_encode (&b, &l->v[l->n++]);
}

int
on_store_list (struct ask *a, struct err *e)
{
    struct msg m = MSG_INIT (store_names, a->m->request);
    CLEANUP (free_ptr) struct name_list *l = xcalloc (1, sizeof *l);
    struct bytes v[512];
    int r;

    (void) e;
    index_names (a->s->index, a->m->u.store_list.prefix, add_name, l);
    for (size_t i = 0; i < l->n; i++)
        v[i] = buf_bytes (&l->v[i]);
    m.u.store_names.names = (struct bytes_list){ v, l->n };
    r = ask_reply (a, &m);
    for (size_t i = 0; i < l->n; i++)
        buf_release (&l->v[i]);
    return r;
}
