/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * choose.h - which target a service's packet goes to: the rules of takeover and of affinity, as
 * docs/ARCHITECTURE.md ("A packet at the router") gives them and tests/model/ has tried them.
 *
 * The order: what this router has seen itself, what the targets have reported, then, for a SYN, the
 * client's affinity and the ring; for anything else that is unknown, waiting before guessing.
 * Every way out counts once.
 */
#ifndef LIMPET_CHOOSE_H
#define LIMPET_CHOOSE_H

#include "distribute.h"
#include "flows.h"
#include "parse.h"

/* What a choice ends with, if not with the number of a target. */
#define CHOICE_DROP   -1 /* counted */
#define CHOICE_REFUSE -2 /* answer the SYN with a RST; counted */
#define CHOICE_PASS   -3 /* none of ours; counted */

struct question {
	struct connection_key key;
	const struct router_service *service;
	const struct tcp *tcp;
	__u64 now_ns;
	__u64 hold_ns;
};

/* The role and how far the targets' tables are here. */
struct standing {
	__u64 since_ns;
	bool active;
	bool activated; /* at least once */
	bool in_sync, affinities_in_sync;
};

static __always_inline void get_standing(struct standing *standing)
{
	__u32 zero = 0;
	const struct router_role *own = bpf_map_lookup_elem(&role, &zero);
	const struct sync_state *sync = bpf_map_lookup_elem(&sync_state, &zero);
	bool current;

	__builtin_memset(standing, 0, sizeof(*standing));
	if (!own || !sync)
		return;
	standing->since_ns = own->since_ns;
	standing->active = own->role == ROLE_ACTIVE;
	standing->activated = own->epoch > 0;
	current = standing->active && sync->epoch == own->epoch;
	standing->in_sync = current && sync->in_sync;
	standing->affinities_in_sync = current && sync->affinities_in_sync;
}

static __always_inline __u16 target_flags(__u32 number)
{
	const struct target *target = bpf_map_lookup_elem(&targets, &number);

	return target ? target->flags : TARGET_DEAD;
}

static __always_inline bool target_dead(__u32 number)
{
	return target_flags(number) & TARGET_DEAD;
}

static __always_inline bool target_usable(__u32 number)
{
	return (target_flags(number) & (TARGET_USABLE | TARGET_DEAD)) == TARGET_USABLE;
}

/* The target in this connection's slot of a ring; CHOICE_DROP, counted, if there is none. */
static __always_inline int ring_target(const struct question *question, __u32 ring_number)
{
	const struct ring_element *element;
	__u32 slot, index;
	__u16 number;
	void *ring;

	ring = bpf_map_lookup_elem(&rings, &ring_number);
	if (!ring)
		goto none;
	slot = distribute_slot(&question->service->key, &question->key.client,
			       question->key.client_port);
	index = slot / RING_LANES;
	element = bpf_map_lookup_elem(ring, &index);
	if (!element)
		goto none;
	number = element->target[slot % RING_LANES];
	if (number != NO_NUMBER && !target_dead(number))
		return number;
none:
	count(COUNT_DROP_NO_TARGET);
	return CHOICE_DROP;
}

/* Clear the bits beyond `length` of 128. */
static __always_inline void mask_address(struct address *address, __u32 length)
{
	__u32 *word = (__u32 *)address->byte;

#pragma unroll
	for (__u32 i = 0; i < 4; i++) {
		if (length <= 32 * i)
			word[i] = 0;
		else if (length < 32 * i + 32)
			word[i] &= bpf_htonl(~0U << ((32 - length) & 31));
	}
}

enum holder { HOLDER_NONE, HOLDER_UNUSABLE, HOLDER_USABLE };

/* Who holds the client's affinity. */
static __always_inline enum holder affinity_holder(const struct question *question, __u16 *target)
{
	struct affinity_key key = {.client = question->key.client,
				   .scope = question->service->scope};
	const struct router_affinity *affinity;

	if (question->service->affinity == AFFINITY_NONE)
		return HOLDER_NONE;
	mask_address(&key.client, question->service->client_prefix);
	affinity = bpf_map_lookup_elem(&affinities, &key);
	if (!affinity)
		return HOLDER_NONE;
	*target = affinity->target;
	return target_usable(affinity->target) ? HOLDER_USABLE : HOLDER_UNUSABLE;
}

