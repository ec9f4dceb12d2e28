/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * connection.h - the life of an entry of target/connections: entered when a handshake completes,
 * moved when its listener closes before it was accepted, counted anew when its service's scope or
 * prefix has changed, removed when it closes. Entry, count of the client, load of the instance and
 * the socket's entry change together or not at all.
 *
 * An entry is only ever added where there is none (BPF_NOEXIST), and deleted only by who has
 * swapped its cookie for 0. So a late close never takes the entry of a newer connection with it.
 */
#ifndef LIMPET_CONNECTION_H
#define LIMPET_CONNECTION_H

#include "affinity.h"
#include "service.h"

#define CONNECTION_TRIES 4

/* A connection that has been established. */
struct opened {
	struct connection_key key;
	__u16 scope;	    /* of its service */
	__u8 client_prefix; /* likewise */
};

static __always_inline void load_add(__u32 slot, __s32 connections)
{
	struct instance_load *load = bpf_map_lookup_elem(&instance_load, &slot);

	if (!load)
		return;
	__sync_fetch_and_add(&load->connections, connections);
	__sync_fetch_and_add(&load->changes, 1);
}

/* Instance, scope and prefix are one word for who changes them, and to be compared at once. */
typedef __u64 __attribute__((may_alias)) counted_word;

static __always_inline counted_word *counted(const struct target_connection *entry)
{
	return (counted_word *)&entry->instance;
}

_Static_assert(__builtin_offsetof(struct target_connection, instance) % sizeof(counted_word) == 0 &&
		       sizeof(struct target_connection) -
				       __builtin_offsetof(struct target_connection, instance) ==
			       sizeof(counted_word),
	       "where a connection is counted is one word");

/* The key under which the connection's client is counted; of `entry` that word alone. */
static __always_inline void client_key_make(struct client_key *client,
					    const struct connection_key *key,
					    const struct target_connection *entry)
{
	client->client.client = key->client;
	client->client.scope = entry->scope;
	client->client.zero = 0;
	client->instance = entry->instance;
	mask_address(&client->client.client, entry->client_prefix);
}

/* A connection of the instance more; connections of no instance are not counted. */
static __always_inline int connection_count(const struct client_key *client)
{
	int error;

	if (client->instance == NO_INSTANCE)
		return 0;
	error = client_add(client, 1);
	if (error)
		return error;
	load_add(client->instance, 1);
	affinity_note_open(&client->client, client->instance);
	return 0;
}

static __always_inline void connection_uncount(const struct client_key *client)
{
	if (client->instance == NO_INSTANCE)
		return;
	affinity_note_close(&client->client, client->instance);
	if (client_remove(client))
		count(COUNT_TRACK_RETRY);
	load_add(client->instance, -1);
}

/* The connection of this socket is over: 0, -ENOENT (there is none), -EBUSY (a rescan will remove
 * it). Between the two exchanges the entry is nobody's: it is counted where it was last. */
SUBPROGRAM int connection_remove(const struct connection_key *key, __u64 cookie, __u8 how)
{
	struct target_connection *entry = bpf_map_lookup_elem(&connections, key), last = {};
	const struct target_connection gone = {.instance = GONE_INSTANCE};
	struct client_key client;

	if (!entry || __sync_val_compare_and_swap(&entry->cookie, cookie, 0) != cookie)
		return -ENOENT;
	*counted(&last) = __sync_lock_test_and_set(counted(entry), *counted(&gone));
	client_key_make(&client, key, &last);
	if (bpf_map_delete_elem(&connections, key)) {
		__sync_lock_test_and_set(counted(entry), *counted(&last));
		__sync_lock_test_and_set(&entry->cookie, cookie);
		count(COUNT_TRACK_RETRY);
		return -EBUSY;
	}
	connection_uncount(&client);
	count(COUNT_TRACK_CLOSED);
	event_connection(key, cookie, how);
	return 0;
}

/* With the socket's own entry, if that is there. */
static __always_inline int connection_end(const struct connection_key *key, __u64 cookie, __u8 how)
{
	int error = connection_remove(key, cookie, how);

	if (error != -EBUSY)
		bpf_map_delete_elem(&sockets, &cookie);
	return error;
}

/* A socket closes: 0, -ENOENT (it is no connection of ours), -EBUSY. */
SUBPROGRAM int connection_close(__u64 cookie, __u8 how)
{
	struct socket_connection *found = bpf_map_lookup_elem(&sockets, &cookie);
	struct connection_key key;

	if (!found)
		return -ENOENT;
	key = found->key;
	return connection_end(&key, cookie, how);
}

