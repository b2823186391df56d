/* fetch.c: the git program, confined: it talks to a server that nobody vouches for. Contract: git.h (git_fetch).
 *
 * It gets an empty environment, no configuration but ours, no hooks, no credentials to ask for, three descriptors, a process
 * group of its own that is killed at the deadline, and it dies with the caller. What it says on stderr ends, cleaned and cut,
 * in the error.
 */
#include "source/repo.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

#define SAID_MAX 4096
#define PACK_MAX (8ll << 30) /* bytes; one file that git may write */

static bool file_allowed;

void git_allow_file (bool yes)
{
    file_allowed = yes;
}

int git_url_check (const char *url, struct err *e)
{
    static const char *const schemes[] = { "https://", "ssh://", "git://" };
    size_t len = strlen (url);
    if (len == 0 || len > 1023 || !utf8_valid (bytes_str (url)))
        return err_set (e, ERR_USAGE, "repository URL: empty, too long or not UTF-8 (at most 1023 bytes)");
    for (const char *p = url; *p; p++)
        if ((unsigned char) *p <= ' ' || *p == 0x7f)
            return err_set (e, ERR_USAGE, "repository URL: has spaces or control characters");
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++)
        if (strncmp (url, schemes[i], strlen (schemes[i])) == 0) {
            const char *host = url + strlen (schemes[i]);
            if (*host == '-' || *host == '/' || !*host)
                return err_set (e, ERR_USAGE, "repository URL %s: no host", url);
            return 0;
        }
    if (strncmp (url, "file:///", 8) == 0) {
        if (!file_allowed)
            return err_code (e, EC_NOT_ALLOWED, "repository URL %s: fetching from this machine's files is off (the worker's owner can allow it)", url);
        return 0;
    }
    /* USER@HOST:PATH, as git writes it for ssh */
    const char *at = strchr (url, '@'), *colon = strchr (url, ':'), *slash = strchr (url, '/');
    if (at && colon && at < colon && at != url && *url != '-' && at[1] != '-' && at + 1 != colon && colon[1] && colon[1] != ':' && (!slash || colon < slash))
        return 0;
    return err_set (e, ERR_USAGE, "repository URL %s: not a kind that is fetched from (https://, ssh://, git://, user@host:path, file:///path where allowed)", url);
}

/* What of a fetch depends on where its server is. */
struct way {
    struct buf url, resolve, ssh, host;
};

static void way_release (struct way *w)
{
    buf_release (&w->url);
    buf_release (&w->resolve);
    buf_release (&w->ssh);
    buf_release (&w->host);
}

static void way_find (struct way *w, const char *url, const struct git_place *at)
{
    bool six = at && strchr (at->address, ':'), name_six = at && strchr (at->host, ':');
    buf_adds (&w->ssh, "GIT_SSH_COMMAND=ssh -oBatchMode=yes");
    if (at) {
        /* the key is still that of the name, as it stands in known_hosts */
        buf_addf (&w->ssh, at->port == 22 ? " -oHostName=%s -oHostKeyAlias=%s" : " -oHostName=%s '-oHostKeyAlias=[%s]:%u'", at->address, at->host, at->port);
        buf_addf (&w->resolve, name_six ? "http.curloptResolve=[%s]:%u:%s%s%s" : "http.curloptResolve=%s:%u:%s%s%s", at->host, at->port, six ? "[" : "", at->address, six ? "]" : "");
    } else
        buf_adds (&w->resolve, "http.curloptResolve=");
    if (at && strncmp (url, "git://", 6) == 0) { /* it goes to the address, and asks for the host of the URL */
        const char *path = url + 6 + strcspn (url + 6, "/");
        buf_addf (&w->url, "git://%s%s%s:%u%s", six ? "[" : "", at->address, six ? "]" : "", at->port, path);
        buf_addf (&w->host, "GIT_OVERRIDE_VIRTUAL_HOST=%.*s", (int) (path - url - 6), url + 6);
    } else
        buf_adds (&w->url, url);
    /* all end in NUL from here on */
    buf_str (&w->url);
    buf_str (&w->resolve);
    buf_str (&w->ssh);
    buf_str (&w->host);
}

