/* No isolation at all: for assay's own tests of everything around it. Refused unless ASSAY_TEST_NO_ISOLATION is set. */
#include "config.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/sandbox_impl.h"

static int probe (const struct conf *conf, struct err *e)
{
    (void) conf;
    if (!getenv ("ASSAY_TEST_NO_ISOLATION"))
        return err_set (e, ERR_DENIED, "isolation none is for assay's own tests only (use bwrap)");
    return 0;
}

static const char *version (void)
{
    return "none";
}

static int none_open (struct sandbox *box, struct err *e)
{
    if (probe (box->o.conf, e) == -1)
        return -1;
    box->area = xasprintf ("%s/area", box->o.dir);
    box->src = xasprintf ("%s/src", box->area);
    box->out = xasprintf ("%s/out", box->area);
    return file_mkdirs (box->src, 0755, e) == -1 ? -1 : file_mkdirs (box->out, 0755, e);
}

static int spawn (struct sandbox *box, int log_fd, int status_fd, pid_t *pid, struct err *e)
{
    char *run = bytes_dup (box->o.step->run), **env = sandbox_env (box);
    (void) status_fd;
    *pid = fork ();
    if (*pid == 0) {
        int null = open ("/dev/null", O_RDWR | O_CLOEXEC);
        char *argv[] = { (char *) "sh", (char *) "-ec", run, NULL };
        setsid ();
        if (sandbox_confine (box) == 0 && chdir (box->src) == 0 && dup2 (null, 0) != -1 && dup2 (log_fd, 1) != -1 && dup2 (log_fd, 2) != -1
            && close_range (3, ~0u, 0) == 0)
            execve ("/bin/sh", argv, env);
        _exit (125);
    }
    free (run);
    sandbox_env_free (env);
    return *pid == -1 ? err_errno (e, "sandbox: fork") : 0;
}

static int ended (struct sandbox *box, const char *status, int wait, struct sandbox_run *run, struct err *e)
{
    (void) box, (void) status, (void) e;
    run->exit_status = WIFSIGNALED (wait) ? 128u + (unsigned) WTERMSIG (wait) : (unsigned) WEXITSTATUS (wait);
    return 0;
}

static void none_close (struct sandbox *box)
{
    if (box->area)
        file_remove_tree (box->area, NULL);
}

const struct sandbox_driver sandbox_none = { .name = "none", .kind = ISOLATION_NONE, .probe = probe, .version = version, .open = none_open, .spawn = spawn,
                                             .ended = ended, .close = none_close };
