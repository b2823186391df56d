#include "config.h"

#include "worker/runner.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "store/client.h"
#include "worker/cgroup.h"
#include "worker/checkout.h"
#include "worker/collect.h"
#include "worker/image.h"
#include "worker/image_meta.h"
#include "worker/report.h"
#include "worker/sandbox.h"

static int say_fd;
static bool refused; /* the step, by its sandbox */

static void say (char kind, struct bytes data)
{
    uint8_t head[5] = { (uint8_t) kind, (uint8_t) (data.len >> 24), (uint8_t) (data.len >> 16), (uint8_t) (data.len >> 8), (uint8_t) data.len };
    if (!file_write_all (say_fd, head, sizeof head) || !file_write_all (say_fd, data.p, data.len))
        _exit (1); /* the agent is gone */
}

int runner_read (struct bytes in, char *kind, struct bytes *data, size_t *used)
{
    if (in.len < 5)
        return 0;
    uint32_t n = (uint32_t) in.p[1] << 24 | (uint32_t) in.p[2] << 16 | (uint32_t) in.p[3] << 8 | in.p[4];
    if (n > RUNNER_RECORD_MAX || (in.p[0] != RUNNER_LOG && in.p[0] != RUNNER_OUTCOME && in.p[0] != RUNNER_ERROR && in.p[0] != RUNNER_REFUSED && in.p[0] != RUNNER_RELAY))
        return -1;
    if (in.len - 5 < n)
        return 0;
    *kind = (char) in.p[0];
    *data = bytes_of (in.p + 5, n);
    *used = 5 + n;
    return 1;
}

void runner_relay (struct bytes data, uint64_t sum[2])
{
    uint64_t n[2];
    if (data.len != sizeof n)
        return;
    memcpy (n, data.p, sizeof n);
    sum[0] += n[0];
    sum[1] += n[1];
}

static void log_out (void *arg, const void *p, size_t len)
{
    (void) arg;
    for (size_t at = 0; at < len;) { /* a record is at most what one log message carries */
        size_t n = len - at > 65536 ? 65536 : len - at;
        say (RUNNER_LOG, bytes_of ((const uint8_t *) p + at, n));
        at += n;
    }
}

static void log_text (const char *text)
{
    say (RUNNER_LOG, bytes_str (text));
}

static void add_note (void *arg, const char *text)
{
    buf_addf (arg, "%s\n", text);
}

struct read_inputs { /* what was read */
    struct digest artifacts[64], openings[64];
};

static int get_inputs (struct realm *rl, const struct order *o, struct bytes lease, struct bytes submission, struct bytes boxes, const struct conf *c, const char *dir,
                       struct read_inputs *out, struct err *e)
{
    memset (out, 0, sizeof *out);
    if (boxes.len && boxes.len != o->lease->inputs.n * BLIND_BOX)
        return err_code (e, EC_MALFORMED, "the boxes of the inputs");
    for (size_t i = 0; i < o->step->needs.n; i++) {
        char name[64];
        struct store_input in = { .submission = o->submission_id, .box = boxes.len ? blind_box (boxes.p + i * BLIND_BOX) : boxes };
        memcpy (in.name.b, o->lease->inputs.v[i].p, 32);
        if (!bytes_copy (o->step->needs.v[i], name, sizeof name) || !name_valid (name))
            return err_code (e, EC_MALFORMED, "the name of an input");
        char *to = xasprintf ("%s/%s", dir, name);
        int rc = store_get_input (rl, &in, to, lease, submission, (int) c->fetch_ms, e);
        out->artifacts[i] = in.artifact;
        out->openings[i] = in.opening;
        free (to);
        if (rc == -1)
            return err_wrap (e, "input %s", name);
    }
    return 0;
}

/* The host as far as it may explain a difference. */
static char *host_text (unsigned kind, const char *start)
{
    struct utsname u;
    char cpu[128] = "", line[256];
    uname (&u);
    FILE *f = fopen ("/proc/cpuinfo", "re");
    while (f && !*cpu && fgets (line, sizeof line, f))
        if (sscanf (line, "model name : %127[^\n]", cpu) == 1)
            break;
    if (f)
        fclose (f);
    return xasprintf ("kernel=%s cpu=%s driver=%s%s%s", u.release, cpu, sandbox_version (kind), *start ? " start=" : "", start);
}

struct outcome {
    unsigned exit_status;
    struct digest artifact;
    struct buf receipt, manifest, notes;
};

