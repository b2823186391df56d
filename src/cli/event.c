/* event.c: one event for a program or for a person. Contract: stream.h. */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/file.h"
#include "cli/stream.h"

static void put (json_t *o, const char *key, struct bytes v)
{
    if (v.len)
        json_object_set_new (o, key, json_stringn ((const char *) v.p, v.len));
}

void event_json (const struct msg_event *ev, struct buf *out)
{
    char when[32], hex[DIGEST_HEX];
    json_t *o = json_object ();
    time_format ((int64_t) ev->time, when);
    json_object_set_new (o, "seq", json_integer ((json_int_t) ev->seq));
    json_object_set_new (o, "time", json_string (when));
    put (o, "kind", ev->kind);
    put (o, "project", ev->project);
    if (!digest_zero (&ev->id))
        json_object_set_new (o, "id", json_string (digest_hex (&ev->id, hex)));
    put (o, "step", ev->step);
    put (o, "state", ev->state);
    put (o, "worker", ev->worker);
    put (o, "owner", ev->owner);
    if (!digest_zero (&ev->digest))
        json_object_set_new (o, "digest", json_string (digest_hex (&ev->digest, hex)));
    put (o, "reason", ev->reason);
    char *text = json_dumps (o, JSON_COMPACT);
    buf_adds (out, text ? text : "{}");
    buf_adds (out, "\n");
    free (text);
    json_decref (o);
}

/* A cell of at least `width` columns, clean; colour by the cell's own word. */
static void cell (struct cli *c, struct buf *out, const char *text, size_t width, bool colour)
{
    BUF (clean);
    text_clean (bytes_str (text), false, &clean);
    const char *escape = colour ? cli_colour (c, buf_str (&clean)) : "";
    size_t have = text_width (buf_str (&clean));
    buf_addf (out, "%s%s%s", escape, buf_str (&clean), *escape ? cli_reset (c) : "");
    if (width)
        buf_addf (out, "%*s", (int) (have < width ? width - have + 2 : 2), "");
}

void event_line (struct cli *c, const struct msg_event *ev, struct buf *out)
{
    char clock[16] = "", hex[DIGEST_HEX], word[1024];
    time_t when = (time_t) (ev->time / 1000000);
    struct tm tm;
    if (localtime_r (&when, &tm))
        strftime (clock, sizeof clock, "%H:%M:%S", &tm);
    cell (c, out, clock, 8, false);
    snprintf (word, sizeof word, "%.8s%s%.*s", digest_hex (&ev->id, hex), ev->step.len ? "/" : "", (int) ev->step.len, (const char *) ev->step.p);
    cell (c, out, word, 22, false);
    snprintf (word, sizeof word, "%.*s", (int) ev->kind.len, (const char *) ev->kind.p);
    cell (c, out, word, 18, true);
    bool verdict = bytes_eqs (ev->kind, "verdict");
    snprintf (word, sizeof word, "%.*s", (int) ev->state.len, (const char *) ev->state.p);
    cell (c, out, verdict || ev->worker.len == 0 ? word : "", 14, true);

    struct buf CLEANUP (buf_release) rest = { NULL, 0, 0 };
    if (ev->worker.len)
        buf_addf (&rest, "%.*s", (int) ev->worker.len, (const char *) ev->worker.p);
    if (ev->owner.len)
        buf_addf (&rest, "%s(%.*s)", rest.len ? " " : "", (int) ev->owner.len, (const char *) ev->owner.p);
    if (!digest_zero (&ev->digest))
        buf_addf (&rest, "%ssha256:%.12s", rest.len ? "  " : "", digest_hex (&ev->digest, hex));
    if (ev->reason.len)
        buf_addf (&rest, "%s%.*s", rest.len ? "  " : "", (int) ev->reason.len, (const char *) ev->reason.p);
    if (bytes_eqs (ev->kind, "submitted"))
        buf_addf (&rest, "%s%.*s", rest.len ? "  " : "", (int) ev->project.len, (const char *) ev->project.p);
    cell (c, out, buf_str (&rest), 0, false);
    while (out->len && out->p[out->len - 1] == ' ')
        out->len--;
    buf_adds (out, "\n");
}