/* A SYN that belongs to nothing that is known. */
static __noinline int choose_new(const struct question *question)
{
	__u32 service = question->key.service;
	const struct service_state *state;
	struct standing standing;
	enum holder holder;
	__u16 target = 0;
	int choice;

	if (!question->service->serving) {
		count(COUNT_DROP_NOT_SERVING);
		return CHOICE_DROP;
	}
	holder = affinity_holder(question, &target);
	if (holder == HOLDER_USABLE) {
		count(COUNT_NEW_AFFINITY);
		choice = target;
		goto note;
	}
	get_standing(&standing);
	/* The client's affinity may be on its way. A lost SYN costs it a second, so not for long;
	 * but before the first activation nothing says that this router is meant. */
	if (question->service->affinity != AFFINITY_NONE && !standing.affinities_in_sync &&
	    (!standing.activated || question->now_ns < standing.since_ns + SYN_HOLD_NS)) {
		count(COUNT_HELD_SYN);
		return CHOICE_DROP;
	}
	state = bpf_map_lookup_elem(&service_state, &service);
	if (!state || !state->ready_instances) {
		count(standing.in_sync ? COUNT_REFUSED_NO_INSTANCE : COUNT_DROP_NO_TARGET);
		return standing.in_sync ? CHOICE_REFUSE : CHOICE_DROP;
	}
	choice = ring_target(question, service);
	if (choice < 0)
		return choice;
	count(holder == HOLDER_NONE ? COUNT_NEW_DISTRIBUTED : COUNT_AFFINITY_UNUSABLE);
note:
	flow_note(&question->key, FLOW_STATE_HALF_OPEN, choice, question->tcp->sequence,
		  question->now_ns);
	return choice;
}

/* Targets' tables are still missing: what is not known for certain is held. */
static __always_inline bool holds(const struct question *question, const struct standing *standing)
{
	if (standing->in_sync)
		return false;
	return !standing->active || question->now_ns < standing->since_ns + question->hold_ns;
}

/* Any other packet that belongs to nothing that is known: a wrong guess is a RST (promise 4). */
static __noinline int choose_unknown(const struct question *question)
{
	struct standing standing;
	__u16 target = 0;
	int choice;

	get_standing(&standing);
	if (holds(question, &standing)) {
		count(COUNT_HELD_UNKNOWN);
		return CHOICE_DROP;
	}
	if (!sighting_ripe(&question->key, standing.since_ns, question->now_ns)) {
		count(COUNT_HELD_SIGHTING);
		return CHOICE_DROP;
	}
	if (!standing.in_sync) {
		choice = ring_target(question, GUESS_RING);
		if (choice < 0)
			return choice;
		count(COUNT_GUESS_UNSYNCED);
		goto note;
	}
	if (affinity_holder(question, &target) == HOLDER_USABLE) {
		count(COUNT_GUESS_AFFINITY);
		choice = target;
		goto note;
	}
	choice = ring_target(question, question->key.service);
	if (choice < 0)
		return choice;
	count(COUNT_GUESS_DISTRIBUTED);
note:
	/* What ends a connection is nothing to remember it by. */
	if (!question->tcp->rst && !question->tcp->fin)
		flow_note(&question->key, FLOW_STATE_NOTED, choice, question->tcp->sequence,
			  question->now_ns);
	return choice;
}

/* What has ended and lingers may have begun anew, through another router, at a target that has not
 * sent its table. */
static __noinline bool lingers_in_doubt(const struct question *question)
{
	struct standing standing;

	get_standing(&standing);
	return holds(question, &standing);
}

/* What is known of a flow; `flow` counts only if has_flow, `reported` only if has_report. */
struct knowledge {
	struct flow flow;
	struct router_connection reported;
	bool has_flow, has_report;
};

/* Noted in another term of office: since then, the flow may have gone through another router. */
static __always_inline bool is_bygone(const struct flow *flow)
{
	__u32 zero = 0;
	const struct router_role *own = bpf_map_lookup_elem(&role, &zero);

	return !own || flow->since_ns < own->since_ns;
}

/* Noted, and its target, in sync, has had NOTED_NS to report it. */
static __always_inline bool is_overdue(const struct flow *flow, __u64 now_ns)
{
	return flow->state == FLOW_STATE_NOTED && now_ns >= flow->since_ns + NOTED_NS &&
	       target_flags(flow->target) & TARGET_IN_SYNC;
}

/*
 * Look up what is known, and let go of what is no longer to be believed: a flow that the report has
 * made permanent, one whose report is overdue, and one of another term of office.
 */
static __always_inline void get_knowledge(const struct connection_key *key, __u64 now_ns,
					  struct knowledge *known)
{
	const struct router_connection *reported = bpf_map_lookup_elem(&connections, key);
	bool permanent, bygone;

