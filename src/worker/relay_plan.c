#include "config.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker/relay.h"

static bool host_copy (struct bytes in, char host[RELAY_HOST_MAX + 1])
{
    if (in.len == 0 || in.len > RELAY_HOST_MAX || in.p[0] == '-' || in.p[0] == '.')
        return false;
    for (size_t i = 0; i < in.len; i++) {
        uint8_t c = in.p[i];
        if (c >= 'A' && c <= 'Z')
            c = (uint8_t) (c + 32);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
        host[i] = (char) c;
    }
    host[in.len] = '\0';
    return true;
}

static bool port_parse (struct bytes in, uint16_t *port)
{
    unsigned v = 0;
    if (in.len == 0 || in.len > 5)
        return false;
    for (size_t i = 0; i < in.len; i++) {
        if (in.p[i] < '0' || in.p[i] > '9')
            return false;
        v = v * 10 + (unsigned) (in.p[i] - '0');
    }
    *port = (uint16_t) v;
    return v >= 1 && v <= 65535;
}

static size_t until (struct bytes b, const char *set)
{
    size_t n = 0;
    while (n < b.len && !strchr (set, b.p[n]))
        n++;
    return n;
}

/* An address of IPv6 in brackets, without an interface, which is no one's business but its own machine's. */
static bool six_copy (struct bytes in, char host[RELAY_HOST_MAX + 1])
{
    struct in6_addr a;
    if (in.len < 3 || in.len - 2 >= INET6_ADDRSTRLEN || in.p[0] != '[' || in.p[in.len - 1] != ']')
        return false;
    memcpy (host, in.p + 1, in.len - 2);
    host[in.len - 2] = '\0';
    return inet_pton (AF_INET6, host, &a) == 1 && inet_ntop (AF_INET6, &a, host, RELAY_HOST_MAX + 1);
}

/* USER or USER:PASSWORD as RFC 3986 has it: whatever else stood there, git and we might not see the host in the same place. */
static bool user_ok (struct bytes in)
{
    for (size_t i = 0; i < in.len; i++)
        if (!in.p[i] || !strchr ("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~%!$&'()*+,;=:", in.p[i]))
            return false;
    return true;
}

bool relay_server (struct bytes url, char host[RELAY_HOST_MAX + 1], uint16_t *port)
{
    static const struct { const char *scheme; uint16_t port; } schemes[] = { { "https://", 443 }, { "ssh://", 22 }, { "git://", 9418 }, { "tcp://", 0 } };
    for (size_t i = 0; i < url.len; i++)
        if (!url.p[i])
            return false;
    for (size_t i = 0; i < sizeof schemes / sizeof *schemes; i++) {
        size_t n = strlen (schemes[i].scheme);
        if (url.len < n || memcmp (url.p, schemes[i].scheme, n))
            continue;
        struct bytes rest = bytes_of (url.p + n, url.len - n), name = bytes_of (rest.p, until (rest, "/?#"));
        for (size_t k = name.len; k-- > 0;) /* USER:PASSWORD@ */
            if (name.p[k] == '@') {
                if (!user_ok (bytes_of (name.p, k)))
                    return false;
                name = bytes_of (name.p + k + 1, name.len - k - 1);
                break;
            }
        size_t six = name.len && name.p[0] == '[' ? until (name, "]") : 0, colon = six + until (bytes_of (name.p + six, name.len - six), ":");
        *port = schemes[i].port;
        if (colon < name.len && !port_parse (bytes_of (name.p + colon + 1, name.len - colon - 1), port))
            return false;
        return *port && (six ? six_copy (bytes_of (name.p, colon), host) : host_copy (bytes_of (name.p, colon), host));
    }
    size_t at = until (url, "@:/"), rest = at + 1;
    if (at == 0 || at >= url.len || url.p[at] != '@')
        return false;
    struct bytes name = bytes_of (url.p + rest, url.len - rest);
    size_t six = name.len && name.p[0] == '[' ? until (name, "]") : 0, colon = six + until (bytes_of (name.p + six, name.len - six), ":/");
    struct bytes first = bytes_of (name.p, colon);
    *port = 22;
    return colon < name.len && name.p[colon] == ':' && user_ok (bytes_of (url.p, at)) && (six ? six_copy (first, host) : host_copy (first, host));
}

bool relay_endpoint (struct bytes url, char host[RELAY_HOST_MAX + 1], uint16_t *port)
{
    return relay_server (url, host, port) && !strchr (host, ':');
}

