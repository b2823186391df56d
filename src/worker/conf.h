/* conf.h: worker.ini, what the worker's owner allows. The rows are the reference (`assay-worker --help-config`).
 *
 * A section `[project NAME]` holds for steps of project NAME (or, with a star behind its last slash, of all below it; or of the list
 * in its setting `names`). It says for them what the other sections say for all: every setting of [limits], and those of [worker] that
 * conf_by_project lists. The section that fits most closely counts, alone.
 *
 *     conf_open (&c, dir, &e);
 *     conf_for (&c, project, &mine);            // the settings for one step: a struct of its own, without sections
 *     conf_write (&mine, &text);                // what conf_read (&c, path, &e) reads back, in the step's process
 *     conf_release (&mine);
 */
#ifndef ASSAY_WORKER_CONF_H
#define ASSAY_WORKER_CONF_H

#include "base/config.h"
#include "proto/msg.h"

#define CONF_PROJECTS_MAX 62 /* names of projects in sections: with the rest they fit into one message */

struct conf_project;
struct conf {
    char *isolation, *user, *projects, *submitters, *hours, *io_priority, *cpu_priority, *on_pause, *on_busy, *network;
    int64_t steps, cpus, memory, disk, time_ms, log, processes, files, nice, max_load, max_pressure, max_memory_pressure, max_io_pressure, user_idle_ms, freeze_ms, free_disk,
        image_cache, snapshots, fetch_ms, upload_ms;
    bool idle_only, on_battery, require_cgroups, file_urls, emulation;
    struct conf_project *project; /* sections, as read */
    size_t project_count;
};

enum conf_hold { CONF_FINISH, CONF_FREEZE, CONF_HAND_BACK };

extern const struct config_row conf_rows[];

/* DIR/worker.ini over the defaults; a missing file is fine. Checks what one row alone cannot (hours, isolation). */
int conf_open (struct conf *c, const char *dir, struct err *e);
int conf_read (struct conf *c, const char *path, struct err *e); /* this very file, which must be there */
void conf_write (const struct conf *c, struct buf *out);         /* without the sections of projects */
#define CONF_DRIVERS 3
/* The drivers of `isolation` as ISOLATION_* bits, in the owner's order; 0 if one is unknown. */
size_t conf_drivers (const struct conf *c, unsigned kinds[CONF_DRIVERS]);
void conf_release (struct conf *c);

/* The section that holds for the project (its number), or -1. */
int conf_section (const struct conf *c, struct bytes project);
const char *conf_section_names (const struct conf *c, size_t section); /* what it holds for: a list of patterns */
void conf_for (const struct conf *c, struct bytes project, struct conf *out);
void conf_for_section (const struct conf *c, int section, struct conf *out); /* -1: the rest */
bool conf_by_project (const struct config_row *row);
enum conf_hold conf_hold (const char *word);

/* Does the step ask for no more than allowed? If it does, why (at most 255 bytes) has what it asks and what is allowed. */
bool conf_allows (const struct conf *c, const struct msg_step *step, char *why, size_t size);

#endif