	known->has_report = reported;
	if (reported)
		known->reported = *reported;
	known->has_flow = flow_lookup(key, &known->flow);
	if (!known->has_flow)
		return;
	permanent = known->has_report && known->reported.state == CONNECTION_OPEN &&
		    known->reported.target == known->flow.target;
	bygone = is_bygone(&known->flow);
	if (!permanent && !bygone && !is_overdue(&known->flow, now_ns))
		return;
	if (!bygone && !known->has_report)
		count(COUNT_FLOW_EXPIRED);
	flow_forget(key);
	known->has_flow = false;
}

static __always_inline bool is_noted(const struct knowledge *known)
{
	return known->has_flow && known->flow.state == FLOW_STATE_NOTED;
}

static __always_inline bool is_half_open(const struct knowledge *known)
{
	return known->has_flow && known->flow.state == FLOW_STATE_HALF_OPEN;
}

static __always_inline bool is_open(const struct knowledge *known)
{
	return known->has_report && known->reported.state == CONNECTION_OPEN;
}

/*
 * A SYN that was sent again goes where it went, for its answer may be on its way; not for long: a
 * target that nobody serves at any more drops it, and only choosing anew finds that out.
 */
static __always_inline bool is_same_syn(const struct question *question, const struct flow *flow)
{
	return flow->isn == question->tcp->sequence &&
	       question->now_ns < flow->since_ns + SYN_SAME_NS && target_usable(flow->target);
}

/* A SYN: goes where its 4-tuple is known, and changes nothing there; that target's kernel knows
 * what to answer. */
static __always_inline int choose_syn(const struct question *question,
				      const struct knowledge *known)
{
	const struct flow *flow = &known->flow;
	/* What was noted has been reported since, and has closed; but not if this is its own SYN,
	 * late: then what has closed is an older connection of this 4-tuple. */
	bool over = known->has_report && !is_open(known) &&
		    known->reported.target == flow->target && flow->isn != question->tcp->sequence;

	if (is_noted(known) && !over && !target_dead(flow->target)) {
		count(COUNT_FLOW_NOTED);
		return flow->target;
	}
	if (is_open(known) && !target_dead(known->reported.target)) {
		count(COUNT_FLOW_CONNECTION);
		return known->reported.target;
	}
	if (is_half_open(known) && is_same_syn(question, flow)) {
		count(COUNT_FLOW_HALF_OPEN);
		return flow->target;
	}
	return choose_new(question);
}

/* Known flows of a target that is given up: not for anybody else. */
static __always_inline int known_target(__u16 target, enum counter counter)
{
	if (target_dead(target)) {
		count(COUNT_DROP_NO_TARGET);
		return CHOICE_DROP;
	}
	count(counter);
	return target;
}

static __always_inline int choose_other(const struct question *question,
					const struct knowledge *known)
{
	const struct flow *flow = &known->flow;

	/* A report of an older connection does not displace a handshake that was seen here. */
	if (is_noted(known) && !(is_open(known) && target_dead(flow->target)))
		return known_target(flow->target, COUNT_FLOW_NOTED);
	if (is_half_open(known) && !is_open(known) && flow_follows(flow, question->tcp->sequence)) {
		if (!question->tcp->rst && !target_dead(flow->target))
			flow_note(&question->key, FLOW_STATE_NOTED, flow->target, flow->isn,
				  question->now_ns);
		return known_target(flow->target, COUNT_FLOW_HALF_OPEN);
	}
	if (is_open(known) || (known->has_report && !lingers_in_doubt(question)))
		return known_target(known->reported.target, COUNT_FLOW_CONNECTION);
	return choose_unknown(question);
}

/* A target's number, CHOICE_DROP or CHOICE_REFUSE. */
static __noinline int choose(const struct question *question)
{
	struct knowledge known = {};

	get_knowledge(&question->key, question->now_ns, &known);
	return question->tcp->syn ? choose_syn(question, &known) : choose_other(question, &known);
}

/*
 * Whose flow is this, for an ICMP error that speaks of it? Notes nothing: nobody's handshake is
 * seen here. The sequence number that is quoted is the server's, so a half-open flow is believed,
 * last.
 */
static __always_inline int flow_owner(const struct connection_key *key, __u64 now_ns)
{
	struct knowledge known = {};

	get_knowledge(key, now_ns, &known);
	if (is_noted(&known))
		return known.flow.target;
	if (known.has_report)
		return known.reported.target;
	return is_half_open(&known) ? known.flow.target : CHOICE_DROP;
}

#endif
