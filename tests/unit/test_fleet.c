/* Children of `assay up`: shell programs stand in for the daemons. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/fleet.h"

/* Says ready, and on SIGTERM who it is; its first line of output tells its pid. */
#define DAEMON(bye) "trap 'echo " bye "; exit 0' TERM\necho pid $$\necho ready\nwhile :; do sleep 60 & wait $!; done\n"

struct world {
    char dir[64];
    int out[2], stop[2];
    struct fleet *f;
    char text[65536];
    size_t len;
};

static void
setup (struct world *w)
{
    *w = (struct world){ .dir = "/tmp/test_fleet.XXXXXX" };
    cr_assert (mkdtemp (w->dir) != NULL);
    cr_assert (pipe2 (w->out, O_CLOEXEC) == 0 && pipe2 (w->stop, O_CLOEXEC) == 0);
    w->f = fleet_new (w->out[1]);
}

static void
teardown (struct world *w)
{
    fleet_destroy (&w->f);
    for (int i = 0; i < 2; i++) {
        fd_close (&w->out[i]);
        fd_close (&w->stop[i]);
    }
    cr_assert (file_remove_tree (w->dir, NULL) == 0);
}

static void
add (struct world *w, const char *name, unsigned rank, const char *script)
{
    char path[128];
    FILE *file;

    snprintf (path, sizeof path, "%s/%s", w->dir, name);
    cr_assert ((file = fopen (path, "we")) != NULL);
    fprintf (file, "#!/bin/sh\n%s", script);
    cr_assert (fchmod (fileno (file), 0700) == 0 && fclose (file) == 0);
    fleet_add (w->f, name, rank, path, w->dir);
}

/* Run in a child process, which leaves its verdict in the exit status, so that this one can watch and signal. */
static pid_t
run (struct world *w, int stop_ms)
{
    pid_t pid = fork ();

    if (pid == 0) {
        struct err e = ERR_INIT;
        int rc = fleet_run (w->f, w->stop[0], stop_ms, &e);
        dprintf (w->out[1], "result: %d %s\n", rc, e.msg);
        _exit (0);
    }
    fd_close (&w->out[1]);
    return pid;
}

static void
read_until (struct world *w, const char *what)
{
    while (strstr (w->text, what) == NULL) {
        struct pollfd p = { .fd = w->out[0], .events = POLLIN };
        cr_assert_eq (poll (&p, 1, 20000), 1, "no \"%s\" in: %s", what, w->text);
        ssize_t n = read (w->out[0], w->text + w->len, sizeof w->text - 1 - w->len);
        cr_assert_gt (n, 0, "no \"%s\" in: %s", what, w->text);
        w->len += (size_t) n;
    }
}

static void
ask_to_stop (struct world *w)
{
    cr_assert_eq (write (w->stop[1], "x", 1), 1);
}

Test (fleet, ready_when_all_are_and_stopped_from_the_top, .timeout = 60)
{
    struct world w;

    setup (&w);
    add (&w, "idp", 1, DAEMON ("bye-1"));
    add (&w, "broker", 2, DAEMON ("bye-2"));
    add (&w, "worker-10", 3, DAEMON ("bye-3"));
    pid_t pid = run (&w, 10000);

    read_until (&w, "\nready\n");
    cr_assert_not_null (strstr (w.text, "idp       | ready\n"));
    cr_assert_not_null (strstr (w.text, "worker-10 | ready\n"));
    ask_to_stop (&w);
    read_until (&w, "result: 0 \n");
    cr_assert_lt (strstr (w.text, "bye-3"), strstr (w.text, "bye-2"));
    cr_assert_lt (strstr (w.text, "bye-2"), strstr (w.text, "bye-1"));
    waitpid (pid, NULL, 0);
    teardown (&w);
}

Test (fleet, not_ready_while_one_is_not, .timeout = 60)
{
    struct world w;

    setup (&w);
    add (&w, "a", 1, DAEMON ("bye"));
    /* ready within a line or on stderr is no word of readiness */
    add (&w, "b", 1, "trap 'exit 0' TERM\necho not ready\necho ready >&2\necho end\nwhile :; do sleep 60 & wait $!; done\n");
    pid_t pid = run (&w, 10000);

    read_until (&w, "a | ready\n");
    read_until (&w, "b | end\n");
    ask_to_stop (&w);
    read_until (&w, "result: 0 \n");
    cr_assert_null (strstr (w.text, "\nready\n"));
    waitpid (pid, NULL, 0);
    teardown (&w);
}

