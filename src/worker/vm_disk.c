#include "config.h"

#include "worker/vm_disk.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "worker/guest/pack.h"
#include "worker/guest/wire.h"
#include "worker/seccomp.h"

uint64_t vm_entries_max (const struct conf *c)
{
    uint64_t files = (uint64_t) c->files + 2; /* and the two roots */
    return files < VM_ENTRIES_MAX ? files : VM_ENTRIES_MAX;
}

int64_t vm_output_size (const struct conf *c)
{
    int64_t disk = c->disk > INT64_MAX / 4 ? INT64_MAX / 4 : c->disk;
    return ((disk + VM_OUTPUT_SLACK) >> 20) << 20;
}

/* A file without a name where the step's files are; what it holds goes with its last descriptor. */
static int nameless (const char *dir, int64_t size, struct err *e)
{
    int fd = open (dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd == -1 && (errno == EOPNOTSUPP || errno == EISDIR || errno == ENOENT)) {
        char *path CLEANUP (free_ptr) = xasprintf ("%s/disk-XXXXXX", dir);
        fd = mkostemp (path, O_CLOEXEC);
        if (fd != -1)
            unlink (path);
    }
    if (fd == -1 || ftruncate (fd, (off_t) size) == -1) {
        err_errno (e, "isolation qemu: a disk in %s", dir);
        fd_close (&fd);
    }
    return fd;
}

static void le_add (struct buf *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++, v >>= 8)
        buf_add (b, &(uint8_t){ (uint8_t) v }, 1);
}

static void field (struct buf *b, enum job_tag tag, struct bytes value)
{
    buf_add (b, &(uint8_t){ (uint8_t) tag }, 1);
    le_add (b, value.len, 4);
    if (value.len)
        buf_add (b, value.p, value.len);
}

static void network (const struct relay_plan *p, struct buf *fields)
{
    BUF (hosts);
    relay_hosts (p, &hosts);
    field (fields, JOB_HOSTS, buf_bytes (&hosts));
    for (size_t i = 0; i < p->n; i++)
        if (p->t[i].at_len) {
            BUF (b);
            buf_add (&b, &p->t[i].inside, 4);
            le_add (&b, p->t[i].port, 2);
            field (fields, JOB_RELAY, buf_bytes (&b));
        }
}

static int job (const struct sandbox *box, struct buf *out, struct err *e)
{
    const struct msg_step *s = box->o.step;
    const struct conf *c = box->o.conf;
    const uint64_t numbers[JOB_NUMBER_COUNT] = {
        [JOB_MEMORY] = (uint64_t) box->memory, [JOB_DISK] = (uint64_t) box->disk, [JOB_FILES] = (uint64_t) c->files, [JOB_PROCESSES] = (uint64_t) c->processes,
        [JOB_NICE] = (uint64_t) c->nice, [JOB_MAX_BYTES] = box->o.max_bytes, [JOB_MAX_FILES] = vm_entries_max (c), [JOB_OUTPUT] = (uint64_t) (box->disk + VM_OUTPUT_SLACK / 2),
        [JOB_INPUTS] = box->o.inputs != NULL };
    struct bytes filter;
    BUF (fields);
    BUF (packed);
    if (seccomp_program (&filter, e) == -1)
        return -1;
    char **env = sandbox_env (box);
    for (size_t i = 0; i < JOB_NUMBER_COUNT; i++)
        le_add (&packed, numbers[i], 8);
    field (&fields, JOB_NUMBERS, buf_bytes (&packed));
    field (&fields, JOB_RUN, s->run);
    for (char **v = env; *v; v++)
        field (&fields, JOB_ENV, bytes_str (*v));
    for (size_t i = 0; i < s->artifacts.n; i++)
        field (&fields, JOB_ARTIFACT, s->artifacts.v[i]);
    sandbox_env_free (env);
    field (&fields, JOB_FILTER, filter);
    if (box->o.relay)
        network (box->o.relay, &fields);
    if (fields.len > JOB_MAX)
        return err_set (e, ERR_FAILED, "isolation qemu: a step of %zu bytes", fields.len);
    buf_add (out, JOB_MAGIC, 8);
    le_add (out, fields.len, 4);
    le_add (out, 0, 4);
    buf_add (out, fields.p, fields.len);
    while (out->len % 4096)
        buf_add (out, "", 1);
    return 0;
}

static int pack_folder (struct pack_out *p, const char *path, const char *root, struct err *e)
{
    int dir CLEANUP (fd_close) = open (path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir == -1)
        return err_errno (e, "%s", path);
    return pack_tree (p, dir, root) == -1 ? err_set (e, ERR_FAILED, "isolation qemu: sources for the VM: %s", p->why) : 0;
}

/* The same file once more, so that it cannot be written through. */
static int reader (int fd, struct err *e)
{
    char self[64];
    (void) snprintf (self, sizeof self, "/proc/self/fd/%d", fd);
    int again = open (self, O_RDONLY | O_CLOEXEC);
    return again == -1 ? err_errno (e, "isolation qemu: a disk") : again;
}

int vm_disk_input (const struct sandbox *box, int *fd, struct err *e)
{
    BUF (head);
    if (job (box, &head, e) == -1)
        return -1;
    int disk CLEANUP (fd_close) = nameless (box->o.dir, 0, e);
    if (disk == -1)
        return -1;
    if (!file_write_all (disk, head.p, head.len))
        return err_errno (e, "isolation qemu: input disk");
    struct pack_out p = { .fd = disk, .limit = (uint64_t) VM_INPUT_SIZE / 2 };
    int rc = pack_folder (&p, box->src, "src", e);
    if (rc == 0 && box->o.inputs)
        rc = sandbox_own (box->o.inputs, -1, (int64_t) box->o.source_date, e) == -1 ? -1 : pack_folder (&p, box->o.inputs, "in", e);
    if (rc == 0 && pack_end (&p) == -1)
        rc = err_set (e, ERR_FAILED, "isolation qemu: input disk: %s", p.why);
    pack_release (&p);
    if (rc == 0 && ftruncate (disk, (off_t) VM_INPUT_SIZE) == -1)
        rc = err_errno (e, "isolation qemu: input disk");
    return rc == -1 || (*fd = reader (disk, e)) == -1 ? -1 : 0;
}

int vm_disk_empty (const struct sandbox *box, int *fd, struct err *e)
{
    int disk CLEANUP (fd_close) = nameless (box->o.dir, VM_INPUT_SIZE, e);
    return disk == -1 || (*fd = reader (disk, e)) == -1 ? -1 : 0;
}

int vm_disk_output (const struct sandbox *box, int64_t size, int *fd, int *read_fd, struct err *e)
{
    return (*fd = nameless (box->o.dir, size, e)) == -1 || (*read_fd = reader (*fd, e)) == -1 ? -1 : 0;
}

int vm_disk_ram (int64_t size, int *fd, struct err *e)
{
    fd_close (fd);
    *fd = memfd_create ("vm", MFD_CLOEXEC);
    if (*fd == -1 || fchmod (*fd, 0666) == -1 || ftruncate (*fd, (off_t) size) == -1)
        return err_errno (e, "isolation qemu: %lld MiB of memory", (long long) (size >> 20));
    return 0;
}
