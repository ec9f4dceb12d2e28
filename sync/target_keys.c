/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the kernel's tables hold, entry by entry: read anew when an event or a rescan names the key.
 *
 * A router's sum (DIGEST) is over the present entries that it sees. While its snapshot is under way
 * it lacks those that its reader has not reached; `counted` says which are in it, so that a change
 * takes out exactly what has been put in.
 */
#include <stdlib.h>
#include <string.h>

#include "codec.h"
#include "target_internal.h"

bool connection_visible(const struct peer *peer, const struct entry *entry)
{
	uint16_t service = entry->key.connection.service;

	return service < MAX_SERVICES && peer->service_visible[service];
}

bool affinity_visible(const struct peer *peer, const struct entry *entry)
{
	uint16_t scope = entry->key.affinity.scope;

	return scope < MAX_SERVICES && peer->scope_visible[scope];
}

void connection_message(const struct target_mirror *mirror, const struct entry *entry,
			struct message *message)
{
	const struct connection_key *key = &entry->key.connection;

	message->type = entry->present ? MESSAGE_CONNECTION : MESSAGE_CONNECTION_END;
	message->connection = (struct message_connection){
		.service = mirror->services[key->service].key,
		.client = key->client,
		.client_port = key->client_port,
		.how = entry->present ? 0 : entry->how,
	};
}

void affinity_message(const struct target_mirror *mirror, const struct affinity_entry *affinity,
		      struct message *message)
{
	const struct affinity_key *key = &affinity->entry.key.affinity;
	const char *scope = mirror->scopes[key->scope].name;

	if (!affinity->entry.present) {
		message->type = MESSAGE_AFFINITY_END;
		message->affinity_end = (struct message_affinity_end){.client = key->client};
		memcpy(message->affinity_end.scope, scope, NAME_SIZE);
		return;
	}
	message->type = MESSAGE_AFFINITY;
	message->affinity = (struct message_affinity){
		.client = key->client,
		.id = affinity->id,
		.term = affinity->term,
		.takeover = affinity->takeover,
	};
	memcpy(message->affinity.scope, scope, NAME_SIZE);
}

/* ------------------------------------------------------------------------------------------------
 * sums */

static uint64_t connection_hash(const struct target_mirror *mirror, unsigned int router,
				const struct entry *entry)
{
	struct message message;

	connection_message(mirror, entry, &message);
	return message_sum(&message, mirror->peers[router].digest_key);
}

static uint64_t affinity_hash(const struct target_mirror *mirror, unsigned int router,
			      const struct entry *entry)
{
	struct message message;

	affinity_message(mirror, (const struct affinity_entry *)entry, &message);
	return message_sum(&message, mirror->peers[router].digest_key);
}

static void count_in(struct reader *reader, unsigned int router, struct entry *entry, uint64_t hash)
{
	entry->counted |= reader_bit(router);
	reader->count++;
	reader->sum += hash;
}

static void count_out(struct reader *reader, unsigned int router, struct entry *entry,
		      uint64_t hash)
{
	entry->counted &= (uint16_t)~reader_bit(router);
	reader->count--;
	reader->sum -= hash;
}

void count_connection(struct target_mirror *mirror, unsigned int router, struct entry *entry)
{
	struct reader *reader = &mirror->connections.readers[router];

	if (reader->open && entry->present && !(entry->counted & reader_bit(router)) &&
	    connection_visible(&mirror->peers[router], entry))
		count_in(reader, router, entry, connection_hash(mirror, router, entry));
}

void count_affinity(struct target_mirror *mirror, unsigned int router, struct entry *entry)
{
	struct reader *reader = &mirror->affinities.readers[router];

	if (reader->open && entry->present && !(entry->counted & reader_bit(router)) &&
	    affinity_visible(&mirror->peers[router], entry))
		count_in(reader, router, entry, affinity_hash(mirror, router, entry));
}

/* Before a change: out of every sum, with the hash of what it still is. */
static void uncount_connection(struct target_mirror *mirror, struct entry *entry)
{
	for (unsigned int i = 0; entry->counted && i < MAX_ROUTERS; i++)
		if (entry->counted & reader_bit(i))
			count_out(&mirror->connections.readers[i], i, entry,
				  connection_hash(mirror, i, entry));
}

static void uncount_affinity(struct target_mirror *mirror, struct entry *entry)
{
	for (unsigned int i = 0; entry->counted && i < MAX_ROUTERS; i++)
		if (entry->counted & reader_bit(i))
			count_out(&mirror->affinities.readers[i], i, entry,
				  affinity_hash(mirror, i, entry));
}

/* ------------------------------------------------------------------------------------------------
 * connections */

static void connection_changed(struct target_mirror *mirror, struct entry *entry)
{
	if (!entry->present && !entry->told) {
		table_remove(&mirror->connections, entry);
		return;
	}
	for (unsigned int i = 0; i < MAX_ROUTERS; i++)
		count_connection(mirror, i, entry);
	table_changed(&mirror->connections, entry);
	wake_readers(mirror);
}

/* Another one under the key, before the end of the former was read, is told again: it is younger
 * than what a router knows of the key from others. */
static bool is_as_before(const struct entry *entry, bool present,
			 const struct target_connection *value)
{
	if (!entry)
		return !present;
	return entry->present == present &&
	       (!present || ((const struct connection_entry *)entry)->cookie == value->cookie);
}

