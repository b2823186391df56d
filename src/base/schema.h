/* schema.h: the tables of a database of ours, and how those of earlier versions become them. The SQL is its owner's; here it is run, each part
 * whole or not at all, whenever the process is killed. The version is in the table `counter` (name, value), in the row `schema`.
 *
 *     static const char *const upgrades[] = { "from version 1 to 2", "from 2 to 3" };
 *     const struct schema s = { 3, "CREATE TABLE IF NOT EXISTS counter ...; ...", upgrades };
 *     schema_open (sql, &s, path, &e)
 */
#ifndef ASSAY_BASE_SCHEMA_H
#define ASSAY_BASE_SCHEMA_H

#include <stdint.h>

#include "base/err.h"

struct schema {
    int version;                 /* of the tables, from 1 on */
    const char *tables;          /* makes what is not there yet, `counter` among it */
    const char *const *upgrades; /* version - 1 of them */
};

struct sqlite3;
/* A new database gets the tables, an older one the upgrades it lacks; path names it in errors. ERR_DAMAGED: a version that is not known,
 * and nothing was written; EC_INTERNAL: the database's own words. */
int schema_open (struct sqlite3 *sql, const struct schema *s, const char *path, struct err *e);
/* The number that a query gives; -1: none. */
int64_t schema_number (struct sqlite3 *sql, const char *query);

#endif
