/* SPDX-License-Identifier: BSD-2-Clause */
/* mirror_targets.c - the roster, the states of its targets, and when they are in sync. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mirror_internal.h"

/*
 * Session, silence and death (docs/ARCHITECTURE.md, "Words"):
 *
 *                 SYNCING      UP           UNATTENDED   DOWN         GONE
 *   SESSION       SYNCING      SYNCING      SYNCING      SYNCING      SYNCING
 *   IN_SYNC       UP           UP           -            -            -
 *   OUT_OF_SYNC   SYNCING      SYNCING      -            -            -
 *   GOODBYE       UNATTENDED   UNATTENDED   -            -            -
 *   LOST          DOWN         DOWN         DOWN         -            -
 *   GIVEN_UP      -            -            -            GONE         -
 *   ECHO          -            -            -            UNATTENDED   -
 *
 * SYNCING, UP and UNATTENDED take new connections: their kernel serves without any agent. A target
 * without an agent that nothing gets through to any more (LOST) is down, until something does
 * (ECHO). One whose agent was silent is not: it may echo, and serve nobody. Only who is down is
 * given up.
 */
static const enum target_state transitions[TARGET_EVENTS][TARGET_GONE + 1] = {
	/* clang-format off */
	[EVENT_SESSION] = { TARGET_SYNCING, TARGET_SYNCING, TARGET_SYNCING, TARGET_SYNCING, TARGET_SYNCING },
	[EVENT_IN_SYNC] = { TARGET_UP, TARGET_UP, TARGET_UNATTENDED, TARGET_DOWN, TARGET_GONE },
	[EVENT_OUT_OF_SYNC] = { TARGET_SYNCING, TARGET_SYNCING, TARGET_UNATTENDED, TARGET_DOWN, TARGET_GONE },
	[EVENT_GOODBYE] = { TARGET_UNATTENDED, TARGET_UNATTENDED, TARGET_UNATTENDED, TARGET_DOWN, TARGET_GONE },
	[EVENT_LOST] = { TARGET_DOWN, TARGET_DOWN, TARGET_DOWN, TARGET_DOWN, TARGET_GONE },
	[EVENT_GIVEN_UP] = { TARGET_SYNCING, TARGET_UP, TARGET_UNATTENDED, TARGET_GONE, TARGET_GONE },
	[EVENT_ECHO] = { TARGET_SYNCING, TARGET_UP, TARGET_UNATTENDED, TARGET_UNATTENDED, TARGET_GONE },
	/* clang-format on */
};

enum target_state mirror_next_state(enum target_state state, enum target_event event)
{
	return transitions[event][state];
}

struct peer *mirror_peer_get(const struct router_mirror *mirror, uint16_t number)
{
	struct peer *peer = number < MAX_TARGETS ? mirror->peers[number] : NULL;

	return peer && peer->known ? peer : NULL;
}

bool mirror_target_is_out(const struct router_mirror *mirror, uint16_t number)
{
	const struct peer *peer = mirror_peer_get(mirror, number);

	return !peer || peer->info.state == TARGET_DOWN || peer->info.state == TARGET_GONE;
}

bool mirror_target_is_gone(const struct router_mirror *mirror, uint16_t number)
{
	const struct peer *peer = mirror_peer_get(mirror, number);

	return !peer || peer->info.state == TARGET_GONE;
}

int mirror_peer_find(const struct router_mirror *mirror, const char *name)
{
	for (unsigned int i = 0; i < mirror->peer_limit; i++) {
		const struct peer *peer = mirror->peers[i];

		if (peer && !strncmp(peer->info.name, name, NAME_SIZE))
			return (int)i;
	}
	return -ENOENT;
}

/*
 * A number for a name that has none. XDP's flows may still speak of a number whose target has left,
 * so numbers that were never used come first, then the one that has been out of use for longest,
 * then one of a dead target that nothing refers to.
 */
static int free_number(struct router_mirror *mirror)
{
	const struct peer *oldest = NULL;
	struct peer *dead = NULL;

	for (unsigned int i = 0; i < MAX_TARGETS; i++) {
		struct peer *peer = mirror->peers[i];

		if (!peer)
			return (int)i;
		if (!peer->known && (!oldest || peer->retired < oldest->retired))
			oldest = peer;
		if (peer->known && peer->info.state == TARGET_GONE && LIST_EMPTY(&peer->holdings))
			dead = peer;
	}
	if (oldest)
		return oldest->number;
	if (!dead)
		return -ENOSPC;
	mirror_peer_retire(mirror, dead);
	return dead->number;
}

