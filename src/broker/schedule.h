/* schedule.h: which workers get a step, and whose steps come first. Pure: workers, step and randomness are handed in.
 *
 * Fit: good for the project and labels, gives the isolation and the network, has credit, and its owner has neither an open lease of the step nor a
 * vote on it. Among those that fit, owners are drawn uniformly, then a worker of that owner uniformly, so that an owner gains nothing
 * by bringing more workers. Those that are preferred come first. Where a trusted worker is still lacking, one place is kept for it: with one place left only trusted ones fit.
 */
#ifndef ASSAY_BROKER_SCHEDULE_H
#define ASSAY_BROKER_SCHEDULE_H

#include "auth/policy.h"

struct candidate {          /* a connected worker */
    const char *name, *owner;
    bool trusted;
    unsigned isolation;     /* ISOLATION_* mask that it said it can give */
    unsigned network;       /* NETWORK_*: what its owner lets builds reach */
    uint64_t credit;
    uint64_t cpus, memory, disk; /* the most a step may have; 0: no limit */
    bool suits;             /* the roster lets it work on the project, and it has the labels and takes the project */
    bool prefer;            /* before others that fit */
};

struct demand {             /* a step */
    size_t places;          /* leases to give now */
    bool needs_trusted;     /* none of the step's open leases and votes is a trusted worker's yet, and one must be */
    unsigned isolation;     /* at least */
    unsigned network;       /* NETWORK_REALM: only where its owner lets it */
    uint64_t cpus, memory, disk;
    const char *const *used; /* owners with an open lease or a vote */
    size_t used_count;
    const char *const *avoid; /* workers that declined it lately, or failed on it */
    size_t avoid_count;
};

bool schedule_fits (const struct candidate *c, const struct demand *d);

/* May an owner get a lease that reads what other steps gave? v: what it has to do with each of those, also with those that are read through others. Not
 * while a vote of its own is open on one: it could copy what it reads. And as long as one is not trusted (early), only if it has voted on all of them
 * already, but for those it never could vote on: else reading would cost a step a voter. *voted: it has voted on each; such owners come first. */
struct stake {
    bool open, voted;       /* it has an open lease of the step; it has a vote on it that counts */
    bool could;             /* by the roster it may build the step */
};
bool schedule_may_read (const struct stake *v, size_t n, bool early, bool *voted);

/* How long a worker gets no leases that did not do what it took `times` times in a row, in units of `first`: nothing for the first two times, then
 * `first`, and each further time twice as long, at most 60 times `first`. Nothing else is made of it: no decision asks what a worker did before. */
int64_t schedule_pause (unsigned times, int64_t first);

/* Picks at most d->places candidates into out (indices); returns how many. random (arg, n) gives 0..n-1 uniformly. */
size_t schedule_pick (const struct candidate *c, size_t n, const struct demand *d, uint32_t (*random) (void *arg, uint32_t n), void *arg, size_t *out);

/* Fair turns: steps of one priority get leases in the order of their turns. Each step of a submitter takes the turn after its last one, and
 * nobody's first comes before what is being served now: so whoever has few steps goes before the rest of who has many, and nobody saves
 * turns up. served: the furthest turn that got a lease; last: the submitter's last one; waits: it has steps that are not decided. */
int64_t schedule_turn (int64_t served, int64_t last, bool waits);

/* Numbers for a draw that can be checked afterwards: from a seed that is logged, SHA-256 (seed, u64be counter), its first 8 bytes modulo n.
 * The picks of a draw follow from the seed and the candidates that fit, in their order; those that do not fit change nothing. */
struct chance {
    uint8_t seed[32];
    uint64_t drawn;
};
uint32_t schedule_chance (void *chance, uint32_t n);

#endif
