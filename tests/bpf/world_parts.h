/* SPDX-License-Identifier: BSD-2-Clause */
/* world_parts.h - what the files of the world say to each other; no test includes it. */
#ifndef LIMPET_TEST_WORLD_PARTS_H
#define LIMPET_TEST_WORLD_PARTS_H

#include <stdbool.h>
#include <stdint.h>

#define PRESENT_BITS 4

struct bpf_map;
struct xdp_bpf;

extern struct xdp_bpf *program;

void put(const struct bpf_map *map, const void *key, const void *value);
bool get(const struct bpf_map *map, const void *key, void *value);

/* Before the program is loaded; then, or -1; before it goes. */
void flows_size(void);
int flows_map(void);
void flows_unmap(void);
/* From now on. */
void world_stood_still(void);
/* All that is noted is younger by so much. */
void flows_younger(uint64_t by_ns);
/* XDP has seen nothing; the agent has been told nothing. */
void flows_forget(void);
void empty_crht(void);

#endif
