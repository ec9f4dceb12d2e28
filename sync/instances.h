/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * instances.h - which listeners make which instance. Pure: no I/O; listeners.c writes the maps.
 *
 * An instance is a listener that one process accepts on, with that process's other listeners. The
 * k-th listener that a process has in one reuseport group belongs to the same instance as its k-th
 * in any other group: so a program with one listener for IPv4 and one for IPv6 is one instance, and
 * a master that holds one listener per worker in each group (nginx with `reuseport`) is as many
 * instances as it has workers.
 *
 * An instance's id counts up and is never given again, as long as the state directory or the pinned
 * maps are there. A slot is given again only when nothing refers to it.
 */
#ifndef LIMPET_INSTANCES_H
#define LIMPET_INSTANCES_H

#include <stdbool.h>

#include "layout.h"
#include "services.h"

struct listener {
	__u64 cookie; /* of the socket; 0: slot not in use */
	struct group_key group;
	__u32 instance; /* slot */
	bool v6only;
};

struct instance_entry {
	struct instance kernel; /* as in target/instances; state INSTANCE_FREE: not in use */
	__u64 start;		/* of the process `kernel.pid`: process_start */
	__u32 ordinal;		/* k of the process's instances */
	bool drained;		/* by the operator, by itself */
};

struct instance_table {
	struct listener listener[MAX_LISTENERS];
	struct instance_entry instance[MAX_INSTANCES];
	__u64 last_id;
	__u32 max_affinities; /* of new instances */
	bool draining;	      /* the whole target */
};

/* Slot of the listener with this cookie, or -ENOENT. */
int instances_find(const struct instance_table *table, __u64 cookie);
/* Slot of the instance with this id, or -ENOENT. */
int instances_find_id(const struct instance_table *table, __u64 id);

/* A process's new listener: its slot, or -EEXIST (is there already), -EMLINK (the group is full),
 * -ENOSPC (no slot). The instance is made where it is not there yet. */
int instances_add(struct instance_table *table, __u64 cookie, const struct group_key *group,
		  bool v6only, __u32 pid, __u64 start);
/* The listener has closed: its instance's slot if that has ended with it, or -1. */
int instances_remove(struct instance_table *table, unsigned int slot);
/* Nothing refers to an instance that has ended: its slot may be used again. */
void instances_release(struct instance_table *table, unsigned int slot);

/* The process is gone and its listeners live on in another (a master that has become a daemon, or
 * has executed its successor): that one's instance from now on, still the k-th where it can be. */
void instances_reown(struct instance_table *table, unsigned int slot, __u32 pid, __u64 start);

/* After a restart: what is pinned. Instances first, then listeners, then settle: whoever has no
 * listener has ended. */
void instances_restore(struct instance_table *table, unsigned int slot,
		       const struct instance *instance, __u64 start);
void instances_restore_listener(struct instance_table *table, unsigned int slot, __u64 cookie,
				const struct group_key *group, bool v6only, __u32 instance);
void instances_settle(struct instance_table *table);

/* States as the drain flags say; true when the instance's state is another now. */
bool instances_update_state(struct instance_table *table, unsigned int slot);
/* The members of a group, in the order of their slots. */
void instances_group(const struct instance_table *table, const struct group_key *key,
		     struct group *group);
/* serves[i]: the instance has a listener for the active service with this number. */
void instances_services(const struct instance_table *table, unsigned int slot,
			const struct service_numbers *numbers, bool serves[MAX_SERVICES]);
/* outranked[slot]: it serves the service, and others, who are bound more closely, get its new
 * connections. */
void instances_rank(const struct instance_table *table, const struct service_key *service,
		    bool outranked[MAX_INSTANCES]);

#endif
