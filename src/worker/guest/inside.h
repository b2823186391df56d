/* inside.h: what the relay (relay.h) needs where the build is: in its network namespace, or in its VM. Needs nothing but libc, as the
 * guest's init is linked with it. */
#ifndef ASSAY_WORKER_GUEST_INSIDE_H
#define ASSAY_WORKER_GUEST_INSIDE_H

#include <netinet/in.h>
#include <stdint.h>

/* -1 with errno */
int inside_up (void);                                      /* the loopback interface */
void inside_ipv6 (void);                                   /* on, where the kernel has it: ::1, where nobody of ours listens, and no way out */
int inside_address (unsigned i, struct in_addr a);         /* one more address of it, the i-th; those of 127.0.0.0/8 are there anyway */
int inside_listen (struct in_addr a, uint16_t port);       /* a non-blocking listener */
/* Attempts that failed in a network namespace, by its /proc/net/snmp and snmp6 ("" where the kernel has no IPv6, which then gives out no
 * such socket): a connection or datagram each that had no route or met nobody. What is no address to go to (fe80::1 without an
 * interface) fails before the kernel counts it. Pure. */
uint64_t inside_refused (const char *snmp, const char *snmp6);
uint64_t inside_count (void);                              /* this one's */

#endif
