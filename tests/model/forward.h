/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * forward.h - the data plane of a simulated router: its pinned tables, and XDP's own decision
 * (bpf/choose.h) over them.
 */
#ifndef LIMPET_MODEL_FORWARD_H
#define LIMPET_MODEL_FORWARD_H

#include <stdbool.h>
#include <stdint.h>

#include "layout.h"

#define CLIENTS 3
#define PORTS	2
#define NUMBERS 8 /* of targets at a router */

/* So few that flows share sets of the fast path; handshakes seldom do. */
#define FLOW_BITS      1
#define FLOW_SETS      (1 << FLOW_BITS)
#define HANDSHAKE_BITS 6
#define HANDSHAKE_SETS (1 << HANDSHAKE_BITS)
#define PRESENT_BITS   1
#define PRESENT_WORDS  (2 << PRESENT_BITS) /* for connections, and as many for affinities */

#define ROUTER_SERVICE 1 /* numbers of the one service and its scope, different at each role */
#define ROUTER_SCOPE   2
#define TARGET_SERVICE 3
#define TARGET_SCOPE   5

#define HOLD_NS 30000000000ULL /* router.hold_time */

#define DROPPED -1
#define REFUSED -2

struct plane_connection {
	bool used;
	struct router_connection value;
};

struct plane_affinity {
	bool used;
	struct router_affinity value;
};

/* What is pinned at a router: it outlives the agent, not the machine. */
struct plane {
	struct flow_set flows[FLOW_SETS];
	struct handshake_set handshakes[HANDSHAKE_SETS];
	struct sighting_set sightings[HANDSHAKE_SETS];
	uint64_t present[PRESENT_WORDS];
	struct present_counts present_counts[PRESENT_WORDS];
	struct plane_connection connections[CLIENTS][PORTS];
	struct plane_affinity affinities[CLIENTS];
	struct target targets[NUMBERS];
	struct router_role role;
	struct sync_state sync_state;
	struct service_state service_state;
	bool ring[NUMBERS], guess_ring[NUMBERS]; /* who has slots */
};

struct service_key model_service_key(void);
struct router_service model_service(void);
struct router_service *forward_service(void); /* as it is pinned, at all routers */
struct address model_client(unsigned int client);
struct address model_node(unsigned int n); /* a target's, or a router's */
struct connection_key model_connection_key(unsigned int client, unsigned int port,
					   uint16_t service);
/* Back from a key; false: not one of ours. */
bool model_connection(const struct connection_key *key, unsigned int *client, unsigned int *port);
unsigned int model_client_number(const struct address *address); /* CLIENTS: not one of ours */

/* The agent writes the CRHT: 0 or a negative errno. */
int forward_put_connection(struct plane *plane, const struct connection_key *key,
			   const struct router_connection *value);
int forward_put_affinity(struct plane *plane, const struct affinity_key *key,
			 const struct router_affinity *value);
/* What XDP has noted of a flow, and for whom. */
enum flow_state forward_look_up(struct plane *plane, const struct connection_key *key,
				unsigned int *target);
/* Noted in this role: the target, or -ENOENT. */
int forward_noted_target(struct plane *plane, const struct connection_key *key);
/* The flow's half-open handshake is pushed out; the fast path forgets. */
void forward_forget_half_open(struct plane *plane, const struct connection_key *key);
void forward_forget_fast(struct plane *plane);

/* What tells a flow from others, under this secret, where a table has as few sets as it may have.
 */
struct forward_id {
	uint64_t hash, flow_tag, handshake_tag;
	uint32_t flow_set;
	uint16_t guard;
	bool is_ip6;
};

struct forward_id forward_identify(const struct connection_key *key, const uint64_t secret[2]);
uint64_t forward_affinity_hash(const struct affinity_key *key, const uint64_t secret[2]);

/* A packet of this client's connection: number of a target, DROPPED or REFUSED. */
int forward_packet(struct plane *plane, unsigned int client, unsigned int port, bool syn,
		   uint32_t sequence, uint64_t now_ns);
/* Called once, after so many more steps, which are look-ups in `flows`, `handshakes`,
 * `connections` and `affinities`, changes there, and additions to a version: what another CPU does
 * meanwhile. */
void forward_meanwhile(unsigned int steps, void (*what)(struct plane *plane));
/* Where was the last one's target taken from? In words, or as asked for. */
const char *forward_reason(void);
bool forward_noted(void);    /* flows */
bool forward_reported(void); /* connections */
bool forward_lingered(void); /* an entry there that lingers */
bool forward_guessed(void);
bool forward_by_affinity(void);
bool forward_guessed_missing(void); /* among the targets that are not in sync */
bool forward_guessed_noted(void);   /* by what was noted, and never reported */

#endif
