/* client.c: see client.h. */
#include "store/client.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define CHUNK (1u << 20)
#define GET_CREDIT (UINT64_C (4) << 20)
#define ANSWER_MS 5000
#define PAUSE_US 100000

/* The folder that holds path, reached without following a link, as a descriptor to close; *name: the last part. */
static int
open_parent (int dir_fd, const char *path, const char **name)
{
    int fd = openat (dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    for (const char *slash; fd != -1 && (slash = strchr (path, '/')) != NULL; path = slash + 1) {
        char part[256];
        size_t len = (size_t) (slash - path);
        if (len >= sizeof part) {
            close (fd);
            errno = ENAMETOOLONG;
            return -1;
        }
        memcpy (part, path, len);
        part[len] = '\0';
        int next = openat (fd, part, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int saved = errno;
        close (fd);
        fd = next;
        errno = saved;
    }
    *name = path;
    return fd;
}

static int
open_beneath (int dir_fd, const char *path, int flags, mode_t mode)
{
    const char *name;
    CLEANUP (fd_close) int parent = open_parent (dir_fd, path, &name);

    return parent == -1 ? -1 : openat (parent, name, flags | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY, mode);
}

/* ---- put ------------------------------------------------------------------------------------------------------------- */

struct put {
    struct realm *rl;
    struct client *c;
    int dir_fd, fd;              /* fd: of the blob at `at` */
    int parent;                  /* the folder of the last blob, whose path is the first parent_len bytes of that of parent_of */
    const char *parent_of;
    size_t parent_len;
    struct bytes raw, lease;
    struct manifest m;
    size_t *blobs, count;        /* all distinct */
    size_t *want, want_count, at;
    uint64_t in_blob, sent, acked, total, credit;
    struct digest upload, artifact;
    uint8_t *block;
    int64_t progress;            /* monotonic ms of the last one */
};

static int
put_begin (struct put *p, struct err *e)
{
    struct msg m = MSG_INIT (put_open, 0);
    struct net_in in;

    m.u.put_open.lease = p->lease;
    m.u.put_open.manifest = p->raw;
    if (client_ask (p->c, &m, MSG_put_state, &in, e) == -1)
        return -1;
    const struct msg_put_state *s = &m.u.put_state;
    int r = 0;

    fd_close (&p->fd);
    p->want_count = p->at = 0;
    p->total = p->in_blob = 0;
    p->upload = s->upload;
    p->credit = s->credit < CHUNK ? CHUNK : s->credit;
    if (s->need.len != (p->count + 7) / 8)
        r = err_code (e, EC_MALFORMED, "answer does not fit the manifest");
    for (size_t i = 0; r == 0 && i < p->count; i++)
        if (s->need.p[i / 8] >> (i % 8) & 1) {
            p->want[p->want_count++] = p->blobs[i];
            p->total += p->m.v[p->blobs[i]].size;
        }
    if (r == 0 && s->offset > p->total)
        r = err_code (e, EC_MALFORMED, "answer does not fit the manifest");
    p->sent = p->acked = s->offset;
    for (uint64_t left = s->offset; r == 0 && p->at < p->want_count; p->at++) {
        uint64_t size = p->m.v[p->want[p->at]].size;
        if (left < size) {
            p->in_blob = left;
            break;
        }
        left -= size;
    }
    msg_release (&m);
    net_in_release (&in);
    return r;
}

/* Open a file of the artifact. Many lie in the folder of the one before: that is kept open. */
static int
put_file (struct put *p, const char *path)
{
    const char *slash = strrchr (path, '/'), *name = slash == NULL ? path : slash + 1;
    size_t len = (size_t) (name - path);

    if (p->parent == -1 || p->parent_len != len || memcmp (p->parent_of, path, len) != 0) {
        fd_close (&p->parent);
        p->parent = open_parent (p->dir_fd, path, &name);
        p->parent_of = path;
        p->parent_len = len;
    }
    return p->parent == -1 ? -1 : openat (p->parent, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY);
}

/* The next chunk of the stream into p->block. */
static int
put_fill (struct put *p, size_t *len, struct err *e)
{
    *len = 0;
    while (*len < CHUNK && p->at < p->want_count) {
        const struct manifest_entry *entry = &p->m.v[p->want[p->at]];
        uint64_t left = entry->size - p->in_blob;
        size_t n = left < CHUNK - *len ? (size_t) left : CHUNK - *len;

        if (n > 0 && p->fd == -1) {
            p->fd = put_file (p, entry->path);
            if (p->fd == -1 || (p->in_blob > 0 && lseek (p->fd, (off_t) p->in_blob, SEEK_SET) == -1))
                return err_errno (e, "artifact \"%s\"", entry->path);
        }
        if (n > 0 && !file_read_exact (p->fd, p->block + *len, n))
            return err_set (e, ERR_FAILED, "artifact \"%s\": changed while it was sent", entry->path);
        *len += n;
        p->in_blob += n;
        if (p->in_blob == entry->size) {
            fd_close (&p->fd);
            p->in_blob = 0;
            p->at++;
        }
    }
    return 0;
}

static int
put_stream (struct put *p, struct err *e)
{
    while (p->acked < p->total) {
        while (p->sent < p->total && p->sent - p->acked + CHUNK <= p->credit) {
            struct msg m = MSG_INIT (put_chunk, client_request (p->c));
            size_t len;
            if (put_fill (p, &len, e) == -1)
                return -1;
            m.u.put_chunk.upload = p->upload;
            m.u.put_chunk.offset = p->sent;
            m.u.put_chunk.data = bytes_of (p->block, len);
            if (client_send (p->c, &m, e) == -1) {
                e->kind = ERR_UNREACHABLE; /* the connection is full or gone: taken up again from what the store has */
                return -1;
            }
            p->sent += len;
        }
        struct net_in in;
        struct msg m;
        if (client_recv (p->c, 0, ANSWER_MS, &in, &m, e) == -1)
            return -1;
        if (m.type == MSG_put_credit && digest_eq (&m.u.put_credit.upload, &p->upload) && m.u.put_credit.offset > p->acked
            && m.u.put_credit.offset <= p->sent) {
            p->acked = m.u.put_credit.offset;
            p->progress = time_mono_ms ();
        }
        msg_release (&m);
        net_in_release (&in);
    }
    return 0;
}

static int
receipt_check (struct put *p, struct bytes raw, struct err *e)
{
    struct envelope v, l = { 0 };
    struct msg b;
    struct digest lease = { { 0 } };
    int r = -1;

    if (envelope_open (raw, TYPE_RECEIPT, &v, e) == -1)
        return err_wrap (e, "receipt");
    const struct principal *s = roster_by_sign (realm_roster (p->rl), v.keyid);

    if (s == NULL || !(s->roles & ROLE_STORE) || !principal_good (s)) {
        err_code (e, EC_UNKNOWN_KEY, "receipt: not signed by a store of the roster");
        goto out;
    }
    if (envelope_check (&v, s->sign_key, e) == -1 || msg_decode_as (v.body, MSG_receipt_body, &b, e) == -1)
        goto out;
    if (p->lease.len > 0 && envelope_open (p->lease, TYPE_LEASE, &l, e) == 0)
        lease = envelope_id (&l);
    if (!bytes_eqs (b.u.receipt_body.store, s->name) || !digest_eq (&b.u.receipt_body.artifact, &p->artifact)
        || !digest_eq (&b.u.receipt_body.lease, &lease) || b.u.receipt_body.bytes != manifest_bytes (&p->m))
        err_code (e, EC_DAMAGED, "receipt: of another artifact, lease or store");
    else
        r = 0;
    msg_release (&b);
out:
    envelope_release (&v);
    envelope_release (&l);
    return r;
}

static int
put_finish (struct put *p, struct buf *receipt, struct err *e)
{
    struct msg m = MSG_INIT (put_done, client_request (p->c)), answer;
    struct net_in in;

    m.u.put_done.upload = p->upload;
    if (client_send (p->c, &m, e) == -1)
        return -1;
    do { /* credit of the last chunks may still be on its way. A store that was killed now never answers: then all is asked for once more */
        if (client_recv (p->c, 0, ANSWER_MS, &in, &answer, e) == -1)
            return -1;
        if (answer.type == MSG_receipt && answer.request == m.request)
            break;
        msg_release (&answer);
        net_in_release (&in);
    } while (true);
    int r = receipt_check (p, answer.u.receipt.envelope, e);

    if (r == 0 && receipt != NULL)
        buf_add (receipt, answer.u.receipt.envelope.p, answer.u.receipt.envelope.len);
    msg_release (&answer);
    net_in_release (&in);
    return r;
}

/* Worth another try: the connection broke, the store was started anew and has forgotten the upload, or it is busy. */
static bool
again (const struct err *e)
{
    return e->kind == ERR_UNREACHABLE || e->code == EC_BUSY || e->code == EC_CONFLICT;
}

int
store_put (struct realm *rl, int dir_fd, struct bytes manifest, struct bytes lease, int deadline_ms, struct buf *receipt, struct err *e)
{
    struct put p = { .rl = rl, .dir_fd = dir_fd, .fd = -1, .parent = -1, .raw = manifest, .lease = lease, .progress = time_mono_ms () };
    struct err local = ERR_INIT;
    int r;

    if (e == NULL)
        e = &local;
    if (manifest_parse (manifest, &p.m, e) == -1)
        return -1;
    p.artifact = manifest_digest (manifest);
    p.blobs = manifest_blobs (&p.m, &p.count);
    p.want = xcalloc (p.count + 1, sizeof *p.want);
    p.block = xmalloc (CHUNK);
    for (;;) {
        bool opened = false;
        *e = (struct err) ERR_INIT;
        r = client_open (&p.c, rl, ROLE_STORE, ANSWER_MS, e);
        if (r == 0 && (r = put_begin (&p, e)) == 0) {
            opened = true;
            if ((r = put_stream (&p, e)) == 0)
                r = put_finish (&p, receipt, e);
        }
        client_close (&p.c);
        if (r == 0 || !(again (e) || (opened && e->code == EC_NOT_FOUND)) || time_mono_ms () - p.progress > deadline_ms)
            break;
        usleep (PAUSE_US);
    }
    if (r == -1)
        err_wrap (e, "store");
    fd_close (&p.fd);
    fd_close (&p.parent);
    free (p.block);
    free (p.want);
    free (p.blobs);
    manifest_release (&p.m);
    return r;
}

/* ---- get ------------------------------------------------------------------------------------------------------------- */

struct get {
    struct client *c;
    int dir_fd, fd;
    struct digest artifact, opening;
    const struct store_input *input; /* where it is a lease's input; else NULL */
    struct bytes lease, submission;
    bool provisional, known;     /* known: the manifest is here and the folders are made */
    struct manifest m;
    size_t *blobs, count, at;
    uint64_t in_blob, offset, total;
    struct digest_ctx *hash;
    int64_t progress;
};

static int
get_make (struct get *g, const char *path, struct err *e)
{
    const char *name;
    CLEANUP (fd_close) int parent = open_parent (g->dir_fd, path, &name);

    return parent == -1 || mkdirat (parent, name, 0755) == -1 ? err_errno (e, "make folder \"%s\"", path) : 0;
}

static int
get_create (struct get *g, const struct manifest_entry *entry, struct err *e)
{
    g->fd = open_beneath (g->dir_fd, entry->path, O_WRONLY | O_CREAT | O_EXCL, entry->type == 'x' ? 0755 : 0644);
    return g->fd == -1 ? err_errno (e, "make \"%s\"", entry->path) : 0;
}

/* Ends the blobs that are complete, begins the next that has bytes. */
static int
get_step (struct get *g, struct err *e)
{
    for (; g->at < g->count; g->at++) {
        const struct manifest_entry *entry = &g->m.v[g->blobs[g->at]];
        struct digest have;

        if (g->fd == -1) {
            if (get_create (g, entry, e) == -1)
                return -1;
            g->hash = digest_begin ();
            g->in_blob = 0;
        }
        if (g->in_blob < entry->size)
            return 0;
        digest_end (&g->hash, &have);
        fd_close (&g->fd);
        if (!digest_eq (&have, &entry->digest))
            return err_code (e, EC_DAMAGED, "\"%s\": the store sent other bytes than its digest says", entry->path);
    }
    return 0;
}

static int
get_take (struct get *g, struct bytes data, struct err *e)
{
    while (data.len > 0) {
        if (g->at >= g->count)
            return err_code (e, EC_MALFORMED, "more bytes than the artifact has");
        uint64_t left = g->m.v[g->blobs[g->at]].size - g->in_blob;
        size_t n = data.len < left ? data.len : (size_t) left;

        if (!file_write_all (g->fd, data.p, n))
            return err_errno (e, "write \"%s\"", g->m.v[g->blobs[g->at]].path);
        digest_add (g->hash, data.p, n);
        g->in_blob += n;
        g->offset += n;
        data = bytes_of (data.p + n, data.len - n);
        if (get_step (g, e) == -1)
            return -1;
    }
    return 0;
}

static int
get_begin (struct get *g, struct err *e)
{
    struct msg m = MSG_INIT (get_open, 0);
    struct net_in in;
    int r = -1;

    m.u.get_open.artifact = g->input != NULL ? g->input->name : g->artifact;
    m.u.get_open.box = g->input != NULL ? g->input->box : bytes_of (NULL, 0);
    m.u.get_open.lease = g->lease;
    m.u.get_open.submission = g->submission;
    m.u.get_open.provisional = g->provisional;
    if (client_ask (g->c, &m, MSG_get_manifest, &in, e) == -1)
        return -1;
    struct digest have = manifest_digest (m.u.get_manifest.manifest);

    if (g->input != NULL && !g->known && blind_names (&g->input->name, &g->input->submission, &m.u.get_manifest.opening, &have)) {
        g->artifact = have;
        g->opening = m.u.get_manifest.opening;
    }
    if (!digest_eq (&have, &g->artifact))
        err_code (e, EC_DAMAGED, "the store sent another manifest than the one asked for");
    else if (g->known)
        r = 0;
    else if (manifest_parse (m.u.get_manifest.manifest, &g->m, e) == 0) {
        g->known = true;
        g->blobs = manifest_blobs (&g->m, &g->count);
        g->total = manifest_bytes (&g->m);
        r = 0;
        for (size_t i = 0; r == 0 && i < g->m.n; i++)
            if (g->m.v[i].type == 'd')
                r = get_make (g, g->m.v[i].path, e);
        if (r == 0)
            r = get_step (g, e);
    }
    msg_release (&m);
    net_in_release (&in);
    return r;
}

static int
get_stream (struct get *g, struct err *e)
{
    uint64_t asked = g->offset;

    while (g->offset < g->total) {
        while (asked < g->total && asked - g->offset <= GET_CREDIT) { /* two requests in flight keep the line busy */
            struct msg m = MSG_INIT (get_next, client_request (g->c));
            m.u.get_next.artifact = g->artifact;
            m.u.get_next.offset = asked;
            m.u.get_next.credit = GET_CREDIT;
            if (client_send (g->c, &m, e) == -1)
                return -1;
            asked = g->total - asked < GET_CREDIT ? g->total : asked + GET_CREDIT;
        }
        struct net_in in;
        struct msg m;
        int r = 0;
        if (client_recv (g->c, 0, ANSWER_MS, &in, &m, e) == -1)
            return -1;
        if (m.type == MSG_get_chunk && digest_eq (&m.u.get_chunk.artifact, &g->artifact)) {
            if (m.u.get_chunk.offset != g->offset || m.u.get_chunk.data.len == 0)
                r = err_set (e, ERR_UNREACHABLE, "a piece of the artifact got lost");
            else
                r = get_take (g, m.u.get_chunk.data, e);
            g->progress = time_mono_ms ();
        }
        msg_release (&m);
        net_in_release (&in);
        if (r == -1)
            return -1;
    }
    return 0;
}

struct first {
    struct digest digest; /* first: digest_cmp compares what a pointer to this points at */
    size_t index;
};

static int
get_copy (struct get *g, const struct manifest_entry *from, const struct manifest_entry *to, uint8_t *block, struct err *e)
{
    CLEANUP (fd_close) int in = open_beneath (g->dir_fd, from->path, O_RDONLY, 0);

    if (in == -1)
        return err_errno (e, "read \"%s\"", from->path);
    if (get_create (g, to, e) == -1)
        return -1;
    for (uint64_t left = to->size; left > 0;) {
        size_t n = left < CHUNK ? (size_t) left : CHUNK;
        if (!file_read_exact (in, block, n) || !file_write_all (g->fd, block, n))
            return err_errno (e, "write \"%s\"", to->path);
        left -= n;
    }
    fd_close (&g->fd);
    return 0;
}

static int
get_link (struct get *g, const struct manifest_entry *entry, struct err *e)
{
    const char *name;
    CLEANUP (fd_close) int parent = open_parent (g->dir_fd, entry->path, &name);

    return parent == -1 || symlinkat (entry->target, parent, name) == -1 ? err_errno (e, "link \"%s\"", entry->path) : 0;
}

/* Further names of a blob, and links: last, so that nothing is ever written through one. */
static int
get_rest (struct get *g, struct err *e)
{
    CLEANUP (free_ptr) uint8_t *block = xmalloc (CHUNK);
    CLEANUP (free_ptr) struct first *first = xcalloc (g->count + 1, sizeof *first);

    for (size_t i = 0; i < g->count; i++)
        first[i] = (struct first){ g->m.v[g->blobs[i]].digest, g->blobs[i] };
    if (g->count > 1)
        qsort (first, g->count, sizeof *first, digest_cmp);
    for (size_t i = 0; i < g->m.n; i++) {
        const struct manifest_entry *entry = &g->m.v[i];
        if (entry->type != 'f' && entry->type != 'x')
            continue;
        const struct first *f = bsearch (&entry->digest, first, g->count, sizeof *first, digest_cmp);
        if (f != NULL && f->index != i && get_copy (g, &g->m.v[f->index], entry, block, e) == -1)
            return -1;
    }
    for (size_t i = 0; i < g->m.n; i++)
        if (g->m.v[i].type == 'l' && get_link (g, &g->m.v[i], e) == -1)
            return -1;
    return 0;
}

/* dir as an empty folder; *made: it was not there before. */
static int
get_folder (const char *dir, bool *made, struct err *e)
{
    struct dirent *entry;
    bool empty = true;

    *made = mkdir (dir, 0755) == 0;
    if (!*made && errno != EEXIST)
        return err_errno (e, "make folder %s", dir);
    int fd = open (dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd == -1 ? NULL : fdopendir (dup (fd));

    if (d == NULL) {
        err_errno (e, "open folder %s", dir);
        fd_close (&fd);
        return -1;
    }
    while ((entry = readdir (d)) != NULL)
        if (strcmp (entry->d_name, ".") != 0 && strcmp (entry->d_name, "..") != 0)
            empty = false;
    closedir (d);
    if (!empty) {
        close (fd);
        return err_set (e, ERR_USAGE, "folder %s is not empty (name another)", dir);
    }
    return fd;
}

static int
get_whole (struct realm *rl, struct get *g, const char *dir, int deadline_ms, struct err *e)
{
    struct err local = ERR_INIT;
    bool made;
    int r;

    if (e == NULL)
        e = &local;
    g->fd = -1;
    g->progress = time_mono_ms ();
    g->dir_fd = get_folder (dir, &made, e);
    if (g->dir_fd == -1)
        return -1;
    for (;;) {
        *e = (struct err) ERR_INIT;
        r = client_open (&g->c, rl, ROLE_STORE, ANSWER_MS, e);
        if (r == 0 && (r = get_begin (g, e)) == 0)
            r = get_stream (g, e);
        client_close (&g->c);
        if (r == 0 || !again (e) || time_mono_ms () - g->progress > deadline_ms)
            break;
        usleep (PAUSE_US);
    }
    if (r == 0)
        r = get_rest (g, e);
    if (r == -1)
        err_wrap (e, "store");
    digest_drop (&g->hash);
    fd_close (&g->fd);
    fd_close (&g->dir_fd);
    free (g->blobs);
    manifest_release (&g->m);
    if (r == -1 && made)
        file_remove_tree (dir, NULL);
    return r;
}

int
store_get (struct realm *rl, const struct digest *artifact, const char *dir, struct bytes lease, struct bytes submission, bool provisional, int deadline_ms, struct err *e)
{
    struct get g = { .artifact = *artifact, .lease = lease, .submission = submission, .provisional = provisional };

    return get_whole (rl, &g, dir, deadline_ms, e);
}

int
store_get_input (struct realm *rl, struct store_input *in, const char *dir, struct bytes lease, struct bytes submission, int deadline_ms, struct err *e)
{
    struct get g = { .artifact = in->name, .input = in, .lease = lease, .submission = submission, .provisional = true };
    int r = get_whole (rl, &g, dir, deadline_ms, e);

    in->artifact = g.artifact;
    in->opening = g.opening;
    return r;
}

int
store_manifest (struct realm *rl, const struct digest *artifact, bool provisional, struct manifest *m, struct err *e)
{
    CLEANUP (client_close) struct client *c = NULL;
    struct msg q = MSG_INIT (get_open, 0);
    struct net_in in;
    const struct digest none = manifest_empty ();
    int r;

    manifest_init (m);
    if (digest_eq (artifact, &none)) /* nobody stores nothing */
        return 0;
    q.u.get_open.artifact = *artifact;
    q.u.get_open.provisional = provisional;
    if (client_open (&c, rl, ROLE_STORE, ANSWER_MS, e) == -1 || client_ask (c, &q, MSG_get_manifest, &in, e) == -1)
        return err_wrap (e, "store");
    struct digest have = manifest_digest (q.u.get_manifest.manifest);
    if (!digest_eq (&have, artifact))
        r = err_code (e, EC_DAMAGED, "store: it sent another manifest than the one asked for");
    else
        r = manifest_parse (q.u.get_manifest.manifest, m, e);
    msg_release (&q);
    net_in_release (&in);
    return r;
}
