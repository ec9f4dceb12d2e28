/* SPDX-License-Identifier: BSD-2-Clause */
/* router_mirror.c - sessions, messages and the role (docs/PROTOCOL.md, sections 4 to 7). */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "mirror_internal.h"

#define CLOCK_LEAP (1ULL << 48) /* further ahead than this no honest clock is */

uint64_t mirror_hash_key[2];

static void make_hash_key(void)
{
	if (mirror_hash_key[0] || mirror_hash_key[1])
		return;
	/* 16 bytes come whole or not at all; without them tables work, unkeyed. */
	if (getrandom(mirror_hash_key, sizeof(mirror_hash_key), 0) != sizeof(mirror_hash_key))
		mirror_hash_key[0] = 1;
}

struct router_mirror *router_mirror_new(const struct router_mirror_ops *ops, void *context,
					const struct router_mirror_settings *settings)
{
	struct router_mirror *mirror = calloc(1, sizeof(*mirror));

	if (!mirror)
		return NULL;
	make_hash_key();
	mirror->ops = *ops;
	mirror->context = context;
	mirror->settings = *settings;
	for (unsigned int i = 0; i < RECORD_QUEUES; i++)
		TAILQ_INIT(&mirror->queues[i]);
	TAILQ_INIT(&mirror->waiting);
	TAILQ_INIT(&mirror->pending);
	return mirror;
}

void router_mirror_free(struct router_mirror *mirror)
{
	if (!mirror)
		return;
	mirror_connections_free(mirror);
	mirror_claims_free(mirror);
	for (unsigned int i = 0; i < mirror->peer_limit; i++) {
		if (mirror->peers[i])
			free(mirror->peers[i]->ready);
		free(mirror->peers[i]);
	}
	free(mirror);
}

/* ------------------------------------------------------------------------------------------------
 * sessions and the role */

static int see_clock(struct router_mirror *mirror, uint64_t clock)
{
	if (clock <= mirror->clock)
		return 0;
	if (clock - mirror->clock > CLOCK_LEAP)
		return -EPROTO;
	mirror->clock = clock;
	return 0;
}

static void send(struct router_mirror *mirror, const struct peer *peer,
		 const struct message *message)
{
	mirror->ops.send(mirror->context, peer->number, message);
}

static void send_role(struct router_mirror *mirror, struct peer *peer, uint8_t type)
{
	struct message message = {.type = type};

	message.role.epoch = mirror->epoch;
	if (type == MESSAGE_ROLE)
		message.role.role = (uint8_t)mirror->role;
	send(mirror, peer, &message);
}

static void ask(struct router_mirror *mirror, struct peer *peer)
{
	struct message sync = {.type = MESSAGE_SYNC};
	bool active = mirror->role == ROLE_ACTIVE;

	if (!peer->asked && (active || !mirror->settings.sync_on_failure)) {
		send(mirror, peer, &sync);
		peer->asked = true;
		peer->asked_active = active;
		peer->asked_epoch = mirror->epoch;
	}
	if (active)
		send_role(mirror, peer, MESSAGE_BARRIER);
}

void router_mirror_set(struct router_mirror *mirror, uint64_t dead_after_ms, bool sync_on_failure)
{
	mirror->settings.dead_after_ms = dead_after_ms;
	mirror->settings.sync_on_failure = sync_on_failure;
	for (unsigned int i = 0; i < mirror->peer_limit; i++) {
		struct peer *peer = mirror->peers[i];

		if (peer && peer->open && !peer->asked)
			ask(mirror, peer);
	}
}

