#include "broker/terms.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"

bool project_fits (const char *pattern, const char *project)
{
    size_t n = strlen (pattern);
    if (!strcmp (pattern, "*") || !strcmp (pattern, project))
        return true;
    return n > 2 && !strcmp (pattern + n - 2, "/*") && strncmp (project, pattern, n - 1) == 0;
}

static int parse_one (struct term *t, struct bytes body, struct err *e)
{
    struct msg m;
    if (msg_decode_as (body, MSG_term, &m, e) == -1)
        return err_wrap (e, "term");
    const struct msg_term *q = &m.u.term;
    *t = (struct term){ .open = q->open != 0, .network = q->network == NETWORK_REALM ? NETWORK_REALM : NETWORK_NONE, .cpus = q->cpus, .memory = q->memory, .disk = q->disk,
                        .time_ms = q->time_ms };
    int rc = bytes_copy (q->pattern, t->pattern, sizeof t->pattern) ? 0 : err_code (e, EC_MALFORMED, "the pattern of a term");
    t->submitters = xcalloc (q->submitters.n, sizeof *t->submitters);
    for (size_t i = 0; i < q->submitters.n; i++)
        if (bytes_copy (q->submitters.v[i], t->submitters[t->submitter_count], sizeof *t->submitters))
            t->submitter_count++;
    msg_release (&m);
    return rc;
}

int terms_parse (struct terms *t, const struct msg_terms *m, struct err *e)
{
    struct terms fresh = { xcalloc (m->terms.n, sizeof *fresh.v), 0 };
    for (size_t i = 0; i < m->terms.n; i++) {
        int rc = parse_one (&fresh.v[i], m->terms.v[i], e);
        fresh.n++;
        if (rc == -1) {
            terms_release (&fresh);
            return -1;
        }
    }
    terms_release (t);
    *t = fresh;
    return 0;
}

void terms_release (struct terms *t)
{
    for (size_t i = 0; i < t->n; i++)
        free (t->v[i].submitters);
    free (t->v);
    *t = (struct terms){ NULL, 0 };
}

const struct term *terms_of (const struct terms *t, const char *project)
{
    for (size_t i = 0; i < t->n; i++)
        if (project_fits (t->v[i].pattern, project))
            return &t->v[i];
    return NULL;
}

bool terms_submitter (const struct term *t, const char *submitter)
{
    for (size_t i = 0; i < t->submitter_count; i++)
        if (!strcmp (t->submitters[i], "*") || !strcmp (t->submitters[i], submitter))
            return true;
    return false;
}

/* Does the term allow less of this than the step asks for? why: both numbers. */
static bool lacks (enum terms_kind kind, const struct term *t, const struct msg_step *step, unsigned network, char *why, size_t size)
{
    char asked[24], given[24];
    switch (kind) {
    case TERMS_CPUS:
        if (!t->cpus || step->cpus <= t->cpus)
            return false;
        (void) snprintf (why, size, "it asks for %" PRIu64 " cpus, the owner allows %" PRIu64, step->cpus, t->cpus);
        return true;
    case TERMS_MEMORY:
        if (!t->memory || step->memory <= t->memory)
            return false;
        (void) snprintf (why, size, "it asks for %s of memory, the owner allows %s", config_size_text (step->memory, asked), config_size_text (t->memory, given));
        return true;
    case TERMS_DISK:
        if (!t->disk || step->disk <= t->disk)
            return false;
        (void) snprintf (why, size, "it asks for %s of disk, the owner allows %s", config_size_text (step->disk, asked), config_size_text (t->disk, given));
        return true;
    case TERMS_TIME:
        if (!t->time_ms || step->time_ms <= t->time_ms)
            return false;
        (void) snprintf (why, size, "it asks for %" PRIu64 " s of time, the owner allows %" PRIu64 " s", step->time_ms / 1000 + (step->time_ms % 1000 != 0), t->time_ms / 1000);
        return true;
    case TERMS_NETWORK:
        if (network != NETWORK_REALM || t->network == NETWORK_REALM)
            return false;
        (void) snprintf (why, size, "it asks for a network, the owner gives none");
        return true;
    default: return false;
    }
}

enum terms_kind terms_lacks (const struct term *t, const struct msg_step *step, unsigned network, char *why, size_t size)
{
    for (enum terms_kind k = TERMS_FITS + 1; k < TERMS_KINDS; k++)
        if (lacks (k, t, step, network, why, size))
            return k;
    return TERMS_FITS;
}

static uint64_t allowed (const struct term *t, enum terms_kind kind)
{
    uint64_t v = kind == TERMS_CPUS ? t->cpus : kind == TERMS_MEMORY ? t->memory : kind == TERMS_DISK ? t->disk : kind == TERMS_TIME ? t->time_ms : t->network == NETWORK_REALM;
    return v || kind == TERMS_NETWORK ? v : UINT64_MAX;
}

void terms_most_add (struct terms_most *m, const struct term *t, const char *worker, enum terms_kind kind, const char *why)
{
    for (enum terms_kind k = TERMS_FITS + 1; k < TERMS_KINDS; k++)
        if (!m->by[k].term || allowed (t, k) > allowed (m->by[k].term, k)) {
            m->by[k].term = t;
            m->by[k].worker = worker;
        }
    if (!*m->example[kind])
        (void) snprintf (m->example[kind], sizeof *m->example, "%.60s: %s", worker, why);
}

void terms_most_tell (const struct terms_most *m, const struct msg_step *step, unsigned network, char *why, size_t size)
{
    char text[TERMS_WHY];
    size_t at = 0;
    *why = '\0';
    for (enum terms_kind k = TERMS_FITS + 1; k < TERMS_KINDS; k++)
        if (m->by[k].term && lacks (k, m->by[k].term, step, network, text, sizeof text)) {
            (void) snprintf (why, size, k == TERMS_NETWORK ? "%s (%s)" : "%s (%s, which allows the most)", text, m->by[k].worker);
            return;
        }
    for (enum terms_kind k = TERMS_FITS + 1; k < TERMS_KINDS && at < size; k++)
        if (*m->example[k])
            at += (size_t) snprintf (why + at, size - at, "%s%s", at ? "; " : "no owner allows all of it: ", m->example[k]);
}
