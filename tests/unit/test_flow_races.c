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

/* Another packet of the handshake. */
static void go_on(struct plane *unused)
{
	(void)unused;
	met = true;
	assert_int_equal(packet(), AFTER);
}

/* A late report of an older connection, and a packet that follows it. */
static void report_late(struct plane *unused)
{
	(void)unused;
	met = true;
	report(BEFORE);
	packet();
}

/* While a handshake is being noted, its packets have a target; and once it has been noted, no
 * report of an older connection counts any more. */
static void check_noted(void **state, void (*what)(struct plane *unused))
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
		forward_meanwhile(step++, what);
		target = packet();
		forward_meanwhile(0, NULL);
		assert_int_equal(packet(), target);
		assert_int_equal(packet(), target);
	} while (met);
	assert_int_equal(target, AFTER);
}

static void test_noted(void **state)
{
	check_noted(state, go_on);
	check_noted(state, report_late);
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

#define OTHER_SCOPE (ROUTER_SCOPE + 1)

static void change_service(struct plane *unused)
{
	(void)unused;
	met = true;
	forward_service()->sequence += 2;
	forward_service()->scope = OTHER_SCOPE;
}

/* The service's scope changes after so many steps of a packet that belongs to nothing. */
static bool change_meanwhile(void **state, bool syn, unsigned int step)
{
	struct connection_key key = model_connection_key(CLIENT, PORT, ROUTER_SERVICE);
	struct affinity_key client = {.client = model_client(CLIENT), .scope = ROUTER_SCOPE};
	struct router_affinity affinity = {.clock = 1, .target = BEFORE};
	int target;

	set_up(state);
	serve(AFTER);
	*forward_service() = model_service();
	assert_int_equal(forward_put_connection(&plane, &key, NULL), 0);
	assert_int_equal(forward_put_affinity(&plane, &client, &affinity), 0);
	assert_int_equal(packet(), DROPPED); /* seen */
	met = false;
	forward_meanwhile(step, change_service);
	target = forward_packet(&plane, CLIENT, PORT, syn, SEQUENCE, NOW_NS + SIGHTING_NS);
	forward_meanwhile(0, NULL);
	*forward_service() = model_service();
	assert_true(target == BEFORE || target == DROPPED);
	return met;
}

/* Half of the one and half of the other would be no affinity. */
static void test_service_changes(void **state)
{
	for (int syn = 0; syn < 2; syn++) {
		unsigned int step = 0;

		while (change_meanwhile(state, syn, step))
			step++;
		assert_true(step > 3);
	}
}

/* A time has more bits than a place for one: the uppermost ones are in the word. */
static void test_after_a_year(void **state)
{
	struct connection_key key = model_connection_key(CLIENT, PORT, ROUTER_SERVICE);
	const uint64_t year_ns = 365ULL * 86400 * 1000000000;

	(void)state;
	serve(AFTER);
	plane.role.since_ns = year_ns - 60 * 1000000000ULL;
	assert_int_equal(forward_put_connection(&plane, &key, NULL), 0);
	for (int syn = 1; syn >= 0; syn--) {
		assert_int_equal(forward_packet(&plane, CLIENT, PORT, syn, SEQUENCE - syn, year_ns),
				 AFTER);
		plane.ring[AFTER] = false;
		serve(BEFORE);
	}
	assert_int_equal(forward_packet(&plane, CLIENT, PORT, false, SEQUENCE, year_ns), AFTER);
}

/* Noted in the tick in which its router's role, its target's number or its service's began: void,
 * for it may have been before. */
static void test_same_tick(void **state)
{
	struct connection_key key = model_connection_key(CLIENT, PORT, ROUTER_SERVICE);
	__u64 *since[] = {&plane.role.since_ns, &plane.targets[AFTER].since_ns,
			  &forward_service()->since_ns};

	for (size_t i = 0; i < sizeof(since) / sizeof(*since); i++) {
		set_up(state);
		serve(AFTER);
		assert_int_equal(forward_put_connection(&plane, &key, NULL), 0);
		assert_int_equal(syn(), AFTER);
		assert_int_equal(packet(), AFTER);
		*since[i] = NOW_NS - (1 << HANDSHAKE_TICK_SHIFT);
		assert_int_equal(packet(), AFTER);
		*since[i] = NOW_NS;
		assert_int_equal(packet(), DROPPED);
	}
	*forward_service() = model_service();
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
		cmocka_unit_test_setup(test_service_changes, set_up),
		cmocka_unit_test_setup(test_same_tick, set_up),
		cmocka_unit_test_setup(test_after_a_year, set_up),
	};

	return cmocka_run_group_tests_name("flows: what another CPU does meanwhile", tests, NULL,
					   NULL);
}
