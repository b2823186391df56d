#include "broker/draw.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void draw_seed (const struct digest *submission, struct bytes step, uint64_t leases, uint8_t seed[32])
{
    static const char kind[] = "assay-draw-1\n";
    struct digest_ctx *c = digest_begin ();
    struct digest d;
    uint8_t number[8];
    for (int i = 0; i < 8; i++)
        number[i] = (uint8_t) (leases >> (56 - 8 * i));
    digest_add (c, kind, sizeof kind - 1);
    digest_add (c, submission->b, 32);
    digest_add (c, number, sizeof number);
    digest_add (c, step.p, step.len);
    digest_end (&c, &d);
    memcpy (seed, d.b, 32);
}

void draw_line (const struct candidate *c, char line[DRAW_LINE])
{
    (void) snprintf (line, DRAW_LINE, "%s %s %s%s", c->name, c->owner, c->trusted ? "trusted" : "maybe", c->prefer ? " first" : "");
}

/* words: 4 of 64 bytes, which the candidate points into. */
static bool candidate_of (struct bytes text, char words[4][64], struct candidate *c)
{
    size_t n = 0, at = 0;
    memset (words, 0, 4 * sizeof *words);
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.p[i] != ' ')
            continue;
        if (n == 4 || i == at || !bytes_copy (bytes_of (text.p + at, i - at), words[n], sizeof *words))
            return false;
        n++;
        at = i + 1;
    }
    if (n < 3 || !name_valid (words[0]) || !name_valid (words[1]) || (strcmp (words[2], "trusted") && strcmp (words[2], "maybe")) || (n == 4 && strcmp (words[3], "first")))
        return false;
    *c = (struct candidate){ .name = words[0], .owner = words[1], .trusted = !strcmp (words[2], "trusted"), .isolation = ISOLATION_QEMU, .credit = 1, .suits = true,
                             .prefer = n == 4 };
    return true;
}

static const char *picks_follow (const struct msg_draw *d)
{
    char (*words)[4][64] = xcalloc (d->fit.n, sizeof *words);
    struct candidate *c = xcalloc (d->fit.n, sizeof *c);
    size_t *picked = xcalloc (d->fit.n, sizeof *picked), count = 0;
    struct chance chance = { .drawn = 0 };
    struct demand demand = { .places = (size_t) d->places, .needs_trusted = d->needs_trusted != 0, .isolation = ISOLATION_NONE, .network = NETWORK_NONE };
    const char *wrong = NULL;
    for (size_t i = 0; i < d->fit.n && !wrong; i++)
        if (!candidate_of (d->fit.v[i], words[i], &c[i]))
            wrong = "a worker that is logged in another form";
        else if (i && strcmp (c[i - 1].name, c[i].name) >= 0)
            wrong = "its workers are not in order";
    if (!wrong) {
        memcpy (chance.seed, d->seed.b, sizeof chance.seed);
        count = schedule_pick (c, d->fit.n, &demand, schedule_chance, &chance, picked);
        if (count != d->picked.n)
            wrong = "another number of workers follows from its seed";
        for (size_t i = 0; i < count && !wrong; i++)
            if (!bytes_eqs (d->picked.v[i], c[picked[i]].name))
                wrong = "other workers follow from its seed";
    }
    free (words);
    free (c);
    free (picked);
    return wrong;
}

static void forget (struct draw_log *l)
{
    free (l->due);
    l->due = NULL;
    l->due_count = 0;
}

const char *draw_log_broken (struct draw_log *l)
{
    l->draws++;
    l->wrong++;
    forget (l);
    return "its record is malformed";
}

const char *draw_log_drawn (struct draw_log *l, const struct msg_draw *d)
{
    uint8_t seed[32];
    const char *wrong = NULL;
    draw_seed (&l->id, bytes_str (l->step), l->leases, seed);
    if (l->due_count)
        wrong = "it comes before the leases of the draw before it";
    else if (memcmp (seed, d->seed.b, sizeof seed) != 0)
        wrong = "its seed is another than the step's";
    else if (d->fit.n >= DRAW_FIT_MAX)
        wrong = "too many workers to log: it cannot be computed again";
    else if (d->places > DRAW_PICKED_MAX)
        wrong = "more places than there can be";
    else
        wrong = picks_follow (d);
    l->draws++;
    l->wrong += wrong != NULL;
    forget (l);
    l->due = xcalloc (d->picked.n, sizeof *l->due);
    for (size_t i = 0; i < d->picked.n; i++)
        l->due_count += bytes_copy (d->picked.v[i], l->due[l->due_count], sizeof *l->due);
    return wrong;
}

const char *draw_log_leased (struct draw_log *l, struct bytes worker)
{
    l->leases++;
    for (size_t i = 0; i < l->due_count; i++)
        if (bytes_eqs (worker, l->due[i])) {
            memmove (l->due[i], l->due[--l->due_count], sizeof *l->due);
            return NULL;
        }
    l->wrong++;
    return "a lease that no draw gave";
}

const char *draw_log_end (struct draw_log *l)
{
    const char *wrong = l->due_count ? "a worker that was drawn got no lease" : NULL;
    l->wrong += wrong != NULL;
    forget (l);
    return wrong;
}
