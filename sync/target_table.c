/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "siphash.h"

/* Clients choose the keys, so the hash has a key too. */
static uint64_t hash_key[2];

#define HASH_FUNCTION(key, length, value) ((value) = (unsigned int)siphash(hash_key, key, length))
#define HASH_NONFATAL_OOM		  1
#define uthash_nonfatal_oom(entry)	  ((void)(entry)) /* its hh.tbl is NULL */

#include "target_table.h"

#include <utlist.h>

int table_init(void)
{
	ssize_t got;

	if (hash_key[0] | hash_key[1])
		return 0;
	got = getrandom(hash_key, sizeof(hash_key), 0);
	return got == (ssize_t)sizeof(hash_key) ? 0 : -EIO;
}

void table_free(struct table *table)
{
	struct entry *entry, *following;

	HASH_CLEAR(hh, table->hash);
	DL_FOREACH_SAFE (table->head, entry, following)
		free(entry);
	table->head = NULL;
}

struct entry *table_find(struct table *table, const union entry_key *key)
{
	struct entry *entry;

	HASH_FIND(hh, table->hash, key, sizeof(*key), entry);
	return entry;
}

/* Is it before this reader's place or not? */
static bool unread(const struct reader *reader, const struct entry *entry)
{
	return reader->next && entry->order >= reader->next->order;
}

/* Out of the order; readers that stand at it stand at the one after it. */
static void take_out(struct table *table, struct entry *entry)
{
	for (unsigned int i = 0; i < MAX_ROUTERS; i++) {
		struct reader *reader = &table->readers[i];

		if (!reader->open || !unread(reader, entry))
			continue;
		reader->unread--;
		if (reader->next == entry)
			reader->next = entry->next;
	}
	DL_DELETE(table->head, entry);
}

static void append(struct table *table, struct entry *entry)
{
	entry->order = ++table->order;
	DL_APPEND(table->head, entry);
	for (unsigned int i = 0; i < MAX_ROUTERS; i++) {
		struct reader *reader = &table->readers[i];

		if (!reader->open)
			continue;
		reader->unread++;
		if (!reader->next)
			reader->next = entry;
	}
}

struct entry *table_add(struct table *table, const union entry_key *key)
{
	struct entry *entry = calloc(1, table->entry_size);

	if (!entry)
		return NULL;
	entry->key = *key;
	HASH_ADD(hh, table->hash, key, sizeof(entry->key), entry);
	if (!entry->hh.tbl) {
		free(entry);
		return NULL;
	}
	append(table, entry);
	return entry;
}

void table_changed(struct table *table, struct entry *entry)
{
	take_out(table, entry);
	append(table, entry);
}

void table_remove(struct table *table, struct entry *entry)
{
	take_out(table, entry);
	HASH_DEL(table->hash, entry);
	free(entry);
}

void table_open(struct table *table, unsigned int reader)
{
	table->readers[reader] = (struct reader){
		.open = true,
		.next = table->head,
		.unread = HASH_COUNT(table->hash),
	};
}

void table_close(struct table *table, unsigned int reader)
{
	struct entry *entry, *following;
	uint16_t others = (uint16_t)~reader_bit(reader);

	if (!table->readers[reader].open)
		return;
	table->readers[reader] = (struct reader){.open = false};
	DL_FOREACH_SAFE (table->head, entry, following) {
		entry->told &= others;
		entry->counted &= others;
		if (!entry->present && !entry->told)
			table_remove(table, entry);
	}
}

struct entry *table_next(struct table *table, unsigned int reader)
{
	struct reader *at = &table->readers[reader];
	struct entry *entry = at->next;

	if (!entry)
		return NULL;
	at->next = entry->next;
	at->unread--;
	return entry;
}
