#include "lab/farm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "lab/rootfs.h"

#define COMMAND_MS 60000
#define STOP_MS 10000
#define LOOK_MS 60

static const char *const services[SERVICES] = { "idp", "store", "broker", "verifier" };

struct farm {
    char *dir, *url, head[65], image[128];
    bool keep;
    struct proc *service[SERVICES], *worker[FARM_WORKERS];
    struct realm *rl;      /* the admin's */
    struct client *broker; /* asked for states and events */
    unsigned commands, gets;
    bool resting;          /* the honest workers pause */
};

char *farm_path (const struct farm *f, const char *format, ...)
{
    va_list ap;
    char text[512];
    va_start (ap, format);
    vsnprintf (text, sizeof text, format, ap);
    va_end (ap);
    return xasprintf ("%s/%s", f->dir, text);
}

const char *farm_url (const struct farm *f)
{
    return f->url;
}

const char *farm_head (const struct farm *f)
{
    return f->head;
}

/* ---- commands ---- */

static void kill_now (struct proc **p)
{
    proc_stop (p, 0);
}

static char *program (const char *name)
{
    if (strcmp (name, "assay") == 0)
        return xstrdup ("/proc/self/exe");
    return strncmp (name, "assay-", 6) == 0 ? file_program (name, strcmp (name, "assay-liar") ? ASSAY_BINDIR : ASSAY_LIBEXECDIR) : xstrdup (name);
}

static int run (struct farm *f, const char *const argv[], const char *const env[], struct buf *out, struct buf *err, struct err *e)
{
    CLEANUP (free_ptr) char *path = program (argv[0]), *o = farm_path (f, "logs/command-%u.out", f->commands), *r = farm_path (f, "logs/command-%u.err", f->commands);
    struct proc *p CLEANUP (kill_now) = NULL;
    size_t n = 0;
    while (argv[n])
        n++;
    CLEANUP (free_ptr) const char **v = xcalloc (n + 1, sizeof *v);
    memcpy (v, argv, n * sizeof *v);
    v[0] = path;
    f->commands++;
    if (proc_start (&p, &(struct proc_opts){ .argv = v, .out = o, .err = r, .env = env }, e) == -1)
        return -1;
    int status = proc_wait (p, COMMAND_MS);
    if (status == PROC_RUNS)
        return proc_interrupted () ? err_set (e, ERR_FAILED, "interrupted") : err_set (e, ERR_UNREACHABLE, "%s %s: not done after %d s", argv[0], n > 3 ? argv[3] : "", COMMAND_MS / 1000);
    BUF (text);
    if (out)
        proc_output (p, out);
    if (file_read (r, 1 << 20, &text, NULL) == 0 && err)
        buf_add (err, text.p, text.len);
    if (!f->keep) {
        unlink (o);
        unlink (r);
    }
    return status;
}

int farm_run (struct farm *f, const char *const argv[], struct buf *out, struct buf *err, struct err *e)
{
    return run (f, argv, NULL, out, err, e);
}

int farm_assay (struct farm *f, const char *who, const char *const argv[], struct buf *out, struct buf *err, struct err *e)
{
    CLEANUP (free_ptr) char *dir = *who ? farm_path (f, "realm/%s", who) : farm_path (f, "realm");
    const char *v[32] = { "assay", "--dir", dir };
    for (size_t n = 3; argv[n - 3] && n < 31; n++)
        v[n] = argv[n - 3];
    return run (f, v, NULL, out, err, e);
}

/* What must go well for anything to be tried at all. */
static int must (struct farm *f, const char *who, const char *const argv[], struct buf *out, struct err *e)
{
    BUF (err);
    int status = farm_assay (f, who, argv, out, &err, e);
    if (status <= 0)
        return status;
    char *line = bytes_dup (bytes_of (buf_str (&err), strcspn (buf_str (&err), "\n")));
    err_set (e, ERR_FAILED, "assay %s ended with status %d: %.500s", argv[0], status, line);
    free (line);
    return -1;
}

static int git (struct farm *f, const char *const argv[], struct buf *out, struct err *e)
{
    static const char *const env[] = { "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_AUTHOR_NAME=lab", "GIT_AUTHOR_EMAIL=lab@localhost", "GIT_COMMITTER_NAME=lab",
                                       "GIT_COMMITTER_EMAIL=lab@localhost", NULL };
    CLEANUP (free_ptr) char *repo = farm_path (f, "repository");
    const char *v[16] = { "git", "-C", repo };
    for (size_t n = 3; argv[n - 3] && n < 15; n++)
        v[n] = argv[n - 3];
    BUF (err);
    int status = run (f, v, env, out, &err, e);
    return status <= 0 ? status : err_set (e, ERR_FAILED, "git %s ended with status %d: %.400s", argv[0], status, buf_str (&err));
}

