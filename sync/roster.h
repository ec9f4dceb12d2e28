/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * roster.h - STATE/roster: every target that has joined this router and has neither said goodbye,
 * nor been declared dead, nor been forgotten. On disk, so that a router that restarts knows whom it
 * is missing. A JSON array of {name, node_id, address}; replaced whole, by rename.
 */
#ifndef LIMPET_ROSTER_H
#define LIMPET_ROSTER_H

#include <stddef.h>

#include "wire.h"

struct roster_entry {
	char name[NAME_SIZE];
	uint64_t node_id;
	struct address address;
};

/* The number of entries, and *entries for the caller to free; 0 when there is no such file; or
 * -errno with what is wrong in *why: -EINVAL when it is not a roster. */
int roster_read(const char *path, struct roster_entry **entries, const char **why);

/* 0 or -errno; then the file is as it was. */
int roster_write(const char *path, const struct roster_entry *entries, size_t count);

#endif
