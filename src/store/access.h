/* access.h: who may write and read what. Pure: roster, lease and time are passed in.
 *
 * A lease counts when a broker of the roster signed it, the worker named is the sender, and its time is not over.
 *     lease_open (&l, raw, roster, sender, now, &e)     // l borrows from raw; lease_release
 * Reading is allowed by the first of these that holds:
 *   1. the sender is a worker and the artifact is an input or the image of its valid lease;
 *   2. the sender is a deployer, viewer, submitter or admin, and the artifact is trusted in a project that the sender may see;
 *   3. the sender asks for provisional, is a submitter or admin, and may see a project that holds the artifact;
 *   4. the sender is an admin and the artifact is a named image.
 */
#ifndef ASSAY_STORE_ACCESS_H
#define ASSAY_STORE_ACCESS_H

#include "auth/roster.h"

#define ACCESS_SKEW_US (INT64_C (60) * 1000000) /* a lease may be issued so far in our future */

struct lease {
    struct msg body;          /* MSG_lease_body */
    struct envelope envelope;
    struct digest id;
};
int lease_open (struct lease *l, struct bytes raw, const struct roster *r, const struct principal *sender, int64_t now, struct err *e);
void lease_release (struct lease *l);
int lease_time (const struct lease *l, int64_t now, struct err *e);

struct access_project {
    const char *name;
    bool trusted;             /* a verifier's newest verdict says so, in this project */
};
struct access_ask {
    const struct principal *sender;
    const struct lease *lease; /* opened, or NULL */
    struct digest artifact;    /* as asked for: of a blinded input, its name */
    bool provisional, image;
    const struct access_project *projects; /* that hold the artifact */
    size_t project_count;
};
int access_read (const struct access_ask *a, struct err *e);

#endif
