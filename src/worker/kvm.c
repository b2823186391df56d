#include "config.h"

#include "worker/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"

#define GUEST_BYTES 0x200000u /* one large page, mapped at 0 */
#define CODE 0x8000u
#define DATA 0x9000u
#define PORT 0x42u
#define ANSWER 0x5au
#define CPUID_MAX 256

static const uint8_t code[] = {
    0xb9, 0x00, 0x09, 0x3d, 0x00,       /* mov ecx, 4000000 */
    0xff, 0xc9,                         /* dec ecx */
    0x75, 0xfc,                         /* jnz back */
    0x31, 0xc0,                         /* xor eax, eax: compare with zero, which is there */
    0x31, 0xd2,                         /* xor edx, edx */
    0xbb, ANSWER, 0x00, 0x00, 0x00,     /* mov ebx, ANSWER: store this */
    0xb9, 0x01, 0x00, 0x00, 0x00,       /* mov ecx, 1 */
    0xbf, 0x00, 0x90, 0x00, 0x00,       /* mov edi, DATA */
    0xf0, 0x48, 0x0f, 0xc7, 0x0f,       /* lock cmpxchg16b [rdi] */
    0x8a, 0x07,                         /* mov al, [rdi] */
    0xe6, PORT,                         /* out PORT, al */
    0xf4,                               /* hlt */
};

static void place (uint8_t *mem, size_t at, uint64_t v)
{
    memcpy (mem + at, &v, sizeof v);
}

/* What did not work; NULL: all did. */
static const char *run_guest (int kvm)
{
    if (ioctl (kvm, KVM_GET_API_VERSION, 0) != 12)
        return "its version is not 12";
    int vm = ioctl (kvm, KVM_CREATE_VM, 0), size = ioctl (kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
    uint8_t *mem = mmap (NULL, GUEST_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (vm == -1 || size < (int) sizeof (struct kvm_run) || mem == MAP_FAILED)
        return "no virtual machine can be made";
    place (mem, 0x1000, 0x2003); /* page tables: one 2 MiB page at address 0 */
    place (mem, 0x2000, 0x3003);
    place (mem, 0x3000, 0x83);
    memcpy (mem + CODE, code, sizeof code);
    struct kvm_userspace_memory_region region = { .memory_size = GUEST_BYTES, .userspace_addr = (uint64_t) (uintptr_t) mem };
    ioctl (vm, KVM_SET_TSS_ADDR, 0xfffbd000ul); /* older Intel processors need one */
    int cpu = ioctl (vm, KVM_SET_USER_MEMORY_REGION, &region) == -1 ? -1 : ioctl (vm, KVM_CREATE_VCPU, 0);
    struct kvm_run *run = cpu == -1 ? MAP_FAILED : mmap (NULL, (size_t) size, PROT_READ | PROT_WRITE, MAP_SHARED, cpu, 0);
    struct kvm_cpuid2 *id = calloc (1, sizeof *id + CPUID_MAX * sizeof *id->entries);
    struct kvm_sregs s;
    struct kvm_regs r = { .rip = CODE, .rflags = 2 };
    if (run == MAP_FAILED || !id)
        return "no virtual CPU can be made";
    id->nent = CPUID_MAX;
    if (ioctl (kvm, KVM_GET_SUPPORTED_CPUID, id) == -1 || ioctl (cpu, KVM_SET_CPUID2, id) == -1 || ioctl (cpu, KVM_GET_SREGS, &s) == -1)
        return "the virtual CPU cannot be set up";
    s.cr3 = 0x1000;
    s.cr4 |= 0x20;         /* PAE */
    s.cr0 |= 0x80000001;   /* PG, PE */
    s.efer |= 0x500;       /* LME, LMA */
    s.cs = (struct kvm_segment){ .limit = 0xffffffff, .selector = 8, .type = 11, .present = 1, .s = 1, .l = 1, .g = 1 };
    s.ss = s.ds = s.es = (struct kvm_segment){ .limit = 0xffffffff, .selector = 16, .type = 3, .present = 1, .db = 1, .s = 1, .g = 1 };
    if (ioctl (cpu, KVM_SET_SREGS, &s) == -1 || ioctl (cpu, KVM_SET_REGS, &r) == -1)
        return "the virtual CPU does not take 64-bit mode";
    for (int tries = 0; ioctl (cpu, KVM_RUN, 0) == -1; tries++)
        if ((errno != EINTR && errno != EAGAIN) || tries == 100)
            return "the virtual CPU does not run";
    if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
        return "the virtual CPU ended with an internal error";
    if (run->exit_reason != KVM_EXIT_IO || run->io.port != PORT || run->io.size != 1 || ((uint8_t *) run)[run->io.data_offset] != ANSWER || mem[DATA] != ANSWER || mem[DATA + 8] != 1)
        return "the virtual CPU computes wrongly";
    return NULL;
}

int kvm_probe (int deadline_ms, struct err *e)
{
    int pipe_fd[2], kvm = open ("/dev/kvm", O_RDWR | O_CLOEXEC), status = 0;
    if (kvm == -1 && (errno == ENOENT || errno == ENXIO || errno == ENODEV))
        return err_set (e, ERR_FAILED, "KVM: there is no /dev/kvm (load kvm_intel or kvm_amd, switch virtualisation on in the firmware)");
    if (kvm == -1)
        return err_set (e, ERR_FAILED, "KVM: /dev/kvm: %s (add the worker's user to the group kvm)", strerror (errno));
    if (pipe2 (pipe_fd, O_CLOEXEC) == -1) {
        close (kvm);
        return err_errno (e, "pipe");
    }
    pid_t parent = getpid (), pid = fork ();
    if (pid == 0) {
        prctl (PR_SET_PDEATHSIG, SIGKILL);
        if (getppid () != parent)
            _exit (1);
        const char *wrong = run_guest (kvm);
        if (wrong && !file_write_all (pipe_fd[1], wrong, strlen (wrong)))
            _exit (1);
        _exit (wrong ? 1 : 0);
    }
    close (kvm);
    close (pipe_fd[1]);
    CLEANUP (fd_close) int said = pipe_fd[0];
    if (pid == -1)
        return err_errno (e, "fork");
    CLEANUP (fd_close) int pidfd = (int) syscall (SYS_pidfd_open, pid, 0);
    int64_t until = time_mono_ms () + deadline_ms;
    bool over = false;
    for (int64_t left; pidfd != -1 && !over && (left = until - time_mono_ms ()) > 0;)
        over = poll (&(struct pollfd){ pidfd, POLLIN, 0 }, 1, (int) left) == 1;
    kill (pid, SIGKILL);
    while (waitpid (pid, &status, 0) == -1 && errno == EINTR) {
    }
    char text[128] = "";
    ssize_t n = over ? read (said, text, sizeof text - 1) : 0;
    text[n > 0 ? n : 0] = '\0';
    if (over && WIFEXITED (status) && WEXITSTATUS (status) == 0)
        return 0;
    if (!over)
        return err_set (e, ERR_FAILED, "KVM: a virtual CPU did not finish 3 ms of work in %d ms", deadline_ms);
    return err_set (e, ERR_FAILED, "KVM: %s", *text ? text : "the test's process died");
}
