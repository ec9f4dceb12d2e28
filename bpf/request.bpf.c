// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * request.bpf.c - the application's request: set- and getsockopt at level SOL_LIMPET
 * (include/limpet/limpet.h), on sockets under the cgroup. When setsockopt returns, the affinity is
 * in force on this node.
 *
 * Nothing is taken on trust. The socket's cookie is read from the socket itself; the tracker's
 * entry for that cookie, not the caller and not what is stored with the socket, says client,
 * service and instance. The kernel holds the socket's lock while these run: its state does not
 * change.
 */
#include <asm/socket.h>

#include <limpet/limpet.h>

#include "connection.h"
#include "service.h"

/* A newer library may send a larger structure, if what we do not know is zero. */
#define OPTIONS_LARGEST 64

#define MS_NS 1000000ULL

/* Set before loading: the namespace of this node (0: any). */
const volatile __u64 netns_cookie = 0;

_Static_assert((int)END_RELEASED == LIMPET_REASON_RELEASED, "reason");
_Static_assert((int)END_OPERATOR == LIMPET_REASON_OPERATOR, "reason");
_Static_assert((int)END_EXPIRED == LIMPET_REASON_EXPIRED, "reason");
_Static_assert((int)END_INSTANCE == LIMPET_REASON_INSTANCE, "reason");
_Static_assert((int)END_PROCESS == LIMPET_REASON_PROCESS, "reason");
_Static_assert((int)END_REFUSED == LIMPET_REASON_REFUSED, "reason");
_Static_assert((int)END_FULL == LIMPET_REASON_FULL, "reason");
_Static_assert((int)END_LOST == LIMPET_REASON_LOST, "reason");
_Static_assert((int)END_SHARED == LIMPET_REASON_SHARED, "reason");
_Static_assert((int)END_SERVICE == LIMPET_REASON_SERVICE, "reason");

/* Whose connection the socket is. */
struct caller {
	struct affinity_key key;
	struct target_service *service;
	__u32 number; /* of the service */
	__u32 slot;
	__u64 instance; /* its id */
	bool listens;	/* it can have affinities; if not, it can be told how they ended */
};

static __always_inline __u64 socket_cookie(struct bpf_sock *sk)
{
	struct sock *kernel = kernel_address(sk);
	__u64 cookie = 0;

	bpf_core_read(&cookie, sizeof(cookie), &kernel->__sk_common.skc_cookie.counter);
	return cookie;
}

/* Is the socket still the connection that was entered, at both ends? */
static __always_inline bool is_connection(struct bpf_sock *sk, const struct connection_key *key,
					  const struct target_service *service)
{
	struct ends ends;

	if (sk->state != TCP_ESTABLISHED && sk->state != TCP_CLOSE_WAIT)
		return false;
	ends_of_socket(sk, &ends);
	return ends.client_port == key->client_port && ends.local_port == service->key.port &&
	       same_address(&ends.client, &key->client) &&
	       same_address(&ends.local, &service->key.address);
}

/* 0, or -EPERM: the socket is no connection of an instance; -EAGAIN: not yet, Fast Open has given
 * it to the server before its client's handshake is complete. */
static __always_inline int identify(struct bpf_sock *sk, struct caller *caller)
{
	struct socket_connection *socket;
	struct target_connection *entry;
	struct instance *instance;
	__u64 cookie;

	if (!sk || sk->protocol != IPPROTO_TCP || (sk->family != AF_INET && sk->family != AF_INET6))
		return -EPERM;
	if (sk->state == TCP_SYN_RECV)
		return -EAGAIN;
	cookie = socket_cookie(sk);
	socket = cookie ? bpf_map_lookup_elem(&sockets, &cookie) : 0;
	if (!socket)
		return -EPERM;
	entry = bpf_map_lookup_elem(&connections, &socket->key);
	if (!entry || entry->cookie != cookie)
		return -EPERM;
	caller->slot = entry->instance;
	caller->number = socket->key.service;
	caller->service = service_by_number(caller->number);
	instance = bpf_map_lookup_elem(&instances, &caller->slot);
	if (!caller->service || !instance || !is_connection(sk, &socket->key, caller->service))
		return -EPERM;
	if (instance->state == INSTANCE_FREE)
		return -EPERM;
	caller->listens = instance->state != INSTANCE_ENDED;
	caller->instance = instance->id;
	affinity_key_make(&caller->key, caller->service->scope, caller->service->client_prefix,
			  &socket->key.client);
	return 0;
}

