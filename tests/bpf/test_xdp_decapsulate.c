/* SPDX-License-Identifier: BSD-2-Clause */
/* The target: nobody gets in. Whose packets are unwrapped, and what for. */
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "world.h"

#define SELF	  ADDRESS1 /* this target */
#define SELF6	  ADDRESS3
#define STRANGER  "10.7.0.66"
#define STRANGER6 "fd07::66"
#define UNWRAPPED COUNT_DECAP_PACKETS

/* A target, and no router, at SELF or SELF6; serves VIP:80 and [VIP6]:80. */
static void become_target(const char *self, bool router_too)
{
	struct settings settings = router_settings();

	settings.is_router = router_too;
	settings.is_target = 1;
	settings.target = world_address(self);
	put_settings(&settings);
	put_router(ROUTER);
	put_router(ROUTER6);
	put_served(VIP, 80, 6);
	put_served(VIP6, 80, 6);
	put_served(VIP, 0, 0);
	put_served(VIP6, 0, 0);
}

/* Listens on this port, whatever the address and its family. */
static int listen_on(uint16_t port)
{
	struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&any, sizeof(any)), 0);
	assert_int_equal(listen(fd, 8), 0);
	return fd;
}

/* A network without anybody else's sockets; somebody listens on port 80. */
static int serve(void **state)
{
	struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};

	if (unshare(CLONE_NEWNET))
		return -errno;
	assert_int_equal(ioctl(listen_on(80), SIOCSIFFLAGS, &up), 0);
	return world_load(state);
}

/* As the link of the outer packet was, MAC_ROUTER2 to MAC_HOP. */
static struct frame bare(struct frame frame)
{
	return macs(frame, MAC_HOP, MAC_ROUTER2);
}

static struct frame wrapped(struct frame frame)
{
	return encapsulated(frame, ROUTER, SELF);
}

static struct frame wrapped6(struct frame frame)
{
	return encapsulated(frame, ROUTER6, SELF6);
}

static void test_unwrap(void **state)
{
	struct frame syn4 = SEGMENT(TCP_SYN, .tcp_options = 20, .tos = 0x2b);
	struct frame ack6 = SEGMENT6(TCP_ACK, .data = 1000);
	struct frame options = SEGMENT(TCP_SYN, .options = 40);

	(void)state;
	become_target(SELF, false);
	EXPECT("IPv4 in IPv4", wrapped(syn4), XDP_PASS, bare(syn4), UNWRAPPED);
	EXPECT("IPv6 in IPv4", wrapped(ack6), XDP_PASS, bare(ack6), UNWRAPPED);
	EXPECT("inner options", wrapped(options), XDP_PASS, bare(options), UNWRAPPED);
	EXPECT("padded", padded(wrapped(SEGMENT(TCP_SYN)), 90), XDP_PASS,
	       bare(padded(SEGMENT(TCP_SYN), 70)), UNWRAPPED);
	EXPECT("tagged", tagged(wrapped(syn4), 0x8100, 7), XDP_PASS, tagged(bare(syn4), 0x8100, 7),
	       UNWRAPPED);
	EXPECT("tagged twice", tagged(tagged(wrapped(ack6), 0x8100, 7), 0x88a8, 9), XDP_PASS,
	       tagged(tagged(bare(ack6), 0x8100, 7), 0x88a8, 9), UNWRAPPED);
	become_target(SELF6, false);
	EXPECT("IPv4 in IPv6", wrapped6(syn4), XDP_PASS, bare(syn4), UNWRAPPED);
	EXPECT("IPv6 in IPv6", wrapped6(ack6), XDP_PASS, bare(ack6), UNWRAPPED);
	EXPECT("IPv4 in IPv6, tagged", tagged(wrapped6(syn4), 0x8100, 7), XDP_PASS,
	       tagged(bare(syn4), 0x8100, 7), UNWRAPPED);
}

/* The outer header may have options: made here by hand, for Limpet sends none. */
static void test_outer_options(void **state)
{
	struct frame syn = SEGMENT(TCP_SYN), out = {0};
	struct frame in = tcp((struct segment){.from = ROUTER, .to = SELF, .options = 8});

	(void)state;
	become_target(SELF, false);
	memcpy(in.byte + 14 + 28, syn.byte + 14, 40);
	in.length = 14 + 28 + 40;
	in = changed(in, 9, 4);
	in = changed(in, 3, 68);
	out = macs(syn, MAC_ROUTER, MAC_CLIENT);
	EXPECT("outer options", in, XDP_PASS, out, UNWRAPPED);
}

