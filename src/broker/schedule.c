#include "broker/schedule.h"

#include <stdlib.h>
#include <string.h>

#define PAUSE_AFTER 3u /* times in a row */
#define PAUSE_MOST 60  /* times the first pause */

static bool listed (const char *s, const char *const *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp (s, v[i]))
            return true;
    return false;
}

bool schedule_fits (const struct candidate *c, const struct demand *d)
{
    return c->suits && c->credit && policy_isolation_ok (d->isolation, c->isolation) && (d->network != NETWORK_REALM || c->network == NETWORK_REALM) && (!c->cpus || d->cpus <= c->cpus) && (!c->memory || d->memory <= c->memory)
           && (!c->disk || d->disk <= c->disk) && !listed (c->owner, d->used, d->used_count) && !listed (c->name, d->avoid, d->avoid_count);
}

bool schedule_may_read (const struct stake *v, size_t n, bool early, bool *voted)
{
    *voted = true;
    for (size_t i = 0; i < n; i++) {
        *voted = *voted && v[i].voted;
        if (v[i].open || (early && v[i].could && !v[i].voted))
            return false;
    }
    return true;
}

int64_t schedule_pause (unsigned times, int64_t first)
{
    unsigned doubled = times < PAUSE_AFTER ? 0 : times - PAUSE_AFTER;
    if (times < PAUSE_AFTER)
        return 0;
    return doubled < 6 && (1 << doubled) < PAUSE_MOST ? first << doubled : PAUSE_MOST * first;
}

/* One worker of a random owner among the candidates still open; n if there is none. */
static size_t draw (const struct candidate *c, size_t n, const bool *open, bool trusted_only, uint32_t (*random) (void *, uint32_t), void *arg)
{
    size_t *first = xcalloc (n, sizeof *first), owners = 0, picked = n;
    for (size_t i = 0; i < n; i++) {
        size_t j = 0;
        if (!open[i] || (trusted_only && !c[i].trusted))
            continue;
        while (j < owners && strcmp (c[first[j]].owner, c[i].owner))
            j++;
        if (j == owners)
            first[owners++] = i;
    }
    if (owners) {
        const char *owner = c[first[random (arg, (uint32_t) owners)]].owner;
        uint32_t seen = 0;
        for (size_t i = 0; i < n; i++) /* reservoir of one: uniform among the owner's workers */
            if (open[i] && (!trusted_only || c[i].trusted) && !strcmp (c[i].owner, owner) && random (arg, ++seen) == 0)
                picked = i;
    }
    free (first);
    return picked;
}

uint32_t schedule_chance (void *arg, uint32_t n)
{
    struct chance *c = arg;
    uint8_t in[40];
    uint64_t v = 0;
    memcpy (in, c->seed, 32);
    for (int i = 0; i < 8; i++)
        in[32 + i] = (uint8_t) (c->drawn >> (56 - 8 * i));
    c->drawn++;
    struct digest d = digest_of (in, sizeof in);
    for (int i = 0; i < 8; i++)
        v = v << 8 | d.b[i];
    return n ? (uint32_t) (v % n) : 0; /* of 64 bits: no bias that could be seen */
}

static size_t pick (const struct candidate *c, size_t n, const struct demand *d, bool preferred, uint32_t (*random) (void *arg, uint32_t n), void *arg, size_t *out)
{
    bool *open = xcalloc (n, sizeof *open), trusted = d->needs_trusted;
    size_t count = 0;
    for (size_t i = 0; i < n; i++)
        open[i] = (!preferred || c[i].prefer) && schedule_fits (&c[i], d);
    while (count < d->places) {
        size_t i = n;
        if (trusted) { /* the trusted one first; where none is free, its place is kept */
            i = draw (c, n, open, true, random, arg);
            trusted = false;
            if (i == n) {
                if (d->places - count <= 1)
                    break;
                i = draw (c, n, open, false, random, arg);
                if (i == n)
                    break;
                struct demand rest = *d; /* fill all places but the kept one */
                rest.places = d->places - 1;
                rest.needs_trusted = false;
                free (open);
                return pick (c, n, &rest, preferred, random, arg, out);
            }
        } else
            i = draw (c, n, open, false, random, arg);
        if (i == n)
            break;
        out[count++] = i;
        for (size_t j = 0; j < n; j++)
            if (!strcmp (c[j].owner, c[i].owner))
                open[j] = false;
    }
    free (open);
    return count;
}

size_t schedule_pick (const struct candidate *c, size_t n, const struct demand *d, uint32_t (*random) (void *arg, uint32_t n), void *arg, size_t *out)
{
    bool any = false;
    for (size_t i = 0; i < n && !any; i++)
        any = c[i].prefer && schedule_fits (&c[i], d);
    size_t count = any ? pick (c, n, d, true, random, arg, out) : 0;
    if (count == d->places)
        return count;
    struct demand rest = *d;
    const char **used = xcalloc (d->used_count + count, sizeof *used);
    for (size_t i = 0; i < d->used_count; i++)
        used[i] = d->used[i];
    for (size_t i = 0; i < count; i++) {
        used[d->used_count + i] = c[out[i]].owner;
        rest.needs_trusted = rest.needs_trusted && !c[out[i]].trusted;
    }
    rest.used = used;
    rest.used_count = d->used_count + count;
    rest.places = d->places - count;
    count += pick (c, n, &rest, false, random, arg, out + count);
    free (used);
    return count;
}

int64_t schedule_turn (int64_t served, int64_t last, bool waits)
{
    return waits && last >= served ? last + 1 : served;
}
