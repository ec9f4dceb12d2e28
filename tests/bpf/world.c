/* SPDX-License-Identifier: BSD-2-Clause */
#include "world.h"

#include <arpa/inet.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

#include "address.h"
#include "maps.h"
#include "outer.h"
#include "world_parts.h"
#include "xdp.skel.h"

#define LOOPBACK      1 /* what bpf_prog_test_run's packets come by */
#define OTHER_IFINDEX 2
#define STILL_NS      3000000 /* as much hurts no test */

struct xdp_bpf *program;
static struct router_service services[MAX_SERVICES];

void put(const struct bpf_map *map, const void *key, const void *value)
{
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY), 0);
}

bool get(const struct bpf_map *map, const void *key, void *value)
{
	return !bpf_map_lookup_elem(bpf_map__fd(map), key, value);
}

static void empty(const struct bpf_map *map)
{
	uint8_t key[64];

	while (!bpf_map_get_next_key(bpf_map__fd(map), NULL, key))
		assert_int_equal(bpf_map_delete_elem(bpf_map__fd(map), key), 0);
}

static uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Of the thread that resets the world; the others' packets take their time. */
static __thread uint64_t stands_since_ns;

void world_stood_still(void)
{
	if (stands_since_ns)
		stands_since_ns = clock_ns();
}

static void stand_still_of_all(uint64_t by_ns)
{
	struct router_role role;
	uint32_t zero = 0;

	flows_younger(by_ns);
	assert_true(get(program->maps.role, &zero, &role));
	/* What counts from the beginning does so still; another thread may be writing it. */
	if (role.since_ns > 1)
		put_role(role.role, role.epoch, role.since_ns + by_ns);
	for (uint32_t number = SHOP; number <= PLAIN6; number++) {
		struct router_service service = get_service(number);

		service.since_ns += by_ns;
		if (service.since_ns > by_ns)
			put(program->maps.services, &number, &service);
	}
	for (uint32_t number = T1; number <= LOCAL; number++) {
		struct target target = get_target(number);

		target.since_ns += by_ns;
		if (target.since_ns > by_ns)
			put_target(number, &target);
	}
}

void world_stand_still(void)
{
	uint64_t by_ns = stands_since_ns ? clock_ns() - stands_since_ns : 0;

	if (by_ns < STILL_NS)
		return;
	by_ns &= ~((1ULL << HANDSHAKE_TICK_SHIFT) - 1); /* the same for all */
	stand_still_of_all(by_ns);
	world_stood_still();
}

uint64_t world_now_ns(void)
{
	world_stand_still();
	return clock_ns();
}

struct address world_address(const char *text)
{
	struct address address = {.byte = {[10] = 0xff, [11] = 0xff}};

	if (inet_pton(AF_INET, text, address.byte + 12) == 1)
		return address;
	assert_int_equal(inet_pton(AF_INET6, text, address.byte), 1);
	return address;
}

struct settings router_settings(void)
{
	return (struct settings){.hold_ns = 30000000000,
				 .flow_secret = {0x0123456789abcdef, 0x02468ace13579bdf},
				 .is_router = 1,
				 .flow_bits = FLOW_BITS_MIN,
				 .handshake_bits = FLOW_BITS_MIN,
				 .sighting_bits = FLOW_BITS_MIN,
				 .present_bits = PRESENT_BITS,
				 .present_affinity_bits = PRESENT_BITS};
}

void put_settings(const struct settings *settings)
{
	put(program->maps.settings, &(uint32_t){0}, settings);
}

void squeeze(uint8_t flow_bits, uint8_t handshake_bits, uint8_t present_bits)
{
	struct settings settings = router_settings();

	settings.flow_bits = flow_bits;
	settings.handshake_bits = handshake_bits;
	settings.sighting_bits = handshake_bits;
	settings.present_bits = present_bits;
	settings.present_affinity_bits = present_bits;
	put_settings(&settings);
}

struct maps world_maps(void)
{
	struct maps maps;