Test (fleet, one_that_dies_is_named_and_stops_the_rest, .timeout = 60)
{
    static const struct {
        const char *script, *why;
    } cases[] = {
        { "echo ready; exit 7\n", "result: -1 b: ended with status 7" },
        { "echo ready; exit 0\n", "result: -1 b: ended with status 0" },
        { "kill -SEGV $$\n", "result: -1 b: died by signal 11" },
        { "exit 3\n", "result: -1 b: ended with status 3" },
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct world w;
        setup (&w);
        add (&w, "a", 1, "trap 'echo stopped; exit 0' TERM\necho ready\nwhile :; do sleep 60 & wait $!; done\n");
        add (&w, "b", 2, cases[i].script);
        pid_t pid = run (&w, 10000);
        read_until (&w, cases[i].why);
        waitpid (pid, NULL, 0);
        teardown (&w);
    }
}

Test (fleet, a_program_that_is_not_there, .timeout = 60)
{
    struct world w;

    setup (&w);
    fleet_add (w.f, "a", 1, "/nowhere/assay-a", w.dir);
    pid_t pid = run (&w, 10000);
    read_until (&w, "result: -1 a: ended with status 127");
    cr_assert_not_null (strstr (w.text, "cannot be run: No such file or directory\n"), "%s", w.text);
    waitpid (pid, NULL, 0);
    teardown (&w);
}

Test (fleet, one_that_does_not_stop_is_killed, .timeout = 60)
{
    struct world w;

    setup (&w);
    add (&w, "deaf", 1, "trap '' TERM\necho ready\nwhile :; do sleep 60 & wait $!; done\n");
    pid_t pid = run (&w, 200);
    read_until (&w, "\nready\n");
    ask_to_stop (&w);
    read_until (&w, "result: -1 deaf: was ended by signal 9");
    waitpid (pid, NULL, 0);
    teardown (&w);
}

Test (fleet, nobody_outlives_a_killed_parent, .timeout = 60)
{
    struct world w;
    int child = 0;

    setup (&w);
    add (&w, "a", 1, DAEMON ("bye"));
    pid_t pid = run (&w, 10000);
    read_until (&w, "\nready\n");
    cr_assert_eq (sscanf (strstr (w.text, "| pid ") + 6, "%d", &child), 1);
    kill (pid, SIGKILL);
    waitpid (pid, NULL, 0);
    for (int i = 0; i < 20000 && kill (child, 0) == 0; i++) {
        char stat[64], state = 0;
        FILE *file;
        snprintf (stat, sizeof stat, "/proc/%d/stat", child);
        if ((file = fopen (stat, "re")) == NULL || fscanf (file, "%*d %*s %c", &state) != 1 || state == 'Z') {
            if (file != NULL)
                fclose (file);
            child = 0;
            break;
        }
        fclose (file);
        poll (NULL, 0, 1);
    }
    cr_assert (child == 0 || kill (child, 0) == -1);
    teardown (&w);
}

Test (fleet, control_characters_and_long_lines, .timeout = 60)
{
    struct world w;

    setup (&w);
    add (&w, "a", 1, "trap 'exit 0' TERM\nprintf 'x\\033[2Jy\\n'\nhead -c 20000 /dev/zero | tr '\\0' z\necho\necho ready\nwhile :; do sleep 60 & wait $!; done\n");
    pid_t pid = run (&w, 10000);
    read_until (&w, "\nready\n");
    cr_assert_not_null (strstr (w.text, "a | x?[2Jy\n"));
    cr_assert_null (strchr (w.text, '\033'));
    size_t z = 0;
    for (const char *s = w.text; *s != '\0'; s++)
        z += *s == 'z';
    cr_assert_eq (z, 20000);
    ask_to_stop (&w);
    read_until (&w, "result: 0 \n");
    waitpid (pid, NULL, 0);
    teardown (&w);
}
