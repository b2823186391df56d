/* assay-store: keeps artifacts. */
#include "auth/daemon.h"
#include "store/server.h"

#define AT(field) offsetof (struct store_conf, field)

static const struct config_row rows[] = {
    { "store", "listen", CONFIG_STRING, "tcp://127.0.0.1:7003", 0, 255, AT (listen), "endpoint to bind" },
    { "store", "log", CONFIG_STRING, "info", 0, 16, AT (level), "error, warn, info or debug" },
    { "limits", "quota", CONFIG_SIZE, "100G", 0, INT64_MAX, AT (quota), "bytes of artifacts one owner may hold; 0 is no limit" },
    { "limits", "free-floor", CONFIG_SIZE, "1G", 0, INT64_MAX, AT (free_floor), "bytes of the disk that stay free" },
    { "limits", "max-artifact", CONFIG_SIZE, "16G", 1, INT64_C (1) << 46, AT (max_artifact), "bytes of the largest artifact taken" },
    { "limits", "upload-idle", CONFIG_DURATION, "10m", 1000, INT64_C (86400000), AT (upload_idle), "an upload without progress is given up after this" },
    { "retention", "keep", CONFIG_INT, "10", 1, INT32_MAX, AT (keep), "submissions kept per project and ref, where a step does not say; trusted ones of tags stay for ever" },
    { "retention", "every", CONFIG_DURATION, "1h", 1000, INT64_C (604800000), AT (gc_every), "how often what is not kept is removed" },
    CONFIG_END
};

static struct store_conf conf;

static int open_server (void **s, void *c, const char *dir, int signals, struct err *e)
{
    struct store_conf *own = c;
    own->dir = (char *) (uintptr_t) dir;
    return server_open ((struct server **) s, own, signals, e);
}

static int run_server (void *s, struct err *e)
{
    return server_run (s, e);
}

static void close_server (void **s)
{
    server_close ((struct server **) s);
}

int main (int argc, char **argv)
{
    static const struct daemon d = { "assay-store", "Keeps artifacts, named by their digests.", "store.ini", rows, &conf, &conf.level, open_server, run_server, close_server };
    return daemon_main (&d, argc, argv);
}
