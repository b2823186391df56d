#include "config.h"

#include "worker/seccomp.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <seccomp.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/file.h"

static const char *const denied[] = {
    "acct", "add_key", "bpf", "chroot", "clock_adjtime", "clock_settime", "delete_module", "fanotify_init", "finit_module", "fsconfig", "fsmount",
    "fsopen", "fspick", "init_module", "io_uring_enter", "io_uring_register", "io_uring_setup", "ioperm", "iopl", "kcmp", "kexec_file_load",
    "kexec_load", "keyctl", "lookup_dcookie", "mbind", "migrate_pages", "mount", "mount_setattr", "move_mount", "move_pages", "name_to_handle_at", "nfsservctl",
    "open_by_handle_at", "open_tree", "perf_event_open", "pivot_root", "process_vm_readv", "process_vm_writev", "quotactl", "quotactl_fd", "reboot", "request_key",
    "set_mempolicy", "setdomainname", "sethostname", "setns", "settimeofday", "stime", "swapoff", "swapon", "syslog", "umount", "umount2", "unshare", "uselib",
    "userfaultfd", "ustat", "vhangup", "vm86", "vm86old", "adjtimex",
};

/* Made once a process: the program, as bytes. */
static struct buf program;

static int make (struct err *e)
{
    scmp_filter_ctx c = seccomp_init (SCMP_ACT_ALLOW);
    int fd CLEANUP (fd_close) = memfd_create ("seccomp", MFD_CLOEXEC), bad = 0;
    if (!c)
        return err_set (e, ERR_FAILED, "seccomp: no filter can be made here");
    bad |= seccomp_attr_set (c, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    for (size_t i = 0; i < sizeof denied / sizeof *denied; i++) {
        int nr = seccomp_syscall_resolve_name (denied[i]);
        if (nr != __NR_SCMP_ERROR && nr >= 0)
            bad |= seccomp_rule_add (c, SCMP_ACT_ERRNO (EPERM), nr, 0);
    }
    /* New namespaces: by clone's flags; clone3 hides its flags behind a pointer, libc falls back to clone on ENOSYS. */
    static const unsigned long spaces[] = { CLONE_NEWUSER, CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP };
    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        bad |= seccomp_rule_add (c, SCMP_ACT_ERRNO (EPERM), SCMP_SYS (clone), 1, SCMP_A0 (SCMP_CMP_MASKED_EQ, spaces[i], spaces[i]));
    bad |= seccomp_rule_add (c, SCMP_ACT_ERRNO (ENOSYS), SCMP_SYS (clone3), 0);
    bad |= seccomp_rule_add (c, SCMP_ACT_ERRNO (EPERM), SCMP_SYS (ioctl), 1, SCMP_A1 (SCMP_CMP_MASKED_EQ, 0xffffffffu, TIOCSTI));
    bad |= seccomp_rule_add (c, SCMP_ACT_ERRNO (EPERM), SCMP_SYS (ioctl), 1, SCMP_A1 (SCMP_CMP_MASKED_EQ, 0xffffffffu, TIOCLINUX));
    /* unix, inet, inet6 and netlink are what programs ask for; all end at the empty network namespace. */
    for (unsigned family = 0; family < 64; family++)
        if (family != AF_UNIX && family != AF_INET && family != AF_INET6 && family != AF_NETLINK)
            bad |= seccomp_rule_add (c, SCMP_ACT_ERRNO (EAFNOSUPPORT), SCMP_SYS (socket), 1, SCMP_A0 (SCMP_CMP_EQ, family));
    bad |= seccomp_rule_add (c, SCMP_ACT_ERRNO (EAFNOSUPPORT), SCMP_SYS (socket), 1, SCMP_A0 (SCMP_CMP_GE, 64));
    off_t size = 0;
    if (bad)
        err_set (e, ERR_FAILED, "seccomp: a rule was refused");
    else if (fd == -1)
        err_errno (e, "seccomp: memfd");
    else if (seccomp_export_bpf (c, fd) != 0 || (size = lseek (fd, 0, SEEK_END)) <= 0 || pread (fd, buf_grow (&program, (size_t) size), (size_t) size, 0) != (ssize_t) size) {
        program.len = size = 0;
        err_set (e, ERR_FAILED, "seccomp: the filter cannot be written");
    }
    seccomp_release (c);
    return size > 0 ? 0 : -1;
}

int seccomp_program (struct bytes *out, struct err *e)
{
    if (!program.len && make (e) == -1)
        return -1;
    *out = buf_bytes (&program);
    return 0;
}

int seccomp_filter_fd (struct err *e)
{
    struct bytes p;
    if (seccomp_program (&p, e) == -1)
        return -1;
    int fd = memfd_create ("seccomp", MFD_CLOEXEC);
    if (fd == -1 || !file_write_all (fd, p.p, p.len) || lseek (fd, 0, SEEK_SET) != 0) {
        err_errno (e, "seccomp: memfd");
        fd_close (&fd);
    }
    return fd;
}

/* What both need: bytes over what is open, memory that is not to be executed, and an end. What else they ask for fails. */
static const int common_calls[] = { SCMP_SYS (read), SCMP_SYS (write), SCMP_SYS (recvfrom), SCMP_SYS (sendto), SCMP_SYS (recvmsg), SCMP_SYS (poll), SCMP_SYS (ppoll), SCMP_SYS (close),
                                    SCMP_SYS (brk), SCMP_SYS (munmap), SCMP_SYS (mremap), SCMP_SYS (madvise), SCMP_SYS (futex), SCMP_SYS (rt_sigreturn), SCMP_SYS (rt_sigprocmask),
                                    SCMP_SYS (restart_syscall), SCMP_SYS (sigaltstack), SCMP_SYS (clock_gettime), SCMP_SYS (exit), SCMP_SYS (exit_group) };
static const int relay_calls[] = { SCMP_SYS (connect), SCMP_SYS (getsockopt), SCMP_SYS (shutdown) };
static const int keeper_calls[] = { SCMP_SYS (kill), SCMP_SYS (wait4), SCMP_SYS (lseek), SCMP_SYS (fstat), SCMP_SYS (newfstatat) }; /* dprintf seeks */

static int allow (scmp_filter_ctx c, const int *calls, size_t n)
{
    int bad = 0;
    for (size_t i = 0; i < n; i++)
        bad |= seccomp_rule_add (c, SCMP_ACT_ALLOW, calls[i], 0);
    return bad;
}

int seccomp_only (enum seccomp_role role)
{
    static const int families[] = { AF_INET, AF_INET6 };
    scmp_filter_ctx c = seccomp_init (SCMP_ACT_ERRNO (EPERM));
    if (!c)
        return -1;
    int bad = seccomp_attr_set (c, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    bad |= allow (c, common_calls, sizeof common_calls / sizeof *common_calls);
    bad |= seccomp_rule_add (c, SCMP_ACT_ALLOW, SCMP_SYS (mmap), 1, SCMP_A2 (SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    bad |= seccomp_rule_add (c, SCMP_ACT_ALLOW, SCMP_SYS (mprotect), 1, SCMP_A2 (SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (role == SECCOMP_RELAY) {
        bad |= allow (c, relay_calls, sizeof relay_calls / sizeof *relay_calls);
        for (size_t i = 0; i < sizeof families / sizeof *families; i++)
            bad |= seccomp_rule_add (c, SCMP_ACT_ALLOW, SCMP_SYS (socket), 2, SCMP_A0 (SCMP_CMP_EQ, (scmp_datum_t) families[i]),
                                     SCMP_A1 (SCMP_CMP_EQ, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK));
    } else {
        bad |= allow (c, keeper_calls, sizeof keeper_calls / sizeof *keeper_calls);
        bad |= seccomp_rule_add (c, SCMP_ACT_ALLOW, SCMP_SYS (openat), 1, SCMP_A2 (SCMP_CMP_MASKED_EQ, O_ACCMODE | O_CREAT | O_TRUNC, O_RDONLY)); /* is its group frozen? */
    }
    bad |= seccomp_load (c);
    seccomp_release (c);
    return bad ? -1 : 0;
}

int seccomp_drop (uid_t uid, pid_t parent)
{
    if (uid) {
        for (unsigned long cap = 0; prctl (PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++) {
        }
        if (setgroups (0, NULL) == -1 || setresgid (uid, uid, uid) == -1 || setresuid (uid, uid, uid) == -1)
            return -1;
    }
    /* another user's process forgets whom it is to die with */
    return prctl (PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 && prctl (PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid () == parent ? 0 : -1;
}
