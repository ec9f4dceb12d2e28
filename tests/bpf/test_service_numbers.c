/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A reload gives services their numbers (loader/services.c): whose number is free again, what was
 * noted under it before, and what packets see while a service goes.
 */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../loader/services.h"
#include "world.h"

#define SECOND	"203.0.113.12"
#define THIRD	"203.0.113.13"
#define REMOVES 40

static struct maps maps;

static struct config_service service_at(const char *name, const char *address, uint16_t port)
{
	struct config_service service = {.affinity = AFFINITY_NONE, .client_prefix = 128};

	snprintf(service.name, NAME_SIZE, "%s", name);
	snprintf(service.scope, NAME_SIZE, "%s", name);
	service.key = (struct service_key){
		.address = world_address(address), .port = htons(port), .protocol = IPPROTO_TCP};
	return service;
}

static void reload(struct config_service *services, unsigned int count)
{
	struct config config = {0};
	struct services_plan *plan;

	config.router.services = services;
	config.router.service_count = count;
	plan = services_plan(&config, &maps);
	assert_non_null(plan);
	assert_int_equal(services_apply(plan, &maps), 0);
	free(plan);
}

/* The number of what is named so; or MAX_SERVICES. */
static uint32_t number_of(const char *name)
{
	uint32_t number;

	for (number = 0; number < MAX_SERVICES; number++)
		if (!strcmp(get_service(number).name, name))
			break;
	return number;
}

static int set_up(void **state)
{
	struct config_service first = service_at("first", VIP, 80);

	world_reset(state);
	maps = world_maps();
	reload(&first, 1);
	assert_int_equal(number_of("first"), SHOP);
	put_ring(SHOP, T1);
	put_ready(SHOP, 1);
	return 0;
}

/* A number is free for the next reload, unless a connection still has it. */
static void test_referred(void **state)
{
	struct config_service second = service_at("second", SECOND, 80);
	struct config_service third = service_at("third", THIRD, 80);

	(void)state;
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	reload(&second, 1);
	reload(&third, 1);
	assert_int_not_equal(number_of("third"), SHOP);
	delete_connection(CLIENT, 40000, SHOP);
	reload(&second, 1);
	assert_int_equal(number_of("second"), SHOP);
}

/* What was noted under the number's former service is no handshake with this one. */
static void test_again(void **state)
{
	struct config_service second = service_at("second", SECOND, 80);
	struct config_service third = service_at("third", THIRD, 80);
	struct frame ack = tcp((struct segment){
		.to = THIRD, .flags = TCP_ACK, .sequence = ISN + 1, .from_port = 40000});

	(void)state;
	EXPECT("SYN", SYN(), XDP_TX, TO_T1(SYN()), DISTRIBUTED);
	EXPECT("noted", ACK(), XDP_TX, TO_T1(ACK()), HALF_OPEN);
	reload(&second, 1);
	EXPECT_PASS("no service any more", ACK(), COUNT_PASS_NO_SERVICE);
	reload(&third, 1);
	assert_int_equal(number_of("third"), SHOP);
	EXPECT_DROP("of the other service", ack, SIGHTED);
}

/* Two that the index would have in one place. */
static void test_shared_slot(void **state)
{
	struct config_service both[] = {service_at("first", VIP, 80), service_at("other", VIP, 81)};
	struct address vip = world_address(VIP);
	uint16_t port = 81;

	(void)state;
	while (service_slot_of(&vip, htons(port), IPPROTO_TCP) !=
	       service_slot_of(&vip, htons(80), IPPROTO_TCP))
		port++;
	both[1].key.port = htons(port);
	reload(both, 2);
	put_ring(number_of("other"), T3);
	put_ready(number_of("other"), 1);
	EXPECT("one", SYN(), XDP_TX, TO_T1(SYN()), DISTRIBUTED);
	EXPECT("the other", SYN(.to_port = port), XDP_TX, TO_T3(SYN(.to_port = port)), DISTRIBUTED);
}

static volatile bool over;
static volatile unsigned int passed, forwarded, lost;

/* The other CPU: clients. */
static void *connect_always(void *unused)
{
	struct frame got;

	(void)unused;
	world_run_on(1);
	for (uint16_t port = 0; !over; port++) {
		struct frame syn = SYN(.from_port = port);
		uint32_t verdict = run_packet(&syn, &got);

		passed += verdict == XDP_PASS;
		forwarded += verdict == XDP_TX;
		lost += verdict != XDP_PASS && verdict != XDP_TX;
	}
	return NULL;
}

/* A service that goes is there, or is not, for each packet: it is never found half gone. */
static void test_goes(void **state)
{
	struct router_service first = get_service(SHOP);
	struct config_service second = service_at("second", SECOND, 80);
	pthread_t clients;

	(void)state;
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		skip();
	over = false;
	passed = forwarded = lost = 0;
	assert_int_equal(pthread_create(&clients, NULL, connect_always, NULL), 0);
	for (int i = 0; i < REMOVES; i++) {
		put_service(SHOP, &first);
		put_ring(SHOP, T1);
		put_ready(SHOP, 1);
		for (unsigned int seen = forwarded; forwarded == seen && !lost;)
			sched_yield(); /* until it is served */
		reload(&second, 1);
		for (unsigned int seen = passed; passed == seen && !lost;)
			sched_yield(); /* until it is gone */
	}
	over = true;
	pthread_join(clients, NULL);
	assert_int_equal(lost, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_referred, set_up),
		cmocka_unit_test_setup(test_again, set_up),
		cmocka_unit_test_setup(test_shared_slot, set_up),
		cmocka_unit_test_setup(test_goes, set_up),
	};

	return cmocka_run_group_tests_name("services' numbers", tests, world_load, world_unload);
}