static __always_inline __u64 process_incarnation(__u32 pid)
{
	struct process *process = bpf_map_lookup_elem(&processes, &pid), made;

	if (process)
		return process->incarnation;
	made.incarnation = next_incarnation() << 32 | pid;
	if (!bpf_map_update_elem(&processes, &pid, &made, BPF_NOEXIST))
		return made.incarnation;
	process = bpf_map_lookup_elem(&processes, &pid); /* another thread of it was first */
	return process ? process->incarnation : 0;
}

static __always_inline bool process_lives(__u64 incarnation)
{
	__u32 pid = incarnation;
	struct process *process = bpf_map_lookup_elem(&processes, &pid);

	return process && process->incarnation == incarnation;
}

static __always_inline void event_shared(__u32 slot, __u32 pid)
{
	struct event *event = event_begin(EVENT_SHARED);

	if (!event)
		return;
	event->number = slot;
	event->pid = pid;
	bpf_ringbuf_submit(event, 0);
}

/*
 * One process asks over an instance's listeners. When another one asks too while that one lives,
 * both accept on the same listener, and nothing can steer a client to one of them. When it is gone
 * the next one takes its place.
 */
static __always_inline int check_asker(__u32 slot, __u64 process)
{
	struct instance_load *load = bpf_map_lookup_elem(&instance_load, &slot);
	__u64 asker;

	if (!load)
		return -EPERM;
	for (int i = 0; i < AFFINITY_TRIES; i++) {
		asker = read_once(&load->asker);
		if (asker == process)
			return load->shared ? -EOPNOTSUPP : 0;
		if (asker && process_lives(asker)) {
			if (!__sync_lock_test_and_set(&load->shared, (__u32)process))
				event_shared(slot, process);
			return -EOPNOTSUPP;
		}
		if (__sync_val_compare_and_swap(&load->asker, asker, process) != asker)
			continue;
		__sync_lock_test_and_set(&load->shared, 0);
		return 0;
	}
	return -EAGAIN;
}

static __always_inline int read_options(struct bpf_sockopt *ctx,
					struct limpet_affinity_options *options)
{
	void *value = ctx->optval, *end = ctx->optval_end;
	__u32 *tail;

	if (value + sizeof(*options) > end)
		return -EINVAL;
	__builtin_memcpy(options, value, sizeof(*options));
	/* The buffer is never shorter than 16 bytes; what was not sent is not zero either. */
	if (options->size != (__u32)ctx->optlen || options->size < sizeof(*options) ||
	    options->size > OPTIONS_LARGEST || options->size % sizeof(*tail) ||
	    options->flags & ~LIMPET_AFFINITY_TAKEOVER)
		return -EINVAL;
	for (__u32 at = sizeof(*options); at < OPTIONS_LARGEST; at += sizeof(*tail)) {
		tail = value + at;
		if (at >= options->size)
			break;
		if ((void *)(tail + 1) > end || *tail)
			return -EINVAL;
	}
	return 0;
}

static __always_inline int request(struct bpf_sockopt *ctx)
{
	struct limpet_affinity_options options;
	struct affinity_claim claim = {};
	struct caller caller = {};
	int error = read_options(ctx, &options);

	if (!error)
		error = identify(ctx->sk, &caller);
	if (error)
		return error;
	if (!caller.listens)
		return -EPERM;
	if (caller.service->affinity == AFFINITY_NONE)
		return -EOPNOTSUPP;
	claim.pid = bpf_get_current_pid_tgid() >> 32;
	claim.process = process_incarnation(claim.pid);
	if (!claim.process)
		return -ENOSPC;
	error = check_asker(caller.slot, claim.process);
	if (error)
		return error;
	claim.instance = caller.slot;
	claim.service = caller.number;
	claim.idle_ns = options.idle_ms == LIMPET_IDLE_DEFAULT ? caller.service->idle_ns
							       : options.idle_ms * MS_NS;
	claim.life_ns = options.max_life_ms * MS_NS;
	claim.service_life_ns = caller.service->max_life_ns;
	if (options.flags & LIMPET_AFFINITY_TAKEOVER && caller.service->takeover) {
		claim.displace = 1;
		claim.flags = AFFINITY_FLAG_TAKEOVER;
	}
	return affinity_make(&caller.key, &claim);
}