void target_mirror_connection(struct target_mirror *mirror, const struct connection_key *key,
			      uint8_t how)
{
	const union entry_key entry_key = {.connection = *key};
	struct entry *entry = table_find(&mirror->connections, &entry_key);
	struct target_connection value = {0};
	bool present = mirror->ops.read_connection(mirror->context, key, &value) == 0;

	if (entry)
		entry->scan = mirror->scan;
	if (is_as_before(entry, present, &value)) {
		/* It has come and gone once more: the client of either may still be sending. */
		if (entry && !present && how == CONNECTION_END_CLOSED)
			entry->how = how;
		return;
	}
	if (!entry)
		entry = table_add(&mirror->connections, &entry_key);
	if (!entry)
		return; /* no memory: the next rescan misses it and tries again */
	entry->scan = mirror->scan;
	uncount_connection(mirror, entry);
	mirror->connections.present += present - entry->present;
	entry->present = present;
	entry->how = how;
	((struct connection_entry *)entry)->cookie = value.cookie;
	connection_changed(mirror, entry);
}

/* ------------------------------------------------------------------------------------------------
 * affinities */

static void affinity_changed(struct target_mirror *mirror, struct entry *entry)
{
	if (!entry->present && !entry->told) {
		table_remove(&mirror->affinities, entry);
		return;
	}
	for (unsigned int i = 0; i < MAX_ROUTERS; i++)
		count_affinity(mirror, i, entry);
	table_changed(&mirror->affinities, entry);
	wake_readers(mirror);
}

void set_term(struct target_mirror *mirror, struct affinity_entry *affinity,
	      const struct term *term)
{
	uncount_affinity(mirror, &affinity->entry);
	affinity->term = *term;
	affinity_changed(mirror, &affinity->entry);
}

static void affinity_gone(struct target_mirror *mirror, struct affinity_entry *affinity)
{
	uncount_affinity(mirror, &affinity->entry);
	claim_close(mirror, affinity);
	affinity->entry.present = false;
	mirror->affinities.present--;
	affinity_changed(mirror, &affinity->entry);
}

/* Another request than the one that the mirror knows, if it knows one. */
static void affinity_new(struct target_mirror *mirror, struct affinity_entry *affinity, uint64_t id,
			 bool takeover)
{
	const struct affinity_key *key = &affinity->entry.key.affinity;
	struct term term = {0, 0};

	if (!mirror->ops.published(mirror->context, key, id, &term))
		term = (struct term){0, 0};
	if (term.clock > mirror->clock)
		mirror->clock = term.clock; /* our own word */
	uncount_affinity(mirror, &affinity->entry);
	claim_close(mirror, affinity);
	mirror->affinities.present += !affinity->entry.present;
	affinity->entry.present = true;
	affinity->id = id;
	affinity->takeover = takeover;
	affinity->term = term;
	if (term_is_zero(&term) && claim_open(mirror, affinity) < 0) {
		affinity_gone(mirror, affinity); /* the next rescan misses it and tries again */
		return;
	}
	affinity_changed(mirror, &affinity->entry);
}

void target_mirror_affinity(struct target_mirror *mirror, const struct affinity_key *key)
{
	const union entry_key entry_key = {
		.affinity = {.client = key->client, .scope = key->scope}};
	struct entry *entry = table_find(&mirror->affinities, &entry_key);
	struct affinity_entry *affinity = (struct affinity_entry *)entry;
	struct target_affinity value;
	bool takeover;
	uint64_t id;

	if (mirror->ops.read_affinity(mirror->context, key, &value) < 0) {
		if (entry && entry->present)
			affinity_gone(mirror, affinity);
		return;
	}
	id = value.word >> 8;
	takeover = value.flags & AFFINITY_FLAG_TAKEOVER;
	if (!entry)
		affinity = (struct affinity_entry *)table_add(&mirror->affinities, &entry_key);
	if (!affinity)
		return; /* no memory: the next rescan misses it and tries again */
	affinity->entry.scan = mirror->scan;
	if (!affinity->entry.present || affinity->id != id) {
		affinity_new(mirror, affinity, id, takeover);
		return;
	}
	if (affinity->takeover == takeover)
		return;
	uncount_affinity(mirror, &affinity->entry);
	affinity->takeover = takeover;
	affinity_changed(mirror, &affinity->entry);
}

/* ------------------------------------------------------------------------------------------------
 * rescan */

void target_mirror_rescan_begin(struct target_mirror *mirror)
{
	mirror->scan++;
	mirror->scanning = true;
}

void target_mirror_rescan_end(struct target_mirror *mirror)
{
	struct entry *entry, *following;

	/* Reading may move the entry to the end, where it is found named, or remove it. */
	for (entry = mirror->connections.head; entry; entry = following) {
		following = entry->next;
		if (entry->scan == mirror->scan || !entry->present)
			continue;
		struct connection_key key = entry->key.connection;

		target_mirror_connection(mirror, &key, CONNECTION_END_CLOSED);
	}
	for (entry = mirror->affinities.head; entry; entry = following) {
		following = entry->next;
		if (entry->scan == mirror->scan || !entry->present)
			continue;
		struct affinity_key key = entry->key.affinity;

		target_mirror_affinity(mirror, &key);
	}
	mirror->scanning = false;
	mirror->scanned = true;
	wake_readers(mirror);
}

void target_mirror_each_affinity(struct target_mirror *mirror,
				 void (*each)(void *context, const struct affinity_key *key,
					      const struct target_affinity *value),
				 void *context)
{
	size_t count = 0, size = mirror->affinities.present;
	struct affinity_key *keys = calloc(size ? size : 1, sizeof(*keys));
	struct target_affinity value;

	if (!keys)
		return;
	/* A copy of the keys: `each` may end affinities and so change the table. */
	for (struct entry *entry = mirror->affinities.head; entry; entry = entry->next)
		if (entry->present && count < size)
			keys[count++] = entry->key.affinity;
	for (size_t i = 0; i < count; i++)
		if (mirror->ops.read_affinity(mirror->context, &keys[i], &value) == 0)
			each(context, &keys[i], &value);
	free(keys);
}
