#include "config.h"

#include "worker/agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "source/git.h"
#include "worker/cgroup.h"
#include "worker/control.h"
#include "worker/launch.h"
#include "worker/limits.h"
#include "worker/machine.h"
#include "worker/mode.h"
#include "worker/order.h"
#include "worker/runner.h"
#include "worker/sandbox.h"
#include "worker/terms.h"
#include "worker/trial.h"

#define SLOTS 64
#define PING_MS 2000
#define LOG_CHUNK 65536u
#define LEASE_END_US 10000000 /* a frozen step is handed back so long before its lease ends */
#define LEASE_LATE_US 3000000 /* one that has not ended by itself is ended so long after it */

struct slot {
    bool used, ended;         /* ended: the process is gone, its result waits for the broker's word */
    struct digest lease;
    char hex[DIGEST_HEX];
    pid_t pid;
    int fd;
    struct buf in, result;    /* records not yet taken; the result message, kept until the broker says ok */
    uint64_t offset, request; /* of the log; of the result message */
    bool sent;
    char project[128], step[64];
    int64_t cpus, memory, disk, begun, until; /* begun, until: microseconds; until: the lease's end */
    int64_t frozen, thawed_ms;                /* monotonic ms since when, 0: not now; and how long before that */
};

struct agent {
    struct realm *rl;
    struct conf *conf;
    char *state, *dir;
    enum mode mode;
    uint64_t done, errors, declined, handed_back, relay[2]; /* relay: connections of builds let through, and not */
    zsock_t *broker;
    char endpoint[256];
    uint8_t broker_key[32];
    int signals, control, lock;
    bool welcome, stop;
    int64_t heard, pinged, connected, looked;
    struct limits_seen seen;  /* of the machine, at `looked` */
    struct digest terms;      /* of the last that the broker was sent */
    uint64_t request;
    int credit;               /* last word to the broker; -1: none since it was connected */
    struct slot slots[SLOTS];
    struct trial trial;
};

static bool say (struct agent *a, const struct msg *m)
{
    struct err e = ERR_INIT;
    BUF (b);
    msg_encode (m, &b);
    return a->broker && net_send (a->broker, bytes_of (NULL, 0), buf_bytes (&b), &e) == 0;
}

static void hello (struct agent *a)
{
    struct msg m = MSG_INIT (hello, ++a->request);
    m.u.hello.min_version = m.u.hello.max_version = PROTO_VERSION;
    m.u.hello.software = bytes_str ("assay-worker");
    a->welcome = false;
    a->credit = -1;
    memset (&a->terms, 0, sizeof a->terms);
    a->connected = a->heard = time_mono_ms ();
    say (a, &m);
}

static void connect_broker (struct agent *a)
{
    struct err e = ERR_INIT;
    const struct principal *p = roster_role (realm_roster (a->rl), ROLE_BROKER, 0);
    zsock_destroy (&a->broker);
    a->connected = time_mono_ms ();
    if (!p)
        return;
    snprintf (a->endpoint, sizeof a->endpoint, "%s", p->endpoint);
    memcpy (a->broker_key, p->transport_key, 32);
    a->broker = net_dealer (a->endpoint, a->broker_key, &realm_keys (a->rl)->transport, 1000, &e);
    if (!a->broker)
        log_warn ("broker cannot be reached endpoint=%s why=%s", a->endpoint, e.msg);
    else
        hello (a);
}

