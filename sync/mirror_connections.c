/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * mirror_connections.c - the replicas of the targets' connections, and their entries in the CRHT.
 *
 * Two targets may hold the same connection key: a client that has crashed and come back with the
 * same port through a router that did not know of its old target. A client has one connection under
 * a key, so one of the two is a remnant that nobody sends on, and the living one is the younger.
 * Which entry is in the CRHT, so that a connection never moves (promise 1):
 *
 *  1. The reporter to which this router has itself seen the handshake go (ops.noted) takes the
 *     entry. Until that report XDP goes by its note, which comes before the CRHT while it is young,
 *     so the living connection's packets go right before and after.
 *  2. Else a reporter that is in sync takes it, unless the handshake was noted at the present
 *     holder: outside a snapshot a report says that the connection has just been established, so it
 *     is younger than what was known before.
 *  3. Else, in a snapshot, whose order says nothing of age, the holder stays. Should it be the
 *     remnant, the handshake of the living one went through another router while its target or the
 *     remnant's was cut off from this one; the remnant's target answers the first packet with a
 *     challenge or a reset, and its END brings rule 4: that connection may be lost, known residue
 *     of a client that loses its memory during a partition.
 *  4. When the holder's goes away, the other's entry is put in place, at once, without a linger.
 *     Only if the other is older by rule 2, or its target is down, the holder's lingers first, for
 *     its client may still be sending to a server that has closed.
 *
 * A report by anybody ends a linger, for it may be of a new connection, and a target's END never
 * touches an entry that points elsewhere: what is removed is always the word of its own target.
 */
#include <errno.h>
#include <stdlib.h>

#include "codec.h"
#include "mirror_internal.h"

#define RETRIES_A_TICK 256 /* of connections that wait for room */

static uint64_t connection_hash(const struct router_mirror *mirror, const struct peer *peer,
				const struct connection_key *key)
{
	struct message message = {.type = MESSAGE_CONNECTION};
	uint8_t frame[128];
	ssize_t length;

	message.connection.service = mirror->services[key->service].key;
	message.connection.client = key->client;
	message.connection.client_port = key->client_port;
	length = message_encode(&message, frame, sizeof(frame));
	if (length < WIRE_HEADER)
		return 0;
	return siphash(peer->digest_key, frame + WIRE_HEADER, (size_t)length - WIRE_HEADER);
}

static bool record_key(const struct router_mirror *mirror, const struct message_connection *message,
		       struct connection_key *key)
{
	int service = mirror_service(mirror, &message->service);

	if (service < 0)
		return false;
	*key = (struct connection_key){.client = message->client,
				       .client_port = message->client_port,
				       .service = (uint16_t)service};
	return true;
}

static int noted(const struct router_mirror *mirror, const struct record *record)
{
	if (!mirror->ops.noted)
		return -ENOENT;
	return mirror->ops.noted(mirror->context, &record->key);
}

static bool is_doubtful(const struct router_mirror *mirror, const struct holding *holding)
{
	return holding->older || mirror_target_is_out(mirror, holding->target);
}

uint16_t mirror_record_successor(const struct router_mirror *mirror, struct record *record,
				 bool any)
{
	const struct holding *found = NULL;
	int seen = record->more ? noted(mirror, record) : -ENOENT;

	if (seen >= 0 && mirror_holding_find(record, (uint16_t)seen))
		return (uint16_t)seen;
	for (const struct holding *other = &record->own; other;
	     other = other == &record->own ? record->more : other->next) {
		if (other->target == NO_NUMBER || (!any && is_doubtful(mirror, other)))
			continue;
		if (!found || is_doubtful(mirror, found))
			found = other;
	}
	return found ? found->target : NO_NUMBER;
}

/* It lingers no longer: the entry is for who else holds it, if anybody does. */
static void end_linger(struct router_mirror *mirror, struct record *record)
{
	uint16_t next = mirror_record_successor(mirror, record, true);

	if (next == NO_NUMBER)
		mirror_record_remove(mirror, record);
	else
		mirror_record_open(mirror, record, next);
}

static void set_youngest(struct record *record, const struct holding *youngest)
{
	record->own.older = &record->own != youngest;
	for (struct holding *other = record->more; other; other = other->next)
		other->older = other != youngest;
}

