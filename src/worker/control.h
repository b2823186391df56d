/* control.h: the owner's words to a running worker, over a socket in its state folder.
 *
 * The socket is STATE/control, mode 0600 in a folder of mode 0700, and whoever connects must be root or the worker's own user
 * (SO_PEERCRED). One word and a line's end in, one JSON object and a line's end out; then it is closed.
 *
 *     control_open (state, &e)                      // the listening descriptor; -1
 *     when readable: control_take (fd, answer, arg) // reads one word, calls answer, sends what it wrote
 * Words: pause, resume, drain, status, reload. What has no effect says why in the key `error`.
 *
 *     control_ask (state, &ask, &e)                 // the other side: prints to stdout; ERR_UNREACHABLE where no worker runs
 */
#ifndef ASSAY_WORKER_CONTROL_H
#define ASSAY_WORKER_CONTROL_H

#include "base/bytes.h"

int control_open (const char *state, struct err *e);
void control_take (int fd, void (*answer) (void *arg, const char *word, struct buf *json), void *arg);

struct control_ask {
    const char *word;
    bool json;         /* as it came, else for people */
    bool wait;         /* until nothing runs any more */
};
bool control_word (const char *word); /* one of the words */
int control_ask (const char *state, const struct control_ask *ask, struct err *e);

/* What a worker answers, in the words of the JSON object. */
struct control_step {
    const char *lease, *project, *step, *state; /* state: running, frozen, sending */
    int64_t since, until, frozen_ms;            /* microseconds since 1970: begun, lease's end */
    int64_t cpus, memory, disk;
};
struct control_status {
    const char *name, *state, *why, *isolation, *cgroups, *network, *error;
    const char *accelerator, *kvm;           /* what VMs run under: kvm, tcg; and why not under KVM, else empty */
    bool connected;
    uint64_t credit, steps, done, errors, declined, handed_back;
    uint64_t relay_passed, relay_refused; /* connections of builds that the relay let through; and that failed */
    const struct control_step *step;
    size_t step_count;
};
void control_write (const struct control_status *s, struct buf *json);

#endif
