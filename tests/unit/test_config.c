/* SPDX-License-Identifier: BSD-2-Clause */
/* The configuration file: what it means, and the one line for whatever is wrong with it. */
#include <errno.h>

#include "config_directory.h"

#define ROWS(table) (sizeof(table) / sizeof(*(table)))

static void check_address(const struct address *address, const char *expected)
{
	char text[ADDRESS_TEXT];

	assert_string_equal(address_format(address, text), expected);
}

#define TLS    "tls: { ca: ca.pem, certificate: /etc/r1.pem, key: r1.key }\n"
#define ROUTER "router:\n  interfaces: [eth0]\n  address: 10.7.0.2\n"
#define TARGET                                                                                     \
	"target:\n  interfaces: [eth0]\n  address: 10.7.0.11\n"                                    \
	"  routers: [ \"10.7.0.2:7562\", \"[2001:db8::3]:7563\" ]\n"                               \
	"  service_addresses: [ 203.0.113.0/24, \"2001:db8:113::/64\" ]\n"

static const char full[] =
	"node: r1\n"
	"router:\n"
	"  interfaces: [eth0, eth1]\n"
	"  address: 10.7.0.2\n"
	"  address6: 2001:db8::2\n"
	"  listen: 10.7.0.22:7000\n"
	"  standby_sync: on-failure\n"
	"  hold_time: 5s\n"
	"  dead_time: 2m\n"
	"  services:\n"
	"    - name: shop\n"
	"      address: 203.0.113.10\n"
	"      port: 80\n"
	"      protocol: tcp\n"
	"      distribution: leastconn\n"
	"      scope: web\n"
	"      affinity: timed\n"
	"      affinity_idle: 500ms\n"
	"      affinity_max_life: 1h\n"
	"      takeover: allow\n"
	"      client_prefix: 24\n"
	"    - { name: shop6, address: '2001:db8:113::10', port: 443, scope: web, "
	"affinity: none, client_prefix: 64, distribution: hotstandby }\n" TARGET "  weight: 7\n"
	"  affinity_quota: 9\n"
	"  cgroup: group\n" TLS "tables: { connections: 5000, affinities: 600 }\n"
	"pin_path: /pins\n"
	"runtime_directory: run\n"
	"state_directory: ../lib\n";

static void router_keys(void **state)
{
	struct config *config = load(full);

	(void)state;
	assert_string_equal(config->node, "r1");
	assert_true(config->has_router && config->has_target);
	assert_int_equal(config->router.interface_count, 2);
	assert_string_equal(config->router.interfaces[1], "eth1");
	check_address(&config->router.address, "10.7.0.2");
	check_address(&config->router.address6, "2001:db8::2");
	check_address(&config->router.listen, "10.7.0.22");
	assert_int_equal(config->router.listen_port, htons(7000));
	assert_true(config->router.sync_on_failure);
	assert_int_equal(config->router.hold_ms, 5000);
	assert_int_equal(config->router.dead_ms, 120000);
	config_free(config);
}

static void service_keys(void **state)
{
	struct config *config = load(full);
	const struct config_service *shop = &config->router.services[0];

	(void)state;
	assert_int_equal(config->router.service_count, 2);
	assert_string_equal(shop->name, "shop");
	assert_string_equal(shop->scope, "web");
	check_address(&shop->key.address, "203.0.113.10");
	assert_int_equal(shop->key.port, htons(80));
	assert_int_equal(shop->key.protocol, IPPROTO_TCP);
	assert_int_equal(shop->distribution, DISTRIBUTE_LEASTCONN);
	assert_int_equal(shop->affinity, AFFINITY_BY_TIME);
	assert_int_equal(shop->affinity_idle_ms, 500);
	assert_int_equal(shop->affinity_max_life_ms, 3600000);
	assert_int_equal(shop->client_prefix, 120);
	assert_true(shop->takeover);
	assert_int_equal(shop->line, 11);
	assert_int_equal(shop[1].affinity, AFFINITY_NONE);
	assert_int_equal(shop[1].distribution, DISTRIBUTE_HOTSTANDBY);
	assert_int_equal(shop[1].client_prefix, 64);
	assert_int_equal(shop[1].line, 22);
	config_free(config);
}

