#include "config.h"

#include "worker/control.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/file.h"

#define ANSWER_MAX (256u << 10)
#define WORD_MS 200    /* how long the worker's loop waits for a word */
#define ANSWER_MS 10000
#define WAIT_MS 300

static const char *const words[] = { "pause", "resume", "drain", "status", "reload" };

bool control_word (const char *word)
{
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp (word, words[i]) == 0)
            return true;
    return false;
}

/* sun_path is short and a folder's name may not be: through a descriptor of the folder. */
static int address (const char *state, struct sockaddr_un *sa)
{
    int fd = open (state, O_PATH | O_DIRECTORY | O_CLOEXEC);
    memset (sa, 0, sizeof *sa);
    sa->sun_family = AF_UNIX;
    snprintf (sa->sun_path, sizeof sa->sun_path, "/proc/self/fd/%d/control", fd);
    return fd;
}

int control_open (const char *state, struct err *e)
{
    struct sockaddr_un sa;
    CLEANUP (free_ptr) char *path = xasprintf ("%s/control", state);
    CLEANUP (fd_close) int folder = address (state, &sa);
    (void) folder; /* held: the address goes through it */
    int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    unlink (path);
    mode_t mask = umask (0177);
    int rc = folder == -1 || fd == -1 ? -1 : bind (fd, (struct sockaddr *) &sa, sizeof sa);
    umask (mask);
    if (rc == -1 || listen (fd, 8) == -1) {
        err_errno (e, "%s", path);
        fd_close (&fd);
    }
    return fd;
}

void control_take (int listener, void (*answer) (void *arg, const char *word, struct buf *json), void *arg)
{
    char word[32] = "";
    struct ucred who = { 0 };
    socklen_t size = sizeof who;
    CLEANUP (fd_close) int fd = accept4 (listener, NULL, NULL, SOCK_CLOEXEC);
    if (fd == -1 || getsockopt (fd, SOL_SOCKET, SO_PEERCRED, &who, &size) == -1)
        return;
    BUF (out);
    struct pollfd p = { fd, POLLIN, 0 };
    ssize_t n = poll (&p, 1, WORD_MS) == 1 ? recv (fd, word, sizeof word - 1, MSG_DONTWAIT) : -1;
    word[n > 0 ? strcspn (word, "\n") : 0] = '\0';
    if (who.uid != 0 && who.uid != geteuid ())
        buf_adds (&out, "{\"error\": \"only the worker's owner may do that\"}\n");
    else if (!control_word (word))
        buf_adds (&out, "{\"error\": \"not a word that a worker knows\"}\n");
    else
        answer (arg, word, &out);
    /* Its own side takes it, or loses it: the loop never waits. */
    int room = (int) out.len + 4096;
    setsockopt (fd, SOL_SOCKET, SO_SNDBUF, &room, sizeof room);
    n = send (fd, out.p, out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void) n;
}

static json_t *time_of (int64_t us)
{
    char text[32];
    time_format (us, text);
    return json_string (text);
}

void control_write (const struct control_status *s, struct buf *out)
{
    json_t *steps = json_array (), *o = json_pack ("{s:s, s:s, s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "name", s->name, "state", s->state, "isolation", s->isolation,
                                                   "cgroups", s->cgroups, "network", s->network, "connected", s->connected, "credit", (json_int_t) s->credit, "steps_max",
                                                   (json_int_t) s->steps, "done", (json_int_t) s->done, "errors", (json_int_t) s->errors, "declined", (json_int_t) s->declined,
                                                   "handed_back", (json_int_t) s->handed_back, "relay_passed", (json_int_t) s->relay_passed, "relay_refused", (json_int_t) s->relay_refused);
    for (size_t i = 0; i < s->step_count; i++) {
        const struct control_step *t = &s->step[i];
        json_array_append_new (steps, json_pack ("{s:s, s:s, s:s, s:s, s:o, s:o, s:I, s:I, s:I, s:I}", "lease", t->lease, "project", t->project, "step", t->step, "state",
                                                 t->state, "since", time_of (t->since), "until", time_of (t->until), "frozen_s", (json_int_t) (t->frozen_ms / 1000), "cpus",
                                                 (json_int_t) t->cpus, "memory", (json_int_t) t->memory, "disk", (json_int_t) t->disk));
    }
    json_object_set_new (o, "steps", steps);
    if (*s->accelerator)
        json_object_set_new (o, "accelerator", json_string (s->accelerator));
    if (*s->kvm)
        json_object_set_new (o, "kvm", json_string (s->kvm));
    if (s->why)
        json_object_set_new (o, "why", json_string (s->why));
    if (s->error)
        json_object_set_new (o, "error", json_string (s->error));
    char *text = json_dumps (o, JSON_COMPACT | JSON_PRESERVE_ORDER);
    buf_addf (out, "%s\n", text ? text : "{\"error\": \"no text\"}");
    free (text);
    json_decref (o);
}

/* ---- the other side ---- */

