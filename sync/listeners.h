/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * listeners.h - adopts listeners: a socket that listens on a service's address and port with
 * SO_REUSEPORT becomes (part of) an instance, by itself. What cannot be adopted is remembered, with
 * the reason and the remedy.
 *
 * For adoption a descriptor of the socket is borrowed from its process for a moment
 * (pidfd_getfd(2)), and closed again: one that were kept would keep the listener alive.
 */
#ifndef LIMPET_LISTENERS_H
#define LIMPET_LISTENERS_H

#include "instances.h"
#include "target_part.h"
#include "unadoptable.h"

/* Recognises what was adopted before, by the pinned maps. NULL with a line in the log. */
struct listeners *listeners_new(struct target_part *target);
void listeners_free(struct listeners *listeners);

/* The target's configuration is another: interfaces, quota. For what is adopted from now on. */
void listeners_configure(struct listeners *listeners);

/* EVENT_LISTEN and EVENT_LISTEN_END. */
void listeners_heard(struct listeners *listeners, uint64_t cookie, uint32_t pid);
void listeners_closed(struct listeners *listeners, uint64_t cookie);
/* Look at all listening sockets: each minute; anew, also at those that could not be adopted: at the
 * start, when services have changed, when events were lost. */
void listeners_scan(struct listeners *listeners, bool anew);

/* instance 0: the whole target. -ENOENT: no such instance. */
int listeners_drain(struct listeners *listeners, uint64_t instance, bool drained);
/* Slots of instances that have ended and that nothing refers to are free again. referred[]: slots
 * that entries of target/affinities name. */
void listeners_release(struct listeners *listeners, const bool referred[MAX_INSTANCES]);

/* What a service's READY says: instances with a listener for it, ready or draining, and their
 * established connections. */
void listeners_readiness(const struct listeners *listeners, const struct service_key *service,
			 struct message_ready *ready);

/* Have two processes that both accept on this instance's listeners asked for affinities? Looks at
 * who holds them, and leaves the asking to the one of the two that does, if it is one. */
bool listeners_shared(struct listeners *listeners, unsigned int slot);

/* Do others get the new connections of a service that this instance serves, because they are bound
 * more closely? */
bool listeners_outranked(struct listeners *listeners, unsigned int slot);
#define OUTRANKED                                                                                  \
	"new connections go to listeners that are bound more closely, whoever has an affinity "    \
	"here; let all instances listen on one address"

/* The socket's inode, of one of the instance's listeners; 0: not known. */
uint32_t listeners_inode(const struct listeners *listeners, unsigned int instance);
struct instance_table *listeners_table(struct listeners *listeners);
const struct unadoptables *listeners_unadoptable(const struct listeners *listeners);

#endif
