/* Sockets: who gets in, who sent it, and what is dropped. */
#include "base/net.h"

#include <criterion/criterion.h>
#include <poll.h>
#include <sodium.h>
#include <string.h>

static uint8_t secrets[3][32];
static struct net_key key[3];

static void start (void)
{
    struct err e = ERR_INIT;
    cr_assert_eq (net_start (&e), 0, "%s", e.msg);
    for (int i = 0; i < 3; i++) {
        crypto_box_keypair (key[i].pub, secrets[i]);
        key[i].sec = secrets[i];
    }
}

Test (net, only_admitted_keys_get_in_and_are_named, .timeout = 60)
{
    struct err e = ERR_INIT;
    struct net_in in;
    start ();
    net_admit ((const uint8_t (*)[32]) key[1].pub, 1);
    zsock_t *server = net_router ("tcp://127.0.0.1:*", &key[0], (struct net_room){ 100, 100, NET_FRAME_MAX }, &e);
    cr_assert (server, "%s", e.msg);
    zsock_t *good = net_dealer (net_endpoint (server), key[0].pub, &key[1], 100, &e), *bad = net_dealer (net_endpoint (server), key[0].pub, &key[2], 100, &e);
    cr_assert (good && bad);
    cr_assert_eq (net_send (good, bytes_of (NULL, 0), bytes_str ("hi"), &e), 0);
    (void) net_send (bad, bytes_of (NULL, 0), bytes_str ("no"), &e);
    cr_assert (net_wait (server, 10000));
    cr_assert_eq (net_recv (server, &in, &e), 1);
    cr_assert (bytes_eqs (in.data, "hi") && in.has_peer && !memcmp (in.peer, key[1].pub, 32));
    cr_assert_eq (net_send (server, bytes_of (in.route, in.route_len), bytes_str ("back"), &e), 0);
    net_in_release (&in);
    cr_assert (net_wait (good, 10000) && net_recv (good, &in, &e) == 1 && bytes_eqs (in.data, "back"));
    net_in_release (&in);
    cr_assert_not (net_wait (server, 1000), "the key that is not in the set got in");
    /* Several frames are one refusal, not a message. */
    zmsg_t *many = zmsg_new ();
    for (int i = 0; i < 100; i++)
        zmsg_addstr (many, "x");
    zmsg_send (&many, good);
    cr_assert (net_wait (server, 10000));
    cr_assert_eq (net_recv (server, &in, &e), -1);
    cr_assert_eq (e.code, EC_OVERSIZED);
    cr_assert_eq (net_recv (server, &in, &e), 0);
    net_in_release (&in);
    /* Nobody is at that routing id. */
    cr_assert_eq (net_send (server, bytes_str ("nobody"), bytes_str ("x"), &e), -1);
    cr_assert_eq (e.code, EC_NOT_FOUND);
    zsock_destroy (&good);
    zsock_destroy (&bad);
    zsock_destroy (&server);
    net_stop ();
}

static bool answer (zsock_t *server, const struct net_in *to, struct err *e)
{
    struct buf frame = { 0 };
    memset (buf_grow (&frame, 1 << 20), 'x', 1 << 20);
    return net_answer (server, bytes_of (to->route, to->route_len), to->peer, &frame, e) == 0;
}

