/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What another CPU does between any two steps of a packet or of a report (bpf/flows.h): a
 * connection is reported anew, once, or as often as it takes for a set's stamp to come round; a
 * handshake goes on; the client connects anew while the agent's program is interrupted. The packet
 * under way may go either way; what is remembered of it may mislead none that comes after.
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
/* The set, for the answer; the set and its version; the connection; handshakes, half-open and
 * noted; the set and its version again. */
#define PACKET_STEPS 8
#define COMES_AROUND 128 /* reports */

enum { BEFORE = 1, AFTER = 3 }; /* the connection's target */

static struct plane plane;
static unsigned int changes;
static bool met; /* the other CPU has had its turn */

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

static int syn(void)
{
	return forward_packet(&plane, CLIENT, PORT, true, SEQUENCE - 1, NOW_NS);
}

static void serve(unsigned int target)
{
	plane.service_state.ready_instances = 1;
	plane.ring[target] = true;
}

static void report_anew(struct plane *unused)
{
	(void)unused;
	met = true;
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

/* A connection is reported anew after so many steps of a packet; false: it has not so many. */
static bool report_meanwhile(void **state, unsigned int step)
{
	set_up(state);
	met = false;
	forward_meanwhile(step, report_anew);
	assert_in_set(packet(), ((const unsigned long[]){BEFORE, AFTER}), 2);
	forward_meanwhile(0, NULL);
	if (!met)
		return false;
	assert_int_equal(packet(), AFTER);
	assert_int_equal(packet(), AFTER);
	return true;
}

static void check_reported(void **state)
{
	unsigned int step = 0;

	while (report_meanwhile(state, step))
		step++;
	assert_int_equal(step, PACKET_STEPS);
}

static void test_reported(void **state)
{
	changes = 1;
	check_reported(state);
}

static void test_stamp_comes_round(void **state)
{
	changes = COMES_AROUND;
	check_reported(state);
}

/* Another packet of the handshake; then a late report of an older connection, and one more. */
static void go_on(struct plane *unused)
{
	(void)unused;
	met = true;
	assert_int_equal(packet(), AFTER);
	report(BEFORE);
	packet();
}

/* While a handshake is being noted, its packets have a target; once one has been sent as noted,
 * no report of an older connection counts any more. */
static void test_noted(void **state)
{
	struct connection_key key = model_connection_key(CLIENT, PORT, ROUTER_SERVICE);
	unsigned int step = 0;
	int target;

	do {
		set_up(state);
		serve(AFTER);
		assert_int_equal(forward_put_connection(&plane, &key, NULL), 0);
		assert_int_equal(syn(), AFTER);
		met = false;
		forward_meanwhile(step++, go_on);
		target = packet();
		forward_meanwhile(0, NULL);
		assert_int_equal(packet(), target);
		assert_int_equal(packet(), target);
	} while (met);
	assert_int_equal(target, AFTER);
}

static unsigned int steps_on;
static int syn_target, ack_target;

/* If the report that the old connection has ended can be seen, it counts for both packets. */
static void connect_anew(struct plane *unused)
{
	(void)unused;
	met = true;
	syn_target = syn();
	ack_target = packet();
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

/* The program that writes a report is interrupted after `first` steps, and again `second` later;
 * false: it has not so many. */
static bool interrupt(void **state, const struct router_connection *ended, unsigned int first,
		      unsigned int second)
{
	struct connection_key key = model_connection_key(CLIENT, PORT, ROUTER_SERVICE);

	set_up(state);
	serve(AFTER);
	assert_int_equal(packet(), BEFORE);
	met = false;
	steps_on = second;
	forward_meanwhile(first, packet_meanwhile);
	assert_int_equal(forward_put_connection(&plane, &key, ended), 0);
	forward_meanwhile(0, NULL);
	if (!met)
		return false;
	assert_in_set(syn_target, ((const unsigned long[]){BEFORE, AFTER}), 2);
	assert_int_equal(ack_target, syn_target);
	return true;
}

static void check_interrupted(void **state, const struct router_connection *ended)
{
	unsigned int first = 0, second;

	do {
		for (second = 0; interrupt(state, ended, first, second); second++)
			;
		first++;
	} while (second);
	assert_int_equal(syn_target, AFTER); /* at the last step */
}

static void test_report_interrupted(void **state)
{
	static const struct router_connection lingers = {.target = BEFORE,
							 .state = CONNECTION_LINGERS};

	check_interrupted(state, &lingers);
}

static void test_deletion_interrupted(void **state)
{
	check_interrupted(state, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_undisturbed, set_up),
		cmocka_unit_test_setup(test_reported, set_up),
		cmocka_unit_test_setup(test_stamp_comes_round, set_up),
		cmocka_unit_test_setup(test_noted, set_up),
		cmocka_unit_test_setup(test_report_interrupted, set_up),
		cmocka_unit_test_setup(test_deletion_interrupted, set_up),
	};

	return cmocka_run_group_tests_name("flows: what another CPU does meanwhile", tests, NULL,
					   NULL);
}