static void other_keys(void **state)
{
	struct config *config = load(full);
	char path[256];

	(void)state;
	check_address(&config->target.address, "10.7.0.11");
	assert_int_equal(config->target.weight, 7);
	assert_int_equal(config->target.affinity_quota, 9);
	assert_int_equal(config->target.router_count, 2);
	check_address(&config->target.routers[1].address, "2001:db8::3");
	assert_int_equal(config->target.routers[1].port, htons(7563));
	assert_int_equal(config->target.service_address_count, 2);
	assert_int_equal(config->target.service_addresses[0].length, 120);
	assert_int_equal(config->target.service_addresses[1].length, 64);

	snprintf(path, sizeof(path), "%s/group", directory);
	assert_string_equal(config->target.cgroup, path);
	snprintf(path, sizeof(path), "%s/ca.pem", directory);
	assert_string_equal(config->tls_ca, path);
	assert_string_equal(config->tls_certificate, "/etc/r1.pem");
	assert_int_equal(config->max_connections, 5000);
	assert_int_equal(config->max_affinities, 600);
	assert_string_equal(config->pin_path, "/pins");
	snprintf(path, sizeof(path), "%s/run", directory);
	assert_string_equal(config->runtime_directory, path);
	config_free(config);
}

static void defaults(void **state)
{
	struct config *config =
		load("node: r1\n" TLS ROUTER "  services:\n"
		     "    - { name: a, address: 203.0.113.10, port: 80 }\n"
		     "    - { name: b, address: '2001:db8::10', port: 80 }\n" TARGET);
	const struct config_service *service = &config->router.services[0];

	(void)state;
	check_address(&config->router.listen, "10.7.0.2");
	assert_int_equal(config->router.listen_port, htons(7562));
	assert_true(address_is_zero(&config->router.address6));
	assert_false(config->router.sync_on_failure);
	assert_int_equal(config->router.hold_ms, 30000);
	assert_int_equal(config->router.dead_ms, 60000);
	assert_string_equal(service->scope, "a");
	assert_int_equal(service->distribution, DISTRIBUTE_MAGLEV);
	assert_int_equal(service->affinity, AFFINITY_BY_REQUEST);
	assert_int_equal(service->affinity_idle_ms, 300000);
	assert_int_equal(service->affinity_max_life_ms, 0);
	assert_false(service->takeover);
	assert_int_equal(service->client_prefix, 128);
	assert_int_equal(service[1].client_prefix, 128);
	assert_int_equal(config->target.weight, 100);
	assert_int_equal(config->target.affinity_quota, 0);
	assert_non_null(config->target.cgroup);
	assert_int_equal(config->max_connections, 1000000);
	assert_int_equal(config->max_affinities, 200000);
	assert_string_equal(config->pin_path, "/sys/fs/bpf/limpet");
	assert_string_equal(config->runtime_directory, "/run/limpet");
	assert_string_equal(config->state_directory, "/var/lib/limpet");
	config_free(config);

	/* A router without services; a router whose address is IPv6. */
	config = load("node: r1\n" TLS "router:\n  interfaces: [eth0]\n  address: '2001:db8::2'\n");
	assert_int_equal(config->router.service_count, 0);
	assert_false(config->has_target);
	check_address(&config->router.address6, "2001:db8::2");
	config_free(config);
}

/* Lines: node 1, tls 2, router 3, interfaces 4, address 5, then what the row appends from 6. */
#define TEN "1234567890"
#define R   "node: r1\n" TLS ROUTER
/* Lines: node 1, tls 2, target 3, interfaces 4, address 5, routers 6, service_addresses 7. */
#define T	      "node: t1\n" TLS TARGET
#define SHOP	      "    - { name: shop, address: 203.0.113.10, port: 80 }\n"
#define PORT(text)    "  services:\n    - name: a\n      address: 203.0.113.10\n      port: " text "\n"
#define ADDRESS(text) "  services:\n    - { name: a, port: 80, address: '" text "' }\n"
#define T_HEAD	      "node: t1\n" TLS "target:\n  interfaces: [eth0]\n  address: 10.7.0.11\n"

