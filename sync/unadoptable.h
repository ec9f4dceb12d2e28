/* SPDX-License-Identifier: BSD-2-Clause */
/* unadoptable.h - the listeners on a service's address and port that are no instances, and why. */
#ifndef LIMPET_UNADOPTABLE_H
#define LIMPET_UNADOPTABLE_H

#include <stdbool.h>
#include <stdint.h>

#include "processes.h"

struct unadoptable {
	uint64_t cookie;
	uint32_t pid; /* 0: nobody is known to hold it */
	char command[COMMAND_SIZE];
	uint16_t service;
	bool steered;	  /* by somebody else's program: adopted when that is gone */
	bool crowded;	  /* there is no room for it: tried again when there may be */
	char remedy[200]; /* "reason; what to do" */
};

struct unadoptables {
	struct unadoptable *entry;
	unsigned int count, room;
};

const struct unadoptable *unadoptable_find(const struct unadoptables *list, uint64_t cookie);
/* NULL: out of memory. */
struct unadoptable *unadoptable_add(struct unadoptables *list, uint64_t cookie);
void unadoptable_remove(struct unadoptables *list, uint64_t cookie);

#endif
