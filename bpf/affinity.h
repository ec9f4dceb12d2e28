/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * affinity.h - the life of an affinity at its target (include/layout.h, struct target_affinity):
 * looked up, asked for, changed, ended, reaped. The programs share target/affinities and have no
 * lock; its `word` is the protocol:
 *
 *	(none) ──────────▶ LIVE ◀──▶ CHANGING      same id: updated, or moved to another instance
 *	                   │  ▲         │ is over
 *	                   ▼  │ new id  ▼
 *	                   BUSY ◀──── ENDED ──▶ REAPED ──▶ (none)    the agent's reaper only
 *	                   └────────────▲
 *
 * Whether one that is LIVE still holds is decided when it is looked up: its instance must take
 * connections, the process that asked must live, and its time must not be over (expiry.h). So an
 * affinity ends on time without the agent, which only tidies up.
 */
#ifndef LIMPET_AFFINITY_H
#define LIMPET_AFFINITY_H

#include "clients.h"
#include "events.h"
#include "expiry.h"

#define AFFINITY_TRIES 8

/* What is asked for. */
struct affinity_claim {
	__u64 process; /* incarnation; 0: timed */
	__u64 idle_ns;
	__u64 life_ns;	       /* from this request on at most; 0: no limit */
	__u64 service_life_ns; /* from the first request on at most; 0: no limit */
	__u32 instance;
	__u32 pid;
	__u16 service;
	__u8 flags;    /* AFFINITY_FLAG_*, to be kept */
	__u8 displace; /* may take it from another instance here */
};

static __always_inline __u64 affinity_word(__u64 id, __u8 phase)
{
	return id << 8 | phase;
}

static __always_inline __u8 affinity_phase(__u64 word)
{
	return word & 0xff;
}

static __always_inline bool phase_in_force(__u8 phase)
{
	return phase == PHASE_LIVE || phase == PHASE_CHANGING;
}

/* Move `word` from one value to another: false when somebody else was first. */
static __always_inline bool affinity_swap(struct target_affinity *affinity, __u64 from, __u64 to)
{
	return __sync_val_compare_and_swap(&affinity->word, from, to) == from;
}

static __always_inline __u64 next_affinity(void)
{
	__u32 zero = 0;
	struct identity *last = bpf_map_lookup_elem(&identity, &zero);

	return last ? __sync_fetch_and_add(&last->affinity, 1) + 1 : 0;
}

/* The instance's count of affinities: exact, and bounded by its quota. */
static __always_inline int quota_take(__u32 slot)
{
	struct instance_load *load = bpf_map_lookup_elem(&instance_load, &slot);
	struct instance *instance = bpf_map_lookup_elem(&instances, &slot);
	__u32 before;

	if (!load || !instance)
		return -ENOENT;
	before = __sync_fetch_and_add(&load->affinities, 1);
	__sync_fetch_and_add(&load->changes, 1);
	if (!instance->max_affinities || before < instance->max_affinities)
		return 0;
	__sync_fetch_and_add(&load->affinities, -1);
	return -ENOSPC;
}

static __always_inline void quota_return(__u32 slot)
{
	struct instance_load *load = bpf_map_lookup_elem(&instance_load, &slot);

	if (!load)
		return;
	__sync_fetch_and_add(&load->affinities, -1);
	__sync_fetch_and_add(&load->changes, 1);
}

/* END_NONE: what is LIVE here is in force. Else why it is no longer. */
SUBPROGRAM int affinity_over(const struct affinity_key *key, struct target_affinity *affinity,
			     __u64 now_ns)
{
	__u32 slot = affinity->instance, pid = affinity->pid, connections;
	struct instance *instance = bpf_map_lookup_elem(&instances, &slot);
	struct process *process;

	if (!instance ||
	    (instance->state != INSTANCE_READY && instance->state != INSTANCE_DRAINING))
		return END_INSTANCE;
	if (affinity->process) {
		process = bpf_map_lookup_elem(&processes, &pid);
		if (!process || process->incarnation != affinity->process)
			return END_PROCESS;
	}
	/* The count first: a close notes its time before it counts down. */
	connections = client_connections(key, slot);
	if (affinity_is_drained(affinity, instance->state, connections))
		return END_EXPIRED;
	return now_ns >= affinity_expires_ns(affinity, connections) ? END_EXPIRED : END_NONE;
}

