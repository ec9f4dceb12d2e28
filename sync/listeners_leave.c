/* SPDX-License-Identifier: BSD-2-Clause */
/* listeners_leave.c - listeners that are instances' no more: they have closed, or somebody else's
 * program steers their group. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "affinities.h"
#include "listeners_adopt.h"
#include "log.h"

void listener_report(struct listeners *listeners, const char *what, unsigned int slot)
{
	const struct instance *instance = &listeners->table->instance[slot].kernel;
	struct json_object *details = json_object_new_object();

	json_object_object_add(details, "id", json_object_new_int64(instance->id));
	json_object_object_add(details, "pid", json_object_new_int64(instance->pid));
	target_report(listeners->target, what, details);
}

static void ended(struct listeners *listeners, unsigned int slot, const char *why)
{
	const struct instance *instance = &listeners->table->instance[slot].kernel;

	listeners->outranked[slot] = 0; /* whoever has the slot next is another */
	listener_write_instance(listeners, slot);
	log_info("instance %llu (pid %u) has ended: %s", (unsigned long long)instance->id,
		 instance->pid, why);
	listener_report(listeners, "instance_end", slot);
	if (listeners->target->affinities)
		affinities_sweep_soon(listeners->target->affinities);
	target_readiness_changed(listeners->target);
}

static void remove_listener(struct listeners *listeners, unsigned int slot, const char *why)
{
	struct group_key group = listeners->table->listener[slot].group;
	unsigned int instance = listeners->table->listener[slot].instance;
	int over = instances_remove(listeners->table, slot);

	listeners->ranked = false;
	listener_write_group(listeners, &group);
	if (over >= 0)
		ended(listeners, over, why);
	else
		listener_write_instance(listeners, instance);
	listeners_make_room(listeners);
}

void listener_closed(struct listeners *listeners, unsigned int slot)
{
	remove_listener(listeners, slot, "its listeners are closed");
}

/* The socket array forgets a socket when it closes: what it no longer has is closed. */
static bool is_open(const struct listeners *listeners, unsigned int slot)
{
	__u32 key = slot;
	__u64 cookie;

	return maps_get(&listeners->target->agent->maps, MAP_LISTENERS, &key, &cookie) == 0 &&
	       cookie == listeners->table->listener[slot].cookie;
}

void listeners_remove_closed(struct listeners *listeners)
{
	for (unsigned int i = 0; i < MAX_LISTENERS; i++)
		if (listeners->table->listener[i].cookie && !is_open(listeners, i))
			listener_closed(listeners, i);
}

/* ------------------------------------------------------------------------------------------------
 * steering */

/* As when it was adopted; its descriptor in its process may be another now. */
static struct candidate candidate_of(const struct listeners *listeners, unsigned int slot)
{
	const struct listener *listener = &listeners->table->listener[slot];
	struct candidate candidate = {
		.socket = {.cookie = listener->cookie,
			   .inode = listeners->inode[slot],
			   .family = listener->group.family,
			   .v6only = listener->v6only,
			   .local = listener->group.bound,
			   .local_port = listener->group.port},
		.owner = {.inode = listeners->inode[slot]},
		.service = listeners_service(listeners, &listener->group, listener->v6only),
	};

	process_find_sockets(listeners->table->instance[listener->instance].kernel.pid,
			     &candidate.owner, 1);
	return candidate;
}

/* Out of the selector's tables: its connections are distributed by whoever steers it now. */
static void lose(struct listeners *listeners, unsigned int slot)
{
	struct candidate candidate = candidate_of(listeners, slot);
	__u32 key = slot;

	if (candidate.owner.pid)
		listener_forget(listeners, &candidate);
	maps_delete(&listeners->target->agent->maps, MAP_LISTENERS, &key);
	remove_listener(listeners, slot, "somebody else's program steers its listeners");
	if (candidate.service != NO_NUMBER)
		listener_refuse(listeners, &candidate, -EBUSY, WHY_STEERED);
}

static void steer_again(struct listeners *listeners, unsigned int slot)
{
	struct candidate candidate = candidate_of(listeners, slot);

	if (candidate.owner.pid && listener_steer_again(listeners, &candidate) == 0)
		log_warning("process %u: its listener on port %u had lost its reuseport program, "
			    "and has the selector again",
			    candidate.owner.pid, ntohs(candidate.socket.local_port));
}

/* Those that nobody else steers any more. */
static void try_again(struct listeners *listeners)
{
	struct unadoptables *list = &listeners->unadoptable;

	for (unsigned int i = 0; i < list->count;) {
		struct unadoptable *entry = &list->entry[i];

		if (!entry->steered ||
		    steering_of(listeners->steering, entry->cookie) == STEERED_BY_OTHERS) {
			i++;
			continue;
		}
		listener_hear(listeners, entry->cookie, entry->pid);
		unadoptable_remove(list, entry->cookie);
	}
}

bool listeners_others_steer(const struct listeners *listeners)
{
	for (unsigned int i = 0; i < listeners->unadoptable.count; i++)
		if (listeners->unadoptable.entry[i].steered)
			return true;
	return false;
}

void listeners_check_steering(struct listeners *listeners)
{
	const struct instance_table *table = listeners->table;

	if (!listeners->steering || steering_read(listeners->steering))
		return;
	for (unsigned int i = 0; i < MAX_LISTENERS; i++) {
		if (!table->listener[i].cookie)
			continue;
		switch (steering_of(listeners->steering, table->listener[i].cookie)) {
		case STEERED_BY_OTHERS:
			lose(listeners, i);
			break;
		case STEERED_BY_NOBODY:
			steer_again(listeners, i);
			break;
		case STEERED_BY_US:
			break;
		}
	}
	try_again(listeners);
}
