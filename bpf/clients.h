/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * clients.h - how many established connections a client has to an instance, exactly.
 *
 * target/clients holds an element for each (client, scope, instance) with connections. Its word is
 * changed by compare-and-swap only, never through a lock: programs of every kind change it, also
 * from an interrupt of one another. Two things make that safe:
 *
 * - An element may be freed, and its memory used for another key, while a program still holds a
 *   pointer to it. Then its incarnation, unique for each element made, differs, and the swap fails.
 * - The last connection's end marks the element CLIENT_DEAD, deletes it, and only then takes the
 *   word away (0). Whoever still finds the element in between adds its connection to the marked
 *   word all the same; who deletes it enters these anew. So nobody waits for anybody.
 */
#ifndef LIMPET_CLIENTS_H
#define LIMPET_CLIENTS_H

#include "kernel.h"
#include "target_maps.h"

#define CLIENT_TRIES 16

static __always_inline __u64 read_once(const __u64 *word)
{
	return *(const volatile __u64 *)word;
}

/* A number that was never given before on this target; 0 cannot happen. */
static __always_inline __u64 next_incarnation(void)
{
	__u32 zero = 0;
	struct identity *last = bpf_map_lookup_elem(&identity, &zero);

	return last ? __sync_fetch_and_add(&last->incarnation, 1) + 1 : 0;
}

static __always_inline __u32 client_connections(const struct affinity_key *client, __u32 instance)
{
	struct client_key key = {.client = *client, .instance = instance};
	struct client_count *element = bpf_map_lookup_elem(&clients, &key);

	return element ? CLIENT_CONNECTIONS(read_once(&element->word)) : 0;
}

/* Move the word from one value to another: false when somebody else was first. */
static __always_inline bool client_swap(struct client_count *element, __u64 from, __u64 to)
{
	if (__sync_val_compare_and_swap(&element->word, from, to) != from)
		return false;
	__sync_fetch_and_add(&element->changes, 1);
	return true;
}

/* Add `connections` to the count: 0 or a negative errno (-E2BIG, -ENOMEM: the table is full). */
SUBPROGRAM int client_add(const struct client_key *key, __u32 connections)
{
	struct client_count *element, made = {};
	__u64 word;
	int error;

	for (int i = 0; i < CLIENT_TRIES; i++) {
		element = bpf_map_lookup_elem(&clients, key);
		if (!element) {
			made.word = next_incarnation() << 32 | connections;
			error = bpf_map_update_elem(&clients, key, &made, BPF_NOEXIST);
			if (error != -EEXIST && error != -EBUSY)
				return error;
			continue;
		}
		word = read_once(&element->word);
		if (word && client_swap(element, word, word + connections))
			return 0;
	}
	return -EBUSY;
}

/* The word of an element that has just been deleted: the connections that came since it was marked.
 */
static __always_inline __u32 client_take(struct client_count *element, __u64 incarnation)
{
	__u64 word;

	for (int i = 0; i < CLIENT_TRIES; i++) {
		word = read_once(&element->word);
		if (word >> 32 != incarnation)
			break;
		if (client_swap(element, word, 0))
			return CLIENT_CONNECTIONS(word);
	}
	/* Used again already, for another key: what came in between is not known. */
	count(COUNT_TRACK_RETRY);
	return 0;
}

/* The element is marked and ours to delete. */
static __always_inline int client_delete(const struct client_key *key, struct client_count *element,
					 __u64 incarnation)
{
	__u32 connections;
	__u64 word;

	if (bpf_map_delete_elem(&clients, key)) {
		/* Its bucket is busy: it stays, with what it has, and will be used again. */
		for (int i = 0; i < CLIENT_TRIES; i++) {
			word = read_once(&element->word);
			if (client_swap(element, word, word & ~(__u64)CLIENT_DEAD))
				return 0;
		}
		return -EBUSY;
	}
	connections = client_take(element, incarnation);
	return connections ? client_add(key, connections) : 0;
}

/* One connection less: 0, -ENOENT (there was none), or -EBUSY. */
SUBPROGRAM int client_remove(const struct client_key *key)
{
	struct client_count *element;
	__u64 word, less;

	for (int i = 0; i < CLIENT_TRIES; i++) {
		element = bpf_map_lookup_elem(&clients, key);
		if (!element)
			return -ENOENT;
		word = read_once(&element->word);
		if (!CLIENT_CONNECTIONS(word))
			return -ENOENT;
		less = word - 1;
		if (!(__u32)less)
			less |= CLIENT_DEAD;
		if (!client_swap(element, word, less))
			continue;
		if ((__u32)less != CLIENT_DEAD || word & CLIENT_DEAD)
			return 0;
		return client_delete(key, element, word >> 32);
	}
	return -EBUSY;
}

/* The count is found to be wrong: from what it was when that was seen (0: there was none) to what
 * it should be; -EAGAIN when it has changed since. */
SUBPROGRAM int client_correct(const struct client_key *key, __u64 word, __u32 connections)
{
	struct client_count *element = bpf_map_lookup_elem(&clients, key), made = {};
	__u64 correct = (word & ~0xffffffffULL) | connections;

	if (!word) {
		made.word = next_incarnation() << 32 | connections;
		return bpf_map_update_elem(&clients, key, &made, BPF_NOEXIST) ? -EAGAIN : 0;
	}
	if (!element || word & CLIENT_DEAD)
		return -EAGAIN;
	if (!connections)
		correct |= CLIENT_DEAD;
	if (!client_swap(element, word, correct))
		return -EAGAIN;
	return connections ? 0 : client_delete(key, element, word >> 32);
}

#endif
