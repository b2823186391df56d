/* The record of a draw, as a lying broker would write it: each lie is told, and honest ones of any shape are not. */
#include "broker/draw.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP "build"

struct record { /* as the broker makes one */
    struct msg_draw d;
    struct bytes fit[16], picked[16];
    char lines[16][DRAW_LINE], names[16][64];
};

static const struct candidate farm[] = {
    { .name = "a1", .owner = "a" }, { .name = "a2", .owner = "a" }, { .name = "b1", .owner = "b" }, { .name = "c1", .owner = "c", .trusted = true }, { .name = "d1", .owner = "d" },
    { .name = "e1", .owner = "e" },
};
#define FARM (sizeof farm / sizeof *farm)

static struct digest job (unsigned n)
{
    return digest_of (&n, sizeof n);
}

/* first: the bits say who is marked so. */
static void make (struct record *r, const struct digest *id, uint64_t leases, size_t places, bool trusted, unsigned first)
{
    struct candidate c[FARM];
    struct chance chance = { .drawn = 0 };
    struct demand demand = { .places = places, .needs_trusted = trusted, .isolation = ISOLATION_BWRAP };
    size_t out[FARM];
    memset (r, 0, sizeof *r);
    draw_seed (id, bytes_str (STEP), leases, chance.seed);
    memcpy (r->d.seed.b, chance.seed, 32);
    r->d.places = places;
    r->d.needs_trusted = trusted;
    r->d.fit.v = r->fit;
    r->d.picked.v = r->picked;
    for (size_t i = 0; i < FARM; i++) {
        c[i] = farm[i];
        c[i].credit = 1;
        c[i].suits = true;
        c[i].isolation = ISOLATION_BWRAP;
        c[i].prefer = first >> i & 1;
        draw_line (&c[i], r->lines[i]);
        r->fit[r->d.fit.n++] = bytes_str (r->lines[i]);
    }
    for (size_t n = schedule_pick (c, FARM, &demand, schedule_chance, &chance, out), i = 0; i < n; i++) {
        snprintf (r->names[i], sizeof r->names[i], "%s", c[out[i]].name);
        r->picked[r->d.picked.n++] = bytes_str (r->names[i]);
    }
}

static const char *given (struct draw_log *l, const struct record *r)
{
    const char *wrong = draw_log_drawn (l, &r->d);
    for (size_t i = r->d.picked.n; i-- > 0 && !wrong;)
        wrong = draw_log_leased (l, r->d.picked.v[i]);
    return wrong;
}

Test (draw, honest_ones_follow)
{
    for (unsigned n = 0; n < 500; n++) {
        struct digest id = job (n);
        struct draw_log l = { .id = id, .step = STEP };
        uint64_t leases = 0;
        for (unsigned k = 0; k < 4; k++) {
            struct record r;
            make (&r, &id, leases, 1 + (n + k) % 4, n % 2, n * 7 + k);
            const char *wrong = given (&l, &r);
            cr_assert_null (wrong, "job %u draw %u: %s", n, k, wrong);
            leases += r.d.picked.n;
        }
        cr_assert_null (draw_log_end (&l));
        cr_assert_eq (l.draws, 4);
        cr_assert_eq (l.wrong, 0);
        cr_assert_eq (l.leases, leases);
    }
}

/* A known answer, computed apart: printf 'assay-draw-1\n', 32 bytes of 7, u64be 3, "build" | sha256sum */
Test (draw, the_seed_is_a_digest_of_what_was_signed)
{
    struct digest id, seed;
    uint8_t got[32], other[32];
    char hex[DIGEST_HEX];
    memset (id.b, 7, sizeof id.b);
    draw_seed (&id, bytes_str ("build"), 3, got);
    memcpy (seed.b, got, 32);
    cr_assert_str_eq (digest_hex (&seed, hex), "2d0d83de6c6d95b296d7568970f8eea0c2322db63a023178361066c596409586");
    draw_seed (&id, bytes_str ("build"), 4, other);
    cr_assert (memcmp (got, other, 32), "the number of leases is in it");
    draw_seed (&id, bytes_str ("test"), 3, other);
    cr_assert (memcmp (got, other, 32), "the step is in it");
    id.b[31] ^= 1;
    draw_seed (&id, bytes_str ("build"), 3, other);
    cr_assert (memcmp (got, other, 32), "the submission is in it");
}

static void swap (struct bytes *a, struct bytes *b)
{
    struct bytes was = *a;
    *a = *b;
    *b = was;
}

enum lie { ANOTHER_SEED, ANOTHER_STEPS_SEED, SEED_AGAIN, LEFT_OUT, ADDED, MADE_TRUSTED, MADE_FIRST, ANOTHER_OWNER, UNORDERED, TWICE, PICKED_ANOTHER, PICKED_NOBODY, PICKED_ALL, PICKED_SWAPPED,
           PICKED_STRANGER, PLACES_LESS, PLACES_MORE, PLACES_TOO_MANY, NOT_TRUSTED, NO_OWNER, EMPTY_WORD, FIVE_WORDS, BAD_WORD, BAD_NAME, NUL_NAME, LIES };

