/* SPDX-License-Identifier: BSD-2-Clause */
/* listeners_adopt.h - one listener's adoption: the steps on its socket. For listeners.c. */
#ifndef LIMPET_LISTENERS_ADOPT_H
#define LIMPET_LISTENERS_ADOPT_H

#include "diag.h"
#include "listeners.h"
#include "steering.h"
#include "unadoptable.h"

struct candidate {
	struct diag_socket socket;
	struct socket_owner owner;
	uint16_t service;      /* one that it would serve */
	unsigned int attempts; /* so far */
};

struct listeners {
	struct target_part *target;
	struct instance_table *table;
	struct steering *steering; /* NULL: cannot be told */
	struct event *again;	   /* a pass over the listeners is due */
	bool look_again; /* something was adopted: is its process still there in a second? */
	uint32_t inode[MAX_LISTENERS]; /* of the socket in each slot, as listed last */
	int mtu;		       /* smallest of the target's interfaces */

	/* Listeners that were heard of and are not adopted yet. */
	struct heard {
		uint64_t cookie;
		uint32_t pid;
		unsigned int attempts;
	} * heard;
	unsigned int heard_count, heard_room;

	struct unadoptables unadoptable;
};

/*
 * Make the listener (part of) an instance: 0; -EAGAIN: not yet (it is not listening yet, or its
 * descriptor has moved), try again soon; another -errno: it cannot be adopted, with the reason and
 * the remedy in why.
 */
int listener_adopt(struct listeners *listeners, const struct candidate *candidate, char *why,
		   size_t size);

/* listeners_reown.c: instances whose process does not hold their listeners any more. */
void listeners_reown(struct listeners *listeners);

/* listeners_restore.c: what an earlier agent has adopted, from the pinned maps. */
int listeners_restore(struct listeners *listeners);

/* The group as its listeners are in the table. */
void listener_write_group(struct listeners *listeners, const struct group_key *key);
/* The instance as it is in the table, with the service that is shown for it. */
int listener_write_instance(struct listeners *listeners, unsigned int slot);

#endif
