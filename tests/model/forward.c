/* SPDX-License-Identifier: BSD-2-Clause */
#include "forward.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

/* BPF's programs are held to the warnings of their own compiler. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpointer-arith"
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "choose.h"
#pragma GCC diagnostic pop

/* The router whose packet is being forwarded. */
static struct plane *current;
static __u64 counted[COUNTERS]; /* of the last packet */
static bool lingered;

struct service_key model_service_key(void)
{
	struct service_key key = {.address = {{[10] = 0xff, 0xff, 203, 0, 113, 10}},
				  .port = htons(80),
				  .protocol = IPPROTO_TCP};

	return key;
}

struct router_service model_service(void)
{
	struct router_service service = {.name = "shop",
					 .key = model_service_key(),
					 .scope = ROUTER_SCOPE,
					 .affinity = AFFINITY_BY_REQUEST,
					 .client_prefix = 128,
					 .serving = 1,
					 .takeover = 1};

	return service;
}

struct address model_client(unsigned int client)
{
	struct address address = {{[10] = 0xff, 0xff, 10, 7, 0, 100}};

	address.byte[15] = (uint8_t)(100 + client);
	return address;
}

unsigned int model_client_number(const struct address *address)
{
	unsigned int client = address->byte[15] - 100u;

	return client < CLIENTS ? client : CLIENTS;
}

struct connection_key model_connection_key(unsigned int client, unsigned int port, uint16_t service)
{
	struct connection_key key = {.client = model_client(client),
				     .client_port = htons((uint16_t)(5000 + port)),
				     .service = service};

	return key;
}

bool model_connection(const struct connection_key *key, unsigned int *client, unsigned int *port)
{
	*client = model_client_number(&key->client);
	*port = ntohs(key->client_port) - 5000u;
	return *client < CLIENTS && *port < PORTS;
}

/* ------------------------------------------------------------------------------------------------
 * the maps */

/* Maglev's place is taken by rendezvous hashing: as consistent, and cheap for eight targets. Names
 * decide, not numbers: all routers compute alike. */
static uint16_t ring_slot(const bool members[NUMBERS], uint32_t index)
{
	uint64_t best = 0;
	uint16_t found = NO_NUMBER;

	for (uint16_t i = 0; i < NUMBERS; i++) {
		uint64_t score;

		if (!members[i])
			continue;
		score = distribute_mix((uint64_t)index << 8 | (uint8_t)current->targets[i].name[1]);
		if (found != NO_NUMBER && score <= best)
			continue;
		best = score;
		found = i;
	}
	return found;
}

static void *ring_element_at(const bool members[NUMBERS], uint32_t index)
{
	static struct ring_element element;

	for (unsigned int lane = 0; lane < RING_LANES; lane++)
		element.target[lane] = ring_slot(members, index * RING_LANES + lane);
	return &element;
}

static void *lookup_flow_table(void *map, const struct connection_key *key)
{
	unsigned int client, port;

	if (!model_connection(key, &client, &port))
		return NULL;
	if (map == &flows && current->flows[client][port].used)
		return &current->flows[client][port].value;
	if (map == &connections && current->connections[client][port].used)
		return &current->connections[client][port].value;
	if (map == &sightings && current->sightings[client][port].used)
		return &current->sightings[client][port].value;
	return NULL;
}

static void *lookup_affinity(const struct affinity_key *key)
{
	unsigned int client = model_client_number(&key->client);

	if (client == CLIENTS || key->scope != ROUTER_SCOPE || !current->affinities[client].used)
		return NULL;
	return &current->affinities[client].value;
}

void *bpf_map_lookup_elem(void *map, const void *key)
{
	uint32_t index;

	if (map == &flows || map == &connections || map == &sightings)
		return lookup_flow_table(map, key);
	if (map == &affinities)
		return lookup_affinity(key);
	memcpy(&index, key, sizeof(index));
	if (map == &counters)
		return &counted[index];
	if (map == &targets)
		return index < NUMBERS ? &current->targets[index] : NULL;
	if (map == &role)
		return &current->role;
	if (map == &sync_state)
		return &current->sync_state;
	if (map == &service_state)
		return &current->service_state;
	if (map == &rings)
		return index == GUESS_RING ? current->guess_ring : current->ring;
	if (map == current->ring || map == current->guess_ring)
		return ring_element_at(map, index);
	return NULL;
}

long bpf_map_update_elem(void *map, const void *key, const void *value, __u64 update_flags)
{
	unsigned int client, port;

	(void)update_flags;
	if (!model_connection(key, &client, &port))
		return -1;
	if (map == &flows) {
		current->flows[client][port].used = true;
		memcpy(&current->flows[client][port].value, value, sizeof(struct flow));
	} else if (map == &sightings) {
		current->sightings[client][port].used = true;
		memcpy(&current->sightings[client][port].value, value, sizeof(struct sighting));
	}
	return 0;
}

long bpf_map_delete_elem(void *map, const void *key)
{
	unsigned int client, port;

	if (!model_connection(key, &client, &port))
		return -1;
	if (map == &flows)
		current->flows[client][port].used = false;
	else if (map == &sightings)
		current->sightings[client][port].used = false;
	return 0;
}

__u64 bpf_ktime_get_ns(void)
{
	return 0; /* the time of a decision is in its question */
}

__u64 bpf_ktime_get_coarse_ns(void)
{
	return 0;
}

int forward_packet(struct plane *plane, unsigned int client, unsigned int port, bool syn,
		   uint32_t sequence, uint64_t now_ns)
{
	struct tcp tcp = {.sequence = sequence, .syn = syn};
	struct router_service service = model_service();
	struct question question = {.key = model_connection_key(client, port, ROUTER_SERVICE),
				    .service = &service,
				    .tcp = &tcp,
				    .now_ns = now_ns,
				    .hold_ns = 30000000000ULL};

	current = plane;
	lingered = plane->connections[client][port].used &&
		   plane->connections[client][port].value.state == CONNECTION_LINGERS;
	memset(counted, 0, sizeof(counted));
	return choose(&question);
}

bool forward_guessed(void)
{
	return counted[COUNT_GUESS_UNSYNCED] || counted[COUNT_GUESS_AFFINITY] ||
	       counted[COUNT_GUESS_DISTRIBUTED];
}

bool forward_guessed_missing(void)
{
	return counted[COUNT_GUESS_UNSYNCED];
}

bool forward_by_affinity(void)
{
	return counted[COUNT_NEW_AFFINITY];
}

bool forward_half_open(void)
{
	return counted[COUNT_FLOW_HALF_OPEN];
}

bool forward_noted(void)
{
	return counted[COUNT_FLOW_NOTED] || counted[COUNT_FLOW_HALF_OPEN];
}

bool forward_reported(void)
{
	return counted[COUNT_FLOW_CONNECTION];
}

bool forward_lingered(void)
{
	return lingered && counted[COUNT_FLOW_CONNECTION];
}
