#include "config.h"

#include "worker/machine.h"

#include <dirent.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <systemd/sd-bus.h>
#include <time.h>
#include <unistd.h>
#include <utmpx.h>

#include "base/file.h"

#define LOGIND_MS 100        /* how long we wait for its answer */
#define LOGIND_PAUSE_MS 5000 /* and how long an answer counts */

static double pressure (const char *root, const char *of)
{
    char path[PATH_MAX];
    double v = -1;
    snprintf (path, sizeof path, "%s/proc/pressure/%s", root, of);
    FILE *f = fopen (path, "re");
    if (f && fscanf (f, "some avg10=%lf", &v) != 1)
        v = -1;
    if (f)
        fclose (f);
    return v;
}

static bool word_in (const char *folder, const char *name, const char *file, const char *word)
{
    char path[PATH_MAX], have[32] = "";
    snprintf (path, sizeof path, "%s/%s/%s", folder, name, file);
    FILE *f = fopen (path, "re");
    bool yes = f && fscanf (f, "%31s", have) == 1 && strcmp (have, word) == 0;
    if (f)
        fclose (f);
    return yes;
}

/* A battery that is being emptied, and no mains that are on. */
static bool on_battery (const char *root)
{
    char folder[PATH_MAX];
    bool battery = false, mains = false;
    snprintf (folder, sizeof folder, "%s/sys/class/power_supply", root);
    DIR *d = opendir (folder);
    for (struct dirent *en; d && (en = readdir (d));) {
        if (en->d_name[0] == '.')
            continue;
        if (word_in (folder, en->d_name, "type", "Battery"))
            battery = battery || word_in (folder, en->d_name, "status", "Discharging");
        else
            mains = mains || word_in (folder, en->d_name, "online", "1");
    }
    if (d)
        closedir (d);
    return battery && !mains;
}

/* Milliseconds since somebody who is logged in typed at a terminal; -1: nobody. */
static int64_t terminal_idle (const char *root)
{
    char path[PATH_MAX];
    int64_t best = -1, now = time_now_us () / 1000;
    if (*root) {
        snprintf (path, sizeof path, "%s/run/utmp", root);
        utmpxname (path);
    }
    setutxent ();
    for (struct utmpx *u; (u = getutxent ());) {
        char line[sizeof u->ut_line + 1];
        struct stat st;
        snprintf (line, sizeof line, "%.*s", (int) sizeof u->ut_line, u->ut_line);
        snprintf (path, sizeof path, "%s/dev/%s", root, line);
        if (u->ut_type != USER_PROCESS || !*line || strstr (line, "..") || stat (path, &st) == -1)
            continue;
        int64_t idle = now - ((int64_t) st.st_atim.tv_sec * 1000 + st.st_atim.tv_nsec / 1000000);
        idle = idle < 0 ? 0 : idle;
        best = best < 0 || idle < best ? idle : best;
    }
    endutxent ();
    return best;
}

/* The same of desktops, as logind has it from them; -1: no desktop, no logind, or no answer. */
static int64_t desktop_idle (void)
{
    static int64_t asked = INT64_MIN, answer = -1;
    int64_t now = time_mono_ms ();
    if (asked != INT64_MIN && now - asked < LOGIND_PAUSE_MS)
        return answer < 0 ? answer : answer + (now - asked);
    asked = now;
    answer = -1;
    if (access ("/run/systemd/seats/seat0", F_OK) == -1)
        return answer;
    sd_bus *bus = NULL;
    sd_bus_error why = SD_BUS_ERROR_NULL;
    static const char to[] = "org.freedesktop.login1", at[] = "/org/freedesktop/login1/seat/seat0", of[] = "org.freedesktop.login1.Seat";
    sd_bus_message *sessions = NULL;
    int idle = 1;
    uint64_t since = 0;
    if (sd_bus_open_system (&bus) >= 0 && sd_bus_set_method_call_timeout (bus, LOGIND_MS * 1000) >= 0
        && sd_bus_get_property (bus, to, at, of, "Sessions", &why, &sessions, "a(so)") >= 0 && sd_bus_message_enter_container (sessions, 'a', "(so)") >= 0
        && sd_bus_message_at_end (sessions, 0) == 0 && sd_bus_get_property_trivial (bus, to, at, of, "IdleHint", &why, 'b', &idle) >= 0
        && sd_bus_get_property_trivial (bus, to, at, of, "IdleSinceHint", &why, 't', &since) >= 0) {
        int64_t ms = idle ? (time_now_us () - (int64_t) since) / 1000 : 0;
        answer = ms < 0 ? 0 : ms;
    }
    sd_bus_message_unref (sessions);
    sd_bus_error_free (&why);
    sd_bus_flush_close_unref (bus);
    return answer;
}

void machine_look (struct limits_seen *s, const struct machine_opts *o)
{
    time_t now = time (NULL);
    struct tm tm;
    struct statvfs fs;
    char path[PATH_MAX];
    memset (s, 0, sizeof *s);
    localtime_r (&now, &tm);
    s->minute = tm.tm_hour * 60 + tm.tm_min;
    s->cpus = (int) sysconf (_SC_NPROCESSORS_ONLN);
    s->free_disk = statvfs (o->state, &fs) == 0 ? (int64_t) fs.f_bavail * (int64_t) fs.f_frsize : 0;
    s->battery = on_battery (o->root);
    s->pressure = s->memory_pressure = s->io_pressure = -1;
    s->user_idle_ms = -1;
    if (!o->use)
        return;
    snprintf (path, sizeof path, "%s/proc/loadavg", o->root);
    FILE *f = fopen (path, "re");
    if (f && fscanf (f, "%lf", &s->load) != 1)
        s->load = 0;
    if (f)
        fclose (f);
    s->pressure = pressure (o->root, "cpu");
    s->memory_pressure = pressure (o->root, "memory");
    s->io_pressure = pressure (o->root, "io");
    int64_t terminal = terminal_idle (o->root), desktop = *o->root ? -1 : desktop_idle ();
    s->user_idle_ms = terminal < 0 || (desktop >= 0 && desktop < terminal) ? desktop : terminal;
}