/* The machine now, and our own steps on it. by: steps by section of the settings; NULL: not asked. */
static void look (struct agent *a, struct limits_seen *s, unsigned *by)
{
    int64_t now = time_mono_ms ();
    if (!a->looked || now - a->looked >= PING_MS / 2) {
        bool use = a->conf->idle_only;
        for (int i = 0; i < (int) a->conf->project_count; i++) {
            struct conf mine;
            conf_for_section (a->conf, i, &mine);
            use = use || mine.idle_only;
            conf_release (&mine);
        }
        machine_look (&a->seen, &(struct machine_opts){ "", a->state, use });
        a->looked = now;
    }
    *s = a->seen;
    s->paused = a->mode != MODE_RUNNING;
    if (a->trial.pid) { /* it takes what a step takes */
        s->held++;
        s->running++;
        s->own_cpus += a->conf->cpus;
    }
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *t = &a->slots[i];
        if (!t->used)
            continue;
        int section = conf_section (a->conf, bytes_str (t->project));
        s->held++;
        s->running += !t->frozen;
        s->own_cpus += t->frozen ? 0 : t->cpus;
        if (by)
            by[section < 0 ? a->conf->project_count : (size_t) section]++;
    }
}

/* How many more steps may start, whatever their project; with the drivers that work now, and what the broker is to know of projects. */
static unsigned credit (struct agent *a, unsigned *offered, const char **why, struct buf *terms)
{
    struct limits_seen s;
    unsigned by[CONF_PROJECTS_MAX + 1] = { 0 };
    BUF (unused);
    look (a, &s, by);
    bool any = terms_encode (a->conf, &s, by, terms ? terms : &unused);
    struct conf open = *a->conf; /* what stands against steps of every project has its word from the rest of the settings */
    unsigned n = limits_credit (a->conf, &s, why);
    *offered = trial_offer (&a->trial, a->conf, a->state);
    if (!*offered) {
        *why = *a->trial.why ? "KVM does not work here, and its owner allows no emulation" : "KVM is being tried";
        return 0;
    }
    if (n || !any)
        return n;
    char always[] = "";
    open.hours = always;
    open.on_battery = true;
    open.idle_only = false;
    return limits_credit (&open, &s, why);
}

static void ready (struct agent *a, bool again)
{
    const char *why;
    BUF (terms);
    unsigned offered, n = credit (a, &offered, &why, &terms);
    struct bytes words[64];
    struct err e = ERR_INIT;
    size_t count = 0;
    struct digest of = digest_of (terms.p, terms.len);
    bool same = digest_eq (&of, &a->terms);
    if (!a->welcome || (!again && same && a->credit == (int) n))
        return;
    if (!same && net_send (a->broker, bytes_of (NULL, 0), buf_bytes (&terms), &e) == 0)
        a->terms = of;
    for (const char *p = a->conf->projects; count < 64;) {
        p += strspn (p, " \t\n,");
        size_t len = strcspn (p, " \t\n,");
        if (!len)
            break;
        words[count++] = bytes_of (p, len > 127 ? 127 : len);
        p += len;
    }
    struct msg m = MSG_INIT (ready, 0);
    m.u.ready.credit = n;
    m.u.ready.isolation = offered ? offered : ISOLATION_QEMU; /* what it has in better times; it takes nothing now */
    m.u.ready.network = strcmp (a->conf->network, "realm") == 0 && sandbox_relays (offered) ? NETWORK_REALM : NETWORK_NONE;
    m.u.ready.cpus = (uint64_t) a->conf->cpus;
    m.u.ready.memory = (uint64_t) a->conf->memory;
    m.u.ready.disk = (uint64_t) a->conf->disk;
    m.u.ready.projects = (struct bytes_list){ words, count };
    if (say (a, &m))
        a->credit = (int) n;
}

/* ---- steps ---- */

static void reap (struct agent *a, struct slot *s)
{
    char *run = xasprintf ("%s.run", s->hex), *box = xasprintf ("%s.box", s->hex), *dir = xasprintf ("%s/steps/%s", a->state, s->hex);
    if (s->pid > 0) {
        kill (s->pid, SIGKILL);
        while (waitpid (s->pid, NULL, 0) == -1 && errno == EINTR) {
        }
        s->pid = -1;
    }
    cgroup_kill (run);
    cgroup_kill (box);
    file_remove_tree (dir, NULL);
    fd_close (&s->fd);
    buf_release (&s->in);
    free (run);
    free (box);
    free (dir);
}

