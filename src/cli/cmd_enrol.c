/* cmd_enrol.c: make keys here and join the realm that the token names. The keys never leave this machine. */
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "auth/idp.h"
#include "cli/cli.h"

static int prove (const struct token *t, const struct keys *k, struct buf *proof)
{
    struct msg m = MSG_INIT (enrol_proof, 0);
    BUF (body);
    memcpy (m.u.enrol_proof.token.b, t->key.pub, 32);
    memcpy (m.u.enrol_proof.sign_key.b, k->sign.pub, 32);
    memcpy (m.u.enrol_proof.transport_key.b, k->transport.pub, 32);
    memcpy (m.u.enrol_proof.seal_key.b, k->seal_pub, 32);
    msg_encode (&m, &body);
    envelope_sign (TYPE_ENROL, buf_bytes (&body), &k->sign, proof);
    return 0;
}

static int join (struct cli *c, const struct token *t, const struct keys *k, char name[64], struct err *e)
{
    struct client *idp = NULL;
    struct msg m;
    struct net_in in;
    BUF (proof);
    if (client_connect (&idp, "IDP", t->root.endpoint, t->root.idp_key, &t->key, c->timeout_ms, e) == -1)
        return -1;
    m = (struct msg) MSG_INIT (enrol, client_request (idp));
    prove (t, k, &proof);
    memcpy (m.u.enrol.sign_key.b, k->sign.pub, 32);
    memcpy (m.u.enrol.transport_key.b, k->transport.pub, 32);
    memcpy (m.u.enrol.seal_key.b, k->seal_pub, 32);
    m.u.enrol.proof = buf_bytes (&proof);
    int rc = client_ask (idp, &m, MSG_enrolled, &in, e);
    if (rc == 0) {
        if (!bytes_copy (m.u.enrolled.name, name, 64) || !name_valid (name))
            rc = err_code (e, EC_MALFORMED, "the IDP enrolled us under what is no name");
        msg_release (&m);
        net_in_release (&in);
    }
    client_close (&idp);
    return rc;
}

int cmd_enrol (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { NULL, 0, NULL, 0 } };
    struct token t = { .key.sec = NULL };
    struct keys k = { .seal_sec = NULL };
    struct realm *rl = NULL;
    struct err e = ERR_INIT;
    char name[64] = "";
    char *ini CLEANUP (free_ptr) = xasprintf ("%s/realm.ini", c->dir), *keys CLEANUP (free_ptr) = xasprintf ("%s/keys", c->dir);
    char line[2048];
    if (getopt_long (argc, argv, "", options, NULL) != -1)
        return ERR_USAGE;
    if (optind + 1 != argc)
        return cli_usage ("enrol", "give the token (`-` reads it from the standard input, out of the shell's history)");
    const char *text = argv[optind];
    if (!strcmp (text, "-")) {
        if (!fgets (line, sizeof line, stdin))
            return cli_usage ("enrol", "no token on the standard input");
        line[strcspn (line, "\r\n")] = '\0';
        text = line;
    }
    if (access (ini, F_OK) == 0 || access (keys, F_OK) == 0)
        return cli_usage ("enrol", "%s: there is a principal already (choose another --dir)", c->dir);
    int rc = token_parse (&t, text, &e);
    memset (line, 0, sizeof line);
    if (rc == 0)
        rc = keys_make (&k, &e);
    if (rc == 0)
        rc = join (c, &t, &k, name, &e);
    if (rc == 0)
        rc = realm_create (c->dir, name, t.root.root, t.root.endpoint, t.root.idp_key, &k, &e);
    if (rc == 0)
        rc = realm_open (&rl, c->dir, &e);
    if (rc == 0)
        rc = realm_refresh (rl, c->timeout_ms, &e);
    if (rc == 0)
        printf ("enrolled as %s, keys and roster in %s\n", name, c->dir);
    realm_close (&rl);
    keys_release (&k);
    token_release (&t);
    return rc == -1 ? cli_fail ("enrol", &e) : 0;
}
