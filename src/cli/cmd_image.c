/* assay image: make an image from Debian packages, a folder or a tar, put it into the store, list what is there. */
#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "auth/client.h"
#include "base/cpu.h"
#include "base/file.h"
#include "cli/cli.h"
#include "cli/kernel.h"
#include "cli/rootfs.h"
#include "store/client.h"

#define USAGE "build --name N [--suite S] [--kernel DEB|none] [--cpu MODEL] PKG... | import --name N [--kernel DEB|none] [--cpu MODEL] DIR|TAR | list [--json]"
#define PREFIX "image/"
#define UPLOAD_MS 60000 /* without progress */

/* Store the folder and give it its name. */
static int publish (struct cli *c, const char *folder, const char *name, struct err *e)
{
    struct realm *CLEANUP (realm_close) rl = NULL;
    struct client *CLEANUP (client_close) store = NULL;
    CLEANUP (fd_close) int fd = open (folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CLEANUP (free_ptr) char *full = xasprintf (PREFIX "%s", name);
    BUF (manifest);
    BUF (receipt);
    struct net_in in;
    char hex[DIGEST_HEX];
    if (fd == -1)
        return err_errno (e, "%s", folder);
    if (manifest_scan (fd, NULL, NULL, &manifest, e) == -1 || cli_realm (c, &rl, e) == -1 || cli_there (c, rl, ROLE_STORE, e) == -1 ||
        store_put (rl, fd, buf_bytes (&manifest), bytes_of (NULL, 0), UPLOAD_MS, &receipt, e) == -1 ||
        cli_client (c, rl, ROLE_STORE, &store, e) == -1)
        return -1;
    struct digest artifact = manifest_digest (buf_bytes (&manifest));
    struct msg m = MSG_INIT (name_set, client_request (store));
    m.u.name_set.name = bytes_str (full);
    m.u.name_set.artifact = artifact;
    if (client_ask (store, &m, MSG_ok, &in, e) == -1)
        return -1;
    msg_release (&m);
    net_in_release (&in);
    printf ("%s@sha256:%s\n", name, digest_hex (&artifact, hex));
    return 0;
}

static int make (struct cli *c, const char *name, const char *suite, const struct kernel_opts *kernel, int argc, char **argv, struct err *e)
{
    struct realm *CLEANUP (realm_close) rl = NULL;
    if (cli_realm (c, &rl, e) == -1 || cli_there (c, rl, ROLE_STORE, e) == -1) /* now, and not after a minute of work */
        return -1;
    CLEANUP (free_ptr) char *folder = file_temp_dir ("assay-image", "/var/tmp", e);
    if (!folder)
        return -1;
    int rc = suite ? rootfs_build (suite, argv, (size_t) argc, kernel, folder, e) : rootfs_import (argv[0], kernel, folder, e);
    if (rc == 0)
        rc = publish (c, folder, name, e);
    file_remove_tree (folder, NULL);
    return rc;
}

static int list (struct cli *c, bool json, struct err *e)
{
    struct realm *CLEANUP (realm_close) rl = NULL;
    struct client *CLEANUP (client_close) store = NULL;
    struct net_in in;
    if (cli_realm (c, &rl, e) == -1 || cli_client (c, rl, ROLE_STORE, &store, e) == -1)
        return -1;
    struct msg m = MSG_INIT (store_list, client_request (store));
    m.u.store_list.prefix = bytes_str (PREFIX);
    if (client_ask (store, &m, MSG_store_names, &in, e) == -1)
        return -1;
    static const char *const heads[] = { "IMAGE", "SIZE", "SINCE" };
    struct table *t = json ? NULL : table_new (3, heads);
    int rc = 0;
    for (size_t i = 0; i < m.u.store_names.names.n && rc == 0; i++) {
        struct msg one;
        char hex[DIGEST_HEX], size[32], when[32], name[128];
        rc = msg_decode_as (m.u.store_names.names.v[i], MSG_store_name, &one, e);
        if (rc == -1)
            break;
        const struct msg_store_name *s = &one.u.store_name;
        if (s->name.len > strlen (PREFIX) && bytes_copy (bytes_of (s->name.p + strlen (PREFIX), s->name.len - strlen (PREFIX)), name, sizeof name)) {
            digest_hex (&s->artifact, hex);
            time_format ((int64_t) s->time, when);
            if (json) {
                json_t *o = json_pack ("{s:s, s:s, s:I, s:s}", "name", name, "digest", hex, "size", (json_int_t) s->size, "time", when);
                json_dumpf (o, stdout, JSON_COMPACT);
                putchar ('\n');
                json_decref (o);
            } else {
                CLEANUP (free_ptr) char *whole = xasprintf ("%s@sha256:%s", name, hex);
                snprintf (size, sizeof size, "%.1f MiB", (double) s->size / (1 << 20));
                const char *cells[] = { whole, size, when };
                table_add (t, cells);
            }
        }
        msg_release (&one);
    }
    msg_release (&m);
    net_in_release (&in);
    if (t)
        table_print (c, &t);
    return rc;
}

int cmd_image (struct cli *c, int argc, char **argv)
{
    static const struct option options[] = {
        { "name", required_argument, NULL, 'n' }, { "suite", required_argument, NULL, 's' }, { "json", no_argument, NULL, 'j' },
        { "kernel", required_argument, NULL, 'k' }, { "cpu", required_argument, NULL, 'c' }, { NULL, 0, NULL, 0 },
    };
    const char *name = NULL, *suite = NULL;
    struct kernel_opts kernel = { .cpu = CPU_MODEL };
    bool json = false;
    struct err e = ERR_INIT;
    for (int o; (o = getopt_long (argc, argv, "", options, NULL)) != -1;)
        switch (o) {
        case 'n':
            name = optarg;
            break;
        case 's':
            suite = optarg;
            break;
        case 'j':
            json = true;
            break;
        case 'k':
            kernel.source = optarg;
            break;
        case 'c':
            kernel.cpu = optarg;
            break;
        default:
            return ERR_USAGE;
        }
    bool bare = kernel.source && strcmp (kernel.source, "none") == 0;
    const char *what = optind < argc ? argv[optind++] : "";
    int left = argc - optind;
    if (strcmp (what, "list") == 0 && left == 0 && !name && !suite)
        return list (c, json, &e) == -1 ? cli_fail ("image", &e) : 0;
    bool build = strcmp (what, "build") == 0, import = strcmp (what, "import") == 0 && left == 1 && !suite;
    if ((!build && !import) || json)
        return cli_usage ("image", USAGE);
    if (!name || !name_valid (name))
        return cli_usage ("image", "--name %s: a name is needed: 1 to 63 of a-z 0-9 . _ -", name ? name : "");
    if (!cpu_model_known (kernel.cpu))
        return cli_usage ("image", "--cpu %s: not a model that is the same under every qemu (" CPU_MODELS ")", kernel.cpu);
    if (make (c, name, build ? (suite ? suite : "bookworm") : NULL, bare ? NULL : &kernel, left, argv + optind, &e) == -1)
        return cli_fail ("image", &e);
    return 0;
}
