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
#include "handshakes.h"
#include "present.h"
#include "sightings.h"

/* What a choice ends with, if not with the number of a target. */
#define CHOICE_DROP   -1 /* counted */
#define CHOICE_REFUSE -2 /* answer the SYN with a RST; counted */
#define CHOICE_PASS   -3 /* none of ours; counted */
#define CHOICE_NONE   -4 /* not yet made; within choose() only */

struct question {
	struct connection_key key;
	struct flow_id id; /* the key's */
	const struct settings *settings;
	const struct router_service *service;
	__u32 sequence; /* the service's */
	const struct tcp *tcp;
	__u64 now_ns;
};

/* The role and how far the targets' tables are here. */
struct standing {
	__u64 since_ns;
	__u64 missing_since_ns; /* not in sync since then; not before since_ns */
	bool active;
	bool in_sync; /* at an active router: what nobody has reported is nobody's */
	bool affinities_in_sync;
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
	current = sync->epoch == own->epoch;
	standing->in_sync = standing->active && current && sync->in_sync;
	standing->missing_since_ns = own->since_ns;
	if (current && sync->missing_since_ns > own->since_ns)
		standing->missing_since_ns = sync->missing_since_ns;
	standing->affinities_in_sync = current && sync->affinities_in_sync;
}

/* Is the service's element being changed, or has it been since the question was asked? Then what
 * was read of it may be half of one thing and half of another. */
