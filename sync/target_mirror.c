/* SPDX-License-Identifier: BSD-2-Clause */
/* Sessions of a target with its routers: what they ask for, which services they see. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "target_internal.h"

/* How long a router whose session has ended may not have noticed: PROTOCOL.md, 4, "Alive". */
#define UNNOTICED_MS 2000

struct target_mirror *target_mirror_new(const struct target_mirror_ops *ops, void *context)
{
	struct target_mirror *mirror = calloc(1, sizeof(*mirror));

	if (!mirror)
		return NULL;
	mirror->ops = *ops;
	mirror->context = context;
	mirror->connections.entry_size = sizeof(struct connection_entry);
	mirror->affinities.entry_size = sizeof(struct affinity_entry);
	mirror->services = calloc(MAX_SERVICES, sizeof(*mirror->services));
	mirror->scopes = calloc(MAX_SERVICES, sizeof(*mirror->scopes));
	mirror->peers = calloc(MAX_ROUTERS, sizeof(*mirror->peers));
	if (mirror->services && mirror->scopes && mirror->peers && table_init() == 0)
		return mirror;
	target_mirror_free(mirror);
	return NULL;
}

static void free_lists(struct peer *peer)
{
	free(peer->list);
	free(peer->coming);
	peer->list = peer->coming = NULL;
}

void target_mirror_free(struct target_mirror *mirror)
{
	struct affinity_entry *affinity;

	if (!mirror)
		return;
	for (struct entry *entry = mirror->affinities.head; entry; entry = entry->next) {
		affinity = (struct affinity_entry *)entry;
		claim_close(mirror, affinity);
	}
	table_free(&mirror->connections);
	table_free(&mirror->affinities);
	for (unsigned int i = 0; mirror->peers && i < MAX_ROUTERS; i++)
		free_lists(&mirror->peers[i]);
	free(mirror->services);
	free(mirror->scopes);
	free(mirror->peers);
	free(mirror);
}

int hear_clock(struct target_mirror *mirror, uint64_t clock)
{
	if (clock <= mirror->clock)
		return 0;
	if (clock - mirror->clock > WIRE_CLOCK_LEAP)
		return -EPROTO;
	mirror->clock = clock;
	return 0;
}

void hear_time(struct target_mirror *mirror, uint64_t now_ms)
{
	if (now_ms > mirror->now_ms)
		mirror->now_ms = now_ms;
}

static void wake(struct target_mirror *mirror, unsigned int router)
{
	mirror->ops.wake(mirror->context, router);
}

void wake_readers(struct target_mirror *mirror)
{
	for (unsigned int i = 0; i < MAX_ROUTERS; i++)
		if (mirror->peers[i].started)
			wake(mirror, i);
}

/* ------------------------------------------------------------------------------------------------
 * snapshots */

static void stop_snapshot(struct target_mirror *mirror, unsigned int router)
{
	struct peer *peer = &mirror->peers[router];

	table_close(&mirror->affinities, router);
	table_close(&mirror->connections, router);
	peer->started = peer->begun = peer->done = peer->drained = false;
}

/* From its beginning, whatever has been sent in this session. */
static void start_snapshot(struct target_mirror *mirror, unsigned int router)
{
	struct peer *peer = &mirror->peers[router];

	stop_snapshot(mirror, router);
	if (!peer->asked || !peer->covered)
		return;
	table_open(&mirror->affinities, router);
	table_open(&mirror->connections, router);
	peer->started = true;
	wake(mirror, router);
}

/* ------------------------------------------------------------------------------------------------
 * services: which of ours a router sees */

static bool listed(const struct service_list *list, const struct service_key *key)
{
	for (unsigned int i = 0; i < list->count; i++)
		if (memcmp(&list->service[i].key, key, sizeof(*key)) == 0)
			return true;
	return false;
}

