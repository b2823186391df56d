#include "config.h"

#include "worker/conf.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/limits.h"

#define AT(f) offsetof (struct conf, f)
const struct config_row conf_rows[] = {
    { "worker", "isolation", CONFIG_LIST, "qemu", 0, 64, AT (isolation), "sandbox drivers for steps, the one to prefer first: qemu, bwrap, or both (none: only assay's own tests)" },
    { "worker", "user", CONFIG_STRING, "65534", 0, 32, AT (user), "numeric user and group id that steps run as when the worker is root; never 0" },
    { "worker", "projects", CONFIG_LIST, "*", 0, 4096, AT (projects), "projects that this worker takes steps of, within what the roster allows (`x/*`: all below x)" },
    { "worker", "submitters", CONFIG_LIST, "*", 0, 2048, AT (submitters), "principals whose submissions it works on, within what the roster allows" },
    { "worker", "steps", CONFIG_INT, "1", 1, 64, AT (steps), "steps at once" },
    { "worker", "hours", CONFIG_STRING, "", 0, 256, AT (hours), "local hours in which steps start: `22:00-06:00 12:00-13:00`; empty: always" },
    { "worker", "idle-only", CONFIG_BOOL, "no", 0, 0, AT (idle_only), "start steps only while the machine is idle (the next five)" },
    { "worker", "max-load", CONFIG_INT, "50", 0, 10000, AT (max_load), "idle: 1-minute load average at most this percentage of the CPUs, own steps taken off" },
    { "worker", "max-pressure", CONFIG_INT, "20", 0, 100, AT (max_pressure), "idle: percentage of time that something waited for a CPU (PSI, avg10)" },
    { "worker", "max-memory-pressure", CONFIG_INT, "10", 0, 100, AT (max_memory_pressure), "idle: the same for memory" },
    { "worker", "max-io-pressure", CONFIG_INT, "30", 0, 100, AT (max_io_pressure), "idle: the same for disks" },
    { "worker", "user-idle", CONFIG_DURATION, "10m", 0, INT64_MAX, AT (user_idle_ms), "idle: nobody used a terminal or desktop of this machine for so long; 0: not looked at" },
    { "worker", "on-battery", CONFIG_BOOL, "no", 0, 0, AT (on_battery), "start steps while the machine runs on its battery" },
    { "worker", "on-pause", CONFIG_STRING, "freeze", 0, 16, AT (on_pause), "what a pause does to running steps: freeze, hand-back or finish" },
    { "worker", "on-busy", CONFIG_STRING, "finish", 0, 16, AT (on_busy), "the same for when hours end, the machine is no longer idle or runs on its battery" },
    { "worker", "freeze-time", CONFIG_DURATION, "10m", 0, INT64_MAX, AT (freeze_ms), "a step that was frozen for so long is handed back" },
    { "worker", "network", CONFIG_STRING, "none", 0, 16, AT (network), "none, or realm: steps whose policy allows it reach the git server, broker and store, through a relay" },
    { "worker", "free-disk", CONFIG_SIZE, "512M", 0, INT64_MAX, AT (free_disk), "no step starts with less free space than this where the state folder is" },
    { "worker", "image-cache", CONFIG_SIZE, "10G", 1 << 20, INT64_MAX, AT (image_cache), "bytes of images kept; the least recently used goes first" },
    { "worker", "emulation", CONFIG_BOOL, "no", 0, 0, AT (emulation), "isolation qemu: where KVM does not work, VMs are emulated (builds take 14 to 24 times as long)" },
    { "worker", "snapshots", CONFIG_SIZE, "2G", 0, INT64_MAX, AT (snapshots), "isolation qemu: bytes of VM snapshots kept, so that a step need not boot; 0: each step boots" },
    { "worker", "require-cgroups", CONFIG_BOOL, "yes", 0, 0, AT (require_cgroups), "refuse to work without usable cgroups; `no`: rlimits and the pid namespace alone" },
    { "worker", "file-urls", CONFIG_BOOL, "no", 0, 0, AT (file_urls), "fetch from file:///PATH on this machine too, and from its loopback: for a realm on one machine" },
    { "worker", "fetch-time", CONFIG_DURATION, "5m", 1000, INT64_MAX, AT (fetch_ms), "longest fetch of source, image or input" },
    { "worker", "upload-time", CONFIG_DURATION, "5m", 1000, INT64_MAX, AT (upload_ms), "longest upload without progress" },
    { "limits", "cpus", CONFIG_INT, "2", 1, 1024, AT (cpus), "CPUs that one step may use" },
    { "limits", "memory", CONFIG_SIZE, "2G", 16 << 20, INT64_MAX, AT (memory), "memory of one step" },
    { "limits", "disk", CONFIG_SIZE, "4G", 1 << 20, INT64_MAX, AT (disk), "/src, /out, /tmp and changes to the image together (a tmpfs: counts as memory on top)" },
    { "limits", "time", CONFIG_DURATION, "1h", 1000, INT64_MAX, AT (time_ms), "wall-clock time of one step" },
    { "limits", "log", CONFIG_SIZE, "16M", 4096, INT64_MAX, AT (log), "bytes of log of one step; the rest is dropped with a note" },
    { "limits", "processes", CONFIG_INT, "512", 16, 100000, AT (processes), "processes and threads of one step" },
    { "limits", "files", CONFIG_INT, "1000000", 1024, INT64_MAX, AT (files), "files and folders that one step may make" },
    { "limits", "nice", CONFIG_INT, "10", 0, 19, AT (nice), "niceness of steps" },
    { "limits", "io-priority", CONFIG_STRING, "idle", 0, 16, AT (io_priority), "I/O class of steps: idle or best-effort" },
    { "limits", "cpu-priority", CONFIG_STRING, "normal", 0, 16, AT (cpu_priority), "scheduling of steps: idle (only what nobody else wants), batch or normal" },
    CONFIG_END,
};

