/* diffoscope.h: the program diffoscope on two artifacts, shut in: what it unpacks and reads was built by somebody who may be a liar.
 *
 * It runs under bubblewrap without network, with nothing of this machine but its programs, read-only, and the two folders; at most
 * DIFFOSCOPE_S seconds, and its text is cut at DIFFOSCOPE_MAX bytes.
 */
#ifndef ASSAY_CLI_DIFFOSCOPE_H
#define ASSAY_CLI_DIFFOSCOPE_H

#include "base/bytes.h"

#define DIFFOSCOPE_S "600"
#define DIFFOSCOPE_MAX (4u << 20)

/* NULL where it can be run, else what is missing and how to get it. */
const char *diffoscope_missing (void);
/* dir holds the folders a and b (names of one letter). text: cleaned for a terminal, added to; html: a file to write, or NULL. */
int diffoscope_run (const char *dir, const char *a, const char *b, struct buf *text, const char *html, struct err *e);

#endif