/* Marks count messages. Whoever asks and does not read must not make us keep thousands of large ones, on one connection or on many. */
Test (net, what_a_peer_does_not_read_is_bounded_by_its_key, .timeout = 120)
{
    struct err e = ERR_INIT;
    struct net_in in[3];
    zsock_t *client[3];
    size_t kept = 0, read = 0;
    start ();
    uint8_t both[2][32];
    memcpy (both[0], key[1].pub, 32);
    memcpy (both[1], key[2].pub, 32);
    net_admit ((const uint8_t (*)[32]) both, 2);
    zsock_t *server = net_router ("tcp://127.0.0.1:*", &key[0], (struct net_room){ 10000, 10000, NET_FRAME_MAX }, &e);
    for (int i = 0; i < 3; i++) { /* two connections of one key, one of another */
        client[i] = net_dealer (net_endpoint (server), key[0].pub, &key[i < 2 ? 1 : 2], 1, &e);
        cr_assert_eq (net_send (client[i], bytes_of (NULL, 0), bytes_str ("ask"), &e), 0);
        cr_assert (net_wait (server, 10000) && net_recv (server, &in[i], &e) == 1);
        net_in_release (&in[i]);
    }
    for (int i = 0; i < 4000 && answer (server, &in[i % 2], &e); i++)
        kept++;
    cr_assert_eq (e.code, EC_BUSY, "%s", e.msg);
    cr_assert_leq (kept, 3 * (NET_OWED_MAX >> 20), "%zu MiB", kept); /* with what lies in the system's buffers */
    cr_assert (net_owes (key[1].pub) && !net_owes (key[2].pub));
    cr_assert (answer (server, &in[2], &e), "another pays for it: %s", e.msg);
    struct net_in got;
    while (read < kept) {
        bool any = false;
        for (int i = 0; i < 2; i++)
            if (net_recv (client[i], &got, &e) == 1) {
                net_in_release (&got);
                any = true;
                read++;
            }
        if (!any)
            poll (NULL, 0, 1);
    }
    cr_assert_not (net_owes (key[1].pub));
    cr_assert (answer (server, &in[0], &e), "%s", e.msg);
    /* What a connection did not read goes with it. */
    while (answer (server, &in[1], &e)) {
    }
    cr_assert (net_owes (key[1].pub));
    zsock_destroy (&client[0]);
    zsock_destroy (&client[1]);
    while (net_owes (key[1].pub))
        (void) net_wait (server, 10); /* a socket learns of it when it is looked at */
    zsock_destroy (&client[2]);
    zsock_destroy (&server);
    net_stop ();
}

Test (net, a_subscription_names_its_subscriber, .timeout = 60)
{
    struct err e = ERR_INIT;
    struct net_in in;
    start ();
    net_admit ((const uint8_t (*)[32]) key[1].pub, 1);
    zsock_t *pub = net_xpub ("tcp://127.0.0.1:*", &key[0], 100, &e);
    cr_assert (pub, "%s", e.msg);
    zsock_t *sub = net_sub (net_endpoint (pub), key[0].pub, &key[1], 100, &e);
    cr_assert (sub && zmq_setsockopt (zsock_resolve (sub), ZMQ_SUBSCRIBE, "p\n", 2) == 0);
    cr_assert (net_wait (pub, 10000));
    cr_assert_eq (net_recv (pub, &in, &e), 1);
    cr_assert (in.data.len == 3 && in.data.p[0] == 1 && in.has_peer && !memcmp (in.peer, key[1].pub, 32));
    cr_assert_eq (zmq_setsockopt (zsock_resolve (pub), ZMQ_SUBSCRIBE, in.data.p + 1, in.data.len - 1), 0);
    net_in_release (&in);
    cr_assert_eq (net_send (pub, bytes_str ("p\n"), bytes_str ("event"), &e), 0);
    cr_assert (net_wait (sub, 10000) && net_recv (sub, &in, &e) == 1 && bytes_eqs (in.data, "event"));
    net_in_release (&in);
    zsock_destroy (&sub);
    zsock_destroy (&pub);
    net_stop ();
}

/* A peer that floods a server which does not get to reading, and then goes: libzmq's heartbeats ended the whole process with an
 * assertion then (4.3.4, "!_io_error"), as the timer wrote to a connection that was given up while its input was held back. */
