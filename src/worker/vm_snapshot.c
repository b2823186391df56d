#include "config.h"

#include "worker/vm_snapshot.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/guest/wire.h"

#define PAGE 4096u
#define STATE_MAX (16u << 20)
#define RUN_MAX (4u << 20)
#define CHUNK (256u << 10)
#define QMP_MS 20000

char *snapshot_path (const char *state, const char *image, const struct vm_plan *p, int64_t output)
{
    char *key CLEANUP (free_ptr) = xasprintf ("%u %s %s %s %s %lld %lld %lld", GUEST_VERSION, image, vm_version (), vm_accel_name (p->accel), p->cpu, (long long) p->memory,
                                              (long long) p->box->cpus, (long long) output);
    struct digest d = digest_of (key, strlen (key));
    char hex[DIGEST_HEX];
    return xasprintf ("%s/snapshots/%s", state, digest_hex (&d, hex));
}

static int open_in (const char *dir, const char *name)
{
    char *path CLEANUP (free_ptr) = xasprintf ("%s/%s", dir, name);
    return open (path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

bool snapshot_open (struct snapshot *s, const char *path)
{
    s->memory = open_in (path, "memory");
    s->state = open_in (path, "state");
    s->meta = open_in (path, "meta");
    if (s->memory != -1 && s->state != -1 && s->meta != -1) {
        futimens (s->meta, NULL); /* when it was last used */
        return true;
    }
    snapshot_close (s);
    return false;
}

void snapshot_close (struct snapshot *s)
{
    fd_close (&s->memory);
    fd_close (&s->state);
    fd_close (&s->meta);
}

void snapshot_discard (const char *path)
{
    file_remove_tree (path, NULL);
}

static int damaged (struct err *e)
{
    return err_set (e, ERR_DAMAGED, "a VM's snapshot is damaged");
}

/* Runs of memory: u64 offset, u64 length, bytes; a run of length 0 ends it. Written, not mapped: a fault for each page takes longer than all the rest. */
static int fill_memory (int from, int ram, uint64_t size, struct digest_ctx *c, struct err *e)
{
    CLEANUP (free_ptr) char *chunk = xmalloc (CHUNK);
    for (;;) {
        uint64_t head[2];
        if (!file_read_exact (from, head, sizeof head))
            return damaged (e);
        digest_add (c, head, sizeof head);
        if (!head[1])
            return 0;
        if (head[0] > size || head[1] > size - head[0] || head[1] > RUN_MAX)
            return damaged (e);
        for (uint64_t at = head[0], end = head[0] + head[1]; at < end;) {
            size_t n = end - at < CHUNK ? (size_t) (end - at) : CHUNK;
            if (!file_read_exact (from, chunk, n))
                return damaged (e);
            digest_add (c, chunk, n);
            for (size_t put = 0; put < n;) {
                ssize_t w = pwrite (ram, chunk + put, n - put, (off_t) (at + put));
                if (w <= 0 && errno != EINTR)
                    return err_errno (e, "VM: its memory");
                put += w > 0 ? (size_t) w : 0;
            }
            at += n;
        }
    }
}

int snapshot_fill (const struct snapshot *s, int ram, int64_t size, struct buf *devices, struct err *e)
{
    struct digest_ctx *c CLEANUP (digest_drop) = digest_begin ();
    struct digest memory, state;
    struct stat st;
    char hex[DIGEST_HEX], text[256] = "";
    if (fstat (s->state, &st) == -1 || st.st_size <= 0 || st.st_size > STATE_MAX)
        return damaged (e);
    if (!file_read_exact (s->state, buf_grow (devices, (size_t) st.st_size), (size_t) st.st_size))
        return damaged (e);
    if (fill_memory (s->memory, ram, (uint64_t) size, c, e) == -1)
        return -1;
    digest_end (&c, &memory);
    state = digest_of (devices->p, devices->len);
    BUF (want);
    buf_addf (&want, "memory %s\n", digest_hex (&memory, hex));
    buf_addf (&want, "state %s\n", digest_hex (&state, hex));
    ssize_t n = pread (s->meta, text, sizeof text - 1, 0);
    return n > 0 && bytes_eq (bytes_of (text, (size_t) n), buf_bytes (&want)) ? 0 : damaged (e);
}

/* ---- taking one ---- */

/* One command to qemu's monitor, with a descriptor or without (-1); its answer, in text. Events in between are passed over. */
static int ask (int qmp, const char *command, int fd, struct buf *answer, struct err *e)
{
    int64_t until = time_mono_ms () + QMP_MS;
    answer->len = 0;
    if (*command && fds_send (qmp, command, strlen (command), &fd, fd != -1) == -1)
        return err_errno (e, "VM: its monitor");
    for (;;) {
        const char *text = buf_str (answer);
        if (strstr (text, *command ? "\"return\"" : "\"QMP\"") && strchr (text, '\n'))
            return 0;
        struct pollfd p = { qmp, POLLIN, 0 };
        char b[4096];
        ssize_t n = 0;
        if (strstr (text, "\"error\"") || answer->len > 65536 || time_mono_ms () > until || (poll (&p, 1, 1000) == 1 && (n = recv (qmp, b, sizeof b, MSG_DONTWAIT)) == 0))
            return err_set (e, ERR_FAILED, "VM: its monitor does not do as asked");
        if (n > 0)
            buf_add (answer, b, (size_t) n);
    }
}

/* Memory that is a file stays where it is. */
static int begin (int qmp, struct buf *answer, struct err *e)
{
    static const char shared[] = "{\"execute\":\"migrate-set-capabilities\",\"arguments\":{\"capabilities\":[{\"capability\":\"x-ignore-shared\",\"state\":true}]}}\n";
    return ask (qmp, "", -1, answer, e) == -1 || ask (qmp, "{\"execute\":\"qmp_capabilities\"}\n", -1, answer, e) == -1 || ask (qmp, shared, -1, answer, e) == -1 ? -1 : 0;
}

int snapshot_begin (struct vm *vm, struct err *e)
{
    char command[128];
    BUF (answer);
    (void) snprintf (command, sizeof command, "{\"execute\":\"migrate-incoming\",\"arguments\":{\"uri\":\"fd:%d\"}}\n", VM_FD_INCOMING);
    return begin (vm->qmp, &answer, e) == -1 ? -1 : ask (vm->qmp, command, -1, &answer, e);
}

static int migrate (int qmp, int to, struct err *e)
{
    int64_t until = time_mono_ms () + QMP_MS;
    BUF (answer);
    if (begin (qmp, &answer, e) == -1 || ask (qmp, "{\"execute\":\"getfd\",\"arguments\":{\"fdname\":\"out\"}}\n", to, &answer, e) == -1
        || ask (qmp, "{\"execute\":\"migrate\",\"arguments\":{\"uri\":\"fd:out\"}}\n", -1, &answer, e) == -1)
        return -1;
    while (time_mono_ms () < until) {
        if (ask (qmp, "{\"execute\":\"query-migrate\"}\n", -1, &answer, e) == -1)
            return -1;
        if (strstr (buf_str (&answer), "\"completed\""))
            return 0;
        if (strstr (buf_str (&answer), "\"failed\""))
            break;
        poll (NULL, 0, 5);
    }
    return err_set (e, ERR_FAILED, "VM: its state cannot be saved");
}

static int write_run (int to, struct digest_ctx *c, uint64_t at, const uint8_t *p, uint64_t len)
{
    uint64_t head[2] = { at, len };
    digest_add (c, head, sizeof head);
    if (len)
        digest_add (c, p, (size_t) len);
    return file_write_all (to, head, sizeof head) && (!len || file_write_all (to, p, (size_t) len)) ? 0 : -1;
}

static int save_memory (int ram, int to, struct digest *d, struct err *e)
{
    static const uint8_t zero[PAGE];
    struct digest_ctx *c CLEANUP (digest_drop) = digest_begin ();
    struct stat st;
    if (fstat (ram, &st) == -1)
        return err_errno (e, "VM: its memory");
    size_t size = (size_t) st.st_size;
    const uint8_t *map = mmap (NULL, size, PROT_READ, MAP_SHARED, ram, 0);
    if (map == MAP_FAILED)
        return err_errno (e, "VM: its memory");
    int rc = 0;
    for (off_t at = 0; rc == 0 && (at = lseek (ram, at, SEEK_DATA)) != -1;) {
        off_t end = lseek (ram, at, SEEK_HOLE);
        size_t from = (size_t) at & ~(size_t) (PAGE - 1), to_byte = end == -1 ? size : (size_t) end;
        for (size_t p = from; p < to_byte && rc == 0;) {
            size_t len = 0;
            while (p + len < to_byte && len < RUN_MAX && memcmp (map + p + len, zero, PAGE) != 0)
                len += PAGE;
            if (len)
                rc = write_run (to, c, p, map + p, len);
            p += len ? len : PAGE;
        }
        at = (off_t) to_byte;
    }
    if (rc == 0)
        rc = write_run (to, c, 0, NULL, 0);
    munmap ((void *) (uintptr_t) map, size);
    if (rc == -1)
        return err_errno (e, "VM: saving its memory");
    digest_end (&c, d);
    return 0;
}

static int64_t size_of (const char *dir)
{
    static const char *const names[] = { "memory", "state" };
    int64_t n = 0;
    for (size_t i = 0; i < 2; i++) {
        struct stat st;
        char *p CLEANUP (free_ptr) = xasprintf ("%s/%s", dir, names[i]);
        n += stat (p, &st) == 0 ? (int64_t) st.st_size : 0;
    }
    return n;
}

/* Under the lock: what a killed step left half done goes, and the least recently used until the rest fits. keep: the one that is made just now. */
static void make_room (const char *snapshots, const char *keep, int64_t max)
{
    for (;;) {
        int64_t total = 0, oldest = INT64_MAX;
        char victim[DIGEST_HEX] = "";
        DIR *d = opendir (snapshots);
        for (struct dirent *en; d && (en = readdir (d));) {
            struct digest g;
            struct stat st;
            if (en->d_name[0] == '.' || strcmp (en->d_name, "lock") == 0 || strcmp (en->d_name, keep) == 0)
                continue;
            char *dir CLEANUP (free_ptr) = xasprintf ("%s/%s", snapshots, en->d_name), *meta CLEANUP (free_ptr) = xasprintf ("%s/meta", dir);
            if (!digest_parse (en->d_name, &g) || stat (meta, &st) == -1) {
                file_remove_tree (dir, NULL);
                continue;
            }
            total += size_of (dir);
            if (st.st_mtime < oldest) {
                oldest = st.st_mtime;
                memcpy (victim, en->d_name, sizeof victim);
            }
        }
        if (d)
            closedir (d);
        if (total <= max || !*victim)
            return;
        char *dir CLEANUP (free_ptr) = xasprintf ("%s/%s", snapshots, victim);
        if (file_remove_tree (dir, NULL) == -1)
            return;
    }
}

static int create (const char *dir, const char *name)
{
    char *path CLEANUP (free_ptr) = xasprintf ("%s/%s", dir, name);
    return open (path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static int save (const char *dir, struct vm *vm, int ram, struct err *e)
{
    int memory CLEANUP (fd_close) = create (dir, "memory"), state CLEANUP (fd_close) = create (dir, "state"), meta CLEANUP (fd_close) = create (dir, "meta");
    struct digest md, sd;
    struct stat st;
    char hex[DIGEST_HEX];
    BUF (text);
    BUF (devices);
    if (memory == -1 || state == -1 || meta == -1)
        return err_errno (e, "%s", dir);
    if (migrate (vm->qmp, state, e) == -1)
        return -1;
    vm_stop (vm);
    if (fstat (state, &st) == -1 || st.st_size <= 0 || st.st_size > STATE_MAX || pread (state, buf_grow (&devices, (size_t) st.st_size), (size_t) st.st_size, 0) != st.st_size)
        return err_set (e, ERR_FAILED, "VM: its state cannot be saved");
    sd = digest_of (devices.p, devices.len);
    if (save_memory (ram, memory, &md, e) == -1)
        return -1;
    buf_addf (&text, "memory %s\n", digest_hex (&md, hex));
    buf_addf (&text, "state %s\n", digest_hex (&sd, hex));
    return file_write_all (meta, text.p, text.len) ? 0 : err_errno (e, "%s", dir);
}

bool snapshot_large (const char *path, int64_t max)
{
    char text[64] = "";
    long long size = 0;
    int meta CLEANUP (fd_close) = open_in (path, "meta");
    ssize_t n = meta == -1 ? -1 : read (meta, text, sizeof text - 1);
    return n > 0 && sscanf (text, "large %lld", &size) == 1 && size > max;
}

/* So that the next step knows ahead, and boots. */
static int too_large (const char *part, int64_t size, int64_t max, struct err *e)
{
    BUF (text);
    char *meta CLEANUP (free_ptr) = xasprintf ("%s/meta", part);
    buf_addf (&text, "large %lld\n", (long long) size);
    if (file_remove_tree (part, e) == -1 || file_mkdirs (part, 0700, e) == -1 || file_write (meta, buf_bytes (&text), 0600, e) == -1)
        return -1;
    return err_set (e, ERR_FAILED, "it takes %lld MiB, and its owner allows %lld MiB (raise snapshots in worker.ini)", (long long) ((size + (1 << 20) - 1) >> 20), (long long) (max >> 20));
}

int snapshot_take (const char *path, struct vm *vm, int ram, int64_t max, struct err *e)
{
    char *snapshots CLEANUP (free_ptr) = bytes_dup (bytes_of (path, (size_t) (strrchr (path, '/') - path))), *lockfile CLEANUP (free_ptr) = xasprintf ("%s/lock", snapshots),
         *part CLEANUP (free_ptr) = xasprintf ("%s/part-XXXXXX", snapshots);
    if (file_mkdirs (snapshots, 0700, e) == -1)
        return -1;
    int lock CLEANUP (fd_close) = open (lockfile, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock == -1 || flock (lock, LOCK_EX | LOCK_NB) == -1)
        return err_code (e, EC_BUSY, "another step takes a snapshot");
    make_room (snapshots, "", max);
    if (!mkdtemp (part))
        return err_errno (e, "%s", part);
    int rc = save (part, vm, ram, e);
    if (rc == 0) {
        int64_t size = size_of (part);
        if (size > max)
            rc = too_large (part, size, max, e);
        else
            make_room (snapshots, strrchr (part, '/') + 1, max - size);
        if (snapshot_large (path, 0)) /* noted under another limit: it is no snapshot of another step */
            file_remove_tree (path, NULL);
        if (rename (part, path) == -1 && errno != EEXIST && errno != ENOTEMPTY && rc == 0)
            rc = err_errno (e, "%s", path);
    }
    file_remove_tree (part, NULL);
    return rc;
}