static void drop (struct agent *a, struct slot *s)
{
    reap (a, s);
    buf_release (&s->result);
    memset (s, 0, sizeof *s);
    s->fd = -1;
    ready (a, true);
}

static void decline (struct agent *a, const struct digest *lease, const char *why)
{
    struct msg m = MSG_INIT (decline, 0);
    a->declined++;
    m.u.decline.lease = *lease;
    m.u.decline.reason = bytes_of (why, strnlen (why, 255));
    say (a, &m);
    ready (a, true);
}

static void send_result (struct agent *a, struct slot *s)
{
    struct err e = ERR_INIT;
    s->sent = a->broker && a->welcome && net_send (a->broker, bytes_of (NULL, 0), buf_bytes (&s->result), &e) == 0;
}

static void finish (struct agent *a, struct slot *s, unsigned kind, struct bytes sealed, const char *text)
{
    struct msg m = MSG_INIT (result, ++a->request);
    BUF (clean);
    text_clean (bytes_of (text, strnlen (text, 600)), false, &clean);
    m.u.result.lease = s->lease;
    m.u.result.kind = kind;
    m.u.result.sealed = sealed;
    m.u.result.text = buf_bytes (&clean);
    msg_encode (&m, &s->result);
    s->request = m.request;
    s->ended = true;
    *(kind == RESULT_OUTCOME ? &a->done : &a->errors) += 1;
    log_info ("step done lease=%.12s kind=%s why=%s", s->hex, kind == RESULT_OUTCOME ? "outcome" : "error", text);
    send_result (a, s); /* first: what is left of the step is cleared away meanwhile, and its credit comes back only after that */
    reap (a, s);
    launch_spare (a->dir);
}

/* What its owner has against this step, now. mine: the settings for its project. */
static bool refuses (struct agent *a, const struct order *o, const struct conf *mine, char *why, size_t size)
{
    struct limits_seen seen;
    unsigned by[CONF_PROJECTS_MAX + 1] = { 0 };
    const char *text = NULL;
    struct err e = ERR_INIT;
    unsigned offered = trial_offer (&a->trial, a->conf, a->state);
    look (a, &seen, by);
    int section = conf_section (a->conf, o->submission->project);
    if (seen.paused || seen.held >= (unsigned) a->conf->steps || seen.free_disk < a->conf->free_disk)
        limits_credit (a->conf, &seen, &text);
    else if (!limits_project (a->conf->projects, o->submission->project))
        text = "its owner does not let this worker work on this project";
    else if (!limits_name (mine->submitters, o->submission->submitter))
        text = "its owner does not let this worker work for this submitter";
    else if (o->network == NETWORK_REALM && (strcmp (mine->network, "realm") != 0 || !sandbox_relays (offered)))
        text = "its owner gives builds no network";
    else if (!sandbox_choose (a->conf, offered, &(struct sandbox_needs){ order_isolation (o, realm_roster (a->rl)), true, o->network == NETWORK_REALM }, &e))
        text = e.msg;
    else if (!(text = limits_busy (mine, &seen)) && by[section < 0 ? a->conf->project_count : (size_t) section] >= (unsigned) mine->steps)
        text = "as many steps of this project run as its owner allows";
    else if (!text)
        return !conf_allows (mine, o->step, why, size);
    snprintf (why, size, "%s", text ? text : "its owner is against it");
    return true;
}

