/* SPDX-License-Identifier: BSD-2-Clause */
#include "services.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NS_PER_MS 1000000ULL

bool service_key_equal(const struct service_key *a, const struct service_key *b)
{
	return a->port == b->port && a->protocol == b->protocol &&
	       memcmp(&a->address, &b->address, sizeof(a->address)) == 0;
}

/* Of one address and port. */
static bool same_definition(const struct message_service *a, const struct message_service *b)
{
	return strcmp(a->name, b->name) == 0 && strcmp(a->scope, b->scope) == 0 &&
	       a->affinity == b->affinity && a->client_prefix == b->client_prefix &&
	       a->takeover == b->takeover && a->idle_ms == b->idle_ms &&
	       a->max_life_ms == b->max_life_ms;
}

struct merge {
	struct wanted_service *wanted;
	unsigned int count;
	void (*conflict)(void *context, const struct service_conflict *conflict);
	void *context;
};

static void merge_service(struct merge *merge, const struct message_service *service,
			  unsigned int router)
{
	for (unsigned int i = 0; i < merge->count; i++) {
		const struct wanted_service *other = &merge->wanted[i];
		struct service_conflict conflict = {.kept = &other->service,
						    .dropped = service,
						    .kept_router = other->router,
						    .dropped_router = router};

		if (!service_key_equal(&other->service.key, &service->key))
			continue;
		/* What was kept from before gives way without a word: it has been changed. */
		if (merge->conflict && router != NO_ROUTER &&
		    !same_definition(&other->service, service))
			merge->conflict(merge->context, &conflict);
		return;
	}
	if (merge->count == MAX_SERVICES)
		return;
	merge->wanted[merge->count++] =
		(struct wanted_service){.service = *service, .router = router};
}

/* 0: first */
static unsigned int precedence(const struct router_list *list)
{
	if (!list->connected)
		return 2;
	return list->active ? 0 : 1;
}

unsigned int
services_merge(const struct router_list lists[MAX_ROUTERS], const struct message_service *present,
	       unsigned int present_count, struct wanted_service wanted[MAX_SERVICES],
	       void (*conflict)(void *context, const struct service_conflict *conflict),
	       void *context)
{
	struct merge merge = {.wanted = wanted, .conflict = conflict, .context = context};
	bool unheard = false;

	for (unsigned int turn = 0; turn < 3; turn++) {
		for (unsigned int i = 0; i < MAX_ROUTERS; i++) {
			const struct router_list *list = &lists[i];

			if (!list->configured || !list->heard || precedence(list) != turn)
				continue;
			for (unsigned int k = 0; k < list->count; k++)
				merge_service(&merge, &list->service[k], i);
		}
	}

	for (unsigned int i = 0; i < MAX_ROUTERS; i++)
		unheard |= lists[i].configured && !lists[i].heard;
	for (unsigned int i = 0; unheard && i < present_count; i++)
		merge_service(&merge, &present[i], NO_ROUTER);
	return merge.count;
}

int services_number(struct service_numbers *numbers, const char *name,
		    const struct service_key *key)
{
	int free = -ENOSPC;

	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		struct target_service *service = &numbers->service[i];

		if (service->name[0] && service_key_equal(&service->key, key))
			return i;
		if (!service->name[0] && free < 0)
			free = i;
	}
	if (free < 0)
		return free;
	memset(&numbers->service[free], 0, sizeof(numbers->service[free]));
	snprintf(numbers->service[free].name, NAME_SIZE, "%s", name);
	numbers->service[free].key = *key;
	return free;
}

int services_scope_number(struct service_numbers *numbers, const char *name)
{
	int free = -ENOSPC;

	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		if (strcmp(numbers->scope[i].name, name) == 0)
			return i;
		if (!numbers->scope[i].name[0] && free < 0)
			free = i;
	}
	if (free >= 0)
		snprintf(numbers->scope[free].name, NAME_SIZE, "%s", name);
	return free;
}

int services_find(const struct service_numbers *numbers, const char *name)
{
	for (unsigned int i = 0; i < MAX_SERVICES; i++)
		if (numbers->active[i] && strcmp(numbers->service[i].name, name) == 0)
			return i;
	return -ENOENT;
}

bool services_scope_active(const struct service_numbers *numbers, unsigned int scope)
{
	for (unsigned int i = 0; i < MAX_SERVICES; i++)
		if (numbers->active[i] && numbers->service[i].scope == scope)
			return true;
	return false;
}

void services_release(struct service_numbers *numbers, const bool referred[MAX_SERVICES],
		      const bool scope_referred[MAX_SERVICES])
{
	bool scope_needed[MAX_SERVICES] = {false};

	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		if (!numbers->active[i] && !referred[i])
			memset(&numbers->service[i], 0, sizeof(numbers->service[i]));
		if (numbers->service[i].name[0] && numbers->service[i].scope < MAX_SERVICES)
			scope_needed[numbers->service[i].scope] = true;
	}
	for (unsigned int i = 0; i < MAX_SERVICES; i++)
		if (!scope_needed[i] && !scope_referred[i])
			memset(&numbers->scope[i], 0, sizeof(numbers->scope[i]));
}

void service_from_message(const struct message_service *message, unsigned int scope,
			  struct target_service *service)
{
	memset(service, 0, sizeof(*service));
	snprintf(service->name, sizeof(service->name), "%s", message->name);
	service->key = message->key;
	service->scope = scope;
	service->affinity = message->affinity;
	service->client_prefix = message->client_prefix;
	service->idle_ns = message->idle_ms * NS_PER_MS;
	service->max_life_ns = message->max_life_ms * NS_PER_MS;
	service->takeover = message->takeover;
}

void service_to_message(const struct service_numbers *numbers, unsigned int number,
			struct message_service *message)
{
	const struct target_service *service = &numbers->service[number];

	memset(message, 0, sizeof(*message));
	memcpy(message->name, service->name, NAME_SIZE);
	if (service->scope < MAX_SERVICES)
		memcpy(message->scope, numbers->scope[service->scope].name, NAME_SIZE);
	message->key = service->key;
	message->affinity = service->affinity;
	message->client_prefix = service->client_prefix;
	message->takeover = service->takeover;
	message->idle_ms = service->idle_ns / NS_PER_MS;
	message->max_life_ms = service->max_life_ns / NS_PER_MS;
}
