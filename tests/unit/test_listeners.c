/* SPDX-License-Identifier: BSD-2-Clause */
/* Which listeners make an instance, and when it ends. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "address.h"
#include "instances.h"
#include "listener.h"

#define PID   100
#define START 4711

static struct group_key group(uint8_t family, const char *bound, uint16_t port)
{
	struct group_key key = {.port = htons(port), .family = family};

	if (bound)
		assert_int_equal(address_parse(bound, &key.bound), 0);
	return key;
}

static struct service_key service(const char *address, uint16_t port)
{
	struct service_key key = {.port = htons(port), .protocol = IPPROTO_TCP};

	assert_int_equal(address_parse(address, &key.address), 0);
	return key;
}

static bool serves(const struct instance_table *table, unsigned int slot,
		   const struct service_key *service)
{
	static struct service_numbers numbers = {.active = {false, true, true}};
	bool served[MAX_SERVICES];

	numbers.service[0].key = *service; /* it is not active */
	numbers.service[2].key = *service;
	instances_services(table, slot, &numbers, served);
	for (unsigned int i = 0; i < MAX_SERVICES; i++)
		assert_true(i == 2 || !served[i]);
	return served[2];
}

static int setup(void **state)
{
	*state = calloc(1, sizeof(struct instance_table));
	return *state ? 0 : -1;
}

static int teardown(void **state)
{
	free(*state);
	return 0;
}

