#include "worker/guest/inside.h"

#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "worker/guest/text.h"

#define QUEUE 32
#define BUFFER (256 << 10) /* of a connection's kernel buffers: what is under way in a VM is its kernel's memory, not the step's */

static int set_flags (int fd, struct ifreq *r)
{
    if (ioctl (fd, SIOCGIFFLAGS, r) == -1)
        return -1;
    r->ifr_flags = (short) (r->ifr_flags | IFF_UP);
    return ioctl (fd, SIOCSIFFLAGS, r);
}

int inside_up (void)
{
    struct ifreq r = { .ifr_name = "lo" };
    int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = fd == -1 ? -1 : set_flags (fd, &r);
    if (fd != -1)
        close (fd);
    return rc;
}

/* Where it is off, an attempt fails for want of an address of one's own, and the kernel counts nothing. */
void inside_ipv6 (void)
{
    int fd = open ("/proc/sys/net/ipv6/conf/all/disable_ipv6", O_WRONLY | O_CLOEXEC);
    ssize_t n = fd == -1 ? 0 : write (fd, "0", 1);
    (void) n; /* it is on unless the machine's owner says otherwise for all new namespaces */
    if (fd != -1)
        close (fd);
}

int inside_address (unsigned i, struct in_addr a)
{
    struct ifreq r;
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = a };
    if (ntohl (a.s_addr) >> 24 == 127)
        return 0;
    int fd = socket (AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), rc = -1;
    memset (&r, 0, sizeof r);
    (void) snprintf (r.ifr_name, sizeof r.ifr_name, "lo:%u", i & 0xff);
    memcpy (&r.ifr_addr, &in, sizeof in);
    if (fd != -1 && ioctl (fd, SIOCSIFADDR, &r) == 0) {
        in.sin_addr.s_addr = 0xffffffff;
        memcpy (&r.ifr_netmask, &in, sizeof in);
        rc = ioctl (fd, SIOCSIFNETMASK, &r) == -1 ? -1 : set_flags (fd, &r);
    }
    if (fd != -1)
        close (fd);
    return rc;
}

int inside_listen (struct in_addr a, uint16_t port)
{
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr = a, .sin_port = htons (port) };
    int fd = socket (AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, size = BUFFER;
    if (fd == -1 || (setsockopt (fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size) == 0 && setsockopt (fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size) == 0
                     && setsockopt (fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 && bind (fd, (struct sockaddr *) &in, sizeof in) == 0 && listen (fd, QUEUE) == 0))
        return fd;
    close (fd);
    return -1;
}

/* The value under a name, of the two lines that begin with `of`. */
static uint64_t field (const char *text, const char *of, const char *name)
{
    const char *names = NULL, *values = NULL;
    size_t n = strlen (of);
    for (const char *at = text; at && *at; at = strchr (at, '\n') ? strchr (at, '\n') + 1 : NULL)
        if (strncmp (at, of, n) == 0 && at[n] == ':') {
            if (!names)
                names = at + n + 1;
            else if (!values)
                values = at + n + 1;
        }
    while (names && values) {
        names += strspn (names, " ");
        values += strspn (values, " ");
        size_t a = strcspn (names, " \n"), b = strcspn (values, " \n");
        if (!a || !b)
            return 0;
        if (a == strlen (name) && strncmp (names, name, a) == 0)
            return strtoull (values, NULL, 10);
        names += a;
        values += b;
    }
    return 0;
}

uint64_t inside_refused (const char *snmp, const char *snmp6)
{
    return field (snmp, "Ip", "OutNoRoutes") + field (snmp, "Tcp", "AttemptFails") + field (snmp, "Udp", "NoPorts") + text_value (snmp6, "Ip6OutNoRoutes") + text_value (snmp6, "Udp6NoPorts");
}

uint64_t inside_count (void)
{
    char snmp[8192], snmp6[16384];
    (void) text_read ("/proc/thread-self/net/snmp", snmp, sizeof snmp);
    (void) text_read ("/proc/thread-self/net/snmp6", snmp6, sizeof snmp6);
    return inside_refused (snmp, snmp6);
}
