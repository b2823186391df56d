/* tool.h: other programs, run by fixed arguments without a shell, in a fixed environment (C.UTF-8, UTC, SOURCE_DATE_EPOCH).
 *
 * What a program says on stderr goes to a log; its last line becomes part of the error. in and out may be -1: /dev/null.
 */
#ifndef ASSAY_CLI_TOOL_H
#define ASSAY_CLI_TOOL_H

#include <sys/types.h>

#include "base/bytes.h"

#define TOOL_EPOCH "1672531200" /* every image's time; any fixed one does */

pid_t tool_start (const char *const argv[], int in, int out, int log); /* -1: errno */
bool tool_ended_well (pid_t pid);
int tool_fail (const char *what, int log, struct err *e);              /* "WHAT failed: last line of the log"; -1 */
int tool_run (const char *const argv[], const char *cwd, int in, int out, struct err *e);
int tool_pipe (const char *const first[], const char *const second[], int in, int out, struct err *e); /* first | second */
int tool_digest (const char *path, struct digest *d, struct err *e);   /* SHA-256 of a file */
const char *tool_unpacker (const uint8_t head[8]);                     /* program that unpacks what starts so (`PROGRAM -dc`); NULL: not compressed */
bool tool_package_valid (const char *s);                               /* a Debian package's name */

#endif