/* Enter both entries; what stands at the key is an earlier connection's, whose close was missed. */
static __always_inline int connection_insert(__u64 cookie, const struct connection_key *key,
					     const struct target_connection *made)
{
	struct socket_connection socket = {.key = *key};
	struct target_connection *stands;
	int error;

	error = bpf_map_update_elem(&sockets, &cookie, &socket, BPF_ANY);
	if (error)
		return error;
	for (int i = 0; i < CONNECTION_TRIES; i++) {
		error = bpf_map_update_elem(&connections, key, made, BPF_NOEXIST);
		if (error != -EEXIST)
			break;
		stands = bpf_map_lookup_elem(&connections, key);
		if (stands && stands->cookie)
			connection_end(key, stands->cookie, CONNECTION_END_CLOSED);
	}
	if (error)
		bpf_map_delete_elem(&sockets, &cookie);
	return error;
}

/* A connection is established: 0 or a negative errno, and then nothing is entered, and counted why,
 * unless this is tried again.
 */
SUBPROGRAM int connection_open(__u64 cookie, const struct opened *opened, __u32 slot, bool again)
{
	struct target_connection made = {.cookie = cookie,
					 .instance = slot,
					 .scope = opened->scope,
					 .client_prefix = opened->client_prefix};
	struct connection_key key = opened->key;
	struct client_key client;
	int error;

	made.established_ns = bpf_ktime_get_ns();
	client_key_make(&client, &key, &made);
	error = connection_count(&client);
	if (!error) {
		error = connection_insert(cookie, &key, &made);
		if (error)
			connection_uncount(&client);
	}
	if (error && !again)
		count(error == -E2BIG || error == -ENOMEM ? COUNT_TRACK_FULL : COUNT_TRACK_RETRY);
	if (error)
		return error;
	count(COUNT_TRACK_OPENED);
	event_connection(&key, cookie, CONNECTION_END_CLOSED);
	return 0;
}

/* Count the connection where `after` says, if it is still counted where `before` says: 0, or why
 * not. */
static __always_inline int connection_recount(const struct connection_key *key,
					      struct target_connection *entry,
					      const struct target_connection *before,
					      const struct target_connection *after)
{
	struct client_key client;
	int error;

	client_key_make(&client, key, after);
	error = connection_count(&client);
	if (error) {
		count(COUNT_TRACK_RETRY);
		return error;
	}
	if (__sync_val_compare_and_swap(counted(entry), *counted(before), *counted(after)) !=
	    *counted(before)) {
		connection_uncount(&client);
		return -EBUSY;
	}
	client_key_make(&client, key, before);
	connection_uncount(&client);
	return 0;
}

/* The socket's connection goes to another instance: 0, -ENOENT, or why it stays counted where it
 * was. */
SUBPROGRAM int connection_move(__u64 cookie, __u32 slot)
{
	struct socket_connection *found = bpf_map_lookup_elem(&sockets, &cookie);
	struct target_connection *entry, before = {}, after = {};
	struct connection_key key;

	if (!found)
		return -ENOENT;
	key = found->key;
	entry = bpf_map_lookup_elem(&connections, &key);
	if (!entry || entry->cookie != cookie)
		return -ENOENT;
	*counted(&before) = *counted(&after) = read_once(counted(entry));
	if (before.instance == slot || before.instance == GONE_INSTANCE)
		return 0;
	after.instance = slot;
	return connection_recount(&key, entry, &before, &after);
}

/* Of this instance, if it had none, and under the scope and prefix that its service has now: 0,
 * -EEXIST (so it is), -ENOENT, or why it stays counted where it was. */
SUBPROGRAM int connection_count_anew(const struct connection_key *key, __u64 cookie, __u32 slot)
{
	struct target_connection *entry = bpf_map_lookup_elem(&connections, key);
	struct target_service *service = service_by_number(key->service);
	struct target_connection before = {}, after = {};

	if (!entry || entry->cookie != cookie || !service)
		return -ENOENT;
	*counted(&before) = *counted(&after) = read_once(counted(entry));
	if (before.instance == GONE_INSTANCE)
		return -ENOENT;
	if (before.instance == NO_INSTANCE)
		after.instance = slot;
	after.scope = service->scope;
	after.client_prefix = service->client_prefix;
	if (*counted(&before) == *counted(&after))
		return -EEXIST;
	return connection_recount(key, entry, &before, &after);
}

#endif
