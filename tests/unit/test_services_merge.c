/* SPDX-License-Identifier: BSD-2-Clause */
/* What a target serves, of what its routers list, and by which numbers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "address.h"
#include "services.h"

static struct wanted_service wanted[MAX_SERVICES];
static unsigned int conflicts, last_kept, last_dropped;

static struct message_service make(const char *name, const char *address, uint16_t port,
				   uint32_t idle_ms)
{
	struct message_service service = {.key = {.port = htons(port), .protocol = IPPROTO_TCP},
					  .affinity = AFFINITY_BY_REQUEST,
					  .client_prefix = 128,
					  .idle_ms = idle_ms};

	snprintf(service.name, sizeof(service.name), "%s", name);
	snprintf(service.scope, sizeof(service.scope), "%s", name);
	assert_int_equal(address_parse(address, &service.key.address), 0);
	return service;
}

static void on_conflict(void *context, const struct service_conflict *conflict)
{
	(void)context;
	conflicts++;
	last_kept = conflict->kept_router;
	last_dropped = conflict->dropped_router;
}

static unsigned int merge(const struct router_list *lists, const struct message_service *present,
			  unsigned int count)
{
	conflicts = 0;
	return services_merge(lists, present, count, wanted, on_conflict, NULL);
}

static const struct wanted_service *find(unsigned int count, const char *name)
{
	for (unsigned int i = 0; i < count; i++)
		if (strcmp(wanted[i].service.name, name) == 0)
			return &wanted[i];
	return NULL;
}

static void everything_that_any_lists(void **state)
{
	struct message_service first[] = {make("a", "203.0.113.10", 80, 1),
					  make("b", "203.0.113.10", 81, 1)};
	struct message_service second[] = {make("a", "203.0.113.10", 80, 1),
					   make("c", "203.0.113.11", 80, 1)};
	struct router_list lists[MAX_ROUTERS] = {
		{true, true, true, true, 2, first},
		{true, true, true, false, 2, second},
	};

	(void)state;
	assert_int_equal(merge(lists, NULL, 0), 3);
	assert_int_equal(conflicts, 0);
	assert_non_null(find(3, "c"));
}

static void active_router_wins(void **state)
{
	struct message_service standby[] = {make("a", "203.0.113.10", 80, 1)};
	struct message_service active[] = {make("a", "203.0.113.10", 80, 2)};
	struct router_list lists[MAX_ROUTERS] = {
		{true, true, true, false, 1, standby},
		{true, true, true, true, 1, active},
	};

	(void)state;
	assert_int_equal(merge(lists, NULL, 0), 1);
	assert_int_equal(wanted[0].service.idle_ms, 2);
	assert_int_equal(wanted[0].router, 1);
	assert_int_equal(conflicts, 1);
	assert_int_equal(last_kept, 1);
	assert_int_equal(last_dropped, 0);
	/* A standby's word of today counts more than an active one's of before it was lost. */
	lists[1].connected = false;
	assert_int_equal(merge(lists, NULL, 0), 1);
	assert_int_equal(wanted[0].router, 0);
}

static void one_address_and_port_two_names(void **state)
{
	struct message_service first[] = {make("a", "203.0.113.10", 80, 1)};
	struct message_service second[] = {make("b", "203.0.113.10", 80, 1)};
	struct router_list lists[MAX_ROUTERS] = {
		{true, true, true, true, 1, first},
		{true, true, true, false, 1, second},
	};

	(void)state;
	assert_int_equal(merge(lists, NULL, 0), 1);
	assert_string_equal(wanted[0].service.name, "a");
	assert_int_equal(conflicts, 1);
}

/* One router has been told of a move, the other not yet: whoever takes over forwards what it knows.
 */
static void one_name_two_addresses(void **state)
{
	struct message_service first[] = {make("a", "203.0.113.10", 80, 1)};
	struct message_service second[] = {make("a", "203.0.113.11", 80, 1)};
	struct router_list lists[MAX_ROUTERS] = {
		{true, true, true, true, 1, first},
		{true, true, true, false, 1, second},
	};

	(void)state;
	assert_int_equal(merge(lists, NULL, 0), 2);
	assert_int_equal(conflicts, 0);
}

static void removed_only_when_nobody_may_have_it(void **state)
{
	struct message_service both[] = {make("a", "203.0.113.10", 80, 1),
					 make("b", "203.0.113.10", 81, 1)};
	struct router_list lists[MAX_ROUTERS] = {
		{true, true, true, true, 1, both},
		{true, true, false, false, 2, both},
	};

	(void)state;
	/* b is listed by one that is merely disconnected */
	assert_non_null(find(merge(lists, both, 2), "b"));
	/* it comes back without b */
	lists[1].connected = true;
	lists[1].count = 1;
	assert_null(find(merge(lists, both, 2), "b"));
	/* or the configuration lists it no more */
	lists[1].count = 2;
	lists[1].connected = lists[1].configured = false;
	assert_null(find(merge(lists, both, 2), "b"));
}