static struct peer *peer_make(struct router_mirror *mirror, uint16_t number)
{
	struct peer *peer = mirror->peers[number];

	if (peer) {
		free(peer->ready);
	} else {
		peer = malloc(sizeof(*peer));
		if (!peer)
			return NULL;
		mirror->peers[number] = peer;
		if (number >= mirror->peer_limit)
			mirror->peer_limit = number + 1u;
	}
	memset(peer, 0, sizeof(*peer));
	peer->number = number;
	LIST_INIT(&peer->holdings);
	LIST_INIT(&peer->claims);
	return peer;
}

struct peer *mirror_peer_new(struct router_mirror *mirror, const char *name)
{
	int number = mirror_peer_find(mirror, name);
	struct peer *peer;

	if (number >= 0 && mirror->peers[number]->known)
		return mirror->peers[number];
	if (number < 0)
		number = free_number(mirror);
	if (number < 0)
		return NULL;
	peer = peer_make(mirror, (uint16_t)number);
	if (!peer)
		return NULL;
	strncpy(peer->info.name, name, NAME_SIZE - 1);
	peer->known = true;
	peer->info.state = TARGET_GONE;
	return peer;
}

int router_mirror_restore_target(struct router_mirror *mirror, uint16_t number, const char *name,
				 uint64_t node_id, const struct address *address, bool in_roster)
{
	struct peer *peer;

	if (number >= MAX_TARGETS || !name[0] || strnlen(name, NAME_SIZE) == NAME_SIZE)
		return -EINVAL;
	if (mirror_peer_get(mirror, number) || mirror_peer_find(mirror, name) >= 0)
		return -EEXIST;
	peer = peer_make(mirror, number);
	if (!peer)
		return -ENOMEM;
	strncpy(peer->info.name, name, NAME_SIZE - 1);
	peer->known = true;
	peer->restored = peer->waited_for = true;
	peer->info.node_id = node_id;
	peer->info.address = *address;
	peer->info.in_roster = in_roster;
	/* Packets have been going there all the time that this agent was away. */
	peer->info.state = in_roster ? TARGET_UNATTENDED : TARGET_GONE;
	mirror_peers_count(mirror);
	return 0;
}

int router_mirror_restore_ready(struct router_mirror *mirror, uint16_t number, uint16_t service,
				uint32_t weight)
{
	struct peer *peer = mirror_peer_get(mirror, number);
	struct ready *slot;

	if (!peer || peer->open || service >= MAX_SERVICES || !mirror->services[service].name[0])
		return -EINVAL;
	if (!peer->ready)
		peer->ready = calloc(MAX_SERVICES, sizeof(*peer->ready));
	if (!peer->ready)
		return -ENOMEM;
	slot = &peer->ready[service];
	slot->said.service = mirror->services[service].key;
	slot->said.instances = 1;
	slot->session = peer->session; /* before the first one, whose DONE ends it */
	slot->valid = true;
	peer->info.weight = weight ? weight : 1; /* it had one */
	return 0;
}

void router_mirror_echo(struct router_mirror *mirror, uint16_t target)
{
	struct peer *peer = mirror_peer_get(mirror, target);

	if (!peer)
		return;
	peer->restored = false;
	if (!peer->unreachable)
		return;
	peer->unreachable = false;
	mirror_peer_event(mirror, peer, EVENT_ECHO);
}

static bool table_is_here(const struct router_mirror *mirror, const struct peer *peer)
{
	if (!peer->open || !peer->done)
		return false;
	return mirror->role != ROLE_ACTIVE || peer->barrier_answered;
}

/*
 * All affinities that were in force everywhere when this router became active, and since. A
 * snapshot that was asked for while it was active holds them; an older one does once the barrier is
 * answered.
 */
static bool affinities_are_here(const struct router_mirror *mirror, const struct peer *peer)
{
	if (!peer->open || !peer->affinities_done)
		return false;
	if (mirror->role != ROLE_ACTIVE || peer->barrier_answered)
		return true;
	return peer->asked_active && peer->asked_epoch == mirror->epoch;
}