static void on_lease (struct agent *a, const struct msg_lease *m)
{
    struct err e = ERR_INIT;
    struct envelope v;
    struct order o;
    struct slot *s = NULL;
    char why[256];
    if (envelope_open (m->lease, TYPE_LEASE, &v, &e) == -1) {
        log_peer ("broker", &e);
        return;
    }
    struct digest id = envelope_id (&v);
    envelope_release (&v);
    for (int i = 0; i < SLOTS; i++)
        if (a->slots[i].used && digest_eq (&a->slots[i].lease, &id))
            return; /* the same once more */
    for (int i = 0; i < SLOTS && !s; i++)
        if (!a->slots[i].used)
            s = &a->slots[i];
    BUF (boxes);
    bool checked = order_check (&o, realm_roster (a->rl), realm_name (a->rl), m->lease, m->submission, time_now_us (), &e) == 0;
    if (!checked || order_boxes (&o, &m->boxes, &boxes, &e) == -1) {
        log_peer ("broker", &e);
        decline (a, &id, e.msg);
        if (checked)
            order_release (&o);
        return;
    }
    struct conf mine;
    conf_for (a->conf, o.submission->project, &mine);
    if (!s || refuses (a, &o, &mine, why, sizeof why))
        decline (a, &id, s ? why : "all slots are taken");
    else {
        memset (s, 0, sizeof *s);
        s->used = true;
        s->fd = -1;
        s->lease = id;
        s->cpus = sandbox_limit (mine.cpus, o.step->cpus);
        s->memory = sandbox_limit (mine.memory, o.step->memory);
        s->disk = sandbox_limit (mine.disk, o.step->disk);
        s->begun = time_now_us ();
        s->until = (int64_t) o.lease->expires;
        bytes_copy (o.submission->project, s->project, sizeof s->project);
        bytes_copy (o.step->name, s->step, sizeof s->step);
        digest_hex (&id, s->hex);
        struct launch_opts lo = { a->dir, a->state, s->hex, &mine, m->lease, m->submission, buf_bytes (&boxes) };
        if (launch (&lo, &s->pid, &s->fd, &e) == -1)
            finish (a, s, RESULT_ERROR, bytes_of (NULL, 0), e.msg);
        else
            log_info ("step starts lease=%.12s step=%s", s->hex, s->step);
    }
    conf_release (&mine);
    order_release (&o);
}

/* Take what the step's process said; logs stay in the buffer while the broker cannot take them. */
static void drain (struct agent *a, struct slot *s)
{
    bool end = false;
    while (s->in.len < 4 * RUNNER_RECORD_MAX) {
        uint8_t b[65536];
        ssize_t n = read (s->fd, b, sizeof b);
        if (n > 0)
            buf_add (&s->in, b, (size_t) n);
        else {
            end = n == 0 || (errno != EAGAIN && errno != EINTR);
            break;
        }
    }
    size_t at = 0, used;
    char kind = 0;
    struct bytes data;
    int got;
    while ((got = runner_read (bytes_of (s->in.p + at, s->in.len - at), &kind, &data, &used)) == 1) {
        if (kind == RUNNER_OUTCOME) {
            finish (a, s, RESULT_OUTCOME, data, "");
            return;
        }
        if (kind == RUNNER_ERROR) {
            char *text = bytes_dup (data);
            finish (a, s, RESULT_ERROR, bytes_of (NULL, 0), text);
            free (text);
            return;
        }
        if (kind == RUNNER_REFUSED) {
            char *text CLEANUP (free_ptr) = bytes_dup (data);
            struct digest lease = s->lease;
            log_info ("step refused lease=%.12s why=%s", s->hex, text);
            drop (a, s);
            decline (a, &lease, text);
            return;
        }
        if (kind == RUNNER_RELAY) {
            runner_relay (data, a->relay);
            at += used;
            continue;
        }
        if (data.len > LOG_CHUNK)
            break;
        struct msg m = MSG_INIT (log, 0);
        m.u.log.lease = s->lease;
        m.u.log.offset = s->offset;
        m.u.log.data = data;
        if (!a->welcome || !say (a, &m))
            break;
        s->offset += data.len;
        at += used;
    }
    memmove (s->in.p, s->in.p + at, s->in.len - at);
    s->in.len -= at;
    if (got == -1 || (end && got == 0))
        finish (a, s, RESULT_ERROR, bytes_of (NULL, 0), "the step's process ended without a result");
}

/* ---- the broker's words ---- */

