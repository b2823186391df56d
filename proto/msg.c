#include "proto/msg.h"

#include <assert.h>
#include <msgpack.h>
#include <stdlib.h>
#include <string.h>

enum kind { KIND_U64, KIND_DIG, KIND_STR, KIND_BIN, KIND_STRS, KIND_BINS };

struct field {
    enum kind kind;
    const char *name;
    size_t offset; /* in struct msg_NAME */
    size_t max, count;
};

#define MSG(num, name, senders, help) static const struct field fields_##name[] = {
#define U64(m, f) { KIND_U64, #f, offsetof (struct msg_##m, f), 0, 0 },
#define DIG(m, f) { KIND_DIG, #f, offsetof (struct msg_##m, f), 32, 0 },
#define STR(m, f, max) { KIND_STR, #f, offsetof (struct msg_##m, f), max, 0 },
#define BIN(m, f, max) { KIND_BIN, #f, offsetof (struct msg_##m, f), max, 0 },
#define STRS(m, f, count, max) { KIND_STRS, #f, offsetof (struct msg_##m, f), max, count },
#define BINS(m, f, count, max) { KIND_BINS, #f, offsetof (struct msg_##m, f), max, count },
#define END(m) { KIND_U64, NULL, 0, 0, 0 } };
#include "proto/messages.def"
#undef MSG
#undef U64
#undef DIG
#undef STR
#undef BIN
#undef STRS
#undef BINS
#undef END

struct row {
    enum msg_type type;
    const char *name, *help;
    unsigned senders;
    const struct field *fields;
    size_t field_count;
};

/* By number, with gaps: each message is looked up several times on its way. */
static const struct row rows[] = {
#define MSG(num, name, senders, help) [num] = { MSG_##name, #name, help, senders, fields_##name, sizeof fields_##name / sizeof *fields_##name - 1 },
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
};
#define ROWS (sizeof rows / sizeof *rows)

static const struct row *row_of (uint64_t number)
{
    return number < ROWS && rows[number].name ? &rows[number] : NULL;
}

/* ---- decoding: a cursor over the frame; every length is checked against what remains before it is used ---- */

struct cursor {
    const uint8_t *p, *end;
};

static bool take (struct cursor *c, size_t n, uint64_t *v)
{
    if ((size_t) (c->end - c->p) < n)
        return false;
    *v = 0;
    while (n--)
        *v = *v << 8 | *c->p++;
    return true;
}

static bool take_uint (struct cursor *c, uint64_t *v)
{
    uint64_t t;
    if (!take (c, 1, &t))
        return false;
    if (t < 0x80) {
        *v = t;
        return true;
    }
    return t >= 0xcc && t <= 0xcf && take (c, (size_t) 1 << (t - 0xcc), v);
}

static bool take_array (struct cursor *c, uint64_t *n)
{
    uint64_t t;
    if (!take (c, 1, &t))
        return false;
    if ((t & 0xf0) == 0x90) {
        *n = t & 15;
        return true;
    }
    return (t == 0xdc && take (c, 2, n)) || (t == 0xdd && take (c, 4, n));
}

static bool take_raw (struct cursor *c, bool str, struct bytes *out)
{
    uint64_t t, n;
    if (!take (c, 1, &t))
        return false;
    if (str ? (t & 0xe0) == 0xa0 : false)
        n = t & 31;
    else {
        unsigned base = str ? 0xd9 : 0xc4;
        if (t < base || t > base + 2 || !take (c, (size_t) 1 << (t - base), &n))
            return false;
    }
    if (n > (size_t) (c->end - c->p))
        return false;
    *out = bytes_of (c->p, (size_t) n);
    c->p += n;
    return true;
}

static int field_text (const struct row *r, const struct field *f, bool str, const struct bytes *b, struct err *e)
{
    if (b->len > f->max)
        return err_code (e, EC_OVERSIZED, "%s.%s is %zu bytes (at most %zu)", r->name, f->name, b->len, f->max);
    if (str && !utf8_valid (*b))
        return err_code (e, EC_MALFORMED, "%s.%s is not UTF-8 without NUL", r->name, f->name);
    return 0;
}