	for (int id = 0; id < MAPS; id++)
		maps.fd[id] = -1;
	maps.fd[MAP_SERVICE_INDEX] = bpf_map__fd(program->maps.service_index);
	maps.fd[MAP_ROUTER_SERVICES] = bpf_map__fd(program->maps.services);
	maps.fd[MAP_ROUTER_SCOPES] = bpf_map__fd(program->maps.scopes);
	maps.fd[MAP_SERVICE_STATE] = bpf_map__fd(program->maps.service_state);
	maps.fd[MAP_UNSERVED] = bpf_map__fd(program->maps.unserved);
	maps.fd[MAP_ROUTER_CONNECTIONS] = bpf_map__fd(program->maps.connections);
	maps.fd[MAP_ROUTER_AFFINITIES] = bpf_map__fd(program->maps.affinities);
	maps.fd[MAP_TARGETS] = bpf_map__fd(program->maps.targets);
	maps.fd[MAP_RINGS] = bpf_map__fd(program->maps.rings);
	return maps;
}

static void put_index(void)
{
	struct maps maps = world_maps();

	assert_int_equal(maps_put_service_index(&maps, services), 0);
}

void put_service(uint32_t number, const struct router_service *service)
{
	put(program->maps.services, &number, service);
	services[number] = *service;
	put_index();
}

void drop_service(uint32_t number)
{
	memset(&services[number], 0, sizeof(services[number]));
	put_index();
}

struct router_service get_service(uint32_t number)
{
	struct router_service service;

	assert_true(get(program->maps.services, &number, &service));
	return service;
}

void put_target(uint32_t number, const struct target *target)
{
	put(program->maps.targets, &number, target);
}

struct target get_target(uint32_t number)
{
	struct target target;

	assert_true(get(program->maps.targets, &number, &target));
	return target;
}

void set_flags(uint32_t number, uint16_t flags)
{
	struct target target = get_target(number);

	target.flags = (target.flags & (TARGET_IPV6 | TARGET_WRAPS)) | flags;
	put_target(number, &target);
}

void put_ring_slots(uint32_t service, uint16_t (*slot)(uint32_t slot))
{
	static struct ring_element element[RING_ELEMENTS];
	static uint32_t index[RING_ELEMENTS];
	uint32_t count = RING_ELEMENTS;
	int ring = bpf_map_create(BPF_MAP_TYPE_ARRAY, "ring", 4, sizeof(element[0]), RING_ELEMENTS,
				  NULL);

	assert_true(ring >= 0);
	for (uint32_t i = 0; i < RING_ELEMENTS * RING_LANES; i++)
		element[i / RING_LANES].target[i % RING_LANES] = slot(i);
	for (uint32_t i = 0; i < RING_ELEMENTS; i++)
		index[i] = i;
	assert_int_equal(bpf_map_update_batch(ring, index, element, &count, NULL), 0);
	put(program->maps.rings, &service, &ring);
	close(ring);
}

static uint16_t one_target;

static uint16_t the_one(uint32_t slot)
{
	(void)slot;
	return one_target;
}

void put_ring(uint32_t service, uint16_t target)
{
	one_target = target;
	put_ring_slots(service, the_one);
}

void drop_ring(uint32_t service)
{
	bpf_map_delete_elem(bpf_map__fd(program->maps.rings), &service);
}

void put_ready(uint32_t service, uint32_t ready_instances)
{
	struct service_state state = {.ready_instances = ready_instances, .generation = 1};

	put(program->maps.service_state, &service, &state);
}

void put_unserved(uint32_t service, uint16_t target, bool is)
{
	struct unserved bits = {0};

	bits.word[target / 64] = (uint64_t)is << target % 64;
	put(program->maps.unserved, &service, &bits);
}

void put_role(uint32_t role, uint32_t epoch, uint64_t since_ns)
{
	struct router_role value = {.since_ns = since_ns, .epoch = epoch, .role = role};

	put(program->maps.role, &(uint32_t){0}, &value);
}

void put_sync(uint32_t epoch, uint32_t in_sync, uint32_t affinities_in_sync)
{
	struct sync_state value = {.epoch = epoch,
				   .in_sync = in_sync,
				   .affinities_in_sync = affinities_in_sync,
				   .missing = !in_sync};

	put(program->maps.sync_state, &(uint32_t){0}, &value);
}

void put_missing(uint32_t epoch, uint64_t since_ns)
{
	struct sync_state value = {.epoch = epoch,
				   .affinities_in_sync = 1,
				   .missing = 1,
				   .missing_since_ns = since_ns};

	put(program->maps.sync_state, &(uint32_t){0}, &value);
}