static void git_child (const char *const *argv, const struct way *way, int err_fd)
{
    static char *const env[] = {
        (char *) "PATH=/usr/local/bin:/usr/bin:/bin", (char *) "HOME=/nonexistent", (char *) "LC_ALL=C", (char *) "GIT_CONFIG_NOSYSTEM=1",
        (char *) "GIT_CONFIG_GLOBAL=/dev/null", (char *) "GIT_TERMINAL_PROMPT=0", (char *) "GIT_ASKPASS=/bin/false", (char *) "SSH_ASKPASS=/bin/false",
        (char *) "GIT_ATTR_NOSYSTEM=1",
    };
    enum { FIXED = sizeof env / sizeof *env };
    char *mine[FIXED + 4] = { NULL };
    memcpy (mine, env, sizeof env);
    mine[FIXED] = (char *) (file_allowed ? "GIT_ALLOW_PROTOCOL=https:ssh:git:file" : "GIT_ALLOW_PROTOCOL=https:ssh:git");
    mine[FIXED + 1] = (char *) way->ssh.p;
    mine[FIXED + 2] = way->host.len ? (char *) way->host.p : NULL;

    setpgid (0, 0);
    prctl (PR_SET_PDEATHSIG, SIGKILL);
    sigset_t none;
    sigemptyset (&none);
    sigprocmask (SIG_SETMASK, &none, NULL);
    signal (SIGPIPE, SIG_DFL);
    umask (077);
    struct rlimit core = { 0, 0 }, size = { PACK_MAX, PACK_MAX };
    setrlimit (RLIMIT_CORE, &core);
    setrlimit (RLIMIT_FSIZE, &size);
    int null = open ("/dev/null", O_RDWR);
    if (null == -1 || dup2 (null, 0) == -1 || dup2 (null, 1) == -1 || dup2 (err_fd, 2) == -1)
        _exit (126);
    close_range (3, ~0u, 0);
    execve ("/usr/bin/git", (char *const *) argv, mine);
    execvpe ("git", (char *const *) argv, mine);
    _exit (127);
}

