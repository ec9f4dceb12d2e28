/* SPDX-License-Identifier: BSD-2-Clause */
#include "world.h"

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

#include "address.h"
#include "maps.h"
#include "outer.h"
#include "xdp.skel.h"

#define LOOPBACK      1 /* what bpf_prog_test_run's packets come by */
#define OTHER_IFINDEX 2
#define TABLE_SIZE    1024
#define PRESENT_BITS  4
#define PRESENT_WORDS (2 << PRESENT_BITS) /* for connections, and as many for affinities */

static struct xdp_bpf *program;
static struct flow_set *flow_sets;
static struct handshake_set *handshake_sets;
static struct sighting_set *sighting_sets;
static struct router_service services[MAX_SERVICES];

static void put(const struct bpf_map *map, const void *key, const void *value)
{
	assert_int_equal(bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY), 0);
}

static bool get(const struct bpf_map *map, const void *key, void *value)
{
	return !bpf_map_lookup_elem(bpf_map__fd(map), key, value);
}

static void empty(const struct bpf_map *map)
{
	uint8_t key[64];

	while (!bpf_map_get_next_key(bpf_map__fd(map), NULL, key))
		assert_int_equal(bpf_map_delete_elem(bpf_map__fd(map), key), 0);
}

uint64_t world_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + now.tv_nsec;
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