static void kept_after_a_restart(void **state)
{
	struct message_service present[] = {make("a", "203.0.113.10", 80, 1),
					    make("b", "203.0.113.10", 81, 1)};
	struct message_service now[] = {make("a", "203.0.113.10", 80, 5)};
	struct router_list lists[MAX_ROUTERS] = {{.configured = true}, {.configured = true}};

	(void)state;
	assert_int_equal(merge(lists, present, 2), 2);
	assert_int_equal(wanted[0].router, NO_ROUTER);
	/* One has been heard: its word replaces ours, the other may still have b. */
	lists[0] = (struct router_list){true, true, true, true, 1, now};
	assert_int_equal(merge(lists, present, 2), 2);
	assert_int_equal(find(2, "a")->service.idle_ms, 5);
	assert_int_equal(conflicts, 0);
	/* Both have. */
	lists[1] = (struct router_list){true, true, true, false, 1, now};
	assert_int_equal(merge(lists, present, 2), 1);
	assert_null(find(1, "b"));
}

static void too_many(void **state)
{
	struct message_service *many = calloc(MAX_SERVICES + 1, sizeof(*many));
	struct router_list lists[MAX_ROUTERS] = {{true, true, true, true, MAX_SERVICES + 1, many}};
	char name[NAME_SIZE];

	(void)state;
	assert_non_null(many);
	for (unsigned int i = 0; i <= MAX_SERVICES; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		many[i] = make(name, "203.0.113.10", 1 + i, 1);
	}
	assert_int_equal(merge(lists, NULL, 0), MAX_SERVICES);
	free(many);
}

static void numbers(void **state)
{
	struct service_numbers *numbers = calloc(1, sizeof(*numbers));
	struct message_service a = make("a", "203.0.113.10", 80, 1);
	struct message_service moved = make("a", "203.0.113.10", 81, 1), again;
	struct message_service renamed = make("b", "203.0.113.10", 80, 1);
	bool referred[MAX_SERVICES] = {false}, scope_referred[MAX_SERVICES] = {false};
	int first, second, scope;

	(void)state;
	assert_non_null(numbers);
	first = services_number(numbers, a.name, &a.key);
	scope = services_scope_number(numbers, a.scope);
	service_from_message(&a, scope, &numbers->service[first]);
	numbers->active[first] = true;
	assert_int_equal(services_number(numbers, a.name, &a.key), first);
	assert_int_equal(services_find(numbers, "a"), first);
	assert_true(services_scope_active(numbers, scope));
	service_to_message(numbers, first, &again);
	assert_memory_equal(&again, &a, sizeof(a));

	/* Connections do not know its name. */
	assert_int_equal(services_number(numbers, renamed.name, &renamed.key), first);
	service_from_message(&renamed, scope, &numbers->service[first]);
	assert_int_equal(services_find(numbers, "b"), first);
	service_from_message(&a, scope, &numbers->service[first]);

	/* Under another port it is another connection key: another number. */
	second = services_number(numbers, moved.name, &moved.key);
	assert_int_not_equal(second, first);
	service_from_message(&moved, scope, &numbers->service[second]);
	numbers->active[first] = false;
	numbers->active[second] = true;
	assert_int_equal(services_find(numbers, "a"), second);

	/* What is referred to keeps its number. */
	referred[first] = true;
	services_release(numbers, referred, scope_referred);
	assert_string_equal(numbers->service[first].name, "a");
	referred[first] = false;
	services_release(numbers, referred, scope_referred);
	assert_string_equal(numbers->service[first].name, "");
	assert_string_equal(numbers->scope[scope].name, "a");
	numbers->active[second] = false;
	scope_referred[scope] = true;
	services_release(numbers, referred, scope_referred);
	assert_string_equal(numbers->scope[scope].name, "a");
	scope_referred[scope] = false;
	services_release(numbers, referred, scope_referred);
	assert_string_equal(numbers->scope[scope].name, "");
	assert_int_equal(services_find(numbers, "a"), -ENOENT);
	free(numbers);
}

static void numbers_run_out(void **state)
{
	struct service_numbers *numbers = calloc(1, sizeof(*numbers));
	struct message_service service = make("a", "203.0.113.10", 80, 1);
	char name[NAME_SIZE];

	(void)state;
	assert_non_null(numbers);
	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		service.key.port = htons((uint16_t)(1000 + i));
		assert_int_equal(services_number(numbers, name, &service.key), i);
		assert_int_equal(services_scope_number(numbers, name), i);
	}
	service.key.port = htons(1);
	assert_int_equal(services_number(numbers, "one more", &service.key), -ENOSPC);
	assert_int_equal(services_scope_number(numbers, "one more"), -ENOSPC);
	free(numbers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_that_any_lists),
		cmocka_unit_test(active_router_wins),
		cmocka_unit_test(one_address_and_port_two_names),
		cmocka_unit_test(one_name_two_addresses),
		cmocka_unit_test(removed_only_when_nobody_may_have_it),
		cmocka_unit_test(kept_after_a_restart),
		cmocka_unit_test(too_many),
		cmocka_unit_test(numbers),
		cmocka_unit_test(numbers_run_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