static bool one_of (const char *word, const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp (word, words[i]) == 0)
            return true;
    return false;
}

static int check (const struct conf *c, const char *where, struct err *e)
{
    static const char *const holds[] = { "finish", "freeze", "hand-back" }, *const io[] = { "idle", "best-effort" }, *const cpu[] = { "idle", "batch", "normal" },
                      *const net[] = { "none", "realm" };
    char *end;
    if (!limits_hours_valid (c->hours))
        return err_set (e, ERR_USAGE, "%s: hours = %s: not a list of times (HH:MM-HH:MM ...)", where, c->hours);
    unsigned kinds[CONF_DRIVERS];
    if (conf_drivers (c, kinds) == 0)
        return err_set (e, ERR_USAGE, "%s: isolation = %s: not a list of drivers (qemu bwrap)", where, c->isolation);
    if (!one_of (c->io_priority, io, 2))
        return err_set (e, ERR_USAGE, "%s: io-priority = %s: idle or best-effort", where, c->io_priority);
    if (!one_of (c->cpu_priority, cpu, 3))
        return err_set (e, ERR_USAGE, "%s: cpu-priority = %s: idle, batch or normal", where, c->cpu_priority);
    if (!one_of (c->on_pause, holds, 3) || !one_of (c->on_busy, holds, 3))
        return err_set (e, ERR_USAGE, "%s: on-pause, on-busy: finish, freeze or hand-back", where);
    if (!one_of (c->network, net, 2))
        return err_set (e, ERR_USAGE, "%s: network = %s: none or realm", where, c->network);
    if (strtoul (c->user, &end, 10) == 0 || *end || strtoul (c->user, NULL, 10) > 0x7fffffff)
        return err_set (e, ERR_USAGE, "%s: user = %s: a numeric id other than 0", where, c->user);
    return 0;
}

/* ---- sections of projects ---- */