/* The client's affinity if it is in force now, and its instance; else NULL. */
static __always_inline struct target_affinity *
affinity_in_force(const struct affinity_key *key, __u64 now_ns, __u32 *slot, __u64 *id)
{
	struct target_affinity *affinity;
	__u32 changes;
	__u64 word;
	int over;

	for (int i = 0; i < AFFINITY_TRIES; i++) {
		affinity = bpf_map_lookup_elem(&affinities, key);
		if (!affinity)
			return 0;
		word = read_once(&affinity->word);
		if (!phase_in_force(affinity_phase(word)))
			return 0;
		changes = *(volatile __u32 *)&affinity->changes;
		*slot = affinity->instance;
		*id = word >> 8;
		/* Who changes it has seen that it is in force, and keeps it so. */
		over = affinity_phase(word) == PHASE_CHANGING
			       ? END_NONE
			       : affinity_over(key, affinity, now_ns);
		if (read_once(&affinity->word) == word &&
		    *(volatile __u32 *)&affinity->changes == changes)
			return over == END_NONE ? affinity : 0;
	}
	return 0;
}

/* The shorter of the two limits, where 0 is none. */
static __always_inline __u64 shorter_life(__u64 a, __u64 b)
{
	if (!a || !b)
		return a | b;
	return a < b ? a : b;
}

/* Owned by us: as asked for. */
static __always_inline void affinity_fill(struct target_affinity *affinity,
					  const struct affinity_claim *claim, __u64 now_ns)
{
	__u64 age_ns = now_ns - affinity->created_ns;

	affinity->max_life_ns =
		shorter_life(claim->life_ns ? age_ns + claim->life_ns : 0, claim->service_life_ns);
	affinity->idle_ns = claim->idle_ns;
	affinity->process = claim->process;
	affinity->pid = claim->pid;
	affinity->instance = claim->instance;
	affinity->service = claim->service;
	affinity->flags = claim->flags;
	affinity->end = END_NONE;
	affinity->changes++;
}

/* The same for an instance that did not hold the client: a life begins. */
static __always_inline void affinity_begin(struct target_affinity *affinity,
					   const struct affinity_claim *claim, __u64 displaced,
					   __u64 now_ns)
{
	affinity->displaced = displaced;
	affinity->created_ns = now_ns;
	affinity_fill(affinity, claim, now_ns);
}

static __always_inline void affinity_publish(struct target_affinity *affinity, __u64 word)
{
	__sync_lock_test_and_set(&affinity->word, word);
}

/* Owned by us, LIVE before: it has ended. */
static __always_inline void affinity_finish(const struct affinity_key *key,
					    struct target_affinity *affinity, __u64 id, __u8 end)
{
	quota_return(affinity->instance);
	affinity->end = end;
	affinity_publish(affinity, affinity_word(id, PHASE_ENDED));
	count(COUNT_AFFINITY_ENDED);
	event_affinity(key);
}

/* End what is LIVE if it is over: 0, -EBUSY (it is in force after all), -EAGAIN. Judged again by
 * its owner: between the first look and now it may have been asked for. */
SUBPROGRAM int affinity_conclude(const struct affinity_key *key, struct target_affinity *affinity,
				 __u64 word)
{
	__u64 id = word >> 8;
	int over;

	if (!affinity_swap(affinity, word, affinity_word(id, PHASE_CHANGING)))
		return -EAGAIN;
	over = affinity_over(key, affinity, bpf_ktime_get_ns());
	if (over == END_NONE) {
		affinity_publish(affinity, word);
		return -EBUSY;
	}
	affinity_finish(key, affinity, id, over);
	return 0;
}

/* There is no entry: make one, LIVE from the first. */
SUBPROGRAM int affinity_create(const struct affinity_key *key, const struct affinity_claim *claim,
			       __u64 now_ns)
{
	struct target_affinity made = {};
	int error = quota_take(claim->instance);

	if (error)
		return error;
	affinity_begin(&made, claim, 0, now_ns);
	made.word = affinity_word(next_affinity(), PHASE_LIVE);
	error = bpf_map_update_elem(&affinities, key, &made, BPF_NOEXIST);
	if (!error) {
		event_affinity(key);
		return 0;
	}
	quota_return(claim->instance);
	return error == -EEXIST || error == -EBUSY ? -EAGAIN : -ENOSPC;
}

/* The entry is what is left of an affinity that has ended; if there is room, its next life. */
SUBPROGRAM int affinity_renew(const struct affinity_key *key, struct target_affinity *affinity,
			      __u64 id, const struct affinity_claim *claim)
{
	int error;

	error = quota_take(claim->instance);
	if (error)
		return error;
	if (!affinity_swap(affinity, affinity_word(id, PHASE_ENDED),
			   affinity_word(id, PHASE_BUSY))) {
		quota_return(claim->instance);
		return -EAGAIN;
	}
	affinity->idle_since_ns = 0;
	affinity->steered_ns = 0;
	affinity_begin(affinity, claim, 0, bpf_ktime_get_ns());
	affinity_publish(affinity, affinity_word(next_affinity(), PHASE_LIVE));
	event_affinity(key);
	return 0;
}

