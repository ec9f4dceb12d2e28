/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Next hops, followed from the kernel, in network namespaces of the test's own:
 *
 *   here  v0 10.9.0.1/24, 2001:db8:9::1/64 ────── v1 10.9.0.2/24, 2001:db8:9::2/64  there
 *         v0.7 10.9.7.1/24 (VLAN 7)        ────── v1.7 10.9.7.2/24
 */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent.h"
#include "log.h"
#include "next_hop.h"

#define PATIENCE_MS 30000

static struct event_base *base;
static struct next_hops *hops;
static unsigned int changes;
static pid_t there;
static bool vlans; /* this kernel has them */

static void on_changed(void *context, __u16 number)
{
	(void)context;
	(void)number;
	changes++;
}

__attribute__((format(printf, 1, 2))) static void run(const char *format, ...)
{
	char command[512];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(command, sizeof(command), format, arguments);
	va_end(arguments);
	if (system(command))
		fail_msg("%s: failed", command);
}

/* A namespace lives as long as somebody is in it. */
static pid_t start_there(void)
{
	int ready[2];
	char byte;
	pid_t pid;

	if (pipe(ready))
		return -1;
	pid = fork();
	if (pid == 0) {
		close(ready[0]);
		alarm(120);
		if (!unshare(CLONE_NEWNET) && write(ready[1], "r", 1) == 1)
			for (;;)
				pause();
		_exit(1);
	}
	close(ready[1]);
	if (pid > 0 && read(ready[0], &byte, 1) != 1)
		pid = -1;
	close(ready[0]);
	return pid;
}

static void set_up_vlan(int in)
{
	run("ip address add 10.9.7.1/24 dev v0.7 && ip link set v0.7 up");
	run("nsenter -t %d -n sh -c 'ip link add link v1 name v1.7 type vlan id 7 && "
	    "ip address add 10.9.7.2/24 dev v1.7 && ip link set v1.7 up'",
	    in);
}

static int set_up(void **state)
{
	const int in = (int)there;

	(void)state;
	run("ip link set lo up");
	run("ip link add v0 type veth peer name v1 netns %d", in);
	run("ip address add 10.9.0.1/24 dev v0 && ip address add 2001:db8:9::1/64 dev v0 nodad");
	run("ip link set v0 address 02:00:00:00:00:01 up");
	run("nsenter -t %d -n sh -c 'ip address add 10.9.0.2/24 dev v1 && "
	    "ip address add 2001:db8:9::2/64 dev v1 nodad && "
	    "ip link set v1 address 02:00:00:00:00:02 up'",
	    in);
	vlans = !system("ip link add link v0 name v0.7 type vlan id 7 2>/dev/null");
	if (vlans)
		set_up_vlan(in);
	base = event_base_new();
	hops = next_hops_start(base, on_changed, NULL);
	return hops ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	next_hops_stop(hops);
	event_base_free(base);
	return 0;
}

static const struct next_hop *watch(__u16 number, const char *text)
{
	struct address address;

	assert_int_equal(address_parse(text, &address), 0);
	assert_int_equal(next_hops_watch(hops, number, &address), 0);
	return next_hops_get(hops, number);
}

/* Run the loop a little. */
static void run_loop(void)
{
	const struct timeval step = {0, 10000};

	event_base_loopexit(base, &step);
	event_base_dispatch(base);
}

/* Until *flag is `wanted`, or patience ends. */
static void wait_for(const bool *flag, bool wanted)
{
	uint64_t limit = agent_now_ms() + PATIENCE_MS;

	while (*flag != wanted && agent_now_ms() < limit)
		run_loop();
	assert_int_equal(*flag, wanted);
}

static void assert_mac(const __u8 mac[6], __u8 last)
{
	const __u8 wanted[6] = {2, 0, 0, 0, 0, last};

	assert_memory_equal(mac, wanted, 6);
}

static void wait_for_mac(const struct next_hop *hop, __u8 last)
{
	uint64_t limit = agent_now_ms() + PATIENCE_MS;

	while (hop->mac[5] != last && agent_now_ms() < limit)
		run_loop();
	assert_mac(hop->mac, last);
}

static __u32 index_of(const char *name)
{
	return if_nametoindex(name);
}

static void test_neighbour(void **state)
{
	const char *const addresses[] = {"10.9.0.2", "2001:db8:9::2"};

	(void)state;
	for (size_t i = 0; i < 2; i++) {
		const struct next_hop *hop = watch(1, addresses[i]);

		wait_for(&hop->resolved, true);
		assert_int_equal(hop->ifindex, index_of("v0"));
		assert_mac(hop->mac, 2);
		assert_mac(hop->source_mac, 1);
		assert_int_equal(hop->mtu, 1500);
		assert_int_equal(hop->vlan, 0);
		assert_false(hop->local);
	}
	next_hops_unwatch(hops, 1);
	assert_false(next_hops_get(hops, 1)->resolved);
}

