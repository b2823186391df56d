/* hook_install.c: contract in hook.h.
 *
 * hooks/NAME becomes a dispatcher that runs each executable in hooks/NAME.d in order; a hook that was there before is
 * hooks/NAME.d/00-previous, ours is hooks/NAME.d/50-assay. A dispatcher of somebody else's (Gitea, Forgejo) is used as it is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "cli/hook.h"
#include "source/git.h"

#define MARK "# Written by `assay hook install`: "

static const char dispatcher[] =
    "#!/bin/sh\n"
    MARK "runs what is in the folder of the same name with .d behind it.\n"
    "here=$(readlink -f -- \"$0\").d\n"
    "status=0\n"
    "if [ \"${here##*/}\" = post-receive.d ]; then input=$(cat; echo .); input=${input%.}; fi\n"
    "for hook in \"$here\"/*; do\n"
    "    [ -f \"$hook\" ] && [ -x \"$hook\" ] || continue\n"
    "    if [ \"${here##*/}\" = post-receive.d ]; then printf '%s' \"$input\" | \"$hook\" \"$@\" || status=$?\n"
    "    else \"$hook\" \"$@\" || status=$?; fi\n"
    "done\n"
    "exit $status\n";

/* 'text' for sh, whatever is in it. */
static void quote (struct buf *out, const char *text)
{
    buf_adds (out, "'");
    for (; *text; text++)
        if (*text == '\'')
            buf_adds (out, "'\\''");
        else
            buf_add (out, text, 1);
    buf_adds (out, "'");
}

static int own_path (struct buf *out, struct err *e)
{
    char path[4096];
    ssize_t n = readlink ("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        return err_errno (e, "/proc/self/exe");
    path[n] = '\0';
    buf_adds (out, path);
    return 0;
}

static int write_ours (struct cli *c, const char *folder, const char *name, struct err *e)
{
    BUF (text);
    BUF (program);
    char *CLEANUP (free_ptr) dir = realpath (c->dir, NULL), *CLEANUP (free_ptr) path = xasprintf ("%s/50-assay", folder);
    if (!dir)
        return err_errno (e, "realm %s", c->dir);
    if (own_path (&program, e) == -1)
        return -1;
    buf_addf (&text, "#!/bin/sh\n" MARK "submits what was %s. It never fails a push.\n", strcmp (name, "post-commit") ? "pushed" : "committed");
    quote (&text, buf_str (&program));
    buf_adds (&text, " --dir ");
    quote (&text, dir);
    buf_addf (&text, " hook run %s\nexit 0\n", name);
    return file_write (path, buf_bytes (&text), 0755, e);
}

static bool is_dispatcher (const char *path, const char *name)
{
    BUF (text);
    if (file_read (path, 1 << 20, &text, NULL) == -1)
        return false;
    char *CLEANUP (free_ptr) word = xasprintf ("%s.d", name);
    return strstr (buf_str (&text), MARK) || strstr (buf_str (&text), word);
}

static int install_in (struct cli *c, const char *hooks, const char *name, struct err *e)
{
    char *CLEANUP (free_ptr) hook = xasprintf ("%s/%s", hooks, name), *CLEANUP (free_ptr) folder = xasprintf ("%s/%s.d", hooks, name),
                             *CLEANUP (free_ptr) previous = xasprintf ("%s/00-previous", folder);
    if (file_mkdirs (folder, 0755, e) == -1 || write_ours (c, folder, name, e) == -1)
        return -1;
    if (access (hook, F_OK) == 0) {
        if (is_dispatcher (hook, name))
            return 0;
        if (access (previous, F_OK) == 0)
            return err_set (e, ERR_FAILED, "%s: there already (merge it with %s by hand)", previous, hook);
        if (rename (hook, previous) == -1)
            return err_errno (e, "%s", previous);
        printf ("kept: %s runs first, as %s\n", hook, previous);
    }
    return file_write (hook, bytes_of (dispatcher, sizeof dispatcher - 1), 0755, e);
}

static int install_gitolite (struct cli *c, const char *home, struct err *e)
{
    char *CLEANUP (free_ptr) hooks = xasprintf ("%s/.gitolite/hooks/common", home), *CLEANUP (free_ptr) config = xasprintf ("%s/.gitconfig", home);
    if (install_in (c, hooks, "post-receive", e) == -1 || git_config_set_file (config, "receive.advertisePushOptions", "true", e) == -1)
        return -1;
    printf ("installed: %s/post-receive (now run: gitolite setup --hooks-only)\n", hooks);
    return 0;
}

int hook_install (struct cli *c, const char *where, struct err *e)
{
    struct stat st;
    char *CLEANUP (free_ptr) gitolite = xasprintf ("%s/.gitolite/hooks/common", where);
    if (stat (gitolite, &st) == 0 && S_ISDIR (st.st_mode))
        return install_gitolite (c, where, e);

    BUF (dir);
    BUF (path);
    bool bare = false;
    if (git_dir (where, &dir, &bare, e) == -1)
        return -1;
    /* git looks where core.hooksPath says; only a path that is absolute means the same to us. */
    if (git_config_get (where, "core.hooksPath", &path, NULL) == -1 || *buf_str (&path) != '/') {
        path.len = 0;
        buf_addf (&path, "%s/hooks", buf_str (&dir));
    }
    const char *name = bare ? "post-receive" : "post-commit";
    if (install_in (c, buf_str (&path), name, e) == -1)
        return -1;
    if (bare && git_config_set (where, "receive.advertisePushOptions", "true", e) == -1)
        return -1;
    printf ("installed: %s/%s\n", buf_str (&path), name);
    return 0;
}