/* Owned by us, and another instance's: it becomes the claim's, if that may. */
static __always_inline int affinity_move(struct target_affinity *affinity,
					 const struct affinity_claim *claim, __u64 now_ns)
{
	__u32 holder = affinity->instance;
	struct instance *instance;
	int error;

	if (!claim->displace)
		return -EEXIST;
	error = quota_take(claim->instance);
	if (error)
		return error;
	quota_return(holder);
	instance = bpf_map_lookup_elem(&instances, &holder);
	affinity_begin(affinity, claim, instance ? instance->id : 0, now_ns);
	return 0;
}

/* It is in force: update it, or move it here. The id stays, so for the routers nothing changes. */
SUBPROGRAM int affinity_change(const struct affinity_key *key, struct target_affinity *affinity,
			       __u64 word, const struct affinity_claim *claim, __u64 now_ns)
{
	__u64 id = word >> 8;
	int error = 0;

	if (!affinity_swap(affinity, word, affinity_word(id, PHASE_CHANGING)))
		return -EAGAIN;
	if (affinity->instance != claim->instance) {
		error = affinity_move(affinity, claim, now_ns);
	} else if (claim->service_life_ns &&
		   now_ns - affinity->created_ns >= claim->service_life_ns) {
		/* The service allows less than when it was asked for. */
		affinity_finish(key, affinity, id, END_EXPIRED);
		return -EAGAIN;
	} else {
		affinity_fill(affinity, claim, now_ns);
	}
	affinity_publish(affinity, word);
	if (!error)
		event_affinity(key);
	return error;
}

SUBPROGRAM int affinity_try(const struct affinity_key *key, const struct affinity_claim *claim)
{
	struct target_affinity *affinity = bpf_map_lookup_elem(&affinities, key);
	__u64 now_ns = bpf_ktime_get_ns(), word;

	if (!affinity)
		return affinity_create(key, claim, now_ns);
	word = read_once(&affinity->word);
	if (affinity_phase(word) == PHASE_ENDED)
		return affinity_renew(key, affinity, word >> 8, claim);
	if (affinity_phase(word) != PHASE_LIVE)
		return -EAGAIN;
	if (affinity_over(key, affinity, now_ns) != END_NONE) {
		affinity_conclude(key, affinity, word);
		return -EAGAIN; /* now ENDED, or in force after all */
	}
	if (!claim->process)
		return -EEXIST; /* timed: what is in force stays as it is */
	return affinity_change(key, affinity, word, claim, now_ns);
}

/*
 * Make the affinity of `key` as claimed: 0, -EEXIST (another instance here holds the client),
 * -ENOSPC (table or quota), -EAGAIN (others are at it, or it is being reaped).
 */
static __always_inline int affinity_make(const struct affinity_key *key,
					 const struct affinity_claim *claim)
{
	int error = -EAGAIN;

	for (int i = 0; i < AFFINITY_TRIES && error == -EAGAIN; i++)
		error = affinity_try(key, claim);
	return error;
}

/* End the affinity with this id: 0, -ENOENT (it is no longer there), -EAGAIN. */
SUBPROGRAM int affinity_end(const struct affinity_key *key, __u64 id, __u8 end)
{
	struct target_affinity *affinity = bpf_map_lookup_elem(&affinities, key);
	__u64 word;

	for (int i = 0; i < AFFINITY_TRIES; i++) {
		if (!affinity)
			return -ENOENT;
		word = read_once(&affinity->word);
		if (word >> 8 != id || affinity_phase(word) == PHASE_ENDED ||
		    affinity_phase(word) == PHASE_REAPED)
			return -ENOENT;
		if (affinity_phase(word) != PHASE_LIVE ||
		    !affinity_swap(affinity, word, affinity_word(id, PHASE_BUSY)))
			continue;
		affinity_finish(key, affinity, id, end);
		return 0;
	}
	return -EAGAIN;
}

/* A connection of the client to this instance closes: its idle timer starts from here, should this
 * have been the last. To be called before it is counted down. */
static __always_inline void affinity_note_close(const struct affinity_key *key, __u32 slot)
{
	struct target_affinity *affinity = bpf_map_lookup_elem(&affinities, key);

	if (affinity && affinity->instance == slot)
		*(volatile __u64 *)&affinity->idle_since_ns = bpf_ktime_get_ns();
}

/* The handshake that it steered has ended in a connection, which counts from now on itself. */
static __always_inline void affinity_note_open(const struct affinity_key *key, __u32 slot)
{
	struct target_affinity *affinity = bpf_map_lookup_elem(&affinities, key);

	if (affinity && affinity->instance == slot && affinity->steered_ns)
		*(volatile __u64 *)&affinity->steered_ns = 0;
}

#endif