/*
 * Must claims, and SYNs of services with affinity, wait for this target's affinities? Not for who
 * is down: they could not be used. A target without an agent can publish nothing, and what it had
 * published is here already unless it was still on its way; it is waited for in case the agent
 * comes back soon, not for ever: else one dead agent would keep the whole cluster from granting.
 */
static bool affinities_missing(const struct router_mirror *mirror, const struct peer *peer)
{
	uint64_t since;

	if (peer->info.affinities_in_sync || peer->info.state == TARGET_DOWN)
		return false;
	if (peer->info.state != TARGET_UNATTENDED)
		return true;
	since = peer->lost_ms > mirror->role_ms ? peer->lost_ms : mirror->role_ms;
	return mirror->now_ms < since + UNATTENDED_MS;
}

void mirror_peers_count(struct router_mirror *mirror)
{
	mirror->expected = mirror->missing = mirror->missing_affinities = 0;
	for (unsigned int i = 0; i < mirror->peer_limit; i++) {
		struct peer *peer = mirror->peers[i];

		if (!peer || !peer->known || !peer->info.in_roster)
			continue;
		mirror->expected++;
		mirror->missing += !peer->info.in_sync;
		peer->waited_for = affinities_missing(mirror, peer);
		mirror->missing_affinities += peer->waited_for;
	}
}

void mirror_peer_event(struct router_mirror *mirror, struct peer *peer, enum target_event event)
{
	enum target_state before = peer->info.state;

	peer->info.state = mirror_next_state(before, event);
	if (peer->info.state == before)
		return;
	mirror_claims_state_changed(mirror, peer);
	mirror_peers_count(mirror);
	mirror->ops.target_changed(mirror->context, peer->number);
}

void mirror_peer_refresh(struct router_mirror *mirror, struct peer *peer)
{
	bool here = table_is_here(mirror, peer);
	bool in_sync = here && !peer->cramped && !peer->info.crowded;
	bool affinities = affinities_are_here(mirror, peer);
	enum target_state state = peer->info.state;

	if (peer->open)
		state = mirror_next_state(state, here ? EVENT_IN_SYNC : EVENT_OUT_OF_SYNC);
	if (in_sync == peer->info.in_sync && affinities == peer->info.affinities_in_sync &&
	    state == peer->info.state)
		return;
	peer->info.in_sync = in_sync;
	peer->info.affinities_in_sync = affinities;
	peer->info.state = state;
	mirror_peers_count(mirror);
	mirror->ops.target_changed(mirror->context, peer->number);
}

/*
 * What a target has reported and the CRHT has no room for, the data plane does not know. From then
 * on its silence proves nothing there: the target is not in sync, whatever the mirror knows of it.
 * For some time after the last such entry too: a table that is just full is full again at once.
 */
void mirror_peer_waits(struct router_mirror *mirror, struct peer *peer)
{
	peer->info.waiting++;
	peer->cramped_ms = mirror->now_ms;
	if (peer->cramped)
		return;
	peer->cramped = true;
	mirror_peer_refresh(mirror, peer);
}

void mirror_peer_placed(struct peer *peer)
{
	peer->info.waiting--;
}

static void look_for_room(struct router_mirror *mirror, struct peer *peer)
{
	if (!peer->cramped)
		return;
	if (peer->info.waiting)
		peer->cramped_ms = mirror->now_ms;
	if (mirror->now_ms < peer->cramped_ms + CRAMPED_MS)
		return;
	peer->cramped = false;
	mirror_peer_refresh(mirror, peer);
}

void mirror_peer_retire(struct router_mirror *mirror, struct peer *peer)
{
	bool in_roster = peer->info.in_roster;

	mirror_connections_purge(mirror, peer);
	mirror_claims_purge(mirror, peer);
	free(peer->ready);
	peer->ready = NULL;
	peer->known = peer->open = false;
	peer->retired = ++mirror->retirements;
	peer->info.in_roster = peer->info.in_sync = peer->info.affinities_in_sync = false;
	peer->info.state = TARGET_GONE;
	mirror_peers_count(mirror);
	mirror->ops.target_changed(mirror->context, peer->number);
	if (in_roster)
		mirror->ops.roster_changed(mirror->context);
}