static void begin_session(struct router_mirror *mirror, struct peer *peer,
			  const struct message_hello *hello)
{
	peer->info.node_id = hello->node_id;
	peer->info.address = hello->address;
	peer->info.probe_small = peer->info.probe_full = 0;
	peer->info.reported_connections = peer->info.reported_affinities = 0;
	peer->info.digest_equal = false;
	peer->info.in_sync = peer->info.affinities_in_sync = false;
	peer->open = true;
	peer->restored = peer->waited_for = peer->ended = peer->unreachable = false;
	peer->begun = peer->done = peer->affinities_done = false;
	peer->asked = peer->asked_active = peer->barrier_answered = false;
	peer->list = 0;
	peer->lost_ms = 0;
	peer->session++;
	peer->mark++;
	peer->sums = (struct sums){0};
	memcpy(peer->digest_key, hello->digest_key, sizeof(peer->digest_key));
	mirror_claims_new_session(mirror, peer);
}

/*
 * Does a node live under this name that is not the one which says HELLO? A copy of a machine has
 * the node id, too, but not the address; one that was made anew at the same address is another
 * node. One without an agent lives as long as its kernel serves: its connections would be broken if
 * another address were its own now.
 */
static bool is_another(const struct peer *peer, const struct message_hello *hello)
{
	bool elsewhere = memcmp(&peer->info.address, &hello->address, sizeof(hello->address)) != 0;

	if (peer->open)
		return elsewhere || peer->info.node_id != hello->node_id;
	return elsewhere && peer->info.state == TARGET_UNATTENDED;
}

int router_mirror_session(struct router_mirror *mirror, const struct message_hello *hello,
			  uint64_t now_ms)
{
	int number = router_mirror_find(mirror, hello->name);
	struct peer *peer = number >= 0 ? mirror->peers[number] : NULL;
	bool roster;

	mirror->now_ms = now_ms;
	if (peer && is_another(peer, hello))
		return -EEXIST;
	if (see_clock(mirror, hello->clock))
		return -EPROTO;
	if (!peer)
		peer = mirror_peer_new(mirror, hello->name);
	if (!peer)
		return -ENOSPC;
	if (peer->open)
		mirror->ops.end_session(mirror->context, peer->number, GOODBYE_REPLACED,
					"a newer session of this target has begun");
	roster = !peer->info.in_roster || peer->info.node_id != hello->node_id ||
		 memcmp(&peer->info.address, &hello->address, sizeof(hello->address));
	begin_session(mirror, peer, hello);
	peer->info.last_heard_ms = now_ms;
	peer->info.in_roster = true;
	peer->info.state = mirror_next_state(peer->info.state, EVENT_SESSION);
	mirror_claims_state_changed(mirror, peer);
	mirror_peers_count(mirror);
	send_role(mirror, peer, MESSAGE_ROLE);
	mirror_services_send(mirror, peer);
	ask(mirror, peer);
	if (roster)
		mirror->ops.roster_changed(mirror->context);
	mirror->ops.target_changed(mirror->context, peer->number);
	return peer->number;
}

/* The session's end, whoever ended it. */
static void close_session(struct router_mirror *mirror, struct peer *peer, enum target_event event)
{
	bool changed = peer->open;

	peer->open = false;
	peer->info.in_sync = peer->info.affinities_in_sync = false;
	peer->lost_ms = mirror->now_ms;
	peer->waited_for = true;
	mirror_claims_new_session(mirror, peer);
	mirror_peer_event(mirror, peer, event);
	mirror_peers_count(mirror);
	if (changed)
		mirror->ops.target_changed(mirror->context, peer->number);
}

void router_mirror_session_lost(struct router_mirror *mirror, uint16_t target,
				enum goodbye_reason reason, uint64_t now_ms)
{
	struct peer *peer = mirror_peer_get(mirror, target);

	mirror->now_ms = now_ms;
	if (!peer)
		return;
	if (reason == GOODBYE_LEAVING)
		mirror_peer_retire(mirror, peer);
	else if (peer->open)
		close_session(mirror, peer, reason ? EVENT_GOODBYE : EVENT_LOST);
	else if (!reason && peer->info.state == TARGET_UNATTENDED && !peer->ended) {
		close_session(mirror, peer, EVENT_LOST);
		peer->unreachable = true;
	}
	peer->ended = false;
	mirror_claims_answer(mirror);
}