/* Collect and upload. 0: done, or the step failed by its artifacts; -1: trouble of ours. */
static int deliver (struct realm *rl, const struct order *o, struct bytes lease, const struct conf *c, struct sandbox *box, const struct runner_hooks *hooks, struct outcome *out, struct err *e)
{
    struct err why = ERR_INIT;
    char *tree = xasprintf ("%s/tree", sandbox_area (box));
    int rc = -1, fd = -1;
    if (mkdir (tree, 0755) == -1) {
        err_errno (e, "%s", tree);
        goto out;
    }
    struct collect_opts co = { sandbox_out (box), sandbox_src (box), tree, &o->step->artifacts, MANIFEST_ENTRIES_MAX, o->lease->max_bytes };
    int got = collect (&co, &out->notes, &why);
    if (got == 0 && hooks && hooks->collected)
        hooks->collected (tree);
    if (got == 0 && (fd = open (tree, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) != -1)
        got = manifest_scan (fd, add_note, &out->notes, &out->manifest, &why);
    if (got == -1) { /* the step's own failure: said in its log and in the result */
        out->exit_status = out->exit_status ? out->exit_status : 1;
        buf_release (&out->manifest);
        buf_addf (&out->notes, "%s\n", why.msg);
        rc = 0;
        goto out;
    }
    out->artifact = manifest_digest (buf_bytes (&out->manifest));
    if (o->step->artifacts.n)
        rc = store_put (rl, fd, buf_bytes (&out->manifest), lease, (int) c->upload_ms, &out->receipt, e);
    else
        rc = 0;
    if (rc == -1)
        err_wrap (e, "upload");
out:
    fd_close (&fd);
    free (tree);
    return rc;
}

/* What the build may reach: the git server of its submission, and the broker and store that the roster names. server: where the source is fetched
 * from as well. */
static int plan_network (struct realm *rl, struct relay_target *server, const struct conf *c, struct relay_plan *p, struct err *e)
{
    static const unsigned roles[] = { ROLE_BROKER, ROLE_STORE };
    char host[RELAY_HOST_MAX + 1];
    uint16_t port;
    bool passed_on = *server->host && !strchr (server->host, ':');
    memset (p, 0, sizeof *p);
    if (passed_on)
        relay_plan_add (p, server->host, server->port, false);
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        const struct principal *who = roster_role (realm_roster (rl), roles[i], 0);
        if (who && relay_endpoint (bytes_str (who->endpoint), host, &port))
            relay_plan_add (p, host, port, true);
        if (who && relay_endpoint (bytes_str (who->events), host, &port))
            relay_plan_add (p, host, port, true);
    }
    int rc = relay_resolve (p, c->file_urls, e);
    if (passed_on)
        *server = p->t[0];
    return rc;
}

static void tell_relay (const struct relay_plan *p, const struct relay_counts *n, struct buf *notes)
{
    const uint64_t b[2] = { n->passed, n->failed + n->refused };
    relay_text (p, n, notes);
    say (RUNNER_RELAY, bytes_of (b, sizeof b));
}