static const struct {
	const char *text;
	unsigned int line; /* 0: none is told */
	const char *what;  /* in the message */
} wrong[] = {
	/* YAML */
	{"", 1, "the file is empty"},
	{"# nothing\n", 1, "the file is empty"},
	{"node: [r1\n", 2, "did not find expected"},
	{"node: r1\n\ttls: x\n", 2, "tab"},
	{R "---\n" T, 6, "a second YAML document begins here"},
	{"---\n" R "---\n", 7, "a second YAML document begins here"},
	{R "...\nnode: r2\n", 7, "did not find expected <document start>"},
	{R "---\nnode: [r2\n", 8, "did not find expected"},
	{"{ node: r1 }\n]\n", 2, "did not find expected"},
	{"- node\n", 1, "the file is not a section with the keys node, router"},
	/* keys */
	{R "  adress: 10.7.0.2\n", 6, "unknown key 'adress' in router; known are interfaces"},
	{R "wieght: 3\n", 6, "unknown key 'wieght'; known are node, router"},
	{R "  services:\n    - name: a\n      address: 203.0.113.10\n      port: 80\n"
	   "      colour: red\n",
	 10, "unknown key 'colour' in router.services[0]"},
	{R "  services:\n" SHOP "    - colour: red\n", 8,
	 "unknown key 'colour' in router.services[1]"},
	{"colour: red\n", 1, "unknown key 'colour'"},
	{R "  address: 10.7.0.3\n", 6, "key 'address' in router is given twice"},
	{R "node: r2\n", 6, "key 'node' is given twice"},
	{R "  services:\n    - name: a\n      port: 80\n      port: 81\n"
	   "      address: 203.0.113.10\n",
	 9, "key 'port' in router.services[0] is given twice"},
	{TLS ROUTER, 1, "key 'node' is missing"},
	{"node: r1\n" ROUTER, 1, "key 'tls' is missing"},
	{"node: r1\n" ROUTER "tls:\n  ca: ca.pem\n  key: r1.key\n", 6,
	 "key 'certificate' is missing in tls"},
	{R "  services:\n" SHOP "    - name: b\n      port: 80\n", 8,
	 "key 'address' is missing in router.services[1]"},
	{"node: r1\n" TLS, 1, "neither router nor target"},
	/* types and ranges */
	{"node: [r1]\n" TLS ROUTER, 1, "node is not a text"},
	{"node: r1\n" TLS "router:\n", 3, "router is not a section with the keys"},
	{R "  services: shop\n", 6, "router.services: 'shop' is not a list"},
	{R "  services:\n    - name: a\n      address: 203.0.113.10\n      port: 70000\n", 9,
	 "router.services[0].port: '70000' is not a number from 0 to 65535"},
	{R "  services:\n    - name: a\n      address: 203.0.113.10\n      port: http\n", 9,
	 "router.services[0].port: 'http' is not a number"},
	{R "  services:\n    - name: a\n      address: 203.0.113.10\n      port: -1\n", 9,
	 "router.services[0].port: '-1' is not a number"},
	{R "  services:\n    - name: a\n      address: 203.0.113.10\n      port: 0\n", 9,
	 "router.services[0].port: 0 is not a port"},
	{R "  services:\n" SHOP
	   "    - { name: b, address: 203.0.113.10, port: 81,\n        protocol: udp }\n",
	 9, "router.services[1].protocol: 'udp' is not one of tcp"},
	{R "  services:\n    - { name: b, address: 203.0.113.10, port: 81, affinity: ask }\n", 7,
	 "affinity: 'ask' is not one of requested, timed, none"},
	{R "  standby_sync: never\n", 6, "'never' is not one of continuous, on-failure"},
	{R "tables: { connections: 0 }\n", 6, "tables.connections: 0 is not from 1 to"},
	{R "tables:\n  connections: 9\n  affinities: 99000000\n", 8,
	 "tables.affinities: 99000000 is not"},
	{R "tables: { connections: 4294967296 }\n", 6, "'4294967296' is not a number from 0"},
	{T "  weight: 65536\n", 8, "target.weight: '65536' is not a number from 0 to 65535"},
	/* numbers are decimal, to their end */
	{R PORT("8e1"), 9,
	 "router.services[0].port: '8e1' is not a number from 0 to 65535 (decimal digits, no "
	 "leading zero)"},
	{R PORT("0100"), 9, "router.services[0].port: '0100' is not a number"},
	{R PORT("080"), 9, "router.services[0].port: '080' is not a number"},
	{R PORT("00"), 9, "router.services[0].port: '00' is not a number"},
	{R PORT("0x50"), 9, "router.services[0].port: '0x50' is not a number"},
	{R PORT("1_000"), 9, "router.services[0].port: '1_000' is not a number"},
	{R PORT("80.9"), 9, "router.services[0].port: '80.9' is not a number"},
	{R PORT("80abc"), 9, "router.services[0].port: '80abc' is not a number"},
	{R PORT("+80"), 9, "router.services[0].port: '+80' is not a number"},
	{R PORT("' 80'"), 9, "router.services[0].port: ' 80' is not a number"},
	{R PORT("\"80\\0\""), 9, "router.services[0].port: '80' is not a number"},
	{R PORT("\"80\\n1\""), 9, "router.services[0].port: '80?1' is not a number"},
	{R PORT("''"), 9, "router.services[0].port is not a number"},
	{R PORT("-18446744073709551535"), 9, "'-18446744073709551535' is not a number"},
	{R PORT("18446744073709551696"), 9, "'18446744073709551696' is not a number"},
	{R "  services:\n" SHOP "    - { name: b, address: 203.0.113.11, port: 8e1 }\n", 8,
	 "router.services[1].port: '8e1' is not a number"},
	{R PORT("80") "      client_prefix: 2_4\n", 10,
	 "router.services[0].client_prefix: '2_4' is not a number from 0 to 255"},
	{T "  weight: 010\n", 8, "target.weight: '010' is not a number from 0 to 65535"},
	{T "  affinity_quota: 1k\n", 8, "target.affinity_quota: '1k' is not a number"},
	{R "tables: { connections: 1e6 }\n", 6, "tables.connections: '1e6' is not a number"},
	{R "tables:\n  connections: 9\n  affinities: 1e6\n", 8,
	 "tables.affinities: '1e6' is not a number"},
	/* names */
	{"node: R1\n" TLS ROUTER, 1, "node: 'R1' has a character other than"},
	{"node: a/b\n" TLS ROUTER, 1, "node: 'a/b' has a character other than"},
	{"node: .x\n" TLS ROUTER, 1, "node: '.x' does not begin with"},
	{"node: a123456789012345678901234567890x\n" TLS ROUTER, 1, "is not a text of 1 to 31"},
	{"node: ''\n" TLS ROUTER, 1, "node is not a text of 1 to 31"},
	{R "  services:\n    - { name: a b, address: 203.0.113.10, port: 80 }\n", 7,
	 "router.services[0].name: 'a b' has a character"},
	/* interfaces and addresses */
	{"node: r1\n" TLS "router:\n  interfaces: []\n  address: 10.7.0.2\n", 4,
	 "router.interfaces is not a list of 1 to 16"},
	{"node: r1\n" TLS "router:\n  interfaces: [a, b,\n    a]\n  address: 10.7.0.2\n", 5,
	 "router.interfaces[2]: a is named twice"},
	{"node: r1\n" TLS "router:\n  interfaces: [eth0123456789012345]\n  address: 10.7.0.2\n", 4,
	 "router.interfaces[0]: 'eth0123456789012345' is not a text of 1 to 15"},
	{"node: r1\n" TLS "router:\n  interfaces: [eth0]\n  address: 10.7.0\n", 5,
	 "router.address: '10.7.0' is not an IPv4 or IPv6 address"},
	{"node: r1\n" TLS "router:\n  interfaces: [eth0]\n  address: 224.0.0.1\n", 5,
	 "router.address: 224.0.0.1 is not the address of a host"},
	{"node: r1\n" TLS "router:\n  interfaces: [eth0]\n  address: '::'\n", 5,
	 "router.address: :: is not the address of a host"},
	{R "  address6: 10.7.0.3\n", 6, "router.address6 is the IPv6 address"},
	{R "  address6: 'fe80::1'\n", 6, "router.address6: fe80::1 is link-local"},
	{R ADDRESS("127.0.0.1"), 7, "router.services[0].address: 127.0.0.1 is the loopback"},
	{R ADDRESS("127.9.0.1"), 7, "router.services[0].address: 127.9.0.1 is the loopback"},
	{R ADDRESS("::1"), 7, "router.services[0].address: ::1 is the loopback"},
	{R ADDRESS("::ffff:127.0.0.1"), 7, "::ffff:127.0.0.1 is the loopback"},
	{R ADDRESS("fe80::1"), 7, "router.services[0].address: fe80::1 is link-local"},
	{R ADDRESS("febf::1"), 7, "router.services[0].address: febf::1 is link-local"},
	{R ADDRESS("ff02::1"), 7, "router.services[0].address: ff02::1 is not the address of a"},
	{R ADDRESS("239.1.1.1"), 7, "address: 239.1.1.1 is not the address of a host"},
	{R ADDRESS("255.255.255.255"), 7, "255.255.255.255 is not the address of a host"},
	{R ADDRESS("0.0.0.0"), 7, "router.services[0].address: 0.0.0.0 is not the address"},
	{R ADDRESS("::"), 7, "router.services[0].address: :: is not the address of a host"},
	{R "  listen: 224.0.0.1:7562\n", 6, "224.0.0.1:7562 is not the address of a host"},
	{R "  listen: 10.7.0.2\n", 6, "router.listen: '10.7.0.2' is not ADDRESS:PORT"},
	/* durations */
	{R "  hold_time: 30\n", 6, "router.hold_time: '30' is not a duration, for example"},
	{R "  hold_time: 30d\n", 6, "'30d' is not a duration"},
	{R "  hold_time: s\n", 6, "'s' is not a duration"},
	{R "  hold_time: -1s\n", 6, "'-1s' is not a duration"},
	{R "  hold_time: 11m\n", 6, "router.hold_time: 11m is more than 600s"},
	{R "  dead_time: 99999999999h\n", 6, "is not a duration"},
	{R "  services:\n    - { name: a, address: 203.0.113.10, port: 80, affinity_idle: 721h }\n",
	 7, "affinity_idle: 721h is more than"},
	/* services together */
	{R "  services:\n" SHOP "    - { name: shop, address: 203.0.113.11, port: 80 }\n", 8,
	 "service 'shop' is already in line 7"},
	{R "  services:\n" SHOP "    - name: b\n      port: 80\n      address: 203.0.113.10\n", 10,
	 "service 'b' overlaps with 'shop' in line 7: both are 203.0.113.10:80/tcp"},
	{R "  services:\n" SHOP "    - { name: b, address: '::ffff:203.0.113.10', port: 80 }\n", 8,
	 "service 'b' overlaps with 'shop'"},
	{R "  services:\n" SHOP "    - name: b\n      address: 203.0.113.10\n      port: 443\n"
	   "      scope: shop\n      client_prefix: 24\n",
	 12, "share the scope 'shop', so their client_prefix must be the same"},
	{R "  services:\n    - { name: a, address: 10.7.0.2, port: 80 }\n", 7,
	 "service 'a' has the router's own address"},
	{R "  services:\n    - { name: a, address: 203.0.113.10, port: 80, client_prefix: 64 }\n",
	 7, "client_prefix: 64 is not from 1 to 32, for IPv4"},
	{R "  services:\n    - { name: a, address: '2001:db8::1', port: 80, client_prefix: 0 }\n",
	 7, "client_prefix: 0 is not from 1 to 128, for IPv6"},
	/* paths */
	{R "runtime_directory: /run/" TEN TEN TEN TEN TEN TEN TEN TEN TEN "1\n", 6,
	 "is longer than 94 characters, which a socket in it"},
	/* target */
	{T_HEAD "  routers: []\n  service_addresses: [203.0.113.0/24]\n", 6,
	 "target.routers is not a list of 1 to 16"},
	{T_HEAD "  service_addresses: [203.0.113.0/24]\n", 4, "key 'routers' is missing in target"},
	{T_HEAD "  routers: [10.7.0.2:7562]\n", 4, "key 'service_addresses' is missing in target"},
	{T_HEAD
	 "  routers:\n    - 10.7.0.2:7562\n    - 10.7.0.3\n  service_addresses: [\"::/0\"]\n",
	 8, "target.routers[1]: '10.7.0.3' is not ADDRESS:PORT"},
	{T_HEAD "  routers: [\"0.0.0.0:7562\"]\n  service_addresses: [\"::/0\"]\n", 6,
	 "target.routers[0]: 0.0.0.0:7562 is not the address of a host"},
	{T_HEAD "  routers:\n    - 10.7.0.2:7562\n    - 10.7.0.2:7562\n"
		"  service_addresses: [\"::/0\"]\n",
	 8, "target.routers[1]: 10.7.0.2:7562 is named twice"},
	{T_HEAD "  routers: [10.7.0.2:7562]\n  service_addresses: [203.0.113.10/24]\n", 7,
	 "target.service_addresses[0]: '203.0.113.10/24' is not a prefix"},
};