static __always_inline int release(struct bpf_sockopt *ctx)
{
	int *value = ctx->optval;
	struct caller caller = {};
	__u32 slot = 0;
	__u64 id = 0;
	int error;

	if ((void *)(value + 1) > ctx->optval_end || ctx->optlen != sizeof(*value) || *value)
		return -EINVAL;
	error = identify(ctx->sk, &caller);
	if (error)
		return error;
	if (!affinity_in_force(&caller.key, bpf_ktime_get_ns(), &slot, &id) || slot != caller.slot)
		return -ENOENT;
	return affinity_end(&caller.key, id, END_RELEASED);
}

static __always_inline int set_option(struct bpf_sockopt *ctx)
{
	int error;

	if (ctx->optname == LIMPET_AFFINITY_RELEASE)
		return release(ctx);
	if (ctx->optname != LIMPET_AFFINITY)
		return -ENOPROTOOPT;
	error = request(ctx);
	if (!error)
		count(COUNT_AFFINITY_REQUESTED);
	else
		count(error == -ENOSPC ? COUNT_AFFINITY_FULL : COUNT_AFFINITY_REFUSED);
	return error;
}

/* A socket of another network namespace under the cgroup: a container's, say. There is no Limpet
 * there, or one of its own. */
static __always_inline bool is_elsewhere(struct bpf_sockopt *ctx)
{
	return netns_cookie && bpf_get_netns_cookie(ctx) != netns_cookie;
}

/*
 * Not ours: it goes on as it is, with what programs of others have made of it. The kernel shows a
 * page of a larger value, and nothing of one that it has only told the size of; with 0 it keeps to
 * the application's own buffer, and so it must be told for those.
 */
static __always_inline int leave(struct bpf_sockopt *ctx)
{
	long shown = ctx->optval_end - ctx->optval;

	if (ctx->optlen > shown)
		ctx->optlen = 0;
	return 1;
}

/*
 * An application that attaches a reuseport program of its own to an instance's listener, or
 * detaches ours, would take the whole group from the selector, and no affinity would hold there.
 * The same by a listener that has joined the group and is not adopted yet. limpetd itself attaches
 * the selector to a listener that it has noted and not guarded yet.
 */
static __always_inline bool takes_steering(struct bpf_sockopt *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct socket_note *note;

	if (ctx->level != SOL_SOCKET ||
	    (ctx->optname != SO_ATTACH_REUSEPORT_CBPF && ctx->optname != SO_ATTACH_REUSEPORT_EBPF &&
	     ctx->optname != SO_DETACH_REUSEPORT_BPF))
		return false;
	if (!sk || is_elsewhere(ctx))
		return false;
	note = bpf_sk_storage_get(&socket_notes, sk, 0, 0);
	if (note && note->cookie == socket_cookie(sk))
		return note->guarded;
	return sk->state == TCP_LISTEN && group_of(sk, bpf_htons(sk->src_port));
}

/* Every setsockopt under the cgroup comes by here: those of other levels go on as they are. */
SEC("cgroup/setsockopt")
int request_set(struct bpf_sockopt *ctx)
{
	int error;

	if (takes_steering(ctx)) {
		count(COUNT_STEERING_REFUSED);
		bpf_set_retval(-EBUSY);
		return 0;
	}
	if (ctx->level != SOL_LIMPET || is_elsewhere(ctx))
		return leave(ctx);
	error = set_option(ctx);
	if (error) {
		bpf_set_retval(error);
		return 0;
	}
	ctx->optlen = -1; /* done: the kernel itself does not know this option */
	return 1;
}

static __always_inline bool is_everywhere(const struct affinity_key *key, __u64 id)
{
	struct grant *grant = bpf_map_lookup_elem(&grants, key);

	return grant && grant->id == id && grant->everywhere;
}

