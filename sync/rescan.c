/* SPDX-License-Identifier: BSD-2-Clause */
#include "rescan.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "counts.h"
#include "diag.h"
#include "log.h"

#define PIECES_A_TURN 8
#define ANEW_A_TURN   10000
#define APART_MS      5000 /* beginnings of two that are not urgent */

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
	struct event *turn, *later;
	struct diag *diag; /* while one is under way */
	unsigned int step; /* of it */
	struct items sockets, entries;
	struct counts *counts;
	size_t next; /* of the entries that may be outdated */
	uint64_t began_ns;
	bool again, soon;	     /* another is to follow, at once or paced */
	uint64_t full;		     /* the table's counter when it began */
	unsigned int closed, opened; /* repairs of this pass */
	unsigned int anew;	     /* connections that are counted anew */
	unsigned int left_out;	     /* connections that the table has no room for */
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

/* A number that no service has says nothing. */
static bool is_outdated(const struct target_part *target, uint16_t number,
			const struct target_connection *connection)
{
	const struct target_service *service =
		number < MAX_SERVICES ? &target->numbers->service[number] : NULL;

	return service && service->name[0] &&
	       (service->scope != connection->scope ||
		service->client_prefix != connection->client_prefix);
}

static int note_entry(void *context, const void *key, const void *value)
{
	const struct target_connection *connection = value;
	struct rescan *rescan = context;
	struct rescan_item item = {.cookie = connection->cookie,
				   .key = *(const struct connection_key *)key,
				   .established_ns = connection->established_ns};

	item.outdated = is_outdated(rescan->target, item.key.service, connection);
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

/* What is busy is tried again soon. */
static void repaired(struct rescan *rescan, const struct agent_call *wanted, unsigned int *count)
{
	struct agent_call call = *wanted;
	int err = maps_agent_call(rescan->target->agent_program, &call);

	*count += err == 0;
	rescan->left_out += err == -E2BIG || err == -ENOMEM;
	rescan->soon |= err == -EBUSY;
}

static void on_gone(void *context, const struct rescan_item *entry)
{
	struct rescan *rescan = context;
	struct agent_call call = {
		.op = AGENT_REPAIR_CLOSE, .connection = entry->key, .id = entry->cookie};

	if (entry->key.service >= MAX_SERVICES || exists(rescan, entry, STATES_ENTERED))
		return;
	repaired(rescan, &call, &rescan->closed);
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
	repaired(rescan, &call, &rescan->opened);
}

static int list_sockets(struct rescan *rescan)
{
	int more = 1;

	for (unsigned int i = 0; i < PIECES_A_TURN && more > 0; i++)
		more = diag_next(rescan->diag, note_socket, rescan);
	return more;
}

static int begin_counts(struct rescan *rescan)
{
	return counts_begin(rescan->counts);
}

static int read_entries(struct rescan *rescan)
{
	int err = counts_read(rescan->counts, note_entry, rescan);

	return !err && (rescan->sockets.failed || rescan->entries.failed) ? -ENOMEM : err;
}

static int end_counts(struct rescan *rescan)
{
	counts_end(rescan->counts);
	counts_clear(rescan->counts);
	rescan->soon |= counts_unsettled(rescan->counts);
	return 0;
}

static void count_one_anew(struct rescan *rescan, const struct rescan_item *entry)
{
	struct agent_call call = {.op = AGENT_COUNT_ANEW,
				  .connection = entry->key,
				  .id = entry->cookie,
				  .instance = NO_INSTANCE};
	int err = maps_agent_call(rescan->target->agent_program, &call);

	rescan->anew += err == 0;
	rescan->soon |= err == -EBUSY; /* for want of room: when the counter says so */
}

static int count_anew(struct rescan *rescan)
{
	size_t end = rescan->next + ANEW_A_TURN;

	for (; rescan->next < rescan->entries.count && rescan->next < end; rescan->next++)
		if (rescan->entries.item[rescan->next].outdated)
			count_one_anew(rescan, &rescan->entries.item[rescan->next]);
	if (rescan->next < rescan->entries.count)
		return 1;
	if (rescan->anew)
		log_info("target/connections: %u connections are counted under the scope and "
			 "prefix that their services have now",
			 rescan->anew);
	return 0;
}

static int compare(struct rescan *rescan)
{
	rescan->opened = rescan->closed = rescan->left_out = 0;
	rescan_compare(rescan->entries.item, rescan->entries.count, rescan->sockets.item,
		       rescan->sockets.count, rescan->began_ns, on_gone, on_missed, rescan);
	if (rescan->opened || rescan->closed)
		log_info("target/connections: %u connections entered that were missed, %u removed "
			 "whose sockets are gone",
			 rescan->opened, rescan->closed);
	target_tables_rescanned(rescan->target, rescan->full, rescan->left_out);
	return 0;
}

/* Each: 1 when it has more to do, 0 when it is done, -errno. */
static int (*const steps[])(struct rescan *rescan) = {
	list_sockets, begin_counts, read_entries, end_counts, count_anew, compare,
};

#define STEPS (sizeof(steps) / sizeof(steps[0]))

static void clear(struct items *items)
{
	free(items->item);
	*items = (struct items){0};
}

static void stop(struct rescan *rescan)
{
	diag_end(rescan->diag);
	rescan->diag = NULL;
	counts_clear(rescan->counts);
	clear(&rescan->sockets);
	clear(&rescan->entries);
}

static void follow(struct rescan *rescan)
{
	bool again = rescan->again, soon = rescan->soon;

	rescan->again = rescan->soon = false;
	if (again)
		rescan_start(rescan);
	else if (soon)
		rescan_soon(rescan);
}

/* One step, or a part of one; then others have their turn. */
static void turn(evutil_socket_t fd, short what, void *context)
{
	const struct timeval next = {0};
	struct rescan *rescan = context;
	int more = steps[rescan->step](rescan);

	(void)fd;
	(void)what;
	if (more == 0 && ++rescan->step < STEPS)
		more = 1;
	if (more > 0) {
		event_add(rescan->turn, &next);
		return;
	}
	if (more < 0)
		log_warning("target/connections is not checked against the kernel's sockets this "
			    "time, but in a minute: %s",
			    strerror(-more));
	stop(rescan);
	follow(rescan);
}

static void later(evutil_socket_t fd, short what, void *context)
{
	(void)fd;
	(void)what;
	rescan_start(context);
}

void rescan_soon(struct rescan *rescan)
{
	uint64_t passed_ms = (agent_now_ns() - rescan->began_ns) / 1000000;
	uint64_t wait_ms = passed_ms < APART_MS ? APART_MS - passed_ms : 0;
	const struct timeval wait = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};

	if (rescan->diag)
		rescan->soon = true;
	else if (!event_pending(rescan->later, EV_TIMEOUT, NULL))
		event_add(rescan->later, &wait);
}

void rescan_start(struct rescan *rescan)
{
	int err;

	if (rescan->diag) {
		rescan->again = true;
		return;
	}
	event_del(rescan->later);
	rescan->began_ns = agent_now_ns();
	rescan->full = target_tables_full(rescan->target);
	rescan->step = 0;
	rescan->next = rescan->anew = 0;
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
	rescan->later = event_new(target->agent->base, -1, 0, later, rescan);
	rescan->counts = counts_new(target);
	if (rescan->turn && rescan->later && rescan->counts)
		return rescan;
	rescan_free(rescan);
	return NULL;
}

void rescan_free(struct rescan *rescan)
{
	if (!rescan)
		return;
	if (rescan->counts)
		stop(rescan);
	counts_free(rescan->counts);
	if (rescan->turn)
		event_free(rescan->turn);
	if (rescan->later)
		event_free(rescan->later);
	free(rescan);
}
