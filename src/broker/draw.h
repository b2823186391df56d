/* draw.h: a draw of a step's leases: its seed, the record of it (body `draw`, in an event `drawn`), and the check of both by whoever reads the log. Pure.
 *
 * The seed is not the broker's choice: it is a digest of the submission's id (of what its submitter signed), the step's name, and how many leases the step
 * had before. So the broker cannot draw until it likes what comes out; what is left to its word is who fits, and how many places there are.
 *
 *     struct draw_log l = { id, name }                  // of a step; then, event by event, in their order:
 *     why = draw_log_drawn (&l, &d)                     // NULL: the picks follow; else what is wrong with it
 *     why = draw_log_broken (&l)                        // ... of a record that is malformed
 *     why = draw_log_leased (&l, worker)
 *     why = draw_log_end (&l)                           // releases
 */
#ifndef ASSAY_BROKER_DRAW_H
#define ASSAY_BROKER_DRAW_H

#include "broker/schedule.h"
#include "proto/msg.h"

#define DRAW_FIT_MAX 512u    /* workers in a record */
#define DRAW_PICKED_MAX 128u
#define DRAW_LINE 144u

void draw_seed (const struct digest *submission, struct bytes step, uint64_t leases, uint8_t seed[32]);
void draw_line (const struct candidate *c, char line[DRAW_LINE]); /* as the record has it: NAME OWNER TRUST[ first] */

struct draw_log {
    struct digest id;        /* of the submission */
    const char *step;
    uint64_t leases;         /* events `leased` until now */
    size_t draws, wrong;
    char (*due)[64];         /* drawn, and not leased yet */
    size_t due_count;
};
const char *draw_log_drawn (struct draw_log *l, const struct msg_draw *d);
const char *draw_log_broken (struct draw_log *l);
const char *draw_log_leased (struct draw_log *l, struct bytes worker);
const char *draw_log_end (struct draw_log *l);

#endif
