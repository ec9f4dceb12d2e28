/* SPDX-License-Identifier: BSD-2-Clause */
#include "objects.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "agent.skel.h"
#include "log.h"
#include "mss.h"
#include "request.skel.h"
#include "selector.skel.h"
#include "tracker.skel.h"
#include "xdp.skel.h"

/* The power of two that holds so many; at least so many bits. */
static __u8 bits_for(__u64 count, __u8 least)
{
	__u8 bits = least;

	while (bits < FLOW_BITS_MAX && 1ULL << bits < count)
		bits++;
	return bits;
}

__u8 objects_map_bits(const struct config *config, enum map_id id)
{
	if (!config->has_router)
		return 0;
	switch (id) {
	case MAP_FLOWS: /* two and a half places for a connection: few sets are full */
		return bits_for(config->max_connections / 2, FLOW_BITS_MIN);
	case MAP_HANDSHAKES: /* few, so that a flood stays within a CPU's cache */
		return bits_for(config->max_connections / 64, HANDSHAKE_BITS_MIN);
	case MAP_SIGHTINGS:
		return SIGHTING_BITS;
	case MAP_PRESENT: /* a word for four: of 200 that are not there, one is looked up */
		return bits_for(config->max_connections / 4, 0);
	default:
		return 0;
	}
}

__u8 objects_affinity_bits(const struct config *config)
{
	return config->has_router ? bits_for(config->max_affinities / 8, 0) : 0;
}

__u32 objects_map_size(const struct config *config, enum map_id id)
{
	switch (id) {
	case MAP_FLOWS:
	case MAP_HANDSHAKES:
	case MAP_SIGHTINGS:
		return 1U << objects_map_bits(config, id);
	case MAP_PRESENT:
	case MAP_PRESENT_COUNTS:
		return (1U << objects_map_bits(config, MAP_PRESENT)) +
		       (1U << objects_affinity_bits(config));
	case MAP_ROUTER_CONNECTIONS:
		return config->has_router ? config->max_connections : 1;
	case MAP_ROUTER_AFFINITIES:
		return config->has_router ? config->max_affinities : 1;
	case MAP_TARGET_CONNECTIONS:
	case MAP_SOCKETS:
	case MAP_CLIENTS:
		return config->max_connections;
	case MAP_TARGET_AFFINITIES:
	case MAP_GRANTS:
		return config->max_affinities;
	default:
		return 0;
	}
}

bool objects_pins_map(const struct config *config, enum map_id id)
{
	const char *directory = map_description(id)->directory;

	if (!strcmp(directory, "router"))
		return config->has_router;
	if (!strcmp(directory, "target"))
		return config->has_target;
	return true;
}

/* The namespace of this process, as the kernel's sockets name theirs. 0: every one is ours. */
static __u64 netns_cookie(void)
{
	__u64 cookie = 0;
	socklen_t length = sizeof(cookie);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return 0;
	if (getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length))
		cookie = 0;
	close(fd);
	return cookie;
}

static int interface_mtu(const char *name)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq request = {0};
	int mtu = 1500;

	if (fd < 0)
		return mtu;
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (!ioctl(fd, SIOCGIFMTU, &request))
		mtu = request.ifr_mtu;
	close(fd);
	return mtu;
}

static int smallest_mtu(const struct config_target *target)
{
	int smallest = 65535;

	for (unsigned int i = 0; i < target->interface_count; i++) {
		int mtu = interface_mtu(target->interfaces[i]);

		if (mtu < smallest)
			smallest = mtu;
	}
	return smallest;
}

static void set_constants(struct tracker_bpf *tracker, const struct config_target *target)
{
	bool ipv6 = !address_is_ipv4(&target->address);
	int mtu = smallest_mtu(target);

	tracker->rodata->netns_cookie = netns_cookie();
	tracker->rodata->mss_ipv4 = mss_of(mtu, ipv6, false);
	tracker->rodata->mss_ipv6 = mss_of(mtu, ipv6, true);
}

/* One more object; its skeleton, which owns it, is kept for the end. */
static void add(struct objects *objects, void *skeleton, struct bpf_object *object,
		void (*destroy)(void *skeleton))
{
	objects->skeleton[objects->count] = skeleton;
	objects->destroy[objects->count] = destroy;
	objects->object[objects->count] = object;
	objects->count++;
}