/* What the check must say; NULL: what this lie leaves to chance, it either still gives the same picks, or says that they are others. */
static const char *const said[LIES] = {
    [ANOTHER_SEED] = "its seed is another than the step's", [ANOTHER_STEPS_SEED] = "its seed is another than the step's", [SEED_AGAIN] = "its seed is another than the step's",
    [UNORDERED] = "its workers are not in order", [TWICE] = "its workers are not in order",
    [PICKED_ANOTHER] = "other workers follow from its seed", [PICKED_NOBODY] = "another number of workers follows from its seed", [PICKED_ALL] = "another number of workers follows from its seed",
    [PICKED_SWAPPED] = "other workers follow from its seed", [PICKED_STRANGER] = "other workers follow from its seed",
    [PLACES_LESS] = "another number of workers follows from its seed", [PLACES_MORE] = "another number of workers follows from its seed", [PLACES_TOO_MANY] = "more places than there can be",
    [NO_OWNER] = "a worker that is logged in another form", [EMPTY_WORD] = "a worker that is logged in another form", [FIVE_WORDS] = "a worker that is logged in another form",
    [BAD_WORD] = "a worker that is logged in another form", [BAD_NAME] = "a worker that is logged in another form", [NUL_NAME] = "a worker that is logged in another form",
};

static void tell (struct record *r, enum lie lie, const struct digest *id)
{
    struct msg_draw *d = &r->d;
    switch (lie) {
    case ANOTHER_SEED:
        d->seed.b[9] ^= 4;
        break;
    case ANOTHER_STEPS_SEED:
        draw_seed (id, bytes_str ("test"), 0, d->seed.b);
        break;
    case SEED_AGAIN: /* as if it had drawn before */
        draw_seed (id, bytes_str (STEP), 1, d->seed.b);
        break;
    case LEFT_OUT:
        memmove (r->fit, r->fit + 1, --d->fit.n * sizeof *r->fit);
        break;
    case ADDED:
        r->fit[d->fit.n++] = bytes_str ("f1 f maybe");
        break;
    case MADE_TRUSTED:
        r->fit[0] = bytes_str ("a1 a trusted");
        break;
    case MADE_FIRST:
        r->fit[4] = bytes_str ("d1 d maybe first");
        break;
    case ANOTHER_OWNER:
        r->fit[1] = bytes_str ("a2 z maybe");
        break;
    case UNORDERED:
        swap (&r->fit[2], &r->fit[3]);
        break;
    case TWICE:
        r->fit[3] = r->fit[2];
        break;
    case PICKED_ANOTHER:
        for (size_t i = 0; i < FARM; i++)
            if (!bytes_eqs (r->picked[0], farm[i].name) && !bytes_eqs (r->picked[1], farm[i].name)) {
                r->picked[1] = bytes_str (farm[i].name);
                break;
            }
        break;
    case PICKED_NOBODY:
        d->picked.n = 0;
        break;
    case PICKED_ALL:
        d->picked.n = 0;
        for (size_t i = 0; i < FARM; i++)
            r->picked[d->picked.n++] = bytes_str (farm[i].name);
        break;
    case PICKED_SWAPPED:
        swap (&r->picked[0], &r->picked[1]);
        break;
    case PICKED_STRANGER:
        r->picked[0] = bytes_str ("nobody");
        break;
    case PLACES_LESS:
        d->places = 1;
        break;
    case PLACES_MORE:
        d->places = 3;
        break;
    case PLACES_TOO_MANY:
        d->places = UINT64_MAX;
        break;
    case NOT_TRUSTED:
        d->needs_trusted = 0;
        break;
    case NO_OWNER:
        r->fit[0] = bytes_str ("a1");
        break;
    case EMPTY_WORD:
        r->fit[0] = bytes_str ("a1  maybe");
        break;
    case FIVE_WORDS:
        r->fit[0] = bytes_str ("a1 a maybe first first");
        break;
    case BAD_WORD:
        r->fit[0] = bytes_str ("a1 a perhaps");
        break;
    case BAD_NAME:
        r->fit[0] = bytes_str ("../a a maybe");
        break;
    case NUL_NAME:
        r->fit[0] = bytes_of ("a1\0 a maybe", 11);
        break;
    default:
        cr_assert_fail ("a lie that is not told");
    }
}

Test (draw, each_lie_is_told)
{
    unsigned seen[LIES] = { 0 };
    for (unsigned n = 0; n < 300; n++)
        for (enum lie lie = 0; lie < LIES; lie++) {
            struct digest id = job (n);
            struct draw_log l = { .id = id, .step = STEP };
            struct record r;
            make (&r, &id, 0, 2, true, n % 3 ? 0 : n);
            cr_assert_eq (r.d.picked.n, 2);
            tell (&r, lie, &id);
            const char *wrong = draw_log_drawn (&l, &r.d);
            seen[lie] += wrong != NULL;
            cr_assert_eq (l.wrong, wrong != NULL);
            if (said[lie])
                cr_assert (wrong && !strcmp (wrong, said[lie]), "job %u lie %d: %s", n, (int) lie, wrong ? wrong : "follows");
            else
                cr_assert (!wrong || !strncmp (wrong, "other workers", 13), "job %u lie %d: %s", n, (int) lie, wrong);
            free (l.due);
        }
    for (enum lie lie = 0; lie < LIES; lie++)
        cr_assert (seen[lie] >= 30, "lie %d was told %u times of 300", (int) lie, seen[lie]);
}

