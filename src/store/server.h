/* server.h: the store's side of the protocol: one loop, threads that hash and write what comes in, and one that syncs finished uploads.
 *
 *     server_open (&s, &conf, &e);  server_run (s, &e);  server_close (&s);
 * server_run returns 0 after SIGTERM or SIGINT. Everything below the line is for the files of the server only.
 */
#ifndef ASSAY_STORE_SERVER_H
#define ASSAY_STORE_SERVER_H

#include <pthread.h>

#include "auth/realm.h"
#include "store/access.h"
#include "store/cas.h"
#include "store/index.h"
#include "store/manifest.h"

struct store_conf {
    char *dir;                  /* the realm's folder */
    char *listen, *level;
    int64_t quota, free_floor, max_artifact, keep, gc_every, upload_idle;
};
struct server;
int server_open (struct server **s, const struct store_conf *conf, int signals, struct err *e);
int server_run (struct server *s, struct err *e);
void server_close (struct server **s);

/* ---- inside ------------------------------------------------------------------------------------------------------------ */
#define UPLOADS_MAX 1024
#define UPLOADS_EACH 64                    /* open uploads of one principal */
#define CHUNK_MAX (1u << 20)
#define CREDIT (UINT64_C (8) << 20)        /* bytes in flight */
#define READS_MAX 1024
#define READS_EACH 128                     /* open reads of one principal, and the entries of their manifests together */
#define READS_ENTRIES (1u << 18)
#define WRITERS_MAX 4
#define QUEUED_MAX (UINT64_C (256) << 20)  /* bytes taken in and not yet written, of all uploads: beyond, nothing more is taken in for a while */

enum upload_state { UPLOAD_OPEN, UPLOAD_RESUMING, UPLOAD_SYNCING };   /* the last two: the syncing thread's */

struct piece {                             /* a chunk, as it came */
    struct piece *next;
    struct net_in in;
    struct bytes data;                     /* in `in`: what of it is new */
    uint64_t request, end;                 /* end: the upload's offset behind it */
};
struct pieces {
    struct piece *first, *last;
};
#define PIECE_COST 1024                    /* bytes that even an empty one counts for */

struct upload {
    struct upload *next;
    enum upload_state state;
    struct digest id, artifact, lease_id, submission;
    char sender[64], owner[64], project[128], ref[256], step[64];
    int64_t expires;                       /* of the lease; INT64_MAX without */
    struct buf raw, need;
    struct manifest m;
    size_t *blobs, blob_count, at;         /* wanted blobs, and the one that is being written */
    uint64_t offset, total, in_blob, bytes;
    struct cas_batch *batch;               /* this, offset, at and in_blob belong to the thread that writes or syncs it, else to the loop */
    uint64_t accepted, queued;             /* the loop's: the offset behind all that was taken in; bytes of pieces that are not back */
    bool finishing;                        /* put_done came */
    struct pieces todo, done;              /* under the server's lock, with the rest below */
    bool busy, moved;                      /* busy: a thread has it, or will; moved: it is in the list of the same name */
    struct err bad;                        /* why writing failed: from then on no thread has it any more */
    struct upload *ready_next, *moved_next;
    int64_t touched;                       /* monotonic ms */
    uint8_t route[256];                    /* who waits for the receipt */
    size_t route_len;
    uint64_t request;
    struct err result;                     /* of the sync */
    struct upload *done_next;
};

struct read_open {                         /* an artifact that a connection may read */
    uint8_t route[256];
    size_t route_len;
    uint8_t peer[32];
    struct digest artifact;
    struct manifest m;
    size_t *blobs, blob_count;
    uint64_t total;
    int64_t touched, until;                /* until: the lease's end */
};

struct server {
    struct store_conf conf;
    struct realm *rl;
    struct cas *cas;
    struct index_db *index;
    zsock_t *router, *broker, *events;
    char broker_name[64];
    int signals, wake;                     /* wake: eventfd of the threads */
    struct upload *uploads;
    size_t upload_count;
    struct read_open *reads[READS_MAX];
    uint64_t seq, asked_request;
    int64_t asked_at, gc_at, tick_at, opened_at;
    bool forgot;                           /* what uploads of an earlier process left was removed */
    bool more;
    struct { char worker[64]; int64_t at; } reported[64];
    uint64_t queued;                       /* bytes, of all uploads */
    pthread_t thread, writers[WRITERS_MAX];
    unsigned writer_count;
    bool thread_runs, stop;
    pthread_mutex_t lock;                  /* of the lists below, stop, and what of an upload says so */
    pthread_cond_t cond, sync_cond;
    struct upload *todo, *done;            /* to sync, and synced */
    struct upload *ready, *moved;          /* to write, and written on */
};

struct ask {                               /* a request being answered */
    struct server *s;
    struct net_in *in;                     /* a handler may move it away: m borrows from it then no more */
    const struct msg *m;
    const struct principal *sender;
    struct digest submission;              /* of the lease that came with it; zero: none */
    char step[64];
};
int reply (struct server *s, const uint8_t *route, size_t route_len, const struct msg *m);
int ask_reply (const struct ask *a, struct msg *m);
void refuse (struct server *s, const uint8_t *route, size_t route_len, uint64_t request, const struct err *bad);

int on_put_open (struct ask *a, struct err *e);      /* upload.c */
int on_put_chunk (struct ask *a, struct err *e);
int on_put_done (struct ask *a, struct err *e);
void uploads_synced (struct server *s);              /* answers what the threads have finished */
void uploads_tick (struct server *s, int64_t mono);
void uploads_stop (struct server *s);
int upload_take (struct upload *u, struct bytes data, struct err *e);            /* on a writing thread: the next bytes */
int upload_resume (struct upload *u, struct err *e);                             /* on the syncing thread: what an earlier process left */
int upload_close (struct server *s, struct upload *u, struct err *e);            /* on the syncing thread: its manifest, as the last blob */

int writer_start (struct server *s, struct err *e);  /* writer.c */
void writer_stop (struct server *s);                 /* what is half done is dropped; what waits for its sync is synced */
struct piece *piece_new (struct net_in *in, struct bytes data, uint64_t request); /* takes `in` over; data lies in it */
void pieces_free (struct pieces *list);
void writer_take (struct server *s, struct upload *u, struct piece *p);
bool writer_idle (struct server *s, struct upload *u);   /* no thread has it, and all that was done is taken */
/* The next upload that got further, NULL: none. done: its pieces, the caller's; failed: u->bad says why, and all its pieces are back. */
struct upload *writer_moved (struct server *s, struct pieces *done, bool *failed);
void writer_sync (struct server *s, struct upload *u);
struct upload *writer_synced (struct server *s);         /* a list, by done_next */
int on_get_open (struct ask *a, struct err *e);      /* read.c */
int on_get_next (struct ask *a, struct err *e);
int on_name_set (struct ask *a, struct err *e);
int on_store_list (struct ask *a, struct err *e);
void reads_tick (struct server *s, int64_t mono);
void read_release (struct read_open **r);
void events_tick (struct server *s, int64_t mono);   /* feed.c: the broker's events */
void events_ready (struct server *s);
void events_close (struct server *s);
/* Tell all who watch what a worker tried here, once a worker and minute; submission zero: not of any. Lost when the broker is away: our
 * log has it. */
void feed_report (struct server *s, const struct digest *submission, struct bytes step, const char *worker, const char *reason);

#endif
