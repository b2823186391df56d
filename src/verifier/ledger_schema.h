/* ledger_schema.h: the tables of the verifier's ledger (base/schema.h). Pure text; ledger.c runs it. */
#ifndef ASSAY_VERIFIER_LEDGER_SCHEMA_H
#define ASSAY_VERIFIER_LEDGER_SCHEMA_H

#include "base/schema.h"

extern const struct schema ledger_schema;

#endif