/* Runs argv until it ends or the deadline (monotonic, ms) passes; *said is what it wrote on stderr. The status as of waitpid, -1 with *e. */
static int run_git (const char *const *argv, const struct way *way, int64_t deadline, struct buf *said, struct err *e)
{
    int pipe_fd[2];
    if (pipe2 (pipe_fd, O_CLOEXEC) == -1)
        return err_errno (e, "pipe");
    pid_t pid = fork ();
    if (pid == 0)
        git_child (argv, way, pipe_fd[1]);
    close (pipe_fd[1]);
    CLEANUP (fd_close) int fd = pipe_fd[0];
    if (pid == -1)
        return err_errno (e, "fork");
    setpgid (pid, pid);

    bool late = false;
    for (;;) {
        int64_t left = deadline - time_mono_ms ();
        struct pollfd p = { fd, POLLIN, 0 };
        int n = left > 0 ? poll (&p, 1, (int) (left > 60000 ? 60000 : left)) : 0;
        if (n == -1 && errno == EINTR)
            continue;
        if (n <= 0) {
            if (deadline - time_mono_ms () > 0)
                continue;
            late = true;
            break;
        }
        char some[1024];
        ssize_t got = read (fd, some, sizeof some);
        if (got == -1 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        if (said->len < SAID_MAX)
            buf_add (said, some, (size_t) got);
    }
    /* The pipe is at its end, or time is: nothing of the group may stay, also what git started and forgot. */
    int status = 0;
    if (!late) {
        for (;;) {
            pid_t got = waitpid (pid, &status, WNOHANG);
            if (got == pid || (got == -1 && errno != EINTR))
                break;
            if (time_mono_ms () >= deadline) {
                late = true;
                break;
            }
            poll (NULL, 0, 2);
        }
    }
    kill (-pid, SIGKILL);
    if (late)
        while (waitpid (pid, &status, 0) == -1 && errno == EINTR)
            ;
    if (late)
        return err_code (e, EC_BUSY, "git did not finish in time");
    return status;
}

/* The last line that says something, for a person. */
static void last_words (struct buf *said, struct buf *out)
{
    BUF (clean);
    text_clean (buf_bytes (said), true, &clean);
    char *best = NULL, *save = NULL;
    for (char *line = strtok_r ((char *) (uintptr_t) buf_str (&clean), "\n", &save); line; line = strtok_r (NULL, "\n", &save))
        if (strncmp (line, "fatal:", 6) == 0 || strncmp (line, "error:", 6) == 0 || strncmp (line, "remote:", 7) == 0 || !best) {
            best = line;
            if (strncmp (line, "fatal:", 6) == 0)
                break;
        }
    buf_addf (out, "%.300s", best ? best : "no reason given");
    buf_str (out);
}

static int ensure_mirror (const char *mirror, struct err *e)
{
    repo_start ();
    REPO (r);
    if (git_repository_open_ext (&r, mirror, GIT_REPOSITORY_OPEN_NO_SEARCH, NULL) == 0)
        return 0;
    if (file_mkdirs (mirror, 0700, e) == -1)
        return -1;
    int rc = git_repository_init (&r, mirror, 1);
    return rc ? repo_fail (e, rc, "%s", mirror) : 0;
}

/* Two fetches into one mirror fight over its shallow file: one at a time, waiting no longer than the deadline. */
static int lock_mirror (const char *mirror, int64_t deadline, struct err *e)
{
    BUF (path);
    buf_addf (&path, "%s/assay.lock", mirror);
    int fd = open (buf_str (&path), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd == -1)
        return err_errno (e, "%s", buf_str (&path));
    if (file_flock (fd, true, deadline - time_mono_ms (), e) == -1) {
        close (fd);
        return err_wrap (e, "%s", mirror);
    }
    return fd;
}

int git_fetch (const char *mirror, const char *url, const struct git_place *at, const char *commit, int timeout_ms, struct err *e)
{
    int64_t deadline = time_mono_ms () + timeout_ms;
    if (!repo_id_valid (commit))
        return err_set (e, ERR_USAGE, "commit %.80s: not a full id of 40 lower-case hex digits", commit);
    if (git_url_check (url, e) == -1 || ensure_mirror (mirror, e) == -1)
        return -1;
    CLEANUP (fd_close) int lock = lock_mirror (mirror, deadline, e);
    if (lock == -1)
        return -1;
    if (git_has (mirror, commit))
        return 0;
    /* What a killed fetch left: the lock above says that nobody uses it. */
    BUF (stale);
    buf_addf (&stale, "%s/shallow.lock", mirror);
    unlink (buf_str (&stale));

    BUF (dir);
    BUF (refspec);
    buf_addf (&dir, "--git-dir=%s", mirror);
    buf_addf (&refspec, "+%s:refs/assay/%s", commit, commit);
    struct way way CLEANUP (way_release) = { .url = { NULL, 0, 0 } };
    way_find (&way, url, at);
    const char *argv[] = {
        "git", buf_str (&dir), "-c", "transfer.fsckObjects=true", "-c", "core.hooksPath=/dev/null", "-c", "protocol.version=2",
        "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "credential.helper=", "-c", "core.fsmonitor=false", "-c", "http.lowSpeedLimit=1",
        "-c", "http.lowSpeedTime=60", "-c", buf_str (&way.resolve), "-c", at ? "http.followRedirects=false" : "http.followRedirects=initial", "fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--depth", "1",
        "--", buf_str (&way.url), buf_str (&refspec), NULL,
    };
    BUF (said);
    int status = run_git (argv, &way, deadline, &said, e);
    if (status == -1)
        return err_wrap (e, "fetch of %.12s from %.300s", commit, url);
    if (!WIFEXITED (status) || WEXITSTATUS (status) != 0 || !git_has (mirror, commit)) {
        BUF (words);
        last_words (&said, &words);
        return err_set (e, ERR_FAILED, "fetch of %.12s from %.300s: %s", commit, url, buf_str (&words));
    }
    return 0;
}