static void test_new_mac(void **state)
{
	const struct next_hop *hop = watch(1, "10.9.0.2");
	unsigned int before;

	(void)state;
	wait_for(&hop->resolved, true);
	before = changes;
	run("ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:33 dev v0");
	wait_for_mac(hop, 0x33);
	assert_int_not_equal(changes, before);
	run("ip neigh replace 10.9.0.2 lladdr 02:00:00:00:00:02 dev v0 nud stale");
	/* What the kernel has forgotten is believed until it is asked again. */
	run("ip neigh del 10.9.0.2 dev v0");
	wait_for(&hop->resolved, true);
	next_hops_unwatch(hops, 1);
}

static void test_gateway(void **state)
{
	const struct next_hop *hop = watch(2, "192.0.2.1");

	(void)state;
	assert_false(hop->resolved);
	assert_string_equal(next_hops_why(hops, 2), "no route");
	run("ip route add 192.0.2.0/24 via 10.9.0.2 mtu 1400");
	wait_for(&hop->resolved, true);
	assert_mac(hop->mac, 2);
	assert_int_equal(hop->mtu, 1400);
	run("ip route del 192.0.2.0/24");
	wait_for(&hop->resolved, false);
	/* An IPv4 route by way of an IPv6 neighbour. */
	run("ip route add 192.0.2.0/24 via inet6 2001:db8:9::2 dev v0");
	wait_for(&hop->resolved, true);
	assert_mac(hop->mac, 2);
	run("ip route replace blackhole 192.0.2.0/24");
	wait_for(&hop->resolved, false);
	run("ip route del blackhole 192.0.2.0/24; ip route flush 192.0.2.0/24");
	next_hops_unwatch(hops, 2);
}

static void test_vlan(void **state)
{
	const struct next_hop *hop;

	(void)state;
	if (!vlans) {
		print_message(
			"skipped: this kernel has no VLAN devices; scripts/test-kernel runs it\n");
		skip();
	}
	hop = watch(3, "10.9.7.2");
	wait_for(&hop->resolved, true);
	assert_int_equal(hop->ifindex, index_of("v0"));
	assert_int_equal(ntohs(hop->vlan), 7);
	assert_mac(hop->mac, 2);
	next_hops_unwatch(hops, 3);
}

static void test_local(void **state)
{
	const struct next_hop *hop = watch(4, "10.9.0.1");

	(void)state;
	assert_true(hop->local);
	assert_false(hop->resolved);
	next_hops_unwatch(hops, 4);
}

static void test_no_answer(void **state)
{
	const struct next_hop *hop = watch(5, "10.9.0.99");

	(void)state;
	wait_for(&hop->failed, true);
	assert_false(hop->resolved);
	next_hops_unwatch(hops, 5);
}

/* A neighbour that was there goes: asked, it fails soon, although the kernel's entry was fresh. */
static void test_confirm(void **state)
{
	const struct next_hop *hop = watch(7, "10.9.0.2");

	(void)state;
	wait_for(&hop->resolved, true);
	next_hops_confirm(hops, 7);
	run("nsenter -t %d -n ip link set v1 arp off", (int)there);
	run("nsenter -t %d -n ip address del 10.9.0.2/24 dev v1", (int)there);
	next_hops_confirm(hops, 7);
	wait_for(&hop->failed, true);
	run("nsenter -t %d -n ip address add 10.9.0.2/24 dev v1", (int)there);
	run("nsenter -t %d -n ip link set v1 arp on", (int)there);
	wait_for(&hop->resolved, true);
	next_hops_unwatch(hops, 7);
}

static void test_link_down(void **state)
{
	const struct next_hop *hop = watch(6, "10.9.0.2");

	(void)state;
	wait_for(&hop->resolved, true);
	run("ip link set v0 down");
	wait_for(&hop->resolved, false);
	run("ip link set v0 up && ip link set v0 mtu 1300");
	wait_for(&hop->resolved, true);
	assert_int_equal(hop->mtu, 1300);
	next_hops_unwatch(hops, 6);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_neighbour), cmocka_unit_test(test_new_mac),
		cmocka_unit_test(test_gateway),	  cmocka_unit_test(test_vlan),
		cmocka_unit_test(test_local),	  cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_confirm),	  cmocka_unit_test(test_link_down),
	};
	int result;

	log_init("test_next_hop", false);
	if (unshare(CLONE_NEWNET) || (there = start_there()) < 0) {
		printf("skipped: no network namespaces for this user: %s\n", strerror(errno));
		return 0;
	}
	result = cmocka_run_group_tests(tests, set_up, tear_down);
	kill(there, SIGKILL);
	waitpid(there, NULL, 0);
	return result;
}
