/* logs.c: logs of builds: one file a lease, capped; and those who read or follow them. Not part of the turn's transaction: a log
 * is a help, and no promise. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "broker/server.h"

#define FOLLOWERS_MAX 1024u
#define FOLLOWERS_EACH 64u /* of one principal, so that the others have a place */
#define FOLLOW_MS 60000
#define PART 65536u
#define PARTS_A_TURN 16u

static int log_file (const struct server *s, const struct digest *lease, int flags)
{
    char hex[DIGEST_HEX];
    char *path CLEANUP (free_ptr) = xasprintf ("%s/%s", s->logs, digest_hex (lease, hex));
    return open (path, flags | O_CLOEXEC | O_NOFOLLOW, 0600);
}

int on_log (struct ask *a, struct err *e)
{
    const struct msg_log *q = &a->m->u.log;
    struct lease_row l;
    int found = state_lease_get (a->s->state, &q->lease, &l, e);
    if (found != 1)
        return found == -1 ? -1 : err_code (e, EC_NOT_FOUND, "no such lease");
    if (strcmp (l.worker, a->sender->name))
        return err_code (e, EC_NOT_ALLOWED, "the lease is another worker's");
    if (l.state != LEASE_OPEN)
        return 0; /* it crossed the end of the lease */
    uint64_t cap = (uint64_t) a->s->conf.max_log;
    if (q->offset >= cap)
        return 0;
    size_t len = q->data.len < cap - q->offset ? q->data.len : (size_t) (cap - q->offset);
    int fd CLEANUP (fd_close) = log_file (a->s, &q->lease, O_WRONLY | O_CREAT);
    for (size_t at = 0; fd != -1 && at < len;) {
        ssize_t n = pwrite (fd, q->data.p + at, len - at, (off_t) (q->offset + at));
        if (n <= 0) {
            log_warn ("a log is not stored reason=%s", strerror (errno));
            break;
        }
        at += (size_t) n;
    }
    return 0;
}

struct attempt {
    const char *worker;
    struct lease_row last;
    bool found;
};

static int later (void *arg, const struct lease_row *l)
{
    struct attempt *x = arg;
    if (!*x->worker || !strcmp (l->worker, x->worker)) {
        x->last = *l;
        x->found = true;
    }
    return 0;
}

int on_log_get (struct ask *a, struct err *e)
{
    const struct msg_log_get *q = &a->m->u.log_get;
    struct server *s = a->s;
    struct context c = { 0 };
    char worker[64] = "";
    struct attempt x = { .worker = worker };
    if (context_find (s, &q->id, q->step, &c, e) == -1)
        return -1;
    int rc = may_see (a->sender, c.sub.project) ? 0 : err_code (e, EC_NOT_FOUND, "no such submission");
    if (rc == 0 && !bytes_copy (q->worker, worker, sizeof worker))
        rc = err_code (e, EC_MALFORMED, "not a worker's name");
    /* What another's build says may be what it got: who has a vote to give reads only its own. */
    if (rc == 0 && !(a->sender->roles & ~(unsigned) ROLE_WORKER)) {
        if (*worker && strcmp (worker, a->sender->name))
            rc = err_code (e, EC_NOT_ALLOWED, "a worker may read its own logs only");
        (void) snprintf (worker, sizeof worker, "%s", a->sender->name);
    }
    if (rc == 0)
        rc = state_leases_of (s->state, c.step.key, later, &x, e);
    if (rc == 0 && !x.found && !q->follow)
        rc = err_code (e, EC_NOT_FOUND, *worker ? "%s has not worked on that step" : "nobody has worked on that step yet", worker);
    size_t own = 0;
    for (size_t i = 0; i < s->follower_count; i++)
        own += memcmp (s->followers[i].peer, a->peer, 32) == 0;
    if (rc == 0 && own >= FOLLOWERS_EACH)
        rc = err_code (e, EC_BUSY, "%s reads %zu logs already", a->sender->name, own);
    if (rc == 0 && s->follower_count == FOLLOWERS_MAX)
        rc = err_code (e, EC_BUSY, "%u readers of logs are there", FOLLOWERS_MAX);
    if (rc == 0) {
        s->followers = xrealloc (s->followers, (s->follower_count + 1) * sizeof *s->followers);
        struct follower *f = &s->followers[s->follower_count++];
        memset (f, 0, sizeof *f);
        f->route = a->route;
        memcpy (f->peer, a->peer, 32);
        f->request = a->m->request;
        f->offset = q->offset;
        f->follow = q->follow != 0;
        f->step = c.step.key;
        f->until = time_mono_ms () + FOLLOW_MS;
        (void) snprintf (f->worker, sizeof f->worker, "%s", x.found ? x.last.worker : worker);
        if (x.found)
            f->lease = x.last.id;
    }
    context_release (&c);
    return rc;
}

void logs_lease (struct server *s, int64_t step, const struct lease_row *l)
{
    for (size_t i = 0; i < s->follower_count; i++) {
        struct follower *f = &s->followers[i];
        if (f->step == step && digest_zero (&f->lease) && (!*f->worker || !strcmp (f->worker, l->worker))) {
            f->lease = l->id;
            (void) snprintf (f->worker, sizeof f->worker, "%s", l->worker);
        }
    }
}

/* One part. 1: sent, and there is more; 0: nothing now; -1: this reader is done. */
static int pump_one (struct server *s, struct follower *f)
{
    uint8_t data[PART];
    struct lease_row l;
    struct stat st;
    struct err e = ERR_INIT;
    BUF (frame);
    const struct principal *p = roster_by_transport (realm_roster (s->rl), f->peer);
    if (!p || !principal_good (p) || time_mono_ms () > f->until)
        return -1;
    if (digest_zero (&f->lease) || net_owes (f->peer))
        return 0;
    if (state_lease_get (s->state, &f->lease, &l, &e) != 1)
        return -1;
    bool over = l.state != LEASE_OPEN; /* read before the file: what comes later belongs to no lease */
    int fd CLEANUP (fd_close) = log_file (s, &f->lease, O_RDONLY);
    ssize_t n = fd == -1 ? 0 : pread (fd, data, sizeof data, (off_t) f->offset);
    if (n < 0 || (fd != -1 && fstat (fd, &st) == -1))
        return -1;
    uint64_t size = fd == -1 ? 0 : (uint64_t) st.st_size;
    bool at_end = f->offset + (uint64_t) n >= size, last = at_end && (over || !f->follow);
    if (n == 0 && !last)
        return 0;
    struct msg m = MSG_INIT (log_part, f->request);
    m.u.log_part.worker = bytes_str (f->worker);
    m.u.log_part.offset = f->offset;
    m.u.log_part.data = bytes_of (data, (size_t) n);
    m.u.log_part.end = last;
    m.u.log_part.truncated = size >= (uint64_t) s->conf.max_log;
    msg_encode (&m, &frame);
    if (net_answer (s->router, bytes_of (f->route.id, f->route.len), f->peer, &frame, &e) == -1)
        return e.code == EC_BUSY ? 0 : -1;
    f->offset += (uint64_t) n;
    f->until = time_mono_ms () + FOLLOW_MS;
    return last ? -1 : !at_end;
}

bool logs_pump (struct server *s)
{
    bool more = false;
    for (size_t i = 0; i < s->follower_count; i++) {
        int rc = 1;
        for (unsigned n = 0; n < PARTS_A_TURN && rc == 1; n++)
            rc = pump_one (s, &s->followers[i]);
        more = more || rc == 1;
        if (rc == -1)
            s->followers[i--] = s->followers[--s->follower_count];
    }
    return more;
}