/* What is next to those, and right. */
static void not_errors(void **state)
{
	struct config *config;

	(void)state;
	config = load("---\n" R PORT("65535") "...\n# the end\n");
	assert_int_equal(config->router.services[0].key.port, htons(65535));
	config_free(config);

	config = load(R "  listen: 0.0.0.0:7562\n" ADDRESS("fec0::1"));
	assert_true(address_is_any(&config->router.listen));
	config_free(config);
	config = load(R "  listen: \"[::]:7562\"\n" ADDRESS("169.254.0.1"));
	assert_true(address_is_any(&config->router.listen));
	config_free(config);

	config = load(T "  weight: 0\n  affinity_quota: 4294967295\n");
	assert_int_equal(config->target.weight, 0);
	assert_int_equal(config->target.affinity_quota, UINT32_MAX);
	config_free(config);
}

static void errors(void **state)
{
	(void)state;
	for (size_t i = 0; i < ROWS(wrong); i++) {
		char error[CONFIG_ERROR] = "", place[64];
		struct config *config = NULL;
		int result;

		write_text(wrong[i].text, strlen(wrong[i].text));
		result = config_load("limpet.yaml", &config, error);
		if (result != -EINVAL || config)
			fail_msg("row %zu was accepted: %s", i, wrong[i].text);
		snprintf(place, sizeof(place), "limpet.yaml:%u: ", wrong[i].line);
		if (strncmp(error, place, strlen(place)))
			fail_msg("row %zu: not in line %u: %s", i, wrong[i].line, error);
		if (!strstr(error, wrong[i].what))
			fail_msg("row %zu: '%s' is not in: %s", i, wrong[i].what, error);
		if (strchr(error, '\n'))
			fail_msg("row %zu: more than one line: %s", i, error);
	}
}

