/* state_impl.h: what a backend of the broker's state implements. Each member does what state.h says of the function of its name. */
#ifndef ASSAY_BROKER_STATE_IMPL_H
#define ASSAY_BROKER_STATE_IMPL_H

#include "broker/state.h"

struct state_backend {
    const char *name;
    int (*open) (struct state **s, const char *dir, struct err *e);
    void (*close) (struct state *s);
    int (*begin) (struct state *s, struct err *e);
    int (*commit) (struct state *s, struct err *e);
    void (*rollback) (struct state *s);
    int (*mark) (struct state *s, struct err *e);
    int (*keep) (struct state *s, struct err *e);
    void (*undo) (struct state *s);
    bool (*broken) (struct state *s);
    int (*sub_find) (struct state *s, const struct digest *id, struct sub_row *out, struct err *e);
    int (*sub_get) (struct state *s, int64_t key, struct sub_row *out, struct err *e);
    int (*sub_add) (struct state *s, struct sub_row *sub, struct err *e);
    int (*subs) (struct state *s, const char *prefix, int64_t before, unsigned limit, int (*each) (void *, const struct sub_row *), void *arg, struct err *e);
    int (*step_add) (struct state *s, struct step_row *step, struct err *e);
    int (*step_put) (struct state *s, struct step_row *step, struct err *e);
    int (*step_get) (struct state *s, int64_t key, struct step_row *out, struct err *e);
    int (*step_find) (struct state *s, const struct digest *sub, struct bytes name, struct step_row *out, struct err *e);
    int (*steps) (struct state *s, int64_t sub, int (*each) (void *, const struct step_row *), void *arg, struct err *e);
    int (*queue) (struct state *s, struct cursor after, unsigned limit, struct step_row *out, size_t *n, struct err *e);
    int (*expired) (struct state *s, int64_t now, unsigned limit, struct step_row *out, size_t *n, struct err *e);
    int64_t (*open_steps) (struct state *s);
    int (*share) (struct state *s, const char *submitter, unsigned priority, struct share *out, struct err *e);
    int (*share_add) (struct state *s, const char *submitter, unsigned priority, int64_t open, int64_t turn, struct err *e);
    int (*lease_add) (struct state *s, const struct lease_row *l, struct err *e);
    int (*lease_put) (struct state *s, const struct lease_row *l, struct err *e);
    int (*lease_get) (struct state *s, const struct digest *id, struct lease_row *out, struct err *e);
    int (*leases_of) (struct state *s, int64_t step, int (*each) (void *, const struct lease_row *), void *arg, struct err *e);
    int (*leases_open) (struct state *s, int (*each) (void *, const struct lease_row *), void *arg, struct err *e);
    uint64_t (*seq) (const struct state *s);
    int (*event_add) (struct state *s, const char *project, struct bytes body, struct err *e);
    int (*events) (struct state *s, uint64_t from, int (*each) (void *, uint64_t, const char *, struct bytes), void *arg, struct err *e);
};

struct state { /* a backend's own struct begins with it */
    const struct state_backend *ops;
};

extern const struct state_backend state_sqlite, state_mem;

#endif