static int decode_field (struct cursor *c, const struct row *r, const struct field *f, char *body, struct err *e)
{
    void *at = body + f->offset;
    bool str = f->kind == KIND_STR || f->kind == KIND_STRS;
    struct bytes b;
    switch (f->kind) {
    case KIND_U64:
        if (take_uint (c, at))
            return 0;
        break;
    case KIND_DIG:
        if (!take_raw (c, false, &b))
            break;
        if (b.len != 32)
            return err_code (e, EC_MALFORMED, "%s.%s is %zu bytes (32 are needed)", r->name, f->name, b.len);
        memcpy (at, b.p, 32);
        return 0;
    case KIND_STR:
    case KIND_BIN:
        if (!take_raw (c, str, at))
            break;
        return field_text (r, f, str, at, e);
    case KIND_STRS:
    case KIND_BINS: {
        struct bytes_list *l = at;
        uint64_t n;
        if (!take_array (c, &n))
            break;
        if (n > f->count)
            return err_code (e, EC_OVERSIZED, "%s.%s has %llu elements (at most %zu)", r->name, f->name, (unsigned long long) n, f->count);
        if (n > (size_t) (c->end - c->p)) /* each takes a byte at the least */
            break;
        l->v = n ? xcalloc ((size_t) n, sizeof *l->v) : NULL;
        for (l->n = 0; l->n < n; l->n++)
            if (!take_raw (c, str, &l->v[l->n]))
                return err_code (e, EC_MALFORMED, "%s.%s[%zu] is malformed", r->name, f->name, l->n);
            else if (field_text (r, f, str, &l->v[l->n], e) == -1)
                return -1;
        return 0;
    }
    }
    return err_code (e, EC_MALFORMED, "%s.%s is missing or of the wrong kind", r->name, f->name);
}

int msg_decode (struct bytes frame, struct msg *m, struct err *e)
{
    struct cursor c = { frame.p, frame.p + frame.len };
    uint64_t n, version, number, request;

    m->type = MSG_none;
    m->request = 0;
    if (frame.len == 0 || !take_array (&c, &n) || n < 3 || !take_uint (&c, &version))
        return err_code (e, EC_MALFORMED, "not a message (an array that starts with version, type and request id)");
    if (version != PROTO_VERSION)
        return err_code (e, EC_VERSION, "protocol version %llu (this side speaks %d)", (unsigned long long) version, PROTO_VERSION);
    if (!take_uint (&c, &number) || !take_uint (&c, &request))
        return err_code (e, EC_MALFORMED, "not a message (no type or request id)");
    const struct row *r = row_of (number);
    m->request = request;
    if (!r)
        return err_code (e, EC_UNKNOWN_TYPE, "message type %llu is unknown", (unsigned long long) number);
    if (n != r->field_count + 3)
        return err_code (e, EC_MALFORMED, "%s has %llu fields (%zu are needed)", r->name, (unsigned long long) n - 3, r->field_count);
    memset (&m->u, 0, sizeof m->u);
    m->type = r->type;
    for (size_t i = 0; i < r->field_count; i++)
        if (decode_field (&c, r, &r->fields[i], (char *) &m->u, e) == -1)
            goto failed;
    if (c.p != c.end) {
        err_code (e, EC_MALFORMED, "%s is followed by %zu more bytes", r->name, (size_t) (c.end - c.p));
        goto failed;
    }
    return 0;
failed:
    msg_release (m);
    m->type = MSG_none;
    return -1;
}

int msg_decode_as (struct bytes frame, enum msg_type want, struct msg *m, struct err *e)
{
    if (msg_decode (frame, m, e) == -1)
        return -1;
    if (m->type == want)
        return 0;
    err_code (e, EC_UNEXPECTED, "%s where %s is needed", msg_name (m->type), msg_name (want));
    msg_release (m);
    return -1;
}

void msg_release (struct msg *m)
{
    const struct row *r = m->type != MSG_none ? row_of (m->type) : NULL;
    for (size_t i = 0; r && i < r->field_count; i++)
        if (r->fields[i].kind == KIND_STRS || r->fields[i].kind == KIND_BINS) {
            struct bytes_list *l = (void *) ((char *) &m->u + r->fields[i].offset);
            free (l->v);
            *l = (struct bytes_list){ NULL, 0 };
        }
}

/* ---- encoding ---- */

static int pack_write (void *data, const char *p, size_t len)
{
    buf_add (data, p, len);
    return 0;
}

static void pack_text (msgpack_packer *pk, const struct field *f, bool str, struct bytes b)
{
    assert (b.len <= f->max);
    if (str) {
        assert (utf8_valid (b));
        msgpack_pack_str (pk, b.len);
        msgpack_pack_str_body (pk, b.p ? (const void *) b.p : "", b.len);
    } else {
        msgpack_pack_bin (pk, b.len);
        msgpack_pack_bin_body (pk, b.p ? (const void *) b.p : "", b.len);
    }
}

