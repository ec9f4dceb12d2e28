/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_records.c - the records of connections, and their entries in the CRHT: as long as there is
 * room there; then some wait. mirror_connections.c says to which target an entry points.
 */
#include <errno.h>
#include <stdlib.h>

#include "mirror_internal.h"

struct record *mirror_record_find(struct router_mirror *mirror, const struct connection_key *key)
{
	struct record *record;

	HASH_FIND(hh, mirror->records, key, sizeof(*key), record);
	return record;
}

struct record *mirror_record_new(struct router_mirror *mirror, const struct connection_key *key)
{
	struct record *record = calloc(1, sizeof(*record));

	if (!record)
		return NULL;
	record->key = *key;
	record->target = NO_NUMBER;
	record->own.target = NO_NUMBER;
	HASH_ADD(hh, mirror->records, key, sizeof(record->key), record);
	if (!record->hh.tbl) {
		free(record);
		return NULL;
	}
	return record;
}

void mirror_record_free(struct router_mirror *mirror, struct record *record)
{
	HASH_DEL(mirror->records, record);
	free(record);
}

struct holding *mirror_holding_find(struct record *record, uint16_t target)
{
	if (record->own.target == target)
		return &record->own;
	for (struct holding *other = record->more; other; other = other->next) {
		if (other->target == target)
			return other;
	}
	return NULL;
}

struct holding *mirror_holding_new(struct record *record, struct peer *peer)
{
	struct holding *holding = &record->own;

	if (holding->target != NO_NUMBER) {
		holding = calloc(1, sizeof(*holding));
		if (!holding)
			return NULL;
		holding->next = record->more;
		record->more = holding;
	}
	holding->record = record;
	holding->target = peer->number;
	holding->older = false;
	LIST_INSERT_HEAD(&peer->holdings, holding, of_target);
	peer->info.connections++;
	return holding;
}

void mirror_holding_free(struct holding *holding)
{
	struct record *record = holding->record;
	struct holding **at = &record->more;

	if (holding == &record->own) {
		holding->target = NO_NUMBER;
		return;
	}
	while (*at != holding)
		at = &(*at)->next;
	*at = holding->next;
	free(holding);
}

static uint64_t *queue_count(struct router_mirror *mirror, uint8_t queue)
{
	return queue == QUEUE_WAITING ? &mirror->counts.connections_waiting
				      : &mirror->counts.lingering;
}

void mirror_record_enqueue(struct router_mirror *mirror, struct record *record,
			   enum record_queue queue)
{
	record->queue = (uint8_t)queue;
	TAILQ_INSERT_TAIL(&mirror->queues[queue], record, in_queue);
	(*queue_count(mirror, record->queue))++;
	if (queue == QUEUE_WAITING)
		mirror_peer_waits(mirror, mirror->peers[record->target]);
}

static void dequeue(struct router_mirror *mirror, struct record *record)
{
	if (record->queue == QUEUE_NONE)
		return;
	TAILQ_REMOVE(&mirror->queues[record->queue], record, in_queue);
	(*queue_count(mirror, record->queue))--;
	if (record->queue == QUEUE_WAITING)
		mirror_peer_placed(mirror->peers[record->target]);
	record->queue = QUEUE_NONE;
}

int mirror_record_put(struct router_mirror *mirror, struct record *record)
{
	struct router_connection value = {.target = record->target, .state = record->state};
	int error = mirror->ops.connection(mirror->context, &record->key, &value);

	if (!error && !record->placed) {
		record->placed = true;
		mirror->counts.connections++;
	}
	return error;
}

static void take_out(struct router_mirror *mirror, struct record *record)
{
	dequeue(mirror, record);
	if (!record->placed)
		return;
	mirror->ops.connection(mirror->context, &record->key, NULL);
	record->placed = false;
	mirror->counts.connections--;
}

/* What gives way when the CRHT is full: what has ended already, then what a dead target said. */
static bool make_room(struct router_mirror *mirror)
{
	struct record *oldest = TAILQ_FIRST(&mirror->queues[QUEUE_RESET]);

	if (!oldest)
		oldest = TAILQ_FIRST(&mirror->queues[QUEUE_CLOSED]);
	if (oldest) {
		take_out(mirror, oldest);
		oldest->target = mirror_record_successor(mirror, oldest, true);
		oldest->state = CONNECTION_OPEN;
		if (oldest->target == NO_NUMBER)
			mirror_record_free(mirror, oldest);
		else
			mirror_record_enqueue(mirror, oldest, QUEUE_WAITING);
		return true;
	}
	for (unsigned int i = 0; i < mirror->peer_limit; i++) {
		const struct peer *peer = mirror->peers[i];
		struct holding *holding;

		if (!peer || !peer->known || peer->info.state != TARGET_GONE)
			continue;
		LIST_FOREACH (holding, &peer->holdings, of_target) {
			struct record *record = holding->record;

			if (record->target != peer->number || !record->placed)
				continue;
			take_out(mirror, record);
			mirror_record_enqueue(mirror, record, QUEUE_WAITING);
			return true;
		}
	}
	return false;
}

/* In the place of what gives way. What a dead target said takes nobody's. */
static int displace(struct router_mirror *mirror, struct record *record)
{
	if (record->placed || mirror_target_is_gone(mirror, record->target) || !make_room(mirror))
		return -ENOSPC;
	return mirror_record_put(mirror, record);
}

/* Room for those that wait; a dead target's wait behind the others. */
void mirror_records_refill(struct router_mirror *mirror, unsigned int most)
{
	struct record_list *waiting = &mirror->queues[QUEUE_WAITING];

	for (struct record *record; most && (record = TAILQ_FIRST(waiting)); most--) {
		if (!mirror_record_put(mirror, record) || !displace(mirror, record)) {
			dequeue(mirror, record);
			continue;
		}
		if (!mirror_target_is_gone(mirror, record->target))
			return;
		TAILQ_REMOVE(waiting, record, in_queue);
		TAILQ_INSERT_TAIL(waiting, record, in_queue);
	}
}

void mirror_record_remove(struct router_mirror *mirror, struct record *record)
{
	bool room = record->placed;

	take_out(mirror, record);
	mirror_record_free(mirror, record);
	record = TAILQ_FIRST(&mirror->queues[QUEUE_WAITING]);
	if (room && record && !mirror_record_put(mirror, record))
		dequeue(mirror, record);
}

void mirror_record_open(struct router_mirror *mirror, struct record *record, uint16_t target)
{
	dequeue(mirror, record);
	mirror_holding_find(record, target)->older = false;
	record->target = target;
	record->state = CONNECTION_OPEN;
	if (!mirror_record_put(mirror, record))
		return;
	mirror->counts.full++;
	if (!displace(mirror, record))
		return;
	take_out(mirror, record); /* better no entry than one that points elsewhere */
	mirror_record_enqueue(mirror, record, QUEUE_WAITING);
}
