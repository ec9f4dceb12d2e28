/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * objects.h - the BPF objects of this node's roles, sized by the configuration and loaded, nothing
 * attached. Functions that fail have said why in the log and return a negative errno.
 */
#ifndef LIMPET_OBJECTS_H
#define LIMPET_OBJECTS_H

#include <stdbool.h>

#include "config.h"
#include "maps.h"

struct bpf_object;
struct bpf_program;

#define OBJECTS_MAX 5

struct objects {
	struct bpf_object *object[OBJECTS_MAX];
	unsigned int count;
	void *skeleton[OBJECTS_MAX];
	void (*destroy[OBJECTS_MAX])(void *skeleton);
	struct maps maps; /* -1: of a role that this node has not. Belong to the objects. */
};

/*
 * Load them all. `present`: the maps of a node that is loaded; they are taken over, so their sizes
 * must be the configuration's. NULL: all are made anew.
 */
int objects_load(struct objects *objects, const struct config *config, const struct maps *present);
void objects_free(struct objects *objects);

/* Call each(context, program) for every program, until it returns nonzero; returns that. */
int objects_each_program(const struct objects *objects,
			 int (*each)(void *context, struct bpf_program *program), void *context);

/* Is this map one that is pinned on this node? */
bool objects_pins_map(const struct config *config, enum map_id id);
/* Of a map whose size is a power of two: which. */
__u8 objects_map_bits(const struct config *config, enum map_id id);
/* Of router/present, the part for affinities. */
__u8 objects_affinity_bits(const struct config *config);
/* Its number of entries by the configuration; 0: always the same. */
__u32 objects_map_size(const struct config *config, enum map_id id);

#endif
