/* cmd_who.c: the roster, as this principal's verified copy has it. */
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "cli/cli.h"

static json_t *names (const char *list, size_t count, size_t size)
{
    json_t *a = json_array ();
    for (size_t i = 0; i < count; i++)
        json_array_append_new (a, json_string (list + i * size));
    return a;
}

static json_t *roles_json (unsigned roles)
{
    json_t *a = json_array ();
    BUF (text);
    role_names (roles, &text);
    char *copy CLEANUP (free_ptr) = xstrdup (buf_str (&text));
    for (char *word = strtok (copy, ","); word; word = strtok (NULL, ","))
        json_array_append_new (a, json_string (word));
    return a;
}

static void put_time (json_t *o, const char *name, int64_t us)
{
    char text[32];
    time_format (us, text);
    json_object_set_new (o, name, json_string (text));
}

static void print_json (const struct principal *p)
{
    char hex[65];
    json_t *o = json_object ();
    json_object_set_new (o, "name", json_string (p->name));
    json_object_set_new (o, "owner", json_string (p->owner));
    json_object_set_new (o, "roles", roles_json (p->roles));
    json_object_set_new (o, "trust", json_string (p->trusted ? "trusted" : "maybe"));
    json_object_set_new (o, "projects", names ((const char *) p->projects, p->project_count, sizeof *p->projects));
    json_object_set_new (o, "labels", names ((const char *) p->labels, p->label_count, sizeof *p->labels));
    if (*p->endpoint)
        json_object_set_new (o, "endpoint", json_string (p->endpoint));
    if (*p->events)
        json_object_set_new (o, "events", json_string (p->events));
    hex_encode (p->sign_key, 32, hex);
    json_object_set_new (o, "sign_key", json_string (hex));
    hex_encode (p->transport_key, 32, hex);
    json_object_set_new (o, "transport_key", json_string (hex));
    hex_encode (p->seal_key, 32, hex);
    json_object_set_new (o, "seal_key", json_string (hex));
    put_time (o, "enrolled", p->enrolled);
    json_object_set_new (o, "good", json_boolean (principal_good (p)));
    if (!principal_good (p)) {
        put_time (o, "revoked", p->revoked);
        put_time (o, "since", p->revoked_since);
        json_object_set_new (o, "reason", json_string (p->reason));
    }
    char *text CLEANUP (free_ptr) = json_dumps (o, JSON_COMPACT);
    printf ("%s\n", text ? text : "{}");
    json_decref (o);
}

static void print_row (struct table *t, const struct principal *p)
{
    BUF (roles);
    BUF (projects);
    char state[320];
    role_names (p->roles, &roles);
    for (size_t i = 0; i < p->project_count; i++)
        buf_addf (&projects, "%s%s", i ? "," : "", p->projects[i]);
    if (principal_good (p))
        (void) snprintf (state, sizeof state, "good");
    else {
        char since[32];
        time_format (p->revoked_since, since);
        (void) snprintf (state, sizeof state, "revoked since %s%s%s", since, *p->reason ? ": " : "", p->reason);
    }
    table_add (t, (const char *[]){ p->name, p->owner, buf_str (&roles), (p->roles & ROLE_WORKER) ? (p->trusted ? "trusted" : "maybe") : "-",
                                    projects.len ? buf_str (&projects) : "-", state });
}

int cmd_who (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { NULL, 0, NULL, 0 } };
    static const char *const heads[] = { "NAME", "OWNER", "ROLES", "TRUST", "PROJECTS", "STATE" };
    struct realm *rl = NULL;
    struct err e = ERR_INIT;
    bool json = false;
    for (int o; (o = getopt_long (argc, argv, "", options, NULL)) != -1;)
        if (o == 'j')
            json = true;
        else
            return ERR_USAGE;
    if (optind != argc)
        return cli_usage ("who", "takes no argument but --json");
    if (cli_realm (c, &rl, &e) == -1)
        return cli_fail ("who", &e);
    struct table *t = json ? NULL : table_new (6, heads);
    for (size_t i = 0; i < roster_count (realm_roster (rl)); i++)
        if (json)
            print_json (roster_at (realm_roster (rl), i));
        else
            print_row (t, roster_at (realm_roster (rl), i));
    if (t)
        table_print (c, &t);
    cli_kept (c, "who", rl);
    realm_close (&rl);
    return 0;
}