struct setting {
    const struct config_row *row;
    char *value;
};
struct conf_project {
    char *name, *names; /* names: what it holds for; NULL: its name */
    struct setting *v;
    size_t n;
};

bool conf_by_project (const struct config_row *row)
{
    static const char *const of_worker[] = { "submitters", "steps", "hours", "idle-only", "max-load", "max-pressure", "max-memory-pressure", "max-io-pressure", "user-idle",
                                             "on-battery", "network", "fetch-time", "upload-time" };
    return strcmp (row->section, "limits") == 0 || one_of (row->name, of_worker, sizeof of_worker / sizeof *of_worker);
}

static int set_of_project (void *conf, const char *name, const char *key, const char *value, struct err *e)
{
    struct conf *c = conf;
    struct conf_project *p = NULL;
    const struct config_row *row = conf_rows;
    for (size_t i = 0; i < c->project_count && !p; i++)
        if (strcmp (c->project[i].name, name) == 0)
            p = &c->project[i];
    if (!p) {
        if (c->project_count == CONF_PROJECTS_MAX)
            return err_set (e, ERR_USAGE, "more than %d sections of projects", CONF_PROJECTS_MAX);
        c->project = xrealloc (c->project, (c->project_count + 1) * sizeof *c->project);
        p = &c->project[c->project_count++];
        *p = (struct conf_project){ .name = xstrdup (name) };
    }
    if (strcmp (key, "names") == 0) {
        if (strlen (value) > 1024)
            return err_set (e, ERR_USAGE, "[project %s] names: longer than 1024 bytes", name);
        free (p->names);
        p->names = xstrdup (value);
        return 0;
    }
    while (row->name && (strcmp (row->name, key) || !conf_by_project (row)))
        row++;
    if (!row->name)
        return err_set (e, ERR_USAGE, "[project %s] %s: not a setting that a project can have of its own", name, key);
    /* The value is tried on a copy, so that a bad one is told with its line. */
    struct conf trial;
    config_defaults (conf_rows, &trial);
    int rc = config_set (conf_rows, &trial, row->section, row->name, value, e);
    if (rc == 0)
        rc = check (&trial, name, e);
    config_release (conf_rows, &trial);
    if (rc == -1)
        return -1;
    p->v = xrealloc (p->v, (p->n + 1) * sizeof *p->v);
    p->v[p->n++] = (struct setting){ row, xstrdup (value) };
    return 0;
}

const char *conf_section_names (const struct conf *c, size_t section)
{
    const struct conf_project *p = &c->project[section];
    return p->names ? p->names : p->name;
}

/* How closely a list of patterns fits: 0 not, else more for longer words, most for the project's own name. */
static size_t closeness (const char *list, struct bytes project)
{
    size_t best = 0;
    for (;;) {
        list += strspn (list, " \t\n,");
        size_t n = strcspn (list, " \t\n,");
        if (!n)
            return best;
        if (limits_pattern (bytes_of (list, n), project)) {
            size_t score = list[n - 1] == '*' ? n : 1000;
            best = score > best ? score : best;
        }
        list += n;
    }
}

int conf_section (const struct conf *c, struct bytes project)
{
    size_t best = 0;
    int found = -1;
    for (size_t i = 0; i < c->project_count; i++) {
        size_t score = closeness (conf_section_names (c, i), project);
        if (score > best) {
            best = score;
            found = (int) i;
        }
    }
    return found;
}

void conf_for_section (const struct conf *c, int section, struct conf *out)
{
    *out = *c;
    out->project = NULL;
    out->project_count = 0;
    for (const struct config_row *r = conf_rows; r->name; r++)
        if (r->type == CONFIG_STRING || r->type == CONFIG_LIST) {
            char **at = (char **) ((char *) out + r->offset);
            *at = xstrdup (*at);
        }
    for (size_t i = 0; section >= 0 && i < c->project[section].n; i++) { /* each was tried when it was read */
        const struct setting *s = &c->project[section].v[i];
        (void) config_set (conf_rows, out, s->row->section, s->row->name, s->value, NULL);
    }
}

