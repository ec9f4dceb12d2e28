/* SPDX-License-Identifier: BSD-2-Clause */
/* target/connections against the kernel's sockets: what is suspicious. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "rescan.h"

#define BEGAN 1000

struct result {
	uint64_t gone[8], missed[8];
	unsigned int gone_count, missed_count;
};

static void on_gone(void *context, const struct rescan_item *entry)
{
	struct result *result = context;

	result->gone[result->gone_count++] = entry->cookie;
}

static void on_missed(void *context, const struct rescan_item *socket)
{
	struct result *result = context;

	result->missed[result->missed_count++] = socket->cookie;
}

static struct result compare(struct rescan_item *entries, size_t entry_count,
			     struct rescan_item *sockets, size_t socket_count)
{
	struct result result = {.gone_count = 0};

	rescan_compare(entries, entry_count, sockets, socket_count, BEGAN, on_gone, on_missed,
		       &result);
	return result;
}

static void equal(void **state)
{
	struct rescan_item entries[] = {{.cookie = 3}, {.cookie = 1}, {.cookie = 2}};
	struct rescan_item sockets[] = {{.cookie = 2, .open = true},
					{.cookie = 3, .open = true},
					{.cookie = 1, .open = false}};
	struct result result = compare(entries, 3, sockets, 3);

	(void)state;
	assert_int_equal(result.gone_count, 0);
	assert_int_equal(result.missed_count, 0);
}

static void entry_without_socket(void **state)
{
	struct rescan_item entries[] = {{.cookie = 9, .established_ns = BEGAN - 1},
					{.cookie = 1},
					{.cookie = 5, .established_ns = BEGAN - 1}};
	struct rescan_item sockets[] = {{.cookie = 1, .open = true}};
	struct result result = compare(entries, 3, sockets, 1);

	(void)state;
	assert_int_equal(result.gone_count, 2);
	assert_int_equal(result.gone[0], 5);
	assert_int_equal(result.gone[1], 9);
	assert_int_equal(result.missed_count, 0);
}

static void younger_than_the_list(void **state)
{
	struct rescan_item entries[] = {{.cookie = 5, .established_ns = BEGAN}};

	(void)state;
	assert_int_equal(compare(entries, 1, NULL, 0).gone_count, 0);
	entries[0].established_ns--;
	assert_int_equal(compare(entries, 1, NULL, 0).gone_count, 1);
}

static void socket_without_entry(void **state)
{
	struct rescan_item entries[] = {{.cookie = 4}};
	struct rescan_item sockets[] = {{.cookie = 7, .open = true},
					{.cookie = 4, .open = true},
					{.cookie = 6, .open = false}};
	struct result result = compare(entries, 1, sockets, 3);

	(void)state;
	assert_int_equal(result.gone_count, 0);
	assert_int_equal(result.missed_count, 1);
	assert_int_equal(result.missed[0], 7);
}

/* One 4-tuple, another socket: the old entry is gone, the new connection missed. */
static void another_cookie(void **state)
{
	struct rescan_item entries[] = {{.cookie = 4}};
	struct rescan_item sockets[] = {{.cookie = 8, .open = true}};
	struct result result = compare(entries, 1, sockets, 1);

	(void)state;
	assert_int_equal(result.gone_count, 1);
	assert_int_equal(result.missed_count, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(equal),
		cmocka_unit_test(entry_without_socket),
		cmocka_unit_test(younger_than_the_list),
		cmocka_unit_test(socket_without_entry),
		cmocka_unit_test(another_cookie),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