void put_router(const char *address)
{
	struct address key = world_address(address);
	struct router router = {.name = "r1"};

	put(program->maps.routers, &key, &router);
}

void put_served(const char *address, uint16_t port, uint8_t protocol)
{
	struct service_key key = {
		.address = world_address(address), .port = htons(port), .protocol = protocol};
	struct served served = {.service = port ? 0 : NO_NUMBER};

	put(program->maps.served, &key, &served);
}

bool get_probe(const char *router, struct probe *probe)
{
	struct address key = world_address(router);

	return get(program->maps.probes, &key, probe);
}

/* ------------------------------------------------------------------------------------------------
 * peace */

void world_run_on(int cpu)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(cpu, &cpus);
	assert_int_equal(sched_setaffinity(0, sizeof(cpus), &cpus), 0);
}

int world_load(void **state)
{
	(void)state;
	program = xdp_bpf__open();
	if (!program)
		return -1;
	flows_size();
	if (xdp_bpf__load(program))
		return -1;
	if (flows_map())
		return -1;
	world_run_on(0); /* clocks of two CPUs differ by a tick at most, but they do */
	return 0;
}

int world_unload(void **state)
{
	(void)state;
	flows_unmap();
	xdp_bpf__destroy(program);
	return 0;
}

static void put_peaceful_service(uint32_t number, const char *name, const char *address,
				 uint16_t port, enum affinity_mode affinity)
{
	struct router_service service = {.key = {.address = world_address(address),
						 .port = htons(port),
						 .protocol = IPPROTO_TCP},
					 .scope = affinity == AFFINITY_NONE ? number : 0,
					 .affinity = affinity,
					 .client_prefix = 128,
					 .serving = 1};

	strncpy(service.name, name, sizeof(service.name) - 1);
	put_service(number, &service);
	put_ring(number, T1);
	put_ready(number, 1);
}

static const struct address *outer_source(const struct target *target)
{
	static struct address source4, source6;

	source4 = world_address(ROUTER);
	source6 = world_address(ROUTER6);
	return address_is_ipv4(&target->address) ? &source4 : &source6;
}

static void put_peaceful_target(uint32_t number, const char *name, const char *address,
				uint32_t ifindex, uint16_t flags)
{
	struct target target = {.address = world_address(address),
				.ifindex = ifindex,
				.flags = flags | TARGET_USABLE | TARGET_IN_SYNC,
				.mtu = TARGET_MTU};

	outer_fill(&target, outer_source(&target));
	memcpy(target.mac, MAC_HOP, 6);
	memcpy(target.source_mac, MAC_ROUTER2, 6);
	strncpy(target.name, name, sizeof(target.name) - 1);
	put_target(number, &target);
}

int world_reset(void **state)
{
	struct settings settings = router_settings();

	(void)state;
	empty_crht(); /* by the settings that it was made by */
	put_settings(&settings);
	flows_forget();
	memset(services, 0, sizeof(services));
	empty(program->maps.routers);
	empty(program->maps.served);
	empty(program->maps.probes);
	drop_ring(GUESS_RING);
	world_run_on(0);
	for (uint32_t i = SHOP; i <= PLAIN6; i++)
		put_unserved(i, T1, false);
	put_peaceful_service(SHOP, "shop", VIP, 80, AFFINITY_BY_REQUEST);
	put_peaceful_service(SHOP6, "shop6", VIP6, 80, AFFINITY_BY_REQUEST);
	put_peaceful_service(PLAIN, "plain", VIP, 443, AFFINITY_NONE);
	put_peaceful_service(PLAIN6, "plain6", VIP6, 443, AFFINITY_NONE);
	put_peaceful_target(T1, "t1", ADDRESS1, LOOPBACK, TARGET_RESOLVED);
	put_peaceful_target(T2, "t2", ADDRESS2, OTHER_IFINDEX, TARGET_RESOLVED);
	put_peaceful_target(T3, "t3", ADDRESS3, LOOPBACK, TARGET_RESOLVED | TARGET_IPV6);
	put_peaceful_target(LOCAL, "self", ROUTER, 0, TARGET_LOCAL);
	put_role(ROLE_ACTIVE, 1, 1);
	put_sync(1, 1, 1);
	stands_since_ns = clock_ns();
	return 0;
}