/* open_NAME(): add the object of that name. */
#define OBJECT(name)                                                                               \
	static void destroy_##name(void *skeleton)                                                 \
	{                                                                                          \
		name##_bpf__destroy(skeleton);                                                     \
	}                                                                                          \
                                                                                                   \
	static struct name##_bpf *open_##name(struct objects *objects)                             \
	{                                                                                          \
		struct name##_bpf *opened = name##_bpf__open();                                    \
                                                                                                   \
		if (opened)                                                                        \
			add(objects, opened, opened->obj, destroy_##name);                         \
		return opened;                                                                     \
	}

OBJECT(xdp)
OBJECT(selector)
OBJECT(tracker)
OBJECT(request)
OBJECT(agent)

static int open_all(struct objects *objects, const struct config *config)
{
	struct tracker_bpf *tracker;
	struct request_bpf *request;
	struct xdp_bpf *xdp;

	xdp = open_xdp(objects);
	if (!xdp)
		return -errno;
	xdp->rodata->may_route = config->has_router;
	xdp->rodata->may_decapsulate = config->has_target;
	if (!config->has_target)
		return 0;
	tracker = open_tracker(objects);
	if (!tracker)
		return -errno;
	set_constants(tracker, &config->target);
	request = open_request(objects);
	if (!request)
		return -errno;
	request->rodata->netns_cookie = netns_cookie();
	if (!open_selector(objects) || !open_agent(objects))
		return -errno;
	return 0;
}

/* Which of the layout's maps is this? The XDP program has the router's, all others the target's. */
static int identify(const char *name, bool is_xdp)
{
	for (int id = 0; id < MAPS; id++) {
		const struct map_description *description = map_description(id);

		if (strcmp(description->name, name))
			continue;
		if (!strcmp(description->directory, "node") ||
		    is_xdp == !strcmp(description->directory, "router"))
			return id;
	}
	return -ENOENT; /* of the object alone: constants */
}

/* The map that is there already, with the size that the configuration says? */
static int reuse(struct bpf_map *map, int fd, __u32 size)
{
	struct bpf_map_info info = {0};
	__u32 length = sizeof(info);
	int error = bpf_obj_get_info_by_fd(fd, &info, &length);

	if (!error && size && info.max_entries != size) {
		log_error("table %s has room for %u as loaded, for %u as configured; a change of "
			  "size needs `limpet unload` and `limpet load`",
			  info.name, info.max_entries, size);
		return -EBUSY;
	}
	if (!error)
		error = bpf_map__reuse_fd(map, fd);
	if (error)
		log_error("table %s: cannot be taken over: %s", bpf_map__name(map),
			  strerror(-error));
	return error;
}

/* Sizes, and one map for all objects that have it. */
static int prepare_maps(struct objects *objects, struct bpf_object *object,
			const struct config *config, const struct maps *present)
{
	bool is_xdp = object == objects->object[0];
	struct bpf_map *map;

	bpf_object__for_each_map (map, object) {
		int id = identify(bpf_map__name(map), is_xdp);
		int error = 0, fd;
		__u32 size;

		if (id < 0)
			continue;
		size = objects_map_size(config, id);
		fd = objects->maps.fd[id];
		if (fd < 0 && present && objects_pins_map(config, id))
			fd = present->fd[id];
		if (fd >= 0)
			error = reuse(map, fd, size);
		else if (size)
			error = bpf_map__set_max_entries(map, size);
		if (error)
			return error;
	}
	return 0;
}

static void remember_maps(struct objects *objects, struct bpf_object *object)
{
	bool is_xdp = object == objects->object[0];
	struct bpf_map *map;

	bpf_object__for_each_map (map, object) {
		int id = identify(bpf_map__name(map), is_xdp);

		if (id >= 0 && objects->maps.fd[id] < 0)
			objects->maps.fd[id] = bpf_map__fd(map);
	}
}

static int load_object(struct objects *objects, struct bpf_object *object,
		       const struct config *config, const struct maps *present)
{
	int error = prepare_maps(objects, object, config, present);

	if (error)
		return error;
	error = bpf_object__load(object);
	if (error == -EPERM) {
		log_error("loading BPF programs is not permitted: run it as root");
		return error;
	}
	if (error == -ENOMEM) {
		log_error("%s: no memory for its maps: make tables.connections or "
			  "tables.affinities smaller",
			  bpf_object__name(object));
		return error;
	}
	if (error) {
		log_error("%s: the kernel does not load it: %s; --verbose shows why",
			  bpf_object__name(object), strerror(-error));
		return error;
	}
	remember_maps(objects, object);
	return 0;
}

int objects_load(struct objects *objects, const struct config *config, const struct maps *present)
{
	int error;

	*objects = (struct objects){0};
	for (int id = 0; id < MAPS; id++)
		objects->maps.fd[id] = -1;
	error = open_all(objects, config);
	if (error)
		log_error("the BPF objects cannot be opened: %s", strerror(-error));
	for (unsigned int i = 0; i < objects->count && !error; i++)
		error = load_object(objects, objects->object[i], config, present);
	if (error)
		objects_free(objects);
	return error;
}

void objects_free(struct objects *objects)
{
	while (objects->count) {
		objects->count--;
		objects->destroy[objects->count](objects->skeleton[objects->count]);
	}
}

int objects_each_program(const struct objects *objects,
			 int (*each)(void *context, struct bpf_program *program), void *context)
{
	struct bpf_program *program;
	int result;

	for (unsigned int i = 0; i < objects->count; i++) {
		bpf_object__for_each_program (program, objects->object[i]) {
			result = each(context, program);
			if (result)
				return result;
		}
	}
	return 0;
}
