/* SPDX-License-Identifier: BSD-2-Clause */
/* mirror_services.c - the router's list of services: numbers to names and back, and what the
 * targets are told of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mirror_internal.h"

static int by_key(const void *a, const void *b)
{
	const struct service_number *left = a, *right = b;

	return memcmp(&left->key, &right->key, sizeof(left->key));
}

static int by_name(const void *a, const void *b)
{
	const struct scope_number *left = a, *right = b;

	return strncmp(left->name, right->name, NAME_SIZE);
}

int mirror_service(const struct router_mirror *mirror, const struct service_key *key)
{
	struct service_number wanted = {.key = *key};
	const struct service_number *found;

	wanted.key.zero = 0;
	found = bsearch(&wanted, mirror->by_key, mirror->service_count, sizeof(wanted), by_key);
	return found ? found->number : -ENOENT;
}

const struct scope_number *mirror_scope(const struct router_mirror *mirror, const char *name)
{
	struct scope_number wanted = {0};

	memcpy(wanted.name, name, NAME_SIZE);
	return bsearch(&wanted, mirror->by_name, mirror->scope_count, sizeof(wanted), by_name);
}

static void index_services(struct router_mirror *mirror)
{
	bool used[MAX_SERVICES] = {false}, takeover[MAX_SERVICES] = {false};

	mirror->service_count = mirror->scope_count = 0;
	for (uint16_t i = 0; i < MAX_SERVICES; i++) {
		const struct router_service *service = &mirror->services[i];

		if (!service->name[0])
			continue;
		mirror->by_key[mirror->service_count++] =
			(struct service_number){.key = service->key, .number = i};
		if (service->scope >= MAX_SERVICES)
			continue;
		used[service->scope] = true;
		takeover[service->scope] |= service->takeover;
	}
	for (uint16_t i = 0; i < MAX_SERVICES; i++) {
		struct scope_number *scope = &mirror->by_name[mirror->scope_count];

		if (!used[i] || !mirror->scopes[i].name[0])
			continue;
		*scope = (struct scope_number){.number = i, .takeover = takeover[i]};
		memcpy(scope->name, mirror->scopes[i].name, NAME_SIZE);
		mirror->scope_count++;
	}
	qsort(mirror->by_key, mirror->service_count, sizeof(mirror->by_key[0]), by_key);
	qsort(mirror->by_name, mirror->scope_count, sizeof(mirror->by_name[0]), by_name);
}

static struct message service_message(const struct router_mirror *mirror, unsigned int number)
{
	const struct router_service *service = &mirror->services[number];
	struct message message = {.type = MESSAGE_SERVICE};

	memcpy(message.service.name, service->name, NAME_SIZE);
	if (service->scope < MAX_SERVICES)
		memcpy(message.service.scope, mirror->scopes[service->scope].name, NAME_SIZE);
	message.service.key = service->key;
	message.service.affinity = service->affinity;
	message.service.client_prefix = service->client_prefix;
	message.service.takeover = service->takeover;
	message.service.idle_ms = service->affinity_idle_ms;
	message.service.max_life_ms = service->affinity_max_life_ms;
	return message;
}

void mirror_services_send(struct router_mirror *mirror, struct peer *peer)
{
	struct message list = {.type = MESSAGE_BEGIN};

	list.list.number = ++peer->list;
	mirror->ops.send(mirror->context, peer->number, &list);
	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		struct message message = service_message(mirror, i);

		if (mirror->services[i].name[0])
			mirror->ops.send(mirror->context, peer->number, &message);
	}
	list.type = MESSAGE_DONE;
	mirror->ops.send(mirror->context, peer->number, &list);
	/* Of services that are new in this list nothing is known yet. */
	peer->done = peer->affinities_done = false;
}

/* Do targets see a difference? Whether it is being set up, and distribution, are the router's own.
 */
static bool same_for_targets(const struct router_service *a, const struct scope *scope_a,
			     const struct router_service *b, const struct scope *scope_b)
{
	return !strncmp(a->name, b->name, NAME_SIZE) && !memcmp(&a->key, &b->key, sizeof(a->key)) &&
	       !strncmp(scope_a->name, scope_b->name, NAME_SIZE) && a->affinity == b->affinity &&
	       a->client_prefix == b->client_prefix && !a->takeover == !b->takeover &&
	       a->affinity_idle_ms == b->affinity_idle_ms &&
	       a->affinity_max_life_ms == b->affinity_max_life_ms;
}

static const struct scope *scope_of(const struct scope scopes[MAX_SERVICES],
				    const struct router_service *service)
{
	static const struct scope none;

	return service->scope < MAX_SERVICES ? &scopes[service->scope] : &none;
}

static void forget_service(struct router_mirror *mirror, unsigned int number)
{
	for (unsigned int i = 0; i < mirror->peer_limit; i++) {
		if (mirror->peers[i] && mirror->peers[i]->ready)
			mirror->peers[i]->ready[number].valid = false;
	}
}

/*
 * The targets end a service's affinities when they read of such a change (target_services.c). A
 * target whose agent is away does not, and under another prefix its entries would be taken for
 * other clients': so they go here as well, and what holds comes back with the snapshot.
 */
static bool ends_affinities(const struct router_service *old, const struct router_service *new)
{
	return old->client_prefix != new->client_prefix ||
	       (old->affinity != new->affinity &&new->affinity == AFFINITY_NONE);
}

/* Entries of services and scopes that are not the same any more go; while their names still stand:
 * the sums need them. True: the targets are to be told. */
static bool drop_changed(struct router_mirror *mirror,
			 const struct router_service services[MAX_SERVICES],
			 const struct scope scopes[MAX_SERVICES])
{
	bool services_gone[MAX_SERVICES] = {false}, scopes_gone[MAX_SERVICES] = {false};
	bool in_use[MAX_SERVICES] = {false};
	bool changed = false, gone = false;

	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		const struct router_service *old = &mirror->services[i], *new = &services[i];

		if (new->name[0] && new->scope < MAX_SERVICES)
			in_use[new->scope] = true;
		if (!same_for_targets(old, scope_of(mirror->scopes, old), new,
				      scope_of(scopes, new)))
			changed = true;
		if (!old->name[0])
			continue;
		if (!strncmp(old->name, new->name, NAME_SIZE) &&
		    !memcmp(&old->key, &new->key, sizeof(old->key))) {
			if (old->scope < MAX_SERVICES && ends_affinities(old, new))
				scopes_gone[old->scope] = gone = true;
			continue;
		}
		services_gone[i] = gone = true;
		forget_service(mirror, i);
	}
	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		const struct scope *old = &mirror->scopes[i];

		if (old->name[0] && (!in_use[i] || strncmp(old->name, scopes[i].name, NAME_SIZE)))
			scopes_gone[i] = gone = true;
	}
	if (gone) {
		mirror_connections_drop_services(mirror, services_gone);
		mirror_claims_drop_scopes(mirror, scopes_gone);
	}
	return changed;
}

void router_mirror_configure(struct router_mirror *mirror,
			     const struct router_service services[MAX_SERVICES],
			     const struct scope scopes[MAX_SERVICES])
{
	bool changed = drop_changed(mirror, services, scopes);

	memcpy(mirror->services, services, sizeof(mirror->services));
	memcpy(mirror->scopes, scopes, sizeof(mirror->scopes));
	index_services(mirror);
	for (unsigned int i = 0; changed && i < mirror->peer_limit; i++) {
		struct peer *peer = mirror->peers[i];

		if (!peer || !peer->open)
			continue;
		mirror_services_send(mirror, peer);
		mirror_peer_refresh(mirror, peer);
	}
}
