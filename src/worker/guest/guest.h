/* guest.h: the init of a VM that runs one step: a static program, alone in the initramfs with its modules. It needs nothing of the image.
 *
 * init.c: modules, disks, ports; says ready, waits for go; then the job: job.c reads it, relay.c gives it its network, if it has one, step.c runs
 * it, init.c packs and reports.
 * Whatever fails is said on the ctl port (RECORD_BROKEN) and on the console, and the machine goes off: the host calls that an error of
 * the infrastructure.
 */
#ifndef ASSAY_WORKER_GUEST_GUEST_H
#define ASSAY_WORKER_GUEST_GUEST_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/guest/wire.h"

#define WORK "/work" /* tmpfs: src, out, upper, root */
#define IMAGE "/image"
#define STEP_ID 1000 /* user and group of the step, as in the other drivers */

struct job_relay {
    struct in_addr at;
    uint16_t port;
};

struct job {
    char *run, **env, **artifacts; /* NULL at the end */
    char *hosts;       /* or NULL */
    struct job_relay relay[RELAY_MAX];
    size_t relay_count; /* 0: no network */
    uint8_t *filter;
    size_t filter_len, env_count, artifact_count;
    uint64_t n[JOB_NUMBER_COUNT];
    uint64_t pack_at;  /* where the pack starts on the input disk */
};

struct outcome {
    unsigned exit_status;
    bool timed_out, out_of_memory;
    uint64_t log;      /* bytes written to the log port */
};

/* The end: said on the console and on the ctl port, and the machine goes off. */
void broken (const char *fmt, ...) __attribute__ ((format (printf, 1, 2), noreturn));
void job_read (struct job *j, int input);
/* Does a listed path cover `path`: it or what it is below is listed, or (a folder) something listed may be below it? Pure. */
bool job_wants (const struct job *j, const char *path, bool folder);
/* Mounts of the step, once the sources are in WORK; then the step to its end. Nothing of it runs any more afterwards. */
void step_mounts (const struct job *j);
void step_run (const struct job *j, int log_port, int64_t deadline_ms, struct outcome *o);
/* The network, before the step: listeners and a process of their own; nothing where the job has none. */
void relay_begin (const struct job *j, int port);
void relay_names (const struct job *j);         /* the step's /etc/hosts, into WORK/upper */
uint64_t relay_refused (const struct job *j);   /* attempts elsewhere, so far */
int64_t now_ms (void);
/* The step's time is over by this machine's clock, which ran on while its owner had it frozen: what does the host say? answer: false while it has
 * not said, asked or not; left: in ms, 0 if it is over. */
void clock_ask (void);
bool clock_answer (int64_t *left);

#endif
