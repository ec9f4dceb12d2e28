/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * target_table.h - the keys that a target has to tell its routers of, in the order of their last
 * change, and how far each router has been told.
 *
 * An entry that changes moves to the end of the order. A reader is a place in it: what lies before
 * has been told as it is now, what lies from there on has not. So a snapshot is a reader that
 * starts at the head; a key that changes twice is told once; nothing is queued for anybody, and a
 * slow reader costs nothing. Every operation but table_close is O(readers).
 */
#ifndef LIMPET_TARGET_TABLE_H
#define LIMPET_TARGET_TABLE_H

#include <uthash.h>

#include "wire.h"

union entry_key {
	struct connection_key connection;
	struct affinity_key affinity;
};

struct entry {
	union entry_key key;
	uint32_t scan;	/* the last rescan that has named it */
	uint64_t order; /* of its last change */
	struct entry *prev, *next;
	uint16_t told;	  /* readers, a bit each, that believe it exists */
	uint16_t counted; /* readers in whose sum it is */
	bool present;	  /* in the kernel's table; entries that are not are kept while `told` */
	uint8_t how;	  /* enum connection_end, when not present */
	UT_hash_handle hh;
};

struct reader {
	bool open;
	struct entry *next; /* the first that is unread; NULL: none */
	uint64_t unread;
	uint64_t count, sum; /* of the counted entries; kept by the owner of the table */
};

struct table {
	size_t entry_size; /* of the owner's structure, which begins with struct entry */
	struct entry *hash, *head;
	uint64_t order;
	uint64_t present; /* entries that are; kept by the owner */
	struct reader readers[MAX_ROUTERS];
};

_Static_assert(MAX_ROUTERS <= 16, "a bit a reader in struct entry");

static inline uint16_t reader_bit(unsigned int reader)
{
	return (uint16_t)(1U << reader);
}

/* Once a process, before any table is used: hashes are keyed. 0 or -errno. */
int table_init(void);
void table_free(struct table *table);

struct entry *table_find(struct table *table, const union entry_key *key);
/* Zeroed but for the key, at the end of the order; NULL: no memory. */
struct entry *table_add(struct table *table, const union entry_key *key);
/* It has changed: every reader has to read it (again). */
void table_changed(struct table *table, struct entry *entry);
void table_remove(struct table *table, struct entry *entry);

/* A reader that has read nothing. */
void table_open(struct table *table, unsigned int reader);
/* Forget what this reader has been told; entries kept for it alone are removed. */
void table_close(struct table *table, unsigned int reader);
/* The next unread entry, which is read thereby; NULL: none. */
struct entry *table_next(struct table *table, unsigned int reader);

#endif