void relay_plan_add (struct relay_plan *p, const char *host, uint16_t port, bool realm)
{
    struct relay_target *t = &p->t[p->n];
    size_t same = 0;
    if (p->n == RELAY_TARGETS)
        return;
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp (p->t[i].host, host) && p->t[i].port == port) {
            p->t[i].realm = p->t[i].realm || realm;
            return;
        }
    memset (t, 0, sizeof *t);
    snprintf (t->host, sizeof t->host, "%s", host);
    t->port = port;
    t->realm = realm;
    t->named = inet_pton (AF_INET, strcmp (host, "localhost") ? host : "127.0.0.1", &t->inside) != 1;
    if (t->named) { /* one address a name, whatever the ports */
        for (same = 0; same < p->n && strcmp (p->t[same].host, host); same++) {
        }
        t->inside.s_addr = same < p->n ? p->t[same].inside.s_addr : htonl (0x7f4d0001u + (uint32_t) p->n);
    }
    p->n++;
}

bool relay_address_ok (const struct sockaddr *sa, bool loopback)
{
    uint32_t v4;
    if (sa->sa_family == AF_INET)
        v4 = ntohl (((const struct sockaddr_in *) (const void *) sa)->sin_addr.s_addr);
    else if (sa->sa_family == AF_INET6) {
        const struct in6_addr *a = &((const struct sockaddr_in6 *) (const void *) sa)->sin6_addr;
        static const uint8_t nat64[12] = { 0, 0x64, 0xff, 0x9b };
        if (IN6_IS_ADDR_LOOPBACK (a))
            return loopback;
        if (IN6_IS_ADDR_UNSPECIFIED (a) || IN6_IS_ADDR_LINKLOCAL (a) || IN6_IS_ADDR_MULTICAST (a) || IN6_IS_ADDR_SITELOCAL (a))
            return false;
        bool six_to_four = a->s6_addr[0] == 0x20 && a->s6_addr[1] == 0x02;
        if (!IN6_IS_ADDR_V4MAPPED (a) && !IN6_IS_ADDR_V4COMPAT (a) && memcmp (a, nat64, sizeof nat64) && !six_to_four)
            return true;
        memcpy (&v4, a->s6_addr + (six_to_four ? 2 : 12), 4); /* an IPv4 address in disguise */
        v4 = ntohl (v4);
    } else
        return false;
    if (v4 >> 24 == 127)
        return loopback;
    return v4 >> 24 != 0 && v4 >> 16 != 0xa9fe && v4 >> 28 < 0xe; /* this network, 169.254/16, multicast and beyond */
}

bool relay_find (struct relay_target *t, bool loopback, relay_ask *ask)
{
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV }, *list = NULL;
    char port[8];
    if (t->at_len || t->sought)
        return t->at_len != 0;
    t->sought = true;
    snprintf (port, sizeof port, "%u", t->port);
    if ((ask ? ask : getaddrinfo) (t->host, port, &hints, &list) != 0)
        return false;
    for (struct addrinfo *a = list; a && !t->at_len; a = a->ai_next)
        if (a->ai_addrlen <= sizeof t->at && (t->realm || relay_address_ok (a->ai_addr, loopback))) {
            memcpy (&t->at, a->ai_addr, a->ai_addrlen);
            t->at_len = a->ai_addrlen;
        }
    freeaddrinfo (list);
    return t->at_len != 0;
}

int relay_resolve (struct relay_plan *p, bool loopback, struct err *e)
{
    size_t reached = 0;
    for (size_t i = 0; i < p->n; i++)
        reached += relay_find (&p->t[i], loopback, NULL);
    return reached ? 0 : err_set (e, ERR_FAILED, "network: none of the realm's services has an address that a build may reach");
}

void relay_hosts (const struct relay_plan *p, struct buf *text)
{
    buf_adds (text, "127.0.0.1 localhost\n");
    for (size_t i = 0; i < p->n; i++) {
        char address[INET_ADDRSTRLEN];
        bool again = false;
        for (size_t k = 0; k < i; k++)
            again = again || !strcmp (p->t[k].host, p->t[i].host);
        if (p->t[i].named && p->t[i].at_len && !again)
            buf_addf (text, "%s %s\n", inet_ntop (AF_INET, &p->t[i].inside, address, sizeof address), p->t[i].host);
    }
}

void relay_text (const struct relay_plan *p, const struct relay_counts *c, struct buf *text)
{
    buf_addf (text, "network: %llu connections let through (%llu bytes), %llu to services that did not answer, %llu attempts elsewhere failed%s;%s reachable were",
              (unsigned long long) c->passed, (unsigned long long) c->bytes, (unsigned long long) c->failed, (unsigned long long) c->refused, c->claimed ? " (as the VM counted)" : "",
              c->cut ? " the VM broke the relay's rules, and was cut off;" : "");
    for (size_t i = 0; i < p->n; i++)
        if (p->t[i].at_len)
            buf_addf (text, " %s:%u", p->t[i].host, p->t[i].port);
    buf_adds (text, "\n");
}