static int ask_once (const char *state, const char *word, struct buf *said, struct err *e)
{
    struct sockaddr_un sa;
    CLEANUP (fd_close) int folder = address (state, &sa);
    (void) folder; /* held: the address goes through it */
    CLEANUP (fd_close) int fd = socket (AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int64_t until = time_mono_ms () + ANSWER_MS, left;
    bool there = folder != -1 && fd != -1 && connect (fd, (struct sockaddr *) &sa, sizeof sa) == 0;
    if (!there && (errno == EACCES || errno == EPERM))
        return err_set (e, ERR_DENIED, "%.*s: only the worker's owner may speak with it (be the user that it runs as, or root)", (int) (strlen (state) - strlen ("/state")), state);
    if (!there)
        return err_set (e, ERR_UNREACHABLE, "%.*s: no worker runs there: %s (start assay-worker)", (int) (strlen (state) - strlen ("/state")), state, strerror (errno));
    CLEANUP (free_ptr) char *line = xasprintf ("%s\n", word); /* in one piece: it answers what came, and closes */
    if (send (fd, line, strlen (line), MSG_NOSIGNAL) != (ssize_t) strlen (line))
        return err_set (e, ERR_UNREACHABLE, "the worker does not listen");
    while ((left = until - time_mono_ms ()) > 0 && said->len < ANSWER_MAX) {
        struct pollfd p = { fd, POLLIN, 0 };
        char b[4096];
        ssize_t n = poll (&p, 1, (int) left) == 1 ? read (fd, b, sizeof b) : -1;
        if (n <= 0)
            break;
        buf_add (said, b, (size_t) n);
    }
    if (!said->len || said->p[said->len - 1] != '\n')
        return err_set (e, ERR_UNREACHABLE, "the worker does not answer");
    return 0;
}

static const char *text_of (const json_t *o, const char *key)
{
    const char *s = json_string_value (json_object_get (o, key));
    return s ? s : "";
}

static long long number_of (const json_t *o, const char *key)
{
    return (long long) json_integer_value (json_object_get (o, key));
}

static void print (const json_t *o)
{
    const json_t *steps = json_object_get (o, "steps");
    const char *why = text_of (o, "why");
    printf ("%-12s %s: %s%s%s\n", "worker", text_of (o, "name"), text_of (o, "state"), *why ? ", takes no steps: " : "", why);
    printf ("%-12s %s\n", "broker", json_is_true (json_object_get (o, "connected")) ? "connected" : "not connected");
    printf ("%-12s %zu of %lld, takes %lld more\n", "steps", json_array_size (steps), number_of (o, "steps_max"), number_of (o, "credit"));
    printf ("%-12s %lld done, %lld errors, %lld declined, %lld handed back\n", "since start", number_of (o, "done"), number_of (o, "errors"), number_of (o, "declined"),
            number_of (o, "handed_back"));
    printf ("%-12s %s, cgroups %s, network %s\n", "isolation", text_of (o, "isolation"), text_of (o, "cgroups"), text_of (o, "network"));
    const char *accelerator = text_of (o, "accelerator"), *kvm = text_of (o, "kvm");
    if (*accelerator || *kvm)
        printf ("%-12s %s%s%s\n", "VMs", strcmp (accelerator, "kvm") == 0 ? "under KVM" : *accelerator ? "emulated" : "none", *kvm ? ": " : "", kvm);
    if (number_of (o, "relay_passed") || number_of (o, "relay_refused"))
        printf ("%-12s %lld connections of builds let through, %lld failed\n", "relay", number_of (o, "relay_passed"), number_of (o, "relay_refused"));
    for (size_t i = 0; i < json_array_size (steps); i++) {
        const json_t *s = json_array_get (steps, i);
        printf ("  %.12s  %-8s %s %s  since %s", text_of (s, "lease"), text_of (s, "state"), text_of (s, "project"), text_of (s, "step"), text_of (s, "since"));
        if (number_of (s, "frozen_s"))
            printf (", frozen for %lld s", number_of (s, "frozen_s"));
        putchar ('\n');
    }
}

int control_ask (const char *state, const struct control_ask *ask, struct err *e)
{
    const char *word = ask->word;
    for (;;) {
        BUF (said);
        json_error_t why;
        if (ask_once (state, word, &said, e) == -1)
            return -1;
        json_t *o = json_loadb ((const char *) said.p, said.len, JSON_REJECT_DUPLICATES, &why);
        if (!json_is_object (o)) {
            json_decref (o);
            return err_set (e, ERR_DAMAGED, "the worker's answer is no JSON object");
        }
        const char *error = text_of (o, "error");
        bool wait = ask->wait && !*error && json_array_size (json_object_get (o, "steps"));
        if (!wait && ask->json)
            fwrite (said.p, 1, said.len, stdout);
        else if (!wait && !*error)
            print (o);
        if (*error)
            err_set (e, strstr (error, "owner may") ? ERR_DENIED : ERR_USAGE, "%s", error);
        int rc = *error ? -1 : 0;
        json_decref (o);
        if (!wait)
            return rc;
        word = "status";
        poll (NULL, 0, WAIT_MS);
    }
}
