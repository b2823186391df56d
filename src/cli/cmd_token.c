/* cmd_token.c: make a one-time enrolment token. The token goes to stdout, and nowhere else: whoever has it may join. */
#include <getopt.h>
#include <sodium.h>
#include <string.h>
#include <time.h>

#include "auth/idp.h"
#include "base/config.h"
#include "base/file.h"
#include "cli/cli.h"

#define LIST_MAX 64

struct words {
    struct bytes v[LIST_MAX];
    size_t n;
};

static int push (struct words *w, const char *option, const char *value)
{
    if (w->n == LIST_MAX)
        return cli_usage ("token", "%s: at most %d of them", option, LIST_MAX);
    w->v[w->n++] = bytes_str (value);
    return 0;
}

static int ask (struct cli *c, struct msg *m, struct err *e)
{
    struct realm *rl = NULL;
    struct client *idp = NULL;
    struct token t = { .key.sec = NULL };
    struct rootinfo root;
    struct net_in in;
    int rc = -1;
    if (cli_realm (c, &rl, e) == -1)
        return -1;
    memcpy (root.root, realm_root (rl), 32);
    memcpy (root.idp_key, realm_idp_key (rl), 32);
    (void) snprintf (root.endpoint, sizeof root.endpoint, "%s", realm_idp (rl));
    if (token_make (&t, &root, e) == 0 && cli_client (c, rl, ROLE_IDP, &idp, e) == 0) {
        m->request = client_request (idp);
        memcpy (m->u.token_make.transport_key.b, t.key.pub, 32);
        rc = client_ask (idp, m, MSG_ok, &in, e);
        if (rc == 0) {
            BUF (text);
            token_text (&t, &text);
            printf ("%s\n", buf_str (&text));
            sodium_memzero (text.p, text.len);
            msg_release (m);
            net_in_release (&in);
        }
    }
    client_close (&idp);
    token_release (&t);
    realm_close (&rl);
    return rc;
}

int cmd_token (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = {
        { "role", required_argument, NULL, 'r' },     { "name", required_argument, NULL, 'n' },  { "owner", required_argument, NULL, 'o' },
        { "trust", required_argument, NULL, 't' },    { "project", required_argument, NULL, 'p' }, { "label", required_argument, NULL, 'l' },
        { "endpoint", required_argument, NULL, 'e' }, { "events", required_argument, NULL, 'E' }, { "expires", required_argument, NULL, 'x' },
        { NULL, 0, NULL, 0 },
    };
    struct msg m = MSG_INIT (token_make, 0);
    struct msg_token_make *t = &m.u.token_make;
    struct words projects = { .n = 0 }, labels = { .n = 0 };
    struct err e = ERR_INIT;
    const char *name = NULL, *owner = NULL;
    int64_t life = INT64_C (86400) * 1000;
    for (int o; (o = getopt_long (argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 'r':
            for (char *word = strtok (optarg, ","); word; word = strtok (NULL, ",")) {
                unsigned role = role_parse (word);
                if (!role)
                    return cli_usage ("token", "--role %s: no such role (submitter, worker, verifier, broker, store, viewer, deployer, admin, maintainer)", word);
                t->roles |= role;
            }
            break;
        case 'n':
            name = optarg;
            break;
        case 'o':
            owner = optarg;
            break;
        case 't':
            if (strcmp (optarg, "trusted") && strcmp (optarg, "maybe"))
                return cli_usage ("token", "--trust %s: trusted or maybe", optarg);
            t->trusted = !strcmp (optarg, "trusted");
            break;
        case 'p':
            if (push (&projects, "--project", optarg))
                return ERR_USAGE;
            break;
        case 'l':
            if (push (&labels, "--label", optarg))
                return ERR_USAGE;
            break;
        case 'e':
            t->endpoint = bytes_str (optarg);
            break;
        case 'E':
            t->events = bytes_str (optarg);
            break;
        case 'x':
            if (config_parse_duration (optarg, &life, &e) == -1 || life < 1000)
                return cli_usage ("token", "--expires %s: not a time of a second or more (90s, 12h, 7d)", optarg);
            break;
        default:
            return ERR_USAGE;
        }
    if (optind != argc || !name || !t->roles)
        return cli_usage ("token", "--role and --name are needed (assay token --role worker --name w1 --owner alice --project '*')");
    if (!owner)
        owner = name;
    if (!name_valid (name) || !name_valid (owner))
        return cli_usage ("token", "%s: not a name (1 to 63 of a-z 0-9 . _ -, first a letter or digit)", name_valid (name) ? owner : name);
    if (labels.n > 32)
        return cli_usage ("token", "--label: at most 32 of them");
    for (size_t i = 0; i < labels.n; i++)
        if (labels.v[i].len > 63 || !utf8_valid (labels.v[i]))
            return cli_usage ("token", "--label: at most 63 bytes");
    for (size_t i = 0; i < projects.n; i++)
        if (projects.v[i].len > 127 || !utf8_valid (projects.v[i]))
            return cli_usage ("token", "--project: at most 127 bytes");
    if (t->endpoint.len > 255 || t->events.len > 255)
        return cli_usage ("token", "--endpoint, --events: at most 255 bytes");
    t->name = bytes_str (name);
    t->owner = bytes_str (owner);
    t->projects = (struct bytes_list){ projects.v, projects.n };
    t->labels = (struct bytes_list){ labels.v, labels.n };
    t->expires = (uint64_t) (time_now_us () + life * 1000);
    return ask (c, &m, &e) == -1 ? cli_fail ("token", &e) : 0;
}
