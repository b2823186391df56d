/* The broker's state on a disk that goes away: SIGKILL in the middle of turns, and a full disk. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "broker/state.h"

struct place {
    char dir[64];
    struct state *s;
    uint64_t rnd;
};

static uint32_t lcg (uint64_t *s, uint32_t n)
{
    *s = *s * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t) ((*s >> 33) % n);
}

static void place_open (struct place *p)
{
    struct err e = ERR_INIT;
    cr_assert_eq (state_open (&p->s, "sqlite", p->dir, &e), 0, "%s", e.msg);
}
static void place_again (struct place *p)
{
    state_close (&p->s);
    place_open (p);
}
static void place_init (struct place *p)
{
    memset (p, 0, sizeof *p);
    p->rnd = 1;
    (void) snprintf (p->dir, sizeof p->dir, "/tmp/assay-state.XXXXXX");
    cr_assert_not_null (mkdtemp (p->dir));
    place_open (p);
}
static void place_release (struct place *p)
{
    struct err e = ERR_INIT;
    state_close (&p->s);
    cr_assert_eq (file_remove_tree (p->dir, &e), 0, "%s", e.msg);
}

static void commit (struct place *p)
{
    struct err e = ERR_INIT;
    cr_assert_eq (state_commit (p->s, &e), 0, "%s", e.msg);
}

static struct digest id_of (unsigned n)
{
    char text[32];
    int len = snprintf (text, sizeof text, "s%u", n);
    return digest_of (text, (size_t) len);
}
static struct sub_row new_sub (unsigned n)
{
    struct sub_row r = { .id = id_of (n), .project = "team/p", .time = 1000, .expires = 2000 };
    buf_addf (&r.envelope, "envelope %u", n);
    return r;
}
static int64_t add_sub (struct place *p, unsigned n)
{
    struct err e = ERR_INIT;
    struct sub_row r = new_sub (n);
    cr_assert_eq (state_sub_add (p->s, &r, &e), 0, "%s", e.msg);
    sub_row_release (&r);
    return r.key;
}
static struct step_row new_step (int64_t sub, unsigned no)
{
    struct step_row r = { .sub = sub, .no = no, .job = { .state = JOB_OPEN, .places = 1 }, .expires = 5000, .state = "pending" };
    (void) snprintf (r.name, sizeof r.name, "step%u", no);
    return r;
}
static struct step_row add_step (struct place *p, int64_t sub, unsigned no)
{
    struct err e = ERR_INIT;
    struct step_row r = new_step (sub, no);
    cr_assert_eq (state_step_add (p->s, &r, &e), 0, "%s", e.msg);
    return r;
}
static void add_event (struct place *p, const char *text)
{
    struct err e = ERR_INIT;
    cr_assert_eq (state_event_add (p->s, "team/p", bytes_str (text), &e), 0, "%s", e.msg);
}

/* A writer without end: each turn adds one submission with three steps and two events, and tells the pipe once it is committed. */
static void write_for_ever (const char *dir, int fd)
{
    struct place p = { .rnd = 1 };
    (void) snprintf (p.dir, sizeof p.dir, "%s", dir);
    place_open (&p);
    for (;;) {
        uint64_t n = state_seq (p.s) / 2;
        int64_t sub = add_sub (&p, (unsigned) n);
        for (unsigned i = 0; i < 3; i++) {
            struct step_row r = add_step (&p, sub, i);
            struct err e = ERR_INIT;
            if (i == 2) {
                r.job.state = JOB_DECIDED;
                cr_assert_eq (state_step_put (p.s, &r, &e), 0);
            }
        }
        add_event (&p, "one");
        add_event (&p, "two");
        commit (&p);
        n++;
        if (write (fd, &n, sizeof n) != sizeof n)
            _exit (1);
    }
}

static int count_event (void *arg, uint64_t seq, const char *project, struct bytes body)
{
    uint64_t *next = arg;
    (void) project, (void) body;
    cr_assert_eq (seq, (*next)++);
    return 0;
}

