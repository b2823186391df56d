/* assay init: a realm for one machine: keys, roster, a folder for each daemon. No daemon runs while it is made. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "auth/idp.h"
#include "base/file.h"
#include "cli/cli.h"

#define WORKERS_MAX 64
#define PORTS 5

enum port { PORT_IDP, PORT_BROKER, PORT_EVENTS, PORT_STORE, PORT_VERIFIER };

struct plan {
    const char *dir;
    int64_t workers, trusted;
    const char *isolation; /* of its workers */
    char *pass;          /* of the root key; NULL: none */
    char endpoint[PORTS][64];
};

/* Free ports of the loopback, held together until all are known, so that they differ. */
static int pick_ports (struct plan *p, struct err *e)
{
    int fds[PORTS] = { -1, -1, -1, -1, -1 }, rc = 0;
    for (int i = 0; i < PORTS && rc == 0; i++) {
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl (INADDR_LOOPBACK) };
        socklen_t len = sizeof a;
        fds[i] = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fds[i] == -1 || bind (fds[i], (struct sockaddr *) &a, len) == -1 || getsockname (fds[i], (struct sockaddr *) &a, &len) == -1)
            rc = err_errno (e, "a free port on 127.0.0.1");
        else
            snprintf (p->endpoint[i], sizeof p->endpoint[i], "tcp://127.0.0.1:%u", ntohs (a.sin_port));
    }
    for (int i = 0; i < PORTS; i++)
        fd_close (&fds[i]);
    return rc;
}

struct member {
    struct enrolment who;
    const char *folder;  /* below the realm's; "" is the realm's own */
    const char *ini;     /* name of its configuration, or NULL */
    char *text;          /* and its content, owned */
};

static int make_member (struct idp *idp, const struct rootinfo *root, const struct plan *p, struct member *m, struct err *e)
{
    static const char *const everything[] = { "*", NULL };
    CLEANUP (free_ptr) char *dir = *m->folder ? xasprintf ("%s/%s", p->dir, m->folder) : xstrdup (p->dir);
    CLEANUP (free_ptr) char *ini = m->ini ? xasprintf ("%s/%s", dir, m->ini) : NULL;
    struct keys k = { 0 };
    m->who.projects = everything;
    if (keys_make (&k, e) == -1)
        return err_wrap (e, "%s", m->who.name);
    int rc = idp_enrol_local (idp, &m->who, &k, e);
    if (rc == 0)
        rc = realm_create (dir, m->who.name, root->root, root->endpoint, root->idp_key, &k, e);
    if (rc == 0 && ini)
        rc = file_write (ini, bytes_str (m->text), 0600, e);
    keys_release (&k);
    return rc == 0 ? 0 : err_wrap (e, "%s", m->who.name);
}

static int make_workers (struct idp *idp, const struct rootinfo *root, const struct plan *p, struct err *e)
{
    for (int64_t i = 1; i <= p->workers; i++) {
        char name[32], owner[32];
        snprintf (name, sizeof name, "worker-%d", (int) i);
        snprintf (owner, sizeof owner, "owner-%d", (int) i);
        struct member m = { .who = { .name = name, .owner = owner, .roles = ROLE_WORKER, .trusted = i <= p->trusted }, .folder = name, .ini = "worker.ini" };
        m.text = xasprintf ("[worker]\n; this realm's repositories may lie on this machine\nfile-urls = yes\n"
                            "; what steps run in: qemu, a VM for each; bwrap, namespaces of this machine's kernel; a list of both: the first that can be had\n"
                            "isolation = %s\n"
                            "; where KVM does not work VMs are emulated: as safe, and slow; `no` refuses instead\n"
                            "emulation = yes\n", p->isolation);
        int rc = make_member (idp, root, p, &m, e);
        free (m.text);
        if (rc == -1)
            return -1;
    }
    return 0;
}

/* Each gets the whole roster, so that all can start in any order, also without the IDP. */
static int copy_rosters (struct idp *idp, const struct plan *p, struct err *e)
{
    static const char *const folders[] = { "", "/broker", "/store", "/verifier" };
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        CLEANUP (free_ptr) char *dir = xasprintf ("%s%s", p->dir, folders[i]);
        if (idp_copy_roster (idp, dir, e) == -1)
            return -1;
    }
    for (int64_t i = 1; i <= p->workers; i++) {
        CLEANUP (free_ptr) char *dir = xasprintf ("%s/worker-%d", p->dir, (int) i);
        if (idp_copy_roster (idp, dir, e) == -1)
            return -1;
    }
    return 0;
}

static const char *chosen; /* the passphrase just chosen, for who asks for it at once */

static int ask_again (char *pass, size_t size)
{
    if (!chosen || strlen (chosen) >= size)
        return -1;
    strcpy (pass, chosen);
    return 0;
}

