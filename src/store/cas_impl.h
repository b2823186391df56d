/* cas_impl.h: for those who implement a backend of cas.h. Each cas_<backend>.c ends in one const table.
 *
 * `cas.c` has checked and hashed before it calls: a backend stores bytes and makes them durable, nothing else.
 */
#ifndef ASSAY_STORE_CAS_IMPL_H
#define ASSAY_STORE_CAS_IMPL_H

#include "store/cas.h"

struct cas_stamp {           /* changes whenever the blob's bytes may have changed */
    uint64_t v[4];
};

struct cas_ops {
    const char *name;
    void *(*open) (const char *dir, bool look, struct err *e);  /* look: as cas_look */
    void (*close) (void *self);
    /* true: there, with size and stamp */
    bool (*stat) (void *self, const struct digest *d, uint64_t *size, struct cas_stamp *stamp);
    int (*read) (void *self, const struct digest *d, uint64_t offset, void *p, size_t len, struct err *e);
    int (*remove) (void *self, const struct digest *d, struct err *e);
    int (*set_aside) (void *self, const struct digest *d, struct err *e);   /* never to be found by stat again; kept for a person */
    int (*each) (void *self, void (*fn) (void *arg, const struct digest *d, uint64_t size), void *arg, struct err *e);
    uint64_t (*space) (void *self);
    /* A batch: `aside` opens the next blob's place, `append` adds to it, `shut` ends it; publish makes all durable and visible. */
    void *(*batch) (void *self, const struct digest *name);     /* NULL: without a name */
    int (*aside) (void *batch, const struct digest *d, struct err *e);
    int (*append) (void *batch, const void *p, size_t len, struct err *e);
    int (*shut) (void *batch, struct err *e);
    int (*publish) (void *batch, struct err *e);
    void (*drop) (void *batch);
    /* What stays of a batch for the next one of its name; all NULL where nothing ever does. `again`: as aside, but at the end of what is
     * there, *len bytes, which `reread` reads; -1 with EC_NOT_FOUND where there is nothing. */
    bool (*left) (void *batch);
    int (*again) (void *batch, const struct digest *d, uint64_t *len, struct err *e);
    int (*reread) (void *batch, uint64_t offset, void *p, size_t len, struct err *e);
    void (*leave) (void *batch);
    int (*forget) (void *self, const struct digest *names, size_t n, struct err *e);
};

extern const struct cas_ops cas_fs_ops, cas_mem_ops;

#endif
