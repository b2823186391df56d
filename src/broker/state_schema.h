/* state_schema.h: the tables of the broker's state as SQL, and how those of earlier versions become them. Pure text; state_sqlite.c runs it.
 *
 *     while ((text = state_upgrade (version))) run it whole or not at all (it also sets the version, one higher);  run state_schema ()
 */
#ifndef ASSAY_BROKER_STATE_SCHEMA_H
#define ASSAY_BROKER_STATE_SCHEMA_H

#include <stdint.h>

#define STATE_SCHEMA 6

const char *state_schema (void);             /* makes what is not there yet */
const char *state_upgrade (int64_t version); /* to the next one; NULL: none is needed, or none is known */

#endif
