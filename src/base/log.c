#include "base/log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/file.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char program[32] = "assay";
static enum log_level threshold = LOG_LEVEL_INFO;
static bool journal;

/* Peers that misbehaved lately; a fixed table, so that a flood of new keys costs nothing. */
static struct {
    char peer[72];
    int64_t since;
    unsigned long held_back;
} peers[64];
static unsigned long misbehaviour;

void log_open (const char *name, enum log_level level)
{
    (void) snprintf (program, sizeof program, "%s", name);
    threshold = level;
    journal = getenv ("JOURNAL_STREAM") != NULL;
}

static void emit (enum log_level level, const char *text)
{
    static const char priority[] = { '3', '4', '6', '7' };
    BUF (line);
    if (journal)
        buf_addf (&line, "<%c>", priority[level]);
    buf_addf (&line, "%s: ", program);
    text_clean (bytes_str (text), false, &line);
    buf_adds (&line, "\n");
    (void) !write (STDERR_FILENO, line.p, line.len);
}

static void __attribute__ ((format (printf, 2, 0))) log_v (enum log_level level, const char *fmt, va_list ap)
{
    char text[2048];
    if (level > threshold)
        return;
    (void) vsnprintf (text, sizeof text, fmt, ap);
    emit (level, text);
}

#define LOG_FUNCTION(name, level)            \
    void name (const char *fmt, ...)         \
    {                                        \
        va_list ap;                          \
        va_start (ap, fmt);                  \
        log_v (level, fmt, ap);              \
        va_end (ap);                         \
    }
LOG_FUNCTION (log_error, LOG_LEVEL_ERROR)
LOG_FUNCTION (log_warn, LOG_LEVEL_WARN)
LOG_FUNCTION (log_info, LOG_LEVEL_INFO)
LOG_FUNCTION (log_debug, LOG_LEVEL_DEBUG)

bool log_peer (const char *peer, const struct err *e)
{
    int64_t now = time_mono_ms ();
    size_t slot = 0;
    bool print = false;
    unsigned long held = 0;

    pthread_mutex_lock (&lock);
    misbehaviour++;
    for (size_t i = 0; i < sizeof peers / sizeof *peers; i++) {
        if (!strncmp (peers[i].peer, peer, sizeof peers[i].peer - 1)) {
            slot = i;
            break;
        }
        if (peers[i].since < peers[slot].since)
            slot = i;
    }
    if (strncmp (peers[slot].peer, peer, sizeof peers[slot].peer - 1)) {
        (void) snprintf (peers[slot].peer, sizeof peers[slot].peer, "%s", peer);
        peers[slot].since = 0;
        peers[slot].held_back = 0;
    }
    if (peers[slot].since == 0 || now - peers[slot].since >= 60000) {
        print = true;
        held = peers[slot].held_back;
        peers[slot].held_back = 0;
        peers[slot].since = now;
    } else
        peers[slot].held_back++;
    pthread_mutex_unlock (&lock);
    if (print) {
        char text[1024];
        (void) snprintf (text, sizeof text, "refused peer=%s error=%s held-back=%lu: %s", peer, err_name (e->code), held, e->msg);
        if (threshold >= LOG_LEVEL_WARN)
            emit (LOG_LEVEL_WARN, text);
    }
    return print;
}

unsigned long log_peer_count (void)
{
    pthread_mutex_lock (&lock);
    unsigned long n = misbehaviour;
    pthread_mutex_unlock (&lock);
    return n;
}
