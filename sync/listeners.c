/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "affinities.h"
#include "listener.h"
#include "listeners_adopt.h"
#include "log.h"

#define ATTEMPTS    6 /* 20 ms after the event, then twice as long each time: 1.3 s in all */
#define FIRST_MS    20
#define MTU_DEFAULT 1500
#define STEERED_S   5 /* somebody else's program may be gone by then */

struct pass {
	struct listeners *listeners;
	struct candidate *candidates;
	unsigned int count, room;
	bool everything; /* not only what was heard of */
	bool owners;	 /* see whether the processes of the instances are still theirs */
	bool again;	 /* those that had no room are tried again */
};

static bool live(const struct instance_entry *entry)
{
	return entry->kernel.state == INSTANCE_READY || entry->kernel.state == INSTANCE_DRAINING;
}

static struct heard *find_heard(struct listeners *listeners, uint64_t cookie)
{
	for (unsigned int i = 0; i < listeners->heard_count; i++)
		if (listeners->heard[i].cookie == cookie)
			return &listeners->heard[i];
	return NULL;
}

static void forget_heard(struct listeners *listeners, uint64_t cookie)
{
	struct heard *heard = find_heard(listeners, cookie);

	if (heard)
		*heard = listeners->heard[--listeners->heard_count];
}

static void adopted(struct listeners *listeners, const struct candidate *candidate)
{
	int slot = instances_find(listeners->table, candidate->socket.cookie);
	const struct instance_entry *entry;
	char text[ADDRESS_TEXT], command[COMMAND_SIZE];

	if (slot < 0)
		return;
	listeners->inode[slot] = candidate->socket.inode;
	slot = listeners->table->listener[slot].instance;
	entry = &listeners->table->instance[slot];
	log_info("instance %llu: %s (pid %u) listens on %s", (unsigned long long)entry->kernel.id,
		 process_command(entry->kernel.pid, command), entry->kernel.pid,
		 listener_place(&candidate->socket, text));
	listeners->look_again = true;
	listeners->ranked = false;
	if (entry->kernel.listeners == 1) {
		target_state_save(listeners->target, listeners->table);
		listener_report(listeners, "instance", slot);
	}
	target_readiness_changed(listeners->target);
}

uint16_t listeners_service(const struct listeners *listeners, const struct group_key *group,
			   bool v6only)
{
	const struct service_numbers *numbers = listeners->target->numbers;

	for (unsigned int i = 0; i < MAX_SERVICES; i++)
		if (numbers->active[i] && listener_serves(group, v6only, &numbers->service[i].key))
			return i;
	return NO_NUMBER;
}

static void visit(void *context, const struct diag_socket *socket)
{
	struct pass *pass = context;
	struct listeners *listeners = pass->listeners;
	const struct unadoptable *refused =
		unadoptable_find(&listeners->unadoptable, socket->cookie);
	struct heard *heard = find_heard(listeners, socket->cookie);
	int slot = instances_find(listeners->table, socket->cookie);
	bool tried_again = refused && refused->crowded && pass->again;
	struct group_key group = listener_group(socket);
	uint16_t service;

	if (slot >= 0) {
		listeners->inode[slot] = socket->inode;
		forget_heard(listeners, socket->cookie);
		return;
	}
	if (!heard && !pass->everything && !tried_again)
		return;
	service = listeners_service(listeners, &group, socket->v6only);
	if (service == NO_NUMBER || (refused && !tried_again)) {
		forget_heard(listeners, socket->cookie);
		return;
	}
	if (pass->count == pass->room) {
		unsigned int room = pass->room ? pass->room * 2 : 16;
		struct candidate *more = realloc(pass->candidates, room * sizeof(*more));

		if (!more)
			return;
		pass->candidates = more;
		pass->room = room;
	}
	pass->candidates[pass->count++] = (struct candidate){
		.socket = *socket,
		.owner = {.inode = socket->inode, .pid = 0},
		.service = service,
		.attempts = heard ? heard->attempts : 0,
	};
}

/* Who held it when it was heard of, or refused; 0: not known. */
static uint32_t last_holder(struct listeners *listeners, uint64_t cookie)
{
	const struct unadoptable *refused = unadoptable_find(&listeners->unadoptable, cookie);
	const struct heard *heard = find_heard(listeners, cookie);

	if (heard)
		return heard->pid;
	return refused ? refused->pid : 0;
}

/* Who holds them: first whom the event named, then whoever it may be. */
static void find_owners(struct pass *pass)
{
	struct socket_owner *owners;
	unsigned int missing = 0;

	for (unsigned int i = 0; i < pass->count; i++) {
		struct candidate *candidate = &pass->candidates[i];
		uint32_t pid = last_holder(pass->listeners, candidate->socket.cookie);

		if (pid)
			process_find_sockets(pid, &candidate->owner, 1);
		missing += !candidate->owner.pid;
	}
	if (!missing)
		return;
	owners = calloc(pass->count, sizeof(*owners));
	if (!owners)
		return;
	for (unsigned int i = 0; i < pass->count; i++)
		owners[i] = pass->candidates[i].owner;
	for (unsigned int i = 0; i < pass->count; i++)
		if (owners[i].pid)
			owners[i].inode = 0;
	processes_find_sockets(owners, pass->count);
	for (unsigned int i = 0; i < pass->count; i++)
		pass->candidates[i].owner = owners[i];
	free(owners);
}