static int make_realm (const struct plan *p, struct err *e)
{
    CLEANUP (free_ptr) char *idp_dir = xasprintf ("%s/idp", p->dir);
    CLEANUP (idp_close) struct idp *idp = NULL;
    struct rootinfo root;
    const char *const *at = (const char *const[]){ p->endpoint[PORT_BROKER], p->endpoint[PORT_EVENTS], p->endpoint[PORT_STORE], p->endpoint[PORT_VERIFIER] };
    struct member m[] = {
        { .who = { .name = "admin", .owner = "operator", .roles = ROLE_ADMIN | ROLE_SUBMITTER | ROLE_VIEWER | ROLE_DEPLOYER }, .folder = "" },
        { .who = { .name = "broker", .owner = "operator", .roles = ROLE_BROKER, .endpoint = at[0], .events = at[1] }, .folder = "broker", .ini = "broker.ini",
          .text = xasprintf ("[broker]\nlisten = %s\nevents = %s\n", at[0], at[1]) },
        { .who = { .name = "store", .owner = "operator", .roles = ROLE_STORE, .endpoint = at[2] }, .folder = "store", .ini = "store.ini",
          .text = xasprintf ("[store]\nlisten = %s\n", at[2]) },
        { .who = { .name = "verifier", .owner = "operator", .roles = ROLE_VERIFIER, .endpoint = at[3] }, .folder = "verifier", .ini = "verifier.ini",
          .text = xasprintf ("[verifier]\nlisten = %s\n", at[3]) },
    };
    int rc = idp_bootstrap (idp_dir, p->endpoint[PORT_IDP], p->pass, &root, e);
    chosen = p->pass;
    if (rc == 0)
        rc = idp_open (&idp, idp_dir, ask_again, e);
    chosen = NULL;
    for (size_t i = 0; i < sizeof m / sizeof *m; i++) {
        if (rc == 0)
            rc = make_member (idp, &root, p, &m[i], e);
        free (m[i].text);
    }
    if (rc == 0)
        rc = make_workers (idp, &root, p, e);
    return rc == 0 ? copy_rosters (idp, p, e) : -1;
}

/* A list of drivers, as in worker.ini; not `none`, which isolates nothing. */
static bool drivers (const char *list)
{
    size_t n = 0;
    for (;; n++) {
        char word[16];
        list += strspn (list, " ,");
        size_t len = strcspn (list, " ,");
        if (!len)
            return n > 0;
        if (!bytes_copy (bytes_of (list, len), word, sizeof word) || isolation_parse (word) <= ISOLATION_NONE || n == 2)
            return false;
        list += len;
    }
}

static bool number (const char *s, int64_t max, int64_t *out)
{
    char *end;
    errno = 0;
    *out = strtoll (s, &end, 10);
    return *s && !*end && errno == 0 && *out >= 0 && *out <= max;
}

int cmd_init (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = { { "workers", required_argument, NULL, 'w' }, { "trusted", required_argument, NULL, 't' }, { "passphrase", no_argument, NULL, 'p' }, { "isolation", required_argument, NULL, 'i' }, { NULL, 0, NULL, 0 } };
    struct plan p = { .workers = 3, .trusted = -1, .isolation = "qemu" };
    struct err e = ERR_INIT;
    bool protect = false;
    (void) c;
    for (int o; (o = getopt_long (argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 'w':
            if (!number (optarg, WORKERS_MAX, &p.workers))
                return cli_usage ("init", "--workers %s: not a number from 0 to %d", optarg, WORKERS_MAX);
            break;
        case 't':
            if (!number (optarg, WORKERS_MAX, &p.trusted))
                return cli_usage ("init", "--trusted %s: not a number from 0 to %d", optarg, WORKERS_MAX);
            break;
        case 'i':
            if (!drivers (optarg))
                return cli_usage ("init", "--isolation %s: qemu, bwrap, or a list of both", optarg);
            p.isolation = optarg;
            break;
        case 'p':
            protect = true;
            break;
        default:
            return ERR_USAGE;
        }
    if (argc - optind != 1)
        return cli_usage ("init", "one folder is needed (assay init DIR [--workers N] [--trusted K] [--isolation DRIVERS] [--passphrase])");
    if (p.trusted == -1)
        p.trusted = p.workers > 0;
    if (p.trusted > p.workers)
        return cli_usage ("init", "%d trusted of %d workers: not that many", (int) p.trusted, (int) p.workers);
    p.dir = argv[optind];
    /* the folder must be absent or empty: rmdir says which, and mkdirs makes it again with our mode */
    if (rmdir (p.dir) == -1 && errno != ENOENT) {
        err_set (&e, ERR_USAGE, "%s: %s (a new or empty folder is needed)", p.dir, strerror (errno));
        return cli_fail ("init", &e);
    }
    int rc = protect && !(p.pass = passphrase_choose (&e)) ? -1 : 0;
    if (rc == 0 && (file_mkdirs (p.dir, 0700, &e) == -1 || pick_ports (&p, &e) == -1 || make_realm (&p, &e) == -1))
        rc = -1;
    passphrase_release (&p.pass);
    if (rc == -1)
        return cli_fail ("init", &e);
    if (p.workers)
        printf ("its workers run steps under: %s%s\n", p.isolation,
                strcmp (p.isolation, "qemu") ? "" : ", a VM for each, emulated where KVM does not work (slow; --isolation bwrap: namespaces, quick, and the kernel is shared)");
    printf ("%s: a realm with %d workers, %d of them trusted; run it: assay up %s\n", p.dir, (int) p.workers, (int) p.trusted, p.dir);
    return 0;
}
