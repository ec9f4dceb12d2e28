/* SPDX-License-Identifier: BSD-2-Clause */
#include "floors.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "floor.h"
#include "floor.skel.h"

static int put(const struct bpf_map *map, const void *key, const void *value)
{
	return bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY);
}

static int put_flow(struct floor_bpf *bpf, const struct scene *scene, uint32_t flow)
{
	uint32_t services = scene->services ? scene->services : 1;
	struct service_key service = bench_service(scene->family, WRAP_SERVICE(flow, services));
	struct floor_flow value = {.target = flow % (scene->targets ? scene->targets : 1)};
	__be16 port;
	struct address client = bench_client(scene->family, flow, &port);
	struct floor_key4 key4 = {
		.client_port = port, .service_port = service.port, .protocol = service.protocol};
	struct floor_key6 key6 = {
		.client_port = port, .service_port = service.port, .protocol = service.protocol};

	if (scene->family == 4) {
		memcpy(&key4.client, client.byte + 12, sizeof(key4.client));
		memcpy(&key4.service, service.address.byte + 12, sizeof(key4.service));
		return put(bpf->maps.flows4, &key4, &value);
	}
	memcpy(key6.client, &client, sizeof(key6.client));
	memcpy(key6.service, &service.address, sizeof(key6.service));
	return put(bpf->maps.flows6, &key6, &value);
}

static int put_targets(struct floor_bpf *bpf)
{
	for (uint32_t i = 0; i < FLOOR_TARGETS; i++) {
		struct floor_target target = {.mac = {2, 0, 0, 0, 0, 9}};
		int error;

		target.address[0] = htonl(0x0a080001 + i);
		error = put(bpf->maps.targets, &i, &target);
		if (error)
			return error;
	}
	return 0;
}

/* As much room as there are flows, or what is configured by default. */
static int open_and_load(struct floor_bpf **bpf, const struct scene *scene)
{
	uint32_t room = scene->connections > MILLION ? scene->connections : MILLION;
	struct floor_bpf *opened = floor_bpf__open();
	int error;

	if (!opened)
		return -errno;
	error = bpf_map__set_max_entries(
		scene->family == 4 ? opened->maps.flows4 : opened->maps.flows6, room);
	if (!error)
		error = floor_bpf__load(opened);
	if (error)
		floor_bpf__destroy(opened);
	else
		*bpf = opened;
	return error;
}

int floors_set(struct floor_bpf **floors, const struct scene *scene)
{
	struct floor_bpf *bpf = NULL;
	int error = open_and_load(&bpf, scene);

	if (!error)
		error = put_targets(bpf);
	for (uint32_t flow = 0; flow < scene->connections && !error; flow++)
		error = put_flow(bpf, scene, flow);
	if (error) {
		fprintf(stderr, "bench: the floors cannot be set up: %s\n", strerror(-error));
		floor_bpf__destroy(bpf);
		return error;
	}
	floors_free(*floors);
	*floors = bpf;
	return 0;
}

void floors_free(struct floor_bpf *floors)
{
	floor_bpf__destroy(floors);
}

int floors_baseline(const struct floor_bpf *floors)
{
	return bpf_program__fd(floors->progs.tx);
}

int floors_program(const struct floor_bpf *floors, enum floor_kind kind)
{
	switch (kind) {
	case FLOOR_TOO_BIG:
		return bpf_program__fd(floors->progs.floor_icmp);
	case FLOOR_UNWRAP:
		return bpf_program__fd(floors->progs.floor_decap);
	default:
		return bpf_program__fd(floors->progs.floor);
	}
}
