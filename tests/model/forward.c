/* SPDX-License-Identifier: BSD-2-Clause */
#include "forward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/* A test can stand after each of these, too. */
static __u64 add_and_stop(volatile __u64 *word, __u64 by);
#define __sync_fetch_and_add(word, by) add_and_stop(word, by)

/* BPF's programs are held to the warnings of their own compiler. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpointer-arith"
#pragma GCC diagnostic ignored "-Wunknown-pragmas"
#include "choose.h"
#include "router_agent.h"
#pragma GCC diagnostic pop
#undef __sync_fetch_and_add

/* The router whose packet is being forwarded. */
static struct plane *current;
static __u64 counted[COUNTERS]; /* of the last packet */
static bool lingered;
static struct settings own_settings = {.hold_ns = HOLD_NS,
				       .flow_secret = {0x736f6d6520736563, 0x7265747320617265},
				       .is_router = 1,
				       .flow_bits = FLOW_BITS,
				       .handshake_bits = HANDSHAKE_BITS,
				       .sighting_bits = HANDSHAKE_BITS,
				       .present_bits = PRESENT_BITS,
				       .present_affinity_bits = PRESENT_BITS};

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

struct router_service *forward_service(void)
{
	static struct router_service service;

	if (!service.name[0])
		service = model_service();
	return &service;
}