static bool scope_listed(const struct service_list *list, const char scope[NAME_SIZE])
{
	for (unsigned int i = 0; i < list->count; i++)
		if (strncmp(list->service[i].scope, scope, NAME_SIZE) == 0)
			return true;
	return false;
}

static uint16_t find_number(const struct target_mirror *mirror, const struct service_key *key)
{
	for (uint16_t i = 0; i < MAX_SERVICES; i++)
		if (mirror->services[i].name[0] &&
		    memcmp(&mirror->services[i].key, key, sizeof(*key)) == 0)
			return i;
	return NO_NUMBER;
}

/* Compute anew what peer's list makes visible: has anything changed? */
static bool look(const struct target_mirror *mirror, struct peer *peer)
{
	bool services[MAX_SERVICES] = {false}, changed = false;

	for (unsigned int i = 0; i < peer->list->count; i++) {
		peer->number_of[i] = find_number(mirror, &peer->list->service[i].key);
		if (peer->number_of[i] != NO_NUMBER)
			services[peer->number_of[i]] = true;
	}
	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		const char *name = mirror->scopes[i].name;
		bool scope = name[0] && scope_listed(peer->list, name);

		changed |= services[i] != peer->service_visible[i];
		changed |= scope != peer->scope_visible[i];
		peer->service_visible[i] = services[i];
		peer->scope_visible[i] = scope;
	}
	return changed;
}

/* Of every service of the list: of one that is not served here, that nobody is ready. */
static void announce_ready(struct peer *peer)
{
	peer->ready_unsent_count = peer->list->count;
	for (unsigned int i = 0; i < peer->list->count; i++)
		peer->ready_unsent[i] = true;
}

/* `renamed`: numbers that stand for something else now. */
static bool sees_renamed(const struct peer *peer, const bool services[MAX_SERVICES],
			 const bool scopes[MAX_SERVICES])
{
	for (unsigned int i = 0; i < MAX_SERVICES; i++)
		if ((services[i] && peer->service_visible[i]) ||
		    (scopes[i] && peer->scope_visible[i]))
			return true;
	return false;
}

void target_mirror_configure(struct target_mirror *mirror,
			     const struct target_service services[MAX_SERVICES],
			     const struct scope scopes[MAX_SERVICES])
{
	bool renamed_services[MAX_SERVICES], renamed_scopes[MAX_SERVICES];

	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		renamed_services[i] = memcmp(&mirror->services[i].key, &services[i].key,
					     sizeof(services[i].key)) != 0;
		renamed_scopes[i] = strncmp(mirror->scopes[i].name, scopes[i].name, NAME_SIZE) != 0;
		if (!services[i].name[0])
			mirror->ready[i] = (struct message_ready){.instances = 0};
	}
	memcpy(mirror->services, services, MAX_SERVICES * sizeof(*services));
	memcpy(mirror->scopes, scopes, MAX_SERVICES * sizeof(*scopes));
	for (unsigned int i = 0; i < MAX_ROUTERS; i++) {
		struct peer *peer = &mirror->peers[i];
		bool changed;

		if (!peer->view.connected || !peer->list)
			continue;
		changed = look(mirror, peer);
		if (!changed && peer->covered == peer->list->number &&
		    !sees_renamed(peer, renamed_services, renamed_scopes))
			continue;
		peer->covered = peer->list->number;
		announce_ready(peer);
		start_snapshot(mirror, i);
		wake(mirror, i);
	}
}

/* ------------------------------------------------------------------------------------------------
 * sessions */

