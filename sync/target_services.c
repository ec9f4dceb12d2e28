/* SPDX-License-Identifier: BSD-2-Clause */
/* target_services.c - serves what the routers list and this node's owner allows: numbers, maps,
 * addresses. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "addresses.h"
#include "affinities.h"
#include "listeners.h"
#include "log.h"
#include "rescan.h"

/* What has been warned of, so that it is said once. */
struct warned {
	struct warning {
		char text[NAME_SIZE * 2 + ADDRESS_TEXT + NAME_SIZE];
	} * warnings;
	unsigned int count, room;
};

static bool warn_first(struct warned *warned, const char *text)
{
	for (unsigned int i = 0; i < warned->count; i++)
		if (strcmp(warned->warnings[i].text, text) == 0)
			return false;
	if (warned->count == warned->room) {
		unsigned int room = warned->room ? warned->room * 2 : 16;
		struct warning *more = realloc(warned->warnings, room * sizeof(*more));

		if (!more)
			return true;
		warned->warnings = more;
		warned->room = room;
	}
	snprintf(warned->warnings[warned->count++].text, sizeof(struct warning), "%s", text);
	return true;
}

static const char *router_name(const struct target_part *target, unsigned int router,
			       char text[ADDRESS_TEXT])
{
	const struct router_link *link;

	if (router >= MAX_ROUTERS)
		return "an earlier list";
	link = &target->link[router];
	if (link->name[0])
		return link->name;
	return endpoint_format(&link->endpoint.address, link->endpoint.port, text);
}

static void conflict(void *context, const struct service_conflict *conflict)
{
	char first[ADDRESS_TEXT], second[ADDRESS_TEXT], key[sizeof(struct warning)];
	struct target_part *target = context;
	const char *kept = router_name(target, conflict->kept_router, first);

	/* What a router that is not here had said may be old. */
	if (!target->list[conflict->dropped_router].connected)
		return;
	snprintf(key, sizeof(key), "conflict %s %s %u", conflict->kept->name,
		 conflict->dropped->name, conflict->dropped_router);
	if (!warn_first(target->warned, key))
		return;
	log_warning("service %s: routers %s and %s define it differently (name, scope or "
		    "affinity); %s's definition holds here: make their configurations alike",
		    conflict->dropped->name, kept,
		    router_name(target, conflict->dropped_router, second), kept);
}

/* A router can put no address on this node that its owner has not allowed. */
static bool allowed(struct target_part *target, const struct wanted_service *wanted)
{
	const struct config_target *config = &target->config->target;
	const struct message_service *service = &wanted->service;
	char address[ADDRESS_TEXT], name[ADDRESS_TEXT], key[sizeof(struct warning)];

	for (unsigned int i = 0; i < config->service_address_count; i++)
		if (prefix_contains(&config->service_addresses[i], &service->key.address))
			return true;
	address_format(&service->key.address, address);
	router_name(target, wanted->router, name);
	snprintf(key, sizeof(key), "refused %s %s", service->name, address);
	if (warn_first(target->warned, key))
		log_warning("service %s of router %s is refused: %s is not among "
			    "target.service_addresses; add it there if this node shall serve it, "
			    "then `limpet reload`",
			    service->name, router_name(target, wanted->router, name), address);
	return false;
}

static bool of_scope(void *context, const struct affinity_key *key,
		     const struct target_affinity *value)
{
	(void)value;
	return key->scope == *(const unsigned int *)context;
}

static void end_scope(struct target_part *target, unsigned int scope, const char *cause)
{
	unsigned int ended = affinities_end_where(target, of_scope, &scope, END_SERVICE);

	if (ended)
		log_info("scope %s: %u affinities ended: %s", target->numbers->scope[scope].name,
			 ended, cause);
}

static void write_service(const struct target_part *target, __u32 number)
{
	const struct maps *maps = &target->agent->maps;
	const struct target_service *service = &target->numbers->service[number];
	int err = maps_put(maps, MAP_TARGET_SERVICES, &number, service);

	if (!err && service->name[0] && service->scope < MAX_SERVICES) {
		__u32 scope = service->scope;

		err = maps_put(maps, MAP_TARGET_SCOPES, &scope, &target->numbers->scope[scope]);
	}
	if (err)
		log_error("service %s: target/services cannot be written: %s", service->name,
			  strerror(-err));
}

static bool address_served(const struct service_numbers *numbers, const struct address *address)
{
	for (unsigned int i = 0; i < MAX_SERVICES; i++)
		if (numbers->active[i] && address_equal(&numbers->service[i].key.address, address))
			return true;
	return false;
}