struct address model_node(unsigned int n)
{
	return model_client(50 + n);
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

static void *lookup_connection(const struct connection_key *key)
{
	unsigned int client, port;

	if (!model_connection(key, &client, &port))
		return NULL;
	if (current->connections[client][port].used)
		return &current->connections[client][port].value;
	return NULL;
}

static void *lookup_affinity(const struct affinity_key *key)
{
	unsigned int client = model_client_number(&key->client);

	if (client == CLIENTS || key->scope != ROUTER_SCOPE || !current->affinities[client].used)
		return NULL;
	return &current->affinities[client].value;
}

static unsigned int until_meanwhile;
static void (*meanwhile)(struct plane *plane);

void forward_meanwhile(unsigned int steps, void (*what)(struct plane *plane))
{
	until_meanwhile = steps;
	meanwhile = what;
}

/* What was found in `connections` stays as it was: an update there makes another element. */
static void *found(void *map, void *value)
{
	static struct router_connection former;
	void (*what)(struct plane * plane) = meanwhile;

	if (!what ||
	    (map != &connections && map != &flows && map != &handshakes && map != &affinities) ||
	    until_meanwhile--)
		return value;
	if (value && map == &connections)
		value = memcpy(&former, value, sizeof(former));
	meanwhile = NULL;
	what(current);
	return value;
}

static __u64 add_and_stop(volatile __u64 *word, __u64 by)
{
	__u64 before = __sync_fetch_and_add(word, by);

	found(&flows, NULL);
	return before;
}

static void *lookup(void *map, const void *key)
{
	uint32_t index;

	if (map == &connections)
		return lookup_connection(key);
	if (map == &affinities)
		return lookup_affinity(key);
	memcpy(&index, key, sizeof(index));
	if (map == &counters)
		return &counted[index];
	if (map == &settings)
		return &own_settings;
	if (map == &flows)
		return index < FLOW_SETS ? &current->flows[index] : NULL;
	if (map == &handshakes)
		return index < HANDSHAKE_SETS ? &current->handshakes[index] : NULL;
	if (map == &sightings)
		return index < HANDSHAKE_SETS ? &current->sightings[index] : NULL;
	if (map == &present)
		return index < PRESENT_WORDS ? &current->present[index] : NULL;
	if (map == &present_counts)
		return index < PRESENT_WORDS ? &current->present_counts[index] : NULL;
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

void *bpf_map_lookup_elem(void *map, const void *key)
{
	return found(map, lookup(map, key));
}

static long update_affinity(const struct affinity_key *key, const void *value, __u64 flags)
{
	struct plane_affinity *entry = &current->affinities[model_client_number(&key->client)];

	if (flags == BPF_EXIST && !entry->used)
		return -ENOENT;
	entry->used = true;
	memcpy(&entry->value, value, sizeof(entry->value));
	return 0;
}

static long update_connection(struct plane_connection *entry, const void *value, __u64 flags)
{
	if (flags == BPF_EXIST && !entry->used)
		return -ENOENT;
	entry->used = true;
	memcpy(&entry->value, value, sizeof(entry->value));
	return 0;
}

long bpf_map_update_elem(void *map, const void *key, const void *value, __u64 update_flags)
{
	unsigned int client, port;

	found(map, NULL);
	if (map == &affinities)
		return update_affinity(key, value, update_flags);
	if (!model_connection(key, &client, &port))
		return -EINVAL;
	return update_connection(&current->connections[client][port], value, update_flags);
}

static long delete_entry(bool *used)
{
	long error = *used ? 0 : -ENOENT;

	*used = false;
	return error;
}

long bpf_map_delete_elem(void *map, const void *key)
{
	const struct affinity_key *affinity = key;
	unsigned int client, port;

	found(map, NULL);
	if (map == &affinities)
		return delete_entry(
			&current->affinities[model_client_number(&affinity->client)].used);
	if (!model_connection(key, &client, &port))
		return -EINVAL;
	return delete_entry(&current->connections[client][port].used);
}

/* ------------------------------------------------------------------------------------------------
 * the agent's program */

static int agent(struct plane *plane, struct router_call *call)
{
	current = plane;
	router_agent(call);
	return call->result;
}

int forward_put_connection(struct plane *plane, const struct connection_key *key,
			   const struct router_connection *value)
{
	struct router_call call = {.op = ROUTER_DELETE_CONNECTION, .key = *key};

	if (value) {
		call.op = ROUTER_PUT_CONNECTION;
		call.value = *value;
	}
	return agent(plane, &call);
}

int forward_put_affinity(struct plane *plane, const struct affinity_key *key,
			 const struct router_affinity *value)
{
	struct router_call call = {.op = ROUTER_DELETE_AFFINITY, .affinity_key = *key};

	if (value) {
		call.op = ROUTER_PUT_AFFINITY;
		call.affinity = *value;
	}
	return agent(plane, &call);
}

enum flow_state forward_look_up(struct plane *plane, const struct connection_key *key,
				unsigned int *target)
{
	struct router_call call = {.op = ROUTER_LOOK_UP, .key = *key};

	agent(plane, &call);
	*target = call.target;
	return call.state;
}

int forward_noted_target(struct plane *plane, const struct connection_key *key)
{
	struct router_call call = {.op = ROUTER_LOOK_UP, .key = *key};

	agent(plane, &call);
	if (call.state != FLOW_STATE_NOTED ||
	    handshake_ticks(call.since_ns) <= handshake_ticks(plane->role.since_ns))
		return -ENOENT;
	return (int)call.target;
}

void forward_forget_half_open(struct plane *plane, const struct connection_key *key)
{
	struct flow_id id;

	current = plane;
	flow_identify(&own_settings, key, &id);
	half_open_forget(&own_settings, &id);
}

void forward_forget_fast(struct plane *plane)
{
	memset(plane->flows, 0, sizeof(plane->flows));
}

static struct settings settings_of(const uint64_t secret[2])
{
	return (struct settings){.flow_secret = {secret[0], secret[1]},
				 .flow_bits = FLOW_BITS_MIN,
				 .handshake_bits = HANDSHAKE_BITS_MIN};
}

struct forward_id forward_identify(const struct connection_key *key, const uint64_t secret[2])
{
	struct settings own = settings_of(secret);
	struct flow_id id;

	flow_identify(&own, key, &id);
	return (struct forward_id){
		.hash = id.hash,
		.flow_tag = id.word >> FLOW_TARGET_BITS & FLOW_TAG_MASK,
		.handshake_tag = handshake_word(&id) >> FLOW_TARGET_BITS &
				 ((1ULL << HANDSHAKE_TAG_BITS) - 1),
		.flow_set = id.set,
		.guard = id.guard,
		.is_ip6 = id.word & FLOW_IPV6,
	};
}

uint64_t forward_affinity_hash(const struct affinity_key *key, const uint64_t secret[2])
{
	struct settings own = settings_of(secret);

	return affinity_hash(&own, key);
}

/* ------------------------------------------------------------------------------------------------
 * packets */

__u64 bpf_ktime_get_ns(void)
{
	return 0; /* the time of a decision is in its question */
}

__u64 bpf_jiffies64(void)
{
	return 0;
}

int forward_packet(struct plane *plane, unsigned int client, unsigned int port, bool syn,
		   uint32_t sequence, uint64_t now_ns)
{
	struct tcp tcp = {.sequence = sequence, .syn = syn};
	struct router_service *service = forward_service();
	struct question question = {.key = model_connection_key(client, port, ROUTER_SERVICE),
				    .settings = &own_settings,
				    .service = service,
				    .sequence = service->sequence,
				    .tcp = &tcp,
				    .now_ns = now_ns};
	int target;

	current = plane;
	flow_identify(&own_settings, &question.key, &question.id);
	lingered = plane->connections[client][port].used &&
		   plane->connections[client][port].value.state == CONNECTION_LINGERS;
	memset(counted, 0, sizeof(counted));
	target = syn ? NO_FLOW : fast_path(&question.id);
	return target >= 0 ? target : choose(&question);
}

const char *forward_reason(void)
{
	if (forward_noted())
		return ", as noted";
	if (forward_reported())
		return lingered ? ", which lingers" : ", as reported";
	if (forward_guessed())
		return ", a guess";
	return forward_by_affinity() ? ", by affinity" : "";
}

bool forward_guessed(void)
{
	return counted[COUNT_GUESS_UNSYNCED] || counted[COUNT_GUESS_NOTED] ||
	       counted[COUNT_GUESS_AFFINITY] || counted[COUNT_GUESS_DISTRIBUTED];
}

bool forward_guessed_missing(void)
{
	return counted[COUNT_GUESS_UNSYNCED];
}

bool forward_guessed_noted(void)
{
	return counted[COUNT_GUESS_NOTED];
}

bool forward_by_affinity(void)
{
	return counted[COUNT_NEW_AFFINITY];
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
