/* upload.c: artifacts coming in. An upload belongs to a principal and a lease, not to a connection or a process, so that it outlives
 * both: what a process that was killed had written is hashed again, on the thread that also syncs, and gone on with. */
#include "store/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"

static void
upload_free (struct upload *u)
{
    pieces_free (&u->todo);
    pieces_free (&u->done);
    cas_batch_drop (&u->batch);
    manifest_release (&u->m);
    buf_release (&u->raw);
    buf_release (&u->need);
    free (u->blobs);
    free (u);
}

static void
upload_remove (struct server *s, struct upload *u)
{
    for (struct upload **p = &s->uploads; *p != NULL; p = &(*p)->next)
        if (*p == u) {
            *p = u->next;
            s->upload_count--;
            upload_free (u);
            return;
        }
}

static struct upload *
upload_find (struct server *s, const struct digest *id, const char *sender)
{
    for (struct upload *u = s->uploads; u != NULL; u = u->next)
        if (digest_eq (&u->id, id) && strcmp (u->sender, sender) == 0)
            return u;
    return NULL;
}

static struct digest
upload_id (const struct digest *lease, const struct digest *artifact, const char *sender)
{
    struct digest_ctx *c = digest_begin ();
    struct digest d;

    digest_add (c, lease->b, sizeof lease->b);
    digest_add (c, artifact->b, sizeof artifact->b);
    digest_add (c, sender, strlen (sender));
    digest_end (&c, &d);
    return d;
}

/* Which blobs are wanted: those that are not here, and those that only others have sent so far. A worker that could name a blob without having
 * its bytes could give another's result out as its own. Decided once: what is here counts as here from now on, since open uploads are roots of the sweep. */
static void
upload_plan (struct server *s, struct upload *u)
{
    size_t count;
    CLEANUP (free_ptr) size_t *all = manifest_blobs (&u->m, &count);
    uint8_t *bits = buf_grow (&u->need, (count + 7) / 8);

    memset (bits, 0, (count + 7) / 8);
    u->blobs = xcalloc (count + 1, sizeof *u->blobs);
    for (size_t i = 0; i < count; i++) {
        const struct manifest_entry *entry = &u->m.v[all[i]];
        uint64_t size;
        if (cas_has (s->cas, &entry->digest, &size) && size == entry->size
            && (digest_zero (&u->lease_id) || entry->size == 0 || index_has_sent (s->index, bytes_str (u->owner), &entry->digest)))
            continue;
        bits[i / 8] |= (uint8_t) (1u << (i % 8));
        u->blobs[u->blob_count++] = all[i];
        u->total += entry->size;
    }
}

/* Go on to the next blob that has bytes: opens it, and ends those that are complete. */
static int
upload_step (struct upload *u, struct err *e)
{
    while (u->at < u->blob_count) {
        const struct manifest_entry *entry = &u->m.v[u->blobs[u->at]];
        if (u->in_blob == 0 && cas_batch_begin (u->batch, &entry->digest, entry->size, e) == -1)
            return -1;
        if (u->in_blob < entry->size)
            return 0;
        if (cas_batch_end (u->batch, e) == -1)
            return -1;
        u->at++;
        u->in_blob = 0;
    }
    return 0;
}

/* Go on where an earlier process stopped: at the first blob that is not whole. */
int
upload_resume (struct upload *u, struct err *e)
{
    int r = 1;

    while (u->at < u->blob_count && r == 1) {
        const struct manifest_entry *entry = &u->m.v[u->blobs[u->at]];
        r = cas_batch_resume (u->batch, &entry->digest, entry->size, &u->in_blob, e);
        if (r == -1)
            return -1;
        u->offset += u->in_blob;
        if (r == 1) {
            u->at++;
            u->in_blob = 0;
        }
    }
    return upload_step (u, e);
}