/* A process's listeners in the order of their descriptors, which is that in which they were made:
 * so the k-th of each group are one worker's. */
static int compare_candidates(const void *a, const void *b)
{
	const struct socket_owner *left = &((const struct candidate *)a)->owner;
	const struct socket_owner *right = &((const struct candidate *)b)->owner;

	if (left->start != right->start)
		return left->start < right->start ? -1 : 1;
	if (left->pid != right->pid)
		return left->pid < right->pid ? -1 : 1;
	return left->fd - right->fd;
}

void listener_hear(struct listeners *listeners, uint64_t cookie, uint32_t pid)
{
	if (find_heard(listeners, cookie))
		return;
	if (listeners->heard_count == listeners->heard_room) {
		unsigned int room = listeners->heard_room ? listeners->heard_room * 2 : 16;
		struct heard *more = realloc(listeners->heard, room * sizeof(*more));

		if (!more)
			return;
		listeners->heard = more;
		listeners->heard_room = room;
	}
	listeners->heard[listeners->heard_count++] = (struct heard){.cookie = cookie, .pid = pid};
}

static void adopt_all(struct pass *pass)
{
	struct listeners *listeners = pass->listeners;
	char why[WHY_SIZE];

	if (pass->count)
		find_owners(pass);
	if (pass->count || pass->owners)
		listeners_reown(listeners);
	if (pass->count || pass->owners || listeners_others_steer(listeners))
		listeners_check_steering(listeners);
	if (!pass->count)
		return;
	qsort(pass->candidates, pass->count, sizeof(*pass->candidates), compare_candidates);
	for (unsigned int i = 0; i < pass->count; i++) {
		const struct candidate *candidate = &pass->candidates[i];
		int err = listener_adopt(listeners, candidate, why, sizeof(why));

		if (err == -EAGAIN) {
			unadoptable_remove(&listeners->unadoptable, candidate->socket.cookie);
			listener_hear(listeners, candidate->socket.cookie, candidate->owner.pid);
			continue;
		}
		forget_heard(listeners, candidate->socket.cookie);
		if (err) {
			listener_refuse(listeners, candidate, err, why);
			continue;
		}
		unadoptable_remove(&listeners->unadoptable, candidate->socket.cookie);
		adopted(listeners, candidate);
	}
}

/* What was heard of and is still not there: later once more, then no more. */
static void schedule(struct listeners *listeners)
{
	unsigned int least = ATTEMPTS;
	struct timeval wait = {0};

	for (unsigned int i = 0; i < listeners->heard_count;) {
		struct heard *heard = &listeners->heard[i];

		if (++heard->attempts >= ATTEMPTS) {
			*heard = listeners->heard[--listeners->heard_count];
			continue;
		}
		if (heard->attempts < least)
			least = heard->attempts;
		i++;
	}
	if (listeners->heard_count)
		wait.tv_usec = FIRST_MS * 1000 << (least - 1);
	else if (listeners->look_again)
		wait.tv_sec = 1; /* a process that becomes a daemon has done so by then */
	else if (listeners_others_steer(listeners))
		wait.tv_sec = STEERED_S;
	else
		return;
	event_add(listeners->again, &wait);
}

static void pass_over(struct listeners *listeners, bool everything, bool anew)
{
	struct pass pass = {.listeners = listeners,
			    .everything = everything,
			    .owners = everything || listeners->look_again,
			    .again = listeners->room};
	int err;

	if (anew) {
		listeners->before = listeners->unadoptable;
		listeners->unadoptable = (struct unadoptables){0};
	}
	listeners->look_again = listeners->room = false;
	err = diag_list(1 << TCP_LISTEN, visit, &pass);
	if (err)
		log_warning("listening sockets cannot be listed: %s; new instances are adopted at "
			    "the next look, in a minute",
			    strerror(-err));
	adopt_all(&pass);
	listeners_rank(listeners);
	free(pass.candidates);
	free(listeners->before.entry);
	listeners->before = (struct unadoptables){0};
	schedule(listeners);
}

static void again(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	pass_over(context, false, false);
}

void listeners_heard(struct listeners *listeners, uint64_t cookie, uint32_t pid)
{
	listener_hear(listeners, cookie, pid);
	/* All events of this turn make one pass. */
	event_active(listeners->again, EV_TIMEOUT, 0);
}

void listeners_closed(struct listeners *listeners, uint64_t cookie)
{
	int slot = instances_find(listeners->table, cookie);

	forget_heard(listeners, cookie);
	unadoptable_remove(&listeners->unadoptable, cookie);
	if (slot >= 0)
		listener_closed(listeners, slot);
}

