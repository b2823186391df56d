/* The network of builds: what an endpoint is, where a git server may be, what the kernel counted. */
#include "worker/guest/inside.h"
#include "worker/relay.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>

Test (relay, endpoints)
{
    static const struct {
        const char *url, *host;
        unsigned port;
    } rows[] = {
        { "https://git.example.org/x.git", "git.example.org", 443 },
        { "https://Git.Example.ORG:8443/x", "git.example.org", 8443 },
        { "https://al:secret@git.example.org/x", "git.example.org", 443 },
        { "https://good.example@evil.example/x", "evil.example", 443 }, /* as git reads it */
        { "https://evil.example#@good.example/x", "evil.example", 443 },
        { "https://evil.example?@good.example/x", "evil.example", 443 },
        { "ssh://git@host/x", "host", 22 },
        { "ssh://git@host:2222/x", "host", 2222 },
        { "git://10.0.0.5/x", "10.0.0.5", 9418 },
        { "git@host:x/y.git", "host", 22 },
        { "tcp://127.0.0.1:5555", "127.0.0.1", 5555 },
        { "tcp://broker.example:5555", "broker.example", 5555 },
        { "tcp://broker.example", NULL, 0 },
        { "tcp://[::1]:5555", NULL, 0 },
        { "https://[fe80::1]/x", NULL, 0 }, /* there is no passing that on; fetched from it can be */
        { "file:///x", NULL, 0 },
        { "http://host/x", NULL, 0 },
        { "https://", NULL, 0 },
        { "https:///x", NULL, 0 },
        { "https://host:/x", NULL, 0 },
        { "https://host:0/x", NULL, 0 },
        { "https://host:65536/x", NULL, 0 },
        { "https://host:99999999999/x", NULL, 0 },
        { "https://host:44 3/x", NULL, 0 },
        { "https://ho st/x", NULL, 0 },
        { "https://ho\nst/x", NULL, 0 },
        { "https://-x/y", NULL, 0 },
        { "git@host/x:y", NULL, 0 },
        { "@host:x", NULL, 0 },
        { "https://a\\b@host/x", NULL, 0 }, /* git and we must see the host in the same place */
        { "https://a@b@host/x", NULL, 0 },
        { "https://a[b@host/x", NULL, 0 },
        { "https://a_b.host/x", "a_b.host", 443 },
        { "https://host%2e/x", NULL, 0 },
        { "host:x", NULL, 0 },
        { "", NULL, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char host[RELAY_HOST_MAX + 1] = "";
        uint16_t port = 0;
        cr_assert_eq (relay_endpoint (bytes_str (rows[i].url), host, &port), rows[i].host != NULL, "%s: %s", rows[i].url, host);
        cr_assert (!rows[i].host || (!strcmp (host, rows[i].host) && port == rows[i].port), "%s: %s %u", rows[i].url, host, port);
    }
    char host[RELAY_HOST_MAX + 1], longest[300] = "https://";
    uint16_t port;
    memset (longest + 8, 'a', 254);
    cr_assert_not (relay_endpoint (bytes_str (longest), host, &port));
    longest[8 + 253] = '\0';
    cr_assert (relay_endpoint (bytes_str (longest), host, &port));
    cr_assert_not (relay_endpoint (bytes_of ("https://a\0b/", 12), host, &port));
}

Test (relay, a_server_at_an_address_of_ipv6)
{
    static const struct {
        const char *url, *host;
        unsigned port;
    } rows[] = {
        { "https://[2001:DB8::1]/x", "2001:db8::1", 443 }, { "https://[::1]:8443/x", "::1", 8443 },   { "ssh://git@[::1]:22/x", "::1", 22 },
        { "git://[::ffff:127.0.0.1]/x", "::ffff:127.0.0.1", 9418 }, { "git@[fd00::1]:x", "fd00::1", 22 },
        { "https://[fe80::1%25eth0]/x", NULL, 0 },        { "https://[::1/x", NULL, 0 },             { "https://[::1]x/x", NULL, 0 },
        { "https://[]/x", NULL, 0 },                      { "https://[host]/x", NULL, 0 },           { "https://[::1]:/x", NULL, 0 },
        { "https://[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]/x", NULL, 0 },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char host[RELAY_HOST_MAX + 1] = "";
        uint16_t port = 0;
        cr_assert_eq (relay_server (bytes_str (rows[i].url), host, &port), rows[i].host != NULL, "%s: %s", rows[i].url, host);
        cr_assert (!rows[i].host || (!strcmp (host, rows[i].host) && port == rows[i].port), "%s: %s %u", rows[i].url, host, port);
        cr_assert_not (relay_endpoint (bytes_str (rows[i].url), host, &port), "%s", rows[i].url);
    }
}

/* A name server that says another address each time it is asked. */
static const char *const *answers;
static unsigned asked;

static int ask (const char *host, const char *port, const struct addrinfo *hints, struct addrinfo **out)
{
    (void) host;
    return answers[asked] ? getaddrinfo (answers[asked++], port, hints, out) : EAI_NONAME;
}

Test (relay, a_name_that_moves_gains_nothing)
{
    static const char *const moves[] = { "93.184.216.34", "127.0.0.1", "169.254.169.254", NULL }, *const bad[] = { "169.254.169.254", "93.184.216.34", NULL };
    struct relay_plan p = { .n = 0 };
    struct err e = ERR_INIT;
    char text[64];
    relay_plan_add (&p, "git.example.invalid", 443, false);
    answers = moves;
    for (int i = 0; i < 3; i++) { /* for the fetch, for the relay, and once more */
        cr_assert (relay_find (&p.t[0], false, ask));
        cr_assert_eq (getnameinfo ((struct sockaddr *) &p.t[0].at, p.t[0].at_len, text, sizeof text, NULL, 0, NI_NUMERICHOST), 0);
        cr_assert_str_eq (text, "93.184.216.34");
    }
    cr_assert_eq (asked, 1);
    cr_assert_eq (relay_resolve (&p, true, &e), 0, "the plan takes what was found: %s", e.msg);
    cr_assert_eq (asked, 1);

    memset (&p, 0, sizeof p);
    relay_plan_add (&p, "git.example.invalid", 443, false);
    answers = bad;
    asked = 0;
    cr_assert_not (relay_find (&p.t[0], true, ask), "link-local, even with loopback allowed");
    cr_assert_not (relay_find (&p.t[0], true, ask), "and it is not asked again");
    cr_assert_eq (asked, 1);
    cr_assert_eq (relay_resolve (&p, true, &e), -1);
}

static bool ok (const char *address, bool loopback)
{
    struct sockaddr_in v4 = { .sin_family = AF_INET };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6 };
    if (inet_pton (AF_INET, address, &v4.sin_addr) == 1)
        return relay_address_ok ((struct sockaddr *) &v4, loopback);
    cr_assert_eq (inet_pton (AF_INET6, address, &v6.sin6_addr), 1, "%s", address);
    return relay_address_ok ((struct sockaddr *) &v6, loopback);
}