static struct slot *find (struct agent *a, const struct digest *lease)
{
    for (int i = 0; i < SLOTS; i++)
        if (a->slots[i].used && digest_eq (&a->slots[i].lease, lease))
            return &a->slots[i];
    return NULL;
}

static void on_welcome (struct agent *a)
{
    struct bytes held[SLOTS];
    size_t n = 0;
    a->welcome = true;
    for (int i = 0; i < SLOTS; i++)
        if (a->slots[i].used)
            held[n++] = bytes_of (a->slots[i].lease.b, 32);
    struct msg m = MSG_INIT (holding, 0);
    m.u.holding.leases = (struct bytes_list){ held, n };
    say (a, &m);
    for (int i = 0; i < SLOTS; i++)
        if (a->slots[i].used && a->slots[i].ended)
            send_result (a, &a->slots[i]);
    ready (a, true);
}

static void on_message (struct agent *a, const struct msg *m)
{
    struct slot *s = NULL;
    a->heard = time_mono_ms ();
    for (int i = 0; m->request && i < SLOTS; i++)
        if (a->slots[i].used && a->slots[i].ended && a->slots[i].request == m->request)
            s = &a->slots[i];
    switch (m->type) {
    case MSG_welcome: on_welcome (a); break;
    case MSG_pong: break;
    case MSG_lease: on_lease (a, &m->u.lease); break;
    case MSG_ok:
        if (s)
            drop (a, s);
        break;
    case MSG_revoked_lease:
        s = find (a, &m->u.revoked_lease.lease);
        if (s) {
            log_info ("step stopped lease=%.12s", s->hex);
            drop (a, s);
        }
        break;
    case MSG_error:
        log_warn ("refused code=%.*s why=%.*s", (int) m->u.error.code.len, (const char *) m->u.error.code.p, (int) m->u.error.text.len, (const char *) m->u.error.text.p);
        if (s && (bytes_eqs (m->u.error.code, err_name (EC_BUSY)) || bytes_eqs (m->u.error.code, err_name (EC_INTERNAL))))
            s->sent = false; /* it could not be stored now: again with the next ping */
        else if (s)
            drop (a, s); /* the lease is over: nobody wants it */
        else if (a->welcome && bytes_eqs (m->u.error.code, err_name (EC_UNEXPECTED)))
            hello (a); /* a restarted broker does not know this connection */
        break;
    default: break;
    }
}

static void receive (struct agent *a)
{
    struct net_in in;
    struct err e = ERR_INIT;
    for (int i = 0, got; a->broker && i < 100; i++) {
        struct msg m;
        got = net_recv (a->broker, &in, &e);
        if (got == 0)
            return;
        if (got == 1 && msg_decode (in.data, &m, &e) == 0) {
            on_message (a, &m);
            msg_release (&m);
        } else
            log_peer ("broker", &e);
        net_in_release (&in);
    }
}

static void tick (struct agent *a)
{
    int64_t now = time_mono_ms ();
    const struct principal *p = roster_role (realm_roster (a->rl), ROLE_BROKER, 0);
    bool moved = p && (strcmp (p->endpoint, a->endpoint) != 0 || memcmp (p->transport_key, a->broker_key, 32) != 0);
    if (moved || (now - a->heard > 4 * PING_MS && now - a->connected > 4 * PING_MS))
        connect_broker (a);
    if (now - a->pinged >= PING_MS && a->welcome) {
        struct msg m = MSG_INIT (ping, 0);
        m.u.ping.time = (uint64_t) time_now_us ();
        say (a, &m);
        a->pinged = now;
        for (int i = 0; i < SLOTS; i++)
            if (a->slots[i].used && a->slots[i].ended && !a->slots[i].sent)
                send_result (a, &a->slots[i]);
        ready (a, false);
    }
}

/* ---- the owner's word ---- */

