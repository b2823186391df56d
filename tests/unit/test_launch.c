/* A step's process: its orders and settings in a folder of its own, by the spare that waits or by one of its own. The process that is started is this
 * program again, as the worker starts itself. */
#include "worker/launch.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/runner.h"

#define HEX "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

/* As a step's process: says who it is and of which step. */
__attribute__ ((constructor)) static void step (int argc, char **argv)
{
    char hex[DIGEST_HEX];
    if (argc != 7 || strcmp (argv[1], "--dir") || strcmp (argv[3], "--step") || strcmp (argv[5], "--fd"))
        return;
    int fd = atoi (argv[6]);
    bool spare = !strcmp (argv[4], LAUNCH_SPARE);
    if (spare && getenv ("TEST_SPARE_DIES"))
        _exit (3);
    if (spare && !launch_wait (fd, hex))
        _exit (4);
    dprintf (fd, "%s %s", spare ? "spare" : "own", spare ? hex : argv[4]);
    _exit (0);
}

/* Whom the code under test kills. */
static pid_t killed;
int kill (pid_t pid, int sig)
{
    killed = pid;
    return (int) syscall (SYS_kill, pid, sig);
}

struct place {
    char dir[64];
    struct conf conf;
};

static void place_open (struct place *p)
{
    struct err e = ERR_INIT;
    strcpy (p->dir, "/tmp/assay-launch.XXXXXX");
    cr_assert_not_null (mkdtemp (p->dir));
    cr_assert_eq (conf_open (&p->conf, p->dir, &e), 0, "%s", e.msg);
}

static void place_close (struct place *p)
{
    launch_end ();
    conf_release (&p->conf);
    cr_assert_eq (file_remove_tree (p->dir, NULL), 0);
}

static int start (const struct place *p, const char *hex, pid_t *pid, int *fd, struct err *e)
{
    struct launch_opts o = { p->dir, p->dir, hex, &p->conf, bytes_str ("the lease"), bytes_str ("the submission") };
    return launch (&o, pid, fd, e);
}

/* What it says, and that it ends. */
static const char *says (pid_t pid, int fd)
{
    static char text[128];
    size_t n = 0;
    int status = 0;
    struct pollfd f = { fd, POLLIN, 0 };
    for (ssize_t got = 1; got && poll (&f, 1, 20000) == 1; n += got > 0 ? (size_t) got : 0)
        got = read (fd, text + n, sizeof text - 1 - n);
    text[n] = '\0';
    close (fd);
    cr_assert (waitpid (pid, &status, 0) == pid && WIFEXITED (status) && WEXITSTATUS (status) == 0);
    return text;
}

static void holds (const struct place *p, const char *name, const char *want)
{
    char path[256];
    struct stat st;
    struct err e = ERR_INIT;
    BUF (got);
    (void) snprintf (path, sizeof path, "%s/steps/" HEX "/%s", p->dir, name);
    cr_assert (lstat (path, &st) == 0 && S_ISREG (st.st_mode) && (st.st_mode & 0777) == 0600, "%s", path);
    cr_assert_eq (file_read (path, 1 << 16, &got, &e), 0, "%s", e.msg);
    if (want)
        cr_assert_str_eq (buf_str (&got), want);
}

static bool childless (void)
{
    return waitpid (-1, NULL, WNOHANG) == -1 && errno == ECHILD;
}

Test (launch, a_step_has_its_orders_and_a_process_of_its_own, .timeout = 60)
{
    struct place p;
    struct err e = ERR_INIT;
    struct conf back;
    char path[256];
    pid_t pid;
    int fd;
    place_open (&p);
    cr_assert_eq (start (&p, HEX, &pid, &fd, &e), 0, "%s", e.msg);
    cr_assert_str_eq (says (pid, fd), "own " HEX);
    holds (&p, "lease", "the lease");
    holds (&p, "submission", "the submission");
    holds (&p, RUNNER_CONF, NULL);
    (void) snprintf (path, sizeof path, "%s/steps/" HEX "/" RUNNER_CONF, p.dir);
    cr_assert_eq (conf_read (&back, path, &e), 0, "%s", e.msg);
    cr_assert (back.memory == p.conf.memory && !strcmp (back.isolation, p.conf.isolation));
    conf_release (&back);
    cr_assert_eq (start (&p, HEX, &pid, &fd, &e), -1, "orders that are there are another's");
    place_close (&p);
}

Test (launch, the_spare_takes_one_step, .timeout = 60)
{
    struct place p;
    struct err e = ERR_INIT;
    char other[] = HEX;
    pid_t pid;
    int fd;
    other[0] = 'f';
    place_open (&p);
    launch_spare (p.dir);
    launch_spare (p.dir); /* there is one */
    cr_assert_eq (start (&p, HEX, &pid, &fd, &e), 0, "%s", e.msg);
    cr_assert_str_eq (says (pid, fd), "spare " HEX);
    cr_assert (childless ());
    cr_assert_eq (start (&p, other, &pid, &fd, &e), 0, "%s", e.msg);
    cr_assert (strstr (says (pid, fd), "own f"));
    launch_spare (p.dir);
    launch_end ();
    cr_assert (childless (), "the spare outlived its end");
    place_close (&p);
}

/* Its number may be another process's by the time that a step comes. */
Test (launch, a_spare_that_has_died_is_done_without, .timeout = 60)
{
    struct place p;
    struct err e = ERR_INIT;
    siginfo_t si;
    pid_t pid;
    int fd;
    place_open (&p);
    setenv ("TEST_SPARE_DIES", "1", 1);
    launch_spare (p.dir);
    cr_assert_eq (waitid (P_ALL, 0, &si, WEXITED | WNOWAIT), 0);
    cr_assert_eq (start (&p, HEX, &pid, &fd, &e), 0, "%s", e.msg);
    cr_assert_neq (killed, si.si_pid, "it is gone: its number is nobody's, or another's");
    cr_assert_str_eq (says (pid, fd), "own " HEX);
    cr_assert (childless ());
    place_close (&p);
}

Test (launch, what_is_no_step_ends_the_spare, .timeout = 60)
{
    static const char *const words[] = { "", "zz", "00112233445566778899aabbccddeeff00112233445566778899aabbccddee\n\n" };
    for (size_t i = 0; i < 3; i++) {
        int pair[2], status = 0;
        cr_assert_eq (pipe (pair), 0);
        pid_t pid = fork ();
        if (pid == 0) {
            char hex[DIGEST_HEX];
            close (pair[1]);
            _exit (launch_wait (pair[0], hex) ? 1 : 0);
        }
        cr_assert_eq (write (pair[1], words[i], strlen (words[i])), (ssize_t) strlen (words[i]));
        close (pair[0]);
        close (pair[1]);
        cr_assert (waitpid (pid, &status, 0) == pid && WIFEXITED (status) && WEXITSTATUS (status) == 0, "%zu", i);
    }
}
