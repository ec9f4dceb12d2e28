/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Services, targets and rings are changed by user space on one CPU (common/maps.h) while packets
 * come in on another: each packet meets the one or the other whole, or nothing that is taken for
 * either.
 */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "world.h"

#define PACKETS 30000

static struct maps maps;
static volatile bool over, wrong;
static volatile unsigned int changes;
static int (*change)(unsigned int turn);

/* The other CPU: changes something back and forth. */
static void *change_always(void *unused)
{
	(void)unused;
	world_run_on(1);
	while (!over && !wrong) {
		wrong = change(changes) != 0;
		changes++;
	}
	return NULL;
}

/* All these packets, and one change each way at least; `check` says of each whether what has become
 * of it is right. */
static void run_meanwhile(int (*what)(unsigned int turn), bool (*check)(unsigned int packet))
{
	unsigned int bad = 0;
	pthread_t other;

	change = what;
	over = wrong = false;
	changes = 0;
	assert_int_equal(pthread_create(&other, NULL, change_always, NULL), 0);
	for (unsigned int i = 0; (i < PACKETS || changes < 2) && !wrong; i++)
		bad += !check(i);
	over = true;
	pthread_join(other, NULL);
	assert_false(wrong);
	assert_int_equal(bad, 0);
}

static int set_up(void **state)
{
	world_reset(state);
	maps = world_maps();
	return 0;
}

static int needs_cpus(void **state)
{
	(void)state;
	return sysconf(_SC_NPROCESSORS_ONLN) < 2;
}

static bool is_frame(const struct frame *got, struct frame wanted)
{
	return got->length == wanted.length && !memcmp(got->byte, wanted.byte, got->length);
}

/* ------------------------------------------------------------------------------------------------
 * a target: another address, of the other family */

static struct target targets[2];

static int change_target(unsigned int turn)
{
	return renew_target(T1, &targets[turn % 2]);
}

/* As it was, or as it is, or dropped: never one's outer header behind the other's Ethernet header.
 */
static bool target_is_whole(unsigned int packet)
{
	struct frame ack = ACK(), got;

	(void)packet;
	if (run_packet(&ack, &got) == XDP_DROP)
		return true;
	return is_frame(&got, TO_T1(ack)) || is_frame(&got, TO_T3(ack));
}

static void test_target(void **state)
{
	if (needs_cpus(state))
		skip();
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	targets[0] = get_target(T1);
	targets[1] = get_target(T3);
	run_meanwhile(change_target, target_is_whole);
}

/* ------------------------------------------------------------------------------------------------
 * a service: scope and prefix, of which each has an affinity of the client's, and half of both has
 * none */

static struct router_service shops[2];

static int change_service(unsigned int turn)
{
	return maps_put_service(&maps, SHOP, &shops[turn % 2]);
}

static bool service_is_whole(unsigned int packet)
{
	struct frame syn = SYN(.from_port = (uint16_t)packet), got;

	if (run_packet(&syn, &got) == XDP_DROP)
		return true;
	return is_frame(&got, TO_T1(syn)) || is_frame(&got, TO_T3(syn));
}

static void test_service(void **state)
{
	if (needs_cpus(state))
		skip();
	shops[0] = shops[1] = get_service(SHOP);
	shops[1].scope = 5;
	shops[1].client_prefix = 120;
	put_affinity("198.51.100.7", 0, T1);
	put_affinity("198.51.100.0", 5, T3);
	put_ring(SHOP, T2);
	run_meanwhile(change_service, service_is_whole);
}

/* ------------------------------------------------------------------------------------------------
 * a ring, and the index of services */

static int change_ring(unsigned int turn)
{
	static uint16_t slots[RING_SIZE];

	for (unsigned int i = 0; i < RING_SIZE; i++)
		slots[i] = turn % 2 ? T1 : T3;
	return maps_put_ring(&maps, SHOP, slots);
}

static bool has_target(unsigned int packet)
{
	struct frame syn = SYN(.from_port = (uint16_t)packet), got;

	return run_packet(&syn, &got) == XDP_TX &&
	       (is_frame(&got, TO_T1(syn)) || is_frame(&got, TO_T3(syn)));
}

static void test_ring(void **state)
{
	if (needs_cpus(state))
		skip();
	run_meanwhile(change_ring, has_target);
}

static struct router_service services[MAX_SERVICES];

static int change_index(unsigned int turn)
{
	for (unsigned int i = 100; i < 200; i++)
		services[i].name[0] = turn % 2 ? 'x' : 0;
	return maps_put_service_index(&maps, services);
}

static void test_index(void **state)
{
	if (needs_cpus(state))
		skip();
	services[SHOP] = get_service(SHOP);
	for (unsigned int i = 100; i < 200; i++) {
		services[i] = services[SHOP];
		services[i].key.port = (uint16_t)(i * 7);
	}
	run_meanwhile(change_index, has_target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_target, set_up),
		cmocka_unit_test_setup(test_service, set_up),
		cmocka_unit_test_setup(test_ring, set_up),
		cmocka_unit_test_setup(test_index, set_up),
	};

	return cmocka_run_group_tests_name("xdp: what changes under traffic", tests, world_load,
					   world_unload);
}