static __always_inline bool service_changes(const struct question *question)
{
	const volatile struct router_service *service = question->service;

	return question->sequence & 1 || service->sequence != question->sequence;
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

enum holder { HOLDER_NONE, HOLDER_UNUSABLE, HOLDER_USABLE };

/* Who holds the client's affinity. */
static __always_inline enum holder affinity_holder(const struct question *question, __u16 *target)
{
	struct affinity_key key = {.client = question->key.client,
				   .scope = question->service->scope};
	const struct router_affinity *affinity;
	struct presence presence;

	if (question->service->affinity == AFFINITY_NONE)
		return HOLDER_NONE;
	if (question->service->client_prefix < 128)
		mask_address(&key.client, question->service->client_prefix);
	presence = affinity_presence(question->settings, &key);
	if (!may_be_present(&presence))
		return HOLDER_NONE;
	affinity = bpf_map_lookup_elem(&affinities, &key);
	if (!affinity)
		return HOLDER_NONE;
	*target = affinity->target;
	if (!target_usable(affinity->target) ||
	    !target_serves(affinity->target, question->key.service))
		return HOLDER_UNUSABLE;
	return HOLDER_USABLE;
}

/*
 * Is the client's affinity, as it is now, still on its way? What is here may be of long ago. A lost
 * SYN costs the client a second, so an active router does not wait for long; but at a standby
 * nothing says that this router is meant.
 */
static __always_inline bool holds_syn(const struct question *question,
				      const struct standing *standing)
{
	return question->service->affinity != AFFINITY_NONE && !standing->affinities_in_sync &&
	       (!standing->active || question->now_ns < standing->since_ns + SYN_HOLD_NS);
}

/* A SYN that belongs to nothing that is known. */
static __always_inline int choose_new(const struct question *question, bool has_noted)
{
	__u32 service = question->key.service;
	const struct service_state *state;
	struct standing standing;
	enum holder holder;
	__u16 target = 0;
	int choice;

	if (!question->service->serving)
		goto not_serving;
	get_standing(&standing);
	if (holds_syn(question, &standing)) {
		count(COUNT_HELD_SYN);
		return CHOICE_DROP;
	}
	holder = affinity_holder(question, &target);
	if (service_changes(question))
		goto not_serving;
	if (holder == HOLDER_USABLE) {
		count(COUNT_NEW_AFFINITY);
		choice = target;
		goto note;
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
	if (has_noted)
		noted_forget(question->settings, &question->id);
	half_open_note(question->settings, &question->id, choice, question->tcp->sequence,
		       question->now_ns);
	return choice;
not_serving:
	count(COUNT_DROP_NOT_SERVING);
	return CHOICE_DROP;
}

/* Are targets' tables missing? Then what is not known for certain is held, hold_time at most,
 * counted from `since_ns`. */
static __always_inline bool holds(const struct question *question, const struct standing *standing,
				  __u64 since_ns)
{
	if (standing->in_sync)
		return false;
	return !standing->active || question->now_ns < since_ns + question->settings->hold_ns;
}

/* From now on it is this flow's target, before any report. What was read of the tables until now is
 * out of date, so none of it gets into the fast path. */
static __always_inline void note(const struct question *question, __u16 target, __u32 isn)
{
	noted_note(question->settings, &question->id, target, isn, question->now_ns);
	half_open_forget(question->settings, &question->id);
	flow_noted(&question->id);
}

/* What is known of a flow; each member counts only if its has_ is true. */
struct knowledge {
	struct handshake noted, half_open;
	struct router_connection reported;
	bool has_noted, has_half_open, has_report;
	bool is_overdue; /* what is noted is no longer believed: has_noted is false */
};

/*
 * Any other packet that belongs to nothing that is known: a wrong guess is a RST (promise 4). Where
 * a handshake went whose target has not reported it is the best guess of all: its kernel may wait
 * for the client's first data, or for room in the listener's queue, before the connection is there.
 * That target, or NO_NUMBER, and the lower half of its SYN's number come by value: the verifier
 * would follow each thing that may be known into here.
 */
static __noinline int choose_unknown(const struct question *question, __u32 overdue,
				     __u32 overdue_isn)
{
	__u64 since_ns = question->service->since_ns;
	__u32 isn = question->tcp->sequence;
	struct standing standing;
	enum holder holder;
	__u16 target = 0;
	int choice;

	get_standing(&standing);
	if (holds(question, &standing, standing.missing_since_ns)) {
		count(COUNT_HELD_UNKNOWN);
		return CHOICE_DROP;
	}
	if (since_ns < standing.since_ns)
		since_ns = standing.since_ns;
	if (!sighting_ripe(question->settings, &question->id, since_ns, question->now_ns)) {
		count(COUNT_HELD_SIGHTING);
		return CHOICE_DROP;
	}
	if (overdue != NO_NUMBER && !target_dead(overdue)) {
		count(COUNT_GUESS_NOTED);
		choice = overdue;
		isn = overdue_isn;
		goto note;
	}
	if (!standing.in_sync) {
		choice = ring_target(question, GUESS_RING);
		if (choice < 0)
			return choice;
		count(COUNT_GUESS_UNSYNCED);
		goto note;
	}
	holder = affinity_holder(question, &target);
	if (service_changes(question)) {
		count(COUNT_HELD_UNKNOWN);
		return CHOICE_DROP;
	}
	if (holder == HOLDER_USABLE) {
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
		note(question, choice, isn);
	return choice;
}

/* What has ended and lingers may have begun anew, through another router before this one became
 * active, at a target that has not sent its table. */
static __noinline bool lingers_in_doubt(const struct question *question)
{
	struct standing standing;

	get_standing(&standing);
	return holds(question, &standing, standing.since_ns);
}

/* Noted before this router's role, the service's number or the target's number began to mean what
 * they mean now. Of another term of office: since then, the flow may have gone through another
 * router. */
static __always_inline bool is_bygone(const struct question *question,
				      const struct handshake *handshake)
{
	__u32 zero = 0, number = handshake->target;
	const struct router_role *own = bpf_map_lookup_elem(&role, &zero);
	const struct target *target = bpf_map_lookup_elem(&targets, &number);

	return !own || !target || handshake->ticks <= handshake_ticks(own->since_ns) ||
	       handshake->ticks <= handshake_ticks(target->since_ns) ||
	       handshake->ticks <= handshake_ticks(question->service->since_ns);
}

/* Noted, and its target, in sync, has had NOTED_NS to report it. */
static __always_inline bool is_overdue(const struct handshake *noted, __u64 now_ns)
{
	return handshake_ticks(now_ns) >= noted->ticks + handshake_ticks(NOTED_NS) &&
	       target_flags(noted->target) & TARGET_IN_SYNC;
}

/* Has the report made it permanent? */
static __always_inline bool is_reported(const struct knowledge *known,
					const struct handshake *handshake)
{
	return known->has_report && known->reported.state == CONNECTION_OPEN &&
	       known->reported.target == handshake->target;
}

/*
 * Look up what is known, and let go of what is no longer to be believed: a handshake that the
 * report has made permanent, one whose report is overdue, and what is bygone. One that is overdue
 * is kept for a guess, until a SYN begins anew or another target has reported the flow.
 */
static __always_inline void get_knowledge(const struct question *question, struct knowledge *known)
{
	struct presence presence = connection_presence(question->settings, question->id.hash);
	const struct router_connection *reported = NULL;
	bool bygone, syn = question->tcp && question->tcp->syn;

	if (may_be_present(&presence))
		reported = bpf_map_lookup_elem(&connections, &question->key);
	known->has_report = reported;
	if (reported)
		known->reported = *reported;
	known->has_half_open =
		half_open_lookup(question->settings, &question->id, &known->half_open);
	if (known->has_half_open &&
	    (is_reported(known, &known->half_open) || is_bygone(question, &known->half_open))) {
		half_open_forget(question->settings, &question->id);
		known->has_half_open = false;
	}
	known->has_noted = noted_lookup(question->settings, &question->id, &known->noted);
	if (!known->has_noted)
		return;
	bygone = is_bygone(question, &known->noted);
	if (!bygone && !is_reported(known, &known->noted) &&
	    !is_overdue(&known->noted, question->now_ns))
		return;
	known->has_noted = false;
	known->is_overdue = !bygone && !known->has_report;
	if (known->is_overdue && !syn)
		return;
	if (known->is_overdue)
		count(COUNT_FLOW_EXPIRED);
	noted_forget(question->settings, &question->id);
}

static __always_inline bool is_open(const struct knowledge *known)
{
	return known->has_report && known->reported.state == CONNECTION_OPEN;
}

/* One that a target holds which is not given up: until then, nothing begins on its 4-tuple. */
static __always_inline bool is_held(const struct knowledge *known)
{
	return is_open(known) && !target_dead(known->reported.target);
}

/*
 * A SYN that was sent again goes where it went, for its answer may be on its way; not for long: a
 * target that nobody serves at any more drops it, and only choosing anew finds that out.
 */
static __always_inline bool is_same_syn(const struct question *question,
					const struct handshake *half_open)
{
	return half_open->isn == question->tcp->sequence &&
	       handshake_ticks(question->now_ns) <
		       half_open->ticks + handshake_ticks(SYN_SAME_NS) &&
	       target_usable(half_open->target);
}

/* A SYN: goes where its 4-tuple is known, and changes nothing there; that target's kernel knows
 * what to answer. */
static __always_inline int choose_syn(const struct question *question,
				      const struct knowledge *known)
{
	const struct handshake *half_open = &known->half_open, *noted = &known->noted;
	/* What was noted has been reported since, and has closed; but not if this is its own SYN,
	 * late: then what has closed is an older connection of this 4-tuple. */
	bool over = known->has_report && !is_open(known) &&
		    known->reported.target == noted->target &&
		    (__u16)noted->isn != (__u16)question->tcp->sequence;

	if (known->has_noted && !over && !target_dead(noted->target)) {
		count(COUNT_FLOW_NOTED);
		return noted->target;
	}
	if (is_held(known)) {
		count(COUNT_FLOW_CONNECTION);
		return known->reported.target;
	}
	if (known->has_half_open && is_same_syn(question, half_open)) {
		count(COUNT_FLOW_HALF_OPEN);
		return half_open->target;
	}
	return choose_new(question, known->has_noted);
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

/* Where what is known says; CHOICE_NONE: nothing is known. */
static __always_inline int choose_other(const struct question *question,
					const struct knowledge *known)
{
	const struct handshake *half_open = &known->half_open, *noted = &known->noted;

	/* A report of an older connection does not displace a handshake that was seen here. */
	if (known->has_noted && !(is_open(known) && target_dead(noted->target)))
		return known_target(noted->target, COUNT_FLOW_NOTED);
	if (known->has_half_open && !is_held(known) &&
	    half_open_follows(half_open, question->tcp->sequence)) {
		if (!question->tcp->rst && !target_dead(half_open->target))
			note(question, half_open->target, half_open->isn);
		return known_target(half_open->target, COUNT_FLOW_HALF_OPEN);
	}
	if (is_open(known) || (known->has_report && !lingers_in_doubt(question)))
		return known_target(known->reported.target, COUNT_FLOW_CONNECTION);
	return CHOICE_NONE;
}

/* What the fast path remembers of a flow that is no SYN's, if its target is to be had; or NO_FLOW.
 */
static __always_inline int fast_path(const struct flow_id *id)
{
	int target = flow_recall(id);

	if (target < 0 || target_dead(target))
		return NO_FLOW;
	count(COUNT_FLOW_CONNECTION);
	return target;
}

/* A target's number, CHOICE_DROP or CHOICE_REFUSE; from the tables. What comes of an open
 * connection's report alone is remembered for the fast path. */
static __noinline int choose(const struct question *question)
{
	struct knowledge known = {};
	__u64 version;
	int choice;

	if (question->tcp->syn) {
		get_knowledge(question, &known);
		return choose_syn(question, &known);
	}
	version = flow_version(&question->id);
	get_knowledge(question, &known);
	choice = choose_other(question, &known);
	if (choice == CHOICE_NONE) /* here, where the verifier has the least to carry along */
		return choose_unknown(question, known.is_overdue ? known.noted.target : NO_NUMBER,
				      known.noted.isn);
	if (choice >= 0 && is_open(&known) && !known.has_noted)
		flow_remember(&question->id, choice, version);
	return choice;
}

/*
 * Whose flow is this, for an ICMP error that speaks of it? Notes nothing: nobody's handshake is
 * seen here. The sequence number that is quoted is the server's, so a half-open flow is believed,
 * last.
 */
static __always_inline int flow_owner(const struct question *question)
{
	struct knowledge known = {};

	get_knowledge(question, &known);
	if (known.has_noted)
		return known.noted.target;
	if (known.has_report)
		return known.reported.target;
	if (known.has_half_open)
		return known.half_open.target;
	return known.is_overdue ? known.noted.target : CHOICE_DROP;
}

#endif
