/* ledger_schema.h: the tables of the verifier's ledger, and how those of earlier versions become them. Inside ledger.c only.
 *
 * False where the database refuses: sqlite3_errmsg says why. A ledger of a later version is left as it is, for the caller to refuse.
 */
#ifndef ASSAY_VERIFIER_LEDGER_SCHEMA_H
#define ASSAY_VERIFIER_LEDGER_SCHEMA_H

#include <stdbool.h>

#define LEDGER_SCHEMA 5

struct sqlite3;
bool ledger_schema (struct sqlite3 *sql);

#endif