static void activate(struct router_mirror *mirror)
{
	for (unsigned int i = 0; i < mirror->peer_limit; i++) {
		struct peer *peer = mirror->peers[i];

		if (peer)
			peer->barrier_answered = false;
	}
	mirror_claims_activated(mirror);
}

void router_mirror_role(struct router_mirror *mirror, enum role role, uint32_t epoch,
			uint64_t now_ms)
{
	mirror->now_ms = now_ms;
	if (mirror->role == role && mirror->epoch == epoch)
		return;
	mirror->role = role;
	mirror->epoch = epoch;
	mirror->role_ms = now_ms;
	if (role == ROLE_ACTIVE)
		activate(mirror);
	for (unsigned int i = 0; i < mirror->peer_limit; i++) {
		struct peer *peer = mirror->peers[i];

		if (!peer || !peer->open)
			continue;
		send_role(mirror, peer, MESSAGE_ROLE);
		ask(mirror, peer);
		mirror_peer_refresh(mirror, peer);
	}
	mirror_peers_count(mirror);
	mirror_claims_answer(mirror);
}

int router_mirror_forget(struct router_mirror *mirror, const char *name, uint64_t now_ms)
{
	int number = router_mirror_find(mirror, name);

	mirror->now_ms = now_ms;
	if (number < 0)
		return -ENOENT;
	if (mirror->peers[number]->open)
		return -EBUSY;
	mirror_peer_retire(mirror, mirror->peers[number]);
	mirror_claims_answer(mirror);
	return 0;
}

void router_mirror_tick(struct router_mirror *mirror, uint64_t now_ms)
{
	mirror->now_ms = now_ms;
	mirror_connections_tick(mirror);
	mirror_peers_tick(mirror);
	mirror_claims_tick(mirror);
}

/* ------------------------------------------------------------------------------------------------
 * messages */

static int receive_condition(struct router_mirror *mirror, struct peer *peer,
			     const struct message_target *condition)
{
	peer->info.instances = condition->instances;
	if (peer->info.crowded != condition->crowded) {
		peer->info.crowded = condition->crowded;
		mirror_peer_refresh(mirror, peer);
	}
	if (peer->info.weight == condition->weight && peer->info.draining == condition->draining)
		return 0;
	peer->info.weight = condition->weight;
	peer->info.draining = condition->draining;
	mirror->ops.target_changed(mirror->context, peer->number);
	return 0;
}

/* What is there already stays in use; what is not named until DONE goes then. */
static int receive_begin(struct peer *peer)
{
	if (!peer->asked)
		return -EPROTO;
	peer->begun = true;
	peer->mark++;
	peer->sums = (struct sums){0};
	return 0;
}

static int receive_done(struct router_mirror *mirror, struct peer *peer, uint32_t list)
{
	if (!peer->begun)
		return -EPROTO;
	peer->begun = false;
	mirror_claims_sweep(mirror, peer);
	mirror_connections_sweep(mirror, peer);
	mirror_peer_ready_sweep(peer);
	if (list == peer->list)
		peer->done = peer->affinities_done = true;
	mirror->ops.target_changed(mirror->context, peer->number);
	mirror_peer_refresh(mirror, peer);
	return 0;
}

/* While an affinity is unsent no connection is sent, so the first one says that all are here. */
static int receive_connection(struct router_mirror *mirror, struct peer *peer,
			      const struct message *message)
{
	if (!peer->asked)
		return -EPROTO;
	if (peer->begun && !peer->affinities_done && peer->begun_list == peer->list) {
		peer->affinities_done = true;
		mirror_peer_refresh(mirror, peer);
	}
	if (message->type == MESSAGE_CONNECTION)
		return mirror_connections_report(mirror, peer, &message->connection);
	mirror_connections_end(mirror, peer, &message->connection);
	return 0;
}

static int receive_affinity(struct router_mirror *mirror, struct peer *peer,
			    const struct message_affinity *affinity)
{
	if (!peer->asked || see_clock(mirror, affinity->term.clock))
		return -EPROTO;
	return mirror_claims_report(mirror, peer, affinity);
}

