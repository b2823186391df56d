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

bool terms_lacks (const struct term *t, const struct msg_step *step, unsigned network, char *why, size_t size)
{
    char asked[24], given[24];
    const struct { const char *what; uint64_t asked, given; } sizes[] = { { "memory", step->memory, t->memory }, { "disk", step->disk, t->disk } };
    if (t->cpus && step->cpus > t->cpus) {
        (void) snprintf (why, size, "it asks for %" PRIu64 " cpus, the owner allows %" PRIu64, step->cpus, t->cpus);
        return true;
    }
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].given && sizes[i].asked > sizes[i].given) {
            (void) snprintf (why, size, "it asks for %s of %s, the owner allows %s", config_size_text (sizes[i].asked, asked), sizes[i].what, config_size_text (sizes[i].given, given));
            return true;
        }
    if (t->time_ms && step->time_ms > t->time_ms) {
        (void) snprintf (why, size, "it asks for %" PRIu64 " s of time, the owner allows %" PRIu64 " s", (step->time_ms + 999) / 1000, t->time_ms / 1000);
        return true;
    }
    if (network == NETWORK_REALM && t->network != NETWORK_REALM) {
        (void) snprintf (why, size, "it asks for a network, the owner gives none");
        return true;
    }
    return false;
}
