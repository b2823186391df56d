/* server.h: inside src/broker only: the broker's loop and what its parts share.
 *
 * One loop. Each turn takes in what has arrived (up to TURN messages), all in one transaction; every message is marked in
 * it, so that one that fails leaves nothing behind. What goes out - answers, leases, events - is queued, and sent only once the
 * transaction is on the disk. A failed commit turns every queued answer into an `internal` error. While the disk works, other threads
 * sign this turn's leases and check the signatures of the next turn's submissions.
 *
 *   server.c  loop, sockets, authorisation     submission.c  submit, status, cancel, retry
 *   fleet.c   workers, leases, results         events.c      event log, subscriptions, replay, verdicts
 *   logs.c    logs of builds
 */
#ifndef ASSAY_BROKER_SERVER_H
#define ASSAY_BROKER_SERVER_H

#include "auth/realm.h"
#include "broker/pool.h"
#include "broker/schedule.h"
#include "broker/state.h"
#include "broker/terms.h"
#include "proto/statement.h"

struct broker_conf {
    char *listen, *events, *state, *level;
    int64_t error_cap, silence, lease_time, lease_grace, max_log, max_upload, max_queue, max_each, max_priority, free_floor, decline_pause, sideline, event_hwm;
};

struct route {                  /* a peer's connection */
    uint8_t id[32];
    size_t len;
};

struct worker {                 /* connected, and said hello */
    struct route route;
    char name[64], owner[64];
    int64_t heard;              /* monotonic ms */
    uint64_t credit, cpus, memory, disk;
    unsigned isolation, network; /* network: NETWORK_REALM where builds may reach the realm's services */
    char (*projects)[128];      /* what its owner lets it work on; with wildcards */
    size_t project_count;
    struct terms terms;         /* the same by project, if it said so */
    bool held;                  /* it said what it holds, since it connected */
};

struct avoid {                  /* a worker that a step does not go to for a while */
    int64_t step, until;        /* until: monotonic ms */
    char worker[64];
};
#define AVOIDS 4096u

struct strikes {                /* a worker that did not do what it took, again and again */
    char worker[64];
    unsigned n;                 /* in a row */
    int64_t until;              /* monotonic ms: no leases before */
    int64_t struck;             /* microseconds: the newest of them */
};
#define STRIKES 1024u
#define LOOKERS 256u
#define LOOK_MAX 10000u         /* rows that one principal's questions may have looked at in one turn */

struct out {                    /* to send after the commit */
    struct route route;
    const uint8_t *peer;        /* whose request it answers, until the turn ends; NULL: nobody's */
    uint64_t request;           /* for the error that replaces it; 0: nobody waits for it */
    bool publish;
    char topic[130];
    struct buf frame;
    struct buf lease;           /* body of a lease: signed, and made into the frame with its submission, when the turn ends */
    struct buf submission, boxes;
};

struct looker {                 /* one that asked in this turn */
    uint8_t peer[32];
    size_t rows;                /* looked at for it */
};

struct follower {
    struct route route;
    uint8_t peer[32];
    bool follow;                /* else it ends where the log now ends */
    uint64_t request, offset;
    struct digest lease;        /* zero: none yet */
    int64_t step, until;
    char worker[64];
};

struct server {
    struct broker_conf conf;
    struct realm *rl;
    struct state *state;
    zsock_t *router, *xpub;
    int signals;
    bool stop, dirty, room;     /* dirty: the queue is worth a look; room: disk and queue have room */
    struct worker *workers;
    size_t worker_count;
    struct avoid avoid[AVOIDS];
    size_t avoid_next;
    struct strikes strikes[STRIKES];
    size_t strikes_next;
    struct out *outs;
    size_t out_count, out_cap, out_bytes;
    struct follower *followers;
    size_t follower_count;
    struct looker lookers[LOOKERS]; /* of this turn */
    size_t looker_count;
    struct cursor cursor;
    int64_t tick_at, started;
    struct pool *pool;
    struct inbox *inbox, *coming; /* of this turn; of the next, taken in and looked at while this one goes to the disk */
    struct inbox *fresh;        /* of those that are coming, the ones to look at */
    size_t coming_count;
    char *logs;                 /* folder */
    bool rebind;                /* the events' socket is to be made anew */
    size_t topics;              /* bytes of what was subscribed to on it */
};