static void write_served(const struct target_part *target, unsigned int number)
{
	const struct maps *maps = &target->agent->maps;
	const struct target_service *service = &target->numbers->service[number];
	const struct service_key address = {.address = service->key.address};
	const struct served entry = {.service = number}, some = {.service = NO_NUMBER};
	int err;

	err = maps_put(maps, MAP_SERVED, &address, &some);
	if (!err)
		err = maps_put(maps, MAP_SERVED, &service->key, &entry);
	if (err)
		log_error("service %s: node/served cannot be written: %s; it gets no connections "
			  "here",
			  service->name, strerror(-err));
}

static void retire(struct target_part *target, unsigned int number)
{
	struct service_numbers *numbers = target->numbers;
	const struct target_service *service = &numbers->service[number];
	const struct service_key address = {.address = service->key.address};

	numbers->active[number] = false;
	maps_delete(&target->agent->maps, MAP_SERVED, &service->key);
	if (!address_served(numbers, &service->key.address))
		maps_delete(&target->agent->maps, MAP_SERVED, &address);
	log_info("service %s is no longer served: no router lists it, or this node does not allow "
		 "it",
		 service->name);
	if (!services_scope_active(numbers, service->scope))
		end_scope(target, service->scope, "no service is left in it");
}

/* The service under its number, as the routers define it now: the number, or -ENOSPC. */
static int enter(struct target_part *target, const struct message_service *message)
{
	struct service_numbers *numbers = target->numbers;
	int number = services_number(numbers, message->name, &message->key);
	int scope = services_scope_number(numbers, message->scope);
	struct target_service before, *service;
	bool rekeyed;

	if (number < 0 || scope < 0) {
		log_error("service %s is not served: no number is left for it or its scope; "
			  "numbers of services that were removed are free again when their "
			  "connections have ended",
			  message->name);
		return -ENOSPC;
	}
	service = &numbers->service[number];
	before = *service;
	service_from_message(message, scope, service);
	rekeyed = before.scope != service->scope || before.client_prefix != service->client_prefix;
	/* Under another prefix or scope, entries of before would never be found again. */
	if (numbers->active[number] && (rekeyed || (before.affinity != service->affinity &&
						    service->affinity == AFFINITY_NONE)))
		end_scope(target, before.scope, "a router has changed its prefix, scope or kind");
	if (memcmp(&before, service, sizeof(before)))
		write_service(target, number);
	if (rekeyed) /* it counts its connections anew */
		rescan_start(target->rescan);
	return number;
}

void target_set_addresses(void *context)
{
	struct target_part *target = context;
	struct address wanted[MAX_SERVICES];
	unsigned int count = 0;

	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		const struct address *address = &target->numbers->service[i].key.address;
		unsigned int k = 0;

		if (!target->numbers->active[i])
			continue;
		while (k < count && !address_equal(&wanted[k], address))
			k++;
		if (k == count)
			wanted[count++] = *address;
	}
	addresses_set(target->addresses, wanted, count);
}

static void configure_mirror(struct target_part *target)
{
	struct target_service *active = calloc(MAX_SERVICES, sizeof(*active));

	if (!active)
		return;
	for (unsigned int i = 0; i < MAX_SERVICES; i++)
		if (target->numbers->active[i])
			active[i] = target->numbers->service[i];
	target_mirror_configure(target->mirror, active, target->numbers->scope);
	free(active);
}

static unsigned int present_services(const struct target_part *target,
				     struct message_service *present)
{
	unsigned int count = 0;

	for (unsigned int i = 0; i < MAX_SERVICES; i++)
		if (target->numbers->active[i])
			service_to_message(target->numbers, i, &present[count++]);
	return count;
}

/* New services become active only when their address is there and everybody can look them up. */
static void apply(struct target_part *target, const struct wanted_service *wanted,
		  unsigned int count)
{
	struct service_numbers *numbers = target->numbers;
	bool keep[MAX_SERVICES] = {false}, fresh[MAX_SERVICES] = {false};

	for (unsigned int i = 0; i < count; i++) {
		int number;

		if (!allowed(target, &wanted[i]))
			continue;
		number = enter(target, &wanted[i].service);
		if (number < 0)
			continue;
		keep[number] = true;
		fresh[number] = !numbers->active[number];
	}
	for (unsigned int i = 0; i < MAX_SERVICES; i++)
		if (numbers->active[i] && !keep[i])
			retire(target, i);
	for (unsigned int i = 0; i < MAX_SERVICES; i++)
		numbers->active[i] = numbers->active[i] || keep[i];
	target_set_addresses(target);
	for (unsigned int i = 0; i < MAX_SERVICES; i++) {
		char text[ADDRESS_TEXT];

		if (!keep[i])
			continue;
		write_served(target, i);
		if (fresh[i])
			log_info("service %s is served on %s", numbers->service[i].name,
				 endpoint_format(&numbers->service[i].key.address,
						 numbers->service[i].key.port, text));
	}
	listeners_scan(target->listeners, true);
	/* Routers are told of a service only with what is ready for it. */
	target_update_readiness(target);
	configure_mirror(target);
}

