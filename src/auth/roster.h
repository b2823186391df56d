/* roster.h: who is who: the hash-chained, root-signed list of enrolments, revocations and policies. Pure: no I/O, no clock.
 *
 *     struct roster *r = roster_new (root_pub);
 *     roster_add (r, envelope, &e)   entry by entry, in order: checks signature, sequence, chain, bounds, uniqueness of name and keys
 *     roster_set_head (r, head, now, &e)   checks the signed head: same last entry (EC_DAMAGED "forked", "truncated" if it differs at a known
 *                                     sequence; EC_REPLAYED if its time is older than the head held)
 *     p = roster_find (r, "w1")      borrowed until the next roster_add
 * Refusals name the reason: truncated, forged, forked, out of order, stale. After a failed roster_add the roster is unchanged.
 */
#ifndef ASSAY_AUTH_ROSTER_H
#define ASSAY_AUTH_ROSTER_H

#include "auth/policy.h"
#include "proto/envelope.h"

struct principal {
    char name[64], owner[64], endpoint[256], events[256]; /* endpoints of a service, else "" */
    unsigned roles;
    bool trusted;               /* trust: trusted | maybe */
    uint8_t sign_key[32], transport_key[32], seal_key[32];
    char (*projects)[128];      /* what it may work on, submit to, see; "*" all; "x/" + "*" below x. Empty list: none */
    size_t project_count;
    char (*labels)[64];         /* "arch=amd64", image lineage, ... set by the operator */
    size_t label_count;
    uint64_t enrolled_seq, revoked_seq;      /* roster sequence; 0 not revoked */
    int64_t enrolled, revoked, revoked_since; /* microseconds; revoked_since: its word counts only before this; INT64_MAX if good */
    char reason[256];
};

struct roster;
struct roster *roster_new (const uint8_t root[32]);
void roster_destroy (struct roster **r);
int roster_add (struct roster *r, struct bytes envelope, struct err *e);
int roster_set_head (struct roster *r, struct bytes head, struct err *e);
/* Is the head held as fresh as it must be from a live IDP: present, for our last entry, at most max_age_us old, not from the future
 * (by more than that)? EC_EXPIRED "stale ...", EC_DAMAGED "truncated ...". A copy on disk may be older: services go on without the IDP. */
int roster_fresh (const struct roster *r, int64_t now_us, int64_t max_age_us, struct err *e);
uint64_t roster_seq (const struct roster *r);                    /* of the last entry; 0: empty. The first is 1 */
struct digest roster_last (const struct roster *r);              /* digest of the last entry's envelope */
int64_t roster_head_time (const struct roster *r);               /* of the newest verified head; 0: none */
bool roster_complete (const struct roster *r);                   /* the head names our last entry */
struct bytes roster_entry_raw (const struct roster *r, uint64_t seq);
struct bytes roster_head_raw (const struct roster *r);

const struct principal *roster_find (const struct roster *r, const char *name);       /* revoked ones too */
const struct principal *roster_findb (const struct roster *r, struct bytes name);
const struct principal *roster_by_transport (const struct roster *r, const uint8_t key[32]); /* O(1) */
const struct principal *roster_by_sign (const struct roster *r, const uint8_t key[32]);      /* O(1) */
const struct principal *roster_role (const struct roster *r, unsigned role, size_t nth);     /* good ones; NULL past the end */
size_t roster_count (const struct roster *r);
const struct principal *roster_at (const struct roster *r, size_t i);                        /* in order of enrolment */
bool principal_good (const struct principal *p);                                             /* not revoked now */
bool principal_good_at (const struct principal *p, int64_t time_us);                         /* enrolled then, and its word of then still counts */
bool principal_project (const struct principal *p, struct bytes project);
bool principal_labels (const struct principal *p, const struct bytes_list *wanted);          /* has them all */
/* The operator's floor and the project's own policy, merged (unset where neither says). */
struct policy roster_policy (const struct roster *r, struct bytes project);
const struct policy *roster_policy_own (const struct roster *r, const char *project);        /* "" for the floor; NULL if none */
/* How many different owners have a good worker that fits (role, project, labels). The isolation that a worker can give is its own
 * word at connect time and is not in the roster. *trusted: owners with a trusted one. */
size_t roster_owners (const struct roster *r, struct bytes project, const struct bytes_list *labels, size_t *trusted);
/* The same without the owners named in but. */
size_t roster_owners_but (const struct roster *r, struct bytes project, const struct bytes_list *labels, const char *const *but, size_t but_count, size_t *trusted);
bool roster_owner_fits (const struct roster *r, const char *owner, struct bytes project, const struct bytes_list *labels); /* has such a worker */
/* The revocation with the smallest roster sequence above `after`; NULL: none. */
const struct principal *roster_revoked_after (const struct roster *r, uint64_t after);

#endif