struct ask {                    /* a request being answered */
    struct server *s;
    struct route route;
    const uint8_t *peer;
    const struct msg *m;
    const struct principal *sender;
    int64_t now;                /* CLOCK_REALTIME, microseconds */
    const struct principal *signer; /* of a submission: whose signature was found good before the turn; NULL: none */
};

/* server.c */
int server_open (struct server **s, const struct broker_conf *conf, const char *dir, int signals, struct err *e);
int server_run (struct server *s, struct err *e);
void server_close (struct server **s);
void send_later (struct server *s, const struct route *to, const struct msg *m);
void ask_reply (const struct ask *a, const struct msg *m);
void lease_later (struct server *s, const struct route *to, const struct buf *body, const struct buf *submission, const uint8_t boxes[][BLIND_BOX], size_t n); /* n: none, or of each input */
bool may_see (const struct principal *p, const char *project);
size_t *looked_by (struct server *s, const uint8_t peer[32]); /* how many rows were looked at for the key in this turn */

/* events.c */
struct event_fields {
    const char *kind, *project, *step, *state, *worker, *owner, *reason;
    struct digest id, digest;
    struct bytes payload;
};
int event_add (struct server *s, const struct event_fields *f, uint64_t *seq, struct err *e); /* into the log, and out after the commit */
int on_replay (struct ask *a, struct err *e);
int on_verdict (struct ask *a, struct err *e);
int on_replicate (struct ask *a, struct err *e);
int on_usable (struct ask *a, struct err *e);
int on_report (struct ask *a, struct err *e);
void subscriptions (struct server *s);
int events_rebind (struct server *s, struct err *e);

/* submission.c */
const struct principal *submission_signer (struct server *s, struct bytes envelope); /* NULL if its signature does not hold; only reads */
int on_submit (struct ask *a, struct err *e);
int on_cancel (struct ask *a, struct err *e);
int on_retry (struct ask *a, struct err *e);
int on_challenge (struct ask *a, struct err *e);
int on_status_get (struct ask *a, struct err *e);
int on_submission_get (struct ask *a, struct err *e);
int steps_expire (struct server *s, struct err *e);
/* A step with what is needed to act on it. */
struct context {
    struct sub_row sub;
    struct step_row step;
};
int context_find (struct server *s, const struct digest *id, struct bytes step, struct context *c, struct err *e);
int context_of_step (struct server *s, int64_t step, struct context *c, struct err *e);
void context_release (struct context *c);
/* Apply an event to the step, do its actions, write it. reason: of the leases that end. */
int step_apply (struct server *s, struct context *c, enum job_event event, unsigned more, const char *reason, struct err *e);
/* Is there an owner left that may build the step, by the roster? EC_CONFLICT if not. */
int challenge_fits (struct server *s, const struct context *c, struct err *e);
int needs_check (struct server *s, const struct sub_row *sub, struct err *e); /* start, or give up, the steps that waited for others */

/* fleet.c */
int on_ready (struct ask *a, struct err *e);
int on_terms (struct ask *a, struct err *e);
int on_holding (struct ask *a, struct err *e);
int on_decline (struct ask *a, struct err *e);
int on_handback (struct ask *a, struct err *e);
int on_result (struct ask *a, struct err *e);
void worker_hello (struct ask *a);                   /* a worker's connection is known from here on */
void worker_heard (struct server *s, const struct principal *p, const struct route *r);
struct worker *worker_find (struct server *s, const char *name);
bool worker_on (struct server *s, const char *name, const struct route *r);
bool worker_sidelined (const struct server *s, const char *worker, int64_t mono); /* gets no leases for now (mono: monotonic ms) */
int leases_check (struct server *s, struct err *e);  /* deadlines, silent and revoked workers */
int leases_revoke (struct server *s, const struct step_row *step, const char *reason, struct err *e); /* all open ones of a step */
int votes_forget (struct server *s, int64_t step, struct err *e);
void workers_release (struct server *s);

/* grant.c */
int leases_give (struct server *s, struct err *e);

/* logs.c */
int on_log (struct ask *a, struct err *e);
int on_log_get (struct ask *a, struct err *e);
void logs_lease (struct server *s, int64_t step, const struct lease_row *l); /* a lease began: followers that waited for one get it */
bool logs_pump (struct server *s);                                           /* send what there is; true: there is more */

#endif