int
upload_take (struct upload *u, struct bytes data, struct err *e)
{
    while (data.len > 0) {
        if (u->at >= u->blob_count)
            return err_code (e, EC_CONFLICT, "more bytes than were asked for");
        uint64_t left = u->m.v[u->blobs[u->at]].size - u->in_blob;
        size_t n = data.len < left ? data.len : (size_t) left;

        if (cas_batch_write (u->batch, data.p, n, e) == -1)
            return -1;
        data = bytes_of (data.p + n, data.len - n);
        u->in_blob += n;
        u->offset += n;
        if (n == left) {
            if (cas_batch_end (u->batch, e) == -1)
                return -1;
            u->at++;
            u->in_blob = 0;
            if (upload_step (u, e) == -1)
                return -1;
        }
    }
    return 0;
}

static int
room (struct server *s, const struct upload *u, struct err *e)
{
    uint64_t owner = index_owner_bytes (s->index, bytes_str (u->owner)), coming = u->total, space = cas_free (s->cas);
    size_t each = 0;

    for (struct upload *o = s->uploads; o != NULL; o = o->next) {
        each += strcmp (o->sender, u->sender) == 0;
        coming += o->total - o->accepted;
        if (strcmp (o->owner, u->owner) == 0)
            owner += o->bytes;
    }
    if (s->upload_count >= UPLOADS_MAX || each >= UPLOADS_EACH)
        return err_code (e, EC_BUSY, "too many uploads are open");
    if (u->bytes > (uint64_t) s->conf.max_artifact)
        return err_code (e, EC_QUOTA, "artifact of %llu bytes, the store takes at most %lld (limits max-artifact)", (unsigned long long) u->bytes, (long long) s->conf.max_artifact);
    if (s->conf.quota > 0 && owner + u->bytes > (uint64_t) s->conf.quota)
        return err_code (e, EC_QUOTA, "owner %s would hold %llu bytes of %lld (limits quota)", u->owner, (unsigned long long) (owner + u->bytes), (long long) s->conf.quota);
    if (coming + (uint64_t) s->conf.free_floor > space)
        return err_code (e, EC_QUOTA, "the store's disk is nearly full: %llu bytes are free, %lld stay free (limits free-floor)", (unsigned long long) space, (long long) s->conf.free_floor);
    return 0;
}

static int
lease_fill (struct ask *a, struct upload *u, struct bytes raw, struct err *e)
{
    struct lease l;
    int r = 0;

    if (lease_open (&l, raw, realm_roster (a->s->rl), a->sender, time_now_us (), e) == -1)
        return -1;
    const struct msg_lease_body *b = &l.body.u.lease_body;

    u->lease_id = l.id;
    u->submission = b->submission;
    u->expires = (int64_t) b->expires;
    if (!bytes_copy (b->project, u->project, sizeof u->project) || !bytes_copy (b->ref, u->ref, sizeof u->ref) || !bytes_copy (b->step, u->step, sizeof u->step))
        r = err_code (e, EC_MALFORMED, "lease: a name is too long");
    else if (u->bytes > b->max_bytes)
        r = err_code (e, EC_QUOTA, "artifact of %llu bytes, the lease allows %llu", (unsigned long long) u->bytes, (unsigned long long) b->max_bytes);
    lease_release (&l);
    return r;
}

/* A lease brings one artifact: what it may upload is bounded by max_bytes once, not once for each name. An open upload of another one is
 * given up, so that memory is bounded by the leases that there are. */
static int
lease_free (struct server *s, const struct upload *u, struct err *e)
{
    if (index_lease_used (s->index, &u->lease_id, &u->artifact))
        return err_code (e, EC_QUOTA, "a lease brings one artifact, and this one has brought another");
    for (struct upload *o = s->uploads; o != NULL; o = o->next)
        if (digest_eq (&o->lease_id, &u->lease_id) && !digest_eq (&o->artifact, &u->artifact)) {
            if (o->state != UPLOAD_OPEN || o->finishing || !writer_idle (s, o))
                return err_code (e, EC_BUSY, "another upload of the lease is being written");
            upload_remove (s, o);
            return 0; /* there was only the one */
        }
    return 0;
}

static int
answer_state (struct ask *a, struct upload *u)
{
    struct msg m = MSG_INIT (put_state, a->m->request);

    m.u.put_state.upload = u->id;
    m.u.put_state.need = buf_bytes (&u->need);
    m.u.put_state.offset = u->accepted;
    m.u.put_state.credit = CREDIT;
    return ask_reply (a, &m);
}