/* Nothing is read at the server: what it takes in all the same, beyond what the kernel keeps, is its room. */
Test (net, what_a_server_keeps_of_a_peer_is_bounded, .timeout = 60)
{
    struct err e = ERR_INIT;
    struct net_in in;
    static uint8_t load[1 << 20];
    start ();
    net_admit ((const uint8_t (*)[32]) key[1].pub, 1);
    zsock_t *server = net_router ("tcp://127.0.0.1:*", &key[0], (struct net_room){ 100, 4, sizeof load }, &e);
    cr_assert (server, "%s", e.msg);
    zsock_t *peer = net_dealer (net_endpoint (server), key[0].pub, &key[1], 2, &e), *large = net_dealer (net_endpoint (server), key[0].pub, &key[1], 2, &e);
    cr_assert (peer && large);
    zsock_set_linger (peer, 0);
    unsigned sent = 0, idle = 0, got = 0;
    while (idle < 100 && sent < 200)
        if (net_send (peer, bytes_of (NULL, 0), bytes_of (load, sizeof load), &e) == 0) {
            sent++;
            idle = 0;
        } else {
            zclock_sleep (20);
            idle++;
        }
    cr_assert (sent >= 4 && sent < 60, "%u MiB went out", sent);
    /* A little more than it takes closes the connection; what has that size arrives. */
    static uint8_t more[sizeof load + 256];
    zsock_set_linger (large, 0);
    cr_assert_eq (net_send (large, bytes_of (NULL, 0), bytes_of (more, sizeof more), &e), 0);
    for (int64_t end = zclock_mono () + 10000; got < sent && zclock_mono () < end;)
        if (net_wait (server, 100) && net_recv (server, &in, &e) == 1) {
            cr_assert_eq (in.data.len, sizeof load);
            net_in_release (&in);
            got++;
        }
    cr_assert_eq (got, sent);
    cr_assert_not (net_wait (server, 500), "one that is too large came in");
    zsock_destroy (&peer);
    zsock_destroy (&large);
    zsock_destroy (&server);
    net_stop ();
}

Test (net, a_peer_that_floods_and_goes_ends_nobody_else, .timeout = 60)
{
    struct err e = ERR_INIT;
    struct net_in in;
    static uint8_t load[4096];
    start ();
    net_admit ((const uint8_t (*)[32]) key[1].pub, 1);
    zsock_t *server = net_router ("tcp://127.0.0.1:*", &key[0], (struct net_room){ 5, 5, NET_FRAME_MAX }, &e);
    cr_assert (server, "%s", e.msg);
    for (int round = 0; round < 3; round++) {
        zsock_t *peer = net_dealer (net_endpoint (server), key[0].pub, &key[1], 5, &e);
        cr_assert (peer, "%s", e.msg);
        zsock_set_linger (peer, 0);
        int idle = 0;
        for (int64_t end = zclock_mono () + 5000; idle < 20 && zclock_mono () < end;) /* until all between the two is full */
            if (net_send (peer, bytes_of (NULL, 0), bytes_of (load, sizeof load), &e) == -1) {
                zclock_sleep (10);
                idle++;
            } else
                idle = 0;
        zsock_destroy (&peer);
    }
    zclock_sleep (5000); /* two turns of a heartbeat of 2 s */
    unsigned got = 0;
    while (net_recv (server, &in, &e) == 1) {
        net_in_release (&in);
        got++;
    }
    cr_assert (got > 0);
    zsock_t *other = net_dealer (net_endpoint (server), key[0].pub, &key[1], 100, &e);
    cr_assert_eq (net_send (other, bytes_of (NULL, 0), bytes_str ("still there?"), &e), 0);
    bool heard = false;
    for (int64_t end = zclock_mono () + 10000; !heard && zclock_mono () < end;)
        if (net_wait (server, 1000) && net_recv (server, &in, &e) == 1) {
            heard = bytes_eqs (in.data, "still there?");
            net_in_release (&in);
        }
    cr_assert (heard);
    zsock_destroy (&other);
    zsock_destroy (&server);
    net_stop ();
}
