/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * affinity_rule.h - is an affinity of target/affinities still in force? The kernel's programs
 * decide by the same rule; this is its one place in user space. When it expires: bpf/expiry.h.
 */
#ifndef LIMPET_AFFINITY_RULE_H
#define LIMPET_AFFINITY_RULE_H

#include <stdint.h>

#include "maps.h"

/* What else than the affinity itself the rule looks at. */
struct affinity_facts {
	uint64_t now_ns;
	uint64_t process;	 /* incarnation of the living process `pid`; 0: none lives */
	uint32_t connections;	 /* of this client to this instance, in the scope */
	uint32_t instance_state; /* enum instance_state */
};

enum affinity_phase affinity_phase(const struct target_affinity *affinity);
uint64_t affinity_id(const struct target_affinity *affinity);

/* END_NONE: LIVE and in force. Else the reason why it is not (END_EXPIRED, END_PROCESS,
 * END_INSTANCE, or its own `end` when it has ended already). */
enum affinity_end affinity_over(const struct target_affinity *affinity,
				const struct affinity_facts *facts);

/* The facts, from the pinned maps, as they are now. */
void affinity_read_facts(const struct maps *maps, const struct affinity_key *key,
			 const struct target_affinity *affinity, uint64_t now_ns,
			 struct affinity_facts *facts);

#endif