/* What the kernel would refuse, for want of a listener, is not passed to it. */
static void test_no_listener(void **state)
{
	struct frame syn = SEGMENT(TCP_SYN, .to_port = 443);
	struct frame syn6 = SEGMENT6(TCP_SYN, .to_port = 443);
	struct frame ack = SEGMENT(TCP_ACK, .to_port = 443);
	int fd;

	(void)state;
	become_target(SELF, false);
	put_served(VIP, 443, 6);
	put_served(VIP6, 443, 6);
	EXPECT_DROP("IPv4", wrapped(syn), COUNT_DECAP_NO_LISTENER);
	EXPECT_DROP("IPv6", wrapped(syn6), COUNT_DECAP_NO_LISTENER);
	EXPECT("not a SYN", wrapped(ack), XDP_PASS, bare(ack), UNWRAPPED);
	fd = listen_on(443);
	EXPECT("IPv4, a listener", wrapped(syn), XDP_PASS, bare(syn), UNWRAPPED);
	EXPECT("IPv6, a listener", wrapped(syn6), XDP_PASS, bare(syn6), UNWRAPPED);
	close(fd);
	EXPECT_DROP("closed again", wrapped(syn), COUNT_DECAP_NO_LISTENER);
}

/* A SYN on a connection's 4-tuple is the kernel's to answer, listener or not. */
static void test_syn_of_connection(void **state)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(444),
				 .sin_addr = {htonl(INADDR_LOOPBACK)}},
			   own;
	int listener = listen_on(444), fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t length = sizeof(own);
	struct segment segment = {
		.from = "127.0.0.1", .to = "127.0.0.1", .to_port = 444, .flags = TCP_SYN};
	struct frame syn, other;
	int child;

	(void)state;
	become_target(SELF, false);
	put_served("127.0.0.1", 444, 6);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&own, &length), 0);
	segment.from_port = ntohs(own.sin_port);
	syn = tcp(segment);
	segment.from_port = 1;
	other = tcp(segment);
	child = accept(listener, NULL, NULL);
	close(listener);
	EXPECT("open", wrapped(syn), XDP_PASS, bare(syn), UNWRAPPED);
	close(child); /* first: the server's end stays in FIN_WAIT2, then in TIME_WAIT */
	EXPECT("FIN_WAIT2", wrapped(syn), XDP_PASS, bare(syn), UNWRAPPED);
	close(fd);
	EXPECT("TIME_WAIT", wrapped(syn), XDP_PASS, bare(syn), UNWRAPPED);
	EXPECT_DROP("another port", wrapped(other), COUNT_DECAP_NO_LISTENER);
}

static void test_errors_in(void **state)
{
	struct frame about = tcp((struct segment){.from = VIP, .to = CLIENT, .data = 600});
	struct frame about6 = tcp((struct segment){.from = VIP6, .to = CLIENT6, .data = 600});
	struct frame error = icmp(
		(struct icmp){.from = "192.0.2.1", .to = VIP, .type = 3, .code = 4}, &about, 28);
	struct frame error6 =
		icmp((struct icmp){.from = "2001:db8::9", .to = VIP6, .type = 2}, &about6, 48);
	struct icmp stray = {.from = "192.0.2.1", .to = "203.0.113.11", .type = 3, .code = 4};

	(void)state;
	become_target(SELF, false);
	EXPECT("an ICMP error", wrapped(error), XDP_PASS, bare(error), UNWRAPPED);
	EXPECT("an ICMPv6 error", wrapped(error6), XDP_PASS, bare(error6), UNWRAPPED);
	EXPECT_DROP("echo",
		    wrapped(icmp((struct icmp){.from = CLIENT, .to = VIP, .type = 8}, NULL, 0)),
		    COUNT_DECAP_NO_SERVICE);
	EXPECT_DROP("a router advertisement",
		    wrapped(icmp((struct icmp){.from = CLIENT6, .to = VIP6, .type = 134}, NULL, 0)),
		    COUNT_DECAP_NO_SERVICE);
	EXPECT_DROP("for an address that is not served", wrapped(icmp(stray, &about, 28)),
		    COUNT_DECAP_NO_SERVICE);
}

static void test_strangers(void **state)
{
	struct frame syn = SEGMENT(TCP_SYN);

	(void)state;
	become_target(SELF, false);
	EXPECT_DROP("not a router", encapsulated(syn, STRANGER, SELF), COUNT_DECAP_NOT_ROUTER);
	EXPECT_DROP("IPv6 from no router", encapsulated(SEGMENT6(TCP_SYN), STRANGER, SELF),
		    COUNT_DECAP_NOT_ROUTER);
	EXPECT_DROP("another port", wrapped(SEGMENT(TCP_SYN, .to_port = 443)),
		    COUNT_DECAP_NO_SERVICE);
	EXPECT_DROP("another address", wrapped(tcp((struct segment){.to = "203.0.113.11"})),
		    COUNT_DECAP_NO_SERVICE);
	EXPECT_DROP("the target itself", wrapped(tcp((struct segment){.to = SELF})),
		    COUNT_DECAP_NO_SERVICE);
	EXPECT_DROP("UDP", wrapped(udp(CLIENT, VIP, 80, "x", 1)), COUNT_DECAP_NO_SERVICE);
	EXPECT_DROP("IPIP in IPIP", wrapped(wrapped(syn)), COUNT_DECAP_NO_SERVICE);
	become_target(SELF6, false);
	EXPECT_DROP("not a router, by IPv6", encapsulated(syn, STRANGER6, SELF6),
		    COUNT_DECAP_NOT_ROUTER);
}

