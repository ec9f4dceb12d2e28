/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * target_mirror.h - what a target has told its routers, and what it has still to tell them; the
 * rules of claims (docs/PROTOCOL.md). Pure: no I/O; the kernel's tables are read, and affinities
 * ended and published, through `ops`.
 *
 * Level-triggered: the caller says which key has changed; the mirror reads what holds when the
 * message is written. Each session is one ordered stream: the snapshot's cursor and the set of
 * dirty keys.
 */
#ifndef LIMPET_TARGET_MIRROR_H
#define LIMPET_TARGET_MIRROR_H

#include "wire.h"

struct target_mirror;

struct target_mirror_ops {
	/* What the kernel's tables hold now: 0, or -ENOENT. An affinity that has ended or expired
	 * is -ENOENT. */
	int (*read_connection)(void *context, const struct connection_key *key,
			       struct target_connection *value);
	int (*read_affinity)(void *context, const struct affinity_key *key,
			     struct target_affinity *value);
	/* End an affinity if its id is still this one. */
	void (*end_affinity)(void *context, const struct affinity_key *key, uint64_t id,
			     enum affinity_end reason);
	/* target/grants: in force everywhere under this term. */
	void (*publish)(void *context, const struct affinity_key *key, uint64_t id,
			const struct term *term);
	/* What term, if any, was published for it (after a restart); false: none. */
	bool (*published)(void *context, const struct affinity_key *key, uint64_t id,
			  struct term *term);
	/* The session has something to send: call target_mirror_next, from the event loop and not
	 * from in here, until it returns false. */
	void (*wake)(void *context, unsigned int router);
	/* The list of services of a router is complete: target_mirror_router_service reads it. The
	 * router's snapshot waits for the next target_mirror_configure, so that must be called
	 * (from here, or later when the services are served) even if nothing has changed, and
	 * target_mirror_ready before it for what is ready. */
	void (*services_changed)(void *context, unsigned int router);
};

struct target_mirror *target_mirror_new(const struct target_mirror_ops *ops, void *context);
void target_mirror_free(struct target_mirror *mirror);

/* The services and scopes that this target serves, by number (empty name: not in use). */
void target_mirror_configure(struct target_mirror *mirror,
			     const struct target_service services[MAX_SERVICES],
			     const struct scope scopes[MAX_SERVICES]);

/* Sessions: `router` is the index in the configuration's list, below MAX_ROUTERS. 0, -EINVAL, or
 * -EPROTO (its clock cannot be: GOODBYE_MALFORMED). */
int target_mirror_session(struct target_mirror *mirror, unsigned int router,
			  const struct message_hello *hello, const uint64_t digest_key[2],
			  uint64_t now_ms);
void target_mirror_session_lost(struct target_mirror *mirror, unsigned int router, uint64_t now_ms);
/* A message of a router: 0 or -EPROTO. */
int target_mirror_receive(struct target_mirror *mirror, unsigned int router,
			  const struct message *message, uint64_t now_ms);
/*
 * The next message to write to this router, taken from the mirror now; false: nothing at the
 * moment. DONE and the answer to a barrier wait for a call with `drained`: the caller has read the
 * kernel's event ring to its end, and done the rescan if events were lost, since it passed this
 * router's last message to target_mirror_receive (so: consume the ring, then call with true).
 */
bool target_mirror_next(struct target_mirror *mirror, unsigned int router, bool drained,
			uint64_t now_ms, struct message *message);

/* A key has changed in the kernel's table, as an event or a rescan says. `how` as in the event, for
 * connections. */
void target_mirror_connection(struct target_mirror *mirror, const struct connection_key *key,
			      uint8_t how);
void target_mirror_affinity(struct target_mirror *mirror, const struct affinity_key *key);
/* A rescan: every key of the tables is named between begin and end; what was not named and is known
 * is read again. No DONE and no barrier is answered while one is under way, nor before the first
 * has ended: an agent that has not looked yet does not say that its table is empty. */
void target_mirror_rescan_begin(struct target_mirror *mirror);
void target_mirror_rescan_end(struct target_mirror *mirror);

/* Own condition: told to every router when it differs from what was told last. Readiness, whose
 * own `service` is not used, is kept by service number, also of services that no router sees yet.
 */
void target_mirror_condition(struct target_mirror *mirror, const struct message_target *condition);
void target_mirror_ready(struct target_mirror *mirror, uint16_t service,
			 const struct message_ready *ready);

void target_mirror_tick(struct target_mirror *mirror,
			uint64_t now_ms); /* digests are due each second */

/* Call `each` for every affinity that is known and still there, with what the kernel's table holds;
 * it may end it. */
void target_mirror_each_affinity(struct target_mirror *mirror,
				 void (*each)(void *context, const struct affinity_key *key,
					      const struct target_affinity *value),
				 void *context);

struct mirror_router {
	bool connected, synced; /* synced: the whole table has been sent in this session and nothing
				   is dirty */
	char name[NAME_SIZE];
	uint64_t node_id;
	enum role role;
	uint32_t epoch;
	struct address address, address6;
	uint64_t unsent; /* keys */
	uint64_t last_heard_ms;
	unsigned int services;
};
const struct mirror_router *target_mirror_router(const struct target_mirror *mirror,
						 unsigned int router);
const struct message_service *target_mirror_router_service(const struct target_mirror *mirror,
							   unsigned int router, unsigned int index);
uint64_t target_mirror_clock(const struct target_mirror *mirror);
uint64_t target_mirror_connections(const struct target_mirror *mirror);
uint64_t target_mirror_affinities(const struct target_mirror *mirror);

#endif
