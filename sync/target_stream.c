/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a router is told next, composed from what holds at this moment: first the target's own
 * condition, then BEGIN, affinities, connections, DONE, the answer to a barrier, a digest, each
 * only when nothing of the former is left. So no connection is told while an affinity is untold,
 * and DONE, barrier and digest speak of everything.
 */
#include <string.h>

#include "target_internal.h"

#define DIGEST_MS 1000

static bool next_ready(struct target_mirror *mirror, struct peer *peer, struct message *message)
{
	unsigned int i = 0;

	if (!peer->ready_unsent_count)
		return false;
	while (!peer->ready_unsent[i])
		i++;
	peer->ready_unsent[i] = false;
	peer->ready_unsent_count--;
	message->type = MESSAGE_READY;
	if (peer->number_of[i] != NO_NUMBER)
		message->ready = mirror->ready[peer->number_of[i]];
	message->ready.service = peer->list->service[i].key;
	return true;
}

/* Is there something to say of this entry? Then `told` is what it will have been told. */
static bool tell(struct entry *entry, unsigned int router, bool visible)
{
	uint16_t bit = reader_bit(router);

	if (entry->present && visible) {
		entry->told |= bit;
		return true;
	}
	if (!(entry->told & bit))
		return false;
	entry->told &= (uint16_t)~bit;
	return true;
}

static bool next_affinity(struct target_mirror *mirror, unsigned int router,
			  struct message *message)
{
	const struct peer *peer = &mirror->peers[router];
	struct entry *entry;
	bool said;

	while ((entry = table_next(&mirror->affinities, router))) {
		count_affinity(mirror, router, entry);
		said = tell(entry, router, affinity_visible(peer, entry));
		if (said)
			affinity_message(mirror, (struct affinity_entry *)entry, message);
		if (!entry->present && !entry->told)
			table_remove(&mirror->affinities, entry);
		if (said)
			return true;
	}
	return false;
}

static bool next_connection(struct target_mirror *mirror, unsigned int router,
			    struct message *message)
{
	const struct peer *peer = &mirror->peers[router];
	struct entry *entry;
	bool said;

	while ((entry = table_next(&mirror->connections, router))) {
		count_connection(mirror, router, entry);
		said = tell(entry, router, connection_visible(peer, entry));
		if (said)
			connection_message(mirror, entry, message);
		if (!entry->present && !entry->told)
			table_remove(&mirror->connections, entry);
		if (said)
			return true;
	}
	return false;
}

/* The kernel's table has been read up to what was there when this was asked, and sent. */
static bool next_answer(const struct target_mirror *mirror, struct peer *peer,
			struct message *message)
{
	if (!peer->drained || mirror->scanning || !mirror->scanned)
		return false;
	if (!peer->done) {
		peer->done = true;
		message->type = MESSAGE_DONE;
		message->list.number = peer->covered;
		return true;
	}
	if (!peer->barrier)
		return false;
	peer->barrier = false;
	message->type = MESSAGE_BARRIER;
	message->role.epoch = peer->barrier_epoch;
	return true;
}

static bool next_digest(const struct target_mirror *mirror, unsigned int router,
			struct message *message)
{
	const struct reader *connections = &mirror->connections.readers[router];
	const struct reader *affinities = &mirror->affinities.readers[router];
	struct peer *peer = &mirror->peers[router];

	if (!peer->done || mirror->now_ms < peer->digest_due_ms)
		return false;
	peer->digest_due_ms = mirror->now_ms + DIGEST_MS;
	message->type = MESSAGE_DIGEST;
	message->digest = (struct message_digest){
		.services = peer->covered,
		.connections = connections->count,
		.connections_sum = connections->sum,
		.affinities = affinities->count,
		.affinities_sum = affinities->sum,
	};
	return true;
}

static bool next_of_snapshot(struct target_mirror *mirror, unsigned int router,
			     struct message *message)
{
	struct peer *peer = &mirror->peers[router];

	if (!peer->begun) {
		peer->begun = true;
		message->type = MESSAGE_BEGIN;
		message->list.number = peer->covered;
		return true;
	}
	return next_affinity(mirror, router, message) || next_connection(mirror, router, message) ||
	       next_answer(mirror, peer, message) || next_digest(mirror, router, message);
}

bool target_mirror_next(struct target_mirror *mirror, unsigned int router, bool drained,
			uint64_t now_ms, struct message *message)
{
	struct peer *peer;

	hear_time(mirror, now_ms);
	if (router >= MAX_ROUTERS || !mirror->peers[router].view.connected)
		return false;
	peer = &mirror->peers[router];
	peer->drained |= drained;
	memset(message, 0, sizeof(*message));
	if (peer->target_unsent) {
		peer->target_unsent = false;
		message->type = MESSAGE_TARGET;
		message->target = mirror->condition;
		return true;
	}
	return next_ready(mirror, peer, message) ||
	       (peer->started && next_of_snapshot(mirror, router, message));
}
