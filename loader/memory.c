/* SPDX-License-Identifier: BSD-2-Clause */
#include "memory.h"

#include <errno.h>
#include <stdio.h>

#include "document.h"
#include "objects.h"

#define MIB (1 << 20)

/* As the kernel has them: kernel/bpf/hashtab.c, struct bucket and struct htab_elem. */
#define BUCKET_BYTES  16
#define ELEMENT_BYTES 48

static __u64 round_up(__u64 number, __u64 to)
{
	return (number + to - 1) / to * to;
}

static __u64 hash_bytes(const struct map_description *map, __u64 entries)
{
	__u64 buckets = 1;

	while (buckets < entries)
		buckets <<= 1;
	return buckets * BUCKET_BYTES + entries * (ELEMENT_BYTES + round_up(map->key_size, 8) +
						   round_up(map->value_size, 8));
}

static bool is_array(enum map_id id)
{
	return id == MAP_FLOWS || id == MAP_HANDSHAKES || id == MAP_PRESENT ||
	       id == MAP_PRESENT_COUNTS;
}

/* Of the tables whose size is configured, when they are full. */
static __u64 tables_bytes(const struct config *config)
{
	__u64 sum = 0;

	for (int id = 0; id < MAPS; id++) {
		const struct map_description *map = map_description(id);
		__u64 entries = objects_map_size(config, id);

		if (entries && objects_pins_map(config, id))
			sum += is_array(id) ? entries * round_up(map->value_size, 8)
					    : hash_bytes(map, entries);
	}
	return sum;
}

/* 0: not known. A container may be shown a file of its own. */
static __u64 machine_bytes(void)
{
	FILE *file = fopen("/proc/meminfo", "re");
	unsigned long long kib = 0;

	if (!file)
		return 0;
	if (fscanf(file, "MemTotal: %llu kB", &kib) != 1)
		kib = 0;
	fclose(file);
	return kib * 1024;
}

int memory_check(const struct config *config, char error[CONFIG_ERROR])
{
	__u64 there = machine_bytes(), needed = tables_bytes(config);
	struct document document;
	int wrong;

	if (!there || needed <= there)
		return 0;
	wrong = document_open(&document, config->path, error, CONFIG_ERROR);
	if (wrong)
		return wrong;
	document_wrong(&document, document_line(&document, "tables"), error, CONFIG_ERROR,
		       "tables: full, those of %u connections and %u affinities take %llu MiB, and "
		       "this machine has %llu MiB in all; configure smaller ones",
		       config->max_connections, config->max_affinities, needed / MIB, there / MIB);
	document_close(&document);
	return -ENOMEM;
}
