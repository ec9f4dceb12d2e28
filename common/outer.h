/* SPDX-License-Identifier: BSD-2-Clause */
/* outer.h - the outer header of what a router sends to a target, as far as it is the same for every
 * packet (bpf/forward.h puts the rest in). */
#ifndef LIMPET_OUTER_H
#define LIMPET_OUTER_H

#include "layout.h"

/* Fill in target->outer, outer_sum, TARGET_IPV6 and TARGET_WRAPS, from target->address. source
 * NULL: there is none of that family; nothing can be wrapped. */
void outer_fill(struct target *target, const struct address *source);

#endif
