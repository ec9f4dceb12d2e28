/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A connection is reported anew, on another CPU, while XDP is looking it up: between any two of its
 * steps, once, or as often as it takes for a set's stamp to come round. The packet under way may
 * go either way; what is remembered of it may mislead none that comes after (bpf/flows.h). And the
 * other way round: the agent's program is interrupted halfway through a report, for as long as it
 * takes the client to connect anew.
 *
 * It is bpf/choose.h that runs, on the explorer's maps, where a test can stand between two steps.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "../model/forward.h"

#define CLIENT	 1
#define PORT	 0
#define SEQUENCE 1000
#define NOW_NS	 20000000000ULL
/* Steps of a packet: flows, for the answer; flows and a version; connections; flows and the version
 * again, to remember. */
#define PACKET_STEPS 6
/* Of a report: flows and a version; connections; flows and the version again. */
#define REPORT_STEPS 5
#define COMES_AROUND 128 /* reports */

enum { BEFORE = 1, AFTER = 3 }; /* the connection's target */

static struct plane plane;
static unsigned int changes;

static void put_target(unsigned int number)
{
	plane.targets[number].flags = TARGET_USABLE | TARGET_IN_SYNC;
	memcpy(plane.targets[number].name, "t0", 3);
	plane.targets[number].name[1] += (char)number;
}

static void report(uint16_t target)
{
	struct connection_key key = model_connection_key(CLIENT, PORT, ROUTER_SERVICE);
	struct router_connection value = {.target = target, .state = CONNECTION_OPEN};

	assert_int_equal(forward_put_connection(&plane, &key, &value), 0);
}

static int set_up(void **state)
{
	(void)state;
	memset(&plane, 0, sizeof(plane));
	put_target(BEFORE);
	put_target(AFTER);
	plane.role = (struct router_role){.since_ns = 1, .epoch = 1, .role = ROLE_ACTIVE};
	plane.sync_state = (struct sync_state){.epoch = 1, .in_sync = 1, .affinities_in_sync = 1};
	report(BEFORE);
	return 0;
}

static int packet(void)
{
	return forward_packet(&plane, CLIENT, PORT, false, SEQUENCE, NOW_NS);
}

static unsigned int remembered(void)
{
	unsigned int words = 0;

	for (unsigned int set = 0; set < FLOW_SETS; set++)
		for (unsigned int way = 0; way < FLOW_WAYS; way++)
			words += plane.flows[set].word[way] != 0;
	return words;
}

static void report_anew(struct plane *unused)
{
	(void)unused;
	for (unsigned int i = 0; i < changes; i++)
		report(AFTER);
}

static void test_undisturbed(void **state)
{
	(void)state;
	assert_int_equal(packet(), BEFORE);
	assert_int_equal(remembered(), 1);
	report(AFTER);
	assert_int_equal(remembered(), 0);
	assert_int_equal(packet(), AFTER);
	assert_int_equal(packet(), AFTER);
}

static void check_meanwhile(void **state)
{
	unsigned int steps = 0;

	for (; steps < PACKET_STEPS; steps++) {
		set_up(state);
		forward_meanwhile(steps, report_anew);
		assert_in_set(packet(), ((const unsigned long[]){BEFORE, AFTER}), 2);
		forward_meanwhile(0, NULL);
		assert_int_equal(packet(), AFTER);
		assert_int_equal(packet(), AFTER);
	}
}

static void test_changed_meanwhile(void **state)
{
	changes = 1;
	check_meanwhile(state);
}

static void test_stamp_comes_round(void **state)
{
	changes = COMES_AROUND;
	check_meanwhile(state);
}

/* There are no more steps than these tests stand between. */
static void test_steps(void **state)
{
	(void)state;
	changes = 1;
	forward_meanwhile(PACKET_STEPS, report_anew);
	assert_int_equal(packet(), BEFORE);
	assert_int_equal(packet(), AFTER); /* the next step: the fast path's of this packet */
}

static unsigned int steps_on;
static int syn_target, ack_target;

/* If the report that the old connection has ended can be seen, it counts for both packets. */
static void connect_anew(struct plane *unused)
{
	(void)unused;
	syn_target = forward_packet(&plane, CLIENT, PORT, true, SEQUENCE, NOW_NS);
	ack_target = forward_packet(&plane, CLIENT, PORT, false, SEQUENCE + 1, NOW_NS);
}

/* The old connection's last packet; so many steps later the client connects anew. */
static void packet_meanwhile(struct plane *unused)
{
	(void)unused;
	packet();
	if (steps_on)
		forward_meanwhile(steps_on - 1, connect_anew);
	else
		connect_anew(&plane);
}

static void interrupt(void **state, const struct router_connection *ended)
{
	struct connection_key key = model_connection_key(CLIENT, PORT, ROUTER_SERVICE);

	for (unsigned int step = 0; step < REPORT_STEPS * REPORT_STEPS; step++) {
		if (step / REPORT_STEPS + step % REPORT_STEPS >= REPORT_STEPS)
			continue;
		set_up(state);
		plane.service_state.ready_instances = 1;
		plane.ring[AFTER] = true;
		assert_int_equal(packet(), BEFORE);
		syn_target = -1;
		steps_on = step % REPORT_STEPS;
		forward_meanwhile(step / REPORT_STEPS, packet_meanwhile);
		assert_int_equal(forward_put_connection(&plane, &key, ended), 0);
		assert_in_set(syn_target, ((const unsigned long[]){BEFORE, AFTER}), 2);
		assert_int_equal(ack_target, syn_target);
	}
	forward_meanwhile(0, NULL);
	assert_int_equal(syn_target, AFTER); /* between the last two steps */
}

static void test_report_interrupted(void **state)
{
	static const struct router_connection lingers = {.target = BEFORE,
							 .state = CONNECTION_LINGERS};

	interrupt(state, &lingers);
}

static void test_deletion_interrupted(void **state)
{
	interrupt(state, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_undisturbed, set_up),
		cmocka_unit_test_setup(test_changed_meanwhile, set_up),
		cmocka_unit_test_setup(test_stamp_comes_round, set_up),
		cmocka_unit_test_setup(test_steps, set_up),
		cmocka_unit_test_setup(test_report_interrupted, set_up),
		cmocka_unit_test_setup(test_deletion_interrupted, set_up),
	};

	return cmocka_run_group_tests_name("flows: what another CPU does meanwhile", tests, NULL,
					   NULL);
}
