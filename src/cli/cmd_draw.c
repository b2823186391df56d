/* assay draw: who got a step's leases, computed again from the submission's id and the workers that could get them. */
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "broker/draw.h"
#include "cli/cli.h"

struct check {
    struct draw_log log;
    bool json;
    struct cli *c;
};

static void show (struct check *k, const struct msg_event *ev, const struct msg_draw *d, const char *wrong)
{
    BUF (fit);
    BUF (picked);
    BUF (clean);
    char when[32], hex[DIGEST_HEX];
    for (size_t i = 0; i < d->fit.n; i++) {
        const uint8_t *end = memchr (d->fit.v[i].p, ' ', d->fit.v[i].len);
        buf_addf (&fit, "%s%.*s", i ? " " : "", (int) (end ? (size_t) (end - d->fit.v[i].p) : d->fit.v[i].len), (const char *) d->fit.v[i].p);
    }
    for (size_t i = 0; i < d->picked.n; i++)
        buf_addf (&picked, "%s%.*s", i ? " " : "", (int) d->picked.v[i].len, (const char *) d->picked.v[i].p);
    time_format ((int64_t) ev->time, when);
    if (k->json) {
        json_t *o = json_pack ("{s:I, s:s, s:s, s:I, s:b, s:s, s:s, s:b}", "seq", (json_int_t) ev->seq, "time", when, "seed", digest_hex (&d->seed, hex), "places",
                               (json_int_t) d->places, "needs_trusted", (int) (d->needs_trusted != 0), "fit", buf_str (&fit), "picked", buf_str (&picked), "follows", (int) !wrong);
        if (o && wrong)
            json_object_set_new (o, "reason", json_string (wrong));
        char *text CLEANUP (free_ptr) = o ? json_dumps (o, JSON_COMPACT) : NULL;
        printf ("%s\n", text ? text : "{}");
        json_decref (o);
        return;
    }
    buf_addf (&clean, "%s  %llu place%s%s  of %s  drew %s  ", when, (unsigned long long) d->places, d->places == 1 ? "" : "s", d->needs_trusted ? " (one trusted)" : "",
              buf_str (&fit), buf_str (&picked));
    BUF (line);
    text_clean (buf_bytes (&clean), false, &line);
    printf ("%s%s%s%s\n", buf_str (&line), cli_colour (k->c, wrong ? "failed" : "trusted"), wrong ? wrong : "follows from its seed", cli_reset (k->c));
}

static void on_draw (struct check *k, const struct msg_event *ev)
{
    struct msg m;
    struct err e = ERR_INIT;
    static const struct msg_draw none = { 0 };
    if (msg_decode_as (ev->payload, MSG_draw, &m, &e) == -1) {
        show (k, ev, &none, draw_log_broken (&k->log));
        return;
    }
    show (k, ev, &m.u.draw, draw_log_drawn (&k->log, &m.u.draw));
    msg_release (&m);
}

static void on_lease (struct check *k, const struct msg_event *ev)
{
    const char *wrong = draw_log_leased (&k->log, ev->worker);
    if (!wrong)
        return;
    BUF (name);
    text_clean (ev->worker, false, &name);
    if (k->json)
        printf ("{\"seq\":%llu,\"worker\":\"%s\",\"follows\":false,\"reason\":\"%s\"}\n", (unsigned long long) ev->seq, name_valid (buf_str (&name)) ? buf_str (&name) : "?", wrong);
    else
        printf ("event %llu: %s: %s\n", (unsigned long long) ev->seq, buf_str (&name), wrong);
}

static void on_end (struct check *k)
{
    char first[64] = "?";
    if (k->log.due_count && name_valid (k->log.due[0]))
        (void) snprintf (first, sizeof first, "%s", k->log.due[0]);
    const char *wrong = draw_log_end (&k->log);
    if (wrong && k->json)
        printf ("{\"worker\":\"%s\",\"follows\":false,\"reason\":\"%s\"}\n", first, wrong);
    else if (wrong)
        printf ("%s: %s\n", first, wrong);
}

/* All events of the submission's step that we may see. */
static int read_log (struct check *k, struct client *broker, struct err *e)
{
    for (uint64_t from = 1, last = 1; from <= last;) {
        struct msg m = MSG_INIT (replay, 0);
        struct net_in in;
        m.u.replay.from = from;
        m.u.replay.limit = 512;
        if (client_ask (broker, &m, MSG_events, &in, e) == -1)
            return -1;
        int rc = m.u.events.next > from || m.u.events.next > m.u.events.last ? 0 : err_code (e, EC_UNEXPECTED, "the broker's log does not go on after event %llu", (unsigned long long) from);
        for (size_t i = 0; rc == 0 && i < m.u.events.events.n; i++) {
            struct msg x;
            rc = msg_decode_as (m.u.events.events.v[i], MSG_event, &x, e);
            if (rc == -1) {
                err_wrap (e, "an event of the broker's log is damaged, from %llu on", (unsigned long long) from);
                break;
            }
            const struct msg_event *ev = &x.u.event;
            if (digest_eq (&ev->id, &k->log.id) && bytes_eqs (ev->step, k->log.step)) {
                if (bytes_eqs (ev->kind, "drawn"))
                    on_draw (k, ev);
                else if (bytes_eqs (ev->kind, "leased"))
                    on_lease (k, ev);
            }
            msg_release (&x);
        }
        from = m.u.events.next;
        last = m.u.events.last;
        msg_release (&m);
        net_in_release (&in);
        if (rc == -1)
            return -1;
    }
    return 0;
}

int cmd_draw (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { NULL, 0, NULL, 0 } };
    struct check k = { .c = c };
    for (int o; (o = getopt_long (argc, argv, "", options, NULL)) != -1;)
        if (o == 'j')
            k.json = true;
        else
            return ERR_USAGE;
    if (argc - optind != 1)
        return cli_usage ("draw", "which step? (assay draw ID/STEP)");
    struct err e = ERR_INIT;
    struct realm *CLEANUP (realm_close) rl = NULL;
    struct client *CLEANUP (client_close) broker = NULL;
    char step[64], worker[64];
    if (cli_realm (c, &rl, &e) == -1 || cli_client (c, rl, ROLE_BROKER, &broker, &e) == -1 || cli_step (broker, argv[optind], &k.log.id, step, worker, &e) == -1)
        return cli_fail ("draw", &e);
    if (!*step)
        return cli_usage ("draw", "%s: names no step (assay draw ID/STEP; `assay status ID` lists them)", argv[optind]);
    k.log.step = step;
    int rc = read_log (&k, broker, &e);
    if (rc == 0)
        on_end (&k);
    else
        (void) draw_log_end (&k.log);
    if (rc == 0 && k.log.wrong)
        rc = err_set (&e, ERR_DAMAGED, "%s: %zu of its draws and leases do not follow (its broker chose; see above)", step, k.log.wrong);
    else if (rc == 0 && !k.log.draws)
        rc = err_set (&e, ERR_UNTRUSTED, "%s was not drawn yet", step);
    return rc == -1 ? cli_fail ("draw", &e) : 0;
}