static void put_index(void)
{
	struct maps maps;

	maps.fd[MAP_SERVICE_INDEX] = bpf_map__fd(program->maps.service_index);
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

static struct connection_key connection_key(const char *client, uint16_t port, uint16_t service)
{
	return (struct connection_key){
		.client = world_address(client), .client_port = htons(port), .service = service};
}

static int agent(struct router_call *call)
{
	return maps_router_call(bpf_program__fd(program->progs.router_agent), call);
}

void put_connection(const char *client, uint16_t port, uint16_t service, uint16_t target,
		    enum connection_state state)
{
	struct router_call call = {.op = ROUTER_PUT_CONNECTION,
				   .key = connection_key(client, port, service),
				   .value = {.target = target, .state = state}};

	assert_int_equal(agent(&call), 0);
}

int try_connection(const char *client, uint16_t port, uint16_t service, uint16_t target)
{
	struct router_call call = {.op = ROUTER_PUT_CONNECTION,
				   .key = connection_key(client, port, service),
				   .value = {.target = target, .state = CONNECTION_OPEN}};

	return agent(&call);
}

int delete_connection(const char *client, uint16_t port, uint16_t service)
{
	struct router_call call = {.op = ROUTER_DELETE_CONNECTION,
				   .key = connection_key(client, port, service)};

	return agent(&call);
}

void sneak_connection(const char *client, uint16_t port, uint16_t service, uint16_t target)
{
	struct connection_key key = connection_key(client, port, service);
	struct router_connection value = {.target = target, .state = CONNECTION_OPEN};

	put(program->maps.connections, &key, &value);
}

unsigned int table_size(void)
{
	int table = bpf_map__fd(program->maps.connections);
	struct connection_key key, next;
	unsigned int entries = 0;
	void *from = NULL;

	while (!bpf_map_get_next_key(table, from, &next)) {
		key = next;
		from = &key;
		entries++;
	}
	return entries;
}

unsigned int presence(void)
{
	struct present_counts counts;
	unsigned int found = 0;
	uint64_t word;

	for (uint32_t i = 0; i < PRESENT_WORDS; i++) {
		assert_true(get(program->maps.present, &i, &word));
		assert_true(get(program->maps.present_counts, &i, &counts));
		for (int bit = 0; bit < 64; bit++) {
			assert_int_equal(word >> bit & 1, counts.count[bit] > 0);
			found += counts.count[bit];
		}
	}
	return found;
}

void put_affinity(const char *client, uint16_t scope, uint16_t target)
{
	struct router_call call = {
		.op = ROUTER_PUT_AFFINITY,
		.affinity_key = {.client = world_address(client), .scope = scope},
		.affinity = {.clock = 1, .target = target}};

	assert_int_equal(agent(&call), 0);
}

int delete_affinity(const char *client, uint16_t scope)
{
	struct router_call call = {
		.op = ROUTER_DELETE_AFFINITY,
		.affinity_key = {.client = world_address(client), .scope = scope}};

	return agent(&call);
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

enum flow_state get_flow(const char *client, uint16_t port, uint16_t service, uint16_t *target)
{
	struct router_call call = {.op = ROUTER_LOOK_UP,
				   .key = connection_key(client, port, service)};

	assert_int_equal(agent(&call), 0);
	*target = call.target;
	return call.state;
}

struct flow_set *get_set(const char *client, uint16_t port, uint16_t service)
{
	struct router_call call = {.op = ROUTER_LOOK_UP,
				   .key = connection_key(client, port, service)};

	assert_int_equal(agent(&call), 0);
	return &flow_sets[call.set];
}

unsigned int remembered(void)
{
	unsigned int words = 0;

	for (uint32_t i = 0; i < SETS; i++)
		for (int way = 0; way < FLOW_WAYS; way++)
			words += flow_sets[i].word[way] != 0;
	return words;
}

void remember(void)
{
	put_connection(CLIENT, 40000, SHOP, T1, CONNECTION_OPEN);
	EXPECT("an open connection", ACK(), XDP_TX, TO_T1(ACK()), CONNECTION);
	assert_int_equal(remembered(), 1);
}

void age_handshakes(uint64_t by_ns)
{
	uint32_t by = (by_ns >> HANDSHAKE_TICK_SHIFT) + 1;

	for (uint32_t i = 0; i < SETS; i++)
		for (int way = 0; way < HANDSHAKE_WAYS; way++)
			handshake_sets[i].since[way] -= by;
}

void change_families(void)
{
	for (uint32_t i = 0; i < SETS; i++)
		for (int way = 0; way < HANDSHAKE_WAYS; way++)
			handshake_sets[i].word[way] &= ~HANDSHAKE_IPV6;
}

void change_guards(void)
{
	for (uint32_t i = 0; i < SETS; i++)
		for (int way = HALF_OPEN_WAYS; way < HANDSHAKE_WAYS; way++)
			handshake_sets[i].check[way] ^= 1 << 16;
}

unsigned int age_sightings(uint64_t by_ns)
{
	unsigned int found = 0;

	for (uint32_t i = 0; i < SETS; i++)
		for (int way = 0; way < SIGHTING_WAYS; way++) {
			sighting_sets[i].first_ns[way] -= by_ns;
			found += sighting_sets[i].word[way] != 0;
		}
	return found;
}

/* ------------------------------------------------------------------------------------------------
 * peace */

static void *map_memory(const struct bpf_map *map, size_t size)
{
	return mmap(NULL, SETS * size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
}

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
	bpf_map__set_max_entries(program->maps.flows, SETS);
	bpf_map__set_max_entries(program->maps.handshakes, SETS);
	bpf_map__set_max_entries(program->maps.sightings, SETS);
	bpf_map__set_max_entries(program->maps.present, PRESENT_WORDS);
	bpf_map__set_max_entries(program->maps.present_counts, PRESENT_WORDS);
	bpf_map__set_max_entries(program->maps.connections, TABLE_SIZE);
	bpf_map__set_max_entries(program->maps.affinities, TABLE_SIZE);
	if (xdp_bpf__load(program))
		return -1;
	flow_sets = map_memory(program->maps.flows, sizeof(*flow_sets));
	handshake_sets = map_memory(program->maps.handshakes, sizeof(*handshake_sets));
	sighting_sets = map_memory(program->maps.sightings, sizeof(*sighting_sets));
	if (flow_sets == MAP_FAILED || handshake_sets == MAP_FAILED || sighting_sets == MAP_FAILED)
		return -1;
	world_run_on(0); /* clocks of two CPUs differ by a tick at most, but they do */
	return 0;
}

int world_unload(void **state)
{
	(void)state;
	munmap(flow_sets, SETS * sizeof(*flow_sets));
	munmap(handshake_sets, SETS * sizeof(*handshake_sets));
	munmap(sighting_sets, SETS * sizeof(*sighting_sets));
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

static void empty_crht(void)
{
	struct router_call connection = {.op = ROUTER_DELETE_CONNECTION};
	struct router_call affinity = {.op = ROUTER_DELETE_AFFINITY};
	int connections = bpf_map__fd(program->maps.connections);
	int affinities = bpf_map__fd(program->maps.affinities);

	while (!bpf_map_get_next_key(connections, NULL, &connection.key))
		assert_int_equal(agent(&connection), 0);
	while (!bpf_map_get_next_key(affinities, NULL, &affinity.affinity_key))
		assert_int_equal(agent(&affinity), 0);
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
	memset(flow_sets, 0, SETS * sizeof(*flow_sets));
	memset(handshake_sets, 0, SETS * sizeof(*handshake_sets));
	memset(sighting_sets, 0, SETS * sizeof(*sighting_sets));
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
	return 0;
}

/* ------------------------------------------------------------------------------------------------
 * a packet */

static const char *const counter_names[] = {
#define LIMPET_COUNTER_NAME(name, text) #name,
	LIMPET_COUNTERS(LIMPET_COUNTER_NAME)
#undef LIMPET_COUNTER_NAME
};

static void get_counters(uint64_t sums[COUNTERS])
{
	int cpus = libbpf_num_possible_cpus();
	uint64_t *values = calloc(cpus, sizeof(*values));

	assert_non_null(values);
	for (uint32_t i = 0; i < COUNTERS; i++) {
		assert_true(get(program->maps.counters, &i, values));
		sums[i] = 0;
		for (int cpu = 0; cpu < cpus; cpu++)
			sums[i] += values[cpu];
	}
	free(values);
}

uint32_t run_packet(const struct frame *in, struct frame *out)
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = in->byte, .data_size_in = in->length,
		    .data_out = out->byte, .data_size_out = sizeof(out->byte), .repeat = 1);

	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(program->progs.xdp_limpet), &run),
			 0);
	out->length = run.data_size_out;
	return run.retval;
}

