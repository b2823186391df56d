/* mode.h: whether a worker takes steps, as its owner said last. It outlives a restart: a machine that its owner took back stays taken back.
 *
 *     a->mode = mode_kept (state)                 // at the start: STATE/mode, or running
 *     mode_keep (state, MODE_PAUSED, &e)          // the owner's word
 */
#ifndef ASSAY_WORKER_MODE_H
#define ASSAY_WORKER_MODE_H

#include "base/err.h"

enum mode { MODE_RUNNING, MODE_PAUSED, MODE_DRAINING };

const char *mode_name (enum mode mode); /* "running", "paused", "draining" */
enum mode mode_kept (const char *state); /* a file that makes no sense is a pause */
int mode_keep (const char *state, enum mode mode, struct err *e);

#endif