/* At least the bytes that it takes encoded, so that the buffer grows once. */
static size_t room_for (const struct msg *m, const struct row *r)
{
    size_t n = 32;
    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        const void *at = (const char *) &m->u + f->offset;
        if (f->kind == KIND_STR || f->kind == KIND_BIN)
            n += 5 + ((const struct bytes *) at)->len;
        else if (f->kind == KIND_STRS || f->kind == KIND_BINS) {
            const struct bytes_list *l = at;
            n += 5;
            for (size_t j = 0; j < l->n; j++)
                n += 5 + l->v[j].len;
        } else
            n += 34;
    }
    return n;
}

void msg_encode (const struct msg *m, struct buf *out)
{
    const struct row *r = row_of (m->type);
    assert (r);
    buf_room (out, room_for (m, r));
    msgpack_packer pk;
    msgpack_packer_init (&pk, out, pack_write);
    msgpack_pack_array (&pk, r->field_count + 3);
    msgpack_pack_uint64 (&pk, PROTO_VERSION);
    msgpack_pack_uint64 (&pk, (uint64_t) r->type);
    msgpack_pack_uint64 (&pk, m->request);
    for (size_t i = 0; i < r->field_count; i++) {
        const struct field *f = &r->fields[i];
        const void *at = (const char *) &m->u + f->offset;
        bool str = f->kind == KIND_STR || f->kind == KIND_STRS;
        switch (f->kind) {
        case KIND_U64:
            msgpack_pack_uint64 (&pk, *(const uint64_t *) at);
            break;
        case KIND_DIG:
            msgpack_pack_bin (&pk, 32);
            msgpack_pack_bin_body (&pk, at, 32);
            break;
        case KIND_STR:
        case KIND_BIN:
            pack_text (&pk, f, str, *(const struct bytes *) at);
            break;
        case KIND_STRS:
        case KIND_BINS: {
            const struct bytes_list *l = at;
            assert (l->n <= f->count);
            msgpack_pack_array (&pk, l->n);
            for (size_t j = 0; j < l->n; j++)
                pack_text (&pk, f, str, l->v[j]);
        }
        }
    }
}

/* ---- what there is ---- */

const char *msg_name (enum msg_type t)
{
    const struct row *r = row_of (t);
    return r ? r->name : "unknown";
}

const char *msg_help (enum msg_type t)
{
    const struct row *r = row_of (t);
    return r ? r->help : "";
}

unsigned msg_senders (enum msg_type t)
{
    const struct row *r = row_of (t);
    return r ? r->senders : ROLE_NONE;
}

size_t msg_types (enum msg_type *out, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < ROWS; i++)
        if (rows[i].name) {
            if (n < max)
                out[n] = rows[i].type;
            n++;
        }
    return n;
}

static const char *const role_text[] = { "submitter", "worker", "verifier", "broker", "store", "viewer", "deployer", "admin", "maintainer", "idp" };

unsigned role_parse (const char *name)
{
    for (unsigned i = 0; i < sizeof role_text / sizeof *role_text; i++)
        if (!strcmp (name, role_text[i]))
            return 1u << i;
    return 0;
}

void role_names (unsigned mask, struct buf *out)
{
    const char *sep = "";
    for (unsigned i = 0; i < sizeof role_text / sizeof *role_text; i++)
        if (mask & 1u << i) {
            buf_addf (out, "%s%s", sep, role_text[i]);
            sep = ",";
        }
}

unsigned isolation_parse (const char *name)
{
    return !strcmp (name, "qemu") ? ISOLATION_QEMU : !strcmp (name, "bwrap") ? ISOLATION_BWRAP : !strcmp (name, "none") ? ISOLATION_NONE : 0;
}

const char *isolation_name (unsigned one)
{
    return one & ISOLATION_QEMU ? "qemu" : one & ISOLATION_BWRAP ? "bwrap" : one & ISOLATION_NONE ? "none" : "unset";
}

unsigned network_parse (const char *name)
{
    return !strcmp (name, "none") ? NETWORK_NONE : !strcmp (name, "realm") ? NETWORK_REALM : 0;
}

const char *network_name (unsigned one)
{
    return one == NETWORK_NONE ? "none" : one == NETWORK_REALM ? "realm" : "unset";
}
