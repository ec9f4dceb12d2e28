/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * rescan.h - checks target/connections against the kernel's own sockets: what the tracker has
 * missed is entered, what has no socket any more is removed; and the counts against the entries
 * (counts.h). What is counted under a scope or a prefix that its service has no more is counted
 * anew. Each minute, after events were lost, after a service has changed so, and soon after the
 * tracker has said that it could not do something at once. It goes on piece by piece, so that the
 * event loop is not held up.
 */
#ifndef LIMPET_RESCAN_H
#define LIMPET_RESCAN_H

#include <stddef.h>

#include "target_part.h"

struct rescan;

struct rescan *rescan_new(struct target_part *target);
void rescan_free(struct rescan *rescan);
/* Begin one; if one is under way, another follows it. */
void rescan_start(struct rescan *rescan);
/* The same, but some seconds lie between the beginnings of two. */
void rescan_soon(struct rescan *rescan);

/* Pure, for the comparison itself: a connection's entry, or a socket. */
struct rescan_item {
	uint64_t cookie;
	struct connection_key key;
	uint64_t established_ns; /* of an entry */
	bool open;		 /* of a socket: established, both ways or the client has closed */
	bool outdated; /* of an entry: counted under a prefix or a scope that its service had */
};

/*
 * Sorts both. gone: an entry without a socket, that was established before began_ns, when the list
 * of sockets was begun: a later one's socket may just not be in it. missed: an open socket without
 * an entry. Both are suspicions: the kernel is to be asked for each, for a list of sockets that is
 * read in pieces may miss one.
 */
void rescan_compare(struct rescan_item *entries, size_t entry_count, struct rescan_item *sockets,
		    size_t socket_count, uint64_t began_ns,
		    void (*gone)(void *context, const struct rescan_item *entry),
		    void (*missed)(void *context, const struct rescan_item *socket), void *context);

#endif
