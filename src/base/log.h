/* log.h: one sentence a line on stderr, with key=value behind it: `broker: step leased id=4f0c… step=build worker=w1`.
 *
 * With JOURNAL_STREAM set the line starts with its syslog priority (sd-daemon(3)). Control characters of remote text
 * are replaced. log_peer() is for a peer's misbehaviour: at most one line a peer and minute, then a count. Thread-safe.
 * Never pass a key, token or other secret.
 */
#ifndef ASSAY_BASE_LOG_H
#define ASSAY_BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

void log_open (const char *program, enum log_level level);
void log_error (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));
void log_warn (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));
void log_info (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));
void log_debug (const char *fmt, ...) __attribute__ ((format (printf, 1, 2)));
/* `peer` names who (principal, or transport key's first 8 hex digits). Counts every call, prints the first of a minute. */
bool log_peer (const char *peer, const struct err *e); /* true: a line was written, the first of this minute */
unsigned long log_peer_count (void); /* all misbehaviour so far, for tests and metrics */

#endif