void listeners_scan(struct listeners *listeners, bool anew)
{
	listeners_remove_closed(listeners);
	listeners->ranked = false; /* other services, perhaps */
	memset(listeners->sharing, 0,
	       sizeof(listeners->sharing)); /* they may have been passed on */
	pass_over(listeners, true, anew);
	for (unsigned int i = 0; i < MAX_INSTANCES; i++)
		if (live(&listeners->table->instance[i]))
			listener_write_instance(listeners, i);
	target_readiness_changed(listeners->target);
}

int listeners_drain(struct listeners *listeners, uint64_t instance, bool drained)
{
	struct instance_table *table = listeners->table;
	int slot;

	if (instance) {
		slot = instances_find_id(table, instance);
		if (slot < 0 || !live(&table->instance[slot]))
			return -ENOENT;
		table->instance[slot].drained = drained;
	} else {
		table->draining = drained;
	}
	for (unsigned int i = 0; i < MAX_INSTANCES; i++)
		if (instances_update_state(table, i))
			listener_write_instance(listeners, i);
	target_readiness_changed(listeners->target);
	return target_state_save(listeners->target, table);
}

void listeners_release(struct listeners *listeners, const bool referred[MAX_INSTANCES])
{
	const struct maps *maps = &listeners->target->agent->maps;
	const struct instance_load nothing = {0};
	struct instance_load load;

	for (__u32 i = 0; i < MAX_INSTANCES; i++) {
		if (listeners->table->instance[i].kernel.state != INSTANCE_ENDED || referred[i])
			continue;
		if (maps_get(maps, MAP_INSTANCE_LOAD, &i, &load) || load.connections ||
		    load.affinities)
			continue;
		maps_put(maps, MAP_INSTANCE_LOAD, &i, &nothing);
		instances_release(listeners->table, i);
		listener_write_instance(listeners, i);
		listeners_make_room(listeners);
	}
}

void listeners_readiness(const struct listeners *listeners, const struct service_key *service,
			 struct message_ready *ready)
{
	const struct instance_table *table = listeners->table;
	bool serves[MAX_INSTANCES] = {false};
	struct instance_load load;

	*ready = (struct message_ready){.service = *service};
	for (unsigned int i = 0; i < MAX_LISTENERS; i++) {
		const struct listener *listener = &table->listener[i];

		if (listener->cookie &&
		    listener_serves(&listener->group, listener->v6only, service))
			serves[listener->instance] = true;
	}
	for (__u32 i = 0; i < MAX_INSTANCES; i++) {
		if (!serves[i])
			continue;
		ready->instances += table->instance[i].kernel.state == INSTANCE_READY;
		ready->draining += table->instance[i].kernel.state == INSTANCE_DRAINING;
		if (maps_get(&listeners->target->agent->maps, MAP_INSTANCE_LOAD, &i, &load) == 0)
			ready->connections += load.connections;
	}
}

uint32_t listeners_inode(const struct listeners *listeners, unsigned int instance)
{
	for (unsigned int i = 0; i < MAX_LISTENERS; i++)
		if (listeners->table->listener[i].cookie &&
		    listeners->table->listener[i].instance == instance && listeners->inode[i])
			return listeners->inode[i];
	return 0;
}

struct instance_table *listeners_table(struct listeners *listeners)
{
	return listeners->table;
}

const struct unadoptables *listeners_unadoptable(const struct listeners *listeners)
{
	return &listeners->unadoptable;
}

/* The smallest MTU of the target's interfaces, as the loader takes it for new sockets. */
static int smallest_mtu(const struct config_target *config)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), smallest = 0;

	for (unsigned int i = 0; fd >= 0 && i < config->interface_count; i++) {
		struct ifreq request = {0};

		snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", config->interfaces[i]);
		if (ioctl(fd, SIOCGIFMTU, &request) == 0 &&
		    (!smallest || request.ifr_mtu < smallest))
			smallest = request.ifr_mtu;
	}
	if (fd >= 0)
		close(fd);
	return smallest ? smallest : MTU_DEFAULT;
}

void listeners_configure(struct listeners *listeners)
{
	listeners->mtu = smallest_mtu(&listeners->target->config->target);
	listeners->table->max_affinities = listeners->target->config->target.affinity_quota;
}

struct listeners *listeners_new(struct target_part *target)
{
	struct listeners *listeners = calloc(1, sizeof(*listeners));
	int err = -ENOMEM;

	if (!listeners)
		goto failed;
	listeners->target = target;
	listeners->table = calloc(1, sizeof(*listeners->table));
	listeners->again = event_new(target->agent->base, -1, 0, again, listeners);
	if (!listeners->table || !listeners->again)
		goto failed;
	listeners->steering = steering_new(target->selector);
	listeners_configure(listeners);
	err = listeners_restore(listeners);
	if (!err)
		return listeners;
failed:
	log_error("instances cannot be read back from the pinned maps: %s", strerror(-err));
	listeners_free(listeners);
	return NULL;
}

void listeners_free(struct listeners *listeners)
{
	if (!listeners)
		return;
	if (listeners->again)
		event_free(listeners->again);
	steering_free(listeners->steering);
	free(listeners->table);
	free(listeners->heard);
	free(listeners->unadoptable.entry);
	free(listeners);
}
