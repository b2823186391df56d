/* compare.h: in what results of one step differ: outcomes, files, hosts. Pure.
 *
 *     compare_add (&c, &vote)  for each vote; its group is made by outcome, or is given (an outline has no outcomes)
 *     compare_sort (&c)        largest group first, votes by worker; then groups have letters A, B, ...
 *     compare_files (...)      over the groups whose manifest is known
 *     compare_hosts (...)      one attribute after the other
 * Votes borrow their strings. Text of workers (host) is as they sent it: to be cleaned before it is shown.
 */
#ifndef ASSAY_CLI_COMPARE_H
#define ASSAY_CLI_COMPARE_H

#include "proto/msg.h"
#include "store/manifest.h"

#define COMPARE_MAX 256u /* votes, groups */
#define COMPARE_HOSTS 16u

struct compare_vote {
    struct bytes worker, owner, accelerator, host;
    bool trusted;
    unsigned isolation;
    struct digest image;
    size_t group;               /* index into groups */
};
struct compare_group {
    struct digest outcome, artifact;
    unsigned exit_status;
    uint64_t given;             /* the outline's number, else 0 */
    size_t votes;
    bool files;                 /* manifest is known */
    struct manifest manifest;
};
struct compare {
    struct compare_vote votes[COMPARE_MAX];
    struct compare_group groups[COMPARE_MAX];
    size_t vote_count, group_count;
};

struct compare *compare_new (void);
void compare_destroy (struct compare **c);
/* g: outcome, artifact and exit status, or given. false: too many. */
bool compare_add (struct compare *c, const struct compare_vote *v, const struct compare_group *g);
void compare_sort (struct compare *c);
const char *compare_letter (size_t group, char out[8]);

/* A path that is not the same in all groups with files. entries[group]: NULL where it is missing (or the group has no files). */
struct compare_file {
    const char *path, *what;    /* "missing", "type", "executable", "link", "content" */
    const struct manifest_entry *entries[COMPARE_MAX];
};
int compare_files (const struct compare *c, int (*each) (void *arg, const struct compare_file *f), void *arg);

/* An attribute of hosts: "kernel", "cpu", "driver", ... as the workers' texts have them, then isolation, accelerator and image. */
struct compare_host {
    char name[32];
    char *values[COMPARE_MAX];  /* of each vote, cleaned; "" where it does not say */
    bool same;
    bool parts;                 /* no two groups share a value: it may be the reason */
};
int compare_hosts (const struct compare *c, int (*each) (void *arg, const struct compare_host *h), void *arg);

#endif
