/* mux.h: many connections over one stream of bytes: between a VM's guest, where a step connects, and the worker, which dials. Pure: no I/O,
 * no clock, no memory but its own struct; both sides use it, and neither trusts what comes.
 *
 * Frames: 8 bytes of head (u8 kind, u8 stream, u16 0, u32 n; little-endian); after a MUX_BYTES follow n bytes. One side opens streams, the
 * other takes them.
 *   open    n = which of the worker's endpoints; the stream was free
 *   bytes   1 to MUX_DATA, and no more than the other side has granted: MUX_WINDOW to begin with
 *   credit  n more bytes may come: that many were taken away by a reader. One stream that nobody reads holds back no other
 *   end     no more bytes of mine; n = 0
 *   close   my last frame on this stream; what still comes is ignored; n = 0. When both have said so, the stream is free
 * What does not obey this ends the whole (mux_in says false), and nothing more is done with it.
 *
 *     mux_init (&m, opens)
 *     mux_in (&m, p, n)                     // what came from the other side
 *     mux_out (&m, &p), mux_sent (&m, n)    // what is to go there; never more than MUX_OUT waits
 *     opener: s = mux_open (&m, target)     // -1: no stream is free
 *     taker: mux_taken (&m, s, &target)     // true once for each stream that was opened
 *     mux_room, mux_send; mux_end           // towards the other side
 *     mux_have, mux_eat; mux_ended          // from it
 *     mux_gone (&m, s)                      // it closed before its end: give up, and close
 *     mux_close (&m, s)                     // by each side for each stream; nothing but this frees it
 */
#ifndef ASSAY_WORKER_GUEST_MUX_H
#define ASSAY_WORKER_GUEST_MUX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MUX_STREAMS 64
#define MUX_WINDOW 65536u
#define MUX_DATA 16384u
#define MUX_HEAD 8u
#define MUX_OUT (4 * (MUX_HEAD + MUX_DATA))

enum mux_kind { MUX_OPEN = 1, MUX_BYTES, MUX_CREDIT, MUX_END, MUX_CLOSE };

struct mux_stream {
    bool live, fresh;                      /* fresh: taken, and not told yet */
    bool say_open, say_end, say_close;     /* as soon as there is room */
    bool end, close, closed;               /* ours: asked for; closed: said */
    bool their_end, their_close;
    uint32_t target;
    uint32_t room, due;                    /* bytes that we may send; that they may */
    uint32_t at, have, eaten;              /* of the ring: where it begins, how much; taken away and not granted again yet */
};

struct mux {
    bool opens;
    const char *why;                       /* what was against the rules; static text */
    uint8_t head[MUX_HEAD];
    uint32_t head_len, left;               /* left: of a MUX_BYTES frame */
    unsigned to;                           /* its stream */
    size_t out_at, out_len;
    struct mux_stream s[MUX_STREAMS];
    uint8_t out[MUX_OUT];
    uint8_t ring[MUX_STREAMS][MUX_WINDOW];
};

void mux_init (struct mux *m, bool opens);
bool mux_in (struct mux *m, const uint8_t *p, size_t n);
size_t mux_out (struct mux *m, const uint8_t **p);
void mux_sent (struct mux *m, size_t n);

bool mux_free (const struct mux *m);
int mux_open (struct mux *m, uint32_t target);
bool mux_taken (struct mux *m, unsigned s, uint32_t *target);

size_t mux_room (struct mux *m, unsigned s);                         /* bytes that mux_send takes now; at most MUX_DATA */
void mux_send (struct mux *m, unsigned s, const uint8_t *p, size_t n);
void mux_end (struct mux *m, unsigned s);
size_t mux_have (const struct mux *m, unsigned s, const uint8_t **p); /* bytes that are there in one piece */
void mux_eat (struct mux *m, unsigned s, size_t n);
bool mux_ended (const struct mux *m, unsigned s);                    /* their end has come, and all before it was eaten */
bool mux_gone (const struct mux *m, unsigned s);
void mux_close (struct mux *m, unsigned s);

#endif