/* The lease goes back: nothing of the step is left here when the broker hears of it. */
static void hand_back (struct agent *a, struct slot *s, const char *why)
{
    struct msg m = MSG_INIT (handback, 0);
    struct digest lease = s->lease;
    log_info ("step handed back lease=%.12s why=%s", s->hex, why);
    a->handed_back++;
    drop (a, s);
    m.u.handback.lease = lease;
    m.u.handback.reason = bytes_of (why, strnlen (why, 255));
    say (a, &m);
    ready (a, true); /* the broker took our credit with it */
}

static void thaw (struct agent *a, struct slot *s)
{
    CLEANUP (free_ptr) char *box = xasprintf ("%s.box", s->hex);
    (void) a;
    if (!s->frozen)
        return;
    cgroup_freeze (box, false);
    s->thawed_ms += time_mono_ms () - s->frozen;
    s->frozen = 0;
    log_info ("step goes on lease=%.12s", s->hex);
}

/* The group may not be there yet, or come anew, so this is said again and again. */
static void freeze (struct agent *a, struct slot *s, const char *why)
{
    CLEANUP (free_ptr) char *box = xasprintf ("%s.box", s->hex);
    int64_t now = time_mono_ms ();
    if (strcmp (cgroup_kind (), "none") == 0) {
        hand_back (a, s, why); /* nothing here can freeze */
        return;
    }
    if (!s->frozen) {
        s->frozen = now;
        log_info ("step frozen lease=%.12s why=%s", s->hex, why);
    }
    cgroup_freeze (box, true);
    if (now - s->frozen > a->conf->freeze_ms)
        hand_back (a, s, "its owner had it frozen for as long as the settings allow");
    else if (time_now_us () > s->until - LEASE_END_US)
        hand_back (a, s, "its owner had it frozen until the lease was nearly over");
}

/* What is to become of the steps that run: asked each turn. */
static void hold (struct agent *a)
{
    struct limits_seen seen;
    bool any = false;
    /* Nobody wants what comes after the lease's end. A step's process keeps that time itself, but may hang in its words to us, which wait for a
     * broker that is away; what is left of it on this machine is not to wait for that broker. */
    for (int i = 0; i < SLOTS; i++) {
        struct slot *s = &a->slots[i];
        if (s->used && !s->ended && time_now_us () > s->until + LEASE_LATE_US)
            finish (a, s, RESULT_ERROR, bytes_of (NULL, 0), "the lease's time is over");
        any = any || (s->used && !s->ended);
    }
    if (!any)
        return;
    look (a, &seen, NULL);
    for (int i = 0; i < SLOTS; i++) {
        struct slot *s = &a->slots[i];
        struct conf mine;
        if (!s->used || s->ended)
            continue;
        conf_for (a->conf, bytes_str (s->project), &mine);
        const char *why = a->mode == MODE_PAUSED ? "its owner paused the worker" : a->mode == MODE_RUNNING ? limits_busy (&mine, &seen) : NULL;
        enum conf_hold how = !why ? CONF_FINISH : conf_hold (a->mode == MODE_PAUSED ? a->conf->on_pause : a->conf->on_busy);
        conf_release (&mine);
        if (how == CONF_FREEZE)
            freeze (a, s, why);
        else if (how == CONF_HAND_BACK)
            hand_back (a, s, why);
        else
            thaw (a, s);
    }
}

static int set_mode (struct agent *a, enum mode mode, struct err *e)
{
    if (mode_keep (a->state, mode, e) == -1)
        return -1;
    if (mode != a->mode)
        log_info ("%s", mode == MODE_RUNNING ? "resumed" : mode_name (mode));
    a->mode = mode;
    return 0;
}

static void apply (const struct conf *c)
{
    git_allow_file (c->file_urls);
    cgroup_weight (c->nice, strcmp (c->cpu_priority, "idle") == 0);
}