int
on_put_open (struct ask *a, struct err *e)
{
    const struct msg_put_open *p = &a->m->u.put_open;
    struct server *s = a->s;
    struct upload *u = xcalloc (1, sizeof *u), *old;

    u->expires = INT64_MAX;
    if (manifest_parse (p->manifest, &u->m, e) == -1)
        goto fail;
    u->artifact = manifest_digest (p->manifest);
    u->bytes = manifest_bytes (&u->m);
    strcpy (u->sender, a->sender->name);
    strcpy (u->owner, a->sender->owner);
    if (p->lease.len == 0 && !(a->sender->roles & ROLE_ADMIN)) {
        err_code (e, EC_NOT_ALLOWED, "uploads need a lease");
        goto fail;
    }
    if (p->lease.len > 0 && lease_fill (a, u, p->lease, e) == -1)
        goto fail;
    if (p->lease.len > 0 && lease_free (s, u, e) == -1)
        goto fail;
    u->id = upload_id (&u->lease_id, &u->artifact, u->sender);
    old = upload_find (s, &u->id, u->sender);
    if (old != NULL) {
        upload_free (u);
        if (old->state != UPLOAD_OPEN || old->finishing)
            return err_code (e, EC_BUSY, "the upload is being %s", old->state == UPLOAD_RESUMING ? "taken up again" : "synced");
        old->touched = time_mono_ms ();
        return answer_state (a, old);
    }
    upload_plan (s, u);
    if (room (s, u, e) == -1)
        goto fail;
    buf_add (&u->raw, p->manifest.p, p->manifest.len);
    u->batch = cas_batch_new (s->cas, &u->id);
    u->touched = time_mono_ms ();
    bool left = cas_batch_left (u->batch);
    if (!left && upload_step (u, e) == -1)
        goto fail;
    u->next = s->uploads;
    s->uploads = u;
    s->upload_count++;
    if (!left)
        return answer_state (a, u);
    u->state = UPLOAD_RESUMING;
    writer_sync (s, u);
    return err_code (e, EC_BUSY, "the upload is being taken up again");
fail:
    upload_free (u);
    return -1;
}

static void
credit (struct server *s, const struct upload *u, const uint8_t *route, size_t route_len, uint64_t request, uint64_t offset)
{
    struct msg m = MSG_INIT (put_credit, request);

    m.u.put_credit.upload = u->id;
    m.u.put_credit.offset = offset;
    reply (s, route, route_len, &m);
}

int
on_put_chunk (struct ask *a, struct err *e)
{
    const struct msg_put_chunk *p = &a->m->u.put_chunk;
    struct server *s = a->s;
    struct upload *u = upload_find (s, &p->upload, a->sender->name);
    struct bytes data = p->data;

    if (u == NULL)
        return err_code (e, EC_NOT_FOUND, "no such upload (open it again)");
    if (u->state != UPLOAD_OPEN || u->finishing)
        return err_code (e, EC_UNEXPECTED, "the upload is being %s", u->state == UPLOAD_RESUMING ? "taken up again (put_open tells when it is)" : "synced");
    if (p->offset > u->accepted)
        return err_code (e, EC_CONFLICT, "bytes from %llu on are missing", (unsigned long long) u->accepted);
    u->touched = time_mono_ms ();
    if (p->offset + data.len <= u->accepted) { /* all of it came before: a repeat after a broken connection */
        credit (s, u, a->in->route, a->in->route_len, a->m->request, p->offset + data.len);
        return 0;
    }
    size_t skip = (size_t) (u->accepted - p->offset);
    data = bytes_of (data.p + skip, data.len - skip);
    if (u->queued + data.len > CREDIT)
        return err_code (e, EC_CONFLICT, "more bytes in flight than the credit of %llu", (unsigned long long) CREDIT);
    if (data.len > u->total - u->accepted)
        return err_code (e, EC_CONFLICT, "more bytes than were asked for");
    u->accepted += data.len;
    u->queued += data.len;
    s->queued += data.len + PIECE_COST;
    writer_take (s, u, piece_new (a->in, data, a->m->request));
    return 0;
}