/* ---- the realm ---- */

static int put (const char *path, const char *text, struct err *e)
{
    return file_write (path, bytes_str (text), 0600, e);
}

static int append (const char *path, const char *text, struct err *e)
{
    BUF (all);
    if (file_read (path, 65536, &all, e) == -1)
        return -1;
    buf_adds (&all, text);
    return file_write (path, buf_bytes (&all), 0600, e);
}

static int configure (struct farm *f, struct err *e)
{
    CLEANUP (free_ptr) char *broker = farm_path (f, "realm/broker/broker.ini"), *repo = farm_path (f, "repository");
    if (append (broker, "[leases]\ngrace = 2s\ndecline-pause = 1s\n[limits]\nfree-floor = 0\n", e) == -1)
        return -1;
    for (unsigned i = 1; i <= FARM_WORKERS; i++) {
        CLEANUP (free_ptr) char *ini = farm_path (f, "realm/worker-%u/worker.ini", i),
                                *text = xasprintf ("[worker]\nisolation = bwrap\nfile-urls = yes\nrequire-cgroups = no\nfree-disk = 0\nprojects = %s\n[limits]\nmemory = 256M\ndisk = 64M\n",
                                                   i == 1 ? "*" : "lab/*");
        if (put (ini, text, e) == -1)
            return -1;
    }
    if (file_mkdirs (repo, 0755, e) == -1 || git (f, (const char *const[]){ "init", "-q", NULL }, NULL, e) == -1)
        return -1;
    f->url = xasprintf ("file://%s", repo);
    return 0;
}

static int start (struct farm *f, struct proc **p, const char *name, const char *what, struct err *e)
{
    CLEANUP (free_ptr) char *log = farm_path (f, "logs/%s", name), *dir = farm_path (f, "realm/%s", name), *path = program (what);
    const char *argv[] = { path, "--dir", dir, NULL };
    if (proc_start (p, &(struct proc_opts){ .argv = argv, .out = log, .err = log }, e) == -1)
        return -1;
    int rc = proc_until (*p, "ready", FARM_PATIENCE_MS);
    if (rc == 1)
        return 0;
    BUF (said);
    proc_output (*p, &said);
    return err_set (e, ERR_FAILED, "%s does not start: %.500s", name, said.len > 500 ? buf_str (&said) + said.len - 500 : buf_str (&said));
}

int farm_service_start (struct farm *f, enum service s, struct err *e)
{
    CLEANUP (free_ptr) char *name = xasprintf ("assay-%s", services[s]);
    client_close (&f->broker);
    return start (f, &f->service[s], services[s], name, e);
}

void farm_service_stop (struct farm *f, enum service s)
{
    client_close (&f->broker);
    proc_stop (&f->service[s], STOP_MS);
}

long farm_service_peak (const struct farm *f, enum service s)
{
    char path[64], line[256];
    long kib = -1;
    snprintf (path, sizeof path, "/proc/%d/status", f->service[s] ? proc_id (f->service[s]) : 0);
    FILE *file = fopen (path, "re");
    while (file && fgets (line, sizeof line, file))
        if (sscanf (line, "VmHWM: %ld", &kib) == 1)
            break;
    if (file)
        fclose (file);
    return kib / 1024;
}

static int make_image (struct farm *f, struct err *e)
{
    CLEANUP (free_ptr) char *root = farm_path (f, "rootfs");
    BUF (out);
    if (lab_rootfs (root, e) == -1 || must (f, "", (const char *const[]){ "image", "import", "--kernel", "none", "--name", "lab", root, NULL }, &out, e) == -1)
        return -1;
    snprintf (f->image, sizeof f->image, "%.*s", (int) strcspn (buf_str (&out), "\n"), buf_str (&out));
    return file_remove_tree (root, e);
}