/* Two hold it: rules 1 to 3. */
static void decide(struct router_mirror *mirror, struct record *record, struct holding *holding,
		   bool fresh)
{
	int seen = noted(mirror, record);

	mirror->counts.conflicts++;
	if (fresh && seen != record->target)
		set_youngest(record, holding);
	else if (seen != holding->target && !mirror_target_is_gone(mirror, record->target))
		return;
	mirror_record_open(mirror, record, holding->target);
}

/* `fresh`: it has just been established. */
static void elect(struct router_mirror *mirror, struct record *record, struct holding *holding,
		  bool fresh)
{
	if (record->target == NO_NUMBER || record->state == CONNECTION_LINGERS)
		mirror_record_open(mirror, record, holding->target);
	else if (record->target != holding->target)
		decide(mirror, record, holding, fresh);
}

static void linger(struct router_mirror *mirror, struct record *record, enum record_queue queue)
{
	record->state = CONNECTION_LINGERS;
	record->until_ms =
		mirror->now_ms + (queue == QUEUE_RESET ? LINGER_RESET_MS : LINGER_CLOSED_MS);
	mirror_record_put(mirror, record);
	mirror_record_enqueue(mirror, record, queue);
}

static void retract(struct router_mirror *mirror, struct peer *peer, struct holding *holding)
{
	if (holding->mark == peer->mark) {
		peer->sums.connections--;
		peer->sums.connections_sum -= connection_hash(mirror, peer, &holding->record->key);
	}
	peer->info.connections--;
	LIST_REMOVE(holding, of_target);
	mirror_holding_free(holding);
}

/* A target's word is taken back. `queue`: how its entry lingers, QUEUE_NONE: not at all. */
static void withdraw(struct router_mirror *mirror, struct peer *peer, struct holding *holding,
		     enum record_queue queue)
{
	struct record *record = holding->record;
	uint16_t next;

	retract(mirror, peer, holding);
	if (record->target != peer->number)
		return;
	next = mirror_record_successor(mirror, record, false);
	if (next != NO_NUMBER)
		mirror_record_open(mirror, record, next);
	else if (queue != QUEUE_NONE && record->placed)
		linger(mirror, record, queue);
	else
		end_linger(mirror, record);
}

/* What is said anew in another session may have begun since. */
static void mark(struct router_mirror *mirror, struct peer *peer, struct holding *holding)
{
	if (holding->mark == peer->mark)
		return;
	holding->mark = peer->mark;
	holding->older = false;
	peer->sums.connections++;
	peer->sums.connections_sum += connection_hash(mirror, peer, &holding->record->key);
}

static struct holding *hold(struct router_mirror *mirror, struct peer *peer,
			    const struct connection_key *key)
{
	struct record *record = mirror_record_find(mirror, key);
	struct holding *holding = record ? mirror_holding_find(record, peer->number) : NULL;

	if (holding)
		return holding;
	if (!record)
		record = mirror_record_new(mirror, key);
	if (!record)
		return NULL;
	holding = mirror_holding_new(record, peer);
	if (holding)
		holding->mark = peer->mark - 1;
	return holding;
}

int mirror_connections_report(struct router_mirror *mirror, struct peer *peer,
			      const struct message_connection *message)
{
	struct connection_key key;
	struct holding *holding;
	bool fresh;

	if (!record_key(mirror, message, &key)) {
		mirror->counts.unlisted++;
		return 0;
	}
	holding = hold(mirror, peer, &key);
	if (!holding)
		return -ENOMEM;
	fresh = peer->done && !peer->begun;
	mark(mirror, peer, holding);
	elect(mirror, holding->record, holding, fresh);
	return 0;
}

void mirror_connections_end(struct router_mirror *mirror, struct peer *peer,
			    const struct message_connection *message)
{
	struct connection_key key;
	struct record *record;
	struct holding *holding;

	if (!record_key(mirror, message, &key)) {
		mirror->counts.unlisted++;
		return;
	}
	record = mirror_record_find(mirror, &key);
	holding = record ? mirror_holding_find(record, peer->number) : NULL;
	if (!holding)
		return;
	withdraw(mirror, peer, holding,
		 message->how == CONNECTION_END_RESET ? QUEUE_RESET : QUEUE_CLOSED);
}