/* All bytes are in: on to the disk. */
static void
finish (struct server *s, struct upload *u)
{
    struct err e = ERR_INIT;

    if (u->expires > time_now_us ()) {
        u->state = UPLOAD_SYNCING;
        writer_sync (s, u);
        return;
    }
    err_code (&e, EC_EXPIRED, "the lease is over");
    refuse (s, u->route, u->route_len, u->request, &e);
    upload_remove (s, u);
}

int
on_put_done (struct ask *a, struct err *e)
{
    struct server *s = a->s;
    struct upload *u = upload_find (s, &a->m->u.put_done.upload, a->sender->name);

    if (u == NULL)
        return err_code (e, EC_NOT_FOUND, "no such upload (open it again)");
    if (u->state == UPLOAD_RESUMING)
        return err_code (e, EC_UNEXPECTED, "the upload is being taken up again (put_open tells when it is)");
    if (u->accepted < u->total)
        return err_code (e, EC_CONFLICT, "bytes from %llu on are missing", (unsigned long long) u->accepted);
    memcpy (u->route, a->in->route, a->in->route_len);
    u->route_len = a->in->route_len;
    u->request = a->m->request;
    if (u->state == UPLOAD_OPEN && !u->finishing) {
        u->finishing = true;
        if (writer_idle (s, u))
            finish (s, u);
    }
    return 0;
}

int
upload_close (struct server *s, struct upload *u, struct err *e)
{
    if (cas_has (s->cas, &u->artifact, NULL))
        return 0;
    if (cas_batch_begin (u->batch, &u->artifact, u->raw.len, e) == -1 || cas_batch_write (u->batch, u->raw.p, u->raw.len, e) == -1)
        return -1;
    return cas_batch_end (u->batch, e);
}

/* What is written is told to who sent it. */
static void
pieces_back (struct server *s, struct upload *u, struct pieces *done, bool failed)
{
    for (struct piece *p = done->first; p != NULL; p = p->next) {
        u->queued -= p->data.len;
        s->queued -= p->data.len + PIECE_COST;
        u->touched = time_mono_ms ();
        if (failed)
            refuse (s, p->in.route, p->in.route_len, p->request, &u->bad);
        else
            credit (s, u, p->in.route, p->in.route_len, p->request, p->end);
    }
    pieces_free (done);
}

/* Its bytes cannot be written, or are not what they should be. */
static void
upload_failed (struct server *s, struct upload *u)
{
    log_peer (u->sender, &u->bad);
    if (u->finishing)
        refuse (s, u->route, u->route_len, u->request, &u->bad);
    upload_remove (s, u);
}

static void
send_receipt (struct server *s, struct upload *u, int64_t now)
{
    BUF (body);
    BUF (envelope);
    struct msg b = MSG_INIT (receipt_body, 0), m = MSG_INIT (receipt, u->request);

    b.u.receipt_body.store = bytes_str (realm_name (s->rl));
    b.u.receipt_body.lease = u->lease_id;
    b.u.receipt_body.artifact = u->artifact;
    b.u.receipt_body.bytes = u->bytes;
    b.u.receipt_body.time = (uint64_t) now;
    msg_encode (&b, &body);
    envelope_sign (TYPE_RECEIPT, buf_bytes (&body), &realm_keys (s->rl)->sign, &envelope);
    m.u.receipt.envelope = buf_bytes (&envelope);
    reply (s, u->route, u->route_len, &m);
}

/* Who has sent the blobs, and the artifact, in one commit. */
static int
record (struct server *s, const struct upload *u, const struct index_put *row, struct err *e)
{
    CLEANUP (free_ptr) struct digest *list = xcalloc (u->blob_count + 1, sizeof *list);
    int r = 0;

    for (size_t i = 0; i < u->blob_count; i++)
        list[i] = u->m.v[u->blobs[i]].digest;
    if (index_begin (s->index, e) == -1)
        return -1;
    if (!digest_zero (&u->lease_id) && u->blob_count > 0)
        r = index_sent (s->index, bytes_str (u->owner), list, u->blob_count, e);
    if (r == 0)
        r = index_add (s->index, row, e);
    return index_end (s->index, r == 0 ? e : NULL) == -1 ? -1 : r;
}

