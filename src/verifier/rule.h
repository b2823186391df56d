/* rule.h: the rule that makes an outcome trusted. A pure function of policy, votes and what the roster says of voters;
 * independent of the order of votes. Design, section 4.
 */
#ifndef ASSAY_VERIFIER_RULE_H
#define ASSAY_VERIFIER_RULE_H

#include "auth/policy.h"

enum step_state {
    STATE_PENDING, STATE_PROVISIONAL, STATE_TRUSTED, STATE_FAILED, STATE_DISPUTED, STATE_UNREPRODUCIBLE,
    STATE_UNSATISFIABLE, STATE_CANCELLED, STATE_EXPIRED, STATE_COUNT
};
const char *step_state_name (enum step_state s);
int step_state_parse (const char *s); /* -1 if unknown */

struct vote {                /* a valid result: its checks are over */
    const char *worker, *owner;
    bool trusted;            /* the roster says so */
    struct digest outcome;   /* outcome_digest() */
    struct digest image;     /* its lineage: one of the images that the step names, as the broker leased it */
    bool success;            /* exit status 0 */
};

struct rule_input {
    struct policy policy;    /* in force: merged and filled */
    const struct vote *votes;
    size_t vote_count;
    size_t owners, trusted_owners; /* that exist and fit (roster_owners) */
    size_t images;           /* different ones that the step names */
    bool inputs_trusted;     /* every input is trusted at the digest used; true where there are none */
};

struct decision {
    enum step_state state;
    struct digest outcome;   /* the leading or agreed one; zero if none */
    unsigned support;        /* owners for it */
    unsigned lineages;       /* different images among those */
    unsigned against;        /* owners for anything else, or at odds with themselves */
    unsigned votes;          /* owners that voted */
    unsigned want;           /* more replicas wanted now, of other owners; 0: none */
    bool want_trusted;       /* one of them a trusted worker */
    bool final;
    char reason[256];        /* where outcomes differ: "one against all: owner ...", "everyone differs: ...", "owners are divided: ..." */
};
void rule_decide (const struct rule_input *in, struct decision *out);

#endif