static int populate (struct farm *f, struct err *e)
{
    CLEANUP (free_ptr) char *realm = farm_path (f, "realm"), *logs = farm_path (f, "logs");
    BUF (err);
    if (file_mkdirs (logs, 0700, e) == -1)
        return -1;
    int status = farm_run (f, (const char *const[]){ "assay", "init", realm, "--workers", "3", "--trusted", "1", NULL }, NULL, &err, e);
    if (status)
        return status == -1 ? -1 : err_set (e, ERR_FAILED, "assay init: %.500s", buf_str (&err));
    if (configure (f, e) == -1)
        return -1;
    for (enum service s = 0; s < SERVICES; s++)
        if (farm_service_start (f, s, e) == -1)
            return -1;
    for (unsigned i = 0; i < FARM_WORKERS; i++) {
        char name[16];
        snprintf (name, sizeof name, "worker-%u", i + 1);
        if (start (f, &f->worker[i], name, "assay-worker", e) == -1)
            return -1;
    }
    if (realm_open (&f->rl, realm, e) == -1 || make_image (f, e) == -1)
        return -1;
    return farm_enrol (f, "deployer", "deployer", "operator", "*", e);
}

int farm_open (struct farm **out, const char *dir, struct err *e)
{
    struct farm *f = xcalloc (1, sizeof *f);
    *out = NULL;
    f->keep = dir != NULL;
    int rc = 0;
    if (!dir)
        rc = (f->dir = file_temp_dir ("assay-lab", "/tmp", e)) ? 0 : -1;
    else if (rmdir (dir) == -1 && errno != ENOENT)
        rc = err_set (e, ERR_USAGE, "%s: %s (a new or empty folder is needed)", dir, strerror (errno));
    else if ((rc = file_mkdirs (dir, 0755, e)) == 0)
        f->dir = realpath (dir, NULL);
    if (rc == -1 || !f->dir) {
        free (f->dir);
        free (f);
        return -1;
    }
    /* workers that are not root reach the repository through it */
    if (chmod (f->dir, 0755) == -1 || populate (f, e) == -1) {
        farm_close (&f);
        return -1;
    }
    *out = f;
    return 0;
}

void farm_close (struct farm **fp)
{
    struct farm *f = *fp;
    if (!f)
        return;
    for (unsigned i = 0; i < FARM_WORKERS; i++)
        proc_stop (&f->worker[i], STOP_MS);
    for (int s = SERVICES; s-- > 0;)
        proc_stop (&f->service[s], STOP_MS);
    client_close (&f->broker);
    realm_close (&f->rl);
    if (!f->keep)
        file_remove_tree (f->dir, NULL);
    free (f->dir);
    free (f->url);
    free (f);
    *fp = NULL;
}

int farm_enrol (struct farm *f, const char *role, const char *name, const char *owner, const char *project, struct err *e)
{
    BUF (token);
    if (must (f, "", (const char *const[]){ "token", "--role", role, "--name", name, "--owner", owner, "--project", project, NULL }, &token, e) == -1)
        return -1;
    char *text = bytes_dup (bytes_of (buf_str (&token), strcspn (buf_str (&token), "\n")));
    int rc = must (f, name, (const char *const[]){ "enrol", text, NULL }, NULL, e);
    free (text);
    CLEANUP (free_ptr) char *ini = farm_path (f, "realm/%s/worker.ini", name);
    return rc == 0 && strcmp (role, "worker") == 0 ? put (ini, "[worker]\nisolation = bwrap\nfile-urls = yes\nrequire-cgroups = no\nfree-disk = 0\n[limits]\nmemory = 256M\ndisk = 64M\n", e) : rc;
}

/* ---- jobs ---- */

int farm_commit (struct farm *f, const char *recipe, const char *text, struct err *e)
{
    CLEANUP (free_ptr) char *file = farm_path (f, "repository/.assay.yml"), *n = farm_path (f, "repository/n");
    BUF (yaml);
    BUF (line);
    BUF (head);
    buf_addf (&yaml, "image: %s\n%s", f->image, recipe);
    buf_addf (&line, "%s\n", text);
    if (file_write (file, buf_bytes (&yaml), 0644, e) == -1 || file_write (n, buf_bytes (&line), 0644, e) == -1
        || git (f, (const char *const[]){ "add", "-A", NULL }, NULL, e) == -1 || git (f, (const char *const[]){ "commit", "-q", "--allow-empty", "-m", text, NULL }, NULL, e) == -1
        || git (f, (const char *const[]){ "rev-parse", "HEAD", NULL }, &head, e) == -1)
        return -1;
    return bytes_copy (bytes_of (buf_str (&head), strcspn (buf_str (&head), "\n")), f->head, sizeof f->head) ? 0 : err_set (e, ERR_FAILED, "git rev-parse: not a commit's id");
}

