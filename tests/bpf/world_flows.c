/* SPDX-License-Identifier: BSD-2-Clause */
/* world_flows.c - what the router knows of flows: the CRHT, as its agent writes it, and what XDP
 * has noted. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cmocka.h>

#include "maps.h"
#include "world.h"
#include "world_parts.h"
#include "xdp.skel.h"

#define TABLE_SIZE    1024
#define PRESENT_WORDS (2 << PRESENT_BITS) /* for connections, and as many for affinities */

static struct flow_set *flow_sets;
static struct handshake_set *handshake_sets;
static struct sighting_set *sighting_sets;

/* ------------------------------------------------------------------------------------------------
 * the CRHT */

static struct connection_key connection_key(const char *client, uint16_t port, uint16_t service)
{
	return (struct connection_key){
		.client = world_address(client), .client_port = htons(port), .service = service};
}

static int agent(struct router_call *call)
{
	return maps_router_call(bpf_program__fd(program->progs.router_agent), call);
}

int renew_target(uint16_t number, const struct target *target)
{
	struct router_call call = {.op = ROUTER_PUT_TARGET, .target = number, .entry = *target};

	return agent(&call);
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

void put_presence(uint8_t entries)
{
	uint64_t word = entries ? ~0ULL : 0;
	struct present_counts counts;

	memset(&counts, entries, sizeof(counts));
	for (uint32_t i = 0; i < PRESENT_WORDS; i++) {
		put(program->maps.present, &i, &word);
		put(program->maps.present_counts, &i, &counts);
	}
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

void empty_crht(void)
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

/* ------------------------------------------------------------------------------------------------
 * what XDP notes */

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

void flows_younger(uint64_t by_ns)
{
	for (uint32_t i = 0; i < SETS; i++) {
		for (int way = 0; way < HANDSHAKE_WAYS; way++)
			handshake_sets[i].since[way] += by_ns >> HANDSHAKE_TICK_SHIFT;
		for (int way = 0; way < SIGHTING_WAYS; way++)
			sighting_sets[i].first_ns[way] += by_ns;
	}
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

void change_words(int bit)
{
	for (uint32_t i = 0; i < SETS; i++) {
		for (int way = 0; way < FLOW_WAYS; way++)
			if (flow_sets[i].word[way])
				flow_sets[i].word[way] ^= 1ULL << bit;
		for (int way = 0; way < HANDSHAKE_WAYS; way++)
			if (handshake_sets[i].word[way])
				handshake_sets[i].word[way] ^= 1ULL << bit;
	}
}

static void count_additions(const struct bpf_program *from, unsigned int *all,
			    unsigned int *unordered)
{
	const struct bpf_insn *instruction = bpf_program__insns(from);

	for (size_t i = 0; i < bpf_program__insn_cnt(from); i++) {
		if (instruction[i].code != (BPF_STX | BPF_ATOMIC | BPF_DW) ||
		    BPF_OP(instruction[i].imm) != BPF_ADD)
			continue;
		++*all;
		*unordered += !(instruction[i].imm & BPF_FETCH);
	}
}

unsigned int unordered_additions(void)
{
	unsigned int all = 0, unordered = 0;

	count_additions(program->progs.xdp_limpet, &all, &unordered);
	count_additions(program->progs.router_agent, &all, &unordered);
	assert_true(all > 0);
	return unordered;
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
 * for world.c */

void flows_size(void)
{
	bpf_map__set_max_entries(program->maps.flows, SETS);
	bpf_map__set_max_entries(program->maps.handshakes, SETS);
	bpf_map__set_max_entries(program->maps.sightings, SETS);
	bpf_map__set_max_entries(program->maps.present, PRESENT_WORDS);
	bpf_map__set_max_entries(program->maps.present_counts, PRESENT_WORDS);
	bpf_map__set_max_entries(program->maps.connections, TABLE_SIZE);
	bpf_map__set_max_entries(program->maps.affinities, TABLE_SIZE);
}

static void *map_memory(const struct bpf_map *map, size_t size)
{
	return mmap(NULL, SETS * size, PROT_READ | PROT_WRITE, MAP_SHARED, bpf_map__fd(map), 0);
}

int flows_map(void)
{
	flow_sets = map_memory(program->maps.flows, sizeof(*flow_sets));
	handshake_sets = map_memory(program->maps.handshakes, sizeof(*handshake_sets));
	sighting_sets = map_memory(program->maps.sightings, sizeof(*sighting_sets));
	if (flow_sets == MAP_FAILED || handshake_sets == MAP_FAILED || sighting_sets == MAP_FAILED)
		return -1;
	return 0;
}

void flows_unmap(void)
{
	munmap(flow_sets, SETS * sizeof(*flow_sets));
	munmap(handshake_sets, SETS * sizeof(*handshake_sets));
	munmap(sighting_sets, SETS * sizeof(*sighting_sets));
}

void flows_forget(void)
{
	memset(flow_sets, 0, SETS * sizeof(*flow_sets));
	memset(handshake_sets, 0, SETS * sizeof(*handshake_sets));
	memset(sighting_sets, 0, SETS * sizeof(*sighting_sets));
}