/* Somebody else's tunnels, and what is not wrapped. */
static void test_untouched(void **state)
{
	struct settings settings = router_settings();
	struct frame syn = SEGMENT(TCP_SYN);

	(void)state;
	become_target(SELF, false);
	EXPECT_PASS("for another address", encapsulated(syn, ROUTER, ADDRESS2), COUNTERS);
	EXPECT_PASS("for another address, IPv6", encapsulated(syn, ROUTER6, SELF6), COUNTERS);
	EXPECT_PASS("not wrapped", syn, COUNTERS);
	EXPECT_PASS("not wrapped, for this node", tcp((struct segment){.to = SELF}), COUNTERS);
	settings.target = world_address(SELF);
	put_settings(&settings);
	EXPECT_PASS("an address, but no target's", wrapped(syn), COUNT_PASS_NO_SERVICE);
	world_reset(NULL);
	put_router(ROUTER);
	put_served(VIP, 80, 6);
	EXPECT_PASS("no target here", wrapped(syn), COUNT_PASS_NO_SERVICE);
	become_target("::", false);
	EXPECT_PASS("a target without an address", encapsulated(SEGMENT6(TCP_SYN), ROUTER6, "::"),
		    COUNTERS);
}

/* Both roles on one node: what was unwrapped is passed, not routed again. */
static void test_both_roles(void **state)
{
	struct frame syn = SEGMENT(TCP_SYN);

	(void)state;
	become_target(SELF, true);
	EXPECT("unwrapped", wrapped(syn), XDP_PASS, bare(syn), UNWRAPPED);
	EXPECT("routed", syn, XDP_TX, TO_T1(syn), COUNT_SERVICE_PACKETS, COUNT_NEW_DISTRIBUTED,
	       COUNT_FORWARDED_PACKETS);
	EXPECT_DROP("of no router", encapsulated(syn, STRANGER, SELF), COUNT_DECAP_NOT_ROUTER);
}

static void test_malformed(void **state)
{
	struct frame syn = SEGMENT(TCP_SYN), out;

	(void)state;
	become_target(SELF, false);
	EXPECT_DROP("an outer fragment", changed(wrapped(syn), 6, 0x20), COUNT_DECAP_MALFORMED);
	EXPECT_DROP("an inner fragment", wrapped(SEGMENT(TCP_SYN, .fragment = 0x2000)),
		    COUNT_DECAP_MALFORMED);
	EXPECT_DROP("an inner IPv6 fragment", wrapped(SEGMENT6(TCP_SYN, .fragmented = true)),
		    COUNT_DECAP_MALFORMED);
	EXPECT_DROP("IPv6 inside that pretends to be IPv4",
		    wrapped(tcp((struct segment){.to = "::ffff:203.0.113.10"})),
		    COUNT_DECAP_MALFORMED);
	EXPECT_DROP("another version inside", changed(wrapped(syn), 9, 41), COUNT_DECAP_MALFORMED);
	EXPECT_DROP("inner length too large", changed(wrapped(syn), 23, 41), COUNT_DECAP_MALFORMED);
	EXPECT_DROP("inner TCP header too large", changed(wrapped(syn), 52, 0xf0),
		    COUNT_DECAP_MALFORMED);
	for (uint32_t length = 14; length < wrapped(syn).length; length++) {
		struct frame in = cut(wrapped(syn), length);
		uint32_t verdict = run_packet(&in, &out);

		/* Not even the outer header: the kernel's. */
		assert_int_equal(verdict, length < 14 + 20 ? XDP_PASS : XDP_DROP);
	}
	for (uint32_t length = 14; length < wrapped(SEGMENT6(TCP_SYN)).length; length++) {
		struct frame in = cut(wrapped(SEGMENT6(TCP_SYN)), length);

		assert_int_equal(run_packet(&in, &out), length < 14 + 20 ? XDP_PASS : XDP_DROP);
	}
}

/* ------------------------------------------------------------------------------------------------
 * probes of the path */

static struct frame datagram(const char *from, const char *to, uint8_t kind, uint64_t sequence,
			     size_t length)
{
	uint8_t data[1400] = "LPRO";

	data[4] = kind;
	for (int i = 0; i < 8; i++)
		data[8 + i] = sequence >> (56 - 8 * i);
	return udp(from, to, PROBE_PORT, data, length);
}