int farm_push (struct farm *f, const char *project, struct digest *id, struct err *e)
{
    CLEANUP (free_ptr) char *repo = farm_path (f, "repository");
    BUF (out);
    char hex[DIGEST_HEX];
    if (must (f, "", (const char *const[]){ "push", "-C", repo, "--project", project, NULL }, &out, e) == -1)
        return -1;
    return bytes_copy (bytes_of (buf_str (&out), strcspn (buf_str (&out), "\n")), hex, sizeof hex) && digest_parse (hex, id)
               ? 0 : err_set (e, ERR_FAILED, "assay push printed no id");
}

int farm_get (struct farm *f, const char *who, const struct digest *id, const char *step, char text[128], struct err *e)
{
    char hex[DIGEST_HEX];
    CLEANUP (free_ptr) char *to = farm_path (f, "got-%u", ++f->gets), *n = xasprintf ("%s/n", to), *what = xasprintf ("%s/%s", digest_hex (id, hex), step);
    BUF (content);
    int status = ASSAY (f, who, NULL, NULL, e, "get", what, "-d", to);
    *text = '\0';
    if (file_read (n, 127, &content, NULL) == 0)
        snprintf (text, 128, "%.*s", (int) strcspn (buf_str (&content), "\n"), buf_str (&content));
    file_remove_tree (to, NULL);
    return status;
}

/* ---- what the broker says ---- */

static int ask (struct farm *f, struct msg *m, enum msg_type want, struct net_in *in, struct err *e)
{
    if (!f->broker && client_open (&f->broker, f->rl, ROLE_BROKER, FARM_PATIENCE_MS, e) == -1)
        return -1;
    m->request = client_request (f->broker);
    int rc = client_ask (f->broker, m, want, in, e);
    if (rc == -1)
        client_close (&f->broker);
    return rc;
}

static int find_step (const struct msg_job_status *job, const char *step, struct step_seen *s, struct err *e)
{
    for (size_t i = 0; i < job->steps.n; i++) {
        struct msg one;
        if (msg_decode_as (job->steps.v[i], MSG_step_status, &one, e) == -1)
            return -1;
        const struct msg_step_status *st = &one.u.step_status;
        bool found = bytes_eqs (st->name, step);
        if (found) {
            bytes_copy (st->state, s->state, sizeof s->state);
            bytes_copy (st->reason, s->reason, sizeof s->reason);
            s->digest = st->digest;
            s->support = (unsigned) st->support;
            s->dissent = (unsigned) st->dissent;
            s->votes = (unsigned) st->votes;
        }
        msg_release (&one);
        if (found)
            return 0;
    }
    return err_code (e, EC_NOT_FOUND, "no step %s", step);
}

int farm_status (struct farm *f, const struct digest *id, const char *step, struct step_seen *s, struct err *e)
{
    struct msg m = MSG_INIT (status_get, 0), job;
    struct net_in in;
    char hex[DIGEST_HEX];
    memset (s, 0, sizeof *s);
    m.u.status_get.prefix = bytes_str (digest_hex (id, hex));
    m.u.status_get.limit = 1;
    if (ask (f, &m, MSG_status, &in, e) == -1)
        return -1;
    int rc = m.u.status.jobs.n == 1 ? msg_decode_as (m.u.status.jobs.v[0], MSG_job_status, &job, e) : err_code (e, EC_NOT_FOUND, "no such submission");
    if (rc == 0) {
        rc = find_step (&job.u.job_status, step, s, e);
        msg_release (&job);
    }
    msg_release (&m);
    net_in_release (&in);
    return rc;
}

static bool one_of (const char *word, const char *words)
{
    size_t n = strlen (word);
    for (const char *p = words; n && (p = strstr (p, word)); p += n)
        if ((p == words || p[-1] == ' ') && (!p[n] || p[n] == ' '))
            return true;
    return false;
}

int farm_until (struct farm *f, const struct digest *id, const char *step, const char *states, int timeout_ms, struct step_seen *s, struct err *e)
{
    for (int64_t until = time_mono_ms () + timeout_ms;;) {
        if (farm_status (f, id, step, s, e) == -1)
            return -1;
        if (one_of (s->state, states))
            return 1;
        if (time_mono_ms () > until)
            return 0;
        if (!proc_pause (LOOK_MS))
            return err_set (e, ERR_FAILED, "interrupted");
    }
}