void target_services_changed(struct target_part *target)
{
	struct message_service *present = calloc(MAX_SERVICES, sizeof(*present));
	struct wanted_service *wanted = calloc(MAX_SERVICES, sizeof(*wanted));

	if (present && wanted) {
		unsigned int count = present_services(target, present);

		count = services_merge(target->list, present, count, wanted, conflict, target);
		apply(target, wanted, count);
	} else {
		log_error("services cannot be updated: out of memory");
	}
	free(present);
	free(wanted);
}

void target_list_received(struct target_part *target, unsigned int router)
{
	const struct mirror_router *state = target_mirror_router(target->mirror, router);
	struct router_list *list = &target->list[router];
	struct message_service *services;

	if (!state)
		return;
	services = calloc(state->services ? state->services : 1, sizeof(*services));
	if (!services)
		return;
	free(list->service);
	list->service = services;
	list->count = 0;
	for (unsigned int i = 0; i < state->services; i++) {
		const struct message_service *service =
			target_mirror_router_service(target->mirror, router, i);

		if (service)
			services[list->count++] = *service;
	}
	list->heard = true;
	list->connected = true;
	list->active = state->role == ROLE_ACTIVE;
	target_services_changed(target);
}

static int note_connection(void *context, const void *key, const void *value)
{
	const struct connection_key *connection = key;
	bool *referred = context;

	(void)value;
	if (connection->service < MAX_SERVICES)
		referred[connection->service] = true;
	return 0;
}

static int note_affinity(void *context, const void *key, const void *value)
{
	const struct affinity_key *affinity = key;
	bool *referred = context;

	(void)value;
	if (affinity->scope < MAX_SERVICES)
		referred[affinity->scope] = true;
	return 0;
}

static bool something_retired(const struct service_numbers *numbers)
{
	for (unsigned int i = 0; i < MAX_SERVICES; i++)
		if (numbers->service[i].name[0] && !numbers->active[i])
			return true;
	return false;
}

void target_services_release(struct target_part *target)
{
	bool referred[MAX_SERVICES] = {false}, scope_referred[MAX_SERVICES] = {false};
	const struct maps *maps = &target->agent->maps;

	if (!something_retired(target->numbers))
		return;
	if (maps_walk(maps, MAP_TARGET_CONNECTIONS, note_connection, referred) ||
	    maps_walk(maps, MAP_TARGET_AFFINITIES, note_affinity, scope_referred))
		return;
	services_release(target->numbers, referred, scope_referred);
	for (__u32 i = 0; i < MAX_SERVICES; i++) {
		write_service(target, i);
		maps_put(maps, MAP_TARGET_SCOPES, &i, &target->numbers->scope[i]);
	}
}

static int read_service(void *context, const void *key, const void *value)
{
	struct target_part *target = context;
	__u32 number = *(const __u32 *)key;
	const struct target_service *service = value;
	struct served served;

	if (number >= MAX_SERVICES || !service->name[0])
		return 0;
	target->numbers->service[number] = *service;
	target->numbers->active[number] =
		maps_get(&target->agent->maps, MAP_SERVED, &service->key, &served) == 0 &&
		served.service == number;
	return 0;
}

int target_services_start(struct target_part *target)
{
	const struct maps *maps = &target->agent->maps;
	int err;

	target->numbers = calloc(1, sizeof(*target->numbers));
	target->warned = calloc(1, sizeof(*target->warned));
	if (!target->numbers || !target->warned)
		return -ENOMEM;
	err = maps_walk(maps, MAP_TARGET_SERVICES, read_service, target);
	return err ? err
		   : maps_get_all(maps, MAP_TARGET_SCOPES, target->numbers->scope, MAX_SERVICES);
}

void target_services_stop(struct target_part *target)
{
	for (unsigned int i = 0; i < MAX_ROUTERS; i++)
		free(target->list[i].service);
	if (target->warned)
		free(target->warned->warnings);
	free(target->warned);
	free(target->numbers);
}