static const char *router_for(const char *self)
{
	return strchr(self, ':') ? ROUTER6 : ROUTER;
}

static struct frame probe(const char *to, uint8_t kind, uint64_t sequence, size_t length)
{
	return datagram(router_for(to), to, kind, sequence, length);
}

/* What comes back of it. */
static struct frame echo(const char *from, uint8_t kind, uint64_t sequence, size_t length)
{
	return macs(datagram(from, router_for(from), kind, sequence, length), MAC_ROUTER2, MAC_HOP);
}

static void check_probe(const char *router, uint64_t small, uint64_t full)
{
	struct probe got;

	assert_true(get_probe(router, &got));
	assert_int_equal(got.small_sequence, small);
	assert_int_equal(got.full_sequence, full);
}

static void test_probes(void **state)
{
	const uint64_t many = 0x0102030405060708ULL;

	(void)state;
	become_target(SELF, false);
	EXPECT("a small one", wrapped(probe(SELF, PROBE_SMALL, 7, 16)), XDP_TX,
	       echo(SELF, PROBE_SMALL, 7, 16), COUNT_DECAP_PROBES);
	check_probe(ROUTER, 7, 0);
	EXPECT("a full one", wrapped(probe(SELF, PROBE_FULL, many, 1400)), XDP_TX,
	       echo(SELF, PROBE_FULL, many, 1400), COUNT_DECAP_PROBES);
	check_probe(ROUTER, 7, many);
	EXPECT("tagged", tagged(wrapped(probe(SELF, PROBE_SMALL, 8, 16)), 0x8100, 7), XDP_TX,
	       tagged(echo(SELF, PROBE_SMALL, 8, 16), 0x8100, 7), COUNT_DECAP_PROBES);
	check_probe(ROUTER, 8, many);
	put_router("10.7.0.3");
	EXPECT_DROP("of another router, for the first one",
		    encapsulated(probe(SELF, PROBE_SMALL, 3, 16), "10.7.0.3", SELF),
		    COUNT_DECAP_PROBES);
	check_probe("10.7.0.3", 3, 0);
	check_probe(ROUTER, 8, many);
	become_target(SELF6, false);
	EXPECT("by IPv6", wrapped6(probe(SELF6, PROBE_FULL, 9, 16)), XDP_TX,
	       echo(SELF6, PROBE_FULL, 9, 16), COUNT_DECAP_PROBES);
	check_probe(ROUTER6, 0, 9);
}

static void test_no_probes(void **state)
{
	struct frame good = wrapped(probe(SELF, PROBE_SMALL, 7, 16));
	struct probe got;

	(void)state;
	become_target(SELF, false);
	EXPECT_DROP("of no router", encapsulated(probe(SELF, 0, 7, 16), STRANGER, SELF),
		    COUNT_DECAP_NOT_ROUTER);
	EXPECT_DROP("for another address", wrapped(probe(ADDRESS2, PROBE_SMALL, 7, 16)),
		    COUNT_DECAP_NO_SERVICE);
	EXPECT_DROP("another port", changed(good, 20 + 20 + 3, 0), COUNT_DECAP_NO_SERVICE);
	EXPECT_DROP("too short", wrapped(probe(SELF, PROBE_SMALL, 7, 15)), COUNT_DECAP_MALFORMED);
	EXPECT_DROP("another magic", changed(good, 20 + 28, 'X'), COUNT_DECAP_MALFORMED);
	EXPECT_DROP("another kind", wrapped(probe(SELF, PROBE_FULL + 1, 7, 16)),
		    COUNT_DECAP_MALFORMED);
	EXPECT_PASS("not wrapped", probe(SELF, PROBE_SMALL, 7, 16), COUNTERS);
	assert_false(get_probe(ROUTER, &got));
	assert_false(get_probe(STRANGER, &got));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_unwrap, world_reset),
		cmocka_unit_test_setup(test_outer_options, world_reset),
		cmocka_unit_test_setup(test_no_listener, world_reset),
		cmocka_unit_test_setup(test_syn_of_connection, world_reset),
		cmocka_unit_test_setup(test_errors_in, world_reset),
		cmocka_unit_test_setup(test_strangers, world_reset),
		cmocka_unit_test_setup(test_untouched, world_reset),
		cmocka_unit_test_setup(test_both_roles, world_reset),
		cmocka_unit_test_setup(test_malformed, world_reset),
		cmocka_unit_test_setup(test_probes, world_reset),
		cmocka_unit_test_setup(test_no_probes, world_reset),
	};

	return cmocka_run_group_tests_name("xdp: decapsulate", tests, serve, world_unload);
}