/* Records that are right, and leases that are not theirs. */
Test (draw, leases_without_a_draw_and_draws_without_leases)
{
    struct digest id = job (1);
    struct draw_log l = { .id = id, .step = STEP };
    struct record r, again;
    make (&r, &id, 0, 2, false, 0);
    cr_assert_str_eq (draw_log_leased (&l, bytes_str ("a1")), "a lease that no draw gave");
    cr_assert_str_eq (draw_log_drawn (&l, &r.d), "its seed is another than the step's"); /* the record of that lease's draw is missing */
    cr_assert_eq (l.wrong, 2);
    (void) draw_log_end (&l);

    l = (struct draw_log){ .id = id, .step = STEP };
    cr_assert_null (draw_log_drawn (&l, &r.d));
    cr_assert_str_eq (draw_log_drawn (&l, &r.d), "it comes before the leases of the draw before it"); /* the first one was not to its liking */
    cr_assert_null (draw_log_leased (&l, r.picked[1]));
    cr_assert_str_eq (draw_log_leased (&l, r.picked[1]), "a lease that no draw gave");
    cr_assert_str_eq (draw_log_end (&l), "a worker that was drawn got no lease");
    cr_assert_null (draw_log_end (&l));
    cr_assert_eq (l.wrong, 3);

    l = (struct draw_log){ .id = id, .step = STEP };
    cr_assert_null (given (&l, &r));
    make (&again, &id, 0, 2, false, 0);
    cr_assert_str_eq (draw_log_drawn (&l, &again.d), "its seed is another than the step's"); /* the same draw a second time */
    cr_assert_str_eq (draw_log_broken (&l), "its record is malformed");
    cr_assert_str_eq (draw_log_leased (&l, again.picked[0]), "a lease that no draw gave");
    cr_assert_null (draw_log_end (&l));
    cr_assert_eq (l.draws, 3);
}

/* Another's record is no record of ours. */
Test (draw, a_record_of_another_submission)
{
    struct digest id = job (1), other = job (2);
    struct draw_log l = { .id = id, .step = STEP };
    struct record r;
    make (&r, &other, 0, 2, false, 0);
    cr_assert_str_eq (draw_log_drawn (&l, &r.d), "its seed is another than the step's");
    (void) draw_log_end (&l);
}

/* The bytes of a record, changed or cut anywhere: no draw comes out that gives the leases to others, or by another seed, and is said to follow. */
Test (draw, cut_or_changed_anywhere)
{
    struct digest id = job (5);
    struct record r;
    BUF (raw);
    make (&r, &id, 0, 2, true, 0);
    struct msg m = MSG_INIT (draw, 0);
    m.u.draw = r.d;
    msg_encode (&m, &raw);
    unsigned read = 0, followed = 0;
    for (size_t at = 0; at < 2 * raw.len; at++)
        for (unsigned bit = 0; bit < (at < raw.len ? 8 : 1); bit++) {
            struct msg got;
            struct draw_log l = { .id = id, .step = STEP };
            struct buf copy CLEANUP (buf_release) = { 0 };
            buf_add (&copy, raw.p, at < raw.len ? raw.len : at - raw.len);
            if (at < raw.len)
                copy.p[at] ^= (uint8_t) (1u << bit);
            if (msg_decode_as (buf_bytes (&copy), MSG_draw, &got, NULL) == -1)
                continue;
            read++;
            if (!draw_log_drawn (&l, &got.u.draw)) {
                followed++;
                cr_assert (digest_eq (&got.u.draw.seed, &r.d.seed) && got.u.draw.picked.n == r.d.picked.n, "byte %zu bit %u", at, bit);
                for (size_t i = 0; i < r.d.picked.n; i++)
                    cr_assert (bytes_eq (got.u.draw.picked.v[i], r.d.picked.v[i]), "byte %zu bit %u", at, bit);
            }
            (void) draw_log_end (&l);
            msg_release (&got);
        }
    cr_assert (read > 300 && followed < read / 2, "%u could be read, %u follow", read, followed);
}

Test (draw, names_of_full_length_fit)
{
    char name[64], owner[64], line[DRAW_LINE];
    memset (name, 'n', 63);
    memset (owner, 'o', 63);
    name[63] = owner[63] = '\0';
    struct candidate c = { .name = name, .owner = owner, .trusted = true, .prefer = true };
    draw_line (&c, line);
    cr_assert_eq (strlen (line), 63 + 1 + 63 + 1 + 7 + 6);
}