/* Dead: out of the roster; affinities and readiness end, connection entries stay until its next
 * snapshot, `limpet forget`, or until their room is needed. */
static void give_up(struct router_mirror *mirror, struct peer *peer)
{
	peer->info.in_roster = false;
	free(peer->ready);
	peer->ready = NULL;
	mirror_peer_event(mirror, peer, EVENT_GIVEN_UP);
	mirror_claims_purge(mirror, peer);
	mirror_connections_give_up(mirror, peer);
	mirror->ops.roster_changed(mirror->context);
}

void mirror_peers_tick(struct router_mirror *mirror)
{
	uint64_t now = mirror->now_ms;

	for (unsigned int i = 0; i < mirror->peer_limit; i++) {
		struct peer *peer = mirror->peers[i];
		bool waits;

		if (!peer || !peer->known)
			continue;
		look_for_room(mirror, peer);
		if (peer->open)
			continue;
		if (!peer->lost_ms)
			peer->lost_ms = now;
		if (peer->restored && peer->info.state == TARGET_UNATTENDED &&
		    now >= peer->lost_ms + RESTORED_MS) {
			peer->lost_ms = now;
			peer->unreachable = true;
			mirror_peer_event(mirror, peer, EVENT_LOST);
		}
		if (peer->info.state == TARGET_DOWN &&
		    now >= peer->lost_ms + mirror->settings.dead_after_ms)
			give_up(mirror, peer);
		waits = affinities_missing(mirror, peer);
		if (waits == peer->waited_for)
			continue;
		peer->waited_for = waits;
		mirror_peers_count(mirror);
		mirror->ops.target_changed(mirror->context, peer->number);
	}
}

int mirror_peer_ready(struct router_mirror *mirror, struct peer *peer,
		      const struct message_ready *ready)
{
	int service = mirror_service(mirror, &ready->service);
	struct ready *slot;
	bool same;

	if (service < 0)
		return 0;
	if (!peer->ready)
		peer->ready = calloc(MAX_SERVICES, sizeof(*peer->ready));
	if (!peer->ready)
		return -ENOMEM;
	slot = &peer->ready[service];
	same = slot->valid && slot->said.instances == ready->instances &&
	       slot->said.draining == ready->draining &&
	       slot->said.connections == ready->connections;
	slot->said = *ready;
	slot->session = peer->session;
	slot->valid = true;
	if (!same)
		mirror->ops.target_changed(mirror->context, peer->number);
	return 0;
}

/* At DONE: a service without READY in this session has no instance there. */
void mirror_peer_ready_sweep(struct peer *peer)
{
	for (unsigned int i = 0; peer->ready && i < MAX_SERVICES; i++) {
		if (peer->ready[i].session != peer->session)
			peer->ready[i].valid = false;
	}
}

const struct message_ready *router_mirror_ready(const struct router_mirror *mirror, uint16_t target,
						uint16_t service)
{
	const struct peer *peer = mirror_peer_get(mirror, target);

	if (!peer || !peer->ready || service >= MAX_SERVICES)
		return NULL;
	if (peer->info.state == TARGET_DOWN || peer->info.state == TARGET_GONE)
		return NULL;
	return peer->ready[service].valid ? &peer->ready[service].said : NULL;
}

const struct mirror_target *router_mirror_target(const struct router_mirror *mirror,
						 uint16_t number)
{
	static const struct mirror_target none = {.state = TARGET_GONE};
	const struct peer *peer = mirror_peer_get(mirror, number);

	return peer ? &peer->info : &none;
}

int router_mirror_find(const struct router_mirror *mirror, const char *name)
{
	int number = mirror_peer_find(mirror, name);

	return number >= 0 && mirror->peers[number]->known ? number : -ENOENT;
}

bool router_mirror_in_sync(const struct router_mirror *mirror)
{
	return mirror->expected && !mirror->missing;
}

bool router_mirror_asks_late(const struct router_mirror *mirror)
{
	return mirror->settings.sync_on_failure && mirror->role != ROLE_ACTIVE;
}

bool router_mirror_affinities_in_sync(const struct router_mirror *mirror)
{
	return mirror->expected && !mirror->missing_affinities;
}

uint32_t router_mirror_missing(const struct router_mirror *mirror)
{
	return mirror->missing;
}