static int receive_barrier(struct router_mirror *mirror, struct peer *peer, uint32_t epoch)
{
	if (mirror->role != ROLE_ACTIVE || epoch != mirror->epoch)
		return 0;
	peer->barrier_answered = true;
	mirror_peer_refresh(mirror, peer);
	return 0;
}

static int receive_digest(struct router_mirror *mirror, struct peer *peer,
			  const struct message_digest *digest)
{
	const struct sums *sums = &peer->sums;

	peer->info.reported_connections = digest->connections;
	peer->info.reported_affinities = digest->affinities;
	if (!peer->done || peer->begun || digest->services != peer->list)
		return 0;
	peer->info.digest_equal = digest->connections == sums->connections &&
				  digest->connections_sum == sums->connections_sum &&
				  digest->affinities == sums->affinities &&
				  digest->affinities_sum == sums->affinities_sum;
	if (peer->info.digest_equal)
		return 0;
	mirror->counts.digests_different++;
	close_session(mirror, peer, EVENT_GOODBYE);
	peer->ended = true;
	mirror->ops.end_session(mirror->context, peer->number, GOODBYE_RESYNC,
				"the digest of the table differs");
	return 0;
}

static int receive_heartbeat(struct router_mirror *mirror, struct peer *peer,
			     const struct message_heartbeat *heartbeat)
{
	if (see_clock(mirror, heartbeat->clock))
		return -EPROTO;
	peer->info.probe_small = heartbeat->probe_small;
	peer->info.probe_full = heartbeat->probe_full;
	return 0;
}

static int receive(struct router_mirror *mirror, struct peer *peer, const struct message *message)
{
	switch (message->type) {
	case MESSAGE_TARGET:
		return receive_condition(mirror, peer, &message->target);
	case MESSAGE_READY:
		return mirror_peer_ready(mirror, peer, &message->ready);
	case MESSAGE_AFFINITY:
		return receive_affinity(mirror, peer, &message->affinity);
	case MESSAGE_AFFINITY_END:
		mirror_claims_end(mirror, peer, &message->affinity_end);
		return peer->asked ? 0 : -EPROTO;
	case MESSAGE_CONNECTION:
	case MESSAGE_CONNECTION_END:
		return receive_connection(mirror, peer, message);
	case MESSAGE_BEGIN:
		peer->begun_list = message->list.number;
		return receive_begin(peer);
	case MESSAGE_DONE:
		return receive_done(mirror, peer, message->list.number);
	case MESSAGE_BARRIER:
		return receive_barrier(mirror, peer, message->role.epoch);
	case MESSAGE_DIGEST:
		return receive_digest(mirror, peer, &message->digest);
	case MESSAGE_HEARTBEAT:
		return receive_heartbeat(mirror, peer, &message->heartbeat);
	case MESSAGE_GOODBYE:
		return 0; /* router_mirror_session_lost tells the reason */
	}
	return -EPROTO;
}

int router_mirror_receive(struct router_mirror *mirror, uint16_t target,
			  const struct message *message, uint64_t now_ms)
{
	struct peer *peer = mirror_peer_get(mirror, target);
	int error;

	mirror->now_ms = now_ms;
	if (!peer || !peer->open)
		return 0;
	peer->info.last_heard_ms = now_ms;
	error = receive(mirror, peer, message);
	mirror_claims_answer(mirror);
	return error;
}

/* ------------------------------------------------------------------------------------------------
 * the rest of the interface */

int router_mirror_restore_connection(struct router_mirror *mirror, const struct connection_key *key,
				     const struct router_connection *value)
{
	return mirror_connections_restore(mirror, key, value);
}

int router_mirror_restore_affinity(struct router_mirror *mirror, const struct affinity_key *key,
				   const struct router_affinity *value)
{
	return mirror_claims_restore(mirror, key, value);
}

uint64_t router_mirror_clock(const struct router_mirror *mirror)
{
	return mirror->clock;
}

const struct mirror_counts *router_mirror_counts(const struct router_mirror *mirror)
{
	return &mirror->counts;
}
