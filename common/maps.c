/* SPDX-License-Identifier: BSD-2-Clause */
#include "maps.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#define PATH_SIZE  4096
#define BATCH_SIZE 1024 /* entries of a walk's first batch; more where one bucket holds more */

static const struct map_description descriptions[MAPS] = {
#define LIMPET_MAP_DESCRIPTION(id, directory, name, key, value)                                    \
	[MAP_##id] = {directory, name, sizeof(key), sizeof(value)},
	LIMPET_MAPS(LIMPET_MAP_DESCRIPTION)
#undef LIMPET_MAP_DESCRIPTION
		[MAP_EVENTS] = {"target", "events", 0, 0},
};

const struct map_description *map_description(enum map_id id)
{
	return &descriptions[id];
}

const char *maps_pin(const char *pin_path, const char *directory, const char *name, char text[4096])
{
	snprintf(text, PATH_SIZE, "%s/" LAYOUT_DIRECTORY "/%s/%s", pin_path, directory, name);
	return text;
}

int maps_open_pin(const char *pin_path, const char *directory, const char *name)
{
	char path[PATH_SIZE];

	return bpf_obj_get(maps_pin(pin_path, directory, name, path));
}

/* Keys and values as layout.h says? What is pinned there may be another program's, or another
 * layout's. */
static int check_sizes(int fd, const struct map_description *description)
{
	struct bpf_map_info info = {0};
	__u32 length = sizeof(info);
	int error = bpf_obj_get_info_by_fd(fd, &info, &length);

	if (error)
		return error;
	if (info.key_size != description->key_size || info.value_size != description->value_size)
		return -EPROTO;
	return 0;
}

int maps_open(struct maps *maps, const char *pin_path)
{
	struct maps opened;
	int error = 0;

	for (int id = 0; id < MAPS; id++)
		opened.fd[id] = -1;
	for (int id = 0; id < MAPS && !error; id++) {
		int fd = maps_open_pin(pin_path, descriptions[id].directory, descriptions[id].name);

		if (fd == -ENOENT && id != MAP_SETTINGS)
			continue; /* of a role that is not loaded */
		if (fd < 0) {
			error = fd;
			continue;
		}
		opened.fd[id] = fd;
		error = check_sizes(fd, &descriptions[id]);
	}

	if (error) {
		maps_close(&opened);
		return error;
	}
	*maps = opened;
	return 0;
}

void maps_close(struct maps *maps)
{
	for (int id = 0; id < MAPS; id++) {
		if (maps->fd[id] >= 0)
			close(maps->fd[id]);
		maps->fd[id] = -1;
	}
}

int maps_get(const struct maps *maps, enum map_id id, const void *key, void *value)
{
	return bpf_map_lookup_elem(maps->fd[id], key, value);
}

int maps_put(const struct maps *maps, enum map_id id, const void *key, const void *value)
{
	return bpf_map_update_elem(maps->fd[id], key, value, BPF_ANY);
}

int maps_add(const struct maps *maps, enum map_id id, const void *key, const void *value)
{
	return bpf_map_update_elem(maps->fd[id], key, value, BPF_NOEXIST);
}

int maps_delete(const struct maps *maps, enum map_id id, const void *key)
{
	return bpf_map_delete_elem(maps->fd[id], key);
}

/* Elements by index; those that are not there (a socket array's, an array of maps') are left out.
 */
static int walk_array(int fd, const struct bpf_map_info *info,
		      int (*each)(void *context, const void *key, const void *value), void *context)
{
	void *value = calloc(1, info->value_size);
	int result = 0;

	if (!value)
		return -ENOMEM;
	for (__u32 index = 0; index < info->max_entries && !result; index++) {
		int error = bpf_map_lookup_elem(fd, &index, value);

		if (error == -ENOENT)
			continue;
		result = error ? error : each(context, &index, value);
	}
	free(value);
	return result;
}

struct batch {
	char *keys, *values;
	__u32 size;  /* room for so many entries */
	__u32 token; /* where the next batch begins, in the kernel's own terms */
	bool begun;
};

static int batch_resize(struct batch *batch, const struct bpf_map_info *info, __u32 size)
{
	free(batch->keys);
	free(batch->values);
	batch->keys = calloc(size, info->key_size);
	batch->values = calloc(size, info->value_size);
	batch->size = size;
	return batch->keys && batch->values ? 0 : -ENOMEM;
}

/* Read the next batch: the number of entries, *last when there are no more; or -errno. */
static int batch_read(struct batch *batch, int fd, const struct bpf_map_info *info, bool *last)
{
	for (;;) {
		__u32 count = batch->size;
		__u32 next;
		int error = bpf_map_lookup_batch(fd, batch->begun ? &batch->token : NULL, &next,
						 batch->keys, batch->values, &count, NULL);

		if (!error || error == -ENOENT) {
			batch->token = next;
			batch->begun = true;
			*last = error;
			return (int)count;
		}
		if (error == -EINTR)
			continue;
		if (error != -ENOSPC)
			return error;
		/* A single bucket holds more than there is room for. */
		error = batch_resize(batch, info, batch->size * 2);
		if (error)
			return error;
	}
}

static int walk_hash(int fd, const struct bpf_map_info *info,
		     int (*each)(void *context, const void *key, const void *value), void *context)
{
	struct batch batch = {0};
	bool last = false;
	int result = batch_resize(&batch, info, BATCH_SIZE);

	while (!result && !last) {
		int count = batch_read(&batch, fd, info, &last);

		if (count < 0)
			result = count;
		for (int i = 0; i < count && !result; i++)
			result = each(context, batch.keys + (size_t)i * info->key_size,
				      batch.values + (size_t)i * info->value_size);
	}
	free(batch.keys);
	free(batch.values);
	return result;
}

int maps_walk(const struct maps *maps, enum map_id id,
	      int (*each)(void *context, const void *key, const void *value), void *context)
{
	struct bpf_map_info info = {0};
	__u32 length = sizeof(info);
	int error = bpf_obj_get_info_by_fd(maps->fd[id], &info, &length);

	if (error)
		return error;
	switch (info.type) {
	case BPF_MAP_TYPE_HASH:
	case BPF_MAP_TYPE_LRU_HASH:
		return walk_hash(maps->fd[id], &info, each, context);
	case BPF_MAP_TYPE_ARRAY:
	case BPF_MAP_TYPE_ARRAY_OF_MAPS:
	case BPF_MAP_TYPE_REUSEPORT_SOCKARRAY:
		return walk_array(maps->fd[id], &info, each, context);
	default:
		return -EOPNOTSUPP;
	}
}

int maps_get_all(const struct maps *maps, enum map_id id, void *elements, __u32 count)
{
	size_t size = descriptions[id].value_size;
	int error = 0;

	for (__u32 i = 0; i < count && !error; i++)
		error = maps_get(maps, id, &i, (char *)elements + i * size);
	return error;
}

/* One counter's values, into room for one of each CPU. */
static int sum_counter(const struct maps *maps, __u32 counter, __u64 *each, int cpus, __u64 *sum)
{
	int error = bpf_map_lookup_elem(maps->fd[MAP_COUNTERS], &counter, each);

	*sum = 0;
	for (int cpu = 0; cpu < cpus && !error; cpu++)
		*sum += each[cpu];
	return error;
}

int maps_counters(const struct maps *maps, __u64 counters[COUNTERS])
{
	int cpus = libbpf_num_possible_cpus();
	int error = 0;
	__u64 *each;

	if (cpus < 0)
		return cpus;
	each = calloc(cpus, sizeof(*each));
	if (!each)
		return -ENOMEM;
	for (__u32 counter = 0; counter < COUNTERS && !error; counter++)
		error = sum_counter(maps, counter, each, cpus, &counters[counter]);
	free(each);
	return error;
}

int maps_counter(const struct maps *maps, enum counter counter, __u64 *sum)
{
	int cpus = libbpf_num_possible_cpus();
	__u64 *each;
	int error;

	if (cpus < 0)
		return cpus;
	each = calloc(cpus, sizeof(*each));
	if (!each)
		return -ENOMEM;
	error = sum_counter(maps, counter, each, cpus, sum);
	free(each);
	return error;
}

const char *counter_name(enum counter counter)
{
	static char names[COUNTERS][32] = {
#define LIMPET_COUNTER_NAME(name, text) [COUNT_##name] = #name,
		LIMPET_COUNTERS(LIMPET_COUNTER_NAME)
#undef LIMPET_COUNTER_NAME
	};

	for (char *c = names[counter]; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return names[counter];
}

const char *counter_text(enum counter counter)
{
	static const char *const texts[COUNTERS] = {
#define LIMPET_COUNTER_TEXT(name, text) [COUNT_##name] = text,
		LIMPET_COUNTERS(LIMPET_COUNTER_TEXT)
#undef LIMPET_COUNTER_TEXT
	};

	return texts[counter];
}

/* A ring of its own, filled; an fd or -errno. */
static int new_ring(const __u16 *slots)
{
	static struct ring_element elements[RING_ELEMENTS];
	static __u32 keys[RING_ELEMENTS];
	__u32 count = RING_ELEMENTS;
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "ring", sizeof(__u32),
				sizeof(struct ring_element), RING_ELEMENTS, NULL);
	int error;

	if (fd < 0)
		return fd;
	memset(elements, 0xff, sizeof(elements)); /* NO_NUMBER beyond the last slot */
	memcpy(elements, slots, RING_SIZE * sizeof(*slots));
	for (__u32 i = 0; i < RING_ELEMENTS; i++)
		keys[i] = i;
	error = bpf_map_update_batch(fd, keys, elements, &count, NULL);
	if (error) {
		close(fd);
		return error;
	}
	return fd;
}

int maps_put_ring(const struct maps *maps, __u32 number, const __u16 *slots)
{
	int fd = new_ring(slots);
	int error;

	if (fd < 0)
		return fd;
	error = bpf_map_update_elem(maps->fd[MAP_RINGS], &number, &fd, BPF_ANY);
	close(fd);
	return error;
}

/* An fd or -errno. */
static int open_ring(const struct maps *maps, __u32 number)
{
	__u32 id;
	int error = maps_get(maps, MAP_RINGS, &number, &id);

	return error ? error : bpf_map_get_fd_by_id(id);
}

int maps_read_ring(const struct maps *maps, __u32 number, __u16 *slots)
{
	static struct ring_element elements[RING_ELEMENTS];
	static __u32 keys[RING_ELEMENTS];
	__u32 next, count = RING_ELEMENTS;
	int fd = open_ring(maps, number);
	int error;

	if (fd < 0)
		return fd;
	error = bpf_map_lookup_batch(fd, NULL, &next, keys, elements, &count, NULL);
	close(fd);
	if (error && error != -ENOENT) /* which says that these were all */
		return error;
	memcpy(slots, elements, RING_SIZE * sizeof(*slots));
	return 0;
}

int maps_get_ring(const struct maps *maps, __u32 number, __u32 slot)
{
	struct ring_element element;
	__u32 index = slot / RING_LANES;
	int error, fd = open_ring(maps, number);

	if (fd < 0)
		return fd;
	error = bpf_map_lookup_elem(fd, &index, &element);
	close(fd);
	return error ? error : element.target[slot % RING_LANES];
}

int maps_put_service(const struct maps *maps, __u32 number, struct router_service *service)
{
	struct router_service before;
	int error = maps_get(maps, MAP_ROUTER_SERVICES, &number, &before);

	if (error)
		return error;
	/* The kernel copies an element in no certain order. So: the old one said to change, then
	 * the new one, still changing, then the new one as it is. */
	service->sequence = before.sequence |= 1;
	error = maps_put(maps, MAP_ROUTER_SERVICES, &number, &before);
	if (!error)
		error = maps_put(maps, MAP_ROUTER_SERVICES, &number, service);
	service->sequence++;
	return error ?: maps_put(maps, MAP_ROUTER_SERVICES, &number, service);
}

/* ------------------------------------------------------------------------------------------
 * router/service_index */

static int index_add(struct service_slot *slots, const struct service_key *key, __u16 number)
{
	__u32 first = service_slot_of(&key->address, key->port, key->protocol);

	for (__u32 i = 0; i < SERVICE_PROBES; i++) {
		struct service_slot *slot = &slots[(first + i) % SERVICE_SLOTS];

		if (slot->used && memcmp(&slot->key, key, sizeof(*key)))
			continue;
		slot->key = *key;
		slot->number = number;
		slot->used = 1;
		return 0;
	}
	return -ENOSPC;
}

static int index_fill(struct service_slot *slots, const struct router_service *services)
{
	int error = 0;

	for (__u16 i = 0; i < MAX_SERVICES && !error; i++) {
		struct service_key only = {.address = services[i].key.address};

		if (!services[i].name[0])
			continue;
		error = index_add(slots, &services[i].key, i);
		if (!error)
			error = index_add(slots, &only, NO_NUMBER);
	}
	return error;
}

int maps_put_service_index(const struct maps *maps, const struct router_service *services)
{
	static struct service_slot slots[SERVICE_SLOTS];
	static __u32 keys[SERVICE_SLOTS];
	__u32 count = SERVICE_SLOTS, zero = 0;
	int fd, error;

	memset(slots, 0, sizeof(slots));
	error = index_fill(slots, services);
	if (error)
		return error;
	for (__u32 i = 0; i < SERVICE_SLOTS; i++)
		keys[i] = i;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "service_table", sizeof(__u32),
			    sizeof(struct service_slot), SERVICE_SLOTS, NULL);
	if (fd < 0)
		return fd;
	error = bpf_map_update_batch(fd, keys, slots, &count, NULL);
	if (!error)
		error = maps_put(maps, MAP_SERVICE_INDEX, &zero, &fd);
	close(fd);
	return error;
}

/* ------------------------------------------------------------------------------------------
 * programs */

static int run(int program, void *call, __u32 size)
{
	LIBBPF_OPTS(bpf_test_run_opts, options, .ctx_in = call, .ctx_size_in = size);

	return bpf_prog_test_run_opts(program, &options);
}

int maps_router_call(int program, struct router_call *call)
{
	int error = run(program, call, sizeof(*call));

	return error ? error : call->result;
}

int maps_agent_call(int program, struct agent_call *call)
{
	int error = run(program, call, sizeof(*call));

	return error ? error : call->result;
}
