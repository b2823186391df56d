/* ledger_schema.h: the tables of the verifier's ledger as SQL, and how those of earlier versions become them. Pure text; ledger.c runs it.
 *
 *     while ((text = ledger_upgrade (version))) run it whole or not at all (it also sets the version, one higher);  run ledger_schema ()
 */
#ifndef ASSAY_VERIFIER_LEDGER_SCHEMA_H
#define ASSAY_VERIFIER_LEDGER_SCHEMA_H

#include <stdint.h>

#define LEDGER_SCHEMA 5

const char *ledger_schema (void);             /* makes what is not there yet */
const char *ledger_upgrade (int64_t version); /* to the next one; NULL: none is needed, or none is known */

#endif
