/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * affinity_rule.h - is an affinity of target/affinities still in force, and for how long? The
 * kernel's programs decide by the same rule (bpf/affinity.h); this is its one place in user space.
 */
#ifndef LIMPET_AFFINITY_RULE_H
#define LIMPET_AFFINITY_RULE_H

#include <stdint.h>

#include "maps.h"

#define AFFINITY_NEVER UINT64_MAX

/* What else than the affinity itself the rule looks at. */
struct affinity_facts {
	uint64_t now_ns;
	uint64_t process;	 /* incarnation of the living process `pid`; 0: none lives */
	uint32_t connections;	 /* of this client to this instance, in the scope */
	uint32_t instance_state; /* enum instance_state */
};

enum affinity_phase affinity_phase(const struct target_affinity *affinity);
uint64_t affinity_id(const struct target_affinity *affinity);

/* When it expires if no connection comes: CLOCK_MONOTONIC, or AFFINITY_NEVER while the client is
 * connected and no maximum life is set. */
uint64_t affinity_expiry_ns(const struct target_affinity *affinity, uint32_t connections);

/* END_NONE: LIVE and in force. Else the reason why it is not (END_EXPIRED, END_PROCESS,
 * END_INSTANCE, or its own `end` when it has ended already). */
enum affinity_end affinity_over(const struct target_affinity *affinity,
				const struct affinity_facts *facts);

/* The facts, from the pinned maps, as they are now. */
void affinity_read_facts(const struct maps *maps, const struct affinity_key *key,
			 const struct target_affinity *affinity, uint64_t now_ns,
			 struct affinity_facts *facts);

#endif
