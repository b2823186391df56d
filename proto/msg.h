/* msg.h: the codec of every message and body; generated from messages.def by the preprocessor.
 *
 * Calling sequence:
 *     struct msg m;
 *     if (msg_decode (frame, &m, &e) == -1) ... e.code is the named protocol error; nothing to release
 *     if (m.type == MSG_submit) use m.u.submit.envelope ...
 *     msg_release (&m);
 * Decoded strings and bins borrow from the frame, which must outlive the message; lists are allocated, bounded by the frame.
 * A STR is `struct bytes`: not NUL-terminated, valid UTF-8, without NUL.
 *
 *     struct msg m = MSG_INIT (ok, request);            // sets type and request, zeroes the rest
 *     BUF (b); msg_encode (&m, &b);                     // aborts on a bound broken by ourselves: a bug, never remote input
 *
 * Pure: no I/O, no clock. Decoding costs O(frame) time and allocates at most 16 bytes a list element that is really there.
 */
#ifndef ASSAY_PROTO_MSG_H
#define ASSAY_PROTO_MSG_H

#include "base/bytes.h"

#define PROTO_VERSION 1

enum role { /* bits */
    ROLE_SUBMITTER = 1 << 0, ROLE_WORKER = 1 << 1, ROLE_VERIFIER = 1 << 2, ROLE_BROKER = 1 << 3, ROLE_STORE = 1 << 4,
    ROLE_VIEWER = 1 << 5, ROLE_DEPLOYER = 1 << 6, ROLE_ADMIN = 1 << 7, ROLE_MAINTAINER = 1 << 8, ROLE_IDP = 1 << 9,
    ROLE_NONE = 0, ROLE_ANY = (1 << 10) - 1, ROLE_TOKEN = 1 << 10, ROLE_SERVICE = 1 << 11
};
#define ISOLATION_NONE 1u /* `none`: assay's own tests */
#define ISOLATION_BWRAP 2u
#define ISOLATION_QEMU 4u
#define NETWORK_REALM 1u   /* git server, broker and store, through the worker */
#define NETWORK_NONE 2u
#define RESULT_OUTCOME 1u
#define RESULT_ERROR 2u
#define ENTRY_ENROL 1u
#define ENTRY_REVOKE 2u
#define ENTRY_POLICY 3u

#define TYPE_ROSTER "application/vnd.assay.roster-entry+msgpack"
#define TYPE_HEAD "application/vnd.assay.roster-head+msgpack"
#define TYPE_SUBMISSION "application/vnd.assay.submission+msgpack"
#define TYPE_LEASE "application/vnd.assay.lease+msgpack"
#define TYPE_RECEIPT "application/vnd.assay.receipt+msgpack"
#define TYPE_ENROL "application/vnd.assay.enrol+msgpack"
#define TYPE_INTOTO "application/vnd.in-toto+json"

struct bytes_list {
    struct bytes *v;
    size_t n;
};

enum msg_type {
#define MSG(num, name, senders, help) MSG_##name = num,
#define U64(m, f)
#define DIG(m, f)
#define STR(m, f, max)
#define BIN(m, f, max)
#define STRS(m, f, count, max)
#define BINS(m, f, count, max)
#define END(m)
#include "proto/messages.def"
#undef MSG
#undef U64
#undef DIG
#undef STR
#undef BIN
#undef STRS
#undef BINS
#undef END
    MSG_none = 0
};

#define MSG(num, name, senders, help) struct msg_##name { char unused_;
#define U64(m, f) uint64_t f;
#define DIG(m, f) struct digest f;
#define STR(m, f, max) struct bytes f;
#define BIN(m, f, max) struct bytes f;
#define STRS(m, f, count, max) struct bytes_list f;
#define BINS(m, f, count, max) struct bytes_list f;
#define END(m) };
#include "proto/messages.def"
#undef MSG
#undef U64
#undef DIG
#undef STR
#undef BIN
#undef STRS
#undef BINS
#undef END

struct msg {
    enum msg_type type;
    uint64_t request; /* chosen by the asker, echoed in every answer; 0 for what nobody asked for, and for bodies */
    union {
#define MSG(num, name, senders, help) struct msg_##name name;
#define U64(m, f)
#define DIG(m, f)
#define STR(m, f, max)
#define BIN(m, f, max)
#define STRS(m, f, count, max)
#define BINS(m, f, count, max)
#define END(m)
#include "proto/messages.def"
#undef MSG
#undef U64
#undef DIG
#undef STR
#undef BIN
#undef STRS
#undef BINS
#undef END
    } u;
};
#define MSG_INIT(name, req) { .type = MSG_##name, .request = (req) }

int msg_decode (struct bytes frame, struct msg *m, struct err *e);
/* As msg_decode, and the type must be `want` (EC_UNEXPECTED): for bodies. */
int msg_decode_as (struct bytes frame, enum msg_type want, struct msg *m, struct err *e);
void msg_encode (const struct msg *m, struct buf *out);
void msg_release (struct msg *m);
const char *msg_name (enum msg_type t);       /* "submit"; "unknown" */
const char *msg_help (enum msg_type t);
unsigned msg_senders (enum msg_type t);       /* mask of enum role */
size_t msg_types (enum msg_type *out, size_t max); /* every type there is, for tests and docs */

/* "worker,trusted" style lists: role bits to names and back. role_parse: 0 if unknown. */
unsigned role_parse (const char *name);
void role_names (unsigned mask, struct buf *out); /* comma-separated */
unsigned isolation_parse (const char *name);      /* "qemu", "bwrap", "none"; 0 if unknown */
const char *isolation_name (unsigned one);
unsigned network_parse (const char *name);        /* "none", "realm"; 0 if unknown */
const char *network_name (unsigned one);

#endif
