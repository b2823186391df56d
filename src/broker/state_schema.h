/* state_schema.h: the tables of the broker's state (base/schema.h). Pure text; state_sqlite.c runs it. */
#ifndef ASSAY_BROKER_STATE_SCHEMA_H
#define ASSAY_BROKER_STATE_SCHEMA_H

#include "base/schema.h"

extern const struct schema state_schema;

#endif
