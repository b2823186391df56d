/* policy.h: what a step must meet, and the strictest of several. Pure.
 *
 * 0 in a field means unset. policy_merge takes the stricter of each field; policy_fill puts the defaults where nobody said
 * anything (agree 1, trusted optional, dissent block, isolation bwrap, max_replicas max(agree + 2, 5), lineages 1, network none).
 *
 * A lineage is one of the images that the signed step names, each built separately. An owner stands for one lineage, so that `agree` is never
 * below `lineages`.
 */
#ifndef ASSAY_AUTH_POLICY_H
#define ASSAY_AUTH_POLICY_H

#include "proto/msg.h"

#define POLICY_TRUSTED_OPTIONAL 1u
#define POLICY_TRUSTED_REQUIRED 2u /* stricter */
#define POLICY_DISSENT_TOLERATE 1u
#define POLICY_DISSENT_BLOCK 2u    /* stricter; the default */
#define POLICY_AGREE_MAX 64u
#define STEP_IMAGES 8u             /* and so the most lineages there can be */

struct policy {
    unsigned agree;        /* different owners, bit for bit */
    unsigned trusted;      /* POLICY_TRUSTED_* */
    unsigned dissent;      /* POLICY_DISSENT_* */
    unsigned isolation;    /* one ISOLATION_* bit: at least this one (none < bwrap < qemu) */
    unsigned max_replicas; /* votes sought before `unreproducible`; here the larger is not "stricter": the smallest that is set wins, but never below agree */
    unsigned lineages;     /* different images of the step among those that agree */
    unsigned network;      /* NETWORK_*: what builds may reach; none is stricter */
};

void policy_merge (struct policy *into, const struct policy *other);
void policy_fill (struct policy *p);
bool policy_isolation_ok (unsigned wanted, unsigned have_mask); /* have_mask has a driver at least as strong */
int policy_check (const struct policy *p, struct err *e);       /* bounds of remote input */
struct policy policy_of_step (const struct msg_step *s);
/* The policy in force for a step: realm is roster_policy() of its project. Merged and filled. Without a word from the realm there is no network,
 * and a step that does not ask for one has none. */
struct policy policy_in_force (const struct policy *realm, const struct msg_step *s);
unsigned step_images (const struct msg_step *s, struct digest out[STEP_IMAGES]); /* the different ones, in order; how many */
bool step_has_image (const struct msg_step *s, const struct digest *image);
void policy_text (const struct policy *p, struct buf *out);     /* "agree=2 trusted=required dissent=block isolation=bwrap" */

#endif