int mirror_connections_restore(struct router_mirror *mirror, const struct connection_key *key,
			       const struct router_connection *value)
{
	struct peer *peer = mirror_peer_get(mirror, value->target);
	struct record *record;

	if (!peer || key->service >= MAX_SERVICES || !mirror->services[key->service].name[0])
		return mirror->ops.connection(mirror->context, key, NULL);
	if (mirror_record_find(mirror, key))
		return -EEXIST;
	record = mirror_record_new(mirror, key);
	if (!record)
		return -ENOMEM;
	record->target = value->target;
	record->state = value->state;
	record->placed = true;
	mirror->counts.connections++;
	if (record->state == CONNECTION_LINGERS)
		mirror_record_enqueue(mirror, record, QUEUE_CLOSED);
	else
		mirror_holding_new(record, peer)->mark = peer->mark - 1;
	if (record->state == CONNECTION_OPEN && peer->ready)
		peer->ready[key->service].said.connections++; /* for leastconn, until it is told */
	return 0;
}

/* At DONE: what was not named has ended, who knows how: it lingers as if it had been closed. */
void mirror_connections_sweep(struct router_mirror *mirror, struct peer *peer)
{
	struct holding *holding, *next;

	for (holding = LIST_FIRST(&peer->holdings); holding; holding = next) {
		next = LIST_NEXT(holding, of_target);
		if (holding->mark != peer->mark)
			withdraw(mirror, peer, holding, QUEUE_CLOSED);
	}
}

static void drop_lingers(struct router_mirror *mirror, uint16_t target, enum record_queue queue)
{
	struct record *record, *next;

	for (record = TAILQ_FIRST(&mirror->queues[queue]); record; record = next) {
		next = TAILQ_NEXT(record, in_queue);
		if (record->target == target)
			end_linger(mirror, record);
	}
}

/* Nothing may point to this target any more. */
void mirror_connections_purge(struct router_mirror *mirror, struct peer *peer)
{
	while (!LIST_EMPTY(&peer->holdings))
		withdraw(mirror, peer, LIST_FIRST(&peer->holdings), QUEUE_NONE);
	drop_lingers(mirror, peer->number, QUEUE_CLOSED);
	drop_lingers(mirror, peer->number, QUEUE_RESET);
}

/* A dead target's entries stay, unless a living one holds the same connection. */
void mirror_connections_give_up(struct router_mirror *mirror, struct peer *peer)
{
	struct holding *holding;

	LIST_FOREACH (holding, &peer->holdings, of_target) {
		struct record *record = holding->record;
		uint16_t next;

		if (record->target != peer->number || !record->more)
			continue;
		next = mirror_record_successor(mirror, record, true);
		if (next != NO_NUMBER && !mirror_target_is_gone(mirror, next))
			mirror_record_open(mirror, record, next);
	}
}

static void drop_record(struct router_mirror *mirror, struct record *record)
{
	while (record->more)
		retract(mirror, mirror->peers[record->more->target], record->more);
	if (record->own.target != NO_NUMBER)
		retract(mirror, mirror->peers[record->own.target], &record->own);
	mirror_record_remove(mirror, record);
}

/* Before the services' keys change: the sums still need them. */
void mirror_connections_drop_services(struct router_mirror *mirror, const bool gone[MAX_SERVICES])
{
	struct record *record, *next;

	HASH_ITER (hh, mirror->records, record, next) {
		if (gone[record->key.service])
			drop_record(mirror, record);
	}
}

static void expire(struct router_mirror *mirror, enum record_queue queue)
{
	struct record *record, *next;

	for (record = TAILQ_FIRST(&mirror->queues[queue]); record; record = next) {
		next = TAILQ_NEXT(record, in_queue);
		if (record->until_ms > mirror->now_ms)
			return;
		end_linger(mirror, record);
	}
}

/* Restored before anybody could tell the time: they are the first of the queue. */
static void begin_restored(struct router_mirror *mirror)
{
	struct record *record = TAILQ_FIRST(&mirror->queues[QUEUE_CLOSED]);

	for (; record && !record->until_ms; record = TAILQ_NEXT(record, in_queue))
		record->until_ms = mirror->now_ms + LINGER_CLOSED_MS;
}

void mirror_connections_tick(struct router_mirror *mirror)
{
	begin_restored(mirror);
	expire(mirror, QUEUE_CLOSED);
	expire(mirror, QUEUE_RESET);
	mirror_records_refill(mirror, RETRIES_A_TICK);
}

void mirror_connections_free(struct router_mirror *mirror)
{
	struct record *record, *next;

	HASH_ITER (hh, mirror->records, record, next) {
		while (record->more)
			mirror_holding_free(record->more);
		mirror_record_free(mirror, record);
	}
}
