/* assay draw: who got a step's leases, computed again from the logged seed and the workers that could get them. */
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "broker/schedule.h"
#include "cli/cli.h"

#define FIT_MAX 512u
#define PICKED_MAX 128u

struct check {
    struct digest id;
    const char *step;
    bool json;
    struct cli *c;
    size_t draws, wrong;
    char (*due)[64];          /* picked, and not leased yet */
    size_t due_count;
};

/* "NAME OWNER TRUST[ first]", as the broker logged it. words: 4 of 64 bytes. */
static bool candidate_of (struct bytes text, char words[4][64], struct candidate *c)
{
    size_t n = 0, at = 0;
    memset (words, 0, 4 * sizeof *words);
    for (size_t i = 0; i <= text.len; i++) {
        if (i < text.len && text.p[i] != ' ')
            continue;
        if (n == 4 || i == at || !bytes_copy (bytes_of (text.p + at, i - at), words[n], sizeof *words))
            return false;
        n++;
        at = i + 1;
    }
    if (n < 3 || !name_valid (words[0]) || !name_valid (words[1]) || (strcmp (words[2], "trusted") && strcmp (words[2], "maybe")) || (n == 4 && strcmp (words[3], "first")))
        return false;
    *c = (struct candidate){ .name = words[0], .owner = words[1], .trusted = !strcmp (words[2], "trusted"), .isolation = ISOLATION_QEMU, .credit = 1, .suits = true,
                             .prefer = n == 4 };
    return true;
}

/* NULL if the picks follow from the seed, or what is wrong. */
static const char *follows (const struct msg_draw *d)
{
    char (*words)[4][64] = xcalloc (d->fit.n, sizeof *words);
    struct candidate *c = xcalloc (d->fit.n, sizeof *c);
    size_t *picked = xcalloc (d->fit.n, sizeof *picked), count = 0;
    struct chance chance = { .drawn = 0 };
    struct demand demand = { .places = (size_t) d->places, .needs_trusted = d->needs_trusted != 0, .isolation = ISOLATION_NONE, .network = NETWORK_NONE };
    const char *wrong = d->fit.n == FIT_MAX ? "too many workers to log: it cannot be computed again" : d->places > PICKED_MAX ? "more places than there can be" : NULL;
    for (size_t i = 0; i < d->fit.n && !wrong; i++)
        if (!candidate_of (d->fit.v[i], words[i], &c[i]))
            wrong = "a worker that is logged in another form";
        else if (i && strcmp (c[i - 1].name, c[i].name) >= 0)
            wrong = "its workers are not in order";
    if (!wrong) {
        memcpy (chance.seed, d->seed.b, sizeof chance.seed);
        count = schedule_pick (c, d->fit.n, &demand, schedule_chance, &chance, picked);
        if (count != d->picked.n)
            wrong = "another number of workers follows from its seed";
        for (size_t i = 0; i < count && !wrong; i++)
            if (!bytes_eqs (d->picked.v[i], c[picked[i]].name))
                wrong = "other workers follow from its seed";
    }
    free (words);
    free (c);
    free (picked);
    return wrong;
}

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
    k->draws++;
    if (msg_decode_as (ev->payload, MSG_draw, &m, &e) == -1) {
        k->wrong++;
        show (k, ev, &none, "its record is malformed");
        return;
    }
    const struct msg_draw *d = &m.u.draw;
    const char *wrong = follows (d);
    k->wrong += wrong != NULL;
    show (k, ev, d, wrong);
    free (k->due);
    k->due = xcalloc (d->picked.n + 1, sizeof *k->due);
    k->due_count = 0;
    for (size_t i = 0; i < d->picked.n; i++)
        k->due_count += bytes_copy (d->picked.v[i], k->due[k->due_count], sizeof *k->due);
    msg_release (&m);
}

static void on_lease (struct check *k, const struct msg_event *ev)
{
    for (size_t i = 0; i < k->due_count; i++)
        if (bytes_eqs (ev->worker, k->due[i])) {
            memmove (k->due[i], k->due[--k->due_count], sizeof *k->due);
            return;
        }
    k->wrong++;
    BUF (name);
    text_clean (ev->worker, false, &name);
    if (k->json)
        printf ("{\"seq\":%llu,\"worker\":\"%s\",\"follows\":false,\"reason\":\"a lease that no draw gave\"}\n", (unsigned long long) ev->seq, name_valid (buf_str (&name)) ? buf_str (&name) : "?");
    else
        printf ("event %llu: %s got a lease that no draw gave\n", (unsigned long long) ev->seq, buf_str (&name));
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
            if (rc == -1)
                break;
            const struct msg_event *ev = &x.u.event;
            if (digest_eq (&ev->id, &k->id) && bytes_eqs (ev->step, k->step)) {
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
    if (cli_realm (c, &rl, &e) == -1 || cli_client (c, rl, ROLE_BROKER, &broker, &e) == -1 || cli_step (broker, argv[optind], &k.id, step, worker, &e) == -1)
        return cli_fail ("draw", &e);
    if (!*step)
        return cli_usage ("draw", "%s: names no step (assay draw ID/STEP; `assay status ID` lists them)", argv[optind]);
    k.step = step;
    int rc = read_log (&k, broker, &e);
    free (k.due);
    if (rc == 0 && k.wrong)
        rc = err_set (&e, ERR_DAMAGED, "%zu of the step's %zu draws and leases do not follow (its broker chose; see above)", k.wrong, k.draws);
    else if (rc == 0 && !k.draws)
        rc = err_set (&e, ERR_UNTRUSTED, "%s was not drawn yet", step);
    return rc == -1 ? cli_fail ("draw", &e) : 0;
}