void conf_for (const struct conf *c, struct bytes project, struct conf *out)
{
    conf_for_section (c, conf_section (c, project), out);
}

/* ---- reading ---- */

static int load (struct conf *c, const char *path, bool must, struct err *e)
{
    static const struct config_extra projects = { "project", set_of_project };
    memset (c, 0, sizeof *c);
    config_defaults (conf_rows, c);
    int rc = config_load_with (conf_rows, &projects, c, path, must, e);
    if (rc == 0)
        rc = check (c, path, e);
    size_t patterns = 0;
    for (size_t i = 0; i < c->project_count; i++)
        for (const char *at = conf_section_names (c, i); *(at += strspn (at, " \t\n,")); patterns++)
            at += strcspn (at, " \t\n,");
    if (rc == 0 && patterns > CONF_PROJECTS_MAX)
        rc = err_set (e, ERR_USAGE, "%s: sections of projects name %zu projects (at most %d)", path, patterns, CONF_PROJECTS_MAX);
    if (rc == -1)
        conf_release (c);
    return rc;
}

int conf_open (struct conf *c, const char *dir, struct err *e)
{
    CLEANUP (free_ptr) char *path = xasprintf ("%s/worker.ini", dir);
    return load (c, path, false, e);
}

int conf_read (struct conf *c, const char *path, struct err *e)
{
    return load (c, path, true, e);
}

void conf_write (const struct conf *c, struct buf *out)
{
    config_write (conf_rows, c, out);
}

size_t conf_drivers (const struct conf *c, unsigned kinds[CONF_DRIVERS])
{
    size_t n = 0;
    for (const char *p = c->isolation;;) {
        char word[16];
        p += strspn (p, " \t\n,");
        size_t len = strcspn (p, " \t\n,");
        if (!len)
            return n;
        if (n == CONF_DRIVERS || !bytes_copy (bytes_of (p, len), word, sizeof word) || !(kinds[n] = isolation_parse (word)))
            return 0;
        n++;
        p += len;
    }
}

void conf_release (struct conf *c)
{
    for (size_t i = 0; i < c->project_count; i++) {
        struct conf_project *p = &c->project[i];
        for (size_t k = 0; k < p->n; k++)
            free (p->v[k].value);
        free (p->v);
        free (p->name);
        free (p->names);
    }
    free (c->project);
    c->project = NULL;
    c->project_count = 0;
    config_release (conf_rows, c);
}

enum conf_hold conf_hold (const char *word)
{
    return strcmp (word, "freeze") == 0 ? CONF_FREEZE : strcmp (word, "hand-back") == 0 ? CONF_HAND_BACK : CONF_FINISH;
}

bool conf_allows (const struct conf *c, const struct msg_step *step, char *why, size_t size)
{
    char asked[24], given[24];
    const struct { const char *what; uint64_t asked; int64_t given; } sizes[] = { { "memory", step->memory, c->memory }, { "disk", step->disk, c->disk } };
    if (step->cpus > (uint64_t) c->cpus) {
        snprintf (why, size, "it asks for %" PRIu64 " cpus, its owner allows %" PRId64, step->cpus, c->cpus);
        return false;
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].asked > (uint64_t) sizes[i].given) {
            snprintf (why, size, "it asks for %s of %s, its owner allows %s", config_size_text (sizes[i].asked, asked), sizes[i].what, config_size_text ((uint64_t) sizes[i].given, given));
            return false;
        }
    if (step->time_ms > (uint64_t) c->time_ms) {
        snprintf (why, size, "it asks for %" PRIu64 " s of time, its owner allows %" PRId64 " s", (step->time_ms + 999) / 1000, c->time_ms / 1000);
        return false;
    }
    return true;
}
