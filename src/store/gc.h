/* gc.h: mark and sweep: blobs that no kept artifact, name or open upload needs are removed.
 *
 * Marks are taken and the sweep done between two messages of the loop, and uploads that are open count as roots from the moment
 * that they were told which blobs they need not send; so no blob goes that somebody counts on. If the manifest of a root
 * is there but cannot be read, nothing is swept this time (better too much than too little).
 */
#ifndef ASSAY_STORE_GC_H
#define ASSAY_STORE_GC_H

#include "store/cas.h"
#include "store/index.h"

struct gc;
struct gc *gc_new (struct cas *c);
void gc_root (struct gc *g, const struct digest *artifact);  /* and all that its manifest names */
void gc_blob (struct gc *g, const struct digest *blob);      /* one blob */
/* What nothing needs: found first and removed then, so that whoever notes that it is gone notes it before it is: what is noted and still
 * there costs an upload, what is gone and not noted would be had for its name. */
int gc_find (struct gc *g, size_t *count, uint64_t *bytes, struct err *e);
void gc_doomed (const struct gc *g, void (*fn) (void *arg, const struct digest *blob), void *arg);
int gc_remove (struct gc *g, struct err *e);
void gc_destroy (struct gc **g);
/* The manifest of a stored artifact, read and checked against its digest. */
int gc_manifest (struct cas *c, const struct digest *artifact, struct buf *raw, struct err *e);

#endif
