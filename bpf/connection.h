/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * connection.h - the life of an entry of target/connections: entered when a handshake completes,
 * moved when its listener closes before it was accepted, removed when it closes. Entry, count of
 * the client, load of the instance and the socket's entry change together or not at all.
 *
 * An entry is only ever added where there is none (BPF_NOEXIST), and deleted only by who has
 * swapped its cookie for 0. So a late close never takes the entry of a newer connection with it.
 */
#ifndef LIMPET_CONNECTION_H
#define LIMPET_CONNECTION_H

#include "affinity.h"
#include "service.h"

#define CONNECTION_TRIES 4

static __always_inline void load_add(__u32 slot, __s32 connections)
{
	struct instance_load *load = bpf_map_lookup_elem(&instance_load, &slot);

	if (load)
		__sync_fetch_and_add(&load->connections, connections);
}

/* The key under which the socket's client was counted. */
static __always_inline void client_key_make(struct client_key *key,
					    const struct socket_connection *socket, __u32 slot)
{
	key->client.client = socket->key.client;
	key->client.scope = socket->scope;
	key->client.zero = 0;
	key->instance = slot;
	address_mask(&key->client.client, socket->client_prefix);
}

/* A connection of the instance more; connections of no instance are not counted. */
static __always_inline int connection_count(const struct socket_connection *socket, __u32 slot)
{
	struct client_key key;
	int error;

	if (slot == NO_INSTANCE)
		return 0;
	client_key_make(&key, socket, slot);
	error = client_add(&key, 1);
	if (error)
		return error;
	load_add(slot, 1);
	affinity_note_open(&key.client, slot);
	return 0;
}

static __always_inline void connection_uncount(const struct socket_connection *socket, __u32 slot)
{
	struct client_key key;

	if (slot == NO_INSTANCE)
		return;
	client_key_make(&key, socket, slot);
	affinity_note_close(&key.client, slot);
	if (client_remove(&key))
		count(COUNT_TRACK_RETRY);
	load_add(slot, -1);
}

/* The socket's connection is over: 0, -ENOENT (it has none), -EBUSY (a rescan will remove it). */
SUBPROGRAM int connection_close(__u64 cookie, __u8 how)
{
	struct socket_connection *found = bpf_map_lookup_elem(&sockets, &cookie), socket;
	struct target_connection *entry;
	__u32 slot;

	if (!found)
		return -ENOENT;
	socket = *found;
	entry = bpf_map_lookup_elem(&connections, &socket.key);
	if (!entry || __sync_val_compare_and_swap(&entry->cookie, cookie, 0) != cookie) {
		bpf_map_delete_elem(&sockets, &cookie);
		return -ENOENT;
	}
	slot = entry->instance;
	if (bpf_map_delete_elem(&connections, &socket.key)) {
		__sync_lock_test_and_set(&entry->cookie, cookie);
		count(COUNT_TRACK_RETRY);
		return -EBUSY;
	}
	connection_uncount(&socket, slot);
	bpf_map_delete_elem(&sockets, &cookie);
	count(COUNT_TRACK_CLOSED);
	event_connection(&socket.key, cookie, how);
	return 0;
}

/* Enter both entries; what stands at the key is an earlier connection's, whose close was missed. */
static __always_inline int connection_insert(__u64 cookie, const struct socket_connection *socket,
					     __u32 slot)
{
	struct target_connection made = {.cookie = cookie, .instance = slot}, *stands;
	int error;

	made.established_ns = bpf_ktime_get_ns();
	error = bpf_map_update_elem(&sockets, &cookie, socket, BPF_ANY);
	if (error)
		return error;
	for (int i = 0; i < CONNECTION_TRIES; i++) {
		error = bpf_map_update_elem(&connections, &socket->key, &made, BPF_NOEXIST);
		if (error != -EEXIST)
			break;
		stands = bpf_map_lookup_elem(&connections, &socket->key);
		if (stands && stands->cookie)
			connection_close(stands->cookie, CONNECTION_END_CLOSED);
	}
	if (error)
		bpf_map_delete_elem(&sockets, &cookie);
	return error;
}

/* A connection is established: 0 or a negative errno, and then nothing is entered, and counted why,
 * unless this is tried again.
 */
SUBPROGRAM int connection_open(__u64 cookie, const struct socket_connection *socket, __u32 slot,
			       bool again)
{
	int error = connection_count(socket, slot);

	if (!error) {
		error = connection_insert(cookie, socket, slot);
		if (error)
			connection_uncount(socket, slot);
	}
	if (error && !again)
		count(error == -E2BIG || error == -ENOMEM ? COUNT_TRACK_FULL : COUNT_TRACK_RETRY);
	if (error)
		return error;
	count(COUNT_TRACK_OPENED);
	event_connection(&socket->key, cookie, CONNECTION_END_CLOSED);
	return 0;
}

/* The socket's connection goes to another instance: 0, -ENOENT, or why it stays counted where it
 * was. */
SUBPROGRAM int connection_move(__u64 cookie, __u32 slot)
{
	struct socket_connection *found = bpf_map_lookup_elem(&sockets, &cookie), socket;
	struct target_connection *entry;
	__u32 before;
	int error;

	if (!found)
		return -ENOENT;
	socket = *found;
	entry = bpf_map_lookup_elem(&connections, &socket.key);
	if (!entry || entry->cookie != cookie)
		return -ENOENT;
	before = entry->instance;
	if (before == slot)
		return 0;
	error = connection_count(&socket, slot);
	if (error) {
		count(COUNT_TRACK_RETRY);
		return error;
	}
	if (__sync_val_compare_and_swap(&entry->instance, before, slot) != before) {
		connection_uncount(&socket, slot);
		return -EBUSY;
	}
	connection_uncount(&socket, before);
	return 0;
}

#endif
