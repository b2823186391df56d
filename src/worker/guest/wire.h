/* wire.h: what host and guest say to each other. Everything little-endian. The host trusts no byte of the guest; the guest trusts the host.
 *
 * Disks, found by their serial: `image` (squashfs, read-only), `input` (read-only), `output`.
 * Ports (virtio-serial), found by their name: `assay.log` (guest to host, the step's output), `assay.ctl`, and `assay.relay`, on which mux.h is
 * spoken, the guest opening, where the job has JOB_RELAY fields, and nothing else.
 *
 * input: the job: 16 bytes (JOB_MAGIC, u32 length of the fields, u32 0), fields (u8 tag, u32 length, bytes), then at the next multiple
 * of 4096 a pack (pack.h) with the roots `src` and, where the step has inputs, `in`.
 * output: at 0 a pack with the roots `out` and `src`, where the result says that one is there.
 *
 * ctl, host to guest: one go record of GO_SIZE bytes. Guest to host: records of 8 bytes of head (RECORD_MAGIC, u8 kind, u8 0, u16 length)
 * and at most RECORD_MAX bytes: ready (u32 GUEST_VERSION) when the guest waits for go; started when it has go; result, once, the last.
 * The time that a step may take is kept by the host, which leaves out what the VM was frozen for. TIME_SIZE bytes say what is left of it: when the
 * guest asks (time, no bytes), as it does when it is over by its own clock; and unasked, 0, when it is over, as the clock of a busy VM that gets
 * little of its machine falls behind.
 */
#ifndef ASSAY_WORKER_GUEST_WIRE_H
#define ASSAY_WORKER_GUEST_WIRE_H

#define GUEST_VERSION 3u

#define JOB_MAGIC "assayjob"
#define JOB_MAX (4u << 20)
enum job_tag {
    JOB_RUN = 'r',      /* for /bin/sh -ec */
    JOB_ENV = 'e',      /* K=V, one field each */
    JOB_ARTIFACT = 'a', /* a listed path or pattern, one field each */
    JOB_FILTER = 's',   /* seccomp program, struct sock_filter[] */
    JOB_RELAY = 'l',    /* where to listen for the worker's endpoint of that number, one field each, in order: 4 bytes of IPv4 address, u16 port */
    JOB_HOSTS = 'h',    /* text of the step's /etc/hosts */
    JOB_NUMBERS = 'n'   /* u64 each, in the order of enum job_number */
};
#define RELAY_MAX 8     /* JOB_RELAY fields */
enum job_number { JOB_MEMORY, JOB_DISK, JOB_FILES, JOB_PROCESSES, JOB_NICE, JOB_MAX_BYTES, JOB_MAX_FILES, JOB_OUTPUT, JOB_INPUTS, JOB_NUMBER_COUNT };

#define GO_MAGIC "assaygo1"
#define GO_SEED 64
#define GO_SIZE (8 + 8 + 8 + GO_SEED) /* magic, u64 nanoseconds since 1970, u64 milliseconds that the step may take, seed */

#define TIME_MAGIC "assaytim"
#define TIME_SIZE (8 + 8) /* magic, u64 milliseconds that the step may still take */

#define RECORD_MAGIC "asR1"
#define RECORD_HEAD 8
#define RECORD_MAX 4000u
enum record_kind { RECORD_READY = 'R', RECORD_STARTED = 'S', RECORD_TIME = 'T', RECORD_RESULT = 'E', RECORD_BROKEN = 'B' /* text: why the guest could not do its part */ };
/* result: u8 exit status, u8 flags, u16 0, u32 0, u64 bytes of the pack on the output disk, u64 bytes of log written, u64 attempts
 * to reach what cannot be reached (with JOB_RELAY, else 0), text (why there is no pack) */
#define RESULT_HEAD 32
enum result_flag { RESULT_TIMED_OUT = 1, RESULT_OUT_OF_MEMORY = 2, RESULT_PACKED = 4, RESULT_NOT_PACKED = 8 };

#endif
