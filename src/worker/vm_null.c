#include "config.h"

#include "worker/vm_null.h"

#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "worker/cgroup.h"
#include "worker/vm_disk.h"
#include "worker/vm_talk.h"

#define NULL_STATUS 7
#define NO_COMMAND 126 /* and above: the image has no shell to run it with, which is not for us to say */

static int run (struct talk *t, int64_t ms, bool *blame, struct err *e)
{
    struct talk_end end;
    int64_t until = time_mono_ms () + ms;
    if (talk_ready (t, until, e) == -1 || talk_go (t, ms, e) == -1 || talk_started (t, until, e) == -1) {
        *blame = t->fault == TALK_LATE || t->fault == TALK_GONE;
        return -1;
    }
    int got = talk_follow (t, 0, &end, e);
    *blame = got == 1 || t->fault == TALK_GONE;
    if (got == 1)
        return err_set (e, ERR_FAILED, "the VM was up, and did not end a null job in time");
    if (got == 0 && end.exit_status != NULL_STATUS && end.exit_status < NO_COMMAND) {
        *blame = true;
        return err_set (e, ERR_FAILED, "a null job ended with %u, not %d", end.exit_status, NULL_STATUS);
    }
    return got;
}

int vm_null (const struct sandbox *box, const struct vm_plan *plan, bool *blame, struct err *e)
{
    struct sandbox null = *box;
    struct msg_step step = { .run = bytes_str ("exit 7") };
    struct vm_plan p = *plan;
    struct vm vm;
    struct talk t;
    char *empty CLEANUP (free_ptr) = xasprintf ("%s/null", box->o.dir);
    int rc = -1;
    *blame = false;
    null.o.step = &step;
    null.o.relay = NULL;
    null.o.inputs = NULL;
    null.src = empty;
    p.box = &null;
    p.input = p.output = p.output_read = p.ram = p.incoming = -1;
    p.monitor = false;
    if (file_mkdirs (empty, 0755, e) == 0 && vm_disk_input (&null, &p.input, e) == 0 && vm_disk_output (&null, vm_output_size (box->o.conf), &p.output, &p.output_read, e) == 0
        && vm_disk_ram (p.memory, &p.ram, e) == 0 && vm_start (&vm, &p, e) == 0) {
        talk_init (&t, &vm, -1, box->group);
        rc = run (&t, p.accel == VM_KVM ? VM_NULL_MS : VM_NULL_EMULATED_MS, blame, e);
        talk_release (&t);
        vm_stop (&vm);
        if (rc == -1 && (cgroup_oom (box->group) || strstr (e->msg, "annot allocate memory")))
            *blame = false;
    }
    fd_close (&p.input);
    fd_close (&p.output);
    fd_close (&p.output_read);
    fd_close (&p.ram);
    file_remove_tree (empty, NULL);
    return rc;
}