static int run_step (struct realm *rl, const char *state, const char *hex, struct bytes lease, struct bytes submission, struct bytes boxes, const struct conf *c,
                     const struct runner_hooks *hooks, struct err *e)
{
    struct order o;
    struct sandbox *box = NULL;
    struct sandbox_run run;
    struct outcome out;
    struct read_inputs *read CLEANUP (free_ptr) = xcalloc (1, sizeof *read);
    struct realm *own = rl;
    BUF (note);
    BUF (sealed);
    char *step = xasprintf ("%s/steps/%s", state, hex), *mount_at = xasprintf ("%s/image", step), *inputs = xasprintf ("%s/in", step), *image = NULL, *root = NULL, *host = NULL;
    struct image_meta meta;
    int image_lock = -1, rc = -1;
    int64_t started = time_now_us ();
    unsigned kind = 0;
    memset (&out, 0, sizeof out);
    out.artifact = manifest_empty ();
    if (order_check (&o, realm_roster (own), realm_name (own), lease, submission, started, e) == -1)
        goto early;
    bool relayed = o.network == NETWORK_REALM && strcmp (c->network, "realm") == 0;
    struct image_opts io = { state, &o.lease->image, lease, submission, (int) c->fetch_ms, c->image_cache };
    if (image_open (rl, &io, &image, &meta, &image_lock, e) == -1)
        goto out;
    unsigned offered = sandbox_offer (c, state, NULL, NULL);
    struct sandbox_needs needs = { order_isolation (&o, realm_roster (own)), meta.bootable, relayed, meta.guest };
    if (!(kind = sandbox_choose (c, offered, &needs, e))) { /* this machine's fault, or the image's? */
        refused = !sandbox_choose (c, offered, &(struct sandbox_needs){ needs.isolation, true, false, 0 }, NULL);
        goto out;
    }
    if ((kind != ISOLATION_QEMU && image_mount (&io, image, mount_at, &root, image_lock, e) == -1) || file_mkdirs (inputs, 0755, e) == -1
        || get_inputs (rl, &o, lease, submission, boxes, c, inputs, read, e) == -1)
        goto out;
    struct relay_plan relay;
    struct relay_target server;
    if (checkout_server (&o, &server, e) == -1 || (relayed && plan_network (rl, &server, c, &relay, e) == -1))
        goto out;
    struct checkout_opts co = { .state = state, .server = &server, .loopback = c->file_urls, .timeout_ms = (int) c->fetch_ms, .max_files = (uint64_t) c->files, .max_bytes = (uint64_t) c->disk };
    struct sandbox_opts so = { .relay = relayed ? &relay : NULL, .kind = kind, .name = hex, .dir = step, .image = root, .image_dir = image, .state = state, .max_bytes = o.lease->max_bytes,
                               .inputs = o.step->needs.n ? inputs : NULL, .conf = c, .step = o.step,
                               .source_date = o.submission->source_date, .log = log_out, .refused = &refused };
    if (sandbox_open (&box, &so, e) == -1)
        goto out;
    co.src = sandbox_src (box);
    if (checkout (&o, &co, e) == -1)
        goto out;
    int64_t left = ((int64_t) o.lease->expires - time_now_us ()) / 1000, limit = sandbox_limit (c->time_ms, o.step->time_ms);
    sandbox_deadline (box, time_mono_ms () + (left < limit ? left : limit), time_mono_ms () + left);
    if (sandbox_run (box, &run, e) == -1)
        goto out;
    out.exit_status = run.exit_status;
    if (relayed)
        tell_relay (&relay, &run.relay, &out.notes);
    if (run.timed_out)
        buf_addf (&out.notes, "stopped at the time limit of %lld s\n", (long long) ((left < limit ? left : limit) / 1000));
    if (run.out_of_memory)
        buf_addf (&out.notes, "the memory limit was reached: something was killed\n");
    if (run.log_cut)
        buf_addf (&out.notes, "log cut at %lld bytes\n", (long long) c->log);
    if (!run.exit_status && deliver (rl, &o, lease, c, box, hooks, &out, e) == -1)
        goto out;
    if (out.notes.len > 8192)
        out.notes.len = 8192;
    if (out.notes.len) {
        BUF (text);
        buf_addf (&text, "[assay] %s", buf_str (&out.notes));
        log_text (buf_str (&text));
    }
    host = host_text (kind, sandbox_start (box));
    text_clean (buf_bytes (&out.notes), true, &note);
    struct report rep = { kind, out.exit_status, relayed ? NETWORK_REALM : NETWORK_NONE, out.artifact, read->artifacts, read->openings, lease, buf_bytes (&out.receipt), buf_bytes (&out.manifest), started, time_now_us (), host, buf_str (&note),
                          sandbox_accelerator (box) };
    rc = report_seal (rl, &o, &rep, &sealed, e);
    if (rc == 0) /* before the rest is cleared away, which the agent does as well if we are not quick: nothing of the step runs any more */
        say (RUNNER_OUTCOME, buf_bytes (&sealed));
out:
    order_release (&o);
early:
    sandbox_close (&box);
    fd_close (&image_lock);
    buf_release (&out.receipt);
    buf_release (&out.manifest);
    buf_release (&out.notes);
    free (host);
    free (image);
    free (root);
    free (step);
    free (mount_at);
    free (inputs);
    return rc;
}

int runner_main (const char *dir, const struct conf *conf, const char *hex, int fd, const struct runner_hooks *hooks)
{
    struct err e = ERR_INIT;
    struct realm *rl = NULL;
    struct digest id;
    BUF (lease);
    BUF (submission);
    BUF (boxes);
    say_fd = fd;
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    umask (022);
    char *state = xasprintf ("%s/state", dir), *l = xasprintf ("%s/steps/%s/lease", state, hex), *s = xasprintf ("%s/steps/%s/submission", state, hex),
         *b = xasprintf ("%s/steps/%s/boxes", state, hex),
         *group = xasprintf ("%s.run", hex);
    int rc = -1;
    unsigned offered;
    if (!digest_parse (hex, &id))
        err_set (&e, ERR_USAGE, "--step: not an id");
    else if ((cgroup_setup (state, &e) == 0 || !conf->require_cgroups) && cgroup_make (group, &(struct cgroup_limits){ 0 }, &e) == 0 && cgroup_enter (group) == 0
             && !(refused = !(offered = sandbox_offer (conf, state, NULL, &e))) && sandbox_enter (offered, state, &e) == 0 && file_read (l, 8192, &lease, &e) == 0
             && file_read (s, 1 << 20, &submission, &e) == 0 && file_read (b, 64 * BLIND_BOX, &boxes, &e) == 0 && realm_open (&rl, dir, &e) == 0)
        rc = run_step (rl, state, hex, buf_bytes (&lease), buf_bytes (&submission), buf_bytes (&boxes), conf, hooks, &e);
    if (rc == -1)
        say (refused ? RUNNER_REFUSED : RUNNER_ERROR, bytes_str (*e.msg ? e.msg : "the step's control group cannot be entered"));
    realm_close (&rl);
    free (state);
    free (l);
    free (s);
    free (b);
    free (group);
    return 0;
}