static __always_inline void status_in_force(struct limpet_affinity_status *status,
					    const struct affinity_key *key,
					    const struct target_affinity *affinity, __u64 id,
					    __u64 now_ns)
{
	__u64 expires_ns = affinity_expires_ns(affinity, status->connections);

	status->state = is_everywhere(key, id) ? LIMPET_AFFINITY_EVERYWHERE : LIMPET_AFFINITY_HERE;
	status->id = id;
	if (now_ns > affinity->created_ns)
		status->age_ms = (now_ns - affinity->created_ns) / MS_NS;
	if (expires_ns == NEVER_NS)
		status->expires_in_ms = ~0ULL;
	else if (expires_ns > now_ns)
		status->expires_in_ms = (expires_ns - now_ns) / MS_NS;
}

/*
 * What the entry says to an instance that it is not in force for: why (enum affinity_end; END_NONE:
 * it knows nothing of that), or -EAGAIN: it changes just now, or is in force after all.
 */
static __always_inline int why_not(const struct caller *caller, struct target_affinity *affinity,
				   __u64 now_ns)
{
	__u32 changes = *(volatile __u32 *)&affinity->changes;
	__u64 word = read_once(&affinity->word);
	bool own = affinity->instance == caller->slot;
	int end = affinity->end, why = END_NONE;

	if (affinity_phase(word) == PHASE_BUSY)
		return -EAGAIN;
	if (affinity_phase(word) == PHASE_LIVE)
		end = affinity_over(&caller->key, affinity, now_ns);
	if (phase_in_force(affinity_phase(word)) && end == END_NONE) {
		if (own)
			return -EAGAIN;
		end = END_LOST; /* to the instance that has it now */
	}
	/* Another instance's, or another target's: so it is for each instance here. */
	if (own || end == END_LOST || end == END_REFUSED)
		why = end;
	else if (affinity->displaced == caller->instance)
		why = END_LOST;
	if (read_once(&affinity->word) != word || *(volatile __u32 *)&affinity->changes != changes)
		return -EAGAIN;
	return why;
}

/* In force for the caller, or why not. -EAGAIN: not to be told just now. A function of its own:
 * within its caller's loop clang has that end by falling through to its head, which 6.1 does not
 * load. */
SUBPROGRAM int status_now(struct limpet_affinity_status *status, const struct caller *caller)
{
	__u64 now_ns = bpf_ktime_get_ns(), id = 0;
	struct target_affinity *affinity;
	__u32 slot = 0;
	int why;

	affinity = affinity_in_force(&caller->key, now_ns, &slot, &id);
	if (affinity && slot == caller->slot) {
		status_in_force(status, &caller->key, affinity, id, now_ns);
		return 0;
	}
	affinity = bpf_map_lookup_elem(&affinities, &caller->key);
	if (!affinity)
		return 0;
	id = read_once(&affinity->word) >> 8;
	why = why_not(caller, affinity, now_ns);
	if (why < 0)
		return why;
	status->reason = why;
	if (why != END_NONE)
		status->id = id;
	return 0;
}

static __always_inline int status(struct bpf_sockopt *ctx)
{
	struct limpet_affinity_status *told = ctx->optval;
	struct caller caller = {};
	int error;

	if ((void *)(told + 1) > ctx->optval_end || ctx->optlen < (int)sizeof(*told))
		return -EINVAL;
	error = identify(ctx->sk, &caller);
	if (error)
		return error;
	__builtin_memset(told, 0, sizeof(*told));
	told->size = sizeof(*told);
	told->instance = caller.instance;
	told->connections = client_connections(&caller.key, caller.slot);
	for (int i = 0; i < AFFINITY_TRIES; i++)
		if (status_now(told, &caller) != -EAGAIN)
			break;
	ctx->optlen = sizeof(*told);
	bpf_set_retval(0);
	return 0;
}

SEC("cgroup/getsockopt")
int request_get(struct bpf_sockopt *ctx)
{
	int error;

	if (ctx->level != SOL_LIMPET || is_elsewhere(ctx))
		return leave(ctx);
	error = ctx->optname == LIMPET_AFFINITY ? status(ctx) : -ENOPROTOOPT;
	if (error) {
		ctx->optlen = 0;
		bpf_set_retval(error);
		return 0;
	}
	return 1;
}

char LICENSE[] SEC("license") = "GPL";
