/* SPDX-License-Identifier: BSD-2-Clause */
#include "rescan.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "diag.h"
#include "listeners.h"
#include "log.h"

#define PIECES_A_TURN 8

/* States in which a connection's entry may be there; where it must be. */
#define STATES_ENTERED                                                                             \
	(1 << TCP_ESTABLISHED | 1 << TCP_CLOSE_WAIT | 1 << TCP_FIN_WAIT1 | 1 << TCP_FIN_WAIT2 |    \
	 1 << TCP_LAST_ACK | 1 << TCP_CLOSING)
#define STATES_OPEN (1 << TCP_ESTABLISHED | 1 << TCP_CLOSE_WAIT)

struct items {
	struct rescan_item *item;
	size_t count, room;
	bool failed; /* out of memory: what is not there proves nothing */
};

struct rescan {
	struct target_part *target;
	struct event *turn;
	struct diag *diag; /* while the sockets are listed */
	struct items sockets, entries;
	uint64_t began_ns;
	bool again;
	unsigned int closed, opened;   /* repairs of this pass */
	int32_t drift[MAX_INSTANCES];  /* counted less entered, at the last pass */
	uint32_t found[MAX_INSTANCES]; /* entries */
};

static void append(struct items *items, const struct rescan_item *item)
{
	if (items->count == items->room) {
		size_t room = items->room ? items->room * 2 : 256;
		struct rescan_item *more = realloc(items->item, room * sizeof(*more));

		if (!more) {
			items->failed = true;
			return;
		}
		items->item = more;
		items->room = room;
	}
	items->item[items->count++] = *item;
}

/* The number of the service with this address and port, also one that is being retired. */
static uint16_t service_of(const struct target_part *target, const struct diag_socket *socket)
{
	const struct service_numbers *numbers = target->numbers;
	uint16_t found = NO_NUMBER;

	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		const struct target_service *service = &numbers->service[i];

		if (!service->name[0] || service->key.port != socket->local_port ||
		    !address_equal(&service->key.address, &socket->local))
			continue;
		if (numbers->active[i])
			return i;
		found = i;
	}
	return found;
}

static void note_socket(void *context, const struct diag_socket *socket)
{
	struct rescan *rescan = context;
	struct rescan_item item = {
		.cookie = socket->cookie,
		.key = {.client = socket->remote, .client_port = socket->remote_port},
		.open = STATES_OPEN & 1 << socket->state,
	};

	item.key.service = service_of(rescan->target, socket);
	if (item.key.service != NO_NUMBER && socket->cookie)
		append(&rescan->sockets, &item);
}

static int note_entry(void *context, const void *key, const void *value)
{
	const struct target_connection *connection = value;
	struct rescan *rescan = context;
	struct rescan_item item = {.cookie = connection->cookie,
				   .key = *(const struct connection_key *)key,
				   .instance = connection->instance,
				   .established_ns = connection->established_ns};

	if (item.cookie) /* 0: it is being removed */
		append(&rescan->entries, &item);
	return 0;
}

static bool exists(const struct rescan *rescan, const struct rescan_item *item, uint32_t states)
{
	const struct target_service *service = &rescan->target->numbers->service[item->key.service];
	struct diag_socket socket;
	int err;

	err = diag_find(&service->key, &item->key.client, item->key.client_port, item->cookie,
			&socket);
	if (err == -ENOENT)
		return false;
	/* Not sure: as if nothing were wrong. */
	if (err)
		return states == STATES_ENTERED;
	return states & 1 << socket.state;
}

static void on_gone(void *context, const struct rescan_item *entry)
{
	struct rescan *rescan = context;
	struct agent_call call = {
		.op = AGENT_REPAIR_CLOSE, .connection = entry->key, .id = entry->cookie};

	if (entry->key.service >= MAX_SERVICES || exists(rescan, entry, STATES_ENTERED))
		return;
	if (maps_agent_call(rescan->target->agent_program, &call) == 0)
		rescan->closed++;
}

static void on_missed(void *context, const struct rescan_item *socket)
{
	struct rescan *rescan = context;
	struct target_connection entry;
	struct agent_call call = {.op = AGENT_REPAIR_OPEN,
				  .connection = socket->key,
				  .id = socket->cookie,
				  .instance = NO_INSTANCE};

	if (!rescan->target->numbers->active[socket->key.service])
		return;
	if (maps_get(&rescan->target->agent->maps, MAP_TARGET_CONNECTIONS, &socket->key, &entry) ==
		    0 &&
	    entry.cookie == socket->cookie)
		return; /* entered since */
	if (!exists(rescan, socket, STATES_OPEN))
		return;
	if (maps_agent_call(rescan->target->agent_program, &call) == 0)
		rescan->opened++;
}