int target_mirror_session(struct target_mirror *mirror, unsigned int router,
			  const struct message_hello *hello, const uint64_t digest_key[2],
			  uint64_t now_ms)
{
	struct peer *peer;

	if (router >= MAX_ROUTERS)
		return -EINVAL;
	target_mirror_session_lost(mirror, router, now_ms);
	if (hear_clock(mirror, hello->clock) < 0)
		return -EPROTO;
	peer = &mirror->peers[router];
	*peer = (struct peer){
		.counts_until_ms = peer->counts_until_ms, /* until it says ROLE */
		.digest_key = {digest_key[0], digest_key[1]},
		.target_unsent = true,
		.view = {.connected = true,
			 .node_id = hello->node_id,
			 .address = hello->address,
			 .address6 = hello->address6,
			 .last_heard_ms = now_ms},
	};
	memcpy(peer->view.name, hello->name, NAME_SIZE);
	wake(mirror, router);
	return 0;
}

void target_mirror_session_lost(struct target_mirror *mirror, unsigned int router, uint64_t now_ms)
{
	struct peer *peer;

	hear_time(mirror, now_ms);
	if (router >= MAX_ROUTERS || !mirror->peers[router].view.connected)
		return;
	peer = &mirror->peers[router];
	if (peer->view.role == ROLE_ACTIVE)
		peer->counts_until_ms = mirror->now_ms + UNNOTICED_MS;
	stop_snapshot(mirror, router);
	free_lists(peer);
	peer->view.connected = false;
	peer->view.services = 0;
	claims_forget_router(mirror, router);
	claims_conclude(mirror);
}

static int take_role(struct target_mirror *mirror, struct peer *peer,
		     const struct message_role *role)
{
	peer->view.role = role->role;
	peer->view.epoch = role->epoch;
	peer->counts_until_ms = 0;
	claims_conclude(mirror);
	return 0;
}

static int begin_list(struct peer *peer, uint32_t number)
{
	if (peer->coming || number <= (peer->list ? peer->list->number : 0))
		return -EPROTO;
	peer->coming = calloc(1, sizeof(*peer->coming));
	if (!peer->coming)
		return -EPROTO; /* a new session tries again */
	peer->coming->number = number;
	return 0;
}

static int add_service(struct peer *peer, const struct message_service *service)
{
	struct service_list *list = peer->coming;

	if (!list || list->count == MAX_SERVICES || listed(list, &service->key))
		return -EPROTO;
	list->service[list->count++] = *service;
	return 0;
}

static int complete_list(struct target_mirror *mirror, unsigned int router, uint32_t number)
{
	struct peer *peer = &mirror->peers[router];

	if (!peer->coming || peer->coming->number != number)
		return -EPROTO;
	free(peer->list);
	peer->list = peer->coming;
	peer->coming = NULL;
	peer->view.services = peer->list->count;
	peer->ready_unsent_count = 0; /* indices of the former list; all are announced anew */
	memset(peer->ready_unsent, 0, sizeof(peer->ready_unsent));
	mirror->ops.services_changed(mirror->context, router);
	return 0;
}

static int take_sync(struct target_mirror *mirror, unsigned int router)
{
	mirror->peers[router].asked = true;
	start_snapshot(mirror, router);
	return 0;
}

static int take_barrier(struct target_mirror *mirror, unsigned int router, uint32_t epoch)
{
	struct peer *peer = &mirror->peers[router];

	peer->barrier = true;
	peer->barrier_epoch = epoch;
	peer->drained = false;
	wake(mirror, router);
	return 0;
}

int target_mirror_receive(struct target_mirror *mirror, unsigned int router,
			  const struct message *message, uint64_t now_ms)
{
	struct peer *peer;

	if (router >= MAX_ROUTERS || !mirror->peers[router].view.connected)
		return -EPROTO;
	peer = &mirror->peers[router];
	peer->view.last_heard_ms = now_ms;
	hear_time(mirror, now_ms);
	switch (message->type) {
	case MESSAGE_ROLE:
		return take_role(mirror, peer, &message->role);
	case MESSAGE_BEGIN:
		return begin_list(peer, message->list.number);
	case MESSAGE_SERVICE:
		return add_service(peer, &message->service);
	case MESSAGE_DONE:
		return complete_list(mirror, router, message->list.number);
	case MESSAGE_SYNC:
		return take_sync(mirror, router);
	case MESSAGE_BARRIER:
		return take_barrier(mirror, router, message->role.epoch);
	case MESSAGE_GRANT:
	case MESSAGE_REFUSE:
	case MESSAGE_LOST:
		return claims_answer(mirror, router, message->type, &message->answer);
	case MESSAGE_HEARTBEAT:
		return hear_clock(mirror, message->heartbeat.clock);
	case MESSAGE_GOODBYE:
		return 0;
	default:
		return -EPROTO;
	}
}