Test (relay, a_git_server_is_nowhere_that_only_this_machine_sees)
{
    static const char *const good[] = { "93.184.216.34", "10.0.0.5", "192.168.1.1", "223.255.255.255", "2606:4700::1", "fd00::1", "::ffff:8.8.8.8" };
    static const char *const bad[] = { "169.254.169.254", "169.254.0.1", "0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "fe80::1", "ff02::1", "fec0::1",
                                       "::ffff:169.254.169.254", "::ffff:0.0.0.0", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1" };
    static const char *const here[] = { "127.0.0.1", "127.255.0.9", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::" };
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert (ok (good[i], false), "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_not (ok (bad[i], true), "%s", bad[i]);
    for (size_t i = 0; i < sizeof here / sizeof *here; i++)
        cr_assert (!ok (here[i], false) && ok (here[i], true), "%s", here[i]);
    cr_assert_not (relay_address_ok (&(struct sockaddr){ .sa_family = AF_UNIX }, true));
}

Test (relay, plan_and_hosts)
{
    struct relay_plan p = { .n = 0 };
    struct err e = ERR_INIT;
    relay_plan_add (&p, "169.254.169.254", 80, false);
    cr_assert (relay_resolve (&p, true, &e) == -1 && strstr (e.msg, "network"));
    memset (&p, 0, sizeof p);
    relay_plan_add (&p, "git.example.invalid", 443, false);
    relay_plan_add (&p, "git.example.invalid", 22, false);
    relay_plan_add (&p, "127.0.0.1", 5555, false);
    relay_plan_add (&p, "127.0.0.1", 5555, true);
    relay_plan_add (&p, "localhost", 5556, true);
    cr_assert_eq (p.n, 4);
    cr_assert (p.t[0].inside.s_addr == p.t[1].inside.s_addr && p.t[0].inside.s_addr == inet_addr ("127.77.0.1") && p.t[2].realm);
    cr_assert (!p.t[2].named && !p.t[3].named && p.t[3].inside.s_addr == inet_addr ("127.0.0.1"));
    cr_assert_eq (relay_resolve (&p, false, &e), 0, "%s", e.msg); /* the realm's may be here; the name is nowhere */
    cr_assert (!p.t[0].at_len && p.t[2].at_len);
    BUF (hosts);
    relay_hosts (&p, &hosts);
    cr_assert_str_eq (buf_str (&hosts), "127.0.0.1 localhost\n");
    p.t[0].at_len = p.t[1].at_len = 1;
    hosts.len = 0;
    relay_hosts (&p, &hosts);
    cr_assert_str_eq (buf_str (&hosts), "127.0.0.1 localhost\n127.77.0.1 git.example.invalid\n");
    for (int i = 0; i < 20; i++)
        relay_plan_add (&p, "127.0.0.1", (uint16_t) (100 + i), true);
    cr_assert_eq (p.n, RELAY_TARGETS);
    buf_release (&hosts);
}

Test (relay, the_kernels_counts)
{
    cr_assert_eq (inside_refused ("Ip: Forwarding OutNoRoutes X\nIp: 1 7 3\nIcmp: A\nIcmp: 1\nTcp: ActiveOpens AttemptFails\nTcp: 9 4\nUdp: NoPorts\nUdp: 2\n", ""), 13);
    cr_assert_eq (inside_refused ("Tcp: AttemptFails\nTcp: 4\n", "Ip6InNoRoutes \t3\nIp6OutNoRoutes                  \t7\nUdp6NoPorts\t5\nUdp6NoPortsX\t9\n"), 16);
    static const char *const odd[] = { "", "Ip:", "Ip: OutNoRoutes\n", "Ip: OutNoRoutes\nIp:\n", "Ip: A B OutNoRoutes\nIp: 1 2", "Tcp: AttemptFails\nTcp: many\n", "\n\n\n" };
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++)
        cr_assert_eq (inside_refused (odd[i], ""), 0, "row %zu", i);
    static const char *const odd6[] = { "Ip6OutNoRoutes", "Ip6OutNoRoutes\n", "Ip6OutNoRoutes\t\n7", "Ip6OutNoRoutes many\n", "xIp6OutNoRoutes 7\n", "\n\n" };
    for (size_t i = 0; i < sizeof odd6 / sizeof *odd6; i++)
        cr_assert_eq (inside_refused ("", odd6[i]), 0, "row %zu", i);
}
