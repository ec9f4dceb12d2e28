/* SPDX-License-Identifier: BSD-2-Clause */
/* Text to addresses and back. */
#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "address.h"

#define ROWS(table) (sizeof(table) / sizeof(*(table)))

static void addresses(void **state)
{
	static const struct {
		const char *text, *printed; /* NULL: not an address */
		bool ipv4;
	} rows[] = {
		{"10.7.0.2", "10.7.0.2", true},
		{"::ffff:10.7.0.2", "10.7.0.2", true},
		{"::ffff:a07:2", "10.7.0.2", true},
		{"2001:DB8::1", "2001:db8::1", false},
		{"::10.7.0.2", "::10.7.0.2", false},
		{"::", "::", false},
		{"0.0.0.0", "0.0.0.0", true},
		{"", NULL, false},
		{"10.7.0", NULL, false},
		{"10.7.0.256", NULL, false},
		{" 10.7.0.2", NULL, false},
		{"10.7.0.2/24", NULL, false},
		{"[2001:db8::1]", NULL, false},
		{"fe80::1%eth0", NULL, false},
		{"shop.example", NULL, false},
	};
	char text[ADDRESS_TEXT];
	struct address address;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		int error = address_parse(rows[i].text, &address);

		if (error != (rows[i].printed ? 0 : -EINVAL))
			fail_msg("'%s': %d", rows[i].text, error);
		if (error)
			continue;
		assert_string_equal(address_format(&address, text), rows[i].printed);
		assert_int_equal(address_is_ipv4(&address), rows[i].ipv4);
	}
}

static void endpoints(void **state)
{
	static const struct {
		const char *text, *printed; /* NULL: not an endpoint */
	} rows[] = {
		{"10.7.0.2:7562", "10.7.0.2:7562"},
		{"[2001:db8::1]:80", "[2001:db8::1]:80"},
		{"[::ffff:10.7.0.2]:1", "10.7.0.2:1"},
		{"10.7.0.2:65535", "10.7.0.2:65535"},
		{"10.7.0.2", NULL},
		{"10.7.0.2:", NULL},
		{"10.7.0.2:0", NULL},
		{"10.7.0.2:65536", NULL},
		{"10.7.0.2:99999999999999999999", NULL},
		{"10.7.0.2:-1", NULL},
		{"10.7.0.2:+1", NULL},
		{"10.7.0.2: 1", NULL},
		{"10.7.0.2:80x", NULL},
		{"2001:db8::1:80", NULL},
		{"[10.7.0.2]:80", NULL},
		{"[2001:db8::1]", NULL},
		{"[]:80", NULL},
		{":80", NULL},
		{"", NULL},
		{"1111:2222:3333:4444:5555:6666:7777:8888:9999:aaaa:bbbb:cccc:dddd:eeee:ffff:80",
		 NULL},
	};
	char text[ADDRESS_TEXT];
	struct address address;
	__be16 port;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		int error = endpoint_parse(rows[i].text, &address, &port);

		if (error != (rows[i].printed ? 0 : -EINVAL))
			fail_msg("'%s': %d", rows[i].text, error);
		if (!error)
			assert_string_equal(endpoint_format(&address, port, text), rows[i].printed);
	}
}

static void prefixes(void **state)
{
	static const struct {
		const char *text;
		int length; /* of 128; -1: not a prefix */
	} rows[] = {
		{"203.0.113.0/24", 120},
		{"203.0.113.10/32", 128},
		{"203.0.113.10", 128},
		{"0.0.0.0/0", 96},
		{"2001:db8:113::/64", 64},
		{"2001:db8::1", 128},
		{"::/0", 0},
		{"203.0.113.10/24", -1},
		{"203.0.113.0/33", -1},
		{"2001:db8:113::1/64", -1},
		{"2001:db8::/129", -1},
		{"203.0.113.0/", -1},
		{"203.0.113.0/24/24", -1},
		{"/24", -1},
		{"203.0.113.0/-1", -1},
		{"203.0.113.0/4294967320", -1},
	};
	struct prefix prefix;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		int error = prefix_parse(rows[i].text, &prefix);

		if (error != (rows[i].length < 0 ? -EINVAL : 0))
			fail_msg("'%s': %d", rows[i].text, error);
		if (!error)
			assert_int_equal(prefix.length, rows[i].length);
	}
}

static void containment(void **state)
{
	static const struct {
		const char *prefix, *address;
		bool inside;
	} rows[] = {
		{"203.0.113.0/24", "203.0.113.10", true},
		{"203.0.113.0/24", "203.0.114.10", false},
		{"203.0.113.128/25", "203.0.113.127", false},
		{"203.0.113.10", "203.0.113.10", true},
		{"0.0.0.0/0", "203.0.113.10", true},
		{"0.0.0.0/0", "2001:db8::1", false},
		{"2001:db8:113::/64", "2001:db8:113::ffff", true},
		{"2001:db8:113::/64", "2001:db8:113:1::", false},
		{"::/0", "203.0.113.10", true},
	};
	struct address address;
	struct prefix prefix;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_int_equal(prefix_parse(rows[i].prefix, &prefix), 0);
		assert_int_equal(address_parse(rows[i].address, &address), 0);
		if (prefix_contains(&prefix, &address) != rows[i].inside)
			fail_msg("%s in %s", rows[i].address, rows[i].prefix);
	}
}

static void masks(void **state)
{
	static const struct {
		unsigned int length;
		const char *masked;
	} rows[] = {
		{128, "203.0.113.255"},
		{127, "203.0.113.254"},
		{121, "203.0.113.128"},
		{120, "203.0.113.0"},
		{97, "128.0.0.0"},
		{96, "0.0.0.0"},
		{80, "::"},
		{0, "::"},
	};
	char text[ADDRESS_TEXT];
	struct address address;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_int_equal(address_parse("203.0.113.255", &address), 0);
		address_mask(&address, rows[i].length);
		assert_string_equal(address_format(&address, text), rows[i].masked);
	}
}

static void sockets(void **state)
{
	static const struct {
		const char *text;
		int family;
		socklen_t length;
	} rows[] = {
		{"10.7.0.2", AF_INET, sizeof(struct sockaddr_in)},
		{"2001:db8::1", AF_INET6, sizeof(struct sockaddr_in6)},
	};
	struct sockaddr unknown = {.sa_family = AF_UNIX};
	struct address address, back;
	struct sockaddr_storage socket;
	__be16 port;

	(void)state;
	for (size_t i = 0; i < ROWS(rows); i++) {
		assert_int_equal(address_parse(rows[i].text, &address), 0);
		assert_int_equal(address_to_socket(&address, htons(80), &socket), rows[i].length);
		assert_int_equal(socket.ss_family, rows[i].family);
		address_from_socket((struct sockaddr *)&socket, &back, &port);
		assert_true(address_equal(&address, &back));
		assert_int_equal(port, htons(80));
	}
	address_from_socket(&unknown, &back, &port);
	assert_true(address_is_zero(&back));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses), cmocka_unit_test(endpoints),
		cmocka_unit_test(prefixes),  cmocka_unit_test(containment),
		cmocka_unit_test(masks),     cmocka_unit_test(sockets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