/* Counts under traffic differ for a moment; by the same number a minute later they are wrong. */
static void check_counts(struct rescan *rescan)
{
	const struct instance_table *table = listeners_table(rescan->target->listeners);
	struct instance_load load;

	memset(rescan->found, 0, sizeof(rescan->found));
	for (size_t i = 0; i < rescan->entries.count; i++)
		if (rescan->entries.item[i].instance < MAX_INSTANCES)
			rescan->found[rescan->entries.item[i].instance]++;
	for (__u32 i = 0; i < MAX_INSTANCES; i++) {
		int32_t drift;

		if (table->instance[i].kernel.state == INSTANCE_FREE ||
		    maps_get(&rescan->target->agent->maps, MAP_INSTANCE_LOAD, &i, &load))
			continue;
		drift = load.connections - rescan->found[i];
		if (drift && drift == rescan->drift[i])
			log_warning("instance %" PRIu64 ": %u connections are counted and %u are "
				    "in target/connections; new clients are distributed by the "
				    "count: restart its process when it suits",
				    (uint64_t)table->instance[i].kernel.id, load.connections,
				    rescan->found[i]);
		rescan->drift[i] = drift;
	}
}

static void finish(struct rescan *rescan)
{
	const struct maps *maps = &rescan->target->agent->maps;
	int err;

	rescan->opened = rescan->closed = 0;
	rescan->entries.count = 0;
	rescan->entries.failed = false;
	err = maps_walk(maps, MAP_TARGET_CONNECTIONS, note_entry, rescan);
	if (err || rescan->sockets.failed || rescan->entries.failed) {
		log_warning("target/connections is not checked against the kernel's sockets this "
			    "time: %s",
			    err ? strerror(-err) : "out of memory");
		return;
	}
	check_counts(rescan);
	rescan_compare(rescan->entries.item, rescan->entries.count, rescan->sockets.item,
		       rescan->sockets.count, rescan->began_ns, on_gone, on_missed, rescan);
	if (rescan->opened || rescan->closed)
		log_info("target/connections: %u connections entered that were missed, %u removed "
			 "whose sockets are gone",
			 rescan->opened, rescan->closed);
}

static void clear(struct items *items)
{
	free(items->item);
	*items = (struct items){0};
}

static void stop(struct rescan *rescan)
{
	diag_end(rescan->diag);
	rescan->diag = NULL;
	clear(&rescan->sockets);
	clear(&rescan->entries);
}

static void turn(evutil_socket_t fd, short what, void *context)
{
	const struct timeval next = {0};
	struct rescan *rescan = context;
	int more = 1;

	(void)fd;
	(void)what;
	for (unsigned int i = 0; i < PIECES_A_TURN && more > 0; i++)
		more = diag_next(rescan->diag, note_socket, rescan);
	if (more > 0) {
		event_add(rescan->turn, &next); /* others have their turn first */
		return;
	}
	if (more == 0)
		finish(rescan);
	else
		log_warning("the kernel's sockets cannot be listed: %s; target/connections is "
			    "checked against them in a minute",
			    strerror(-more));
	stop(rescan);
	if (rescan->again) {
		rescan->again = false;
		rescan_start(rescan);
	}
}

void rescan_start(struct rescan *rescan)
{
	int err;

	if (rescan->diag) {
		rescan->again = true;
		return;
	}
	rescan->began_ns = agent_now_ns();
	err = diag_begin(STATES_ENTERED, &rescan->diag);
	if (err) {
		log_warning("the kernel's sockets cannot be listed: %s", strerror(-err));
		return;
	}
	event_active(rescan->turn, EV_TIMEOUT, 0);
}

struct rescan *rescan_new(struct target_part *target)
{
	struct rescan *rescan = calloc(1, sizeof(*rescan));

	if (!rescan)
		return NULL;
	rescan->target = target;
	rescan->turn = event_new(target->agent->base, -1, 0, turn, rescan);
	if (!rescan->turn) {
		free(rescan);
		return NULL;
	}
	return rescan;
}

void rescan_free(struct rescan *rescan)
{
	if (!rescan)
		return;
	stop(rescan);
	event_free(rescan->turn);
	free(rescan);
}
