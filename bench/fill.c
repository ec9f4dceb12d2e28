/* SPDX-License-Identifier: BSD-2-Clause */
#include "fill.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../bpf/distribute.h"
#include "outer.h"
#include "rings.h"
#include "traffic.h"

#define TARGET_WEIGHT 100
#define TARGET_MTU    1500

struct filling {
	const struct maps *maps;
	const struct scene *scene;
	int program;			/* router_agent */
	uint32_t numbers[MAX_SERVICES]; /* that `limpet load` has given the services */
	char names[MAX_TARGETS][NAME_SIZE];
	struct maglev_target targets[MAX_TARGETS];
	uint16_t slots[RING_SIZE]; /* of every service's ring: they have the same targets */
};

static int put_target(struct filling *filling, uint32_t number, unsigned int interface)
{
	bool ipv6 = filling->scene->family == 6;
	struct address source4 = bench_address(BENCH_ROUTER);
	struct address source6 = bench_address(BENCH_ROUTER6);
	struct target target = {.address = bench_address(ipv6 ? "fd07:1::" : "10.8.0.0"),
				.ifindex = interface,
				.mac = {2, 0, 0, 0, 0, 9},
				.source_mac = {2, 0, 0, 0, 0, 1},
				.flags = TARGET_USABLE | TARGET_IN_SYNC | TARGET_RESOLVED,
				.mtu = TARGET_MTU};

	target.address.byte[14] = (number + 1) >> 8;
	target.address.byte[15] = number + 1;
	snprintf(filling->names[number], NAME_SIZE, "t%u", number);
	memcpy(target.name, filling->names[number], NAME_SIZE);
	outer_fill(&target, ipv6 ? &source6 : &source4);
	filling->targets[number] =
		(struct maglev_target){number, filling->names[number], TARGET_WEIGHT};
	return maps_router_call(
		filling->program,
		&(struct router_call){.op = ROUTER_PUT_TARGET, .target = number, .entry = target});
}

static int take_service(void *context, const void *key, const void *value)
{
	struct filling *filling = context;
	const struct router_service *service = value;
	unsigned int index;

	if (sscanf(service->name, BENCH_SERVICE, &index) == 1 && index < MAX_SERVICES)
		filling->numbers[index] = *(const __u32 *)key;
	return 0;
}

/* Rings, switched in as limpetd does; instances are ready everywhere. */
static int put_services(struct filling *filling)
{
	const struct scene *scene = filling->scene;
	struct service_state state = {.ready_instances = scene->targets, .generation = 1};
	struct rings *rings = rings_new(filling->maps);
	int error = rings ? maps_walk(filling->maps, MAP_ROUTER_SERVICES, take_service, filling)
			  : -ENOMEM;

	for (uint32_t i = 0; i < scene->services && error >= 0; i++) {
		error = rings_set(rings, filling->numbers[i], filling->targets, scene->targets);
		if (error >= 0)
			error = maps_put(filling->maps, MAP_SERVICE_STATE, &filling->numbers[i],
					 &state);
	}
	if (error >= 0)
		error = rings_set(rings, GUESS_RING, filling->targets, 0);
	rings_free(rings);
	return error < 0 ? error : 0;
}

static int put_connections(struct filling *filling)
{
	const struct scene *scene = filling->scene;

	for (uint32_t flow = 0; flow < scene->connections; flow++) {
		uint32_t number = WRAP_SERVICE(flow, scene->services);
		struct service_key service = bench_service(scene->family, number);
		struct router_call call = {.op = ROUTER_PUT_CONNECTION,
					   .key = {.service = filling->numbers[number]},
					   .value = {.state = CONNECTION_OPEN}};
		int error;

		call.key.client = bench_client(scene->family, flow, &call.key.client_port);
		call.value.target = filling->slots[distribute_slot(&service, &call.key.client,
								   call.key.client_port)];
		error = maps_router_call(filling->program, &call);
		if (error)
			return error;
	}
	return 0;
}

static int put_affinities(struct filling *filling)
{
	const struct scene *scene = filling->scene;
	struct router_service service;
	int error = maps_get(filling->maps, MAP_ROUTER_SERVICES, &filling->numbers[0], &service);

	for (uint32_t client = 0; client < scene->affinities && !error; client++) {
		struct router_call call = {
			.op = ROUTER_PUT_AFFINITY,
			.affinity_key = {.scope = service.scope},
			.affinity = {.clock = 1, .target = client % scene->targets}};
		__be16 port;

		call.affinity_key.client = bench_client(scene->family, client, &port);
		error = maps_router_call(filling->program, &call);
	}
	return error;
}

/* Everybody has sent everything. */
static int put_sync(const struct maps *maps)
{
	struct router_role role;
	struct sync_state state = {.in_sync = 1, .affinities_in_sync = 1};
	__u32 zero = 0;
	int error = maps_get(maps, MAP_ROLE, &zero, &role);

	state.epoch = role.epoch;
	return error ? error : maps_put(maps, MAP_SYNC_STATE, &zero, &state);
}

static int fill_all(struct filling *filling, unsigned int interface)
{
	const struct scene *scene = filling->scene;
	int error = 0;

	for (uint32_t i = 0; i < scene->targets && !error; i++)
		error = put_target(filling, i, interface);
	if (!error)
		error = put_services(filling);
	if (!error)
		error = maglev_fill(filling->targets, scene->targets, filling->slots);
	if (!error)
		error = put_connections(filling);
	if (!error)
		error = put_affinities(filling);
	return error ? error : put_sync(filling->maps);
}

int fill_router(const struct maps *maps, int program, const struct scene *scene,
		unsigned int interface)
{
	struct filling *filling = calloc(1, sizeof(*filling));
	int error = filling ? 0 : -ENOMEM;

	if (!error) {
		filling->maps = maps;
		filling->program = program;
		filling->scene = scene;
		error = fill_all(filling, interface);
	}
	free(filling);
	if (error)
		fprintf(stderr, "bench: the router's maps cannot be filled: %s\n",
			strerror(-error));
	return error;
}

int fill_target(const struct maps *maps)
{
	struct address router = bench_address(BENCH_ROUTER);
	struct service_key service = bench_service(4, 0);
	struct service_key any = {.address = service.address};
	struct served served = {.service = 0}, none = {.service = NO_NUMBER};
	struct router name = {.name = "r1"};
	int error = maps_put(maps, MAP_ROUTERS, &router, &name);

	if (!error)
		error = maps_put(maps, MAP_SERVED, &service, &served);
	if (!error)
		error = maps_put(maps, MAP_SERVED, &any, &none);
	if (error)
		fprintf(stderr, "bench: the target's maps cannot be filled: %s\n",
			strerror(-error));
	return error;
}