/* The settings as they are now, all of them or none. Running steps keep those that they began with. */
static int reload (struct agent *a, struct err *e)
{
    struct conf c;
    if (conf_open (&c, a->dir, e) == -1)
        return -1;
    vm_kvm_forget (a->state); /* the owner's word, also for having it tested again */
    if (!sandbox_offer (&c, a->state, NULL, e)
        || (c.require_cgroups && strcmp (cgroup_kind (), "none") == 0 && err_set (e, ERR_FAILED, "require-cgroups = yes: there are no usable cgroups here"))) {
        conf_release (&c);
        return -1;
    }
    conf_release (a->conf);
    *a->conf = c;
    a->looked = 0;
    apply (a->conf);
    log_info ("settings read again");
    ready (a, true);
    return 0;
}

static void on_word (void *arg, const char *word, struct buf *json)
{
    struct agent *a = arg;
    struct err e = ERR_INIT;
    struct control_step steps[SLOTS];
    unsigned offered;
    struct control_status st = { .name = realm_name (a->rl), .isolation = a->conf->isolation, .cgroups = cgroup_kind (), .network = a->conf->network, .connected = a->welcome,
                                 .steps = (uint64_t) a->conf->steps, .step = steps };
    int rc = strcmp (word, "pause") == 0    ? set_mode (a, MODE_PAUSED, &e)
           : strcmp (word, "drain") == 0  ? set_mode (a, MODE_DRAINING, &e)
           : strcmp (word, "resume") == 0 ? set_mode (a, MODE_RUNNING, &e)
           : strcmp (word, "reload") == 0 ? reload (a, &e)
                                          : 0;
    hold (a);
    ready (a, false);
    st.credit = credit (a, &offered, &st.why, NULL);
    for (int i = 0; i < SLOTS; i++) {
        const struct slot *s = &a->slots[i];
        if (s->used)
            steps[st.step_count++] = (struct control_step){ .lease = s->hex, .project = s->project, .step = s->step, .state = s->ended ? "sending" : s->frozen ? "frozen" : "running",
                                                            .since = s->begun, .until = s->until, .cpus = s->cpus, .memory = s->memory, .disk = s->disk,
                                                            .frozen_ms = s->thawed_ms + (s->frozen ? time_mono_ms () - s->frozen : 0) };
    }
    st.accelerator = vm_accel_name (a->trial.accel);
    st.kvm = a->trial.why;
    st.relay_passed = a->relay[0];
    st.relay_refused = a->relay[1];
    st.done = a->done;
    st.errors = a->errors;
    st.declined = a->declined;
    st.handed_back = a->handed_back;
    st.state = a->mode == MODE_DRAINING && !st.step_count ? "drained" : mode_name (a->mode);
    st.isolation = a->conf->isolation; /* a reload may have changed them */
    st.network = a->conf->network;
    st.steps = (uint64_t) a->conf->steps;
    st.error = rc == -1 ? e.msg : NULL;
    control_write (&st, json);
}

/* ---- life ---- */

static int sweep (struct agent *a, struct err *e)
{
    char *steps = xasprintf ("%s/steps", a->state);
    cgroup_sweep ();
    int rc = file_remove_tree (steps, e);
    free (steps);
    return rc;
}

int agent_open (struct agent **out, struct realm *rl, struct conf *conf, int signals, struct err *e)
{
    struct agent *a = xcalloc (1, sizeof *a);
    BUF (lacking);
    a->rl = rl;
    a->conf = conf;
    a->signals = signals;
    a->control = a->lock = -1;
    a->credit = -1;
    a->dir = xstrdup (realm_dir (rl));
    a->state = xasprintf ("%s/state", a->dir);
    for (int i = 0; i < SLOTS; i++)
        a->slots[i].fd = -1;
    CLEANUP (free_ptr) char *lock = xasprintf ("%s/lock", a->state);
    *out = NULL;
    if (file_mkdirs (a->state, 0700, e) == -1 || (a->lock = file_lock (lock, e)) == -1)
        goto fail;
    if (cgroup_setup (a->state, e) == -1) {
        if (conf->require_cgroups)
            goto fail;
        log_warn ("working without cgroups, as the owner allows: rlimits and namespaces only");
    }
    vm_kvm_forget (a->state);
    if (sweep (a, e) == -1 || !sandbox_offer (conf, a->state, &lacking, e) || (a->control = control_open (a->state, e)) == -1)
        goto fail;
    if (lacking.len)
        log_warn ("listed under isolation, but not offered why=%s", buf_str (&lacking));
    apply (conf);
    if ((a->mode = mode_kept (a->state)) != MODE_RUNNING)
        log_info ("%s, as before the restart", mode_name (a->mode));
    *out = a;
    return 0;
fail:
    agent_close (&a);
    return -1;
}