static void
upload_resumed (struct server *s, struct upload *u)
{
    if (u->result.kind != ERR_NONE) {
        log_warn ("upload not taken up again worker=%s project=%s step=%s reason=%s", u->sender, u->project, u->step, u->result.msg);
        upload_remove (s, u); /* and what was left of it: the next put_open begins anew */
        return;
    }
    u->state = UPLOAD_OPEN;
    u->accepted = u->offset;
    u->touched = time_mono_ms ();
    log_info ("upload taken up again worker=%s project=%s step=%s offset=%llu", u->sender, u->project, u->step, (unsigned long long) u->offset);
}

static void
upload_synced (struct server *s, struct upload *u)
{
    int64_t now = time_now_us ();
    struct index_put row = { .artifact = u->artifact, .lease = u->lease_id, .submission = u->submission, .project = bytes_str (u->project),
                             .ref = bytes_str (u->ref), .step = bytes_str (u->step), .owner = bytes_str (u->owner),
                             .worker = bytes_str (u->sender), .bytes = u->bytes, .time = now };
    char hex[DIGEST_HEX];

    if (u->result.kind == ERR_NONE && record (s, u, &row, &u->result) == 0) {
        send_receipt (s, u, now);
        log_info ("artifact stored artifact=%s bytes=%llu worker=%s project=%s step=%s", digest_hex (&u->artifact, hex),
                  (unsigned long long) u->bytes, u->sender, u->project, u->step);
    } else {
        struct msg m = MSG_INIT (error, u->request);
        m.u.error.code = bytes_str (err_name (u->result.code ? u->result.code : EC_INTERNAL));
        m.u.error.text = bytes_str (u->result.msg);
        reply (s, u->route, u->route_len, &m);
        log_error ("artifact not stored artifact=%s reason=%s", digest_hex (&u->artifact, hex), u->result.msg);
    }
    upload_remove (s, u);
}

void
uploads_synced (struct server *s)
{
    eventfd_t n;
    struct upload *u;
    struct pieces done;
    bool failed;

    eventfd_read (s->wake, &n);
    while ((u = writer_moved (s, &done, &failed)) != NULL) {
        pieces_back (s, u, &done, failed);
        if (failed)
            upload_failed (s, u);
        else if (u->state == UPLOAD_OPEN && u->finishing && writer_idle (s, u))
            finish (s, u);
    }
    for (u = writer_synced (s); u != NULL;) {
        struct upload *next = u->done_next;
        (u->state == UPLOAD_RESUMING ? upload_resumed : upload_synced) (s, u);
        u = next;
    }
}

/* What an earlier process left, and nobody came back for. */
static void
forget_left (struct server *s)
{
    CLEANUP (free_ptr) struct digest *names = xcalloc (s->upload_count + 1, sizeof *names);
    struct err e = ERR_INIT;
    size_t n = 0;

    for (struct upload *u = s->uploads; u != NULL; u = u->next)
        names[n++] = u->id;
    if (cas_forget (s->cas, names, n, &e) == -1)
        log_error ("uploads of before: %s", e.msg);
    s->forgot = true;
}

void
uploads_tick (struct server *s, int64_t mono)
{
    for (struct upload *u = s->uploads, *next; u != NULL; u = next) {
        next = u->next;
        if (u->state == UPLOAD_OPEN && !u->finishing && mono - u->touched > s->conf.upload_idle && writer_idle (s, u)) {
            log_info ("upload given up worker=%s project=%s step=%s", u->sender, u->project, u->step);
            upload_remove (s, u);
        }
    }
    if (!s->forgot && mono - s->opened_at > s->conf.upload_idle)
        forget_left (s);
}

void
uploads_stop (struct server *s)
{
    writer_stop (s);
    uploads_synced (s);
    for (struct upload *u = s->uploads; u != NULL; u = u->next)
        if (u->bad.kind == ERR_NONE)
            cas_batch_leave (&u->batch); /* a worker that has the rest comes back with it */
    while (s->uploads != NULL)
        upload_remove (s, s->uploads);
    fd_close (&s->wake);
}