Test (crash, sigkill_loses_nothing_that_was_committed)
{
    struct place p;
    uint64_t told = 0;
    place_init (&p);
    state_close (&p.s);
    for (unsigned round = 0; round < 25; round++) {
        int fds[2];
        cr_assert_eq (pipe (fds), 0);
        pid_t pid = fork ();
        cr_assert_neq (pid, -1);
        if (pid == 0) {
            close (fds[0]);
            write_for_ever (p.dir, fds[1]);
        }
        close (fds[1]);
        uint64_t n, wanted = told + 1 + lcg (&p.rnd, 12);
        while (told < wanted) { /* somewhere in the turns behind this one */
            cr_assert_eq (read (fds[0], &n, sizeof n), (ssize_t) sizeof n);
            cr_assert_eq (n, told + 1);
            told = n;
        }
        usleep (lcg (&p.rnd, 3000));
        cr_assert_eq (kill (pid, SIGKILL), 0);
        cr_assert_eq (waitpid (pid, NULL, 0), pid);
        while (read (fds[0], &n, sizeof n) == sizeof n)
            told = n;
        close (fds[0]);

        place_open (&p);
        uint64_t seq = state_seq (p.s), next = 1;
        struct err e = ERR_INIT;
        cr_assert (seq / 2 >= told && seq / 2 <= told + 1 && seq % 2 == 0, "told %llu, found %llu events", (unsigned long long) told, (unsigned long long) seq);
        cr_assert_eq (state_events (p.s, 0, count_event, &next, &e), 0, "%s", e.msg);
        cr_assert_eq (next, seq + 1);
        cr_assert_eq (state_open_steps (p.s), (int64_t) seq, "two open steps a submission");
        for (unsigned i = 0; i < seq / 2; i++) {
            struct digest id = id_of (i);
            struct step_row st;
            cr_assert_eq (state_step_find (p.s, &id, bytes_str ("step2"), &st, &e), 1, "%u: %s", i, e.msg);
            cr_assert_eq (st.job.state, JOB_DECIDED);
        }
        told = seq / 2;
        state_close (&p.s);
    }
    place_open (&p);
    place_release (&p);
}

/* The disk is full for a while: the turn fails as a whole, says so, and later turns work. */
Test (crash, a_full_disk_undoes_the_turn)
{
    struct place p;
    struct rlimit was, tight;
    struct stat st;
    char wal[96];
    unsigned failed = 0;
    place_init (&p);
    (void) snprintf (wal, sizeof wal, "%s/state.db-wal", p.dir);
    signal (SIGXFSZ, SIG_IGN);
    (void) add_sub (&p, 0);
    commit (&p);
    cr_assert (stat (wal, &st) == 0 && getrlimit (RLIMIT_FSIZE, &was) == 0);
    for (unsigned room = 0; room < 12; room++) {
        struct err e = ERR_INIT;
        uint64_t seq = state_seq (p.s);
        int64_t open = state_open_steps (p.s);
        cr_assert_eq (stat (wal, &st), 0);
        tight = (struct rlimit){ (rlim_t) st.st_size + room * 3000, was.rlim_max };
        cr_assert_eq (setrlimit (RLIMIT_FSIZE, &tight), 0);
        int rc = 0;
        for (unsigned i = 0; rc == 0 && i < 20; i++) {
            struct sub_row r = new_sub (1000 + room * 100 + i);
            memset (buf_grow (&r.envelope, 5000), 'x', 5000);
            rc = state_sub_add (p.s, &r, &e);
            struct step_row s = new_step (r.key, 0);
            if (rc == 0)
                rc = state_step_add (p.s, &s, &e);
            if (rc == 0)
                rc = state_event_add (p.s, "p", bytes_str ("x"), &e);
            sub_row_release (&r);
        }
        if (rc == 0)
            rc = state_commit (p.s, &e);
        else
            state_rollback (p.s);
        cr_assert_eq (setrlimit (RLIMIT_FSIZE, &was), 0);
        cr_assert (rc == -1 && e.code == EC_INTERNAL && e.msg[0], "room for %u bytes", room * 3000);
        failed++;
        cr_assert (state_seq (p.s) == seq && state_open_steps (p.s) == open);
        struct digest gone = id_of (1000 + room * 100), kept = id_of (room);
        struct sub_row got;
        cr_assert_eq (state_sub_find (p.s, &gone, &got, &e), 0, "nothing of the failed turn is there");
        cr_assert_eq (state_sub_find (p.s, &kept, &got, &e), 1);
        sub_row_release (&got);
        /* room again */
        (void) add_step (&p, add_sub (&p, room + 1), 0);
        add_event (&p, "fine");
        commit (&p);
        if (room % 4 == 3)
            place_again (&p);
        cr_assert (state_seq (p.s) == seq + 1 && state_open_steps (p.s) == open + 1);
    }
    cr_assert_eq (failed, 12);
    place_release (&p);
}