/* ------------------------------------------------------------------------------------------------
 * own condition */

void target_mirror_condition(struct target_mirror *mirror, const struct message_target *condition)
{
	if (mirror->condition.weight == condition->weight &&
	    mirror->condition.instances == condition->instances &&
	    mirror->condition.draining == condition->draining &&
	    mirror->condition.end_affinities == condition->end_affinities &&
	    mirror->condition.crowded == condition->crowded)
		return;
	mirror->condition = *condition;
	for (unsigned int i = 0; i < MAX_ROUTERS; i++) {
		if (!mirror->peers[i].view.connected)
			continue;
		mirror->peers[i].target_unsent = true;
		wake(mirror, i);
	}
}

/* A list that is not looked at yet is announced whole then. */
static bool mark_ready(struct peer *peer, uint16_t service)
{
	bool marked = false;

	if (!peer->list || peer->covered != peer->list->number)
		return false;
	for (unsigned int i = 0; i < peer->list->count; i++) {
		if (peer->number_of[i] != service || peer->ready_unsent[i])
			continue;
		peer->ready_unsent[i] = marked = true;
		peer->ready_unsent_count++;
	}
	return marked;
}

void target_mirror_ready(struct target_mirror *mirror, uint16_t service,
			 const struct message_ready *ready)
{
	struct message_ready *told;

	if (service >= MAX_SERVICES)
		return;
	told = &mirror->ready[service];
	if (told->instances == ready->instances && told->draining == ready->draining &&
	    told->connections == ready->connections)
		return;
	*told = *ready;
	for (unsigned int i = 0; i < MAX_ROUTERS; i++) {
		if (mirror->peers[i].view.connected && mark_ready(&mirror->peers[i], service))
			wake(mirror, i);
	}
}

void target_mirror_tick(struct target_mirror *mirror, uint64_t now_ms)
{
	hear_time(mirror, now_ms);
	claims_conclude(mirror);
	for (unsigned int i = 0; i < MAX_ROUTERS; i++) {
		const struct peer *peer = &mirror->peers[i];

		if (peer->view.connected && peer->done && now_ms >= peer->digest_due_ms)
			wake(mirror, i);
	}
}

/* ------------------------------------------------------------------------------------------------
 * for display */

const struct mirror_router *target_mirror_router(const struct target_mirror *mirror,
						 unsigned int router)
{
	struct mirror_router *view;
	const struct peer *peer;

	if (router >= MAX_ROUTERS)
		return NULL;
	peer = &mirror->peers[router];
	view = &mirror->peers[router].view;
	view->unsent = mirror->connections.readers[router].unread +
		       mirror->affinities.readers[router].unread;
	view->synced = peer->done && !view->unsent;
	return view;
}

const struct message_service *target_mirror_router_service(const struct target_mirror *mirror,
							   unsigned int router, unsigned int index)
{
	if (router >= MAX_ROUTERS || !mirror->peers[router].list ||
	    index >= mirror->peers[router].list->count)
		return NULL;
	return &mirror->peers[router].list->service[index];
}

uint64_t target_mirror_clock(const struct target_mirror *mirror)
{
	return mirror->clock;
}

uint64_t target_mirror_connections(const struct target_mirror *mirror)
{
	return mirror->connections.present;
}

uint64_t target_mirror_affinities(const struct target_mirror *mirror)
{
	return mirror->affinities.present;
}