void run_packets(const struct frame *in, int times)
{
	LIBBPF_OPTS(bpf_test_run_opts, run, .data_in = in->byte, .data_size_in = in->length);

	while (times--)
		bpf_prog_test_run_opts(bpf_program__fd(program->progs.xdp_limpet), &run);
}

static void print_frame(const char *what, const struct frame *frame)
{
	print_error("  %s, %u bytes:", what, frame->length);
	for (uint32_t i = 0; i < frame->length && i < 160; i++)
		print_error("%s%02x", i % 32 ? i % 4 ? "" : " " : "\n    ", frame->byte[i]);
	print_error("\n");
}

static bool same_frame(const struct frame *want, const struct frame *got)
{
	if (!want || (want->length == got->length && !memcmp(want->byte, got->byte, want->length)))
		return true;
	print_frame("expected", want);
	print_frame("came out", got);
	return false;
}

static bool same_counters(const uint64_t before[COUNTERS], const uint64_t after[COUNTERS],
			  const enum counter *counted)
{
	uint64_t want[COUNTERS] = {[COUNT_RX_PACKETS] = 1};
	bool same = true;

	for (; *counted != COUNTERS; counted++)
		want[*counted]++;
	for (int i = 0; i < COUNTERS; i++) {
		if (after[i] - before[i] == want[i])
			continue;
		print_error("  counter %s: %llu instead of %llu\n", counter_names[i],
			    (unsigned long long)(after[i] - before[i]),
			    (unsigned long long)want[i]);
		same = false;
	}
	return same;
}

void expect_packet(const char *file, int line, const char *what, const struct frame *in,
		   uint32_t verdict, const struct frame *out, const enum counter *counted)
{
	uint64_t before[COUNTERS], after[COUNTERS];
	struct frame got = {0};
	uint32_t retval;
	bool right;

	get_counters(before);
	retval = run_packet(in, &got);
	get_counters(after);
	right = retval == verdict;
	if (!right)
		print_error("  verdict %u instead of %u\n", retval, verdict);
	right = same_frame(out, &got) && right;
	right = same_counters(before, after, counted) && right;
	if (right)
		return;
	print_error("%s\n", what);
	_fail(file, line);
}
