/* SPDX-License-Identifier: BSD-2-Clause */
/* config_router.c - the configuration's section `router`: addresses, times, services. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_read.h"
#include "wire.h"

#define DEFAULT_HOLD_MS 30000
#define DEFAULT_DEAD_MS 60000
#define DEFAULT_IDLE_MS 300000
#define MAX_HOLD_MS	600000
#define MAX_DEAD_MS	86400000
#define MAX_IDLE_MS	2592000000U /* 30 days */

static int read_prefix_length(struct reading *reading, unsigned int i,
			      const struct file_service *from, struct config_service *service)
{
	bool ipv4 = address_is_ipv4(&service->key.address);
	unsigned int width = ipv4 ? 32 : 128;
	unsigned int length = from->client_prefix ? *from->client_prefix : width;

	AT(reading, "router.services[%u].client_prefix", i);
	if (length < 1 || length > width)
		return WRONG(reading, reading->path, "%s: %u is not from 1 to %u, for %s clients",
			     reading->path, length, width, ipv4 ? "IPv4" : "IPv6");
	service->client_prefix = ipv4 ? length + 96 : length;
	return 0;
}

static int read_service(struct reading *reading, unsigned int i, const struct file_service *from,
			struct config_service *service)
{
	int wrong;

	service->line = document_line(&reading->document, AT(reading, "router.services[%u]", i));
	wrong = read_name(reading, AT(reading, "router.services[%u].name", i), from->name,
			  service->name);
	if (wrong)
		return wrong;
	wrong = read_name(reading, AT(reading, "router.services[%u].scope", i),
			  from->scope ? from->scope : from->name, service->scope);
	if (wrong)
		return wrong;
	wrong = read_address(reading, AT(reading, "router.services[%u].address", i), from->address,
			     &service->key.address);
	if (wrong)
		return wrong;
	AT(reading, "router.services[%u].port", i);
	if (!from->port)
		return WRONG(reading, reading->path, "%s: 0 is not a port from 1 to 65535",
			     reading->path);

	service->key.port = htons(from->port);
	service->key.protocol = from->protocol ? *from->protocol : IPPROTO_TCP;
	service->distribution = from->distribution ? *from->distribution : DISTRIBUTE_MAGLEV;
	service->affinity = from->affinity ? *from->affinity : AFFINITY_BY_REQUEST;
	service->takeover = from->takeover && *from->takeover;
	service->affinity_idle_ms = DEFAULT_IDLE_MS;
	wrong = read_duration(reading, AT(reading, "router.services[%u].affinity_idle", i),
			      from->affinity_idle, MAX_IDLE_MS, &service->affinity_idle_ms);
	if (wrong)
		return wrong;
	wrong = read_duration(reading, AT(reading, "router.services[%u].affinity_max_life", i),
			      from->affinity_max_life, MAX_IDLE_MS, &service->affinity_max_life_ms);
	if (wrong)
		return wrong;
	return read_prefix_length(reading, i, from, service);
}

/* Two services of one configuration: may they be together? */
static int check_pair(struct reading *reading, unsigned int i, const struct config_service *service,
		      const struct config_service *other)
{
	char endpoint[ADDRESS_TEXT];

	if (!strcmp(service->name, other->name))
		return WRONG(reading, AT(reading, "router.services[%u].name", i),
			     "service '%s' is already in line %u; names must differ", service->name,
			     other->line);
	if (!memcmp(&service->key, &other->key, sizeof(service->key)))
		return WRONG(reading, AT(reading, "router.services[%u].address", i),
			     "service '%s' overlaps with '%s' in line %u: both are %s/tcp",
			     service->name, other->name, other->line,
			     endpoint_format(&service->key.address, service->key.port, endpoint));
	if (!strcmp(service->scope, other->scope) &&
	    address_is_ipv4(&service->key.address) == address_is_ipv4(&other->key.address) &&
	    service->client_prefix != other->client_prefix)
		return WRONG(reading, AT(reading, "router.services[%u].client_prefix", i),
			     "services '%s' and '%s' (line %u) share the scope '%s', so their "
			     "client_prefix must be the same",
			     service->name, other->name, other->line, service->scope);
	return 0;
}

static int read_services(struct reading *reading, const struct file_router *from,
			 struct config_router *router)
{
	router->services = calloc(from->services_count + 1, sizeof(*router->services));
	if (!router->services)
		return -ENOMEM;
	for (unsigned int i = 0; i < from->services_count; i++) {
		struct config_service *service = &router->services[i];
		int wrong = read_service(reading, i, &from->services[i], service);

		for (unsigned int j = 0; j < i && !wrong; j++)
			wrong = check_pair(reading, i, service, &router->services[j]);
		if (wrong)
			return wrong;
		if (address_equal(&service->key.address, &router->address) ||
		    address_equal(&service->key.address, &router->address6))
			return WRONG(reading, AT(reading, "router.services[%u].address", i),
				     "service '%s' has the router's own address; it needs one of "
				     "its own",
				     service->name);
	}
	router->service_count = from->services_count;
	return 0;
}

static int read_router_addresses(struct reading *reading, const struct file_router *from,
				 struct config_router *router)
{
	bool ipv4;
	int wrong = read_address(reading, "router.address", from->address, &router->address);

	if (wrong)
		return wrong;
	ipv4 = address_is_ipv4(&router->address);
	if (from->address6) {
		wrong = read_address(reading, "router.address6", from->address6, &router->address6);
		if (wrong)
			return wrong;
		if (!ipv4 || address_is_ipv4(&router->address6))
			return WRONG(reading, "router.address6",
				     "router.address6 is the IPv6 address of a router whose "
				     "address is IPv4");
	} else if (!ipv4) {
		router->address6 = router->address;
	}

	router->listen = router->address;
	router->listen_port = htons(WIRE_PORT);
	if (!from->listen)
		return 0;
	return read_endpoint(reading, "router.listen", from->listen, &router->listen,
			     &router->listen_port, true);
}

int read_router(struct reading *reading)
{
	const struct file_router *from = reading->file->router;
	struct config_router *router = &reading->config->router;
	int wrong;

	if (!from)
		return 0;
	reading->config->has_router = true;
	router->interface_count = from->interfaces_count;
	router->sync_on_failure = from->standby_sync && *from->standby_sync;
	router->hold_ms = DEFAULT_HOLD_MS;
	router->dead_ms = DEFAULT_DEAD_MS;
	wrong = read_interfaces(reading, "router", from->interfaces, from->interfaces_count,
				router->interfaces);
	if (wrong)
		return wrong;
	wrong = read_router_addresses(reading, from, router);
	if (wrong)
		return wrong;
	wrong = read_duration(reading, "router.hold_time", from->hold_time, MAX_HOLD_MS,
			      &router->hold_ms);
	if (wrong)
		return wrong;
	wrong = read_duration(reading, "router.dead_time", from->dead_time, MAX_DEAD_MS,
			      &router->dead_ms);
	if (wrong)
		return wrong;
	return read_services(reading, from, router);
}
