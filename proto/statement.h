/* statement.h: the JSON statements that other tools read: a worker's result (in-toto Statement v1 with SLSA provenance v1)
 * and a verifier's verdict (Statement v1 with a SLSA verification summary). Build and parse (jansson); pure.
 *
 * Parsing is of hostile input: at most 256 KiB, unknown fields tolerated as the specifications ask for, every field that the rule
 * uses is checked for type and bounds, and what is said twice (for other tools, and for ours) must agree. Structs own their strings
 * (xxx_release). doc/assay-bundle.5 describes both statements for people.
 */
#ifndef ASSAY_PROTO_STATEMENT_H
#define ASSAY_PROTO_STATEMENT_H

#include "proto/envelope.h"

#define STATEMENT_MAX (256u << 10)

struct result {
    struct digest submission, recipe, image, lease_id;
    char step[64], project[128], worker[64], owner[64];
    char commit[65];
    char *url, *ref;
    struct buf lease, receipt;      /* envelopes, as the broker and the store signed them */
    unsigned isolation;             /* one ISOLATION_* */
    unsigned network;               /* one NETWORK_*: what the build could reach */
    char accelerator[32];           /* "", "kvm", "tcg" */
    char *host;                     /* "kernel=6.1.0 cpu=… driver=bwrap-0.8.0": what may explain a difference */
    unsigned exit_status;           /* 0..255; 128+N for a signal; 124 time limit */
    struct digest artifact;         /* manifest_empty() where the step failed */
    struct digest inputs[64];       /* artifacts read, in the order of the step's needs */
    struct digest openings[64];     /* of those that the lease names blinded (blind.h), else zero */
    size_t input_count;
    int64_t started, finished;      /* microseconds */
    char *note;                     /* why it failed, names of dropped bits, ...; may be "" */
    bool linked;                    /* link: the worker's signature over its classic in-toto link (store/link.h) */
    uint8_t link[64];
};
void result_release (struct result *r);
void result_json (const struct result *r, struct buf *out);
int result_parse (struct bytes json, struct result *r, struct err *e);
/* SHA-256 over "assay-outcome-1\n", u32be exit status, the artifact's digest: the value of a vote. */
struct digest outcome_digest (unsigned exit_status, const struct digest *artifact);

struct verdict_count {              /* one result that the verdict looked at */
    char worker[64], owner[64];
    struct digest result;           /* SHA-256 of the result's DSSE JSON envelope */
    struct digest outcome;
    int64_t time;                   /* when it came, by the broker's event: a worker revoked since before then counts no more */
    bool counted;                   /* supports the winning outcome */
    bool trusted;
};
struct verdict {
    struct digest submission, artifact, outcome; /* zero where nothing is agreed or shown */
    char step[64], project[128], state[16], verifier[64], commit[65];
    char *url, *ref;
    struct { unsigned agree, trusted, dissent, isolation, max_replicas, lineages, network; } policy;
    unsigned support, against, votes;
    unsigned exit_status;
    char *reason;
    uint64_t roster_seq;            /* the roster the rule was applied under */
    uint64_t index;                 /* in the verdict log */
    struct digest previous;         /* id of the verdict it supersedes, or zero */
    int64_t time;
    bool final;                     /* nothing more is on its way unless someone revokes or retries */
    struct verdict_count *counts;
    size_t count;
};
void verdict_release (struct verdict *v);
void verdict_json (const struct verdict *v, struct buf *out);
int verdict_parse (struct bytes json, struct verdict *v, struct err *e);

#endif