static void serves_rows(void **state)
{
	static const struct row {
		const char *what;
		uint8_t family;
		const char *bound;
		uint16_t port;
		bool v6only;
		const char *address;
		bool expected;
	} rows[] = {
		{"exact", AF_INET, "203.0.113.10", 80, false, "203.0.113.10", true},
		{"other address", AF_INET, "203.0.113.11", 80, false, "203.0.113.10", false},
		{"other port", AF_INET, NULL, 81, false, "203.0.113.10", false},
		{"wildcard", AF_INET, NULL, 80, false, "203.0.113.10", true},
		{"IPv4 wildcard, IPv6 service", AF_INET, NULL, 80, false, "2001:db8::1", false},
		{"IPv6 wildcard serves both", AF_INET6, NULL, 80, false, "203.0.113.10", true},
		{"IPv6 wildcard, V6ONLY", AF_INET6, NULL, 80, true, "203.0.113.10", false},
		{"IPv6 wildcard, V6ONLY, IPv6", AF_INET6, NULL, 80, true, "2001:db8::1", true},
		{"mapped address", AF_INET6, "203.0.113.10", 80, false, "203.0.113.10", true},
		{"IPv6 exact", AF_INET6, "2001:db8::1", 80, false, "2001:db8::1", true},
		{"IPv6 other", AF_INET6, "2001:db8::2", 80, false, "2001:db8::1", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct group_key key = group(rows[i].family, rows[i].bound, rows[i].port);
		struct service_key wanted = service(rows[i].address, 80);

		if (listener_serves(&key, rows[i].v6only, &wanted) != rows[i].expected)
			fail_msg("row \"%s\"", rows[i].what);
	}
}

static uint32_t add(struct instance_table *table, uint64_t cookie, const struct group_key *key,
		    uint32_t pid, uint64_t start)
{
	int slot = instances_add(table, cookie, key, false, pid, start);

	assert_true(slot >= 0);
	assert_int_equal(instances_find(table, cookie), slot);
	return table->listener[slot].instance;
}

static void kth_of_each_group_is_one_instance(void **state)
{
	struct instance_table *table = *state;
	struct group_key v4 = group(AF_INET, NULL, 80), v6 = group(AF_INET6, NULL, 80);
	uint32_t first, second;

	/* nginx: the first worker's two, then the second's */
	first = add(table, 1, &v4, PID, START);
	assert_int_equal(add(table, 2, &v6, PID, START), first);
	second = add(table, 3, &v4, PID, START);
	assert_int_not_equal(second, first);
	assert_int_equal(add(table, 4, &v6, PID, START), second);
	assert_int_equal(table->instance[first].kernel.listeners, 2);
	assert_int_equal(table->instance[first].kernel.state, INSTANCE_READY);
	assert_int_equal(table->instance[first].kernel.id, 1);
	assert_int_equal(table->instance[second].kernel.id, 2);
}

static void processes_are_different_instances(void **state)
{
	struct instance_table *table = *state;
	struct group_key key = group(AF_INET, NULL, 80);
	uint32_t first = add(table, 1, &key, PID, START);

	assert_int_not_equal(add(table, 2, &key, PID + 1, START), first);
	/* the pid again, of a later process */
	assert_int_not_equal(add(table, 3, &key, PID, START + 1), first);
}

static void members_of_a_group(void **state)
{
	struct instance_table *table = *state;
	struct group_key key = group(AF_INET, NULL, 80), other = group(AF_INET, NULL, 81);
	struct group members;
	uint32_t first = add(table, 1, &key, PID, START), second;

	add(table, 2, &other, PID, START);
	second = add(table, 3, &key, PID + 1, START);
	instances_group(table, &key, &members);
	assert_int_equal(members.members, 2);
	assert_int_equal(members.member[0].instance, first);
	assert_int_equal(members.member[1].instance, second);
	assert_int_equal(table->listener[members.member[1].listener].cookie, 3);
}

/* It is a group's, and outlives a restart with it. */
static void v6only(void **state)
{
	struct instance_table *table = *state;
	struct group_key key = group(AF_INET6, NULL, 80);
	struct service_key v4 = service("203.0.113.10", 80), v6 = service("2001:db8::1", 80);
	struct group members;
	int slot = instances_add(table, 1, &key, true, PID, START);
	uint32_t instance = table->listener[slot].instance;

	instances_group(table, &key, &members);
	assert_true(members.v6only);
	assert_false(serves(table, instance, &v4));
	assert_true(serves(table, instance, &v6));
	table->listener[slot].cookie = 0;
	instances_restore_listener(table, slot, 1, &key, members.v6only, instance);
	assert_false(serves(table, instance, &v4));
	assert_true(serves(table, instance, &v6));
}

static void bound_more_closely(void **state)
{
	struct instance_table *table = *state;
	struct group_key both = group(AF_INET6, NULL, 80), v4 = group(AF_INET, NULL, 80);
	struct group_key mapped = group(AF_INET6, "203.0.113.10", 80);
	struct group_key exact = group(AF_INET, "203.0.113.10", 80);
	struct group_key elsewhere = group(AF_INET, "203.0.113.11", 80);
	struct service_key shop = service("203.0.113.10", 80), shop6 = service("2001:db8::1", 80);
	bool outranked[MAX_INSTANCES];
	/* Each outranks for `shop` all that came before. */
	const uint32_t instances[] = {add(table, 1, &both, 1, START), add(table, 2, &v4, 2, START),
				      add(table, 3, &mapped, 3, START),
				      add(table, 4, &exact, 4, START)};
	const uint32_t other = add(table, 5, &elsewhere, 5, START);

	for (unsigned int closed = 0; closed < 4; closed++) {
		instances_rank(table, &shop, outranked);
		for (unsigned int i = 0; i < 4; i++)
			assert_int_equal(outranked[instances[i]], i < 3 - closed);
		assert_false(outranked[other]);
		instances_rank(table, &shop6, outranked);
		assert_false(outranked[instances[0]]);
		instances_remove(table, instances_find(table, 4 - closed));
	}

	/* Bound in both ways, it has a listener among the first. */
	assert_int_equal(add(table, 11, &v4, 6, START), add(table, 12, &exact, 6, START));
	add(table, 13, &exact, 7, START);
	instances_rank(table, &shop, outranked);
	for (unsigned int i = 0; i < MAX_INSTANCES; i++)
		assert_false(outranked[i]);
}

static void ends_with_its_last_listener(void **state)
{
	struct instance_table *table = *state;
	struct group_key v4 = group(AF_INET, NULL, 80), v6 = group(AF_INET6, NULL, 80);
	struct service_key wanted = service("203.0.113.10", 80);
	uint32_t instance = add(table, 1, &v4, PID, START);

	add(table, 2, &v6, PID, START);
	assert_int_equal(instances_remove(table, instances_find(table, 1)), -1);
	assert_int_equal(table->instance[instance].kernel.state, INSTANCE_READY);
	assert_true(serves(table, instance, &wanted));
	assert_false(serves(table, instance + 1, &wanted));
	assert_int_equal(instances_remove(table, instances_find(table, 2)), instance);
	assert_int_equal(table->instance[instance].kernel.state, INSTANCE_ENDED);
	assert_false(serves(table, instance, &wanted));

	/* The process listens again: another instance, and not in the slot that is still known. */
	assert_int_not_equal(add(table, 3, &v4, PID, START), instance);
	instances_release(table, instance);
	assert_int_equal(table->instance[instance].kernel.state, INSTANCE_FREE);
	assert_int_equal(add(table, 4, &v4, PID + 1, START), instance);
	assert_int_equal(table->instance[instance].kernel.id, 3);
}

static void a_listener_twice(void **state)
{
	struct instance_table *table = *state;
	struct group_key key = group(AF_INET, NULL, 80);

	add(table, 1, &key, PID, START);
	assert_int_equal(instances_add(table, 1, &key, false, PID, START), -EEXIST);
	assert_int_equal(instances_add(table, 0, &key, false, PID, START), -EINVAL);
}

static void full_is_not_broken(void **state)
{
	struct instance_table *table = *state;
	struct group_key key = group(AF_INET, NULL, 80), other = group(AF_INET, NULL, 81);
	uint64_t cookie = 1;

	for (unsigned int i = 0; i < MAX_MEMBERS; i++)
		add(table, cookie++, &key, PID + i, START);
	assert_int_equal(instances_add(table, cookie, &key, false, PID, START), -EMLINK);
	assert_int_equal(instances_find(table, cookie), -ENOENT);
	add(table, cookie, &other, PID, START);
}

static void drained(void **state)
{
	struct instance_table *table = *state;
	struct group_key key = group(AF_INET, NULL, 80);
	uint32_t first = add(table, 1, &key, PID, START), second;

	table->instance[first].drained = true;
	assert_true(instances_update_state(table, first));
	assert_false(instances_update_state(table, first));
	assert_int_equal(table->instance[first].kernel.state, INSTANCE_DRAINING);
	table->draining = true;
	second = add(table, 2, &key, PID + 1, START);
	assert_int_equal(table->instance[second].kernel.state, INSTANCE_DRAINING);
	table->draining = false;
	instances_update_state(table, first);
	instances_update_state(table, second);
	assert_int_equal(table->instance[first].kernel.state, INSTANCE_DRAINING);
	assert_int_equal(table->instance[second].kernel.state, INSTANCE_READY);
}

static void restart(void **state)
{
	struct instance_table *before = *state, *after = calloc(1, sizeof(*after));
	struct group_key v4 = group(AF_INET, NULL, 80), v6 = group(AF_INET6, NULL, 80);
	uint32_t first = add(before, 1, &v4, PID, START), second = add(before, 2, &v4, PID, START);
	uint32_t gone = add(before, 3, &v4, PID + 1, START);

	assert_non_null(after);
	for (unsigned int i = 0; i < MAX_INSTANCES; i++)
		if (before->instance[i].kernel.state != INSTANCE_FREE)
			instances_restore(after, i, &before->instance[i].kernel,
					  i == gone ? 0 : START);
	/* the third listener has closed meanwhile */
	instances_restore_listener(after, 0, 1, &v4, false, first);
	instances_restore_listener(after, 1, 2, &v4, false, second);
	instances_settle(after);

	assert_int_equal(after->instance[first].kernel.state, INSTANCE_READY);
	assert_int_equal(after->instance[first].kernel.id, 1);
	assert_int_equal(after->instance[gone].kernel.state, INSTANCE_ENDED);
	assert_int_equal(after->last_id, 3);
	/* What follows is placed as if nothing had happened. */
	assert_int_equal(add(after, 4, &v6, PID, START), first);
	assert_int_equal(add(after, 5, &v6, PID, START), second);
	assert_int_equal(after->instance[add(after, 6, &v6, PID, START)].kernel.id, 4);
	free(after);
}

/* The first process makes the first worker's sockets, then its master goes on. */
static void becomes_a_daemon(void **state)
{
	struct instance_table *table = *state;
	struct group_key v4 = group(AF_INET, NULL, 80), v6 = group(AF_INET6, NULL, 80);
	uint32_t first = add(table, 1, &v4, PID, START), second;

	instances_reown(table, first, PID + 1, START + 1);
	assert_int_equal(table->instance[first].kernel.pid, PID + 1);
	assert_int_equal(add(table, 2, &v6, PID + 1, START + 1), first);
	second = add(table, 3, &v4, PID + 1, START + 1);
	assert_int_not_equal(second, first);
	assert_int_equal(add(table, 4, &v6, PID + 1, START + 1), second);
}

static void two_masters_become_one(void **state)
{
	struct instance_table *table = *state;
	struct group_key v4 = group(AF_INET, NULL, 80), v6 = group(AF_INET6, NULL, 80);
	uint32_t first = add(table, 1, &v4, PID, START);
	uint32_t second = add(table, 2, &v4, PID + 1, START);

	instances_reown(table, first, PID + 1, START);
	assert_int_equal(table->instance[second].ordinal, 0);
	assert_int_equal(table->instance[first].ordinal, 1);
	assert_int_equal(add(table, 3, &v6, PID + 1, START), second);
	assert_int_equal(add(table, 4, &v6, PID + 1, START), first);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(serves_rows),
		cmocka_unit_test_setup_teardown(kth_of_each_group_is_one_instance, setup, teardown),
		cmocka_unit_test_setup_teardown(processes_are_different_instances, setup, teardown),
		cmocka_unit_test_setup_teardown(members_of_a_group, setup, teardown),
		cmocka_unit_test_setup_teardown(v6only, setup, teardown),
		cmocka_unit_test_setup_teardown(bound_more_closely, setup, teardown),
		cmocka_unit_test_setup_teardown(ends_with_its_last_listener, setup, teardown),
		cmocka_unit_test_setup_teardown(a_listener_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(full_is_not_broken, setup, teardown),
		cmocka_unit_test_setup_teardown(drained, setup, teardown),
		cmocka_unit_test_setup_teardown(restart, setup, teardown),
		cmocka_unit_test_setup_teardown(becomes_a_daemon, setup, teardown),
		cmocka_unit_test_setup_teardown(two_masters_become_one, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