int agent_run (struct agent *a, struct err *e)
{
    connect_broker (a);
    launch_spare (a->dir);
    while (!a->stop) {
        zmq_pollitem_t items[SLOTS + 4];
        struct slot *of[SLOTS];
        int n = 0, steps = 0;
        items[n++] = (zmq_pollitem_t){ NULL, a->signals, ZMQ_POLLIN, 0 };
        items[n++] = (zmq_pollitem_t){ NULL, a->control, ZMQ_POLLIN, 0 };
        items[n++] = (zmq_pollitem_t){ NULL, realm_sync_fd (a->rl), ZMQ_POLLIN, 0 };
        for (int i = 0; i < SLOTS; i++)
            if (a->slots[i].used && a->slots[i].fd != -1 && a->slots[i].in.len < 4 * RUNNER_RECORD_MAX) {
                of[steps++] = &a->slots[i];
                items[n++] = (zmq_pollitem_t){ NULL, a->slots[i].fd, ZMQ_POLLIN, 0 };
            }
        if (a->broker)
            items[n++] = (zmq_pollitem_t){ zsock_resolve (a->broker), 0, ZMQ_POLLIN, 0 };
        if (zmq_poll (items, n, 500) == -1 && errno != EINTR)
            return err_errno (e, "poll");
        if (items[0].revents) {
            struct signalfd_siginfo si;
            struct err why = ERR_INIT;
            bool got = read (a->signals, &si, sizeof si) == sizeof si;
            if (got && si.ssi_signo == SIGHUP) {
                if (reload (a, &why) == -1)
                    log_error ("the settings stay as they were why=%s", why.msg);
            } else if (got)
                a->stop = true;
        }
        if (items[1].revents)
            control_take (a->control, on_word, a);
        if (items[2].revents)
            realm_poll (a->rl);
        for (int i = 0; i < steps; i++)
            if (items[3 + i].revents && of[i]->used && of[i]->fd != -1) /* not one that the owner's word has just ended */
                drain (a, of[i]);
        receive (a);
        /* what could not be sent before */
        for (int i = 0; i < SLOTS; i++)
            if (a->slots[i].used && a->slots[i].fd != -1 && a->slots[i].in.len)
                drain (a, &a->slots[i]);
        hold (a);
        tick (a);
        struct limits_seen seen;
        look (a, &seen, NULL);
        struct trial_leave leave = { .go_on = a->mode == MODE_RUNNING && !limits_busy (a->conf, &seen), .start = seen.held < (unsigned) a->conf->steps };
        if (trial_turn (&a->trial, a->dir, a->conf, a->state, leave))
            ready (a, true);
    }
    a->mode = MODE_PAUSED; /* only in memory: no credit any more */
    for (int i = 0; i < SLOTS; i++)
        if (a->slots[i].used && !a->slots[i].ended)
            hand_back (a, &a->slots[i], "its owner stopped the worker");
    return 0;
}

void agent_close (struct agent **pa)
{
    struct agent *a = *pa;
    if (!a)
        return;
    for (int i = 0; i < SLOTS; i++)
        if (a->slots[i].used) {
            reap (a, &a->slots[i]);
            buf_release (&a->slots[i].result);
        }
    launch_end ();
    trial_end (&a->trial);
    zsock_destroy (&a->broker);
    fd_close (&a->control);
    if (a->lock != -1)
        cgroup_leave ();
    fd_close (&a->lock);
    free (a->state);
    free (a->dir);
    free (a);
    *pa = NULL;
}