static void unreadable(void **state)
{
	char error[CONFIG_ERROR];
	struct config *config;

	(void)state;
	assert_int_equal(config_load("none.yaml", &config, error), -ENOENT);
	assert_string_equal(error, "none.yaml: cannot be read: No such file or directory");
	assert_int_equal(config_load(directory, &config, error), -EISDIR);
}

/* A takeover needs no more than these, and gets them from a file that is wrong elsewhere. */
static void places(void **state)
{
	static const char broken[] = "node: r1\nrouter: { adress: 1 }\npin_path: /pins\n";
	char error[CONFIG_ERROR];
	struct config *config = NULL;

	(void)state;
	write_text(broken, sizeof(broken) - 1);
	assert_int_equal(config_load("limpet.yaml", &config, error), -EINVAL);
	assert_int_equal(config_load_places("limpet.yaml", &config, error), 0);
	assert_string_equal(config->node, "r1");
	assert_string_equal(config->pin_path, "/pins");
	assert_string_equal(config->runtime_directory, "/run/limpet");
	config_free(config);

	write_text("node: [\n", 8);
	assert_int_equal(config_load_places("limpet.yaml", &config, error), -EINVAL);
	assert_non_null(strstr(error, "limpet.yaml:2: "));
}

/* Whatever is cut off or overwritten: an answer, and if it is a refusal then one line. */
static void mangled(void **state)
{
	static const char text[] =
		R "  services:\n" SHOP TARGET "tables: { connections: 5, affinities: 6 }\n";
	static const char bytes[] = {'\0', '\t', ':', '[', '}', '\xff', '&', '*', '-', '"'};

	(void)state;
	for (size_t i = 0; i < sizeof(text) - 1; i++) {
		for (size_t j = 0; j <= sizeof(bytes); j++) {
			char copy[sizeof(text)], error[CONFIG_ERROR] = "";
			size_t length = j < sizeof(bytes) ? sizeof(text) - 1 : i;
			struct config *config = NULL;

			memcpy(copy, text, sizeof(text));
			if (j < sizeof(bytes))
				copy[i] = bytes[j];
			write_text(copy, length);
			if (config_load("limpet.yaml", &config, error)) {
				assert_null(config);
				assert_int_equal(strncmp(error, "limpet.yaml:", 12), 0);
				assert_null(strchr(error, '\n'));
			}
			config_free(config);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(router_keys), cmocka_unit_test(service_keys),
		cmocka_unit_test(other_keys),  cmocka_unit_test(defaults),
		cmocka_unit_test(not_errors),  cmocka_unit_test(errors),
		cmocka_unit_test(unreadable),  cmocka_unit_test(places),
		cmocka_unit_test(mangled),
	};

	return cmocka_run_group_tests(tests, enter, leave);
}