static bool matches (const struct msg_event *ev, const struct event_want *w)
{
    if ((w->kind && !bytes_eqs (ev->kind, w->kind)) || (w->state && !bytes_eqs (ev->state, w->state)) || (w->step && !bytes_eqs (ev->step, w->step)) || (w->worker && !bytes_eqs (ev->worker, w->worker))
        || (w->owner && !bytes_eqs (ev->owner, w->owner)) || (w->id && !digest_eq (&ev->id, w->id)))
        return false;
    CLEANUP (free_ptr) char *reason = bytes_dup (ev->reason);
    return !w->reason || strstr (reason, w->reason);
}

/* One part of the log: what matches is counted, *from moves on; *more: there is more. */
static int look (struct farm *f, uint64_t *from, bool *more, const struct event_want *w, int *count, char *reason, uint64_t *last, struct err *e)
{
    struct msg m = MSG_INIT (replay, 0), ev;
    struct net_in in;
    m.u.replay.from = *from;
    m.u.replay.limit = 256;
    if (ask (f, &m, MSG_events, &in, e) == -1)
        return -1;
    for (size_t i = 0; w && i < m.u.events.events.n; i++) {
        if (msg_decode_as (m.u.events.events.v[i], MSG_event, &ev, NULL) == -1)
            continue;
        if (matches (&ev.u.event, w)) {
            ++*count;
            if (reason)
                snprintf (reason, 256, "%.*s", (int) ev.u.event.reason.len, (const char *) ev.u.event.reason.p);
        }
        msg_release (&ev);
    }
    *last = m.u.events.last;
    *more = m.u.events.next > *from && m.u.events.next <= *last;
    *from = m.u.events.next;
    msg_release (&m);
    net_in_release (&in);
    return 0;
}

int farm_events (struct farm *f, uint64_t since, const struct event_want *w, char reason[256], struct err *e)
{
    int count = 0;
    uint64_t last;
    bool more = true;
    while (more)
        if (look (f, &since, &more, w, &count, reason, &last, e) == -1)
            return -1;
    return count;
}

uint64_t farm_seq (struct farm *f, struct err *e)
{
    uint64_t from = UINT64_MAX / 2, last = 0;
    bool more;
    int count = 0;
    return look (f, &from, &more, NULL, &count, NULL, &last, e) == -1 ? 0 : last;
}

int farm_event (struct farm *f, uint64_t since, const struct event_want *w, int timeout_ms, char reason[256], struct err *e)
{
    int n;
    for (int64_t until = time_mono_ms () + timeout_ms; (n = farm_events (f, since, w, reason, e)) == 0 && time_mono_ms () < until;)
        if (!proc_pause (LOOK_MS))
            return err_set (e, ERR_FAILED, "interrupted");
    return n > 0 ? 1 : n;
}

/* ---- workers and liars ---- */

int farm_honest (struct farm *f, bool at_work, struct err *e)
{
    if (f->resting == !at_work)
        return 0;
    for (unsigned i = 1; i <= FARM_WORKERS; i++) {
        CLEANUP (free_ptr) char *dir = farm_path (f, "realm/worker-%u", i);
        BUF (err);
        int status = farm_run (f, (const char *const[]){ "assay-worker", "--dir", dir, at_work ? "resume" : "pause", NULL }, NULL, &err, e);
        if (status)
            return status == -1 ? -1 : err_set (e, ERR_FAILED, "worker-%u does not listen to its owner: %.300s", i, buf_str (&err));
    }
    f->resting = !at_work;
    return 0;
}

int farm_liar (struct farm *f, struct proc **p, const char *name, const char *const args[], struct err *e)
{
    CLEANUP (free_ptr) char *out = farm_path (f, "logs/%s", name), *err = farm_path (f, "logs/%s.err", name), *path = program ("assay-liar");
    const char *argv[32] = { path };
    for (size_t n = 1; args[n - 1] && n < 31; n++)
        argv[n] = args[n - 1];
    return proc_start (p, &(struct proc_opts){ .argv = argv, .out = out, .err = err }, e);
}

int farm_worker_says (struct farm *f, unsigned worker, const char *text)
{
    CLEANUP (free_ptr) char *log = farm_path (f, "logs/worker-%u", worker);
    BUF (all);
    int n = 0;
    if (file_read (log, 16 << 20, &all, NULL) == -1)
        return 0;
    for (const char *s = buf_str (&all); (s = strstr (s, text)); s += strlen (text))
        n++;
    return n;
}
