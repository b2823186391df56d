/* inside.h: what the relay (relay.h) needs where the build is: in its network namespace, or in its VM. Needs nothing but libc, as the
 * guest's init is linked with it. */
#ifndef ASSAY_WORKER_GUEST_INSIDE_H
#define ASSAY_WORKER_GUEST_INSIDE_H

#include <netinet/in.h>
#include <stdint.h>

/* -1 with errno */
int inside_up (void);                                      /* the loopback interface */
void inside_no_ipv6 (void);
int inside_address (unsigned i, struct in_addr a);         /* one more address of it, the i-th; those of 127.0.0.0/8 are there anyway */
int inside_listen (struct in_addr a, uint16_t port);       /* a non-blocking listener */
/* Attempts that failed in a network namespace, by its /proc/net/snmp: no route, or nobody there. Pure. */
uint64_t inside_refused (const char *snmp);
uint64_t inside_count (void);                              /* this one's */

#endif
