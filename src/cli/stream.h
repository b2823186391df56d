/* stream.h: the broker's events, none missing and none twice, from a sequence number on.
 *
 *     stream_open (c, rl, since, project, &s, &e);        // since 0: from the first; STREAM_NEW: only what comes from now on
 *     while ((n = stream_next (s, timeout, &ev, &e)) >= 0) if (n) use ev, which holds until the next call
 *     stream_close (&s);
 *
 * It subscribes first and replays afterwards, so that nothing falls between the two; it drops what it has seen (by sequence
 * number) and, where a number is missing (PUB drops silently), asks for a replay. While nothing comes it asks every few seconds,
 * which also shows whether the broker is alive. A broker that restarts is waited for, STREAM_PATIENCE_MS long.
 */
#ifndef ASSAY_CLI_STREAM_H
#define ASSAY_CLI_STREAM_H

#include "cli/cli.h"
#include "proto/statement.h"

#define STREAM_NEW UINT64_MAX
#define STREAM_PATIENCE_MS 30000

struct stream;
int stream_open (struct cli *c, struct realm *rl, uint64_t since, const char *project, struct stream **s, struct err *e);
void stream_close (struct stream **s);
int stream_next (struct stream *s, int timeout_ms, const struct msg_event **ev, struct err *e); /* 1 an event, 0 none in time, -1 */
struct client *stream_client (struct stream *s); /* its connection to the broker; may be NULL while that is gone */

/* The verdict in an event of kind "verdict" or in an envelope, its signature checked against the realm's verifier; verdict_release. */
int verdict_open (struct realm *rl, struct bytes envelope, struct verdict *v, struct err *e);
/* Does each vote that it counted still stand? EC_REVOKED (untrusted) naming the worker if not: it is being decided again. */
int verdict_stands (struct realm *rl, const struct verdict *v, struct err *e);

/* Which steps were submitted and which have their final verdict. */
struct tracker;
struct tracker *tracker_new (struct realm *rl);
void tracker_destroy (struct tracker **t);
void tracker_see (struct tracker *t, const struct msg_event *ev);
void tracker_expect (struct tracker *t, const struct digest *id, struct bytes step);    /* open until its final verdict */
size_t tracker_open (const struct tracker *t);                                          /* steps without one */
/* The step's final state; NULL while it is open or unknown. */
const char *tracker_state (const struct tracker *t, const struct digest *id, struct bytes step);
bool state_is_open (struct bytes state);  /* pending, provisional, disputed: more is on its way */

/* One event, as JSON on a line (the contract of design, section 9) or for people. */
void event_json (const struct msg_event *ev, struct buf *out);
void event_line (struct cli *c, const struct msg_event *ev, struct buf *out);

#endif
